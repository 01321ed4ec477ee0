//! Messages that are due later.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::bodies::replication::TimerMetrics;
use protocol::codes::{RequestCode, ResponseCode};
use protocol::properties;
use protocol::requests::{RecallMessage, SendMessage};

use crate::chance::Chance;
use crate::requests::{Client, NoFields, message};
use crate::running::{Running, broker, broker_with};
use crate::waiting::{now_ms, pause, until};

/// Waits until everything that was due before has been delivered: sends a message that is due a little later, and
/// waits for it.
#[track_caller]
fn wait_for_the_deliveries_before(client: &mut Client) {
    client.create_topic("fence", 1);
    let offset = client.max_offset("fence", 0);
    client.send_with("fence", 0, "fence", &[(properties::TIMER_DELAY_MS, "20")]);
    client.wait_for("fence", 0, offset, 1);
}

/// Sends with a delay and checks when the message comes.
#[track_caller]
fn check_delay(client: &mut Client, given: &[(&str, &str)], delay_ms: i64) {
    let offset = client.max_offset("orders", 1);
    let before_ms = now_ms();
    let waiting = client.send_with("orders", 1, "late", given);
    let came = &client.wait_for("orders", 1, offset, 1)[0];
    assert!(before_ms + delay_ms <= came.store_ms, "{given:?} was delivered early");
    assert_eq!((came.body.as_str(), came.settles, came.flag), ("late", waiting.position, 7));
}

#[test]
fn each_level_has_its_delay_and_levels_above_the_last_are_the_last() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 2);
    for (level, delay_ms) in [("1", 100), ("2", 200), ("3", 300), ("4", 400), ("5", 400), ("77", 400)] {
        check_delay(&mut client, &[(properties::DELAY, level)], delay_ms);
    }
    for none in ["0", "-1"] {
        client.send_with("orders", 0, "at once", &[(properties::DELAY, none)]);
    }
    assert_eq!(client.bodies_of("orders", 0).len(), 2);
}

#[test]
fn messages_are_due_after_seconds_or_milliseconds_or_at_a_time() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 2);
    check_delay(&mut client, &[(properties::TIMER_DELAY_MS, "150")], 150);
    check_delay(&mut client, &[(properties::TIMER_DELAY_SEC, "1")], 1000);
    let in_a_moment = (now_ms() + 250).to_string();
    check_delay(&mut client, &[(properties::TIMER_DELIVER_MS, &in_a_moment)], 240);
    check_delay(&mut client, &[(properties::DELAY, "2"), (properties::TIMER_DELAY_SEC, "3600")], 200);
}

#[test]
fn a_time_that_has_passed_delays_nothing_and_one_too_far_is_refused() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    let past = (now_ms() - 1000).to_string();
    for given in [
        (properties::TIMER_DELIVER_MS, past.as_str()),
        (properties::TIMER_DELAY_MS, "0"),
        (properties::TIMER_DELAY_SEC, "-5"),
    ] {
        client.send_with("orders", 0, "at once", &[given]);
    }
    assert_eq!(client.all_of("orders", 0).len(), 3);
    client.send_with("orders", 0, "in forty days", &[(properties::TIMER_DELAY_SEC, "3456000")]);
    let too_far = (now_ms() + 41 * 24 * 3600 * 1000).to_string();
    let refused = [
        (properties::TIMER_DELAY_SEC, "3456001"),
        (properties::TIMER_DELAY_MS, "9223372036854775807"),
        (properties::TIMER_DELAY_SEC, "9223372036854775807"),
        (properties::TIMER_DELIVER_MS, &too_far),
        (properties::TIMER_DELAY_MS, "soon"),
    ];
    for given in refused {
        let answer = client.ask(RequestCode::SEND_MESSAGE_V2, &message("orders", 0, &[given]), b"x");
        answer.expect(ResponseCode::MESSAGE_ILLEGAL);
    }
}

