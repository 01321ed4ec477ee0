//! Sends and pulls as clients make them, with fields changed as a test likes.

use protocol::codes::{Language, RequestCode, ResponseCode};
use protocol::frame::Codec;
use protocol::writer::FrameWriter;

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

/// Who a client says it is.
pub struct Introduction<'i> {
    /// Client id.
    pub id: &'i str,
    /// Group of consumers that it is in, and of producers.
    pub group: &'i str,
    /// Topic that it consumes.
    pub topic: &'i str,
    /// Language it is written in.
    pub language: Language,
    /// Ordinal of its version.
    pub version: i32,
}

impl Default for Introduction<'_> {
    fn default() -> Self {
        Introduction { id: "c", group: "cg", topic: "orders", language: Language::JAVA, version: 401 }
    }
}

/// Says who a client is, and waits until the broker knows.
#[track_caller]
pub fn introduce(wire: &mut Wire, who: &Introduction<'_>) {
    let Introduction { id, group, topic, language, version } = who;
    let subscription = format!(r#"{{"expressionType":"TAG","subString":"*","subVersion":1,"topic":"{topic}"}}"#);
    let consumer = format!(
        r#"{{"consumeFromWhere":"CONSUME_FROM_FIRST_OFFSET","consumeType":"CONSUME_PASSIVELY","groupName":"{group}",
        "messageModel":"CLUSTERING","subscriptionDataSet":[{subscription}],"unitMode":false}}"#
    );
    let body = format!(
        r#"{{"clientID":"{id}","consumerDataSet":[{consumer}],"producerDataSet":[{{"groupName":"{group}"}}]}}"#
    );
    let mut bytes = Vec::new();
    let (code, opaque) = (RequestCode::HEART_BEAT.0, 400_000_000);
    FrameWriter::begin(&mut bytes, Codec::Json, code, *language, *version, opaque, 0, None).finish(body.as_bytes());
    wire.send(&bytes);
    let answer = wire.answer(opaque);
    assert_eq!(answer.response_code(), ResponseCode::SUCCESS, "{answer:?}");
}

fn replaced<'f>(usual: &[(&'f str, &'f str)], more: &[(&'f str, &'f str)]) -> Vec<(&'f str, &'f str)> {
    let is_new = |name: &str| more.iter().all(|(other, _)| *other != name);
    usual.iter().filter(|(name, _)| is_new(name)).chain(more).copied().collect()
}
