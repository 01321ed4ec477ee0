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
use crate::damage::flipped_bit;
use crate::disk::DiskFile;
use crate::segment::{FILLER_BYTES, FILLER_MAGIC, SEAL_BYTES, SEAL_MAGIC, Segment, seal, u32_at, u64_at};

/// Bytes read at once.
const WINDOW_BYTES: usize = 256 << 10;

/// What a scan takes for granted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trust {
    /// What lies before was synced: damage there is rot, and the log goes on after it.
    pub durable: u64,
    /// Behind that, too, damage is rot if a whole write begins within so many bytes after it: the process that wrote them
    /// one after the other was killed, but the machine lost nothing.
    pub ahead_bytes: u64,
    /// Nothing from here on is wanted.
    pub until: u64,
}

impl Trust {
    /// Of a log that is open, up to `until`: all of it was written.
    pub fn written(until: u64) -> Trust {
        Trust { durable: until, ahead_bytes: 0, until }
    }
}

/// What a scan found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scanned {
    /// Position after the last whole record. It may be the end of a closed segment.
    pub end: u64,
    pub records: u64,
    /// Bytes that were damaged before the end and passed over.
    pub damaged_bytes: u64,
    /// Position after the last of them that held something.
    pub damaged_until: u64,
    /// The log did not end in zeros or in a closed segment: something was cut off.
    pub is_torn: bool,
}

impl Scanned {
    fn damaged(&mut self, bytes: u64, until: u64) {
        self.damaged_bytes += bytes;
        self.damaged_until = self.damaged_until.max(until);
    }
}

