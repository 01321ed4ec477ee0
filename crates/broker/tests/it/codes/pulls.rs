//! Answers to pulls, check by check, and the offsets that go with them.

use protocol::codes::{RequestCode, ResponseCode};
use protocol::record;

use crate::calls::{pull, send};
use crate::server::Server;
use crate::wire::{Message, Wire};

/// Refused with this code and kind, and without offsets.
#[track_caller]
fn check_refused(answer: &Message, code: ResponseCode, kind: Option<i64>) {
    assert_eq!(answer.response_code(), code, "{answer:?}");
    assert_eq!(answer.fields.contains_key("forbiddenType").then(|| answer.number("forbiddenType")), kind, "{answer:?}");
    assert!(answer.remark.is_some() && answer.body.is_empty() && !answer.fields.contains_key("nextBeginOffset"));
}

/// Ended with this code, and where to go on.
#[track_caller]
fn check_ended(answer: &Message, code: ResponseCode, next: i64, max: i64, messages: usize) {
    assert_eq!(answer.response_code(), code, "{answer:?}");
    let offsets = ["nextBeginOffset", "minOffset", "maxOffset", "suggestWhichBrokerId"].map(|name| answer.number(name));
    assert_eq!(offsets, [next, 0, max, 0], "{answer:?}");
    assert_eq!(record::records(&answer.body).count(), messages, "{answer:?}");
}

/// A broker with three messages with tags a, b, c in queue 0 of topic `t`.
fn filled() -> (Server, Wire) {
    let server = Server::start();
    let mut wire = server.connect();
    for tag in ["a", "b", "c"] {
        let answer = send(&mut wire, "t", &[("properties", &format!("TAGS\u{1}{tag}"))], b"x");
        assert_eq!(answer.response_code(), ResponseCode::SUCCESS, "{answer:?}");
    }
    (server, wire)
}

/// Joins a group with a subscription to topic `t`.
fn join(wire: &mut Wire, group: &str, model: &str, tags: &str, version: i64) {
    let subscription =
        serde_json::json!({ "topic": "t", "subString": tags, "subVersion": version, "expressionType": "TAG" });
    let consumer = serde_json::json!({ "groupName": group, "messageModel": model,
        "consumeType": "CONSUME_PASSIVELY", "subscriptionDataSet": [subscription] });
    let heartbeat = serde_json::json!({ "clientID": "c", "consumerDataSet": [consumer], "producerDataSet": [] });
    let answer = wire.call(RequestCode::HEART_BEAT, &[], heartbeat.to_string().as_bytes());
    assert_eq!(answer.response_code(), ResponseCode::SUCCESS, "{answer:?}");
}

#[test]
fn a_pull_ends_as_what_the_queue_holds_says() {
    let (_server, mut wire) = filled();
    let at = |offset: &'static str| [("queueOffset", offset)];
    check_ended(&pull(&mut wire, "t", &at("0")), ResponseCode::SUCCESS, 3, 3, 3);
    check_ended(&pull(&mut wire, "t", &at("2")), ResponseCode::SUCCESS, 3, 3, 1);
    check_ended(&pull(&mut wire, "t", &at("3")), ResponseCode::PULL_NOT_FOUND, 3, 3, 0);
    check_ended(&pull(&mut wire, "t", &at("4")), ResponseCode::PULL_OFFSET_MOVED, 3, 3, 0);
    check_ended(&pull(&mut wire, "t", &at("-1")), ResponseCode::PULL_OFFSET_MOVED, 0, 3, 0);
    check_ended(&pull(&mut wire, "t", &[("queueId", "1")]), ResponseCode::PULL_NOT_FOUND, 0, 0, 0);
    let beyond = [("queueId", "1"), ("queueOffset", "5")];
    check_ended(&pull(&mut wire, "t", &beyond), ResponseCode::PULL_OFFSET_MOVED, 0, 0, 0);
    check_ended(&pull(&mut wire, "t", &[("subscription", "a || c")]), ResponseCode::SUCCESS, 3, 3, 2);
    check_ended(&pull(&mut wire, "t", &[("subscription", "none")]), ResponseCode::PULL_RETRY_IMMEDIATELY, 3, 3, 0);
    check_ended(&pull(&mut wire, "t", &[("maxMsgNums", "2")]), ResponseCode::SUCCESS, 2, 3, 2);
    check_ended(&pull(&mut wire, "t", &[("maxMsgNums", "0")]), ResponseCode::SUCCESS, 1, 3, 1);
}

