//! Half messages, decisions about them, and questions to producers.

use std::time::Duration;

use protocol::codes::{RequestCode, ResponseCode};
use protocol::message_id::OffsetMessageId;
use protocol::properties;
use protocol::requests::{EndTransaction, ResumeCheck};

use crate::membership::{beat, producer};
use crate::requests::{COMMIT, Came, Client, Placed, ROLLBACK, UNKNOWN, decision, pull};
use crate::running::{Running, broker, broker_with};
use crate::waiting::{now_ms, until};

const GROUP: &str = "payers";
const TIMEOUT_MS: i64 = 200;
const INTERVAL_MS: i64 = 700;
const GIVEN_UP: &str = "TRANS_CHECK_MAX_TIME_TOPIC";

/// A broker that asks soon.
fn asking_broker(checks_max: u32) -> Running {
    broker_with(|config| {
        config.transaction_timeout = Duration::from_millis(TIMEOUT_MS as u64).into();
        config.transaction_check_interval = Duration::from_millis(INTERVAL_MS as u64).into();
        config.transaction_check_max = checks_max.into();
    })
}

/// A connection of a producer that may be asked.
fn live_producer(broker: &Running) -> Client {
    let mut client = broker.client();
    beat(&mut client, &producer("producer-1", GROUP));
    client
}

/// The half message that a question is about, and the number of the question.
#[track_caller]
fn asked(question: &Came) -> (Placed, u32) {
    assert_eq!(RequestCode(question.code), RequestCode::CHECK_TRANSACTION_STATE);
    let half = Placed {
        queue_id: 0,
        queue_offset: question.number("tranStateTableOffset"),
        position: question.number("commitLogOffset"),
    };
    (half, question.messages()[0].property(properties::TRANSACTION_CHECK_TIMES).parse().unwrap())
}

fn answer_to_question(half: Placed, commit_or_rollback: i32) -> EndTransaction<'static> {
    EndTransaction { from_transaction_check: true, ..decision(GROUP, half, commit_or_rollback) }
}

/// Checks that nothing is asked about half messages that are older than now: makes one more and waits until it is
/// asked about.
#[track_caller]
fn check_nothing_waits(broker: &Running) {
    let mut client = live_producer(broker);
    client.create_topic("fence", 1);
    let fence = client.half(GROUP, "fence", "fence", &[]);
    assert_eq!(asked(&client.pushed()).0.position, fence.position);
    client.roll_back(GROUP, fence);
}

#[test]
fn a_half_message_is_seen_only_after_its_commit() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    let born_ms = now_ms();
    let half = client.half(GROUP, "orders", "paid", &[(properties::TAGS, "t"), (properties::UNIQ_KEY, "U")]);
    assert_eq!(client.bodies_of("orders", 0).len(), 0);
    client.commit(GROUP, half);
    let message = &client.all_of("orders", 0)[0];
    assert_eq!((message.body.as_str(), message.property(properties::TAGS)), ("paid", "t"));
    assert_eq!((message.settles, message.sys_flag & 12, message.flag), (half.position, 8, 7));
    assert!(born_ms <= message.born_ms && message.born_ms <= message.store_ms);
    assert_eq!(message.property(properties::UNIQ_KEY), "U");
    assert_eq!(message.property(properties::TRAN_MSG), "true");
    for gone in [properties::REAL_TOPIC, properties::REAL_QID] {
        assert_eq!(message.property(gone), "", "{gone}");
    }
}

#[test]
fn the_first_decision_is_final_and_hearing_another_is_no_error() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    let half = client.half(GROUP, "orders", "paid", &[]);
    client.commit(GROUP, half);
    client.commit(GROUP, half);
    client.roll_back(GROUP, half);
    let dropped = client.half(GROUP, "orders", "not paid", &[]);
    client.roll_back(GROUP, dropped);
    client.commit(GROUP, dropped);
    client.decide(&answer_to_question(dropped, COMMIT)).expect(ResponseCode::SUCCESS);
    assert_eq!(client.bodies_of("orders", 0), ["paid"]);
    for broker in [broker.crashed(), broker.restarted()] {
        let mut client = broker.client();
        client.commit(GROUP, half);
        client.commit(GROUP, dropped);
        assert_eq!(client.bodies_of("orders", 0), ["paid"]);
    }
}

