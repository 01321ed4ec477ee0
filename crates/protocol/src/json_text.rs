//! The text of JSON: white space, resolving escapes when reading, and escaping when writing.

use crate::scan;

/// Where white space from `at` on ends; the end of `bytes` when nothing else follows.
#[inline]
pub(crate) fn skip_white_space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(at) {
        at += 1;
    }
    at
}

/// Resolves the escapes of the inside of a JSON string. A broken escape is taken literally and a lone surrogate
/// becomes the replacement character: what a client meant by it cannot be known, and refusing the whole request
/// for it would help nobody.
pub fn unescape(raw: &[u8]) -> String {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = scan::position(rest, 0, b'\\') {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        let Some((kind, after)) = rest.split_first() else { break };
        rest = after;
        let plain = match kind {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            // Separators of properties come as these, several in each message.
            b'u' if let [b'0', b'0', b'0', digit @ b'1'..=b'9', after @ ..] = rest => {
                rest = after;
                digit - b'0'
            }
            b'u' => {
                let (character, after) = unicode(rest);
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = after;
                continue;
            }
            other => *other,
        };
        out.push(plain);
    }
    out.extend_from_slice(rest);
    match String::from_utf8(out) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }
}

/// Reads what follows `\u`, a surrogate pair included.
fn unicode(rest: &[u8]) -> (char, &[u8]) {
    let Some(first) = hex4(rest) else { return (char::REPLACEMENT_CHARACTER, rest) };
    let rest = &rest[4..];
    if let Some(character) = char::from_u32(first) {
        return (character, rest);
    }
    if (0xD800..0xDC00).contains(&first)
        && let Some(after) = rest.strip_prefix(b"\\u")
        && let Some(second) = hex4(after).filter(|second| (0xDC00..0xE000).contains(second))
        && let Some(character) = char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00))
    {
        return (character, &after[4..]);
    }
    (char::REPLACEMENT_CHARACTER, rest)
}

fn hex4(bytes: &[u8]) -> Option<u32> {
    bytes.get(..4)?.iter().try_fold(0, |value, byte| Some(value << 4 | (*byte as char).to_digit(16)?))
}

/// Appends `text` as the inside of a JSON string.
pub fn escape_into(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut clean_from = 0;
    while let Some(at) = scan::to_be_escaped(bytes, clean_from) {
        out.extend_from_slice(&bytes[clean_from..at]);
        clean_from = at + 1;
        match bytes[at] {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.push(DIGITS[usize::from(control >> 4)]);
                out.push(DIGITS[usize::from(control & 15)]);
            }
        }
    }
    out.extend_from_slice(&bytes[clean_from..]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_are_resolved() {
        assert_eq!(unescape(br#"a\u0001b\u0002\n\"\\\/\ud83d\ude00\u6807"#), "a\u{1}b\u{2}\n\"\\/😀标");
        for (raw, expected) in
            [(r"\ud83d", "\u{FFFD}"), (r"\ud83dx", "\u{FFFD}x"), (r"\u12", "\u{FFFD}12"), ("a\\", "a")]
        {
            assert_eq!(unescape(raw.as_bytes()), expected, "{raw}");
        }
    }

    proptest! {
        #[test]
        fn what_was_escaped_reads_back(text in any::<String>()) {
            let mut out = Vec::new();
            escape_into(&mut out, &text);
            prop_assert_eq!(unescape(&out), text.clone());
            let quoted = format!("\"{}\"", String::from_utf8(out).unwrap());
            prop_assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), text);
        }

        #[test]
        fn no_bytes_make_it_panic(raw in proptest::collection::vec(any::<u8>(), 0..64)) {
            unescape(&raw);
        }
    }
}
