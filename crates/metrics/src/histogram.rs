//! A histogram that many threads add to.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// In what unit a histogram keeps its values, and how it shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// As they are.
    Plain,
    /// Microseconds, shown as milliseconds.
    MicrosAsMillis,
    /// Nanoseconds, shown as seconds.
    NanosAsSeconds,
}

impl Scale {
    fn units_per_shown(self) -> f64 {
        match self {
            Scale::Plain => 1.0,
            Scale::MicrosAsMillis => 1e3,
            Scale::NanosAsSeconds => 1e9,
        }
    }
}

/// How many values fell below which bound. Adding to it is two atomic additions.
#[derive(Debug)]
pub struct Histogram {
    scale: Scale,
    /// Upper bounds, inclusive, ascending, in the unit of the values.
    bounds: &'static [u64],
    /// Values by bound; the last are those above all bounds.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// What a histogram held at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Upper bounds, as shown.
    pub bounds: Vec<f64>,
    /// Values up to each bound, those up to lower bounds included; the last are all values.
    pub cumulative: Vec<u64>,
    /// Sum of all values, as shown.
    pub sum: f64,
}

impl Histogram {
    /// An empty histogram; `bounds` ascend and are in the unit of the values.
    pub fn new(scale: Scale, bounds: &'static [u64]) -> Histogram {
        debug_assert!(bounds.is_sorted());
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Histogram { scale, bounds, counts, sum: AtomicU64::new(0) }
    }

    /// Adds a value.
    pub fn observe(&self, value: u64) {
        self.observe_many(value, 1);
    }

    /// Adds the same value several times.
    pub fn observe_many(&self, value: u64, times: u64) {
        let index = self.bounds.partition_point(|bound| *bound < value);
        self.counts[index].fetch_add(times, Ordering::Relaxed);
        self.sum.fetch_add(value.wrapping_mul(times), Ordering::Relaxed);
    }

    /// Adds values that were sorted before: how many fell below which bound, the last those above all of them, and the
    /// sum of all.
    pub fn observe_sorted(&self, counts: &[u32], sum: u64) {
        debug_assert_eq!(counts.len(), self.counts.len());
        for (of_bucket, count) in self.counts.iter().zip(counts).filter(|(_, count)| **count > 0) {
            of_bucket.fetch_add(u64::from(*count), Ordering::Relaxed);
        }
        self.sum.fetch_add(sum, Ordering::Relaxed);
    }

    /// Adds a time. A histogram of [`Scale::Plain`] takes it in milliseconds.
    pub fn observe_time(&self, time: Duration) {
        self.observe_time_many(time, 1);
    }

    /// Adds the same time several times.
    pub fn observe_time_many(&self, time: Duration, times: u64) {
        let value = match self.scale {
            Scale::Plain => time.as_millis(),
            Scale::MicrosAsMillis => time.as_micros(),
            Scale::NanosAsSeconds => time.as_nanos(),
        };
        self.observe_many(value as u64, times);
    }

    /// What it holds now. Values that are added meanwhile may be counted and not yet in the sum.
    pub fn read(&self) -> Reading {
        let per_shown = self.scale.units_per_shown();
        let mut count = 0;
        let cumulative = self.counts.iter().map(|of_bucket| {
            count += of_bucket.load(Ordering::Relaxed);
            count
        });
        Reading {
            cumulative: cumulative.collect(),
            bounds: self.bounds.iter().map(|bound| *bound as f64 / per_shown).collect(),
            sum: self.sum.load(Ordering::Relaxed) as f64 / per_shown,
        }
    }

    /// How many values it has.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_for_every_bound_that_is_not_below_it() {
        let histogram = Histogram::new(Scale::Plain, &[10, 20]);
        for value in [0, 10, 11, 20, 21, 1_000] {
            histogram.observe(value);
        }
        histogram.observe_many(15, 3);
        let read = histogram.read();
        assert_eq!((read.bounds, read.cumulative), (vec![10.0, 20.0], vec![2, 7, 9]));
        assert_eq!((read.sum, histogram.count()), (1_107.0, 9));
        histogram.observe_sorted(&[1, 0, 2], 100);
        assert_eq!((histogram.read().cumulative, histogram.read().sum), (vec![3, 8, 12], 1_207.0));
    }

    #[test]
    fn times_are_shown_in_the_unit_of_their_name() {
        let histogram = Histogram::new(Scale::NanosAsSeconds, &[1_000_000, 1_000_000_000]);
        histogram.observe_time(Duration::from_micros(500));
        histogram.observe_time_many(Duration::from_secs(2), 2);
        let read = histogram.read();
        assert_eq!((read.bounds, read.cumulative, read.sum), (vec![0.001, 1.0], vec![1, 1, 3], 4.0005));
        let histogram = Histogram::new(Scale::MicrosAsMillis, &[1_000]);
        histogram.observe_time(Duration::from_micros(1_500));
        assert_eq!((histogram.read().bounds, histogram.read().sum), (vec![1.0], 1.5));
    }
}
