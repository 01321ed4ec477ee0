//! Appending to the log: the only module that changes it.
//!
//! Whoever has records finds the log free and appends at once, on its own thread, or leaves them to whoever is
//! appending. A lone client therefore never waits for another thread, and under load one write carries what many
//! connections brought. With SYNC_FLUSH one thread syncs for everybody and answers then.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use log::{AppendError, Batch, DefineError, DeleteError, Log, LogPosition, QueueNumber};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::config::Flush;
use crate::held_pulls::HeldPulls;
use crate::meta::{Meta, Tree};
use crate::transactions::{Half, Transactions};

/// Longest time for which appended records stay in the page cache alone, with ASYNC_FLUSH.
const ASYNC_SYNC_PERIOD: Duration = Duration::from_millis(500);

/// Most bytes of records that may wait for the disk, or for whoever appends.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// Records to be appended together, and what they mean beyond the log.
#[derive(Default)]
pub struct Appends {
    /// The records.
    pub batch: Batch,
    /// What some of them mean, by their number in the batch.
    pub marks: Vec<(usize, Mark)>,
    /// Whether any of them is due at some time.
    pub has_due: bool,
    /// Whether a topic was created for any of them: their answers wait until nameservers know of it.
    pub created_topic: bool,
    /// Unique ids of the messages, one after another.
    pub unique_ids: Vec<u8>,
    /// Room for the properties of the record under way.
    pub stored: Vec<u8>,
}

impl Appends {
    /// Empties it; its room stays.
    pub fn clear(&mut self) {
        self.batch.clear();
        self.marks.clear();
        self.has_due = false;
        self.created_topic = false;
        self.unique_ids.clear();
    }
}

/// What a record means for transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It is a half message.
    Half {
        /// Age in milliseconds before which the producer is not asked, if the message says so.
        immunity_ms: Option<i64>,
    },
    /// It decides about a half message that was taken out of the table for it.
    Decides {
        /// Position of the half message.
        position: u64,
        /// The message, to be put back should the append fail.
        half: Half,
    },
}

/// Why records were not stored.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The log does not take them.
    #[error(transparent)]
    Log(#[from] AppendError),
    /// Too much waits for the disk already.
    #[error("{waiting_bytes} bytes wait for the disk; the limit is {limit}")]
    Busy {
        /// Bytes that wait.
        waiting_bytes: usize,
        /// Most bytes that may wait.
        limit: usize,
    },
    /// The broker stops.
    #[error("the broker stops")]
    Stopping,
}

/// How appending ended.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'e> {
    /// Stored, as safely as configured. Places are in the batch.
    Stored,
    /// Stored, but the disk did not confirm in time. Places are in the batch.
    FlushTimeout,
    /// Not stored.
    Refused(&'e WriteError),
}

/// Something that appends, and does something with the outcome.
pub trait Submission: Send + 'static {
    /// The records.
    fn appends(&mut self) -> &mut Appends;

    /// Bytes of the records.
    fn bytes(&self) -> usize;

    /// Appending has ended, possibly on another thread than it was submitted on. Called once.
    fn complete(&mut self, outcome: Outcome<'_>);
}

/// What became of a submission at once.
pub enum Submitted<S> {
    /// It ended; the caller completes it.
    Done(Box<S>, Result<(), WriteError>),
    /// It ends later, by [`Submission::complete`].
    Later,
}

/// Appends to the log.
pub struct Writer {
    log: Arc<Log>,
    flush: Flush,
    clock: Clock,
    appending: Mutex<()>,
    inbox: Mutex<Vec<Box<dyn Submission>>>,
    unsynced: Mutex<VecDeque<Unsynced>>,
    sync: SyncSignal,
    /// Bytes in `inbox` and `unsynced`.
    waiting_bytes: AtomicUsize,
    stopping: AtomicBool,
    pulls: Arc<HeldPulls>,
    transactions: Arc<Mutex<Transactions>>,
    meta: Meta,
    due: Arc<Notify>,
}

/// A submission whose append ended, and how.
type Ended = (Result<(), WriteError>, Box<dyn Submission>);

struct Unsynced {
    end: LogPosition,
    since_ms: i64,
    submission: Box<dyn Submission>,
    /// Nobody waits for it any more; its records become visible all the same.
    is_answered: bool,
}

#[derive(Default)]
struct SyncSignal {
    state: Mutex<SyncState>,
    changed: Condvar,
}

#[derive(Default, PartialEq)]
enum SyncState {
    #[default]
    Idle,
    Wanted,
    Stop,
}

impl Writer {
    /// A writer for the log. `due` is told when a record is due at some time.
    pub fn new(
        log: Arc<Log>,
        flush: Flush,
        clock: Clock,
        pulls: Arc<HeldPulls>,
        transactions: Arc<Mutex<Transactions>>,
        meta: Meta,
        due: Arc<Notify>,
    ) -> Writer {
        Writer {
            log,
            flush,
            clock,
            appending: Mutex::new(()),
            inbox: Mutex::default(),
            unsynced: Mutex::default(),
            sync: SyncSignal::default(),
            waiting_bytes: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            pulls,
            transactions,
            meta,
            due,
        }
    }

