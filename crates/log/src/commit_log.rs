//! The segments of the commit log, for readers.

use std::io;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use protocol::record::{RECORD_BYTES_MIN, Record};

use crate::disk::{DiskFile, read_exact_at};
use crate::segment::{Segment, u32_at, u64_at};

/// Bytes of the first read of a record whose size is not known.
const FIRST_READ_BYTES: usize = 4096;
/// Where a record states its own position.
pub(crate) const POSITION_AT: usize = 28;

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such queue.
    #[error("queue {0} is not defined")]
    UnknownQueue(u32),
    /// No record begins there, or not yet, or no more.
    #[error("no record begins at position {position}; the log holds {start} to {end}")]
    NoRecord {
        /// The position asked for.
        position: u64,
        /// Start of the log.
        start: u64,
        /// End of what readers see.
        end: u64,
    },
    /// A record of the log is not what the index says, or fails its checks.
    #[error("the record at position {position} is damaged")]
    DamagedRecord {
        /// Where it lies.
        position: u64,
    },
    /// A block of the queue index fails its checks.
    #[error("the index block of queue {queue} at offset {offset} is damaged")]
    DamagedIndex {
        /// The queue's number.
        queue: u32,
        /// First offset of the block.
        offset: u64,
    },
    /// A file of the key index fails its checks.
    #[error("run {run} of the key index is damaged")]
    DamagedKeys {
        /// Number of the run.
        run: u64,
    },
    /// A file of the due index fails its checks.
    #[error("the due index of hour {hour} is damaged")]
    DamagedDue {
        /// Hours since 1970.
        hour: i64,
    },
    /// The disk failed.
    #[error("the disk cannot be read")]
    Io(#[from] io::Error),
}

/// The segments in order. Only the writer and retention change the list.
pub(crate) struct CommitLog {
    segments: RwLock<Vec<Arc<Segment>>>,
}

impl CommitLog {
    pub fn new(segments: Vec<Arc<Segment>>) -> CommitLog {
        CommitLog { segments: RwLock::new(segments) }
    }

    fn list(&self) -> RwLockReadGuard<'_, Vec<Arc<Segment>>> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn segments(&self) -> Vec<Arc<Segment>> {
        self.list().clone()
    }

    pub fn push(&self, segment: Arc<Segment>) {
        self.segments.write().unwrap_or_else(PoisonError::into_inner).push(segment);
    }

    /// Forgets all but the first `count` segments.
    pub fn keep(&self, count: usize) {
        self.segments.write().unwrap_or_else(PoisonError::into_inner).truncate(count);
    }

    /// Takes the oldest segment out; the newest stays.
    pub fn pop_first(&self) -> Option<Arc<Segment>> {
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        (1 < segments.len()).then(|| segments.remove(0))
    }

    /// Position of the first byte that can be a record's.
    pub fn start(&self) -> u64 {
        self.list().first().map_or(0, |segment| segment.first())
    }

    pub fn segment_of(&self, position: u64) -> Option<Arc<Segment>> {
        let segments = self.list();
        let after = segments.partition_point(|segment| segment.base <= position);
        let segment = segments.get(after.checked_sub(1)?)?;
        (position < segment.end()).then(|| segment.clone())
    }

    /// Appends the whole record at `position` to `out` if one lies there and passes all checks.
    pub fn read_record(&self, position: u64, out: &mut Vec<u8>) -> io::Result<bool> {
        let Some(segment) = self.segment_of(position) else { return Ok(false) };
        let room = segment.end() - position;
        let from = out.len();
        let first = room.min(FIRST_READ_BYTES as u64) as usize;
        out.resize(from + first, 0);
        let read = segment.file.read_at(&mut out[from..], position - segment.base);
        let read = read.inspect_err(|_| out.truncate(from))?;
        out.truncate(from + read);
        let head = &out[from..];
        if head.len() < RECORD_BYTES_MIN || u64_at(head, POSITION_AT) != position {
            out.truncate(from);
            return Ok(false);
        }
        let size = u32_at(head, 0);
        if u64::from(size) > room || (size as usize) < RECORD_BYTES_MIN {
            out.truncate(from);
            return Ok(false);
        }
        out.resize(from + size as usize, 0);
        if read < size as usize {
            let at = position - segment.base + read as u64;
            let rest = read_exact_at(&*segment.file, &mut out[from + read..], at);
            rest.inspect_err(|_| out.truncate(from))?;
        }
        let whole = Record::parse(&out[from..]).is_ok_and(|record| record.verify_body().is_ok());
        if !whole {
            out.truncate(from);
        }
        Ok(whole)
    }
}

/// Whether `bytes` begin with the record of `size` bytes that lies at `position`, as far as its head tells.
pub(crate) fn is_record_head(bytes: &[u8], position: u64, size: u32) -> bool {
    RECORD_BYTES_MIN <= bytes.len() && u32_at(bytes, 0) == size && u64_at(bytes, POSITION_AT) == position
}

/// Reads `size` bytes at `at` to the end of `out`; leaves `out` as it was when that fails.
pub(crate) fn append_read(file: &dyn DiskFile, at: u64, size: usize, out: &mut Vec<u8>) -> io::Result<()> {
    let from = out.len();
    out.resize(from + size, 0);
    read_exact_at(file, &mut out[from..], at).inspect_err(|_| out.truncate(from))
}
