//! Reading answers quickly: of most, only code and opaque matter.

use protocol::frame::{Codec, Frame};
use protocol::header::{FieldSpans, Header};

/// What matters of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glance {
    /// Response code.
    pub code: i32,
    /// Number of the request.
    pub opaque: i32,
}

/// How the header of every answer that Apogee writes begins.
const OWN_START: &[u8] = b"{\"code\":";
const OWN_MIDDLE: &[u8] = b",\"flag\":1,\"language\":\"JAVA\",\"opaque\":";

/// Code and opaque of an answer; `None` for what is no answer.
pub fn glance(frame: &Frame<'_>) -> Option<Glance> {
    if frame.codec_number == Codec::Json.number()
        && let Some(glance) = own_form(frame.header).or_else(|| any_json(frame.header))
    {
        return Some(glance);
    }
    if frame.codec_number == Codec::Binary.number() {
        return binary(frame.header);
    }
    let mut spans = FieldSpans::default();
    let header = Header::decode(Codec::from_number(frame.codec_number)?, frame.header, &mut spans).ok()?;
    header.is_response().then_some(Glance { code: header.code, opaque: header.opaque })
}

/// Code, language, version, opaque and flag come first and have fixed sizes.
fn binary(header: &[u8]) -> Option<Glance> {
    let [code @ .., _, _, _] = header.first_chunk::<5>()?;
    let [opaque, flag] = [header.get(5..9)?, header.get(9..13)?].map(|bytes| bytes.try_into().map(i32::from_be_bytes));
    let (opaque, flag) = (opaque.ok()?, flag.ok()?);
    (flag & 1 == 1).then_some(Glance { code: i16::from_be_bytes(*code).into(), opaque })
}

fn own_form(header: &[u8]) -> Option<Glance> {
    let (code, rest) = leading_number(header.strip_prefix(OWN_START)?)?;
    let (opaque, _) = leading_number(rest.strip_prefix(OWN_MIDDLE)?)?;
    Some(Glance { code, opaque })
}

/// The three names are found as they are, without reading what lies between: inside a JSON text a quote follows a
/// backslash, so none of the patterns can occur there, and answers have no fields of these names.
fn any_json(header: &[u8]) -> Option<Glance> {
    let number = |pattern: &[u8]| {
        let at = header.windows(pattern.len()).rposition(|window| window == pattern)?;
        leading_number(&header[at + pattern.len()..]).map(|(number, _)| number)
    };
    let opaque = number(b"\"opaque\":")?;
    let flag = number(b"\"flag\":")?;
    let (code, _) = leading_number(header.strip_prefix(OWN_START)?)?;
    (flag & 1 == 1).then_some(Glance { code, opaque })
}

fn leading_number(bytes: &[u8]) -> Option<(i32, &[u8])> {
    let (negative, digits) = match bytes.first()? {
        b'-' => (true, &bytes[1..]),
        _ => (false, bytes),
    };
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    if end == 0 {
        return None;
    }
    let value = digits[..end]
        .iter()
        .try_fold(0i32, |value, digit| value.checked_mul(10)?.checked_add(i32::from(digit - b'0')))?;
    Some((if negative { -value } else { value }, &digits[end..]))
}

#[cfg(test)]
mod tests {
    use protocol::codes::{Language, ResponseCode};
    use protocol::frame;
    use protocol::writer::FrameWriter;

    use super::*;

    fn check(bytes: &[u8], expected: Option<Glance>) {
        assert_eq!(glance(&frame::split(bytes).unwrap().unwrap()), expected);
    }

    fn json(header: &str) -> Vec<u8> {
        let mut bytes = ((4 + header.len()) as u32).to_be_bytes().to_vec();
        bytes.extend_from_slice(&(header.len() as u32).to_be_bytes());
        bytes.extend_from_slice(header.as_bytes());
        bytes
    }

    #[test]
    fn answers_of_every_writer_are_read() {
        let expected = Some(Glance { code: 17, opaque: 1_000_005 });
        for codec in [Codec::Json, Codec::Binary] {
            let mut out = Vec::new();
            FrameWriter::response(&mut out, codec, ResponseCode(17), 1_000_005, Some("no \"opaque\":1 here"))
                .text("msgId", "x\"flag\":0")
                .finish(b"body");
            check(&out, expected);
        }
        check(
            &json(
                r#"{"code":17,"extFields":{"msgId":"a\"opaque\":3"},"flag":1,"language":"JAVA","opaque":1000005,"version":513}"#,
            ),
            expected,
        );
        // As Go writes, and with blanks: by the thorough reader.
        check(&json(r#"{"language":"GO","opaque": 1000005,"flag":1,"code":17,"version":1}"#), expected);
    }

    #[test]
    fn requests_are_no_answers() {
        check(&json(r#"{"code":40,"flag":2,"language":"JAVA","opaque":5,"version":513}"#), None);
        check(&json("nonsense"), None);
        let mut out = Vec::new();
        FrameWriter::begin(&mut out, Codec::Binary, 40, Language::JAVA, 513, 5, 2, None).finish(b"");
        check(&out, None);
        let short = [&[0, 0, 0, 9, 1, 0, 0, 5][..], &[0; 5]].concat();
        check(&short, None);
    }
}
