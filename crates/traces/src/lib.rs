//! Spans of messages, and their way to an OpenTelemetry collector.
//!
//! Spans go out by OTLP over gRPC in clear text. Made of what the gRPC door needs anyway: `h2` and `prost`.

mod collector;
mod context;
mod export;
mod otlp;
mod span;
mod target;

pub use context::TraceContext;
pub use export::{Exporting, Options, Tracer};
pub use span::{Attribute, Span, Value};
pub use target::Target;
