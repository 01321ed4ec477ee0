//! Reading queues: pulls, and searches by offset and by time.

use std::cell::RefCell;
use std::ops::Range;

use protocol::record::{Record, records};

use crate::commit_log::{ReadError, append_read};
use crate::disk::read_exact_at;
use crate::log::{Log, QueueOffsets};
use crate::position::QueueNumber;
use crate::queue_index::Chunk;
use crate::queue_index::item::{self, BLOCK_BYTES_MAX, IndexEntry};

/// Entries that one pull looks at before it answers, so that a filter that matches little cannot keep it for long.
const SCAN_ENTRIES_MAX: usize = 1024;
/// Bytes of records that one pull reads to test them before it answers, for the same reason.
const SCAN_BYTES_MAX: usize = 4 << 20;
/// Entries whose records are read at once to test them.
const TESTED_AT_ONCE: usize = 64;
/// Records further apart than this are not read together.
const SPAN_BYTES_MAX: u64 = 256 << 10;
/// Of a span read at once, at least one byte in so many must be wanted.
const SPAN_WASTE_MAX: u64 = 16;

thread_local! {
    /// Room for a span, at most [`SPAN_BYTES_MAX`]. Making it anew would fill it with zeros for each pull.
    static SPAN: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// How much a pull returns at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PullLimits {
    /// Messages.
    pub max_messages: usize,
    /// Bytes of the records; one message is returned however large it is.
    pub max_bytes: usize,
}

/// What a pull found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullOutcome {
    /// Messages; they were appended to the buffer.
    Found {
        /// How many.
        count: usize,
    },
    /// Messages, but none that was accepted.
    NothingMatched,
    /// The offset is that of the next message to come.
    AtEnd,
    /// The offset is past that of the next message.
    BeyondEnd,
    /// The offset is before the first message that is still there.
    BeforeStart,
    /// Nothing was ever stored in the queue.
    Empty,
}

/// Answer to a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// What was found.
    pub outcome: PullOutcome,
    /// Where to go on.
    pub next_offset: u64,
    /// Offset of the first message that is still there.
    pub min_offset: u64,
    /// Offset of the next message to come.
    pub max_offset: u64,
}

/// Which message answers a search by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// The first one that is not older.
    Lower,
    /// The last one that is not newer.
    Upper,
}

impl Log {
    /// Appends to `out` the records of `queue` from `offset` on whose tag hash `accept` likes.
    ///
    /// A record that is damaged is left out, and told by [`Log::take_damage`]: one that can never be delivered must not
    /// keep those behind it from their consumers.
    pub fn pull(
        &self,
        queue: QueueNumber,
        offset: u64,
        limits: PullLimits,
        accept: &dyn Fn(i32) -> bool,
        out: &mut Vec<u8>,
    ) -> Result<Pulled, ReadError> {
        let QueueOffsets { min, max } = self.known_offsets(queue)?;
        let answer = |outcome, next_offset| Ok(Pulled { outcome, next_offset, min_offset: min, max_offset: max });
        if max == 0 {
            return answer(PullOutcome::Empty, 0);
        }
        if offset < min {
            return answer(PullOutcome::BeforeStart, min);
        }
        if max <= offset {
            let outcome = if offset == max { PullOutcome::AtEnd } else { PullOutcome::BeyondEnd };
            return answer(outcome, max);
        }
        let mut wanted = Vec::with_capacity(limits.max_messages.min(SCAN_ENTRIES_MAX));
        let mut entries_left = SCAN_ENTRIES_MAX;
        // Where nothing follows, offsets up to the end were skipped.
        let next = self.select(queue, offset, limits, accept, &mut entries_left, &mut wanted)?.unwrap_or(max);
        let Some(first) = wanted.first() else {
            return answer(PullOutcome::NothingMatched, next);
        };
        let from = out.len();
        match self.read_entries(queue, &wanted, out).inspect_err(|_| out.truncate(from)) {
            Err(_) if first.entry.position < self.log.start() => {
                // Retention was here in the meantime.
                let QueueOffsets { min, max } = self.offsets(queue);
                let outcome = PullOutcome::BeforeStart;
                Ok(Pulled { outcome, next_offset: min, min_offset: min, max_offset: max })
            }
            Err(error) => Err(error),
            Ok(0) => answer(PullOutcome::NothingMatched, next),
            Ok(count) => answer(PullOutcome::Found { count }, next),
        }
    }

