//! The structures that threads of a broker share, run through many interleavings of those threads.
//!
//! The very files of the broker are compiled here once more, and what they call `crate::sync` is shuttle's: each lock,
//! atomic number and condition is a point at which another thread may go on. What is not under test (log, tables,
//! clock) is the broker's own. A thread that waits for ever is found as a deadlock. A failure prints the schedule,
//! which `shuttle::replay` runs again.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(dead_code, reason = "files of another crate are compiled here, and only a part of them is used")]

use broker::{clock, config, meta, pull, pull_waits, receive_waits, stats, transactions};

#[path = "../../../crates/broker/src/held_pulls.rs"]
mod held_pulls;
#[path = "../../../crates/broker/src/held_receives.rs"]
mod held_receives;
#[path = "../../../crates/broker/src/writer.rs"]
mod writer;

mod appending;
mod holding;
mod setup;
mod signalling;

/// What the files above lock with.
mod sync {
    pub use std::sync::{PoisonError, TryLockError};

    pub use shuttle::sync::{Condvar, Mutex, MutexGuard};

    pub mod atomic {
        pub use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    }
}
