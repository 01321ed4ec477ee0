//! Moving the offsets of a group: 222, with consumers of all kinds connected or none.

use protocol::codes::{Language, RequestCode, ResponseCode};

use crate::calls::{Introduction, introduce, pull, send};
use crate::server::Server;
use crate::wire::{Message, Wire};

/// A broker with four messages in queue 0 of `orders`, and a group that has consumed three of them.
fn start(change: impl FnOnce(&mut broker::config::BrokerConfig)) -> (Server, Wire) {
    let server = Server::start_with(change);
    let mut tool = server.connect();
    for body in [b"a", b"b", b"c", b"d"] {
        send(&mut tool, "orders", &[], body);
    }
    pull(&mut tool, "orders", &[]);
    commit(&mut tool, 3);
    (server, tool)
}

#[track_caller]
fn reset(tool: &mut Wire, more: &[(&str, &str)]) -> Message {
    let mut fields = vec![("topic", "orders"), ("group", "cg"), ("timestamp", "0"), ("isForce", "true")];
    for (name, value) in more {
        fields.retain(|(usual, _)| usual != name);
        fields.push((name, value));
    }
    tool.call(RequestCode::INVOKE_BROKER_TO_RESET_OFFSET, &fields, b"")
}

#[track_caller]
fn commit(wire: &mut Wire, offset: i64) -> Message {
    let offset = offset.to_string();
    let fields = [("consumerGroup", "cg"), ("topic", "orders"), ("queueId", "0"), ("commitOffset", offset.as_str())];
    let answer = wire.call(RequestCode::UPDATE_CONSUMER_OFFSET, &fields, b"");
    assert_eq!(answer.response_code(), ResponseCode::SUCCESS);
    answer
}

fn committed(server: &Server) -> Option<i64> {
    server.broker().offsets.get("cg", "orders", 0)
}

