//! When messages are to be sent.
//!
//! At a fixed rate the times are fixed beforehand. A message that goes out late, because the broker was slow with
//! the ones before, is measured from the time at which it should have gone: otherwise a broker that stalls would
//! look better than it is, since nothing is sent and so nothing is measured while it stalls.

use std::time::Duration;

use tokio::time::Instant;

/// Intended send times at a fixed rate.
#[derive(Debug)]
pub struct Pace {
    start: Instant,
    gap_ns: f64,
    sent: u64,
}

impl Pace {
    /// `per_second` requests, the first one at `start`.
    pub fn new(start: Instant, per_second: f64) -> Pace {
        Pace { start, gap_ns: 1e9 / per_second, sent: 0 }
    }

    /// When the next request is to be sent.
    pub fn next(&self) -> Instant {
        self.start + Duration::from_nanos((self.sent as f64 * self.gap_ns) as u64)
    }

    /// Takes the next request if its time has come, and tells when that was.
    pub fn take(&mut self, now: Instant) -> Option<Instant> {
        let next = self.next();
        (next <= now).then(|| {
            self.sent += 1;
            next
        })
    }

    /// Requests whose time came before `now` and that were not taken.
    pub fn overdue(&self, now: Instant) -> u64 {
        let due = now.saturating_duration_since(self.start).as_nanos() as f64 / self.gap_ns;
        (due as u64).saturating_sub(self.sent)
    }
}

/// Wakes at a time to a few microseconds. Tokio's own timers count milliseconds, which would add half of one to
/// every latency measured.
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub struct Alarm(tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>);

#[cfg(target_os = "linux")]
impl Alarm {
    /// An alarm that is not set.
    pub fn new() -> std::io::Result<Alarm> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        #[expect(deprecated, reason = "its successor is unsafe; what that asks for holds: an `OwnedFd` stays open")]
        let timer = tokio::io::unix::AsyncFd::new(timer)?;
        Ok(Alarm(timer))
    }

    /// Waits until `time`.
    pub async fn at(&self, time: Instant) -> std::io::Result<()> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        let wait = time.saturating_duration_since(Instant::now());
        // All zeros would switch the timer off.
        let wait = wait.max(Duration::from_nanos(1));
        let value = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &Itimerspec { it_interval: never, it_value: value })?;
        loop {
            let mut ready = self.0.readable().await?;
            let mut expirations = [0; 8];
            match ready.try_io(|timer| Ok(rustix::io::read(timer, &mut expirations)?)) {
                Ok(read) => return read.map(|_| ()),
                Err(_would_block) => {}
            }
        }
    }
}

/// Wakes at a time to a millisecond.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub struct Alarm;

#[cfg(not(target_os = "linux"))]
impl Alarm {
    /// An alarm that is not set.
    pub fn new() -> std::io::Result<Alarm> {
        Ok(Alarm)
    }

    /// Waits until `time`.
    pub async fn at(&self, time: Instant) -> std::io::Result<()> {
        tokio::time::sleep_until(time).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_fixed_beforehand() {
        let start = Instant::now();
        let mut pace = Pace::new(start, 1000.0);
        assert_eq!(pace.take(start), Some(start));
        assert_eq!(pace.take(start), None);
        let late = start + Duration::from_millis(10);
        assert_eq!(pace.overdue(late), 9);
        assert_eq!(pace.take(late), Some(start + Duration::from_millis(1)));
        assert_eq!(pace.take(late), Some(start + Duration::from_millis(2)));
        assert_eq!(pace.overdue(late), 7);
    }

    #[tokio::test]
    async fn the_alarm_rings_at_its_time_and_can_be_set_again() {
        let alarm = Alarm::new().unwrap();
        for wait in [3, 0, 2] {
            let time = Instant::now() + Duration::from_millis(wait);
            alarm.at(time).await.unwrap();
            assert!(time <= Instant::now());
        }
    }
}
