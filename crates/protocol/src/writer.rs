//! Writing frames straight into an outbound buffer.
//!
//! ```
//! use protocol::{codes::ResponseCode, frame::Codec, writer::FrameWriter};
//! let mut out = Vec::new();
//! FrameWriter::response(&mut out, Codec::Json, ResponseCode::SUCCESS, 7, None).text("msgId", "A1").finish(b"");
//! assert!(protocol::frame::split(&out).unwrap().is_some());
//! ```

use crate::codes::{Language, RequestCode, ResponseCode};
use crate::frame::Codec;
use crate::header::{FLAG_ONEWAY, FLAG_RESPONSE};
use crate::json_text;

/// Version ordinal that we say we are (`MQVersion`, 5.3.4): it keeps every version gate of clients open and fits
/// the signed 16 bits that the Go client reads it into.
pub const OWN_VERSION: i32 = 481;

/// Language that servers say they are written in. fastjson may refuse a name that its enum lacks, and `JAVA` is
/// the only one that every client ever released knows.
const SERVER_LANGUAGE: Language = Language::JAVA;

/// Whether a request waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The sender waits.
    Answer,
    /// The sender does not wait.
    Nothing,
}

/// A frame under way: fixed parts are written, fields follow, [`FrameWriter::finish`] closes it.
#[must_use = "a frame is whole only after finish"]
pub struct FrameWriter<'o> {
    out: &'o mut Vec<u8>,
    codec: Codec,
    start: usize,
    /// Binary: where the length of all entries lies. JSON: unused.
    entries_at: usize,
    fields: usize,
}

/// The code of an answer that [`FrameWriter`] has written, without decoding it: for those who count answers.
pub fn code_of_written(frame: &[u8], codec: Codec) -> Option<ResponseCode> {
    let header = frame.get(8..)?;
    match codec {
        Codec::Json => {
            let digits = header.strip_prefix(CODE_FIRST)?;
            let end = digits.iter().position(|byte| *byte == b',')?;
            std::str::from_utf8(&digits[..end]).ok()?.parse().ok().map(ResponseCode)
        }
        Codec::Binary => header.first_chunk().map(|code| ResponseCode(i16::from_be_bytes(*code).into())),
    }
}

/// What a JSON header of ours begins with.
const CODE_FIRST: &[u8] = b"{\"code\":";