    /// Appends, or leaves it to whoever is appending.
    pub fn submit<S: Submission>(&self, mut submission: Box<S>) -> Submitted<S> {
        if let Err(error) = self.check_room(submission.bytes()) {
            self.put_back(submission.appends());
            return Submitted::Done(submission, Err(error));
        }
        let Some(appending) = self.try_appending() else {
            self.waiting_bytes.fetch_add(submission.bytes(), Ordering::Relaxed);
            lock(&self.inbox).push(submission);
            // Between our attempt and the push the holder may have left without looking again.
            self.append_left_over();
            return Submitted::Later;
        };
        // What was left here before comes first: it may be of the same connection.
        let earlier = self.append_inbox();
        let submitted = match self.append(submission.appends()) {
            Ok(end) if self.flush == Flush::Sync => {
                self.wait_for_sync(end, submission);
                Submitted::Later
            }
            result => Submitted::Done(submission, result.map(|_| ())),
        };
        drop(appending);
        finish(earlier);
        self.append_left_over();
        submitted
    }

    /// Refuses what would let waiting records grow without end. Nothing at all is always fine.
    fn check_room(&self, bytes: usize) -> Result<(), WriteError> {
        if bytes == 0 {
            return Ok(());
        }
        if self.stopping.load(Ordering::Relaxed) {
            return Err(WriteError::Stopping);
        }
        let waiting_bytes = self.waiting_bytes.load(Ordering::Relaxed);
        if waiting_bytes > WAITING_BYTES_MAX {
            return Err(WriteError::Busy { waiting_bytes, limit: WAITING_BYTES_MAX });
        }
        Ok(())
    }

    fn try_appending(&self) -> Option<MutexGuard<'_, ()>> {
        match self.appending.try_lock() {
            Ok(appending) => Some(appending),
            // Whoever panicked while appending left the log as it was: it counts an append only when it is written.
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Appends what others left in the inbox meanwhile, unless somebody else does.
    fn append_left_over(&self) {
        loop {
            if lock(&self.inbox).is_empty() {
                return;
            }
            let Some(appending) = self.try_appending() else { return };
            let ended = self.append_inbox();
            drop(appending);
            finish(ended);
        }
    }

    /// Appends what lies in the inbox; gives back what ended with that. The caller holds `appending`.
    fn append_inbox(&self) -> Vec<Ended> {
        let submissions = std::mem::take(&mut *lock(&self.inbox));
        let mut ended = Vec::new();
        for mut submission in submissions {
            self.waiting_bytes.fetch_sub(submission.bytes(), Ordering::Relaxed);
            match self.append(submission.appends()) {
                Ok(end) if self.flush == Flush::Sync => self.wait_for_sync(end, submission),
                result => ended.push((result.map(|_| ()), submission)),
            }
        }
        ended
    }

    fn append(&self, appends: &mut Appends) -> Result<LogPosition, WriteError> {
        match self.log.append(&mut appends.batch, self.clock.now_ms()) {
            Ok(_) => {
                if self.flush == Flush::Async {
                    self.published(appends);
                }
                Ok(self.log.end())
            }
            Err(error) => {
                self.put_back(appends);
                Err(error.into())
            }
        }
    }

    /// Enters appended records among those that wait for the disk. The caller holds `appending`: whoever gets it next
    /// finds everything entered that was appended before.
    fn wait_for_sync(&self, end: LogPosition, submission: Box<dyn Submission>) {
        self.waiting_bytes.fetch_add(submission.bytes(), Ordering::Relaxed);
        let since_ms = self.clock.now_ms();
        lock(&self.unsynced).push_back(Unsynced { end, since_ms, submission, is_answered: false });
        self.sync.want();
    }

    /// Records became visible: whoever waits for them is told.
    fn published(&self, appends: &Appends) {
        let placed = appends.batch.placed();
        if !appends.marks.is_empty() {
            let mut transactions = lock(&self.transactions);
            for (index, mark) in &appends.marks {
                match (mark, placed.get(*index)) {
                    (Mark::Half { immunity_ms }, Some(placed)) => {
                        let half = Half {
                            queue_offset: placed.queue_offset,
                            stored_ms: self.clock.now_ms(),
                            immunity_ms: *immunity_ms,
                            checks: 0,
                        };
                        transactions.stored(placed.position.0, half);
                    }
                    (Mark::Decides { position, half }, _) if half.checks > 0 => {
                        self.meta.remove(Tree::Checks, position.to_be_bytes());
                    }
                    _ => {}
                }
            }
        }
        if appends.has_due {
            self.due.notify_one();
        }
        self.pulls.arrived(placed.iter().map(|placed| placed.queue));
    }

    fn put_back(&self, appends: &mut Appends) {
        for (_, mark) in appends.marks.drain(..) {
            if let Mark::Decides { position, half } = mark {
                lock(&self.transactions).put_back(position, half, self.clock.now_ms());
            }
        }
    }

    /// Syncs when somebody waits for it, or from time to time. Runs on a thread of its own until [`Writer::stop`],
    /// and then syncs what is left.
    pub fn sync_until_stopped(&self) {
        loop {
            let period = if self.flush == Flush::Async { Some(ASYNC_SYNC_PERIOD) } else { None };
            let stop = self.sync.wait(period);
            self.sync_now();
            if stop {
                return;
            }
        }
    }

    fn sync_now(&self) {
        if self.log.durable() == self.log.end() && lock(&self.unsynced).is_empty() {
            return;
        }
        match self.log.sync() {
            Ok(durable) => {
                let ready = self.take_unsynced(|unsynced| unsynced.end <= durable);
                for mut ready in ready {
                    self.published(ready.submission.appends());
                    if !ready.is_answered {
                        ready.submission.complete(Outcome::Stored);
                    }
                }
            }
            Err(error) => {
                tracing::error!(%error, "the commit log cannot be synced and takes no more messages");
                for mut lost in self.take_unsynced(|_| true) {
                    self.put_back(lost.submission.appends());
                    if !lost.is_answered {
                        lost.submission.complete(Outcome::Refused(&AppendError::Fenced.into()));
                    }
                }
            }
        }
    }

    /// Answers those who wait for the disk for too long: their messages are stored, and may yet become safe. Then they
    /// become visible like any other.
    pub fn give_up_waiting(&self, timeout_ms: i64) {
        let before_ms = self.clock.now_ms() - timeout_ms;
        for late in lock(&self.unsynced).iter_mut().take_while(|unsynced| unsynced.since_ms < before_ms) {
            if !late.is_answered {
                late.is_answered = true;
                late.submission.complete(Outcome::FlushTimeout);
            }
        }
    }

    fn take_unsynced(&self, ready: impl Fn(&Unsynced) -> bool) -> Vec<Unsynced> {
        let mut unsynced = lock(&self.unsynced);
        let count = unsynced.iter().take_while(|unsynced| ready(unsynced)).count();
        let taken: Vec<Unsynced> = unsynced.drain(..count).collect();
        let bytes = taken.iter().map(|taken| taken.submission.bytes()).sum();
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        taken
    }

    /// Takes nothing more, and says whether everything that was taken has been answered.
    pub fn wind_up(&self) -> bool {
        self.stopping.store(true, Ordering::Relaxed);
        lock(&self.unsynced).is_empty() && lock(&self.inbox).is_empty()
    }

    /// Lets [`Writer::sync_until_stopped`] end.
    pub fn stop(&self) {
        self.sync.stop();
    }
}

fn finish(ended: Vec<Ended>) {
    for (result, mut submission) in ended {
        match result {
            Ok(()) => submission.complete(Outcome::Stored),
            Err(error) => submission.complete(Outcome::Refused(&error)),
        }
    }
}

impl SyncSignal {
    fn want(&self) {
        let mut state = lock(&self.state);
        if *state == SyncState::Idle {
            *state = SyncState::Wanted;
            self.changed.notify_one();
        }
    }

