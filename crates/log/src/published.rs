//! What readers see: the indexes, and how far the log is visible. One lock guards all of it, so that a batch becomes
//! visible in one step.

use crate::batch::{Entry, NOT_DUE};
use crate::due_index::DueIndex;
use crate::key_index::KeyIndex;
use crate::queue_index::QueueIndex;
use crate::queue_index::item::IndexEntry;

pub(crate) struct Published {
    pub queues: QueueIndex,
    pub keys: KeyIndex,
    pub due: DueIndex,
    /// Position after the last visible record.
    pub end: u64,
}

impl Published {
    /// Makes records visible that end at `end`. `keys` are the key hashes of all entries, one after the other.
    pub fn publish(&mut self, entries: &[Entry], keys: &[u64], end: u64) {
        let mut rest = keys;
        for entry in entries {
            let index_entry = IndexEntry {
                position: entry.position,
                store_timestamp_ms: entry.store_ms,
                size: entry.size,
                tag_hash: entry.tag_hash,
            };
            self.queues.push(entry.queue, entry.queue_offset, index_entry);
            if entry.keys != 0 {
                let (own, others) = rest.split_at(entry.keys as usize);
                self.keys.push(own, entry.position, entry.store_ms);
                rest = others;
            }
            if entry.due_ms != NOT_DUE {
                self.due.add(entry.due_ms, entry.position, entry.size);
            }
            if entry.settled_due_ms != NOT_DUE {
                self.due.settle(entry.settled_due_ms, entry.settles);
            }
        }
        self.end = end;
    }
}
