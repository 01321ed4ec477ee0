//! The shape of a JSON body: which keys there are and what kind of value each has.

use std::collections::{BTreeMap, BTreeSet};

use protocol::lenient_json;
use serde_json::Value;

/// Objects whose keys are data: names of topics and groups, queues, client ids. Their values are looked at together.
const KEYED_BY_DATA: [&str; 12] = [
    "topicConfigTable",
    "subscriptionGroupTable",
    "subscriptionTable",
    "offsetTable",
    "attributes",
    "forbiddenTable",
    "consumerOffsetTable",
    "mqTable",
    "topicConfigMappingTable",
    "topicQueueMappingInfoMap",
    "data",
    A_TABLE,
];

/// Lists of such objects.
const LISTS_OF_TABLES: [&str; 1] = ["consumeStatsList"];
/// Stands for the key of an element of such a list; no body has it.
const A_TABLE: &str = "[table]";

/// Paths to every value, with the kinds of value found there. `[]` is any element, `{}` any key that is data.
#[derive(Debug, Default)]
pub struct Shape {
    paths: BTreeMap<String, BTreeSet<&'static str>>,
    /// Lists and tables without anything in them: nothing is known about what would be.
    empty: BTreeSet<String>,
}

impl Shape {
    /// The shape of a body, which is JSON in fastjson's dialect.
    pub fn of(body: &[u8]) -> Result<Shape, String> {
        let text = lenient_json::normalise(body).map_err(|error| error.to_string())?;
        let value: Value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
        let mut shape = Shape::default();
        shape.walk("$", None, &value);
        Ok(shape)
    }

    fn walk(&mut self, path: &str, key: Option<&str>, value: &Value) {
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "decimal",
            Value::Number(_) => "integer",
            Value::String(_) => "text",
            Value::Array(_) => "list",
            Value::Object(_) => "object",
        };
        let is_table = key.is_some_and(|key| KEYED_BY_DATA.contains(&key));
        let kind = if is_table && matches!(kind, "list" | "object") { "table" } else { kind };
        self.paths.entry(path.to_owned()).or_default().insert(kind);
        match value {
            // Objects whose keys are objects are read as lists of pairs.
            Value::Array(pairs) if is_table => {
                self.walk_all(&format!("{path}{{key}}"), pairs.iter().map(|pair| &pair[0]));
                self.walk_all(&format!("{path}{{}}"), pairs.iter().map(|pair| &pair[1]));
            }
            Value::Array(elements) => {
                let key = key.filter(|key| LISTS_OF_TABLES.contains(key)).map(|_| A_TABLE);
                self.walk_each(&format!("{path}[]"), key, elements.iter());
            }
            Value::Object(members) if is_table => {
                if members.is_empty() {
                    self.walk_all(&format!("{path}{{key}}"), members.values());
                }
                self.walk_all(&format!("{path}{{}}"), members.values());
            }
            Value::Object(members) => {
                for (key, value) in members {
                    self.walk(&format!("{path}.{key}"), Some(key), value);
                }
            }
            _ => {}
        }
    }

    fn walk_all<'v>(&mut self, path: &str, values: impl ExactSizeIterator<Item = &'v Value>) {
        self.walk_each(path, None, values);
    }

    fn walk_each<'v>(&mut self, path: &str, key: Option<&str>, values: impl ExactSizeIterator<Item = &'v Value>) {
        if values.len() == 0 && !self.paths.contains_key(path) {
            self.empty.insert(path.to_owned());
        }
        for value in values {
            self.empty.remove(path);
            self.walk(path, key, value);
        }
    }

    /// What is different in `ours`, one line each.
    pub fn differences(&self, ours: &Shape) -> Vec<String> {
        let mut found = Vec::new();
        let unknown = |empty: &BTreeSet<String>, path: &str| empty.iter().any(|empty| path.starts_with(empty.as_str()));
        for (path, kinds) in &self.paths {
            match ours.paths.get(path) {
                Some(other) if other == kinds => {}
                // Null or absent is what fastjson makes of a missing value, so it goes with every kind.
                Some(other) if kinds.union(other).filter(|kind| **kind != "null").count() <= 1 => {}
                Some(other) => found.push(format!("body {path} is {}, ours {}", list(kinds), list(other))),
                None if unknown(&ours.empty, path) => {}
                None => found.push(format!("body {path} is missing")),
            }
        }
        for path in ours.paths.keys() {
            if !self.paths.contains_key(path) && !unknown(&self.empty, path) {
                found.push(format!("body {path} is extra"));
            }
        }
        found
    }
}

fn list(kinds: &BTreeSet<&'static str>) -> String {
    kinds.iter().copied().collect::<Vec<_>>().join(" or ")
}

#[test]
fn shapes_differ_by_keys_and_kinds_and_not_by_data() {
    let check = |recorded: &str, ours: &str| {
        Shape::of(recorded.as_bytes()).unwrap().differences(&Shape::of(ours.as_bytes()).unwrap())
    };
    assert_eq!(check(r#"{"a":[{"b":1},{"b":2}]}"#, r#"{"a":[{"b":7}]}"#).len(), 0);
    assert_eq!(check(r#"{"a":[]}"#, r#"{"a":[{"b":7}]}"#).len(), 0);
    let queues = r#"{"offsetTable":{{"queueId":1}:2,{"queueId":2}:3}}"#;
    assert_eq!(check(queues, r#"{"offsetTable":{{"queueId":7}:8}}"#).len(), 0);
    assert_eq!(check(queues, r#"{"offsetTable":{}}"#).len(), 0);
    assert_eq!(check(queues, r#"{"offsetTable":{{"queueId":7}:"8"}}"#), ["body $.offsetTable{} is integer, ours text"]);
    assert_eq!(check(r#"{"a":1}"#, r#"{"a":"1","b":true}"#), ["body $.a is integer, ours text", "body $.b is extra"]);
    assert_eq!(check(r#"{"table":{"a":"1"}}"#, r#"{"table":{}}"#), ["body $.table.a is missing"]);
}
