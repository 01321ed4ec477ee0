//! Our Rust client: sends, consumes and administers over the remoting protocol, and registers brokers with
//! nameservers. The command line, the broker (towards nameservers) and tests use it; it works with a stock cluster
//! too.
//!
//! Wall: nothing here knows what the servers are made of; everything goes over the network.

pub mod admin;
pub mod calendar;
pub mod clock;
pub mod connections;
pub mod consumer;
pub mod message;
pub mod nameservers;
pub mod producer;
pub mod registration;
pub mod request;
pub mod route;
#[cfg(any(test, feature = "stand-in"))]
#[allow(
    clippy::unwrap_used,
    missing_docs,
    missing_debug_implementations,
    reason = "for tests only, where its names say enough"
)]
pub mod stand_in;
pub mod unique_ids;
pub mod zone;

pub use admin::Admin;
pub use connections::Connections;
pub use consumer::{Consumer, ConsumerOptions, StartFrom};
pub use message::{Message, Received};
pub use nameservers::Nameservers;
pub use producer::{Producer, Sent};
pub use registration::BrokerRegistration;
pub use request::RequestError;
