//! What is counted, and how tools read it.

use protocol::codes::{RequestCode, ResponseCode};

use super::{create_topic, json};
use crate::calls::{pull, send};
use crate::server::Server;
use crate::wire::{Message, Wire};

/// The statistics of a name and key, if there are any.
fn view(wire: &mut Wire, name: &str, key: &str) -> Option<serde_json::Value> {
    let answer = wire.call(RequestCode::VIEW_BROKER_STATS_DATA, &[("statsName", name), ("statsKey", key)], b"");
    (answer.response_code() == ResponseCode::SUCCESS).then(|| json(&answer))
}

#[track_caller]
fn sum(wire: &mut Wire, name: &str, key: &str) -> i64 {
    let data = view(wire, name, key).unwrap();
    let sums = ["statsMinute", "statsHour", "statsDay"].map(|span| data[span]["sum"].as_i64().unwrap());
    assert_eq!(sums, [sums[0]; 3], "all of it happened within the last minute");
    assert!(data["statsMinute"]["tps"].as_f64().unwrap() > 0.0);
    sums[0]
}

#[test]
fn what_was_sent_and_got_is_counted_by_topic_and_group() {
    let server = Server::start();
    let mut wire = server.connect();
    create_topic(&mut wire, "orders", "1");
    assert!(view(&mut wire, "TOPIC_PUT_NUMS", "orders").is_none());
    for _ in 0..3 {
        send(&mut wire, "orders", &[], b"four");
    }
    assert_eq!(sum(&mut wire, "TOPIC_PUT_NUMS", "orders"), 3);
    assert_eq!(sum(&mut wire, "BROKER_PUT_NUMS", "DefaultCluster"), 3);
    let found = pull(&mut wire, "orders", &[("consumerGroup", "cg")]);
    assert_eq!(found.response_code(), ResponseCode::SUCCESS);
    assert_eq!(sum(&mut wire, "GROUP_GET_NUMS", "orders@cg"), 3);
    assert_eq!(sum(&mut wire, "GROUP_GET_SIZE", "orders@cg"), found.body.len() as i64);
    assert_eq!(sum(&mut wire, "TOPIC_PUT_SIZE", "orders"), found.body.len() as i64);
    assert_eq!(sum(&mut wire, "BROKER_GET_NUMS", "DefaultCluster"), 3);
    for (name, key) in [
        ("GROUP_GET_NUMS", "orders@other"),
        ("GROUP_GET_NUMS", "orders"),
        ("BROKER_PUT_NUMS", "other"),
        ("TOPIC_PUT_NUMS", ""),
        ("NO_SUCH_NUMS", "orders"),
    ] {
        assert!(view(&mut wire, name, key).is_none(), "{name} {key}");
    }
}

#[test]
fn what_was_sent_and_got_is_counted_by_queue_since_the_start() {
    let mut server = Server::start();
    let mut wire = server.connect();
    create_topic(&mut wire, "orders", "4");
    for queue in ["0", "1", "1"] {
        send(&mut wire, "orders", &[("queueId", queue)], b"x");
    }
    pull(&mut wire, "orders", &[("consumerGroup", "cg"), ("queueId", "1")]);
    assert_eq!(sum(&mut wire, "QUEUE_PUT_NUMS", "orders@0"), 1);
    assert_eq!(sum(&mut wire, "QUEUE_PUT_NUMS", "orders@1"), 2);
    assert_eq!(sum(&mut wire, "QUEUE_GET_NUMS", "orders@1@cg"), 2);
    for (name, key) in [
        ("QUEUE_PUT_NUMS", "orders@2"),
        ("QUEUE_PUT_NUMS", "orders@99999999999"),
        ("QUEUE_PUT_NUMS", "orders"),
        ("QUEUE_GET_NUMS", "orders@0@cg"),
        ("QUEUE_GET_NUMS", "orders@1@other"),
        ("QUEUE_GET_NUMS", "orders@1"),
        ("QUEUE_PUT_SIZE", "orders@1"),
    ] {
        assert!(view(&mut wire, name, key).is_none(), "{name} {key}");
    }
    server.restart();
    let mut wire = server.connect();
    assert!(view(&mut wire, "QUEUE_PUT_NUMS", "orders@1").is_none());
    send(&mut wire, "orders", &[("queueId", "1")], b"x");
    assert_eq!(sum(&mut wire, "QUEUE_PUT_NUMS", "orders@1"), 1);
}

