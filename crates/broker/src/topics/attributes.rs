//! Attributes of topics: which there are, what they can be, and changes of them.
//!
//! Sources: `common/.../TopicAttributes.java`, `common/.../attribute/{Attribute,AttributeUtil}.java`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::{FLUSH_ATTRIBUTE, MESSAGE_TYPE_ATTRIBUTE};

/// Why a change of attributes is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttributeError {
    /// Neither an addition nor a removal.
    #[error("attribute `{0}` starts with neither + nor -, or is empty")]
    Sign(String),
    /// Nobody knows it.
    #[error("attribute `{0}` is not known")]
    Unknown(String),
    /// It cannot have that value.
    #[error("attribute {name} is `{value}`; it can be {allowed}")]
    Value {
        /// The attribute.
        name: &'static str,
        /// The value.
        value: String,
        /// What is possible.
        allowed: String,
    },
    /// It is given when a topic is created, and stays.
    #[error("attribute {0} cannot be changed after the topic was created")]
    Fixed(&'static str),
    /// Something is taken away from a topic that is being created.
    #[error("attribute `{0}` is taken away from a topic that is only being created")]
    Removal(String),
    /// Topics that take everything are switched off.
    #[error("message type MIXED is switched off (enableMixedMessageType)")]
    MixedOff,
}

/// What an attribute can be.
enum Allowed {
    OneOf(&'static [&'static str]),
    Whole(RangeInclusive<i64>),
}

struct Attribute {
    name: &'static str,
    allowed: Allowed,
    can_change: bool,
}

const MIXED: &str = "MIXED";

/// Every attribute. Those that mean nothing here are kept and shown.
const ATTRIBUTES: [Attribute; 6] = [
    Attribute {
        name: MESSAGE_TYPE_ATTRIBUTE,
        allowed: Allowed::OneOf(&["UNSPECIFIED", "NORMAL", "FIFO", "DELAY", "TRANSACTION", MIXED, "PRIORITY", "LITE"]),
        can_change: true,
    },
    Attribute { name: FLUSH_ATTRIBUTE, allowed: Allowed::OneOf(&["ASYNC_FLUSH", "SYNC_FLUSH"]), can_change: true },
    Attribute { name: "queue.type", allowed: Allowed::OneOf(&["SimpleCQ", "BatchCQ"]), can_change: false },
    Attribute { name: "cleanup.policy", allowed: Allowed::OneOf(&["DELETE", "COMPACTION"]), can_change: false },
    Attribute { name: "reserve.time", allowed: Allowed::Whole(-1..=i64::MAX), can_change: true },
    Attribute { name: "lite.topic.expiration", allowed: Allowed::Whole(-1..=43_200), can_change: true },
];

/// What the changes are made to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The topic is being created.
    pub is_new: bool,
    /// Topics may take messages of every type (`enableMixedMessageType`).
    pub mixed: bool,
}

/// Applies `+name=value,-name` to attributes: all of it, or nothing where any of it is refused.
pub fn change(attributes: &mut BTreeMap<String, String>, changes: &str, rules: Rules) -> Result<(), AttributeError> {
    let changes = changes.split(',').map(str::trim).filter(|change| !change.is_empty());
    change_each(attributes, changes.map(|change| with_value(change).unwrap_or((change, None))), rules)
}

/// An addition in two parts: `+name`, and its value.
fn with_value(change: &str) -> Option<(&str, Option<&str>)> {
    let (name, value) = change.split_once('=').filter(|_| change.starts_with('+'))?;
    Some((name, Some(value)))
}

