use std::convert::Infallible;
use std::future::Ready;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll};

use protocol::header::{FieldSpans, Header};
use protocol::typed::FieldError;
use tower::Service;

use super::*;
use crate::connection::{CloseReason, Connection};
use crate::server::{Door, Inbound, Outbound, ServerOptions, serve};
use crate::workers::{WorkerThreads, Workers};

const ECHO: RequestCode = RequestCode(1);
const SILENCE: RequestCode = RequestCode(2);
const CLOSE: RequestCode = RequestCode(3);
const PUSH: RequestCode = RequestCode(4);
/// Kept until the next request of that code, and answered after it.
const LATER: RequestCode = RequestCode(5);

const SOON: Duration = Duration::from_secs(5);

/// Does what the request code says. Reports how many frames came in when a connection ends.
#[derive(Clone)]
struct Desk {
    frames: Arc<AtomicUsize>,
    ended: std::sync::mpsc::Sender<usize>,
}

struct DeskService {
    frames: Arc<AtomicUsize>,
    kept: Option<i32>,
}

impl Door for Desk {
    type Service = DeskService;

    fn opened(&self, _: &Arc<Connection>) -> DeskService {
        DeskService { frames: self.frames.clone(), kept: None }
    }

    fn closed(&self, _: &Arc<Connection>, _: CloseReason) {
        let _ = self.ended.send(self.frames.load(Ordering::Relaxed));
    }
}

impl Service<Inbound> for DeskService {
    type Response = Outbound;
    type Error = Infallible;
    type Future = Ready<Result<Outbound, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut inbound: Inbound) -> Self::Future {
        let mut replies = std::mem::take(&mut inbound.replies);
        let mut close = false;
        for frame in inbound.frames() {
            self.frames.fetch_add(1, Ordering::Relaxed);
            let mut spans = FieldSpans::default();
            let header = Header::decode(Codec::Json, frame.header, &mut spans).unwrap();
            let mut answer = |opaque: i32, body: &[u8]| {
                let remark = header.fields.get("name").map(|name| name.resolve().into_owned());
                FrameWriter::response(&mut replies, Codec::Json, ResponseCode(header.code), opaque, remark.as_deref())
                    .text("seen", "yes")
                    .finish(body);
            };
            match RequestCode(header.code) {
                // What comes back from a pushed request is shown to the client as an answer to call number 1.
                _ if header.is_response() => answer(1, &header.code.to_be_bytes()),
                ECHO => answer(header.opaque, frame.body),
                CLOSE => close = true,
                LATER => match self.kept.take() {
                    None => self.kept = Some(header.opaque),
                    Some(kept) => {
                        answer(header.opaque, b"second");
                        answer(kept, b"first");
                    }
                },
                PUSH => {
                    let expect = if frame.body.is_empty() { Expect::Nothing } else { Expect::Answer };
                    FrameWriter::request(&mut replies, Codec::Json, RequestCode(40), 77, expect)
                        .text("consumerGroup", "g")
                        .finish(b"pushed");
                }
                _ => {}
            }
        }
        let outbound =
            if close { inbound.answer_and_close(replies, CloseReason::Service) } else { inbound.answer(replies) };
        std::future::ready(Ok(outbound))
    }
}

struct Running {
    address: String,
    ended: std::sync::mpsc::Receiver<usize>,
    stop: CancellationToken,
    workers: Workers,
    threads: Option<WorkerThreads>,
}

fn run() -> Running {
    let (workers, threads) = Workers::start("desk", 1).unwrap();
    let listener = crate::listen::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    // A host name, so that every test resolves one.
    let address = format!("localhost:{}", listener.local_addr().unwrap().port());
    let stop = CancellationToken::new();
    let (sender, ended) = std::sync::mpsc::channel();
    let desk = Desk { frames: Arc::default(), ended: sender };
    let (spread, token) = (workers.clone(), stop.clone());
    workers.spawn_on(0, move || async move {
        serve(vec![listener], desk, spread, ServerOptions::default(), token).await.unwrap();
    });
    Running { address, ended, stop, workers, threads: Some(threads) }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
        self.workers.stop();
        if let Some(threads) = self.threads.take() {
            threads.join();
        }
    }
}

