//! What kind of message one is, by its properties.
//!
//! A stock broker does not look at it; its proxy does, and so does the gRPC door.
//! Source: `common/.../attribute/TopicMessageType.java`.

use protocol::properties::{
    self, DELAY, LITE_TOPIC, PRIORITY, Properties, SHARDING_KEY, TIMER_DELAY_MS, TIMER_DELAY_SEC, TIMER_DELIVER_MS,
};

use crate::topics::MessageType;

impl MessageType {
    /// The type of a message with these properties; the first that fits counts.
    pub fn of(given: &Properties<'_>) -> MessageType {
        let [half, level, seconds, milliseconds, deliver, group, priority, lite] = given.get_many([
            properties::TRAN_MSG,
            DELAY,
            TIMER_DELAY_SEC,
            TIMER_DELAY_MS,
            TIMER_DELIVER_MS,
            SHARDING_KEY,
            PRIORITY,
            LITE_TOPIC,
        ]);
        if half.is_some_and(|half| half.eq_ignore_ascii_case("true")) {
            MessageType::Transaction
        } else if [level, seconds, milliseconds, deliver].iter().any(Option::is_some) {
            MessageType::Delay
        } else if group.is_some() {
            MessageType::Fifo
        } else if priority.is_some() {
            MessageType::Priority
        } else if lite.is_some() {
            MessageType::Lite
        } else {
            MessageType::Normal
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the one that counts most.
    const TYPES: [(&str, &str, MessageType); 8] = [
        (properties::TRAN_MSG, "true", MessageType::Transaction),
        (DELAY, "1", MessageType::Delay),
        (TIMER_DELAY_SEC, "1", MessageType::Delay),
        (TIMER_DELAY_MS, "1", MessageType::Delay),
        (TIMER_DELIVER_MS, "1", MessageType::Delay),
        (SHARDING_KEY, "g", MessageType::Fifo),
        (PRIORITY, "3", MessageType::Priority),
        (LITE_TOPIC, "l", MessageType::Lite),
    ];

    #[test]
    fn the_first_property_that_says_it_counts() {
        let of = |items: &[(&str, &str, MessageType)]| {
            let mut stored = Vec::new();
            items.iter().rev().for_each(|(name, value, _)| properties::push(&mut stored, name, value));
            MessageType::of(&Properties::new(&stored))
        };
        for first in 0..TYPES.len() {
            assert_eq!(of(&TYPES[first..]), TYPES[first].2);
            assert_eq!(of(&TYPES[first..=first]), TYPES[first].2);
        }
        assert_eq!(of(&[]), MessageType::Normal);
        assert_eq!(of(&[(properties::TRAN_MSG, "false", MessageType::Normal)]), MessageType::Normal);
    }

    #[test]
    fn a_topic_takes_its_own_type_and_a_mixed_one_takes_all() {
        for (_, _, kind) in TYPES {
            assert!(kind.takes(kind) && MessageType::Mixed.takes(kind) && !MessageType::Normal.takes(kind));
        }
    }
}
