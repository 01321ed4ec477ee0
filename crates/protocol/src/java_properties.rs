//! Java properties, the format of `broker.conf`: the grammar of `java.util.Properties.load`, with line numbers kept.
//!
//! Operators write these files in UTF-8, and old ones in ISO-8859-1; [`decode`] takes both.
use std::borrow::Cow;
use std::fmt::Write;

/// What separates a key from its value, beside `=` and `:`.
const BLANKS: [char; 3] = [' ', '\t', '\x0c'];

/// A key and its value as they stand in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key, escapes resolved.
    pub key: String,
    /// The value, escapes resolved. Blanks at its end are part of it.
    pub value: String,
    /// Line on which the key stands, from 1.
    pub line: usize,
}

/// Why a line cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PropertiesError {
    /// `\u` is not followed by four hexadecimal digits.
    #[error("`\\u{found}` is not `\\u` and four hexadecimal digits")]
    Escape {
        /// Line of the entry.
        line: usize,
        /// What follows `\u`, at most four characters.
        found: String,
    },
    /// A `\u` escape is one half of a character that needs two.
    #[error("a `\\u` escape from D800 to DFFF stands alone; such escapes come in pairs")]
    LoneSurrogate {
        /// Line of the entry.
        line: usize,
    },
}

impl PropertiesError {
    /// Line of the entry, from 1.
    pub fn line(&self) -> usize {
        match *self {
            Self::Escape { line, .. } | Self::LoneSurrogate { line } => line,
        }
    }
}

/// The text of a file: UTF-8, with or without a byte order mark, and ISO-8859-1 if it is not UTF-8.
///
/// Comments in any other encoding become odd characters and do no harm.
pub fn decode(bytes: &[u8]) -> Cow<'_, str> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(bytes.iter().copied().map(char::from).collect()),
    }
}

/// All entries in the order of the file. A key may occur more than once.
pub fn read(text: &str) -> Result<Vec<Entry>, PropertiesError> {
    let mut entries = Vec::new();
    let mut lines = lines(text);
    while let Some((line, first)) = lines.next() {
        let first = first.trim_start_matches(BLANKS);
        if first.starts_with(['#', '!']) {
            continue;
        }
        let mut whole = Cow::Borrowed(first);
        while ends_in_open_backslash(&whole) {
            let mut joined = whole.into_owned();
            joined.pop();
            joined.push_str(lines.next().map_or("", |(_, next)| next.trim_start_matches(BLANKS)));
            whole = Cow::Owned(joined);
        }
        if !whole.is_empty() {
            entries.push(entry(&whole, line)?);
        }
    }
    Ok(entries)
}

/// Adds `key=value` and a line end to `out`, escaped so that [`read`] and Java give both back.
///
/// Everything beyond ASCII becomes `\uXXXX`, because Java reads properties from bytes as ISO-8859-1.
pub fn write_entry(out: &mut String, key: &str, value: &str) {
    for (index, letter) in key.chars().enumerate() {
        if matches!(letter, ' ' | '=' | ':') || (index == 0 && matches!(letter, '#' | '!')) {
            out.push('\\');
        }
        write_letter(out, letter);
    }
    out.push('=');
    for (index, letter) in value.chars().enumerate() {
        if index == 0 && letter == ' ' {
            out.push('\\');
        }
        write_letter(out, letter);
    }
    out.push('\n');
}

fn write_letter(out: &mut String, letter: char) {
    match letter {
        '\\' => out.push_str("\\\\"),
        '\t' => out.push_str("\\t"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\x0c' => out.push_str("\\f"),
        ' '..='~' => out.push(letter),
        _ => {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{unit:04X}");
            }
        }
    }
}

/// Lines with their numbers. A line ends with `\n`, `\r` or both.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = Some(text);
    let mut number = 0;
    std::iter::from_fn(move || {
        let text = rest?;
        number += 1;
        let Some(end) = text.find(['\r', '\n']) else {
            rest = None;
            return Some((number, text));
        };
        let after = &text[end..];
        rest = Some(&after[if after.starts_with("\r\n") { 2 } else { 1 }..]);
        Some((number, &text[..end]))
    })
}

/// Whether the last backslash is not itself escaped, so that the next line belongs to this one.
fn ends_in_open_backslash(line: &str) -> bool {
    (line.len() - line.trim_end_matches('\\').len()) % 2 == 1
}

fn entry(text: &str, line: usize) -> Result<Entry, PropertiesError> {
    let mut escaped = false;
    let ends_key = |letter: char| {
        let ends = !escaped && (matches!(letter, '=' | ':') || BLANKS.contains(&letter));
        escaped = !escaped && letter == '\\';
        ends
    };
    let (key, rest) = text.split_at(text.find(ends_key).unwrap_or(text.len()));
    let rest = rest.trim_start_matches(BLANKS);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start_matches(BLANKS);
    Ok(Entry { key: unescaped(key, line)?, value: unescaped(value, line)?, line })
}