#[test]
fn decisions_that_come_together_make_one_message() {
    let broker = broker_with(|config| config.io_threads = 2);
    let mut client = broker.client();
    client.create_topic("orders", 1);
    let halves: Vec<Placed> = (0..40).map(|number| client.half(GROUP, "orders", &number.to_string(), &[])).collect();
    let decide_all = |mut client: Client| {
        let halves = halves.clone();
        std::thread::spawn(move || {
            let start = |half| client.start(RequestCode::END_TRANSACTION, &decision(GROUP, half, COMMIT), b"");
            let started: Vec<i32> = halves.iter().flat_map(|half| [*half, *half]).map(start).collect();
            started.into_iter().for_each(|opaque| {
                client.answer(opaque).expect(ResponseCode::SUCCESS);
            });
        })
    };
    let deciders = [decide_all(broker.client()), decide_all(broker.client())];
    deciders.into_iter().for_each(|decider| decider.join().unwrap());
    let mut numbers: Vec<i32> = client.bodies_of("orders", 0).iter().map(|body| body.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..40).collect::<Vec<_>>());
}

#[test]
fn a_decision_must_name_group_offset_and_position_of_the_half_message() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    let plain = client.send("orders", 0, "plain");
    let half = client.half(GROUP, "orders", "paid", &[]);
    let wrong = [
        decision("others", half, COMMIT),
        decision(GROUP, Placed { queue_offset: half.queue_offset + 1, ..half }, COMMIT),
        decision(GROUP, Placed { queue_offset: -1, ..half }, COMMIT),
        decision(GROUP, Placed { position: half.position + 1, ..half }, COMMIT),
        decision(GROUP, Placed { position: -1, ..half }, COMMIT),
        decision(GROUP, Placed { position: i64::MAX, ..half }, COMMIT),
        decision("", plain, COMMIT),
        decision(GROUP, half, 4),
    ];
    for decision in wrong {
        client.decide(&decision).expect(ResponseCode::SYSTEM_ERROR);
    }
    assert_eq!(client.bodies_of("orders", 0), ["plain"]);
    client.commit(GROUP, half);
    assert_eq!(client.bodies_of("orders", 0), ["plain", "paid"]);
}

#[test]
fn a_decision_that_names_another_message_decides_nothing() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    let half = client.half(GROUP, "orders", "one", &[(properties::UNIQ_KEY, "AB01")]);
    let named = |msg_id: Option<&'static str>, transaction_id: Option<&'static str>| EndTransaction {
        msg_id: msg_id.map(Into::into),
        transaction_id: transaction_id.map(Into::into),
        ..decision(GROUP, half, COMMIT)
    };
    // What a power cut took lay at the same place.
    let refused = client.decide(&named(Some("AB00"), Some("AB00"))).expect(ResponseCode::SYSTEM_ERROR);
    assert_eq!(refused.remark, "the half message is AB01, not AB00 and AB00");
    assert!(client.bodies_of("orders", 0).is_empty());
    // Some clients put something of their own into one of the two.
    client.decide(&named(Some("AB01"), Some("own"))).expect(ResponseCode::SUCCESS);
    assert_eq!(client.bodies_of("orders", 0), ["one"]);
}

#[test]
fn a_producer_that_does_not_know_gets_no_answer() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    let half = client.half(GROUP, "orders", "paid", &[]);
    let unanswered = client.start(RequestCode::END_TRANSACTION, &decision(GROUP, half, UNKNOWN), b"");
    client.commit(GROUP, half);
    assert!(client.answer_so_far(unanswered).is_none());
    assert_eq!(client.bodies_of("orders", 0), ["paid"]);
}

#[test]
fn a_crash_in_the_moment_after_a_decision_neither_loses_nor_repeats_it() {
    let broker = asking_broker(100);
    let mut client = broker.client();
    client.create_topic("orders", 1);
    let mut expected = Vec::new();
    for number in 0..4 {
        let (kept, dropped) = (format!("{number}"), format!("not {number}"));
        let halves = [client.half(GROUP, "orders", &kept, &[]), client.half(GROUP, "orders", &dropped, &[])];
        client.commit(GROUP, halves[0]);
        expected.push(kept);
        assert_eq!(broker.crashed().client().bodies_of("orders", 0), expected);
        client.roll_back(GROUP, halves[1]);
        let crashed = broker.crashed();
        check_nothing_waits(&crashed);
        let mut client = crashed.client();
        client.commit(GROUP, halves[0]);
        client.commit(GROUP, halves[1]);
        assert_eq!(client.bodies_of("orders", 0), expected);
    }
}

#[test]
fn half_messages_survive_and_are_decided_afterwards() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    let halves = ["a", "b"].map(|body| client.half(GROUP, "orders", body, &[]));
    let broker = broker.crashed();
    broker.client().commit(GROUP, halves[0]);
    let broker = broker.restarted().restarted();
    let mut client = broker.client();
    client.commit(GROUP, halves[1]);
    client.commit(GROUP, halves[0]);
    assert_eq!(client.bodies_of("orders", 0), ["a", "b"]);
}

