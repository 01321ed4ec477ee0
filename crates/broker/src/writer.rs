//! Appending to the log: the only module that changes it.
//!
//! Whoever has records finds the log free and appends at once, on its own thread, or leaves them to whoever is
//! appending. A lone client therefore never waits for another thread, and under load one write carries what many
//! connections brought. With SYNC_FLUSH one thread syncs for everybody and answers then.

// Spelt out, because `tests/interleavings` compiles this file from elsewhere.
#[path = "writer/measured.rs"]
mod measured;
#[path = "writer/sync_pace.rs"]
mod sync_pace;

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{AppendError, Batch, DefineError, DeleteError, Log, LogPosition, QueueNumber};
use metrics::Stopwatch;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::config::Flush;
use crate::held_pulls::HeldPulls;
use crate::held_receives::HeldReceives;
use crate::meta::{Meta, Tree};
use crate::stats::{AppendTimes, Puts};
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use crate::transactions::{Half, Transactions};
use measured::Measured;
use sync_pace::SyncPace;

/// Longest time for which appended records stay in the page cache alone, with ASYNC_FLUSH.
const ASYNC_SYNC_PERIOD: Duration = Duration::from_millis(500);

/// Bytes that wait for the disk above which a sync is not left to a thread that serves connections: it is no longer
/// short, and the thread has more to do than it thought.
const SYNC_AT_REST_BYTES_MAX: usize = 1 << 20;

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
    /// When they count as stored, if not as the broker says: as the strictest of their topics does.
    pub flush: Option<Flush>,
    /// Whether a topic was created for any of them: their answers wait until nameservers know of it.
    pub created_topic: bool,
    /// What counts once they are stored.
    pub puts: Puts,
    /// Unique ids of the messages, one after another.
    pub unique_ids: Vec<u8>,
    /// Handles by which messages can be taken back, one after another.
    pub recall_handles: Vec<u8>,
    /// Room for the properties of the record under way.
    pub stored: Vec<u8>,
    /// Sends whose spans end with the append.
    #[cfg(feature = "otel")]
    pub sendings: Vec<crate::spans::Sending>,
}

impl Appends {
    /// Empties it; its room stays.
    pub fn clear(&mut self) {
        self.batch.clear();
        self.marks.clear();
        self.has_due = false;
        self.flush = None;
        self.created_topic = false;
        self.puts.clear();
        self.unique_ids.clear();
        self.recall_handles.clear();
        #[cfg(feature = "otel")]
        self.sendings.clear();
    }
}

