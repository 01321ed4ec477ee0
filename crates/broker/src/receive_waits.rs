//! Receive calls that wait for messages: who waits for which group and topic, until when. A pure core.
//!
//! A message wakes one waiter of each group, not all of them: whoever took messages and left some wakes the next.
//!
//! Source: `broker/.../longpolling/PopLongPollingService.java`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use log::QueueNumber;

/// Waiters of one group and topic, at most.
const WAITERS_OF_ONE_MAX: usize = 5_000;
/// Waiters in all, at most.
const WAITERS_MAX: usize = 100_000;

/// Names a waiter until it was woken or forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaiterId(u64);

/// Which messages of its group and topic a waiter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanted {
    /// Those of any queue.
    Any,
    /// Those of one queue.
    Queue(QueueNumber),
}

/// Everybody who waits. `W` is what the shell needs to wake one.
#[derive(Debug)]
pub struct Waits<W> {
    /// By the number of group and topic together.
    topics: HashMap<u64, Topic>,
    by_queue: HashMap<QueueNumber, Vec<u64>>,
    waiters: HashMap<WaiterId, Waiter<W>>,
    deadlines: BTreeSet<(i64, WaiterId)>,
    next_id: u64,
}

#[derive(Debug, Default)]
struct Topic {
    /// Queues in whose list of `by_queue` it is.
    queues: BTreeSet<QueueNumber>,
    waiting: BTreeMap<Wanted, BTreeSet<WaiterId>>,
    count: usize,
}

#[derive(Debug)]
struct Waiter<W> {
    topic: u64,
    wanted: Wanted,
    deadline_ms: i64,
    wake: W,
}

impl<W> Default for Waits<W> {
    fn default() -> Self {
        Waits {
            topics: HashMap::new(),
            by_queue: HashMap::new(),
            waiters: HashMap::new(),
            deadlines: BTreeSet::new(),
            next_id: 0,
        }
    }
}

impl<W> Waits<W> {
    /// Waits for messages of `queues`, which are all that the topic has now, or for the deadline. Gives `wake` back when too
    /// many wait already.
    pub fn wait(
        &mut self,
        topic: u64,
        queues: &[QueueNumber],
        wanted: Wanted,
        deadline_ms: i64,
        wake: W,
    ) -> Result<WaiterId, W> {
        let waiters = self.topics.get(&topic).map_or(0, |entry| entry.count);
        if WAITERS_OF_ONE_MAX <= waiters || WAITERS_MAX <= self.waiters.len() {
            return Err(wake);
        }
        let entry = self.topics.entry(topic).or_default();
        for queue in queues {
            if entry.queues.insert(*queue) {
                self.by_queue.entry(*queue).or_default().push(topic);
            }
        }
        let id = WaiterId(self.next_id);
        self.next_id += 1;
        entry.count += 1;
        entry.waiting.entry(wanted).or_default().insert(id);
        self.deadlines.insert((deadline_ms, id));
        self.waiters.insert(id, Waiter { topic, wanted, deadline_ms, wake });
        Ok(id)
    }

    /// A message arrived in a queue: takes out one waiter of each group.
    pub fn arrived(&mut self, queue: QueueNumber, woken: &mut Vec<W>) {
        for topic in self.by_queue.get(&queue).cloned().unwrap_or_default() {
            woken.extend(self.next(topic, Some(queue)));
        }
    }

    /// Takes out the waiter that waits longest for messages of a queue, or of any.
    pub fn next(&mut self, topic: u64, queue: Option<QueueNumber>) -> Option<W> {
        let waiting = &self.topics.get(&topic)?.waiting;
        let first = |wanted: &Wanted| waiting.get(wanted).and_then(BTreeSet::first).copied();
        let id = match queue {
            Some(queue) => first(&Wanted::Queue(queue)).or_else(|| first(&Wanted::Any)),
            None => first(&Wanted::Any).or_else(|| waiting.keys().find_map(first)),
        }?;
        self.forget(id)
    }

    /// Takes out everybody who waits for a topic.
    pub fn take_all(&mut self, topic: u64, woken: &mut Vec<W>) {
        while let Some(wake) = self.next(topic, None) {
            woken.push(wake);
        }
    }

    /// Takes out those whose deadline has come.
    pub fn expired(&mut self, now_ms: i64, woken: &mut Vec<W>) {
        while let Some((_, id)) = self.deadlines.first().copied().filter(|(at_ms, _)| *at_ms <= now_ms) {
            woken.extend(self.forget(id));
        }
    }

