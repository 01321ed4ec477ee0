//! JSON bodies in fastjson's dialect.
//!
//! What Java peers write is not always JSON: number keys stand bare (`{0:"a"}`), and a map keyed by objects has
//! objects for keys (`{{"brokerName":"b","queueId":0,"topic":"t"}:7}`). [`normalise`] turns such text into strict
//! JSON, the latter form into a list of pairs, and leaves strict JSON where it lies. [`to_vec`] writes bodies; the
//! one form that strict JSON lacks is written by [`crate::bodies::queue_map::QueueMap`].
//!
//! Source: `remoting/.../protocol/RemotingSerializable.java` and what fastjson 1.2 and fastjson2 accept by default.

use std::borrow::Cow;
use std::io;

use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;

use crate::json_text::skip_white_space;

/// Deepest nesting of a body. Official peers nest about eight deep.
pub const DEPTH_MAX: usize = 32;

/// Normalised text is at most this many times as long as what came in. A bare control character inside a string
/// grows most: it becomes `\u00xx`.
pub const GROWTH_MAX: usize = 6;

/// Why text cannot be turned into strict JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LenientJsonError {
    /// A byte that cannot stand there.
    #[error("byte {at} cannot stand there")]
    Unexpected {
        /// Where it lies.
        at: usize,
    },
    /// The text ends too early.
    #[error("text ends at byte {at}, before it is whole")]
    Ended {
        /// Where the text ends.
        at: usize,
    },
    /// More than [`DEPTH_MAX`] objects and lists inside one another.
    #[error("byte {at} is nested more than {limit} deep")]
    TooDeep {
        /// Where the object or list that is too deep begins.
        at: usize,
        /// The limit.
        limit: usize,
    },
}

/// Why a body cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is not JSON in any dialect we know.
    #[error("body is no JSON: {0}")]
    NoJson(#[from] LenientJsonError),
    /// It is JSON, but says something that the body cannot say. Line and column are those of the normalised text.
    #[error("body is not understood: {0}")]
    NotUnderstood(#[from] serde_json::Error),
}

/// Reads a body.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BodyError> {
    Ok(serde_json::from_slice(&normalise(bytes)?)?)
}

/// Writes a body, compact, in the order in which its type declares the fields.
///
/// Bytes (`serialize_bytes`) count as text that is already written and are copied unchanged.
///
/// # Panics
/// Panics if `body` has a map whose keys are neither text nor numbers.
pub fn to_vec<T: Serialize + ?Sized>(body: &T) -> Vec<u8> {
    let mut out = Vec::new();
    write_into(&mut out, body);
    out
}

/// Appends a body to `out`, as [`to_vec`] writes it.
///
/// # Panics
/// Panics if `body` has a map whose keys are neither text nor numbers.
pub fn write_into<T: Serialize + ?Sized>(out: &mut Vec<u8>, body: &T) {
    let mut serializer = serde_json::Serializer::with_formatter(out, WrittenBytes);
    body.serialize(&mut serializer).expect("keys of body maps are text or numbers");
}

/// Hands text that is already written to [`to_vec`].
pub(crate) fn serialize_written<S: Serializer>(text: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(text)
}

/// Compact JSON in which bytes are text that is already written.
struct WrittenBytes;

impl Formatter for WrittenBytes {
    fn write_byte_array<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: &[u8]) -> io::Result<()> {
        writer.write_all(value)
    }
}

/// Turns fastjson's dialect into strict JSON; text that is strict already is returned as it lies.
///
/// Accepted besides strict JSON: bare keys, single-quoted strings, superfluous commas, bare control characters in
/// strings, `\'`. An object whose keys are objects becomes a list of pairs: `{{"a":1}:2}` reads `[[{"a":1},2]]`.
/// Scalars and escapes are not looked into; the reader of the result does that.
pub fn normalise(bytes: &[u8]) -> Result<Cow<'_, [u8]>, LenientJsonError> {
    let mut normaliser =
        Normaliser { bytes, at: 0, out: Vec::new(), copied: 0, open: [Open::List; DEPTH_MAX], depth: 0 };
    let mut next = Next::Value;
    while next != Next::Nothing {
        next = match next {
            Next::Value => normaliser.value()?,
            Next::ElementOrEnd => normaliser.element_or_end()?,
            Next::MemberOrEnd => normaliser.member_or_end()?,
            Next::AfterValue => normaliser.after_value()?,
            Next::Nothing => break,
        };
    }
    Ok(normaliser.finish())
}

