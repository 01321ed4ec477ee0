//! Bodies of messages, as people can read them.

mod cbor;
mod msgpack;
mod outline;
mod protobuf;
mod unpacking;
mod xml;

use std::borrow::Cow;
use std::fmt::Write as _;

use encoding_rs::GBK;
use serde::de::IgnoredAny;

pub use outline::Flaw;
use outline::Outlined;
use unpacking::{UNPACKED_MAX, unpacked};

/// Most bytes of a body that a page shows.
pub const SHOWN_MAX: usize = 256 * 1024;

/// Most bytes that are shown as hex: each takes five on the page.
const HEX_MAX: usize = 16 * 1024;

/// Most characters in a row of a list.
const PREVIEW_CHARS: usize = 120;

/// How a body is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// As text.
    Text,
    /// As text in GBK.
    Gbk,
    /// As JSON, indented.
    Json,
    /// As XML, indented.
    Xml,
    /// As MessagePack, indented.
    MsgPack,
    /// As CBOR, indented.
    Cbor,
    /// As the fields of Protobuf.
    Protobuf,
    /// Byte by byte.
    Hex,
}

impl View {
    /// All, as addresses have them.
    pub const ALL: [(View, &'static str); 8] = [
        (View::Text, "text"),
        (View::Gbk, "gbk"),
        (View::Json, "json"),
        (View::Xml, "xml"),
        (View::MsgPack, "msgpack"),
        (View::Cbor, "cbor"),
        (View::Protobuf, "protobuf"),
        (View::Hex, "hex"),
    ];

    /// The view of that name.
    pub fn of_name(name: &str) -> Option<View> {
        View::ALL.into_iter().find(|(_, known)| *known == name).map(|(view, _)| view)
    }
}

/// What stands against a view that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The bytes are no text.
    NotText,
    /// The text is no JSON.
    NotJson,
    /// The bytes are of another format.
    Flaw(Flaw),
}

/// What a body turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The text to show.
    pub text: String,
    /// The view that was asked for, or that suits best.
    pub view: View,
    /// Packing that was undone.
    pub unpacked: Option<&'static str>,
    /// Why it is not that view but text or hex.
    pub mismatch: Option<Mismatch>,
    /// Bytes that are shown, of all.
    pub part: Option<(usize, usize)>,
    /// Whether it goes on after what was unpacked.
    pub has_more: bool,
}

/// A body as it is to be shown: in the view that is wanted, or the one that suits best.
pub fn shown(body: &[u8], wanted: Option<View>) -> Shown {
    let (unpacked, bytes) = match unpacked(body) {
        Some((name, inside)) => (Some(name), Cow::from(inside)),
        None => (None, Cow::from(body)),
    };
    let view = wanted.unwrap_or_else(|| best_view(&bytes));
    let (seen, mismatch) = match seen(&bytes, view) {
        Ok(seen) => (seen, None),
        Err(mismatch) => (seen_as_text(&bytes).unwrap_or_else(|_| seen_as_hex(&bytes)), Some(mismatch)),
    };
    let part = seen.read.map(|read| (read, bytes.len()));
    let has_more = unpacked.is_some() && UNPACKED_MAX <= bytes.len() as u64;
    Shown { text: seen.text, view, unpacked, mismatch, part, has_more }
}

fn seen(bytes: &[u8], view: View) -> Result<Outlined, Mismatch> {
    match view {
        View::Text => seen_as_text(bytes),
        View::Gbk => seen_as_gbk(bytes),
        View::Json => seen_as_json(bytes),
        View::Xml => xml::outlined(bytes).map_err(Mismatch::Flaw),
        View::MsgPack => msgpack::outlined(bytes).map_err(Mismatch::Flaw),
        View::Cbor => cbor::outlined(bytes).map_err(Mismatch::Flaw),
        View::Protobuf => protobuf::outlined(bytes).map_err(Mismatch::Flaw),
        View::Hex => Ok(seen_as_hex(bytes)),
    }
}

