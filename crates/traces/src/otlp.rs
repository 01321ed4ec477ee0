//! What goes to a collector: the part of OTLP 1.x that spans need. Numbers of fields are those of the protocol.

use prost::{Message, Oneof};

use crate::export::Ended;
use crate::span::{Attribute, Value};

/// The call that takes spans.
pub const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Spans of a broker are those of who serves.
const KIND_SERVER: i32 = 2;
const STATUS_ERROR: i32 = 2;

/// A batch of spans.
#[derive(Clone, PartialEq, Message)]
pub struct ExportRequest {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

/// What the collector says to it.
#[derive(Clone, PartialEq, Message)]
pub struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    pub partial_success: Option<PartialSuccess>,
}

/// Some spans were not taken.
#[derive(Clone, PartialEq, Message)]
pub struct PartialSuccess {
    #[prost(int64, tag = "1")]
    pub rejected_spans: i64,
    #[prost(string, tag = "2")]
    pub error_message: String,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Any", tags = "1, 3")]
    value: Option<Any>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Any {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Whole(i64),
}

/// Spans of the service that `resource` describes.
pub fn request(resource: &[Attribute], spans: Vec<Ended>) -> ExportRequest {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let resource = Resource { attributes: resource.iter().cloned().map(key_value).collect() };
    let scope = Scope { name: "apogee".to_owned(), version };
    let scope_spans = ScopeSpans { scope: Some(scope), spans: spans.into_iter().map(span).collect() };
    ExportRequest { resource_spans: vec![ResourceSpans { resource: Some(resource), scope_spans: vec![scope_spans] }] }
}

fn span(Ended { span, end_ns, error }: Ended) -> Span {
    Span {
        trace_id: span.parent.trace_id.to_vec(),
        span_id: span.span_id.to_vec(),
        parent_span_id: span.parent.span_id.to_vec(),
        name: span.name,
        kind: KIND_SERVER,
        start_time_unix_nano: span.start_ns,
        // Clocks are set back at times, and nothing ends before it began.
        end_time_unix_nano: end_ns.max(span.start_ns),
        attributes: span.attributes.into_iter().map(key_value).collect(),
        status: error.map(|message| Status { message, code: STATUS_ERROR }),
    }
}

fn key_value(attribute: Attribute) -> KeyValue {
    let value = match attribute.value {
        Value::Text(text) => Any::Text(text),
        Value::Whole(number) => Any::Whole(number),
    };
    KeyValue { key: attribute.name.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}
