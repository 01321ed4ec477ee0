//! Headers of requests and answers, in either codec, read where they lie.
//!
//! A header has six fixed parts and a table of named text fields. Reading notes where each field lies in a
//! [`FieldSpans`] that the caller keeps, so a busy connection allocates nothing per request.
//!
//! Sources: `remoting/.../protocol/RemotingCommand.java`, `RocketMQSerializable.java`; leniency as recorded from
//! the 5.5.0 broker (numbers as strings, bare values in `extFields`, unknown languages are all accepted).

mod binary;
mod json;

use std::borrow::Cow;

use crate::codes::Language;
use crate::frame::Codec;
use crate::json_text;

/// Bit of the flag that marks an answer.
pub const FLAG_RESPONSE: i32 = 1;
/// Bit of the flag that asks for no answer.
pub const FLAG_ONEWAY: i32 = 2;

/// Most named fields a header may have. Official clients send at most about twenty.
pub const FIELDS_MAX: usize = 1024;

/// Why header bytes cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Nothing is asked: an empty header, `{}` or `[]`. Upstream leaves such a frame unanswered.
    #[error("header asks nothing")]
    Empty,
    /// Not JSON, or a part has the wrong type.
    #[error("header is not understood at byte {at}")]
    Malformed {
        /// Where reading stopped.
        at: usize,
    },
    /// A length inside a binary header passes its end.
    #[error("length {value} at byte {at} does not fit the header")]
    BadLength {
        /// Where the length lies.
        at: usize,
        /// What it says.
        value: i64,
    },
    /// More fields than [`FIELDS_MAX`].
    #[error("header has more than {FIELDS_MAX} fields")]
    TooManyFields,
    /// Nested deeper than any client does.
    #[error("header is nested more than {limit} deep")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
}

/// Where the fields of the header being read lie. Kept by the caller and used again.
#[derive(Debug, Default)]
pub struct FieldSpans {
    spans: Vec<FieldSpan>,
}

#[derive(Clone, Copy, Debug)]
struct FieldSpan {
    name: Span,
    value: Span,
}

/// A piece of the header text.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: u32,
    end: u32,
    /// Whether JSON escapes have to be resolved.
    escaped: bool,
}

impl FieldSpans {
    #[inline]
    fn push(&mut self, name: Span, value: Span) -> Result<(), HeaderError> {
        if self.spans.len() == FIELDS_MAX {
            return Err(HeaderError::TooManyFields);
        }
        self.spans.push(FieldSpan { name, value });
        Ok(())
    }
}

/// A piece of text as it lies in the header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Text<'a> {
    raw: &'a [u8],
    escaped: bool,
}

impl<'a> Text<'a> {
    /// Text that needs no unescaping.
    pub fn plain(raw: &'a str) -> Text<'a> {
        Text { raw: raw.as_bytes(), escaped: false }
    }

    /// The text itself; copies only when escapes have to be resolved or bytes are not UTF-8 (those become the
    /// replacement character).
    pub fn resolve(self) -> Cow<'a, str> {
        if self.escaped { Cow::Owned(json_text::unescape(self.raw)) } else { String::from_utf8_lossy(self.raw) }
    }

    /// The text as a whole number; blanks around it are fine.
    pub fn integer(self) -> Option<i64> {
        let raw = self.raw.trim_ascii();
        let (negative, digits) = match raw.first()? {
            b'-' => (true, &raw[1..]),
            b'+' => (false, &raw[1..]),
            _ => (false, raw),
        };
        if digits.is_empty() {
            return None;
        }
        // Negative numbers are built downwards, so that the smallest one is reached without overflow.
        digits.iter().try_fold(0i64, |number, digit| {
            let digit = i64::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?);
            let number = number.checked_mul(10)?;
            if negative { number.checked_sub(digit) } else { number.checked_add(digit) }
        })
    }

    /// Whether the text equals `other`.
    pub fn is(self, other: &str) -> bool {
        if self.escaped { self.resolve() == other } else { self.raw == other.as_bytes() }
    }

    /// The bytes as they lie in the header, escapes not resolved.
    pub fn raw(self) -> &'a [u8] {
        self.raw
    }
}

/// Named fields of a header (`extFields`).
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    bytes: &'a [u8],
    spans: &'a [FieldSpan],
}

impl<'a> Fields<'a> {
    /// Name and value of each field, in the order they were sent.
    pub fn iter(&self) -> impl Iterator<Item = (Text<'a>, Text<'a>)> + use<'a> {
        let bytes = self.bytes;
        self.spans.iter().map(move |span| (span.name.of(bytes), span.value.of(bytes)))
    }

    /// The field of that name.
    pub fn get(&self, name: &str) -> Option<Text<'a>> {
        self.iter().find(|(found, _)| found.is(name)).map(|(_, value)| value)
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }
}

impl Span {
    fn of(self, bytes: &[u8]) -> Text<'_> {
        Text { raw: bytes.get(self.start as usize..self.end as usize).unwrap_or_default(), escaped: self.escaped }
    }
}

/// A header, read where it lies.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    /// Request or response code.
    pub code: i32,
    /// Language of the sender.
    pub language: Language,
    /// Ordinal of the sender's version (`MQVersion`).
    pub version: i32,
    /// Number that pairs an answer with its request on one connection.
    pub opaque: i32,
    /// See [`FLAG_RESPONSE`] and [`FLAG_ONEWAY`].
    pub flag: i32,
    /// Free text, mostly about an error.
    pub remark: Option<Text<'a>>,
    /// Named fields.
    pub fields: Fields<'a>,
}

impl<'a> Header<'a> {
    /// Reads a header, noting in `spans` where its fields lie.
    pub fn decode(codec: Codec, bytes: &'a [u8], spans: &'a mut FieldSpans) -> Result<Header<'a>, HeaderError> {
        spans.spans.clear();
        let fixed = match codec {
            Codec::Json => json::decode(bytes, spans)?,
            Codec::Binary => binary::decode(bytes, spans)?,
        };
        Ok(Header {
            code: fixed.code,
            language: fixed.language,
            version: fixed.version,
            opaque: fixed.opaque,
            flag: fixed.flag,
            remark: fixed.remark.map(|span| span.of(bytes)),
            fields: Fields { bytes, spans: &spans.spans },
        })
    }

    /// Whether this is an answer.
    pub fn is_response(&self) -> bool {
        self.flag & FLAG_RESPONSE != 0
    }

    /// Whether the sender waits for no answer.
    pub fn is_oneway(&self) -> bool {
        self.flag & FLAG_ONEWAY != 0
    }
}

/// The parts of a header that are not named fields.
#[derive(Debug)]
struct FixedParts {
    code: i32,
    language: Language,
    version: i32,
    opaque: i32,
    flag: i32,
    remark: Option<Span>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_to_their_limits() {
        let integer = |text| Text::plain(text).integer();
        assert_eq!(integer("9223372036854775807"), Some(i64::MAX));
        assert_eq!(integer("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(integer(" 12 "), Some(12));
        for text in ["", "-", "1a", "9223372036854775808", "1.5", "null"] {
            assert_eq!(integer(text), None, "{text}");
        }
    }
}
