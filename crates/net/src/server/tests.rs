use std::io::{Read, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll};

use protocol::codes::ResponseCode;
use protocol::frame::Codec;
use protocol::header::{FieldSpans, Header};
use protocol::writer::FrameWriter;

use super::*;

/// Answers each frame with its own body and reports how connections end.
#[derive(Clone)]
struct Echo {
    ended: mpsc::Sender<CloseReason>,
    /// The largest sum of what one connection's answers took after a call.
    most_unsent: Arc<AtomicUsize>,
}

/// Body of a request that asks for an answer of [`BIG`] bytes.
const ASK_BIG: &[u8] = b"big";
const BIG: usize = 700_000;
/// Body of a request that the service panics at.
const ASK_PANIC: &[u8] = b"panic";
/// Body of a request that is never answered.
const ASK_FOR_EVER: &[u8] = b"for ever";

impl Door for Echo {
    type Service = EchoService;

    fn opened(&self, _: &Arc<Connection>) -> EchoService {
        EchoService(self.clone())
    }

    fn closed(&self, _: &Arc<Connection>, reason: CloseReason) {
        let _ = self.ended.send(reason);
    }
}

struct EchoService(Echo);

impl Service<Inbound> for EchoService {
    type Response = Outbound;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Outbound, Infallible>>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut inbound: Inbound) -> Self::Future {
        let mut replies = std::mem::take(&mut inbound.replies);
        let mut never = false;
        for frame in inbound.frames() {
            let mut spans = FieldSpans::default();
            let opaque = Header::decode(Codec::Json, frame.header, &mut spans).map_or(0, |header| header.opaque);
            let big = vec![9; if frame.body == ASK_BIG { BIG } else { 0 }];
            assert_ne!(frame.body, ASK_PANIC, "as asked");
            never |= frame.body == ASK_FOR_EVER;
            let body = if big.is_empty() { frame.body } else { &big };
            FrameWriter::response(&mut replies, Codec::Json, ResponseCode::SUCCESS, opaque, None).finish(body);
            if inbound.is_answered_enough(&replies) {
                break;
            }
        }
        self.0.most_unsent.fetch_max(inbound.connection.unsent_bytes() + replies.len(), Ordering::Relaxed);
        Box::pin(async move {
            if never {
                std::future::pending::<()>().await;
            }
            Ok(inbound.answer(replies))
        })
    }
}

struct Running {
    address: SocketAddr,
    ended: mpsc::Receiver<CloseReason>,
    most_unsent: Arc<AtomicUsize>,
    stop: CancellationToken,
    workers: Workers,
    threads: Option<crate::workers::WorkerThreads>,
}

fn run(options: ServerOptions) -> Running {
    let (workers, threads) = Workers::start("echo", 2).unwrap();
    let listener = crate::listen::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, ended) = mpsc::channel();
    let stop = CancellationToken::new();
    let most_unsent = Arc::new(AtomicUsize::new(0));
    let door = Echo { ended: sender, most_unsent: most_unsent.clone() };
    let (spread, token) = (workers.clone(), stop.clone());
    workers.spawn_on(0, move || async move {
        serve(vec![listener], door, spread, options, token).await.unwrap();
    });
    Running { address, ended, most_unsent, stop, workers, threads: Some(threads) }
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

fn request(opaque: i32, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    FrameWriter::response(&mut out, Codec::Json, ResponseCode::SUCCESS, opaque, None).finish(body);
    out
}

fn read_answer(stream: &mut std::net::TcpStream) -> (i32, Vec<u8>) {
    let mut bytes = vec![0; 4];
    stream.read_exact(&mut bytes).unwrap();
    let length = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
    bytes.resize(4 + length, 0);
    stream.read_exact(&mut bytes[4..]).unwrap();
    let frame = frame::split(&bytes).unwrap().unwrap();
    let mut spans = FieldSpans::default();
    (Header::decode(Codec::Json, frame.header, &mut spans).unwrap().opaque, frame.body.to_vec())
}

