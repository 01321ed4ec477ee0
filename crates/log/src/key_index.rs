//! Which messages carry which key.
//!
//! Only a hash of topic and key is kept, with the position of the record; whoever asks compares with the record itself.
//! Entries are collected in memory. A full collection is sorted by hash and becomes one file, a run; searches look
//! through the collections and then, newest first, through the runs whose time fits.
//!
//! A run consists of pages with a checksum each, so that a search notices damage where it looks.

use std::io;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::disk::{Disk, read_exact_at};
use crate::segment::{i64_at, u32_at, u64_at};

/// Directory of the key index.
pub(crate) const DIR: &str = "keys";
/// Begins each file; the last byte is the version.
pub(crate) const MAGIC: &[u8; 8] = b"APOGKEY1";
const PAGE_BYTES: usize = 4096;
const ENTRY_BYTES: usize = 16;
const PAGE_ENTRIES: usize = 255;
/// Where the checksum of a page lies.
pub(crate) const PAGE_CRC_AT: usize = PAGE_BYTES - 4;

/// The hash under which a message of `topic` is found by `key`. It is kept in files, so it must never change.
pub(crate) fn key_hash(topic: &str, key: &str, scratch: &mut Vec<u8>) -> u64 {
    scratch.clear();
    scratch.extend_from_slice(topic.as_bytes());
    scratch.push(0);
    scratch.extend_from_slice(key.as_bytes());
    xxh3_64(scratch)
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct KeyEntry {
    hash: u64,
    position: u64,
}

/// What part of the log some entries come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    first_position: u64,
    last_position: u64,
    first_ms: i64,
    last_ms: i64,
}

impl Reach {
    fn overlaps(&self, begin_ms: i64, end_ms: i64) -> bool {
        begin_ms <= self.last_ms && self.first_ms <= end_ms
    }
}

/// Entries in memory, in the order of the log.
#[derive(Debug)]
pub(crate) struct Collection {
    entries: Vec<KeyEntry>,
    reach: Reach,
}

impl Collection {
    /// The keys of some records, in the order of the log: hashes, position and store time of each. `None` if there are
    /// none.
    pub fn of(records: &[(Vec<u64>, u64, i64)]) -> Option<Collection> {
        let ((_, first_position, first_ms), (_, last_position, last_ms)) = (records.first()?, records.last()?);
        let reach = Reach {
            first_position: *first_position,
            last_position: *last_position,
            first_ms: *first_ms,
            last_ms: *last_ms,
        };
        let keys = records.iter().flat_map(|(hashes, position, _)| hashes.iter().map(|hash| (*hash, *position)));
        Some(Collection { entries: keys.map(|(hash, position)| KeyEntry { hash, position }).collect(), reach })
    }

    fn find(&self, hash: u64, out: &mut Vec<u64>) {
        out.extend(self.entries.iter().filter(|entry| entry.hash == hash).map(|entry| entry.position));
    }
}

/// A file of sorted entries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    number: u64,
    count: u64,
    reach: Reach,
}

pub(crate) struct KeyIndex {
    recent: Option<Collection>,
    full: Vec<Arc<Collection>>,
    runs: Vec<Run>,
    next_number: u64,
    run_entries: usize,
}

fn path(number: u64) -> String {
    format!("{DIR}/{number:020}")
}

impl KeyIndex {
    /// The index made of some runs; all other files are removed. `None` when a run is missing or damaged.
    pub fn open(disk: &dyn Disk, run_entries: usize, numbers: &[u64]) -> io::Result<Option<KeyIndex>> {
        let mut runs = Vec::with_capacity(numbers.len());
        for &number in numbers {
            match read_header(disk, number)? {
                Some(run) => runs.push(run),
                None => return Ok(None),
            }
        }
        for name in disk.list(DIR)? {
            if !name.parse().is_ok_and(|number: u64| numbers.contains(&number)) {
                disk.remove(&format!("{DIR}/{name}"))?;
            }
        }
        let next_number = numbers.iter().max().map_or(1, |number| number + 1);
        let run_entries = run_entries.max(1);
        Ok(Some(KeyIndex { recent: None, full: Vec::new(), runs, next_number, run_entries }))
    }

    /// Adds the keys of one record.
    pub fn push(&mut self, hashes: &[u64], position: u64, store_ms: i64) {
        let recent = self.recent.get_or_insert_with(|| Collection {
            entries: Vec::new(),
            reach: Reach { first_position: position, last_position: position, first_ms: store_ms, last_ms: store_ms },
        });
        recent.reach.last_position = position;
        recent.reach.last_ms = store_ms;
        recent.entries.extend(hashes.iter().map(|hash| KeyEntry { hash: *hash, position }));
        // The keys of a record stay together, so that a position tells which records are in runs.
        if self.run_entries <= recent.entries.len() {
            self.close();
        }
    }

