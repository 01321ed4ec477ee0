//! Messages that are handed out one by one: POP, acknowledgements, and what happens without them.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

use protocol::bodies::subscription_group::SubscriptionGroupConfig;
use protocol::codes::{RequestCode, ResponseCode};
use protocol::lenient_json;
use protocol::pop::{AckMessage, BatchAck, BatchAckBody, ChangeInvisibleTime, Notification, PopMessage};
use protocol::properties;

use crate::requests::{Came, Client, NoFields};
use crate::running::{Running, broker, broker_with};
use crate::waiting::{PATIENCE, now, now_ms, until};

const GROUP: &str = "workers";
/// Longer than any test takes.
const LONG_MS: i64 = 600_000;
/// Time after which a message is handed out again in tests that wait for that, in milliseconds.
const SHORT_MS: i64 = 200;
/// How much later than promised a message may come again, on a machine that does other things besides.
const LATE_MS: i64 = 2_000;

/// A message that was handed out, and what its consumer needs to settle it.
#[derive(Clone, Debug)]
struct Popped {
    body: String,
    times: i32,
    queue_id: i32,
    offset: i64,
    handle: String,
}

fn pop(invisible_ms: i64) -> PopMessage<'static> {
    PopMessage {
        consumer_group: Cow::Borrowed(GROUP),
        topic: Cow::Borrowed("orders"),
        queue_id: -1,
        max_msg_nums: 32,
        invisible_time: invisible_ms,
        poll_time: 0,
        born_time: 0,
        init_mode: 0,
        exp_type: None,
        exp: None,
        order: false,
        attempt_id: None,
    }
}

fn waiting(pop: PopMessage<'static>) -> PopMessage<'static> {
    PopMessage { poll_time: PATIENCE.as_millis() as i64, born_time: now_ms(), ..pop }
}

fn ordered(pop: PopMessage<'static>, attempt_id: &'static str) -> PopMessage<'static> {
    PopMessage { order: true, attempt_id: Some(Cow::Borrowed(attempt_id)), ..pop }
}

/// Reads an answer as Java does: which offsets were handed out stands in the header.
#[track_caller]
fn popped(answer: &Came) -> Vec<Popped> {
    let mut offsets = BTreeSet::new();
    for part in answer.field("msgOffsetInfo").split(';').filter(|part| !part.is_empty()) {
        let parts: Vec<&str> = part.split(' ').collect();
        let all = parts[2].split(',').map(|offset| (parts[1].parse().unwrap(), offset.parse().unwrap()));
        offsets.extend(all.collect::<Vec<(i32, i64)>>());
    }
    let (time, invisible, revive) = (answer.field("popTime"), answer.field("invisibleTime"), answer.field("reviveQid"));
    let messages: Vec<Popped> = answer
        .messages()
        .into_iter()
        .map(|message| Popped {
            handle: format!(
                "{} {time} {invisible} {revive} 0 broker-a {} {}",
                message.queue_offset, message.queue_id, message.queue_offset
            ),
            body: message.body,
            times: message.reconsume_times,
            queue_id: message.queue_id,
            offset: message.queue_offset,
        })
        .collect();
    let found: BTreeSet<(i32, i64)> = messages.iter().map(|message| (message.queue_id, message.offset)).collect();
    assert_eq!(found, offsets);
    messages
}

/// Pops now; nothing is an empty list.
#[track_caller]
fn take(client: &mut Client, pop: &PopMessage<'_>) -> Vec<Popped> {
    let answer = client.ask(RequestCode::POP_MESSAGE, pop, b"");
    match ResponseCode(answer.code) {
        ResponseCode::SUCCESS | ResponseCode::POLLING_TIMEOUT => popped(&answer),
        code => panic!("{code}: {}", answer.remark),
    }
}

fn bodies(popped: &[Popped]) -> Vec<&str> {
    popped.iter().map(|popped| popped.body.as_str()).collect()
}

