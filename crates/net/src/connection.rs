//! What the rest of the program sees of a connection: who it is, and a way to send to it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::task::AtomicWaker;

/// Number of a connection; never given twice by one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl ConnectionId {
    /// The next number.
    pub fn next() -> ConnectionId {
        ConnectionId(NEXT_ID.fetch_add(1, Ordering::Relaxed))
    }
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The other side closed it.
    Peer,
    /// The network failed.
    Network,
    /// What arrived was no frame, or a frame that cannot be read.
    Protocol,
    /// Nothing arrived for the idle time.
    Idle,
    /// The other side does not read what it asked for.
    Stalled,
    /// The service asked for it.
    Service,
    /// The server stops.
    Shutdown,
    /// Frames that have not arrived whole take too much memory, over all connections.
    PartialFrames,
    /// A defect: its task has panicked.
    Panic,
}

impl CloseReason {
    /// Whether nothing is gained by waiting for the other side to take its last answers.
    pub(crate) fn ends_at_once(self) -> bool {
        !matches!(self, CloseReason::Protocol | CloseReason::Service | CloseReason::Shutdown)
    }
}

/// A connection, as everybody but its own task sees it. Held by whoever may answer later or push a request.
#[derive(Debug)]
pub struct Connection {
    id: ConnectionId,
    peer: SocketAddr,
    local: SocketAddr,
    outbox: Mutex<Outbox>,
    waker: AtomicWaker,
    /// Set whenever bytes come or are taken; taken by the sweep that looks for idle connections.
    active: AtomicBool,
    /// Sweeps since then.
    idle_sweeps: AtomicU8,
    /// Bytes in the outbox and in the task's own buffer that the socket has not taken.
    unsent_bytes: AtomicUsize,
}

#[derive(Debug, Default)]
struct Outbox {
    bytes: Vec<u8>,
    close: Option<CloseReason>,
    closed: bool,
}

impl Connection {
    pub(crate) fn new(id: ConnectionId, peer: SocketAddr, local: SocketAddr) -> Connection {
        Connection {
            id,
            peer,
            local,
            outbox: Mutex::default(),
            waker: AtomicWaker::new(),
            active: AtomicBool::new(true),
            idle_sweeps: AtomicU8::new(0),
            unsent_bytes: AtomicUsize::new(0),
        }
    }

    /// A connection that nobody drives: what is sent to it stays in its outbox, for tests to take.
    pub fn detached(id: ConnectionId, peer: SocketAddr) -> Connection {
        Connection::new(id, peer, peer)
    }

    /// Number of the connection.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Address of the other side.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Address on this side, which the other one dialled.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Lets `write` append frames to what is to be sent, and wakes the connection's task. Returns `false`, without
    /// calling `write`, when the connection is closed.
    pub fn send(&self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        {
            let mut outbox = self.lock();
            if outbox.closed {
                return false;
            }
            write(&mut outbox.bytes);
        }
        self.waker.wake();
        true
    }

    /// Bytes that were sent and not yet taken by the socket, as of the task's last turn.
    pub fn unsent_bytes(&self) -> usize {
        self.unsent_bytes.load(Ordering::Relaxed)
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Ends the connection once what was sent has been written, or at once when the other side is known not to read
    /// ([`CloseReason::Idle`], [`CloseReason::Stalled`]). The first reason counts, but one that ends at once replaces
    /// one that waits.
    pub fn close(&self, reason: CloseReason) {
        let mut outbox = self.lock();
        if outbox.close.is_none_or(|first| reason.ends_at_once() && !first.ends_at_once()) {
            outbox.close = Some(reason);
        }
        drop(outbox);
        self.waker.wake();
    }

    /// Takes what waits to be sent. For the connection's own task, and for tests of detached connections.
    pub fn take_outbox(&self, into: &mut Vec<u8>) {
        let mut outbox = self.lock();
        if into.is_empty() {
            std::mem::swap(into, &mut outbox.bytes);
        } else {
            into.append(&mut outbox.bytes);
        }
    }

    pub(crate) fn register(&self, waker: &std::task::Waker) {
        self.waker.register(waker);
    }

    pub(crate) fn close_wanted(&self) -> Option<CloseReason> {
        self.lock().close
    }

    pub(crate) fn mark_closed(&self) {
        let mut outbox = self.lock();
        outbox.closed = true;
        outbox.bytes = Vec::new();
    }

    pub(crate) fn note_activity(&self) {
        self.active.store(true, Ordering::Relaxed);
    }

    pub(crate) fn note_unsent(&self, bytes: usize) {
        self.unsent_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Called by the sweep; returns how many sweeps in a row found nothing read or taken.
    pub(crate) fn sweep(&self) -> u8 {
        if self.active.swap(false, Ordering::Relaxed) {
            self.idle_sweeps.store(0, Ordering::Relaxed);
            return 0;
        }
        self.idle_sweeps.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    fn lock(&self) -> MutexGuard<'_, Outbox> {
        // The lock is held for plain copies only; whoever panicked in `write` left whole frames or a torn one that
        // ends its own connection.
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_that_ends_at_once_replaces_one_that_waits_and_no_other() {
        let close = |reasons: &[CloseReason]| {
            let connection = Connection::detached(ConnectionId(1), ([127, 0, 0, 1], 1).into());
            reasons.iter().for_each(|reason| connection.close(*reason));
            connection.close_wanted()
        };
        use CloseReason::{Idle, Protocol, Service, Shutdown, Stalled};
        assert_eq!(close(&[Protocol, Service, Shutdown]), Some(Protocol));
        assert_eq!(close(&[Protocol, Idle]), Some(Idle));
        assert_eq!(close(&[Shutdown, Stalled, Idle, Service]), Some(Stalled));
    }
}
