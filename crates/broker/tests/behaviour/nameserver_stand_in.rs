//! A nameserver that takes everything and remembers what it was told.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};

use protocol::codes::ResponseCode;
use protocol::frame::Codec;
use protocol::writer::FrameWriter;

use crate::requests::{Came, read_frame};
use crate::waiting::PATIENCE;

/// The stand-in. Its port is closed, and its connections are cut, when it is dropped.
pub struct Nameserver {
    address: SocketAddr,
    told: Receiver<Came>,
    connections: Arc<Mutex<Connections>>,
    accepting: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Connections {
    open: Vec<TcpStream>,
    is_gone: bool,
}

impl Nameserver {
    /// Starts on a port of its own, or on one that an earlier stand-in had.
    pub fn start(address: Option<SocketAddr>) -> Nameserver {
        let listener = TcpListener::bind(address.unwrap_or_else(|| ([127, 0, 0, 1], 0).into())).unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, told) = mpsc::channel();
        let connections = Arc::new(Mutex::new(Connections::default()));
        let shared = connections.clone();
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let mut connections = shared.lock().unwrap();
                if connections.is_gone {
                    return;
                }
                connections.open.push(stream.try_clone().unwrap());
                let tell = tell.clone();
                std::thread::spawn(move || serve(stream, &tell));
            }
        });
        Nameserver { address, told, connections, accepting: Some(accepting) }
    }

    /// Where brokers find it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the next request.
    #[track_caller]
    pub fn told(&self) -> Came {
        self.told.recv_timeout(PATIENCE).expect("a request to the nameserver")
    }
}

impl Drop for Nameserver {
    fn drop(&mut self) {
        {
            let mut connections = self.connections.lock().unwrap();
            connections.is_gone = true;
            for stream in connections.open.drain(..) {
                // It may have ended by itself.
                let _ = stream.shutdown(std::net::Shutdown::Both);
            }
        }
        // Wakes the thread that accepts, which then closes the port.
        let _ = TcpStream::connect(self.address);
        let _ = self.accepting.take().unwrap().join();
    }
}

fn serve(mut stream: TcpStream, tell: &Sender<Came>) {
    let (mut received, mut bytes) = (Vec::new(), [0; 16 << 10]);
    while let Ok(size @ 1..) = stream.read(&mut bytes) {
        received.extend_from_slice(&bytes[..size]);
        while let Some((came, size)) = read_frame(&received) {
            received.drain(..size);
            let mut out = Vec::new();
            FrameWriter::response(&mut out, Codec::Json, ResponseCode::SUCCESS, came.opaque, None).finish(b"");
            // Nobody listens any more once the test has ended.
            let _ = tell.send(came);
            if stream.write_all(&out).is_err() {
                return;
            }
        }
    }
}
