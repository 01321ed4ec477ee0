//! PullMessage and offsets.

use protocol::v2::pull_message_response::Content;
use protocol::v2::{
    Code, FilterExpression, GetOffsetRequest, GetOffsetResponse, MessageQueue, PullMessageRequest, PullMessageResponse,
    QueryOffsetRequest, QueryOffsetResponse, SendMessageRequest, SendMessageResponse, UpdateOffsetRequest,
    UpdateOffsetResponse,
};

use super::client::Client;
use super::{code, message, resource};
use crate::bad_input::until;
use crate::server::Server;

fn queue(topic: &str) -> Option<MessageQueue> {
    Some(MessageQueue { topic: resource(topic), ..MessageQueue::default() })
}

/// A topic with one queue, and messages with the tags a and b in turn.
fn start() -> (Server, Client) {
    let server = Server::start();
    let settings = broker::topics::TopicSettings::new("t", 1, broker::topics::Permission::READ_WRITE);
    server.broker().topics.put(settings, 1);
    let mut client = Client::connect(server.grpc_address());
    for n in 0..6 {
        let mut sent = message("t", &n.to_string(), &[n + 1]);
        sent.system_properties.as_mut().unwrap().tag = Some(if n % 2 == 0 { "a" } else { "b" }.into());
        let answer: SendMessageResponse = client.call("SendMessage", &SendMessageRequest { messages: vec![sent] });
        assert_eq!(code(&answer.status), Code::Ok);
    }
    (server, client)
}

/// Code, bodies and next offset of a pull.
fn pull(client: &mut Client, offset: i64, tags: &str) -> (Code, Vec<u8>, i64) {
    pull_within(client, offset, tags, prost_types::Duration { seconds: 0, nanos: 1 })
}

fn pull_within(client: &mut Client, offset: i64, tags: &str, time: prost_types::Duration) -> (Code, Vec<u8>, i64) {
    let request = PullMessageRequest {
        group: resource("g"),
        message_queue: queue("t"),
        offset,
        batch_size: 4,
        filter_expression: Some(FilterExpression { r#type: 1, expression: tags.into() }),
        long_polling_timeout: Some(time),
    };
    let elements: Vec<PullMessageResponse> = client.call_streamed("PullMessage", &request);
    let (mut found, mut bodies, mut next) = (None, Vec::new(), -1);
    for element in elements {
        match element.content.unwrap() {
            Content::Status(status) => found = Some(status),
            Content::Message(message) => bodies.extend_from_slice(&message.body),
            Content::NextOffset(offset) => next = offset,
        }
    }
    (code(&found), bodies, next)
}

#[test]
fn messages_are_pulled_from_an_offset_on() {
    let (_server, mut client) = start();
    assert_eq!(pull(&mut client, 0, "*"), (Code::Ok, vec![1, 2, 3, 4], 4));
    assert_eq!(pull(&mut client, 4, ""), (Code::Ok, vec![5, 6], 6));
    assert_eq!(pull(&mut client, 0, "b"), (Code::Ok, vec![2, 4, 6], 6));
    assert_eq!(pull(&mut client, 0, "c || b").1, [2, 4, 6]);
    assert_eq!(pull(&mut client, 6, "*"), (Code::MessageNotFound, vec![], 6));
    assert_eq!(pull(&mut client, 0, "nobody"), (Code::MessageNotFound, vec![], 6));
    assert_eq!(pull(&mut client, 99, "*"), (Code::IllegalOffset, vec![], 6));
    assert_eq!(pull(&mut client, -1, "*"), (Code::IllegalOffset, vec![], 0));
}

#[test]
fn a_pull_waits_for_the_message_that_it_wants_and_no_longer() {
    let (server, mut client) = start();
    let mut waiting = Client::connect(server.grpc_address());
    let now_ms = || server.broker().clock.now_ms();
    let started_ms = now_ms();
    let puller =
        std::thread::spawn(move || pull_within(&mut waiting, 6, "a", prost_types::Duration { seconds: 20, nanos: 0 }));
    for (tag, body) in [("b", 7), ("a", 8)] {
        until(|| server.broker().pulls.waiting_calls() == 1);
        let mut sent = message("t", tag, &[body]);
        sent.system_properties.as_mut().unwrap().tag = Some(tag.into());
        let answer: SendMessageResponse = client.call("SendMessage", &SendMessageRequest { messages: vec![sent] });
        assert_eq!(code(&answer.status), Code::Ok);
    }
    assert_eq!(puller.join().unwrap(), (Code::Ok, vec![8], 8));
    assert!(now_ms() - started_ms < 15_000, "it came with the end of the time only");
    assert_eq!(server.broker().pulls.waiting_calls(), 0);
}

#[test]
fn offsets_are_kept_and_looked_up() {
    let (_server, mut client) = start();
    let get = |client: &mut Client| {
        let request = GetOffsetRequest { group: resource("g"), message_queue: queue("t") };
        let answer: GetOffsetResponse = client.call("GetOffset", &request);
        (code(&answer.status), answer.offset)
    };
    assert_eq!(get(&mut client), (Code::OffsetNotFound, 0));
    let update = |client: &mut Client, topic: &str, offset| {
        let request = UpdateOffsetRequest { group: resource("g"), message_queue: queue(topic), offset };
        let answer: UpdateOffsetResponse = client.call("UpdateOffset", &request);
        code(&answer.status)
    };
    assert_eq!(update(&mut client, "t", 3), Code::Ok);
    assert_eq!(get(&mut client), (Code::Ok, 3));
    assert_eq!(update(&mut client, "t", -3), Code::IllegalOffset);
    assert_eq!(update(&mut client, "nowhere", 3), Code::TopicNotFound);
    let mut query = |policy, timestamp| {
        let request = QueryOffsetRequest { message_queue: queue("t"), query_offset_policy: policy, timestamp };
        let answer: QueryOffsetResponse = client.call("QueryOffset", &request);
        (code(&answer.status), answer.offset)
    };
    let moment = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    assert_eq!(query(0, None), (Code::Ok, 0));
    assert_eq!(query(1, None), (Code::Ok, 6));
    assert_eq!(query(2, moment(1)), (Code::Ok, 0));
    assert_eq!(query(2, moment(i64::MAX)), (Code::Ok, 6));
    assert_eq!(query(2, None).0, Code::BadRequest);
    assert_eq!(query(9, None).0, Code::BadRequest);
}
