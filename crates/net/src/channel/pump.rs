//! The two tasks of a channel: one reads and gives answers to those who wait, one writes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use protocol::codes::ResponseCode;
use protocol::frame::{self, Codec, Frame};
use protocol::header::{FieldSpans, Header};
use protocol::writer::FrameWriter;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

use super::{Answer, Pushed, Shared};

/// Least room for one read.
const READ_BYTES: usize = 16 * 1024;

/// A buffer that held a huge frame does not keep the room for it.
const KEPT_BYTES_MAX: usize = 1024 * 1024;

/// Frames that one write may join.
const JOINED_MAX: usize = 256;

/// Time without progress after which a peer that does not read counts as gone.
const STALL_MAX: Duration = Duration::from_secs(15);

/// Reads until the connection is over.
pub(super) async fn read(
    mut stream: OwnedReadHalf,
    shared: Arc<Shared>,
    pushes: Option<mpsc::Sender<Pushed>>,
    replies: mpsc::WeakSender<Vec<u8>>,
) {
    let desk = Desk { shared: &shared, pushes, replies };
    let mut spans = FieldSpans::default();
    let mut bytes = Vec::new();
    loop {
        bytes.reserve(READ_BYTES);
        let read = tokio::select! {
            read = stream.read_buf(&mut bytes) => read,
            () = shared.over.cancelled() => return,
        };
        match read {
            Ok(0) => return shared.end(|| "the other side closed it".to_owned()),
            Err(error) => return shared.end(|| error.to_string()),
            Ok(_) => {}
        }
        let mut done = 0;
        loop {
            match frame::split(&bytes[done..]) {
                Ok(None) => break,
                Ok(Some(frame)) => {
                    desk.take(&frame, &mut spans);
                    done += frame.size;
                }
                Err(error) => {
                    tracing::warn!(address = shared.address, %error, "connection closed");
                    return shared.end(|| error.to_string());
                }
            }
        }
        bytes.drain(..done);
        if bytes.is_empty() && bytes.capacity() > KEPT_BYTES_MAX {
            bytes = Vec::new();
        }
    }
}

/// Sorts what arrives.
struct Desk<'s> {
    shared: &'s Shared,
    pushes: Option<mpsc::Sender<Pushed>>,
    replies: mpsc::WeakSender<Vec<u8>>,
}

impl Desk<'_> {
    fn take(&self, frame: &Frame<'_>, spans: &mut FieldSpans) {
        let Some(codec) = Codec::from_number(frame.codec_number) else { return };
        let header = match Header::decode(codec, frame.header, spans) {
            Ok(header) => header,
            Err(error) => {
                // Frames are whole, so the next one can still be read; whoever waits for this one will time out.
                tracing::warn!(address = self.shared.address, %error, "a frame was passed over");
                return;
            }
        };
        if header.is_response() {
            // Nobody waits any more when the answer came too late.
            if let Some(waiting) = self.shared.calls().waiting.remove(&header.opaque) {
                let _ = waiting.send(Answer::new(codec, &header, frame.header, frame.body));
            }
            return;
        }
        let refusal = match &self.pushes {
            None => ResponseCode::REQUEST_CODE_NOT_SUPPORTED,
            Some(pushes) => match pushes.try_send(Pushed::new(codec, &header, frame.header, frame.body)) {
                Ok(()) => return,
                Err(mpsc::error::TrySendError::Closed(_)) => ResponseCode::REQUEST_CODE_NOT_SUPPORTED,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    tracing::warn!(address = self.shared.address, code = header.code, "a pushed request was refused");
                    ResponseCode::SYSTEM_BUSY
                }
            },
        };
        if !header.is_oneway() {
            self.refuse(codec, &header, refusal);
        }
    }

    fn refuse(&self, codec: Codec, header: &Header<'_>, code: ResponseCode) {
        let Some(replies) = self.replies.upgrade() else { return };
        let mut reply = Vec::new();
        let remark = format!("request {} is not taken here", header.code);
        FrameWriter::response(&mut reply, codec, code, header.opaque, Some(&remark)).finish(b"");
        // A refusal that finds no room is lost like any other late answer.
        let _ = replies.try_send(reply);
    }
}

/// Writes until nobody holds the channel any more or the connection is over.
pub(super) async fn write(mut stream: OwnedWriteHalf, shared: Arc<Shared>, mut unwritten: mpsc::Receiver<Vec<u8>>) {
    let mut frames = Vec::new();
    let mut joined = Vec::new();
    let reason = loop {
        let taken = tokio::select! {
            taken = unwritten.recv_many(&mut frames, JOINED_MAX) => taken,
            () = shared.over.cancelled() => break None,
        };
        if taken == 0 {
            break None;
        }
        for frame in frames.drain(..) {
            joined.extend_from_slice(&frame);
        }
        let written = tokio::select! {
            written = write_all(&mut stream, &joined) => written,
            () = shared.over.cancelled() => break None,
        };
        if let Err(error) = written {
            break Some(error.to_string());
        }
        joined.clear();
        if joined.capacity() > KEPT_BYTES_MAX {
            joined = Vec::new();
        }
    };
    shared.end(|| reason.unwrap_or_else(|| "it was closed here".to_owned()));
    let _ = stream.shutdown().await;
}

async fn write_all(stream: &mut OwnedWriteHalf, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = tokio::time::timeout(STALL_MAX, stream.write(bytes)).await??;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[written..];
    }
    Ok(())
}