/// What the normaliser is inside of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    List,
    Object,
    /// An object keyed by objects, before or inside a key.
    PairKey,
    /// An object keyed by objects, inside a value.
    PairValue,
}

/// What the normaliser looks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Value,
    ElementOrEnd,
    MemberOrEnd,
    AfterValue,
    Nothing,
}

/// One pass over the text. Text is copied only from the first edit on.
struct Normaliser<'a> {
    bytes: &'a [u8],
    at: usize,
    out: Vec<u8>,
    /// How far `bytes` was copied to `out`, or replaced there.
    copied: usize,
    open: [Open; DEPTH_MAX],
    depth: usize,
}

impl<'a> Normaliser<'a> {
    fn value(&mut self) -> Result<Next, LenientJsonError> {
        match self.peek() {
            Some(b'{') => {
                let brace = self.at;
                self.at += 1;
                if self.peek() == Some(b'{') {
                    self.replace(brace, brace + 1, b"[");
                    self.enter(brace, Open::PairKey)?;
                } else {
                    self.enter(brace, Open::Object)?;
                }
                self.skip_commas();
                Ok(Next::MemberOrEnd)
            }
            Some(b'[') => {
                self.enter(self.at, Open::List)?;
                self.at += 1;
                self.skip_commas();
                Ok(Next::ElementOrEnd)
            }
            Some(b'"' | b'\'') => self.string().map(|()| Next::AfterValue),
            Some(_) => self.word().map(|_| Next::AfterValue),
            None => self.unexpected(),
        }
    }

    fn element_or_end(&mut self) -> Result<Next, LenientJsonError> {
        if self.peek() != Some(b']') {
            return Ok(Next::Value);
        }
        self.at += 1;
        self.depth -= 1;
        Ok(Next::AfterValue)
    }

    fn member_or_end(&mut self) -> Result<Next, LenientJsonError> {
        let pairs = self.inside() == Some(Open::PairKey);
        match self.peek() {
            Some(b'}') => {
                if pairs {
                    self.replace(self.at, self.at + 1, b"]");
                }
                self.at += 1;
                self.depth -= 1;
                return Ok(Next::AfterValue);
            }
            Some(b'{') if pairs => {
                self.replace(self.at, self.at, b"[");
                return Ok(Next::Value);
            }
            Some(b'"' | b'\'') if !pairs => self.string()?,
            Some(_) if !pairs => {
                let start = self.word()?;
                self.replace(start, start, b"\"");
                self.replace(self.at, self.at, b"\"");
            }
            _ => return self.unexpected(),
        }
        self.expect(b':')?;
        Ok(Next::Value)
    }

    fn after_value(&mut self) -> Result<Next, LenientJsonError> {
        let (end, next) = match self.inside() {
            None => {
                return if self.peek().is_none() { Ok(Next::Nothing) } else { self.unexpected() };
            }
            Some(Open::PairKey) => {
                self.expect(b':')?;
                self.replace(self.at - 1, self.at, b",");
                self.open[self.depth - 1] = Open::PairValue;
                return Ok(Next::Value);
            }
            Some(Open::PairValue) => {
                self.replace(self.at, self.at, b"]");
                self.open[self.depth - 1] = Open::PairKey;
                (b'}', Next::MemberOrEnd)
            }
            Some(Open::Object) => (b'}', Next::MemberOrEnd),
            Some(Open::List) => (b']', Next::ElementOrEnd),
        };
        match self.peek() {
            Some(b',') => self.separator(end),
            Some(byte) if byte == end => {}
            _ => return self.unexpected(),
        }
        Ok(next)
    }

    /// Takes the commas between two members; one stays, none before the end.
    fn separator(&mut self, end: u8) {
        let first = self.at;
        self.at += 1;
        let second = self.peek();
        if second == Some(end) {
            self.replace(first, first + 1, b"");
        } else if second == Some(b',') {
            self.pass_commas();
            self.replace(first, self.at, if self.bytes.get(self.at) == Some(&end) { b"" } else { b"," });
        }
    }

    /// Drops commas before the first member.
    fn skip_commas(&mut self) {
        if self.peek() == Some(b',') {
            let first = self.at;
            self.pass_commas();
            self.replace(first, self.at, b"");
        }
    }

