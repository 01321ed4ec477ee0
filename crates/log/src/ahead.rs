//! What consumers that catch up will ask for next, read before they do: while the client works through one answer, the
//! records of the next one are found, read and checked.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::commit_log::ReadError;
use crate::log::Log;
use crate::position::QueueNumber;
use crate::pull::{PullLimits, PullOutcome, Pulled};

/// Answers that are kept at a time.
const KEPT_MAX: usize = 16;
/// Bytes of an answer that is kept. Larger ones cost so much themselves that reading them ahead gains little.
const KEPT_BYTES_MAX: usize = 64 << 10;
/// Answers that are read ahead until one that nobody asked for gives way.
const TURNS_KEPT: u64 = 64;

/// The pull that goes on where an answer ended, for [`Log::read_ahead`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpectedPull {
    queue: QueueNumber,
    offset: u64,
    limits: PullLimits,
}

/// An answer that was read ahead.
struct Kept {
    pull: ExpectedPull,
    count: usize,
    next_offset: u64,
    records: Vec<u8>,
    turn: u64,
}

/// Answers that were read ahead. Its lock is never held together with another one.
#[derive(Default)]
pub(crate) struct Ahead(Mutex<State>);

#[derive(Default)]
struct State {
    kept: Vec<Kept>,
    /// Rooms of answers that were taken.
    rooms: Vec<Vec<u8>>,
    /// Counts the answers that were read ahead.
    turn: u64,
}

impl Ahead {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Hands an answer over: its count, and where to go on.
    fn take(&mut self, pull: ExpectedPull, out: &mut Vec<u8>) -> Option<(usize, u64)> {
        let index = self.kept.iter().position(|kept| kept.pull == pull)?;
        let Kept { count, next_offset, records, .. } = self.kept.swap_remove(index);
        out.extend_from_slice(&records);
        self.rooms.push(records);
        Some((count, next_offset))
    }

    /// Whether one more answer can be kept; the oldest one gives way if it is not wanted any more.
    fn makes_room(&mut self) -> bool {
        if self.kept.len() < KEPT_MAX {
            return true;
        }
        let Some(index) = (0..self.kept.len()).min_by_key(|index| self.kept[*index].turn) else { return true };
        if self.turn < self.kept[index].turn + TURNS_KEPT {
            // Counted all the same, or answers that nobody fetches would stay for ever.
            self.turn += 1;
            return false;
        }
        let given_up = self.kept.swap_remove(index);
        self.rooms.push(given_up.records);
        true
    }
}

impl Log {
    /// As [`pull`](Self::pull), of records with any tag. If more records follow than one answer holds, the pull that will
    /// ask for them comes along.
    pub fn pull_all(
        &self,
        queue: QueueNumber,
        offset: u64,
        limits: PullLimits,
        out: &mut Vec<u8>,
    ) -> Result<(Pulled, Option<ExpectedPull>), ReadError> {
        let from = out.len();
        let pulled = match self.take_ahead(ExpectedPull { queue, offset, limits }, out)? {
            Some(pulled) => pulled,
            None => self.pull(queue, offset, limits, &|_| true, out)?,
        };
        let follows = pulled.next_offset.saturating_add(limits.max_messages as u64) <= pulled.max_offset;
        let is_worth_it = matches!(pulled.outcome, PullOutcome::Found { .. }) && out.len() - from <= KEPT_BYTES_MAX;
        let next = ExpectedPull { queue, offset: pulled.next_offset, limits };
        Ok((pulled, (follows && is_worth_it).then_some(next)))
    }

    fn take_ahead(&self, pull: ExpectedPull, out: &mut Vec<u8>) -> Result<Option<Pulled>, ReadError> {
        // The number of a deleted queue is not given to another one before a restart.
        let offsets = self.known_offsets(pull.queue)?;
        if !(offsets.min..offsets.max).contains(&pull.offset) {
            return Ok(None);
        }
        let Some((count, next_offset)) = self.ahead.state().take(pull, out) else { return Ok(None) };
        let outcome = PullOutcome::Found { count };
        Ok(Some(Pulled { outcome, next_offset, min_offset: offsets.min, max_offset: offsets.max }))
    }

    /// Reads what a pull will ask for. To be called when the answer before is on its way: it reads the disk.
    pub fn read_ahead(&self, pull: ExpectedPull) {
        let mut records = {
            let mut state = self.ahead.state();
            if state.kept.iter().any(|kept| kept.pull == pull) || !state.makes_room() {
                return;
            }
            state.rooms.pop().unwrap_or_default()
        };
        records.clear();
        // What goes wrong here goes wrong again for whoever asks.
        let pulled = self.pull(pull.queue, pull.offset, pull.limits, &|_| true, &mut records).ok();
        let mut state = self.ahead.state();
        state.turn += 1;
        match pulled {
            Some(Pulled { outcome: PullOutcome::Found { count }, next_offset, .. })
                if records.len() <= KEPT_BYTES_MAX =>
            {
                let turn = state.turn;
                state.kept.push(Kept { pull, count, next_offset, records, turn });
            }
            _ if records.capacity() <= 2 * KEPT_BYTES_MAX => state.rooms.push(records),
            _ => {}
        }
    }
}
