//! Which messages come back when.
//!
//! One bucket per hour in which messages are due. A bucket is a file to which entries are appended: a message that
//! waits, or one that is settled. Only buckets that are due soon are loaded; the others cost what waits to be written.
//! A message leaves when the log takes a record that settles it, so that its delivery and the note of its delivery are
//! one write.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::Arc;

use crate::checkpoint::BucketExtent;
use crate::disk::{Disk, DiskFile, read_exact_at};
use crate::position::LogPosition;
use crate::segment::{i64_at, u32_at, u64_at};

/// Directory of the due index.
pub(crate) const DIR: &str = "due";
const HOUR_MS: i64 = 3_600_000;
/// Bytes of one entry: due time, position, size, checksum. Size 0 says that the message is settled.
/// Begins each file; the last byte is the version. It fills the place of an entry.
pub(crate) const MAGIC: &[u8; 8] = b"APOGDUE1";
const ENTRY_BYTES: usize = 24;
/// Where the checksum of an entry lies, and that of the header.
pub(crate) const CRC_AT: usize = 20;
/// A loaded bucket larger than this is written anew when most of it is settled.
const COMPACT_BYTES_MIN: u64 = 64 << 10;
/// How many times larger than needed a bucket may be before it is written anew.
const COMPACT_WASTE_MAX: u64 = 4;

/// A message that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// When it is due, in milliseconds since 1970.
    pub due_ms: i64,
    /// Where its record lies.
    pub position: LogPosition,
    /// Bytes of the record.
    pub size: u32,
}

/// Messages that are due and were not given out are counted up to here: nobody may wait for more.
const OVERDUE_COUNTED_MAX: usize = 10_000;

/// How much waits to come back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DueBacklog {
    /// Messages by the hour in which they are due, in hours since 1970. Of hours that are not soon, those that were taken
    /// back count until their hour is near.
    pub hours: Vec<(i64, usize)>,
    /// Messages that are due and were given to nobody, 10,000 at most.
    pub overdue: usize,
    /// When the first message is due that is known and was given to nobody, in milliseconds since 1970.
    pub first_due_ms: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct DueEntry {
    due_ms: i64,
    position: u64,
    /// 0 when the message is settled.
    size: u32,
}

impl DueEntry {
    fn push(self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.due_ms.to_be_bytes());
        out.extend_from_slice(&self.position.to_be_bytes());
        out.extend_from_slice(&self.size.to_be_bytes());
        let crc = crc32fast::hash(&out[start..]);
        out.extend_from_slice(&crc.to_be_bytes());
    }

    fn parse(bytes: &[u8]) -> Option<DueEntry> {
        (u32_at(bytes, CRC_AT) == crc32fast::hash(&bytes[..CRC_AT])).then(|| DueEntry {
            due_ms: i64_at(bytes, 0),
            position: u64_at(bytes, 8),
            size: u32_at(bytes, 16),
        })
    }
}

struct Bucket {
    /// Tells files of one hour apart: each file is only ever appended to.
    generation: u32,
    file: Option<Arc<dyn DiskFile>>,
    /// Bytes of the file that count.
    written: u64,
    /// Entries that follow them.
    waiting: Vec<DueEntry>,
    /// Messages that wait, if the bucket is loaded.
    pending: usize,
    is_loaded: bool,
    /// No message of the bucket lies before this position.
    first_position: u64,
    is_dirty: bool,
    /// The file is damaged and has to be replaced.
    is_damaged: bool,
}

/// What has to be written of one bucket.
pub(crate) struct BucketWrite {
    hour: i64,
    generation: u32,
    file: Option<Arc<dyn DiskFile>>,
    at: u64,
    bytes: Vec<u8>,
    /// Waiting entries that this covers.
    covers: usize,
    /// Path of the file that this replaces.
    replaces: Option<String>,
}

/// A bucket whose file has to be read.
pub(crate) struct BucketRead {
    pub hour: i64,
    file: Option<Arc<dyn DiskFile>>,
    bytes: u64,
}

