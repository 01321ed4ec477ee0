//! The machine's clocks. Broker and load run on one machine, so their times can be compared.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Now, to measure how long something takes.
#[expect(clippy::disallowed_methods, reason = "this program is a shell around another one: it reads the clock here")]
pub fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "this program is a shell around another one: it reads the clock here")]
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
