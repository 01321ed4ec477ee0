//! What a run counted, and what it comes to.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::time::Instant;

use super::progress::Progress;

/// Longest latency that is told apart; longer ones count as this.
const LATENCY_MAX: Duration = Duration::from_secs(120);

/// Counts of one thread, or of all of them together.
#[derive(Debug)]
pub struct Tally {
    /// Answers that arrive in this time are counted; what is before it warms up.
    pub counted: Range<Instant>,
    /// Answers without a fault.
    pub answers: u64,
    /// Messages in those answers, or that those answers are about.
    pub messages: u64,
    /// Bytes of their bodies.
    pub body_bytes: u64,
    /// Requests whose time came and that could not be sent, since the window was full.
    pub overdue: u64,
    /// Requests that got no answer.
    pub unanswered: u64,
    /// From the intended send time to the answer, in nanoseconds.
    latency: Histogram<u64>,
    /// From a message's birth, or the time it was due, to its arrival, in microseconds.
    delivery: Histogram<u64>,
    /// When the last counted answer arrived.
    last_at: Option<Instant>,
    faults: BTreeMap<String, Fault>,
    progress: Arc<Progress>,
}

/// Faults of one kind.
#[derive(Clone, Debug, Serialize)]
pub struct Fault {
    /// How many there were, also while warming up.
    pub count: u64,
    /// What was said about the first one.
    pub first: String,
}

impl Tally {
    /// Nothing counted yet.
    pub fn new(counted: Range<Instant>, progress: Arc<Progress>) -> Tally {
        let histogram = |max: u64| {
            // 3 digits and these bounds are known to be possible.
            Histogram::new_with_bounds(1, max, 3).unwrap_or_else(|error| unreachable!("{error}"))
        };
        Tally {
            counted,
            answers: 0,
            messages: 0,
            body_bytes: 0,
            overdue: 0,
            unanswered: 0,
            latency: histogram(LATENCY_MAX.as_nanos() as u64),
            delivery: histogram(LATENCY_MAX.as_micros() as u64),
            last_at: None,
            faults: BTreeMap::new(),
            progress,
        }
    }

    /// Counts an answer without a fault.
    pub fn answer(&mut self, now: Instant, messages: u64, body_bytes: u64) {
        if self.counted.contains(&now) {
            self.answers += 1;
            self.messages += messages;
            self.body_bytes += body_bytes;
            self.last_at = Some(now);
        }
    }

    /// Counts the time between a request's intended send time and its answer.
    pub fn latency(&mut self, intended: Instant, now: Instant) {
        if self.counted.contains(&now) {
            self.latency.saturating_record(now.saturating_duration_since(intended).as_nanos() as u64);
        }
    }

    /// Counts the time between a message's birth, or when it was due, and its arrival.
    pub fn delivery(&mut self, now: Instant, micros: i64) {
        if self.counted.contains(&now) {
            self.delivery.saturating_record(micros.max(0).unsigned_abs());
        }
    }

    /// Counts a fault of some kind; `detail` is kept of the first.
    pub fn fault(&mut self, kind: impl Into<String>, detail: impl FnOnce() -> String) {
        self.progress.faults.fetch_add(1, Ordering::Relaxed);
        self.faults.entry(kind.into()).or_insert_with(|| Fault { count: 0, first: detail() }).count += 1;
    }

    /// What all threads of the run count together.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Adds the counts of another thread.
    pub fn add(&mut self, other: Tally) {
        self.answers += other.answers;
        self.messages += other.messages;
        self.body_bytes += other.body_bytes;
        self.overdue += other.overdue;
        self.unanswered += other.unanswered;
        self.last_at = self.last_at.max(other.last_at);
        // Cannot fail: all histograms have the same bounds.
        let _ = self.latency.add(other.latency);
        let _ = self.delivery.add(other.delivery);
        for (kind, fault) in other.faults {
            self.faults.entry(kind).and_modify(|known| known.count += fault.count).or_insert(fault);
        }
    }

    /// What the counts come to. Work that ends by itself took until its last answer; other work until the end of the
    /// counted time.
    pub fn outcome(&self, ends_by_itself: bool) -> Outcome {
        let end = self.last_at.filter(|_| ends_by_itself).unwrap_or(self.counted.end);
        let seconds = end.saturating_duration_since(self.counted.start).as_secs_f64().max(1e-9);
        Outcome {
            seconds,
            messages: self.messages,
            messages_per_second: self.messages as f64 / seconds,
            body_bytes_per_second: self.body_bytes as f64 / seconds,
            answers: self.answers,
            latency_us: Quantiles::of(&self.latency, 1e3),
            delivery_ms: Quantiles::of(&self.delivery, 1e3),
            overdue: self.overdue,
            unanswered: self.unanswered,
            faults: self.faults.clone(),
        }
    }
}

