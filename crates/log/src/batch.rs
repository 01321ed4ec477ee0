//! Records that go into the log together.

use protocol::properties::{self, Properties};
use protocol::record::{EncodeError, NewRecord};

use crate::key_index::key_hash;
use crate::position::{LogPosition, QueueNumber};

/// A record that is not due at any time.
pub(crate) const NOT_DUE: i64 = i64::MIN;

/// Encoded records and what the indexes need to know of each. Reusable: [`Batch::clear`] keeps the memory.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) entries: Vec<Entry>,
    /// Key hashes of all entries, in their order.
    pub(crate) keys: Vec<u64>,
    /// Indexes of the entries that settle another record.
    pub(crate) settling: Vec<u32>,
    placed: Vec<Placed>,
    scratch: Vec<u8>,
}

/// What the indexes learn of one record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub queue: u32,
    pub size: u32,
    pub tag_hash: i32,
    /// How many hashes of the key list belong to it.
    pub keys: u32,
    pub queue_offset: u64,
    pub position: u64,
    pub store_ms: i64,
    /// When it is due, or [`NOT_DUE`].
    pub due_ms: i64,
    /// Position of the record it settles, or 0.
    pub settles: u64,
    /// When that record was due, or [`NOT_DUE`].
    pub settled_due_ms: i64,
}

/// Where a record of a batch went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Where it lies.
    pub position: LogPosition,
    /// Its bytes.
    pub size: u32,
    /// Its queue.
    pub queue: QueueNumber,
    /// Its place in the queue.
    pub queue_offset: u64,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Adds a record for `queue`, which must be the one that the record names. `tag_hash` is what pulls filter on. A
    /// record that must come back at `due_ms` has to carry the same number as property `TIMER_OUT_MS`, for that is what
    /// recovery reads.
    pub fn push(
        &mut self,
        record: NewRecord<'_>,
        queue: QueueNumber,
        tag_hash: i32,
        due_ms: Option<i64>,
    ) -> Result<(), EncodeError> {
        let size = record.encode(&mut self.bytes)?;
        let keys_before = self.keys.len();
        push_key_hashes(record.topic, record.properties, &mut self.scratch, &mut self.keys);
        let settles = record.prepared_transaction_offset.max(0) as u64;
        if settles != 0 {
            self.settling.push(self.entries.len() as u32);
        }
        self.entries.push(Entry {
            queue: queue.0,
            size,
            tag_hash,
            keys: (self.keys.len() - keys_before) as u32,
            queue_offset: 0,
            position: 0,
            store_ms: 0,
            due_ms: due_ms.unwrap_or(NOT_DUE),
            settles,
            settled_due_ms: NOT_DUE,
        });
        self.placed.clear();
        Ok(())
    }

    /// Says that what the newest record settles is not in the due index, as half messages are not. Otherwise an append
    /// has to look.
    pub fn settles_nothing_due(&mut self) {
        let newest = self.entries.len().wrapping_sub(1) as u32;
        self.settling.pop_if(|index| *index == newest);
    }

    /// Records in the batch.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the batch has no records.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of the records.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Takes the records out and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
        self.keys.clear();
        self.settling.clear();
        self.placed.clear();
    }

    /// Where the records went, in the order of [`Batch::push`]; empty before [`crate::Log::append`] succeeded.
    pub fn placed(&self) -> &[Placed] {
        &self.placed
    }

    pub(crate) fn set_placed(&mut self) {
        self.placed.clear();
        self.placed.extend(self.entries.iter().map(|entry| Placed {
            position: LogPosition(entry.position),
            size: entry.size,
            queue: QueueNumber(entry.queue),
            queue_offset: entry.queue_offset,
        }));
    }
}

/// Appends the hashes under which a record is found: its unique key and each blank-separated word of its keys.
pub(crate) fn push_key_hashes(topic: &str, properties: &[u8], scratch: &mut Vec<u8>, out: &mut Vec<u64>) {
    let [unique, words] = Properties::new(properties).get_many([properties::UNIQ_KEY, properties::KEYS]);
    if let Some(unique) = unique {
        out.push(key_hash(topic, unique, scratch));
    }
    if let Some(words) = words {
        out.extend(words.split(' ').filter(|word| !word.is_empty()).map(|word| key_hash(topic, word, scratch)));
    }
}
