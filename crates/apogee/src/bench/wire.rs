//! One connection of the load generator: whole buffers in and out, one system call each per wake-up.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use protocol::frame::{self, Frame};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A connected socket and its buffers.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    /// Frames to be written; what is appended goes out with the next [`Wire::turn`].
    pub outgoing: Vec<u8>,
    written: usize,
    received: Vec<u8>,
    filled: usize,
}

impl Wire {
    /// Connects; waits no longer than the system does. `read_bytes` is the room for what one read brings, to begin
    /// with; it grows when a frame needs more.
    pub async fn connect(address: &str, read_bytes: usize) -> io::Result<Wire> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Wire { stream, outgoing: Vec::new(), written: 0, received: vec![0; read_bytes], filled: 0 })
    }

    /// Our address.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// Writes what the socket takes and waits until something arrives.
    pub async fn turn(&mut self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_turn(cx)).await
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.outgoing.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.outgoing[self.written..])? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(count) => self.written += count,
                Poll::Pending => break,
            }
        }
        if self.written == self.outgoing.len() {
            self.outgoing.clear();
            self.written = 0;
        }
        if self.filled == self.received.len() {
            self.received.resize(2 * self.filled, 0);
        }
        let mut room = ReadBuf::new(&mut self.received[self.filled..]);
        match Pin::new(&mut self.stream).poll_read(cx, &mut room)? {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) if room.filled().is_empty() => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Poll::Ready(()) => {
                self.filled += room.filled().len();
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Gives every whole frame that has arrived to `take`.
    pub fn take_frames(&mut self, mut take: impl FnMut(&mut Vec<u8>, &Frame<'_>)) -> io::Result<()> {
        let mut done = 0;
        loop {
            let split = frame::split(&self.received[done..self.filled]);
            match split.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
                None => break,
                Some(frame) => {
                    done += frame.size;
                    take(&mut self.outgoing, &frame);
                }
            }
        }
        self.received.copy_within(done..self.filled, 0);
        self.filled -= done;
        Ok(())
    }
}
