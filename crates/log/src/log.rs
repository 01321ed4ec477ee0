//! The log as others see it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use protocol::properties;
use protocol::record::{EncodeError, NewRecord, Record};
use protocol::sys_flag::SysFlag;

use crate::ahead::Ahead;
use crate::batch::{Batch, NOT_DUE};
use crate::commit_log::{CommitLog, ReadError};
use crate::config::{LogConfig, Visibility};
use crate::damage::Damaged;
use crate::disk::Disk;
use crate::maintenance::Maintenance;
use crate::planted::{self, Fault};
use crate::position::{LogPosition, QueueNumber};
use crate::prepare::Preparing;
use crate::published::Published;
use crate::writer::{AppendError, Appended, ToSync, Writer};
use crate::{running, segment};

/// Topic of the records that say that a queue was deleted. They keep older records of the queue from coming back when
/// the indexes are rebuilt, and leave the log together with them. Nobody else should store records under it; a record
/// that names a host is none of the log's own and deletes nothing.
pub const DELETED_QUEUES_TOPIC: &str = "APOGEE_DELETED_QUEUES";
/// Topics whose records come back when they are due, if they carry a due time.
const DUE_TOPICS: [&str; 2] = ["SCHEDULE_TOPIC_XXXX", "rmq_sys_wheel_timer"];
/// Longest topic that a record can have.
const TOPIC_BYTES_MAX: usize = i16::MAX as usize;

/// A commit log and its indexes. All methods may be called from several threads at once.
pub struct Log {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) config: LogConfig,
    pub(crate) log: CommitLog,
    writer: Mutex<Writer>,
    published: RwLock<Published>,
    /// Held during a sync, so that syncs become visible in their order.
    syncing: Mutex<()>,
    maintenance: Mutex<Maintenance>,
    /// Held while a segment is made ahead; a checkpoint must not delay that.
    pub(crate) preparing: Mutex<Preparing>,
    damaged: Mutex<Damaged>,
    pub(crate) ahead: Ahead,
    durable: AtomicU64,
    pub(crate) checkpointed: AtomicU64,
    /// What the writer knows, for those who must not wait for a disk that stalls.
    written: AtomicU64,
    last_store_ms: AtomicI64,
    is_fenced: AtomicBool,
}

/// The offsets of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueOffsets {
    /// Offset of the first message that is still there; the same as `max` when there is none.
    pub min: u64,
    /// Offset of the next message to come, as far as readers see.
    pub max: u64,
}

/// Why a queue cannot be made.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DefineError {
    /// No record can have a topic that long.
    #[error("topic is {size} bytes; the limit is {limit}")]
    TopicTooLong {
        /// Bytes of the topic.
        size: usize,
        /// The limit that was passed.
        limit: usize,
    },
}

/// Why a sync failed.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// A sync failed earlier.
    #[error("the log is fenced: a sync failed, so what is on disk is not known")]
    Fenced,
    /// The disk failed. The log is fenced from now on.
    #[error("the disk cannot be synced")]
    Io(#[source] io::Error),
}

