//! AckMessage, ChangeInvisibleDuration, ForwardMessageToDeadLetterQueue: clients try again without end until they are told
//! that it is done or that the handle is void.

use broker::topics::{Permission, TopicSettings};
use prost_types::Duration;
use protocol::codes::{RequestCode, ResponseCode};
use protocol::v2::{
    AckMessageEntry, AckMessageRequest, AckMessageResponse, ChangeInvisibleDurationRequest,
    ChangeInvisibleDurationResponse, Code, ForwardMessageToDeadLetterQueueRequest,
    ForwardMessageToDeadLetterQueueResponse,
};

use super::client::Client;
use super::receiving::{ids, receive, request, send_named, start};
use super::{code, resource};
use crate::calls::pull;
use crate::server::Server;

/// The handle of the next message.
#[track_caller]
fn next_handle(client: &mut Client) -> String {
    let (_, mut messages) = receive(client, &super::receiving::request());
    assert_eq!(messages.len(), 1, "{messages:?}");
    messages.remove(0).system_properties.unwrap().receipt_handle.unwrap()
}

fn ack_of(client: &mut Client, group: &str, topic: &str, handle: &str) -> Code {
    let entry =
        AckMessageEntry { message_id: "0".into(), receipt_handle: handle.to_owned(), ..AckMessageEntry::default() };
    let request = AckMessageRequest { group: resource(group), topic: resource(topic), entries: vec![entry] };
    let answer: AckMessageResponse = client.call("AckMessage", &request);
    let [entry] = &answer.entries[..] else { panic!("{answer:?}") };
    assert_eq!((entry.message_id.as_str(), entry.receipt_handle.as_str()), ("0", handle));
    assert_eq!(code(&answer.status), code(&entry.status));
    code(&answer.status)
}

fn ack(client: &mut Client, handle: &str) -> Code {
    ack_of(client, "g", "t", handle)
}

/// Code, and the handle of the answer.
fn change(client: &mut Client, handle: &str, time: Duration) -> (Code, String) {
    let request = ChangeInvisibleDurationRequest {
        group: resource("g"),
        topic: resource("t"),
        receipt_handle: handle.to_owned(),
        invisible_duration: Some(time),
        message_id: "0".into(),
        ..ChangeInvisibleDurationRequest::default()
    };
    let answer: ChangeInvisibleDurationResponse = client.call("ChangeInvisibleDuration", &request);
    (code(&answer.status), answer.receipt_handle)
}

fn give_up(client: &mut Client, id: &str, handle: &str) -> Code {
    let request = ForwardMessageToDeadLetterQueueRequest {
        group: resource("g"),
        topic: resource("t"),
        receipt_handle: handle.to_owned(),
        message_id: id.to_owned(),
        delivery_attempt: 16,
        max_delivery_attempts: 16,
        ..ForwardMessageToDeadLetterQueueRequest::default()
    };
    let answer: ForwardMessageToDeadLetterQueueResponse = client.call("ForwardMessageToDeadLetterQueue", &request);
    code(&answer.status)
}

const HALF_A_MINUTE: Duration = Duration { seconds: 30, nanos: 0 };

/// C# keeps using the first handle, whatever it was told since.
#[test]
fn every_handle_of_a_delivery_settles_it_and_again() {
    let (_server, mut client) = start();
    for oldest in [true, false] {
        send_named(&mut client, 0..1);
        let old = next_handle(&mut client);
        let (changed, new) = change(&mut client, &old, HALF_A_MINUTE);
        assert_eq!(changed, Code::Ok);
        assert_eq!(change(&mut client, &old, HALF_A_MINUTE).0, Code::Ok);
        let (first, second) = if oldest { (&old, &new) } else { (&new, &old) };
        for handle in [first, second, first] {
            assert_eq!(ack(&mut client, handle), Code::Ok);
        }
        assert_eq!(receive(&mut client, &request()).0, Code::MessageNotFound);
        assert_eq!(change(&mut client, &old, HALF_A_MINUTE), (Code::InvalidReceiptHandle, old));
    }
}

#[test]
fn a_message_that_was_handed_back_comes_as_the_next_attempt_and_its_old_handle_is_void() {
    let (_server, mut client) = start();
    send_named(&mut client, 0..1);
    let handle = next_handle(&mut client);
    for wrong in [-1, 12 * 3600 + 1, i64::MIN] {
        let time = Duration { seconds: wrong, nanos: 0 };
        assert_eq!(change(&mut client, &handle, time), (Code::IllegalInvisibleTime, handle.clone()));
    }
    assert_eq!(change(&mut client, &handle, Duration::default()).0, Code::Ok);
    assert_eq!(ids(&receive(&mut client, &request()).1), [("0", 2)]);
    assert_eq!(ack(&mut client, &handle), Code::InvalidReceiptHandle);
}

