//! One connection to the broker: requests are collected and written together, answers come in any order.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use protocol::codes::{RequestCode, ResponseCode};
use protocol::frame::{self, Codec};
use protocol::header::{FieldSpans, Header};
use protocol::typed::TypedHeader;
use protocol::writer::{Expect, FrameWriter};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// An answer, as it lies in the buffer of what was read.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// Number of the request.
    pub opaque: i32,
    /// What became of it.
    pub code: ResponseCode,
    /// The rest.
    pub header: Header<'a>,
    /// Body.
    pub body: &'a [u8],
}

impl<'a> Answer<'a> {
    /// A field that is a number.
    pub fn number(&self, name: &str) -> io::Result<i64> {
        let found = self.header.fields.get(name).and_then(|text| text.integer());
        found.ok_or_else(|| io::Error::other(format!("an answer has no number `{name}`")))
    }

    /// A field.
    pub fn text(&self, name: &str) -> String {
        self.header.fields.get(name).map(|text| text.resolve().into_owned()).unwrap_or_default()
    }

    /// What the broker says about a refusal.
    pub fn remark(&self) -> String {
        self.header.remark.map(|remark| remark.resolve().into_owned()).unwrap_or_default()
    }
}

/// A connection.
pub struct Wire {
    stream: TcpStream,
    unsent: Vec<u8>,
    received: Vec<u8>,
    /// Bytes of `received` that were handed out.
    used: usize,
    spans: FieldSpans,
    opaque: i32,
}

impl Wire {
    /// Connects.
    pub fn connect(address: SocketAddr) -> io::Result<Wire> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let spans = FieldSpans::default();
        Ok(Wire { stream, unsent: Vec::new(), received: Vec::new(), used: 0, spans, opaque: 0 })
    }

    /// Adds a request to those that the next [`Wire::flush`] writes; returns its number.
    pub fn push<'h>(&mut self, code: RequestCode, header: &impl TypedHeader<'h>, body: &[u8]) -> i32 {
        self.opaque += 1;
        // Both codecs come to the broker, on each connection.
        let codec = if self.opaque % 2 == 0 { Codec::Binary } else { Codec::Json };
        let frame = FrameWriter::request(&mut self.unsent, codec, code, self.opaque, Expect::Answer);
        header.encode(frame).finish(body);
        self.opaque
    }

    /// Writes the requests that were pushed.
    pub fn flush(&mut self) -> io::Result<()> {
        let written = self.stream.write_all(&self.unsent);
        self.unsent.clear();
        written
    }

    /// The next answer, whichever request it belongs to. Fails when the connection is over.
    pub fn answer(&mut self) -> io::Result<Answer<'_>> {
        self.received.drain(..self.used);
        self.used = 0;
        while frame::split(&self.received).map_err(io::Error::other)?.is_none() {
            let mut room = [0; 64 << 10];
            match self.stream.read(&mut room)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.received.extend_from_slice(&room[..count]),
            }
        }
        let frame = frame::split(&self.received).map_err(io::Error::other)?;
        let frame = frame.ok_or_else(|| io::Error::other("a frame that was whole is not"))?;
        self.used = frame.size;
        let codec = Codec::from_number(frame.codec_number).ok_or_else(|| io::Error::other("an unknown codec"))?;
        let header = Header::decode(codec, frame.header, &mut self.spans).map_err(io::Error::other)?;
        let (opaque, code) = (header.opaque, ResponseCode(header.code));
        Ok(Answer { opaque, code, header, body: frame.body })
    }

    /// Sends one request and waits for its answer. No other may be under way.
    pub fn ask<'h>(&mut self, code: RequestCode, header: &impl TypedHeader<'h>, body: &[u8]) -> io::Result<Answer<'_>> {
        let opaque = self.push(code, header, body);
        self.flush()?;
        let answer = self.answer()?;
        if answer.opaque != opaque {
            return Err(io::Error::other(format!("request {opaque} was answered as {}", answer.opaque)));
        }
        Ok(answer)
    }
}
