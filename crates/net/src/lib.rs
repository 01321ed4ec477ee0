//! The network: accepts connections, cuts what arrives into whole frames, hands them to a tower service and writes
//! the answers back; makes outgoing connections too.
//!
//! Ports of streams ([`streams`]) hand over connections that speak HTTP/2, in clear text or in TLS.
//!
//! Wall: this crate knows frames and no requests.
//!
//! A service is called once per *read*, with every whole frame that the read brought, not once per message. A busy
//! client thereby costs one call, one append and one write for many messages, while a lone request is handled at
//! once on the thread that received it.

pub mod channel;
pub mod connection;
pub mod listen;
pub mod server;
pub mod sniff;
pub mod streams;
pub mod tls;
pub mod workers;

pub use channel::{Answer, CallError, Channel, ConnectError, Pushed};
pub use connection::{CloseReason, Connection, ConnectionId};
pub use server::{Door, Inbound, Outbound, serve};
pub use streams::{Stream, StreamDoor, serve_streams};
