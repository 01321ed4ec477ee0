//! What a command prints: the official text, or the same facts as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::Formatter;

use crate::output::Format;

/// Collects what a command prints. Text and JSON are collected side by side; one of them is printed.
#[derive(Debug)]
pub struct Out {
    format: Format,
    text: String,
    rows: Vec<Value>,
    facts: BTreeMap<&'static str, Value>,
}

impl Out {
    /// Nothing yet.
    pub fn new(format: Format) -> Out {
        Out { format, text: String::new(), rows: Vec::new(), facts: BTreeMap::new() }
    }

    /// A line of text: headers, blank lines, and what rows and facts say already.
    pub fn line(&mut self, text: impl AsRef<str>) {
        self.text.push_str(text.as_ref());
        self.text.push('\n');
    }

    /// Text that is no whole line.
    pub fn text(&mut self, text: impl AsRef<str>) {
        self.text.push_str(text.as_ref());
    }

    /// One row of a list: as a line of text, and as JSON.
    pub fn row(&mut self, value: impl Serialize, text: impl AsRef<str>) {
        self.line(text);
        self.value(value);
    }

    /// One row of a list for JSON only.
    pub fn value(&mut self, value: impl Serialize) {
        self.rows.push(serde_json::to_value(value).unwrap_or(Value::Null));
    }

    /// A fact about the whole list, for JSON only.
    pub fn fact(&mut self, name: &'static str, value: impl Serialize) {
        self.facts.insert(name, serde_json::to_value(value).unwrap_or(Value::Null));
    }

    /// Prints the text so far, for commands that print much.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.format == Format::Text {
            io::stdout().lock().write_all(std::mem::take(&mut self.text).as_bytes())?;
        }
        Ok(())
    }

    /// Prints what there was to say before the command failed; nothing where there was nothing.
    pub fn print_begun(self) -> io::Result<()> {
        if self.format == Format::Json && self.rows.is_empty() { Ok(()) } else { self.print() }
    }

    /// Prints it: the text, or a list of the rows; where there are facts, an object of them with the rows as `rows`.
    pub fn print(self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match self.format {
            Format::Text => out.write_all(self.text.as_bytes())?,
            Format::Json if self.facts.is_empty() => writeln!(out, "{}", Value::from(self.rows))?,
            Format::Json => {
                let mut all = self.facts;
                all.insert("rows", self.rows.into());
                writeln!(out, "{}", serde_json::to_string(&all)?)?;
            }
        }
        out.flush()
    }
}

/// JSON over several lines as the official tool has it: indented by tabs, no blank after a colon, an empty list with a
/// line of its own.
pub fn pretty(value: &impl Serialize) -> String {
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, Tabs { depth: 0, empty: true });
    match value.serialize(&mut serializer) {
        Ok(()) => String::from_utf8(out).unwrap_or_default(),
        Err(error) => error.to_string(),
    }
}

struct Tabs {
    depth: usize,
    /// Whether the innermost object has no member so far.
    empty: bool,
}

impl Tabs {
    fn new_line<W: ?Sized + Write>(&self, out: &mut W) -> io::Result<()> {
        out.write_all(b"\n")?;
        (0..self.depth).try_for_each(|_| out.write_all(b"\t"))
    }
}

impl Formatter for Tabs {
    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth += 1;
        out.write_all(b"[")?;
        self.new_line(out)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b",").and_then(|()| self.new_line(out)) }
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth -= 1;
        self.new_line(out)?;
        out.write_all(b"]")
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth += 1;
        self.empty = true;
        out.write_all(b"{")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.empty = false;
        if !first {
            out.write_all(b",")?;
        }
        self.new_line(out)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.empty = false;
        Ok(())
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth -= 1;
        if !self.empty {
            self.new_line(out)?;
        }
        self.empty = false;
        out.write_all(b"}")
    }
}

/// A map as Java prints it, `{a=1, b=2}`, in our order.
pub fn java_map<K: std::fmt::Display, V: std::fmt::Display>(entries: impl IntoIterator<Item = (K, V)>) -> String {
    let mut text = String::from("{");
    for (at, (key, value)) in entries.into_iter().enumerate() {
        let _ = write!(text, "{}{key}={value}", if at > 0 { ", " } else { "" });
    }
    text.push('}');
    text
}

/// A number with two decimals as Java rounds it: half up, where Rust rounds half to even.
pub fn two_decimals(value: f64) -> String {
    let text = format!("{value}");
    let ends_in_half = text.split_once('.').is_some_and(|(_, decimals)| decimals.len() == 3 && decimals.ends_with('5'));
    // A thousandth more than a half is no half.
    let value = if ends_in_half { value + value.signum() * 0.001 } else { value };
    format!("{value:.2}")
}

/// What Java prints of something that may be absent.
pub fn or_null(text: Option<&str>) -> &str {
    text.unwrap_or("null")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_is_indented_as_the_official_tool_does() {
        let value = json!({ "a": [{ "b": 1, "c": {} }], "d": [], "e": { "f": { "g": 1 } } });
        let expected = "{\n\t\"a\":[\n\t\t{\n\t\t\t\"b\":1,\n\t\t\t\"c\":{}\n\t\t}\n\t],\n\t\"d\":[\n\t\t\n\t],\n\t\"e\":{\n\t\t\"f\":{\n\t\t\t\"g\":1\n\t\t}\n\t}\n}";
        assert_eq!(pretty(&value), expected);
    }

    #[test]
    fn halves_are_rounded_up() {
        for (value, expected) in [
            (0.125, "0.13"),
            (0.375, "0.38"),
            (-0.125, "-0.13"),
            (1.005, "1.01"),
            (0.9666827780463008, "0.97"),
            (0.0, "0.00"),
        ] {
            assert_eq!(two_decimals(value), expected);
        }
    }

    #[test]
    fn maps_look_like_those_of_java() {
        assert_eq!(java_map([("a", 1), ("b", 2)]), "{a=1, b=2}");
        assert_eq!(java_map::<&str, &str>([]), "{}");
    }
}