/// Why a queue was not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// The deletion could not be stored.
    #[error("the deletion could not be noted")]
    Define(#[from] DefineError),
    /// The deletion could not be stored.
    #[error("the deletion could not be stored")]
    Append(#[from] AppendError),
    /// The deletion could not be synced.
    #[error("the deletion could not be synced")]
    Sync(#[from] SyncError),
}

/// Figures about a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Position of the first byte that can be a record's.
    pub start: LogPosition,
    /// Position after the last written record.
    pub end: LogPosition,
    /// Position up to which the log survives a power cut.
    pub durable: LogPosition,
    /// Position up to which a checkpoint vouches for the log: what is damaged before does not end it.
    pub checkpointed: LogPosition,
    /// Files of the commit log.
    pub segments: usize,
    /// Store time of the newest record.
    pub last_store_timestamp_ms: i64,
    /// Queues.
    pub queues: usize,
    /// Bytes of the queue index in files.
    pub index_bytes: u64,
    /// Bytes of the queue index in memory.
    pub index_memory_bytes: u64,
    /// Whether a failed sync has fenced the log.
    pub is_fenced: bool,
}

impl Log {
    pub(crate) fn assemble(
        disk: Arc<dyn Disk>,
        config: LogConfig,
        log: CommitLog,
        writer: Writer,
        published: Published,
        stated: u64,
        durable: u64,
    ) -> Log {
        Log {
            durable: AtomicU64::new(durable),
            checkpointed: AtomicU64::new(durable),
            written: AtomicU64::new(writer.end),
            last_store_ms: AtomicI64::new(writer.last_store_ms),
            is_fenced: AtomicBool::new(false),
            disk,
            config,
            log,
            writer: Mutex::new(writer),
            published: RwLock::new(published),
            syncing: Mutex::new(()),
            maintenance: Mutex::new(Maintenance { stated, doomed: Vec::new(), cached_from: 0 }),
            preparing: Mutex::default(),
            damaged: Mutex::default(),
            ahead: Ahead::default(),
        }
    }

    pub(crate) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Held during a sync of the log's files, up to the fence where it fails.
    pub(crate) fn syncing(&self) -> MutexGuard<'_, ()> {
        self.syncing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn published(&self) -> RwLockReadGuard<'_, Published> {
        self.published.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn published_mut(&self) -> RwLockWriteGuard<'_, Published> {
        self.published.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn maintenance(&self) -> MutexGuard<'_, Maintenance> {
        self.maintenance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn damaged(&self) -> MutexGuard<'_, Damaged> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of a queue; the queue is made if there is none.
    pub fn queue(&self, topic: &str, queue_id: u32) -> Result<QueueNumber, DefineError> {
        if let Some(number) = self.find_queue(topic, queue_id) {
            return Ok(number);
        }
        if TOPIC_BYTES_MAX < topic.len() {
            return Err(DefineError::TopicTooLong { size: topic.len(), limit: TOPIC_BYTES_MAX });
        }
        let mut writer = self.writer();
        let mut published = self.published_mut();
        let number = published.queues.define(topic, queue_id);
        // Another thread may have made it in between, and appended to it.
        if writer.next(number.0).is_none() {
            writer.set_next(number.0, Some(0));
        }
        Ok(number)
    }

    /// The number of a queue, if there is one.
    pub fn find_queue(&self, topic: &str, queue_id: u32) -> Option<QueueNumber> {
        self.published().queues.find(topic, queue_id)
    }

    /// Stores the records of a batch, all or none. They survive a killed process from here on, a power cut after
    /// [`Log::sync`]. Positions and offsets are in [`Batch::placed`] afterwards.
    ///
    /// `now_ms` becomes the store time, unless that would be before the newest record's.
    pub fn append(&self, batch: &mut Batch, now_ms: i64) -> Result<Appended, AppendError> {
        self.classify_settled(batch)?;
        let mut writer = self.writer();
        let appended = writer.append(&self.log, batch, now_ms)?;
        self.note_written(appended);
        // The writer stays locked, so that batches are published in the order of the log.
        if !writer.withhold(batch, self.config.visibility) {
            self.published_mut().publish(&batch.entries, &batch.keys, appended.end.0);
        }
        drop(writer);
        batch.set_placed();
        Ok(appended)
    }

    fn note_written(&self, appended: Appended) {
        self.written.store(appended.end.0, Ordering::Release);
        self.last_store_ms.store(appended.store_timestamp_ms, Ordering::Relaxed);
    }

    /// Lets nothing be written any more.
    pub(crate) fn fence(&self) {
        self.is_fenced.store(true, Ordering::Relaxed);
        self.writer().is_fenced = true;
    }

    /// Fences the log, and leaves word for the next start: what was not synced, of the log or of the `indexes` too, may
    /// be in the page cache and nowhere else.
    pub(crate) fn sync_failed(&self, indexes: bool) {
        self.fence();
        // On a disk that takes nothing at all there is nobody left to warn.
        let _ = running::note_failed_sync(&*self.disk, &self.config.boot_id, self.durable().0, indexes);
    }

    /// Finds out which of the records that the batch settles are in the due index, before any lock is taken: that
    /// may have to read them.
    fn classify_settled(&self, batch: &mut Batch) -> Result<(), AppendError> {
        let mut record = Vec::new();
        for index in &batch.settling {
            let entry = &mut batch.entries[*index as usize];
            let handed = self.published().due.handed_due(entry.settles);
            entry.settled_due_ms = match handed {
                Some(due_ms) => due_ms,
                None => stored_due_ms(&self.log, entry.settles, &mut record).map_err(AppendError::Io)?,
            };
        }
        Ok(())
    }

    /// Makes everything written so far survive a power cut, and visible. Returns how far the log is durable.
    ///
    /// After a failure the pages that were not written may be gone although they still read well, so the log never
    /// tries again: it refuses appends and syncs until it is opened anew.
    pub fn sync(&self) -> Result<LogPosition, SyncError> {
        let _one_at_a_time = self.syncing();
        let todo = {
            let mut writer = self.writer();
            if writer.is_fenced {
                return Err(SyncError::Fenced);
            }
            writer.start_sync()
        };
        if let Err(error) = self.sync_files(&todo)
            && !planted::is_planted(Fault::ForgetFence)
        {
            self.sync_failed(false);
            return Err(SyncError::Io(error));
        }
        if self.config.visibility == Visibility::Durable {
            self.published_mut().publish(&todo.unpublished.entries, &todo.unpublished.keys, todo.end);
        }
        self.durable.store(todo.end, Ordering::Release);
        Ok(LogPosition(todo.end))
    }

    fn sync_files(&self, todo: &ToSync) -> io::Result<()> {
        if planted::is_planted(Fault::SkipSync) {
            return Ok(());
        }
        for segment in &todo.segments {
            segment.file.sync_data()?;
        }
        if todo.dir { self.disk.sync_dir(segment::DIR) } else { Ok(()) }
    }

    /// Position after the last written record.
    pub fn end(&self) -> LogPosition {
        LogPosition(self.written.load(Ordering::Acquire))
    }

    /// Position up to which the log survives a power cut.
    pub fn durable(&self) -> LogPosition {
        LogPosition(self.durable.load(Ordering::Acquire))
    }

    /// Position of the first byte that can be a record's.
    pub fn start(&self) -> LogPosition {
        LogPosition(self.log.start())
    }

    /// Appends to `out` the record that begins exactly at `position`. Any position may be asked for; where no whole,
    /// visible record begins, nothing is returned but an error.
    pub fn read(&self, position: LogPosition, out: &mut Vec<u8>) -> Result<(), ReadError> {
        let is_visible = self.log.start() <= position.0 && position.0 < self.published().end;
        if is_visible && self.log.read_record(position.0, out)? {
            return Ok(());
        }
        Err(self.no_record(position.0))
    }

    /// The offsets of a queue; both 0 when there is no such queue.
    ///
    /// After retention the first offset is looked up in the index. If that is damaged, the first offset that the index
    /// knows of is returned: pulls from there say what is wrong.
    pub fn offsets(&self, queue: QueueNumber) -> QueueOffsets {
        let start = self.log.start();
        let (max, min) = {
            let published = self.published();
            let Some(max) = published.queues.next(queue) else { return QueueOffsets { min: 0, max: 0 } };
            (max, published.queues.min(queue, start))
        };
        let min = min.or_else(|| {
            let min = self.look_up_min(queue, start, max).ok()?;
            self.published_mut().queues.set_min(queue, start, min);
            Some(min)
        });
        let min = min.unwrap_or_else(|| self.published().queues.bases(queue).first().copied().unwrap_or(max));
        QueueOffsets { min: min.min(max), max }
    }

    /// The offset that the next message of a queue gets; 0 when there is no such queue. Cheaper than [`Log::offsets`].
    pub fn next_offset(&self, queue: QueueNumber) -> u64 {
        self.published().queues.next(queue).unwrap_or(0)
    }

    /// Forgets a queue and makes that durable. A queue of the same name starts at offset 0 again. Returns whether
    /// there was one.
    pub fn delete_queue(&self, topic: &str, queue_id: u32) -> Result<bool, DeleteError> {
        let found = self.find_queue(topic, queue_id).map(|number| (queue_id, number));
        Ok(self.delete(topic, found.into_iter().collect())? != 0)
    }

    /// Forgets all queues of a topic, in one step, and makes that durable with one sync. Queues of the same names start
    /// at offset 0 again. Returns how many there were.
    pub fn delete_queues(&self, topic: &str) -> Result<usize, DeleteError> {
        let found = {
            let published = self.published();
            let ids = published.queues.names().filter(|(name, _)| *name == topic).map(|(_, queue_id)| queue_id);
            ids.filter_map(|queue_id| Some((queue_id, published.queues.find(topic, queue_id)?))).collect()
        };
        self.delete(topic, found)
    }

    /// Deletes those of the queues `found` that are still there.
    fn delete(&self, topic: &str, mut found: Vec<(u32, QueueNumber)>) -> Result<usize, DeleteError> {
        if found.is_empty() || topic == DELETED_QUEUES_TOPIC {
            return Ok(0);
        }
        let notes = self.queue(DELETED_QUEUES_TOPIC, 0)?;
        let mut batch = Batch::new();
        {
            let mut writer = self.writer();
            let published = self.published();
            found.retain(|(queue_id, number)| published.queues.find(topic, *queue_id) == Some(*number));
            drop(published);
            if found.is_empty() {
                return Ok(0);
            }
            for (queue_id, _) in &found {
                let size = push_deletion(&mut batch, notes, topic, *queue_id);
                debug_assert!(size.is_ok(), "a topic that has a queue is short enough for a record");
            }
            let appended = writer.append(&self.log, &mut batch, i64::MIN)?;
            self.note_written(appended);
            found.iter().for_each(|(_, number)| writer.set_next(number.0, None));
            let withheld = writer.withhold(&batch, self.config.visibility);
            let mut published = self.published_mut();
            found.iter().for_each(|(_, number)| published.queues.forget(*number));
            if !withheld {
                published.publish(&batch.entries, &batch.keys, appended.end.0);
            }
        }
        self.sync()?;
        Ok(found.len())
    }

    /// Store time of the newest record.
    pub(crate) fn last_store_ms(&self) -> i64 {
        self.last_store_ms.load(Ordering::Relaxed)
    }

    /// Topic and queue id of every queue, those that are the log's own left out.
    pub fn queues(&self) -> Vec<(String, u32)> {
        let published = self.published();
        let names = published.queues.names().filter(|(topic, _)| *topic != DELETED_QUEUES_TOPIC);
        names.map(|(topic, queue_id)| (topic.to_owned(), queue_id)).collect()
    }

    /// Store time of the oldest message that is there, in milliseconds since 1970.
    pub fn earliest_store_timestamp_ms(&self) -> Option<i64> {
        let mut bytes = Vec::new();
        self.read(self.start(), &mut bytes).ok()?;
        Record::parse(&bytes).ok().map(|record| record.store_timestamp_ms())
    }

    /// Figures about the log. Looks at every queue.
    pub fn stats(&self) -> LogStats {
        let published = self.published();
        let (index_bytes, index_memory_bytes) = published.queues.bytes();
        LogStats {
            start: self.start(),
            end: self.end(),
            durable: self.durable(),
            checkpointed: LogPosition(self.checkpointed.load(Ordering::Relaxed)),
            segments: self.log.segments().len(),
            last_store_timestamp_ms: self.last_store_ms(),
            queues: published.queues.live(),
            index_bytes,
            index_memory_bytes,
            is_fenced: self.is_fenced.load(Ordering::Relaxed),
        }
    }
}

/// The 16 bytes of the log before `position`: mostly the seal of the newest write, whose checksum tells logs apart.
pub(crate) fn fingerprint(log: &CommitLog, position: u64) -> io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    if let Some(at) = position.checked_sub(16)
        && let Some(segment) = log.segment_of(at)
    {
        // A file that ends early leaves zeros, which are no fingerprint.
        segment.file.read_at(&mut bytes, at - segment.base)?;
    }
    Ok(bytes)
}

