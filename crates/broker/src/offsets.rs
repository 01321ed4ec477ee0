//! How far each group has consumed each queue.
//!
//! Kept in memory; what changed is handed to [`Meta`] every few hundred milliseconds. A crash in between costs
//! repeated deliveries, never a loss. Offsets may go backwards: an operator resets them, and a rebalance can.
//! Source: `broker/.../offset/ConsumerOffsetManager.java`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use crate::meta::{Meta, Stored, Tree};

type Queues = BTreeMap<i32, i64>;

/// Consumer offsets of all groups.
pub struct Offsets {
    table: Mutex<Table>,
    meta: Meta,
}

#[derive(Default)]
struct Table {
    /// By group, topic, queue.
    offsets: HashMap<String, HashMap<String, Queues>>,
    changed: HashSet<(String, String, i32)>,
}

impl Offsets {
    /// Loads what is stored.
    pub fn load(stored: &mut Stored, meta: Meta) -> Offsets {
        let mut table = Table::default();
        for (key, value) in stored.take(Tree::Offsets) {
            let (Some((group, topic, queue)), Ok(value)) = (decode_key(&key), <[u8; 8]>::try_from(value.as_slice()))
            else {
                tracing::error!(key = %key.escape_ascii(), "stored offset cannot be read");
                continue;
            };
            let topics = table.offsets.entry(group.to_owned()).or_default();
            topics.entry(topic.to_owned()).or_default().insert(queue, i64::from_be_bytes(value));
        }
        Offsets { table: Mutex::new(table), meta }
    }

    /// The next offset that the group wants of the queue, if anybody said.
    pub fn get(&self, group: &str, topic: &str, queue: i32) -> Option<i64> {
        let table = self.lock();
        table.offsets.get(group)?.get(topic)?.get(&queue).copied()
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
        table.changed.insert((group.to_owned(), topic.to_owned(), queue));
    }

    /// Queue and offset of everything that the group consumed of the topic.
    pub fn of(&self, group: &str, topic: &str) -> Queues {
        let table = self.lock();
        table.offsets.get(group).and_then(|topics| topics.get(topic)).cloned().unwrap_or_default()
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
        let Some(topics) = table.offsets.get_mut(group) else { return };
        let Some(queues) = topics.remove(topic) else { return };
        if topics.is_empty() {
            table.offsets.remove(group);
        }
        // Handed over at once, not with the next round: who asked is answered when everything so far is on disk, and
        // an offset that came back would pass over the first messages of a topic of the same name.
        for queue in queues.into_keys() {
            table.changed.remove(&(group.to_owned(), topic.to_owned(), queue));
            self.meta.remove(Tree::Offsets, encode_key(group, topic, queue));
        }
    }

    /// Hands everything that changed since the last call to the metadata; returns how much it was.
    pub fn save_changed(&self) -> usize {
        let mut table = self.lock();
        let changed = std::mem::take(&mut table.changed);
        for (group, topic, queue) in &changed {
            let key = encode_key(group, topic, *queue);
            match table.offsets.get(group).and_then(|topics| topics.get(topic)?.get(queue)) {
                Some(offset) => self.meta.put(Tree::Offsets, key, offset.to_be_bytes().to_vec()),
                None => self.meta.remove(Tree::Offsets, key),
            }
        }
        changed.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `group 0x00 topic 0x00 queue`: names cannot contain a zero byte.
fn encode_key(group: &str, topic: &str, queue: i32) -> Vec<u8> {
    let mut key = Vec::with_capacity(group.len() + topic.len() + 6);
    key.extend_from_slice(group.as_bytes());
    key.push(0);
    key.extend_from_slice(topic.as_bytes());
    key.push(0);
    key.extend_from_slice(&queue.to_be_bytes());
    key
}

fn decode_key(key: &[u8]) -> Option<(&str, &str, i32)> {
    let (names, queue) = key.split_at_checked(key.len().checked_sub(4)?)?;
    let names = std::str::from_utf8(names.strip_suffix(&[0])?).ok()?;
    let (group, topic) = names.split_once('\0')?;
    Some((group, topic, i32::from_be_bytes(queue.try_into().ok()?)))
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
}
