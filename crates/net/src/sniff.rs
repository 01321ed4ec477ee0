//! What a connection speaks, told by its first bytes.
//!
//! TLS begins with 16, HTTP/2 with `PRI`, a remoting frame with 00 or 01. A PROXY header (version 1 or 2) may come
//! before any of them; it names the address of the real client. What was read to find out is put in front again.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// Longest header of PROXY version 1, by its specification.
const PROXY_V1_BYTES_MAX: usize = 107;
/// Most bytes of addresses and additions in a header of PROXY version 2.
const PROXY_V2_BYTES_MAX: usize = 2048;
const PROXY_V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// TLS; what is inside shows later.
    Tls,
    /// HTTP/2 in clear text.
    Http2,
    /// Frames of the remoting protocol.
    Remoting,
}

/// Why it cannot be told what a connection speaks.
#[derive(Debug, thiserror::Error)]
pub enum SniffError {
    /// It ended before.
    #[error("the connection ended after {0} bytes")]
    Ended(usize),
    /// Neither of what is known.
    #[error("the connection begins with byte {0:#04x}, which is neither TLS nor HTTP/2 nor a frame")]
    Unknown(u8),
    /// A PROXY header that cannot be read.
    #[error("the PROXY header cannot be read: {0}")]
    Proxy(&'static str),
    /// The network failed.
    #[error("the connection cannot be read")]
    Network(#[from] std::io::Error),
}

/// A connection whose first bytes were looked at.
#[derive(Debug)]
pub struct Sniffed<S> {
    /// What it speaks.
    pub speech: Speech,
    /// The connection, from its first byte on; without the PROXY header.
    pub stream: Prefixed<S>,
    /// Address of the client, if a PROXY header names it.
    pub client: Option<SocketAddr>,
}

/// Reads until it is known what the connection speaks.
pub async fn sniff<S: AsyncRead + Unpin>(mut stream: S) -> Result<Sniffed<S>, SniffError> {
    let mut read = Vec::new();
    let mut proxied = None;
    loop {
        match decide(&read, proxied.is_some())? {
            Decision::More => {
                let mut chunk = [0; 256];
                match stream.read(&mut chunk).await? {
                    0 => return Err(SniffError::Ended(read.len())),
                    count => read.extend_from_slice(&chunk[..count]),
                }
            }
            Decision::Proxy { size, client } => {
                read.drain(..size);
                proxied = Some(client);
            }
            Decision::Is(speech) => {
                let stream = Prefixed { prefix: read, given: 0, stream };
                return Ok(Sniffed { speech, stream, client: proxied.flatten() });
            }
        }
    }
}

/// What the bytes read so far say.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    /// More of them are needed.
    More,
    /// They begin with a PROXY header of that size, which may name the client.
    Proxy {
        size: usize,
        client: Option<SocketAddr>,
    },
    Is(Speech),
}

fn decide(read: &[u8], after_proxy: bool) -> Result<Decision, SniffError> {
    let Some(first) = read.first() else { return Ok(Decision::More) };
    match first {
        0x16 => Ok(Decision::Is(Speech::Tls)),
        0 | 1 => Ok(Decision::Is(Speech::Remoting)),
        b'P' if b"PRI".starts_with(&read[..read.len().min(3)]) => {
            Ok(if read.len() < 3 { Decision::More } else { Decision::Is(Speech::Http2) })
        }
        b'P' if !after_proxy => proxy_v1(read),
        b'\r' if !after_proxy => proxy_v2(read),
        other => Err(SniffError::Unknown(*other)),
    }
}

fn proxy_v1(read: &[u8]) -> Result<Decision, SniffError> {
    let begin = b"PROXY ";
    if !begin.starts_with(&read[..read.len().min(begin.len())]) {
        return Err(SniffError::Unknown(read[0]));
    }
    let Some(end) = read.windows(2).position(|pair| pair == b"\r\n") else {
        if read.len() >= PROXY_V1_BYTES_MAX {
            return Err(SniffError::Proxy("version 1 without an end"));
        }
        return Ok(Decision::More);
    };
    let line = std::str::from_utf8(&read[..end]).map_err(|_| SniffError::Proxy("version 1 that is no text"))?;
    let words: Vec<&str> = line.split(' ').collect();
    let client = match words[..] {
        ["PROXY", "UNKNOWN", ..] => None,
        ["PROXY", "TCP4" | "TCP6", source, _, port, _] => {
            let (Ok(ip), Ok(port)) = (source.parse::<IpAddr>(), port.parse::<u16>()) else {
                return Err(SniffError::Proxy("version 1 with an address that is none"));
            };
            Some(SocketAddr::new(ip, port))
        }
        _ => return Err(SniffError::Proxy("version 1 with other words than it has")),
    };
    Ok(Decision::Proxy { size: end + 2, client })
}

fn proxy_v2(read: &[u8]) -> Result<Decision, SniffError> {
    let signature = &read[..read.len().min(PROXY_V2_SIGNATURE.len())];
    if !PROXY_V2_SIGNATURE.starts_with(signature) {
        return Err(SniffError::Unknown(read[0]));
    }
    let Some(([version_and_command, family, high, low], rest)) =
        read.get(PROXY_V2_SIGNATURE.len()..).and_then(|rest| rest.split_first_chunk::<4>())
    else {
        return Ok(Decision::More);
    };
    if version_and_command >> 4 != 2 {
        return Err(SniffError::Proxy("neither version 1 nor 2"));
    }
    let size = usize::from(u16::from_be_bytes([*high, *low]));
    if size > PROXY_V2_BYTES_MAX {
        return Err(SniffError::Proxy("version 2 that is too long"));
    }
    let Some(said) = rest.get(..size) else { return Ok(Decision::More) };
    // A balancer that checks whether we are alive speaks for itself (LOCAL).
    let is_proxied = version_and_command & 0xF == 1;
    let client = if is_proxied { v2_client(*family, said) } else { None };
    Ok(Decision::Proxy { size: PROXY_V2_SIGNATURE.len() + 4 + size, client })
}

/// The source address of TCP over IPv4 (11) or IPv6 (21); source and destination come first, then their ports.
fn v2_client(family: u8, said: &[u8]) -> Option<SocketAddr> {
    let port = |at: usize| Some(u16::from_be_bytes(said.get(at..at + 2)?.try_into().ok()?));
    match family {
        0x11 => {
            let ip: [u8; 4] = said.get(..4)?.try_into().ok()?;
            Some(SocketAddr::new(Ipv4Addr::from(ip).into(), port(8)?))
        }
        0x21 => {
            let ip: [u8; 16] = said.get(..16)?.try_into().ok()?;
            Some(SocketAddr::new(Ipv6Addr::from(ip).into(), port(32)?))
        }
        _ => None,
    }
}

/// A stream with bytes in front that were read from it before.
#[derive(Debug)]
pub struct Prefixed<S> {
    prefix: Vec<u8>,
    given: usize,
    stream: S,
}

impl<S> Prefixed<S> {
    /// The stream below.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefixed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let left = self.prefix.len() - self.given;
        if left == 0 {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let count = left.min(buf.remaining());
        buf.put_slice(&self.prefix[self.given..self.given + count]);
        self.given += count;
        if self.given == self.prefix.len() {
            (self.prefix, self.given) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefixed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sniffs bytes that arrive one by one; returns what was found and what can be read after it.
    fn check(bytes: &[u8]) -> Result<(Speech, Option<SocketAddr>, Vec<u8>), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (mut sender, receiver) = tokio::io::duplex(1);
            let bytes = bytes.to_vec();
            let send = async move {
                let _ = tokio::io::AsyncWriteExt::write_all(&mut sender, &bytes).await;
            };
            let look = async {
                let mut sniffed = sniff(receiver).await.map_err(|error| error.to_string())?;
                let mut rest = Vec::new();
                sniffed.stream.read_to_end(&mut rest).await.unwrap();
                Ok((sniffed.speech, sniffed.client, rest))
            };
            tokio::join!(send, look).1
        })
    }

