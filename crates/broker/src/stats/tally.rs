//! Counters of topics, and of groups that read them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError, RwLock};

use metrics::Histogram;
use metrics::histogram::Scale;

use super::history::{Counted, History, Span, Sum};
use super::queues::{QueueCounts, QueueHistories};
use crate::wait_times;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Bounds of stock brokers for sizes of messages, in bytes.
pub const SIZE_BOUNDS: [u64; 6] = [KIB, 4 * KIB, 512 * KIB, MIB, 2 * MIB, 4 * MIB];

/// A counter and its past.
#[derive(Debug, Default)]
pub struct Tally {
    messages: AtomicU64,
    bytes: AtomicU64,
    times: AtomicU64,
    history: Mutex<History>,
}

impl Tally {
    /// Counts.
    pub fn add(&self, counted: Counted) {
        self.messages.fetch_add(counted.messages, Ordering::Relaxed);
        self.bytes.fetch_add(counted.bytes, Ordering::Relaxed);
        self.times.fetch_add(counted.times, Ordering::Relaxed);
    }

    /// What was counted since the broker started.
    pub fn counted(&self) -> Counted {
        Counted {
            messages: self.messages.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            times: self.times.load(Ordering::Relaxed),
        }
    }

    /// What was counted over a span of time.
    pub fn over(&self, span: Span, now_ms: i64) -> Sum {
        self.history.lock().unwrap_or_else(PoisonError::into_inner).over(span, now_ms, self.counted())
    }

    /// Keeps where the counter stands.
    pub fn sample(&self, now_ms: i64) {
        self.history.lock().unwrap_or_else(PoisonError::into_inner).sample(now_ms, self.counted());
    }
}

/// What was counted of a topic.
#[derive(Debug, Default)]
pub struct TopicTallies {
    /// What was stored in it.
    pub put: Tally,
    /// The same by queue.
    pub queues: QueueHistories,
    /// Messages for it that were to wait until they are due.
    pub delayed: AtomicU64,
    /// Those of them that were delivered.
    pub delivered: AtomicU64,
    /// Half messages for it that were committed.
    pub committed: AtomicU64,
    /// Half messages for it that were rolled back.
    pub rolled_back: AtomicU64,
    /// How large the records are that were stored in it, in bytes.
    sizes: OnceLock<Histogram>,
    /// Time from storing a half message for it to the commit, in seconds.
    commit_times: OnceLock<Histogram>,
    groups: RwLock<HashMap<String, GroupTallies>>,
}

/// What was counted of a group that reads a topic.
#[derive(Debug, Default)]
pub struct GroupTallies {
    /// What it got.
    pub got: Tally,
    /// The same by queue.
    pub got_by_queue: QueueCounts,
    /// What its consumers handed back.
    pub sent_back: Tally,
    /// What it gave up on, as a consumer wanted or after the last attempt.
    pub dead: Tally,
    /// Messages handed out one by one that its consumers acknowledged.
    pub acked: Tally,
    /// How often its consumers changed when such a message comes back.
    pub postponed: Tally,
}

impl TopicTallies {
    /// How large the records are that were stored in it; the first that asks begins with that.
    pub fn sizes(&self) -> &Histogram {
        self.sizes.get_or_init(|| Histogram::new(Scale::Plain, &SIZE_BOUNDS))
    }

    /// How large the records are that were stored in it, if any were.
    pub fn known_sizes(&self) -> Option<&Histogram> {
        self.sizes.get()
    }

    /// Time from storing half messages for it to their commits; the first that asks begins with that.
    pub fn commit_times(&self) -> &Histogram {
        self.commit_times.get_or_init(wait_times::commit_times)
    }

    /// Time from storing half messages for it to their commits, if there were any.
    pub fn known_commit_times(&self) -> Option<&Histogram> {
        self.commit_times.get()
    }

    /// Calls `with` with what was counted of a group, which begins with that if need be.
    pub fn with_group<T>(&self, group: &str, with: impl Fn(&GroupTallies) -> T) -> T {
        if let Some(known) = self.known_group(group, &with) {
            return known;
        }
        let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        with(groups.entry(group.to_owned()).or_default())
    }

    /// Calls `with` with what was counted of a group, if anything was.
    pub fn known_group<T>(&self, group: &str, with: impl Fn(&GroupTallies) -> T) -> Option<T> {
        self.groups.read().unwrap_or_else(PoisonError::into_inner).get(group).map(with)
    }

    /// What each group got.
    pub fn got_by_group(&self) -> Vec<(String, Counted)> {
        let groups = self.groups.read().unwrap_or_else(PoisonError::into_inner);
        groups.iter().map(|(name, of_group)| (name.clone(), of_group.got.counted())).collect()
    }

    /// Forgets a group.
    pub fn forget_group(&self, group: &str) {
        self.groups.write().unwrap_or_else(PoisonError::into_inner).remove(group);
    }

    /// Keeps where the counters stand.
    pub fn sample(&self, now_ms: i64) {
        self.put.sample(now_ms);
        for group in self.groups.read().unwrap_or_else(PoisonError::into_inner).values() {
            for tally in [&group.got, &group.sent_back, &group.dead, &group.acked, &group.postponed] {
                tally.sample(now_ms);
            }
            group.got_by_queue.sample(now_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_counted_by_topic_until_it_is_forgotten() {
        let tallies = TopicTallies::default();
        let one = Counted { messages: 2, bytes: 300, times: 1 };
        assert!(tallies.known_group("g", |_| ()).is_none());
        tallies.with_group("g", |of_group| of_group.got.add(one));
        tallies.with_group("g", |of_group| of_group.got.add(one));
        let got = tallies.known_group("g", |of_group| of_group.got.counted());
        assert_eq!(got, Some(Counted { messages: 4, bytes: 600, times: 2 }));
        assert_eq!(tallies.got_by_group(), [("g".to_owned(), got.unwrap())]);
        tallies.forget_group("g");
        assert!(tallies.known_group("g", |_| ()).is_none());
    }
}
