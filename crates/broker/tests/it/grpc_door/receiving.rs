//! ReceiveMessage: how long it waits, what it takes, and what becomes of what a client did not get.

use std::collections::BTreeSet;

use broker::groups::GroupSettings;
use broker::receive_waits::Wanted;
use broker::topics::{Permission, TopicSettings};
use prost_types::Duration;
use protocol::v2::receive_message_response::Content;
use protocol::v2::{
    AckMessageEntry, AckMessageRequest, AckMessageResponse, Code, FilterExpression, Message, MessageQueue,
    ReceiveMessageRequest, ReceiveMessageResponse, SendMessageRequest, SendMessageResponse,
};

use super::client::Client;
use super::{code, message, resource};
use crate::server::Server;

const AT_ONCE: Option<Duration> = Some(Duration { seconds: 0, nanos: 1 });
const LONG: Option<Duration> = Some(Duration { seconds: 20, nanos: 0 });

/// A broker with a topic `t` of one queue.
pub fn start() -> (Server, Client) {
    let server = Server::start();
    server.broker().topics.put(TopicSettings::new("t", 1, Permission::READ_WRITE), 1);
    let client = Client::connect(server.grpc_address());
    (server, client)
}

/// A call of group `g` that takes what is there and does not wait.
pub fn request() -> ReceiveMessageRequest {
    ReceiveMessageRequest {
        group: resource("g"),
        message_queue: Some(MessageQueue { topic: resource("t"), id: -1, ..MessageQueue::default() }),
        batch_size: 32,
        invisible_duration: Some(Duration { seconds: 60, nanos: 0 }),
        long_polling_timeout: AT_ONCE,
        ..ReceiveMessageRequest::default()
    }
}

fn send(client: &mut Client, messages: Vec<Message>) {
    let answer: SendMessageResponse = client.call("SendMessage", &SendMessageRequest { messages });
    assert_eq!(code(&answer.status), Code::Ok);
}

/// Sends messages with these numbers as ids.
pub fn send_named(client: &mut Client, ids: std::ops::Range<usize>) {
    send(client, ids.map(|id| message("t", &id.to_string(), b"x")).collect());
}

/// Code and messages of an answer, whose order clients rely on.
#[track_caller]
fn got(elements: Vec<ReceiveMessageResponse>) -> (Code, Vec<Message>) {
    let mut contents = elements.into_iter().map(|element| element.content.unwrap());
    let Some(Content::Status(status)) = contents.next() else { panic!("the status is not first") };
    let Some(Content::DeliveryTimestamp(_)) = contents.next_back() else { panic!("the time is not last") };
    let messages: Vec<Message> = contents
        .map(|content| match content {
            Content::Message(message) => message,
            other => panic!("{other:?} among messages"),
        })
        .collect();
    let code = code(&Some(status));
    assert_eq!(code == Code::Ok, !messages.is_empty());
    (code, messages)
}

/// Receives, and gives back code and messages.
#[track_caller]
pub fn receive(client: &mut Client, request: &ReceiveMessageRequest) -> (Code, Vec<Message>) {
    got(client.call_streamed("ReceiveMessage", request))
}

/// Ids and attempts.
pub fn ids(messages: &[Message]) -> Vec<(&str, i32)> {
    let systems = messages.iter().map(|message| message.system_properties.as_ref().unwrap());
    systems.map(|system| (system.message_id.as_str(), system.delivery_attempt.unwrap())).collect()
}

/// Calls of `g` that wait for messages of `t`.
fn held(server: &Server) -> usize {
    let broker = server.broker();
    broker.receives.count(broker.deliveries.of("g", "t").id, Wanted::Any)
}

#[test]
fn a_message_goes_to_who_still_waits_and_not_to_a_call_that_was_cancelled() {
    let (server, mut client) = start();
    let mut other = Client::connect(server.grpc_address());
    let long = ReceiveMessageRequest { long_polling_timeout: LONG, ..request() };
    let started_ms = server.broker().clock.now_ms();
    for round in 0..20 {
        let cancelled = client.ask("ReceiveMessage", &long);
        client.until(|| held(&server) == 1);
        let waiting = other.ask("ReceiveMessage", &long);
        other.until(|| held(&server) == 2);
        cancelled.cancel();
        if round % 2 == 0 {
            client.until(|| held(&server) == 1);
        }
        // Else it is woken before it is known to be gone, or takes the message and cannot be given it.
        let id = round.to_string();
        send(&mut client, vec![message("t", &id, b"x")]);
        let (_, messages) = got(other.answers(waiting));
        assert_eq!(ids(&messages), [(id.as_str(), 1)]);
        client.until(|| held(&server) == 0);
    }
    assert!(server.broker().clock.now_ms() - started_ms < 15_000, "it came at the end of a time only");
}

