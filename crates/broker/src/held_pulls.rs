//! Pulls that are held until a message arrives: the shell around [`PullWaits`].
//!
//! Appending only notes who is to be woken and wakes one task; that task runs the pulls again, after the answer of
//! the send has been written.

use std::collections::HashMap;
use std::sync::Arc;

use log::QueueNumber;
use metrics::Stopwatch;
use net::{Connection, ConnectionId};
use protocol::codes::RequestCode;
use protocol::frame::Codec;
use tokio::sync::{Notify, oneshot};

use crate::pull::PullRequest;
use crate::pull_waits::PullWaits;
use crate::sync::{Mutex, MutexGuard, PoisonError};

/// Most pulls that are held for one connection. A consumer holds one for each of its queues.
const PULLS_PER_CONNECTION_MAX: usize = 16_384;

/// A pull that is held.
#[derive(Debug)]
pub struct HeldPull {
    /// Who pulls.
    pub connection: Arc<Connection>,
    /// Pairs the answer with its request.
    pub opaque: i32,
    /// Codec of the request.
    pub codec: Codec,
    /// Which of the requests that pull it was.
    pub code: RequestCode,
    /// Runs since it came.
    pub since: Stopwatch,
    /// What is asked.
    pub request: PullRequest,
}

/// All pulls that are held.
#[derive(Debug, Default)]
pub struct HeldPulls {
    state: Mutex<State>,
    woken: Notify,
}

#[derive(Debug, Default)]
struct State {
    waits: PullWaits<ConnectionId, HeldPull>,
    /// Woken pulls with their deadlines, to be run again.
    ready: Vec<(i64, HeldPull)>,
    /// Calls that run somewhere else and want to know of the next message, by queue.
    calls: HashMap<QueueNumber, Vec<oneshot::Sender<()>>>,
}

fn wake_calls(calls: impl IntoIterator<Item = Vec<oneshot::Sender<()>>>) {
    for call in calls.into_iter().flatten() {
        // Its client may have gone.
        let _ = call.send(());
    }
}

impl HeldPulls {
    /// Holds a pull until a message arrives in the queue, or the deadline. `false` says that its connection has
    /// enough of them, and the pull has to be answered.
    #[must_use]
    pub fn hold(&self, queue: QueueNumber, deadline_ms: i64, pull: HeldPull) -> bool {
        let first = {
            let mut state = self.lock();
            let owner = pull.connection.id();
            if state.waits.count_of(owner) >= PULLS_PER_CONNECTION_MAX {
                return false;
            }
            state.waits.hold(queue, owner, deadline_ms, pull);
            state.waits.next_deadline_ms() == Some(deadline_ms)
        };
        if first {
            // The task waits for a later deadline, or for none.
            self.woken.notify_one();
        }
        true
    }

    /// Ends when the next message arrives in a queue. Whoever asks looks at the queue after that, and then waits: one
    /// that came in between ends it at once. It may end without a message, too.
    pub fn next_arrival(&self, queue: QueueNumber) -> oneshot::Receiver<()> {
        let (tell, told) = oneshot::channel();
        let mut state = self.lock();
        let calls = state.calls.entry(queue).or_default();
        // Those whose time was over.
        calls.retain(|call| !call.is_closed());
        calls.push(tell);
        told
    }

    /// How many calls wait for the next message of a queue.
    pub fn waiting_calls(&self) -> usize {
        let is_there = |call: &&oneshot::Sender<()>| !call.is_closed();
        self.lock().calls.values().map(|calls| calls.iter().filter(is_there).count()).sum()
    }

    /// Messages arrived in these queues.
    pub fn arrived(&self, queues: impl Iterator<Item = QueueNumber>) {
        let mut state = self.lock();
        let State { waits, ready, calls } = &mut *state;
        if waits.is_empty() && calls.is_empty() {
            return;
        }
        let before = ready.len();
        let mut last = None;
        for queue in queues {
            if last != Some(queue) {
                waits.arrived(queue, ready);
                wake_calls(calls.remove(&queue));
                last = Some(queue);
            }
        }
        let woken = ready.len() > before;
        drop(state);
        if woken {
            self.woken.notify_one();
        }
    }

    /// Wakes every pull that `which` picks, and all calls.
    pub fn wake_where(&self, which: impl Fn(&HeldPull) -> bool) {
        let mut state = self.lock();
        let State { waits, ready, calls } = &mut *state;
        waits.take_where(which, ready);
        // They are few, and find out themselves whether it is about them.
        wake_calls(calls.drain().map(|(_, calls)| calls));
        drop(state);
        self.woken.notify_one();
    }

    /// Forgets the pulls of a connection that ended.
    pub fn forget(&self, connection: &Connection) {
        self.lock().waits.forget(connection.id());
    }

    /// Takes the pulls that were woken, and those whose deadline has come, with their deadlines: at most `max`, those
    /// that were ready first.
    pub fn take_ready(&self, now_ms: i64, max: usize) -> Vec<(i64, HeldPull)> {
        let mut state = self.lock();
        let State { waits, ready, .. } = &mut *state;
        waits.expired(now_ms, ready);
        let taken = ready.len().min(max);
        ready.drain(..taken).collect()
    }

    /// Whether pulls are ready that nobody took.
    pub fn has_ready(&self) -> bool {
        !self.lock().ready.is_empty()
    }

    /// When the next deadline comes.
    pub fn next_deadline_ms(&self) -> Option<i64> {
        self.lock().waits.next_deadline_ms()
    }

    /// Ends when pulls were woken, or a nearer deadline was set.
    pub async fn woken(&self) {
        self.woken.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