    /// As [`pull`](Self::pull), but of the records whose tag hash is liked, appends only those that pass `test`. It reads
    /// what it tests, and ends after some entries and bytes even where nothing passed.
    pub fn pull_tested(
        &self,
        queue: QueueNumber,
        offset: u64,
        limits: PullLimits,
        accept: &dyn Fn(i32) -> bool,
        test: &dyn Fn(&Record<'_>) -> bool,
        out: &mut Vec<u8>,
    ) -> Result<Pulled, ReadError> {
        let QueueOffsets { min, max } = self.known_offsets(queue)?;
        if max == 0 || !(min..max).contains(&offset) {
            return self.pull(queue, offset, limits, accept, out);
        }
        let from = out.len();
        let answer = |count, next_offset| {
            let outcome = if count == 0 { PullOutcome::NothingMatched } else { PullOutcome::Found { count } };
            Ok(Pulled { outcome, next_offset, min_offset: min, max_offset: max })
        };
        let at_once = PullLimits { max_messages: TESTED_AT_ONCE, max_bytes: SPAN_BYTES_MAX as usize };
        let (mut entries_left, mut bytes_left) = (SCAN_ENTRIES_MAX, SCAN_BYTES_MAX);
        let (mut wanted, mut read) = (Vec::new(), Vec::new());
        let (mut count, mut next) = (0, offset);
        while entries_left != 0 && bytes_left != 0 && count < limits.max_messages.max(1) {
            wanted.clear();
            read.clear();
            let Some(after) = self.select(queue, next, at_once, accept, &mut entries_left, &mut wanted)? else {
                return answer(count, max);
            };
            match self.read_entries(queue, &wanted, &mut read) {
                Err(_) if count == 0 && wanted.first().is_some_and(|first| first.entry.position < self.log.start()) => {
                    // Retention was here in the meantime.
                    let QueueOffsets { min, max } = self.offsets(queue);
                    let outcome = PullOutcome::BeforeStart;
                    return Ok(Pulled { outcome, next_offset: min, min_offset: min, max_offset: max });
                }
                read => read.inspect_err(|_| out.truncate(from))?,
            };
            bytes_left = bytes_left.saturating_sub(read.len());
            for record in records(&read).filter(|record| test(record)) {
                let is_over =
                    limits.max_messages <= count || limits.max_bytes < out.len() - from + record.bytes().len();
                if is_over && count != 0 {
                    return answer(count, record.queue_offset());
                }
                out.extend_from_slice(record.bytes());
                count += 1;
            }
            next = after;
        }
        answer(count, next)
    }

    /// The offsets of a queue that must exist.
    pub(crate) fn known_offsets(&self, queue: QueueNumber) -> Result<QueueOffsets, ReadError> {
        if self.published().queues.next(queue).is_none() {
            return Err(ReadError::UnknownQueue(queue.0));
        }
        Ok(self.offsets(queue))
    }

    /// Collects accepted entries and returns the offset after the last one looked at, if there was any. Looks at no more
    /// than `entries_left`, which it counts down.
    fn select(
        &self,
        queue: QueueNumber,
        offset: u64,
        limits: PullLimits,
        accept: &dyn Fn(i32) -> bool,
        entries_left: &mut usize,
        wanted: &mut Vec<Wanted>,
    ) -> Result<Option<u64>, ReadError> {
        let mut chunk = Vec::new();
        let (mut next, mut bytes) = (offset, 0);
        let mut found_any = false;
        while let Some((first, next_base)) = self.load_chunk(queue, next, &mut chunk)? {
            next = first;
            for entry in &chunk {
                if *entries_left == 0 {
                    return Ok(Some(next));
                }
                found_any = true;
                if accept(entry.tag_hash) {
                    let is_over = limits.max_messages <= wanted.len() || limits.max_bytes < bytes + entry.size as usize;
                    if is_over && !wanted.is_empty() {
                        return Ok(Some(next));
                    }
                    bytes += entry.size as usize;
                    wanted.push(Wanted { offset: next, entry: *entry });
                }
                *entries_left -= 1;
                next += 1;
            }
            next = next_base;
        }
        Ok(found_any.then_some(next))
    }

    /// Reads the entries from the first at or after `offset` on as far as they lie together. Returns the first one's
    /// offset and the offset at which to go on.
    pub(crate) fn load_chunk(
        &self,
        queue: QueueNumber,
        offset: u64,
        out: &mut Vec<IndexEntry>,
    ) -> Result<Option<(u64, u64)>, ReadError> {
        let mut offset = offset;
        loop {
            let chunk = self.published().queues.chunk(queue, offset, out);
            let (first, next_base) = match chunk {
                Chunk::End => return Ok(None),
                Chunk::Memory { first, next_base } => (first, next_base),
                Chunk::Stored { base, next_base, file, at } => {
                    let mut bytes = [0; BLOCK_BYTES_MAX];
                    let read = file.read_at(&mut bytes, at)?;
                    if item::read_block(&bytes[..read], queue.0, base, out).is_none() {
                        self.damaged().blocks.insert((queue.0, base));
                        return Err(ReadError::DamagedIndex { queue: queue.0, offset: base });
                    }
                    (base, next_base)
                }
            };
            if first < offset {
                let before = ((offset - first) as usize).min(out.len());
                out.drain(..before);
            }
            if !out.is_empty() {
                return Ok(Some((first.max(offset), next_base)));
            }
            if next_base <= offset {
                return Ok(None);
            }
            offset = next_base;
        }
    }

    /// Appends the records that are wanted, which are in the order of the log, but for damaged ones; returns how many.
    fn read_entries(&self, queue: QueueNumber, wanted: &[Wanted], out: &mut Vec<u8>) -> Result<usize, ReadError> {
        let mut span = SPAN.take();
        let result = self.read_spans(queue, wanted, &mut span, out);
        SPAN.set(span);
        result
    }

    fn read_spans(
        &self,
        queue: QueueNumber,
        wanted: &[Wanted],
        span: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<usize, ReadError> {
        let mut rest = wanted;
        let mut found = 0;
        while let Some(first) = rest.first().map(|wanted| wanted.entry) {
            let Some(segment) = self.log.segment_of(first.position) else {
                return Err(self.no_record(first.position));
            };
            let count = together(rest, segment.end());
            let (group, others) = rest.split_at(count);
            let last = group[group.len() - 1].entry;
            let size = (last.position + u64::from(last.size) - first.position) as usize;
            let useful: usize = group.iter().map(|wanted| wanted.entry.size as usize).sum();
            let at = first.position - segment.base;
            let from = out.len();
            if useful == size {
                append_read(&*segment.file, at, size, out)?;
            } else {
                if span.len() < size {
                    span.resize(size, 0);
                }
                read_exact_at(&*segment.file, &mut span[..size], at)?;
                for Wanted { entry, .. } in group {
                    let at = (entry.position - first.position) as usize;
                    out.extend_from_slice(&span[at..at + entry.size as usize]);
                }
            }
            let mut at = from;
            let whole = group.iter().all(|wanted| {
                let begins = at;
                at += wanted.entry.size as usize;
                wanted.is(&out[begins..at])
            });
            found += if whole { group.len() } else { self.leave_out_damaged(queue, group, from, out)? };
            rest = others;
        }
        Ok(found)
    }

    /// Takes the damaged records out of those that were read to `out` from byte `from` on; returns how many are left.
    fn leave_out_damaged(
        &self,
        queue: QueueNumber,
        group: &[Wanted],
        from: usize,
        out: &mut Vec<u8>,
    ) -> Result<usize, ReadError> {
        let read = out.split_off(from);
        let (mut at, mut left) = (0, 0);
        for wanted in group {
            let position = wanted.entry.position;
            let record = &read[at..at + wanted.entry.size as usize];
            at += record.len();
            if wanted.is(record) {
                out.extend_from_slice(record);
                left += 1;
                continue;
            }
            // It may be that only the read went wrong.
            let again = out.len();
            if self.log.read_record(position, out)? && wanted.is(&out[again..]) {
                left += 1;
                continue;
            }
            out.truncate(again);
            if position < self.log.start() {
                // Retention was here, and the file may be another one now.
                return Err(self.no_record(position));
            }
            self.note_lost(queue, wanted.offset, position);
        }
        Ok(left)
    }

    /// Up to `max` entries of a queue from `offset` on.
    pub fn entries(&self, queue: QueueNumber, offset: u64, max: usize) -> Result<Vec<IndexEntry>, ReadError> {
        let QueueOffsets { min, .. } = self.known_offsets(queue)?;
        let mut found = Vec::new();
        let mut chunk = Vec::new();
        let mut next = offset.max(min);
        while found.len() < max
            && let Some((_, next_base)) = self.load_chunk(queue, next, &mut chunk)?
        {
            found.extend(chunk.iter().take(max - found.len()));
            next = next_base;
        }
        Ok(found)
    }

    /// Which offsets there are from `from` on and before `to`, in ranges; `None` if they are more than `max`.
    pub fn stored_ranges(
        &self,
        queue: QueueNumber,
        from: u64,
        to: u64,
        max: usize,
    ) -> Result<Option<Vec<Range<u64>>>, ReadError> {
        let (mut ranges, mut count) = (Vec::new(), 0);
        let mut chunk = Vec::new();
        let mut next = from;
        while next < to
            && let Some((first, next_base)) = self.load_chunk(queue, next, &mut chunk)?
        {
            let range = first..(first + chunk.len() as u64).min(to);
            chunk.clear();
            count += range.end.saturating_sub(range.start) as usize;
            if max < count {
                return Ok(None);
            }
            if !range.is_empty() {
                ranges.push(range);
            }
            next = next_base;
        }
        Ok(Some(ranges))
    }

    /// When the message at `offset` was stored; `None` if there is none.
    pub fn store_time(&self, queue: QueueNumber, offset: u64) -> Result<Option<i64>, ReadError> {
        let QueueOffsets { min, max } = self.known_offsets(queue)?;
        if !(min..max).contains(&offset) {
            return Ok(None);
        }
        let mut chunk = Vec::new();
        let found = self.load_chunk(queue, offset, &mut chunk)?;
        Ok(found.filter(|(first, _)| *first == offset).map(|_| chunk[0].store_timestamp_ms))
    }

    /// The offset that belongs to a store time. [`Boundary::Lower`]: the first message stored then or later, or the
    /// queue's end. [`Boundary::Upper`]: the last message stored then or earlier, or 0.
    pub fn offset_by_time(&self, queue: QueueNumber, time_ms: i64, boundary: Boundary) -> Result<u64, ReadError> {
        let QueueOffsets { min, max } = self.known_offsets(queue)?;
        // The first message after the time searched for; the last one before it lies directly ahead.
        let is_before = |stored_ms: i64| match boundary {
            Boundary::Lower => stored_ms < time_ms,
            Boundary::Upper => stored_ms <= time_ms,
        };
        let mut bases = self.published().queues.bases(queue);
        bases.retain(|base| min < *base);
        bases.insert(0, min);
        let mut chunk = Vec::new();
        // The last chunk whose first message is before the time holds the border.
        let (mut low, mut high) = (0, bases.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.load_chunk(queue, bases[middle], &mut chunk)? {
                Some(_) if is_before(chunk[0].store_timestamp_ms) => low = middle + 1,
                _ => high = middle,
            }
        }
        let Some(index) = low.checked_sub(1) else {
            return Ok(if boundary == Boundary::Lower { min } else { 0 });
        };
        let Some((first, next_base)) = self.load_chunk(queue, bases[index], &mut chunk)? else { return Ok(max) };
        let before = chunk.partition_point(|entry| is_before(entry.store_timestamp_ms));
        let border = first + before as u64;
        Ok(match boundary {
            Boundary::Upper => border - 1,
            Boundary::Lower if before < chunk.len() => border,
            // Everything here is older: the answer is the next message there is.
            Boundary::Lower => self.load_chunk(queue, next_base, &mut chunk)?.map_or(max, |(first, _)| first),
        })
    }

    /// Offset of the first message of a queue that lies at or after `log_start`.
    pub(crate) fn look_up_min(&self, queue: QueueNumber, log_start: u64, max: u64) -> Result<u64, ReadError> {
        let bases = self.published().queues.bases(queue);
        let mut chunk = Vec::new();
        let (mut low, mut high) = (0, bases.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.load_chunk(queue, bases[middle], &mut chunk)? {
                Some(_) if chunk[0].position < log_start => low = middle + 1,
                _ => high = middle,
            }
        }
        let mut next = bases.get(low.saturating_sub(1)).copied().unwrap_or(max);
        while let Some((first, next_base)) = self.load_chunk(queue, next, &mut chunk)? {
            let before = chunk.partition_point(|entry| entry.position < log_start);
            if before < chunk.len() {
                return Ok(first + before as u64);
            }
            next = next_base;
        }
        Ok(max)
    }
}

/// A record that a pull returns.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    /// Its offset in the queue.
    offset: u64,
    entry: IndexEntry,
}

impl Wanted {
    /// Whether `bytes` are the record, whole.
    fn is(&self, bytes: &[u8]) -> bool {
        Record::parse(bytes).is_ok_and(|record| {
            record.size() == self.entry.size
                && record.position() == self.entry.position
                && record.queue_offset() == self.offset
                && record.store_timestamp_ms() == self.entry.store_timestamp_ms
                && record.verify_body().is_ok()
        })
    }
}

/// How many of the records are best read at once: neighbours, and those with little between them.
fn together(wanted: &[Wanted], segment_end: u64) -> usize {
    let first = wanted[0].entry;
    let mut end = first.position + u64::from(first.size);
    let mut useful = u64::from(first.size);
    let mut is_contiguous = true;
    for (index, Wanted { entry, .. }) in wanted.iter().enumerate().skip(1) {
        let entry_end = entry.position + u64::from(entry.size);
        if entry.position < end || segment_end < entry_end {
            return index;
        }
        let contiguous = is_contiguous && entry.position == end;
        let span = entry_end - first.position;
        let is_dense = span <= SPAN_BYTES_MAX && span <= (useful + u64::from(entry.size)) * SPAN_WASTE_MAX;
        if !contiguous && !is_dense {
            return index;
        }
        is_contiguous = contiguous;
        useful += u64::from(entry.size);
        end = entry_end;
    }
    wanted.len()
}

impl Log {
    pub(crate) fn no_record(&self, position: u64) -> ReadError {
        ReadError::NoRecord { position, start: self.log.start(), end: self.published().end }
    }
}
