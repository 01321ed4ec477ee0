//! Handles by which producers take a delayed message back.
//!
//! URL-safe base64, padded, of `v1`, topic, broker, due time in milliseconds since 1970, and unique id, with blanks
//! between. Clients decode it to find the broker. Source: `common/.../producer/RecallMessageHandle.java`.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Longest handle that is read, in bytes: a topic of 255, a broker of 127 and an id of 32 KiB do not come together.
pub const HANDLE_BYTES_MAX: usize = 4096;

const VERSION: &str = "v1";
/// Padding is written, and may be missing.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a handle says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecallHandle<'a> {
    /// Topic of the message.
    pub topic: Cow<'a, str>,
    /// Broker that keeps it.
    pub broker: Cow<'a, str>,
    /// When it is due, in milliseconds since 1970.
    pub due_ms: i64,
    /// Its unique id.
    pub unique_id: Cow<'a, str>,
}

/// Why a handle cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandleError {
    /// It is too long.
    #[error("the handle is {bytes} bytes long; the limit is {HANDLE_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It is not base64, or not text.
    #[error("the handle is not URL-safe base64 of text")]
    Encoding,
    /// It is of a version that is not known.
    #[error("the handle has version `{0}`; v1 is known")]
    Version(String),
    /// Something is missing in it.
    #[error("the handle has {found} parts; it must have 5")]
    Parts {
        /// Parts that are there.
        found: usize,
    },
    /// The due time is no number.
    #[error("the due time `{0}` of the handle is no number")]
    DueTime(String),
}

impl RecallHandle<'_> {
    /// Reads a handle.
    pub fn parse(text: &str) -> Result<RecallHandle<'static>, HandleError> {
        if text.len() > HANDLE_BYTES_MAX {
            return Err(HandleError::TooLong { bytes: text.len() });
        }
        let bytes = BASE64.decode(text).map_err(|_| HandleError::Encoding)?;
        let text = String::from_utf8(bytes).map_err(|_| HandleError::Encoding)?;
        let short = |part: &str| part.chars().take(40).collect::<String>();
        let parts: Vec<&str> = text.split(' ').collect();
        if parts[0] != VERSION {
            return Err(HandleError::Version(short(parts[0])));
        }
        let [_, topic, broker, due, unique_id] = parts[..] else {
            return Err(HandleError::Parts { found: parts.len() });
        };
        let due_ms = due.parse().map_err(|_| HandleError::DueTime(short(due)))?;
        let owned = |part: &str| Cow::Owned(part.to_owned());
        Ok(RecallHandle { topic: owned(topic), broker: owned(broker), due_ms, unique_id: owned(unique_id) })
    }
}

/// The handle as clients get it.
impl fmt::Display for RecallHandle<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RecallHandle { topic, broker, due_ms, unique_id } = self;
        out.write_str(&BASE64.encode(format!("{VERSION} {topic} {broker} {due_ms} {unique_id}")))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_recorded_handle_is_read_and_written() {
        let text = "djEgSmF2YURlbGF5IGJyb2tlci1hIDE3OTU1ODE2MzUwMDEgRkQwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDIwRTdDNEUwRTJGMkE3Qzk5NzgzQzAwMDE=";
        let handle = RecallHandle::parse(text).unwrap();
        let expected = RecallHandle {
            topic: "JavaDelay".into(),
            broker: "broker-a".into(),
            due_ms: 1_795_581_635_001,
            unique_id: "FD0000000000000000000000000000020E7C4E0E2F2A7C99783C0001".into(),
        };
        assert_eq!(handle, expected);
        assert_eq!(handle.to_string(), text);
        assert_eq!(RecallHandle::parse(text.trim_end_matches('=')), Ok(expected));
    }

    #[test]
    fn what_is_no_handle_is_refused_with_its_reason() {
        let error = |text: &str| RecallHandle::parse(&BASE64.encode(text)).unwrap_err();
        assert_eq!(RecallHandle::parse("xx!x"), Err(HandleError::Encoding));
        assert_eq!(RecallHandle::parse("_w=="), Err(HandleError::Encoding));
        assert_eq!(RecallHandle::parse(&"x".repeat(5000)), Err(HandleError::TooLong { bytes: 5000 }));
        assert_eq!(error("v2 t b 1 u"), HandleError::Version("v2".into()));
        assert_eq!(error(""), HandleError::Version(String::new()));
        assert_eq!(error("v1 t b 1"), HandleError::Parts { found: 4 });
        assert_eq!(error("v1 t b 1 u u"), HandleError::Parts { found: 6 });
        assert_eq!(error("v1 t b soon u"), HandleError::DueTime("soon".into()));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_back(topic in "[a-z%]{1,20}", broker in "[a-z-]{0,9}", due_ms: i64, id in "[^ ]{0,60}") {
            let handle =
                RecallHandle { topic: topic.into(), broker: broker.into(), due_ms, unique_id: id.into() };
            prop_assert_eq!(RecallHandle::parse(&handle.to_string()), Ok(handle));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,60}", bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = RecallHandle::parse(&text);
            let _ = RecallHandle::parse(&BASE64.encode(bytes));
        }
    }
}
