//! Who is connected, who is told, and who may consume in order.

use std::borrow::Cow;

use protocol::bodies::consumer_list::ConsumerList;
use protocol::bodies::heartbeat::{
    ConsumeFromWhere, ConsumeType, ConsumerData, HeartbeatData, MessageModel, ProducerData, SubscriptionData,
};
use protocol::bodies::message_queue::MessageQueue;
use protocol::bodies::queue_lock::{LockedQueues, QueueLockRequest};
use protocol::bodies::subscription_group::SubscriptionGroupConfig;
use protocol::codes::{RequestCode, ResponseCode};
use protocol::lenient_json;
use protocol::properties;
use protocol::requests::{ConsumerGroup, UnregisterClient};

use crate::requests::{Came, Client, NoFields, as_subscribed, pull};
use crate::running::{Running, broker};
use crate::waiting::until;

const GROUP: &str = "workers";

/// Heartbeat of a producer.
pub fn producer(client_id: &str, group: &str) -> HeartbeatData {
    HeartbeatData {
        client_id: client_id.into(),
        producer_data_set: vec![ProducerData { group_name: group.into() }],
        ..HeartbeatData::default()
    }
}

/// Heartbeat of a consumer that wants these topics, each with an expression and a version.
pub fn consumer(client_id: &str, group: &str, model: MessageModel, wanted: &[(&str, &str, i64)]) -> HeartbeatData {
    let subscription = |(topic, expression, version): &(&str, &str, i64)| SubscriptionData {
        topic: (*topic).into(),
        sub_string: (*expression).into(),
        sub_version: *version,
        ..SubscriptionData::default()
    };
    HeartbeatData {
        client_id: client_id.into(),
        consumer_data_set: vec![ConsumerData {
            consume_from_where: Some(ConsumeFromWhere::LastOffset),
            consume_type: Some(ConsumeType::Passively),
            group_name: group.into(),
            message_model: Some(model),
            subscription_data_set: wanted.iter().map(subscription).collect(),
            unit_mode: false,
        }],
        ..HeartbeatData::default()
    }
}

/// Sends a heartbeat.
#[track_caller]
pub fn beat(client: &mut Client, heartbeat: &HeartbeatData) {
    let body = lenient_json::to_vec(heartbeat);
    client.ask(RequestCode::HEART_BEAT, &NoFields, &body).expect(ResponseCode::SUCCESS);
}

fn member(broker: &Running, client_id: &str) -> Client {
    let mut client = broker.client();
    beat(&mut client, &consumer(client_id, GROUP, MessageModel::Clustering, &[("orders", "*", 1)]));
    client
}

#[track_caller]
fn check_told(came: &Came) {
    assert_eq!(RequestCode(came.code), RequestCode::NOTIFY_CONSUMER_IDS_CHANGED);
    assert_eq!(came.field("consumerGroup"), GROUP);
}

fn list(client: &mut Client, group: &str) -> Option<Vec<String>> {
    let header = ConsumerGroup { consumer_group: Cow::Borrowed(group) };
    let answer = client.ask(RequestCode::GET_CONSUMER_LIST_BY_GROUP, &header, b"");
    if ResponseCode(answer.code) == ResponseCode::SYSTEM_ERROR {
        return None;
    }
    let answer = answer.expect(ResponseCode::SUCCESS);
    let mut ids = lenient_json::from_slice::<ConsumerList>(&answer.body).unwrap().consumer_id_list;
    ids.sort();
    Some(ids)
}

fn leave(client: &mut Client, client_id: &str) {
    let header = UnregisterClient {
        client_id: Cow::Borrowed(client_id),
        producer_group: None,
        consumer_group: Some(Cow::Borrowed(GROUP)),
    };
    client.ask(RequestCode::UNREGISTER_CLIENT, &header, b"").expect(ResponseCode::SUCCESS);
}

