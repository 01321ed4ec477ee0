//! What operators' tools ask a broker, beyond what was recorded.

mod consumption;
mod settings;
mod statistics;

use protocol::codes::{RequestCode, ResponseCode};

use crate::server::Server;
use crate::wire::{Message, Wire};

/// Creates a topic.
#[track_caller]
fn create_topic(wire: &mut Wire, name: &str, queues: &str) {
    let fields = [
        ("topic", name),
        ("defaultTopic", "TBW102"),
        ("readQueueNums", queues),
        ("writeQueueNums", queues),
        ("perm", "6"),
        ("topicFilterType", "SINGLE_TAG"),
    ];
    let answer = wire.call(RequestCode::UPDATE_AND_CREATE_TOPIC, &fields, b"");
    assert_eq!(answer.response_code(), ResponseCode::SUCCESS, "{answer:?}");
}

/// Says that a client is there: one producer group, and one consumer group with one topic.
#[track_caller]
fn heartbeat(wire: &mut Wire, producer: &str, consumer: &str, topic: &str, tags: &str) {
    let body = format!(
        r#"{{"clientID":"10.0.0.1@one","producerDataSet":[{{"groupName":"{producer}"}}],"consumerDataSet":[{{
        "consumeFromWhere":"CONSUME_FROM_FIRST_OFFSET","consumeType":"CONSUME_PASSIVELY","groupName":"{consumer}",
        "messageModel":"CLUSTERING","subscriptionDataSet":[{{"expressionType":"TAG","subString":"{tags}",
        "subVersion":1,"topic":"{topic}"}}],"unitMode":false}}]}}"#
    );
    let answer = wire.call(RequestCode::HEART_BEAT, &[], body.as_bytes());
    assert_eq!(answer.response_code(), ResponseCode::SUCCESS, "{answer:?}");
}

/// The body of an answer, which is JSON in fastjson's dialect.
#[track_caller]
fn json(answer: &Message) -> serde_json::Value {
    assert_eq!(answer.response_code(), ResponseCode::SUCCESS, "{answer:?}");
    serde_json::from_slice(&protocol::lenient_json::normalise(&answer.body).unwrap()).unwrap()
}

#[test]
fn connected_producers_are_listed_by_group() {
    let server = Server::start();
    let mut wire = server.connect();
    assert_eq!(wire.call(RequestCode::GET_ALL_PRODUCER_INFO, &[], b"").response_code(), ResponseCode::SYSTEM_ERROR);
    heartbeat(&mut wire, "pg", "cg", "orders", "*");
    let one = json(&wire.call(RequestCode::GET_PRODUCER_CONNECTION_LIST, &[("producerGroup", "pg")], b""));
    assert_eq!(one["connectionSet"][0]["clientId"], "10.0.0.1@one");
    let all = json(&wire.call(RequestCode::GET_ALL_PRODUCER_INFO, &[], b""));
    let address = all["data"]["pg"][0]["remoteIP"].as_str().unwrap();
    assert!(address.starts_with("/127.0.0.1:"), "{address}");
    let none = wire.call(RequestCode::GET_PRODUCER_CONNECTION_LIST, &[("producerGroup", "other")], b"");
    assert_eq!(none.response_code(), ResponseCode::SYSTEM_ERROR);
}

#[test]
fn what_the_broker_does_not_have_is_refused_by_name() {
    let server = Server::start();
    let mut wire = server.connect();
    for (code, text) in [
        (RequestCode::AUTH_CREATE_USER, "users and access lists"),
        (RequestCode::UPDATE_COLD_DATA_FLOW_CTR_CONFIG, "old messages"),
        (RequestCode::UPDATE_AND_CREATE_STATIC_TOPIC, "static topics"),
        (RequestCode::CONTROLLER_GET_METADATA_INFO, "controller"),
        (RequestCode::EXPORT_ROCKSDB_CONFIG_TO_JSON, "RocksDB"),
        (RequestCode(77), "does not know it"),
    ] {
        let answer = wire.call(code, &[], b"");
        assert_eq!(answer.response_code(), ResponseCode::REQUEST_CODE_NOT_SUPPORTED, "{code}");
        assert!(answer.remark.as_deref().unwrap().contains(text), "{answer:?}");
    }
    let status = json(&wire.call(RequestCode::GET_BROKER_HA_STATUS, &[], b""));
    assert_eq!((&status["master"], &status["inSyncSlaveNums"]), (&true.into(), &0.into()));
}

#[test]
fn a_request_to_delete_old_files_is_done_by_the_upkeep() {
    let server = Server::start();
    let mut wire = server.connect();
    for code in [
        RequestCode::CLEAN_EXPIRED_CONSUMEQUEUE,
        RequestCode::CLEAN_UNUSED_TOPIC,
        RequestCode::DELETE_EXPIRED_COMMITLOG,
    ] {
        assert_eq!(wire.call(code, &[], b"").response_code(), ResponseCode::SUCCESS, "{code}");
    }
    crate::bad_input::until(|| !server.broker().clean_now.load(std::sync::atomic::Ordering::Relaxed));
}

#[test]
fn queues_of_a_topic_that_is_gone_are_cleaned_and_those_of_others_stay() {
    let server = Server::start();
    let mut wire = server.connect();
    for topic in ["gone", "kept"] {
        create_topic(&mut wire, topic, "1");
        assert_eq!(crate::calls::send(&mut wire, topic, &[], b"x").response_code(), ResponseCode::SUCCESS);
    }
    // As if the process had ended in the middle of a deletion.
    server.broker().topics.remove("gone", 1);
    assert_eq!(wire.call(RequestCode::CLEAN_UNUSED_TOPIC, &[], b"").response_code(), ResponseCode::SUCCESS);
    let log = &server.broker().log;
    assert_eq!((log.find_queue("gone", 0), log.find_queue("kept", 0).is_some()), (None, true));
}
