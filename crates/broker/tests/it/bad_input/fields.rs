//! Fields that say what cannot be: numbers that are none, offsets and queues that are nowhere, groups, messages and
//! transactions that nobody knows.

use protocol::codes::{RequestCode, ResponseCode};
use protocol::frame::Codec;
use protocol::message_id::OffsetMessageId;
use protocol::writer::{Expect, FrameWriter};

use super::{Guarded, KEPT, at_most_one_line};
use crate::calls::{pull, send};
use crate::wire::Wire;

/// Codes that upstream knows beyond 400, and some that nobody knows.
const MORE_CODES: [i32; 24] = [
    401,
    402,
    513,
    901,
    907,
    1001,
    2001,
    3001,
    5001,
    9999,
    32_767,
    65_536,
    200_050,
    200_051,
    200_052,
    200_053,
    200_054,
    200_055,
    200_056,
    200_070,
    200_151,
    i32::MAX,
    i32::MIN,
    -1,
];

#[test]
fn every_code_is_answered_whatever_its_body() {
    let mut guarded = Guarded::start();
    let bodies: [&[u8]; 5] = [b"", b"\xff\xfe{garbage\0", b"{", b"null", b"[[[[[[[[[["];
    let mut wire = guarded.connect();
    let before = guarded.count(|counters| &counters.unknown_requests);
    for code in (0..=400).chain(MORE_CODES) {
        for body in bodies {
            let answer = wire.call(RequestCode(code), &[], body);
            assert!(answer.is_answer, "{code}");
        }
        let opaque = wire.request_as(RequestCode(code), Expect::Nothing, &[], bodies[1]);
        assert!(wire.unclaimed().iter().all(|message| message.opaque != opaque), "oneway {code}");
    }
    assert!(guarded.count(|counters| &counters.unknown_requests) > before + 2000);
    at_most_one_line(wire.address());
    guarded.still_serves();
    guarded.finish();
}

#[test]
fn every_code_is_answered_in_the_binary_codec() {
    let guarded = Guarded::start();
    let mut wire = guarded.connect();
    for code in 0..=400 {
        let mut bytes = Vec::new();
        FrameWriter::request(&mut bytes, Codec::Binary, RequestCode(code), code, Expect::Answer).finish(b"\xffgarbage");
        wire.send(&bytes);
        assert_eq!(wire.answer(code).codec, Codec::Binary, "{code}");
    }
    guarded.finish();
}