#[test]
fn members_are_told_when_one_joins_leaves_or_is_gone() {
    let broker = broker();
    broker.client().create_topic("orders", 1);
    let mut first = member(&broker, "first");
    check_told(&first.pushed());
    let mut second = member(&broker, "second");
    check_told(&first.pushed());
    check_told(&second.pushed());
    assert_eq!(list(&mut first, GROUP).unwrap(), ["first", "second"]);
    leave(&mut second, "second");
    check_told(&first.pushed());
    assert_eq!(list(&mut second, GROUP).unwrap(), ["first"]);
    let third = member(&broker, "third");
    check_told(&first.pushed());
    third.shut_down();
    check_told(&first.pushed());
    assert_eq!(list(&mut first, GROUP).unwrap(), ["first"]);
    beat(&mut first, &consumer("first", GROUP, MessageModel::Clustering, &[("orders", "*", 1)]));
    assert_eq!(first.pushes_so_far().len(), 0, "a heartbeat that changes nothing");
    first.shut_down();
    until("the last member to be gone", || list(&mut second, GROUP).is_none().then_some(()));
}

#[test]
fn a_group_that_wants_to_be_left_in_peace_is_told_nothing() {
    let broker = broker();
    let group = SubscriptionGroupConfig {
        group_name: GROUP.into(),
        notify_consumer_ids_changed_enable: false,
        ..SubscriptionGroupConfig::default()
    };
    let body = lenient_json::to_vec(&group);
    let answer = broker.client().ask(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &NoFields, &body);
    answer.expect(ResponseCode::SUCCESS);
    let mut first = member(&broker, "first");
    let _second = member(&broker, "second");
    assert_eq!(first.pushes_so_far().len(), 0);
}

#[test]
fn a_group_that_broadcasts_shares_nothing_and_is_told_nothing() {
    let broker = broker();
    broker.client().create_topic("orders", 1);
    let heartbeat = |id: &str| consumer(id, GROUP, MessageModel::Broadcasting, &[("orders", "*", 1)]);
    let mut members = ["first", "second"].map(|id| {
        let mut client = broker.client();
        beat(&mut client, &heartbeat(id));
        client
    });
    broker.client().send("orders", 0, "for everybody");
    for client in &mut members {
        let answer = client.pull(&as_subscribed(pull("orders", 0, 0), GROUP)).expect(ResponseCode::SUCCESS);
        assert_eq!(answer.messages()[0].body, "for everybody");
        assert_eq!(client.pushes_so_far().len(), 0);
    }
    let group = SubscriptionGroupConfig {
        group_name: GROUP.into(),
        consume_broadcast_enable: false,
        ..SubscriptionGroupConfig::default()
    };
    let body = lenient_json::to_vec(&group);
    let answer = members[0].ask(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &NoFields, &body);
    answer.expect(ResponseCode::SUCCESS);
    let refused = members[0].pull(&as_subscribed(pull("orders", 0, 0), GROUP)).expect(ResponseCode::NO_PERMISSION);
    assert_eq!(refused.number("forbiddenType"), 4);
}

