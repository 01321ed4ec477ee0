//! Opening a log: what a stop left behind is read, repaired, and taken up again.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;

use protocol::record::Record;

use crate::batch::{Entry, NOT_DUE, push_key_hashes};
use crate::checkpoint::Checkpoint;
use crate::commit_log::CommitLog;
use crate::config::{LogConfig, Visibility};
use crate::disk::{Disk, read_exact_at};
use crate::due_index::{self, DueIndex};
use crate::format::{self, NewerFormat};
use crate::key_index::{self, KeyIndex};
use crate::log::{Log, deleted_queue, due_ms, fingerprint, stored_due_ms};
use crate::maintenance::CheckpointError;
use crate::planted::{self, Fault};
use crate::position::LogPosition;
use crate::published::Published;
use crate::queue_index::{QueueIndex, files};
use crate::recovery::{Scanned, Trust, scan};
use crate::running::{self, Stop};
use crate::salvage;
use crate::segment::{self, Segment};
use crate::writer::Writer;

/// Longest damage that is told from a torn end where nothing else does: a write of the largest record, twice.
const ROT_BYTES_MAX: u64 = 2 * segment::RECORD_BYTES_MAX as u64;
/// How far queue offsets skip ahead when some that were given may have been lost.
const OFFSET_GAP: u64 = 1 << 20;
/// Smallest segment: it must hold some record.
const SEGMENT_BYTES_MIN: u64 = 1024;
/// Largest segment: the filler states its size in 32 bits, of which other readers take one for the sign.
const SEGMENT_BYTES_MAX: u64 = i32::MAX as u64;

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The segment size makes no sense.
    #[error("segments of {bytes} bytes are not possible; the limits are {min} and {max}")]
    SegmentBytes {
        /// What was asked for.
        bytes: u64,
        /// Smallest size.
        min: u64,
        /// Largest size.
        max: u64,
    },
    /// A file could not be read or written.
    #[error("{what} failed")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the disk says.
        #[source]
        source: io::Error,
    },
    /// A later version of this program wrote a file. Nothing was changed.
    #[error("the data is of a later version")]
    Newer(#[from] NewerFormat),
    /// The indexes were recovered but could not be written.
    #[error("the recovered indexes could not be written")]
    Checkpoint(#[from] CheckpointError),
}

fn io(what: &'static str) -> impl FnOnce(io::Error) -> OpenError {
    move |source| OpenError::Io { what, source }
}

/// What opening a log found and did. Its text is one line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Whether the log was closed properly before.
    pub was_clean: bool,
    /// From where on the log was read.
    pub replayed_from: LogPosition,
    /// Where it ends.
    pub end: LogPosition,
    /// Records that were read.
    pub records: u64,
    /// Whether something after the end was cut off.
    pub is_torn: bool,
    /// Bytes in the middle that were damaged and passed over.
    pub damaged_bytes: u64,
    /// Why the indexes were rebuilt from the log, if they were.
    pub rebuilt: Option<&'static str>,
    /// Whether queue offsets skipped ahead, because some that were given may have been lost.
    pub skipped_offsets: bool,
    /// Queues that were found.
    pub queues: usize,
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stop = if self.was_clean { "a clean" } else { "an unclean" };
        write!(f, "log opened after {stop} stop: {} queues, ends at {}", self.queues, self.end)?;
        write!(f, ", {} records read from {} on", self.records, self.replayed_from)?;
        if let Some(reason) = self.rebuilt {
            write!(f, ", indexes rebuilt ({reason})")?;
        }
        if self.is_torn {
            f.write_str(", torn end cut off")?;
        }
        if self.damaged_bytes != 0 {
            write!(f, ", {} damaged bytes passed over", self.damaged_bytes)?;
        }
        if self.skipped_offsets {
            write!(f, ", queue offsets moved ahead by {OFFSET_GAP} because acknowledged messages may be lost")?;
        }
        Ok(())
    }
}

