//! MessagePack: <https://github.com/msgpack/msgpack/blob/master/spec.md>

use super::outline::{Flaw, Input, Outline, Outlined, Stop};

/// One value, as text.
pub fn outlined(bytes: &[u8]) -> Result<Outlined, Flaw> {
    Outline::of(bytes, value)
}

/// Whether these bytes can hardly be anything else: a map whose keys are text, and nothing after it.
pub fn is_likely(bytes: &[u8]) -> bool {
    let key = match bytes {
        [0x81..=0x8f, key, ..] | [0xde, _, _, key, ..] | [0xdf, _, _, _, _, key, ..] => *key,
        _ => return false,
    };
    matches!(key, 0xa0..=0xbf | 0xd9..=0xdb) && outlined(bytes).is_ok()
}

fn value(input: &mut Input<'_>, out: &mut Outline) -> Result<(), Stop> {
    let at = input.at();
    let first = input.byte()?;
    // Kinds that come in several sizes lie next to each other, the smallest first.
    let size = |smallest: u8| 1_u32 << (first - smallest);
    match first {
        0x00..=0x7f => out.push(&first.to_string()),
        0x80..=0x8f => map(input, out, u64::from(first & 15)),
        0x90..=0x9f => array(input, out, u64::from(first & 15)),
        0xa0..=0xbf => out.quoted_or_bytes(input.take(u64::from(first & 31))?),
        0xc0 => out.push("null"),
        0xc1 => Err(Flaw::Unknown(at).into()),
        0xc2 => out.push("false"),
        0xc3 => out.push("true"),
        0xc4..=0xc6 => {
            let length = input.number(size(0xc4))?;
            out.bytes(input.take(length)?)
        }
        0xc7..=0xc9 => {
            let length = input.number(size(0xc7))?;
            extension(input, out, length)
        }
        0xca => out.push(&format!("{:?}", f32::from_bits(input.number(4)? as u32))),
        0xcb => out.push(&format!("{:?}", f64::from_bits(input.number(8)?))),
        0xcc..=0xcf => out.push(&input.number(size(0xcc))?.to_string()),
        0xd0..=0xd3 => {
            let size = size(0xd0);
            let unused = 64 - 8 * size;
            out.push(&((input.number(size)? << unused).cast_signed() >> unused).to_string())
        }
        0xd4..=0xd8 => extension(input, out, u64::from(size(0xd4))),
        0xd9..=0xdb => {
            let length = input.number(size(0xd9))?;
            out.quoted_or_bytes(input.take(length)?)
        }
        0xdc | 0xdd => {
            let count = input.number(2 * size(0xdc))?;
            array(input, out, count)
        }
        0xde | 0xdf => {
            let count = input.number(2 * size(0xde))?;
            map(input, out, count)
        }
        0xe0..=0xff => out.push(&first.cast_signed().to_string()),
    }
}

fn array(input: &mut Input<'_>, out: &mut Outline, count: u64) -> Result<(), Stop> {
    let mut left = count;
    out.list(["[", ",", "]"], |out| {
        let Some(less) = left.checked_sub(1) else { return Ok(false) };
        left = less;
        value(input, out).map(|()| true)
    })
}

fn map(input: &mut Input<'_>, out: &mut Outline, count: u64) -> Result<(), Stop> {
    let mut left = count;
    out.list(["{", ",", "}"], |out| {
        let Some(less) = left.checked_sub(1) else { return Ok(false) };
        left = less;
        value(input, out)?;
        out.push(": ")?;
        value(input, out).map(|()| true)
    })
}

fn extension(input: &mut Input<'_>, out: &mut Outline, length: u64) -> Result<(), Stop> {
    let kind = input.byte()?.cast_signed();
    out.push(&format!("ext({kind}, "))?;
    out.bytes(input.take(length)?)?;
    out.push(")")
}

