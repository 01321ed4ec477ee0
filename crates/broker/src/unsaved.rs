//! Answers that wait until metadata is on disk, but not for ever: a disk that hangs must not keep a client waiting.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::writer::Outcome;

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// What was waited for is on disk.
    OnDisk,
    /// It cannot be written now. It is kept in memory and tried on.
    Failed,
    /// The disk said nothing within the time. It is kept in memory and tried on.
    NotInTime,
}

impl Saved {
    /// What a producer is told whose message is stored, and whose topic is what was saved: if it was not, a power cut may
    /// take it along.
    pub fn outcome(self) -> Outcome<'static> {
        match self {
            Saved::OnDisk | Saved::Failed => Outcome::Stored,
            Saved::NotInTime => Outcome::FlushTimeout,
        }
    }
}

/// What to do when a wait has ended.
pub type Then = Box<dyn FnOnce(Saved) + Send>;

/// Everybody who waits.
#[derive(Default)]
pub struct Unsaved {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// Deadline in milliseconds since 1970, and what to do, in the order in which they began to wait.
    by_id: BTreeMap<u64, (i64, Then)>,
    last_id: u64,
}

impl Unsaved {
    /// Begins a wait; its number is for [`Unsaved::saved`].
    pub fn wait(&self, deadline_ms: i64, then: Then) -> u64 {
        let mut waiting = self.lock();
        waiting.last_id += 1;
        let id = waiting.last_id;
        waiting.by_id.insert(id, (deadline_ms, then));
        id
    }

    /// What was waited for is on disk, or cannot be written. Nothing happens if the wait was given up.
    pub fn saved(&self, id: u64, on_disk: bool) {
        let ended = self.lock().by_id.remove(&id);
        if let Some((_, then)) = ended {
            then(if on_disk { Saved::OnDisk } else { Saved::Failed });
        }
    }

    /// Ends the waits whose deadline has come.
    pub fn give_up(&self, now_ms: i64) {
        let given_up: Vec<(u64, (i64, Then))> =
            self.lock().by_id.extract_if(.., |_, (deadline_ms, _)| *deadline_ms <= now_ms).collect();
        for (_, (_, then)) in given_up {
            then(Saved::NotInTime);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use super::*;

    #[test]
    fn a_wait_ends_once_when_it_is_saved_or_when_its_time_is_over() {
        let unsaved = Arc::new(Unsaved::default());
        let (tell, told) = mpsc::channel();
        let wait = |name: &'static str, deadline_ms| {
            let tell = tell.clone();
            unsaved.wait(deadline_ms, Box::new(move |saved| tell.send((name, saved)).unwrap()))
        };
        let (quick, slow, slower) = (wait("quick", 10), wait("slow", 10), wait("slower", 20));
        unsaved.saved(quick, true);
        unsaved.give_up(10);
        unsaved.saved(slow, true);
        unsaved.saved(slower, false);
        let all: Vec<_> = told.try_iter().collect();
        assert_eq!(all, [("quick", Saved::OnDisk), ("slow", Saved::NotInTime), ("slower", Saved::Failed)]);
    }
}
