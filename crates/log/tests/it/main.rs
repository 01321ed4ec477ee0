//! What the log promises, seen from outside, on a disk that can lose power.

mod crash;
mod disk_full;
mod due;
mod durability;
mod keys;
mod model;
mod queues;
mod retention;
mod support;
