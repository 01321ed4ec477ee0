//! What a run counted, and what it comes to.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::time::Instant;

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
    /// From a message's birth to its arrival, in milliseconds.
    delivery: Histogram<u64>,
    faults: BTreeMap<String, Fault>,
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
    pub fn new(counted: Range<Instant>) -> Tally {
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
            faults: BTreeMap::new(),
        }
    }

    /// Counts an answer without a fault.
    pub fn answer(&mut self, now: Instant, messages: u64, body_bytes: u64) {
        if self.counted.contains(&now) {
            self.answers += 1;
            self.messages += messages;
            self.body_bytes += body_bytes;
        }
    }

    /// Counts the time between a request's intended send time and its answer.
    pub fn latency(&mut self, intended: Instant, now: Instant) {
        if self.counted.contains(&now) {
            self.latency.saturating_record(now.saturating_duration_since(intended).as_nanos() as u64);
        }
    }

    /// Counts the time between a message's birth and its arrival.
    pub fn delivery(&mut self, now: Instant, micros: i64) {
        if self.counted.contains(&now) {
            self.delivery.saturating_record(micros.max(0).unsigned_abs());
        }
    }

    /// Counts a fault of some kind; `detail` is kept of the first.
    pub fn fault(&mut self, kind: impl Into<String>, detail: impl FnOnce() -> String) {
        self.faults.entry(kind.into()).or_insert_with(|| Fault { count: 0, first: detail() }).count += 1;
    }

    /// Adds the counts of another thread.
    pub fn add(&mut self, other: Tally) {
        self.answers += other.answers;
        self.messages += other.messages;
        self.body_bytes += other.body_bytes;
        self.overdue += other.overdue;
        self.unanswered += other.unanswered;
        // Cannot fail: all histograms have the same bounds.
        let _ = self.latency.add(other.latency);
        let _ = self.delivery.add(other.delivery);
        for (kind, fault) in other.faults {
            self.faults.entry(kind).and_modify(|known| known.count += fault.count).or_insert(fault);
        }
    }

    /// What the counts come to.
    pub fn outcome(&self, cpu_share: f64) -> Outcome {
        let seconds = (self.counted.end - self.counted.start).as_secs_f64();
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
            own_cpu_percent: cpu_share * 100.0,
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
    /// Birth to arrival in milliseconds.
    pub delivery_ms: Option<Quantiles>,
    /// Requests that could not be sent at their time before the run was over.
    pub overdue: u64,
    /// Requests without an answer.
    pub unanswered: u64,
    /// Everything that was not as it should be.
    pub faults: BTreeMap<String, Fault>,
    /// Processor time of the load generator itself, in percent of one core.
    pub own_cpu_percent: f64,
}

impl Outcome {
    /// Whether there were messages and all was as it should be.
    pub fn is_clean(&self) -> bool {
        self.messages > 0 && self.unanswered == 0 && self.faults.is_empty()
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
        let mut tally = Tally::new(start + second..start + 3 * second);
        for at in [0, 1, 2, 3] {
            tally.answer(start + at * second, 10, 100);
            tally.latency(start, start + at * second);
        }
        let mut all = Tally::new(tally.counted.clone());
        all.add(tally);
        let outcome = all.outcome(0.5);
        assert_eq!((outcome.messages, outcome.answers, outcome.messages_per_second), (20, 2, 10.0));
        let latency = outcome.latency_us.unwrap();
        assert!((latency.max - 2e6).abs() < 2e3 && (latency.p50 - 1e6).abs() < 2e3, "{latency:?}");
        assert!(outcome.delivery_ms.is_none() && outcome.is_clean());
    }

    #[test]
    fn faults_are_counted_by_kind_and_the_first_is_kept() {
        let now = Instant::now();
        let mut tally = Tally::new(now..now + Duration::from_secs(1));
        tally.fault("code 2", || "busy".into());
        let mut other = Tally::new(tally.counted.clone());
        other.fault("code 2", || "busier".into());
        tally.add(other);
        let outcome = tally.outcome(0.0);
        assert_eq!((outcome.faults["code 2"].count, outcome.faults["code 2"].first.as_str()), (2, "busy"));
        assert!(!outcome.is_clean());
    }
}
