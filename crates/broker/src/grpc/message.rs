//! A stored message as gRPC clients see it.

use bytes::Bytes;
use md5::{Digest, Md5};
use prost_types::Timestamp;
use protocol::message_id::OffsetMessageId;
use protocol::properties::{self, Properties};
use protocol::record::Record;
use protocol::v2::{self, DigestType, Encoding, Resource, SystemProperties};

use super::routes::wire_type;
use super::validate;
use crate::names;
use crate::topics::MessageType;

/// The message of a record. `body` is that of the record, for whoever has it without a copy. Handle and attempt are
/// for whoever delivers it to add.
pub fn message_of(record: &Record<'_>, body: Bytes) -> v2::Message {
    let given = record.properties();
    let [retry_topic, unique_id, tag, keys, group, trace] = given.get_many([
        properties::RETRY_TOPIC,
        properties::UNIQ_KEY,
        properties::TAGS,
        properties::KEYS,
        "__SHARDINGKEY",
        "TRACE_CONTEXT",
    ]);
    let [born_host, priority, lite_topic, dead_topic, dead_id] = given.get_many([
        "__BORNHOST",
        "_SYS_MSG_PRIORITY_",
        "__LITE_TOPIC",
        "DLQ_ORIGIN_TOPIC",
        "DLQ_ORIGIN_MESSAGE_ID",
    ]);
    let own = |value: Option<&str>| value.map(str::to_owned);
    let offset_id = || OffsetMessageId { host: record.store_host(), position: record.position() }.to_string();
    let encoding = if record.sys_flag().is_compressed() { Encoding::Gzip } else { Encoding::Identity };
    let system_properties = SystemProperties {
        tag: own(tag),
        keys: keys.map(split_keys).unwrap_or_default(),
        message_id: own(unique_id).unwrap_or_else(offset_id),
        body_digest: Some(digest(&body)),
        body_encoding: encoding.into(),
        message_type: i32::from(wire_type(MessageType::of(&given))),
        born_timestamp: Some(timestamp(record.born_timestamp_ms())),
        born_host: own(born_host).unwrap_or_else(|| record.born_host().ip().to_string()),
        store_timestamp: Some(timestamp(record.store_timestamp_ms())),
        store_host: record.store_host().to_string(),
        delivery_timestamp: due_ms(&given, record.store_timestamp_ms()).map(timestamp),
        receipt_handle: None,
        queue_id: record.queue_id(),
        queue_offset: Some(record.queue_offset() as i64),
        invisible_duration: None,
        delivery_attempt: None,
        message_group: own(group),
        trace_context: own(trace),
        orphaned_transaction_recovery_duration: None,
        dead_letter_queue: dead_topic.zip(dead_id).map(|(topic, message_id)| v2::DeadLetterQueue {
            topic: topic.to_owned(),
            message_id: message_id.to_owned(),
        }),
        lite_topic: own(lite_topic),
        priority: priority.and_then(|priority| priority.parse().ok()).filter(|priority| *priority >= 0),
    };
    // A message that is retried is of its own topic; a dead letter is of the topic where dead letters are.
    let topic = retry_topic.filter(|_| names::is_retry(record.topic())).unwrap_or(record.topic());
    let shown = given.iter().filter(|(name, _)| validate::is_shown(name));
    v2::Message {
        topic: Some(resource(topic)),
        user_properties: shown.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        system_properties: Some(system_properties),
        body,
    }
}

/// A resource of that name, in no namespace.
pub fn resource(name: &str) -> Resource {
    Resource { resource_namespace: String::new(), name: name.to_owned() }
}

fn split_keys(keys: &str) -> Vec<String> {
    keys.split(' ').filter(|key| !key.is_empty()).map(str::to_owned).collect()
}

/// When a delayed message was due, in milliseconds since 1970.
fn due_ms(given: &Properties<'_>, stored_ms: i64) -> Option<i64> {
    let names = [properties::TIMER_DELAY_SEC, properties::TIMER_DELIVER_MS];
    let [seconds, deliver] = given.get_many(names).map(|value| value.and_then(|value| value.trim().parse().ok()));
    // A delivered message was stored when it was due.
    deliver.or(seconds.map(|_: i64| stored_ms))
}

/// MD5 is the only digest on whose text all clients agree: 32 upper-case digits.
fn digest(body: &[u8]) -> v2::Digest {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut checksum = String::with_capacity(32);
    for byte in Md5::digest(body) {
        checksum.push(char::from(DIGITS[usize::from(byte >> 4)]));
        checksum.push(char::from(DIGITS[usize::from(byte & 0xF)]));
    }
    v2::Digest { r#type: DigestType::Md5.into(), checksum }
}

/// A moment given in milliseconds since 1970.
pub fn timestamp(ms: i64) -> Timestamp {
    Timestamp { seconds: ms.div_euclid(1000), nanos: (ms.rem_euclid(1000) * 1_000_000) as i32 }
}
