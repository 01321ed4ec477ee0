//! Pulls that wait for a message. A pure core: who waits for which queue, until when.
//!
//! Source: `broker/.../longpolling/PullRequestHoldService.java`.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use log::QueueNumber;

/// Pulls that wait. `O` is who owns a pull, `P` what the shell needs to run it again. Every step costs the logarithm
/// of what waits, or what it gives back: the lock around this is taken by every append.
#[derive(Debug)]
pub struct PullWaits<O, P> {
    queues: HashMap<QueueNumber, BTreeSet<u64>>,
    owners: HashMap<O, BTreeSet<u64>>,
    waiting: HashMap<u64, Wait<O, P>>,
    deadlines: BTreeSet<(i64, u64)>,
    next_id: u64,
}

#[derive(Debug)]
struct Wait<O, P> {
    queue: QueueNumber,
    owner: O,
    deadline_ms: i64,
    pull: P,
}

impl<O, P> Default for PullWaits<O, P> {
    fn default() -> Self {
        PullWaits {
            queues: HashMap::new(),
            owners: HashMap::new(),
            waiting: HashMap::new(),
            deadlines: BTreeSet::new(),
            next_id: 0,
        }
    }
}

impl<O: Copy + Eq + Hash, P> PullWaits<O, P> {
    /// Holds a pull until a message arrives in the queue, or the deadline.
    pub fn hold(&mut self, queue: QueueNumber, owner: O, deadline_ms: i64, pull: P) {
        let id = self.next_id;
        self.next_id += 1;
        self.queues.entry(queue).or_default().insert(id);
        self.owners.entry(owner).or_default().insert(id);
        self.deadlines.insert((deadline_ms, id));
        self.waiting.insert(id, Wait { queue, owner, deadline_ms, pull });
    }

    /// A message arrived: gives back every pull that waited for the queue, with its deadline.
    pub fn arrived(&mut self, queue: QueueNumber, out: &mut Vec<(i64, P)>) {
        for id in self.queues.remove(&queue).unwrap_or_default() {
            out.extend(self.take(id));
        }
    }

    /// Gives back every pull whose deadline has come.
    pub fn expired(&mut self, now_ms: i64, out: &mut Vec<(i64, P)>) {
        while let Some((deadline_ms, id)) = self.deadlines.first().copied() {
            if deadline_ms > now_ms {
                return;
            }
            out.extend(self.take(id));
        }
    }

    /// When the next deadline comes.
    pub fn next_deadline_ms(&self) -> Option<i64> {
        self.deadlines.first().map(|(deadline_ms, _)| *deadline_ms)
    }

    /// How many pulls of an owner wait.
    pub fn count_of(&self, owner: O) -> usize {
        self.owners.get(&owner).map_or(0, BTreeSet::len)
    }

    /// Forgets the pulls of an owner.
    pub fn forget(&mut self, owner: O) {
        for id in self.owners.remove(&owner).unwrap_or_default() {
            self.take(id);
        }
    }

    /// Gives back every pull that `which` picks.
    pub fn take_where(&mut self, which: impl Fn(&P) -> bool, out: &mut Vec<(i64, P)>) {
        let ids: Vec<u64> = self.waiting.iter().filter(|(_, wait)| which(&wait.pull)).map(|(id, _)| *id).collect();
        for id in ids {
            out.extend(self.take(id));
        }
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn take(&mut self, id: u64) -> Option<(i64, P)> {
        let Wait { queue, owner, deadline_ms, pull } = self.waiting.remove(&id)?;
        self.deadlines.remove(&(deadline_ms, id));
        remove_from(&mut self.queues, queue, id);
        remove_from(&mut self.owners, owner, id);
        Some((deadline_ms, pull))
    }
}

fn remove_from<K: Eq + Hash>(sets: &mut HashMap<K, BTreeSet<u64>>, key: K, id: u64) {
    if let Some(ids) = sets.get_mut(&key) {
        ids.remove(&id);
        if ids.is_empty() {
            sets.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_wakes_those_who_wait_for_its_queue_once() {
        let mut waits = PullWaits::default();
        waits.hold(QueueNumber(1), 7, 100, "a");
        waits.hold(QueueNumber(2), 7, 50, "b");
        waits.hold(QueueNumber(1), 8, 70, "c");
        let mut woken = Vec::new();
        waits.arrived(QueueNumber(1), &mut woken);
        assert_eq!(woken, [(100, "a"), (70, "c")]);
        woken.clear();
        waits.arrived(QueueNumber(1), &mut woken);
        assert_eq!(woken, []);
        assert_eq!(waits.next_deadline_ms(), Some(50));
    }

    #[test]
    fn nobody_waits_past_the_deadline() {
        let mut waits = PullWaits::default();
        for (deadline, name) in [(30, "c"), (10, "a"), (20, "b")] {
            waits.hold(QueueNumber(1), 7, deadline, name);
        }
        let mut due = Vec::new();
        waits.expired(20, &mut due);
        assert_eq!(due, [(10, "a"), (20, "b")]);
        waits.take_where(|name| *name == "c", &mut due);
        assert!(waits.is_empty() && waits.next_deadline_ms().is_none());
    }

    #[test]
    fn pulls_go_with_their_owner() {
        let mut waits = PullWaits::default();
        for (owner, name) in [(7, "a"), (8, "b"), (7, "c")] {
            waits.hold(QueueNumber(1), owner, 10, name);
        }
        assert_eq!((waits.count_of(7), waits.count_of(8)), (2, 1));
        waits.forget(7);
        let mut woken = Vec::new();
        waits.arrived(QueueNumber(1), &mut woken);
        assert_eq!((woken, waits.count_of(7)), (vec![(10, "b")], 0));
        assert!(waits.is_empty());
    }
}
