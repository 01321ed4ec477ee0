//! What is told of one step of a message.

use crate::context::TraceContext;

/// One step of a message: begun by [`Tracer::begin`](crate::Tracer::begin), told by [`Tracer::end`](crate::Tracer::end).
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Trace and span that it belongs to.
    pub parent: TraceContext,
    /// Its own id.
    pub span_id: [u8; 8],
    /// What was done, and to what: `send orders`.
    pub name: String,
    /// When it began, in nanoseconds since 1970.
    pub start_ns: u64,
    /// What else there is to know.
    pub attributes: Vec<Attribute>,
}

impl Span {
    /// Adds an attribute.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        self.attributes.push(Attribute { name, value: value.into() });
    }
}

/// Something to know of a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Its name, as OpenTelemetry's conventions for messaging have it.
    pub name: &'static str,
    /// Its value.
    pub value: Value,
}

/// Value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Text.
    Text(String),
    /// A whole number.
    Whole(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Whole(number)
    }
}