/// What was written already counts as received: as much as fits into the window of the call and the buffer before it.
#[test]
fn what_a_cancelled_call_was_not_given_yet_comes_again_at_once() {
    const BODY_BYTES: usize = 16 * 1024;
    const WRITTEN_MAX: usize = (64 + 64) * 1024 / BODY_BYTES + 1;
    let (server, mut client) = start();
    let sent: Vec<String> = (0..20).map(|id| id.to_string()).collect();
    send(&mut client, sent.iter().map(|id| message("t", id, &[1; BODY_BYTES])).collect());
    let asked = client.ask("ReceiveMessage", &request());
    client.wait(async {
        let mut body = asked.body().await;
        body.data().await.unwrap().unwrap();
    });
    let long = ReceiveMessageRequest { long_polling_timeout: LONG, ..request() };
    let started_ms = server.broker().clock.now_ms();
    let mut came: Vec<String> = Vec::new();
    while came.last() != sent.last() {
        let (_, messages) = receive(&mut client, &long);
        assert!(ids(&messages).iter().all(|(_, attempt)| *attempt == 1), "{:?}", ids(&messages));
        came.extend(ids(&messages).iter().map(|(id, _)| (*id).to_owned()));
    }
    assert!(server.broker().clock.now_ms() - started_ms < 15_000, "it came when its time was over");
    let first = sent.len() - came.len();
    assert_eq!(came, sent[first..]);
    assert!((1..=WRITTEN_MAX).contains(&first), "{first} of {} were written", sent.len());
}

#[test]
fn a_thousand_calls_of_one_connection_wait_and_each_gets_a_message() {
    const CALLS: usize = 1_000;
    let (server, mut client) = start();
    let one = ReceiveMessageRequest { long_polling_timeout: LONG, batch_size: 1, ..request() };
    let waiting: Vec<_> = (0..CALLS).map(|_| client.ask("ReceiveMessage", &one)).collect();
    client.until(|| held(&server) == CALLS);
    // Another one's message wakes nobody of them.
    send(&mut client, vec![message("elsewhere", "0", b"x")]);
    send_named(&mut client, 0..CALLS);
    let mut came = BTreeSet::new();
    for asked in waiting {
        let (_, messages) = got(client.answers(asked));
        let [(id, 1)] = ids(&messages)[..] else { panic!("{:?}", ids(&messages)) };
        came.insert(id.parse().unwrap());
    }
    assert_eq!(came, (0..CALLS).collect());
    assert_eq!(held(&server), 0);
}

/// Go and C++ leave the time out, C# says zero.
#[test]
fn a_call_that_names_no_time_to_wait_waits() {
    let (server, mut client) = start();
    let odd = |seconds, nanos| Some(Duration { seconds, nanos });
    for time in [None, odd(0, 0), odd(-5, 0), odd(0, -1), odd(i64::MAX, 0), odd(i64::MIN, i32::MIN)] {
        let request = ReceiveMessageRequest { long_polling_timeout: time, ..request() };
        let asked = client.ask("ReceiveMessage", &request);
        client.until(|| held(&server) == 1);
        send_named(&mut client, 0..1);
        assert_eq!(got(client.answers(asked)).0, Code::Ok, "{time:?}");
    }
}

#[test]
fn a_call_is_answered_before_the_client_gives_up() {
    let (_server, mut client) = start();
    let long = ReceiveMessageRequest { long_polling_timeout: LONG, ..request() };
    // Two of them leave no time to wait at all.
    for limit in ["300m", "50m", "0n"] {
        client.headers.push(("grpc-timeout", limit.into()));
        assert_eq!(receive(&mut client, &long), (Code::MessageNotFound, Vec::new()), "{limit}");
        send_named(&mut client, 0..1);
        assert_eq!(receive(&mut client, &long).0, Code::Ok, "{limit}");
        client.headers.pop();
    }
}

#[test]
fn the_time_of_invisibility_has_limits_where_the_client_sets_it() {
    let (server, mut client) = start();
    let time = |seconds, nanos| Some(Duration { seconds, nanos });
    let mut check = |invisible_duration, auto_renew, expected| {
        send_named(&mut client, 0..1);
        let request = ReceiveMessageRequest { invisible_duration, auto_renew, ..request() };
        assert_eq!(receive(&mut client, &request).0, expected, "{invisible_duration:?} {auto_renew}");
        let all = ReceiveMessageRequest { auto_renew: true, ..request };
        receive(&mut client, &all);
    };
    for wrong in
        [None, time(0, 0), time(9, 999_999_999), time(-60, 0), time(12 * 3600 + 1, 0), time(i64::MIN, i32::MIN)]
    {
        check(wrong, false, Code::IllegalInvisibleTime);
        check(wrong, true, Code::Ok);
    }
    check(time(10, 0), false, Code::Ok);
    check(time(12 * 3600, 0), false, Code::Ok);
    // What a consumer that lives holds is not visible when the time is over that it asked for.
    check(time(0, 1_000_000), true, Code::Ok);
    let taken_ms = server.broker().clock.now_ms();
    client.until(|| server.broker().clock.now_ms() > taken_ms + 20);
    assert_eq!(receive(&mut client, &request()).0, Code::MessageNotFound);
}