    /// Makes the newest collection ready to be written, however small it is.
    pub fn close(&mut self) {
        self.full.extend(self.recent.take().map(Arc::new));
    }

    /// Position of the first record with keys that are in no run.
    pub fn unsaved_from(&self) -> Option<u64> {
        self.full.first().map(|full| &**full).or(self.recent.as_ref()).map(|collection| collection.reach.first_position)
    }

    /// The oldest collection that is ready to be written, and the number that its run gets.
    pub fn to_write(&self) -> Option<(Arc<Collection>, u64)> {
        Some((self.full.first()?.clone(), self.next_number))
    }

    /// Puts the run in the place of the collection it was made of.
    pub fn wrote(&mut self, run: Run) {
        self.full.remove(0);
        self.runs.push(run);
        self.next_number = run.number + 1;
    }

    /// What part of the log a run speaks of, first and last position, and the number that a new run gets.
    pub fn reach_of(&self, number: u64) -> Option<(u64, u64, u64)> {
        let run = self.runs.iter().find(|run| run.number == number)?;
        Some((run.reach.first_position, run.reach.last_position, self.next_number))
    }

    /// Puts a run that was made anew in the place of a damaged one; returns the path of that. Without one, nothing is
    /// left of what it spoke of.
    pub fn replace(&mut self, damaged: u64, anew: Option<Run>) -> String {
        self.next_number = anew.map_or(self.next_number, |run| run.number + 1);
        if let Some(index) = self.runs.iter().position(|run| run.number == damaged) {
            self.runs.splice(index..=index, anew);
        }
        path(damaged)
    }

    /// Numbers of the runs, for the checkpoint.
    pub fn run_numbers(&self) -> Vec<u64> {
        self.runs.iter().map(|run| run.number).collect()
    }

    /// Forgets runs that only speak of what lies before `log_start`, and returns their paths.
    pub fn retire(&mut self, log_start: u64) -> Vec<String> {
        let old = |run: &Run| run.reach.last_position < log_start;
        let paths = self.runs.iter().filter(|run| old(run)).map(|run| path(run.number)).collect();
        self.runs.retain(|run| !old(run));
        paths
    }

    /// Positions found in memory, newest first.
    pub fn find_in_memory(&self, hash: u64, begin_ms: i64, end_ms: i64) -> Vec<u64> {
        let mut found = Vec::new();
        let collections = self.full.iter().map(|full| &**full).chain(&self.recent);
        for collection in collections.filter(|collection| collection.reach.overlaps(begin_ms, end_ms)) {
            collection.find(hash, &mut found);
        }
        found.sort_unstable_by(|one, other| other.cmp(one));
        found.dedup();
        found
    }

    /// Runs that may have something from that time, newest first.
    pub fn runs_in(&self, begin_ms: i64, end_ms: i64) -> Vec<Run> {
        self.runs.iter().rev().filter(|run| run.reach.overlaps(begin_ms, end_ms)).copied().collect()
    }

    /// Entries in memory.
    #[cfg(test)]
    fn entries_in_memory(&self) -> usize {
        self.full.iter().map(|full| &**full).chain(&self.recent).map(|collection| collection.entries.len()).sum()
    }
}

/// Writes a collection as a run; it counts once a checkpoint names it.
pub(crate) fn write_run(disk: &dyn Disk, number: u64, collection: &Collection) -> io::Result<Run> {
    let mut entries = collection.entries.clone();
    entries.sort_unstable();
    let mut bytes = header(entries.len() as u64, &collection.reach);
    for page in entries.chunks(PAGE_ENTRIES) {
        let start = bytes.len();
        for entry in page {
            bytes.extend_from_slice(&entry.hash.to_be_bytes());
            bytes.extend_from_slice(&entry.position.to_be_bytes());
        }
        bytes.resize(start + PAGE_CRC_AT, 0);
        let crc = crc32fast::hash(&bytes[start..]);
        bytes.extend_from_slice(&crc.to_be_bytes());
    }
    let file = disk.create(&path(number))?;
    file.write_at(&bytes, 0)?;
    file.sync_data()?;
    disk.sync_dir(DIR)?;
    Ok(Run { number, count: entries.len() as u64, reach: collection.reach })
}

/// The page before the entries.
fn header(count: u64, reach: &Reach) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PAGE_BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&count.to_be_bytes());
    bytes.extend_from_slice(&reach.first_position.to_be_bytes());
    bytes.extend_from_slice(&reach.last_position.to_be_bytes());
    bytes.extend_from_slice(&reach.first_ms.to_be_bytes());
    bytes.extend_from_slice(&reach.last_ms.to_be_bytes());
    bytes.resize(PAGE_CRC_AT, 0);
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_be_bytes());
    bytes
}

fn pages(count: u64) -> u64 {
    count.div_ceil(PAGE_ENTRIES as u64)
}

