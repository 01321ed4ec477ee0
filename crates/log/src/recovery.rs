//! Reads the end of the log after a stop and finds out how far it is whole.
//!
//! A record counts if it states the position at which it lies, has the right structure, its body fits its checksum, and
//! a seal follows the records of its write with a checksum over all of them. The seal is needed because the checksum in
//! the record covers the body only: a write torn inside the last properties would look whole. So of one write all
//! records count or none, and none was acknowledged before its seal was written.

use std::io;
use std::sync::Arc;

use protocol::record::{MAGIC_V1, MAGIC_V2, RECORD_BYTES_MIN, Record};

use crate::commit_log::{POSITION_AT, RECORD_HEAD_BYTES, record_size};
use crate::disk::DiskFile;
use crate::segment::{FILLER_BYTES, FILLER_MAGIC, SEAL_BYTES, SEAL_MAGIC, Segment, u32_at, u64_at};

/// Bytes read at once.
const WINDOW_BYTES: usize = 256 << 10;

/// What a scan takes for granted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trust {
    /// What lies before was synced: damage there is rot, and the log goes on after it.
    pub durable: u64,
}

/// What a scan found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scanned {
    /// Position after the last whole record. It may be the end of a closed segment.
    pub end: u64,
    pub records: u64,
    /// Bytes that were damaged before the end and passed over.
    pub damaged_bytes: u64,
    /// The log did not end in zeros or in a closed segment: something was cut off.
    pub is_torn: bool,
}

/// Shows every whole record from `from` on to `visit`, in order.
pub(crate) fn scan(
    segments: &[Arc<Segment>],
    from: u64,
    trust: Trust,
    visit: &mut dyn FnMut(&Record<'_>),
) -> io::Result<Scanned> {
    let mut scanned = Scanned { end: from, ..Scanned::default() };
    for (index, segment) in segments.iter().enumerate() {
        if segment.end() <= from {
            continue;
        }
        let mut reader = Reader { window: Window::new(segment), trust, run: Vec::new(), run_is_partial: false };
        let mut position = from.max(segment.first());
        loop {
            match reader.next_run(position, &mut scanned, visit)? {
                Run::Sealed(next) => position = next,
                Run::Closed => {
                    scanned.end = segment.end();
                    break;
                }
                Run::Ended { at, is_torn } => {
                    if trust.durable <= at {
                        scanned.end = at;
                        scanned.is_torn = is_torn;
                        return Ok(scanned);
                    }
                    match reader.resume_after(at)? {
                        Some(next) => {
                            scanned.damaged_bytes += next - at;
                            position = next;
                        }
                        None if index + 1 < segments.len() => {
                            scanned.damaged_bytes += segment.end() - at;
                            scanned.end = segment.end();
                            break;
                        }
                        None => {
                            scanned.end = at;
                            scanned.is_torn = is_torn;
                            return Ok(scanned);
                        }
                    }
                }
            }
        }
        // What follows a closed segment must follow it directly, or the log ends there.
        let follows = segments.get(index + 1).is_some_and(|next| next.base == segment.end());
        if !follows && trust.durable <= segment.end() {
            break;
        }
    }
    Ok(scanned)
}

/// How the records of one write ended.
enum Run {
    /// With a good seal, or with a damaged one where the log goes on.
    Sealed(u64),
    /// With the filler that closes the segment.
    Closed,
    /// With something else; the last whole record ends at `at`.
    Ended { at: u64, is_torn: bool },
}

struct Reader<'a> {
    window: Window<'a>,
    trust: Trust,
    /// Records that wait for their seal.
    run: Vec<u8>,
    /// The beginning of the run was damaged, so that its seal cannot be right.
    run_is_partial: bool,
}

