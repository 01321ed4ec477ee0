//! Messages that come back: who is due, and who still waits.

use std::collections::HashMap;
use std::ops::Range;

use crate::commit_log::ReadError;
use crate::due_index::{BucketRead, Due, DueBacklog, DueIndex, read_bucket};
use crate::log::Log;
use crate::position::LogPosition;

impl Log {
    /// Up to `max` messages that are due at `now_ms`, earliest first. Each is given out once, until it is handed back
    /// or the log is opened anew. It leaves for good when a record is appended that settles it, that is, one with
    /// its position as prepared transaction offset.
    pub fn due_until(&self, now_ms: i64, max: usize) -> Result<Vec<Due>, ReadError> {
        let horizon = DueIndex::wanted_horizon(now_ms);
        if !self.published().due.is_loaded(horizon) {
            if let Some(hour) = self.damaged().hours.first() {
                // It is being made anew, under the lock that would be waited for here.
                return Err(ReadError::DamagedDue { hour: *hour });
            }
            // Writing buckets and reading them exclude each other.
            let _one_at_a_time = self.maintenance();
            while let Some(read) = self.load_target(horizon) {
                let pending = self.read_pending(&read)?;
                self.published_mut().due.loaded(read.hour, pending);
            }
        }
        Ok(self.published_mut().due.take_due(now_ms, max))
    }

    fn load_target(&self, horizon: i64) -> Option<BucketRead> {
        self.published_mut().due.next_unloaded(horizon)
    }

    /// Takes back a message that could not be delivered; it is given out again.
    pub fn handed_back(&self, position: LogPosition) {
        self.published_mut().due.hand_back(position.0);
    }

    /// Takes a message that waits, so that nobody else gets it from here or from [`Log::due_until`], until it is settled or
    /// handed back. `false` when somebody has it, or it waits no more. It may be taken where it waits no more only if it
    /// is due in some hours: settling it once more does no harm.
    pub fn take_waiting(&self, due: Due) -> bool {
        self.published_mut().due.take(due)
    }

    /// When to ask [`Log::due_until`] next: no message that was not given out is due before. It may be too early,
    /// for messages that are due hours from now are known by the hour only.
    pub fn next_due_ms(&self) -> Option<i64> {
        self.published().due.next_due_ms()
    }

    /// How much waits, as of `now_ms`.
    pub fn due_backlog(&self, now_ms: i64) -> DueBacklog {
        self.published().due.backlog(now_ms)
    }

    /// Messages that wait and lie in a part of the log, in its order. They have to be stored again, each with a record
    /// that settles it, before the segments there can be removed.
    pub fn pending_in(&self, range: Range<LogPosition>) -> Result<Vec<Due>, ReadError> {
        let _one_at_a_time = self.maintenance();
        let mut pending = self.pending_before(range.end)?;
        pending.retain(|due| range.start <= due.position);
        Ok(pending)
    }

    /// Messages that wait and lie before `end`. Maintenance must be locked.
    pub(crate) fn pending_before(&self, end: LogPosition) -> Result<Vec<Due>, ReadError> {
        let (mut found, reads) = self.published().due.pending_before(end.0);
        for read in reads {
            let pending = self.read_pending(&read)?;
            let pending = self.published().due.complete(read.hour, pending);
            let before = pending.into_iter().filter(|(position, _)| *position < end.0);
            found.extend(before.map(|(position, (due_ms, size))| Due {
                due_ms,
                position: LogPosition(position),
                size,
            }));
        }
        found.sort_unstable_by_key(|due| due.position);
        Ok(found)
    }
}

impl Log {
    fn read_pending(&self, read: &BucketRead) -> Result<HashMap<u64, (i64, u32)>, ReadError> {
        let pending = read_bucket(read)?;
        if pending.is_none() {
            self.damaged().hours.insert(read.hour);
        }
        pending.ok_or(ReadError::DamagedDue { hour: read.hour })
    }
}