#[test]
fn heartbeats_change_what_a_group_gets() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    client.create_topic("returns", 1);
    for (topic, tag) in [("orders", "a"), ("orders", "b"), ("returns", "a")] {
        client.send_with(topic, 0, tag, &[(properties::TAGS, tag)]);
    }
    let wanting = |wanted: &[(&str, &str, i64)]| consumer("first", GROUP, MessageModel::Clustering, wanted);
    let look = |client: &mut Client, topic: &str, version: i64| {
        let mut pull = as_subscribed(pull(topic, 0, 0), GROUP);
        pull.sub_version = version;
        let answer = client.pull(&pull);
        (ResponseCode(answer.code), answer.messages().into_iter().map(|message| message.body).collect::<String>())
    };
    let nothing = String::new;
    assert_eq!(look(&mut client, "orders", 0), (ResponseCode::SUBSCRIPTION_NOT_EXIST, nothing()));
    beat(&mut client, &wanting(&[("orders", "a", 5)]));
    check_told(&client.pushed());
    assert_eq!(look(&mut client, "orders", 5), (ResponseCode::SUCCESS, "a".into()));
    assert_eq!(look(&mut client, "orders", 6), (ResponseCode::SUBSCRIPTION_NOT_LATEST, nothing()));
    assert_eq!(look(&mut client, "returns", 0), (ResponseCode::SUBSCRIPTION_NOT_EXIST, nothing()));
    beat(&mut client, &wanting(&[("orders", "b || c", 6)]));
    assert_eq!(client.pushes_so_far().len(), 0, "an expression that changes moves no queue");
    assert_eq!(look(&mut client, "orders", 6), (ResponseCode::SUCCESS, "b".into()));
    beat(&mut client, &wanting(&[("orders", "c", 7)]));
    assert_eq!(look(&mut client, "orders", 7), (ResponseCode::PULL_RETRY_IMMEDIATELY, nothing()));
    beat(&mut client, &wanting(&[("orders", "*", 8), ("returns", "*", 8)]));
    check_told(&client.pushed());
    assert_eq!(look(&mut client, "orders", 8), (ResponseCode::SUCCESS, "ab".into()));
    assert_eq!(look(&mut client, "returns", 8), (ResponseCode::SUCCESS, "a".into()));
    beat(&mut client, &wanting(&[("returns", "*", 8)]));
    check_told(&client.pushed());
    assert_eq!(look(&mut client, "orders", 0), (ResponseCode::SUBSCRIPTION_NOT_EXIST, nothing()));
}

#[test]
fn a_consumer_gets_its_retry_topic_with_its_first_heartbeat() {
    let broker = broker();
    let mut client = member(&broker, "first");
    assert_eq!(client.all_of("%RETRY%workers", 0), []);
    assert_eq!(client.send("%RETRY%workers", 0, "again").queue_offset, 0);
}

fn queue(queue_id: i32) -> MessageQueue {
    MessageQueue { broker_name: "broker-a".into(), queue_id, topic: "orders".into() }
}

fn lock_request(client_id: &str, group: &str, queues: &[i32]) -> Vec<u8> {
    lenient_json::to_vec(&QueueLockRequest {
        client_id: client_id.into(),
        consumer_group: group.into(),
        mq_set: queues.iter().map(|id| queue(*id)).collect(),
        only_this_broker: false,
    })
}

#[test]
fn a_queue_is_locked_for_one_member_at_a_time() {
    let broker = broker();
    let mut client = broker.client();
    let mut lock = |client_id: &str, group: &str, queues: &[i32]| {
        let body = lock_request(client_id, group, queues);
        let answer = client.ask(RequestCode::LOCK_BATCH_MQ, &NoFields, &body).expect(ResponseCode::SUCCESS);
        let mut locked = lenient_json::from_slice::<LockedQueues>(&answer.body).unwrap().lock_ok_mq_set;
        locked.sort();
        locked.into_iter().map(|queue| queue.queue_id).collect::<Vec<_>>()
    };
    assert_eq!(lock("a", GROUP, &[0, 1]), [0, 1]);
    assert_eq!(lock("b", GROUP, &[0, 1, 2]), [2]);
    assert_eq!(lock("a", GROUP, &[0, 1, 2]), [0, 1]);
    assert_eq!(lock("b", "others", &[0, 1]), [0, 1], "groups do not meet");
    let mut unlocking = broker.client();
    for (client_id, queues) in [("b", [0, 1]), ("a", [1, 2])] {
        let body = lock_request(client_id, GROUP, &queues);
        unlocking.ask(RequestCode::UNLOCK_BATCH_MQ, &NoFields, &body).expect(ResponseCode::SUCCESS);
    }
    assert_eq!(lock("b", GROUP, &[0, 1, 2]), [1, 2]);
}
