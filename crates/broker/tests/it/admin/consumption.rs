//! How far groups have come, and what is in the queues.

use protocol::codes::{RequestCode, ResponseCode};

use super::{create_topic, heartbeat, json};
use crate::calls::send;
use crate::server::Server;
use crate::wire::Wire;

/// A topic of one queue with three messages, two of them with tag `a`, of which a group has consumed `consumed`.
fn three_messages(server: &Server, group: &str, consumed: i64) -> Wire {
    let mut wire = server.connect();
    create_topic(&mut wire, "orders", "1");
    for tag in ["a", "b", "a"] {
        let properties = format!("TAGS\u{1}{tag}\u{2}");
        let sent = send(&mut wire, "orders", &[("properties", &properties)], b"x");
        assert_eq!(sent.response_code(), ResponseCode::SUCCESS);
    }
    commit(&mut wire, group, consumed);
    wire
}

#[track_caller]
fn commit(wire: &mut Wire, group: &str, offset: i64) {
    wire.call(RequestCode::GET_SUBSCRIPTIONGROUP_CONFIG, &[("group", group)], b"");
    let offset = offset.to_string();
    let fields = [("consumerGroup", group), ("topic", "orders"), ("queueId", "0"), ("commitOffset", &offset)];
    let answer = wire.call(RequestCode::UPDATE_CONSUMER_OFFSET, &fields, b"");
    assert_eq!(answer.response_code(), ResponseCode::SUCCESS, "{answer:?}");
}

#[test]
fn the_time_span_of_a_queue_says_how_old_the_next_message_is() {
    let server = Server::start();
    let mut wire = three_messages(&server, "cg", 2);
    let fields = [("topic", "orders"), ("group", "cg")];
    let body = json(&wire.call(RequestCode::QUERY_CONSUME_TIME_SPAN, &fields, b""));
    let span = &body["consumeTimeSpanSet"][0];
    let [min, consumed, max] =
        ["minTimeStamp", "consumeTimeStamp", "maxTimeStamp"].map(|name| span[name].as_i64().unwrap());
    assert!(0 < min && min <= consumed && consumed <= max, "{span}");
    assert!(span["delayTime"].as_i64().unwrap() >= 0);
    let missing = wire.call(RequestCode::QUERY_CONSUME_TIME_SPAN, &[("topic", "none"), ("group", "cg")], b"");
    assert_eq!(missing.response_code(), ResponseCode::TOPIC_NOT_EXIST);
}

#[test]
fn the_index_of_a_queue_shows_what_passes_the_filter_of_a_group() {
    let server = Server::start();
    let mut wire = three_messages(&server, "cg", 0);
    heartbeat(&mut wire, "pg", "cg", "orders", "a");
    let fields = [("topic", "orders"), ("queueId", "0"), ("index", "0"), ("count", "10"), ("consumerGroup", "cg")];
    let view = json(&wire.call(RequestCode::QUERY_CONSUME_QUEUE, &fields, b""));
    let passed: Vec<bool> =
        view["queueData"].as_array().unwrap().iter().map(|entry| entry["eval"].as_bool().unwrap()).collect();
    assert_eq!(passed, [true, false, true]);
    assert_eq!((&view["maxQueueIndex"], &view["subscriptionData"]["subString"]), (&3.into(), &"a".into()));
    let fields = [("topic", "orders"), ("queueId", "7"), ("index", "0"), ("count", "10")];
    let missing = wire.call(RequestCode::QUERY_CONSUME_QUEUE, &fields, b"");
    assert_eq!(missing.response_code(), ResponseCode::SYSTEM_ERROR);
}

#[test]
fn all_that_groups_lag_behind_is_one_sum() {
    let server = Server::start();
    let mut wire = three_messages(&server, "cg", 1);
    commit(&mut wire, "other", 3);
    let list = json(&wire.call(RequestCode::GET_BROKER_CONSUME_STATS, &[("isOrder", "false")], b""));
    assert_eq!(list["totalDiff"], 2);
    let ordered = json(&wire.call(RequestCode::GET_BROKER_CONSUME_STATS, &[("isOrder", "true")], b""));
    assert_eq!(ordered["totalDiff"], 0);
}

