//! How far each group has consumed each queue.
//!
//! Kept in memory; what changed is handed to [`Meta`] every few hundred milliseconds. A crash in between costs
//! repeated deliveries, never a loss. Offsets may go backwards: an operator resets them, and a rebalance can.
//! Stored together are the offsets of up to 1,000 queues of a topic: a key costs the store far more than an offset.
//! Source: `broker/.../offset/ConsumerOffsetManager.java`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::meta::{Meta, Stored, Tree};

type Queues = BTreeMap<i32, i64>;

/// Version of the stored value.
const VALUE_VERSION: u8 = 1;
/// Queues whose offsets are stored in one value: 12 bytes each, which keeps it below 16 KiB.
const CHUNK_QUEUES: i32 = 1_000;

/// Consumer offsets of all groups.
pub struct Offsets {
    table: Mutex<Table>,
    /// How many queues are in `Table::resets`: pulls mostly need not look.
    reset_count: AtomicUsize,
    meta: Meta,
}

#[derive(Default)]
struct Table {
    /// By group, topic, queue.
    offsets: HashMap<String, HashMap<String, Queues>>,
    /// Group, topic and chunk of queues whose stored value is old.
    changed: HashSet<(String, String, i32)>,
    /// By group and topic: queues whose offset an operator moved, until who pulls them knows it.
    resets: HashMap<(String, String), Queues>,
}

impl Offsets {
    /// Loads what is stored.
    pub fn load(stored: &mut Stored, meta: Meta) -> Offsets {
        let mut table = Table::default();
        for (key, value) in stored.take(Tree::Offsets) {
            let (Some((group, topic, _)), Some(queues)) = (decode_key(&key), decode_value(&value)) else {
                tracing::error!(key = %key.escape_ascii(), "stored offsets cannot be read");
                continue;
            };
            let topics = table.offsets.entry(group.to_owned()).or_default();
            topics.entry(topic.to_owned()).or_default().extend(queues);
        }
        Offsets { table: Mutex::new(table), reset_count: AtomicUsize::new(0), meta }
    }

    /// The next offset that the group wants of the queue, if anybody said.
    pub fn get(&self, group: &str, topic: &str, queue: i32) -> Option<i64> {
        let table = self.lock();
        table.offsets.get(group)?.get(topic)?.get(&queue).copied()
    }

    /// An operator moves the group's offset of a queue. With `tell`, whoever pulls the queue is told with its next pull
    /// ([`Offsets::take_reset`]).
    pub fn reset(&self, group: &str, topic: &str, queue: i32, offset: i64, tell: bool) {
        self.commit(group, topic, queue, offset);
        let mut table = self.lock();
        if tell {
            table.resets.entry((group.to_owned(), topic.to_owned())).or_default().insert(queue, offset);
        } else if let Some(queues) = table.resets.get_mut(&(group.to_owned(), topic.to_owned())) {
            queues.remove(&queue);
        }
        self.count_resets(&mut table);
    }

    /// Where an operator wants a queue to be read from that is pulled now, if the group was not told yet.
    pub fn take_reset(&self, group: &str, topic: &str, queue: i32) -> Option<i64> {
        if self.reset_count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut table = self.lock();
        let offset = table.resets.get_mut(&(group.to_owned(), topic.to_owned()))?.remove(&queue)?;
        self.count_resets(&mut table);
        Some(offset)
    }

    /// Whether an operator moved the offset of a queue and the group was not told yet: what it commits is older.
    pub fn is_reset(&self, group: &str, topic: &str, queue: i32) -> bool {
        self.reset_count.load(Ordering::Relaxed) > 0
            && self
                .lock()
                .resets
                .get(&(group.to_owned(), topic.to_owned()))
                .is_some_and(|queues| queues.contains_key(&queue))
    }

    fn count_resets(&self, table: &mut Table) {
        table.resets.retain(|_, queues| !queues.is_empty());
        self.reset_count.store(table.resets.values().map(Queues::len).sum(), Ordering::Relaxed);
    }

