//! Delayed messages that are taken back.

use std::borrow::Cow;
use std::time::Duration;

use protocol::codes::{RequestCode, ResponseCode};
use protocol::properties;
use protocol::recall_handle::RecallHandle;
use protocol::requests::RecallMessage;

use crate::chance::Chance;
use crate::requests::{Came, Client, message};
use crate::running::{broker, broker_with};
use crate::waiting::now_ms;

/// Sends a message that is due in a while, and gives back its handle.
#[track_caller]
fn send_late(client: &mut Client, body: &str, delay_ms: i64) -> String {
    let delay = delay_ms.to_string();
    let given = [(properties::TIMER_DELAY_MS, delay.as_str()), (properties::UNIQ_KEY, body)];
    let answer = client.ask(RequestCode::SEND_MESSAGE_V2, &message("orders", 0, &given), body.as_bytes());
    answer.expect(ResponseCode::SUCCESS).field("recallHandle").to_owned()
}

fn recall(client: &mut Client, topic: &str, handle: &str) -> Came {
    let header = RecallMessage {
        producer_group: Some(Cow::Borrowed("producers")),
        topic: Cow::Borrowed(topic),
        recall_handle: Cow::Borrowed(handle),
    };
    client.ask(RequestCode::RECALL_MESSAGE, &header, b"")
}

/// Waits until everything that was due before has been delivered.
#[track_caller]
fn wait_for_the_deliveries_before(client: &mut Client) {
    client.create_topic("fence", 1);
    let offset = client.max_offset("fence", 0);
    client.send_with("fence", 0, "fence", &[(properties::TIMER_DELAY_MS, "20")]);
    client.wait_for("fence", 0, offset, 1);
}

#[test]
fn a_message_that_was_taken_back_never_comes() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    let handles: Vec<String> = ["a", "b", "c"].map(|body| send_late(&mut client, body, 700)).to_vec();
    // One of an hour that the broker has not loaded yet.
    let far = send_late(&mut client, "far", 30 * 24 * 3_600_000);
    for (handle, id) in [(&handles[1], "b"), (&far, "far")] {
        let answer = recall(&mut client, "orders", handle).expect(ResponseCode::SUCCESS);
        assert_eq!((answer.field("msgId"), answer.field("MSG_REGION")), (id, "DefaultRegion"));
    }
    recall(&mut client, "orders", &handles[1]).expect(ResponseCode::ILLEGAL_OPERATION);
    let broker = broker.crashed();
    let mut client = broker.client();
    client.wait_for("orders", 0, 0, 2);
    wait_for_the_deliveries_before(&mut client);
    assert_eq!(client.bodies_of("orders", 0), ["a", "c"]);
    recall(&mut client, "orders", &handles[0]).expect(ResponseCode::ILLEGAL_OPERATION);
}

#[test]
fn every_message_is_either_taken_back_or_delivered() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    let mut chance = Chance::new("every_message_is_either_taken_back_or_delivered");
    let mut expected = 0;
    for round in 0..6 {
        let handles: Vec<String> = (0..40)
            .map(|number| send_late(&mut client, &format!("{round}-{number}"), 20 + chance.below(60) as i64))
            .collect();
        for handle in handles {
            let answer = recall(&mut client, "orders", &handle);
            if ResponseCode(answer.code) != ResponseCode::SUCCESS {
                answer.expect(ResponseCode::ILLEGAL_OPERATION);
                expected += 1;
            }
        }
    }
    client.wait_for("orders", 0, 0, expected);
    wait_for_the_deliveries_before(&mut client);
    assert_eq!(client.all_of("orders", 0).len(), expected);
}

