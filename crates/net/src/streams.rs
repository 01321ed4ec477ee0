//! Connections that are served as streams of bytes: HTTP/2, in clear text or in TLS, on one port.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::sniff::{Prefixed, SniffError, Sniffed, Speech, sniff};
use crate::tls::Tls;
use crate::workers::Workers;

/// A connection of which is known what it speaks.
pub enum Stream {
    /// In clear text.
    Plain(Prefixed<TcpStream>),
    /// In TLS.
    Tls(Box<Prefixed<TlsStream<Prefixed<TcpStream>>>>),
}

/// What stands behind a port of streams.
pub trait StreamDoor: Clone + Send + 'static {
    /// Serves one connection that speaks HTTP/2 until it ends; soon, once the server stops.
    fn serve(self, stream: Stream, client: SocketAddr) -> impl Future<Output = ()>;
}

/// Limits of a port of streams.
#[derive(Clone)]
pub struct StreamOptions {
    /// The certificate; without one, TLS is refused.
    pub tls: Option<Arc<Tls>>,
    /// Time from accepting a connection until it is known what it speaks. Default: 10 s.
    pub opening: Duration,
    /// Connections that may be at that. Default: 4096.
    pub opening_max: usize,
}

impl Default for StreamOptions {
    fn default() -> Self {
        StreamOptions { tls: None, opening: Duration::from_secs(10), opening_max: 4096 }
    }
}

/// Accepts connections until `shutdown`; they are spread over all of `workers`. Runs on a worker thread.
pub async fn serve_streams<D: StreamDoor>(
    listener: std::net::TcpListener,
    door: D,
    workers: Workers,
    options: StreamOptions,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let opening = Arc::new(AtomicUsize::new(0));
    let mut failing = false;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => return Ok(()),
        };
        match accepted {
            Ok((stream, peer)) => {
                failing = false;
                // One that does not get so far takes no more than its socket.
                let Some(slot) = OpeningSlot::take(&opening, options.opening_max) else { continue };
                start(stream, peer, door.clone(), options.clone(), slot, &workers);
            }
            Err(error) => {
                // Mostly "too many open files": the socket stays readable, so asking again at once would spin.
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "cannot accept connections");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// A place among the connections of which is not yet known what they speak.
struct OpeningSlot(Arc<AtomicUsize>);

impl OpeningSlot {
    fn take(opening: &Arc<AtomicUsize>, max: usize) -> Option<OpeningSlot> {
        if opening.fetch_add(1, Ordering::Relaxed) >= max {
            opening.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(OpeningSlot(opening.clone()))
    }
}

impl Drop for OpeningSlot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn start<D: StreamDoor>(
    stream: TcpStream,
    peer: SocketAddr,
    door: D,
    options: StreamOptions,
    slot: OpeningSlot,
    workers: &Workers,
) {
    // The socket moves to the runtime of its own thread.
    let Ok(stream) = stream.into_std() else { return };
    workers.spawn(move || async move {
        let Ok(stream) = TcpStream::from_std(stream) else { return };
        let _ = stream.set_nodelay(true);
        // Boxed, so that what a handshake needs is not kept by every connection for its whole life.
        let opened = Box::pin(tokio::time::timeout(options.opening, open(stream, peer, options.tls.as_deref()))).await;
        drop(slot);
        match opened {
            Ok(Ok((stream, client))) => door.serve(stream, client).await,
            Ok(Err(error)) => tracing::debug!(%peer, %error, "connection closed"),
            Err(_) => tracing::debug!(%peer, "connection closed: it does not say what it speaks"),
        }
    });
}

/// Why a connection is not served.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error(transparent)]
    Sniff(#[from] SniffError),
    #[error("TLS is not offered on this port")]
    NoTls,
    #[error("TLS handshake failed: {0}")]
    Handshake(std::io::Error),
    #[error("only HTTP/2 is spoken on this port, not {0:?}")]
    NotHttp2(Speech),
}

async fn open(stream: TcpStream, peer: SocketAddr, tls: Option<&Tls>) -> Result<(Stream, SocketAddr), OpenError> {
    let Sniffed { speech, stream, client } = sniff(stream).await?;
    let client = client.unwrap_or(peer);
    match speech {
        Speech::Http2 => Ok((Stream::Plain(stream), client)),
        Speech::Tls => {
            let acceptor = tls.ok_or(OpenError::NoTls)?.acceptor();
            let inner = acceptor.accept(stream).await.map_err(OpenError::Handshake)?;
            let Sniffed { speech, stream, .. } = sniff(inner).await?;
            match speech {
                Speech::Http2 => Ok((Stream::Tls(Box::new(stream)), client)),
                other => Err(OpenError::NotHttp2(other)),
            }
        }
        other => Err(OpenError::NotHttp2(other)),
    }
}

macro_rules! forward {
    ($stream:expr, $method:ident($($argument:expr),*)) => {
        match $stream {
            Stream::Plain(stream) => Pin::new(stream).$method($($argument),*),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).$method($($argument),*),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        forward!(self.get_mut(), poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        forward!(self.get_mut(), poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        forward!(self.get_mut(), poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        forward!(self.get_mut(), poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        forward!(self.get_mut(), poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
