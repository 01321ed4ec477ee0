//! One connection's life: read, cut into frames, call the service, write.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use protocol::frame::{self, FrameError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt};

use super::partial_frames::{PartialFrames, Share};
use super::{ANSWER_BYTES_MAX, Inbound, Outbound, ServerOptions};
use crate::connection::{CloseReason, Connection};

/// Room for one read. Each thread has one such buffer for all its connections, so an idle connection holds none.
const READ_BYTES: usize = 256 * 1024;

/// A connection that read a huge frame does not keep the room for it.
const KEPT_BYTES_MAX: usize = 64 * 1024;

thread_local! {
    static READ_BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static REPLY_BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Runs the connection until it ends, and says why it did.
pub(super) async fn drive<S>(
    stream: TcpStream,
    connection: &Arc<Connection>,
    mut service: S,
    options: ServerOptions,
    partial: Arc<PartialFrames>,
    shutdown: CancellationToken,
) -> CloseReason
where
    S: Service<Inbound, Response = Outbound, Error = std::convert::Infallible>,
{
    let share = Share::new(partial.clone());
    let mut wire = Wire {
        stream,
        connection,
        options,
        partial: Vec::new(),
        left: Vec::new(),
        share,
        unsent: Vec::new(),
        unsent_from: 0,
        blocked: false,
        broken: None,
        last_wait: None,
    };
    let mut stopping = pin!(shutdown.cancelled());
    loop {
        if !wire.share.set(wire.partial.len() + wire.left.len()) {
            let limit = partial.bytes_max();
            tracing::warn!(peer = %connection.peer(), limit, "connection closed: unfinished frames take too much memory");
            return CloseReason::PartialFrames;
        }
        let event = poll_fn(|cx| wire.poll_event(cx, stopping.as_mut())).await;
        let inbound = match event {
            Event::Read { bytes, filled } => wire.cut(bytes, filled),
            Event::Room => {
                // A peer that takes answers as fast as they come must not keep the thread from others.
                tokio::task::yield_now().await;
                Some(wire.serve_left())
            }
            Event::End(reason) => return reason,
        };
        if let Some(error) = wire.broken.take() {
            tracing::warn!(peer = %connection.peer(), %error, "connection closed");
            connection.close(CloseReason::Protocol);
        }
        let Some(inbound) = inbound else { continue };
        let Ok(ready) = service.ready().await;
        let outbound = match until_cut_off(ready.call(inbound), connection).await {
            Ok(Ok(outbound)) => outbound,
            Err(reason) => return reason,
        };
        let close = outbound.close;
        if let Some(reason) = wire.take_back(outbound) {
            return reason;
        }
        if let Some(reason) = close {
            connection.close(reason);
        }
    }
}

/// Waits for a call, unless the connection is to end at once.
async fn until_cut_off<T>(call: impl Future<Output = T>, connection: &Connection) -> Result<T, CloseReason> {
    let mut call = pin!(call);
    poll_fn(|cx| {
        if let Poll::Ready(result) = call.as_mut().poll(cx) {
            return Poll::Ready(Ok(result));
        }
        connection.register(cx.waker());
        match connection.close_wanted() {
            Some(reason) if reason.ends_at_once() => Poll::Ready(Err(reason)),
            _ => Poll::Pending,
        }
    })
    .await
}

enum Event {
    /// `filled` bytes of `bytes` are what is left of an earlier read and what was read now.
    Read { bytes: Vec<u8>, filled: usize },
    /// The socket has taken so much that frames which were left can be served.
    Room,
    /// The connection is over.
    End(CloseReason),
}

struct Wire<'c> {
    stream: TcpStream,
    connection: &'c Arc<Connection>,
    options: ServerOptions,
    /// The beginning of a frame whose rest has not arrived.
    partial: Vec<u8>,
    /// Whole frames that the service left because it had answered enough. Nothing is read before they are served.
    left: Vec<u8>,
    /// What `partial` and `left` take of the room that all connections have.
    share: Share,
    /// Answers that the socket would not take at once, from `unsent_from` on.
    unsent: Vec<u8>,
    unsent_from: usize,
    /// The socket took no more the last time.
    blocked: bool,
    /// Set when what arrives is no frame. What came whole before it is still handled.
    broken: Option<FrameError>,
    /// Runs while the connection is to end and has something left to write.
    last_wait: Option<Pin<Box<Sleep>>>,
}

