//! What a message of the load generator says about itself, in the first bytes of its body.
//!
//! | bytes | what |
//! | --- | --- |
//! | 4 | `APGB` |
//! | 4 | number of the run, so that messages of earlier runs are told apart |
//! | 4 | number of the producing connection |
//! | 8 | sequence number: 0, 1, 2, … for each producing connection and queue |
//! | 8 | every lower number than this had been answered when the message was sent |
//! | 8 | a time: see [`Label::time`] |
//!
//! The fifth line makes an exact check of order possible for pipelined sends: of two sends that are under way
//! together either may come first, but a message that was answered before another one was sent must lie before it.

/// Bytes that a label takes; bodies that carry one are at least as long.
pub const LABEL_BYTES: usize = 36;

/// Sequence number of messages that must never be delivered.
pub const ROLLED_BACK: u64 = u64::MAX;

const MAGIC: [u8; 4] = *b"APGB";
const SEQUENCE_AT: usize = 12;

/// What is the same in all messages of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Number of the run.
    pub run: u32,
    /// Number of the producing connection.
    pub producer: u32,
}

/// What differs from message to message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// Sequence number within the producing connection and the queue, or [`ROLLED_BACK`].
    pub sequence: u64,
    /// Every lower sequence number had been answered when this message was sent.
    pub answered_below: u64,
    /// Of a delayed message when it is due, in milliseconds since 1970; of any other one when it was to be sent, in
    /// nanoseconds since the run started.
    pub time: u64,
}

impl Origin {
    /// Writes what is the same in all messages into the first bytes of a body.
    pub fn put(self, body: &mut [u8]) {
        body[..4].copy_from_slice(&MAGIC);
        body[4..8].copy_from_slice(&self.run.to_be_bytes());
        body[8..12].copy_from_slice(&self.producer.to_be_bytes());
    }
}

impl Label {
    /// Writes the label behind what [`Origin::put`] wrote.
    pub fn put(self, body: &mut [u8]) {
        for (at, value) in [self.sequence, self.answered_below, self.time].into_iter().enumerate() {
            let at = SEQUENCE_AT + 8 * at;
            body[at..at + 8].copy_from_slice(&value.to_be_bytes());
        }
    }
}

/// Reads origin and label of a body; `None` for messages of anyone else.
pub fn read(body: &[u8]) -> Option<(Origin, Label)> {
    let bytes: &[u8; LABEL_BYTES] = body.first_chunk()?;
    if bytes[..4] != MAGIC {
        return None;
    }
    let short = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let long = |at: usize| u64::from(short(at)) << 32 | u64::from(short(at + 4));
    let label =
        Label { sequence: long(SEQUENCE_AT), answered_below: long(SEQUENCE_AT + 8), time: long(SEQUENCE_AT + 16) };
    Some((Origin { run: short(4), producer: short(8) }, label))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_read_back_as_written() {
        let origin = Origin { run: 0xDEAD_BEEF, producer: 7 };
        let label = Label { sequence: u64::MAX - 1, answered_below: 3, time: 1_763_791_200_123 };
        let mut body = [b'x'; LABEL_BYTES + 3];
        origin.put(&mut body);
        label.put(&mut body);
        assert_eq!(read(&body), Some((origin, label)));
        assert_eq!(&body[LABEL_BYTES..], b"xxx");
        assert_eq!(read(&body[..LABEL_BYTES - 1]), None);
        body[0] = b'x';
        assert_eq!(read(&body), None);
    }
}
