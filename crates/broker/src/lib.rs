//! The broker: takes messages in, keeps them, hands them out.
//!
//! Doors decode a request, call one operation of the core and encode its answer. Wall: only [`writer`] appends to
//! the log; doors never touch it except to read. Wall: the cores ([`membership`], [`queue_locks`], [`pull_waits`],
//! [`transactions`]) know no clock, socket or task. Wall: only [`meta`] names sled.

#[cfg(test)]
mod at_once;
pub mod broker;
pub mod clock;
pub mod config;
pub mod connections;
pub mod counters;
pub mod decide;
pub mod delay;
pub mod disk_space;
pub mod groups;
pub mod held_pulls;
pub mod membership;
pub mod meta;
pub mod names;
pub mod offsets;
pub mod pull;
pub mod pull_waits;
pub mod queue_locks;
pub mod registration;
pub mod relocate;
pub mod remoting;
pub mod send;
pub mod send_back;
pub mod start;
pub mod topics;
pub mod transactions;
pub mod writer;
