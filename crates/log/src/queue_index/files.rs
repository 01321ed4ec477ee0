//! The files that hold the items of the queue index, one after the other.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::item::{HEADER_BYTES, Header, Kind};
use crate::disk::{Disk, DiskFile, read_exact_at};

/// Directory of the queue index.
pub(crate) const DIR: &str = "index";
/// So many bytes of items are worth a write.
const FLUSH_BYTES_MIN: usize = 256 << 10;
/// Items are collected up to so many bytes; then whoever adds one has to write them.
const PENDING_BYTES_MAX: usize = 4 << 20;
/// Bytes that one read of [`walk`] fetches: an item and the headers of several small ones.
const WALK_BYTES: usize = 4096;

/// Where an item lies: file number in the upper half, byte in the file in the lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(u64);

impl Place {
    fn new(segment: u32, at: u64) -> Place {
        Place(u64::from(segment) << 32 | at)
    }

    pub fn segment(self) -> u32 {
        (self.0 >> 32) as u32
    }

    fn at(self) -> u64 {
        self.0 & u64::from(u32::MAX)
    }
}

/// How far the files count, as the checkpoint keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Number of the first file.
    pub first: u32,
    /// Number of the last file.
    pub last: u32,
    /// Bytes of the last file.
    pub end: u64,
}

/// Where to read an item from.
pub(crate) enum Source<'a> {
    File(Arc<dyn DiskFile>, u64),
    Memory(&'a [u8]),
}

pub(crate) struct IndexFiles {
    disk: Arc<dyn Disk>,
    segment_bytes: u64,
    segments: BTreeMap<u32, IndexSegment>,
    current: u32,
    /// Bytes of the current file that were written.
    written: u64,
    /// Items that follow them.
    pending: Vec<u8>,
    /// Files that changed since they were last synced.
    dirty: Vec<Arc<dyn DiskFile>>,
    current_is_dirty: bool,
    dir_is_dirty: bool,
}

/// Items on their way to a file.
pub(crate) struct Flush {
    segment: u32,
    file: Arc<dyn DiskFile>,
    at: u64,
    bytes: Vec<u8>,
}

impl Flush {
    pub fn write(&self) -> io::Result<()> {
        self.file.write_at(&self.bytes, self.at)
    }
}

struct IndexSegment {
    file: Arc<dyn DiskFile>,
    /// Highest log position that an item of the file mentions.
    last_position: u64,
}

fn path(number: u32) -> String {
    format!("{DIR}/{number:010}")
}

impl IndexFiles {
    /// Removes whatever is there and starts with an empty file.
    pub fn create(disk: Arc<dyn Disk>, segment_bytes: u64) -> io::Result<IndexFiles> {
        for name in disk.list(DIR)? {
            disk.remove(&format!("{DIR}/{name}"))?;
        }
        let mut files = IndexFiles {
            disk,
            segment_bytes,
            segments: BTreeMap::new(),
            current: 0,
            written: 0,
            pending: Vec::new(),
            dirty: Vec::new(),
            current_is_dirty: false,
            dir_is_dirty: false,
        };
        files.start_file(1)?;
        Ok(files)
    }

    /// Opens the files of `extent`, removes all others, and shows every item to `visit`. `None` when something is
    /// missing or damaged.
    pub fn open(
        disk: Arc<dyn Disk>,
        segment_bytes: u64,
        extent: Extent,
        visit: &mut dyn FnMut(Place, &Header, &[u8]) -> bool,
    ) -> io::Result<Option<IndexFiles>> {
        let names = disk.list(DIR)?;
        let mut segments = BTreeMap::new();
        for number in extent.first..=extent.last {
            if !names.contains(&format!("{number:010}")) {
                return Ok(None);
            }
            let file = disk.open(&path(number))?;
            let end = if number == extent.last { extent.end } else { file.len()? };
            if file.len()? < end {
                return Ok(None);
            }
            let mut last_position = 0;
            let whole = walk(&*file, end, &mut |at, header, payload| {
                last_position = last_position.max(header.last_position);
                visit(Place::new(number, at), header, payload)
            })?;
            if !whole {
                return Ok(None);
            }
            segments.insert(number, IndexSegment { file, last_position });
        }
        let Some(last) = segments.get(&extent.last) else { return Ok(None) };
        last.file.set_len(extent.end)?;
        for name in names {
            if !name.parse().is_ok_and(|number: u32| segments.contains_key(&number)) {
                disk.remove(&format!("{DIR}/{name}"))?;
            }
        }
        Ok(Some(IndexFiles {
            disk,
            segment_bytes,
            segments,
            current: extent.last,
            written: extent.end,
            pending: Vec::new(),
            dirty: Vec::new(),
            current_is_dirty: true,
            dir_is_dirty: true,
        }))
    }

    fn start_file(&mut self, number: u32) -> io::Result<()> {
        let file = self.disk.create(&path(number))?;
        if self.current_is_dirty
            && let Some(full) = self.segments.get(&self.current)
        {
            self.dirty.push(full.file.clone());
        }
        self.segments.insert(number, IndexSegment { file, last_position: 0 });
        self.current = number;
        self.written = 0;
        self.current_is_dirty = true;
        self.dir_is_dirty = true;
        Ok(())
    }

