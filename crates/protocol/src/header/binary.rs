//! Reading upstream's binary header (`RocketMQSerializable.java`):
//!
//! ```text
//! i16 code | u8 language | i16 version | i32 opaque | i32 flag |
//! i32 remark length | remark | i32 length of all entries | entries
//! entry: i16 name length | name | i32 value length | value
//! ```

use super::{FieldSpans, FixedParts, HeaderError, Span};
use crate::codes::Language;

pub(super) fn decode(bytes: &[u8], spans: &mut FieldSpans) -> Result<FixedParts, HeaderError> {
    if bytes.is_empty() {
        return Err(HeaderError::Empty);
    }
    let mut reader = Reader { bytes, at: 0 };
    let code = i32::from(i16::from_be_bytes(reader.take()?));
    let [language] = reader.take()?;
    let version = i32::from(i16::from_be_bytes(reader.take()?));
    let opaque = i32::from_be_bytes(reader.take()?);
    let flag = i32::from_be_bytes(reader.take()?);
    let remark = reader.long_text()?;
    let (at, entries) = (reader.at, i32::from_be_bytes(reader.take()?));
    let entries_end = usize::try_from(entries)
        .ok()
        .and_then(|length| reader.at.checked_add(length))
        .filter(|end| *end <= bytes.len())
        .ok_or(HeaderError::BadLength { at, value: entries.into() })?;
    reader.bytes = &bytes[..entries_end];
    while reader.at < entries_end {
        let (at, length) = (reader.at, i16::from_be_bytes(reader.take()?));
        let name = reader.text(at, i32::from(length))?;
        // An empty value reads as absent upstream.
        if let Some(value) = reader.long_text()? {
            spans.push(name, value)?;
        }
    }
    let language =
        if i32::from(language) < Language::ALL.len() as i32 { Language(language.into()) } else { Language::OTHER };
    Ok(FixedParts { code, language, version, opaque, flag, remark })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], HeaderError> {
        let raw = self.bytes.get(self.at..self.at + N).and_then(|raw| raw.try_into().ok());
        let raw = raw.ok_or(HeaderError::Malformed { at: self.at })?;
        self.at += N;
        Ok(raw)
    }

    fn text(&mut self, length_at: usize, length: i32) -> Result<Span, HeaderError> {
        let start = self.at;
        let end = usize::try_from(length)
            .ok()
            .and_then(|length| start.checked_add(length))
            .filter(|end| *end <= self.bytes.len())
            .ok_or(HeaderError::BadLength { at: length_at, value: length.into() })?;
        self.at = end;
        Ok(Span { start: start as u32, end: end as u32, escaped: false })
    }

    fn long_text(&mut self) -> Result<Option<Span>, HeaderError> {
        let (at, length) = (self.at, i32::from_be_bytes(self.take()?));
        let span = self.text(at, length)?;
        Ok((length != 0).then_some(span))
    }
}
