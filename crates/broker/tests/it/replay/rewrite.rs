//! A recorded request with what cannot repeat replaced: its number, positions, times.

use protocol::frame::{self, Codec};
use serde_json::Value;

/// A request taken apart far enough to be changed. Parts that nobody changes stay byte for byte what they were.
pub struct Request {
    codec: Codec,
    header: Header,
    body: Vec<u8>,
}

enum Header {
    Json(Value),
    /// Fixed parts up to the length of the remark, the remark, and the entries.
    Binary {
        fixed: [u8; 13],
        remark: Vec<u8>,
        fields: Vec<(String, String)>,
    },
}

/// Where the number of a request lies in a binary header.
const OPAQUE_AT: std::ops::Range<usize> = 5..9;

impl Request {
    /// Takes a frame apart.
    pub fn of(bytes: &[u8]) -> Request {
        let frame = frame::split(bytes).unwrap().expect("a whole frame");
        let codec = Codec::from_number(frame.codec_number).unwrap();
        let header = match codec {
            Codec::Json => Header::Json(serde_json::from_slice(frame.header).unwrap()),
            Codec::Binary => binary(frame.header),
        };
        Request { codec, header, body: frame.body.to_vec() }
    }

    /// Gives the request another number.
    pub fn set_opaque(&mut self, opaque: i32) {
        match &mut self.header {
            Header::Json(header) => header["opaque"] = opaque.into(),
            Header::Binary { fixed, .. } => fixed[OPAQUE_AT].copy_from_slice(&opaque.to_be_bytes()),
        }
    }

    /// Lets `change` give the field of that name another value, if the request has it.
    pub fn change(&mut self, name: &str, change: impl FnOnce(&str) -> String) {
        match &mut self.header {
            Header::Json(header) => {
                if let Some(Value::String(value)) = header["extFields"].get_mut(name) {
                    *value = change(value);
                }
            }
            Header::Binary { fields, .. } => {
                if let Some((_, value)) = fields.iter_mut().find(|(found, _)| found == name) {
                    *value = change(value);
                }
            }
        }
    }

    /// The frame.
    pub fn bytes(&self) -> Vec<u8> {
        let header = match &self.header {
            Header::Json(header) => serde_json::to_vec(header).unwrap(),
            Header::Binary { fixed, remark, fields } => {
                let mut out = fixed.to_vec();
                push_long(&mut out, remark);
                let mut entries = Vec::new();
                for (name, value) in fields {
                    entries.extend_from_slice(&(name.len() as u16).to_be_bytes());
                    entries.extend_from_slice(name.as_bytes());
                    push_long(&mut entries, value.as_bytes());
                }
                push_long(&mut out, &entries);
                out
            }
        };
        let total = (4 + header.len() + self.body.len()) as u32;
        let word = u32::from(self.codec.number()) << 24 | header.len() as u32;
        [&total.to_be_bytes()[..], &word.to_be_bytes(), &header, &self.body].concat()
    }
}

fn push_long(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn binary(header: &[u8]) -> Header {
    let (fixed, mut rest) = header.split_first_chunk().unwrap();
    let remark = take_long(&mut rest).to_vec();
    let mut entries = take_long(&mut rest);
    let mut fields = Vec::new();
    while !entries.is_empty() {
        let (length, after) = entries.split_first_chunk().unwrap();
        let (name, after) = after.split_at(u16::from_be_bytes(*length).into());
        entries = after;
        let value = take_long(&mut entries);
        fields.push((String::from_utf8(name.to_vec()).unwrap(), String::from_utf8(value.to_vec()).unwrap()));
    }
    Header::Binary { fixed: *fixed, remark, fields }
}

fn take_long<'b>(bytes: &mut &'b [u8]) -> &'b [u8] {
    let (length, after) = bytes.split_first_chunk().unwrap();
    let (taken, rest) = after.split_at(u32::from_be_bytes(*length) as usize);
    *bytes = rest;
    taken
}

#[test]
fn a_request_that_nothing_was_changed_in_is_the_same() {
    for name in ["java-binary-header", "go-simple"] {
        for line in crate::recording::lines(name) {
            let (again, before) = (Request::of(&line.bytes).bytes(), &line.bytes);
            assert_eq!(crate::wire::Message::of(&again), crate::wire::Message::of(before), "{name}:{}", line.number);
            assert!(name == "go-simple" || line.bytes[4] == 0 || again == *before, "{name}:{}", line.number);
        }
    }
}