pub(crate) struct DueIndex {
    buckets: BTreeMap<i64, Bucket>,
    /// Messages of loaded buckets that nobody was given yet, by due time and position.
    near: BTreeMap<(i64, u64), u32>,
    /// Messages that were given out or taken and are not settled: due time and size by position. Those of buckets that
    /// are not loaded may have been settled before: only the file says.
    handed: HashMap<u64, (i64, u32)>,
    /// All buckets up to this hour are loaded.
    horizon: i64,
    next_generation: u32,
}

pub(crate) fn hour_of(due_ms: i64) -> i64 {
    due_ms.div_euclid(HOUR_MS)
}

fn path(hour: i64, generation: u32) -> String {
    format!("{DIR}/{hour}.{generation}")
}

impl DueIndex {
    /// The index made of some buckets; all other files are removed. `None` when one is missing or too short.
    pub fn open(disk: &dyn Disk, extents: &[BucketExtent]) -> io::Result<Option<DueIndex>> {
        let names = disk.list(DIR)?;
        let mut index = DueIndex {
            buckets: BTreeMap::new(),
            near: BTreeMap::new(),
            handed: HashMap::new(),
            horizon: i64::MIN,
            next_generation: 1,
        };
        let mut known = HashSet::new();
        for extent in extents {
            let path = path(extent.hour, extent.generation);
            if !names.iter().any(|name| path.ends_with(name) && path.len() == DIR.len() + 1 + name.len()) {
                return Ok(None);
            }
            let file = disk.open(&path)?;
            if file.len()? < extent.bytes {
                return Ok(None);
            }
            file.set_len(extent.bytes)?;
            known.insert(path);
            index.next_generation = index.next_generation.max(extent.generation + 1);
            let bucket = Bucket::new(extent.generation, false);
            let bucket = Bucket { file: Some(file), written: extent.bytes, first_position: 0, ..bucket };
            index.buckets.insert(extent.hour, bucket);
        }
        for name in names {
            let path = format!("{DIR}/{name}");
            if !known.contains(&path) {
                disk.remove(&path)?;
            }
        }
        Ok(Some(index))
    }

    /// A message waits until `due_ms`. Saying so twice does no harm.
    pub fn add(&mut self, due_ms: i64, position: u64, size: u32) {
        if self.handed.contains_key(&position) {
            return;
        }
        let hour = hour_of(due_ms);
        let next_generation = &mut self.next_generation;
        let bucket = self.buckets.entry(hour).or_insert_with(|| {
            *next_generation += 1;
            Bucket::new(*next_generation - 1, hour <= self.horizon)
        });
        if bucket.is_loaded {
            if self.near.insert((due_ms, position), size).is_some() {
                return;
            }
            bucket.pending += 1;
        }
        bucket.first_position = bucket.first_position.min(position);
        bucket.waiting.push(DueEntry { due_ms, position, size });
    }

    /// The message at `position` waits no more: it was delivered, recalled or moved.
    pub fn settle(&mut self, due_ms: i64, position: u64) {
        let Some(bucket) = self.buckets.get_mut(&hour_of(due_ms)) else { return };
        let was_handed = self.handed.remove(&position).is_some();
        if bucket.is_loaded {
            if !was_handed && self.near.remove(&(due_ms, position)).is_none() {
                return;
            }
            bucket.pending -= 1;
        }
        bucket.waiting.push(DueEntry { due_ms, position, size: 0 });
    }

    /// Takes a message so that nobody else is given it, until it is settled or handed back. Says whether it was there to
    /// be taken: of a bucket that is not loaded it is, unless somebody has taken it, even if it was settled before.
    pub fn take(&mut self, due: Due) -> bool {
        let (key, position) = ((due.due_ms, due.position.0), due.position.0);
        let Some(bucket) = self.buckets.get(&hour_of(due.due_ms)) else { return false };
        let is_there = if bucket.is_loaded { self.near.remove(&key).is_some() } else { true };
        if !is_there || self.handed.contains_key(&position) {
            return false;
        }
        self.handed.insert(position, (due.due_ms, due.size));
        true
    }

    /// When a message that was given out is due.
    pub fn handed_due(&self, position: u64) -> Option<i64> {
        self.handed.get(&position).map(|(due_ms, _)| *due_ms)
    }

