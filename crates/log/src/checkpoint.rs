//! The checkpoint: how far the indexes are in files. Drawn in `docs/formats/log.md`.

use std::io;

use crate::disk::{Disk, read_all, replace_file};
use crate::queue_index::files::Extent;
use crate::segment::{i64_at, u32_at, u64_at};

/// The file.
pub(crate) const PATH: &str = "checkpoint";
/// Begins the file; the last byte is the version.
pub(crate) const MAGIC: &[u8; 8] = b"APOGCKP1";
const FIXED_BYTES: usize = 112;

/// How far the indexes are in files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// Records from here on are not in the files of the queue index and the due index.
    pub indexed: u64,
    /// Records from here on may have keys that are in no run.
    pub keyed: u64,
    /// Records from here on are not in the state of the owner of the log.
    pub stated: u64,
    /// The log was synced up to here, and the index files mention nothing at or after.
    pub log_end: u64,
    /// The 16 bytes before `log_end`; they tell one log from another.
    pub fingerprint: [u8; 16],
    pub last_store_ms: i64,
    pub index: Extent,
    /// Newest store time of the segments before the current one, by base.
    pub segments: Vec<(u64, i64)>,
    /// Numbers of the key runs.
    pub runs: Vec<u64>,
    pub buckets: Vec<BucketExtent>,
}

/// How far one bucket of the due index is in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BucketExtent {
    pub hour: i64,
    pub generation: u32,
    pub bytes: u64,
}

impl Checkpoint {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FIXED_BYTES + 64);
        out.extend_from_slice(MAGIC);
        for number in [self.indexed, self.keyed, self.stated, self.log_end] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&self.fingerprint);
        out.extend_from_slice(&self.last_store_ms.to_be_bytes());
        out.extend_from_slice(&u64::from(self.index.first).to_be_bytes());
        out.extend_from_slice(&u64::from(self.index.last).to_be_bytes());
        out.extend_from_slice(&self.index.end.to_be_bytes());
        for count in [self.segments.len(), self.runs.len(), self.buckets.len()] {
            out.extend_from_slice(&(count as u64).to_be_bytes());
        }
        debug_assert_eq!(out.len(), FIXED_BYTES);
        for (base, newest_ms) in &self.segments {
            out.extend_from_slice(&base.to_be_bytes());
            out.extend_from_slice(&newest_ms.to_be_bytes());
        }
        for run in &self.runs {
            out.extend_from_slice(&run.to_be_bytes());
        }
        for bucket in &self.buckets {
            out.extend_from_slice(&bucket.hour.to_be_bytes());
            out.extend_from_slice(&u64::from(bucket.generation).to_be_bytes());
            out.extend_from_slice(&bucket.bytes.to_be_bytes());
        }
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_be_bytes());
        out
    }

    /// Reads a checkpoint; `None` when the bytes are damaged or of another version.
    pub fn decode(bytes: &[u8]) -> Option<Checkpoint> {
        let (body, crc) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
        if body.len() < FIXED_BYTES || &body[..8] != MAGIC || u32_at(crc, 0) != crc32fast::hash(body) {
            return None;
        }
        let number = |index: usize| u64_at(body, 8 * index);
        let (segments, runs, buckets) = (number(11), number(12), number(13));
        let words = segments.checked_mul(2)?.checked_add(runs)?.checked_add(buckets.checked_mul(3)?)?;
        if (body.len() - FIXED_BYTES) as u64 != words.checked_mul(8)? {
            return None;
        }
        let (segments, runs, buckets) = (segments as usize, runs as usize, buckets as usize);
        let runs_from = 14 + 2 * segments;
        let buckets_from = runs_from + runs;
        let mut fingerprint = [0; 16];
        fingerprint.copy_from_slice(&body[40..56]);
        let bucket = |index: usize| {
            let at = buckets_from + 3 * index;
            let generation = u32::try_from(number(at + 1)).ok()?;
            Some(BucketExtent { hour: number(at) as i64, generation, bytes: number(at + 2) })
        };
        Some(Checkpoint {
            indexed: number(1),
            keyed: number(2),
            stated: number(3),
            log_end: number(4),
            fingerprint,
            last_store_ms: i64_at(body, 56),
            index: Extent {
                first: u32::try_from(number(8)).ok()?,
                last: u32::try_from(number(9)).ok()?,
                end: number(10),
            },
            segments: (0..segments).map(|index| (number(14 + 2 * index), number(15 + 2 * index) as i64)).collect(),
            runs: (0..runs).map(|index| number(runs_from + index)).collect(),
            buckets: (0..buckets).map(bucket).collect::<Option<_>>()?,
        })
    }

    pub fn write(&self, disk: &dyn Disk) -> io::Result<()> {
        replace_file(disk, PATH, &self.encode())
    }

    /// The checkpoint on disk, if there is one that is whole.
    pub fn read(disk: &dyn Disk) -> io::Result<Option<Checkpoint>> {
        match disk.open(PATH) {
            Ok(file) => Ok(Checkpoint::decode(&read_all(&*file)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_read_back_and_refused_with_any_bit_flipped() {
        let checkpoint = Checkpoint {
            indexed: 1,
            keyed: 2,
            stated: 3,
            log_end: 4,
            fingerprint: *b"0123456789abcdef",
            last_store_ms: -5,
            index: Extent { first: 6, last: 7, end: 8 },
            segments: vec![(9, i64::MIN), (10, 11)],
            runs: vec![12],
            buckets: vec![BucketExtent { hour: -13, generation: 14, bytes: 15 }],
        };
        let mut bytes = checkpoint.encode();
        assert_eq!(Checkpoint::decode(&bytes), Some(checkpoint));
        for cut in 0..bytes.len() {
            assert_eq!(Checkpoint::decode(&bytes[..cut]), None, "cut after byte {cut}");
        }
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Checkpoint::decode(&bytes), None, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
