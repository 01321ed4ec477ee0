//! What the log promises, seen from outside, on a disk that can lose power.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod concurrency;
mod crash;
mod disk_full;
mod due;
mod durability;
mod format;
mod keys;
mod model;
mod queues;
mod retention;
mod support;
