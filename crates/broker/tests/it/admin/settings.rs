//! Topics and groups in bulk, and those of the system.

use protocol::codes::{RequestCode, ResponseCode};

use super::json;
use crate::server::Server;
use crate::wire::Wire;

const TOPICS: &str = r#"{"topicConfigList":[
    {"topicName":"one","readQueueNums":2,"writeQueueNums":2,"perm":6,"attributes":{"+message.type":"FIFO"}},
    {"topicName":"NAME","readQueueNums":1,"writeQueueNums":1,"perm":6}]}"#;

#[test]
fn topics_are_created_together_or_not_at_all() {
    let server = Server::start();
    let mut wire = server.connect();
    for bad in ["TBW102", "two words", ""] {
        let body = TOPICS.replace("NAME", bad);
        let answer = wire.call(RequestCode::UPDATE_AND_CREATE_TOPIC_LIST, &[], body.as_bytes());
        assert_eq!(answer.response_code(), ResponseCode::INVALID_PARAMETER, "{bad}");
        assert!(server.broker().topics.get("one").is_none());
    }
    let body = TOPICS.replace("NAME", "two");
    let answer = wire.call(RequestCode::UPDATE_AND_CREATE_TOPIC_LIST, &[], body.as_bytes());
    assert_eq!(answer.response_code(), ResponseCode::SUCCESS, "{answer:?}");
    let (one, two) = (server.broker().topics.get("one").unwrap(), server.broker().topics.get("two").unwrap());
    assert_eq!((one.queue_count(), two.queue_count()), (2, 1));
    assert_eq!(one.settings.attributes["message.type"], "FIFO");
    let again = TOPICS.replace("NAME", "two").replace("+message.type\":\"FIFO", "-message.type\":\"");
    wire.call(RequestCode::UPDATE_AND_CREATE_TOPIC_LIST, &[], again.as_bytes());
    assert!(server.broker().topics.get("one").unwrap().settings.attributes.is_empty());
}

#[test]
fn groups_are_created_together_or_not_at_all() {
    let server = Server::start();
    let mut wire = server.connect();
    let body = |second: &str| format!(r#"{{"groupConfigList":[{{"groupName":"a"}},{{"groupName":"{second}"}}]}}"#);
    let code = RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST;
    let refused = wire.call(code, &[], body("b b").as_bytes());
    assert_eq!(refused.response_code(), ResponseCode::INVALID_PARAMETER);
    assert!(server.broker().groups.get("a").is_none());
    assert_eq!(wire.call(code, &[], body("b").as_bytes()).response_code(), ResponseCode::SUCCESS);
    assert!(server.broker().groups.get("a").is_some() && server.broker().groups.get("b").is_some());
}

#[test]
fn a_group_may_be_forbidden_a_topic_over_a_restart_and_a_change_of_the_group() {
    let mut server = Server::start();
    let mut wire = server.connect();
    for topic in ["orders", "others"] {
        super::create_topic(&mut wire, topic, "1");
        assert_eq!(crate::calls::send(&mut wire, topic, &[], b"x").response_code(), ResponseCode::SUCCESS);
    }
    let ask = |wire: &mut Wire, readable: &[(&str, &str)]| {
        let fields = [&[("group", "cg"), ("topic", "orders")], readable].concat();
        json(&wire.call(RequestCode::UPDATE_AND_GET_GROUP_FORBIDDEN, &fields, b""))
    };
    let pulled = |wire: &mut Wire, topic: &str| {
        let answer = crate::calls::pull(wire, topic, &[("consumerGroup", "cg"), ("sysFlag", "4")]);
        (answer.response_code(), answer.fields.get("forbiddenType").cloned())
    };
    assert_eq!(ask(&mut wire, &[]), serde_json::json!({"group": "cg", "topic": "orders", "readable": true}));
    assert_eq!(pulled(&mut wire, "orders"), (ResponseCode::SUCCESS, None));
    assert_eq!(ask(&mut wire, &[("readable", "false")])["readable"], false);
    let forbidden = (ResponseCode::NO_PERMISSION, Some("5".to_owned()));
    assert_eq!(pulled(&mut wire, "orders"), forbidden);
    assert_eq!(pulled(&mut wire, "others"), (ResponseCode::SUCCESS, None));
    let pop = [
        ("consumerGroup", "cg"),
        ("topic", "orders"),
        ("queueId", "-1"),
        ("maxMsgNums", "1"),
        ("invisibleTime", "60000"),
        ("pollTime", "0"),
        ("bornTime", "0"),
        ("initMode", "0"),
    ];
    assert_eq!(wire.call(RequestCode::POP_MESSAGE, &pop, b"").response_code(), ResponseCode::NO_PERMISSION);
    let changed = wire.call(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &[], br#"{"groupName":"cg"}"#);
    assert_eq!(changed.response_code(), ResponseCode::SUCCESS);
    server.restart();
    let mut wire = server.connect();
    assert_eq!(pulled(&mut wire, "orders"), forbidden);
    let all = json(&wire.call(RequestCode::GET_ALL_SUBSCRIPTIONGROUP_CONFIG, &[], b""));
    assert_eq!(all["forbiddenTable"], serde_json::json!({"cg": {"orders": 4}}));
    assert_eq!(ask(&mut wire, &[])["readable"], false);
    assert_eq!(ask(&mut wire, &[("readable", "true")])["readable"], true);
    assert_eq!(pulled(&mut wire, "orders"), (ResponseCode::SUCCESS, None));
    let all = json(&wire.call(RequestCode::GET_ALL_SUBSCRIPTIONGROUP_CONFIG, &[], b""));
    assert_eq!(all["forbiddenTable"], serde_json::json!({}));
}

#[test]
fn topics_of_the_system_are_listed_and_no_others() {
    let server = Server::start();
    let mut wire = server.connect();
    super::create_topic(&mut wire, "orders", "1");
    let list = json(&wire.call(RequestCode::GET_SYSTEM_TOPIC_LIST_FROM_BROKER, &[], b""));
    let names: Vec<&str> = list["topicList"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    for name in ["TBW102", "SCHEDULE_TOPIC_XXXX", "DefaultCluster", "RMQ_SYS_TRANS_HALF_TOPIC"] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert!(!names.contains(&"orders"));
}