/// Fields of every request that takes some, with values that make sense.
const REQUESTS: [(RequestCode, &[(&str, &str)]); 21] = [
    (
        RequestCode::SEND_MESSAGE,
        &[
            ("topic", "odd"),
            ("defaultTopic", "TBW102"),
            ("defaultTopicQueueNums", "4"),
            ("queueId", "0"),
            ("sysFlag", "0"),
            ("bornTimestamp", "1"),
            ("flag", "0"),
            ("properties", "TAGS\u{1}a\u{2}"),
            ("reconsumeTimes", "0"),
            ("maxReconsumeTimes", "0"),
            ("batch", "false"),
        ],
    ),
    (
        RequestCode::PULL_MESSAGE,
        &[
            ("consumerGroup", "cg"),
            ("topic", KEPT),
            ("queueId", "0"),
            ("queueOffset", "0"),
            ("maxMsgNums", "32"),
            ("sysFlag", "4"),
            ("commitOffset", "0"),
            ("suspendTimeoutMillis", "0"),
            ("subscription", "*"),
            ("subVersion", "0"),
            ("expressionType", "TAG"),
            ("maxMsgBytes", "1000"),
        ],
    ),
    (
        RequestCode::QUERY_MESSAGE,
        &[("topic", KEPT), ("key", "k1"), ("maxNum", "32"), ("beginTimestamp", "0"), ("endTimestamp", "9")],
    ),
    (RequestCode::QUERY_CONSUMER_OFFSET, &[("consumerGroup", "cg"), ("topic", KEPT), ("queueId", "0")]),
    (
        RequestCode::UPDATE_CONSUMER_OFFSET,
        &[("consumerGroup", "cg"), ("topic", KEPT), ("queueId", "0"), ("commitOffset", "1")],
    ),
    (
        RequestCode::UPDATE_AND_CREATE_TOPIC,
        &[
            ("topic", "odd2"),
            ("readQueueNums", "4"),
            ("writeQueueNums", "4"),
            ("perm", "6"),
            ("topicFilterType", "SINGLE_TAG"),
            ("topicSysFlag", "0"),
            ("order", "false"),
            ("attributes", "+message.type=FIFO"),
        ],
    ),
    (RequestCode::GET_MAX_OFFSET, &[("topic", KEPT), ("queueId", "0")]),
    (RequestCode::GET_MIN_OFFSET, &[("topic", KEPT), ("queueId", "0")]),
    (RequestCode::GET_EARLIEST_MSG_STORETIME, &[("topic", KEPT), ("queueId", "0")]),
    (RequestCode::SEARCH_OFFSET_BY_TIMESTAMP, &[("topic", KEPT), ("queueId", "0"), ("timestamp", "0")]),
    (RequestCode::VIEW_MESSAGE_BY_ID, &[("offset", "0")]),
    (RequestCode::UNREGISTER_CLIENT, &[("clientID", "c"), ("producerGroup", "pg"), ("consumerGroup", "cg")]),
    (
        RequestCode::CONSUMER_SEND_MSG_BACK,
        &[("group", "cg"), ("offset", "0"), ("delayLevel", "0"), ("maxReconsumeTimes", "16")],
    ),
    (
        RequestCode::END_TRANSACTION,
        &[
            ("producerGroup", "pg"),
            ("tranStateTableOffset", "0"),
            ("commitLogOffset", "0"),
            ("commitOrRollback", "8"),
            ("fromTransactionCheck", "false"),
        ],
    ),
    (RequestCode::GET_CONSUMER_LIST_BY_GROUP, &[("consumerGroup", "cg")]),
    (RequestCode::GET_TOPIC_STATS_INFO, &[("topic", KEPT)]),
    (RequestCode::GET_CONSUMER_CONNECTION_LIST, &[("consumerGroup", "cg")]),
    (RequestCode::GET_CONSUME_STATS, &[("consumerGroup", "cg"), ("topic", KEPT)]),
    (RequestCode::QUERY_TOPIC_CONSUME_BY_WHO, &[("topic", KEPT)]),
    (RequestCode::GET_SUBSCRIPTIONGROUP_CONFIG, &[("group", "cg")]),
    (RequestCode::DELETE_SUBSCRIPTIONGROUP, &[("groupName", "nobody"), ("cleanOffset", "true")]),
];

const VALUES: [&str; 16] = [
    "",
    " ",
    "abc",
    "-1",
    "1.5",
    "1e9",
    "0x10",
    "null",
    "true",
    "2147483647",
    "2147483648",
    "-2147483648",
    "9223372036854775807",
    "-9223372036854775808",
    "99999999999999999999",
    "\0\u{1}\u{2}\u{7f}",
];

/// Each field of each request is given each odd value, and is left out once.
#[test]
fn odd_values_in_any_field_are_answered() {
    let mut guarded = Guarded::start();
    let mut wire = guarded.connect();
    for (code, fields) in REQUESTS {
        for odd in 0..fields.len() {
            let mut without = fields.to_vec();
            without.remove(odd);
            wire.call(code, &without, b"body");
            for value in VALUES {
                // An undecided transaction and a held pull are not answered; both are asked for by no odd value here.
                let mut changed = fields.to_vec();
                changed[odd].1 = value;
                let answer = wire.call(code, &changed, b"body");
                assert!(answer.is_answer, "{code} {} {value:?}", fields[odd].0);
            }
        }
        guarded.still_serves();
    }
    at_most_one_line(wire.address());
    guarded.finish();
}

