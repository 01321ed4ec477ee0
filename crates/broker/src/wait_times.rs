//! How long messages wait before consumers see them.

use metrics::Histogram;
use metrics::histogram::Scale;

const MINUTE_S: u64 = 60;
const HOUR_S: u64 = 60 * MINUTE_S;
const DAY_S: u64 = 24 * HOUR_S;

/// Bounds of stock brokers, in seconds.
const COMMIT_S: &[u64] = &[5, MINUTE_S, 10 * MINUTE_S, HOUR_S, 12 * HOUR_S, DAY_S];
const DELAY_S: &[u64] = &[MINUTE_S, 10 * MINUTE_S, HOUR_S, 12 * HOUR_S, DAY_S, 3 * DAY_S];

/// Times that messages wait, in seconds.
#[derive(Debug)]
pub struct WaitTimes {
    /// From taking a delayed message in to its being due.
    pub delay: Histogram,
}

impl Default for WaitTimes {
    fn default() -> WaitTimes {
        WaitTimes { delay: Histogram::new(Scale::Plain, DELAY_S) }
    }
}

/// Times from storing half messages to their commits, in seconds: none yet.
pub fn commit_times() -> Histogram {
    Histogram::new(Scale::Plain, COMMIT_S)
}