/// Applies changes to attributes, `+name` with a value and `-name` with or without one: all, or none where any of them is
/// refused.
pub fn change_each<'c>(
    attributes: &mut BTreeMap<String, String>,
    changes: impl IntoIterator<Item = (&'c str, Option<&'c str>)>,
    rules: Rules,
) -> Result<(), AttributeError> {
    let mut changed = attributes.clone();
    for (change, value) in changes {
        let refused = || AttributeError::Sign(short(change));
        if let Some(name) = change.strip_prefix('+') {
            let value = value.ok_or_else(refused)?.trim();
            let attribute = find(name.trim(), rules)?;
            check_value(attribute, value, rules)?;
            changed.insert(attribute.name.to_owned(), value.to_owned());
        } else {
            let name = change.strip_prefix('-').ok_or_else(refused)?.trim();
            let attribute = find(name, rules)?;
            if rules.is_new {
                return Err(AttributeError::Removal(attribute.name.to_owned()));
            }
            changed.remove(attribute.name);
        }
    }
    *attributes = changed;
    Ok(())
}

fn find(name: &str, rules: Rules) -> Result<&'static Attribute, AttributeError> {
    let known = ATTRIBUTES.iter().find(|attribute| attribute.name == name);
    let attribute = known.ok_or_else(|| AttributeError::Unknown(short(name)))?;
    if !attribute.can_change && !rules.is_new {
        return Err(AttributeError::Fixed(attribute.name));
    }
    Ok(attribute)
}

fn check_value(attribute: &Attribute, value: &str, rules: Rules) -> Result<(), AttributeError> {
    let (fits, allowed) = match &attribute.allowed {
        Allowed::OneOf(values) => (values.contains(&value), values.join(" or ")),
        Allowed::Whole(range) => {
            let fits = value.parse().is_ok_and(|number| range.contains(&number));
            (fits, format!("a whole number from {} to {}", range.start(), range.end()))
        }
    };
    if !fits {
        return Err(AttributeError::Value { name: attribute.name, value: short(value), allowed });
    }
    if attribute.name == MESSAGE_TYPE_ATTRIBUTE && value == MIXED && !rules.mixed {
        return Err(AttributeError::MixedOff);
    }
    Ok(())
}

fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: Rules = Rules { is_new: true, mixed: true };
    const KNOWN: Rules = Rules { is_new: false, mixed: true };

    #[test]
    fn attributes_are_added_and_taken_away() {
        let mut attributes = BTreeMap::new();
        change(&mut attributes, "+message.type=FIFO, +queue.type=SimpleCQ,", NEW).unwrap();
        change(&mut attributes, "-message.type,+reserve.time=-1", KNOWN).unwrap();
        let expected = [("queue.type", "SimpleCQ"), ("reserve.time", "-1")];
        assert_eq!(attributes, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_changes_nothing() {
        for (changes, rules, text) in [
            ("message.type=FIFO", NEW, "attribute `message.type=FIFO` starts with neither + nor -, or is empty"),
            ("+message.type", NEW, "attribute `+message.type` starts with neither + nor -, or is empty"),
            ("+colour=red", NEW, "attribute `colour` is not known"),
            ("-colour", KNOWN, "attribute `colour` is not known"),
            ("-message.type", NEW, "attribute `message.type` is taken away from a topic that is only being created"),
            ("+queue.type=SimpleCQ", KNOWN, "attribute queue.type cannot be changed after the topic was created"),
            ("-cleanup.policy", KNOWN, "attribute cleanup.policy cannot be changed after the topic was created"),
            (
                "+flush.disk.type=sometimes",
                NEW,
                "attribute flush.disk.type is `sometimes`; it can be ASYNC_FLUSH or SYNC_FLUSH",
            ),
            (
                "+lite.topic.expiration=43201",
                NEW,
                "attribute lite.topic.expiration is `43201`; it can be a whole number from -1 to 43200",
            ),
            (
                "+message.type=MIXED",
                Rules { mixed: false, ..NEW },
                "message type MIXED is switched off (enableMixedMessageType)",
            ),
        ] {
            let mut attributes = BTreeMap::new();
            let changes = format!("+reserve.time=5,{changes}");
            assert_eq!(change(&mut attributes, &changes, rules).unwrap_err().to_string(), text);
            assert!(attributes.is_empty(), "{changes}");
        }
        let error = change(&mut BTreeMap::new(), "+message.type=fifo", NEW).unwrap_err();
        assert!(error.to_string().contains("UNSPECIFIED or NORMAL or FIFO or DELAY"), "{error}");
    }
}
