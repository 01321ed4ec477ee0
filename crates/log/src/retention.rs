//! Removing what is old.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::commit_log::ReadError;
use crate::log::Log;
use crate::position::LogPosition;
use crate::segment::{self, Segment};

/// Why nothing more was removed.
#[derive(Debug, thiserror::Error)]
pub enum CleanError {
    /// It could not be found out which messages still wait.
    #[error("it is not known which messages of the oldest segment still wait")]
    Pending(#[from] ReadError),
    /// The disk failed.
    #[error("the oldest segment could not be removed")]
    Io(#[from] io::Error),
}

/// What a cleaning did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Segments that were removed.
    pub segments: usize,
    /// Bytes of the log that they held.
    pub bytes: u64,
    /// A segment that should have gone, but holds messages that wait: these have to be stored again first.
    pub blocked: Option<Range<LogPosition>>,
}

impl Log {
    /// The part of the log that [`Log::clean`] would remove. Whoever knows messages there that are still needed
    /// stores them again before.
    pub fn doomed(&self, expire_before_ms: i64, force_bytes: Option<u64>) -> Option<Range<LogPosition>> {
        let segments = self.log.segments();
        let count = doomed_count(&segments, expire_before_ms, force_bytes.unwrap_or(0));
        let last = count.checked_sub(1).map(|index| &segments[index])?;
        Some(LogPosition(segments[0].base)..LogPosition(last.end()))
    }

    /// Removes the oldest segments whose newest record was stored before `expire_before_ms`, and as many more as free
    /// `force_bytes`. The newest segment always stays, and so does a segment in which a message waits to become due.
    pub fn clean(&self, expire_before_ms: i64, force_bytes: Option<u64>) -> Result<Cleaned, CleanError> {
        let _one_at_a_time = self.maintenance();
        let segments = self.log.segments();
        let count = doomed_count(&segments, expire_before_ms, force_bytes.unwrap_or(0));
        let mut cleaned = Cleaned::default();
        let Some(last) = count.checked_sub(1) else { return Ok(cleaned) };
        let pending = self.pending_before(LogPosition(segments[last].end()))?;
        let first_pending = pending.first().map_or(u64::MAX, |due| due.position.0);
        drop(segments);
        let mut spares = Vec::new();
        for _ in 0..count {
            let blocked = self.log.segments().first().filter(|first| first_pending < first.end()).cloned();
            if let Some(first) = blocked {
                cleaned.blocked = Some(LogPosition(first.base)..LogPosition(first.end()));
                break;
            }
            let Some(segment) = self.log.pop_first() else { break };
            cleaned.segments += 1;
            cleaned.bytes += segment.bytes;
            spares.extend(self.discard(segment, spares.len())?);
        }
        if cleaned.segments != 0 {
            // A file must have lost its old name for good before it gets the name of a new segment.
            self.disk.sync_dir(segment::DIR)?;
            self.writer().spares.extend(spares);
        }
        Ok(cleaned)
    }

    /// Keeps the file of a segment for a future one and returns its new path, or removes it.
    fn discard(&self, segment: Arc<Segment>, spares: usize) -> io::Result<Option<String>> {
        let path = segment::path(segment.base);
        // With somebody still reading it, what is written into the file next would reach that reader.
        let is_free = Arc::strong_count(&segment) == 1 && segment.bytes == self.config.segment_bytes;
        if !is_free || self.config.spare_segments <= self.writer().spares.len() + spares {
            self.disk.remove(&path)?;
            return Ok(None);
        }
        let spare = segment::spare_path(segment.base);
        self.disk.rename(&path, &spare)?;
        Ok(Some(spare))
    }
}

/// How many of the oldest segments have to go.
fn doomed_count(segments: &[Arc<Segment>], expire_before_ms: i64, force_bytes: u64) -> usize {
    let mut freed = 0;
    let mut goes = |segment: &&Arc<Segment>| {
        let goes = segment.newest_ms() < expire_before_ms || freed < force_bytes;
        freed += segment.bytes;
        goes
    };
    let removable = segments.len().saturating_sub(1);
    segments[..removable].iter().take_while(|segment| goes(segment)).count()
}