#[test]
fn a_message_that_is_handed_back_is_counted_where_it_came_from() {
    let server = Server::start();
    let mut wire = server.connect();
    create_topic(&mut wire, "orders", "1");
    send(&mut wire, "orders", &[], b"x");
    let found = pull(&mut wire, "orders", &[("consumerGroup", "cg")]);
    let position = protocol::record::Record::parse(&found.body).unwrap().position().to_string();
    let fields = [("group", "cg"), ("offset", &*position), ("delayLevel", "1")];
    let answer = wire.call(RequestCode::CONSUMER_SEND_MSG_BACK, &fields, b"");
    assert_eq!(answer.response_code(), ResponseCode::SUCCESS, "{answer:?}");
    assert_eq!(sum(&mut wire, "SNDBCK_PUT_NUMS", "orders@cg"), 1);
    assert!(view(&mut wire, "DLQ_PUT_NUMS", "orders@cg").is_none());
    let fields = [("group", "cg"), ("offset", &*position), ("delayLevel", "-1")];
    let answer = wire.call(RequestCode::CONSUMER_SEND_MSG_BACK, &fields, b"");
    assert_eq!(answer.response_code(), ResponseCode::SUCCESS, "{answer:?}");
    assert_eq!((sum(&mut wire, "DLQ_PUT_NUMS", "orders@cg"), sum(&mut wire, "SNDBCK_PUT_NUMS", "orders@cg")), (1, 2));
}

