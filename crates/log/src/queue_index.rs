//! Which message has which offset in which queue.
//!
//! A queue's newest entries are a short list in memory, its tail. A tail of 128 entries is sealed: it becomes one block
//! in files that all queues share, and the queue's directory remembers where. A checkpoint saves unsealed tails as
//! short blocks too, so that a restart finds everything before the checkpoint in files, and drops tails to which
//! nothing was added since the checkpoint before, so that a million idle queues cost little.
//!
//! Everything here can be rebuilt from the commit log. Offsets of one queue grow, with holes where offsets were lost.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

pub(crate) mod files;
pub(crate) mod item;

use crate::disk::{Disk, DiskFile};
use crate::position::QueueNumber;
use files::{Extent, IndexFiles, Place, Source};
use item::{BLOCK_ENTRIES, Header, IndexEntry, Kind};

/// Where a block begins, in offsets and in files.
#[derive(Clone, Copy, Debug)]
struct BlockRef {
    base: u64,
    place: Place,
}

/// What is kept in memory of one queue. A million of these must be affordable.
struct Queue {
    topic: Box<str>,
    queue_id: u32,
    /// File of the index that holds the newest definition.
    defined_in: u32,
    /// Offset of the next message.
    next: u64,
    /// Offset of the tail's first entry.
    tail_base: u64,
    tail: Vec<IndexEntry>,
    directory: Vec<BlockRef>,
    /// Where the last checkpoint saved the tail; it may have grown since.
    saved: Option<Place>,
    /// Offset of the first message at or after `min_start`, the log's start when it was looked up.
    min: u64,
    min_start: u64,
    /// Something was added since the last checkpoint.
    is_dirty: bool,
    is_resident: bool,
    is_dead: bool,
}

impl Queue {
    fn new(topic: &str, queue_id: u32) -> Queue {
        Queue {
            topic: topic.into(),
            queue_id,
            defined_in: 0,
            next: 0,
            tail_base: 0,
            tail: Vec::new(),
            directory: Vec::new(),
            saved: None,
            min: 0,
            min_start: 0,
            is_dirty: false,
            is_resident: false,
            is_dead: false,
        }
    }

    fn dead() -> Queue {
        Queue { is_dead: true, ..Queue::new("", 0) }
    }

    /// Puts a block into the directory. A block replaces those that begin at its base or after: they are earlier,
    /// shorter forms of it.
    fn add_block(&mut self, base: u64, place: Place) {
        while self.directory.last().is_some_and(|last| base <= last.base) {
            self.directory.pop();
        }
        // Most queues of a broker with very many have a single block; doubling from four would waste three.
        if self.directory.capacity() == 0 {
            self.directory.reserve_exact(1);
        }
        self.directory.push(BlockRef { base, place });
    }
}

/// Entries of a queue that lie together.
pub(crate) enum Chunk {
    /// There is nothing at or after the offset.
    End,
    /// The entries were copied; the first has this offset.
    Memory { first: u64, next_base: u64 },
    /// The entries have to be read.
    Stored { base: u64, next_base: u64, file: Arc<dyn DiskFile>, at: u64 },
}

pub(crate) struct QueueIndex {
    queues: Vec<Queue>,
    /// Number of a queue by the hash of its name; a name whose place is taken has the next one.
    by_hash: HashMap<u64, u32>,
    /// Numbers that appear nowhere in the files.
    free: Vec<u32>,
    /// Queues whose tail takes memory.
    resident: Vec<u32>,
    files: IndexFiles,
    live: usize,
}

fn name_hash(topic: &str, queue_id: u32) -> u64 {
    xxh3_64_with_seed(topic.as_bytes(), u64::from(queue_id))
}

impl QueueIndex {
    /// An empty index; files of an older one are removed.
    pub fn create(disk: Arc<dyn Disk>, segment_bytes: u64) -> io::Result<QueueIndex> {
        let files = IndexFiles::create(disk, segment_bytes)?;
        Ok(QueueIndex {
            queues: Vec::new(),
            by_hash: HashMap::new(),
            free: Vec::new(),
            resident: Vec::new(),
            files,
            live: 0,
        })
    }

    /// Names and next offsets in whatever index files are on the disk, as far as they can be read. Offsets of queues whose
    /// messages have all left the log are known from nowhere else.
    pub fn salvage(disk: &dyn Disk) -> io::Result<Vec<(String, u32, u64)>> {
        let mut loaded: Vec<Loaded> = Vec::new();
        files::salvage(disk, &mut |place, header, payload| load_item(&mut loaded, place, header, payload))?;
        let defined = loaded.into_iter().filter(|loaded| loaded.is_defined && loaded.queue.next != 0);
        Ok(defined.map(|loaded| (loaded.queue.topic.into(), loaded.queue.queue_id, loaded.queue.next)).collect())
    }

