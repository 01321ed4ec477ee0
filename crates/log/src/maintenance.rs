//! What has to be done from time to time: checkpoints, and files made or written before they are needed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::checkpoint::Checkpoint;
use crate::disk::{Disk, DiskFile};
use crate::due_index::{self, BucketWrite};
use crate::key_index;
use crate::log::{Log, SyncError, fingerprint};
use crate::queue_index::files;
use crate::running;

/// Queues whose tails are saved under one lock.
const SAVE_AT_ONCE: usize = 1024;

/// Bytes that leave the page cache together.
const FORGET_AT_ONCE: u64 = 64 << 20;

/// Writes the state of the log's owner to the disk, whole.
pub type WriteState<'a> = &'a dyn Fn(&dyn Disk) -> io::Result<()>;

/// What whoever maintains the files has to remember.
pub(crate) struct Maintenance {
    /// Records from here on are not in the state of the owner.
    pub stated: u64,
    /// Files that the next checkpoint does not name.
    pub doomed: Vec<String>,
    /// Records before this position were given up by the page cache.
    pub cached_from: u64,
}

/// Why a checkpoint was not written. The one before still counts.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The log could not be synced.
    #[error("the log could not be synced")]
    Sync(#[from] SyncError),
    /// An index or the checkpoint could not be written.
    #[error("the indexes could not be written")]
    Io(#[from] io::Error),
    /// The owner could not write its state.
    #[error("the state of the log's owner could not be written")]
    State(#[source] io::Error),
}

impl Log {
    /// Writes the indexes to their files, lets the owner write its `state`, and notes how far both are. A restart reads
    /// the log from there.
    ///
    /// `state` has to be whole on disk when it returns, and has to contain every record before the position that
    /// [`Log::end`] had when this was called.
    pub fn checkpoint(&self, state: WriteState<'_>) -> Result<(), CheckpointError> {
        let mut maintenance = self.maintenance();
        self.write_checkpoint(&mut maintenance, Some(state))
    }

    /// Ends the use of the log with a checkpoint after which a restart has nothing to replay or to repair. Nothing can
    /// be appended any more.
    pub fn close(&self, state: WriteState<'_>) -> Result<(), CheckpointError> {
        let mut maintenance = self.maintenance();
        self.write_checkpoint(&mut maintenance, Some(state))?;
        // Nothing is appended after this, so that what was synced is all there is.
        self.fence();
        if self.durable() == self.end() {
            running::remove(&*self.disk)?;
        }
        Ok(())
    }

    pub(crate) fn write_checkpoint(
        &self,
        maintenance: &mut Maintenance,
        state: Option<WriteState<'_>>,
    ) -> Result<(), CheckpointError> {
        self.write_keys(self.config.key_replay_bytes)?;
        let log_start = self.log.start();
        // Records before `indexed` are in the indexes that are saved below; in the queue index some after it may be
        // too, which a replay takes well.
        let (indexed, keyed, runs, resident, bucket_writes) = {
            let mut published = self.published_mut();
            let indexed = published.end;
            maintenance.doomed.extend(published.keys.retire(log_start));
            let keyed = published.keys.unsaved_from().unwrap_or(indexed);
            let runs = published.keys.run_numbers();
            let writes = published.due.start_writes(&mut maintenance.doomed);
            (indexed, keyed, runs, published.queues.take_resident(), writes)
        };
        for numbers in resident.chunks(SAVE_AT_ONCE) {
            self.published_mut().queues.save_tails(numbers);
        }
        self.write_buckets(bucket_writes, &mut maintenance.doomed)?;
        self.write_index()?;
        let (index, dirty, buckets) = {
            let mut published = self.published_mut();
            maintenance.doomed.extend(published.queues.retire(log_start));
            let buckets = published.due.extents();
            let files = published.queues.files();
            files.flush()?;
            let dirty = files.take_dirty();
            (files.extent(), dirty, buckets)
        };
        // The log is synced after all that the index files mention was collected: they never know more than it.
        let log_end = self.sync()?.0;
        if let Err(error) = self.sync_index(dirty).and_then(|()| self.sync_buckets()) {
            // Another sync would say that all is well, and bring nothing of it to the disk.
            self.sync_failed(true);
            return Err(error.into());
        }
        if let Some(state) = state {
            state(&*self.disk).map_err(CheckpointError::State)?;
            maintenance.stated = indexed;
        }
        let checkpoint = Checkpoint {
            indexed,
            keyed,
            stated: maintenance.stated,
            log_end,
            fingerprint: fingerprint(&self.log, log_end)?,
            last_store_ms: self.last_store_ms(),
            index,
            segments: self.log.segments().iter().map(|segment| (segment.base, segment.newest_ms())).collect(),
            runs,
            buckets,
        };
        checkpoint.write(&*self.disk)?;
        self.checkpointed.store(log_end, Ordering::Relaxed);
        for path in std::mem::take(&mut maintenance.doomed) {
            self.disk.remove(&path)?;
        }
        Ok(())
    }

    /// Writes what waits of the indexes if it is much, and makes anew what was found damaged of them. Call it from time to time; it keeps their memory
    /// bounded between checkpoints.
    pub fn maintain(&self) -> io::Result<()> {
        let mut maintenance = self.maintenance();
        self.write_index()?;
        self.write_keys(u64::MAX)?;
        if self.config.due_buffer_entries <= self.published().due.waiting() {
            let writes = self.published_mut().due.start_writes(&mut maintenance.doomed);
            self.write_buckets(writes, &mut maintenance.doomed)?;
        }
        self.forget_cached(&mut maintenance)?;
        self.repair(&mut maintenance)
    }

    /// Lets the oldest part of the log leave the page cache. Pages that are given back serve the next writes at once,
    /// while a cache that grows takes ever new pages, which a virtual machine may have to get from its host first.
    fn forget_cached(&self, maintenance: &mut Maintenance) -> io::Result<()> {
        let until = self.durable().0.saturating_sub(self.config.cached_bytes);
        if until < maintenance.cached_from.saturating_add(FORGET_AT_ONCE) {
            return Ok(());
        }
        for segment in self.log.segments() {
            let (from, to) = (maintenance.cached_from.max(segment.base), until.min(segment.end()));
            if from < to {
                segment.file.forget_cached(from - segment.base, to - segment.base)?;
            }
        }
        maintenance.cached_from = until;
        Ok(())
    }

    /// Writes what waits of the queue index if it is much, while readers and appends go on.
    fn write_index(&self) -> io::Result<()> {
        let flush = self.published_mut().queues.files().start_flush();
        let Some(flush) = flush else { return Ok(()) };
        flush.write()?;
        self.published_mut().queues.files().flushed(&flush);
        Ok(())
    }

    /// Writes full collections of keys as runs, and the newest one too if it reaches back more than `bytes`.
    fn write_keys(&self, bytes: u64) -> io::Result<()> {
        {
            let mut published = self.published_mut();
            let reaches_back = published.keys.unsaved_from().map_or(0, |from| published.end.saturating_sub(from));
            if bytes < reaches_back {
                published.keys.close();
            }
        }
        loop {
            let Some((collection, number)) = self.published().keys.to_write() else { return Ok(()) };
            let run = key_index::write_run(&*self.disk, number, &collection)?;
            self.published_mut().keys.wrote(run);
        }
    }

    fn write_buckets(&self, writes: Vec<BucketWrite>, doomed: &mut Vec<String>) -> io::Result<()> {
        for mut write in writes {
            due_index::write_bucket(&*self.disk, &mut write)?;
            self.published_mut().due.wrote(write, doomed);
        }
        Ok(())
    }

    fn sync_buckets(&self) -> io::Result<()> {
        let dirty = self.published_mut().due.take_dirty();
        for file in &dirty {
            file.sync_data()?;
        }
        if dirty.is_empty() { Ok(()) } else { self.disk.sync_dir(due_index::DIR) }
    }

    fn sync_index(&self, dirty: (Vec<Arc<dyn DiskFile>>, bool)) -> io::Result<()> {
        let (files, dir) = dirty;
        files.iter().try_for_each(|file| file.sync_data())?;
        if dir { self.disk.sync_dir(files::DIR) } else { Ok(()) }
    }
}