fn acknowledge(client: &mut Client, popped: &Popped) -> Came {
    let header = AckMessage {
        consumer_group: Cow::Borrowed(GROUP),
        topic: Cow::Borrowed("orders"),
        queue_id: popped.queue_id,
        extra_info: Cow::Borrowed(&popped.handle),
        offset: popped.offset,
    };
    client.ask(RequestCode::ACK_MESSAGE, &header, b"")
}

fn change(client: &mut Client, popped: &Popped, invisible_ms: i64) -> Came {
    let header = ChangeInvisibleTime {
        consumer_group: Cow::Borrowed(GROUP),
        topic: Cow::Borrowed("orders"),
        queue_id: popped.queue_id,
        extra_info: Cow::Borrowed(&popped.handle),
        offset: popped.offset,
        invisible_time: invisible_ms,
        suspend: false,
    };
    client.ask(RequestCode::CHANGE_MESSAGE_INVISIBLETIME, &header, b"")
}

fn create_group(client: &mut Client, retry_max_times: i32) {
    let config =
        SubscriptionGroupConfig { group_name: GROUP.to_owned(), retry_max_times, ..SubscriptionGroupConfig::default() };
    let body = lenient_json::to_vec(&config);
    client.ask(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &NoFields {}, &body).expect(ResponseCode::SUCCESS);
}

/// A broker with messages named by their numbers, all in one queue.
fn with_messages(count: usize) -> (Running, Client) {
    let broker = broker();
    let mut client = broker.client();
    client.create_topic("orders", 1);
    for number in 0..count {
        client.send("orders", 0, &number.to_string());
    }
    (broker, client)
}

#[test]
fn what_is_out_is_hidden_and_what_is_acknowledged_never_comes_again() {
    let (broker, mut client) = with_messages(4);
    let first = take(&mut client, &PopMessage { max_msg_nums: 2, ..pop(SHORT_MS) });
    assert_eq!(bodies(&first), ["0", "1"]);
    assert_eq!(bodies(&take(&mut client, &pop(LONG_MS))), ["2", "3"]);
    acknowledge(&mut client, &first[1]).expect(ResponseCode::SUCCESS);
    let popped_ms = now_ms();
    let answer = client.ask(RequestCode::POP_MESSAGE, &waiting(pop(LONG_MS)), b"");
    let again = popped(&answer);
    assert_eq!((bodies(&again), again[0].times), (vec!["0"], 1));
    let after_ms = answer.number("popTime") - first[0].handle.split(' ').nth(1).unwrap().parse::<i64>().unwrap();
    assert!((SHORT_MS..SHORT_MS + LATE_MS).contains(&after_ms), "came again after {after_ms} ms");
    assert!(popped_ms <= answer.number("popTime"));
    // The old handle is of no use any more, and is answered as ever.
    acknowledge(&mut client, &first[0]).expect(ResponseCode::SUCCESS);
    assert_eq!(broker.inside().broker.deliveries.in_flight(GROUP, "orders", 0), 3);
    acknowledge(&mut client, &again[0]).expect(ResponseCode::SUCCESS);
    acknowledge(&mut client, &again[0]).expect(ResponseCode::SUCCESS);
    until("telling the offset", || client.offset_of(GROUP, "orders", 0).filter(|offset| *offset == 2));
}

