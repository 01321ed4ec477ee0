//! Segments made ready before they are needed.
//!
//! With [`Visibility::Durable`] a file that is new is filled with zeros besides, in steps: the sync of a write to blocks
//! that are merely reserved has to note that they are in use now, which takes as long again as the sync itself. See
//! `docs/decisions/0005-segments-are-filled-where-syncs-are-waited-for.md`.

use std::io;
use std::sync::{Arc, PoisonError};

use crate::config::Visibility;
use crate::log::Log;
use crate::segment::{self, HEADER_BYTES, Segment};

/// Bytes filled by one call of [`Log::prepare`].
const FILL_BYTES: u64 = 32 << 20;
/// Bytes filled at once. A sync of the log that comes in between waits for them, and so does an append.
const FILL_AT_ONCE: u64 = 1 << 20;

/// What is being made ready.
#[derive(Default)]
pub(crate) struct Preparing {
    /// The next segment, and how far its file is filled.
    ahead: Option<(Arc<Segment>, u64)>,
    /// How far the current segment is filled, if it is the log's first file.
    current: Option<u64>,
}

impl Log {
    /// Makes the next segment ahead of its use, so that no append has to wait for it. Call it from time to time;
    /// returns whether there was something to do.
    pub fn prepare(&self) -> io::Result<bool> {
        let mut preparing = self.preparing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.fill_first(&mut preparing)? {
            return Ok(true);
        }
        let Some((segment, filled)) = self.segment_ahead(&mut preparing)? else { return Ok(false) };
        if filled < segment.bytes && self.writer().current_end() == segment.base {
            let to = (filled + FILL_BYTES).min(segment.bytes);
            segment.file.write_zeros(filled, to)?;
            segment.file.sync_data()?;
            preparing.ahead = Some((segment, to));
            return Ok(true);
        }
        segment.file.sync_data()?;
        if !self.writer().offer_segment(segment)? {
            self.disk.remove(segment::AHEAD_PATH)?;
        }
        self.disk.sync_dir(segment::DIR)?;
        Ok(true)
    }

    /// The next segment under way, or a new one if one is needed.
    fn segment_ahead(&self, preparing: &mut Preparing) -> io::Result<Option<(Arc<Segment>, u64)>> {
        if let Some(under_way) = preparing.ahead.take() {
            return Ok(Some(under_way));
        }
        let Some((base, spare)) = self.writer().wants_segment() else { return Ok(None) };
        let bytes = self.config.segment_bytes;
        // A spare file was written before.
        let is_ready = spare.is_some() || self.config.visibility == Visibility::Written;
        let segment = segment::create(&*self.disk, segment::AHEAD_PATH, base, bytes, spare.as_deref())?;
        Ok(Some((segment, if is_ready { bytes } else { HEADER_BYTES })))
    }

    /// Fills some of the log's first file, which an empty store begins to use before anything could be made ahead.
    fn fill_first(&self, preparing: &mut Preparing) -> io::Result<bool> {
        if self.config.visibility == Visibility::Written {
            return Ok(false);
        }
        let mut filled = preparing.current.unwrap_or(0);
        let until = filled + FILL_BYTES;
        while filled < until {
            let file = {
                // Locked, so that nothing is appended where the zeros go.
                let writer = self.writer();
                let Some((segment, free_from)) = writer.first_file() else { return Ok(false) };
                let from = filled.max(free_from);
                filled = (from + FILL_AT_ONCE).min(segment.bytes);
                if filled <= from {
                    return Ok(false);
                }
                segment.file.write_zeros(from, filled)?;
                segment.file.clone()
            };
            preparing.current = Some(filled);
            // A sync that fails may have lost pages of the log itself, and the next one would not say so again: none may
            // be between the failure and the fence.
            let _one_at_a_time = self.syncing();
            file.sync_data().inspect_err(|_| self.sync_failed(false))?;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use protocol::record::NewRecord;
    use protocol::sys_flag::SysFlag;

    use super::*;
    use crate::batch::Batch;
    use crate::config::LogConfig;
    use crate::disk::RealDisk;

    #[test]
    fn what_is_appended_while_files_are_filled_stays() {
        const RECORDS: usize = 3_000;
        let folder = tempfile::tempdir().unwrap();
        let open = || {
            let disk = Arc::new(RealDisk::open(folder.path()).unwrap());
            let config = LogConfig { segment_bytes: 3 << 20, visibility: Visibility::Durable, ..LogConfig::default() };
            Log::open(disk, config, &mut |_| {}).unwrap().0
        };
        let log = open();
        let append = || {
            let queue = log.queue("orders", 0).unwrap();
            let host = ([127, 0, 0, 1], 1).into();
            for _ in 0..RECORDS {
                let mut batch = Batch::new();
                let record = NewRecord {
                    topic: "orders",
                    queue_id: 0,
                    flag: 0,
                    sys_flag: SysFlag(0),
                    born_timestamp_ms: 0,
                    born_host: host,
                    store_host: host,
                    reconsume_times: 0,
                    prepared_transaction_offset: 0,
                    body: &[7; 3_000],
                    properties: b"",
                };
                batch.push(record, queue, 0, None).unwrap();
                log.append(&mut batch, 0).unwrap();
            }
        };
        std::thread::scope(|scope| {
            let appending = scope.spawn(append);
            while !appending.is_finished() {
                log.prepare().unwrap();
            }
        });
        log.sync().unwrap();
        let end = log.end();
        drop(log);
        let log = open();
        assert_eq!(log.end(), end);
        let queue = log.find_queue("orders", 0).unwrap();
        let entries = log.entries(queue, 0, RECORDS + 1).unwrap();
        assert_eq!(entries.len(), RECORDS);
        let mut bytes = Vec::new();
        entries.iter().for_each(|entry| log.read(crate::LogPosition(entry.position), &mut bytes).unwrap());
    }
}