/// What a record means beyond the log.
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
    /// It settles a delayed message that was taken for it.
    Takes {
        /// Position of the delayed message, which is handed back should the append fail.
        position: LogPosition,
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
    /// Stored as safely as its topics ask for, and not yet visible: that comes when the disk has it. Places are in the
    /// batch, and the records are still needed.
    Accepted,
    /// Stored, but the disk did not confirm in time. Places are in the batch, and the records are still needed.
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

/// Who is told of records that became visible.
#[derive(Clone, Default)]
pub struct Watchers {
    /// Pulls that wait for messages.
    pub pulls: Arc<HeldPulls>,
    /// Receive calls that wait for messages.
    pub receives: Arc<HeldReceives>,
    /// Told when a record is due at some time.
    pub due: Arc<Notify>,
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
    /// Held from a sync until those who waited for it have been answered.
    syncing: Mutex<()>,
    pace: SyncPace,
    /// Bytes in `inbox` and `unsynced`.
    waiting_bytes: AtomicUsize,
    stopping: AtomicBool,
    watchers: Watchers,
    transactions: Arc<Mutex<Transactions>>,
    meta: Meta,
    times: AppendTimes,
    measured: Measured,
}

thread_local! {
    /// Whether this thread calls [`Writer::sync_at_rest`] before it sleeps.
    static COMES_TO_REST: Cell<bool> = const { Cell::new(false) };
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
    /// A writer for the log.
    pub fn new(
        log: Arc<Log>,
        flush: Flush,
        clock: Clock,
        watchers: Watchers,
        transactions: Arc<Mutex<Transactions>>,
        meta: Meta,
    ) -> Writer {
        Writer {
            log,
            flush,
            clock,
            appending: Mutex::new(()),
            inbox: Mutex::default(),
            unsynced: Mutex::default(),
            sync: SyncSignal::default(),
            syncing: Mutex::new(()),
            pace: SyncPace::default(),
            waiting_bytes: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            watchers,
            transactions,
            meta,
            times: AppendTimes::default(),
            measured: Measured::default(),
        }
    }

    /// How long appends take, as tools ask for it.
    pub fn append_times(&self) -> &AppendTimes {
        &self.times
    }

    /// How long its work took.
    pub fn measured(&self) -> &Measured {
        &self.measured
    }

    /// Bytes of records that wait for the disk, or for whoever appends.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes.load(Ordering::Relaxed)
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
            Ok(end) if self.waits(submission.appends()) => {
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
                Ok(end) if self.waits(submission.appends()) => self.wait_for_sync(end, submission),
                result => ended.push((result.map(|_| ()), submission)),
            }
        }
        ended
    }

    fn append(&self, appends: &mut Appends) -> Result<LogPosition, WriteError> {
        let stopwatch = Stopwatch::start();
        match self.log.append(&mut appends.batch, self.clock.now_ms()) {
            Ok(_) => {
                if !appends.batch.is_empty() {
                    let took = stopwatch.elapsed();
                    appends.puts.count();
                    self.times.note(took.as_millis() as i64, appends.batch.len());
                    self.measured.append.observe_time(took);
                    self.measured.batch.observe(appends.batch.len() as u64);
                }
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

    /// Whether appended records wait for a sync: to be answered, or to be seen.
    fn waits(&self, appends: &Appends) -> bool {
        self.flush == Flush::Sync || appends.flush == Some(Flush::Sync)
    }

    /// Enters appended records among those that wait for the disk. The caller holds `appending`: whoever gets it next
    /// finds everything entered that was appended before.
    fn wait_for_sync(&self, end: LogPosition, mut submission: Box<dyn Submission>) {
        self.waiting_bytes.fetch_add(submission.bytes(), Ordering::Relaxed);
        let since_ms = self.clock.now_ms();
        let is_answered = submission.appends().flush == Some(Flush::Async);
        if is_answered {
            submission.complete(Outcome::Accepted);
        }
        lock(&self.unsynced).push_back(Unsynced { end, since_ms, submission, is_answered });
        let is_much = SYNC_AT_REST_BYTES_MAX < self.waiting_bytes.load(Ordering::Relaxed);
        if is_much || !COMES_TO_REST.get() || self.waits_too_long(since_ms) {
            self.sync.want();
        }
    }

    /// Whether the thread that serves connections, and was to sync once it has nothing else to do, always has.
    fn waits_too_long(&self, now_ms: i64) -> bool {
        const REST_COMES_WITHIN_MS: i64 = 5;
        lock(&self.unsynced).front().is_some_and(|first| first.since_ms + REST_COMES_WITHIN_MS < now_ms)
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
            self.watchers.due.notify_one();
        }
        self.watchers.pulls.arrived(placed.iter().map(|placed| placed.queue));
        self.watchers.receives.arrived(placed.iter().map(|placed| placed.queue));
    }

    fn put_back(&self, appends: &mut Appends) {
        for (_, mark) in appends.marks.drain(..) {
            match mark {
                Mark::Decides { position, half } => {
                    lock(&self.transactions).put_back(position, half, self.clock.now_ms());
                }
                Mark::Takes { position } => {
                    self.log.handed_back(position);
                    self.watchers.due.notify_one();
                }
                Mark::Half { .. } => {}
            }
        }
    }

    /// Syncs when somebody waits for it, or from time to time. Runs on a thread of its own until [`Writer::stop`],
    /// and then syncs what is left.
    pub fn sync_until_stopped(&self) {
        loop {
            let period = if self.flush == Flush::Async { Some(ASYNC_SYNC_PERIOD) } else { None };
            let stop = self.sync.wait(period);
            self.timed(Writer::sync_now);
            if stop {
                return;
            }
        }
    }

    /// Syncs if somebody waits for it and it will be quick; leaves it to the thread for that otherwise. For a thread
    /// that has nothing else to do, whenever that is so.
    pub fn sync_at_rest(&self) {
        COMES_TO_REST.set(true);
        if lock(&self.unsynced).is_empty() {
            return;
        }
        let is_much = SYNC_AT_REST_BYTES_MAX < self.waiting_bytes.load(Ordering::Relaxed);
        let syncing = match self.syncing.try_lock() {
            Ok(syncing) => Some(syncing),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        match syncing {
            Some(_one_at_a_time) if !is_much && self.pace.is_quick(clock_now()) => self.timed(Writer::sync_alone),
            _ => self.sync.want(),
        }
    }

    fn timed(&self, sync: impl FnOnce(&Writer)) {
        let began = clock_now();
        sync(self);
        let now = clock_now();
        self.pace.took(now.saturating_duration_since(began), now);
    }

    /// Syncs if somebody waits for it.
    pub fn sync_waiting(&self) {
        if !lock(&self.unsynced).is_empty() {
            self.sync_now();
        }
    }

    /// Syncs what was appended, and answers those who wait for it.
    pub fn sync_now(&self) {
        // Those who wait are answered in the order in which they came: who appends nothing and is answered may count on
        // everything before to be through.
        let _one_at_a_time = lock(&self.syncing);
        self.sync_alone();
    }

    /// The caller holds `syncing`.
    fn sync_alone(&self) {
        if self.log.durable() == self.log.end() && lock(&self.unsynced).is_empty() {
            return;
        }
        let stopwatch = Stopwatch::start();
        match self.log.sync() {
            Ok(durable) => {
                self.measured.sync.observe_time(stopwatch.elapsed());
                let ready = self.take_unsynced(|unsynced| unsynced.end <= durable);
                for mut ready in ready {
                    if self.flush == Flush::Sync {
                        self.published(ready.submission.appends());
                    }
                    if !ready.is_answered {
                        ready.submission.complete(Outcome::Stored);
                    }
                }
            }
            Err(error) => {
                tracing::error!(%error, "the commit log cannot be synced and takes no more messages");
                for mut lost in self.take_unsynced(|_| true) {
                    if self.flush == Flush::Sync {
                        self.put_back(lost.submission.appends());
                    }
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
        let now_ms = self.clock.now_ms();
        if self.waits_too_long(now_ms) {
            self.sync.want();
        }
        let before_ms = now_ms - timeout_ms;
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

#[expect(
    clippy::disallowed_methods,
    reason = "the threads that sync are shells; the pace takes the time as an argument"
)]
fn clock_now() -> Instant {
    Instant::now()
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
