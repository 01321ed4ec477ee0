//! Answers to sends, check by check.

use protocol::codes::{Language, RequestCode, ResponseCode};
use protocol::frame::Codec;
use protocol::properties;
use protocol::record;
use protocol::writer::FrameWriter;

use crate::calls::{pull, send};
use crate::server::Server;
use crate::wire::{Message, Wire};

/// Refused with this code, and with the fields that go with every answer to a send.
#[track_caller]
fn check_refused(answer: &Message, code: ResponseCode) {
    assert_eq!(answer.response_code(), code, "{answer:?}");
    assert_eq!(answer.fields.keys().collect::<Vec<_>>(), ["MSG_REGION", "TRACE_ON"], "{answer:?}");
    assert!(answer.remark.is_some() && answer.body.is_empty(), "{answer:?}");
}

#[track_caller]
fn check_taken(answer: &Message) -> (i64, i64) {
    assert_eq!(answer.response_code(), ResponseCode::SUCCESS, "{answer:?}");
    let names: Vec<_> = answer.fields.keys().map(String::as_str).collect();
    assert_eq!(names, ["MSG_REGION", "TRACE_ON", "msgId", "queueId", "queueOffset", "transactionId"], "{answer:?}");
    assert_eq!((answer.fields["msgId"].len(), answer.remark.as_deref()), (32, None), "{answer:?}");
    (answer.number("queueId"), answer.number("queueOffset"))
}

fn create_topic(wire: &mut Wire, topic: &str, read: &str, write: &str, more: &[(&str, &str)]) {
    let fields = [("topic", topic), ("readQueueNums", read), ("writeQueueNums", write), ("perm", "6")];
    let answer = wire.call(RequestCode::UPDATE_AND_CREATE_TOPIC, &[&fields, more].concat(), b"");
    assert_eq!(answer.response_code(), ResponseCode::SUCCESS, "{answer:?}");
}

#[track_caller]
fn topic(server: &Server, name: &str) -> broker::topics::TopicSettings {
    server.broker().topics.get(name).unwrap_or_else(|| panic!("no topic {name}")).settings.clone()
}

#[test]
fn a_broker_that_may_not_be_written_refuses_ordered_topics_only() {
    let mut server = Server::start();
    let mut wire = server.connect();
    create_topic(&mut wire, "ordered", "4", "4", &[("order", "true")]);
    check_taken(&send(&mut wire, "ordered", &[], b"x"));
    server.restart_with(|config| config.permission = 4.into());
    let mut wire = server.connect();
    check_refused(&send(&mut wire, "ordered", &[], b"x"), ResponseCode::NO_PERMISSION);
    check_taken(&send(&mut wire, "any", &[], b"x"));
}

#[test]
fn topics_of_the_system_are_not_sent_to() {
    let server = Server::start();
    let mut wire = server.connect();
    for topic in [
        "SCHEDULE_TOPIC_XXXX",
        "RMQ_SYS_TRANS_HALF_TOPIC",
        "RMQ_SYS_TRANS_OP_HALF_TOPIC",
        "TRANS_CHECK_MAX_TIME_TOPIC",
        "SELF_TEST_TOPIC",
        "OFFSET_MOVED_EVENT",
        "rmq_sys_wheel_timer",
    ] {
        check_refused(&send(&mut wire, topic, &[], b"x"), ResponseCode::NO_PERMISSION);
    }
    check_taken(&send(&mut wire, "TBW102", &[], b"x"));
    check_taken(&send(&mut wire, "DefaultCluster", &[], b"x"));
}

#[test]
fn a_topic_is_created_after_its_template_or_not_at_all() {
    let mut server = Server::start();
    let mut wire = server.connect();
    create_topic(&mut wire, "ordinary", "4", "4", &[]);
    for template in ["NoTemplate", "ordinary", ""] {
        check_refused(&send(&mut wire, "new", &[("defaultTopic", template)], b"x"), ResponseCode::TOPIC_NOT_EXIST);
    }
    for (name, asked, made) in [("few", "2", 2), ("many", "100", 4)] {
        check_taken(&send(&mut wire, name, &[("defaultTopicQueueNums", asked)], b"x"));
        let settings = topic(&server, name);
        assert_eq!((settings.read_queues, settings.write_queues, settings.permission.0), (made, made, 6), "{name}");
    }
    check_taken(&send(&mut wire, "%RETRY%cg", &[("defaultTopic", "NoTemplate")], b"x"));
    assert_eq!(topic(&server, "%RETRY%cg").write_queues, 1);
    server.restart_with(|config| config.auto_create_topic = false.into());
    let mut wire = server.connect();
    check_refused(&send(&mut wire, "new", &[], b"x"), ResponseCode::TOPIC_NOT_EXIST);
    check_taken(&send(&mut wire, "few", &[], b"x"));
}

