//! One file of the commit log, and the bytes around records: header, seal and filler. Drawn in `docs/formats/log.md`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use protocol::frame::FRAME_BYTES_MAX;
use protocol::record::RECORD_BYTES_MIN;

use crate::commit_log::is_record_head;
use crate::disk::{Disk, DiskFile, read_exact_at};

/// Directory of the commit log.
pub(crate) const DIR: &str = "commitlog";
/// Bytes at the start of each file. They also keep position 0 free of records.
pub(crate) const HEADER_BYTES: u64 = 32;
/// Bytes after the records of one write: size, magic, checksum of the records, their bytes.
pub(crate) const SEAL_BYTES: u64 = 16;
/// Bytes that close a segment: what is left, and a magic number. Same as in RocketMQ.
pub(crate) const FILLER_BYTES: u64 = 8;
/// Largest record in bytes that a log takes, where its segments have room for it: the body that fits the largest request,
/// and 64 KiB for topic, properties and the fixed part. Whoever wants smaller ones refuses larger ones before they come
/// here: a smaller limit of the log's own would also refuse copies of records that were stored under a larger one.
pub const RECORD_BYTES_MAX: u32 = FRAME_BYTES_MAX as u32 + (64 << 10);
/// Magic number of a filler.
pub(crate) const FILLER_MAGIC: u32 = 0xCBD4_3194;
/// Magic number of a seal.
pub(crate) const SEAL_MAGIC: u32 = 0xCBD4_3195;

/// Begins each file; the last byte is the version.
pub(crate) const HEADER_MAGIC: &[u8; 8] = b"APOGLOG1";
/// Where the checksum of the header lies.
pub(crate) const HEADER_CRC_AT: usize = 24;

/// One file of the commit log.
pub(crate) struct Segment {
    /// Position of its first byte.
    pub base: u64,
    /// Bytes it can hold.
    pub bytes: u64,
    pub file: Arc<dyn DiskFile>,
    /// Store time of its newest record, or `i64::MIN`.
    newest_ms: AtomicI64,
}

impl Segment {
    pub fn new(base: u64, bytes: u64, file: Arc<dyn DiskFile>) -> Segment {
        Segment { base, bytes, file, newest_ms: AtomicI64::new(i64::MIN) }
    }

    /// Position after its last byte.
    pub fn end(&self) -> u64 {
        self.base + self.bytes
    }

    /// Position of its first record.
    pub fn first(&self) -> u64 {
        self.base + HEADER_BYTES
    }

    /// Whether a record of `size` bytes fits at `position`, so that seal and filler still fit after it.
    pub fn fits(&self, position: u64, size: u32) -> bool {
        position + u64::from(size) + SEAL_BYTES + FILLER_BYTES <= self.end()
    }

    pub fn newest_ms(&self) -> i64 {
        self.newest_ms.load(Ordering::Relaxed)
    }

    pub fn saw_store_time(&self, store_ms: i64) {
        self.newest_ms.fetch_max(store_ms, Ordering::Relaxed);
    }
}

/// Largest record that goes into segments of `segment_bytes`.
pub(crate) fn record_bytes_max(segment_bytes: u64) -> u32 {
    let room = segment_bytes.saturating_sub(HEADER_BYTES + SEAL_BYTES + FILLER_BYTES);
    room.min(u64::from(RECORD_BYTES_MAX)) as u32
}

pub(crate) fn path(base: u64) -> String {
    format!("{DIR}/{base:020}")
}

/// Name of a segment that is made ahead, until the log knows that it needs it.
pub(crate) const AHEAD_PATH: &str = "commitlog/ahead";

/// Name of a file that waits to become a segment; `number` is any that is free.
pub(crate) fn spare_path(number: u64) -> String {
    format!("{DIR}/spare.{number:020}")
}

/// The base position in a file name of the commit log.
pub(crate) fn base_of(name: &str) -> Option<u64> {
    (name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit())).then(|| name.parse().ok())?
}