impl<'o> FrameWriter<'o> {
    /// Begins an answer.
    pub fn response(
        out: &'o mut Vec<u8>,
        codec: Codec,
        code: ResponseCode,
        opaque: i32,
        remark: Option<&str>,
    ) -> FrameWriter<'o> {
        Self::begin(out, codec, code.0, SERVER_LANGUAGE, OWN_VERSION, opaque, FLAG_RESPONSE, remark)
    }

    /// Begins a request.
    pub fn request(
        out: &'o mut Vec<u8>,
        codec: Codec,
        code: RequestCode,
        opaque: i32,
        expect: Expect,
    ) -> FrameWriter<'o> {
        let flag = if expect == Expect::Nothing { FLAG_ONEWAY } else { 0 };
        Self::begin(out, codec, code.0, SERVER_LANGUAGE, OWN_VERSION, opaque, flag, None)
    }

    /// Begins a frame whose fixed parts are all given.
    #[expect(clippy::too_many_arguments, reason = "these are the fixed parts of the header, one each")]
    pub fn begin(
        out: &'o mut Vec<u8>,
        codec: Codec,
        code: i32,
        language: Language,
        version: i32,
        opaque: i32,
        flag: i32,
        remark: Option<&str>,
    ) -> FrameWriter<'o> {
        let start = out.len();
        out.extend_from_slice(&[0; 8]);
        let mut entries_at = 0;
        match codec {
            Codec::Json => {
                out.extend_from_slice(CODE_FIRST);
                push_integer(out, code.into());
                out.extend_from_slice(b",\"flag\":");
                push_integer(out, flag.into());
                out.extend_from_slice(b",\"language\":\"");
                out.extend_from_slice(language.name().unwrap_or("OTHER").as_bytes());
                out.extend_from_slice(b"\",\"opaque\":");
                push_integer(out, opaque.into());
                if let Some(remark) = remark {
                    out.extend_from_slice(b",\"remark\":\"");
                    json_text::escape_into(out, remark);
                    out.push(b'"');
                }
                out.extend_from_slice(b",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":");
                push_integer(out, version.into());
            }
            Codec::Binary => {
                // Codes of this codec have 16 bits. Those of the POP family do not fit; clients that use them send
                // JSON, and all response codes fit.
                out.extend_from_slice(&(code as i16).to_be_bytes());
                out.push(language.0 as u8);
                out.extend_from_slice(&(version as i16).to_be_bytes());
                out.extend_from_slice(&opaque.to_be_bytes());
                out.extend_from_slice(&flag.to_be_bytes());
                let remark = remark.unwrap_or_default();
                out.extend_from_slice(&(remark.len() as i32).to_be_bytes());
                out.extend_from_slice(remark.as_bytes());
                entries_at = out.len();
                out.extend_from_slice(&[0; 4]);
            }
        }
        FrameWriter { out, codec, start, entries_at, fields: 0 }
    }

    /// Adds a text field.
    pub fn text(mut self, name: &str, value: &str) -> Self {
        let codec = self.codec;
        self.field(name, |out| match codec {
            Codec::Json => json_text::escape_into(out, value),
            Codec::Binary => out.extend_from_slice(value.as_bytes()),
        });
        self
    }

    /// Adds a field whose value is written by `value` and holds nothing that JSON would have to escape.
    pub fn plain(mut self, name: &str, value: impl FnOnce(&mut Vec<u8>)) -> Self {
        self.field(name, value);
        self
    }

    /// Adds a number; like every value it travels as text.
    pub fn integer(self, name: &str, value: impl Into<i64>) -> Self {
        let value = value.into();
        self.plain(name, |out| push_integer(out, value))
    }

    /// Adds an unsigned number.
    pub fn unsigned(self, name: &str, value: u64) -> Self {
        self.plain(name, |out| push_unsigned(out, value))
    }

    /// Adds `true` or `false`.
    pub fn boolean(self, name: &str, value: bool) -> Self {
        self.plain(name, |out| out.extend_from_slice(if value { b"true" } else { b"false" }))
    }

    fn field(&mut self, name: &str, value: impl FnOnce(&mut Vec<u8>)) {
        match self.codec {
            Codec::Json => {
                self.out.extend_from_slice(if self.fields == 0 { b",\"extFields\":{\"" } else { b",\"" });
                json_text::escape_into(self.out, name);
                self.out.extend_from_slice(b"\":\"");
                value(self.out);
                self.out.push(b'"');
            }
            Codec::Binary => {
                self.out.extend_from_slice(&(name.len() as i16).to_be_bytes());
                self.out.extend_from_slice(name.as_bytes());
                let length_at = self.out.len();
                self.out.extend_from_slice(&[0; 4]);
                value(self.out);
                let length = (self.out.len() - length_at - 4) as i32;
                self.out[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
            }
        }
        self.fields += 1;
    }

    /// Closes the frame with `body`.
    pub fn finish(self, body: &[u8]) {
        self.finish_with(|out| out.extend_from_slice(body));
    }

    /// Closes the frame with a body that `body` appends to the buffer.
    pub fn finish_with(self, body: impl FnOnce(&mut Vec<u8>)) {
        match self.codec {
            Codec::Json => self.out.extend_from_slice(if self.fields == 0 { b"}" } else { b"}}" }),
            Codec::Binary => {
                let length = (self.out.len() - self.entries_at - 4) as i32;
                self.out[self.entries_at..self.entries_at + 4].copy_from_slice(&length.to_be_bytes());
            }
        }
        let header = (self.out.len() - self.start - 8) as u32;
        debug_assert!(header < 1 << 24, "a header has 24 bits of length");
        body(self.out);
        let total = (self.out.len() - self.start - 4) as u32;
        let word = u32::from(self.codec.number()) << 24 | header;
        self.out[self.start..self.start + 4].copy_from_slice(&total.to_be_bytes());
        self.out[self.start + 4..self.start + 8].copy_from_slice(&word.to_be_bytes());
    }
}

/// Appends a number in decimal.
pub fn push_integer(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    push_unsigned(out, value.unsigned_abs());
}