#[test]
fn frames_cut_anywhere_are_answered_once_and_in_order() {
    let running = run(ServerOptions::default());
    let mut stream = std::net::TcpStream::connect(running.address).unwrap();
    stream.set_nodelay(true).unwrap();
    let bodies: Vec<Vec<u8>> =
        [0, 1, 200, 300_000, 3, 5_000_000, 7].iter().map(|size| vec![*size as u8; *size]).collect();
    let bytes: Vec<u8> = bodies.iter().enumerate().flat_map(|(opaque, body)| request(opaque as i32, body)).collect();
    let mut writer = stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        for piece in bytes.chunks(70_001) {
            writer.write_all(piece).unwrap();
        }
    });
    for (opaque, body) in bodies.iter().enumerate() {
        assert_eq!(read_answer(&mut stream), (opaque as i32, body.clone()));
    }
    writing.join().unwrap();
    for byte in request(9, b"byte by byte") {
        stream.write_all(&[byte]).unwrap();
    }
    assert_eq!(read_answer(&mut stream), (9, b"byte by byte".to_vec()));
    drop(stream);
    assert_eq!(running.ended.recv().unwrap(), CloseReason::Peer);
}

#[test]
fn what_came_before_rubbish_is_answered_and_then_the_connection_ends() {
    let running = run(ServerOptions::default());
    let mut stream = std::net::TcpStream::connect(running.address).unwrap();
    let mut bytes = request(1, b"fine");
    bytes.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n");
    stream.write_all(&bytes).unwrap();
    assert_eq!(read_answer(&mut stream), (1, b"fine".to_vec()));
    assert_eq!(running.ended.recv().unwrap(), CloseReason::Protocol);
    assert_eq!(stream.read(&mut [0; 8]).unwrap_or(0), 0);
}

#[test]
fn a_silent_connection_is_closed() {
    let running = run(ServerOptions { idle: Duration::from_millis(60), ..ServerOptions::default() });
    let stream = std::net::TcpStream::connect(running.address).unwrap();
    assert_eq!(running.ended.recv().unwrap(), CloseReason::Idle);
    drop(stream);
}

#[test]
fn stopping_ends_connections_even_of_peers_that_do_not_read() {
    let running = run(ServerOptions { drain: Duration::from_millis(50), ..ServerOptions::default() });
    let mut stream = std::net::TcpStream::connect(running.address).unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let big = request(1, &vec![7; 8 << 20]);
    // More than the sockets between the two can hold: the server cannot get rid of its answers.
    while stream.write_all(&big).is_ok() {}
    running.stop.cancel();
    assert!(matches!(running.ended.recv().unwrap(), CloseReason::Stalled | CloseReason::Shutdown));
}

impl Running {
    /// Waits until a connection has ended. A defect must fail the test, not hang it.
    #[track_caller]
    fn end(&self) -> CloseReason {
        self.ended.recv_timeout(Duration::from_secs(20)).unwrap()
    }
}

#[test]
fn answers_of_one_read_wait_until_those_before_were_taken() {
    const COUNT: i32 = 200;
    let running = run(ServerOptions::default());
    let mut stream = std::net::TcpStream::connect(running.address).unwrap();
    let bytes: Vec<u8> = (0..COUNT).flat_map(|opaque| request(opaque, ASK_BIG)).collect();
    stream.write_all(&bytes).unwrap();
    // Whatever follows is served after them.
    stream.write_all(&request(COUNT, b"last")).unwrap();
    for opaque in 0..COUNT {
        let (answered, body) = read_answer(&mut stream);
        assert_eq!((answered, body.len()), (opaque, BIG));
    }
    assert_eq!(read_answer(&mut stream), (COUNT, b"last".to_vec()));
    let most = running.most_unsent.load(Ordering::Relaxed);
    assert!(most <= 2 * ANSWER_BYTES_MAX + BIG + 1000, "{most}");
}

#[test]
fn frames_that_were_left_are_served_before_rubbish_ends_the_connection() {
    let running = run(ServerOptions::default());
    let mut stream = std::net::TcpStream::connect(running.address).unwrap();
    let mut bytes: Vec<u8> = (0..20).flat_map(|opaque| request(opaque, ASK_BIG)).collect();
    bytes.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n");
    stream.write_all(&bytes).unwrap();
    for opaque in 0..20 {
        assert_eq!(read_answer(&mut stream).0, opaque);
    }
    assert_eq!(running.end(), CloseReason::Protocol);
}

