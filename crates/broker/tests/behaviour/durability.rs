//! What was answered is there after a stop, and after a crash at any moment.

use std::borrow::Cow;
use std::time::Duration;

use broker::config::Flush;
use protocol::bodies::subscription_group::SubscriptionGroupConfig;
use protocol::codes::{RequestCode, ResponseCode};
use protocol::lenient_json;
use protocol::properties;
use protocol::requests::{GetSubscriptionGroup, OneTopic};

use crate::requests::{Client, GROUP, Message, NoFields, Placed, committing, pull};
use crate::running::{Running, broker, broker_with};
use crate::waiting::until;

/// Sends a few messages with tags, keys and bodies of different sizes.
fn send_some(client: &mut Client, topic: &str) -> Vec<(Placed, String)> {
    let body = |number: i32| format!("{number}-{}", "x".repeat(number as usize * 37 % 900));
    let send = |number: i32| {
        let given = [(properties::TAGS, "even"), (properties::KEYS, "a b")];
        let placed = client.send_with(topic, number % 3, &body(number), &given[..number as usize % 3]);
        (placed, body(number))
    };
    (0..30).map(send).collect()
}

/// Checks that every message lies where its answer said, with its bytes, and that there are no others.
#[track_caller]
fn check_sent(client: &mut Client, topic: &str, sent: &[(Placed, String)]) -> Vec<Message> {
    let found: Vec<Message> = (0..3).flat_map(|queue_id| client.all_of(topic, queue_id)).collect();
    for (placed, body) in sent {
        let same =
            |message: &&Message| (message.queue_id, message.queue_offset) == (placed.queue_id, placed.queue_offset);
        let message = found.iter().find(same).unwrap_or_else(|| panic!("{placed:?} is lost"));
        assert_eq!((&message.body, message.position, message.flag), (body, placed.position, 7));
    }
    assert_eq!(found.len(), sent.len());
    found
}

fn messages_survive(broker: Running) {
    let mut client = broker.client();
    client.create_topic("orders", 3);
    let sent = send_some(&mut client, "orders");
    let before = check_sent(&mut client, "orders", &sent);
    let after = check_sent(&mut broker.crashed().client(), "orders", &sent);
    assert_eq!(before, after);
    let broker = broker.restarted();
    let mut client = broker.client();
    assert_eq!(check_sent(&mut client, "orders", &sent), before);
    let next = client.send("orders", 0, "one more");
    assert_eq!(next.queue_offset, 10);
}

#[test]
fn messages_survive_a_stop_and_a_crash_with_every_byte() {
    messages_survive(broker());
}

#[test]
fn messages_survive_a_stop_and_a_crash_of_a_broker_that_syncs() {
    messages_survive(broker_with(|config| config.flush = Flush::Sync));
}

#[test]
fn a_crash_in_the_moment_after_each_answer_loses_no_message() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    for number in 1..=8 {
        client.send("orders", 0, &format!("{number}"));
        let expected: Vec<String> = (1..=number).map(|number| number.to_string()).collect();
        assert_eq!(broker.crashed().client().bodies_of("orders", 0), expected);
    }
}

#[test]
fn messages_of_many_segments_survive_crash_after_crash() {
    let mut broker = broker_with(|config| {
        config.max_message_bytes = (8 << 10).into();
        config.segment_bytes = 64 << 10;
    });
    let mut expected = Vec::new();
    broker.client().create_topic("orders", 1);
    for round in 0..4 {
        let mut client = broker.client();
        for number in 0..25 {
            let body = format!("{round}.{number}-{}", "y".repeat(5000));
            assert_eq!(client.send("orders", 0, &body).queue_offset as usize, expected.len());
            expected.push(body);
        }
        broker = broker.crashed();
        assert_eq!(broker.client().bodies_of("orders", 0), expected);
    }
}

#[test]
fn topics_that_were_created_survive() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("wide", 13);
    let queues = |broker: &Running| {
        let header = OneTopic { topic: Cow::Borrowed("wide") };
        let answer = broker.client().ask(RequestCode::GET_TOPIC_CONFIG, &header, b"").expect(ResponseCode::SUCCESS);
        let topic: protocol::bodies::topic_config::TopicConfig = lenient_json::from_slice(&answer.body).unwrap();
        (topic.read_queue_nums, topic.write_queue_nums, topic.perm)
    };
    assert_eq!(queues(&broker.crashed()), (13, 13, 6));
    assert_eq!(queues(&broker.restarted()), (13, 13, 6));
}

