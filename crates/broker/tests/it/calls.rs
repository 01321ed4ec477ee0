//! Sends and pulls as clients make them, with fields changed as a test likes.

use protocol::codes::RequestCode;

use crate::wire::{Message, Wire};

/// Sends a message; `more` replaces fields or adds some.
#[track_caller]
pub fn send(wire: &mut Wire, topic: &str, more: &[(&str, &str)], body: &[u8]) -> Message {
    let usual = [
        ("producerGroup", "pg"),
        ("topic", topic),
        ("defaultTopic", "TBW102"),
        ("defaultTopicQueueNums", "4"),
        ("queueId", "0"),
        ("sysFlag", "0"),
        ("bornTimestamp", "1700000000000"),
        ("flag", "0"),
        ("reconsumeTimes", "0"),
    ];
    wire.call(RequestCode::SEND_MESSAGE, &replaced(&usual, more), body)
}

/// Pulls without waiting; `more` replaces fields or adds some.
#[track_caller]
pub fn pull(wire: &mut Wire, topic: &str, more: &[(&str, &str)]) -> Message {
    let usual = [
        ("consumerGroup", "cg"),
        ("topic", topic),
        ("queueId", "0"),
        ("queueOffset", "0"),
        ("maxMsgNums", "32"),
        ("sysFlag", "4"),
        ("commitOffset", "0"),
        ("suspendTimeoutMillis", "0"),
        ("subscription", "*"),
        ("expressionType", "TAG"),
    ];
    wire.call(RequestCode::PULL_MESSAGE, &replaced(&usual, more), b"")
}

fn replaced<'f>(usual: &[(&'f str, &'f str)], more: &[(&'f str, &'f str)]) -> Vec<(&'f str, &'f str)> {
    let is_new = |name: &str| more.iter().all(|(other, _)| *other != name);
    usual.iter().filter(|(name, _)| is_new(name)).chain(more).copied().collect()
}
