use std::future::Ready;
use std::io::{Read, Write};
use std::net::SocketAddr;
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
}

impl Door for Echo {
    type Service = EchoService;

    fn opened(&self, _: &Arc<Connection>) -> EchoService {
        EchoService
    }

    fn closed(&self, _: &Arc<Connection>, reason: CloseReason) {
        let _ = self.ended.send(reason);
    }
}

struct EchoService;

impl Service<Inbound> for EchoService {
    type Response = Outbound;
    type Error = Infallible;
    type Future = Ready<Result<Outbound, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut inbound: Inbound) -> Self::Future {
        let mut replies = std::mem::take(&mut inbound.replies);
        for frame in inbound.frames() {
            let mut spans = FieldSpans::default();
            let opaque = Header::decode(Codec::Json, frame.header, &mut spans).map_or(0, |header| header.opaque);
            FrameWriter::response(&mut replies, Codec::Json, ResponseCode::SUCCESS, opaque, None).finish(frame.body);
        }
        std::future::ready(Ok(inbound.answer(replies)))
    }
}

struct Running {
    address: SocketAddr,
    ended: mpsc::Receiver<CloseReason>,
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
    let (door, spread, token) = (Echo { ended: sender }, workers.clone(), stop.clone());
    workers.spawn_on(0, move || async move {
        serve(vec![listener], door, spread, options, token).await.unwrap();
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
