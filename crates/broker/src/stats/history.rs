//! Where a counter stood at earlier times.

use std::collections::VecDeque;

/// How often a counter is looked at, in milliseconds.
pub const SAMPLE_EVERY_MS: i64 = 10_000;

/// What was counted since the broker started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Messages.
    pub messages: u64,
    /// Bytes of their records.
    pub bytes: u64,
    /// Requests that brought or got them.
    pub times: u64,
}

impl Counted {
    fn since(self, earlier: Counted) -> Counted {
        Counted {
            messages: self.messages.saturating_sub(earlier.messages),
            bytes: self.bytes.saturating_sub(earlier.bytes),
            times: self.times.saturating_sub(earlier.times),
        }
    }
}

/// A span of time that ends now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day.
    Day,
}

impl Span {
    const ALL: [Span; 3] = [Span::Minute, Span::Hour, Span::Day];

    fn length_ms(self) -> i64 {
        match self {
            Span::Minute => 60_000,
            Span::Hour => 3_600_000,
            Span::Day => 24 * 3_600_000,
        }
    }

    /// How far samples of the span lie apart, as upstream keeps them.
    fn every_ms(self) -> i64 {
        match self {
            Span::Minute => SAMPLE_EVERY_MS,
            Span::Hour => 600_000,
            Span::Day => 3_600_000,
        }
    }
}

/// What was counted over a span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// What was counted.
    pub counted: Counted,
    /// Milliseconds over which it was: less than the span, where less is known, and never 0.
    pub elapsed_ms: i64,
}

impl Sum {
    /// Messages per second.
    pub fn messages_per_second(self) -> f64 {
        self.counted.messages as f64 * 1000.0 / self.elapsed_ms.max(1) as f64
    }

    /// Bytes per second.
    pub fn bytes_per_second(self) -> f64 {
        self.counted.bytes as f64 * 1000.0 / self.elapsed_ms.max(1) as f64
    }
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at_ms: i64,
    counted: Counted,
}

/// Where one counter stood at earlier times. Takes no room while nothing is counted for a day.
#[derive(Debug, Default)]
pub struct History {
    seen: Option<Sample>,
    /// By span; each has at least one sample, the oldest first.
    rings: Option<Box<[VecDeque<Sample>; 3]>>,
}

impl History {
    /// A history of a counter that stood there, and for long.
    pub fn standing_at(at_ms: i64, counted: Counted) -> History {
        History { seen: Some(Sample { at_ms, counted }), rings: None }
    }

    /// Whether nothing was counted for a day, or ever.
    pub fn is_idle(&self) -> bool {
        self.rings.is_none()
    }

    /// Keeps where the counter stands. To be called every [`SAMPLE_EVERY_MS`].
    pub fn sample(&mut self, now_ms: i64, counted: Counted) {
        if self.seen.is_some_and(|seen| now_ms < seen.at_ms) {
            // The clock was set back: times of before mean nothing any more.
            self.rings = None;
            self.seen = Some(Sample { at_ms: now_ms, counted });
            return;
        }
        let base = self.base(now_ms);
        if self.rings.is_none() && counted != base.counted {
            self.rings = Some(Box::new(Span::ALL.map(|_| VecDeque::from([base]))));
        }
        self.seen = Some(Sample { at_ms: now_ms, counted });
        let Some(rings) = &mut self.rings else { return };
        for (span, ring) in Span::ALL.into_iter().zip(rings.iter_mut()) {
            if ring.back().is_none_or(|last| now_ms - last.at_ms >= span.every_ms()) {
                ring.push_back(Sample { at_ms: now_ms, counted });
            }
            while ring.len() > 1 && ring.front().is_some_and(|oldest| now_ms - oldest.at_ms > span.length_ms()) {
                ring.pop_front();
            }
        }
        let day = &rings[Span::Day as usize];
        if day.front().is_some_and(|oldest| oldest.counted == counted) {
            self.rings = None;
        }
    }

