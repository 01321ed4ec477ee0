//! The broker from outside: recorded requests of official clients, bad input, and the codes that clients act on.

#![expect(clippy::unwrap_used, reason = "what cannot be unwrapped fails the test, as it should")]

mod admin;
mod bad_input;
mod calls;
mod clock;
mod codes;
#[cfg(feature = "otel")]
#[path = "../../../traces/tests/collector/mod.rs"]
mod collector;
mod flush_of_topic;
mod grpc_door;
mod recording;
mod relays;
mod replay;
mod replies;
mod resets;
mod series;
mod server;
#[cfg(feature = "otel")]
mod spans;
mod watch;
mod wire;
