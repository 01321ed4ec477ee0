//! Frames: a length, a header in one of two codecs, a body.
//!
//! ```text
//! offset  size  field
//! 0       4     total      bytes after this field: 4 + header + body
//! 4       1     codec      0 JSON, 1 binary
//! 5       3     header length
//! 8       h     header
//! 8+h     b     body
//! ```
//! Source: `remoting/.../protocol/RemotingCommand.java`, `remoting/.../netty/NettyDecoder.java`.

/// Largest frame, the length field included (`com.rocketmq.remoting.frameMaxLength`).
pub const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How a header is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// A JSON object.
    Json,
    /// Upstream's `ROCKETMQ` binary form.
    Binary,
}

impl Codec {
    /// The codec of that number; `None` for one that nobody knows.
    pub fn from_number(number: u8) -> Option<Codec> {
        match number {
            0 => Some(Codec::Json),
            1 => Some(Codec::Binary),
            _ => None,
        }
    }

    /// Number of the codec on the wire.
    pub fn number(self) -> u8 {
        match self {
            Codec::Json => 0,
            Codec::Binary => 1,
        }
    }
}

/// One whole frame, where it lies in the receive buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Number of the header's codec.
    pub codec_number: u8,
    /// Header bytes.
    pub header: &'a [u8],
    /// Body bytes; an absent body is an empty one.
    pub body: &'a [u8],
    /// Bytes of the whole frame, the length field included.
    pub size: usize,
}

/// Why bytes are no frame. The stream cannot be followed any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is below 4, negative, or passes the limit.
    #[error("frame length {length} is not between 4 and {limit}")]
    Length {
        /// The length that was announced.
        length: i32,
        /// The largest length allowed.
        limit: usize,
    },
    /// The header would end after the frame.
    #[error("header of {header} bytes in a frame with room for {room}")]
    HeaderLength {
        /// Announced header length.
        header: usize,
        /// Bytes that the frame has for header and body.
        room: usize,
    },
}

/// Splits the first frame off `bytes`; `None` when it has not arrived completely.
///
/// A length that cannot be right is reported as soon as its four bytes are there, so that nobody waits for, or
/// makes room for, two gigabytes that will never come.
pub fn split(bytes: &[u8]) -> Result<Option<Frame<'_>>, FrameError> {
    let Some(length) = word_at(bytes, 0) else { return Ok(None) };
    let total = length as usize;
    if !(4..=FRAME_BYTES_MAX - 4).contains(&total) {
        return Err(FrameError::Length { length: length as i32, limit: FRAME_BYTES_MAX - 4 });
    }
    let Some(word) = word_at(bytes, 4) else { return Ok(None) };
    let header = (word & 0x00FF_FFFF) as usize;
    if header > total - 4 {
        return Err(FrameError::HeaderLength { header, room: total - 4 });
    }
    let Some(frame) = bytes.get(8..4 + total) else { return Ok(None) };
    let (header, body) = frame.split_at(header);
    Ok(Some(Frame { codec_number: (word >> 24) as u8, header, body, size: 4 + total }))
}

fn word_at(bytes: &[u8], at: usize) -> Option<u32> {
    let raw = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes([raw[0], raw[1], raw[2], raw[3]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_split_only_when_whole() {
        let bytes = [0, 0, 0, 9, 1, 0, 0, 2, b'h', b'i', b'a', b'b', b'c', 99];
        for cut in 0..13 {
            assert_eq!(split(&bytes[..cut]), Ok(None), "{cut}");
        }
        let frame = split(&bytes).unwrap().unwrap();
        assert_eq!((frame.codec_number, frame.header, frame.body, frame.size), (1, &b"hi"[..], &b"abc"[..], 13));
    }

    #[test]
    fn lengths_that_cannot_be_are_refused_at_once() {
        for length in [0i32, 3, -1, i32::MIN, i32::MAX, (FRAME_BYTES_MAX - 3) as i32] {
            assert!(matches!(split(&length.to_be_bytes()), Err(FrameError::Length { .. })), "{length}");
        }
        assert_eq!(split(&[0, 0, 0, 5, 0, 0, 0, 2]), Err(FrameError::HeaderLength { header: 2, room: 1 }));
    }
}
