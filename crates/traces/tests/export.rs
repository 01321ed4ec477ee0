//! Spans on their way to a collector.

#![expect(clippy::unwrap_used, reason = "what cannot be unwrapped fails the test, as it should")]

mod collector;

use collector::{Collector, attribute};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use traces::{Attribute, Exporting, Options, Target, TraceContext, Tracer};

const UNAVAILABLE: u8 = 14;
const INVALID_ARGUMENT: u8 = 3;

fn tracer(target: &str) -> (Tracer, Exporting) {
    let resource = vec![Attribute { name: "service.name", value: "tests".into() }];
    Tracer::start(Options { target: Target::parse(target).unwrap(), resource }).unwrap()
}

fn parent() -> TraceContext {
    TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap()
}

#[test]
fn a_span_arrives_with_everything_it_says() {
    let collector = Collector::start(&[]);
    let (tracer, exporting) = tracer(&collector.address.to_string());
    let mut span = tracer.begin(parent(), "send orders".into()).unwrap();
    span.set("messaging.system", "rocketmq");
    span.set("messaging.message.body.size", 5);
    tracer.end(span.clone(), None);
    let other = tracer.begin(parent(), "ack orders".into()).unwrap();
    tracer.end(other, Some("too late".into()));
    let batch = collector.batch();
    let [of_service] = &batch.resource_spans[..] else { panic!("{batch:?}") };
    let resource = &of_service.resource.as_ref().unwrap().attributes;
    assert_eq!(attribute(resource, "service.name").as_deref(), Some("tests"));
    assert_eq!(of_service.scope_spans[0].scope.as_ref().unwrap().name, "apogee");
    let [sent, acked] = &of_service.scope_spans[0].spans[..] else { panic!("{batch:?}") };
    assert_eq!(sent.trace_id, parent().trace_id);
    assert_eq!(sent.parent_span_id, parent().span_id);
    assert_eq!(sent.span_id, span.span_id);
    assert_ne!(sent.span_id, acked.span_id);
    assert_eq!((sent.name.as_str(), sent.kind()), ("send orders", SpanKind::Server));
    assert_eq!(sent.start_time_unix_nano, span.start_ns);
    assert!(sent.end_time_unix_nano >= sent.start_time_unix_nano);
    assert_eq!(attribute(&sent.attributes, "messaging.system").as_deref(), Some("rocketmq"));
    assert_eq!(attribute(&sent.attributes, "messaging.message.body.size").as_deref(), Some("5"));
    assert_eq!(sent.status, None);
    let status = acked.status.as_ref().unwrap();
    assert_eq!((status.code(), status.message.as_str()), (StatusCode::Error, "too late"));
    exporting.close();
}

#[test]
fn a_trace_that_nobody_records_has_no_span() {
    let (tracer, exporting) = tracer("127.0.0.1:9");
    let unsampled = TraceContext { sampled: false, ..parent() };
    assert_eq!(tracer.begin(unsampled, "send orders".into()), None);
    exporting.close();
}

#[test]
fn a_batch_is_told_again_that_the_collector_could_not_take_and_not_one_that_it_never_will() {
    let collector = Collector::start(&[UNAVAILABLE, INVALID_ARGUMENT]);
    let (tracer, exporting) = tracer(&collector.address.to_string());
    // Refused, told again, and refused for ever.
    tracer.end(tracer.begin(parent(), "first".into()).unwrap(), None);
    collector.wait_for_refusals(2);
    tracer.end(tracer.begin(parent(), "second".into()).unwrap(), None);
    assert_eq!(collector.spans(1)[0].name, "second");
    exporting.close();
}

#[test]
fn what_is_left_at_the_end_is_told_and_a_collector_that_is_away_keeps_nobody() {
    let collector = Collector::start(&[]);
    let (first, exporting) = tracer(&collector.address.to_string());
    for _ in 0..1500 {
        first.end(first.begin(parent(), "last".into()).unwrap(), None);
    }
    exporting.close();
    assert_eq!(collector.spans(1500).len(), 1500);
    drop(collector);
    let (second, exporting) = tracer("127.0.0.1:9");
    // More than the queue holds: the rest is left out.
    for _ in 0..10_000 {
        second.end(second.begin(parent(), "lost".into()).unwrap(), None);
    }
    exporting.close();
}