    /// The index as `extent` describes it; `None` when it is damaged.
    pub fn open(disk: Arc<dyn Disk>, segment_bytes: u64, extent: Extent) -> io::Result<Option<QueueIndex>> {
        let mut loaded: Vec<Loaded> = Vec::new();
        let files = IndexFiles::open(disk, segment_bytes, extent, &mut |place, header, payload| {
            load_item(&mut loaded, place, header, payload)
        })?;
        let Some(files) = files else { return Ok(None) };
        let mut index = QueueIndex {
            queues: Vec::with_capacity(loaded.len()),
            by_hash: HashMap::with_capacity(loaded.len()),
            free: Vec::new(),
            resident: Vec::new(),
            files,
            live: 0,
        };
        for (number, mut loaded) in loaded.into_iter().enumerate() {
            if !loaded.is_defined && !loaded.queue.directory.is_empty() {
                // Blocks of a queue without a name: something is missing.
                return Ok(None);
            }
            if loaded.is_defined {
                loaded.queue.directory.shrink_to_fit();
                index.by_hash.insert(index.free_place(&loaded.queue.topic, loaded.queue.queue_id), number as u32);
                index.live += 1;
            } else if !loaded.is_mentioned {
                index.free.push(number as u32);
            }
            index.queues.push(if loaded.is_defined { loaded.queue } else { Queue::dead() });
        }
        Ok(Some(index))
    }

    /// Key in `by_hash` under which a queue that is not there can be put.
    fn free_place(&self, topic: &str, queue_id: u32) -> u64 {
        let mut hash = name_hash(topic, queue_id);
        while self.by_hash.get(&hash).is_some_and(|number| !self.queues[*number as usize].is_dead) {
            hash = hash.wrapping_add(1);
        }
        hash
    }

    pub fn find(&self, topic: &str, queue_id: u32) -> Option<QueueNumber> {
        let mut hash = name_hash(topic, queue_id);
        loop {
            let number = *self.by_hash.get(&hash)?;
            let queue = &self.queues[number as usize];
            if !queue.is_dead && queue.queue_id == queue_id && *queue.topic == *topic {
                return Some(QueueNumber(number));
            }
            hash = hash.wrapping_add(1);
        }
    }

    /// The number of a queue, new if there is none.
    pub fn define(&mut self, topic: &str, queue_id: u32) -> QueueNumber {
        if let Some(number) = self.find(topic, queue_id) {
            return number;
        }
        let place = self.free_place(topic, queue_id);
        let number = self.free.pop().unwrap_or(self.queues.len() as u32);
        let mut queue = Queue::new(topic, queue_id);
        queue.defined_in = define_in(&mut self.files, number, &queue);
        if number as usize == self.queues.len() {
            self.queues.push(queue);
        } else {
            self.queues[number as usize] = queue;
        }
        self.by_hash.insert(place, number);
        self.live += 1;
        QueueNumber(number)
    }

    /// Deletes a queue; a later definition of its name starts at offset 0.
    pub fn forget(&mut self, number: QueueNumber) {
        self.files.append(0, |out| item::push_deletion(number.0, out));
        self.queues[number.0 as usize] = Queue::dead();
        self.live -= 1;
    }

    /// Adds an entry and says whether it was new: an offset below the next one is there already.
    pub fn push(&mut self, number: u32, offset: u64, entry: IndexEntry) -> bool {
        let Some(queue) = self.queues.get_mut(number as usize) else { return false };
        if queue.is_dead || offset < queue.next {
            return false;
        }
        if queue.next < offset && !queue.tail.is_empty() {
            seal(&mut self.files, number, queue);
        }
        if queue.tail.is_empty() {
            queue.tail_base = offset;
            if !queue.is_resident {
                queue.is_resident = true;
                self.resident.push(number);
            }
        }
        queue.tail.push(entry);
        queue.next = offset + 1;
        queue.is_dirty = true;
        if queue.tail.len() == BLOCK_ENTRIES {
            seal(&mut self.files, number, queue);
        }
        true
    }

    /// Offset of the next message of a queue that lives.
    pub fn next(&self, number: QueueNumber) -> Option<u64> {
        self.queues.get(number.0 as usize).filter(|queue| !queue.is_dead).map(|queue| queue.next)
    }

    /// Next offsets by number; `None` for those of no queue.
    pub fn nexts(&self) -> impl Iterator<Item = Option<u64>> {
        self.queues.iter().map(|queue| (!queue.is_dead).then_some(queue.next))
    }

