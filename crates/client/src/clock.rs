//! The wall clock. Everything else takes the time as an argument.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
pub fn now_ms() -> i64 {
    now_us() / 1000
}

/// Microseconds since 1970.
pub fn now_us() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "this is the shell that reads the clock")]
    let now = SystemTime::now();
    // A clock set before 1970 counts as 1970.
    now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}