#[test]
fn offsets_of_a_group_are_given_to_another_unless_its_members_want_other_topics() {
    let server = Server::start();
    let mut wire = three_messages(&server, "cg", 2);
    commit(&mut wire, "to", 0);
    let clone = |wire: &mut Wire, offline: &str| {
        let fields = [("srcGroup", "cg"), ("destGroup", "to"), ("offline", offline)];
        wire.call(RequestCode::CLONE_GROUP_OFFSET, &fields, b"").response_code()
    };
    heartbeat(&mut wire, "pg", "to", "elsewhere", "*");
    assert_eq!(clone(&mut wire, "false"), ResponseCode::SYSTEM_ERROR);
    assert_eq!(server.broker().offsets.get("to", "orders", 0), Some(0));
    assert_eq!(clone(&mut wire, "true"), ResponseCode::SUCCESS);
    assert_eq!(server.broker().offsets.get("to", "orders", 0), Some(2));
}

#[test]
fn the_correction_of_an_offset_is_the_least_that_other_groups_have() {
    let server = Server::start();
    let mut wire = three_messages(&server, "cg", 0);
    commit(&mut wire, "slow", 1);
    commit(&mut wire, "quick", 3);
    let mut correction = |left_out: &str| {
        let fields = [("topic", "orders"), ("compareGroup", "cg"), ("filterGroups", left_out)];
        json(&wire.call(RequestCode::QUERY_CORRECTION_OFFSET, &fields, b""))["correctionOffsets"]["0"].as_i64()
    };
    assert_eq!((correction(""), correction("slow,none")), (Some(1), Some(3)));
}

#[test]
fn topics_subscriptions_and_offsets_of_a_group_are_told() {
    let server = Server::start();
    let mut wire = three_messages(&server, "cg", 2);
    let topics = json(&wire.call(RequestCode::QUERY_TOPICS_BY_CONSUMER, &[("group", "cg")], b""));
    assert_eq!(topics["topicList"][0], "orders");
    let fields = [("group", "cg"), ("topic", "orders")];
    let silent = json(&wire.call(RequestCode::QUERY_SUBSCRIPTION_BY_CONSUMER, &fields, b""));
    assert!(silent.get("subscriptionData").is_none());
    heartbeat(&mut wire, "pg", "cg", "orders", "a || b");
    let wanted = json(&wire.call(RequestCode::QUERY_SUBSCRIPTION_BY_CONSUMER, &fields, b""));
    assert_eq!(wanted["subscriptionData"]["tagsSet"].as_array().unwrap().len(), 2);
    let all = json(&wire.call(RequestCode::GET_ALL_CONSUMER_OFFSET, &[], b""));
    assert_eq!(all["offsetTable"]["orders@cg"]["0"], 2);
}

#[test]
fn a_delay_level_has_an_offset_before_its_messages_that_wait() {
    let server = Server::start();
    let mut wire = server.connect();
    create_topic(&mut wire, "orders", "1");
    let sent = send(&mut wire, "orders", &[("properties", "DELAY\u{1}18\u{2}")], b"x");
    assert_eq!(sent.response_code(), ResponseCode::SUCCESS);
    let offsets = json(&wire.call(RequestCode::GET_ALL_DELAY_OFFSET, &[], b""));
    assert_eq!(offsets["offsetTable"]["18"], 0);
    let runtime = json(&wire.call(RequestCode::GET_BROKER_RUNTIME_INFO, &[], b""));
    assert_eq!(runtime["table"]["scheduleMessageOffset_18"], "0,1");
    assert_eq!(wire.call(RequestCode::GET_TIMER_CHECK_POINT, &[], b"").body.len(), 56);
}