    /// What was counted over a span of time, for a counter that stands at `counted` now.
    pub fn over(&self, span: Span, now_ms: i64, counted: Counted) -> Sum {
        let ring = self.rings.as_ref().map(|rings| &rings[span as usize]);
        let first = ring.and_then(|ring| ring.iter().find(|sample| now_ms - sample.at_ms <= span.length_ms()));
        // Who is not sampled in time is not asked about a time that is past.
        let first = first.copied().unwrap_or_else(|| self.base(now_ms));
        Sum { counted: counted.since(first.counted), elapsed_ms: (now_ms - first.at_ms).max(1) }
    }

    /// Where the counter stood when it was seen last; one that was never seen began within the last ten seconds.
    fn base(&self, now_ms: i64) -> Sample {
        self.seen.unwrap_or(Sample { at_ms: now_ms - SAMPLE_EVERY_MS, counted: Counted::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(messages: u64) -> Counted {
        Counted { messages, bytes: messages * 100, times: messages / 2 }
    }

    /// A history of a counter that grows by `per_sample` for `samples` samples; and when and where that ends.
    fn growing(per_sample: u64, samples: i64) -> (History, i64, Counted) {
        let mut history = History::default();
        let (mut now_ms, mut messages) = (1_000_000, 0);
        history.sample(now_ms, counted(0));
        for _ in 0..samples {
            now_ms += SAMPLE_EVERY_MS;
            messages += per_sample;
            history.sample(now_ms, counted(messages));
        }
        (history, now_ms, counted(messages))
    }

    #[test]
    fn a_steady_counter_has_the_same_rate_over_every_span() {
        let (history, now_ms, counted) = growing(20, 3 * 8_640);
        for (span, messages) in [(Span::Minute, 120), (Span::Hour, 7_200), (Span::Day, 172_800)] {
            let sum = history.over(span, now_ms, counted);
            assert_eq!((sum.counted.messages, sum.messages_per_second()), (messages, 2.0), "{span:?}");
            assert_eq!((sum.counted.times, sum.bytes_per_second()), (messages / 2, 200.0), "{span:?}");
        }
    }

    #[test]
    fn what_is_counted_now_shows_at_once() {
        let history = History::default();
        let sum = history.over(Span::Day, 5_000_000, counted(10));
        assert_eq!((sum.counted, sum.messages_per_second()), (counted(10), 1.0));
        let (history, now_ms, before) = growing(5, 1);
        let after = Counted { messages: before.messages + 40, ..before };
        assert_eq!(history.over(Span::Minute, now_ms + 5_000, after).counted.messages, 45);
    }

    #[test]
    fn what_is_older_than_the_span_does_not_count() {
        let (mut history, mut now_ms, counted) = growing(20, 100);
        for _ in 0..7 {
            now_ms += SAMPLE_EVERY_MS;
            history.sample(now_ms, counted);
        }
        assert_eq!(history.over(Span::Minute, now_ms, counted).counted.messages, 0);
        assert_eq!(history.over(Span::Hour, now_ms, counted).counted.messages, 2_000);
    }

    #[test]
    fn a_counter_that_stands_still_for_a_day_takes_no_room_and_counts_on_from_there() {
        let (mut history, mut now_ms, at) = growing(20, 10);
        assert!(history.rings.is_some());
        for _ in 0..9_100 {
            now_ms += SAMPLE_EVERY_MS;
            history.sample(now_ms, at);
        }
        assert!(history.rings.is_none());
        let more = counted(at.messages + 3);
        assert_eq!(history.over(Span::Day, now_ms + 1, more).counted.messages, 3);
        history.sample(now_ms + SAMPLE_EVERY_MS, more);
        assert_eq!(history.over(Span::Day, now_ms + SAMPLE_EVERY_MS, more).counted.messages, 3);
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_rate_out_of_nothing() {
        let (mut history, now_ms, at) = growing(20, 10);
        history.sample(now_ms - 7_200_000, at);
        assert_eq!(history.over(Span::Hour, now_ms - 7_200_000, at).counted.messages, 0);
    }

    #[test]
    fn few_samples_are_kept() {
        let (history, ..) = growing(1, 3 * 8_640);
        let kept = history.rings.unwrap().map(|ring| ring.len());
        assert_eq!(kept, [7, 7, 25]);
    }
}
