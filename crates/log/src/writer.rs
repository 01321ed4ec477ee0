//! The one who appends: gives positions and offsets, and writes.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use protocol::record::stamp;

use crate::batch::{Batch, Entry};
use crate::commit_log::CommitLog;
use crate::config::{LogConfig, Visibility};
use crate::disk::Disk;
use crate::planted::{self, Fault};
use crate::position::LogPosition;
use crate::segment::{self, FILLER_BYTES, SEAL_BYTES, Segment};

/// Why nothing of a batch was stored.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// A sync failed earlier. Pages that were not written may be gone, so the log takes nothing more until it is
    /// opened again.
    #[error("the log is fenced: a sync failed, so what is on disk is not known")]
    Fenced,
    /// The disk is full. The same batch can be tried again.
    #[error("the disk is full")]
    DiskFull,
    /// The disk refused the write. The same batch can be tried again.
    #[error("the disk cannot be written")]
    Io(#[source] io::Error),
    /// A record is larger than the log takes.
    #[error("record is {size} bytes; the limit is {limit}")]
    RecordTooLarge {
        /// Bytes of the record.
        size: u32,
        /// Largest size.
        limit: u32,
    },
    /// A record names a queue that does not exist, or no more.
    #[error("queue {0} is not defined")]
    UnknownQueue(u32),
}

impl AppendError {
    fn io(error: io::Error) -> AppendError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => AppendError::DiskFull,
            _ => AppendError::Io(error),
        }
    }
}

/// What an append did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// End of the log after the batch: once [`crate::Log::durable`] reaches it, the batch survives a power cut.
    pub end: LogPosition,
    /// The store time that all records of the batch got.
    pub store_timestamp_ms: i64,
}

/// Marks the number of a deleted queue.
const DEAD: u64 = u64::MAX;

pub(crate) struct Writer {
    disk: Arc<dyn Disk>,
    /// Where the next record goes.
    pub end: u64,
    current: Arc<Segment>,
    /// Segments that follow the current one and hold nothing yet.
    ahead: VecDeque<Arc<Segment>>,
    /// Paths of files that may become segments.
    pub spares: VecDeque<String>,
    pub last_store_ms: i64,
    next_offsets: Vec<u64>,
    pub is_fenced: bool,
    /// Segments written since the last sync.
    dirty: Vec<Arc<Segment>>,
    dir_is_dirty: bool,
    /// What a failed write may have left beyond the end. It has to go before anything else is written, or recovery
    /// could take it for records that follow the newest one.
    scrub: Vec<(Arc<Segment>, u64, u64)>,
    /// Entries that wait for a sync, with [`Visibility::Durable`].
    pub unpublished: Unpublished,
    segment_bytes: u64,
    record_bytes_max: u32,
}

#[derive(Default)]
pub(crate) struct Unpublished {
    pub entries: Vec<Entry>,
    pub keys: Vec<u64>,
}

/// What a sync has to do.
pub(crate) struct ToSync {
    pub segments: Vec<Arc<Segment>>,
    pub dir: bool,
    pub end: u64,
    pub unpublished: Unpublished,
}

impl Writer {
    pub fn new(
        disk: Arc<dyn Disk>,
        config: &LogConfig,
        current: Arc<Segment>,
        unsynced: Vec<Arc<Segment>>,
        end: u64,
        last_store_ms: i64,
        spares: VecDeque<String>,
    ) -> Writer {
        Writer {
            disk,
            end,
            dirty: unsynced,
            current,
            ahead: VecDeque::new(),
            spares,
            last_store_ms,
            next_offsets: Vec::new(),
            is_fenced: false,
            dir_is_dirty: true,
            scrub: Vec::new(),
            unpublished: Unpublished::default(),
            segment_bytes: config.segment_bytes,
            record_bytes_max: segment::record_bytes_max(config.segment_bytes),
        }
    }

    /// Sets the next offset of a queue; `None` for a deleted one.
    pub fn set_next(&mut self, number: u32, next: Option<u64>) {
        let number = number as usize;
        if self.next_offsets.len() <= number {
            self.next_offsets.resize(number + 1, DEAD);
        }
        self.next_offsets[number] = next.unwrap_or(DEAD);
    }

