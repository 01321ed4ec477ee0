//! The segments of the commit log, for readers.

use std::io;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use protocol::record::{MAGIC_V1, MAGIC_V2, RECORD_BYTES_MIN, Record};
use protocol::sys_flag::SysFlag;

use crate::disk::{DiskFile, read_exact_at};
use crate::segment::{RECORD_BYTES_MAX, Segment, u32_at, u64_at};

/// Bytes of the first read of a record whose size is not known.
const FIRST_READ_BYTES: usize = 4096;
/// Where a record states its own position.
pub(crate) const POSITION_AT: usize = 28;
const SYS_FLAG_AT: usize = 36;
/// Where a record with IPv4 hosts states the length of its body.
const BODY_LENGTH_AT: usize = 84;
/// Bytes by which an IPv6 host is longer.
const V6_EXTRA_BYTES: usize = 12;
/// Bytes of a record before its body, at most.
pub(crate) const RECORD_HEAD_BYTES: usize = BODY_LENGTH_AT + 2 * V6_EXTRA_BYTES + 4;

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
        // Any position may have been asked for, and the bytes there may be a client's: nothing is believed of a size
        // before all that the head says fits it.
        let size = record_size(&out[from..], position).filter(|size| u64::from(*size) <= room);
        let Some(size) = size else {
            out.truncate(from);
            return Ok(false);
        };
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

/// Size in bytes of the record at `position` that begins with `head`, if what the head says can be true: position,
/// magic, and lengths that go together. `head` holds at least [`RECORD_HEAD_BYTES`], or all bytes up to the segment's end.
pub(crate) fn record_size(head: &[u8], position: u64) -> Option<u32> {
    if head.len() < RECORD_BYTES_MIN || u64_at(head, POSITION_AT) != position {
        return None;
    }
    let topic_length_bytes: u32 = match u32_at(head, 4) as i32 {
        MAGIC_V1 => 1,
        MAGIC_V2 => 2,
        _ => return None,
    };
    let sys_flag = SysFlag(u32_at(head, SYS_FLAG_AT) as i32);
    let v6_hosts = [sys_flag.born_host_is_v6(), sys_flag.store_host_is_v6()].into_iter().filter(|v6| *v6).count();
    let body_length_at = BODY_LENGTH_AT + V6_EXTRA_BYTES * v6_hosts;
    let body_length = head.get(body_length_at..body_length_at + 4).map(|raw| u32_at(raw, 0))?;
    let size = u32_at(head, 0);
    let body_at = body_length_at as u32 + 4;
    let after_body = size.checked_sub(body_at)?.checked_sub(body_length)?;
    // Topic and properties with their lengths, of which the larger is a signed 16-bit number.
    let after_body_limits = topic_length_bytes + 2..=topic_length_bytes + 2 + 2 * i16::MAX as u32;
    (size <= RECORD_BYTES_MAX && after_body_limits.contains(&after_body)).then_some(size)
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A file that remembers how much was read of it.
    struct Watched {
        bytes: Vec<u8>,
        reads: Mutex<Vec<usize>>,
    }

    impl DiskFile for Watched {
        fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
            self.reads.lock().unwrap().push(buffer.len());
            let rest = self.bytes.get(at as usize..).unwrap_or_default();
            let read = rest.len().min(buffer.len());
            buffer[..read].copy_from_slice(&rest[..read]);
            // The file is as long as its segment; the rest of it is zeros.
            buffer[read..].fill(0);
            Ok(buffer.len())
        }
        fn write_at(&self, _bytes: &[u8], _at: u64) -> io::Result<()> {
            unreachable!()
        }
        fn set_len(&self, _len: u64) -> io::Result<()> {
            unreachable!()
        }
        fn allocate(&self, _len: u64) -> io::Result<()> {
            unreachable!()
        }
        fn zero(&self, _from: u64, _to: u64) -> io::Result<()> {
            unreachable!()
        }
        fn sync_data(&self) -> io::Result<()> {
            unreachable!()
        }
        fn forget_cached(&self, _from: u64, _to: u64) -> io::Result<()> {
            unreachable!()
        }
        fn len(&self) -> io::Result<u64> {
            unreachable!()
        }
    }

    /// The head of a record as somebody could put it into a body.
    fn head(position: u64, magic: i32, size: u32, body_length: u32) -> Vec<u8> {
        let mut head = vec![0; RECORD_BYTES_MIN];
        head[..4].copy_from_slice(&size.to_be_bytes());
        head[4..8].copy_from_slice(&magic.to_be_bytes());
        head[POSITION_AT..POSITION_AT + 8].copy_from_slice(&position.to_be_bytes());
        head[BODY_LENGTH_AT..BODY_LENGTH_AT + 4].copy_from_slice(&body_length.to_be_bytes());
        head
    }

    /// Reads where a record seems to begin, and says whether it is one, and the largest read.
    fn read(head: &[u8], position: u64) -> (bool, usize) {
        let file = Arc::new(Watched { bytes: [&vec![0; position as usize], head].concat(), reads: Mutex::default() });
        let log = CommitLog::new(vec![Arc::new(Segment::new(0, 1 << 30, file.clone()))]);
        let mut out = vec![7];
        let is_record = log.read_record(position, &mut out).unwrap();
        assert!(is_record || out == [7]);
        assert!(is_record || out.capacity() <= 2 * RECORD_BYTES_MAX as usize);
        let reads = file.reads.lock().unwrap();
        (is_record, reads.iter().copied().max().unwrap())
    }

    #[test]
    fn what_a_body_says_of_a_record_does_not_make_the_log_read_what_no_record_has() {
        let huge = (1 << 30) - 1000;
        for head in [
            head(500, MAGIC_V1, huge, huge - 91),
            head(500, MAGIC_V1, RECORD_BYTES_MAX + 1, RECORD_BYTES_MAX + 1 - 91),
            head(500, MAGIC_V1, 10 << 20, 5),
            head(500, MAGIC_V1, 10 << 20, 11 << 20),
            head(500, MAGIC_V1, 10 << 20, u32::MAX),
            head(500, 0, 10 << 20, (10 << 20) - 91),
            head(501, MAGIC_V2, 10 << 20, (10 << 20) - 92),
            head(500, MAGIC_V1, 90, 0),
            head(500, MAGIC_V1, u32::MAX, 0),
        ] {
            assert_eq!(read(&head, 500), (false, FIRST_READ_BYTES), "{head:?}");
        }
        let largest = head(500, MAGIC_V1, RECORD_BYTES_MAX, RECORD_BYTES_MAX - 91);
        assert_eq!(read(&largest, 500), (false, RECORD_BYTES_MAX as usize - FIRST_READ_BYTES));
        assert_eq!(read(&head(500, MAGIC_V1, 91, 0), 500), (true, FIRST_READ_BYTES));
    }
}