#[test]
fn a_pop_that_waits_is_answered_as_soon_as_a_message_is_stored() {
    for io_threads in [1, 3] {
        let broker = broker_with(|config| config.io_threads = io_threads);
        let (mut producer, mut first, mut second) = (broker.client(), broker.client(), broker.client());
        producer.create_topic("orders", 2);
        for number in 0..20 {
            let pops = [&mut first, &mut second]
                .map(|client| client.start(RequestCode::POP_MESSAGE, &waiting(pop(LONG_MS)), b""));
            producer.send("orders", number % 2, &format!("{number} a"));
            producer.send("orders", number % 2, &format!("{number} b"));
            let sent = now();
            // A message wakes one of those who wait; two wake both, or one takes both.
            let mut got = Vec::new();
            for (client, opaque) in [(&mut first, pops[0]), (&mut second, pops[1])] {
                got.extend(client.answer_so_far(opaque).map(|answer| popped(&answer)));
            }
            until("both messages", || {
                for (client, opaque) in [(&mut first, pops[0]), (&mut second, pops[1])] {
                    client.pushes_so_far();
                    got.extend(client.answer_so_far(opaque).map(|answer| popped(&answer)));
                }
                (got.iter().flatten().count() == 2).then_some(())
            });
            assert!(now() - sent < Duration::from_millis(LATE_MS as u64));
            if got.len() == 1 {
                // The other one still waits.
                producer.send("orders", 0, "for the other");
                until("the other", || {
                    [(&mut first, pops[0]), (&mut second, pops[1])].into_iter().find_map(|(client, opaque)| {
                        client.pushes_so_far();
                        client.answer_so_far(opaque)
                    })
                });
            }
        }
    }
}

#[test]
fn a_pop_that_waits_gets_what_another_gives_back() {
    let (broker, mut client) = with_messages(1);
    let out = take(&mut client, &pop(LONG_MS));
    let mut other = broker.client();
    let opaque = other.start(RequestCode::POP_MESSAGE, &waiting(pop(LONG_MS)), b"");
    other.pushes_so_far();
    let changed = change(&mut client, &out[0], 0).expect(ResponseCode::SUCCESS);
    assert_eq!(changed.field("reviveQid"), "0");
    let again = popped(&other.answer(opaque).expect(ResponseCode::SUCCESS));
    assert_eq!((bodies(&again), again[0].times), (vec!["0"], 1));
}

#[test]
fn nothing_within_the_poll_time_is_answered_as_java_expects() {
    let (_broker, mut client) = with_messages(0);
    let started = now();
    let short = PopMessage { poll_time: 300, born_time: now_ms(), ..pop(LONG_MS) };
    let answer = client.ask(RequestCode::POP_MESSAGE, &short, b"").expect(ResponseCode::POLLING_TIMEOUT);
    assert!(Duration::from_millis(200) <= now() - started);
    assert_eq!((answer.field("restNum"), answer.field("msgOffsetInfo")), ("0", ""));
    let late = PopMessage { poll_time: 300, born_time: now_ms() - 1_000, ..pop(LONG_MS) };
    client.ask(RequestCode::POP_MESSAGE, &late, b"").expect(ResponseCode::POLLING_TIMEOUT);
}

#[test]
fn an_ordered_group_gets_one_batch_of_a_queue_at_a_time() {
    let (broker, mut client) = with_messages(5);
    let two = |attempt_id| PopMessage { max_msg_nums: 2, ..ordered(pop(LONG_MS), attempt_id) };
    let answer = client.ask(RequestCode::POP_MESSAGE, &two("a"), b"").expect(ResponseCode::SUCCESS);
    assert_eq!(answer.field("orderCountInfo"), "0 qo0%0 0;0 qo0%1 0");
    assert_eq!((bodies(&popped(&answer)), answer.field("reviveQid")), (vec!["0", "1"], "999"));
    assert!(take(&mut client, &two("b")).is_empty());
    // The answer was lost: the same call gets the same, and no attempt is counted.
    let same = take(&mut client, &two("a"));
    assert_eq!((bodies(&same), same[0].times), (vec!["0", "1"], 0));
    acknowledge(&mut client, &same[1]).expect(ResponseCode::SUCCESS);
    assert!(take(&mut client, &two("b")).is_empty());
    // Who waits gets the next as soon as the batch is settled.
    let mut other = broker.client();
    let opaque = other.start(RequestCode::POP_MESSAGE, &waiting(two("b")), b"");
    other.pushes_so_far();
    acknowledge(&mut client, &same[0]).expect(ResponseCode::SUCCESS);
    let next = popped(&other.answer(opaque).expect(ResponseCode::SUCCESS));
    assert_eq!(bodies(&next), ["2", "3"]);
    // Of what is not acknowledged in time, nothing overtakes.
    change(&mut client, &next[0], SHORT_MS).expect(ResponseCode::SUCCESS);
    change(&mut client, &next[1], 0).expect(ResponseCode::SUCCESS);
    let again = popped(&client.ask(RequestCode::POP_MESSAGE, &waiting(two("c")), b"").expect(ResponseCode::SUCCESS));
    assert_eq!((bodies(&again), again[0].times, again[1].times), (vec!["2", "3"], 1, 1));
}

