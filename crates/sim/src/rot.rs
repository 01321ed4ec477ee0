//! Damage of files that nobody reports: where it hits, and what it may cost.
//!
//! A record that it hits is lost, and that is all. Besides, what has not been seen by a checkpoint may look like the end
//! of a torn write: when the power goes, or nothing whole follows, the log ends there.

use std::ops::Range;

use log::MemoryDisk;
use protocol::record::Record;

use crate::message;

const SEGMENT_DIR: &str = "commitlog/";
const HEADER_BYTES: usize = 32;
const SEAL: (u32, u32) = (16, 0xCBD4_3195);

/// A record that was hit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The message, if it is one that somebody sent.
    pub id: Option<u64>,
    /// Its topic, queue and offset.
    pub place: (String, i32, u64),
}

/// Damage of the log itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDamage {
    /// The records.
    pub hits: Vec<Hit>,
    /// The writes of which they are part.
    pub writes: Range<u64>,
}

/// The position at which the file of a segment begins.
pub fn base_of(path: &str) -> Option<u64> {
    path.strip_prefix(SEGMENT_DIR).filter(|name| name.len() == 20)?.parse().ok()
}

/// Where a bit flips: path, byte, bit. Mostly in what is used of the log; elsewhere only if `anywhere`.
pub fn aim(disk: &MemoryDisk, seed: u64, anywhere: bool) -> Option<(String, u64, u32)> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let in_log = !anywhere || rng.u8(..5) < 3;
    let mut paths = disk.paths();
    paths.retain(|path| base_of(path).is_some() == in_log);
    let path = paths.get(rng.usize(..paths.len().max(1)))?.clone();
    let content = disk.content(&path).ok()?;
    let used = content.iter().rposition(|byte| *byte != 0)? + 1;
    Some((path, rng.u64(..used as u64), rng.u32(..8)))
}

/// What lies at some bytes of a file as it was before they were damaged. `None` if they are not in a write.
pub fn log_damage(path: &str, content: &[u8], bytes: Range<u64>) -> Option<LogDamage> {
    let base = base_of(path)?;
    let number = |at: usize| content.get(at..at + 4).map(|raw| u32::from_be_bytes([raw[0], raw[1], raw[2], raw[3]]));
    let mut damage: Option<LogDamage> = None;
    let (mut at, mut write_begins) = (HEADER_BYTES, HEADER_BYTES);
    let mut hits = Vec::new();
    loop {
        let overlaps = |end: usize| (at as u64) < bytes.end && bytes.start < end as u64;
        if let (Some(size), Some(magic)) = (number(at), number(at + 4))
            && (size, magic) == SEAL
        {
            let end = at + size as usize;
            if overlaps(end) || !hits.is_empty() {
                let writes = base + write_begins as u64..base + end as u64;
                let damage = damage.get_or_insert(LogDamage { hits: Vec::new(), writes: writes.clone() });
                damage.hits.append(&mut hits);
                damage.writes.end = writes.end;
            }
            (at, write_begins) = (end, end);
            continue;
        }
        let Some(record) = content.get(at..).and_then(|rest| Record::parse(rest).ok()) else { return damage };
        if record.position() != base + at as u64 {
            return damage;
        }
        let end = at + record.bytes().len();
        if overlaps(end) {
            let place = (record.topic().to_owned(), record.queue_id(), record.queue_offset());
            hits.push(Hit { id: message::id_of(record.body()), place });
        }
        at = end;
    }
}
