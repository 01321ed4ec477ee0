//! Recorded traffic of the Java broker, from `crates/protocol/golden/remoting`. Its README explains the keys.

use serde_json::Value;

use crate::wire::Message;

/// One line of a recording.
#[derive(Clone, Debug)]
pub struct Line {
    /// Number of the line.
    pub number: u64,
    /// Milliseconds since the first line, where they are known.
    pub at_ms: Option<i64>,
    /// Name of the connection.
    pub connection: String,
    /// Port that the connection goes to.
    pub peer: Peer,
    /// Whether the side that connected sent it.
    pub from_client: bool,
    /// What it is.
    pub kind: Kind,
    /// Bytes of the frame; without its body when [`Line::lost_body`] says so.
    pub bytes: Vec<u8>,
    /// Bytes of a body that was left out of the recording.
    pub lost_body: Option<usize>,
}

/// Port of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The nameserver's.
    Nameserver,
    /// The broker's main port.
    Broker,
    /// The broker's fast port.
    FastBroker,
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request with this code.
    Request {
        /// Request code.
        code: i32,
        /// Whether no answer is wanted.
        oneway: bool,
        /// Number of the request.
        opaque: i64,
    },
    /// An answer.
    Answer {
        /// Response code.
        code: i32,
        /// Number of the request.
        opaque: i64,
    },
    /// The connection was closed.
    Close,
    /// Bytes that are no readable frame.
    Garbage,
}

/// All lines of a recording.
pub fn lines(name: &str) -> Vec<Line> {
    let path = format!("{}/../protocol/golden/remoting/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let (mut lines, late): (Vec<Line>, Vec<Line>) =
        text.lines().map(|line| line_of(&serde_json::from_str(line).unwrap())).partition(|line| line.at_ms.is_some());
    // Bytes that nobody could read have no time. They came before their connection was closed.
    for line in late {
        let same = |other: &Line| other.connection == line.connection && other.kind == Kind::Close;
        let at = lines.iter().position(same).unwrap_or(lines.len());
        lines.insert(at, line);
    }
    lines
}

fn line_of(line: &Value) -> Line {
    let peer = match line["peer"].as_str().unwrap() {
        "namesrv" => Peer::Nameserver,
        "broker" => Peer::Broker,
        "broker-fast" => Peer::FastBroker,
        other => panic!("peer {other}"),
    };
    let bytes = line["hex"].as_str().map(from_hex).unwrap_or_default();
    let lost = line["hex_truncated"] == true;
    Line {
        number: line["n"].as_u64().unwrap(),
        at_ms: line["t_ms"].as_f64().map(|ms| ms as i64),
        connection: line["conn"].as_str().unwrap().to_owned(),
        peer,
        from_client: line["dir"] == "c2s",
        kind: kind_of(line),
        bytes,
        lost_body: lost.then(|| line["body_len"].as_u64().unwrap_or(0) as usize),
    }
}

fn kind_of(line: &Value) -> Kind {
    match line["event"].as_str() {
        Some(event) if event.starts_with("close") => return Kind::Close,
        Some(_) => return Kind::Garbage,
        None => {}
    }
    let (Some(code), Some(opaque)) = (line["code"].as_i64(), line["opaque"].as_i64()) else { return Kind::Garbage };
    if !line["error"].is_null() {
        return Kind::Garbage;
    }
    let code = code as i32;
    match line["reply"] == true {
        true => Kind::Answer { code, opaque },
        false => Kind::Request { code, oneway: line["oneway"] == true, opaque },
    }
}

fn from_hex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
    text.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

impl Line {
    /// The whole frame; a body that was left out is filled with the letter that it consisted of.
    pub fn frame(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes.resize(bytes.len() + self.lost_body.unwrap_or(0), b'x');
        bytes
    }

    /// The frame, read.
    pub fn message(&self) -> Message {
        Message::of(&self.frame())
    }
}