#[test]
fn a_topic_that_a_send_created_survives_a_crash_in_the_next_moment() {
    for _ in 0..3 {
        let broker = broker();
        let sent = broker.client().send("made-by-a-send", 2, "first");
        let crashed = broker.crashed();
        let mut client = crashed.client();
        assert_eq!(client.bodies_of("made-by-a-send", 2), ["first"]);
        assert_eq!(client.send("made-by-a-send", 2, "second").queue_offset, sent.queue_offset + 1);
    }
}

#[test]
fn topics_with_messages_are_made_again_when_their_settings_are_lost() {
    let broker = broker();
    let mut client = broker.client();
    client.send("made-by-a-send", 2, "kept");
    client.create_topic("deleted", 2);
    client.send("deleted", 1, "gone");
    client.delete_topic("deleted");
    let before: Vec<String> = broker.inside().broker.topics.all().into_keys().collect();
    let copy = broker.crash_copy();
    std::fs::remove_dir_all(copy.path().join("meta")).unwrap();
    let revived = broker.revived(copy);
    assert_eq!(revived.client().bodies_of("made-by-a-send", 2), ["kept"]);
    assert_eq!(revived.inside().broker.topics.all().into_keys().collect::<Vec<_>>(), before);
}

#[test]
fn topics_that_sends_created_survive_a_stop_with_all_their_queues() {
    let broker = broker();
    broker.client().send("made-by-a-send", 1, "first");
    let broker = broker.restarted();
    assert_eq!(broker.client().bodies_of("made-by-a-send", 1), ["first"]);
    assert_eq!(broker.client().send("made-by-a-send", 3, "in the last queue").queue_offset, 0);
}

#[test]
fn groups_that_were_created_survive() {
    let broker = broker();
    let group = SubscriptionGroupConfig {
        group_name: "careful".into(),
        retry_max_times: 3,
        retry_queue_nums: 2,
        ..SubscriptionGroupConfig::default()
    };
    let body = lenient_json::to_vec(&group);
    let answer = broker.client().ask(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &NoFields, &body);
    answer.expect(ResponseCode::SUCCESS);
    let found = |broker: &Running| {
        let header = GetSubscriptionGroup { group: Cow::Borrowed("careful") };
        let answer = broker.client().ask(RequestCode::GET_SUBSCRIPTIONGROUP_CONFIG, &header, b"");
        lenient_json::from_slice::<SubscriptionGroupConfig>(&answer.expect(ResponseCode::SUCCESS).body).unwrap()
    };
    assert_eq!(found(&broker.crashed()), group);
    assert_eq!(found(&broker.restarted()), group);
}

#[test]
fn offsets_survive_a_stop_at_once_and_a_crash_after_a_moment() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 2);
    client.send("orders", 0, "a");
    client.pull(&pull("orders", 0, 0));
    client.commit_offset(GROUP, "orders", 0, 1);
    client.pull(&committing(pull("orders", 1, 0), 5));
    let read = |broker: &Running| {
        let mut client = broker.client();
        [0, 1].map(|queue_id| client.offset_of(GROUP, "orders", queue_id))
    };
    assert_eq!(read(&broker), [Some(1), Some(5)]);
    until("saving the offsets", || (read(&broker.crashed()) == [Some(1), Some(5)]).then_some(()));
    client.commit_offset(GROUP, "orders", 0, 0);
    let broker = broker.restarted();
    assert_eq!(read(&broker), [Some(0), Some(5)], "offsets may go backwards");
}

#[test]
fn a_clean_stop_saves_offsets_that_were_committed_a_moment_ago() {
    let broker = broker_with(|config| config.offset_flush_period = Duration::from_secs(3600));
    let mut client = broker.client();
    client.create_topic("orders", 1);
    client.send("orders", 0, "a");
    client.pull(&committing(pull("orders", 0, 0), 1));
    assert_eq!(broker.restarted().client().offset_of(GROUP, "orders", 0), Some(1));
}
