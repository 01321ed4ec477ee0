//! Messages that consumers hand back.

use std::borrow::Cow;

use protocol::bodies::subscription_group::SubscriptionGroupConfig;
use protocol::codes::{RequestCode, ResponseCode};
use protocol::lenient_json;
use protocol::message_id::OffsetMessageId;
use protocol::properties;
use protocol::requests::ConsumerSendMsgBack;

use crate::requests::{Came, Client, Message, NoFields};
use crate::running::{Running, broker};
use crate::waiting::now_ms;

const GROUP: &str = "workers";
const RETRY: &str = "%RETRY%workers";
const DEAD: &str = "%DLQ%workers";

fn hand_back(client: &mut Client, position: i64, delay_level: i32, limit: Option<i32>) -> Came {
    let header = ConsumerSendMsgBack {
        group: Cow::Borrowed(GROUP),
        offset: position,
        delay_level,
        origin_msg_id: None,
        origin_topic: None,
        unit_mode: false,
        max_reconsume_times: limit,
    };
    client.ask(RequestCode::CONSUMER_SEND_MSG_BACK, &header, b"")
}

/// Hands a message back and waits until it comes again; checks that it does not come early.
#[track_caller]
fn retried(client: &mut Client, position: i64, delay_level: i32, offset: i64, delay_ms: i64) -> Message {
    let before_ms = now_ms();
    hand_back(client, position, delay_level, None).expect(ResponseCode::SUCCESS);
    let message = client.wait_for(RETRY, 0, offset, 1).remove(0);
    assert!(before_ms + delay_ms <= message.store_ms, "retried early");
    message
}

fn origin(broker: &Running, position: i64) -> String {
    OffsetMessageId { host: broker.inside().address, position: position as u64 }.to_string()
}

#[test]
fn a_message_that_is_handed_back_comes_again_later_each_time() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    let sent = client.send_with("orders", 0, "hard", &[(properties::TAGS, "t"), (properties::UNIQ_KEY, "U")]);
    let mut position = sent.position;
    // Levels 3, 4, and 5, which is above the last.
    for (times, delay_ms) in [(1, 300), (2, 400), (3, 400)] {
        let message = retried(&mut client, position, 0, times - 1, delay_ms);
        assert_eq!((message.body.as_str(), message.reconsume_times), ("hard", times as i32));
        assert_eq!(message.property(properties::RETRY_TOPIC), "orders");
        assert_eq!(message.property(properties::ORIGIN_MESSAGE_ID), origin(&broker, sent.position));
        assert_eq!((message.property(properties::TAGS), message.property(properties::UNIQ_KEY)), ("t", "U"));
        assert_eq!((message.flag, message.born_ms <= sent_ms(&mut client)), (7, true));
        position = message.position;
    }
}

fn sent_ms(client: &mut Client) -> i64 {
    client.all_of("orders", 0)[0].store_ms
}

#[test]
fn a_message_that_waits_for_its_retry_says_its_level() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    let sent = client.send("orders", 0, "hard");
    for (given, level) in [(0, 3), (1, 1), (2, 2), (77, 4)] {
        hand_back(&mut client, sent.position, given, None).expect(ResponseCode::SUCCESS);
        let waiting = client.all_of("SCHEDULE_TOPIC_XXXX", level - 1).pop().unwrap();
        assert_eq!(waiting.property(properties::DELAY), level.to_string());
        assert_eq!(waiting.property(properties::REAL_TOPIC), RETRY);
        assert_eq!(waiting.reconsume_times, 1);
    }
    client.wait_for(RETRY, 0, 0, 4);
}

#[test]
fn consumers_may_name_the_level() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    let sent = client.send("orders", 0, "hard");
    for (offset, (level, delay_ms)) in [(1, 100), (2, 200), (i32::MAX, 400)].into_iter().enumerate() {
        retried(&mut client, sent.position, level, offset as i64, delay_ms);
    }
}

#[test]
fn a_message_becomes_a_dead_letter_when_asked_for_or_handed_back_too_often() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    let first = client.send("orders", 0, "asked for");
    hand_back(&mut client, first.position, -1, None).expect(ResponseCode::SUCCESS);
    let second = client.send("orders", 0, "too often");
    let again = retried(&mut client, second.position, 1, 0, 100);
    hand_back(&mut client, again.position, 0, Some(1)).expect(ResponseCode::SUCCESS);
    let third = client.send("orders", 0, "never");
    hand_back(&mut client, third.position, 0, Some(0)).expect(ResponseCode::SUCCESS);
    let dead = client.all_of(DEAD, 0);
    let facts: Vec<(&str, i32)> = dead.iter().map(|message| (message.body.as_str(), message.reconsume_times)).collect();
    assert_eq!(facts, [("asked for", 1), ("too often", 2), ("never", 1)]);
    assert!(dead.iter().all(|message| message.property(properties::RETRY_TOPIC) == "orders"));
    assert_eq!(dead[1].property(properties::ORIGIN_MESSAGE_ID), origin(&broker, second.position));
    assert_eq!(client.max_offset(RETRY, 0), 1);
}

#[test]
fn the_limit_of_the_group_counts_where_the_consumer_names_none() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    let group =
        SubscriptionGroupConfig { group_name: GROUP.into(), retry_max_times: 1, ..SubscriptionGroupConfig::default() };
    client
        .ask(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &NoFields, &lenient_json::to_vec(&group))
        .expect(ResponseCode::SUCCESS);
    let sent = client.send("orders", 0, "hard");
    let again = retried(&mut client, sent.position, 1, 0, 100);
    hand_back(&mut client, again.position, 1, None).expect(ResponseCode::SUCCESS);
    assert_eq!(client.bodies_of(DEAD, 0), ["hard"]);
}

#[test]
fn nothing_is_kept_for_a_group_without_retry_queues() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    let group =
        SubscriptionGroupConfig { group_name: GROUP.into(), retry_queue_nums: 0, ..SubscriptionGroupConfig::default() };
    client
        .ask(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &NoFields, &lenient_json::to_vec(&group))
        .expect(ResponseCode::SUCCESS);
    let sent = client.send("orders", 0, "hard");
    let end = broker.inside().broker.log.end();
    hand_back(&mut client, sent.position, 0, None).expect(ResponseCode::SUCCESS);
    assert_eq!(broker.inside().broker.log.end(), end);
}

#[test]
fn what_is_not_there_cannot_be_handed_back() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    let sent = client.send("orders", 0, "hard");
    for position in [sent.position + 1, sent.position + 100_000, 0, -1, i64::MAX] {
        hand_back(&mut client, position, 0, None).expect(ResponseCode::SYSTEM_ERROR);
    }
}

#[test]
fn a_crash_in_the_moment_after_the_answer_neither_loses_nor_repeats_the_retry() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    let sent = client.send("orders", 0, "hard");
    hand_back(&mut client, sent.position, 1, None).expect(ResponseCode::SUCCESS);
    hand_back(&mut client, sent.position, -1, None).expect(ResponseCode::SUCCESS);
    for broker in [broker.crashed().crashed(), broker.restarted()] {
        let mut client = broker.client();
        client.wait_for(RETRY, 0, 0, 1);
        client.send_with("orders", 0, "fence", &[(properties::DELAY, "1")]);
        client.wait_for("orders", 0, 1, 1);
        assert_eq!((client.max_offset(RETRY, 0), client.max_offset(DEAD, 0)), (1, 1));
    }
}
