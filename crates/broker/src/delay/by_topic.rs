//! How many messages of each topic wait for their time, and for how long.
//!
//! Nothing is counted when a message is sent or delivered: the log knows what waits, after a restart too, and the topic
//! of a message is read once and remembered. Much that waits is counted by the upkeep, so that nobody waits for it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use log::{LogPosition, ReadError};
use protocol::properties;
use protocol::record::Record;

use crate::broker::Broker;

/// Up to so many messages that wait are counted when somebody asks.
const COUNTED_AT_ONCE_MAX: usize = 2_000;
/// Time between two counts of the upkeep.
const PERIOD_MS: i64 = 10_000;
/// The upkeep counts for at most one part of so many of its time.
const PARTS_OF_TIME: i64 = 50;

/// Bounds in seconds of the times that messages still have to wait, as upstream has them.
pub const BOUNDS_S: [i64; 8] = [5, 60, 300, 900, 3_600, 14_400, 28_800, 86_400];

/// Messages that wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// When they were counted, in milliseconds since 1970.
    pub counted_ms: i64,
    /// Messages by the topic that they are for; topics without any are left out.
    pub topics: BTreeMap<Arc<str>, u64>,
    /// Messages that had to wait for at most the bound of [`BOUNDS_S`] and longer than for the one before.
    pub by_bound: [u64; BOUNDS_S.len()],
}

/// The last count, and what makes the next one quick.
#[derive(Debug, Default)]
pub struct WaitingCounter {
    count: Mutex<Arc<Waiting>>,
    known: Mutex<Known>,
}

/// Topics by number, and the number of the topic of each message that waited when they were counted last. Sorted by
/// position: a million messages take 12 MB.
#[derive(Debug, Default)]
struct Known {
    names: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
    positions: Vec<u64>,
    topics: Vec<u32>,
    /// When the upkeep is to count next, in milliseconds since 1970.
    next_ms: i64,
}

impl WaitingCounter {
    /// Messages that wait now; where it is more than a few thousand, what the upkeep counted last.
    pub fn get(&self, broker: &Broker) -> Arc<Waiting> {
        if backlog(broker) <= COUNTED_AT_ONCE_MAX
            && let Err(error) = self.count(broker)
        {
            tracing::warn!(%error, "messages that wait cannot be counted; the last count is told");
        }
        self.count.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts if it is time, and much waits. To be called several times a second.
    pub fn count_much(&self, broker: &Broker) {
        let now_ms = broker.clock.now_ms();
        let next_ms = self.known().next_ms;
        // A clock that was put back must not end the counting.
        let is_due = next_ms <= now_ms || now_ms + PERIOD_MS * PARTS_OF_TIME < next_ms;
        if !is_due || backlog(broker) <= COUNTED_AT_ONCE_MAX {
            return;
        }
        if let Err(error) = self.count(broker) {
            tracing::debug!(%error, "messages that wait cannot be counted now");
        }
        let took_ms = (broker.clock.now_ms() - now_ms).clamp(0, PERIOD_MS);
        self.known().next_ms = now_ms + PERIOD_MS.max(took_ms * PARTS_OF_TIME);
    }

    fn count(&self, broker: &Broker) -> Result<(), ReadError> {
        let waiting = broker.log.pending_in(LogPosition(0)..LogPosition(u64::MAX))?;
        let mut known = self.known();
        let positions = waiting.iter().map(|due| due.position.0);
        let topics = known.recount(positions, |position| topic_of(broker, position));
        let counted_ms = broker.clock.now_ms();
        let by_bound = by_bound(waiting.iter().map(|due| due.due_ms - counted_ms));
        let count = Waiting { counted_ms, topics, by_bound };
        *self.count.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(count);
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Counts messages at positions in ascending order; asks for the topics of those that are new.
    fn recount(
        &mut self,
        positions: impl Iterator<Item = u64>,
        mut topic_at: impl FnMut(u64) -> Option<String>,
    ) -> BTreeMap<Arc<str>, u64> {
        let old = (std::mem::take(&mut self.positions), std::mem::take(&mut self.topics));
        let mut old = old.0.into_iter().zip(old.1).peekable();
        let mut counts = vec![0_u64; self.names.len()];
        for position in positions {
            while old.next_if(|(known, _)| *known < position).is_some() {}
            let number = match old.next_if(|(known, _)| *known == position) {
                Some((_, number)) => number,
                // One that was delivered and deleted in the meantime has no topic, and waits no more.
                None => match topic_at(position) {
                    Some(topic) => self.number(&topic),
                    None => continue,
                },
            };
            self.positions.push(position);
            self.topics.push(number);
            counts.resize(self.names.len(), 0);
            counts[number as usize] += 1;
        }
        let counted = self.names.iter().cloned().zip(counts).filter(|(_, count)| *count > 0).collect();
        if self.positions.is_empty() {
            // Topics come and go; those of messages that wait no more are not kept for ever.
            (self.names, self.numbers) = Default::default();
        }
        counted
    }

    fn number(&mut self, topic: &str) -> u32 {
        if let Some(number) = self.numbers.get(topic) {
            return *number;
        }
        let (name, number) = (Arc::from(topic), self.names.len() as u32);
        self.numbers.insert(Arc::clone(&name), number);
        self.names.push(name);
        number
    }
}

fn by_bound(waits_ms: impl Iterator<Item = i64>) -> [u64; BOUNDS_S.len()] {
    let mut counts = [0; BOUNDS_S.len()];
    for wait_ms in waits_ms {
        if let Some(bound) = BOUNDS_S.iter().position(|bound_s| wait_ms <= bound_s * 1000) {
            counts[bound] += 1;
        }
    }
    counts
}

/// How much waits, roughly: messages of far hours that were taken back count until their hour is near.
fn backlog(broker: &Broker) -> usize {
    broker.log.due_backlog(broker.clock.now_ms()).hours.iter().map(|(_, count)| count).sum()
}

fn topic_of(broker: &Broker, position: u64) -> Option<String> {
    let mut bytes = Vec::new();
    broker.log.read(LogPosition(position), &mut bytes).ok()?;
    Record::parse(&bytes).ok()?.properties().get(properties::REAL_TOPIC).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_told_by_the_least_bound_that_they_do_not_exceed() {
        let waits_ms = [-7, 5_000, 5_001, 3_600_000, 86_400_000, 86_400_001];
        assert_eq!(by_bound(waits_ms.into_iter()), [2, 1, 0, 0, 1, 0, 0, 1]);
    }

    #[test]
    fn the_topic_of_a_message_is_read_once_and_what_waits_no_more_does_not_count() {
        let mut known = Known::default();
        let mut reads = Vec::new();
        let mut recount = |positions: &[u64]| {
            let topic_at = |position| {
                reads.push(position);
                (position != 99).then(|| format!("t{}", position % 2))
            };
            let counts = known.recount(positions.iter().copied(), topic_at);
            counts.iter().map(|(topic, count)| format!("{topic}={count}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(recount(&[1, 2, 3]), "t0=1 t1=2");
        assert_eq!(recount(&[2, 3, 5, 99]), "t0=1 t1=2");
        assert_eq!(recount(&[4, 5]), "t0=1 t1=1");
        assert_eq!(recount(&[]), "");
        assert_eq!(recount(&[7]), "t1=1");
        assert_eq!(reads, [1, 2, 3, 5, 99, 4, 7]);
        assert_eq!(known.names.len(), 1);
    }
}