#[test]
fn a_queue_is_one_that_is_read_or_written_or_any() {
    let server = Server::start();
    let mut wire = server.connect();
    create_topic(&mut wire, "uneven", "6", "2", &[]);
    assert_eq!(check_taken(&send(&mut wire, "uneven", &[("queueId", "5")], b"x")), (5, 0));
    check_refused(&send(&mut wire, "uneven", &[("queueId", "6")], b"x"), ResponseCode::INVALID_PARAMETER);
    for _ in 0..8 {
        let (queue_id, _) = check_taken(&send(&mut wire, "uneven", &[("queueId", "-1")], b"x"));
        assert!((0..2).contains(&queue_id), "{queue_id}");
    }
}

/// Messages in the dead-letter topic of a group.
fn dead_letters(wire: &mut Wire, group: &str) -> i64 {
    let topic = format!("%DLQ%{group}");
    wire.call(RequestCode::GET_MAX_OFFSET, &[("topic", &topic), ("queueId", "0")], b"").number("offset")
}

#[test]
fn a_message_retried_too_often_is_a_dead_letter() {
    let server = Server::start();
    let mut wire = server.connect();
    let limited = br#"{"groupName":"limited","retryMaxTimes":2}"#;
    wire.call(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &[], limited);
    for (times, own_limit, dead) in [("2", None, 0), ("3", None, 1), ("3", Some("3"), 1), ("4", Some("3"), 2)] {
        let own_limit = own_limit.map(|limit| ("maxReconsumeTimes", limit));
        let fields: Vec<_> = [("reconsumeTimes", times)].into_iter().chain(own_limit).collect();
        check_taken(&send(&mut wire, "%RETRY%limited", &fields, b"x"));
        assert_eq!(dead_letters(&mut wire, "limited"), dead, "{times} {own_limit:?}");
    }
    // Clients older than 3.4.9 do not mean what they say.
    let mut bytes = Vec::new();
    let frame = FrameWriter::begin(&mut bytes, Codec::Json, 10, Language::JAVA, 120, 1, 0, None);
    frame
        .text("topic", "%RETRY%limited")
        .integer("queueId", 0)
        .integer("reconsumeTimes", 3)
        .integer("maxReconsumeTimes", 100)
        .finish(b"x");
    wire.send(&bytes);
    check_taken(&wire.answer(1));
    assert_eq!(dead_letters(&mut wire, "limited"), 3);
}