    /// Next offset of a queue, counting what is not published yet.
    pub fn next(&self, number: u32) -> Option<u64> {
        self.next_offsets.get(number as usize).copied().filter(|next| *next != DEAD)
    }

    /// Writes a batch. Either all of it is stored, or nothing of it ever counted.
    pub fn append(&mut self, log: &CommitLog, batch: &mut Batch, now_ms: i64) -> Result<Appended, AppendError> {
        if self.is_fenced {
            return Err(AppendError::Fenced);
        }
        for entry in &batch.entries {
            if self.record_bytes_max < entry.size {
                return Err(AppendError::RecordTooLarge { size: entry.size, limit: self.record_bytes_max });
            }
            if self.next(entry.queue).is_none() {
                return Err(AppendError::UnknownQueue(entry.queue));
            }
        }
        self.scrub_leftovers().map_err(AppendError::io)?;

        let store_ms = now_ms.max(self.last_store_ms);
        let mut write =
            Write { segment: self.current.clone(), position: self.end, rolled: VecDeque::new(), stamped: 0 };
        if let Err(error) = self.write_parts(batch, store_ms, &mut write) {
            self.undo(batch, write);
            return Err(AppendError::io(error));
        }
        self.commit(log, store_ms, write);
        Ok(Appended { end: LogPosition(self.end), store_timestamp_ms: store_ms })
    }

    /// Stamps the records and writes them, one write for each segment that they touch.
    fn write_parts(&mut self, batch: &mut Batch, store_ms: i64, write: &mut Write) -> io::Result<()> {
        let mut at = 0;
        let mut part = (0, write.position);
        for entry in &mut batch.entries {
            if !write.segment.fits(write.position, entry.size) {
                write.close_segment(&batch.bytes[part.0..at], part.1)?;
                let next = self.next_segment(write.segment.end())?;
                write.position = next.first();
                write.segment = next.clone();
                write.rolled.push_back(next);
                part = (at, write.position);
            }
            let size = entry.size as usize;
            let next = &mut self.next_offsets[entry.queue as usize];
            entry.queue_offset = *next;
            entry.position = write.position;
            entry.store_ms = store_ms;
            stamp(&mut batch.bytes[at..at + size], *next, write.position, store_ms);
            *next += 1;
            write.stamped += 1;
            at += size;
            write.position += size as u64;
        }
        if at == part.0 {
            return Ok(());
        }
        // The seal goes out in the same write as its records.
        let seal = segment::seal(&batch.bytes[part.0..]);
        batch.bytes.extend_from_slice(&seal);
        let (file, start) = (&write.segment.file, part.1 - write.segment.base);
        let written = if planted::is_planted(Fault::AckBeforeWrite) {
            planted::write_later(file, &batch.bytes[part.0..], start)
        } else {
            file.write_at(&batch.bytes[part.0..], start)
        };
        batch.bytes.truncate(at);
        write.position += SEAL_BYTES;
        written
    }

    fn commit(&mut self, log: &CommitLog, store_ms: i64, write: Write) {
        self.end = write.position;
        self.last_store_ms = store_ms;
        self.current.saw_store_time(store_ms);
        self.mark_dirty();
        for segment in write.rolled {
            segment.saw_store_time(store_ms);
            self.current = segment.clone();
            self.mark_dirty();
            log.push(segment);
        }
        debug_assert!(self.end <= self.current.end());
    }

    fn mark_dirty(&mut self) {
        if !self.dirty.last().is_some_and(|last| Arc::ptr_eq(last, &self.current)) {
            self.dirty.push(self.current.clone());
        }
    }

    /// Forgets a write that failed and blots out what may have arrived of it.
    fn undo(&mut self, batch: &Batch, write: Write) {
        for entry in &batch.entries[..write.stamped] {
            self.next_offsets[entry.queue as usize] -= 1;
        }
        let written_to = |position: u64| position + SEAL_BYTES + FILLER_BYTES;
        let in_current = if write.rolled.is_empty() { written_to(write.position) } else { self.current.end() };
        self.scrub.push((self.current.clone(), self.end, in_current.min(self.current.end())));
        for segment in write.rolled.into_iter().rev() {
            // The position says how far the last one was written; the others are full.
            let to = written_to(write.position).clamp(segment.first(), segment.end());
            let to = if Arc::ptr_eq(&segment, &write.segment) { to } else { segment.end() };
            self.scrub.push((segment.clone(), segment.first(), to));
            self.ahead.push_front(segment);
        }
        // Best tried at once; if the disk refuses, the next append tries again before it writes.
        let _ = self.scrub_leftovers();
    }