impl Reader<'_> {
    fn next_run(&mut self, start: u64, scanned: &mut Scanned, visit: &mut dyn FnMut(&Record<'_>)) -> io::Result<Run> {
        self.run.clear();
        let mut position = start;
        loop {
            let head = self.window.at(position, RECORD_BYTES_MIN)?;
            if head.len() < FILLER_BYTES as usize {
                let is_torn = !head.is_empty();
                return Ok(self.end_unsealed(start, position, is_torn, scanned, visit));
            }
            let (size, magic) = (u32_at(head, 0), u32_at(head, 4));
            let seal = head.get(8..SEAL_BYTES as usize).map(|rest| (u32_at(rest, 0), u32_at(rest, 4)));
            if magic == FILLER_MAGIC && self.run.is_empty() && position + u64::from(size) == self.window.segment.end() {
                return Ok(Run::Closed);
            }
            if magic == SEAL_MAGIC
                && u64::from(size) == SEAL_BYTES
                && let Some((crc, bytes)) = seal
            {
                let next = position + SEAL_BYTES;
                let is_good = bytes as usize == self.run.len() && crc == crc32fast::hash(&self.run);
                if is_good || self.run_is_partial {
                    self.deliver(scanned, visit);
                    self.run_is_partial = false;
                    scanned.end = next;
                    return Ok(Run::Sealed(next));
                }
                if next <= self.trust.durable {
                    scanned.damaged_bytes += next - start;
                    return Ok(Run::Sealed(next));
                }
                return Ok(Run::Ended { at: start, is_torn: true });
            }
            match self.window.record(position)? {
                Some(record) => {
                    self.run.extend_from_slice(record.bytes());
                    position += u64::from(record.size());
                }
                None => {
                    let is_torn = size != 0 || magic != 0;
                    return Ok(self.end_unsealed(start, position, is_torn, scanned, visit));
                }
            }
        }
    }

    fn end_unsealed(
        &mut self,
        start: u64,
        position: u64,
        is_torn: bool,
        scanned: &mut Scanned,
        visit: &mut dyn FnMut(&Record<'_>),
    ) -> Run {
        let is_torn = is_torn || start < position;
        if position < self.trust.durable {
            // The write was complete once: what is damaged is what comes next.
            self.deliver(scanned, visit);
            return Run::Ended { at: position, is_torn };
        }
        Run::Ended { at: start, is_torn }
    }

    fn deliver(&self, scanned: &mut Scanned, visit: &mut dyn FnMut(&Record<'_>)) {
        for record in protocol::record::records(&self.run) {
            scanned.records += 1;
            visit(&record);
        }
    }

    /// The next place in the segment after damage at `at` where a whole record lies.
    fn resume_after(&mut self, at: u64) -> io::Result<Option<u64>> {
        let mut position = at + 1;
        self.run_is_partial = true;
        while position < self.window.segment.end() {
            let bytes = self.window.at(position, WINDOW_BYTES)?;
            if bytes.len() < RECORD_BYTES_MIN {
                return Ok(None);
            }
            let tried = (bytes.len() - RECORD_BYTES_MIN + 1) as u64;
            let found = (0..tried).find(|ahead| {
                let at = *ahead as usize;
                u64_at(bytes, at + POSITION_AT) == position + ahead
                    && matches!(u32_at(bytes, at + 4) as i32, MAGIC_V1 | MAGIC_V2)
            });
            let Some(ahead) = found else {
                position += tried;
                continue;
            };
            position += ahead;
            if self.window.record(position)?.is_some() {
                return Ok(Some(position));
            }
            position += 1;
        }
        Ok(None)
    }
}

/// A part of a segment in memory.
struct Window<'a> {
    segment: &'a Segment,
    file: &'a dyn DiskFile,
    bytes: Vec<u8>,
    from: u64,
    filled: usize,
}

impl<'a> Window<'a> {
    fn new(segment: &'a Segment) -> Window<'a> {
        Window { segment, file: &*segment.file, bytes: vec![0; WINDOW_BYTES], from: segment.base, filled: 0 }
    }

    /// `size` bytes at `position`, or fewer where the segment ends.
    fn at(&mut self, position: u64, size: usize) -> io::Result<&[u8]> {
        let size = size.min(self.segment.end().saturating_sub(position) as usize);
        if position < self.from || self.from + (self.filled as u64) < position + size as u64 {
            if self.bytes.len() < size {
                self.bytes.resize(size, 0);
            }
            let room = self.bytes.len().min((self.segment.end() - position) as usize);
            self.filled = self.file.read_at(&mut self.bytes[..room], position - self.segment.base)?;
            self.from = position;
        }
        let at = ((position - self.from) as usize).min(self.filled);
        Ok(&self.bytes[at..self.filled.min(at + size)])
    }

    /// The whole record at `position`, if there is one.
    fn record(&mut self, position: u64) -> io::Result<Option<Record<'_>>> {
        let head = self.at(position, RECORD_HEAD_BYTES)?;
        let size = record_size(head, position).filter(|size| self.segment.fits(position, *size));
        let Some(size) = size else { return Ok(None) };
        let bytes = self.at(position, size as usize)?;
        Ok(Record::parse(bytes).ok().filter(|record| record.verify_body().is_ok()))
    }
}