#[test]
fn only_a_message_that_is_due_at_a_time_has_a_handle() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    let past = (now_ms() - 1).to_string();
    for given in [(properties::DELAY, "1"), (properties::TIMER_DELIVER_MS, past.as_str()), ("a", "b")] {
        let answer = client.ask(RequestCode::SEND_MESSAGE_V2, &message("orders", 0, &[given]), b"x");
        assert!(!answer.expect(ResponseCode::SUCCESS).fields.contains_key("recallHandle"), "{given:?}");
    }
    let before_ms = now_ms();
    let handle = send_late(&mut client, "late", 3_600_000);
    let handle = RecallHandle::parse(&handle).unwrap();
    assert_eq!((&*handle.topic, &*handle.broker, &*handle.unique_id), ("orders", "broker-a", "late"));
    assert!((before_ms..=now_ms()).contains(&(handle.due_ms - 3_600_000)));
}

#[test]
fn what_was_sent_twice_is_taken_back_as_a_whole_and_nothing_else() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    let due = (now_ms() + 900).to_string();
    let send = |client: &mut Client, id: &str, keys: &str| {
        let given =
            [(properties::TIMER_DELIVER_MS, due.as_str()), (properties::UNIQ_KEY, id), (properties::KEYS, keys)];
        let answer = client.ask(RequestCode::SEND_MESSAGE_V2, &message("orders", 0, &given), id.as_bytes());
        answer.expect(ResponseCode::SUCCESS).field("recallHandle").to_owned()
    };
    let handle = send(&mut client, "twice", "k");
    assert_eq!(send(&mut client, "twice", "k"), handle);
    send(&mut client, "other", "twice");
    recall(&mut client, "orders", &handle).expect(ResponseCode::SUCCESS);
    client.wait_for("orders", 0, 0, 1);
    wait_for_the_deliveries_before(&mut client);
    assert_eq!(client.bodies_of("orders", 0), ["other"]);
}

#[test]
fn what_cannot_be_taken_back_is_refused_with_its_reason() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    let handle = send_late(&mut client, "late", 3_600_000);
    let mut told = |topic: &str, handle: &str, code| recall(&mut client, topic, handle).expect(code).remark;
    assert_eq!(told("none", &handle, ResponseCode::TOPIC_NOT_EXIST), "topic `none` does not exist");
    let illegal = ResponseCode::ILLEGAL_OPERATION;
    assert_eq!(told("orders", "xxxx", illegal), "recall handle is invalid: the handle is not URL-safe base64 of text");
    assert_eq!(told("TBW102", &handle, illegal), "the handle is of topic `orders`, not `TBW102`");
    let with = |change: &dyn Fn(&mut RecallHandle<'static>)| {
        let mut read = RecallHandle::parse(&handle).unwrap();
        change(&mut read);
        read.to_string()
    };
    let other = with(&|handle| handle.broker = "broker-b".into());
    assert_eq!(told("orders", &other, illegal), "the handle is of broker `broker-b`; this is `broker-a`");
    let past = with(&|handle| handle.due_ms = 5);
    assert!(told("orders", &past, illegal).starts_with("the message was due "));
    for missing in [with(&|handle| handle.due_ms += 1), with(&|handle| handle.unique_id = "x".into())] {
        assert!(told("orders", &missing, illegal).starts_with("no message `"));
    }
    recall(&mut client, "orders", &handle).expect(ResponseCode::SUCCESS);
}

#[test]
fn recalls_can_be_switched_off_and_the_longest_delay_set() {
    let broker = broker_with(|config| {
        config.recall = false.into();
        config.timer_max_delay = Duration::from_secs(60).into();
    });
    let mut client = broker.client();
    client.create_topic("orders", 1);
    let handle = send_late(&mut client, "late", 60_000);
    recall(&mut client, "orders", &handle).expect(ResponseCode::NO_PERMISSION);
    let given = [(properties::TIMER_DELAY_SEC, "61")];
    let answer = client.ask(RequestCode::SEND_MESSAGE_V2, &message("orders", 0, &given), b"x");
    let remark = answer.expect(ResponseCode::MESSAGE_ILLEGAL).remark;
    assert_eq!(remark, "message is due in 61000 ms; the limit is 60000 (timerMaxDelaySec)");
}
