//! What names, texts and times of a request may be.

use std::time::Duration;

use protocol::v2::{self, Code, FilterExpression, FilterType};

use super::call::name;
use super::code::Refused;
use crate::broker::Broker;
use crate::filter::{Filter, FilterKind};
use crate::{names, pull};

/// Longest message group, in bytes.
const MESSAGE_GROUP_BYTES_MAX: usize = 63;

/// The topic that a resource names: legal, and not the system's own.
pub fn topic(resource: &Option<v2::Resource>) -> Result<&str, Refused> {
    let topic = name(resource);
    names::check_topic(topic).map_err(Refused::topic)?;
    if topic.len() > names::TOPIC_BYTES_MAX {
        let error = names::NameError::TooLong { what: "topic", size: topic.len(), limit: names::TOPIC_BYTES_MAX };
        return Err(Refused::topic(error));
    }
    // Cluster and broker have topics of their names, which upstream does not keep from anybody here.
    if names::is_system(topic, "", "") {
        return Err(Refused::new(Code::IllegalTopic, format!("cannot access system topic: {topic}")));
    }
    Ok(topic)
}

/// The consumer group that a resource names.
pub fn group(resource: &Option<v2::Resource>) -> Result<&str, Refused> {
    let group = name(resource);
    names::check_group(group).map_err(Refused::group)?;
    if group.starts_with("CID_RMQ_SYS_") {
        return Err(Refused::new(Code::IllegalConsumerGroup, format!("cannot use system consumer group: {group}")));
    }
    Ok(group)
}

/// Kind and text of an expression; tags unless it says otherwise, and all of them if there is none.
pub fn expression(given: Option<&FilterExpression>) -> (FilterKind, &str) {
    match given {
        Some(given) if given.r#type() == FilterType::Sql => (FilterKind::Sql92, &given.expression),
        Some(given) => (FilterKind::Tag, &given.expression),
        None => (FilterKind::Tag, ""),
    }
}

/// What an expression lets pass.
pub fn filter(broker: &Broker, given: Option<&FilterExpression>) -> Result<Filter, Refused> {
    let (kind, text) = expression(given);
    Ok(pull::read_filter(broker, kind, text)?)
}

/// A length of time; `None` if it is negative. The conversion of prost negates it, which the least number cannot be.
pub fn duration(given: prost_types::Duration) -> Option<Duration> {
    const SECOND: i32 = 1_000_000_000;
    let seconds = given.seconds.checked_add(i64::from(given.nanos.div_euclid(SECOND)))?;
    Some(Duration::new(seconds.try_into().ok()?, given.nanos.rem_euclid(SECOND).unsigned_abs()))
}

/// A tag; an empty one is none.
pub fn tag(tag: &str) -> Result<(), Refused> {
    let refused = |what| Err(Refused::new(Code::IllegalMessageTag, format!("the tag {what}")));
    match tag {
        "" => Ok(()),
        tag if is_blank(tag) => refused("is blank"),
        tag if tag.contains('|') => refused("contains a vertical bar"),
        tag if has_control(tag) => refused("contains a control character"),
        _ => Ok(()),
    }
}

/// A key; an empty one is none.
pub fn key(key: &str) -> Result<(), Refused> {
    let refused = |what| Err(Refused::new(Code::IllegalMessageKey, format!("a key of the message {what}")));
    match key {
        "" => Ok(()),
        key if is_blank(key) => refused("is blank"),
        key if has_control(key) => refused("contains a control character"),
        _ => Ok(()),
    }
}

/// A message group; an empty one is none.
pub fn message_group(group: &str) -> Result<(), Refused> {
    let refused = |what: &str| Err(Refused::new(Code::IllegalMessageGroup, format!("the message group {what}")));
    match group {
        "" => Ok(()),
        group if is_blank(group) => refused("is blank"),
        group if group.len() > MESSAGE_GROUP_BYTES_MAX => {
            refused(&format!("is {} bytes long; the limit is {MESSAGE_GROUP_BYTES_MAX}", group.len()))
        }
        group if has_control(group) => refused("contains a control character"),
        _ => Ok(()),
    }
}

/// A property of the user.
pub fn property(key: &str, value: &str) -> Result<(), Refused> {
    let refused = |text: String| Err(Refused::new(Code::IllegalMessagePropertyKey, text));
    if RESERVED.contains(&key) {
        return refused(format!("property `{key}` is used by the system"));
    }
    if has_control(key) {
        return refused(format!("the key {key:?} of a property contains a control character"));
    }
    if has_control(value) {
        return refused(format!("the value of property `{key}` contains a control character"));
    }
    Ok(())
}

fn is_blank(text: &str) -> bool {
    text.chars().all(char::is_whitespace)
}

/// U+0000 to U+001F and U+007F to U+009F.
fn has_control(text: &str) -> bool {
    // Most texts are ASCII, where a look at the bytes is enough.
    if text.is_ascii() {
        return text.bytes().any(|byte| byte < 0x20 || byte == 0x7F);
    }
    text.chars().any(char::is_control)
}