/// Host of the log's own records. No message has it: brokers store under an address that clients can reach.
const NO_HOST: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Adds the record that says that a queue was deleted.
fn push_deletion(batch: &mut Batch, notes: QueueNumber, topic: &str, queue_id: u32) -> Result<(), EncodeError> {
    let body = [&queue_id.to_be_bytes()[..], topic.as_bytes()].concat();
    let note = NewRecord {
        topic: DELETED_QUEUES_TOPIC,
        queue_id: 0,
        flag: 0,
        sys_flag: SysFlag(0),
        born_timestamp_ms: 0,
        born_host: NO_HOST,
        store_host: NO_HOST,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: &body,
        properties: &[],
    };
    batch.push(note, notes, 0, None)
}

/// Topic and id of the queue that `record` says was deleted, if it is what [`push_deletion`] writes. A message that a
/// client got into the topic is not.
pub(crate) fn deleted_queue<'a>(record: &Record<'a>) -> Option<(&'a str, u32)> {
    let is_note = record.topic() == DELETED_QUEUES_TOPIC
        && [record.store_host(), record.born_host()] == [NO_HOST; 2]
        && record.born_timestamp_ms() == 0
        && [record.queue_id(), record.flag(), record.sys_flag().0, record.reconsume_times()] == [0; 4]
        && record.prepared_transaction_offset() == 0
        && record.properties_bytes().is_empty();
    let (queue_id, topic) = record.body().split_first_chunk::<4>().filter(|_| is_note)?;
    Some((std::str::from_utf8(topic).ok()?, u32::from_be_bytes(*queue_id)))
}

/// When a record comes back, as it states itself; [`NOT_DUE`] if it does not.
pub(crate) fn due_ms(record: &Record<'_>) -> i64 {
    if !DUE_TOPICS.contains(&record.topic()) {
        return NOT_DUE;
    }
    record.properties().get(properties::TIMER_OUT_MS).and_then(|text| text.parse().ok()).unwrap_or(NOT_DUE)
}

/// When the record at `position` comes back; [`NOT_DUE`] if it does not, or is no more.
pub(crate) fn stored_due_ms(log: &CommitLog, position: u64, scratch: &mut Vec<u8>) -> io::Result<i64> {
    scratch.clear();
    if !log.read_record(position, scratch)? {
        return Ok(NOT_DUE);
    }
    Ok(Record::parse(scratch).map_or(NOT_DUE, |record| due_ms(&record)))
}
