//! The nameserver from outside: recorded frames of stock brokers and tools, and real sockets.

#![expect(clippy::unwrap_used, reason = "what cannot be unwrapped fails the test, as it should")]

mod recordings;
mod sockets;
