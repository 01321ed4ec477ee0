//! Accepting connections and giving each a task.

mod drive;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use protocol::frame::{self, Frame};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::connection::{CloseReason, Connection, ConnectionId};
use crate::workers::Workers;

/// All whole frames that one read brought.
#[derive(Debug)]
pub struct Inbound {
    /// Where they came from.
    pub connection: Arc<Connection>,
    bytes: Vec<u8>,
    frames_end: usize,
    /// An empty buffer for the answers, to be handed back in [`Outbound`].
    pub replies: Vec<u8>,
}

impl Inbound {
    /// Wraps bytes that hold whole frames and nothing else; what follows the last whole frame is passed over.
    pub fn new(connection: Arc<Connection>, bytes: Vec<u8>) -> Inbound {
        let frames_end = bytes.len();
        Inbound { connection, bytes, frames_end, replies: Vec::new() }
    }

    /// The frames, in the order they arrived.
    pub fn frames(&self) -> impl Iterator<Item = Frame<'_>> {
        let mut rest = &self.bytes[..self.frames_end];
        std::iter::from_fn(move || {
            let frame = frame::split(rest).ok()??;
            rest = &rest[frame.size..];
            Some(frame)
        })
    }

    /// Ends the call: gives the buffers back with the answers.
    pub fn answer(self, replies: Vec<u8>) -> Outbound {
        Outbound { bytes: self.bytes, replies, close: None }
    }

    /// Ends the call and the connection, once the answers have been written.
    pub fn answer_and_close(self, replies: Vec<u8>, reason: CloseReason) -> Outbound {
        Outbound { close: Some(reason), ..self.answer(replies) }
    }
}

/// What a service gives back for an [`Inbound`]. Answers that come later go to [`Connection::send`].
#[derive(Debug)]
pub struct Outbound {
    bytes: Vec<u8>,
    /// Frames to be written now.
    pub replies: Vec<u8>,
    /// Set when the connection is to end.
    pub close: Option<CloseReason>,
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
    /// Time that connections get to take their last answers when the server stops. Default: 3 s.
    pub drain: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        ServerOptions {
            idle: Duration::from_secs(120),
            unsent_bytes_max: 8 * 1024 * 1024,
            drain: Duration::from_secs(3),
        }
    }
}

/// Sweeps for idle connections per idle time.
const SWEEPS_PER_IDLE: u32 = 12;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

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
    let accepting = futures_util::future::join_all(
        listeners.iter().map(|listener| accept(listener, &door, &workers, options, &open, &shutdown)),
    );
    tokio::select! {
        _ = accepting => {}
        () = sweep_idle(&open, options.idle) => {}
        () = shutdown.cancelled() => {}
    }
    drop(listeners);
    drain(&open, options.drain).await;
    Ok(())
}

async fn accept<D: Door>(
    listener: &TcpListener,
    door: &D,
    workers: &Workers,
    options: ServerOptions,
    open: &Open,
    shutdown: &CancellationToken,
) {
    let mut failing = false;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                failing = false;
                let connection = Arc::new(Connection::new(ConnectionId(NEXT_ID.fetch_add(1, Ordering::Relaxed)), peer));
                start(stream, connection, door.clone(), workers, options, open.clone(), shutdown.clone());
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

fn start<D: Door>(
    stream: TcpStream,
    connection: Arc<Connection>,
    door: D,
    workers: &Workers,
    options: ServerOptions,
    open: Open,
    shutdown: CancellationToken,
) {
    // The socket moves to the runtime of its own thread.
    let Ok(stream) = stream.into_std() else { return };
    workers.spawn(move || async move {
        let Ok(stream) = TcpStream::from_std(stream) else { return };
        // Answers are small and somebody waits for each.
        let _ = stream.set_nodelay(true);
        open.lock().unwrap_or_else(PoisonError::into_inner).insert(connection.id(), connection.clone());
        let service = door.opened(&connection);
        let reason = drive::drive(stream, &connection, service, options, shutdown).await;
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

/// Waits until all connections have ended; those that take too long are cut off with the runtime.
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