/// What a run came to.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Seconds that were counted.
    pub seconds: f64,
    /// Messages.
    pub messages: u64,
    /// Messages per second.
    pub messages_per_second: f64,
    /// Bytes of bodies per second.
    pub body_bytes_per_second: f64,
    /// Answers without a fault.
    pub answers: u64,
    /// Round trips in microseconds, from the intended send time.
    pub latency_us: Option<Quantiles>,
    /// Birth, or the time it was to be sent or delivered, to arrival, in milliseconds.
    pub delivery_ms: Option<Quantiles>,
    /// Requests that could not be sent at their time before the run was over.
    pub overdue: u64,
    /// Requests without an answer.
    pub unanswered: u64,
    /// Everything that was not as it should be.
    pub faults: BTreeMap<String, Fault>,
}

impl Outcome {
    /// The same messages, but in another time.
    pub fn within(self, seconds: f64) -> Outcome {
        let seconds = seconds.max(1e-9);
        let body_bytes = self.body_bytes_per_second * self.seconds;
        Outcome {
            seconds,
            messages_per_second: self.messages as f64 / seconds,
            body_bytes_per_second: body_bytes / seconds,
            ..self
        }
    }

    /// Whether all was as it should be.
    pub fn is_clean(&self) -> bool {
        self.unanswered == 0 && self.faults.is_empty()
    }
}

/// Some points of a distribution.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Quantiles {
    /// Mean.
    pub mean: f64,
    /// Half are below.
    pub p50: f64,
    /// 90 of 100 are below.
    pub p90: f64,
    /// 99 of 100 are below.
    pub p99: f64,
    /// 999 of 1,000 are below.
    pub p999: f64,
    /// 9,999 of 10,000 are below.
    pub p9999: f64,
    /// Largest.
    pub max: f64,
}

impl Quantiles {
    fn of(histogram: &Histogram<u64>, unit: f64) -> Option<Quantiles> {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / unit;
        (!histogram.is_empty()).then(|| Quantiles {
            mean: histogram.mean() / unit,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: histogram.max() as f64 / unit,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_arrives_in_the_counted_time_counts() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut tally = Tally::new(start + second..start + 3 * second, Arc::default());
        for at in [0, 1, 2, 3] {
            tally.answer(start + at * second, 10, 100);
            tally.latency(start, start + at * second);
        }
        let mut all = Tally::new(tally.counted.clone(), Arc::default());
        all.add(tally);
        let outcome = all.outcome(false);
        assert_eq!((outcome.messages, outcome.answers, outcome.messages_per_second), (20, 2, 10.0));
        let latency = outcome.latency_us.unwrap();
        assert!((latency.max - 2e6).abs() < 2e3 && (latency.p50 - 1e6).abs() < 2e3, "{latency:?}");
        assert!(outcome.delivery_ms.is_none() && outcome.is_clean());
        // The last answer that counts came a second after the counted time began.
        assert_eq!(all.outcome(true).messages_per_second, 20.0);
        let within = all.outcome(true).within(4.0);
        assert_eq!((within.messages, within.messages_per_second, within.body_bytes_per_second), (20, 5.0, 50.0));
    }

    #[test]
    fn points_of_a_distribution_are_those_of_its_values() {
        let start = Instant::now();
        let mut tally = Tally::new(start..start + Duration::from_secs(10), Arc::default());
        for micros in 1..=1000 {
            tally.delivery(start, micros);
        }
        // A clock that went back does not make a message faster than at once.
        tally.delivery(start, -5);
        let found = tally.outcome(false).delivery_ms.unwrap();
        for (found, expected) in
            [(found.p50, 0.5), (found.p90, 0.9), (found.p99, 0.99), (found.p999, 0.999), (found.max, 1.0)]
        {
            assert!((found - expected).abs() <= 0.002, "{found} is not {expected}");
        }
    }

    #[test]
    fn faults_are_counted_by_kind_and_the_first_is_kept() {
        let now = Instant::now();
        let mut tally = Tally::new(now..now + Duration::from_secs(1), Arc::default());
        tally.fault("code 2", || "busy".into());
        let mut other = Tally::new(tally.counted.clone(), Arc::default());
        other.fault("code 2", || "busier".into());
        tally.add(other);
        let outcome = tally.outcome(false);
        assert_eq!((outcome.faults["code 2"].count, outcome.faults["code 2"].first.as_str()), (2, "busy"));
        assert!(!outcome.is_clean());
    }
}
