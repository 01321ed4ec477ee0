//! Protobuf without its schema: numbers of fields, how they are written, and a guess at what lies inside of them.
//! Source of the wire format: <https://protobuf.dev/programming-guides/encoding/>

use super::outline::{Flaw, Input, Outline, Outlined, Stop};
use super::readable;

/// Highest number of a field.
const NUMBER_MAX: u64 = (1 << 29) - 1;

/// Most groups that lie in each other; what has more is not taken for a message.
const GROUPS_MAX: usize = 32;

/// Fields of a message, as text.
pub fn outlined(bytes: &[u8]) -> Result<Outlined, Flaw> {
    check(bytes)?;
    Outline::of(bytes, |input, out| {
        let mut is_first = true;
        while !input.is_at_end() {
            if !std::mem::take(&mut is_first) {
                out.line()?;
            }
            let tag = tag(input)?;
            field(input, out, tag)?;
        }
        Ok(())
    })
}

/// Number of a field, and how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tag {
    number: u64,
    wire: u64,
}

fn tag(input: &mut Input<'_>) -> Result<Tag, Flaw> {
    let at = input.at();
    let key = varint(input)?;
    let tag = Tag { number: key >> 3, wire: key & 7 };
    if (1..=NUMBER_MAX).contains(&tag.number) && tag.wire < 6 { Ok(tag) } else { Err(Flaw::Unknown(at)) }
}

fn varint(input: &mut Input<'_>) -> Result<u64, Flaw> {
    let at = input.at();
    let mut number = 0;
    for shift in (0..70).step_by(7) {
        let byte = input.byte()?;
        if shift == 63 && 1 < byte {
            break;
        }
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(Flaw::Unknown(at))
}

/// Whether the bytes are fields from beginning to end, without a look into them.
fn check(bytes: &[u8]) -> Result<(), Flaw> {
    let mut input = Input::new(bytes);
    let mut groups = Vec::new();
    while !input.is_at_end() {
        let at = input.at();
        let tag = tag(&mut input)?;
        match tag.wire {
            0 => drop(varint(&mut input)?),
            1 => drop(input.take(8)?),
            2 => {
                let length = varint(&mut input)?;
                input.take(length)?;
            }
            3 if groups.len() == GROUPS_MAX => return Err(Flaw::TooDeep),
            3 => groups.push(tag.number),
            4 if groups.pop() != Some(tag.number) => return Err(Flaw::Unknown(at)),
            4 => {}
            _ => drop(input.take(4)?),
        }
    }
    if groups.is_empty() { Ok(()) } else { Err(Flaw::Ends(bytes.len())) }
}

fn field(input: &mut Input<'_>, out: &mut Outline, tag: Tag) -> Result<(), Stop> {
    let number = tag.number;
    match tag.wire {
        0 => {
            let value = varint(input)?;
            let signed = value.cast_signed();
            let also = if signed < 0 { format!(" ({signed})") } else { String::new() };
            out.push(&format!("{number} varint: {value}{also}"))
        }
        1 => {
            let value = input.number(8)?.swap_bytes();
            out.push(&format!("{number} fixed64: {value} ({:?})", f64::from_bits(value)))
        }
        2 => {
            let length = varint(input)?;
            inside_of(input.take(length)?, out, number)
        }
        3 => {
            out.push(&format!("{number} group "))?;
            fields(input, out)
        }
        _ => {
            let value = (input.number(4)? as u32).swap_bytes();
            out.push(&format!("{number} fixed32: {value} ({:?})", f32::from_bits(value)))
        }
    }
}

/// Text if it can be read, else a message if it is one, else bytes: short text is often a message by accident, a message
/// is hardly ever text. What lies too deep stays bytes.
fn inside_of(bytes: &[u8], out: &mut Outline, number: u64) -> Result<(), Stop> {
    if let Some(text) = readable(bytes) {
        out.push(&format!("{number} text: "))?;
        return out.quoted(text);
    }
    if out.can_go_deeper() && check(bytes).is_ok() {
        out.push(&format!("{number} message "))?;
        return fields(&mut Input::new(bytes), out);
    }
    out.push(&format!("{number} bytes: "))?;
    out.bytes(bytes)
}

/// Fields up to the end of a message or group.
fn fields(input: &mut Input<'_>, out: &mut Outline) -> Result<(), Stop> {
    out.list(["{", "", "}"], |out| {
        if input.is_at_end() {
            return Ok(false);
        }
        let tag = tag(input)?;
        if tag.wire == 4 {
            return Ok(false);
        }
        field(input, out, tag).map(|()| true)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_writing_is_shown() {
        let check = |bytes: &[u8], expected: &str| assert_eq!(outlined(bytes).unwrap().text, expected, "{bytes:02x?}");
        check(&[0x08, 0x96, 0x01], "1 varint: 150");
        check(&[0x10, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1], "2 varint: 18446744073709551615 (-1)");
        check(b"\x12\x07testing", "2 text: \"testing\"");
        check(&[0x12, 0x00], "2 text: \"\"");
        check(&[0x1a, 0x03, 0x08, 0x96, 0x01], "3 message {\n  1 varint: 150\n}");
        check(&[0x1a, 0x02, 0x08, 0x01, 0x08, 0x02], "3 message {\n  1 varint: 1\n}\n1 varint: 2");
        check(&[0x22, 0x02, 0xff, 0xfe], "4 bytes: h'fffe'");
        check(&[0x29, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f], "5 fixed64: 4607182418800017408 (1.0)");
        check(&[0x35, 0, 0, 0xc0, 0x3f], "6 fixed32: 1069547520 (1.5)");
        check(&[0x3b, 0x08, 0x01, 0x3c, 0x08, 0x02], "7 group {\n  1 varint: 1\n}\n1 varint: 2");
        check(&[0x3b, 0x3c], "7 group {}");
    }

    #[test]
    fn what_is_no_message_says_where_and_why() {
        let check = |bytes: &[u8], flaw: Flaw| assert_eq!(outlined(bytes), Err(flaw), "{bytes:02x?}");
        check(&[0x00], Flaw::Unknown(0));
        check(&[0x0e], Flaw::Unknown(0));
        check(&[0x08], Flaw::Ends(1));
        check(&[0x08, 0x80], Flaw::Ends(2));
        check(&[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2], Flaw::Unknown(1));
        check(&[0x12, 0x7f, 0x00], Flaw::Ends(2));
        check(&[0x0b], Flaw::Ends(1));
        check(&[0x0b, 0x14], Flaw::Unknown(1));
        check(&[0x0c], Flaw::Unknown(0));
        check(&[0x0b; 100], Flaw::TooDeep);
    }

    #[test]
    fn what_lies_too_deep_stays_bytes() {
        let deep = (0..100).fold(vec![0x08, 0x01], |bytes, _| {
            let length = [bytes.len() as u8 & 0x7f | 0x80, (bytes.len() >> 7) as u8];
            [&[0x0a], &length[..], &bytes].concat()
        });
        let text = outlined(&deep).unwrap().text;
        assert_eq!((text.matches("1 message").count(), text.matches("1 bytes").count()), (64, 1));
    }
}