#[test]
fn a_producer_of_the_group_is_asked_with_all_that_it_needs() {
    let broker = asking_broker(5);
    let mut client = live_producer(&broker);
    let mut other = broker.client();
    beat(&mut other, &producer("producer-2", "other-group"));
    client.create_topic("orders", 3);
    let half = client.half(GROUP, "orders", "paid", &[(properties::UNIQ_KEY, "U1"), (properties::TAGS, "t")]);
    let question = client.pushed();
    assert_eq!(asked(&question), (half, 1));
    assert_eq!((question.field("msgId"), question.field("transactionId")), ("U1", "U1"));
    let id = OffsetMessageId::parse(question.field("offsetMsgId")).unwrap();
    assert_eq!((id.position as i64, id.host), (half.position, broker.inside().address));
    let shown = &question.messages()[0];
    assert_eq!((shown.topic.as_str(), shown.queue_id, shown.body.as_str()), ("orders", 0, "paid"));
    assert_eq!((shown.property(properties::PGROUP), shown.property(properties::UNIQ_KEY)), (GROUP, "U1"));
    assert_eq!((shown.property(properties::TAGS), shown.property(properties::TRANSACTION_ID)), ("t", "U1"));
    assert_eq!((shown.queue_offset, shown.position), (half.queue_offset, half.position));
    client.decide(&answer_to_question(half, COMMIT)).expect(ResponseCode::SUCCESS);
    assert_eq!(client.bodies_of("orders", 0), ["paid"]);
    assert_eq!(other.pushes_so_far().len(), 0);
    check_nothing_waits(&broker);
}

#[test]
fn a_producer_is_asked_after_the_timeout_then_at_intervals_and_at_last_no_more() {
    let broker = asking_broker(2);
    let mut client = live_producer(&broker);
    client.create_topic("orders", 1);
    let sent_ms = now_ms();
    let half = client.half(GROUP, "orders", "never decided", &[(properties::UNIQ_KEY, "U")]);
    assert_eq!(asked(&client.pushed()), (half, 1));
    let first_ms = now_ms();
    assert!(sent_ms + TIMEOUT_MS <= first_ms, "asked {} ms after the send", first_ms - sent_ms);
    assert_eq!(asked(&client.pushed()), (half, 2));
    let second_ms = now_ms();
    // The broker's clock ran before ours was read the first time, by as long as the question took to come.
    assert!(INTERVAL_MS - 100 <= second_ms - first_ms, "asked again after {} ms", second_ms - first_ms);
    let topic = || broker.inside().broker.topics.get(GIVEN_UP);
    until("giving the message up", topic);
    let given_up = &client.wait_for(GIVEN_UP, 0, 0, 1)[0];
    assert_eq!((given_up.body.as_str(), given_up.property(properties::UNIQ_KEY)), ("never decided", "U"));
    assert_eq!(client.pushes_so_far().len(), 0);
    client.commit(GROUP, half);
    assert_eq!(client.bodies_of("orders", 0).len(), 0);
    for broker in [broker.crashed(), broker.restarted()] {
        check_nothing_waits(&broker);
        assert_eq!(broker.client().all_of(GIVEN_UP, 0).len(), 1);
    }
}

#[test]
fn questions_go_on_counting_after_a_stop_and_after_a_crash() {
    let mut broker = asking_broker(4);
    broker.client().create_topic("orders", 1);
    let half = broker.client().half(GROUP, "orders", "never decided", &[]);
    let mut last = 0;
    for round in 0..3 {
        let mut client = live_producer(&broker);
        let (about, number) = asked(&client.pushed());
        assert_eq!(about, half);
        assert!(last < number, "question {number} after question {last}");
        last = number;
        drop(client);
        broker = if round == 1 {
            // The count is saved right after the question; a crash in between costs one more question.
            until("saving the count", || {
                let crashed = broker.crashed();
                let count = crashed.inside().broker.transactions().get(half.position as u64).unwrap().checks;
                (last <= count).then_some(crashed)
            })
        } else {
            broker.restarted()
        };
    }
    assert_eq!(last, 3);
    let mut client = live_producer(&broker);
    assert_eq!(asked(&client.pushed()), (half, 4));
    until("giving the message up", || broker.inside().broker.topics.get(GIVEN_UP));
    assert_eq!(client.wait_for(GIVEN_UP, 0, 0, 1)[0].body, "never decided");
}

#[test]
fn a_message_may_say_for_how_long_it_is_not_asked_about() {
    let broker = asking_broker(5);
    let mut client = live_producer(&broker);
    client.create_topic("orders", 1);
    let sent_ms = now_ms();
    let half = client.half(GROUP, "orders", "paid", &[(properties::CHECK_IMMUNITY_TIME_IN_SECONDS, "1")]);
    assert_eq!(asked(&client.pushed()), (half, 1));
    let asked_ms = now_ms();
    assert!(sent_ms + 1000 <= asked_ms);
    until("the end of the time for decisions unasked", || (asked_ms + 5 < now_ms()).then_some(()));
    // Too late for a decision unasked: the answer to the question counts.
    client.decide(&decision(GROUP, half, COMMIT)).expect(ResponseCode::ILLEGAL_OPERATION);
    client.decide(&answer_to_question(half, COMMIT)).expect(ResponseCode::SUCCESS);
    assert_eq!(client.bodies_of("orders", 0), ["paid"]);
}