    #[test]
    fn first_bytes_tell_what_follows_and_are_not_lost() {
        for (bytes, speech) in [
            (&b"\x16\x03\x01rest"[..], Speech::Tls),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Speech::Http2),
            (b"\0\0\0\x05frame", Speech::Remoting),
        ] {
            assert_eq!(check(bytes), Ok((speech, None, bytes.to_vec())));
        }
    }

    #[test]
    fn a_proxy_header_names_the_client_and_is_taken_away() {
        let client: SocketAddr = "203.0.113.7:5555".parse().unwrap();
        let one = b"PROXY TCP4 203.0.113.7 10.0.0.1 5555 8081\r\nPRI * HTTP/2.0";
        assert_eq!(check(one), Ok((Speech::Http2, Some(client), b"PRI * HTTP/2.0".to_vec())));
        let mut two = PROXY_V2_SIGNATURE.to_vec();
        two.extend_from_slice(&[0x21, 0x11, 0, 15, 203, 0, 113, 7, 10, 0, 0, 1, 0x15, 0xB3, 0x1F, 0x91, 4, 0, 0]);
        two.extend_from_slice(b"\x16\x03");
        assert_eq!(check(&two), Ok((Speech::Tls, Some(client), b"\x16\x03".to_vec())));
        let mut six = PROXY_V2_SIGNATURE.to_vec();
        six.extend_from_slice(&[0x21, 0x21, 0, 36]);
        six.extend_from_slice(&Ipv6Addr::LOCALHOST.octets());
        six.extend_from_slice(&Ipv6Addr::LOCALHOST.octets());
        six.extend_from_slice(&[0, 9, 0, 10, b'P', b'R', b'I']);
        assert_eq!(check(&six).unwrap().1, Some("[::1]:9".parse().unwrap()));
        assert_eq!(check(b"PROXY UNKNOWN\r\nPRI").unwrap().1, None);
    }

    #[test]
    fn anything_else_is_refused() {
        assert!(check(b"GET / HTTP/1.1\r\n\r\n").unwrap_err().contains("0x47"));
        assert!(check(b"POST /").unwrap_err().contains("0x50"));
        assert!(check(b"PROXY TCP4 nowhere x 1 2\r\nPRI").unwrap_err().contains("an address that is none"));
        assert!(check(&[b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat()).unwrap_err().contains("without an end"));
        assert!(check(b"PROXY UNKNOWN\r\nPROXY UNKNOWN\r\nPRI").unwrap_err().contains("0x50"));
        assert!(check(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff").unwrap_err().contains("too long"));
        assert!(check(b"\r\nhello").unwrap_err().contains("0x0d"));
        assert_eq!(check(b"PR"), Err("the connection ended after 2 bytes".into()));
    }
}