    fn stop(&self) {
        *lock(&self.state) = SyncState::Stop;
        self.changed.notify_one();
    }

    /// Waits for the signal or the period; says whether it is time to stop.
    fn wait(&self, period: Option<Duration>) -> bool {
        let idle = |state: &mut SyncState| *state == SyncState::Idle;
        let state = lock(&self.state);
        let mut state = match period {
            Some(period) => {
                self.changed.wait_timeout_while(state, period, idle).unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.changed.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner),
        };
        if *state == SyncState::Wanted {
            *state = SyncState::Idle;
        }
        *state == SyncState::Stop
    }
}

/// A submission that calls a function with the outcome.
pub struct Call<F> {
    /// The records.
    pub appends: Appends,
    /// What to do with the outcome, until it was done.
    pub then: Option<F>,
}

impl<F: FnOnce(&Appends, Outcome<'_>) + Send + 'static> Submission for Call<F> {
    fn appends(&mut self) -> &mut Appends {
        &mut self.appends
    }

    fn bytes(&self) -> usize {
        self.appends.batch.bytes()
    }

    fn complete(&mut self, outcome: Outcome<'_>) {
        if let Some(then) = self.then.take() {
            then(&self.appends, outcome);
        }
    }
}

impl Writer {
    /// Appends and calls `then` with the outcome, now or later.
    pub fn append_then(&self, appends: Appends, then: impl FnOnce(&Appends, Outcome<'_>) + Send + 'static) {
        match self.submit(Box::new(Call { appends, then: Some(then) })) {
            Submitted::Done(mut call, Ok(())) => call.complete(Outcome::Stored),
            Submitted::Done(mut call, Err(error)) => call.complete(Outcome::Refused(&error)),
            Submitted::Later => {}
        }
    }

    /// Forgets all queues of a topic, with one sync; queues of the same names start at offset 0 again.
    pub fn delete_queues(&self, topic: &str) -> Result<usize, DeleteError> {
        self.log.delete_queues(topic)
    }

    /// The log's number for a queue, defining the queue if it is new.
    pub fn define_queue(&self, topic: &str, queue_id: i32) -> Result<QueueNumber, DefineError> {
        self.log.queue(topic, queue_id.max(0) as u32)
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these locks guard is changed in single steps; a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
