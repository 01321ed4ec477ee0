//! When messages are to be sent.
//!
//! At a fixed rate the times are fixed beforehand. A message that goes out late, because the broker was slow with
//! the ones before, is measured from the time at which it should have gone: otherwise a broker that stalls would
//! look better than it is, since nothing is sent and so nothing is measured while it stalls.

use std::time::Duration;

use tokio::time::Instant;

/// How fast messages are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// Closed loop: as many as the window allows.
    Max,
    /// Open loop: so many messages a second over all connections.
    PerSecond(f64),
}

impl std::str::FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        if text == "max" {
            return Ok(Rate::Max);
        }
        let rate: f64 = text.parse().map_err(|_| format!("`{text}` is no number and not `max`"))?;
        match (0.1..=1e9).contains(&rate) {
            true => Ok(Rate::PerSecond(rate)),
            false => Err("between 0.1 and 1,000,000,000, or `max`".into()),
        }
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Rate::Max => f.write_str("closed loop"),
            Rate::PerSecond(rate) => write!(f, "{} msg/s intended", crate::output::grouped(*rate as u64)),
        }
    }
}

impl Rate {
    /// The pace of one of `connections` whose requests carry `batch` messages. Connections take turns instead of
    /// all sending at once.
    pub fn pace(self, start: Instant, number: u32, connections: u32, batch: u32) -> Option<Pace> {
        let Rate::PerSecond(rate) = self else { return None };
        let requests = rate / f64::from(batch) / f64::from(connections);
        let turn = f64::from(number) / f64::from(connections) / requests;
        Some(Pace::new(start + Duration::from_secs_f64(turn), requests))
    }
}

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

    #[test]
    fn connections_take_turns() {
        let start = Instant::now();
        let rate = Rate::PerSecond(1000.0);
        let first = |number| rate.pace(start, number, 4, 10).unwrap().next() - start;
        assert_eq!([0, 1, 3].map(first), [0, 10, 30].map(Duration::from_millis));
        let mut pace = rate.pace(start, 1, 4, 10).unwrap();
        pace.take(start + Duration::from_secs(1));
        assert_eq!(pace.next() - start, Duration::from_millis(50));
        assert!(Rate::Max.pace(start, 0, 1, 1).is_none());
    }

    #[test]
    fn rates_are_numbers_or_as_much_as_possible() {
        assert_eq!("max".parse(), Ok(Rate::Max));
        assert_eq!("1e3".parse(), Ok(Rate::PerSecond(1000.0)));
        for text in ["", "0", "-1", "NaN", "2e9", "many"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
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