/// Appends an unsigned number in decimal.
pub fn push_unsigned(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame;
    use crate::header::{FieldSpans, Header};

    fn check_round_trip(codec: Codec, remark: Option<&str>, fields: &[(String, String)], number: i64, body: &[u8]) {
        let mut out = vec![1, 2, 3];
        let mut writer = FrameWriter::response(&mut out, codec, ResponseCode::TOPIC_NOT_EXIST, -9, remark);
        for (name, value) in fields {
            writer = writer.text(name, value);
        }
        writer.integer("number", number).boolean("yes", true).finish(body);
        let frame = frame::split(&out[3..]).unwrap().unwrap();
        assert_eq!((frame.size, frame.body), (out.len() - 3, body));
        let mut spans = FieldSpans::default();
        let header = Header::decode(Codec::from_number(frame.codec_number).unwrap(), frame.header, &mut spans).unwrap();
        assert_eq!((header.code, header.opaque, header.flag, header.version), (17, -9, 1, OWN_VERSION));
        assert_eq!(header.language, Language::JAVA);
        assert_eq!(header.remark.map(|text| text.resolve().into_owned()).as_deref(), remark);
        let read =
            header.fields.iter().map(|(name, value)| (name.resolve().into_owned(), value.resolve().into_owned()));
        let mut expected = fields.to_vec();
        expected.push(("number".into(), number.to_string()));
        expected.push(("yes".into(), "true".into()));
        assert_eq!(read.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_code_of_an_answer_is_found_where_it_was_written() {
        for codec in [Codec::Json, Codec::Binary] {
            for code in [ResponseCode::SUCCESS, ResponseCode::PULL_OFFSET_MOVED, ResponseCode(-1)] {
                let mut out = Vec::new();
                FrameWriter::response(&mut out, codec, code, 7, Some("x")).finish(b"body");
                assert_eq!(code_of_written(&out, codec), Some(code));
            }
            assert_eq!((code_of_written(&[], codec), code_of_written(&[0; 9], codec)), (None, None));
        }
    }

    proptest! {
        #[test]
        fn frames_read_back_as_written(
            binary in any::<bool>(), remark in proptest::option::of(".{1,20}"),
            fields in proptest::collection::vec((".{1,10}", ".{1,30}"), 0..6),
            number in any::<i64>(), body in proptest::collection::vec(any::<u8>(), 0..50),
        ) {
            let codec = if binary { Codec::Binary } else { Codec::Json };
            check_round_trip(codec, remark.as_deref(), &fields, number, &body);
        }

        #[test]
        fn no_header_bytes_make_the_reader_panic(
            binary in any::<bool>(), bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let codec = if binary { Codec::Binary } else { Codec::Json };
            let _ = Header::decode(codec, &bytes, &mut FieldSpans::default());
        }

        #[test]
        fn no_json_like_text_makes_the_reader_panic(text in r#"[{}\[\]",:\\a-z0-9 ]{0,60}"#) {
            let _ = Header::decode(Codec::Json, text.as_bytes(), &mut FieldSpans::default());
        }
    }

    #[test]
    fn odd_headers_are_told_apart() {
        use crate::header::HeaderError::*;
        let read = |text: &str| {
            Header::decode(Codec::Json, text.as_bytes(), &mut FieldSpans::default()).map(|header| header.code)
        };
        assert_eq!(read(r#"{"code":"11","extFields":{"a":1,"b":true,"c":null},"language":"NOPE"}"#), Ok(11));
        assert_eq!(read(r#"{"code":11,"extFields":null,"remark":null,"more":[{"x":[1,2]}],}"#), Ok(11));
        assert_eq!(read("{}"), Err(Empty));
        assert_eq!(read("[]"), Err(Empty));
        assert_eq!(read(""), Err(Empty));
        assert!(matches!(read(r#"{"code":"x"}"#), Err(Malformed { .. })));
        assert!(matches!(read(r#"{"code":10"#), Err(Malformed { .. })));
        assert!(matches!(read(r#"{code:10}"#), Err(Malformed { .. })));
        assert!(matches!(read(&format!(r#"{{"x":{}"#, "[".repeat(100_000))), Err(TooDeep { .. })));
        let many: Vec<_> = (0..100_000).map(|n| format!("\"k{n}\":\"v\"")).collect();
        assert_eq!(read(&format!(r#"{{"code":10,"extFields":{{{}}}}}"#, many.join(","))), Err(TooManyFields));
    }
}
