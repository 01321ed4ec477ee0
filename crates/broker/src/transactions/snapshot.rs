//! The file `halves`: half messages that waited when the last checkpoint was made.
//!
//! The log reads only its tail at start, from the checkpoint on; older half messages come from here. The file may
//! be newer than the checkpoint it goes with: reading the tail again changes nothing that it already knows. Layout
//! in `docs/formats/halves.md`.

use std::io;

use log::{Disk, NewerFormat, refuse_newer, replace_file};

use super::{Half, Transactions};

const FILE: &str = "halves";
/// Begins the file; the last byte is the version.
const MAGIC: &[u8; 8] = b"APOHALF1";
const ITEM_BYTES: usize = 32;
/// Stands for a message that says nothing about immunity.
const NO_IMMUNITY: i64 = -1;

/// What became of reading the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Snapshot {
    /// What it says is in the table.
    Read,
    /// There is none: the broker is new, or somebody removed it.
    Missing,
    /// It fails its checks; the table is as it was.
    Damaged,
    /// A later version of this program wrote it.
    Newer(NewerFormat),
}

/// Content of the file: every half message that waits.
pub fn encode(transactions: &Transactions) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(12 + transactions.len() * ITEM_BYTES);
    bytes.extend_from_slice(MAGIC);
    for (position, half) in transactions.iter() {
        bytes.extend_from_slice(&position.to_be_bytes());
        bytes.extend_from_slice(&half.queue_offset.to_be_bytes());
        bytes.extend_from_slice(&half.stored_ms.to_be_bytes());
        bytes.extend_from_slice(&half.immunity_ms.unwrap_or(NO_IMMUNITY).to_be_bytes());
    }
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_be_bytes());
    bytes
}

/// Writes the file with what [`encode`] returned.
pub fn write(disk: &dyn Disk, content: &[u8]) -> io::Result<()> {
    replace_file(disk, FILE, content)
}

/// Reads what [`write`] wrote into the table.
pub fn read(disk: &dyn Disk, transactions: &mut Transactions) -> io::Result<Snapshot> {
    let file = match disk.open(FILE) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Snapshot::Missing),
        Err(error) => return Err(error),
    };
    let mut bytes = vec![0; file.len()? as usize];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    let Some((content, crc)) = bytes.split_last_chunk::<4>() else { return Ok(Snapshot::Damaged) };
    if crc32fast::hash(content) != u32::from_be_bytes(*crc) {
        return Ok(Snapshot::Damaged);
    }
    if let Err(newer) = refuse_newer(FILE, content, MAGIC) {
        return Ok(Snapshot::Newer(newer));
    }
    let Some(items) = content.strip_prefix(MAGIC) else { return Ok(Snapshot::Damaged) };
    if items.len() % ITEM_BYTES != 0 {
        return Ok(Snapshot::Damaged);
    }
    for item in items.chunks_exact(ITEM_BYTES) {
        let number = |at: usize| {
            let mut raw = [0; 8];
            raw.copy_from_slice(&item[at..at + 8]);
            u64::from_be_bytes(raw)
        };
        let immunity_ms = Some(number(24) as i64).filter(|ms| *ms != NO_IMMUNITY);
        let half = Half { queue_offset: number(8), stored_ms: number(16) as i64, immunity_ms, checks: 0 };
        transactions.stored(number(0), half);
    }
    Ok(Snapshot::Read)
}

#[cfg(test)]
mod tests {
    use log::MemoryDisk;

    use super::*;
    use crate::transactions::CheckSchedule;

    fn table() -> Transactions {
        Transactions::new(CheckSchedule { first_after_ms: 1, interval_ms: 1, checks_max: 1 })
    }

    #[test]
    fn what_was_written_is_read_back_and_damage_is_noticed() {
        let disk = MemoryDisk::new();
        let mut transactions = table();
        assert_eq!(read(&disk, &mut table()).unwrap(), Snapshot::Missing);
        transactions.stored(64, Half { queue_offset: 1, stored_ms: 2, immunity_ms: None, checks: 0 });
        transactions.stored(128, Half { queue_offset: 2, stored_ms: 3, immunity_ms: Some(9), checks: 0 });
        write(&disk, &encode(&transactions)).unwrap();
        let mut again = table();
        assert_eq!(read(&disk, &mut again).unwrap(), Snapshot::Read);
        assert_eq!(again.iter().collect::<Vec<_>>(), transactions.iter().collect::<Vec<_>>());
        for at in 0..12 + 2 * ITEM_BYTES {
            disk.tamper(FILE, |bytes| bytes[at] ^= 1).unwrap();
            let mut table = table();
            assert_eq!(read(&disk, &mut table).unwrap(), Snapshot::Damaged, "{at}");
            assert!(table.is_empty(), "{at}");
            disk.tamper(FILE, |bytes| bytes[at] ^= 1).unwrap();
        }
    }

    #[test]
    fn a_file_of_a_later_version_is_not_taken_for_a_damaged_one() {
        let disk = MemoryDisk::new();
        write(&disk, &encode(&table())).unwrap();
        disk.tamper(FILE, |bytes| {
            bytes[7] = b'2';
            let crc = crc32fast::hash(&bytes[..8]);
            bytes[8..].copy_from_slice(&crc.to_be_bytes());
        })
        .unwrap();
        let newer = NewerFormat { file: "halves".into(), found: '2', supported: '1' };
        assert_eq!(read(&disk, &mut table()).unwrap(), Snapshot::Newer(newer));
    }
}