#[test]
fn what_is_left_of_an_ordered_batch_whose_time_is_over_goes_to_whoever_waits() {
    let (broker, mut client) = with_messages(2);
    let one = |attempt_id| PopMessage { max_msg_nums: 1, ..ordered(pop(LONG_MS), attempt_id) };
    assert_eq!(take(&mut client, &ordered(pop(SHORT_MS), "a")).len(), 2);
    let first = popped(&client.ask(RequestCode::POP_MESSAGE, &waiting(one("b")), b"").expect(ResponseCode::SUCCESS));
    assert_eq!((bodies(&first), first[0].times), (vec!["0"], 1));
    let mut other = broker.client();
    let opaque = other.start(RequestCode::POP_MESSAGE, &waiting(one("c")), b"");
    other.pushes_so_far();
    acknowledge(&mut client, &first[0]).expect(ResponseCode::SUCCESS);
    let next = popped(&other.answer(opaque).expect(ResponseCode::SUCCESS));
    assert_eq!((bodies(&next), next[0].times), (vec!["1"], 1));
}

#[test]
fn nothing_overtakes_what_is_left_of_an_ordered_batch_when_its_first_is_not_wanted_any_more() {
    let (_broker, mut client) = with_messages(0);
    for (text, tag) in [("0", "old"), ("1", "new"), ("2", "new")] {
        client.send_with("orders", 0, text, &[(properties::TAGS, tag)]);
    }
    assert_eq!(take(&mut client, &PopMessage { max_msg_nums: 2, ..ordered(pop(SHORT_MS), "a") }).len(), 2);
    let one = PopMessage {
        max_msg_nums: 1,
        exp: Some(Cow::Borrowed("new")),
        exp_type: Some(Cow::Borrowed("TAG")),
        ..ordered(pop(LONG_MS), "b")
    };
    let next = popped(&client.ask(RequestCode::POP_MESSAGE, &waiting(one), b"").expect(ResponseCode::SUCCESS));
    assert_eq!((bodies(&next), next[0].times), (vec!["1"], 1));
}

#[test]
fn a_handle_settles_nothing_that_was_not_handed_out_to_its_group() {
    let (broker, mut client) = with_messages(4);
    let out = take(&mut client, &pop(LONG_MS));
    let stranger = |topic_handle: &Popped| AckMessage {
        consumer_group: Cow::Borrowed("strangers"),
        topic: Cow::Borrowed("orders"),
        queue_id: 0,
        extra_info: Cow::Owned(topic_handle.handle.clone()),
        offset: topic_handle.offset,
    };
    let theirs = PopMessage { consumer_group: Cow::Borrowed("strangers"), max_msg_nums: 1, ..pop(LONG_MS) };
    assert_eq!(bodies(&take(&mut client, &theirs)), ["0"]);
    client.ask(RequestCode::ACK_MESSAGE, &stranger(&out[2]), b"").expect(ResponseCode::SUCCESS);
    let theirs = PopMessage { max_msg_nums: 32, ..theirs };
    assert_eq!(bodies(&take(&mut client, &theirs)), ["1", "2", "3"]);
    assert_eq!(broker.inside().broker.deliveries.in_flight(GROUP, "orders", 0), 4);
}

