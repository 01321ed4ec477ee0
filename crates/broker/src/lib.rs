//! The broker: takes messages in, keeps them, hands them out.
//!
//! Doors decode a request, call one operation of the core and encode its answer. Wall: only [`writer`] appends to
//! the log; doors never touch it except to read. Wall: the cores ([`membership`], [`queue_locks`], [`pull_waits`],
//! [`transactions`]) know no clock, socket or task, and [`filter`] nothing but text and properties. Wall: only [`meta`] names sled.

pub mod access;
pub mod assignment;
#[cfg(test)]
mod at_once;
pub mod broker;
pub mod client_requests;
pub mod clock;
pub mod config;
pub mod connections;
pub mod counters;
pub mod creation_times;
pub mod decide;
pub mod delay;
pub mod delivery;
pub mod disk_space;
pub mod filter;
pub mod groups;
pub mod grpc;
pub mod held_pulls;
pub mod held_receives;
pub mod membership;
pub mod message_type;
pub mod meta;
pub mod names;
pub mod offsets;
pub mod pull;
pub mod pull_waits;
pub mod queue_locks;
pub mod recall;
pub mod receive_waits;
pub mod reconfigure;
pub mod registration;
pub mod relocate;
pub mod remoting;
pub mod request_modes;
pub mod reset;
pub mod rpc_latency;
pub mod send;
pub mod send_back;
pub mod series;
pub mod sessions;
#[cfg(feature = "otel")]
pub mod spans;
pub mod start;
pub mod stats;
pub mod sync;
pub mod topics;
pub mod transactions;
pub mod unsaved;
pub mod wait_times;
pub mod writer;
