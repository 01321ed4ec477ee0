//! Outgoing connections: many calls at a time over one connection, and what the other side pushes.
//!
//! A channel ends with its connection and is never mended: whoever holds it connects again, which also looks the
//! host name up again.

mod answer;
mod open;
mod pump;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::codes::{RequestCode, ResponseCode};
use protocol::frame::Codec;
use protocol::writer::{Expect, FrameWriter};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use answer::{Answer, Pushed};
pub use open::ConnectError;

/// Calls that may wait for their answer on one channel.
const CALLS_MAX: usize = 16 * 1024;

/// Frames that may wait to be written on one channel.
const UNWRITTEN_MAX: usize = 1024;

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The connection is over. The request may or may not have been handled.
    #[error("connection to `{address}` is closed: {reason}")]
    Closed {
        /// Address as it was given.
        address: String,
        /// What ended it.
        reason: String,
    },
    /// No answer came in time. The request may or may not have been handled.
    #[error("`{address}` did not answer {code} within {after:?}")]
    Timeout {
        /// Address as it was given.
        address: String,
        /// What was asked.
        code: RequestCode,
        /// The time that had been given.
        after: Duration,
    },
    /// Too much is under way on the channel already; nothing was sent.
    #[error("too many requests are under way to `{address}`; the limit is {limit}")]
    Busy {
        /// Address as it was given.
        address: String,
        /// The limit.
        limit: usize,
    },
}

/// An outgoing connection. Clones share it; it ends when the last one is dropped, after what was given to it has
/// been written.
#[derive(Clone, Debug)]
pub struct Channel {
    frames: mpsc::Sender<Vec<u8>>,
    shared: Arc<Shared>,
}

/// What the channel and its two tasks have in common.
#[derive(Debug)]
struct Shared {
    address: String,
    peer: SocketAddr,
    local: SocketAddr,
    next_opaque: AtomicI32,
    calls: Mutex<Calls>,
    /// Cancelled once the connection is over.
    over: CancellationToken,
    tasks: TaskTracker,
}

#[derive(Debug, Default)]
struct Calls {
    waiting: HashMap<i32, oneshot::Sender<Answer>>,
    /// Set once the connection is over.
    reason: Option<String>,
}

impl Channel {
    /// Connects to `host:port`. Pushed requests that want an answer are told that nobody knows them.
    pub async fn connect(address: &str, timeout: Duration) -> Result<Channel, ConnectError> {
        Self::start(address, timeout, None).await
    }

    /// Connects to `host:port`; requests that the other side pushes go to `pushes`. When it is full, one that wants
    /// an answer is told that we are busy, and one that wants none is lost.
    pub async fn connect_with(
        address: &str,
        timeout: Duration,
        pushes: mpsc::Sender<Pushed>,
    ) -> Result<Channel, ConnectError> {
        Self::start(address, timeout, Some(pushes)).await
    }

    async fn start(
        address: &str,
        timeout: Duration,
        pushes: Option<mpsc::Sender<Pushed>>,
    ) -> Result<Channel, ConnectError> {
        let stream = open::open(address, timeout).await?;
        let addresses = || Ok((stream.peer_addr()?, stream.local_addr()?));
        let (peer, local) =
            addresses().map_err(|source| ConnectError::Failed { address: address.to_owned(), source })?;
        let shared = Arc::new(Shared {
            address: address.to_owned(),
            peer,
            local,
            next_opaque: AtomicI32::new(1),
            calls: Mutex::default(),
            over: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        let (frames, unwritten) = mpsc::channel(UNWRITTEN_MAX);
        let (reading, writing) = stream.into_split();
        // The reader must not keep the channel open, so it gets a handle that does not count.
        let replies = frames.downgrade();
        shared.tasks.spawn(pump::read(reading, shared.clone(), pushes, replies));
        shared.tasks.spawn(pump::write(writing, shared.clone(), unwritten));
        shared.tasks.close();
        Ok(Channel { frames, shared })
    }

    /// Sends a request and waits for its answer. `fields` adds the named fields.
    pub async fn call(
        &self,
        code: RequestCode,
        fields: impl for<'o> FnOnce(FrameWriter<'o>) -> FrameWriter<'o>,
        body: &[u8],
        timeout: Duration,
    ) -> Result<Answer, CallError> {
        let opaque = self.shared.next_opaque();
        let frame = request(code, opaque, Expect::Answer, fields, body);
        let (sender, answer) = oneshot::channel();
        let waiting = self.shared.enlist(opaque, sender)?;
        let asked = async {
            // Fails only when the connection is over; then the answer fails too.
            let _ = self.frames.send(frame).await;
            answer.await
        };
        let outcome = tokio::time::timeout(timeout, asked).await;
        drop(waiting);
        match outcome {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(self.shared.closed_error()),
            Err(_) => Err(CallError::Timeout { address: self.shared.address.clone(), code, after: timeout }),
        }
    }

    /// Sends a request that nobody answers. It has been queued, not written, when this returns.
    pub fn oneway(
        &self,
        code: RequestCode,
        fields: impl for<'o> FnOnce(FrameWriter<'o>) -> FrameWriter<'o>,
        body: &[u8],
    ) -> Result<(), CallError> {
        self.queue(request(code, self.shared.next_opaque(), Expect::Nothing, fields, body))
    }