/// The view that suits best. Anything can be Protobuf and nearly anything GBK: those are for who knows that they are.
fn best_view(bytes: &[u8]) -> View {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if matches!(first, Some(b'{' | b'[')) && is_json(bytes) {
        View::Json
    } else if xml::is_likely(bytes) {
        View::Xml
    } else if readable(bytes).is_some() {
        View::Text
    } else if msgpack::is_likely(bytes) {
        View::MsgPack
    } else if cbor::is_likely(bytes) {
        View::Cbor
    } else {
        View::Text
    }
}

fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

fn seen_as_text(bytes: &[u8]) -> Result<Outlined, Mismatch> {
    readable(bytes).map(cut).ok_or(Mismatch::NotText)
}

fn seen_as_gbk(bytes: &[u8]) -> Result<Outlined, Mismatch> {
    let head = bytes.len().min(SHOWN_MAX);
    // A character has up to four bytes, so what is cut may end inside of one.
    let spare = if head < bytes.len() { 3 } else { 0 };
    let decoded = (0..=spare).find_map(|less| {
        let end = head - less;
        GBK.decode_without_bom_handling_and_without_replacement(&bytes[..end]).map(|text| (text, end))
    });
    let (text, end) = decoded.filter(|(text, _)| is_readable(text)).ok_or(Mismatch::NotText)?;
    Ok(Outlined { text: text.into_owned(), read: (end < bytes.len()).then_some(end) })
}

fn seen_as_json(bytes: &[u8]) -> Result<Outlined, Mismatch> {
    let text = std::str::from_utf8(bytes).ok().filter(|_| is_json(bytes)).ok_or(Mismatch::NotJson)?;
    Ok(indented(text))
}

fn cut(text: &str) -> Outlined {
    let end = floor_char_boundary(text, SHOWN_MAX);
    Outlined { text: text[..end].to_owned(), read: (end < text.len()).then_some(end) }
}

/// JSON with one value a line. Only blanks change: numbers keep their digits, members their order.
fn indented(json: &str) -> Outlined {
    let mut text = String::with_capacity(json.len().min(SHOWN_MAX) * 2);
    let (mut depth, mut is_in_text, mut is_escaped) = (0_usize, false, false);
    let new_line = |text: &mut String, depth: usize| {
        text.push('\n');
        text.extend(std::iter::repeat_n("  ", depth));
    };
    let mut rest = json.chars().peekable();
    let mut read = 0;
    while let Some(c) = rest.next() {
        if SHOWN_MAX <= text.len() {
            return Outlined { text, read: Some(read) };
        }
        read += c.len_utf8();
        if is_in_text {
            text.push(c);
            is_in_text = is_escaped || c != '"';
            is_escaped = c == '\\' && !is_escaped;
            continue;
        }
        match c {
            '{' | '[' => {
                text.push(c);
                while rest.next_if(char::is_ascii_whitespace).is_some() {
                    read += 1;
                }
                if let Some(end) = rest.next_if(|next| ['}', ']'].contains(next)) {
                    read += 1;
                    text.push(end);
                } else {
                    depth += 1;
                    new_line(&mut text, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut text, depth);
                text.push(c);
            }
            ',' => {
                text.push(c);
                new_line(&mut text, depth);
            }
            ':' => text.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => {
                is_in_text = c == '"';
                text.push(c);
            }
        }
    }
    Outlined { text, read: None }
}

/// The beginning of a body on one line.
pub fn preview(body: &[u8]) -> String {
    // A cut inside of a character must not make text look like bytes.
    let head = &body[..body.len().min(4 * PREVIEW_CHARS)];
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() && head.len() < body.len() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => {
            return head.iter().take(24).fold(String::new(), |mut line, byte| {
                // Writing to a string does not fail.
                let _ = write!(line, "{byte:02x} ");
                line
            });
        }
    };
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(PREVIEW_CHARS).collect();
    if PREVIEW_CHARS < text.chars().count() || head.len() < body.len() {
        line.push('…');
    }
    line
}

/// The text that bytes are, if one can read it.
fn readable(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| is_readable(text))
}