#[test]
fn an_offset_that_is_set_back_before_a_restart_brings_everything_again() {
    let (broker, mut client) = with_messages(8);
    let out = take(&mut client, &pop(LONG_MS));
    for popped in &out[..7] {
        acknowledge(&mut client, popped).expect(ResponseCode::SUCCESS);
    }
    until("telling the offset", || client.offset_of(GROUP, "orders", 0).filter(|offset| *offset == 7));
    client.commit_offset(GROUP, "orders", 0, 2);
    let broker = broker.restarted();
    let mut client = broker.client();
    assert_eq!(bodies(&take(&mut client, &pop(LONG_MS))), ["2", "3", "4", "5", "6", "7"]);
}

#[test]
fn the_last_attempt_is_followed_by_a_dead_letter() {
    let (broker, mut client) = with_messages(1);
    create_group(&mut client, 2);
    for times in 0..3 {
        let again =
            popped(&client.ask(RequestCode::POP_MESSAGE, &waiting(pop(SHORT_MS)), b"").expect(ResponseCode::SUCCESS));
        assert_eq!((bodies(&again), again[0].times), (vec!["0"], times));
    }
    until("a dead letter", || broker.inside().broker.topics.get("%DLQ%workers"));
    let dead = client.wait_for("%DLQ%workers", 0, 0, 1);
    assert_eq!((dead[0].body.as_str(), dead[0].reconsume_times), ("0", 3));
    assert_eq!(dead[0].property(properties::RETRY_TOPIC), "orders");
    assert!(take(&mut client, &pop(LONG_MS)).is_empty());
    until("telling the offset", || client.offset_of(GROUP, "orders", 0).filter(|offset| *offset == 1));
}

#[test]
fn a_restart_keeps_what_is_out_hidden_and_handles_good() {
    let (broker, mut client) = with_messages(6);
    let out = take(&mut client, &PopMessage { max_msg_nums: 4, ..pop(LONG_MS) });
    acknowledge(&mut client, &out[1]).expect(ResponseCode::SUCCESS);
    let broker = broker.restarted();
    let mut client = broker.client();
    assert_eq!(bodies(&take(&mut client, &pop(LONG_MS))), ["4", "5"]);
    for popped in [&out[0], &out[1], &out[2]] {
        acknowledge(&mut client, popped).expect(ResponseCode::SUCCESS);
    }
    assert_eq!(broker.inside().broker.deliveries.in_flight(GROUP, "orders", 0), 3);
    change(&mut client, &out[3], 0).expect(ResponseCode::SUCCESS);
    let again =
        popped(&client.ask(RequestCode::POP_MESSAGE, &waiting(pop(LONG_MS)), b"").expect(ResponseCode::SUCCESS));
    assert_eq!((bodies(&again), again[0].times), (vec!["3"], 1));
}

#[test]
fn a_crash_costs_repeats_and_no_message() {
    let (broker, mut client) = with_messages(40);
    let mut settled = BTreeSet::new();
    for round in 0..4 {
        let out = take(&mut client, &PopMessage { max_msg_nums: 8, ..pop(LONG_MS) });
        for popped in out.iter().skip(round) {
            acknowledge(&mut client, popped).expect(ResponseCode::SUCCESS);
            settled.insert(popped.body.clone());
        }
        let crashed = broker.crashed();
        let mut other = crashed.client();
        let mut left: BTreeSet<String> = BTreeSet::new();
        // What was out when it crashed stays hidden, or comes at once: with a handle from before, all of it can be had.
        for popped in out.iter().take(round) {
            change(&mut other, popped, 0);
        }
        until("everything that is not settled", || {
            left.extend(take(&mut other, &pop(LONG_MS)).into_iter().map(|popped| popped.body));
            let missing =
                (0..40).map(|number| number.to_string()).filter(|body| !left.contains(body) && !settled.contains(body));
            // Earlier rounds left some behind that are out for long.
            (missing.count() <= round * (round - usize::from(round > 0)) / 2).then_some(())
        });
    }
}

