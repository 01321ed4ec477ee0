//! A connection that sends any bytes and reads frames, one after another.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use protocol::codes::{RequestCode, ResponseCode};
use protocol::frame::{self, Codec};
use protocol::header::{FieldSpans, Header};
use protocol::writer::{Expect, FrameWriter};

/// Time after which something that was expected will not come any more.
const PATIENCE: Duration = Duration::from_secs(20);

/// One frame from the broker: an answer, or a request of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Response or request code.
    pub code: i32,
    /// Number that pairs an answer with its request.
    pub opaque: i32,
    /// Whether it is an answer.
    pub is_answer: bool,
    /// Whether it is a request that wants no answer.
    pub oneway: bool,
    /// Free text.
    pub remark: Option<String>,
    /// Named fields.
    pub fields: BTreeMap<String, String>,
    /// Body.
    pub body: Vec<u8>,
    /// Codec of the header.
    pub codec: Codec,
}

impl Message {
    /// Reads a frame that lies in `bytes` as a whole.
    pub fn of(bytes: &[u8]) -> Message {
        let frame = frame::split(bytes).unwrap().expect("a whole frame");
        let codec = Codec::from_number(frame.codec_number).unwrap();
        let mut spans = FieldSpans::default();
        let header = Header::decode(codec, frame.header, &mut spans).unwrap();
        Message {
            code: header.code,
            opaque: header.opaque,
            is_answer: header.is_response(),
            oneway: header.is_oneway(),
            remark: header.remark.map(|text| text.resolve().into_owned()),
            fields: header
                .fields
                .iter()
                .map(|(name, value)| (name.resolve().into_owned(), value.resolve().into_owned()))
                .collect(),
            body: frame.body.to_vec(),
            codec,
        }
    }

    /// The response code.
    pub fn response_code(&self) -> ResponseCode {
        ResponseCode(self.code)
    }

    /// A field that is a number.
    #[track_caller]
    pub fn number(&self, name: &str) -> i64 {
        let text = self.fields.get(name).unwrap_or_else(|| panic!("no field `{name}` in {self:?}"));
        text.parse().unwrap_or_else(|_| panic!("field `{name}` is `{text}`"))
    }
}

/// A connection to a broker.
pub struct Wire {
    stream: TcpStream,
    bytes: Vec<u8>,
    /// What was read while something else was waited for.
    kept: Vec<Message>,
    next_opaque: i32,
}

impl Wire {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Wire {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Wire { stream, bytes: Vec::new(), kept: Vec::new(), next_opaque: 500_000_000 }
    }

    /// Address of this side.
    pub fn address(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    /// Sends bytes as they are. A broker that hangs up in the middle is no failure here.
    pub fn send(&mut self, bytes: &[u8]) {
        if let Err(error) = self.stream.write_all(bytes) {
            assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
        }
    }

    /// Says that nothing more will be sent.
    pub fn finish_sending(&mut self) {
        // The broker may have hung up before.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Sends a request and returns its number.
    pub fn request(&mut self, code: RequestCode, fields: &[(&str, &str)], body: &[u8]) -> i32 {
        self.request_as(code, Expect::Answer, fields, body)
    }

    /// Sends a request that may be oneway, and returns its number.
    pub fn request_as(&mut self, code: RequestCode, expect: Expect, fields: &[(&str, &str)], body: &[u8]) -> i32 {
        self.next_opaque += 1;
        let mut bytes = Vec::new();
        let frame = FrameWriter::request(&mut bytes, Codec::Json, code, self.next_opaque, expect);
        fields.iter().fold(frame, |frame, (name, value)| frame.text(name, value)).finish(body);
        self.send(&bytes);
        self.next_opaque
    }

    /// Sends a request and waits for its answer.
    #[track_caller]
    pub fn call(&mut self, code: RequestCode, fields: &[(&str, &str)], body: &[u8]) -> Message {
        let opaque = self.request(code, fields, body);
        self.answer(opaque)
    }

    /// Waits for the answer to the request of that number.
    #[track_caller]
    pub fn answer(&mut self, opaque: i32) -> Message {
        self.wait_for(|message| message.is_answer && message.opaque == opaque)
            .unwrap_or_else(|| panic!("connection closed before the answer to request {opaque}"))
    }

    /// Waits for a request of the broker with that code.
    #[track_caller]
    pub fn pushed(&mut self, code: RequestCode) -> Message {
        self.wait_for(|message| !message.is_answer && message.code == code.0)
            .unwrap_or_else(|| panic!("connection closed before a request {code}"))
    }

    /// Answers a request of the broker.
    pub fn reply(&mut self, question: &Message, code: ResponseCode, remark: Option<&str>, body: &[u8]) {
        let mut bytes = Vec::new();
        FrameWriter::response(&mut bytes, Codec::Json, code, question.opaque, remark).finish(body);
        self.send(&bytes);
    }

    /// Everything that came and was not waited for, once the broker has served all that was sent before.
    #[track_caller]
    pub fn unclaimed(&mut self) -> Vec<Message> {
        self.settle();
        std::mem::take(&mut self.kept)
    }

    /// Returns when the broker has served all that was sent before.
    #[track_caller]
    pub fn settle(&mut self) {
        self.call(RequestCode::GET_MIN_OFFSET, &[("topic", "t"), ("queueId", "0")], b"");
    }

    /// Waits until the broker closes the connection; what comes before is thrown away.
    #[track_caller]
    pub fn closed(&mut self) {
        while let Some(message) = self.read() {
            drop(message);
        }
    }

    fn wait_for(&mut self, wanted: impl Fn(&Message) -> bool) -> Option<Message> {
        if let Some(at) = self.kept.iter().position(&wanted) {
            return Some(self.kept.remove(at));
        }
        loop {
            let message = self.read()?;
            if wanted(&message) {
                return Some(message);
            }
            self.kept.push(message);
        }
    }

    /// The next frame; `None` when the broker has closed the connection.
    fn read(&mut self) -> Option<Message> {
        let mut room = vec![0; 64 * 1024];
        loop {
            if let Some(frame) = frame::split(&self.bytes).unwrap() {
                let size = frame.size;
                let message = Message::of(&self.bytes[..size]);
                self.bytes.drain(..size);
                return Some(message);
            }
            match self.stream.read(&mut room) {
                Ok(0) => return None,
                Ok(count) => self.bytes.extend_from_slice(&room[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing came from the broker: {error}"),
            }
        }
    }
}