/// Sends what fills every buffer between the two with answers, then rubbish, and reads nothing.
fn rubbish_and_deaf(running: &Running) -> std::net::TcpStream {
    let mut stream = std::net::TcpStream::connect(running.address).unwrap();
    let mut bytes: Vec<u8> = (0..100).flat_map(|opaque| request(opaque, ASK_BIG)).collect();
    bytes.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n");
    stream.write_all(&bytes).unwrap();
    stream
}

#[test]
fn a_peer_that_sent_rubbish_and_does_not_read_is_waited_for_only_so_long() {
    let running = run(ServerOptions { drain: Duration::from_millis(50), ..ServerOptions::default() });
    let _stream = rubbish_and_deaf(&running);
    assert_eq!(running.end(), CloseReason::Protocol);
}

#[test]
fn silence_ends_even_a_connection_that_is_to_end_anyway() {
    let hour = Duration::from_secs(3600);
    let running = run(ServerOptions { drain: hour, idle: Duration::from_millis(60), ..ServerOptions::default() });
    let _stream = rubbish_and_deaf(&running);
    assert_eq!(running.end(), CloseReason::Idle);
}

#[test]
fn stopping_ends_connections_whose_calls_do_not_end() {
    let running = run(ServerOptions { drain: Duration::from_millis(50), ..ServerOptions::default() });
    let mut stream = std::net::TcpStream::connect(running.address).unwrap();
    stream.write_all(&request(1, b"x")).unwrap();
    assert_eq!(read_answer(&mut stream).0, 1);
    stream.write_all(&request(2, ASK_FOR_EVER)).unwrap();
    running.stop.cancel();
    assert!(matches!(running.end(), CloseReason::Stalled | CloseReason::Shutdown));
}

#[test]
fn unfinished_frames_of_all_connections_have_a_bound_and_small_requests_go_on() {
    let running = run(ServerOptions { partial_bytes_max: 1_000_000, ..ServerOptions::default() });
    let halves: Vec<_> = (0..3)
        .map(|opaque| {
            let mut stream = std::net::TcpStream::connect(running.address).unwrap();
            // The third is cut off while it writes.
            let _ = stream.write_all(&request(opaque, &[1; 900_000])[..450_000]);
            stream
        })
        .collect();
    assert_eq!(running.end(), CloseReason::PartialFrames);
    let mut stream = std::net::TcpStream::connect(running.address).unwrap();
    stream.write_all(&request(7, b"small")).unwrap();
    assert_eq!(read_answer(&mut stream).0, 7);
    drop(halves);
    // Two that grow at the same moment may both be one too many.
    for _ in 0..2 {
        let reason = running.end();
        assert!(matches!(reason, CloseReason::Peer | CloseReason::PartialFrames), "{reason:?}");
    }
    // What they held is free again.
    stream.write_all(&request(8, &[1; 900_000])).unwrap();
    assert_eq!(read_answer(&mut stream), (8, vec![1; 900_000]));
}

#[test]
fn a_panic_ends_its_own_connection_and_nothing_else() {
    let running = run(ServerOptions::default());
    let connect = || std::net::TcpStream::connect(running.address).unwrap();
    // As many as there are threads, so that each has one of either.
    let mut others = [connect(), connect()];
    let mut panicking = [connect(), connect()];
    for stream in &mut others {
        stream.write_all(&request(1, b"before")).unwrap();
        assert_eq!(read_answer(stream).0, 1);
    }
    for stream in &mut panicking {
        stream.write_all(&request(2, ASK_PANIC)).unwrap();
        assert_eq!(running.end(), CloseReason::Panic);
        assert_eq!(stream.read(&mut [0; 8]).unwrap_or(0), 0);
    }
    for stream in &mut others {
        stream.write_all(&request(3, b"after")).unwrap();
        assert_eq!(read_answer(stream).0, 3);
    }
    let mut stream = connect();
    stream.write_all(&request(4, b"new")).unwrap();
    assert_eq!(read_answer(&mut stream).0, 4);
    // Nothing is left in the table that stopping would wait for.
    drop((others, stream));
    assert_eq!([running.end(), running.end(), running.end()], [CloseReason::Peer; 3]);
}
