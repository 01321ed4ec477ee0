//! Reading a JSON header in one pass, without building a tree.

use super::{FieldSpans, FixedParts, HeaderError, Span};
use crate::codes::Language;
use crate::json_text::skip_white_space;
use crate::scan;

/// Deepest nesting that is followed inside parts nobody asked for.
const DEPTH_MAX: usize = 32;

pub(super) fn decode(bytes: &[u8], spans: &mut FieldSpans) -> Result<FixedParts, HeaderError> {
    let mut reader = Reader { bytes, at: 0 };
    let mut code = None;
    let mut fixed = FixedParts { code: 0, language: Language::OTHER, version: 0, opaque: 0, flag: 0, remark: None };
    match reader.peek() {
        None => return Err(HeaderError::Empty),
        Some(b'[') => {
            reader.skip_value()?;
            reader.end()?;
            return Err(HeaderError::Empty);
        }
        Some(_) => reader.expect(b'{')?,
    }
    reader.members(|reader, name| {
        match name.slice(reader.bytes) {
            b"code" => code = Some(reader.number()?),
            b"version" => fixed.version = reader.number()?,
            b"opaque" => fixed.opaque = reader.number()?,
            b"flag" => fixed.flag = reader.number()?,
            b"language" => {
                let value = reader.scalar()?.map(|span| span.of(reader.bytes).resolve());
                fixed.language = value.map_or(Language::OTHER, |name| Language::from_name(&name));
            }
            b"remark" => fixed.remark = reader.scalar()?,
            b"extFields" => reader.fields(spans)?,
            _ => reader.skip_value()?,
        }
        Ok(())
    })?;
    reader.end()?;
    fixed.code = code.ok_or(HeaderError::Empty)?;
    Ok(fixed)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Span {
    fn slice(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

impl Reader<'_> {
    fn malformed<T>(&self) -> Result<T, HeaderError> {
        Err(HeaderError::Malformed { at: self.at })
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        self.at = skip_white_space(self.bytes, self.at);
        self.bytes.get(self.at).copied()
    }

    fn expect(&mut self, wanted: u8) -> Result<(), HeaderError> {
        if self.peek() != Some(wanted) {
            return self.malformed();
        }
        self.at += 1;
        Ok(())
    }

    fn end(&mut self) -> Result<(), HeaderError> {
        if self.peek().is_some() { self.malformed() } else { Ok(()) }
    }

    /// Reads the members of an object whose brace was taken; a comma before the closing brace is accepted, as
    /// fastjson does.
    fn members(
        &mut self,
        mut member: impl FnMut(&mut Self, Span) -> Result<(), HeaderError>,
    ) -> Result<(), HeaderError> {
        loop {
            match self.peek() {
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'"') => {}
                _ => return self.malformed(),
            }
            let name = self.string()?;
            self.expect(b':')?;
            member(self, name)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {}
                _ => return self.malformed(),
            }
        }
    }

    /// Takes a string and returns where its inside lies.
    fn string(&mut self) -> Result<Span, HeaderError> {
        self.expect(b'"')?;
        let start = self.at;
        let mut escaped = false;
        while let Some(at) = scan::quote_or_backslash(self.bytes, self.at) {
            if self.bytes[at] == b'"' {
                self.at = at + 1;
                return Ok(Span { start: start as u32, end: at as u32, escaped });
            }
            escaped = true;
            self.at = at + 2;
        }
        self.at = self.at.max(self.bytes.len());
        self.malformed()
    }

    /// Takes a string, number, `true`, `false` (as their text) or `null` (as none).
    fn scalar(&mut self) -> Result<Option<Span>, HeaderError> {
        match self.peek() {
            Some(b'"') => self.string().map(Some),
            Some(b'{' | b'[') | None => self.malformed(),
            Some(_) => {
                let start = self.at;
                while let Some(byte) = self.bytes.get(self.at) {
                    if !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.')) {
                        break;
                    }
                    self.at += 1;
                }
                let span = Span { start: start as u32, end: self.at as u32, escaped: false };
                let text = span.slice(self.bytes);
                match text {
                    b"null" => Ok(None),
                    b"true" | b"false" => Ok(Some(span)),
                    _ if text.first().is_some_and(|byte| byte.is_ascii_digit() || *byte == b'-') => Ok(Some(span)),
                    _ => self.malformed(),
                }
            }
        }
    }

    /// Takes a 32-bit number, which may be written as a string.
    fn number(&mut self) -> Result<i32, HeaderError> {
        let at = self.at;
        let span = self.scalar()?;
        span.and_then(|span| i32::try_from(span.of(self.bytes).integer()?).ok()).ok_or(HeaderError::Malformed { at })
    }

    /// Takes `extFields`: an object of scalars, or `null`. A field that is `null` counts as absent.
    fn fields(&mut self, spans: &mut FieldSpans) -> Result<(), HeaderError> {
        if self.peek() != Some(b'{') {
            return match self.scalar()? {
                None => Ok(()),
                Some(_) => self.malformed(),
            };
        }
        self.at += 1;
        self.members(|reader, name| match reader.scalar()? {
            Some(value) => spans.push(name, value),
            None => Ok(()),
        })
    }

    /// Passes over a value of any kind, without recursion.
    fn skip_value(&mut self) -> Result<(), HeaderError> {
        let mut depth = 0usize;
        loop {
            match self.peek() {
                Some(b'{' | b'[') => {
                    depth += 1;
                    if depth > DEPTH_MAX {
                        return Err(HeaderError::TooDeep { limit: DEPTH_MAX });
                    }
                    self.at += 1;
                }
                Some(b'}' | b']') if depth > 0 => {
                    depth -= 1;
                    self.at += 1;
                }
                Some(b',' | b':') if depth > 0 => self.at += 1,
                Some(_) => {
                    self.scalar()?;
                }
                None => return self.malformed(),
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }
}
