//! Topics and groups in bulk, and those of the system.

use protocol::codes::{RequestCode, ResponseCode};

use super::json;
use crate::server::Server;

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
