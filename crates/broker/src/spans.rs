//! Spans of what happens to a message here: it is sent, handed out, acknowledged. Only with the feature `otel`.
//!
//! A message has spans if its properties name a trace that is recorded: what gRPC clients send as `trace_context`, or
//! the property `traceparent` of those who instrument clients. Names and attributes are those of OpenTelemetry's
//! conventions for messaging; `apogee.` is before what they do not have.

use std::sync::Arc;

use log::QueueNumber;
use protocol::properties::{self, Properties};
use protocol::record::{self, Record};
use traces::{Attribute, Exporting, Options, Span, Target, TraceContext, Tracer};

use crate::broker::Broker;
use crate::config::BrokerConfig;
use crate::delivery::settling::{SettleError, Settlement};
use crate::send::{Admitted, SendError, SendRequest};
use crate::writer::{Appends, Outcome};

const TRACE_CONTEXT: &str = "TRACE_CONTEXT";
const TRACEPARENT: &str = "traceparent";

const OFFSET: &str = "apogee.queue_offset";
const BODY_BYTES: &str = "messaging.message.body.size";
const MESSAGE_ID: &str = "messaging.message.id";
const QUEUE: &str = "messaging.destination.partition.id";
const TAG: &str = "messaging.rocketmq.message.tag";

/// A send whose record is being stored.
#[derive(Debug)]
pub struct Sending {
    first_record: usize,
    records: usize,
    span: Span,
}

/// Starts telling a collector, if the settings name one.
pub fn start(config: &BrokerConfig) -> std::io::Result<Option<(Tracer, Exporting)>> {
    let Some(target) = &config.traces_target else { return Ok(None) };
    let unusable = || std::io::Error::new(std::io::ErrorKind::InvalidInput, format!("`{target}` is no host:port"));
    let target = Target::parse(target).ok_or_else(unusable)?;
    let text = |name, value: &str| Attribute { name, value: value.into() };
    let resource = vec![
        text("service.name", "apogee-broker"),
        text("service.namespace", &config.cluster_name),
        text("service.instance.id", &config.broker_name),
        text("service.version", env!("CARGO_PKG_VERSION")),
    ];
    Tracer::start(Options { target, resource }).map(Some)
}

/// The trace that a message belongs to.
fn context_of(given: &Properties<'_>) -> Option<TraceContext> {
    let [own, instrumented] = given.get_many([TRACE_CONTEXT, TRACEPARENT]);
    own.and_then(TraceContext::parse).or_else(|| instrumented.and_then(TraceContext::parse))
}

/// Begins the span of one operation on a message.
fn begin(tracer: &Tracer, given: &Properties<'_>, operation: &'static str, topic: &str) -> Option<Span> {
    let mut span = tracer.begin(context_of(given)?, format!("{operation} {topic}"))?;
    let kind = match operation {
        "deliver" => "receive",
        "ack" => "settle",
        send => send,
    };
    span.set("messaging.system", "rocketmq");
    span.set("messaging.operation.name", operation);
    span.set("messaging.operation.type", kind);
    span.set("messaging.destination.name", topic);
    for (name, property) in [(MESSAGE_ID, properties::UNIQ_KEY), (TAG, properties::TAGS)] {
        if let Some(value) = given.get(property) {
            span.set(name, value);
        }
    }
    Some(span)
}

/// Begins the span of a send; to be called before the message is looked at.
pub fn begin_send(broker: &Broker, request: &SendRequest<'_>) -> Option<Span> {
    let tracer = broker.tracer.get()?;
    let mut span = begin(tracer, &Properties::new(request.properties), "send", request.topic)?;
    span.set(BODY_BYTES, request.body.len() as i64);
    span.set("client.address", request.born_host.ip().to_string());
    Some(span)
}

/// The message was taken in, or refused: then its span ends.
pub fn admitted(broker: &Broker, mut span: Span, admitted: &Result<Admitted, SendError>, appends: &mut Appends) {
    match admitted {
        Ok(admitted) => {
            span.set(QUEUE, admitted.queue_id.to_string());
            let (first_record, records) = (admitted.first_record, admitted.records);
            appends.sendings.push(Sending { first_record, records, span });
        }
        Err(error) => {
            if let Some(tracer) = broker.tracer.get() {
                tracer.end(span, Some(error.to_string()));
            }
        }
    }
}

/// Ends the spans of sends: their records are stored, or are not.
pub fn end_sends(broker: &Broker, appends: &Appends, outcome: &Outcome<'_>) {
    let Some(tracer) = broker.tracer.get() else { return };
    let error = match outcome {
        Outcome::Refused(error) => Some(error.to_string()),
        Outcome::FlushTimeout => Some("the disk did not confirm in time".to_owned()),
        Outcome::Stored | Outcome::Accepted => None,
    };
    for sending in &appends.sendings {
        let mut span = sending.span.clone();
        let placed = appends.batch.placed().get(sending.first_record).filter(|_| error.is_none());
        if let Some(placed) = placed {
            span.set(OFFSET, placed.queue_offset as i64);
        }
        if sending.records > 1 {
            span.set("messaging.batch.message_count", sending.records as i64);
        }
        tracer.end(span, error.clone());
    }
}

/// A group was given messages: `records`, one after another.
pub fn delivered(broker: &Broker, topic: &str, group: &str, records: &[u8]) {
    let Some(tracer) = broker.tracer.get() else { return };
    for record in record::records(records) {
        let Some(mut span) = begin(tracer, &record.properties(), "deliver", topic) else { continue };
        describe(&mut span, group, &record);
        // When it was stored is when it began to wait: what is between is the time that it waited.
        let waited_ms = broker.clock.now_ms().saturating_sub(record.store_timestamp_ms());
        span.set("apogee.waited_ms", waited_ms.max(0));
        tracer.end(span, None);
    }
}

fn describe(span: &mut Span, group: &str, record: &Record<'_>) {
    span.set("messaging.consumer.group.name", group);
    span.set(QUEUE, record.queue_id().to_string());
    span.set(OFFSET, record.queue_offset() as i64);
    span.set(BODY_BYTES, record.body().len() as i64);
}

/// Begins the span of an acknowledgement. The message is read for it, and only when spans are told at all.
pub fn begin_ack(broker: &Arc<Broker>, settlement: &Settlement<'_>) -> Option<Span> {
    let tracer = broker.tracer.get()?;
    let topic = broker.topics.get(settlement.topic)?;
    let number = topic.known_queue(settlement.queue_id)?;
    let bytes = stored(broker, number, settlement.delivery.offset)?;
    let record = Record::parse(&bytes).ok()?;
    let mut span = begin(tracer, &record.properties(), "ack", settlement.topic)?;
    describe(&mut span, settlement.group, &record);
    Some(span)
}

fn stored(broker: &Broker, queue: QueueNumber, offset: u64) -> Option<Vec<u8>> {
    let entry = broker.log.entries(queue, offset, 1).ok()?.into_iter().next()?;
    let mut bytes = Vec::new();
    broker.log.read(log::LogPosition(entry.position), &mut bytes).ok()?;
    Some(bytes)
}

/// The acknowledgement was taken, or not.
pub fn end_ack(broker: &Broker, span: Span, result: &Result<(), SettleError>) {
    if let Some(tracer) = broker.tracer.get() {
        tracer.end(span, result.as_ref().err().map(ToString::to_string));
    }
}