#[test]
fn acknowledgements_of_popped_messages_are_counted_and_so_are_changes_of_their_time() {
    let server = Server::start();
    let mut wire = server.connect();
    create_topic(&mut wire, "orders", "1");
    send(&mut wire, "orders", &[], b"x");
    let pop = [
        ("consumerGroup", "cg"),
        ("topic", "orders"),
        ("queueId", "0"),
        ("maxMsgNums", "1"),
        ("invisibleTime", "60000"),
        ("pollTime", "0"),
        ("bornTime", "0"),
        ("initMode", "0"),
        ("order", "false"),
    ];
    let popped = wire.call(RequestCode::POP_MESSAGE, &pop, b"");
    assert_eq!(popped.response_code(), ResponseCode::SUCCESS, "{popped:?}");
    let handle_of = |answer: &Message| {
        let [time, invisible, revive] = ["popTime", "invisibleTime", "reviveQid"].map(|name| &answer.fields[name]);
        format!("0 {time} {invisible} {revive} 0 broker-a 0 0")
    };
    let given = |more: &[(&'static str, String)]| {
        let fields = [("consumerGroup", "cg"), ("topic", "orders"), ("queueId", "0"), ("offset", "0")];
        let fields = fields.map(|(name, value)| (name, value.to_owned()));
        [&fields[..], more].concat()
    };
    let mut ask = |code, fields: Vec<(&'static str, String)>| {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = wire.call(code, &fields, b"");
        assert_eq!(answer.response_code(), ResponseCode::SUCCESS, "{answer:?}");
        answer
    };
    let change = given(&[("extraInfo", handle_of(&popped)), ("invisibleTime", "50000".to_owned())]);
    let changed = ask(RequestCode::CHANGE_MESSAGE_INVISIBLETIME, change);
    ask(RequestCode::ACK_MESSAGE, given(&[("extraInfo", handle_of(&changed))]));
    for (name, key) in [
        ("GROUP_ACK_NUMS", "orders@cg"),
        ("GROUP_CK_NUMS", "orders@cg"),
        ("BROKER_ACK_NUMS", "DefaultCluster"),
        ("BROKER_CK_NUMS", "DefaultCluster"),
    ] {
        assert_eq!(sum(&mut wire, name, key), 1, "{name}");
    }
    assert!(view(&mut wire, "BROKER_ACK_NUMS", "other").is_none());
}

#[test]
fn rates_of_topics_and_groups_are_those_of_the_last_minute() {
    let server = Server::start();
    let mut wire = server.connect();
    create_topic(&mut wire, "orders", "1");
    send(&mut wire, "orders", &[], b"x");
    pull(&mut wire, "orders", &[("consumerGroup", "cg")]);
    let fields = [("consumerGroup", "cg"), ("topic", "orders"), ("queueId", "0"), ("commitOffset", "1")];
    wire.call(RequestCode::UPDATE_CONSUMER_OFFSET, &fields, b"");
    let topic = json(&wire.call(RequestCode::GET_TOPIC_STATS_INFO, &[("topic", "orders")], b""));
    assert!(topic["topicPutTps"].as_f64().unwrap() > 0.0, "{topic}");
    let group = json(&wire.call(RequestCode::GET_CONSUME_STATS, &[("consumerGroup", "cg")], b""));
    assert!(group["consumeTps"].as_f64().unwrap() > 0.0, "{group}");
    let fields = [("groupName", "cg"), ("cleanOffset", "true")];
    wire.call(RequestCode::DELETE_SUBSCRIPTIONGROUP, &fields, b"");
    assert!(view(&mut wire, "GROUP_GET_NUMS", "orders@cg").is_none());
    wire.call(RequestCode::DELETE_TOPIC_IN_BROKER, &[("topic", "orders")], b"");
    create_topic(&mut wire, "orders", "1");
    assert!(view(&mut wire, "TOPIC_PUT_NUMS", "orders").is_none());
}

/// Keys of GET_BROKER_RUNTIME_INFO that tools take apart as whole numbers.
const WHOLE: [&str; 38] = [
    "bootTimestamp",
    "msgPutTotalYesterdayMorning",
    "msgPutTotalTodayMorning",
    "msgPutTotalTodayNow",
    "msgGetTotalYesterdayMorning",
    "msgGetTotalTodayMorning",
    "msgGetTotalTodayNow",
    "putMessageTimesTotal",
    "putMessageFailedTimes",
    "putMessageSizeTotal",
    "putMessageEntireTimeMax",
    "getMessageEntireTimeMax",
    "dispatchMaxBuffer",
    "commitLogMinOffset",
    "commitLogMaxOffset",
    "dispatchBehindBytes",
    "pageCacheLockTimeMills",
    "earliestMessageTimeStamp",
    "startAcceptSendRequestTimeStamp",
    "timerReadBehind",
    "timerOffsetBehind",
    "timerCongestNum",
    "remainTransientStoreBufferNumbs",
    "sendThreadPoolQueueSize",
    "sendThreadPoolQueueCapacity",
    "sendThreadPoolQueueHeadWaitTimeMills",
    "pullThreadPoolQueueSize",
    "pullThreadPoolQueueCapacity",
    "pullThreadPoolQueueHeadWaitTimeMills",
    "litePullThreadPoolQueueSize",
    "litePullThreadPoolQueueCapacity",
    "queryThreadPoolQueueSize",
    "queryThreadPoolQueueCapacity",
    "ackThreadPoolQueueSize",
    "ackThreadPoolQueueCapacity",
    "ackThreadPoolQueueHeadWaitTimeMills",
    "EndTransactionQueueSize",
    "EndTransactionThreadPoolQueueCapacity",
];

/// Those that are decimals.
const DECIMAL: [&str; 7] = [
    "putMessageAverageSize",
    "putLatency99",
    "putLatency999",
    "commitLogDiskRatio",
    "consumeQueueDiskRatio",
    "timerEnqueueTps",
    "timerDequeueTps",
];

/// Those that are up to three decimals, over 10, 60 and 600 seconds.
const RATES: [&str; 6] =
    ["putTps", "getTotalTps", "getTransferredTps", "getTransferedTps", "getFoundTps", "getMissTps"];

#[test]
fn tools_can_take_apart_all_that_the_runtime_information_says() {
    let server = Server::start();
    let mut wire = server.connect();
    create_topic(&mut wire, "orders", "1");
    send(&mut wire, "orders", &[], b"x");
    let body = json(&wire.call(RequestCode::GET_BROKER_RUNTIME_INFO, &[], b""));
    let text = |key: &str| body["table"][key].as_str().unwrap_or_else(|| panic!("{key} is missing")).to_owned();
    for key in WHOLE {
        assert!(text(key).parse::<i64>().is_ok(), "{key}: {}", text(key));
    }
    for key in DECIMAL {
        assert!(text(key).parse::<f64>().is_ok(), "{key}: {}", text(key));
    }
    for key in RATES {
        let rates: Vec<f64> = text(key).split_whitespace().map(|rate| rate.parse().unwrap()).collect();
        assert!((1..=3).contains(&rates.len()), "{key}: {}", text(key));
    }
    assert!(matches!(text("brokerActive").as_str(), "true" | "false"));
    assert!(text("brokerVersionDesc").starts_with("V5_"));
    let runtime = text("runtime");
    let units: Vec<&str> =
        runtime.trim_matches(['[', ']']).split(',').map(|part| part.split_whitespace().last().unwrap()).collect();
    assert_eq!(units, ["days", "hours", "minutes", "seconds"]);
    // The exporter splits at blanks, and each part at the colon.
    let times = text("putMessageDistributeTime");
    let counts = times.split_whitespace().map(|part| part.split_once(':').unwrap().1.parse::<u64>().unwrap());
    assert_eq!((counts.clone().count(), counts.sum::<u64>()), (13, 1), "{times}");
    let capacity = text("commitLogDirCapacity");
    assert!(capacity.starts_with("Total : ") && capacity.contains(", Free : "), "{capacity}");
    assert!(text("remainHowManyDataToFlush").split_once(' ').unwrap().0.parse::<f64>().is_ok());
    let ratio = format!("commitLogDiskRatio_{}", server.data_dir().join("commitlog").display());
    assert_eq!(text(&ratio), text("commitLogDiskRatio"));
}