fn unescaped(text: &str, line: usize) -> Result<String, PropertiesError> {
    if !text.contains('\\') {
        return Ok(text.to_owned());
    }
    // UTF-16, as Java counts: a character beyond FFFF is written as two escapes.
    let mut units = Vec::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        let letter = match letter {
            '\\' => match letters.next() {
                Some('u') => {
                    let found: String = letters.by_ref().take(4).collect();
                    let digits = found.len() == 4 && found.bytes().all(|byte| byte.is_ascii_hexdigit());
                    match u16::from_str_radix(&found, 16) {
                        Ok(unit) if digits => units.push(unit),
                        _ => return Err(PropertiesError::Escape { line, found }),
                    }
                    continue;
                }
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\x0c',
                Some(itself) => itself,
                None => break,
            },
            letter => letter,
        };
        units.extend_from_slice(letter.encode_utf16(&mut [0; 2]));
    }
    String::from_utf16(&units).map_err(|_| PropertiesError::LoneSurrogate { line })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `expected` is one `line:key=value` after the other, separated by blanks.
    #[track_caller]
    fn check_reads(text: &str, expected: &str) {
        let entries = read(text).unwrap();
        let told: Vec<String> =
            entries.iter().map(|entry| format!("{}:{}={}", entry.line, entry.key, entry.value)).collect();
        assert_eq!(told.join(" "), expected, "{text:?}");
    }

    #[test]
    fn a_key_ends_at_equals_colon_or_blank() {
        check_reads("a=1\nb:2\nc 3\nd\t4\ne = 5\nf : 6\n  g=7", "1:a=1 2:b=2 3:c=3 4:d=4 5:e=5 6:f=6 7:g=7");
        check_reads("a==1", "1:a==1");
        check_reads("a = = 1", "1:a== 1");
        check_reads("a", "1:a=");
        check_reads("a=", "1:a=");
        check_reads("=1", "1:=1");
        check_reads("a\\ b\\=c\\:d=1", "1:a b=c:d=1");
    }

    #[test]
    fn comments_and_empty_lines_are_no_entries_but_count_as_lines() {
        check_reads("# a=1\n\n  ! b=2\n \t\nc=3", "5:c=3");
        check_reads("# no continuation \\\na=1", "2:a=1");
        check_reads("a=1 # part of the value", "1:a=1 # part of the value");
    }

    #[test]
    fn lines_end_with_either_or_both_characters() {
        check_reads("a=1\r\nb=2\rc=3\n\rd=4", "1:a=1 2:b=2 3:c=3 5:d=4");
    }

    #[test]
    fn a_backslash_at_the_end_joins_the_next_line() {
        check_reads("a=1,\\\n   2,\\\n   3\nb=4", "1:a=1,2,3 4:b=4");
        check_reads("a=1\\\\\nb=2", "1:a=1\\ 2:b=2");
        check_reads("a=1\\\n# part of the value", "1:a=1# part of the value");
        check_reads("a=1\\\n\nb=2", "1:a=1 3:b=2");
        check_reads("a=1\\", "1:a=1");
        check_reads("\\\n\\\n", "");
    }

    #[test]
    fn escapes_are_resolved() {
        check_reads("a=C:\\\\data\\ttab", "1:a=C:\\data\ttab");
        check_reads("a=\\u4E2d\\u6587 \\uD83D\\uDE80", "1:a=中文 🚀");
        check_reads("a=\\q\\#\\!", "1:a=q#!");
    }

    #[test]
    fn a_broken_escape_names_its_line() {
        let refused = |text| {
            let error = read(text).unwrap_err();
            format!("{}: {error}", error.line())
        };
        assert_eq!(refused("a=1\nb=\\u12g4"), "2: `\\u12g4` is not `\\u` and four hexadecimal digits");
        assert_eq!(refused("a=\\u+123"), "1: `\\u+123` is not `\\u` and four hexadecimal digits");
        assert_eq!(refused("\n\na=\\u12"), "3: `\\u12` is not `\\u` and four hexadecimal digits");
        assert_eq!(
            refused("a=\\uD83D!"),
            "1: a `\\u` escape from D800 to DFFF stands alone; such escapes come in pairs"
        );
    }

    #[test]
    fn utf_8_and_iso_8859_1_are_both_text() {
        assert_eq!(decode("\u{feff}a=中".as_bytes()), "a=中");
        assert_eq!(decode(b"a=caf\xe9"), "a=café");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&decode(&bytes));
        }

        #[test]
        fn no_mixture_of_special_characters_makes_the_reader_panic(text in "[\\\\u0-9aD=: #!\\r\\n\\t]{0,60}") {
            let _ = read(&text);
        }

        #[test]
        fn what_was_written_is_read_back(
            pairs in prop::collection::vec(
                (prop::collection::vec(any::<char>(), 0..12), prop::collection::vec(any::<char>(), 0..12)),
                0..6,
            )
        ) {
            let mut text = String::new();
            let mut expected = Vec::new();
            for (index, (key, value)) in pairs.into_iter().enumerate() {
                let (key, value) = (String::from_iter(key), String::from_iter(value));
                write_entry(&mut text, &key, &value);
                expected.push(Entry { key, value, line: index + 1 });
            }
            prop_assert!(text.is_ascii());
            prop_assert_eq!(read(&text).unwrap(), expected);
        }
    }
}
