//! Waiting for what has to happen, and failing when it does not.

use std::time::{Duration, Instant};

/// Time after which something that has to happen counts as not happening. Generous: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The moment, for deadlines and for measuring waits.
pub fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "tests are a shell: they wait against a deadline")]
    Instant::now()
}

/// Milliseconds since 1970, as brokers tell the time.
pub fn now_ms() -> i64 {
    broker::clock::Clock::system().now_ms()
}

/// Looks again and again until `look` finds something.
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(now() < deadline, "{what} did not happen within {PATIENCE:?}");
        pause(Duration::from_millis(2));
    }
}

/// Lets time go by between two looks, or until a moment that chance picked.
pub fn pause(time: Duration) {
    let end = now() + time;
    while let Some(left) = end.checked_duration_since(now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}