#[test]
fn a_group_can_change_between_pulling_and_popping() {
    let (_broker, mut client) = with_messages(6);
    create_group(&mut client, 16);
    client.commit_offset(GROUP, "orders", 0, 2);
    let out = take(&mut client, &PopMessage { max_msg_nums: 2, ..pop(LONG_MS) });
    assert_eq!(bodies(&out), ["2", "3"]);
    acknowledge(&mut client, &out[0]).expect(ResponseCode::SUCCESS);
    until("telling the offset", || client.offset_of(GROUP, "orders", 0).filter(|offset| *offset == 3));
    // An operator, or a consumer that pulls, moves the offset: forwards settles, backwards repeats.
    client.commit_offset(GROUP, "orders", 0, 5);
    assert_eq!(bodies(&take(&mut client, &pop(LONG_MS))), ["5"]);
    client.commit_offset(GROUP, "orders", 0, 1);
    assert_eq!(bodies(&take(&mut client, &pop(LONG_MS))), ["1", "2", "3", "4", "5"]);
}

#[test]
fn messages_that_do_not_match_are_passed_over_for_the_group() {
    let broker = broker_with(|config| config.property_filter = true.into());
    let mut client = broker.client();
    client.create_topic("orders", 1);
    for (body, tag) in [("0", "a"), ("1", "b"), ("2", "c"), ("3", "b")] {
        client.send_with("orders", 0, body, &[(properties::TAGS, tag), ("amount", body)]);
    }
    let tags = PopMessage { exp: Some(Cow::Borrowed("b || c")), exp_type: Some(Cow::Borrowed("TAG")), ..pop(LONG_MS) };
    assert_eq!(bodies(&take(&mut client, &tags)), ["1", "2", "3"]);
    let other = Cow::Borrowed("others");
    let sql = PopMessage {
        consumer_group: other,
        exp: Some(Cow::Borrowed("amount > 1 AND TAGS <> 'c'")),
        exp_type: Some(Cow::Borrowed("SQL92")),
        ..pop(LONG_MS)
    };
    let answer = client.ask(RequestCode::POP_MESSAGE, &sql, b"").expect(ResponseCode::SUCCESS);
    assert_eq!(bodies(&popped(&answer)), ["3"]);
    let wrong = PopMessage { exp: Some(Cow::Borrowed("amount >")), ..sql };
    client.ask(RequestCode::POP_MESSAGE, &wrong, b"").expect(ResponseCode::SUBSCRIPTION_PARSE_FAILED);
}

#[test]
fn acknowledgements_can_come_in_batches() {
    let (broker, mut client) = with_messages(12);
    let out = take(&mut client, &pop(LONG_MS));
    let pop_time = out[0].handle.split(' ').nth(1).unwrap().parse().unwrap();
    let ack = BatchAck {
        group: GROUP.into(),
        topic: "orders".into(),
        retry: "0".into(),
        start_offset: 1,
        queue_id: 0,
        revive_queue: 0,
        pop_time,
        invisible_time: LONG_MS,
        // Bits 0, 2, 8 and 15: offsets 1, 3, 9 and 16, which is not there.
        bits: "BYE=".into(),
    };
    let body = BatchAckBody { broker_name: None, acks: vec![ack] };
    let body = serde_json::to_vec(&body).unwrap();
    client.ask(RequestCode::BATCH_ACK_MESSAGE, &NoFields {}, &body).expect(ResponseCode::SUCCESS);
    assert_eq!(broker.inside().broker.deliveries.in_flight(GROUP, "orders", 0), 9);
    client.ask(RequestCode::BATCH_ACK_MESSAGE, &NoFields {}, b"{}").expect(ResponseCode::NO_MESSAGE);
}

