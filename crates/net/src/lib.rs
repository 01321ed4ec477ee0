//! The network: accepts connections, cuts what arrives into whole frames, hands them to a tower service and writes
//! the answers back; makes outgoing connections too.
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
pub mod workers;

pub use channel::{Answer, CallError, Channel, ConnectError, Pushed};
pub use connection::{CloseReason, Connection, ConnectionId};
pub use server::{Door, Inbound, Outbound, serve};
