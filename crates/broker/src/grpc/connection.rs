//! The life of one HTTP/2 connection.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use net::Stream;

use super::GrpcDoor;
use super::call::Peer;

/// Calls that one connection may have open. Each queue of an ordered group is one long poll, and .NET makes a single
/// connection; libraries allow 100 to 200 by default, which is too few.
const CALLS_MAX: u32 = 16_384;
/// Bytes that one call may bring before they are read. More would not help: what arrives is read at once.
const CALL_WINDOW_BYTES: u32 = 256 * 1024;
/// The same over all calls of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// Bytes of a response that wait for the other side to read.
const UNSENT_BYTES_MAX: usize = 64 * 1024;
/// Longest headers of a call; official clients send less than 1 KiB.
const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// Calls that were cancelled before they were looked at; more of them end the connection (rapid reset).
const RESETS_WAITING_MAX: usize = 64;
/// Calls that break the rules of HTTP/2; more of them end the connection.
const RULE_BREAKS_MAX: usize = 256;
/// A connection that says nothing is asked whether it is still there, and has the second time to answer. We never mind
/// being asked, however often.
const PING_PERIOD: Duration = Duration::from_secs(60);
const PING_ANSWER_MAX: Duration = Duration::from_secs(20);
/// How often it is looked whether a connection is in use.
const IDLE_LOOKS: u32 = 4;
/// Time for calls to end once the broker stops.
const DRAIN_MAX: Duration = Duration::from_secs(3);

/// Runs what belongs to a connection on the thread that serves it.
#[derive(Clone, Copy)]
struct OnThisThread;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for OnThisThread {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// Whether a connection is in use.
#[derive(Default)]
struct Use {
    open_calls: Cell<u32>,
    calls: Cell<u64>,
}

/// A call that is open.
struct OpenCall(Rc<Use>);

impl OpenCall {
    fn new(using: &Rc<Use>) -> OpenCall {
        using.open_calls.set(using.open_calls.get() + 1);
        using.calls.set(using.calls.get() + 1);
        OpenCall(using.clone())
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.0.open_calls.set(self.0.open_calls.get() - 1);
    }
}

/// Tells clients' sessions when the connection ends, however it does.
struct HangsUp(Rc<Peer>);

impl Drop for HangsUp {
    fn drop(&mut self) {
        self.0.hung_up();
    }
}

/// Serves a connection until it ends.
pub async fn drive(door: GrpcDoor, stream: Stream, address: SocketAddr) {
    let broker = door.broker.clone();
    let peer = Rc::new(Peer::new(broker.clone(), address, door.services.arriving()));
    let _hangs_up = HangsUp(peer.clone());
    let using = Rc::new(Use::default());
    let counted = using.clone();
    let service = service_fn(move |request| {
        let (door, peer, open) = (door.clone(), peer.clone(), OpenCall::new(&counted));
        async move {
            let response = door.answer(peer, request).await;
            // A stream is in use for as long as its body is not at its end.
            Ok::<_, Infallible>(response.map(|body| Held { body, _open: open }))
        }
    });
    let connection = builder().serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let idle = broker.config.grpc_idle.get();
    let mut stopping = pin!(broker.shutdown.cancelled());
    let mut looks = tokio::time::interval(idle / IDLE_LOOKS);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut seen = (u64::MAX, 0);
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(peer = %address, %error, "connection closed");
                }
                return;
            }
            _ = looks.tick() => {
                if using.open_calls.get() > 0 || seen.0 != using.calls.get() {
                    seen = (using.calls.get(), 0);
                } else if seen.1 < IDLE_LOOKS {
                    seen.1 += 1;
                } else {
                    break;
                }
            }
            () = stopping.as_mut() => break,
        }
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(DRAIN_MAX, connection).await;
}

fn builder() -> http2::Builder<OnThisThread> {
    let mut builder = http2::Builder::new(OnThisThread);
    builder
        .timer(TokioTimer::new())
        .auto_date_header(false)
        .max_concurrent_streams(CALLS_MAX)
        .initial_stream_window_size(CALL_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(UNSENT_BYTES_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .max_pending_accept_reset_streams(RESETS_WAITING_MAX)
        .max_local_error_reset_streams(RULE_BREAKS_MAX)
        .keep_alive_interval(PING_PERIOD)
        .keep_alive_timeout(PING_ANSWER_MAX);
    builder
}

/// A body, and that its call is open.
struct Held {
    body: super::body::Reply,
    _open: OpenCall,
}

impl http_body::Body for Held {
    type Data = bytes::Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, tonic::Status>>> {
        std::pin::Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