    fn scrub_leftovers(&mut self) -> io::Result<()> {
        while let Some((segment, from, to)) = self.scrub.last() {
            segment.file.zero(from - segment.base, to - segment.base)?;
            self.scrub.pop();
        }
        Ok(())
    }

    /// The empty segment at `base`: made ahead, or made now.
    fn next_segment(&mut self, base: u64) -> io::Result<Arc<Segment>> {
        if let Some(segment) = self.ahead.pop_front() {
            debug_assert_eq!(segment.base, base);
            return Ok(segment);
        }
        self.dir_is_dirty = true;
        let spare = self.spares.pop_front();
        segment::create(&*self.disk, &segment::path(base), base, self.segment_bytes, spare.as_deref())
    }

    /// Position at which the current segment ends and the next one begins.
    pub fn current_end(&self) -> u64 {
        self.current.end()
    }

    /// The log's first file while it is in use and was never replaced, and from where on in it nothing was written.
    pub fn first_file(&self) -> Option<(&Segment, u64)> {
        let is_first = self.current.base == 0 && !self.is_fenced;
        is_first.then(|| (&*self.current, self.end - self.current.base))
    }

    /// Base of the segment that should be made ahead, and a file for it; `None` when there is one.
    pub fn wants_segment(&mut self) -> Option<(u64, Option<String>)> {
        if !self.ahead.is_empty() || self.is_fenced {
            return None;
        }
        Some((self.current.end(), self.spares.pop_front()))
    }

    /// Takes a segment that was made ahead as [`segment::AHEAD_PATH`] and gives it its name, unless the log has come
    /// to that place by itself. The name is given here, under the writer's lock: otherwise an append that needs the
    /// segment in the same moment could make the file a second time.
    pub fn offer_segment(&mut self, segment: Arc<Segment>) -> io::Result<bool> {
        if !self.ahead.is_empty() || segment.base != self.current.end() {
            return Ok(false);
        }
        self.disk.rename(segment::AHEAD_PATH, &segment::path(segment.base))?;
        self.dir_is_dirty = true;
        self.ahead.push_back(segment);
        Ok(true)
    }

    /// What a sync has to do now. The entries that wait for it are taken out.
    pub fn start_sync(&mut self) -> ToSync {
        let dirty = std::mem::take(&mut self.dirty);
        ToSync {
            segments: dirty,
            dir: std::mem::take(&mut self.dir_is_dirty),
            end: self.end,
            unpublished: std::mem::take(&mut self.unpublished),
        }
    }

    /// Keeps the entries of a written batch until a sync, or not.
    pub fn withhold(&mut self, batch: &Batch, visibility: Visibility) -> bool {
        if visibility == Visibility::Written || planted::is_planted(Fault::ShowUnsynced) {
            return false;
        }
        self.unpublished.entries.extend_from_slice(&batch.entries);
        self.unpublished.keys.extend_from_slice(&batch.keys);
        true
    }
}

/// A write under way.
struct Write {
    segment: Arc<Segment>,
    position: u64,
    /// Segments that the write entered after the current one.
    rolled: VecDeque<Arc<Segment>>,
    /// Entries that have taken a queue offset.
    stamped: usize,
}

impl Write {
    /// Writes the last records of a segment, with their seal, and the filler.
    fn close_segment(&mut self, records: &[u8], position: u64) -> io::Result<()> {
        let mut close = Vec::with_capacity((SEAL_BYTES + FILLER_BYTES) as usize);
        if !records.is_empty() {
            self.segment.file.write_at(records, position - self.segment.base)?;
            close.extend_from_slice(&segment::seal(records));
        }
        let rest = self.segment.end() - self.position - close.len() as u64;
        close.extend_from_slice(&segment::filler(rest));
        self.segment.file.write_at(&close, self.position - self.segment.base)
    }
}