    /// Stores what a client says; a negative offset means it has none yet.
    pub fn commit(&self, group: &str, topic: &str, queue: i32, offset: i64) {
        let mut table = self.lock();
        let known = table.offsets.get(group).and_then(|topics| topics.get(topic)?.get(&queue).copied());
        if known == Some(offset) || offset < 0 && known.is_none() {
            return;
        }
        let topics = table.offsets.entry(group.to_owned()).or_default();
        topics.entry(topic.to_owned()).or_default().insert(queue, offset);
        table.changed.insert((group.to_owned(), topic.to_owned(), chunk_of(queue)));
    }

    /// Stores `to` if the offset is still `from`; says whether it was.
    #[must_use]
    pub fn move_on(&self, group: &str, topic: &str, queue: i32, from: i64, to: i64) -> bool {
        let mut table = self.lock();
        let known = table.offsets.get_mut(group).and_then(|topics| topics.get_mut(topic)?.get_mut(&queue));
        let Some(known) = known.filter(|known| **known == from) else { return false };
        *known = to;
        table.changed.insert((group.to_owned(), topic.to_owned(), chunk_of(queue)));
        true
    }

    /// Queue and offset of everything that the group consumed of the topic.
    pub fn of(&self, group: &str, topic: &str) -> Queues {
        let table = self.lock();
        table.offsets.get(group).and_then(|topics| topics.get(topic)).cloned().unwrap_or_default()
    }

    /// Everything: offset by queue, by group and topic.
    pub fn all(&self) -> Vec<(String, String, BTreeMap<i32, i64>)> {
        let table = self.lock();
        let of_group = |(group, topics): (&String, &HashMap<String, Queues>)| -> Vec<(String, String, Queues)> {
            topics.iter().map(|(topic, queues)| (group.clone(), topic.clone(), queues.clone())).collect()
        };
        table.offsets.iter().flat_map(of_group).collect()
    }

    /// Topics of which the group has offsets.
    pub fn topics_of(&self, group: &str) -> BTreeSet<String> {
        self.lock().offsets.get(group).map(|topics| topics.keys().cloned().collect()).unwrap_or_default()
    }

    /// Groups that have offsets of the topic.
    pub fn groups_of(&self, topic: &str) -> BTreeSet<String> {
        let table = self.lock();
        table.offsets.iter().filter(|(_, topics)| topics.contains_key(topic)).map(|(group, _)| group.clone()).collect()
    }

    /// Groups that have offsets.
    pub fn groups(&self) -> BTreeSet<String> {
        self.lock().offsets.keys().cloned().collect()
    }

    /// Topic, queue and offset of everything that the group consumed.
    pub fn of_group(&self, group: &str) -> BTreeMap<String, BTreeMap<i32, i64>> {
        let table = self.lock();
        let topics = table.offsets.get(group).into_iter().flatten();
        topics.map(|(topic, queues)| (topic.clone(), queues.clone())).collect()
    }

    /// Forgets what everybody consumed of the topic.
    pub fn forget_topic(&self, topic: &str) {
        let groups = self.groups_of(topic);
        for group in groups {
            self.forget(&group, topic);
        }
    }

    /// Forgets everything that the group consumed.
    pub fn forget_group(&self, group: &str) {
        for topic in self.topics_of(group) {
            self.forget(group, &topic);
        }
    }

    fn forget(&self, group: &str, topic: &str) {
        let mut table = self.lock();
        table.resets.remove(&(group.to_owned(), topic.to_owned()));
        self.count_resets(&mut table);
        let Some(topics) = table.offsets.get_mut(group) else { return };
        let Some(queues) = topics.remove(topic) else { return };
        if topics.is_empty() {
            table.offsets.remove(group);
        }
        // Handed over at once, not with the next round: who asked is answered when everything so far is on disk, and
        // an offset that came back would pass over the first messages of a topic of the same name.
        for chunk in queues.into_keys().map(chunk_of).collect::<BTreeSet<i32>>() {
            table.changed.remove(&(group.to_owned(), topic.to_owned(), chunk));
            self.meta.remove(Tree::Offsets, encode_key(group, topic, chunk));
        }
    }

