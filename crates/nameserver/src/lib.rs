//! Which brokers are alive, and which of them has which topic.
//!
//! Brokers register and give signs of life; clients ask where a topic is. A core without sockets, tasks or clock
//! decides ([`routes`], [`liveness`], [`kv`]); [`handlers`] turns frames into its events and its answers into frames;
//! [`server`] is the shell with the sockets, the clock, the disk and the log. Everything but the KV table is in memory
//! only: after a start, brokers fill the tables again within one of their periods of 30 s.
//!
//! Wall: no core reads a clock; time comes in as an argument.
//!
//! Behaviour follows `namesrv/.../{routeinfo,kvconfig,processor}/**`.

pub mod changed;
pub mod config;
pub mod effect;
pub mod handlers;
pub mod horizon;
pub mod keys;
pub mod kv;
pub mod liveness;
pub mod names;
pub mod routes;
pub mod series;
pub mod server;
pub mod settings;

pub use config::NameserverConfig;
pub use server::serve;