#[test]
fn what_is_no_handle_of_the_group_and_topic_is_void() {
    let (_server, mut client) = start();
    send_named(&mut client, 0..1);
    let handle = next_handle(&mut client);
    for (group, topic, handle) in [
        ("other", "t", handle.as_str()),
        ("g", "other", &handle),
        ("g", "t", ""),
        ("g", "t", &handle[1..]),
        ("g", "t", "0 1700000000000 60000 3 0 broker-a 0 0 0"),
    ] {
        assert_eq!(ack_of(&mut client, group, topic, handle), Code::InvalidReceiptHandle, "{group} {topic} {handle}");
    }
    assert_eq!(change(&mut client, "x", HALF_A_MINUTE), (Code::InvalidReceiptHandle, "x".to_owned()));
    assert_eq!(give_up(&mut client, "0", "x"), Code::InvalidReceiptHandle);
    assert_eq!(ack(&mut client, &handle), Code::Ok);
}

/// Bodies of the dead letters of `g`.
fn dead_letters(server: &Server) -> usize {
    let answer = pull(&mut server.connect(), "%DLQ%g", &[]);
    match answer.response_code() {
        ResponseCode::SUCCESS => protocol::record::records(&answer.body).count(),
        _ => 0,
    }
}

/// C++ names no handle.
#[test]
fn a_message_is_given_up_once_with_its_handle_or_without() {
    let (server, mut client) = start();
    for (given_up, with_handle) in [(1, false), (2, true)] {
        send_named(&mut client, 0..1);
        let handle = next_handle(&mut client);
        let named = if with_handle { handle.as_str() } else { "" };
        assert_eq!(give_up(&mut client, "unknown", ""), Code::Ok);
        assert_eq!(give_up(&mut client, "0", named), Code::Ok);
        assert_eq!(give_up(&mut client, "0", named), Code::Ok);
        client.until(|| dead_letters(&server) == given_up && server.broker().deliveries.in_flight("g", "t", 0) == 0);
        assert_eq!(give_up(&mut client, "0", &handle), Code::Ok);
        assert_eq!(ack(&mut client, &handle), Code::Ok);
        assert_eq!(dead_letters(&server), given_up);
    }
}

/// Clients would try again each second, or ten times as often, for as long as they run.
#[test]
fn handles_of_a_topic_that_was_deleted_are_void_and_its_messages_need_nothing_more() {
    let (server, mut client) = start();
    send_named(&mut client, 0..1);
    let handle = next_handle(&mut client);
    let deleted = server.connect().call(RequestCode::DELETE_TOPIC_IN_BROKER, &[("topic", "t")], b"");
    assert_eq!(deleted.response_code(), ResponseCode::SUCCESS);
    let mut check = || {
        assert_eq!(ack(&mut client, &handle), Code::InvalidReceiptHandle);
        assert_eq!(change(&mut client, &handle, HALF_A_MINUTE), (Code::InvalidReceiptHandle, handle.clone()));
        assert_eq!(give_up(&mut client, "0", &handle), Code::Ok);
        assert_eq!(give_up(&mut client, "0", ""), Code::Ok);
    };
    check();
    // Another topic of that name, with another message at the same place.
    server.broker().topics.put(TopicSettings::new("t", 1, Permission::READ_WRITE), 2);
    let mut other = Client::connect(server.grpc_address());
    send_named(&mut other, 1..2);
    next_handle(&mut other);
    check();
}

/// The log still finds the message of the topic that was deleted.
#[test]
fn a_message_that_is_given_up_by_its_id_is_not_mistaken_for_another_at_its_place() {
    let (server, mut client) = start();
    send_named(&mut client, 0..1);
    next_handle(&mut client);
    server.connect().call(RequestCode::DELETE_TOPIC_IN_BROKER, &[("topic", "t")], b"");
    server.broker().topics.put(TopicSettings::new("t", 1, Permission::READ_WRITE), 2);
    send_named(&mut client, 1..2);
    let handle = next_handle(&mut client);
    assert_eq!(give_up(&mut client, "0", ""), Code::Ok);
    assert_eq!(ack(&mut client, &handle), Code::Ok);
    assert_eq!(dead_letters(&server), 0);
}