    /// Gives out up to `max` messages that are due at `now_ms`. Buckets up to then must be loaded.
    pub fn take_due(&mut self, now_ms: i64, max: usize) -> Vec<Due> {
        let mut taken = Vec::new();
        while taken.len() < max
            && let Some(first) = self.near.first_entry()
            && first.key().0 <= now_ms
        {
            let ((due_ms, position), size) = first.remove_entry();
            self.handed.insert(position, (due_ms, size));
            taken.push(Due { due_ms, position: LogPosition(position), size });
        }
        taken
    }

    /// Takes back a message that was given out.
    pub fn hand_back(&mut self, position: u64) {
        let Some((due_ms, size)) = self.handed.remove(&position) else { return };
        if self.is_loaded_at(due_ms) {
            self.near.insert((due_ms, position), size);
        }
    }

    fn is_loaded_at(&self, due_ms: i64) -> bool {
        self.buckets.get(&hour_of(due_ms)).is_some_and(|bucket| bucket.is_loaded)
    }

    /// Not after the time at which the next message is due that nobody was given.
    pub fn next_due_ms(&self) -> Option<i64> {
        let near = self.near.first_key_value().map(|((due_ms, _), _)| *due_ms);
        let far =
            self.buckets.iter().find(|(_, bucket)| !bucket.is_loaded).map(|(hour, _)| hour.saturating_mul(HOUR_MS));
        near.into_iter().chain(far).min()
    }

    /// How much waits, as of `now_ms`.
    pub fn backlog(&self, now_ms: i64) -> DueBacklog {
        let of_bucket = |bucket: &Bucket| match bucket.is_loaded {
            true => bucket.pending,
            // The header fills the place of an entry.
            false => (bucket.written as usize / ENTRY_BYTES).saturating_sub(1) + bucket.waiting.len(),
        };
        let overdue = self.near.range(..(now_ms, 0));
        DueBacklog {
            hours: self.buckets.iter().map(|(hour, bucket)| (*hour, of_bucket(bucket))).collect(),
            overdue: overdue.take(OVERDUE_COUNTED_MAX).count(),
            first_due_ms: self.near.first_key_value().map(|((due_ms, _), _)| *due_ms),
        }
    }

    /// The hour after that of `now_ms`: buckets up to it should be loaded.
    pub fn wanted_horizon(now_ms: i64) -> i64 {
        hour_of(now_ms) + 1
    }

    /// A bucket up to `horizon` that is not loaded. With none left, new buckets up to there begin loaded.
    pub fn next_unloaded(&mut self, horizon: i64) -> Option<BucketRead> {
        if horizon <= self.horizon {
            return None;
        }
        let unloaded = self.buckets.range(..=horizon).find(|(_, bucket)| !bucket.is_loaded);
        match unloaded {
            Some((hour, bucket)) => Some(BucketRead { hour: *hour, file: bucket.file.clone(), bytes: bucket.written }),
            None => {
                self.horizon = horizon;
                None
            }
        }
    }

    /// Whether [`DueIndex::next_unloaded`] has something to do.
    pub fn is_loaded(&self, horizon: i64) -> bool {
        horizon <= self.horizon
    }

    /// Takes in what was read of a bucket; what waits to be written comes after it.
    pub fn loaded(&mut self, hour: i64, mut pending: HashMap<u64, (i64, u32)>) {
        let Some(bucket) = self.buckets.get_mut(&hour).filter(|bucket| !bucket.is_loaded) else { return };
        for entry in &bucket.waiting {
            apply(&mut pending, *entry);
        }
        bucket.is_loaded = true;
        bucket.pending = pending.len();
        // What was taken before it was known to wait is not given out, if it does wait.
        self.handed.retain(|position, (due_ms, _)| hour_of(*due_ms) != hour || pending.contains_key(position));
        pending.retain(|position, _| !self.handed.contains_key(position));
        let mut sorted: Vec<_> =
            pending.into_iter().map(|(position, (due_ms, size))| ((due_ms, position), size)).collect();
        sorted.sort_unstable();
        if self.near.is_empty() {
            // Built from sorted entries the tree is dense.
            self.near = sorted.into_iter().collect();
        } else {
            self.near.extend(sorted);
        }
    }