#[test]
fn a_delayed_half_message_waits_for_its_commit_and_then_for_its_time() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    let half = client.half(GROUP, "orders", "late", &[(properties::DELAY, "4")]);
    let committed_ms = now_ms();
    client.commit(GROUP, half);
    let crashed = broker.crashed();
    for broker in [crashed, broker] {
        let mut client = broker.client();
        client.commit(GROUP, half);
        let message = &client.wait_for("orders", 0, 0, 1)[0];
        assert!(committed_ms + 400 <= message.store_ms);
        assert_eq!((message.body.as_str(), message.sys_flag & 12), ("late", 8));
        let broker = broker.restarted();
        broker.client().commit(GROUP, half);
        broker.client().send_with("orders", 0, "fence", &[(properties::DELAY, "1")]);
        assert_eq!(broker.client().wait_for("orders", 0, 1, 1)[0].body, "fence");
    }
}

#[test]
fn a_commit_wakes_a_pull_that_waits() {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    let half = client.half(GROUP, "orders", "paid", &[]);
    let mut consumer = broker.client();
    let held = consumer.start_pull(&crate::requests::held(pull("orders", 0, 0), crate::waiting::PATIENCE));
    until("holding the pull", || broker.inside().broker.pulls.next_deadline_ms());
    client.commit(GROUP, half);
    assert_eq!(consumer.answer(held).messages()[0].body, "paid");
}

#[test]
fn a_rollback_answers_and_is_not_asked_about() {
    let broker = asking_broker(3);
    let mut client = live_producer(&broker);
    client.create_topic("orders", 1);
    let half = client.half(GROUP, "orders", "dropped", &[]);
    client.decide(&decision(GROUP, half, ROLLBACK)).expect(ResponseCode::SUCCESS);
    drop(client);
    check_nothing_waits(&broker);
    assert_eq!(broker.client().bodies_of("orders", 0).len(), 0);
}

#[test]
fn a_half_message_that_was_given_up_is_asked_about_once_more_when_an_operator_wants_it() {
    let broker = asking_broker(1);
    let mut client = live_producer(&broker);
    client.create_topic("orders", 1);
    let half = client.half(GROUP, "orders", "paid", &[(properties::UNIQ_KEY, "U"), (properties::TAGS, "t")]);
    assert_eq!(asked(&client.pushed()), (half, 1));
    // It waits where it is, and is asked about for the first time again.
    resume(&mut client, half.position).expect(ResponseCode::SUCCESS);
    assert_eq!(asked(&client.pushed()), (half, 1));
    until("giving the message up", || broker.inside().broker.topics.get(GIVEN_UP));
    let given_up = client.wait_for(GIVEN_UP, 0, 0, 1)[0].position;
    resume(&mut client, half.position).expect(ResponseCode::SYSTEM_ERROR);
    resume(&mut client, given_up).expect(ResponseCode::SUCCESS);
    let (again, number) = asked(&client.pushed());
    assert!(half.position < again.position && half.queue_offset < again.queue_offset && number == 1);
    resume(&mut client, given_up).expect(ResponseCode::SYSTEM_ERROR);
    let broker = broker.crashed();
    let mut client = live_producer(&broker);
    client.decide(&answer_to_question(again, COMMIT)).expect(ResponseCode::SUCCESS);
    let message = &client.wait_for("orders", 0, 0, 1)[0];
    assert_eq!((message.body.as_str(), message.property(properties::TAGS)), ("paid", "t"));
    for gone in [properties::REAL_TOPIC, properties::REAL_QID] {
        assert_eq!(message.property(gone), "", "{gone}");
    }
    resume(&mut client, message.position).expect(ResponseCode::SYSTEM_ERROR);
    resume(&mut client, i64::MAX).expect(ResponseCode::SYSTEM_ERROR);
    let header = ResumeCheck { msg_id: "no id".into() };
    client.ask(RequestCode::RESUME_CHECK_HALF_MESSAGE, &header, b"").expect(ResponseCode::SYSTEM_ERROR);
}

fn resume(client: &mut Client, position: i64) -> Came {
    let id = OffsetMessageId { host: ([127, 0, 0, 1], 10911).into(), position: position as u64 };
    let header = ResumeCheck { msg_id: id.to_string().into() };
    client.ask(RequestCode::RESUME_CHECK_HALF_MESSAGE, &header, b"")
}
