//! Whole clusters on one thread, one clock and one seed.
//!
//! A run has a nameserver, one or two brokers and some clients. The brokers are the real ones: their doors, core, log and
//! recovery; what is simulated is below and around them: disks that lose what was not synced, connections that break in the
//! middle of a frame, clocks that jump, processes that are killed at any change of the disk. Everything that happens
//! follows from the seed, so a run that breaks a promise can be run again and read.
//!
//! What clients did and saw is remembered ([`history`]) and judged, at once where that is possible, otherwise when
//! everything has come to rest ([`judge`]).
//!
//! **Walls:** no threads, no sockets, no files, no clock but the simulation's.

pub mod clients;
pub mod faults;
pub mod handed_out;
mod history;
pub mod judge;
pub mod message;
pub mod metadata;
pub mod names;
pub mod network;
pub mod node;
pub mod rot;
pub mod run;
pub mod schedule;
pub mod trace;
pub mod world;