    /// Takes in what the log says of a bucket whose file is damaged. The next write replaces the file.
    pub fn made_anew(&mut self, hour: i64, pending: HashMap<u64, (i64, u32)>) {
        if let Some(bucket) = self.buckets.get_mut(&hour).filter(|bucket| !bucket.is_loaded) {
            bucket.is_damaged = true;
            self.loaded(hour, pending);
        }
    }

    /// Entries that wait to be written.
    pub fn waiting(&self) -> usize {
        self.buckets.values().map(|bucket| bucket.waiting.len()).sum()
    }

    /// What has to be written so that the files say what is known now. Buckets in which nothing waits any more are
    /// forgotten; the paths of their files are added to `doomed`.
    pub fn start_writes(&mut self, doomed: &mut Vec<String>) -> Vec<BucketWrite> {
        let horizon = self.horizon;
        self.buckets.retain(|hour, bucket| {
            let is_done = bucket.is_loaded && bucket.pending == 0 && *hour <= horizon;
            if is_done && bucket.file.is_some() {
                doomed.push(path(*hour, bucket.generation));
            }
            !is_done
        });
        let mut writes = Vec::new();
        for (&hour, bucket) in &mut self.buckets {
            if bucket.is_loaded {
                bucket.drop_pairs();
            }
            let needed = (bucket.pending * ENTRY_BYTES) as u64;
            let is_wasteful =
                bucket.is_loaded && COMPACT_BYTES_MIN < bucket.written && COMPACT_WASTE_MAX * needed < bucket.written;
            let is_wasteful = is_wasteful || bucket.is_damaged;
            if !is_wasteful && bucket.waiting.is_empty() {
                continue;
            }
            let mut write = BucketWrite {
                hour,
                generation: bucket.generation,
                file: bucket.file.clone(),
                at: bucket.written,
                bytes: Vec::new(),
                covers: bucket.waiting.len(),
                replaces: None,
            };
            if is_wasteful {
                write.replaces = Some(path(hour, bucket.generation));
                write.generation = self.next_generation;
                self.next_generation += 1;
                (write.file, write.at) = (None, 0);
                write.bytes = header();
                let from = (hour.saturating_mul(HOUR_MS), 0);
                let to = (hour.saturating_add(1).saturating_mul(HOUR_MS), 0);
                let hour_entries = self.near.range(from..to);
                let near = hour_entries.map(|((due_ms, position), size)| (*position, *due_ms, *size));
                let handed = self.handed.iter().map(|(position, (due_ms, size))| (*position, *due_ms, *size));
                for (position, due_ms, size) in near.chain(handed.filter(|(_, due_ms, _)| hour_of(*due_ms) == hour)) {
                    DueEntry { due_ms, position, size }.push(&mut write.bytes);
                }
            } else {
                if write.file.is_none() {
                    write.bytes = header();
                }
                bucket.waiting.iter().for_each(|entry| entry.push(&mut write.bytes));
            }
            writes.push(write);
        }
        writes
    }

    /// Notes that a write of [`DueIndex::start_writes`] was done.
    pub fn wrote(&mut self, write: BucketWrite, doomed: &mut Vec<String>) {
        if let Some(bucket) = self.buckets.get_mut(&write.hour) {
            bucket.waiting.drain(..write.covers);
            bucket.generation = write.generation;
            bucket.written = write.at + write.bytes.len() as u64;
            bucket.file = write.file;
            bucket.is_dirty = true;
            bucket.is_damaged &= write.replaces.is_none();
            doomed.extend(write.replaces);
        }
    }

    /// Files to sync before a checkpoint may name them.
    pub fn take_dirty(&mut self) -> Vec<Arc<dyn DiskFile>> {
        let dirty = self.buckets.values_mut().filter(|bucket| bucket.is_dirty);
        dirty
            .filter_map(|bucket| {
                bucket.is_dirty = false;
                bucket.file.clone()
            })
            .collect()
    }