    /// Answers a pushed request.
    pub fn answer(
        &self,
        pushed: &Pushed,
        code: ResponseCode,
        remark: Option<&str>,
        body: &[u8],
    ) -> Result<(), CallError> {
        let mut frame = Vec::new();
        FrameWriter::response(&mut frame, pushed.codec(), code, pushed.opaque, remark).finish(body);
        self.queue(frame)
    }

    fn queue(&self, frame: Vec<u8>) -> Result<(), CallError> {
        self.frames.try_send(frame).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                CallError::Busy { address: self.shared.address.clone(), limit: UNWRITTEN_MAX }
            }
            mpsc::error::TrySendError::Closed(_) => self.shared.closed_error(),
        })
    }

    /// The address as it was given to [`Channel::connect`].
    pub fn address(&self) -> &str {
        &self.shared.address
    }

    /// Address of the other side.
    pub fn peer(&self) -> SocketAddr {
        self.shared.peer
    }

    /// Our own address on this connection.
    pub fn local(&self) -> SocketAddr {
        self.shared.local
    }

    /// Whether the connection is over.
    pub fn is_closed(&self) -> bool {
        self.shared.over.is_cancelled()
    }

    /// Waits until the connection is over.
    pub async fn closed(&self) {
        self.shared.over.cancelled().await;
    }

    /// Ends the connection once what was given to it has been written; calls that wait get no answer. Other clones
    /// keep it open.
    pub async fn close(self) {
        let Channel { frames, shared } = self;
        drop(frames);
        shared.tasks.wait().await;
    }
}

impl Shared {
    fn next_opaque(&self) -> i32 {
        self.next_opaque.fetch_add(1, Ordering::Relaxed) & i32::MAX
    }

    fn enlist(&self, opaque: i32, answer: oneshot::Sender<Answer>) -> Result<Waiting<'_>, CallError> {
        let mut calls = self.calls();
        if let Some(reason) = &calls.reason {
            return Err(CallError::Closed { address: self.address.clone(), reason: reason.clone() });
        }
        if calls.waiting.len() >= CALLS_MAX {
            return Err(CallError::Busy { address: self.address.clone(), limit: CALLS_MAX });
        }
        calls.waiting.insert(opaque, answer);
        Ok(Waiting { shared: self, opaque })
    }

    /// Notes that the connection is over; the first reason counts. Everybody who waits is told.
    fn end(&self, reason: impl FnOnce() -> String) {
        let mut calls = self.calls();
        calls.reason.get_or_insert_with(reason);
        calls.waiting.clear();
        drop(calls);
        self.over.cancel();
    }

    fn closed_error(&self) -> CallError {
        let reason = self.calls().reason.clone().unwrap_or_else(|| "it was closed here".to_owned());
        CallError::Closed { address: self.address.clone(), reason }
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        // Plain map operations only: a panic cannot leave it half changed.
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call in the table; a caller that gives up leaves nothing behind.
struct Waiting<'s> {
    shared: &'s Shared,
    opaque: i32,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.calls().waiting.remove(&self.opaque);
    }
}

fn request(
    code: RequestCode,
    opaque: i32,
    expect: Expect,
    fields: impl for<'o> FnOnce(FrameWriter<'o>) -> FrameWriter<'o>,
    body: &[u8],
) -> Vec<u8> {
    let mut frame = Vec::with_capacity(256 + body.len());
    fields(FrameWriter::request(&mut frame, Codec::Json, code, opaque, expect)).finish(body);
    frame
}
