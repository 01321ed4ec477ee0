//! Every address of the console, made in one place: below a prefix that a proxy may ask for, with names percent-encoded.

use std::fmt::Write;

/// Makes addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// What every path begins with: empty, or `/mq`.
    base: String,
}

impl Links {
    /// Addresses below `base`; slashes at its ends do not matter.
    pub fn new(base: &str) -> Links {
        let base = base.trim_matches('/');
        Links { base: if base.is_empty() { String::new() } else { format!("/{base}") } }
    }

    /// The prefix, without a slash at its end.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The path of these segments; none is the first page.
    pub fn to(&self, segments: &[&str]) -> String {
        let mut path = self.base.clone();
        for segment in segments {
            path.push('/');
            encode(segment, &mut path);
        }
        if segments.is_empty() {
            path.push('/');
        }
        path
    }

    /// The same with a query; values that are empty are left out.
    pub fn with(&self, segments: &[&str], query: &[(&str, &str)]) -> String {
        let mut path = self.to(segments);
        push_query(&mut path, query);
        path
    }

    /// The page of a topic.
    pub fn topic(&self, name: &str) -> String {
        self.to(&["topics", name])
    }

    /// The page of a group.
    pub fn group(&self, name: &str) -> String {
        self.to(&["groups", name])
    }

    /// The page of a message.
    pub fn message(&self, topic: &str, id: &str) -> String {
        self.to(&["messages", topic, id])
    }

    /// The page of a broker.
    pub fn broker(&self, name: &str, id: i64) -> String {
        self.to(&["brokers", name, &id.to_string()])
    }
}

/// Appends `?name=value&…`; values that are empty are left out.
pub fn push_query(path: &mut String, query: &[(&str, &str)]) {
    let mut separator = '?';
    for (name, value) in query.iter().filter(|(_, value)| !value.is_empty()) {
        path.push(separator);
        encode(name, path);
        path.push('=');
        encode(value, path);
        separator = '&';
    }
}

/// Appends `text` with everything encoded that has a meaning in a URL.
fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            // Writing to a string does not fail.
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_and_empty_values_left_out() {
        let links = Links::new("/mq/");
        assert_eq!(links.topic("%RETRY%a/b"), "/mq/topics/%25RETRY%25a%2Fb");
        assert_eq!(
            links.with(&["topics"], &[("q", "a b"), ("kind", ""), ("x", "é&")]),
            "/mq/topics?q=a%20b&x=%C3%A9%26"
        );
        assert_eq!(Links::new("").to(&[]), "/");
        assert_eq!(links.broker("b", 0), "/mq/brokers/b/0");
    }
}