#[test]
fn what_may_not_be_read_is_refused_with_its_kind() {
    let (mut server, mut wire) = filled();
    check_refused(&pull(&mut wire, "none", &[]), ResponseCode::TOPIC_NOT_EXIST, None);
    for queue_id in ["-1", "4"] {
        check_refused(&pull(&mut wire, "t", &[("queueId", queue_id)]), ResponseCode::INVALID_PARAMETER, None);
    }
    let write_only = [("topic", "w"), ("readQueueNums", "4"), ("writeQueueNums", "4"), ("perm", "2")];
    wire.call(RequestCode::UPDATE_AND_CREATE_TOPIC, &write_only, b"");
    check_refused(&pull(&mut wire, "w", &[]), ResponseCode::NO_PERMISSION, Some(3));
    let narrow = [("topic", "n"), ("readQueueNums", "1"), ("writeQueueNums", "4"), ("perm", "6")];
    wire.call(RequestCode::UPDATE_AND_CREATE_TOPIC, &narrow, b"");
    check_refused(&pull(&mut wire, "n", &[("queueId", "1")]), ResponseCode::INVALID_PARAMETER, None);
    let disabled = br#"{"groupName":"off","consumeEnable":false}"#;
    wire.call(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &[], disabled);
    check_refused(&pull(&mut wire, "t", &[("consumerGroup", "off")]), ResponseCode::NO_PERMISSION, Some(2));
    server.restart_with(|config| config.permission = 2);
    check_refused(&pull(&mut server.connect(), "t", &[]), ResponseCode::NO_PERMISSION, Some(1));
}

#[test]
fn without_a_subscription_of_its_own_a_pull_needs_that_of_its_group() {
    let (_server, mut wire) = filled();
    let own = |group: &'static str, version: &'static str| {
        [("consumerGroup", group), ("sysFlag", "0"), ("subscription", "ignored"), ("subVersion", version)]
    };
    check_refused(&pull(&mut wire, "t", &own("nobody", "0")), ResponseCode::SUBSCRIPTION_NOT_EXIST, None);
    join(&mut wire, "cg", "CLUSTERING", "b", 10);
    check_ended(&pull(&mut wire, "t", &own("cg", "10")), ResponseCode::SUCCESS, 3, 3, 1);
    check_ended(&pull(&mut wire, "t", &own("cg", "0")), ResponseCode::SUCCESS, 3, 3, 1);
    check_refused(&pull(&mut wire, "t", &own("cg", "11")), ResponseCode::SUBSCRIPTION_NOT_LATEST, None);
    send(&mut wire, "other", &[], b"x");
    check_refused(&pull(&mut wire, "other", &own("cg", "0")), ResponseCode::SUBSCRIPTION_NOT_EXIST, None);
    join(&mut wire, "cg", "CLUSTERING", "*", 12);
    check_ended(&pull(&mut wire, "t", &own("cg", "12")), ResponseCode::SUCCESS, 3, 3, 3);
}

#[test]
fn a_group_that_may_not_broadcast_is_refused() {
    let (_server, mut wire) = filled();
    let settings = br#"{"groupName":"cast","consumeBroadcastEnable":false}"#;
    wire.call(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &[], settings);
    join(&mut wire, "cast", "BROADCASTING", "*", 1);
    let fields = [("consumerGroup", "cast"), ("sysFlag", "0")];
    check_refused(&pull(&mut wire, "t", &fields), ResponseCode::NO_PERMISSION, Some(4));
}

#[test]
fn filters_of_an_unknown_kind_are_refused() {
    let (_server, mut wire) = filled();
    for kind in ["SQL92", "FOO"] {
        let fields = [("expressionType", kind), ("subscription", "a > 3")];
        check_refused(&pull(&mut wire, "t", &fields), ResponseCode::SYSTEM_ERROR, None);
    }
}

#[test]
fn a_held_pull_ends_with_a_message_or_with_its_time() {
    let (server, mut wire) = filled();
    let waiting = |ms: &'static str, tags: &'static str| {
        [("queueOffset", "3"), ("sysFlag", "6"), ("suspendTimeoutMillis", ms), ("subscription", tags)]
    };
    check_ended(&pull(&mut wire, "t", &waiting("30", "*")), ResponseCode::PULL_NOT_FOUND, 3, 3, 0);
    check_ended(&pull(&mut wire, "t", &waiting("-5", "*")), ResponseCode::PULL_NOT_FOUND, 3, 3, 0);
    let usual = [("consumerGroup", "cg"), ("topic", "t"), ("queueId", "0"), ("maxMsgNums", "32")];
    let fields = [&usual[..], &waiting("20000", "d")].concat();
    let held = wire.request(RequestCode::PULL_MESSAGE, &fields, b"");
    wire.settle();
    let mut producer = server.connect();
    send(&mut producer, "t", &[("properties", "TAGS\u{1}e")], b"not for the filter");
    send(&mut producer, "t", &[("properties", "TAGS\u{1}d")], b"for the filter");
    let answer = wire.answer(held);
    check_ended(&answer, ResponseCode::SUCCESS, 5, 5, 1);
}