/// Makes the file of the segment at `base` under the name `path`, out of `spare` if there is one. What a spare file
/// holds stays in it: a record counts only where it lies at the position it states, and no position is given twice.
pub(crate) fn create(
    disk: &dyn Disk,
    path: &str,
    base: u64,
    bytes: u64,
    spare: Option<&str>,
) -> io::Result<Arc<Segment>> {
    let file = match spare {
        Some(spare) => {
            disk.rename(spare, path)?;
            disk.open(path)?
        }
        None => disk.create(path)?,
    };
    // Longer than needed would be read as a segment of another size.
    if bytes < file.len()? {
        file.set_len(bytes)?;
    }
    file.allocate(bytes)?;
    write_header(&*file, base, bytes)?;
    Ok(Arc::new(Segment::new(base, bytes, file)))
}

/// Bytes that the segment holds according to its header; `None` when the file is not a segment at `base`.
pub(crate) fn read_header(file: &dyn DiskFile, base: u64) -> io::Result<Option<u64>> {
    let mut bytes = [0; HEADER_BYTES as usize];
    match read_exact_at(file, &mut bytes, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let size = u64_at(&bytes, 16);
    Ok((bytes == header(base, size) && HEADER_BYTES < size).then_some(size))
}

/// Writes the header of the segment at `base`.
pub(crate) fn write_header(file: &dyn DiskFile, base: u64, bytes: u64) -> io::Result<()> {
    file.write_at(&header(base, bytes), 0)
}

/// Whether the first record of the segment at `base` lies in the file, whatever its header says.
pub(crate) fn holds_record(file: &dyn DiskFile, base: u64) -> io::Result<bool> {
    let mut bytes = [0; RECORD_BYTES_MIN];
    let read = file.read_at(&mut bytes, HEADER_BYTES)?;
    Ok(read == bytes.len() && is_record_head(&bytes, base + HEADER_BYTES, u32_at(&bytes, 0)))
}

fn header(base: u64, bytes: u64) -> [u8; HEADER_BYTES as usize] {
    let mut header = [0; HEADER_BYTES as usize];
    header[..8].copy_from_slice(HEADER_MAGIC);
    header[8..16].copy_from_slice(&base.to_be_bytes());
    header[16..24].copy_from_slice(&bytes.to_be_bytes());
    let crc = crc32fast::hash(&header[..HEADER_CRC_AT]);
    header[HEADER_CRC_AT..HEADER_CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
    header
}

/// The seal after the records of one write.
pub(crate) fn seal(records: &[u8]) -> [u8; SEAL_BYTES as usize] {
    let mut seal = [0; SEAL_BYTES as usize];
    seal[..4].copy_from_slice(&(SEAL_BYTES as u32).to_be_bytes());
    seal[4..8].copy_from_slice(&SEAL_MAGIC.to_be_bytes());
    seal[8..12].copy_from_slice(&crc32fast::hash(records).to_be_bytes());
    seal[12..16].copy_from_slice(&(records.len() as u32).to_be_bytes());
    seal
}

/// The filler that closes a segment of which `rest` bytes are left.
pub(crate) fn filler(rest: u64) -> [u8; FILLER_BYTES as usize] {
    let mut filler = [0; FILLER_BYTES as usize];
    filler[..4].copy_from_slice(&(rest as u32).to_be_bytes());
    filler[4..8].copy_from_slice(&FILLER_MAGIC.to_be_bytes());
    filler
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut raw = [0; 4];
    raw.copy_from_slice(&bytes[at..at + 4]);
    u32::from_be_bytes(raw)
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut raw = [0; 8];
    raw.copy_from_slice(&bytes[at..at + 8]);
    u64::from_be_bytes(raw)
}

pub(crate) fn i64_at(bytes: &[u8], at: usize) -> i64 {
    u64_at(bytes, at) as i64
}
