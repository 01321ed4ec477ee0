//! Accepting connections and giving each a task.

mod drive;
mod partial_frames;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use protocol::frame::{self, Frame};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::connection::{CloseReason, Connection, ConnectionId};
use crate::workers::Workers;
use partial_frames::PartialFrames;

/// Answers, in bytes, after which a service leaves the rest of the frames for its next call. A few bytes can ask for
/// megabytes, so what one read asks for is without bound.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// All whole frames that one read brought, or that are left of it.
#[derive(Debug)]
pub struct Inbound {
    /// Where they came from.
    pub connection: Arc<Connection>,
    bytes: Vec<u8>,
    frames_end: usize,
    /// Bytes of the frames that were taken.
    taken: Cell<usize>,
    /// An empty buffer for the answers, to be handed back in [`Outbound`].
    pub replies: Vec<u8>,
}

impl Inbound {
    /// Wraps bytes that hold whole frames and nothing else; what follows the last whole frame is passed over.
    pub fn new(connection: Arc<Connection>, bytes: Vec<u8>) -> Inbound {
        let frames_end = bytes.len();
        Inbound { connection, bytes, frames_end, taken: Cell::new(0), replies: Vec::new() }
    }

    /// Takes the frames, in the order they arrived. Those that are left when the call ends come again in the next
    /// one; a service that takes none at all has no use for them.
    pub fn frames(&self) -> impl Iterator<Item = Frame<'_>> {
        std::iter::from_fn(|| {
            let taken = self.taken.get();
            let frame = frame::split(&self.bytes[taken..self.frames_end]).ok()??;
            self.taken.set(taken + frame.size);
            Some(frame)
        })
    }

    /// Whether the answers are so many that the other side should take them before more frames are served: 1 MiB.
    pub fn is_answered_enough(&self, replies: &[u8]) -> bool {
        replies.len() >= ANSWER_BYTES_MAX
    }

    /// Ends the call: gives the buffers back with the answers.
    pub fn answer(self, replies: Vec<u8>) -> Outbound {
        let served = match self.taken.get() {
            0 => self.frames_end,
            taken => taken,
        };
        Outbound { bytes: self.bytes, left: served..self.frames_end, replies, close: None, then: None }
    }

    /// Ends the call and the connection, once the answers have been written. Frames that are left are passed over.
    pub fn answer_and_close(self, replies: Vec<u8>, reason: CloseReason) -> Outbound {
        Outbound { close: Some(reason), ..self.answer(replies) }
    }
}

/// What a service gives back for an [`Inbound`]. Answers that come later go to [`Connection::send`].
pub struct Outbound {
    bytes: Vec<u8>,
    /// Where in `bytes` the frames lie that were not served.
    left: Range<usize>,
    /// Frames to be written now.
    pub replies: Vec<u8>,
    /// Set when the connection is to end.
    pub close: Option<CloseReason>,
    /// Run when the answers have been given to the socket; what it does keeps nobody waiting for them.
    pub then: Option<Box<dyn FnOnce() + Send>>,
}

/// What stands behind a listening socket.
pub trait Door: Clone + Send + 'static {
    /// Handles the frames of one connection.
    type Service: Service<Inbound, Response = Outbound, Error = Infallible> + 'static;

    /// A connection was accepted.
    fn opened(&self, connection: &Arc<Connection>) -> Self::Service;

    /// A connection ended. Nothing more comes from it and nothing more reaches it.
    fn closed(&self, connection: &Arc<Connection>, reason: CloseReason);
}

/// Limits of a server.
#[derive(Clone, Copy, Debug)]
pub struct ServerOptions {
    /// Silence after which a connection is closed (`serverChannelMaxIdleTimeSeconds`). Default: 120 s.
    pub idle: Duration,
    /// Unsent bytes above which nothing more is read from a connection. Default: 8 MiB.
    pub unsent_bytes_max: usize,
    /// Time that a connection gets to take its last answers when it is to end, and all of them when the server
    /// stops. Default: 3 s.
    pub drain: Duration,
    /// Bytes that frames which have not been served may take, over all connections; those with 64 KiB or less do not
    /// count. A connection that grows beyond is closed. Default: 256 MiB.
    pub partial_bytes_max: usize,
}