    /// Moves the next offset of a queue up to at least `next` and writes that down.
    pub fn raise_next(&mut self, number: u32, next: u64) {
        let queue = &mut self.queues[number as usize];
        if queue.is_dead || next <= queue.next {
            return;
        }
        if !queue.tail.is_empty() {
            seal(&mut self.files, number, queue);
        }
        queue.next = next;
        queue.defined_in = define_in(&mut self.files, number, queue);
    }

    /// Topic and queue id of every queue.
    pub fn names(&self) -> impl Iterator<Item = (&str, u32)> {
        self.queues.iter().filter(|queue| !queue.is_dead).map(|queue| (&*queue.topic, queue.queue_id))
    }

    /// Topic and queue id of a queue.
    pub fn name(&self, number: QueueNumber) -> Option<(String, u32)> {
        let queue = self.queues.get(number.0 as usize).filter(|queue| !queue.is_dead)?;
        Some((queue.topic.to_string(), queue.queue_id))
    }

    /// The block of a queue that begins at `base`: where it lies, first offset of the one before if there is one, and
    /// first offset of what follows.
    pub fn block(&self, number: QueueNumber, base: u64) -> Option<(Place, Option<u64>, u64)> {
        let queue = self.queues.get(number.0 as usize).filter(|queue| !queue.is_dead)?;
        let index = queue.directory.binary_search_by_key(&base, |block| block.base).ok()?;
        let before = index.checked_sub(1).map(|before| queue.directory[before].base);
        let tail_base = if queue.tail.is_empty() { queue.next } else { queue.tail_base };
        let next_base = queue.directory.get(index + 1).map_or(tail_base, |block| block.base);
        Some((queue.directory[index].place, before, next_base))
    }

    /// Forgets a block none of whose entries can be made anew.
    pub fn drop_block(&mut self, number: QueueNumber, base: u64) {
        if let Some(queue) = self.queues.get_mut(number.0 as usize) {
            queue.directory.retain(|block| block.base != base);
        }
    }

    /// How many queues there are.
    pub fn live(&self) -> usize {
        self.live
    }

    /// The entries at `offset` and after that lie together; those in memory are put into `out`.
    pub fn chunk(&self, number: QueueNumber, offset: u64, out: &mut Vec<IndexEntry>) -> Chunk {
        out.clear();
        let Some(queue) = self.queues.get(number.0 as usize) else { return Chunk::End };
        if queue.next <= offset {
            return Chunk::End;
        }
        let after = queue.directory.partition_point(|block| block.base <= offset);
        let in_tail = !queue.tail.is_empty() && (queue.tail_base <= offset || queue.directory.is_empty());
        if in_tail {
            let first = offset.max(queue.tail_base);
            out.extend_from_slice(&queue.tail[(first - queue.tail_base) as usize..]);
            return Chunk::Memory { first, next_base: queue.next };
        }
        let Some(block) = queue.directory.get(after.saturating_sub(1)) else { return Chunk::End };
        let tail_base = if queue.tail.is_empty() { queue.next } else { queue.tail_base };
        let next_base = queue.directory.get(after.max(1)).map_or(tail_base, |block| block.base);
        match self.files.source(block.place) {
            Some(Source::File(file, at)) => Chunk::Stored { base: block.base, next_base, file, at },
            Some(Source::Memory(bytes)) => match item::read_block(bytes, number.0, block.base, out) {
                Some(_) => Chunk::Memory { first: block.base, next_base },
                None => Chunk::End,
            },
            None => Chunk::End,
        }
    }

    /// Bases of a queue's blocks and tail, for searches.
    pub fn bases(&self, number: QueueNumber) -> Vec<u64> {
        let Some(queue) = self.queues.get(number.0 as usize) else { return Vec::new() };
        let tail = (!queue.tail.is_empty()).then_some(queue.tail_base);
        queue.directory.iter().map(|block| block.base).chain(tail).collect()
    }

    /// The queue's first offset, if it was looked up since the log's start moved to `log_start`.
    pub fn min(&self, number: QueueNumber, log_start: u64) -> Option<u64> {
        let queue = self.queues.get(number.0 as usize)?;
        (queue.min_start == log_start).then_some(queue.min)
    }

    pub fn set_min(&mut self, number: QueueNumber, log_start: u64, min: u64) {
        if let Some(queue) = self.queues.get_mut(number.0 as usize) {
            queue.min = min;
            queue.min_start = log_start;
        }
    }