#[test]
fn offsets_and_queues_that_are_nowhere_are_said_to_be() {
    let mut guarded = Guarded::start();
    let wire = &mut guarded.wire;
    let far = ["-1", "-9223372036854775808", "11", "4294967296", "9223372036854775807"];
    for offset in far {
        let answer = pull(wire, KEPT, &[("queueOffset", offset)]);
        assert_eq!(answer.response_code(), ResponseCode::PULL_OFFSET_MOVED, "{offset}: {answer:?}");
        let next = if offset.starts_with('-') { 0 } else { 10 };
        assert_eq!((answer.number("nextBeginOffset"), answer.number("maxOffset")), (next, 10), "{offset}");
    }
    for queue_id in ["-1", "4", "2147483647", "-2147483648"] {
        let answer = pull(wire, KEPT, &[("queueId", queue_id)]);
        assert_eq!(answer.response_code(), ResponseCode::INVALID_PARAMETER, "{queue_id}: {answer:?}");
        let fields = [("topic", KEPT), ("queueId", queue_id), ("timestamp", "0"), ("consumerGroup", "cg")];
        for code in [RequestCode::GET_MAX_OFFSET, RequestCode::GET_MIN_OFFSET, RequestCode::SEARCH_OFFSET_BY_TIMESTAMP]
        {
            assert_eq!(wire.call(code, &fields, b"").number("offset"), 0, "{code} {queue_id}");
        }
        let answer = wire.call(RequestCode::GET_EARLIEST_MSG_STORETIME, &fields, b"");
        assert_eq!(answer.number("timestamp"), -1, "{queue_id}");
        let answer = wire.call(RequestCode::QUERY_CONSUMER_OFFSET, &fields, b"");
        assert_eq!(answer.response_code(), ResponseCode::QUERY_NOT_FOUND, "{queue_id}: {answer:?}");
    }
    for queue_id in ["4", "2147483647"] {
        let answer = send(wire, KEPT, &[("queueId", queue_id)], b"x");
        assert_eq!(answer.response_code(), ResponseCode::INVALID_PARAMETER, "{queue_id}: {answer:?}");
    }
    for offset in ["-1", "-9223372036854775808", "9223372036854775807"] {
        let fields = [("consumerGroup", "cg"), ("topic", KEPT), ("queueId", "0"), ("commitOffset", offset)];
        let answer = wire.call(RequestCode::UPDATE_CONSUMER_OFFSET, &fields, b"");
        assert_eq!(answer.response_code(), ResponseCode::SUCCESS, "{offset}: {answer:?}");
        let answer = wire.call(RequestCode::GET_CONSUME_STATS, &[("consumerGroup", "cg")], b"");
        assert_eq!(answer.response_code(), ResponseCode::SUCCESS, "{offset}: {answer:?}");
    }
    for limit in ["-2147483648", "-1", "0", "1"] {
        let answer = pull(wire, KEPT, &[("maxMsgBytes", limit), ("maxMsgNums", limit)]);
        assert_eq!(answer.response_code(), ResponseCode::SUCCESS, "{limit}: {answer:?}");
        assert_eq!(protocol::record::records(&answer.body).count(), 1, "{limit}");
    }
    guarded.finish();
}

#[test]
fn messages_that_are_nowhere_are_said_to_be() {
    let mut guarded = Guarded::start();
    let wire = &mut guarded.wire;
    let inside = protocol::record::records(&guarded.stored[0]).next().unwrap().position() as i64 + 3;
    let positions = [-1, i64::MIN, i64::MAX, 0, 1, 999_999_999, inside, inside + 1000];
    for position in positions.map(|position| position.to_string()) {
        let answer = wire.call(RequestCode::VIEW_MESSAGE_BY_ID, &[("offset", &position)], b"");
        assert_eq!(answer.response_code(), ResponseCode::SYSTEM_ERROR, "{position}: {answer:?}");
        let fields = [("group", "cg"), ("offset", &*position), ("delayLevel", "0")];
        let answer = wire.call(RequestCode::CONSUMER_SEND_MSG_BACK, &fields, b"");
        assert_eq!(answer.response_code(), ResponseCode::SYSTEM_ERROR, "{position}: {answer:?}");
    }
    for (key, begin, end) in [("nokey", "0", "9223372036854775807"), ("k1", "9223372036854775807", "0"), ("", "0", "1")]
    {
        let fields =
            [("topic", KEPT), ("key", key), ("maxNum", "2147483647"), ("beginTimestamp", begin), ("endTimestamp", end)];
        let answer = wire.call(RequestCode::QUERY_MESSAGE, &fields, b"");
        assert_eq!(answer.response_code(), ResponseCode::QUERY_NOT_FOUND, "{key} {begin} {end}: {answer:?}");
    }
    guarded.finish();
}