impl Default for ServerOptions {
    fn default() -> Self {
        ServerOptions {
            idle: Duration::from_secs(120),
            unsent_bytes_max: 8 * 1024 * 1024,
            drain: Duration::from_secs(3),
            partial_bytes_max: 256 * 1024 * 1024,
        }
    }
}

/// Sweeps for idle connections per idle time.
const SWEEPS_PER_IDLE: u32 = 12;

type Open = Arc<Mutex<HashMap<ConnectionId, Arc<Connection>>>>;

/// Accepts connections from `listeners` until `shutdown`, then lets them end. Runs on a worker thread; the
/// connections are spread over all of `workers`.
pub async fn serve<D: Door>(
    listeners: Vec<std::net::TcpListener>,
    door: D,
    workers: Workers,
    options: ServerOptions,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let open: Open = Arc::default();
    let listeners = listeners.into_iter().map(TcpListener::from_std).collect::<std::io::Result<Vec<TcpListener>>>()?;
    let partial = Arc::new(PartialFrames::new(options.partial_bytes_max));
    let opening = Opening { door, options, open: open.clone(), partial, shutdown: shutdown.clone() };
    let accepting =
        futures_util::future::join_all(listeners.iter().map(|listener| accept(listener, &opening, &workers)));
    tokio::select! {
        _ = accepting => {}
        () = sweep_idle(&open, options.idle) => {}
        () = shutdown.cancelled() => {}
    }
    drop(listeners);
    drain(&open, options.drain).await;
    Ok(())
}

/// What every connection begins with.
#[derive(Clone)]
struct Opening<D> {
    door: D,
    options: ServerOptions,
    open: Open,
    partial: Arc<PartialFrames>,
    shutdown: CancellationToken,
}

async fn accept<D: Door>(listener: &TcpListener, opening: &Opening<D>, workers: &Workers) {
    let mut failing = false;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                failing = false;
                // It fails only for a connection that is gone already.
                let local = stream.local_addr().unwrap_or(peer);
                let connection = Arc::new(Connection::new(ConnectionId::next(), peer, local));
                start(stream, connection, opening.clone(), workers);
            }
            Err(error) => {
                // Mostly "too many open files": the socket stays readable, so asking again at once would spin.
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "cannot accept connections");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn start<D: Door>(stream: TcpStream, connection: Arc<Connection>, opening: Opening<D>, workers: &Workers) {
    // The socket moves to the runtime of its own thread.
    let Ok(stream) = stream.into_std() else { return };
    workers.spawn(move || async move {
        let Ok(stream) = TcpStream::from_std(stream) else { return };
        // Answers are small and somebody waits for each.
        let _ = stream.set_nodelay(true);
        let Opening { door, options, open, partial, shutdown } = opening;
        open.lock().unwrap_or_else(PoisonError::into_inner).insert(connection.id(), connection.clone());
        let living = async {
            let service = door.opened(&connection);
            drive::drive(stream, &connection, service, options, partial, shutdown).await
        };
        // A panic must end its connection as anything else does, or the door and the server would keep it for ever.
        // Caught rather than left to a guard: `closed` may panic in its turn, which while unwinding would abort.
        let reason = AssertUnwindSafe(living).catch_unwind().await.unwrap_or_else(|_| {
            tracing::error!(peer = %connection.peer(), "connection closed: its task has panicked");
            CloseReason::Panic
        });
        connection.mark_closed();
        open.lock().unwrap_or_else(PoisonError::into_inner).remove(&connection.id());
        door.closed(&connection, reason);
    });
}

async fn sweep_idle(open: &Open, idle: Duration) {
    let mut ticks = tokio::time::interval(idle / SWEEPS_PER_IDLE);
    loop {
        ticks.tick().await;
        for connection in open.lock().unwrap_or_else(PoisonError::into_inner).values() {
            if u32::from(connection.sweep()) >= SWEEPS_PER_IDLE {
                connection.close(CloseReason::Idle);
            }
        }
    }
}

/// Waits until all connections have ended; those that take too long are told to end at once.
async fn drain(open: &Open, limit: Duration) {
    let empty = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        while !open.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            ticks.tick().await;
        }
    };
    if tokio::time::timeout(limit, empty).await.is_err() {
        let open = open.lock().unwrap_or_else(PoisonError::into_inner);
        for connection in open.values() {
            connection.close(CloseReason::Stalled);
        }
    }
}
