//! CBOR (RFC 8949), written as its diagnostic notation has it.

use super::outline::{Flaw, Input, Outline, Outlined, Stop};

/// Ends what has no length.
const BREAK: u8 = 0xff;

/// One value, as text.
pub fn outlined(bytes: &[u8]) -> Result<Outlined, Flaw> {
    Outline::of(bytes, value)
}

/// Whether these bytes can hardly be anything else: they say so (tag 55799), or are a map whose keys are text, and
/// nothing after it.
pub fn is_likely(bytes: &[u8]) -> bool {
    let key = match bytes {
        [0xd9, 0xd9, 0xf7, ..] => return outlined(bytes).is_ok(),
        [0xa1..=0xb7 | 0xbf, key, ..] | [0xb8, _, key, ..] | [0xb9, _, _, key, ..] => *key,
        _ => return false,
    };
    matches!(key, 0x60..=0x7b | 0x7f) && outlined(bytes).is_ok()
}

fn value(input: &mut Input<'_>, out: &mut Outline) -> Result<(), Stop> {
    let at = input.at();
    let first = input.byte()?;
    let (kind, info) = (first >> 5, first & 31);
    let argument = match info {
        0..=23 => Some(u64::from(info)),
        24..=27 => Some(input.number(1 << (info - 24))?),
        // Only what has parts can go without a length.
        31 if (2..=5).contains(&kind) => None,
        _ => return Err(Flaw::Unknown(at).into()),
    };
    match (kind, argument) {
        (0, Some(number)) => out.push(&number.to_string()),
        (1, Some(number)) => out.push(&(-1 - i128::from(number)).to_string()),
        (2, Some(length)) => out.bytes(input.take(length)?),
        (2, None) => out.bytes(&chunks(input, kind)?),
        (3, Some(length)) => out.quoted_or_bytes(input.take(length)?),
        (3, None) => out.quoted_or_bytes(&chunks(input, kind)?),
        (4, count) => items(input, out, count, ["[", ",", "]"], value),
        (5, count) => items(input, out, count, ["{", ",", "}"], |input, out| {
            value(input, out)?;
            out.push(": ")?;
            value(input, out)
        }),
        (6, Some(tag)) => {
            out.push(&format!("{tag}("))?;
            out.inside(|out| value(input, out))?;
            out.push(")")
        }
        (_, argument) => out.push(&simple(info, argument.unwrap_or_default())),
    }
}