#[test]
fn a_notification_says_that_there_is_something_and_takes_nothing() {
    let (_broker, mut client) = with_messages(0);
    let ask = |poll_time| Notification {
        consumer_group: Cow::Borrowed(GROUP),
        topic: Cow::Borrowed("orders"),
        queue_id: -1,
        poll_time,
        born_time: now_ms(),
        order: false,
        attempt_id: None,
    };
    let nothing = client.ask(RequestCode::NOTIFICATION, &ask(100), b"").expect(ResponseCode::SUCCESS);
    assert_eq!((nothing.field("hasMsg"), nothing.field("pollingFull")), ("false", "false"));
    let opaque = client.start(RequestCode::NOTIFICATION, &ask(PATIENCE.as_millis() as i64), b"");
    client.send("orders", 0, "0");
    assert_eq!(client.answer(opaque).expect(ResponseCode::SUCCESS).field("hasMsg"), "true");
    assert_eq!(bodies(&take(&mut client, &pop(LONG_MS))), ["0"]);
}

#[test]
fn what_nobody_can_mean_is_refused() {
    let (_broker, mut client) = with_messages(2);
    let refused = |client: &mut Client, pop: PopMessage<'_>, code| {
        client.ask(RequestCode::POP_MESSAGE, &pop, b"").expect(code);
    };
    refused(&mut client, PopMessage { max_msg_nums: 33, ..pop(LONG_MS) }, ResponseCode::INVALID_PARAMETER);
    refused(&mut client, PopMessage { queue_id: 1, ..pop(LONG_MS) }, ResponseCode::INVALID_PARAMETER);
    refused(&mut client, PopMessage { topic: Cow::Borrowed("none"), ..pop(LONG_MS) }, ResponseCode::TOPIC_NOT_EXIST);
    let out = take(&mut client, &PopMessage { max_msg_nums: 1, ..pop(LONG_MS) });
    let with =
        |queue_id, offset, handle: &str| Popped { queue_id, offset, handle: handle.to_owned(), ..out[0].clone() };
    let handle = out[0].handle.as_str();
    acknowledge(&mut client, &with(9, 0, handle)).expect(ResponseCode::MESSAGE_ILLEGAL);
    acknowledge(&mut client, &with(0, 2, handle)).expect(ResponseCode::NO_MESSAGE);
    acknowledge(&mut client, &with(0, -1, handle)).expect(ResponseCode::NO_MESSAGE);
    acknowledge(&mut client, &with(0, 0, "no handle")).expect(ResponseCode::SYSTEM_ERROR);
    change(&mut client, &with(0, 0, "0 1 1 0 0 broker-a 0 0"), 10).expect(ResponseCode::MESSAGE_ILLEGAL);
    // A time that is no time at all hides nothing for ever.
    let forever = take(&mut client, &PopMessage { invisible_time: i64::MAX, ..pop(0) });
    assert_eq!(bodies(&forever), ["1"]);
    change(&mut client, &forever[0], i64::MIN).expect(ResponseCode::SUCCESS);
    assert_eq!(bodies(&take(&mut client, &waiting(pop(LONG_MS)))), ["1"]);
}

#[test]
fn a_topic_that_is_deleted_takes_its_deliveries_along() {
    let (broker, mut client) = with_messages(3);
    take(&mut client, &PopMessage { max_msg_nums: 2, ..pop(LONG_MS) });
    client.delete_topic("orders");
    client.create_topic("orders", 1);
    client.send("orders", 0, "new");
    assert_eq!(bodies(&take(&mut client, &pop(LONG_MS))), ["new"]);
    let broker = broker.restarted();
    assert_eq!(broker.inside().broker.deliveries.in_flight(GROUP, "orders", 0), 1);
}
