//! What happened since the start, counted.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::creation_times::CreationTimes;
use crate::rpc_latency::RpcLatency;
use crate::wait_times::WaitTimes;

/// Counters of a broker.
#[derive(Debug, Default)]
pub struct Counters {
    /// Messages stored for clients.
    pub messages_in: AtomicU64,
    /// Bytes of their records.
    pub bytes_in: AtomicU64,
    /// Messages handed to consumers.
    pub messages_out: AtomicU64,
    /// Bytes of their records.
    pub bytes_out: AtomicU64,
    /// Pulls answered with messages.
    pub pulls_found: AtomicU64,
    /// Pulls answered without.
    pub pulls_missed: AtomicU64,
    /// Sends refused.
    pub sends_refused: AtomicU64,
    /// Messages handed back by consumers.
    pub sent_back: AtomicU64,
    /// Delayed messages that producers took back.
    pub recalled: AtomicU64,
    /// Producers asked about half messages.
    pub transaction_checks: AtomicU64,
    /// Requests with a code that nobody knows.
    pub unknown_requests: AtomicU64,
    /// Headers that could not be read.
    pub unreadable_headers: AtomicU64,
    /// Connections closed because what arrived was no frame, or a frame with an unreadable header.
    pub protocol_closes: AtomicU64,
    /// How long requests took.
    pub rpc_latency: RpcLatency,
    /// How long it takes to create topics.
    pub topic_creations: Arc<CreationTimes>,
    /// How long it takes to create consumer groups.
    pub group_creations: Arc<CreationTimes>,
    /// How long messages wait.
    pub wait_times: WaitTimes,
    samples: Mutex<VecDeque<Sample>>,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    at_ms: i64,
    messages_in: u64,
    messages_out: u64,
    pulls_found: u64,
    pulls_missed: u64,
}

/// Which rate is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// Messages stored.
    MessagesIn,
    /// Messages handed out.
    MessagesOut,
    /// Pulls that found something.
    PullsFound,
    /// Pulls that found nothing.
    PullsMissed,
}

/// Spans over which rates are told, in seconds.
const SPANS_S: [i64; 3] = [10, 60, 600];

impl Counters {
    /// Notes where the counters stand; called about once a second.
    pub fn sample(&self, now_ms: i64) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.push_back(Sample {
            at_ms: now_ms,
            messages_in: self.messages_in.load(Ordering::Relaxed),
            messages_out: self.messages_out.load(Ordering::Relaxed),
            pulls_found: self.pulls_found.load(Ordering::Relaxed),
            pulls_missed: self.pulls_missed.load(Ordering::Relaxed),
        });
        while samples.front().is_some_and(|oldest| now_ms - oldest.at_ms > SPANS_S[2] * 1000) {
            samples.pop_front();
        }
    }

    /// Counters that upstream has no name for, by the name that GET_BROKER_RUNTIME_INFO shows; tools leave out keys
    /// that they do not know.
    pub fn own(&self) -> [(&'static str, String); 6] {
        let text = |counter: &AtomicU64| counter.load(Ordering::Relaxed).to_string();
        [
            ("apogee.protocolCloses", text(&self.protocol_closes)),
            ("apogee.unreadableHeaders", text(&self.unreadable_headers)),
            ("apogee.unknownRequests", text(&self.unknown_requests)),
            ("apogee.sentBack", text(&self.sent_back)),
            ("apogee.recalled", text(&self.recalled)),
            ("apogee.transactionChecks", text(&self.transaction_checks)),
        ]
    }

    /// Rates per second over 10, 60 and 600 seconds; a span that the process is too young for is left out.
    pub fn rates(&self, rate: Rate) -> Vec<f64> {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = samples.back() else { return vec![0.0] };
        let count = |sample: &Sample| match rate {
            Rate::MessagesIn => sample.messages_in,
            Rate::MessagesOut => sample.messages_out,
            Rate::PullsFound => sample.pulls_found,
            Rate::PullsMissed => sample.pulls_missed,
        };
        let over = |span_s: i64| {
            let first = samples.iter().find(|sample| last.at_ms - sample.at_ms <= span_s * 1000)?;
            let ms = last.at_ms - first.at_ms;
            (ms > 0).then(|| (count(last) - count(first)) as f64 * 1000.0 / ms as f64)
        };
        let age_ms = last.at_ms - samples.front().map_or(last.at_ms, |first| first.at_ms);
        let rates: Vec<f64> = SPANS_S
            .into_iter()
            .filter(|span_s| *span_s == SPANS_S[0] || age_ms >= (span_s - 2) * 1000)
            .filter_map(over)
            .collect();
        if rates.is_empty() { vec![0.0] } else { rates }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_without_a_name_of_upstream_have_one_of_our_own() {
        let counters = Counters {
            protocol_closes: 1.into(),
            unreadable_headers: 2.into(),
            unknown_requests: 3.into(),
            sent_back: 4.into(),
            recalled: 6.into(),
            transaction_checks: 5.into(),
            ..Counters::default()
        };
        let expected = [
            ("apogee.protocolCloses", "1"),
            ("apogee.unreadableHeaders", "2"),
            ("apogee.unknownRequests", "3"),
            ("apogee.sentBack", "4"),
            ("apogee.recalled", "6"),
            ("apogee.transactionChecks", "5"),
        ];
        assert_eq!(counters.own(), expected.map(|(key, value)| (key, value.to_owned())));
    }

    #[test]
    fn rates_are_told_over_the_spans_the_process_is_old_enough_for() {
        let counters = Counters::default();
        assert_eq!(counters.rates(Rate::MessagesIn), [0.0]);
        for second in 0..=100 {
            counters.messages_in.store(second * 5, Ordering::Relaxed);
            counters.sample(second as i64 * 1000);
        }
        assert_eq!(counters.rates(Rate::MessagesIn), [5.0, 5.0]);
        assert_eq!(counters.rates(Rate::MessagesOut), [0.0, 0.0]);
    }
}
