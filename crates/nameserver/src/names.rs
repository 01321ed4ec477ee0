//! Which names, addresses and numbers are taken into the tables. What fails here is never stored, so every answer
//! that is made of stored text can be read by clients that cut it by hand.

use std::net::Ipv6Addr;

/// Longest topic name, in bytes; see [`RETRY_TOPIC_BYTES_MAX`].
pub const TOPIC_BYTES_MAX: usize = 127;
/// Longest name of a retry or dead-letter topic, which has a group name inside.
pub const RETRY_TOPIC_BYTES_MAX: usize = 255;
/// Longest broker name, cluster name and zone.
pub const NAME_BYTES_MAX: usize = 127;
/// Longest host in an address, as DNS has it.
pub const HOST_BYTES_MAX: usize = 253;
/// Most queues of one topic on one broker. Clients make a list of as many entries.
pub const QUEUES_MAX: i32 = 65_536;

/// Why a name is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing at all.
    #[error("{what} is empty")]
    Empty {
        /// What the name is of.
        what: &'static str,
    },
    /// Too many bytes.
    #[error("{what} is {bytes} bytes long; the limit is {limit}")]
    TooLong {
        /// What the name is of.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A character that cannot be in it.
    #[error("{what} `{name}` has the character {character:?}, which cannot be in it")]
    Character {
        /// What the name is of.
        what: &'static str,
        /// The name.
        name: String,
        /// The first character that is wrong.
        character: char,
    },
    /// No `host:port` with a port from 1 to 65535.
    #[error("address `{0}` is no host:port")]
    Address(String),
}

/// Checks a topic name by upstream's rule (`common/.../topic/TopicValidator.java`).
pub fn check_topic(name: &str) -> Result<(), NameError> {
    let inner = name.starts_with("%RETRY%") || name.starts_with("%DLQ%");
    let limit = if inner { RETRY_TOPIC_BYTES_MAX } else { TOPIC_BYTES_MAX };
    let allowed = |character: char| character.is_ascii_alphanumeric() || matches!(character, '%' | '|' | '_' | '-');
    check("topic", name, limit, allowed)
}

/// Checks the name of a broker, cluster or zone. Upstream takes anything; refused is only what would break the text
/// forms that names travel in, `a:4;b:4` among them.
pub fn check_name(what: &'static str, name: &str) -> Result<(), NameError> {
    let refused = |character: char| {
        character.is_control()
            || character.is_whitespace()
            || matches!(character, '"' | '\'' | '\\' | ',' | ':' | ';' | '{' | '}' | '[' | ']' | '<' | '>')
    };
    check(what, name, NAME_BYTES_MAX, |character| !refused(character))
}

fn check(what: &'static str, name: &str, limit: usize, allowed: impl Fn(char) -> bool) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty { what });
    }
    if name.len() > limit {
        return Err(NameError::TooLong { what, bytes: name.len(), limit });
    }
    match name.chars().find(|character| !allowed(*character)) {
        Some(character) => Err(NameError::Character { what, name: name.into(), character }),
        None => Ok(()),
    }
}

/// Checks an address: a host name, an IPv4 address or an IPv6 address in brackets, and a port that is not zero.
pub fn check_address(address: &str) -> Result<(), NameError> {
    let good = address.rsplit_once(':').is_some_and(|(host, port)| is_host(host) && is_port(port));
    if good {
        return Ok(());
    }
    let mut shown: String = address.chars().take(80).collect();
    shown.retain(|character| !character.is_control());
    Err(NameError::Address(shown))
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port != 0)
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inside) => {
            let (ip, zone) = inside.split_once('%').unwrap_or((inside, "0"));
            ip.parse::<Ipv6Addr>().is_ok() && is_host_name(zone)
        }
        None => is_host_name(host),
    }
}

fn is_host_name(host: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !host.is_empty() && host.len() <= HOST_BYTES_MAX && host.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_have_upstreams_alphabet_and_lengths() {
        for good in ["T", "%RETRY%CG_a-b|c", &"t".repeat(127), &format!("%DLQ%{}", "g".repeat(250))] {
            assert_eq!(check_topic(good), Ok(()), "{good}");
        }
        for bad in ["", "a b", "a.b", "主题", "a\u{1}", &"t".repeat(128), &format!("%RETRY%{}", "g".repeat(249))] {
            assert!(check_topic(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_have_nothing_that_separates_names() {
        for good in ["broker-a", "测试", "a.b_c@d", "0"] {
            assert_eq!(check_name("broker name", good), Ok(()), "{good}");
        }
        for bad in ["", "a:4", "a;b", "a,b", "a b", "a\n", "\"", "{}", &"n".repeat(128)] {
            assert!(check_name("broker name", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for good in
            ["10.0.0.1:10911", "broker-0.brokers.default.svc:1", "localhost:65535", "[::1]:10911", "[fe80::1%eth0]:1"]
        {
            assert_eq!(check_address(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            ":1",
            "a",
            "a:",
            "a:0",
            "a:65536",
            "a:+1",
            "a:-1",
            "::1:10911",
            "[::1:1",
            "a b:1",
            "a,b:1",
            "[x]:1",
            "a:1:2",
        ] {
            assert!(check_address(bad).is_err(), "{bad}");
        }
    }
}