#[test]
fn decisions_about_nothing_are_refused() {
    let mut guarded = Guarded::start();
    let wire = &mut guarded.wire;
    let decide = |wire: &mut Wire, group: &str, offset: &str, position: &str, decision: &str| {
        let fields = [
            ("producerGroup", group),
            ("tranStateTableOffset", offset),
            ("commitLogOffset", position),
            ("commitOrRollback", decision),
        ];
        wire.call(RequestCode::END_TRANSACTION, &fields, b"").response_code()
    };
    let ordinary = protocol::record::records(&guarded.stored[0]).next().unwrap().position().to_string();
    for position in ["-1", "0", "12345", "9223372036854775807", &ordinary] {
        for decision in ["8", "12", "5", "-1"] {
            assert_eq!(
                decide(wire, "pg", "0", position, decision),
                ResponseCode::SYSTEM_ERROR,
                "{position} {decision}"
            );
        }
    }
    let half = "TRAN_MSG\u{1}true\u{2}PGROUP\u{1}pg\u{2}UNIQ_KEY\u{1}half\u{2}";
    let sent = send(wire, "halves", &[("properties", half), ("sysFlag", "4")], b"half");
    let position = OffsetMessageId::parse(&sent.fields["msgId"]).unwrap().position.to_string();
    assert_eq!(decide(wire, "other", "0", &position, "8"), ResponseCode::SYSTEM_ERROR);
    assert_eq!(decide(wire, "pg", "7", &position, "8"), ResponseCode::SYSTEM_ERROR);
    assert_eq!(decide(wire, "pg", "0", &position, "12"), ResponseCode::SUCCESS);
    // The first decision stands; hearing of it again, or of another, is no error.
    assert_eq!(decide(wire, "pg", "0", &position, "8"), ResponseCode::SUCCESS);
    let answer = pull(wire, "halves", &[]);
    assert_eq!(answer.response_code(), ResponseCode::PULL_NOT_FOUND, "{answer:?}");
    guarded.finish();
}

#[test]
fn unknown_groups_are_refused_where_use_does_not_create_them() {
    let mut guarded = Guarded::start();
    guarded.server.restart_with(|config| config.auto_create_group = false.into());
    guarded.wire = guarded.server.connect();
    let wire = &mut guarded.wire;
    let fields = [
        ("consumerGroup", "nobody"),
        ("group", "nobody"),
        ("topic", KEPT),
        ("queueId", "0"),
        ("commitOffset", "1"),
        ("offset", "0"),
        ("delayLevel", "0"),
    ];
    for code in [
        RequestCode::UPDATE_CONSUMER_OFFSET,
        RequestCode::CONSUMER_SEND_MSG_BACK,
        RequestCode::GET_SUBSCRIPTIONGROUP_CONFIG,
    ] {
        let answer = wire.call(code, &fields, b"");
        assert_eq!(answer.response_code(), ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST, "{code}: {answer:?}");
    }
    let answer = pull(wire, KEPT, &[("consumerGroup", "nobody")]);
    assert_eq!(answer.response_code(), ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST, "{answer:?}");
    let answer = send(wire, "%RETRY%nobody", &[], b"x");
    assert_eq!(answer.response_code(), ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST, "{answer:?}");
    assert!(guarded.server.broker().groups.get("nobody").is_none());
    guarded.finish();
}

#[test]
fn bodies_that_cannot_be_read_are_refused() {
    let mut guarded = Guarded::start();
    let mut wire = guarded.connect();
    let bodies: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"hello".to_vec(),
        b"\xff\xfe\xfd".to_vec(),
        b"[]".to_vec(),
        br#"{"clientID":7,"consumerDataSet":"x","producerDataSet":{}}"#.to_vec(),
        "[".repeat(1_000_000).into_bytes(),
        r#"{"a":"#.repeat(200_000).into_bytes(),
        format!(r#"{{"clientID":"{}"#, "x".repeat(5_000_000)).into_bytes(),
        vec![b'{'; 15_000_000],
    ];
    let codes = [
        RequestCode::HEART_BEAT,
        RequestCode::LOCK_BATCH_MQ,
        RequestCode::UNLOCK_BATCH_MQ,
        RequestCode::CHECK_CLIENT_CONFIG,
        RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP,
    ];
    for code in codes {
        for body in &bodies {
            let answer = wire.call(code, &[], body);
            assert!(answer.is_answer, "{code} {}", body.len());
        }
        guarded.still_serves();
    }
    at_most_one_line(wire.address());
    guarded.finish();
}