impl Wire<'_> {
    /// Writes what waits, then reads. Ready when something can be served or the connection is over.
    fn poll_event(&mut self, cx: &mut Context<'_>, stopping: Pin<&mut impl Future<Output = ()>>) -> Poll<Event> {
        self.connection.register(cx.waker());
        if let Err(reason) = self.poll_write(cx) {
            return Poll::Ready(Event::End(reason));
        }
        let unsent = self.unsent.len() - self.unsent_from;
        let close =
            self.connection.close_wanted().or_else(|| stopping.poll(cx).is_ready().then_some(CloseReason::Shutdown));
        if let Some(reason) = close {
            let done = unsent == 0 && self.left.is_empty();
            if done || reason.ends_at_once() || self.poll_last_wait(cx).is_ready() {
                return Poll::Ready(Event::End(reason));
            }
        }
        if !self.left.is_empty() {
            return if unsent <= ANSWER_BYTES_MAX { Poll::Ready(Event::Room) } else { Poll::Pending };
        }
        if close.is_some() || unsent > self.options.unsent_bytes_max {
            return Poll::Pending;
        }
        self.poll_read(cx)
    }

    /// Gives the socket what it takes now.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<(), CloseReason> {
        loop {
            self.compact_unsent();
            self.connection.take_outbox(&mut self.unsent);
            let unsent = self.unsent.len() - self.unsent_from;
            self.connection.note_unsent(unsent);
            if unsent == 0 {
                return Ok(());
            }
            match Pin::new(&mut self.stream).poll_write(cx, &self.unsent[self.unsent_from..]) {
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Err(CloseReason::Network),
                Poll::Ready(Ok(written)) => {
                    self.unsent_from += written;
                    if std::mem::take(&mut self.blocked) {
                        // The socket was full, so the other side has taken something: slow is not idle.
                        self.connection.note_activity();
                    }
                }
                Poll::Pending => {
                    self.blocked = true;
                    return Ok(());
                }
            }
        }
    }

    /// Ready when a connection that is to end has had its time to take the last answers.
    fn poll_last_wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.options.drain;
        self.last_wait.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit))).as_mut().poll(cx)
    }

    fn compact_unsent(&mut self) {
        if self.unsent_from == self.unsent.len() {
            self.unsent_from = 0;
            if self.unsent.capacity() > KEPT_BYTES_MAX {
                self.unsent = Vec::new();
            } else {
                self.unsent.clear();
            }
        } else if self.unsent_from > ANSWER_BYTES_MAX && self.unsent_from > self.unsent.len() / 2 {
            // A peer that never takes quite everything: what it took must not stay for ever.
            self.unsent.drain(..self.unsent_from);
            self.unsent_from = 0;
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let mut bytes = READ_BUFFER.take();
        if bytes.len() < READ_BYTES {
            bytes.resize(READ_BYTES, 0);
        }
        // A short beginning of a frame goes in front of what is read now; behind a long one, what is read is put.
        let kept = if self.partial.len() < READ_BYTES / 2 { self.partial.len() } else { 0 };
        bytes[..kept].copy_from_slice(&self.partial[..kept]);
        let mut room = ReadBuf::new(&mut bytes[kept..]);
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut room).map_ok(|()| room.filled().len());
        let read = match read {
            Poll::Pending => {
                READ_BUFFER.set(bytes);
                return Poll::Pending;
            }
            Poll::Ready(read) => read,
        };
        match read {
            Ok(0) | Err(_) => {
                READ_BUFFER.set(bytes);
                Poll::Ready(Event::End(if read.is_ok() { CloseReason::Peer } else { CloseReason::Network }))
            }
            Ok(read) => {
                self.connection.note_activity();
                if kept == self.partial.len() {
                    self.partial.clear();
                    return Poll::Ready(Event::Read { bytes, filled: kept + read });
                }
                self.partial.extend_from_slice(&bytes[..read]);
                READ_BUFFER.set(bytes);
                let filled = self.partial.len();
                Poll::Ready(Event::Read { bytes: std::mem::take(&mut self.partial), filled })
            }
        }
    }

    /// Finds the whole frames, and keeps the beginning of the next one for later.
    fn cut(&mut self, bytes: Vec<u8>, filled: usize) -> Option<Inbound> {
        debug_assert!(self.partial.is_empty());
        let mut frames_end = 0;
        let mut kept_to = filled;
        loop {
            match frame::split(&bytes[frames_end..filled]) {
                Ok(Some(frame)) => frames_end += frame.size,
                Ok(None) => break,
                Err(error) => {
                    self.broken = Some(error);
                    kept_to = frames_end;
                    break;
                }
            }
        }
        if frames_end == 0 && bytes.len() != READ_BYTES {
            // A long frame goes on growing where it is.
            self.partial = bytes;
            return None;
        }
        self.partial.extend_from_slice(&bytes[frames_end..kept_to]);
        if frames_end == 0 {
            READ_BUFFER.set(bytes);
            return None;
        }
        Some(self.inbound(bytes, frames_end))
    }

    /// The frames that the last call left.
    fn serve_left(&mut self) -> Inbound {
        self.connection.note_activity();
        let bytes = std::mem::take(&mut self.left);
        let frames_end = bytes.len();
        self.inbound(bytes, frames_end)
    }

    fn inbound(&self, bytes: Vec<u8>, frames_end: usize) -> Inbound {
        let replies = REPLY_BUFFER.take();
        debug_assert!(replies.is_empty());
        Inbound { connection: self.connection.clone(), bytes, frames_end, taken: Cell::new(0), replies }
    }

    /// Writes the answers, takes the buffers back, and does what was put off until then. A reason says that the connection is over.
    fn take_back(&mut self, outbound: Outbound) -> Option<CloseReason> {
        let Outbound { bytes, left, replies, close, then } = outbound;
        if close.is_none() && !left.is_empty() {
            // Copied, so that a peer which does not read holds no more memory than it must.
            self.left = bytes[left].to_vec();
        }
        if bytes.len() == READ_BYTES {
            READ_BUFFER.set(bytes);
        }
        if self.partial.is_empty() && self.partial.capacity() > KEPT_BYTES_MAX {
            self.partial = Vec::new();
        }
        let result = self.write_now(&replies);
        if replies.capacity() <= 4 * READ_BYTES {
            let mut replies = replies;
            replies.clear();
            REPLY_BUFFER.set(replies);
        }
        if let Some(then) = then {
            then();
        }
        result
    }

    /// Gives the socket what it takes and keeps the rest.
    fn write_now(&mut self, replies: &[u8]) -> Option<CloseReason> {
        let mut written = 0;
        while self.unsent.is_empty() && written < replies.len() {
            match self.stream.try_write(&replies[written..]) {
                Ok(0) => return Some(CloseReason::Network),
                Ok(count) => written += count,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(_) => return Some(CloseReason::Network),
            }
        }
        self.unsent.extend_from_slice(&replies[written..]);
        None
    }
}