/// Whether text has no control characters other than blanks and line ends.
fn is_readable(text: &str) -> bool {
    text.chars().all(|c| !c.is_control() || ['\n', '\r', '\t'].contains(&c))
}

fn seen_as_hex(bytes: &[u8]) -> Outlined {
    let shown = &bytes[..bytes.len().min(HEX_MAX)];
    Outlined { text: hex(shown), read: (shown.len() < bytes.len()).then_some(shown.len()) }
}

/// Sixteen bytes a line: place, bytes, characters.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 5);
    for (line, chunk) in bytes.chunks(16).enumerate() {
        // Writing to a string does not fail.
        let _ = write!(text, "{:06x}  ", line * 16);
        for at in 0..16 {
            let _ = match chunk.get(at) {
                Some(byte) => write!(text, "{byte:02x} "),
                None => write!(text, "   "),
            };
        }
        text.push(' ');
        text.extend(chunk.iter().map(|byte| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '·' }));
        text.push('\n');
    }
    text
}

/// The last place at or before `at` where a character begins.
fn floor_char_boundary(text: &str, at: usize) -> usize {
    if text.len() <= at {
        return text.len();
    }
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// Values for tests.
#[cfg(test)]
mod arbitrary {
    use proptest::prelude::*;
    use serde_json::Value;

    /// What JSON can say.
    pub fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            // Such as are written without loss.
            (-1_000_000_i32..1_000_000).prop_map(|number| Value::from(f64::from(number) / 64.0)),
            ".{0,20}".prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 60, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::btree_map(".{0,6}", inner, 0..8)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(body: &[u8], wanted: impl Into<Option<View>>, view: View, expected: &str) {
        let seen = shown(body, wanted.into());
        assert_eq!((seen.text.as_str(), seen.view, seen.mismatch), (expected, view, None));
    }

    #[test]
    fn text_is_text_and_the_rest_is_hex() {
        check("grüße\n".as_bytes(), None, View::Text, "grüße\n");
        let bytes = shown(&[0, 1, b'a', 0xff], None);
        assert_eq!((bytes.view, bytes.mismatch), (View::Text, Some(Mismatch::NotText)));
        assert_eq!(bytes.text, format!("000000  00 01 61 ff {}··a·\n", " ".repeat(3 * 12) + " "));
    }

    #[test]
    fn json_is_indented() {
        let json = r#" { "b":17.50, "a":[1,{}, [ ]],"t":"x:\"{,}\\" } "#;
        let expected = "{\n  \"b\": 17.50,\n  \"a\": [\n    1,\n    {},\n    []\n  ],\n  \"t\": \"x:\\\"{,}\\\\\"\n}";
        check(json.as_bytes(), None, View::Json, expected);
        check(b"{no json", None, View::Text, "{no json");
        let text = shown(b"plain", Some(View::Json));
        assert_eq!((text.text.as_str(), text.mismatch), ("plain", Some(Mismatch::NotJson)));
    }

    #[test]
    fn packed_bodies_are_unpacked_before_they_are_looked_at() {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(b"[1]").unwrap();
        let packed = packer.finish().unwrap();
        let seen = shown(&packed, None);
        assert_eq!((seen.text.as_str(), seen.view, seen.unpacked), ("[\n  1\n]", View::Json, Some("gzip")));
        let broken = shown(&packed[..packed.len() - 6], None);
        assert_eq!((broken.unpacked, broken.mismatch), (None, Some(Mismatch::NotText)));
    }

    #[test]
    fn binary_formats_are_found_only_where_they_can_hardly_be_anything_else() {
        check(&[0x81, 0xa1, b'a', 1], None, View::MsgPack, "{\n  \"a\": 1\n}");
        check(&[0xa1, 0x61, b'a', 1], None, View::Cbor, "{\n  \"a\": 1\n}");
        // Each of these is valid in several formats.
        for body in [&b"plain"[..], &[0x08, 0x01], &[0x01], &[0x91, 0x01], &[0xd6, 0xd0]] {
            assert_eq!(shown(body, None).view, View::Text, "{body:02x?}");
        }
        check(&[0x08, 0x01], View::Protobuf, View::Protobuf, "1 varint: 1");
        check(&[0x91, 0x01], View::MsgPack, View::MsgPack, "[\n  1\n]");
        let other = shown(b"{\"a\":1}", Some(View::Cbor));
        assert_eq!((other.text.as_str(), other.mismatch), ("{\"a\":1}", Some(Mismatch::Flaw(Flaw::Ends(1)))));
    }

    #[test]
    fn xml_is_indented() {
        check(b"<a><b>1</b></a>", None, View::Xml, "<a>\n  <b>1</b>\n</a>");
        check(b"<a> no xml", None, View::Text, "<a> no xml");
        let text = shown(b"1 < 2", Some(View::Xml));
        assert_eq!((text.text.as_str(), text.mismatch), ("1 < 2", Some(Mismatch::Flaw(Flaw::Unknown(0)))));
    }

    #[test]
    fn gbk_is_read_by_who_asks_for_it() {
        check(&[0xd6, 0xd0, 0xce, 0xc4, b'!'], View::Gbk, View::Gbk, "中文!");
        // Four bytes, as GB 18030 has them.
        check(&[0x81, 0x30, 0x86, 0x30], View::Gbk, View::Gbk, "¸");
        for body in [&[0xff][..], &[0xd6], &[0xd6, 0xd0, 0x00]] {
            assert_eq!(shown(body, Some(View::Gbk)).mismatch, Some(Mismatch::NotText), "{body:02x?}");
        }
        let long = [b"a".as_slice(), &[0xd6, 0xd0].repeat(SHOWN_MAX)].concat();
        let seen = shown(&long, Some(View::Gbk));
        assert_eq!((seen.mismatch, seen.part), (None, Some((SHOWN_MAX - 1, 2 * SHOWN_MAX + 1))));
    }

    #[test]
    fn a_preview_is_one_short_line() {
        assert_eq!(preview(b"a\nb\tc"), "a b c");
        let long = preview("é".repeat(500).as_bytes());
        assert_eq!(long.chars().count(), PREVIEW_CHARS + 1);
        assert_eq!(preview(&[0xff, 0xfe]), "ff fe ");
        assert_eq!(preview("é".repeat(300).as_bytes()[..481].as_ref()).chars().last(), Some('…'));
    }

    #[test]
    fn long_bodies_are_cut_between_characters() {
        let text = "é".repeat(SHOWN_MAX);
        assert_eq!(shown(text.as_bytes(), None).part, Some((SHOWN_MAX, 2 * SHOWN_MAX)));
        assert_eq!(shown(&vec![0; 100_000], Some(View::Hex)).part, Some((HEX_MAX, 100_000)));
        let json = format!("[{}1]", "\"é\",".repeat(SHOWN_MAX));
        let seen = shown(json.as_bytes(), None);
        let (read, whole) = seen.part.unwrap();
        assert_eq!((seen.view, whole), (View::Json, json.len()));
        assert!(read < whole && seen.text.replace(['\n', ' '], "") == json[..read]);
        assert!(seen.text.len() < SHOWN_MAX + 200);
    }

    proptest! {
        #[test]
        fn any_bytes_are_shown_in_any_view(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..600),
                // Few kinds of bytes, so that they lie deep in each other.
                prop::collection::vec(prop::sample::select(&[0x81, 0x91, 0xa1, 0x9f, 0xbf, 0xff, 0x0a, 0x0b, 0x0c, 2, 0xc1, 0xdd][..]), 0..600),
            ],
        ) {
            for wanted in View::ALL.map(|(view, _)| Some(view)).into_iter().chain([None]) {
                let seen = shown(&bytes, wanted);
                prop_assert!(seen.text.len() <= 2 * SHOWN_MAX);
                prop_assert!(!seen.text.is_empty() || bytes.is_empty() || seen.unpacked.is_some() || seen.view == View::Text || seen.view == View::Gbk);
            }
        }
    }
}
