//! Messages by queue: stored in it, or given to a group.
//!
//! What is stored counts nothing here: a queue knows its next offset, and the upkeep looks at those that moved. A
//! history begins when a queue moves, and is dropped when it has not for a day.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use super::history::{Counted, History, SAMPLE_EVERY_MS, Span, Sum};

/// Queues of a topic, or of a group in it, that have a history: it takes up to 2 KiB, and topics may have thousands of
/// queues. Of others the messages since the last sample are known.
const HISTORIES_MAX: usize = 64;

/// Where queues stood at earlier times: of a topic, or of a group that reads it.
#[derive(Debug, Default)]
pub struct QueueHistories(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// By queue id. Queues that are not there stood at 0, and never moved.
    stands: Vec<Stand>,
    /// Of the queues that moved within a day, by id.
    moved: BTreeMap<usize, History>,
    /// What the caller gave to [`QueueHistories::is_at_rest`] for the last sample.
    mark: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Stand {
    /// Where the queue stood when the broker started.
    first: u64,
    /// Where it stood at the last sample.
    last: u64,
}

impl Stand {
    /// The history of a queue that did not move until the sample that is ten seconds past.
    fn history(self, now_ms: i64) -> History {
        History::standing_at(now_ms - SAMPLE_EVERY_MS, since_start(self, self.last))
    }
}

impl QueueHistories {
    /// That is where a queue stands, before anything is counted.
    pub fn begin_at(&self, queue: usize, stands_at: u64) {
        self.lock().set(queue, Stand { first: stands_at, last: stands_at });
    }

    /// Whether a sample would find nothing new. `mark` is anything that changes when a queue moves.
    pub fn is_at_rest(&self, mark: u64) -> bool {
        let state = self.lock();
        state.moved.is_empty() && state.mark == mark
    }

    /// Keeps where queues stand, by id; all that there are.
    pub fn sample(&self, now_ms: i64, mark: u64, stands: impl IntoIterator<Item = (usize, u64)>) {
        let mut state = self.lock();
        state.mark = mark;
        for (queue, at) in stands {
            let stand = state.stand(queue);
            if stand.last != at {
                let has_room = state.moved.len() < HISTORIES_MAX;
                if let (true, Entry::Vacant(entry)) = (has_room, state.moved.entry(queue)) {
                    entry.insert(stand.history(now_ms));
                }
                state.set(queue, Stand { last: at, ..stand });
            }
            if let Some(history) = state.moved.get_mut(&queue) {
                history.sample(now_ms, since_start(stand, at));
            }
        }
        state.moved.retain(|_, history| !history.is_idle());
    }

    /// Messages of a queue that stands at `at` over a span of time; `None` if it never moved.
    pub fn over(&self, span: Span, now_ms: i64, queue: usize, at: u64) -> Option<Sum> {
        let state = self.lock();
        let stand = state.stand(queue);
        let counted = since_start(stand, at);
        let standing = stand.history(now_ms);
        let history = state.moved.get(&queue).unwrap_or(&standing);
        (counted.messages > 0).then(|| history.over(span, now_ms, counted))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn stand(&self, queue: usize) -> Stand {
        self.stands.get(queue).copied().unwrap_or_default()
    }

    fn set(&mut self, queue: usize, stand: Stand) {
        if self.stands.len() <= queue {
            self.stands.resize(queue + 1, Stand::default());
        }
        self.stands[queue] = stand;
    }
}

/// Offsets say nothing of requests, so that each message counts as one.
fn since_start(stand: Stand, at: u64) -> Counted {
    let messages = at.saturating_sub(stand.first);
    Counted { messages, bytes: 0, times: messages }
}

/// Messages that a group got, by queue.
#[derive(Debug, Default)]
pub struct QueueCounts {
    /// By queue id.
    got: RwLock<Vec<AtomicU64>>,
    histories: QueueHistories,
}

impl QueueCounts {
    /// The group got messages of a queue. The id is one that the topic has.
    pub fn add(&self, queue: usize, messages: u64) {
        let add = |got: &[AtomicU64]| got.get(queue).map(|count| count.fetch_add(messages, Ordering::Relaxed));
        if add(&self.got.read().unwrap_or_else(PoisonError::into_inner)).is_none() {
            let mut got = self.got.write().unwrap_or_else(PoisonError::into_inner);
            if got.len() <= queue {
                got.resize_with(queue + 1, AtomicU64::default);
            }
            add(&got);
        }
    }

    /// Keeps where the counters stand.
    pub fn sample(&self, now_ms: i64) {
        let got = self.got.read().unwrap_or_else(PoisonError::into_inner);
        let stands = got.iter().map(|count| count.load(Ordering::Relaxed));
        let mark = stands.clone().sum();
        if !self.histories.is_at_rest(mark) {
            self.histories.sample(now_ms, mark, stands.enumerate());
        }
    }

    /// Messages of a queue that the group got over a span of time; `None` if it never got any.
    pub fn over(&self, span: Span, now_ms: i64, queue: usize) -> Option<Sum> {
        let got = self.got.read().unwrap_or_else(PoisonError::into_inner);
        let at = got.get(queue)?.load(Ordering::Relaxed);
        self.histories.over(span, now_ms, queue, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(sum: Option<Sum>) -> Option<u64> {
        sum.map(|sum| sum.counted.messages)
    }

    #[test]
    fn only_what_came_since_the_start_counts() {
        let queues = QueueHistories::default();
        queues.begin_at(1, 500);
        assert_eq!(messages(queues.over(Span::Minute, 1_000, 1, 500)), None);
        assert_eq!(messages(queues.over(Span::Minute, 1_000, 1, 503)), Some(3));
        queues.sample(10_000, 1, [(0, 0), (1, 510)]);
        assert_eq!(messages(queues.over(Span::Minute, 10_000, 0, 0)), None);
        assert_eq!(messages(queues.over(Span::Minute, 11_000, 1, 511)), Some(11));
        // A queue that is new began at 0.
        queues.sample(20_000, 2, [(0, 0), (1, 511), (2, 7)]);
        assert_eq!(messages(queues.over(Span::Minute, 20_000, 2, 7)), Some(7));
    }

    #[test]
    fn of_a_topic_with_very_many_queues_some_have_a_history() {
        let queues = QueueHistories::default();
        let all = |at| (0..1_000).map(move |queue| (queue, at));
        queues.sample(10_000, 1, all(5));
        queues.sample(20_000, 2, all(9));
        assert_eq!(queues.lock().moved.len(), HISTORIES_MAX);
        assert_eq!(messages(queues.over(Span::Minute, 21_000, 0, 12)), Some(12));
        assert_eq!(messages(queues.over(Span::Minute, 21_000, 999, 12)), Some(3));
    }

    #[test]
    fn a_queue_that_rests_for_a_day_takes_no_room_and_still_knows_where_it_stood() {
        let queues = QueueHistories::default();
        let mut now_ms = 0;
        let mut sample = |at| {
            now_ms += SAMPLE_EVERY_MS;
            queues.sample(now_ms, at, [(0, at)]);
            now_ms
        };
        sample(9);
        assert!(!queues.is_at_rest(9));
        (0..2 * 8_640).for_each(|_| _ = sample(9));
        assert!(queues.is_at_rest(9) && !queues.is_at_rest(10));
        let now_ms = sample(10);
        let sums = [Span::Minute, Span::Day].map(|span| messages(queues.over(span, now_ms, 0, 12)));
        assert_eq!(sums, [Some(3), Some(3)]);
    }

    #[test]
    fn a_group_is_counted_by_queue() {
        let counts = QueueCounts::default();
        counts.add(2, 5);
        counts.add(2, 1);
        counts.add(0, 4);
        counts.sample(SAMPLE_EVERY_MS);
        let got = |queue| messages(counts.over(Span::Hour, SAMPLE_EVERY_MS, queue));
        assert_eq!([got(0), got(1), got(2), got(3)], [Some(4), None, Some(6), None]);
    }
}
