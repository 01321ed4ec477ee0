//! Pulls that are held until there is something, and what the others are told.

use std::borrow::Cow;
use std::time::Duration;

use broker::config::Flush;
use protocol::codes::ResponseCode;
use protocol::properties;

use protocol::requests::PullMessage;

use crate::requests::{Client, held, pull};
use crate::running::{Running, broker, broker_with};
use crate::waiting::{PATIENCE, now, until};

/// Longest time between an append and the answer to a pull that waits for it, on a machine that does other things
/// besides. It is a few milliseconds mostly.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Starts a pull that is held, and returns once it is.
#[track_caller]
fn hold(broker: &Running, client: &mut Client, pull: &PullMessage<'_>) -> i32 {
    let before = broker.inside().broker.pulls.next_deadline_ms();
    let opaque = client.start_pull(pull);
    let pulls = &broker.inside().broker.pulls;
    until("holding the pull", || (before.is_some() || pulls.next_deadline_ms().is_some()).then_some(()));
    // One more request on the same connection is answered only after the pull was looked at.
    client.pushes_so_far();
    assert!(client.answer_so_far(opaque).is_none(), "the pull was answered at once");
    opaque
}

fn wakes_at_once(broker: &Running) {
    let mut producer = broker.client();
    producer.create_topic("orders", 1);
    for number in 0..20 {
        let mut consumer = broker.client();
        let waiting = hold(broker, &mut consumer, &held(pull("orders", 0, number), PATIENCE));
        producer.send("orders", 0, "news");
        let sent = now();
        let answer = consumer.answer(waiting).expect(ResponseCode::SUCCESS);
        assert!(now() - sent < AT_ONCE, "woken after {:?}", now() - sent);
        assert_eq!((answer.messages().len(), answer.number("nextBeginOffset")), (1, number + 1));
    }
}

#[test]
fn a_pull_that_waits_is_answered_as_soon_as_a_message_is_stored() {
    wakes_at_once(&broker());
}

#[test]
fn a_pull_that_waits_is_answered_as_soon_as_a_message_is_on_disk() {
    wakes_at_once(&broker_with(|config| config.flush = Flush::Sync));
}

#[test]
fn a_pull_that_waits_is_answered_when_its_message_comes_from_another_thread() {
    wakes_at_once(&broker_with(|config| config.io_threads = 3));
}

#[test]
fn messages_that_the_filter_drops_leave_the_pull_waiting_and_move_it_on() {
    let broker = broker();
    let (mut producer, mut consumer) = (broker.client(), broker.client());
    producer.create_topic("orders", 1);
    let filtered = |offset| PullMessage { subscription: Some(Cow::Borrowed("a||b")), ..pull("orders", 0, offset) };
    let waiting = hold(&broker, &mut consumer, &held(filtered(0), PATIENCE));
    for _ in 0..3 {
        producer.send_with("orders", 0, "for others", &[(properties::TAGS, "c")]);
    }
    consumer.pushes_so_far();
    assert!(consumer.answer_so_far(waiting).is_none());
    producer.send_with("orders", 0, "for us", &[(properties::TAGS, "b")]);
    let answer = consumer.answer(waiting).expect(ResponseCode::SUCCESS);
    assert_eq!((answer.messages()[0].body.as_str(), answer.number("nextBeginOffset")), ("for us", 4));

    let waiting = hold(&broker, &mut consumer, &held(filtered(4), Duration::from_millis(400)));
    producer.send_with("orders", 0, "for others", &[(properties::TAGS, "c")]);
    let answer = consumer.answer(waiting).expect(ResponseCode::PULL_NOT_FOUND);
    assert_eq!((answer.number("nextBeginOffset"), answer.number("maxOffset")), (5, 5));
}

#[test]
fn a_pull_that_waited_in_vain_is_told_so_when_its_time_is_up() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 2);
    client.send("orders", 0, "old");
    for (queue_id, offset) in [(0, 1), (1, 0)] {
        let start = now();
        let waiting = hold(&broker, &mut client, &held(pull("orders", queue_id, offset), Duration::from_millis(300)));
        let answer = client.answer(waiting).expect(ResponseCode::PULL_NOT_FOUND);
        // The broker counts whole milliseconds, so the one in which the pull came is counted in full.
        assert!(Duration::from_millis(299) <= now() - start);
        assert_eq!((answer.number("nextBeginOffset"), answer.number("maxOffset")), (offset, offset));
    }
}

