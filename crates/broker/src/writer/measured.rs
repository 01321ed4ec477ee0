//! How long the writer's work took, once per batch: one message or a thousand cost the same.

use metrics::Histogram;
use metrics::histogram::Scale;

const US: u64 = 1_000;
const MS: u64 = 1_000 * US;
const S: u64 = 1_000 * MS;

/// Bounds of appends, in nanoseconds: the page cache takes microseconds, and when it writes back, longer.
const APPEND_NS: &[u64] =
    &[10 * US, 25 * US, 50 * US, 100 * US, 250 * US, 500 * US, MS, 5 * MS, 10 * MS, 50 * MS, 100 * MS, 500 * MS, S];
/// Bounds of syncs, in nanoseconds: from disks with a cache that survives to those that are dying.
const SYNC_NS: &[u64] = &[
    100 * US,
    250 * US,
    500 * US,
    MS,
    2 * MS,
    5 * MS,
    10 * MS,
    25 * MS,
    50 * MS,
    100 * MS,
    250 * MS,
    500 * MS,
    S,
    5 * S,
];
const BATCH_MESSAGES: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024];

/// What is measured of a writer.
#[derive(Debug)]
pub struct Measured {
    /// Time of each append to the log.
    pub append: Histogram,
    /// Records of each append.
    pub batch: Histogram,
    /// Time of each sync of the log.
    pub sync: Histogram,
}

impl Default for Measured {
    fn default() -> Measured {
        Measured {
            append: Histogram::new(Scale::NanosAsSeconds, APPEND_NS),
            batch: Histogram::new(Scale::Plain, BATCH_MESSAGES),
            sync: Histogram::new(Scale::NanosAsSeconds, SYNC_NS),
        }
    }
}
