//! The broker from outside: recorded requests of official clients, bad input, and the codes that clients act on.

#![expect(clippy::unwrap_used, reason = "what cannot be unwrapped fails the test, as it should")]

mod bad_input;
mod calls;
mod codes;
mod recording;
mod replay;
mod server;
mod watch;
mod wire;
