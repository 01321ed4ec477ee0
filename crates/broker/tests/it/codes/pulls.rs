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
    join_with(wire, group, model, "TAG", tags, version);
}

/// Joins a group with a subscription of any kind to topic `t`.
fn join_with(wire: &mut Wire, group: &str, model: &str, kind: &str, expression: &str, version: i64) {
    let subscription =
        serde_json::json!({ "topic": "t", "subString": expression, "subVersion": version, "expressionType": kind });
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
    server.restart_with(|config| config.permission = 2.into());
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

/// A broker that filters by properties, with five messages whose property `n` is 0 to 4 in queue 0 of topic `t`.
fn filtering() -> (Server, Wire) {
    let server = Server::start_with(|config| config.property_filter = true.into());
    let mut wire = server.connect();
    for n in 0..5 {
        let answer = send(&mut wire, "t", &[("properties", &format!("n\u{1}{n}\u{2}TAGS\u{1}a"))], b"x");
        assert_eq!(answer.response_code(), ResponseCode::SUCCESS, "{answer:?}");
    }
    (server, wire)
}

fn sql(expression: &str) -> [(&'static str, &str); 2] {
    [("expressionType", "SQL92"), ("subscription", expression)]
}

#[test]
fn a_pull_brings_the_messages_whose_properties_pass() {
    let (_server, mut wire) = filtering();
    check_ended(&pull(&mut wire, "t", &sql("n > 2 and TAGS = 'a'")), ResponseCode::SUCCESS, 5, 5, 2);
    check_ended(
        &pull(&mut wire, "t", &sql("n > 5 OR none IS NOT NULL")),
        ResponseCode::PULL_RETRY_IMMEDIATELY,
        5,
        5,
        0,
    );
    let few = [&sql("n IN ('0', '2', '4')")[..], &[("maxMsgNums", "2")]].concat();
    check_ended(&pull(&mut wire, "t", &few), ResponseCode::SUCCESS, 4, 5, 2);
}

#[test]
fn filters_that_cannot_be_read_are_refused() {
    let (mut server, mut wire) = filtering();
    check_refused(&pull(&mut wire, "t", &sql("n >")), ResponseCode::SUBSCRIPTION_PARSE_FAILED, None);
    check_refused(&pull(&mut wire, "t", &sql("")), ResponseCode::SUBSCRIPTION_PARSE_FAILED, None);
    let foo = [("expressionType", "FOO"), ("subscription", "n > 3")];
    check_refused(&pull(&mut wire, "t", &foo), ResponseCode::SUBSCRIPTION_PARSE_FAILED, None);
    server.restart_with(|config| config.property_filter = false.into());
    check_refused(&pull(&mut server.connect(), "t", &sql("n > 3")), ResponseCode::SYSTEM_ERROR, None);
}

#[test]
fn a_group_is_filtered_by_the_properties_that_its_heartbeat_names() {
    let (mut server, mut wire) = filtering();
    let own = [("consumerGroup", "cg"), ("sysFlag", "0")];
    join_with(&mut wire, "cg", "CLUSTERING", "SQL92", "n BETWEEN 1 AND 3", 1);
    check_ended(&pull(&mut wire, "t", &own), ResponseCode::SUCCESS, 5, 5, 3);
    join_with(&mut wire, "cg", "CLUSTERING", "SQL92", "n BETWEEN 1 AND", 2);
    check_refused(&pull(&mut wire, "t", &own), ResponseCode::FILTER_DATA_NOT_EXIST, None);
    join_with(&mut wire, "cg", "CLUSTERING", "FOO", "n", 3);
    check_refused(&pull(&mut wire, "t", &own), ResponseCode::FILTER_DATA_NOT_EXIST, None);
    join_with(&mut wire, "cg", "CLUSTERING", "SQL92", "n = 4", 4);
    check_ended(&pull(&mut wire, "t", &own), ResponseCode::SUCCESS, 5, 5, 1);
    server.restart_with(|config| config.property_filter = false.into());
    let mut wire = server.connect();
    join_with(&mut wire, "cg", "CLUSTERING", "SQL92", "n = 4", 4);
    check_refused(&pull(&mut wire, "t", &own), ResponseCode::SYSTEM_ERROR, None);
}

#[test]
fn a_consumer_asks_first_whether_its_filter_is_understood() {
    let (mut server, mut wire) = filtering();
    let check = |wire: &mut Wire, kind: &str, expression: &str| {
        let wanted = serde_json::json!({ "topic": "t", "subString": expression, "expressionType": kind });
        let body = serde_json::json!({ "clientId": "c", "group": "cg", "subscriptionData": wanted }).to_string();
        wire.call(RequestCode::CHECK_CLIENT_CONFIG, &[], body.as_bytes()).response_code()
    };
    assert_eq!(check(&mut wire, "SQL92", "n > 3"), ResponseCode::SUCCESS);
    assert_eq!(check(&mut wire, "SQL92", "n > 'x'"), ResponseCode::SUBSCRIPTION_PARSE_FAILED);
    assert_eq!(check(&mut wire, "TAG", "a || b"), ResponseCode::SUCCESS);
    assert_eq!(check(&mut wire, "FOO", "a"), ResponseCode::SUBSCRIPTION_PARSE_FAILED);
    server.restart_with(|config| config.property_filter = false.into());
    assert_eq!(check(&mut server.connect(), "SQL92", "n > 3"), ResponseCode::SYSTEM_ERROR);
}

#[test]
fn a_held_pull_waits_for_a_message_that_passes() {
    let (server, mut wire) = filtering();
    let usual = [("consumerGroup", "cg"), ("topic", "t"), ("queueId", "0"), ("maxMsgNums", "32"), ("queueOffset", "5")];
    let waiting = [("sysFlag", "6"), ("suspendTimeoutMillis", "20000")];
    let fields = [&usual[..], &waiting, &sql("n = 7")].concat();
    let held = wire.request(RequestCode::PULL_MESSAGE, &fields, b"");
    wire.settle();
    let mut producer = server.connect();
    for n in [6, 7] {
        send(&mut producer, "t", &[("properties", &format!("n\u{1}{n}"))], b"x");
    }
    check_ended(&wire.answer(held), ResponseCode::SUCCESS, 7, 7, 1);
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