#[test]
fn a_retry_of_a_group_that_consumes_in_order_is_a_dead_letter() {
    let server = Server::start();
    let mut wire = server.connect();
    let lock =
        br#"{"clientId":"c","consumerGroup":"orderly","mqSet":[{"brokerName":"broker-a","queueId":0,"topic":"t"}]}"#;
    let answer = wire.call(RequestCode::LOCK_BATCH_MQ, &[], lock);
    assert!(String::from_utf8(answer.body).unwrap().contains(r#""queueId":0"#));
    check_taken(&send(&mut wire, "%RETRY%orderly", &[], b"x"));
    assert_eq!(dead_letters(&mut wire, "orderly"), 1);
}

#[test]
fn stored_properties_are_the_clients_and_the_brokers() {
    let server = Server::start();
    let mut wire = server.connect();
    let given = "POP_CK\u{1}forged\u{2}CLUSTER\u{1}forged\u{2}TAGS\u{1}a\u{2}own\u{1}1";
    let answer = send(&mut wire, "t", &[("properties", given)], b"x");
    check_taken(&answer);
    let pulled = pull(&mut wire, "t", &[]);
    let record = record::records(&pulled.body).next().unwrap();
    let stored = record.properties();
    assert_eq!(stored.get("own"), Some("1"));
    assert_eq!((stored.get(properties::TAGS), stored.get(properties::POP_CK)), (Some("a"), None));
    assert_eq!(stored.get(properties::CLUSTER), Some("DefaultCluster"));
    assert_eq!(
        (stored.get(properties::MSG_REGION), stored.get(properties::TRACE_ON)),
        (Some("DefaultRegion"), Some("true"))
    );
    // A message without a unique id gets one, and the answer tells it.
    assert_eq!(stored.get(properties::UNIQ_KEY), Some(&*answer.fields["transactionId"]));
    assert_eq!(record.store_host(), server.address());
    assert_eq!(record.born_host(), wire.address());
}

#[test]
fn half_messages_are_taken_unless_they_are_not_wanted() {
    let mut server = Server::start();
    let mut wire = server.connect();
    let half = "TRAN_MSG\u{1}true\u{2}PGROUP\u{1}pg\u{2}";
    assert_eq!(check_taken(&send(&mut wire, "t", &[("properties", half), ("queueId", "3")], b"x")), (3, 0));
    let end = |wire: &mut Wire| {
        wire.call(RequestCode::GET_MAX_OFFSET, &[("topic", "t"), ("queueId", "3")], b"").number("offset")
    };
    assert_eq!(end(&mut wire), 0);
    server.restart_with(|config| config.reject_transactions = true.into());
    let mut wire = server.connect();
    check_refused(&send(&mut wire, "t", &[("properties", half)], b"x"), ResponseCode::NO_PERMISSION);
    // A retry that still says what it once was is a retry.
    let retry = format!("{half}DELAY\u{1}1\u{2}");
    check_taken(&send(&mut wire, "t", &[("properties", &retry), ("reconsumeTimes", "1")], b"x"));
}

#[test]
fn delays_that_make_no_sense_are_refused() {
    let server = Server::start();
    let mut wire = server.connect();
    for given in [
        "DELAY\u{1}abc",
        "DELAY\u{1}",
        "TIMER_DELAY_SEC\u{1}abc",
        "TIMER_DELAY_SEC\u{1}3456001",
        "TIMER_DELAY_MS\u{1}9223372036854775807",
    ] {
        check_refused(&send(&mut wire, "t", &[("properties", given)], b"x"), ResponseCode::MESSAGE_ILLEGAL);
    }
    let mut straight = 0;
    for given in
        ["DELAY\u{1}0", "DELAY\u{1}-1", "TIMER_DELAY_SEC\u{1}0", "TIMER_DELAY_SEC\u{1}-5", "TIMER_DELIVER_MS\u{1}1"]
    {
        assert_eq!(check_taken(&send(&mut wire, "t", &[("properties", given)], b"x")), (0, straight), "{given}");
        straight += 1;
    }
    for given in ["DELAY\u{1}99", "DELAY\u{1}18"] {
        check_taken(&send(&mut wire, "t", &[("properties", given)], b"x"));
    }
    let mut timed = send(&mut wire, "t", &[("properties", "TIMER_DELAY_SEC\u{1}3456000")], b"x");
    assert!(timed.fields.remove("recallHandle").is_some(), "{timed:?}");
    check_taken(&timed);
    let offset = wire.call(RequestCode::GET_MAX_OFFSET, &[("topic", "t"), ("queueId", "0")], b"");
    assert_eq!(offset.number("offset"), straight);
}

#[test]
fn both_names_of_a_field_are_understood() {
    let server = Server::start();
    let mut wire = server.connect();
    let letters =
        [("a", "pg"), ("b", "t"), ("c", "TBW102"), ("d", "4"), ("e", "1"), ("f", "0"), ("g", "7"), ("h", "9")];
    for code in [RequestCode::SEND_MESSAGE_V2, RequestCode::SEND_BATCH_MESSAGE] {
        check_taken(&wire.call(code, &letters, b"x"));
    }
    let long = [("topic", "t"), ("queueId", "1"), ("flag", "9")];
    check_taken(&wire.call(RequestCode::SEND_MESSAGE, &long, b"x"));
    let pulled = pull(&mut wire, "t", &[("queueId", "1")]);
    let seen: Vec<_> =
        record::records(&pulled.body).map(|record| (record.flag(), record.born_timestamp_ms())).collect();
    assert_eq!(seen, [(9, 7), (9, 7), (9, 0)]);
    for without in [&[("queueId", "0")][..], &[("topic", "t")]] {
        check_refused(&wire.call(RequestCode::SEND_MESSAGE, without, b"x"), ResponseCode::SYSTEM_ERROR);
    }
}

#[test]
fn a_batch_tells_where_each_message_went_and_its_own_id() {
    let server = Server::start();
    let mut wire = server.connect();
    let mut body = Vec::new();
    for name in ["one", "two"] {
        let properties = format!("UNIQ_KEY\u{1}{name}\u{2}");
        let item = protocol::batch::BatchItem { flag: 0, body: b"x", properties: properties.as_bytes() };
        protocol::batch::push(&mut body, item).unwrap();
    }
    let fields = [("batch", "true"), ("properties", "UNIQ_KEY\u{1}whole\u{2}WAIT\u{1}true\u{2}")];
    let answer = send(&mut wire, "t", &fields, &body);
    assert_eq!(answer.fields["transactionId"], "whole");
    let positions: Vec<u64> = answer.fields["msgId"]
        .split(',')
        .map(|id| protocol::message_id::OffsetMessageId::parse(id).unwrap().position)
        .collect();
    let pulled = pull(&mut wire, "t", &[]);
    let seen: Vec<_> = record::records(&pulled.body)
        .map(|record| (record.position(), record.properties().get(properties::UNIQ_KEY).unwrap().to_owned()))
        .collect();
    assert_eq!(seen, [(positions[0], "one".to_owned()), (positions[1], "two".to_owned())]);
    let answer = send(&mut wire, "t", &[("batch", "true")], &body);
    assert_eq!((answer.number("queueOffset"), answer.fields.get("transactionId")), (2, None));
}