/// Values until `count` were read, or until a break where there is no count.
fn items(
    input: &mut Input<'_>,
    out: &mut Outline,
    count: Option<u64>,
    brackets: [&str; 3],
    mut item: impl FnMut(&mut Input<'_>, &mut Outline) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut left = count;
    out.list(brackets, |out| {
        match &mut left {
            Some(0) => return Ok(false),
            Some(left) => *left -= 1,
            None if input.peek() == Some(BREAK) => return Ok(input.byte().map(|_| false)?),
            None => {}
        }
        item(input, out).map(|()| true)
    })
}

/// Text or bytes that come in pieces until a break.
fn chunks(input: &mut Input<'_>, kind: u8) -> Result<Vec<u8>, Flaw> {
    let mut whole = Vec::new();
    loop {
        let at = input.at();
        let first = input.byte()?;
        if first == BREAK {
            return Ok(whole);
        }
        let length = match (first >> 5, first & 31) {
            (of, info @ 0..=23) if of == kind => u64::from(info),
            (of, info @ 24..=27) if of == kind => input.number(1 << (info - 24))?,
            _ => return Err(Flaw::Unknown(at)),
        };
        whole.extend_from_slice(input.take(length)?);
    }
}

fn simple(info: u8, argument: u64) -> String {
    match info {
        20 => "false".to_owned(),
        21 => "true".to_owned(),
        22 => "null".to_owned(),
        23 => "undefined".to_owned(),
        25 => format!("{:?}", half(argument as u16)),
        26 => format!("{:?}", f32::from_bits(argument as u32)),
        27 => format!("{:?}", f64::from_bits(argument)),
        _ => format!("simple({argument})"),
    }
}

/// The number of a float of 16 bits.
fn half(bits: u16) -> f32 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023));
    let size = match exponent {
        0 => fraction * 2_f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1024.0 + fraction) * 2_f32.powi(exponent - 25),
    };
    if bits >> 15 == 0 { size } else { -size }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::arbitrary::json;
    use super::*;

    /// Examples of RFC 8949, appendix A.
    #[test]
    fn every_kind_of_value_is_shown() {
        let check = |bytes: &[u8], expected: &str| assert_eq!(outlined(bytes).unwrap().text, expected, "{bytes:02x?}");
        check(&[0x18, 0x64], "100");
        check(&[0x1b, 255, 255, 255, 255, 255, 255, 255, 255], "18446744073709551615");
        check(&[0x3b, 255, 255, 255, 255, 255, 255, 255, 255], "-18446744073709551616");
        check(&[0x38, 0x63], "-100");
        check(&[0xf9, 0x3e, 0x00], "1.5");
        check(&[0xf9, 0x7b, 0xff], "65504.0");
        check(&[0xf9, 0x00, 0x01], "5.9604645e-8");
        check(&[0xf9, 0xc4, 0x00], "-4.0");
        check(&[0xf9, 0xfc, 0x00], "-inf");
        check(&[0xfa, 0x47, 0xc3, 0x50, 0x00], "100000.0");
        check(&[0xfb, 0xc0, 0x10, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66], "-4.1");
        check(&[0xf4], "false");
        check(&[0xf7], "undefined");
        check(&[0xf8, 0xff], "simple(255)");
        check(&[0xc1, 0x1a, 0x51, 0x4b, 0x67, 0xb0], "1(1363896240)");
        check(&[0x44, 1, 2, 3, 4], "h'01020304'");
        check(&[0x62, 0xc3, 0xbc], "\"ü\"");
        check(&[0x82, 0x01, 0x80], "[\n  1,\n  []\n]");
        check(&[0xa2, 0x61, 0x61, 0x01, 0x02, 0xa0], "{\n  \"a\": 1,\n  2: {}\n}");
        check(&[0x5f, 0x42, 1, 2, 0x41, 3, 0xff], "h'010203'");
        check(&[0x7f, 0x61, 0x61, 0x61, 0x62, 0xff], "\"ab\"");
        check(&[0x9f, 0xff], "[]");
        check(&[0xbf, 0x61, 0x61, 0x9f, 0x05, 0xff, 0xff], "{\n  \"a\": [\n    5\n  ]\n}");
        check(&[0xd9, 0xd9, 0xf7, 0x00], "55799(0)");
    }

    #[test]
    fn what_is_no_value_says_where_and_why() {
        let check = |bytes: &[u8], flaw: Flaw| assert_eq!(outlined(bytes), Err(flaw), "{bytes:02x?}");
        check(&[0x1c], Flaw::Unknown(0));
        check(&[0xff], Flaw::Unknown(0));
        check(&[0x1f], Flaw::Unknown(0));
        check(&[0x9f, 0x01], Flaw::Ends(2));
        check(&[0xa1, 0x61, 0x61], Flaw::Ends(3));
        check(&[0x5f, 0x61, 0x61, 0xff], Flaw::Unknown(1));
        check(&[0x5f, 0x5f, 0xff, 0xff], Flaw::Unknown(1));
        check(&[0x7b, 255, 255, 255, 255, 255, 255, 255, 255], Flaw::Ends(9));
        check(&[0x00, 0x00], Flaw::Rest(1));
        check(&[0xc1; 1000], Flaw::TooDeep);
        check(&[0x9f; 1000], Flaw::TooDeep);
    }

    #[test]
    fn only_maps_with_text_for_keys_are_found_unasked() {
        assert!(is_likely(&[0xa1, 0x61, b'a', 1]) && is_likely(&[0xd9, 0xd9, 0xf7, 0x00]));
        assert!(!is_likely(&[0xa1, 0x61, b'a']) && !is_likely(&[0xa1, 1, 1]) && !is_likely(&[1]) && !is_likely(&[]));
    }

    fn encode(value: &Value, bytes: &mut Vec<u8>) {
        let head = |bytes: &mut Vec<u8>, kind: u8, argument: u64| match argument {
            0..=23 => bytes.push(kind << 5 | argument as u8),
            _ => {
                bytes.push(kind << 5 | 27);
                bytes.extend(argument.to_be_bytes());
            }
        };
        match value {
            Value::Null => bytes.push(0xf6),
            Value::Bool(is_true) => bytes.push(0xf4 + u8::from(*is_true)),
            Value::Number(number) => match number.as_i64() {
                Some(number) if number < 0 => head(bytes, 1, (-1 - number) as u64),
                Some(number) => head(bytes, 0, number as u64),
                None => {
                    bytes.push(0xfb);
                    bytes.extend(number.as_f64().unwrap().to_bits().to_be_bytes());
                }
            },
            Value::String(text) => {
                head(bytes, 3, text.len() as u64);
                bytes.extend(text.as_bytes());
            }
            Value::Array(items) => {
                head(bytes, 4, items.len() as u64);
                items.iter().for_each(|item| encode(item, bytes));
            }
            Value::Object(members) => {
                bytes.push(0xbf);
                for (name, value) in members {
                    encode(&Value::from(name.as_str()), bytes);
                    encode(value, bytes);
                }
                bytes.push(BREAK);
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
