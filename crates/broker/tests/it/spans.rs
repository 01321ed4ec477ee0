//! Spans of messages, as a collector gets them.

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use protocol::codes::{RequestCode, ResponseCode};
use protocol::properties;
use protocol::v2::receive_message_response::Content;
use protocol::v2::{
    AckMessageEntry, AckMessageRequest, AckMessageResponse, Code, MessageQueue, ReceiveMessageRequest,
    ReceiveMessageResponse, SendMessageRequest, SendMessageResponse,
};

use crate::calls::{pull, send};
use crate::collector::{Collector, attribute};
use crate::grpc_door::client::Client;
use crate::grpc_door::{code, message, resource};
use crate::server::Server;

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE_ID: [u8; 16] =
    [0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6, 0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36];
const PARENT_ID: [u8; 8] = [0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7];

fn start() -> (Collector, Server) {
    let collector = Collector::start(&[]);
    let target = collector.address.to_string();
    let server = Server::start_with(|config| config.traces_target = Some(target));
    (collector, server)
}

#[track_caller]
fn assert_of_trace(span: &Span, name: &str, attributes: &[(&str, &str)]) {
    assert_eq!(span.name, name);
    assert_eq!((&span.trace_id[..], &span.parent_span_id[..]), (&TRACE_ID[..], &PARENT_ID[..]));
    for (name, value) in attributes {
        assert_eq!(attribute(&span.attributes, name).as_deref(), Some(*value), "{name} of {span:?}");
    }
}

#[test]
fn a_grpc_message_with_a_trace_context_has_spans_of_its_send_delivery_and_acknowledgement() {
    let (collector, server) = start();
    let mut client = Client::connect(server.grpc_address());
    let mut sent = message("orders", "01AB", b"hello");
    let system = sent.system_properties.as_mut().unwrap();
    system.trace_context = Some(TRACEPARENT.into());
    system.tag = Some("TagA".into());
    let messages = vec![sent, message("orders", "01AC", b"without a trace")];
    let answer: SendMessageResponse = client.call("SendMessage", &SendMessageRequest { messages });
    assert_eq!(code(&answer.status), Code::Ok);
    let queue = MessageQueue { topic: resource("orders"), ..MessageQueue::default() };
    let receive = ReceiveMessageRequest {
        group: resource("cg"),
        message_queue: Some(queue),
        batch_size: 32,
        invisible_duration: Some(prost_types::Duration { seconds: 30, nanos: 0 }),
        ..ReceiveMessageRequest::default()
    };
    let received: Vec<ReceiveMessageResponse> = client.call_streamed("ReceiveMessage", &receive);
    let systems = received.iter().filter_map(|element| match &element.content {
        Some(Content::Message(message)) => message.system_properties.clone(),
        _ => None,
    });
    let entries: Vec<AckMessageEntry> = systems
        .map(|system| {
            let is_traced = system.message_id == "01AB";
            assert_eq!(system.trace_context.as_deref(), is_traced.then_some(TRACEPARENT));
            AckMessageEntry {
                message_id: system.message_id,
                receipt_handle: system.receipt_handle.unwrap(),
                ..AckMessageEntry::default()
            }
        })
        .collect();
    assert_eq!(entries.len(), 2);
    let ack = AckMessageRequest { topic: resource("orders"), group: resource("cg"), entries };
    let acked: AckMessageResponse = client.call("AckMessage", &ack);
    assert_eq!(code(&acked.status), Code::Ok);
    // The message without a trace has none.
    let spans = collector.spans(3);
    assert_eq!(spans.len(), 3, "{spans:?}");
    let everywhere = [
        ("messaging.system", "rocketmq"),
        ("messaging.destination.name", "orders"),
        ("messaging.message.id", "01AB"),
        ("messaging.rocketmq.message.tag", "TagA"),
        ("messaging.message.body.size", "5"),
        ("apogee.queue_offset", "0"),
    ];
    for (span, name) in spans.iter().zip(["send orders", "deliver orders", "ack orders"]) {
        assert_of_trace(span, name, &everywhere);
        assert_eq!(span.status, None);
    }
    for span in &spans[1..] {
        assert_of_trace(span, &span.name, &[("messaging.consumer.group.name", "cg")]);
    }
    let queue_of = |span: &Span| attribute(&span.attributes, "messaging.destination.partition.id");
    assert_eq!(queue_of(&spans[0]), queue_of(&spans[2]));
}

#[test]
fn a_remoting_message_with_a_traceparent_has_spans_also_when_it_is_popped_or_refused() {
    let (collector, server) = start();
    let mut wire = server.connect();
    let mut given = Vec::new();
    properties::push(&mut given, "traceparent", TRACEPARENT);
    let given = String::from_utf8(given).unwrap();
    let answer = send(&mut wire, "orders", &[("properties", &given)], b"hello");
    assert_eq!(answer.response_code(), ResponseCode::SUCCESS);
    let refused = send(&mut wire, "orders", &[("properties", &given), ("queueId", "99")], b"hello");
    assert_eq!(refused.response_code(), ResponseCode::INVALID_PARAMETER);
    let spans = collector.spans(2);
    // The refusal is known before the other message is stored, if both come in one read.
    let is_refused = |span: &&Span| span.status.is_some();
    let refused = spans.iter().find(is_refused).unwrap();
    assert_of_trace(refused, "send orders", &[]);
    assert_eq!(refused.status.as_ref().unwrap().code(), StatusCode::Error);
    assert!(refused.status.as_ref().unwrap().message.contains("queue 99"), "{refused:?}");
    assert_of_trace(
        spans.iter().find(|span| !is_refused(span)).unwrap(),
        "send orders",
        &[("client.address", "127.0.0.1")],
    );
    let pulled = pull(&mut wire, "orders", &[]);
    assert_eq!(pulled.response_code(), ResponseCode::SUCCESS);
    let [span] = &collector.spans(1)[..] else { panic!("one message was pulled") };
    assert_of_trace(span, "deliver orders", &[("messaging.operation.type", "receive")]);
    let born = server.broker().clock.now_ms().to_string();
    let pop = [
        ("consumerGroup", "popping"),
        ("topic", "orders"),
        ("queueId", "0"),
        ("maxMsgNums", "1"),
        ("invisibleTime", "60000"),
        ("pollTime", "0"),
        ("bornTime", &born),
        ("initMode", "0"),
        ("order", "false"),
    ];
    let popped = wire.call(RequestCode::POP_MESSAGE, &pop, b"");
    assert_eq!(popped.response_code(), ResponseCode::SUCCESS);
    let [span] = &collector.spans(1)[..] else { panic!("one message was popped") };
    assert_of_trace(span, "deliver orders", &[("messaging.consumer.group.name", "popping")]);
}
