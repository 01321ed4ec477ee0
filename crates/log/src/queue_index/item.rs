//! What the files of the queue index are made of: blocks of entries, definitions of queues, and notes that a queue was
//! deleted. Drawn in `docs/formats/log.md`.

use crate::segment::{i64_at, u32_at, u64_at};

/// Bytes before each item's payload.
pub(crate) const HEADER_BYTES: usize = 64;
/// Bytes of one entry.
pub(crate) const ENTRY_BYTES: usize = 24;
/// Entries of a full block.
pub(crate) const BLOCK_ENTRIES: usize = 128;
/// Bytes of a full block.
pub(crate) const BLOCK_BYTES_MAX: usize = HEADER_BYTES + BLOCK_ENTRIES * ENTRY_BYTES;

/// Begins each item; the last byte is the version.
pub(crate) const MAGIC: &[u8; 4] = b"AQI1";
/// Where the checksum of an item's header lies.
pub(crate) const CRC_AT: usize = 60;

/// Where a message of a queue lies and what filters and searches need to know of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexEntry {
    /// Position in the commit log.
    pub position: u64,
    /// When the log took it.
    pub store_timestamp_ms: i64,
    /// Bytes of the record.
    pub size: u32,
    /// Hash of its tag.
    pub tag_hash: i32,
}

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Entries with consecutive queue offsets.
    Block,
    /// Number, topic and queue id of a queue, and its next offset.
    Definition,
    /// The queue with this number is no more.
    Deletion,
}

/// The part of an item that is read at open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub kind: Kind,
    /// Entries of a block, bytes of a topic.
    pub count: u16,
    pub queue: u32,
    /// Queue id of a definition.
    pub queue_id: u32,
    /// First offset of a block, next offset of a definition.
    pub offset: u64,
    pub first_position: u64,
    pub last_position: u64,
    pub first_ms: i64,
    pub last_ms: i64,
    pub payload_crc: u32,
}

impl Header {
    /// Bytes after the header.
    pub fn payload_bytes(&self) -> usize {
        match self.kind {
            Kind::Block => usize::from(self.count) * ENTRY_BYTES,
            Kind::Definition => usize::from(self.count),
            Kind::Deletion => 0,
        }
    }

    /// Reads a header; `None` when the bytes are damaged or none.
    pub fn parse(bytes: &[u8]) -> Option<Header> {
        let bytes = bytes.get(..HEADER_BYTES)?;
        if &bytes[..4] != MAGIC || u32_at(bytes, CRC_AT) != crc32fast::hash(&bytes[..CRC_AT]) {
            return None;
        }
        let kind = match u16::from_be_bytes([bytes[4], bytes[5]]) {
            1 => Kind::Block,
            2 => Kind::Definition,
            3 => Kind::Deletion,
            _ => return None,
        };
        Some(Header {
            kind,
            count: u16::from_be_bytes([bytes[6], bytes[7]]),
            queue: u32_at(bytes, 8),
            queue_id: u32_at(bytes, 12),
            offset: u64_at(bytes, 16),
            first_position: u64_at(bytes, 24),
            last_position: u64_at(bytes, 32),
            first_ms: i64_at(bytes, 40),
            last_ms: i64_at(bytes, 48),
            payload_crc: u32_at(bytes, 56),
        })
    }

    fn push(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let kind: u16 = match self.kind {
            Kind::Block => 1,
            Kind::Definition => 2,
            Kind::Deletion => 3,
        };
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&self.count.to_be_bytes());
        out.extend_from_slice(&self.queue.to_be_bytes());
        out.extend_from_slice(&self.queue_id.to_be_bytes());
        out.extend_from_slice(&self.offset.to_be_bytes());
        out.extend_from_slice(&self.first_position.to_be_bytes());
        out.extend_from_slice(&self.last_position.to_be_bytes());
        out.extend_from_slice(&self.first_ms.to_be_bytes());
        out.extend_from_slice(&self.last_ms.to_be_bytes());
        out.extend_from_slice(&self.payload_crc.to_be_bytes());
        let crc = crc32fast::hash(&out[start..]);
        out.extend_from_slice(&crc.to_be_bytes());
    }
}