impl Log {
    /// Opens the log on a disk, or makes a new one, and repairs what a crash left.
    ///
    /// `replay` is shown, in order, every record that may not be in the state that the owner wrote at the last
    /// checkpoint, or every record with [`LogConfig::replay_all`]. After damage it may begin earlier than that, even
    /// with the first record, and may show a record twice, so seeing a known record again must do no harm.
    pub fn open(
        disk: Arc<dyn Disk>,
        config: LogConfig,
        replay: &mut dyn FnMut(&Record<'_>),
    ) -> Result<(Log, Recovery), OpenError> {
        let (min, max) = (SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
        if !(min..=max).contains(&config.segment_bytes) {
            return Err(OpenError::SegmentBytes { bytes: config.segment_bytes, min, max });
        }
        for dir in [segment::DIR, files::DIR, key_index::DIR, due_index::DIR] {
            disk.create_dir(dir).map_err(io("making the directories"))?;
        }
        format::check(&*disk).map_err(io("looking at the versions of files"))??;
        let left = running::read(&*disk, &config.boot_id).map_err(io("reading the running mark"))?;
        let found = Checkpoint::read(&*disk).map_err(io("reading the checkpoint"))?;
        let segments = find_segments(&*disk, &config, found.as_ref()).map_err(io("opening the commit log"))?;
        let opening = Opening { disk, config, left, segments };
        let (log, recovery) = opening.recover(found, replay)?;
        running::write(&*log.disk, &log.config.boot_id).map_err(io("writing the running mark"))?;
        Ok((log, recovery))
    }
}

/// The segments on disk, in order; at least one.
fn find_segments(
    disk: &dyn Disk,
    config: &LogConfig,
    checkpoint: Option<&Checkpoint>,
) -> io::Result<Vec<Arc<Segment>>> {
    let mut bases: Vec<u64> = disk.list(segment::DIR)?.iter().filter_map(|name| segment::base_of(name)).collect();
    bases.sort_unstable();
    let mut segments: Vec<Arc<Segment>> = Vec::new();
    for (index, &base) in bases.iter().enumerate() {
        let file = disk.open(&segment::path(base))?;
        let next = bases.get(index + 1).copied();
        let bytes = match (segment::read_header(&*file, base)?, next) {
            (Some(bytes), Some(next)) => bytes.min(next - base),
            (Some(bytes), None) => bytes,
            // A damaged header costs nothing: the next file and the length say where this one ends.
            (None, Some(next)) => file.len()?.max(config.segment_bytes).min(next - base),
            (None, None) if segment::holds_record(&*file, base)? => file.len()?.max(config.segment_bytes),
            // The newest file was being made when the power went.
            (None, None) => {
                disk.remove(&segment::path(base))?;
                continue;
            }
        };
        let segment = Segment::new(base, bytes, file);
        let known = checkpoint.and_then(|checkpoint| checkpoint.segments.iter().find(|(other, _)| *other == base));
        if let Some((_, newest_ms)) = known {
            segment.saw_store_time(*newest_ms);
        }
        segments.push(Arc::new(segment));
    }
    if segments.is_empty() {
        // Positions are not given twice, even when the files that had them are gone.
        let base = checkpoint.map_or(0, |checkpoint| checkpoint.log_end);
        segments.push(segment::create(disk, &segment::path(base), base, config.segment_bytes, None)?);
        disk.sync_dir(segment::DIR)?;
    }
    Ok(segments)
}

struct Opening {
    disk: Arc<dyn Disk>,
    config: LogConfig,
    /// How the log was left.
    left: running::Found,
    segments: Vec<Arc<Segment>>,
}

/// The indexes as files have them, and from where on the log has to be read.
struct Start {
    published: Published,
    indexed: u64,
    keyed: u64,
    stated: u64,
    /// Queues that the files of a discarded index knew, with their next offsets.
    salvaged: Vec<(String, u32, u64)>,
}

impl Start {
    fn replay_from(&self) -> u64 {
        self.indexed.min(self.keyed).min(self.stated)
    }
}

impl Opening {
    fn recover(
        self,
        found: Option<Checkpoint>,
        replay: &mut dyn FnMut(&Record<'_>),
    ) -> Result<(Log, Recovery), OpenError> {
        let log = CommitLog::new(self.segments.clone());
        let is_new = found.is_none() && self.segments.len() == 1 && self.left.stop == Stop::Clean;
        let mut rebuilt = None;
        let mut lost_tail = false;
        let mut start = None;
        match &found {
            None if is_new => {}
            None => rebuilt = Some("there is no checkpoint"),
            Some(_) if self.left.indexes_unsynced => rebuilt = Some("they could not be synced before"),
            Some(checkpoint) => match self.load(&log, checkpoint).map_err(io("reading the indexes"))? {
                Ok(loaded) => start = Some(loaded),
                Err(Unfit::OtherLog) => {
                    lost_tail = true;
                    rebuilt = Some("the log is not the one of the checkpoint, or lost its end");
                }
                Err(Unfit::DamagedIndex) => rebuilt = Some("an index file is missing or damaged"),
            },
        }
        let known_end = found.as_ref().filter(|_| !lost_tail).map(|checkpoint| checkpoint.log_end);
        let trust = self.trust(known_end);
        let mut read = self.read_log(&log, start, trust, replay)?;
        if known_end.is_some_and(|known_end| read.scanned.end < known_end) {
            lost_tail = true;
            if rebuilt.is_none() {
                // The indexes know more than there is.
                rebuilt = Some("the log ends before the checkpoint's end");
                read = self.read_log(&log, None, trust, replay)?;
            }
        }
        let ReadLog { start: Start { mut published, stated, indexed, .. }, scanned, from } = read;
        let (end, current) = self.repair(&log, &scanned).map_err(io("repairing the end of the commit log"))?;
        published.end = end;
        if let Some(from) = self.left.unsynced_from {
            self.write_again(&log, from, end).map_err(io("writing again what could not be synced before"))?;
        }
        let last_store_ms = self.last_store_ms(found.as_ref());
        let spares = self.spares().map_err(io("reading the commit log's directory"))?;
        // Whoever wrote to these did not live to sync them.
        let unsynced =
            log.segments().into_iter().filter(|segment| known_end.is_none_or(|synced| synced < segment.end()));
        let unsynced = unsynced.collect();
        let mut writer = Writer::new(self.disk.clone(), &self.config, current, unsynced, end, last_store_ms, spares);
        let skipped_offsets = self.must_skip_offsets(lost_tail, indexed, &scanned);
        self.give_next_offsets(skipped_offsets, &mut published.queues, &mut writer);
        let recovery = Recovery {
            was_clean: self.left.stop == Stop::Clean,
            replayed_from: LogPosition(from),
            end: LogPosition(end),
            records: scanned.records,
            is_torn: scanned.is_torn,
            damaged_bytes: scanned.damaged_bytes,
            rebuilt,
            skipped_offsets,
            queues: published.queues.live(),
        };
        let durable = known_end.unwrap_or_else(|| log.start()).min(end);
        let log = Log::assemble(self.disk, self.config, log, writer, published, stated, durable);
        log.sync().map_err(CheckpointError::from)?;
        if rebuilt.is_some() || skipped_offsets || is_new {
            log.write_checkpoint(&mut log.maintenance(), None)?;
        }
        salvage::remove(&*log.disk).map_err(io("removing salvaged offsets"))?;
        Ok((log, recovery))
    }

    /// Whether offsets that were given, and seen, may be gone with their messages.
    fn must_skip_offsets(&self, lost_tail: bool, indexed: u64, scanned: &Scanned) -> bool {
        let may_have_lost = lost_tail || self.left.stop == Stop::PowerLost;
        // What was damaged before an index knew it may have been the last message of its queue. Consumers had it, and the
        // next one of the same offset would pass by those that had.
        indexed < scanned.damaged_until || may_have_lost && self.config.visibility == Visibility::Written
    }

    /// Tells the writer the next offset of each queue, some way after those that are known to have been given if it skips.
    fn give_next_offsets(&self, skips: bool, queues: &mut QueueIndex, writer: &mut Writer) {
        if skips {
            for (topic, queue_id) in &self.config.known_queues {
                queues.define(topic, *queue_id);
            }
        }
        let gap = if skips && !planted::is_planted(Fault::ReuseOffset) { OFFSET_GAP } else { 0 };
        let nexts: Vec<_> = queues.nexts().map(|next| next.map(|next| next + gap)).collect();
        for (number, next) in nexts.into_iter().enumerate() {
            queues.raise_next(number as u32, next.unwrap_or(0));
            writer.set_next(number as u32, next);
        }
    }

    /// Reads what the indexes do not know yet into them; without a `start`, everything into empty ones.
    fn read_log(
        &self,
        log: &CommitLog,
        start: Option<Start>,
        trust: Trust,
        replay: &mut dyn FnMut(&Record<'_>),
    ) -> Result<ReadLog, OpenError> {
        let mut start = match start {
            Some(start) => start,
            None => self.empty(log).map_err(io("emptying the indexes"))?,
        };
        if self.config.replay_all {
            start.stated = log.start();
        }
        let from = start.replay_from();
        let mut replayer = Replayer { log, start: &mut start, replay, scratch: Vec::new(), failed: None };
        let scanned = scan(&self.segments, from, trust, &mut |record| replayer.take(record));
        let scanned = scanned.map_err(io("reading the commit log"))?;
        if let Some(error) = replayer.failed.take() {
            return Err(io("reading a settled record")(error));
        }
        for (topic, queue_id, next) in std::mem::take(&mut start.salvaged) {
            let number = start.published.queues.define(&topic, queue_id);
            start.published.queues.raise_next(number.0, next);
        }
        Ok(ReadLog { start, scanned, from })
    }

    fn trust(&self, known_end: Option<u64>) -> Trust {
        // Without a checkpoint the newest segment alone is thought to be unsynced.
        let newest = self.segments.last().map_or(0, |segment| segment.base);
        let durable = known_end.unwrap_or(newest);
        // After a power cut, or a sync that failed, a later write may be whole and an earlier one not, and nobody was told
        // that either is safe.
        let lost_nothing = self.left.stop != Stop::PowerLost && self.left.unsynced_from.is_none();
        Trust { durable, ahead_bytes: if lost_nothing { ROT_BYTES_MAX } else { 0 }, until: u64::MAX }
    }

    /// The indexes as the checkpoint describes them.
    fn load(&self, log: &CommitLog, checkpoint: &Checkpoint) -> io::Result<Result<Start, Unfit>> {
        // One flipped bit makes no other log.
        let found = u128::from_be_bytes(fingerprint(log, checkpoint.log_end)?);
        if 1 < (found ^ u128::from_be_bytes(checkpoint.fingerprint)).count_ones() {
            return Ok(Err(Unfit::OtherLog));
        }
        let queues = QueueIndex::open(self.disk.clone(), self.config.index_segment_bytes, checkpoint.index)?;
        let Some(queues) = queues else { return Ok(Err(Unfit::DamagedIndex)) };
        let keys = KeyIndex::open(&*self.disk, self.config.key_run_entries, &checkpoint.runs)?;
        let due = DueIndex::open(&*self.disk, &checkpoint.buckets)?;
        let (Some(keys), Some(due)) = (keys, due) else { return Ok(Err(Unfit::DamagedIndex)) };
        let published = Published { queues, keys, due, end: checkpoint.log_end };
        Ok(Ok(Start {
            published,
            indexed: checkpoint.indexed,
            keyed: checkpoint.keyed,
            stated: checkpoint.stated,
            salvaged: Vec::new(),
        }))
    }

    /// Empty indexes; the whole log has to be read.
    fn empty(&self, log: &CommitLog) -> io::Result<Start> {
        let mut salvaged = QueueIndex::salvage(&*self.disk)?;
        // A start that made them anew may not have come to its end.
        salvaged.extend(salvage::read(&*self.disk)?);
        salvage::write(&*self.disk, &salvaged)?;
        let queues = QueueIndex::create(self.disk.clone(), self.config.index_segment_bytes)?;
        let start = log.start();
        let keys = KeyIndex::open(&*self.disk, self.config.key_run_entries, &[])?;
        let due = DueIndex::open(&*self.disk, &[])?;
        let (Some(keys), Some(due)) = (keys, due) else {
            unreachable!("an index of no files has none that is damaged")
        };
        let published = Published { queues, keys, due, end: start };
        Ok(Start { published, indexed: start, keyed: start, stated: start, salvaged })
    }

    /// Makes the log end where the scan says, so that nothing that lies after it can ever be read as a record.
    fn repair(&self, log: &CommitLog, scanned: &Scanned) -> io::Result<(u64, Arc<Segment>)> {
        let mut end = scanned.end;
        let index = self.segments.iter().rposition(|segment| segment.base < end).unwrap_or(0);
        let mut current = self.segments[index].clone();
        for later in &self.segments[index + 1..] {
            // Not kept as spare: it may hold records that state the very positions of the segment to come.
            self.disk.remove(&segment::path(later.base))?;
        }
        log.keep(index + 1);
        if end == current.end() {
            // The newest segment was closed, but the next one was not begun.
            let base = current.end();
            let path = segment::path(base);
            current = segment::create(&*self.disk, &path, base, self.config.segment_bytes, None)?;
            log.push(current.clone());
            end = current.first();
        }
        end = end.max(current.first());
        // The power may have gone before header and length were safe, or the header may have rotted.
        if segment::read_header(&*current.file, current.base)? != Some(current.bytes) {
            segment::write_header(&*current.file, current.base, current.bytes)?;
        }
        if current.file.len()? < current.bytes {
            current.file.set_len(current.bytes)?;
        }
        if self.left.stop != Stop::Clean || scanned.is_torn {
            current.file.zero(end - current.base, current.bytes)?;
        }
        self.disk.sync_dir(segment::DIR)?;
        Ok((end, current))
    }

    /// Writes the bytes of `from..end` where they are, and syncs them: the page cache shows them, and takes them for
    /// safe although their sync has failed.
    fn write_again(&self, log: &CommitLog, from: u64, end: u64) -> io::Result<()> {
        const AT_ONCE: usize = 1 << 20;
        let mut bytes = vec![0; AT_ONCE];
        for segment in log.segments() {
            let (mut at, to) = (from.max(segment.base), end.min(segment.end()));
            if to <= at {
                continue;
            }
            while at < to {
                let size = AT_ONCE.min((to - at) as usize);
                read_exact_at(&*segment.file, &mut bytes[..size], at - segment.base)?;
                segment.file.write_at(&bytes[..size], at - segment.base)?;
                at += size as u64;
            }
            segment.file.sync_data()?;
        }
        Ok(())
    }

    fn last_store_ms(&self, found: Option<&Checkpoint>) -> i64 {
        let newest = self.segments.iter().map(|segment| segment.newest_ms()).max().unwrap_or(i64::MIN);
        newest.max(found.map_or(i64::MIN, |checkpoint| checkpoint.last_store_ms))
    }

    /// Files that may become segments. Others that are no segments are removed.
    fn spares(&self) -> io::Result<VecDeque<String>> {
        let mut spares = VecDeque::new();
        for name in self.disk.list(segment::DIR)? {
            let path = format!("{}/{name}", segment::DIR);
            if name.starts_with("spare.") && spares.len() < self.config.spare_segments {
                spares.push_back(path);
            } else if segment::base_of(&name).is_none() {
                self.disk.remove(&path)?;
            }
        }
        Ok(spares)
    }
}

/// The indexes after the log was read.
struct ReadLog {
    start: Start,
    scanned: Scanned,
    from: u64,
}

/// Why the index files are of no use.
enum Unfit {
    OtherLog,
    DamagedIndex,
}

/// Puts what a record says into the indexes that do not know it yet.
struct Replayer<'a> {
    log: &'a CommitLog,
    start: &'a mut Start,
    replay: &'a mut dyn FnMut(&Record<'_>),
    scratch: Vec<u8>,
    failed: Option<io::Error>,
}

impl Replayer<'_> {
    fn take(&mut self, record: &Record<'_>) {
        let position = record.position();
        let published = &mut self.start.published;
        if let Some(segment) = self.log.segment_of(position) {
            segment.saw_store_time(record.store_timestamp_ms());
        }
        let mut entry = Entry {
            queue: u32::MAX,
            size: record.size(),
            tag_hash: record.tag_hash(),
            keys: 0,
            queue_offset: record.queue_offset(),
            position,
            store_ms: record.store_timestamp_ms(),
            due_ms: NOT_DUE,
            settles: record.prepared_transaction_offset().max(0) as u64,
            settled_due_ms: NOT_DUE,
        };
        let mut keys = Vec::new();
        if self.start.keyed <= position {
            let mut scratch = Vec::new();
            push_key_hashes(record.topic(), record.properties_bytes(), &mut scratch, &mut keys);
            entry.keys = keys.len() as u32;
        }
        if self.start.indexed <= position {
            entry.queue = published.queues.define(record.topic(), record.queue_id() as u32).0;
            entry.due_ms = due_ms(record);
            if entry.settles != 0 && !planted::is_planted(Fault::ForgetSettlement) {
                match stored_due_ms(self.log, entry.settles, &mut self.scratch) {
                    Ok(due_ms) => entry.settled_due_ms = due_ms,
                    Err(error) => self.failed = Some(error),
                }
            }
        }
        let end = position + u64::from(record.size());
        published.publish(&[entry], &keys, end);
        if self.start.indexed <= position
            && let Some((topic, queue_id)) = deleted_queue(record)
        {
            if let Some(number) = published.queues.find(topic, queue_id) {
                published.queues.forget(number);
            }
            // What an index file says of the queue was of its former life.
            self.start.salvaged.retain(|(other, other_id, _)| other != topic || *other_id != queue_id);
        }
        if self.start.stated <= position {
            (self.replay)(record);
        }
    }
}
