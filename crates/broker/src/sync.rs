//! Locks and atomic numbers of what threads share, from one place: `tests/interleavings` compiles some files of this
//! crate with others, which try many interleavings.

pub use std::sync::atomic;
pub use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