/// Appends a block of at least one and at most [`BLOCK_ENTRIES`] entries.
pub(crate) fn push_block(queue: u32, base: u64, entries: &[IndexEntry], out: &mut Vec<u8>) {
    debug_assert!((1..=BLOCK_ENTRIES).contains(&entries.len()));
    let (first, last) = (entries[0], entries[entries.len() - 1]);
    // The checksum of the entries stands before them: encode them first, then close the header.
    let start = out.len();
    out.resize(start + HEADER_BYTES, 0);
    for entry in entries {
        out.extend_from_slice(&entry.position.to_be_bytes());
        out.extend_from_slice(&entry.store_timestamp_ms.to_be_bytes());
        out.extend_from_slice(&entry.size.to_be_bytes());
        out.extend_from_slice(&entry.tag_hash.to_be_bytes());
    }
    let header = Header {
        kind: Kind::Block,
        count: entries.len() as u16,
        queue,
        queue_id: 0,
        offset: base,
        first_position: first.position,
        last_position: last.position,
        first_ms: first.store_timestamp_ms,
        last_ms: last.store_timestamp_ms,
        payload_crc: crc32fast::hash(&out[start + HEADER_BYTES..]),
    };
    let mut raw = Vec::with_capacity(HEADER_BYTES);
    header.push(&mut raw);
    out[start..start + HEADER_BYTES].copy_from_slice(&raw);
}

/// Appends the definition of a queue. A topic is at most `i16::MAX` bytes long: records cannot say more.
pub(crate) fn push_definition(queue: u32, topic: &str, queue_id: u32, next: u64, out: &mut Vec<u8>) {
    let header = Header {
        kind: Kind::Definition,
        count: topic.len() as u16,
        queue,
        queue_id,
        offset: next,
        first_position: 0,
        last_position: 0,
        first_ms: 0,
        last_ms: 0,
        payload_crc: crc32fast::hash(topic.as_bytes()),
    };
    header.push(out);
    out.extend_from_slice(topic.as_bytes());
}

/// Appends the note that a queue was deleted.
pub(crate) fn push_deletion(queue: u32, out: &mut Vec<u8>) {
    let header = Header {
        kind: Kind::Deletion,
        count: 0,
        queue,
        queue_id: 0,
        offset: 0,
        first_position: 0,
        last_position: 0,
        first_ms: 0,
        last_ms: 0,
        payload_crc: 0,
    };
    header.push(out);
}

/// Reads the block at the start of `bytes` into `out`; `None` when it is damaged or another one.
pub(crate) fn read_block(bytes: &[u8], queue: u32, base: u64, out: &mut Vec<IndexEntry>) -> Option<Header> {
    let header = Header::parse(bytes)?;
    if header.kind != Kind::Block || header.queue != queue || header.offset != base || header.count == 0 {
        return None;
    }
    let payload = bytes[HEADER_BYTES..].get(..header.payload_bytes())?;
    if crc32fast::hash(payload) != header.payload_crc {
        return None;
    }
    out.clear();
    out.extend(payload.chunks_exact(ENTRY_BYTES).map(|raw| IndexEntry {
        position: u64_at(raw, 0),
        store_timestamp_ms: i64_at(raw, 8),
        size: u32_at(raw, 16),
        tag_hash: u32_at(raw, 20) as i32,
    }));
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_with_any_bit_flipped_is_refused() {
        let entries: Vec<IndexEntry> = (0..5)
            .map(|n| IndexEntry { position: 100 * n, store_timestamp_ms: n as i64, size: 90, tag_hash: -1 })
            .collect();
        let mut bytes = Vec::new();
        push_block(3, 40, &entries, &mut bytes);
        assert_eq!(bytes.len(), HEADER_BYTES + 5 * ENTRY_BYTES);
        let mut read = Vec::new();
        assert!(read_block(&bytes, 3, 40, &mut read).is_some());
        assert_eq!(read, entries);
        assert!(read_block(&bytes, 4, 40, &mut read).is_none());
        assert!(read_block(&bytes[..bytes.len() - 1], 3, 40, &mut read).is_none());
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(read_block(&bytes, 3, 40, &mut read).is_none(), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