/// Shows every whole record from `from` on to `visit`, in order.
pub(crate) fn scan(
    segments: &[Arc<Segment>],
    from: u64,
    mut trust: Trust,
    visit: &mut dyn FnMut(&Record<'_>),
) -> io::Result<Scanned> {
    let mut scanned = Scanned { end: from, ..Scanned::default() };
    for (index, segment) in segments.iter().enumerate() {
        if segment.end() <= from {
            continue;
        }
        let mut reader = Reader::new(segment, trust, from);
        let mut position = from.max(segment.first());
        loop {
            if trust.until <= position {
                scanned.end = position;
                return Ok(scanned);
            }
            match reader.next_run(position, &mut scanned, visit)? {
                Run::Sealed(next) => position = next,
                Run::Closed => {
                    scanned.end = segment.end();
                    break;
                }
                Run::Ended { at, is_torn } => {
                    if trust.durable <= at {
                        if let Some(whole) = whole_write_after(&mut reader, segments.get(index + 1), at)? {
                            trust.durable = whole;
                            reader.trust = trust;
                            continue;
                        }
                        scanned.end = at;
                        scanned.is_torn = is_torn;
                        return Ok(scanned);
                    }
                    match reader.resume_after(at)? {
                        Some(next) => {
                            scanned.damaged(next - at, next);
                            position = next;
                        }
                        None if index + 1 < segments.len() => {
                            let bytes = segment.end() - at;
                            // Zeros to the end were mostly never written: without a checkpoint, the next segment is thought
                            // to be in use also when it was only made ahead.
                            scanned.damaged(bytes, if is_torn { segment.end() } else { 0 });
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

/// Where the next whole write begins after `at`, if that is near enough to say that what lies between is damaged.
fn whole_write_after(reader: &mut Reader<'_>, next: Option<&Arc<Segment>>, at: u64) -> io::Result<Option<u64>> {
    let segment_end = reader.window.segment.end();
    let until = at.saturating_add(reader.trust.ahead_bytes);
    if let Some(whole) = reader.whole_write_in(at, until.min(segment_end))? {
        return Ok(Some(whole));
    }
    let Some(next) = next.filter(|next| next.base == segment_end && next.first() < until) else { return Ok(None) };
    let is_whole = Reader::new(next, reader.trust, next.first()).write_at(next.first())?.is_ok();
    Ok(is_whole.then_some(next.first()))
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
    /// Where reading began, which need not be where a write began.
    from: u64,
    /// Records that wait for their seal.
    run: Vec<u8>,
    /// The beginning of the run was damaged, so that its seal cannot be right.
    run_is_partial: bool,
}

impl<'a> Reader<'a> {
    fn new(segment: &'a Segment, trust: Trust, from: u64) -> Reader<'a> {
        Reader { window: Window::new(segment), trust, from, run: Vec::new(), run_is_partial: false }
    }

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
                // An index may end in the middle of a write; that was whole when the index was, and each of the records
                // has its own checksum.
                let began_before = start == self.from && self.run.len() < bytes as usize && next <= self.trust.durable;
                if is_good || self.run_is_partial || began_before {
                    self.deliver(scanned, visit);
                    self.run_is_partial = false;
                    scanned.end = next;
                    return Ok(Run::Sealed(next));
                }
                if next <= self.trust.durable {
                    let damaged_bytes = self.deliver_undamaged(crc, bytes, scanned, visit);
                    // Of a damaged seal alone no record is lost.
                    scanned.damaged(damaged_bytes, if damaged_bytes == SEAL_BYTES { 0 } else { next });
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

    /// Delivers the records of a write that was sealed with other numbers, if these tell which of them is damaged.
    /// Returns how many bytes were not delivered.
    fn deliver_undamaged(
        &self,
        crc: u32,
        bytes: u32,
        scanned: &mut Scanned,
        visit: &mut dyn FnMut(&Record<'_>),
    ) -> u64 {
        let found = crc32fast::hash(&self.run);
        if found == crc || (found ^ crc).count_ones() == 1 {
            // It is the seal.
            self.deliver(scanned, visit);
            return SEAL_BYTES;
        }
        let bit = if bytes as usize == self.run.len() { flipped_bit(found ^ crc, self.run.len()) } else { None };
        let Some(bit) = bit else { return self.run.len() as u64 };
        let (mut at, mut damaged_bytes) = (0, 0);
        for record in protocol::record::records(&self.run) {
            let next = at + record.bytes().len();
            if (at * 8..next * 8).contains(&bit) {
                damaged_bytes += (next - at) as u64;
            } else {
                scanned.records += 1;
                visit(&record);
            }
            at = next;
        }
        damaged_bytes
    }

    /// Where a whole write begins after `at` and before `until`.
    fn whole_write_in(&mut self, at: u64, until: u64) -> io::Result<Option<u64>> {
        let mut after = at;
        while let Some(record) = self.record_after(after, until)? {
            match self.write_at(record)? {
                Ok(()) => return Ok(Some(record)),
                Err(examined) => after = examined.max(record),
            }
        }
        Ok(None)
    }

    /// Whether a whole write begins at `start`; otherwise no such write begins before the place that is returned.
    fn write_at(&mut self, start: u64) -> io::Result<Result<(), u64>> {
        self.run.clear();
        let mut position = start;
        while let Some(record) = self.window.record(position)? {
            self.run.extend_from_slice(record.bytes());
            position += u64::from(record.size());
        }
        let found = self.window.at(position, SEAL_BYTES as usize)?;
        let is_whole = !self.run.is_empty() && found == seal(&self.run);
        Ok(if is_whole { Ok(()) } else { Err(position) })
    }

    /// The next place in the segment after damage at `at` where a whole record lies.
    fn resume_after(&mut self, at: u64) -> io::Result<Option<u64>> {
        self.run_is_partial = true;
        self.record_after(at, self.window.segment.end())
    }

    /// The next place after `at` and before `until` where a whole record lies.
    fn record_after(&mut self, at: u64, until: u64) -> io::Result<Option<u64>> {
        let mut position = at + 1;
        while position < until {
            let bytes = self.window.at(position, WINDOW_BYTES)?;
            if bytes.len() < RECORD_BYTES_MIN {
                return Ok(None);
            }
            let tried = (bytes.len() - RECORD_BYTES_MIN + 1) as u64;
            if bytes.iter().all(|byte| *byte == 0) {
                position += tried;
                continue;
            }
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
