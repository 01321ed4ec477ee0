//! Bodies: what a call brings, and what goes back.

use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::Stream;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use prost::Message;

/// Bytes before each message: whether it is compressed, and its size.
pub const PREFIX_BYTES: usize = 5;

/// The body of a response.
pub enum Reply {
    /// One message; then the trailers that say that the call went well.
    Unary(Option<Bytes>),
    /// Only what the trailers say.
    Ended,
    /// Any number of messages, and how the call ended.
    Messages(Messages),
    /// What a service beside ours answers.
    Other(tonic::body::Body),
}

/// Encoded messages, or why the call ends as a failed one.
pub type Messages = Pin<Box<dyn Stream<Item = Result<Bytes, tonic::Status>>>>;

impl Reply {
    /// One message, encoded.
    pub fn unary(message: &impl Message) -> Reply {
        Reply::Unary(Some(encode(message)))
    }
}

/// A message as it travels.
pub fn encode(message: &impl Message) -> Bytes {
    let size = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(PREFIX_BYTES + size);
    bytes.put_u8(0);
    bytes.put_u32(size as u32);
    // Cannot fail: there is as much room as it said it needs.
    let _ = message.encode(&mut bytes);
    bytes.freeze()
}

impl Body for Reply {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        match this {
            Reply::Unary(message) => match message.take() {
                Some(message) => Poll::Ready(Some(Ok(Frame::data(message)))),
                None => {
                    *this = Reply::Ended;
                    Poll::Ready(Some(Ok(Frame::trailers(went_well()))))
                }
            },
            Reply::Ended => Poll::Ready(None),
            Reply::Messages(messages) => {
                let trailers = match std::task::ready!(messages.as_mut().poll_next(cx)) {
                    Some(Ok(message)) => return Poll::Ready(Some(Ok(Frame::data(message)))),
                    Some(Err(status)) => {
                        let mut trailers = HeaderMap::new();
                        // A status whose text cannot be a header still ends the call.
                        if status.add_header(&mut trailers).is_err() {
                            trailers.insert("grpc-status", HeaderValue::from_static("13"));
                        }
                        trailers
                    }
                    None => went_well(),
                };
                *this = Reply::Ended;
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
            Reply::Other(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Reply::Unary(_) | Reply::Messages(_) => false,
            Reply::Ended => true,
            Reply::Other(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

fn went_well() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"));
    trailers
}

/// Bytes of requests that have not arrived whole, over all connections of a broker.
#[derive(Debug, Default)]
pub struct Arriving(AtomicUsize);

/// Most of them. A call that would exceed it fails.
const ARRIVING_BYTES_MAX: usize = 256 * 1024 * 1024;
/// A request that has brought no more than this does not count.
const UNCOUNTED_BYTES_MAX: usize = 2 * 1024;

/// The body of a request, counted.
pub struct Inflow {
    body: Incoming,
    counted: usize,
    seen: usize,
    arriving: Arc<Arriving>,
}

impl Inflow {
    /// Counts what `body` brings.
    pub fn new(body: Incoming, arriving: Arc<Arriving>) -> Inflow {
        Inflow { body, counted: 0, seen: 0, arriving }
    }

    /// What arrived was used up.
    pub fn used(&mut self) {
        self.arriving.0.fetch_sub(self.counted, Ordering::Relaxed);
        (self.counted, self.seen) = (0, 0);
    }

    fn count(&mut self, bytes: usize) -> Result<(), tonic::Status> {
        self.seen += bytes;
        if self.seen <= UNCOUNTED_BYTES_MAX {
            return Ok(());
        }
        let more = self.seen - self.counted;
        let before = self.arriving.0.fetch_add(more, Ordering::Relaxed);
        self.counted += more;
        if before + more > ARRIVING_BYTES_MAX {
            return Err(tonic::Status::resource_exhausted("requests that have not arrived whole take too much memory"));
        }
        Ok(())
    }
}

impl Drop for Inflow {
    fn drop(&mut self) {
        self.used();
    }
}

impl Body for Inflow {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let polled = std::task::ready!(Pin::new(&mut this.body).poll_frame(cx));
        Poll::Ready(match polled {
            Some(Ok(frame)) => {
                let counted = this.count(frame.data_ref().map_or(0, Bytes::len));
                Some(counted.map(|()| frame))
            }
            Some(Err(error)) => Some(Err(tonic::Status::from_error(error.into()))),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

/// Messages that a client streams.
pub struct Inbound<Q> {
    body: Inflow,
    arrived: BytesMut,
    limit: usize,
    message: PhantomData<Q>,
}

impl<Q: Message + Default> Inbound<Q> {
    /// The messages of a body, each of at most `limit` bytes.
    pub fn new(body: Inflow, limit: usize) -> Inbound<Q> {
        Inbound { body, arrived: BytesMut::new(), limit, message: PhantomData }
    }

    /// The next message; `None` once the client has ended its side.
    pub fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Q, tonic::Status>>> {
        loop {
            match self.take_message() {
                Ok(None) => {}
                Ok(Some(message)) => return Poll::Ready(Some(Ok(message))),
                Err(status) => return Poll::Ready(Some(Err(status))),
            }
            match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.arrived.extend_from_slice(&data);
                    }
                }
                Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                None => return Poll::Ready(None),
            }
        }
    }

    fn take_message(&mut self) -> Result<Option<Q>, tonic::Status> {
        let Some(size) = message_size(&self.arrived, self.limit)? else { return Ok(None) };
        if self.arrived.len() < PREFIX_BYTES + size {
            return Ok(None);
        }
        self.arrived.advance(PREFIX_BYTES);
        let message = Q::decode(self.arrived.split_to(size).freeze());
        if self.arrived.is_empty() {
            // A stream that is open for days keeps no room for what it said once.
            self.arrived = BytesMut::new();
            self.body.used();
        }
        message.map(Some).map_err(|error| tonic::Status::internal(format!("a message cannot be read: {error}")))
    }
}

/// What the bytes before a message say of its size, once they are there.
pub fn message_size(read: &[u8], limit: usize) -> Result<Option<usize>, tonic::Status> {
    let Some(([compressed, size @ ..], _)) = read.split_first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
    if *compressed != 0 {
        return Err(tonic::Status::unimplemented("compressed requests are not read; bodies may be compressed"));
    }
    let size = u32::from_be_bytes(*size) as usize;
    if size > limit {
        let text = format!("the request is {size} bytes; the limit is {limit}");
        return Err(tonic::Status::resource_exhausted(text));
    }
    Ok(Some(size))
}