    fn pass_commas(&mut self) {
        while self.peek() == Some(b',') {
            self.at += 1;
        }
    }

    /// Takes a string in either kind of quotes.
    fn string(&mut self) -> Result<(), LenientJsonError> {
        let quote = self.bytes[self.at];
        if quote == b'\'' {
            self.replace(self.at, self.at + 1, b"\"");
        }
        self.at += 1;
        loop {
            let Some(byte) = self.bytes.get(self.at).copied() else { return self.unexpected() };
            match byte {
                _ if byte == quote => break,
                b'\\' => {
                    if self.bytes.get(self.at + 1) == Some(&b'\'') {
                        self.replace(self.at, self.at + 1, b"");
                    }
                    // A control character after the backslash is not an escape in any dialect; it is refused by
                    // the reader of the result.
                    self.at += 1;
                }
                b'"' => self.replace(self.at, self.at, b"\\"),
                0..0x20 => self.escape_control(byte),
                _ => {}
            }
            self.at += 1;
        }
        if quote == b'\'' {
            self.replace(self.at, self.at + 1, b"\"");
        }
        self.at += 1;
        Ok(())
    }

    fn escape_control(&mut self, byte: u8) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let escape = [b'\\', b'u', b'0', b'0', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
        self.replace(self.at, self.at + 1, &escape);
    }