#[test]
fn offsets_of_a_group_without_consumers_are_set_at_once() {
    let (server, mut tool) = start(|_| {});
    let answer = reset(&mut tool, &[]);
    let queue =
        |id: i32, offset: i64| format!(r#"{{"brokerName":"broker-a","queueId":{id},"topic":"orders"}}:{offset}"#);
    let all = (0..4).map(|id| queue(id, 0)).collect::<Vec<_>>().join(",");
    assert_eq!(answer.response_code(), ResponseCode::SUCCESS);
    assert_eq!(String::from_utf8(answer.body).unwrap(), format!(r#"{{"offsetTable":{{{all}}}}}"#));
    assert_eq!(committed(&server), Some(0));
    // Nobody has to be told: the next commit counts.
    commit(&mut tool, 2);
    assert_eq!(committed(&server), Some(2));

    for latest in ["-1", "-2"] {
        commit(&mut tool, 2);
        reset(&mut tool, &[("timestamp", latest)]);
        assert_eq!(committed(&server), Some(4), "{latest}");
    }
    let answer = reset(&mut tool, &[("queueId", "0"), ("offset", "1"), ("isForce", "false")]);
    assert_eq!(String::from_utf8(answer.body).unwrap(), format!(r#"{{"offsetTable":{{{}}}}}"#, queue(0, 1)));
    assert_eq!(committed(&server), Some(1));
}

#[test]
fn without_force_no_offset_moves_forwards() {
    let (server, mut tool) = start(|_| {});
    let future = (server.broker().clock.now_ms() + 60_000).to_string();
    reset(&mut tool, &[("timestamp", &future), ("isForce", "false")]);
    assert_eq!(committed(&server), Some(3));
    reset(&mut tool, &[("timestamp", "0"), ("isForce", "false")]);
    assert_eq!(committed(&server), Some(0));
    reset(&mut tool, &[("timestamp", &future)]);
    assert_eq!(committed(&server), Some(4));
}

#[test]
fn a_reset_that_cannot_be_names_what_is_wrong() {
    let (_server, mut tool) = start(|_| {});
    for (more, code, remark) in [
        (vec![("topic", "nothing")], ResponseCode::TOPIC_NOT_EXIST, "Topic nothing does not exist"),
        (vec![("group", "nobody")], ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST, "Group nobody does not exist"),
        (vec![("queueId", "4")], ResponseCode::SYSTEM_ERROR, "topic `orders` has no queue 4; it has 4"),
        (
            vec![("queueId", "0"), ("offset", "6")],
            ResponseCode::SYSTEM_ERROR,
            "Target offset 6 not in consume queue range [0-4]",
        ),
    ] {
        let answer = reset(&mut tool, &more);
        assert_eq!((answer.response_code(), answer.remark.as_deref()), (code, Some(remark)));
    }
}

#[test]
fn a_consumer_that_pulls_is_sent_to_the_new_offset_and_what_it_committed_before_is_void() {
    let (server, mut tool) = start(|_| {});
    let mut consumer = server.connect();
    introduce(&mut consumer, &Introduction::default());
    reset(&mut tool, &[("queueId", "0"), ("offset", "1")]);
    let late = commit(&mut consumer, 4);
    assert_eq!((late.remark.as_deref(), committed(&server)), (Some("Offset has been previously reset"), Some(1)));
    // The flags say that the pull commits, too.
    let moved = pull(&mut consumer, "orders", &[("queueOffset", "4"), ("sysFlag", "5"), ("commitOffset", "4")]);
    assert_eq!(moved.response_code(), ResponseCode::PULL_OFFSET_MOVED);
    assert_eq!((moved.number("nextBeginOffset"), moved.number("maxOffset")), (1, 4));
    assert_eq!(committed(&server), Some(1));
    let found = pull(&mut consumer, "orders", &[("queueOffset", "1")]);
    assert_eq!(protocol::record::records(&found.body).count(), 3);
    commit(&mut consumer, 4);
    assert_eq!(committed(&server), Some(4));
}

#[test]
fn a_consumer_that_asked_for_the_new_offset_itself_is_not_sent_there_again() {
    let (server, mut tool) = start(|_| {});
    let mut consumer = server.connect();
    introduce(&mut consumer, &Introduction::default());
    reset(&mut tool, &[]);
    let fields = [("consumerGroup", "cg"), ("topic", "orders"), ("queueId", "0")];
    assert_eq!(consumer.call(RequestCode::QUERY_CONSUMER_OFFSET, &fields, b"").number("offset"), 0);
    assert_eq!(pull(&mut consumer, "orders", &[]).response_code(), ResponseCode::SUCCESS);
    commit(&mut consumer, 4);
    assert_eq!(committed(&server), Some(4));
}

#[test]
fn a_pull_that_waits_is_sent_to_the_new_offset_at_once() {
    let (server, mut tool) = start(|_| {});
    let mut consumer = server.connect();
    introduce(&mut consumer, &Introduction::default());
    let fields = [
        ("consumerGroup", "cg"),
        ("topic", "orders"),
        ("queueId", "0"),
        ("queueOffset", "4"),
        ("maxMsgNums", "32"),
        ("sysFlag", "6"),
        ("suspendTimeoutMillis", "600000"),
        ("subscription", "*"),
        ("expressionType", "TAG"),
    ];
    let opaque = consumer.request(RequestCode::PULL_MESSAGE, &fields, b"");
    consumer.settle();
    reset(&mut tool, &[]);
    let moved = consumer.answer(opaque);
    assert_eq!(moved.response_code(), ResponseCode::PULL_OFFSET_MOVED);
    assert_eq!(moved.number("nextBeginOffset"), 0);
}

#[test]
fn a_consumer_that_pops_gets_messages_from_the_new_offset_on() {
    let (server, mut tool) = start(|_| {});
    let mut consumer = server.connect();
    introduce(&mut consumer, &Introduction::default());
    let mut pop = || {
        let now = server.broker().clock.now_ms().to_string();
        let fields = [
            ("consumerGroup", "cg"),
            ("topic", "orders"),
            ("queueId", "0"),
            ("maxMsgNums", "32"),
            ("invisibleTime", "60000"),
            ("pollTime", "0"),
            ("bornTime", now.as_str()),
            ("initMode", "0"),
            ("exp", "*"),
            ("expType", "TAG"),
        ];
        let answer = consumer.call(RequestCode::POP_MESSAGE, &fields, b"");
        protocol::record::records(&answer.body).map(|record| record.queue_offset()).collect::<Vec<_>>()
    };
    assert_eq!((pop(), pop()), (vec![3], vec![]));
    reset(&mut tool, &[("queueId", "0"), ("offset", "2")]);
    assert_eq!((pop(), pop()), (vec![2, 3], vec![]));
    reset(&mut tool, &[("queueId", "0"), ("offset", "2")]);
    assert_eq!(pop(), [2, 3], "messages that are out come again");
}

#[test]
fn where_consumers_reset_themselves_each_is_told_in_its_language() {
    let (server, mut tool) = start(|config| config.server_side_reset.set(false));
    let offline = reset(&mut tool, &[]);
    assert_eq!(offline.response_code(), ResponseCode::CONSUMER_NOT_ONLINE);
    let languages = [Language::JAVA, Language::GO, Language::CPP];
    let mut consumers = languages.map(|language| {
        let mut consumer = server.connect();
        let id = format!("{language:?}");
        introduce(&mut consumer, &Introduction { id: &id, language, ..Introduction::default() });
        consumer
    });
    let answer = reset(&mut tool, &[("queueId", "0"), ("offset", "1")]);
    let keyed = r#"{"offsetTable":{{"brokerName":"broker-a","queueId":0,"topic":"orders"}:1}}"#;
    let listed = r#"{"offsetTable":[{"brokerName":"broker-a","offset":1,"queueId":0,"topic":"orders"}]}"#;
    assert_eq!(String::from_utf8(answer.body).unwrap(), keyed);
    for (consumer, body) in consumers.iter_mut().zip([keyed, keyed, listed]) {
        let told = consumer.pushed(RequestCode::RESET_CONSUMER_CLIENT_OFFSET);
        assert_eq!(String::from_utf8(told.body.clone()).unwrap(), body);
        assert!(told.oneway);
        assert_eq!((told.fields["topic"].as_str(), told.fields["group"].as_str()), ("orders", "cg"));
        assert_eq!((told.fields["isForce"].as_str(), told.number("queueId")), ("true", 0));
    }
    assert_eq!(committed(&server), Some(3), "they store it themselves");
    introduce(&mut consumers[0], &Introduction { id: "old", version: 61, ..Introduction::default() });
    let refused = reset(&mut tool, &[]);
    assert_eq!(refused.response_code(), ResponseCode::SYSTEM_ERROR);
    assert!(refused.remark.unwrap().contains("version 61"));
}
