//! Pulls that have to wait for the disk: the queue between the threads that serve connections, which must not wait, and
//! the one task that lets other threads read.

use std::collections::{HashMap, VecDeque};

use net::ConnectionId;
use tokio::sync::Notify;

use crate::held_pulls::HeldPull;
use crate::sync::{Mutex, MutexGuard, PoisonError};

/// Most pulls of one connection that are read for at a time. A consumer that asks for more at once waits for the disk
/// where it is served, as do those it shares the thread with: what is read is kept until the connection takes it.
const PER_CONNECTION_MAX: usize = 64;

/// A pull that has to wait for the disk.
#[derive(Debug)]
pub struct SlowPull {
    /// The pull.
    pub held: HeldPull,
    /// What the request commits, unless an operator sends the group elsewhere.
    pub commit_offset: Option<i64>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct SlowPulls {
    state: Mutex<State>,
    came: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<SlowPull>,
    /// Pulls of each connection that wait or are being read for.
    of_connection: HashMap<ConnectionId, usize>,
}

impl SlowPulls {
    /// Puts a pull at the end of the queue; gives it back if its connection has enough of them there.
    #[must_use]
    pub fn add(&self, pull: SlowPull) -> Option<SlowPull> {
        {
            let mut state = self.lock();
            let count = state.of_connection.entry(pull.held.connection.id()).or_default();
            if *count >= PER_CONNECTION_MAX {
                return Some(pull);
            }
            *count += 1;
            state.waiting.push_back(pull);
        }
        self.came.notify_one();
        None
    }

    /// Takes the first pull out of the queue. Whoever does so says when it is [`done`](Self::done).
    pub fn take(&self) -> Option<SlowPull> {
        self.lock().waiting.pop_front()
    }

    /// A pull of the connection was answered.
    pub fn done(&self, connection: ConnectionId) {
        let mut state = self.lock();
        if let Some(count) = state.of_connection.get_mut(&connection) {
            *count -= 1;
            if *count == 0 {
                state.of_connection.remove(&connection);
            }
        }
    }

    /// Ends when a pull was added.
    pub async fn came(&self) {
        self.came.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
