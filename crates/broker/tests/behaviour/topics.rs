//! Topics that are deleted and made again.

use std::time::Duration;

use crate::requests::{Client, GROUP, committing, pull};
use crate::running::{Running, broker, broker_with};
use crate::waiting::until;

fn fill(client: &mut Client, topic: &str, queues: i32) {
    client.create_topic(topic, queues);
    for queue_id in 0..queues {
        for number in 0..3 {
            client.send(topic, queue_id, &format!("old {number}"));
        }
    }
}

/// Checks that the topic, made anew, begins at offset 0 and holds nothing old.
#[track_caller]
fn check_begins_anew(broker: &Running, topic: &str, queues: i32) {
    let mut client = broker.client();
    client.create_topic(topic, queues);
    for queue_id in 0..queues {
        assert_eq!(client.all_of(topic, queue_id), [], "queue {queue_id}");
        assert_eq!(client.send(topic, queue_id, "new").queue_offset, 0, "queue {queue_id}");
        assert_eq!(client.bodies_of(topic, queue_id), ["new"]);
    }
}

#[test]
fn a_topic_that_was_deleted_begins_anew() {
    let broker = broker();
    fill(&mut broker.client(), "orders", 3);
    broker.client().delete_topic("orders");
    check_begins_anew(&broker, "orders", 3);
}

#[test]
fn messages_of_a_deleted_topic_do_not_come_back_after_a_stop_or_a_crash() {
    let broker = broker();
    fill(&mut broker.client(), "orders", 3);
    broker.client().delete_topic("orders");
    check_begins_anew(&broker.crashed(), "orders", 3);
    let broker = broker.restarted();
    check_begins_anew(&broker, "orders", 3);
    for broker in [broker.crashed(), broker.restarted()] {
        let mut client = broker.client();
        for queue_id in 0..3 {
            assert_eq!(client.bodies_of("orders", queue_id), ["new"]);
            assert_eq!(client.send("orders", queue_id, "newer").queue_offset, 1);
        }
    }
}

#[test]
fn a_deleted_topic_stays_deleted_after_a_crash() {
    use protocol::codes::ResponseCode;
    let broker = broker();
    fill(&mut broker.client(), "orders", 1);
    broker.client().delete_topic("orders");
    for broker in [broker.crashed(), broker.restarted()] {
        broker.client().pull(&pull("orders", 0, 0)).expect(ResponseCode::TOPIC_NOT_EXIST);
    }
}

#[test]
fn messages_in_queues_that_a_topic_lost_before_its_deletion_do_not_come_back() {
    let broker = broker();
    fill(&mut broker.client(), "orders", 4);
    broker.client().create_topic("orders", 2);
    broker.client().delete_topic("orders");
    check_begins_anew(&broker, "orders", 4);
}

#[test]
fn offsets_of_a_deleted_topic_do_not_come_back_after_a_crash() {
    let broker = broker_with(|config| config.offset_flush_period = Duration::from_millis(500));
    let mut client = broker.client();
    fill(&mut client, "orders", 1);
    client.pull(&committing(pull("orders", 0, 0), 3));
    let saved = |broker: &Running| broker.client().offset_of(GROUP, "orders", 0);
    until("saving the offset", || saved(&broker.crashed()).map(drop));
    client.delete_topic("orders");
    let crashed = broker.crashed();
    assert_eq!((saved(&broker), saved(&crashed)), (None, None));
    check_begins_anew(&crashed, "orders", 1);
}

#[test]
fn messages_sent_while_a_topic_is_deleted_are_stored_or_refused_and_never_mixed_up() {
    let broker = broker();
    broker.client().create_topic("orders", 1);
    let mut senders: Vec<Client> = (0..2).map(|_| broker.client()).collect();
    std::thread::scope(|scope| {
        for client in &mut senders {
            scope.spawn(|| {
                for number in 0..200 {
                    let message = crate::requests::message("orders", 0, &[]);
                    let body = format!("{number}");
                    client.ask(protocol::codes::RequestCode::SEND_MESSAGE_V2, &message, body.as_bytes());
                }
            });
        }
        for _ in 0..10 {
            broker.client().delete_topic("orders");
        }
    });
    broker.client().delete_topic("orders");
    check_begins_anew(&broker, "orders", 1);
}