#[test]
fn any_batch_size_gets_something_and_none_more_than_32() {
    let (_server, mut client) = start();
    send_named(&mut client, 0..40);
    for (batch_size, expected) in [(0, 1), (-5, 1), (i32::MIN, 1), (2, 2), (1_000_000, 32), (32, 3)] {
        let (_, messages) = receive(&mut client, &ReceiveMessageRequest { batch_size, ..request() });
        assert_eq!(messages.len(), expected, "{batch_size}");
    }
}

#[test]
fn a_filter_chooses_messages_if_it_can_be_read_and_is_allowed() {
    let (server, mut client) = start();
    let messages = (0..4).map(|n| {
        let mut sent = message("t", &n.to_string(), b"x");
        sent.user_properties.insert("n".into(), n.to_string());
        sent.system_properties.as_mut().unwrap().tag = Some(if n % 2 == 0 { "even" } else { "odd" }.into());
        sent
    });
    send(&mut client, messages.collect());
    let mut check = |group: &str, kind: i32, expression: &str, expected: Result<&[&str], Code>| {
        let filter_expression = Some(FilterExpression { r#type: kind, expression: expression.into() });
        let request = ReceiveMessageRequest { group: resource(group), filter_expression, ..request() };
        let (code, messages) = receive(&mut client, &request);
        match expected {
            Ok(expected) => assert_eq!(ids(&messages).iter().map(|(id, _)| *id).collect::<Vec<_>>(), expected),
            Err(expected) => assert_eq!(code, expected, "{kind} {expression}"),
        }
    };
    check("tags", 1, "odd", Ok(&["1", "3"]));
    // Whatever else a kind says, tags are meant: Go says nothing.
    check("none", 0, "even || odd", Ok(&["0", "1", "2", "3"]));
    check("unknown", 77, "even", Ok(&["0", "2"]));
    check("sql", 2, "n > 1", Err(Code::IllegalFilterExpression));
    server.broker().config.property_filter.set(true);
    check("sql", 2, "n >", Err(Code::IllegalFilterExpression));
    check("sql", 2, "", Err(Code::IllegalFilterExpression));
    check("sql", 2, "n > 1", Ok(&["2", "3"]));
}

#[test]
fn an_ordered_batch_is_given_again_to_who_repeats_the_call_and_kept_from_others() {
    let (server, mut client) = start();
    let mut group = GroupSettings::new("g");
    group.consume_message_orderly = true;
    server.broker().groups.put(group, 1);
    send_named(&mut client, 0..3);
    let receive = |client: &mut Client, attempt: &str| {
        let attempt_id = Some(attempt.to_owned());
        receive(client, &ReceiveMessageRequest { attempt_id, batch_size: 2, ..request() })
    };
    assert_eq!(ids(&receive(&mut client, "one").1), [("0", 1), ("1", 1)]);
    assert_eq!(receive(&mut client, "two").0, Code::MessageNotFound);
    let (_, again) = receive(&mut client, "one");
    assert_eq!(ids(&again), [("0", 1), ("1", 1)]);
    let entries = again.into_iter().map(|message| {
        let system = message.system_properties.unwrap();
        AckMessageEntry {
            message_id: system.message_id,
            receipt_handle: system.receipt_handle.unwrap(),
            ..AckMessageEntry::default()
        }
    });
    let request = AckMessageRequest { group: resource("g"), topic: resource("t"), entries: entries.collect() };
    let answer: AckMessageResponse = client.call("AckMessage", &request);
    assert_eq!(code(&answer.status), Code::Ok);
    assert_eq!(ids(&receive(&mut client, "two").1), [("2", 1)]);
    let long = "x".repeat(256);
    assert_eq!(receive(&mut client, &long).0, Code::BadRequest);
}

#[test]
fn of_a_priority_topic_the_highest_is_received_first() {
    let (server, mut client) = start();
    let mut settings = TopicSettings::new("t", 4, Permission::READ_WRITE);
    settings.attributes.insert("message.type".into(), "PRIORITY".into());
    server.broker().topics.put(settings, 2);
    let sent = |priority: i32| {
        let mut sent = message("t", &priority.to_string(), b"x");
        sent.system_properties.as_mut().unwrap().priority = Some(priority);
        sent
    };
    // Each call begins at another queue where there is no priority.
    for _ in 0..5 {
        send(&mut client, [0, 2, 9, 1].map(sent).to_vec());
        let (_, first) = receive(&mut client, &ReceiveMessageRequest { batch_size: 1, ..request() });
        assert_eq!(first[0].system_properties.as_ref().unwrap().priority, Some(9));
        assert_eq!(ids(&receive(&mut client, &request()).1), [("2", 1), ("1", 1), ("0", 1)]);
    }
}
