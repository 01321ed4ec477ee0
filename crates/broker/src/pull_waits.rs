//! Pulls that wait for a message. A pure core: who waits for which queue, until when.
//!
//! Source: `broker/.../longpolling/PullRequestHoldService.java`.

use std::collections::{BTreeMap, HashMap};

use log::QueueNumber;

/// Pulls that wait; `P` is what the shell needs to run one again.
#[derive(Debug)]
pub struct PullWaits<P> {
    queues: HashMap<QueueNumber, Vec<u64>>,
    waiting: HashMap<u64, (QueueNumber, i64, P)>,
    deadlines: BTreeMap<(i64, u64), ()>,
    next_id: u64,
}

impl<P> Default for PullWaits<P> {
    fn default() -> Self {
        PullWaits { queues: HashMap::new(), waiting: HashMap::new(), deadlines: BTreeMap::new(), next_id: 0 }
    }
}

impl<P> PullWaits<P> {
    /// Holds a pull until a message arrives in the queue, or the deadline.
    pub fn hold(&mut self, queue: QueueNumber, deadline_ms: i64, pull: P) {
        let id = self.next_id;
        self.next_id += 1;
        self.queues.entry(queue).or_default().push(id);
        self.deadlines.insert((deadline_ms, id), ());
        self.waiting.insert(id, (queue, deadline_ms, pull));
    }

    /// A message arrived: gives back every pull that waited for the queue, with its deadline.
    pub fn arrived(&mut self, queue: QueueNumber, out: &mut Vec<(i64, P)>) {
        for id in self.queues.remove(&queue).unwrap_or_default() {
            if let Some((_, deadline_ms, pull)) = self.waiting.remove(&id) {
                self.deadlines.remove(&(deadline_ms, id));
                out.push((deadline_ms, pull));
            }
        }
    }

    /// Gives back every pull whose deadline has come.
    pub fn expired(&mut self, now_ms: i64, out: &mut Vec<(i64, P)>) {
        while let Some(((deadline_ms, id), ())) = self.deadlines.first_key_value().map(|(key, ())| (*key, ())) {
            if deadline_ms > now_ms {
                return;
            }
            out.extend(self.take(id));
        }
    }

    /// When the next deadline comes.
    pub fn next_deadline_ms(&self) -> Option<i64> {
        self.deadlines.first_key_value().map(|((deadline_ms, _), ())| *deadline_ms)
    }

    /// Gives back every pull that `which` picks.
    pub fn take_where(&mut self, which: impl Fn(&P) -> bool, out: &mut Vec<(i64, P)>) {
        let ids: Vec<u64> = self.waiting.iter().filter(|(_, (_, _, pull))| which(pull)).map(|(id, _)| *id).collect();
        for id in ids {
            out.extend(self.take(id));
        }
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn take(&mut self, id: u64) -> Option<(i64, P)> {
        let (queue, deadline_ms, pull) = self.waiting.remove(&id)?;
        self.deadlines.remove(&(deadline_ms, id));
        if let Some(ids) = self.queues.get_mut(&queue) {
            ids.retain(|waiting| *waiting != id);
            if ids.is_empty() {
                self.queues.remove(&queue);
            }
        }
        Some((deadline_ms, pull))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_wakes_those_who_wait_for_its_queue_once() {
        let mut waits = PullWaits::default();
        waits.hold(QueueNumber(1), 100, "a");
        waits.hold(QueueNumber(2), 50, "b");
        waits.hold(QueueNumber(1), 70, "c");
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
            waits.hold(QueueNumber(1), deadline, name);
        }
        let mut due = Vec::new();
        waits.expired(20, &mut due);
        assert_eq!(due, [(10, "a"), (20, "b")]);
        waits.take_where(|name| *name == "c", &mut due);
        assert!(waits.is_empty() && waits.next_deadline_ms().is_none());
    }
}