    /// Hands everything that changed since the last call to the metadata; returns how many values it was.
    pub fn save_changed(&self) -> usize {
        let mut table = self.lock();
        let changed = std::mem::take(&mut table.changed);
        for (group, topic, chunk) in &changed {
            // Forgotten offsets were taken out of what changed, so there are some.
            let Some(queues) = table.offsets.get(group).and_then(|topics| topics.get(topic)) else { continue };
            self.meta.put(Tree::Offsets, encode_key(group, topic, *chunk), encode_value(queues, *chunk));
        }
        changed.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn chunk_of(queue: i32) -> i32 {
    queue.div_euclid(CHUNK_QUEUES)
}

/// Layout of key and value: `docs/formats/meta.md`. Names cannot contain a zero byte.
fn encode_key(group: &str, topic: &str, chunk: i32) -> Vec<u8> {
    let mut key = Vec::with_capacity(group.len() + topic.len() + 6);
    key.extend_from_slice(group.as_bytes());
    key.push(0);
    key.extend_from_slice(topic.as_bytes());
    key.push(0);
    key.extend_from_slice(&chunk.to_be_bytes());
    key
}

fn decode_key(key: &[u8]) -> Option<(&str, &str, i32)> {
    let (names, chunk) = key.split_at_checked(key.len().checked_sub(4)?)?;
    let names = std::str::from_utf8(names.strip_suffix(&[0])?).ok()?;
    let (group, topic) = names.split_once('\0')?;
    Some((group, topic, i32::from_be_bytes(chunk.try_into().ok()?)))
}

fn encode_value(queues: &Queues, chunk: i32) -> Vec<u8> {
    let first = chunk.saturating_mul(CHUNK_QUEUES);
    let queues = queues.range(first..=first.saturating_add(CHUNK_QUEUES - 1));
    let mut value = vec![VALUE_VERSION];
    value.extend_from_slice(&(queues.clone().count() as u16).to_be_bytes());
    for (queue, offset) in queues {
        value.extend_from_slice(&queue.to_be_bytes());
        value.extend_from_slice(&offset.to_be_bytes());
    }
    value
}

fn decode_value(value: &[u8]) -> Option<Vec<(i32, i64)>> {
    let (head, pairs) = value.split_first_chunk::<3>()?;
    let (pairs, rest) = pairs.as_chunks::<12>();
    let count = usize::from(u16::from_be_bytes([head[1], head[2]]));
    if head[0] != VALUE_VERSION || pairs.len() != count || !rest.is_empty() {
        return None;
    }
    let pair =
        |[a, b, c, d, offset @ ..]: &[u8; 12]| (i32::from_be_bytes([*a, *b, *c, *d]), i64::from_be_bytes(*offset));
    Some(pairs.iter().map(pair).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &std::path::Path) -> (Offsets, crate::meta::MetaThread) {
        let (meta, mut stored, thread) = Meta::open(folder).unwrap();
        (Offsets::load(&mut stored, meta), thread)
    }

    #[test]
    fn offsets_survive_and_may_go_backwards() {
        let folder = tempfile::tempdir().unwrap();
        let (offsets, thread) = open(folder.path());
        assert_eq!(offsets.get("g", "t", 0), None);
        offsets.commit("g", "t", 0, -1);
        assert_eq!(offsets.get("g", "t", 0), None);
        offsets.commit("g", "t", 0, 9);
        offsets.commit("g", "t", 0, 4);
        offsets.commit("g", "%RETRY%g", 0, 1);
        offsets.commit("h", "t", 3, 5);
        assert_eq!((offsets.save_changed(), offsets.save_changed()), (3, 0));
        drop(offsets);
        thread.join();
        let (offsets, thread) = open(folder.path());
        assert_eq!((offsets.get("g", "t", 0), offsets.get("h", "t", 3)), (Some(4), Some(5)));
        assert_eq!(offsets.groups_of("t").into_iter().collect::<Vec<_>>(), ["g", "h"]);
        offsets.forget_topic("t");
        offsets.save_changed();
        drop(offsets);
        thread.join();
        let (offsets, thread) = open(folder.path());
        assert_eq!(offsets.topics_of("g").into_iter().collect::<Vec<_>>(), ["%RETRY%g"]);
        assert_eq!(offsets.get("h", "t", 3), None);
        drop(offsets);
        thread.join();
    }

    #[test]
    fn a_reset_is_told_once_and_forgotten_with_its_topic() {
        let folder = tempfile::tempdir().unwrap();
        let (offsets, thread) = open(folder.path());
        offsets.commit("g", "t", 0, 9);
        offsets.reset("g", "t", 0, 4, true);
        assert_eq!((offsets.get("g", "t", 0), offsets.is_reset("g", "t", 0)), (Some(4), true));
        assert!(!offsets.is_reset("g", "t", 1) && !offsets.is_reset("h", "t", 0));
        assert_eq!((offsets.take_reset("g", "t", 0), offsets.take_reset("g", "t", 0)), (Some(4), None));
        offsets.reset("g", "t", 0, 5, true);
        offsets.reset("g", "t", 0, 6, false);
        assert_eq!((offsets.get("g", "t", 0), offsets.take_reset("g", "t", 0)), (Some(6), None));
        offsets.reset("g", "t", 0, 7, true);
        offsets.forget_topic("t");
        assert_eq!((offsets.get("g", "t", 0), offsets.take_reset("g", "t", 0)), (None, None));
        drop(offsets);
        thread.join();
    }

    #[test]
    fn a_thousand_queues_share_a_value_and_only_values_that_changed_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let (offsets, thread) = open(folder.path());
        for queue in 0..65_536 {
            offsets.commit("g", "wide", queue, i64::from(queue) + 1);
        }
        assert_eq!(offsets.save_changed(), 66);
        offsets.commit("g", "wide", 999, 7);
        offsets.commit("g", "wide", 0, 8);
        assert_eq!(offsets.save_changed(), 1);
        let wide = offsets.of("g", "wide");
        assert!((0..66).all(|chunk| encode_value(&wide, chunk).len() <= 16 * 1024));
        drop(offsets);
        thread.join();
        let (offsets, thread) = open(folder.path());
        assert!(offsets.of("g", "wide") == wide);
        offsets.forget_group("g");
        drop(offsets);
        thread.join();
        let (meta, mut stored, thread) = Meta::open(folder.path()).unwrap();
        assert!(stored.take(Tree::Offsets).is_empty());
        drop(meta);
        thread.join();
    }

    #[test]
    fn stored_values_are_read_back_and_others_are_not_taken_for_them() {
        let queues = Queues::from([(i32::MIN, 1), (-1, 2), (0, i64::MAX), (1000, -1), (i32::MAX, 3)]);
        let chunks: BTreeSet<i32> = queues.keys().copied().map(chunk_of).collect();
        let read: Queues =
            chunks.iter().flat_map(|chunk| decode_value(&encode_value(&queues, *chunk)).unwrap()).collect();
        assert_eq!((read, chunks.len()), (queues, 5));
        let value = encode_value(&Queues::from([(3, 4)]), 0);
        assert_eq!(decode_value(&value), Some(vec![(3, 4)]));
        assert_eq!(decode_value(&value[..value.len() - 1]), None);
        assert_eq!(decode_value(&[value.as_slice(), &[0; 12]].concat()), None);
        assert_eq!((decode_value(&[]), decode_value(&[2, 0, 0])), (None, None));
    }
}
