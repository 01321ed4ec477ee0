//! What official clients and servers put on the wire is read, and written again as they wrote it.

#![expect(clippy::unwrap_used, reason = "what cannot be unwrapped fails the test, as it should")]

mod batches;
mod body_round_trips;
mod grpc;
mod headers;
mod json_bodies;
mod recording;
mod records;
mod typed_headers;
mod undecodable;