#[test]
fn what_is_delivered_says_what_was_asked_for_and_not_when_the_broker_meant_it_to_be_due() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    let kept = [(properties::TAGS, "t"), (properties::KEYS, "k"), ("mine", "yes"), (properties::UNIQ_KEY, "U")];
    for delay in [(properties::DELAY, "1"), (properties::TIMER_DELAY_MS, "100")] {
        client.send_with("orders", 0, delay.0, &[&kept[..], &[delay]].concat());
    }
    for message in client.wait_for("orders", 0, 0, 2) {
        for (name, value) in kept {
            assert_eq!(message.property(name), value);
        }
        assert_ne!(message.property(&message.body), "", "{}", message.body);
        assert_eq!(message.property(properties::REAL_TOPIC), "orders");
        assert_eq!(message.property(properties::TIMER_OUT_MS), "");
    }
}

#[test]
fn a_delayed_message_whose_flag_speaks_of_a_transaction_holds_up_no_other() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    for sys_flag in [4, 8, 12] {
        let message = message("orders", 0, &[(properties::DELAY, "1")]);
        client.send_message(&SendMessage { sys_flag, ..message }, "odd");
    }
    wait_for_the_deliveries_before(&mut client);
}

#[test]
fn messages_come_in_the_order_in_which_they_are_due() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    let base_ms = now_ms() + 600;
    let mut chance = Chance::new("messages_come_in_the_order_in_which_they_are_due");
    let mut due: Vec<i64> = (0..40).map(|_| base_ms + chance.below(400) as i64).collect();
    for due_ms in &due {
        let text = due_ms.to_string();
        client.send_with("orders", 0, &text, &[(properties::TIMER_DELIVER_MS, &text)]);
    }
    due.sort_unstable();
    let came = client.wait_for("orders", 0, 0, due.len());
    assert_eq!(came.iter().map(|message| message.body.parse().unwrap()).collect::<Vec<i64>>(), due);
    assert!(came.iter().zip(&due).all(|(message, due_ms)| *due_ms <= message.store_ms));
}

#[test]
fn an_earlier_message_does_not_wait_for_a_later_one() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    client.send_with("orders", 0, "tomorrow", &[(properties::TIMER_DELAY_SEC, "86400")]);
    client.send_with("orders", 0, "soon", &[(properties::TIMER_DELAY_MS, "50")]);
    assert_eq!(client.wait_for("orders", 0, 0, 1)[0].body, "soon");
}

#[test]
fn many_large_messages_that_are_due_together_all_come() {
    let broker = broker_with(|config| config.segment_bytes = 96 << 10);
    let mut client = broker.client();
    client.create_topic("orders", 1);
    let due_ms = (now_ms() + 800).to_string();
    for number in 0..20 {
        let body = format!("{number}-{}", "z".repeat(40_000));
        client.send_with("orders", 0, &body, &[(properties::TIMER_DELIVER_MS, &due_ms)]);
    }
    let came = client.wait_for("orders", 0, 0, 20);
    assert!(came.iter().enumerate().all(|(number, message)| message.body.starts_with(&format!("{number}-"))));
}

#[test]
fn waiting_messages_survive_and_what_fell_due_meanwhile_comes_once() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 2);
    client.send_with("orders", 0, "level", &[(properties::DELAY, "3")]);
    client.send_with("orders", 1, "timer", &[(properties::TIMER_DELAY_MS, "300")]);
    let copy = broker.crash_copy();
    // Both fall due while no broker runs on the copy.
    client.wait_for("orders", 0, 0, 1);
    client.wait_for("orders", 1, 0, 1);
    for broker in [broker.revived(copy), broker.restarted()] {
        let mut client = broker.client();
        client.wait_for("orders", 0, 0, 1);
        client.wait_for("orders", 1, 0, 1);
        wait_for_the_deliveries_before(&mut client);
        assert_eq!(client.bodies_of("orders", 0), ["level"]);
        assert_eq!(client.bodies_of("orders", 1), ["timer"]);
    }
}

