//! Whether the disk syncs so quickly that a thread which serves connections may wait for it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A sync that took longer is slow: connections that share the thread would notice it.
const QUICK_MAX: Duration = Duration::from_millis(4);
/// For so many times as long as a slow sync took, no such thread waits for another. The time they lose to slow syncs is
/// therefore at most a hundredth, however moody the disk.
const PAUSE_FACTOR: u32 = 100;
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// How quick the disk was lately.
#[derive(Debug, Default)]
pub(super) struct SyncPace {
    /// Syncs count as slow before this.
    slow_until: Mutex<Option<Instant>>,
}

impl SyncPace {
    /// Whether the next sync is expected to be quick.
    pub fn is_quick(&self, now: Instant) -> bool {
        self.slow_until.lock().unwrap_or_else(PoisonError::into_inner).is_none_or(|until| until <= now)
    }

    /// A sync, by whomever, took that long and ended `now`.
    pub fn took(&self, took: Duration, now: Instant) {
        if took <= QUICK_MAX {
            return;
        }
        let until = now + took.saturating_mul(PAUSE_FACTOR).min(PAUSE_MAX);
        let mut slow_until = self.slow_until.lock().unwrap_or_else(PoisonError::into_inner);
        *slow_until = Some(slow_until.map_or(until, |before| before.max(until)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any instant will do to begin with")]
    fn a_slow_sync_is_followed_by_a_pause_a_hundred_times_as_long() {
        let (pace, start) = (SyncPace::default(), Instant::now());
        let at = |ms: u64| start + Duration::from_millis(ms);
        assert!(pace.is_quick(at(0)));
        pace.took(Duration::from_millis(4), at(4));
        assert!(pace.is_quick(at(4)));
        pace.took(Duration::from_millis(10), at(14));
        // A quick one in between ends no pause, nor does one that was slow but less so.
        pace.took(Duration::from_millis(1), at(20));
        pace.took(Duration::from_millis(5), at(30));
        assert!(!pace.is_quick(at(1_013)) && pace.is_quick(at(1_014)));
        pace.took(Duration::from_secs(3_600), at(5_000));
        assert!(!pace.is_quick(at(604_999)) && pace.is_quick(at(605_000)));
    }
}
