//! What arrives over a channel: answers to calls, and requests of the other side.

use protocol::codes::{RequestCode, ResponseCode};
use protocol::frame::Codec;
use protocol::header::{FieldSpans, Fields, Header};
use protocol::typed::{FieldError, TypedHeader};

/// A header kept for reading after the receive buffer has gone on.
#[derive(Clone, Debug)]
struct OwnedHeader {
    codec: Codec,
    bytes: Box<[u8]>,
}

impl OwnedHeader {
    fn read<T>(&self, take: impl for<'a> FnOnce(&Fields<'a>) -> Result<T, FieldError>) -> Result<T, FieldError> {
        let mut spans = FieldSpans::default();
        let header = Header::decode(self.codec, &self.bytes, &mut spans);
        // These bytes were read once before an answer was made of them.
        let header = header.map_err(|_| FieldError::Missing("header"))?;
        take(&header.fields)
    }

    fn field(&self, name: &str) -> Option<String> {
        self.read(|fields| Ok(fields.get(name).map(|text| text.resolve().into_owned()))).ok().flatten()
    }
}

/// Answer to a call.
#[derive(Clone, Debug)]
pub struct Answer {
    /// How the request ended.
    pub code: ResponseCode,
    /// Free text, mostly about an error.
    pub remark: Option<String>,
    /// Body; an absent one is empty.
    pub body: Vec<u8>,
    header: OwnedHeader,
}

impl Answer {
    pub(super) fn new(codec: Codec, header: &Header<'_>, header_bytes: &[u8], body: &[u8]) -> Answer {
        Answer {
            code: ResponseCode(header.code),
            remark: header.remark.map(|text| text.resolve().into_owned()),
            body: body.to_vec(),
            header: OwnedHeader { codec, bytes: header_bytes.into() },
        }
    }

    /// Reads the named fields as a typed header that owns what it reads.
    pub fn header<T: for<'a> TypedHeader<'a>>(&self) -> Result<T, FieldError> {
        self.read(|fields| TypedHeader::decode(fields))
    }

    /// Reads the named fields; for typed headers that borrow from them.
    pub fn read<T>(&self, take: impl for<'a> FnOnce(&Fields<'a>) -> Result<T, FieldError>) -> Result<T, FieldError> {
        self.header.read(take)
    }

    /// One named field.
    pub fn field(&self, name: &str) -> Option<String> {
        self.header.field(name)
    }
}

/// A request that the other side sent on its own.
#[derive(Clone, Debug)]
pub struct Pushed {
    /// What it asks.
    pub code: RequestCode,
    /// Number for the answer.
    pub opaque: i32,
    /// Whether no answer is wanted.
    pub oneway: bool,
    /// Body; an absent one is empty.
    pub body: Vec<u8>,
    header: OwnedHeader,
}

impl Pushed {
    pub(super) fn new(codec: Codec, header: &Header<'_>, header_bytes: &[u8], body: &[u8]) -> Pushed {
        Pushed {
            code: RequestCode(header.code),
            opaque: header.opaque,
            oneway: header.is_oneway(),
            body: body.to_vec(),
            header: OwnedHeader { codec, bytes: header_bytes.into() },
        }
    }

    pub(super) fn codec(&self) -> Codec {
        self.header.codec
    }

    /// Reads the named fields.
    pub fn read<T>(&self, take: impl for<'a> FnOnce(&Fields<'a>) -> Result<T, FieldError>) -> Result<T, FieldError> {
        self.header.read(take)
    }

    /// One named field.
    pub fn field(&self, name: &str) -> Option<String> {
        self.header.field(name)
    }
}