#[cfg(test)]
pub mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::arbitrary::json;
    use super::*;

    #[test]
    fn every_kind_of_value_is_shown() {
        let check = |bytes: &[u8], expected: &str| assert_eq!(outlined(bytes).unwrap().text, expected, "{bytes:02x?}");
        check(&[0x07], "7");
        check(&[0xe0], "-32");
        check(&[0xc0], "null");
        check(&[0xc3], "true");
        check(&[0xc4, 2, 0, 0xff], "h'00ff'");
        check(&[0xc7, 1, 5, 9], "ext(5, h'09')");
        check(&[0xd6, 0xff, 0, 0, 0, 1], "ext(-1, h'00000001')");
        check(&[0xca, 0x3f, 0xc0, 0, 0], "1.5");
        check(&[0xcb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0], "1.0");
        check(&[0xcd, 1, 0], "256");
        check(&[0xcf, 255, 255, 255, 255, 255, 255, 255, 255], "18446744073709551615");
        check(&[0xd0, 0x80], "-128");
        check(&[0xd3, 128, 0, 0, 0, 0, 0, 0, 0], "-9223372036854775808");
        check(&[0xa2, b'a', b'"'], "\"a\\\"\"");
        check(&[0xa1, 0xff], "h'ff'");
        check(&[0xd9, 1, b'a'], "\"a\"");
        check(&[0x82, 0xa1, b'a', 0x91, 1, 2, 0xde, 0, 0], "{\n  \"a\": [\n    1\n  ],\n  2: {}\n}");
        check(&[0xdc, 0, 1, 0x90], "[\n  []\n]");
    }

    #[test]
    fn what_is_no_value_says_where_and_why() {
        let check = |bytes: &[u8], flaw: Flaw| assert_eq!(outlined(bytes), Err(flaw), "{bytes:02x?}");
        check(&[0x91], Flaw::Ends(1));
        check(&[0xc1], Flaw::Unknown(0));
        check(&[0x01, 0x01], Flaw::Rest(1));
        check(&[0xdb, 255, 255, 255, 255, b'a'], Flaw::Ends(5));
        check(&[0xdd, 255, 255, 255, 255, 1], Flaw::Ends(6));
        check(&[0x91; 1000], Flaw::TooDeep);
    }

    #[test]
    fn only_maps_with_text_for_keys_are_found_unasked() {
        assert!(is_likely(&[0x81, 0xa1, b'a', 1]));
        assert!(!is_likely(&[0x81, 0xa1, b'a']) && !is_likely(&[0x81, 1, 1]) && !is_likely(&[1]) && !is_likely(&[]));
    }

    pub fn encode(value: &Value, bytes: &mut Vec<u8>) {
        let long = |bytes: &mut Vec<u8>, kind: u8, length: usize| {
            bytes.push(kind);
            bytes.extend((length as u32).to_be_bytes());
        };
        match value {
            Value::Null => bytes.push(0xc0),
            Value::Bool(is_true) => bytes.push(0xc2 + u8::from(*is_true)),
            Value::Number(number) => match number.as_i64() {
                Some(number) => {
                    bytes.push(0xd3);
                    bytes.extend(number.to_be_bytes());
                }
                None => {
                    bytes.push(0xcb);
                    bytes.extend(number.as_f64().unwrap().to_bits().to_be_bytes());
                }
            },
            Value::String(text) => {
                long(bytes, 0xdb, text.len());
                bytes.extend(text.as_bytes());
            }
            Value::Array(items) => {
                long(bytes, 0xdd, items.len());
                items.iter().for_each(|item| encode(item, bytes));
            }
            Value::Object(members) => {
                long(bytes, 0xdf, members.len());
                for (name, value) in members {
                    encode(&Value::from(name.as_str()), bytes);
                    encode(value, bytes);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn what_json_can_say_is_shown_as_json(value in json()) {
            let mut bytes = Vec::new();
            encode(&value, &mut bytes);
            let text = outlined(&bytes).unwrap().text;
            prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        }
    }
}
