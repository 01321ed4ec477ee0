//! How long appends take.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// How often the distribution begins anew, in milliseconds; as upstream's does.
const CUT_EVERY_MS: i64 = 60_000;

/// Bounds of what is told apart, in milliseconds: a time belongs to the first bound that it does not exceed.
const BOUNDS_MS: [u64; 17] = [0, 1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 3_000, 4_000, 5_000, 10_000];

/// The ranges that tools know, and the last bound that belongs to each.
const RANGES: [(&str, u64); 13] = [
    ("<=0ms", 0),
    ("0~10ms", 10),
    ("10~50ms", 50),
    ("50~100ms", 100),
    ("100~200ms", 200),
    ("200~500ms", 500),
    ("500ms~1s", 1_000),
    ("1~2s", 2_000),
    ("2~3s", 3_000),
    ("3~4s", 4_000),
    ("4~5s", 5_000),
    ("5~10s", 10_000),
    ("10s~", u64::MAX),
];

const BUCKETS: usize = BOUNDS_MS.len() + 1;

/// How long appends took, by message.
#[derive(Debug, Default)]
pub struct AppendTimes {
    buckets: [AtomicU64; BUCKETS],
    max_ms: AtomicU64,
    minute: Mutex<Minute>,
}

/// The minute that ended last.
#[derive(Debug, Default)]
struct Minute {
    ended_ms: Option<i64>,
    /// Where the buckets stood when it ended.
    at_end: [u64; BUCKETS],
    /// What it brought.
    counts: [u64; BUCKETS],
}

/// How many messages took how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    counts: [u64; BUCKETS],
}

impl AppendTimes {
    /// An append of `messages` messages took `took_ms`.
    pub fn note(&self, took_ms: i64, messages: usize) {
        let took_ms = took_ms.max(0) as u64;
        let bucket = BOUNDS_MS.iter().position(|bound| took_ms <= *bound).unwrap_or(BOUNDS_MS.len());
        self.buckets[bucket].fetch_add(messages as u64, Ordering::Relaxed);
        if self.max_ms.load(Ordering::Relaxed) < took_ms {
            self.max_ms.fetch_max(took_ms, Ordering::Relaxed);
        }
    }

    /// The longest that an append took since the start, in milliseconds.
    pub fn max_ms(&self) -> u64 {
        self.max_ms.load(Ordering::Relaxed)
    }

    /// What the last full minute brought; before there is one, everything since the start.
    pub fn lately(&self) -> Distribution {
        let minute = self.minute.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = minute.at_end != [0; BUCKETS] || minute.counts != [0; BUCKETS];
        Distribution { counts: if is_full { minute.counts } else { self.counts() } }
    }

    /// Begins a new minute when one is over.
    pub fn cut(&self, now_ms: i64) {
        let mut minute = self.minute.lock().unwrap_or_else(PoisonError::into_inner);
        let began_ms = *minute.ended_ms.get_or_insert(now_ms);
        if (0..CUT_EVERY_MS).contains(&(now_ms - began_ms)) {
            return;
        }
        let counts = self.counts();
        minute.counts = std::array::from_fn(|bucket| counts[bucket].saturating_sub(minute.at_end[bucket]));
        minute.at_end = counts;
        minute.ended_ms = Some(now_ms);
    }

    fn counts(&self) -> [u64; BUCKETS] {
        std::array::from_fn(|bucket| self.buckets[bucket].load(Ordering::Relaxed))
    }
}

impl Distribution {
    /// As tools take it apart: `[<=0ms]:12 [0~10ms]:3 …`, each with a blank behind it.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut from = 0;
        for (name, last_ms) in RANGES {
            let to = BOUNDS_MS.iter().position(|bound| *bound == last_ms).map_or(BUCKETS, |bucket| bucket + 1);
            let count: u64 = self.counts[from..to].iter().sum();
            from = to;
            let _ = write!(text, "[{name}]:{count} ");
        }
        text
    }

    /// Milliseconds that a share of the messages, 0 to 1, did not exceed.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        let total: u64 = self.counts.iter().sum();
        let wanted = (total as f64 * share).ceil() as u64;
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            wanted <= seen
        });
        let longest = BOUNDS_MS[BOUNDS_MS.len() - 1];
        bucket.map_or(longest, |bucket| BOUNDS_MS.get(bucket).copied().unwrap_or(longest)) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distribution_has_the_ranges_that_tools_split() {
        let times = AppendTimes::default();
        for (took_ms, messages) in [(-5, 1), (0, 2), (1, 3), (10, 4), (11, 5), (10_001, 6)] {
            times.note(took_ms, messages);
        }
        let expected = "[<=0ms]:3 [0~10ms]:7 [10~50ms]:5 [50~100ms]:0 [100~200ms]:0 [200~500ms]:0 [500ms~1s]:0 [1~2s]:0 \
                        [2~3s]:0 [3~4s]:0 [4~5s]:0 [5~10s]:0 [10s~]:6 ";
        assert_eq!((times.lately().text().as_str(), times.max_ms()), (expected, 10_001));
    }

    #[test]
    fn quantiles_are_bounds_that_are_not_exceeded() {
        let times = AppendTimes::default();
        assert_eq!(times.lately().quantile_ms(0.99), 0.0);
        times.note(0, 989);
        times.note(4, 10);
        times.note(150, 1);
        let lately = times.lately();
        assert_eq!([0.5, 0.99, 0.999, 1.0].map(|share| lately.quantile_ms(share)), [0.0, 5.0, 5.0, 200.0]);
    }

    #[test]
    fn each_minute_begins_anew() {
        let times = AppendTimes::default();
        times.cut(1_000);
        times.note(0, 7);
        times.cut(50_000);
        assert!(times.lately().text().starts_with("[<=0ms]:7 "));
        times.cut(61_000);
        times.note(0, 2);
        assert!(times.lately().text().starts_with("[<=0ms]:7 "));
        times.cut(121_000);
        assert!(times.lately().text().starts_with("[<=0ms]:2 "));
    }
}