#[test]
fn pulls_that_may_not_wait_are_told_at_once_where_to_go_on() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 2);
    for number in 0..3 {
        client.send("orders", 0, &number.to_string());
    }
    use ResponseCode as Code;
    let cases = [
        (0, -1, Code::PULL_OFFSET_MOVED, 0),
        (0, 2, Code::SUCCESS, 3),
        (0, 3, Code::PULL_NOT_FOUND, 3),
        (0, 4, Code::PULL_OFFSET_MOVED, 3),
        (1, 0, Code::PULL_NOT_FOUND, 0),
        (1, 5, Code::PULL_OFFSET_MOVED, 0),
    ];
    for (queue_id, offset, code, next) in cases {
        let answer = client.pull(&pull("orders", queue_id, offset)).expect(code);
        assert_eq!(answer.number("nextBeginOffset"), next, "queue {queue_id} at {offset}");
    }
}

#[test]
fn a_connection_that_ends_waits_no_longer() {
    let broker = broker();
    broker.client().create_topic("orders", 1);
    let mut consumer = broker.client();
    hold(&broker, &mut consumer, &held(pull("orders", 0, 0), PATIENCE));
    hold(&broker, &mut consumer, &held(pull("orders", 0, 0), PATIENCE));
    consumer.shut_down();
    let pulls = &broker.inside().broker.pulls;
    until("forgetting the pulls", || pulls.next_deadline_ms().is_none().then_some(()));
    broker.client().send("orders", 0, "nobody waits");
}

#[test]
fn everybody_who_waits_for_a_queue_is_woken() {
    let broker = broker_with(|config| config.io_threads = 2);
    broker.client().create_topic("orders", 2);
    let waiting: Vec<(Client, i32)> = ["one", "one", "two", "three"]
        .iter()
        .map(|group| {
            let mut client = broker.client();
            let pull = PullMessage { consumer_group: Cow::Borrowed(group), ..held(pull("orders", 0, 0), PATIENCE) };
            let opaque = hold(&broker, &mut client, &pull);
            (client, opaque)
        })
        .collect();
    let mut elsewhere = broker.client();
    let other = hold(&broker, &mut elsewhere, &held(pull("orders", 1, 0), PATIENCE));
    broker.client().send("orders", 0, "news");
    for (mut client, opaque) in waiting {
        assert_eq!(client.answer(opaque).expect(ResponseCode::SUCCESS).messages()[0].body, "news");
    }
    assert!(elsewhere.answer_so_far(other).is_none());
}

#[test]
fn who_waits_for_a_topic_that_is_deleted_is_told() {
    let broker = broker();
    let (mut client, mut consumer) = (broker.client(), broker.client());
    client.create_topic("orders", 1);
    let waiting = hold(&broker, &mut consumer, &held(pull("orders", 0, 0), PATIENCE));
    client.delete_topic("orders");
    consumer.answer(waiting).expect(ResponseCode::TOPIC_NOT_EXIST);
}

#[test]
fn a_pull_that_waits_is_answered_by_a_message_that_falls_due() {
    let broker = broker();
    let (mut client, mut consumer) = (broker.client(), broker.client());
    client.create_topic("orders", 1);
    let waiting = hold(&broker, &mut consumer, &held(pull("orders", 0, 0), PATIENCE));
    client.send_with("orders", 0, "late", &[(properties::DELAY, "1")]);
    assert_eq!(consumer.answer(waiting).messages()[0].body, "late");
}

#[test]
fn a_stop_does_not_wait_for_pulls_that_are_held() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    let mut consumer = broker.client();
    hold(&broker, &mut consumer, &held(pull("orders", 0, 0), PATIENCE));
    let start = now();
    drop(broker);
    assert!(now() - start < PATIENCE / 3);
}