#[test]
fn a_crash_in_the_moment_after_a_delivery_does_not_repeat_it() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    for number in 0..5 {
        client.send_with("orders", 0, "late", &[(properties::TIMER_DELAY_MS, "30")]);
        client.wait_for("orders", 0, number, 1);
        let crashed = broker.crashed();
        let mut client = crashed.client();
        wait_for_the_deliveries_before(&mut client);
        assert_eq!(client.all_of("orders", 0).len() as i64, number + 1);
    }
}

#[test]
fn delayed_messages_come_exactly_once_over_crashes_at_random_moments() {
    let mut chance = Chance::new("delayed_messages_come_exactly_once_over_crashes_at_random_moments");
    let mut broker = broker();
    broker.client().create_topic("orders", 1);
    let mut sent = 0;
    for _ in 0..8 {
        let mut client = broker.client();
        for _ in 0..12 {
            let delay_ms = (20 + chance.below(500)).to_string();
            client.send_with("orders", 0, &format!("{sent}"), &[(properties::TIMER_DELAY_MS, &delay_ms)]);
            sent += 1;
        }
        pause(Duration::from_millis(chance.below(300)));
        broker = broker.crashed();
    }
    let mut client = broker.client();
    client.wait_for("orders", 0, 0, sent);
    wait_for_the_deliveries_before(&mut client);
    let mut numbers: Vec<usize> = client.bodies_of("orders", 0).iter().map(|body| body.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..sent).collect::<Vec<_>>());
}

#[test]
fn a_delayed_message_of_a_topic_that_was_deleted_makes_the_topic_again() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    client.send_with("orders", 0, "late", &[(properties::DELAY, "4")]);
    client.delete_topic("orders");
    wait_for_the_deliveries_before(&mut client);
    crate::waiting::until("the delivery", || (client.max_offset("orders", 0) == 1).then_some(()));
    assert_eq!(client.bodies_of("orders", 0), ["late"]);
}

#[test]
fn messages_that_wait_are_told_by_topic_after_deliveries_recalls_stops_and_crashes() {
    let mut broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    client.create_topic("bills", 1);
    let far = [(properties::TIMER_DELAY_SEC, "7000")];
    let sent = client.ask(RequestCode::SEND_MESSAGE_V2, &message("orders", 0, &far), b"recalled");
    let handle = sent.expect(ResponseCode::SUCCESS).field("recallHandle").to_owned();
    let recall = RecallMessage { producer_group: None, topic: "orders".into(), recall_handle: handle.into() };
    assert_eq!(counts(&mut client), BTreeMap::from([("orders".to_owned(), 1)]));
    client.ask(RequestCode::RECALL_MESSAGE, &recall, b"").expect(ResponseCode::SUCCESS);
    assert_eq!(counts(&mut client), BTreeMap::new());
    for delay in [[(properties::TIMER_DELAY_MS, "50")], far, [(properties::DELAY, "5")]] {
        client.send_with("bills", 0, "late", &delay);
    }
    client.send_with("orders", 0, "far", &far);
    wait_for_the_deliveries_before(&mut client);
    let bills = |broker: &Running| counts(&mut broker.client()).get("bills").copied();
    // Level 5 of this broker lasts 400 ms.
    until("deliveries", || (bills(&broker) == Some(1)).then_some(()));
    let expected = BTreeMap::from([("bills".to_owned(), 1), ("orders".to_owned(), 1)]);
    assert_eq!(counts(&mut client), expected);
    assert_eq!(counts(&mut broker.crashed().client()), expected);
    broker = broker.restarted();
    assert_eq!(counts(&mut broker.client()), expected);
}

/// Messages that wait, by topic.
#[track_caller]
fn counts(client: &mut Client) -> BTreeMap<String, i64> {
    let answer = client.ask(RequestCode::GET_TIMER_METRICS, &NoFields, b"").expect(ResponseCode::SUCCESS);
    let metrics: TimerMetrics = protocol::lenient_json::from_slice(&answer.body).unwrap();
    metrics.timing_count.into_iter().map(|(topic, metric)| (topic, metric.count)).collect()
}