    /// How far the buckets are in files, for the checkpoint.
    pub fn extents(&self) -> Vec<BucketExtent> {
        let in_files = self.buckets.iter().filter(|(_, bucket)| bucket.file.is_some());
        in_files
            .map(|(hour, bucket)| BucketExtent { hour: *hour, generation: bucket.generation, bytes: bucket.written })
            .collect()
    }

    /// Messages of loaded buckets that lie before `end`, and the buckets that have to be read to find the others.
    pub fn pending_before(&self, end: u64) -> (Vec<Due>, Vec<BucketRead>) {
        let near = self.near.iter().map(|((due_ms, position), size)| (*position, *due_ms, *size));
        let handed = self.handed.iter().filter(|(_, (due_ms, _))| self.is_loaded_at(*due_ms));
        let handed = handed.map(|(position, (due_ms, size))| (*position, *due_ms, *size));
        let pending = near.chain(handed).filter(|(position, ..)| *position < end);
        let pending = pending.map(|(position, due_ms, size)| Due { due_ms, position: LogPosition(position), size });
        let unloaded = self.buckets.iter().filter(|(_, bucket)| !bucket.is_loaded && bucket.first_position < end);
        let reads =
            unloaded.map(|(hour, bucket)| BucketRead { hour: *hour, file: bucket.file.clone(), bytes: bucket.written });
        (pending.collect(), reads.collect())
    }

    /// What was read of a bucket, with what waits to be written.
    pub fn complete(&self, hour: i64, mut pending: HashMap<u64, (i64, u32)>) -> HashMap<u64, (i64, u32)> {
        if let Some(bucket) = self.buckets.get(&hour) {
            bucket.waiting.iter().for_each(|entry| apply(&mut pending, *entry));
        }
        pending
    }
}

impl Bucket {
    fn new(generation: u32, is_loaded: bool) -> Bucket {
        Bucket {
            generation,
            file: None,
            written: 0,
            waiting: Vec::new(),
            pending: 0,
            is_loaded,
            first_position: u64::MAX,
            is_dirty: false,
            is_damaged: false,
        }
    }

    /// Drops messages that came and were settled since the last write: most short delays never reach the file.
    fn drop_pairs(&mut self) {
        let added: HashSet<u64> =
            self.waiting.iter().filter(|entry| entry.size != 0).map(|entry| entry.position).collect();
        let settled: HashSet<u64> =
            self.waiting.iter().filter(|entry| entry.size == 0).map(|entry| entry.position).collect();
        self.waiting.retain(|entry| !added.contains(&entry.position) || !settled.contains(&entry.position));
    }
}

/// What a file begins with.
fn header() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ENTRY_BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.resize(CRC_AT, 0);
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_be_bytes());
    bytes
}

fn apply(pending: &mut HashMap<u64, (i64, u32)>, entry: DueEntry) {
    if entry.size == 0 {
        pending.remove(&entry.position);
    } else {
        pending.insert(entry.position, (entry.due_ms, entry.size));
    }
}

/// Brings one write to its file.
pub(crate) fn write_bucket(disk: &dyn Disk, write: &mut BucketWrite) -> io::Result<()> {
    let file = match &write.file {
        Some(file) => file.clone(),
        None => disk.create(&path(write.hour, write.generation))?,
    };
    file.write_at(&write.bytes, write.at)?;
    write.file = Some(file);
    Ok(())
}

/// Messages that wait according to the file of a bucket, by position; `None` when it is damaged.
pub(crate) fn read_bucket(read: &BucketRead) -> io::Result<Option<HashMap<u64, (i64, u32)>>> {
    let mut pending = HashMap::new();
    let Some(file) = &read.file else { return Ok(Some(pending)) };
    let mut bytes = vec![0; read.bytes as usize];
    read_exact_at(&**file, &mut bytes, 0)?;
    let Some(entries) = bytes.strip_prefix(header().as_slice()) else { return Ok(None) };
    for raw in entries.chunks(ENTRY_BYTES) {
        let entry = if raw.len() == ENTRY_BYTES { DueEntry::parse(raw) } else { None };
        match entry {
            Some(entry) => apply(&mut pending, entry),
            None => return Ok(None),
        }
    }
    Ok(Some(pending))
}