    /// Takes a bare number or name and returns where it begins.
    fn word(&mut self) -> Result<usize, LenientJsonError> {
        self.peek();
        let start = self.at;
        while let Some(byte) = self.bytes.get(self.at) {
            if !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'-' | b'+' | b'.' | 0x80..)) {
                break;
            }
            self.at += 1;
        }
        if self.at == start { self.unexpected() } else { Ok(start) }
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        self.at = skip_white_space(self.bytes, self.at);
        self.bytes.get(self.at).copied()
    }

    fn expect(&mut self, wanted: u8) -> Result<(), LenientJsonError> {
        if self.peek() != Some(wanted) {
            return self.unexpected();
        }
        self.at += 1;
        Ok(())
    }

    fn unexpected<T>(&self) -> Result<T, LenientJsonError> {
        let at = self.at.min(self.bytes.len());
        Err(if at < self.bytes.len() { LenientJsonError::Unexpected { at } } else { LenientJsonError::Ended { at } })
    }

    fn enter(&mut self, at: usize, what: Open) -> Result<(), LenientJsonError> {
        let place = self.open.get_mut(self.depth).ok_or(LenientJsonError::TooDeep { at, limit: DEPTH_MAX })?;
        *place = what;
        self.depth += 1;
        Ok(())
    }

    fn inside(&self) -> Option<Open> {
        self.depth.checked_sub(1).map(|top| self.open[top])
    }

    /// Puts `with` in the place of the bytes from `from` to `to`. Edits come in the order of their places.
    fn replace(&mut self, from: usize, to: usize, with: &[u8]) {
        debug_assert!(self.copied <= from && from <= to && to <= self.bytes.len());
        self.out.extend_from_slice(&self.bytes[self.copied..from]);
        self.out.extend_from_slice(with);
        self.copied = to;
    }

    fn finish(mut self) -> Cow<'a, [u8]> {
        if self.copied == 0 && self.out.is_empty() {
            return Cow::Borrowed(self.bytes);
        }
        self.out.extend_from_slice(&self.bytes[self.copied..]);
        debug_assert!(self.out.len() <= GROWTH_MAX * self.bytes.len());
        Cow::Owned(self.out)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let read = normalise(text.as_bytes()).unwrap();
        assert_eq!(String::from_utf8_lossy(&read), expected);
        assert!(serde_json::from_slice::<Value>(&read).is_ok(), "{expected}");
    }

    #[track_caller]
    fn check_refused(text: &str, expected: LenientJsonError) {
        assert_eq!(normalise(text.as_bytes()), Err(expected), "{text}");
    }

    #[test]
    fn strict_text_is_not_copied() {
        for text in [r#"{"a":[1,-2.5e3,"x\"'y",{"b":null}],"c":{}}"#, " [ ] ", "true", "\"\u{6807}\""] {
            let read = normalise(text.as_bytes()).unwrap();
            assert!(matches!(read, Cow::Borrowed(same) if same == text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn bare_keys_get_quotes() {
        check(r#"{0:"a",-1:"b"}"#, r#"{"0":"a","-1":"b"}"#);
        check("{code : 10, $ref:1}", r#"{"code" : 10, "$ref":1}"#);
    }

    #[test]
    fn keys_that_are_objects_become_pairs() {
        check(
            r#"{"offsetTable":{{"brokerName":"b","queueId":0,"topic":"t"}:1,{"queueId":1}:{"x":2}}}"#,
            r#"{"offsetTable":[[{"brokerName":"b","queueId":0,"topic":"t"},1],[{"queueId":1},{"x":2}]]}"#,
        );
        check("{ {} : [ ] , }", "[ [{} , [ ]]  ]");
        check("{{{1:2}:3}:4}", r#"[[[[{"1":2},3]],4]]"#);
    }

    #[test]
    fn single_quotes_become_double_ones() {
        check(r#"{'a"b':'c\'d\n'}"#, r#"{"a\"b":"c'd\n"}"#);
        check(r#"["it\'s"]"#, r#"["it's"]"#);
    }

    #[test]
    fn superfluous_commas_are_dropped() {
        check(r#"{"a":1,}"#, r#"{"a":1}"#);
        check("[1,2,]", "[1,2]");
        check("[,1,,2,,]", "[1,2]");
        check(r#"{,"a":1,,"b":2 , , }"#, r#"{"a":1,"b":2 }"#);
    }

    #[test]
    fn control_characters_in_strings_are_escaped() {
        check("[\"a\u{1}b\n\"]", r#"["a\u0001b\u000a"]"#);
    }

    #[test]
    fn what_is_no_json_is_refused_where_it_goes_wrong() {
        use LenientJsonError::*;
        check_refused("", Ended { at: 0 });
        check_refused(r#"{"a":1"#, Ended { at: 6 });
        check_refused(r#"{"a"#, Ended { at: 3 });
        check_refused("\"\\", Ended { at: 2 });
        check_refused("[1 2]", Unexpected { at: 3 });
        check_refused("{} {}", Unexpected { at: 3 });
        check_refused(r#"{"a":}"#, Unexpected { at: 5 });
        check_refused("{1}", Unexpected { at: 2 });
        check_refused("[1}", Unexpected { at: 2 });
        // Objects and names are not mixed as keys of one map.
        check_refused(r#"{{}:1,"a":2}"#, Unexpected { at: 6 });
        check_refused(r#"{"a":2,{}:1}"#, Unexpected { at: 7 });
    }

    #[test]
    fn nesting_has_a_limit() {
        use LenientJsonError::TooDeep;
        for (open, close) in [("[", "]"), ("{1:", "}")] {
            let nested = |depth: usize| format!("{}0{}", open.repeat(depth), close.repeat(depth));
            assert!(normalise(nested(DEPTH_MAX).as_bytes()).is_ok());
            let at = DEPTH_MAX * open.len();
            check_refused(&nested(DEPTH_MAX + 1), TooDeep { at, limit: DEPTH_MAX });
            check_refused(&nested(1_000_000), TooDeep { at, limit: DEPTH_MAX });
        }
        check_refused(&"{".repeat(1_000_000), TooDeep { at: DEPTH_MAX, limit: DEPTH_MAX });
    }

    #[test]
    fn errors_of_a_body_say_what_is_wrong() {
        assert_eq!(
            from_slice::<Value>(b"[1 2]").unwrap_err().to_string(),
            "body is no JSON: byte 3 cannot stand there"
        );
        let error = from_slice::<Vec<u8>>(b"[x]").unwrap_err().to_string();
        assert!(error.starts_with("body is not understood: expected"), "{error}");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_grow(text in r#"[{}\[\]"':,\\a0 \n]{0,60}"#) {
            if let Ok(read) = normalise(text.as_bytes()) {
                prop_assert!(read.len() <= GROWTH_MAX * text.len());
                // What was normalised once stays as it is.
                prop_assert_eq!(&normalise(&read).unwrap(), &read);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = from_slice::<Value>(&bytes);
        }

        #[test]
        fn strict_text_reads_as_it_says(value in any_json()) {
            let text = serde_json::to_vec(&value).unwrap();
            prop_assert_eq!(from_slice::<Value>(&text).unwrap(), value);
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }
}