/// Names of properties that users may not set and do not see.
const RESERVED: [&str; 55] = [
    "KEYS",
    "TAGS",
    "WAIT",
    "DELAY",
    "RETRY_TOPIC",
    "REAL_TOPIC",
    "REAL_QID",
    "TRAN_MSG",
    "PGROUP",
    "MIN_OFFSET",
    "MAX_OFFSET",
    "BUYER_ID",
    "ORIGIN_MESSAGE_ID",
    "TRANSFER_FLAG",
    "CORRECTION_FLAG",
    "MQ2_FLAG",
    "RECONSUME_TIME",
    "MSG_REGION",
    "TRACE_ON",
    "UNIQ_KEY",
    "EXTEND_UNIQ_INFO",
    "MAX_RECONSUME_TIMES",
    "CONSUME_START_TIME",
    "INSTANCE_ID",
    "CORRELATION_ID",
    "REPLY_TO_CLIENT",
    "TTL",
    "ARRIVE_TIME",
    "PUSH_REPLY_TIME",
    "CLUSTER",
    "MSG_TYPE",
    "POP_CK",
    "POP_CK_OFFSET",
    "1ST_POP_TIME",
    "TRAN_PREPARED_QUEUE_OFFSET",
    "DUP_INFO",
    "INNER_MULTI_QUEUE_OFFSET",
    "TIMER_DELAY_MS",
    "TIMER_DELAY_SEC",
    "TIMER_DELIVER_MS",
    "TIMER_ENQUEUE_MS",
    "TIMER_DEQUEUE_MS",
    "TIMER_ROLL_TIMES",
    "TIMER_OUT_MS",
    "TIMER_DEL_UNIQKEY",
    "TIMER_DELAY_LEVEL",
    "__BORNHOST",
    "BORN_TIMESTAMP",
    "DLQ_ORIGIN_TOPIC",
    "DLQ_ORIGIN_MESSAGE_ID",
    "__CRC32#",
    "ORIGIN_GROUP",
    "_SYS_MSG_PRIORITY_",
    "__LITE_TOPIC",
    "TRACE_CONTEXT",
];

/// Names that stand for the system's own besides, which users may set and do not see: upstream shows them by mistake.
const INTERNAL: [&str; 9] = [
    "__SHARDINGKEY",
    "CHECK_IMMUNITY_TIME_IN_SECONDS",
    "INNER_NUM",
    "INNER_MULTI_DISPATCH",
    "TRANSACTION_CHECK_TIMES",
    "TIMER_ROLL_LABEL",
    "__transactionId__",
    "TRANSACTION_ID",
    "__STARTDELIVERTIME",
];

/// Whether users see a stored property of that name.
pub fn is_shown(name: &str) -> bool {
    !RESERVED.contains(&name) && !INTERNAL.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(name: &str) -> Option<v2::Resource> {
        Some(v2::Resource { resource_namespace: String::new(), name: name.to_owned() })
    }

    #[track_caller]
    fn check<T>(result: Result<T, Refused>, code: Code) {
        let found = result.err().map_or(Code::Ok, |refused| refused.code);
        assert_eq!(found, code);
    }

    #[test]
    fn topics_and_groups_that_cannot_be_are_refused() {
        check(topic(&resource("orders")), Code::Ok);
        check(topic(&resource(&"x".repeat(127))), Code::Ok);
        for wrong in ["", " ", "a b", "a$b", &"x".repeat(128), &format!("%DLQ%{}", "x".repeat(123))] {
            check(topic(&resource(wrong)), Code::IllegalTopic);
        }
        for system in ["TBW102", "SCHEDULE_TOPIC_XXXX", "rmq_sys_wheel_timer", "RMQ_SYS_TRACE_TOPIC", "SELF_TEST_TOPIC"]
        {
            check(topic(&resource(system)), Code::IllegalTopic);
        }
        check(topic(&None), Code::IllegalTopic);
        check(group(&resource("g")), Code::Ok);
        check(group(&resource(&"g".repeat(121))), Code::IllegalConsumerGroup);
        check(group(&resource("CID_RMQ_SYS_X")), Code::IllegalConsumerGroup);
        check(group(&None), Code::IllegalConsumerGroup);
    }

    #[test]
    fn tags_keys_groups_and_properties_are_checked() {
        check(tag(""), Code::Ok);
        check(tag("a b"), Code::Ok);
        for wrong in [" \t", "a|b", "a\u{1}", "a\u{85}"] {
            check(tag(wrong), Code::IllegalMessageTag);
        }
        check(key("a|b"), Code::Ok);
        check(key("\u{7f}"), Code::IllegalMessageKey);
        check(message_group(&"é".repeat(31)), Code::Ok);
        check(message_group(&"é".repeat(32)), Code::IllegalMessageGroup);
        check(property("k", "v"), Code::Ok);
        check(property("KEYS", "v"), Code::IllegalMessagePropertyKey);
        check(property("k", "a\u{2}"), Code::IllegalMessagePropertyKey);
        check(property("k\n", "v"), Code::IllegalMessagePropertyKey);
        assert!(is_shown("mine") && !is_shown("UNIQ_KEY") && !is_shown("__SHARDINGKEY"));
    }
}
