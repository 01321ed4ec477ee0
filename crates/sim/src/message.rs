//! Frames as clients of the simulation read them, and bodies that tell what they should be.

use std::collections::BTreeMap;

use protocol::codes::ResponseCode;
use protocol::frame::{self, Codec, Frame};
use protocol::header::{FieldSpans, Header};

/// One frame from a server: an answer, or a request of its own.
#[derive(Clone, Debug)]
pub struct Message {
    /// Response or request code.
    pub code: i32,
    /// Pairs an answer with its request.
    pub opaque: i32,
    /// Whether it is an answer.
    pub is_answer: bool,
    /// Free text.
    pub remark: String,
    /// Named fields.
    pub fields: BTreeMap<String, String>,
    /// Body.
    pub body: Vec<u8>,
}

impl Message {
    /// Reads a frame; `None` if it cannot be read, which no server may send.
    pub fn read(frame: &Frame<'_>) -> Option<Message> {
        let codec = Codec::from_number(frame.codec_number)?;
        let mut spans = FieldSpans::default();
        let header = Header::decode(codec, frame.header, &mut spans).ok()?;
        Some(Message {
            code: header.code,
            opaque: header.opaque,
            is_answer: header.is_response(),
            remark: header.remark.map(|text| text.resolve().into_owned()).unwrap_or_default(),
            fields: header
                .fields
                .iter()
                .map(|(name, value)| (name.resolve().into_owned(), value.resolve().into_owned()))
                .collect(),
            body: frame.body.to_vec(),
        })
    }

    /// Whether the server did as it was asked.
    pub fn is_success(&self) -> bool {
        self.code == ResponseCode::SUCCESS.0
    }

    /// A field that is a number.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.fields.get(name)?.parse().ok()
    }
}

/// Takes the whole frames off the front of `bytes`; `None` when they are no frames.
pub fn take_frames(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut end = 0;
    loop {
        match frame::split(&bytes[end..]) {
            Ok(Some(frame)) => end += frame.size,
            Ok(None) => break,
            Err(_) => return None,
        }
    }
    let rest = bytes.split_off(end);
    Some(std::mem::replace(bytes, rest))
}

/// The frames that lie in `bytes`.
pub fn frames(mut bytes: &[u8]) -> impl Iterator<Item = Frame<'_>> {
    std::iter::from_fn(move || {
        let frame = frame::split(bytes).ok()??;
        bytes = &bytes[frame.size..];
        Some(frame)
    })
}

/// The body of a message: its number, and as many bytes that follow from it.
pub fn body(id: u64, filler: usize) -> Vec<u8> {
    let mut body = format!("{id:016x}").into_bytes();
    body.extend((0..filler).map(|at| (id as usize).wrapping_mul(31).wrapping_add(at) as u8));
    body
}

/// The number of a message with that body; `None` if nobody can have sent it.
pub fn id_of(found: &[u8]) -> Option<u64> {
    let id = found.get(..16)?;
    let id = u64::from_str_radix(std::str::from_utf8(id).ok()?, 16).ok()?;
    (body(id, found.len() - 16) == found).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_tells_its_number_and_whether_it_is_whole() {
        let whole = body(0xAB12, 40);
        assert_eq!(id_of(&whole), Some(0xAB12));
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert_ne!(id_of(&damaged), Some(0xAB12), "{at}");
        }
    }
}