    /// Adds an item that `encode` appends and that mentions no log position above `last_position`.
    ///
    /// This cannot fail: what the disk does not take waits in memory until [`IndexFiles::flush`] succeeds.
    pub fn append(&mut self, last_position: u64, encode: impl FnOnce(&mut Vec<u8>)) -> Place {
        if PENDING_BYTES_MAX <= self.pending.len() || self.segment_bytes <= self.written + self.pending.len() as u64 {
            let flushed = self.flush();
            // A file that cannot be followed by the next one grows past its size; its places have 32 bits for that.
            if flushed.is_ok() && self.segment_bytes <= self.written {
                let _ = self.start_file(self.current + 1);
            }
        }
        let place = Place::new(self.current, self.written + self.pending.len() as u64);
        encode(&mut self.pending);
        if let Some(segment) = self.segments.get_mut(&self.current) {
            segment.last_position = segment.last_position.max(last_position);
        }
        place
    }

    /// Bytes to write at a place of a file, so that they need not be written under the lock that guards the index.
    pub fn start_flush(&self) -> Option<Flush> {
        if self.pending.len() < FLUSH_BYTES_MIN {
            return None;
        }
        let file = self.segments.get(&self.current)?.file.clone();
        Some(Flush { segment: self.current, file, at: self.written, bytes: self.pending.clone() })
    }

    /// Notes that a flush was written, unless somebody else wrote the same in the meantime.
    pub fn flushed(&mut self, flush: &Flush) {
        if (flush.segment, flush.at) == (self.current, self.written) {
            self.written += flush.bytes.len() as u64;
            self.pending.drain(..flush.bytes.len());
            self.current_is_dirty = true;
        }
    }

    /// Writes what waits in memory.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        if let Some(segment) = self.segments.get(&self.current) {
            segment.file.write_at(&self.pending, self.written)?;
            self.current_is_dirty = true;
        }
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// Files to sync, and whether the directory changed. They count as changed again after
    /// [`IndexFiles::sync_failed`].
    pub fn take_dirty(&mut self) -> (Vec<Arc<dyn DiskFile>>, bool) {
        let mut dirty = std::mem::take(&mut self.dirty);
        if self.current_is_dirty
            && let Some(current) = self.segments.get(&self.current)
        {
            dirty.push(current.file.clone());
        }
        self.current_is_dirty = false;
        (dirty, std::mem::take(&mut self.dir_is_dirty))
    }

    /// Notes that a file was changed in place and has to be synced.
    pub fn changed(&mut self, file: Arc<dyn DiskFile>) {
        self.dirty.push(file);
    }

    /// How far the files count now. Call [`IndexFiles::flush`] before.
    pub fn extent(&self) -> Extent {
        let first = self.segments.keys().next().copied().unwrap_or(self.current);
        Extent { first, last: self.current, end: self.written }
    }

    /// Where to read the item at `place`.
    pub fn source(&self, place: Place) -> Option<Source<'_>> {
        if place.segment() == self.current && self.written <= place.at() {
            return Some(Source::Memory(&self.pending[(place.at() - self.written) as usize..]));
        }
        Some(Source::File(self.segments.get(&place.segment())?.file.clone(), place.at()))
    }

    /// Number of the newest file that, with all before it, mentions nothing at or after `log_start`.
    pub fn retired(&self, log_start: u64) -> Option<u32> {
        let old =
            |(number, segment): &(&u32, &IndexSegment)| **number < self.current && segment.last_position < log_start;
        self.segments.iter().take_while(old).last().map(|(number, _)| *number)
    }

    /// Forgets the files up to `number` and returns their paths, for removal once no checkpoint names them.
    pub fn forget_through(&mut self, number: u32) -> Vec<String> {
        let kept = self.segments.split_off(&(number + 1));
        std::mem::replace(&mut self.segments, kept).into_keys().map(path).collect()
    }

    /// Bytes in files and in memory.
    pub fn bytes(&self) -> (u64, u64) {
        let closed = self.segments.range(..self.current).map(|(_, segment)| segment.file.len().unwrap_or(0));
        (closed.sum::<u64>() + self.written, self.pending.capacity() as u64)
    }
}

/// Shows the items of all files to `visit`, of each file up to the first that is damaged.
pub(crate) fn salvage(disk: &dyn Disk, visit: &mut dyn FnMut(Place, &Header, &[u8]) -> bool) -> io::Result<()> {
    for name in disk.list(DIR)? {
        let Ok(number) = name.parse() else { continue };
        let file = disk.open(&format!("{DIR}/{name}"))?;
        let end = file.len()?;
        walk(&*file, end, &mut |at, header, payload| visit(Place::new(number, at), header, payload))?;
    }
    Ok(())
}

/// Shows all items of a file up to byte `end` to `visit`; `false` when one is damaged or refused. The payload of
/// blocks is left out: it is checked when it is read.
fn walk(file: &dyn DiskFile, end: u64, visit: &mut dyn FnMut(u64, &Header, &[u8]) -> bool) -> io::Result<bool> {
    let mut window = vec![0; WALK_BYTES];
    let (mut from, mut filled) = (0, 0);
    let mut at = 0;
    while at < end {
        if at < from || from + (filled as u64) < at + HEADER_BYTES as u64 {
            filled = file.read_at(&mut window, at)?;
            from = at;
        }
        let Some(header) = Header::parse(&window[(at - from) as usize..filled]) else { return Ok(false) };
        let next = at + (HEADER_BYTES + header.payload_bytes()) as u64;
        if end < next {
            return Ok(false);
        }
        let mut payload = Vec::new();
        if header.kind == Kind::Definition {
            payload.resize(header.payload_bytes(), 0);
            read_exact_at(file, &mut payload, at + HEADER_BYTES as u64)?;
            if crc32fast::hash(&payload) != header.payload_crc {
                return Ok(false);
            }
        }
        if !visit(at, &header, &payload) {
            return Ok(false);
        }
        at = next;
    }
    Ok(at == end)
}