    /// Queues whose tails have to be looked at by [`QueueIndex::save_tails`].
    pub fn take_resident(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.resident)
    }

    /// Saves the tails of some queues: those that changed are written, those that did not leave memory.
    pub fn save_tails(&mut self, numbers: &[u32]) {
        for &number in numbers {
            let queue = &mut self.queues[number as usize];
            if queue.is_dead || !queue.is_resident {
                continue;
            }
            if queue.is_dirty {
                queue.is_dirty = false;
                save(&mut self.files, number, queue);
                self.resident.push(number);
                continue;
            }
            if let Some(place) = queue.saved.take() {
                let base = queue.tail_base;
                queue.add_block(base, place);
                queue.directory.shrink_to_fit();
            }
            queue.tail = Vec::new();
            queue.is_resident = false;
        }
    }

    /// Forgets index files that only speak of what lies before `log_start`. Returns their paths: they may be removed
    /// once a checkpoint no longer names them.
    pub fn retire(&mut self, log_start: u64) -> Vec<String> {
        let Some(last) = self.files.retired(log_start) else { return Vec::new() };
        for (number, queue) in self.queues.iter_mut().enumerate() {
            let old = queue.directory.partition_point(|block| block.place.segment() <= last);
            queue.directory.drain(..old);
            if queue.is_dead || last < queue.defined_in {
                continue;
            }
            // The definition states the next offset, so what lies before must be saved when it is.
            if queue.is_dirty || queue.saved.is_some_and(|place| place.segment() <= last) {
                save(&mut self.files, number as u32, queue);
            }
            queue.defined_in = define_in(&mut self.files, number as u32, queue);
        }
        self.files.forget_through(last)
    }

    /// Where to read what lies at `place`.
    pub fn source(&self, place: Place) -> Option<Source<'_>> {
        self.files.source(place)
    }

    pub fn files(&mut self) -> &mut IndexFiles {
        &mut self.files
    }

    /// Bytes in files and in memory.
    pub fn bytes(&self) -> (u64, u64) {
        let (files, pending) = self.files.bytes();
        let queues = self.queues.capacity() * size_of::<Queue>()
            + self.by_hash.capacity() * size_of::<(u64, u32)>()
            + self.queues.iter().map(queue_heap_bytes).sum::<usize>();
        (files, pending + queues as u64)
    }
}

fn queue_heap_bytes(queue: &Queue) -> usize {
    queue.topic.len()
        + queue.tail.capacity() * size_of::<IndexEntry>()
        + queue.directory.capacity() * size_of::<BlockRef>()
}

/// Writes the definition of a queue and returns the file it went to.
fn define_in(files: &mut IndexFiles, number: u32, queue: &Queue) -> u32 {
    let definition = |out: &mut Vec<u8>| item::push_definition(number, &queue.topic, queue.queue_id, queue.next, out);
    files.append(0, definition).segment()
}

/// Makes the tail a block of the directory.
fn seal(files: &mut IndexFiles, number: u32, queue: &mut Queue) {
    let base = queue.tail_base;
    let last = queue.tail[queue.tail.len() - 1].position;
    let place = files.append(last, |out| item::push_block(number, base, &queue.tail, out));
    queue.add_block(base, place);
    queue.tail.clear();
    queue.saved = None;
}

/// Writes the tail as a block but keeps it.
fn save(files: &mut IndexFiles, number: u32, queue: &mut Queue) {
    if let Some(last) = queue.tail.last() {
        let place = files.append(last.position, |out| item::push_block(number, queue.tail_base, &queue.tail, out));
        queue.saved = Some(place);
    }
}

/// A queue while its items are read.
struct Loaded {
    queue: Queue,
    is_defined: bool,
    is_mentioned: bool,
}

/// Takes one item of the files in; `false` when it makes no sense.
fn load_item(loaded: &mut Vec<Loaded>, place: Place, header: &Header, payload: &[u8]) -> bool {
    let number = header.queue as usize;
    // Numbers are dense: a far one means that the header is wrong after all.
    if loaded.len() + (1 << 24) < number {
        return false;
    }
    while loaded.len() <= number {
        loaded.push(Loaded { queue: Queue::new("", 0), is_defined: false, is_mentioned: false });
    }
    let entry = &mut loaded[number];
    entry.is_mentioned = true;
    match header.kind {
        Kind::Block => {
            entry.queue.add_block(header.offset, place);
            entry.queue.next = entry.queue.next.max(header.offset + u64::from(header.count));
        }
        Kind::Definition => {
            let Ok(topic) = std::str::from_utf8(payload) else { return false };
            entry.queue.topic = topic.into();
            entry.queue.queue_id = header.queue_id;
            entry.queue.defined_in = place.segment();
            entry.queue.next = entry.queue.next.max(header.offset);
            entry.is_defined = true;
        }
        Kind::Deletion => {
            *entry = Loaded { queue: Queue::new("", 0), is_defined: false, is_mentioned: true };
        }
    }
    true
}
