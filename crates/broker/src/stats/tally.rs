//! Counters of topics, and of groups that read them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

use super::history::{Counted, History, Span, Sum};

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
    /// Messages for it that were to wait until they are due.
    pub delayed: AtomicU64,
    /// Those of them that were delivered.
    pub delivered: AtomicU64,
    /// Half messages for it that were committed.
    pub committed: AtomicU64,
    /// Half messages for it that were rolled back.
    pub rolled_back: AtomicU64,
    groups: RwLock<HashMap<String, GroupTallies>>,
}

/// What was counted of a group that reads a topic.
#[derive(Debug, Default)]
pub struct GroupTallies {
    /// What it got.
    pub got: Tally,
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
