//! Bodies of messages, as people can read them.

use std::fmt::Write as _;
use std::io::Read;

use serde::de::IgnoredAny;

/// Most bytes of an unpacked body.
const UNPACKED_MAX: u64 = 8 * 1024 * 1024;

/// Most bytes of a body that a page shows.
pub const SHOWN_MAX: usize = 256 * 1024;

/// Most bytes that are shown as hex: each takes five on the page.
const HEX_MAX: usize = 16 * 1024;

/// Most characters in a row of a list.
const PREVIEW_CHARS: usize = 120;

/// How a body is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// As text if it is text, else as hex.
    Text,
    /// As JSON, indented.
    Json,
    /// Byte by byte.
    Hex,
}

impl View {
    /// All, as addresses have them.
    pub const ALL: [(View, &'static str); 3] = [(View::Text, "text"), (View::Json, "json"), (View::Hex, "hex")];

    /// The view of that name.
    pub fn of_name(name: &str) -> Option<View> {
        View::ALL.into_iter().find(|(_, known)| *known == name).map(|(view, _)| view)
    }
}

/// What a body turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The text to show.
    pub text: String,
    /// Packing that was undone.
    pub unpacked: Option<&'static str>,
    /// Whether it is what was asked for: not hex instead of text.
    pub as_asked: bool,
    /// Bytes that are shown, of all.
    pub part: Option<(usize, usize)>,
}

/// A body as it is to be shown.
pub fn shown(body: &[u8], view: View) -> Shown {
    let (unpacked, bytes) = unpack(body);
    let bytes = bytes.as_deref().unwrap_or(body);
    let whole = bytes.len();
    match view {
        View::Text => match text(bytes) {
            Some(text) => {
                let cut = floor_char_boundary(text, SHOWN_MAX);
                let part = (cut < text.len()).then_some((cut, whole));
                Shown { text: text[..cut].to_owned(), unpacked, as_asked: true, part }
            }
            None => Shown { as_asked: false, ..hex_shown(bytes, unpacked) },
        },
        View::Json => match std::str::from_utf8(bytes) {
            Ok(text) if whole <= SHOWN_MAX && is_json(bytes) => {
                Shown { text: indented(text), unpacked, as_asked: true, part: None }
            }
            _ => Shown { as_asked: false, ..shown(body, View::Text) },
        },
        View::Hex => hex_shown(bytes, unpacked),
    }
}

/// The view that suits a body best.
pub fn best_view(body: &[u8]) -> View {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    let may_be_json = matches!(first, Some(b'{' | b'[')) && body.len() <= SHOWN_MAX;
    if may_be_json && is_json(body) { View::Json } else { View::Text }
}

fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

/// JSON with one value a line. Only blanks change: numbers keep their digits, members their order.
fn indented(json: &str) -> String {
    let mut text = String::with_capacity(json.len() * 2);
    let (mut depth, mut is_in_text, mut is_escaped) = (0_usize, false, false);
    let new_line = |text: &mut String, depth: usize| {
        text.push('\n');
        text.extend(std::iter::repeat_n("  ", depth));
    };
    let mut rest = json.chars().peekable();
    while let Some(c) = rest.next() {
        if is_in_text {
            text.push(c);
            is_in_text = is_escaped || c != '"';
            is_escaped = c == '\\' && !is_escaped;
            continue;
        }
        match c {
            '{' | '[' => {
                text.push(c);
                while rest.next_if(char::is_ascii_whitespace).is_some() {}
                if let Some(end) = rest.next_if(|next| ['}', ']'].contains(next)) {
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
    text
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

/// Text without control characters other than blanks and line ends.
fn text(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let is_readable = |c: char| !c.is_control() || ['\n', '\r', '\t'].contains(&c);
    text.chars().all(is_readable).then_some(text)
}

fn hex_shown(bytes: &[u8], unpacked: Option<&'static str>) -> Shown {
    let shown = &bytes[..bytes.len().min(HEX_MAX)];
    let part = (shown.len() < bytes.len()).then_some((shown.len(), bytes.len()));
    Shown { text: hex(shown), unpacked, as_asked: true, part }
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

/// What is inside of a packed body.
fn unpack(body: &[u8]) -> (Option<&'static str>, Option<Vec<u8>>) {
    let mut inside = Vec::new();
    let (name, read) = match body {
        [0x1f, 0x8b, 8, ..] => ("gzip", flate2::read::GzDecoder::new(body).take(UNPACKED_MAX).read_to_end(&mut inside)),
        [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..] => {
            ("zlib", flate2::read::ZlibDecoder::new(body).take(UNPACKED_MAX).read_to_end(&mut inside))
        }
        _ => return (None, None),
    };
    match read {
        Ok(_) => (Some(name), Some(inside)),
        Err(_) => (None, None),
    }
}

/// The last place at or before `at` where a character begins.
fn floor_char_boundary(text: &str, at: usize) -> usize {
    if text.len() <= at {
        return text.len();
    }
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn text_is_text_and_the_rest_is_hex() {
        assert_eq!(shown("grüße\n".as_bytes(), View::Text).text, "grüße\n");
        let bytes = shown(&[0, 1, b'a', 0xff], View::Text);
        assert!(!bytes.as_asked);
        assert_eq!(bytes.text, format!("000000  00 01 61 ff {}··a·\n", " ".repeat(3 * 12) + " "));
    }

    #[test]
    fn json_is_indented() {
        assert_eq!(best_view(b" {\"a\":[1]}"), View::Json);
        assert_eq!(best_view(b"{no json"), View::Text);
        let json = r#" { "b":17.50, "a":[1,{}, [ ]],"t":"x:\"{,}\\" } "#;
        let expected = "{\n  \"b\": 17.50,\n  \"a\": [\n    1,\n    {},\n    []\n  ],\n  \"t\": \"x:\\\"{,}\\\\\"\n}";
        assert_eq!(shown(json.as_bytes(), View::Json).text, expected);
        let text = shown(b"plain", View::Json);
        assert_eq!((text.text.as_str(), text.as_asked), ("plain", false));
    }

    #[test]
    fn packed_bodies_are_unpacked() {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(b"inside").unwrap();
        let packed = packer.finish().unwrap();
        let seen = shown(&packed, View::Text);
        assert_eq!((seen.text.as_str(), seen.unpacked), ("inside", Some("gzip")));
        assert!(!shown(&packed[..packed.len() - 6], View::Text).as_asked);
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
        let seen = shown(text.as_bytes(), View::Text);
        assert_eq!(seen.part, Some((SHOWN_MAX, 2 * SHOWN_MAX)));
        assert_eq!(shown(&vec![0; 100_000], View::Hex).part, Some((HEX_MAX, 100_000)));
    }
}
