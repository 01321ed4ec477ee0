//! One connection's life: read, cut into frames, call the service, write.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use protocol::frame::{self, FrameError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt};

use super::{Inbound, ServerOptions};
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
    shutdown: CancellationToken,
) -> CloseReason
where
    S: Service<Inbound, Response = super::Outbound, Error = std::convert::Infallible>,
{
    let mut wire =
        Wire { stream, connection, options, partial: Vec::new(), unsent: Vec::new(), unsent_from: 0, broken: None };
    let mut stopping = pin!(shutdown.cancelled());
    loop {
        let event = poll_fn(|cx| wire.poll_event(cx, stopping.as_mut())).await;
        let inbound = match event {
            Event::Read { bytes, filled } => wire.cut(bytes, filled),
            Event::End(reason) => return reason,
        };
        if let Some(error) = wire.broken {
            tracing::warn!(peer = %connection.peer(), %error, "connection closed");
            connection.close(CloseReason::Protocol);
        }
        let Some(inbound) = inbound else { continue };
        let Ok(ready) = service.ready().await;
        let Ok(outbound) = ready.call(inbound).await;
        let close = outbound.close;
        if let Some(reason) = wire.take_back(outbound) {
            return reason;
        }
        if let Some(reason) = close {
            connection.close(reason);
        }
    }
}

enum Event {
    /// `filled` bytes of `bytes` are what is left of an earlier read and what was read now.
    Read { bytes: Vec<u8>, filled: usize },
    /// The connection is over.
    End(CloseReason),
}

struct Wire<'c> {
    stream: TcpStream,
    connection: &'c Arc<Connection>,
    options: ServerOptions,
    /// The beginning of a frame whose rest has not arrived.
    partial: Vec<u8>,
    /// Answers that the socket would not take at once, from `unsent_from` on.
    unsent: Vec<u8>,
    unsent_from: usize,
    /// Set when what arrives is no frame. What came whole before it is still handled.
    broken: Option<FrameError>,
}

impl Wire<'_> {
    /// Writes what waits, then reads. Ready when something was read or the connection is over.
    fn poll_event(&mut self, cx: &mut Context<'_>, stopping: Pin<&mut impl Future<Output = ()>>) -> Poll<Event> {
        self.connection.register(cx.waker());
        let writing = loop {
            self.compact_unsent();
            self.connection.take_outbox(&mut self.unsent);
            let unsent = self.unsent.len() - self.unsent_from;
            self.connection.note_unsent(unsent);
            if unsent == 0 {
                break false;
            }
            match Pin::new(&mut self.stream).poll_write(cx, &self.unsent[self.unsent_from..]) {
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Poll::Ready(Event::End(CloseReason::Network)),
                Poll::Ready(Ok(written)) => self.unsent_from += written,
                Poll::Pending => break true,
            }
        };
        let close =
            self.connection.close_wanted().or_else(|| stopping.poll(cx).is_ready().then_some(CloseReason::Shutdown));
        if let Some(reason) = close {
            // Idle and stalled peers do not read: nothing is gained by waiting for them to take the rest.
            if !writing || reason == CloseReason::Idle || reason == CloseReason::Stalled {
                return Poll::Ready(Event::End(reason));
            }
            return Poll::Pending;
        }
        if self.unsent.len() - self.unsent_from > self.options.unsent_bytes_max {
            return Poll::Pending;
        }
        self.poll_read(cx)
    }

    fn compact_unsent(&mut self) {
        if self.unsent_from == self.unsent.len() {
            self.unsent_from = 0;
            if self.unsent.capacity() > KEPT_BYTES_MAX {
                self.unsent = Vec::new();
            } else {
                self.unsent.clear();
            }
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
        let replies = REPLY_BUFFER.take();
        debug_assert!(replies.is_empty());
        Some(Inbound { connection: self.connection.clone(), bytes, frames_end, replies })
    }

    /// Writes the answers and takes the buffers back. A reason says that the connection is over.
    fn take_back(&mut self, outbound: super::Outbound) -> Option<CloseReason> {
        let super::Outbound { bytes, replies, .. } = outbound;
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
