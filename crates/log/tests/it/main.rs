//! What the log promises, seen from outside, on a disk that can lose power.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod concurrency;
mod crash;
mod damage;
mod disk_full;
mod due;
mod durability;
mod forgetful;
mod format;
mod keys;
mod model;
mod power_cuts;
mod queues;
mod retention;
mod support;
mod versions;
