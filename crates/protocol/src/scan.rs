//! Finding bytes, eight at a time. Headers, texts and properties of a message are looked through several times on its
//! way, and most of their pieces are too short for anything cleverer.

const ONES: u64 = u64::MAX / 255;
const HIGHS: u64 = ONES << 7;

/// Marks the bytes of `word` that equal `byte`. Exact up to the first one, which is all that is used.
#[inline]
fn equal(word: u64, byte: u8) -> u64 {
    let differing = word ^ (ONES * u64::from(byte));
    differing.wrapping_sub(ONES) & !differing & HIGHS
}

/// Marks the bytes of `word` below `limit`, which is at most 128. Exact up to the first one.
#[inline]
fn below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(ONES * u64::from(limit)) & !word & HIGHS
}

/// Where the first byte lies, from `at` on, that `marks` marks in a word and `is_wanted` accepts.
#[inline]
fn find(bytes: &[u8], mut at: usize, marks: impl Fn(u64) -> u64, is_wanted: impl Fn(u8) -> bool) -> Option<usize> {
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let found = marks(u64::from_le_bytes(*chunk));
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = bytes.get(at..)?;
    rest.iter().position(|byte| is_wanted(*byte)).map(|found| at + found)
}

/// Where `wanted` lies first, from `at` on.
#[inline]
pub(crate) fn position(bytes: &[u8], at: usize, wanted: u8) -> Option<usize> {
    find(bytes, at, |word| equal(word, wanted), |byte| byte == wanted)
}

/// Where a quote or a backslash lies first, from `at` on.
#[inline]
pub(crate) fn quote_or_backslash(bytes: &[u8], at: usize) -> Option<usize> {
    find(bytes, at, |word| equal(word, b'"') | equal(word, b'\\'), |byte| matches!(byte, b'"' | b'\\'))
}

/// Where a byte lies first, from `at` on, that JSON text has to escape.
#[inline]
pub(crate) fn to_be_escaped(bytes: &[u8], at: usize) -> Option<usize> {
    let marks = |word| equal(word, b'"') | equal(word, b'\\') | below(word, 0x20);
    find(bytes, at, marks, |byte| matches!(byte, b'"' | b'\\' | 0..0x20))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_found_is_what_a_byte_by_byte_search_finds(
            bytes in proptest::collection::vec(prop_oneof![any::<u8>(), 0x1f_u8..0x24, 0x5b_u8..0x5e, 0x7f_u8..0x82], 0..40),
            at in 0usize..45, wanted in any::<u8>(),
        ) {
            let slow = |is_wanted: &dyn Fn(u8) -> bool| {
                bytes.get(at..)?.iter().position(|byte| is_wanted(*byte)).map(|found| at + found)
            };
            prop_assert_eq!(position(&bytes, at, wanted), slow(&|byte| byte == wanted));
            prop_assert_eq!(quote_or_backslash(&bytes, at), slow(&|byte| byte == b'"' || byte == b'\\'));
            prop_assert_eq!(to_be_escaped(&bytes, at), slow(&|byte| byte < 0x20 || byte == b'"' || byte == b'\\'));
        }
    }
}