fn bare(frame: FrameWriter<'_>) -> FrameWriter<'_> {
    frame
}

#[tokio::test]
async fn a_call_brings_code_remark_fields_and_body() {
    let server = run();
    let channel = Channel::connect(&server.address, SOON).await.unwrap();
    let body = vec![7; 3_000_000];
    let answer = channel.call(ECHO, |frame| frame.text("name", "a\"b"), &body, SOON).await.unwrap();
    assert_eq!((answer.code, answer.remark.as_deref()), (ResponseCode(1), Some("a\"b")));
    assert!(answer.body == body);
    assert_eq!((answer.field("seen").as_deref(), answer.field("other")), (Some("yes"), None));
    let missing = answer.read(|fields| fields.get("other").map(|_| ()).ok_or(FieldError::Missing("other")));
    assert_eq!(missing, Err(FieldError::Missing("other")));
    channel.close().await;
}

#[tokio::test]
async fn answers_find_their_calls_in_any_order() {
    let server = run();
    let channel = Channel::connect(&server.address, SOON).await.unwrap();
    let (first, second) = tokio::join!(channel.call(LATER, bare, b"", SOON), channel.call(LATER, bare, b"", SOON));
    assert_eq!((first.unwrap().body, second.unwrap().body), (b"first".to_vec(), b"second".to_vec()));
}

#[tokio::test]
async fn many_threads_share_a_channel() {
    let server = run();
    let channel = Channel::connect(&server.address, SOON).await.unwrap();
    let tasks: Vec<_> = (0..500u32)
        .map(|number| {
            let channel = channel.clone();
            tokio::spawn(async move {
                let answer = channel.call(ECHO, bare, &number.to_be_bytes(), SOON).await.unwrap();
                assert_eq!(answer.body, number.to_be_bytes());
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_call_that_gives_up_leaves_nothing_behind() {
    let server = run();
    let channel = Channel::connect(&server.address, SOON).await.unwrap();
    let error = channel.call(SILENCE, bare, b"", Duration::from_millis(20)).await.unwrap_err();
    assert!(matches!(error, CallError::Timeout { code: SILENCE, .. }), "{error}");
    assert!(channel.shared.calls().waiting.is_empty());
    assert!(!channel.is_closed());
    assert!(channel.call(ECHO, bare, b"", SOON).await.is_ok());
}

#[tokio::test]
async fn calls_learn_that_the_connection_ended() {
    let server = run();
    let channel = Channel::connect(&server.address, SOON).await.unwrap();
    let (waiting, ending) = tokio::join!(channel.call(SILENCE, bare, b"", SOON), channel.call(CLOSE, bare, b"", SOON));
    for error in [waiting.unwrap_err(), ending.unwrap_err()] {
        assert!(matches!(error, CallError::Closed { .. }), "{error}");
    }
    channel.closed().await;
    let error = channel.call(ECHO, bare, b"", SOON).await.unwrap_err();
    assert!(matches!(error, CallError::Closed { .. }), "{error}");
    assert!(matches!(channel.oneway(ECHO, bare, b""), Err(CallError::Closed { .. })));
}

#[tokio::test]
async fn pushed_requests_are_delivered_and_can_be_answered() {
    let server = run();
    let (pushes, mut pushed) = mpsc::channel(4);
    let channel = Channel::connect_with(&server.address, SOON, pushes).await.unwrap();
    channel.oneway(PUSH, bare, b"").unwrap();
    let request = pushed.recv().await.unwrap();
    assert_eq!((request.code, request.oneway, request.body.as_slice()), (RequestCode(40), true, &b"pushed"[..]));
    assert_eq!(request.field("consumerGroup").as_deref(), Some("g"));
    channel.oneway(PUSH, bare, b"answer me").unwrap();
    let request = pushed.recv().await.unwrap();
    assert!(!request.oneway);
    channel.answer(&request, ResponseCode::SUCCESS, None, b"").unwrap();
}

/// Call number 1 waits; the server shows what it was told through the answer to it.
#[tokio::test]
async fn a_push_that_nobody_takes_is_refused() {
    let server = run();
    let channel = Channel::connect(&server.address, SOON).await.unwrap();
    let answer = channel.call(PUSH, bare, b"answer me", SOON).await.unwrap();
    assert_eq!(answer.body, ResponseCode::REQUEST_CODE_NOT_SUPPORTED.0.to_be_bytes());
}

#[tokio::test]
async fn failures_to_connect_are_told_apart() {
    let error = Channel::connect("no-such-host.invalid:1", SOON).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unresolved { .. } | ConnectError::Timeout { .. }), "{error}");
    let error = Channel::connect("nonsense", SOON).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unresolved { .. }), "{error}");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = Channel::connect(&free.to_string(), SOON).await.unwrap_err();
    assert!(matches!(error, ConnectError::Failed { .. }), "{error}");
}

#[tokio::test]
async fn what_was_queued_is_written_before_the_channel_ends() {
    let server = run();
    let channel = Channel::connect(&server.address, SOON).await.unwrap();
    let other = channel.clone();
    for _ in 0..100 {
        channel.oneway(SILENCE, bare, &[0; 1000]).unwrap();
    }
    drop(other);
    channel.close().await;
    assert_eq!(server.ended.recv().unwrap(), 100);
}