    /// Takes a waiter out.
    pub fn forget(&mut self, id: WaiterId) -> Option<W> {
        let Waiter { topic, wanted, deadline_ms, wake } = self.waiters.remove(&id)?;
        self.deadlines.remove(&(deadline_ms, id));
        let mut is_last = false;
        if let Some(entry) = self.topics.get_mut(&topic) {
            entry.count -= 1;
            is_last = entry.count == 0;
            if let Some(ids) = entry.waiting.get_mut(&wanted) {
                ids.remove(&id);
                if ids.is_empty() {
                    entry.waiting.remove(&wanted);
                }
            }
        }
        if is_last {
            self.leave_queues(topic);
        }
        Some(wake)
    }

    /// Nobody waits for a group and topic any more: messages in its queues need not look for anybody.
    fn leave_queues(&mut self, topic: u64) {
        for queue in self.topics.remove(&topic).map(|entry| entry.queues).unwrap_or_default() {
            if let Some(topics) = self.by_queue.get_mut(&queue) {
                topics.retain(|other| *other != topic);
                if topics.is_empty() {
                    self.by_queue.remove(&queue);
                }
            }
        }
    }

    /// Takes out everybody who waits for a group and topic that is gone.
    pub fn forget_topic(&mut self, topic: u64) -> Vec<W> {
        let mut woken = Vec::new();
        self.take_all(topic, &mut woken);
        woken
    }

    /// When the next deadline comes.
    pub fn next_deadline_ms(&self) -> Option<i64> {
        self.deadlines.first().map(|(at_ms, _)| *at_ms)
    }

    /// How many wait for messages of any queue of a topic, or for those of one.
    pub fn count(&self, topic: u64, wanted: Wanted) -> usize {
        let waiting = self.topics.get(&topic).map(|entry| &entry.waiting);
        waiting.and_then(|waiting| waiting.get(&wanted)).map_or(0, BTreeSet::len)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiters.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUES: [QueueNumber; 2] = [QueueNumber(1), QueueNumber(2)];

    fn woken(waits: &mut Waits<&'static str>, queue: u32) -> Vec<&'static str> {
        let mut woken = Vec::new();
        waits.arrived(QueueNumber(queue), &mut woken);
        woken
    }

    #[test]
    fn a_message_wakes_one_of_each_group_and_who_waits_longest_first() {
        let mut waits = Waits::default();
        waits.wait(1, &QUEUES, Wanted::Any, 100, "a").unwrap();
        waits.wait(1, &QUEUES, Wanted::Any, 50, "b").unwrap();
        waits.wait(2, &QUEUES, Wanted::Any, 100, "other group").unwrap();
        assert_eq!(woken(&mut waits, 2), ["a", "other group"]);
        assert_eq!(woken(&mut waits, 1), ["b"]);
        assert!(woken(&mut waits, 1).is_empty() && waits.is_empty());
        assert_eq!(waits.next_deadline_ms(), None);
        assert!(waits.by_queue.is_empty() && waits.topics.is_empty(), "what nobody waits for is kept");
    }

    #[test]
    fn who_waits_for_one_queue_is_not_woken_by_another() {
        let mut waits = Waits::default();
        waits.wait(1, &QUEUES, Wanted::Queue(QueueNumber(1)), 100, "one").unwrap();
        waits.wait(1, &QUEUES, Wanted::Any, 100, "any").unwrap();
        assert_eq!(woken(&mut waits, 2), ["any"]);
        assert!(woken(&mut waits, 2).is_empty());
        assert_eq!(woken(&mut waits, 1), ["one"]);
    }

    #[test]
    fn deadlines_and_leavers_are_taken_out_once() {
        let mut waits = Waits::default();
        let first = waits.wait(1, &QUEUES, Wanted::Any, 10, "a").unwrap();
        waits.wait(1, &QUEUES, Wanted::Any, 20, "b").unwrap();
        assert_eq!((waits.forget(first), waits.forget(first)), (Some("a"), None));
        let mut due = Vec::new();
        waits.expired(19, &mut due);
        assert!(due.is_empty());
        waits.expired(20, &mut due);
        assert_eq!(due, ["b"]);
        waits.wait(1, &QUEUES, Wanted::Any, 30, "c").unwrap();
        assert_eq!(waits.forget_topic(1), ["c"]);
        assert!(woken(&mut waits, 1).is_empty() && waits.by_queue.is_empty());
    }

    #[test]
    fn too_many_waiters_are_turned_away() {
        let mut waits = Waits::default();
        for _ in 0..WAITERS_OF_ONE_MAX {
            waits.wait(1, &[], Wanted::Any, 1, ()).unwrap();
        }
        assert!(waits.wait(1, &[], Wanted::Any, 1, ()).is_err());
        assert!(waits.wait(2, &[], Wanted::Any, 1, ()).is_ok());
        assert_eq!(waits.count(1, Wanted::Any), WAITERS_OF_ONE_MAX);
    }
}
