//! Calls with one request, and one response or a stream of them.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http::header::{CONTENT_TYPE, HeaderValue};
use http_body::Body;
use hyper::body::Incoming;
use metrics::Stopwatch;
use tonic::Code as GrpcCode;

use super::Rpc;
use super::answer::Answer;
use super::body::{Inflow, PREFIX_BYTES, Reply, encode, message_size};
use super::call::{Call, Peer};
use super::code::Refused;
use crate::rpc_latency::Kind;

/// Most bytes of a request beside the largest body: properties, names, and more messages in the same call.
const REQUEST_BYTES_MIN: usize = 16 * 1024 * 1024;

/// Serves a call: decodes the request, has it handled, encodes the response.
pub async fn unary<Q, A, F>(
    peer: Rc<Peer>,
    request: http::Request<Incoming>,
    handle: impl FnOnce(Call, Q) -> F,
) -> http::Response<Reply>
where
    Q: prost::Message + Default,
    A: Answer,
    F: Future<Output = Result<A, Refused>>,
{
    let (parts, body) = request.into_parts();
    let limit = request_bytes_max(&peer);
    let message = match read_message(Inflow::new(body, peer.arriving.clone()), limit).await {
        Ok(message) => message,
        Err(status) => return failed(status),
    };
    let rpc = Rpc::of_path(parts.uri.path());
    let stopwatch = Stopwatch::start();
    let broker = peer.broker.clone();
    let call = Call::new(peer, parts.headers, parts.uri);
    if let Err(refused) = call.client_id() {
        return answered(&A::refusal(refused));
    }
    match Q::decode(message) {
        Ok(question) => {
            let mut answer = handle(call, question).await.unwrap_or_else(A::refusal);
            let status = answer.status_mut().as_ref().map_or(0, |status| status.code);
            if let Some(rpc) = rpc {
                let kind = Kind::grpc(rpc as i32, status);
                broker.counters.rpc_latency.observe(kind, stopwatch.elapsed(), 1);
            }
            answered(&answer)
        }
        Err(error) => failed(tonic::Status::internal(format!("the request cannot be read: {error}"))),
    }
}

/// Serves a call whose responses are streamed: decodes the request, and sends what `open` makes of it. A call without
/// client id is answered with what `refuse` makes of that.
pub async fn streamed<Q, A, S>(
    peer: Rc<Peer>,
    request: http::Request<Incoming>,
    refuse: impl FnOnce(Refused) -> A,
    open: impl FnOnce(Call, Q) -> S,
) -> http::Response<Reply>
where
    Q: prost::Message + Default,
    A: prost::Message,
    S: Stream<Item = A> + 'static,
{
    let (parts, body) = request.into_parts();
    let limit = request_bytes_max(&peer);
    let message = match read_message(Inflow::new(body, peer.arriving.clone()), limit).await {
        Ok(message) => message,
        Err(status) => return failed(status),
    };
    let call = Call::new(peer, parts.headers, parts.uri);
    if let Err(refused) = call.client_id() {
        return answered(&refuse(refused));
    }
    match Q::decode(message) {
        Ok(question) => {
            respond(Reply::Messages(Box::pin(open(call.lasting(), question).map(|answer| Ok(encode(&answer))))))
        }
        Err(error) => failed(tonic::Status::internal(format!("the request cannot be read: {error}"))),
    }
}

/// Most bytes of a request.
pub fn request_bytes_max(peer: &Peer) -> usize {
    REQUEST_BYTES_MIN.max(peer.broker.config.max_message_bytes.get() + REQUEST_BYTES_MIN / 4)
}

fn answered(answer: &impl prost::Message) -> http::Response<Reply> {
    respond(Reply::unary(answer))
}

/// A response with this body.
pub fn respond(body: Reply) -> http::Response<Reply> {
    let mut response = http::Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// A call that fails as gRPC has it, for reasons that are none of ours: it cannot be read.
pub fn failed(status: tonic::Status) -> http::Response<Reply> {
    status.into_http::<tonic::body::Body>().map(|_| Reply::Ended)
}

/// A call of what nobody serves.
pub fn unknown(path: &str) -> http::Response<Reply> {
    failed(tonic::Status::new(GrpcCode::Unimplemented, format!("{path} is not served")))
}

/// Reads the one message of a request.
pub async fn read_message(mut body: Inflow, limit: usize) -> Result<Bytes, tonic::Status> {
    let mut first = Bytes::new();
    let mut more = BytesMut::new();
    let mut size = None;
    loop {
        let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await else { break };
        let Ok(data) = frame?.into_data() else { continue };
        if first.is_empty() && more.is_empty() {
            first = data;
        } else {
            // Rare: one frame carries 16 KiB.
            if more.is_empty() {
                more.reserve(size.map_or(PREFIX_BYTES, |size: usize| size.min(limit)) + PREFIX_BYTES);
                more.extend_from_slice(&std::mem::take(&mut first));
            }
            more.extend_from_slice(&data);
        }
        let read: &[u8] = if more.is_empty() { &first } else { &more };
        if size.is_none() {
            size = message_size(read, limit)?;
        }
        if size.is_some_and(|size| read.len() >= PREFIX_BYTES + size) {
            break;
        }
    }
    let mut read = if more.is_empty() { first } else { more.freeze() };
    match size {
        Some(size) if read.len() >= PREFIX_BYTES + size => {
            read.advance(PREFIX_BYTES);
            Ok(read.split_to(size))
        }
        _ => Err(tonic::Status::internal("the request ended before its message")),
    }
}