fn read_header(disk: &dyn Disk, number: u64) -> io::Result<Option<Run>> {
    let file = match disk.open(&path(number)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut page = [0; PAGE_BYTES];
    if file.read_at(&mut page, 0)? < PAGE_BYTES || !is_page_whole(&page) || &page[..8] != MAGIC {
        return Ok(None);
    }
    let count = u64_at(&page, 8);
    let reach = Reach {
        first_position: u64_at(&page, 16),
        last_position: u64_at(&page, 24),
        first_ms: i64_at(&page, 32),
        last_ms: i64_at(&page, 40),
    };
    let is_whole = file.len()? == (1 + pages(count)) * PAGE_BYTES as u64;
    Ok(is_whole.then_some(Run { number, count, reach }))
}

fn is_page_whole(page: &[u8; PAGE_BYTES]) -> bool {
    u32_at(page, PAGE_CRC_AT) == crc32fast::hash(&page[..PAGE_CRC_AT])
}

impl Run {
    /// Positions found in the run, newest first; `None` when a page is damaged.
    pub fn find(&self, disk: &dyn Disk, hash: u64) -> io::Result<Option<Vec<u64>>> {
        let file = disk.open(&path(self.number))?;
        let mut page = [0; PAGE_BYTES];
        let read = |index: u64, page: &mut [u8; PAGE_BYTES]| -> io::Result<Option<usize>> {
            read_exact_at(&*file, page, (1 + index) * PAGE_BYTES as u64)?;
            let before = index * PAGE_ENTRIES as u64;
            Ok(is_page_whole(page).then_some((self.count - before).min(PAGE_ENTRIES as u64) as usize))
        };
        // The first page whose last hash is not smaller.
        let (mut low, mut high) = (0, pages(self.count));
        while low < high {
            let middle = low.midpoint(high);
            let Some(entries) = read(middle, &mut page)? else { return Ok(None) };
            if u64_at(&page, (entries - 1) * ENTRY_BYTES) < hash { low = middle + 1 } else { high = middle }
        }
        let mut found = Vec::new();
        for index in low..pages(self.count) {
            let Some(entries) = read(index, &mut page)? else { return Ok(None) };
            let before = found.len();
            let hashes = page[..entries * ENTRY_BYTES].chunks_exact(ENTRY_BYTES);
            found.extend(hashes.filter(|entry| u64_at(entry, 0) == hash).map(|entry| u64_at(entry, 8)));
            if found.len() == before || u64_at(&page, (entries - 1) * ENTRY_BYTES) != hash {
                break;
            }
        }
        found.sort_unstable_by(|one, other| other.cmp(one));
        found.dedup();
        Ok(Some(found))
    }

    /// Path of the run's file, for error texts.
    pub fn number(&self) -> u64 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    /// An index of `count` records, of which each third has hash 7, in collections of 300.
    fn filled(disk: &MemoryDisk, count: u64) -> KeyIndex {
        let mut index = KeyIndex::open(disk, 300, &[]).unwrap().unwrap();
        for n in 0..count {
            index.push(&[if n % 3 == 0 { 7 } else { n.wrapping_mul(0x9E37_79B9_7F4A_7C15) }], n, n as i64);
        }
        index
    }

    fn write_all(disk: &MemoryDisk, index: &mut KeyIndex) {
        while let Some((collection, number)) = index.to_write() {
            let run = write_run(disk, number, &collection).unwrap();
            index.wrote(run);
        }
    }

    #[test]
    fn runs_find_what_memory_found() {
        let disk = MemoryDisk::new();
        let mut index = filled(&disk, 10_000);
        let expected = index.find_in_memory(7, 0, i64::MAX);
        assert_eq!(expected.len(), 3_334);
        assert_eq!(index.unsaved_from(), Some(0));
        write_all(&disk, &mut index);
        assert!(index.entries_in_memory() < 300);
        let mut found = index.find_in_memory(7, 0, i64::MAX);
        let reopened = KeyIndex::open(&disk, 300, &index.run_numbers()).unwrap().unwrap();
        for run in reopened.runs_in(0, i64::MAX) {
            found.extend(run.find(&disk, 7).unwrap().unwrap());
        }
        assert_eq!(found, expected);
        assert_eq!(index.runs_in(300, 599).len(), 1);
    }

    #[test]
    fn a_damaged_page_is_noticed_by_the_search_that_needs_it() {
        let disk = MemoryDisk::new();
        let mut index = filled(&disk, 300);
        write_all(&disk, &mut index);
        disk.tamper("keys/00000000000000000001", |bytes| bytes[PAGE_BYTES + 3] ^= 1).unwrap();
        let reopened = KeyIndex::open(&disk, 300, &[1]).unwrap().unwrap();
        assert_eq!(reopened.runs[0].find(&disk, 7).unwrap(), None);
        disk.tamper("keys/00000000000000000001", |bytes| bytes[3] ^= 1).unwrap();
        assert!(KeyIndex::open(&disk, 300, &[1]).unwrap().is_none());
    }
}
