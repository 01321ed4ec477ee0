//! Damage that is met while the log is open: what is lost is told, what can be made anew is ([`crate::repair`]).

use std::collections::BTreeSet;

use crate::position::{LogPosition, QueueNumber};

/// Lost records that are remembered, so that each is told once.
const TOLD_MAX: usize = 100_000;

/// Something that was damaged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// A record is not what was stored. Consumers pass over it.
    #[error(
        "the message at offset {queue_offset} of queue {queue_id} of topic `{topic}`, position {position}, is damaged and lost"
    )]
    LostRecord {
        /// Topic of the queue.
        topic: String,
        /// Its id.
        queue_id: u32,
        /// Offset in the queue.
        queue_offset: u64,
        /// Where the record lies.
        position: LogPosition,
    },
    /// Part of an index was damaged and made anew from the log.
    #[error("{what} was damaged; it was made anew from the log")]
    MadeAnew {
        /// Which part.
        what: String,
    },
}

/// What was met and is not dealt with yet.
#[derive(Debug, Default)]
pub(crate) struct Damaged {
    /// Blocks of the queue index, by queue and first offset.
    pub blocks: BTreeSet<(u32, u64)>,
    /// Hours of the due index.
    pub hours: BTreeSet<i64>,
    /// Runs of the key index.
    pub runs: BTreeSet<u64>,
    /// Positions of records that were told.
    lost: BTreeSet<u64>,
    news: Vec<Damage>,
}

impl Damaged {
    /// Whether nothing has to be made anew.
    pub fn is_repaired(&self) -> bool {
        self.blocks.is_empty() && self.hours.is_empty() && self.runs.is_empty()
    }

    /// Tells of a lost record, once.
    pub fn lost(&mut self, position: u64, tell: impl FnOnce() -> Damage) {
        if self.lost.len() < TOLD_MAX && self.lost.insert(position) {
            self.news.push(tell());
        }
    }

    /// Tells that something was made anew.
    pub fn made_anew(&mut self, what: String) {
        self.news.push(Damage::MadeAnew { what });
    }

    /// What was not told yet.
    pub fn take_news(&mut self) -> Vec<Damage> {
        std::mem::take(&mut self.news)
    }
}

impl crate::log::Log {
    /// Damage that was found since the last call, each once.
    pub fn take_damage(&self) -> Vec<Damage> {
        self.damaged().take_news()
    }

    /// Notes that a record of a queue is not what was stored.
    pub(crate) fn note_lost(&self, queue: QueueNumber, queue_offset: u64, position: u64) {
        let (topic, queue_id) = self.published().queues.name(queue).unwrap_or_default();
        self.damaged().lost(position, || Damage::LostRecord {
            topic,
            queue_id,
            queue_offset,
            position: LogPosition(position),
        });
    }
}

/// The bit of a message of `bytes` bytes whose flip changes its CRC-32 by `difference`, counted from the first byte's
/// lowest bit on; `None` if no single one does.
pub(crate) fn flipped_bit(difference: u32, bytes: usize) -> Option<usize> {
    /// What a flip of the last bit that goes into the sum does to it: the polynomial, lowest bit first.
    const LAST_BIT: u32 = 0xEDB8_8320;
    let mut effect = LAST_BIT;
    for bit in (0..bytes * 8).rev() {
        if effect == difference {
            return Some(bit);
        }
        effect = if effect & 1 == 1 { (effect >> 1) ^ LAST_BIT } else { effect >> 1 };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_is_found_by_what_it_does_to_the_sum() {
        let mut bytes: Vec<u8> = (0..100_u8).map(|at| at.wrapping_mul(37)).collect();
        let sum = crc32fast::hash(&bytes);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(flipped_bit(crc32fast::hash(&bytes) ^ sum, bytes.len()), Some(bit));
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(flipped_bit(0, bytes.len()), None);
        // A bit of the sum itself is none of the bytes.
        assert!((0..32).all(|bit| flipped_bit(1 << bit, bytes.len()).is_none()));
    }
}
