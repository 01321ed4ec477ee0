//! Next offsets of queues while the indexes are made anew: what index files said that the log itself does not say.
//!
//! The file is there from before the old index files are removed until the new ones are safe. A start that fails in between
//! leaves it to the next one.

use std::io;

use crate::disk::{Disk, read_all, replace_file};
use crate::segment::{u32_at, u64_at};

const PATH: &str = "offsets";
const MAGIC: &[u8; 8] = b"APOGNXT1";
/// Bytes of an entry before its topic: queue id, next offset, length of the topic.
const ENTRY_BYTES: usize = 16;

/// Topic and id of a queue, and its next offset.
pub(crate) type Next = (String, u32, u64);

/// What an earlier start left; nothing if the file is damaged, as one is that a crash cut short.
pub(crate) fn read(disk: &dyn Disk) -> io::Result<Vec<Next>> {
    match disk.open(PATH) {
        Ok(file) => Ok(decode(&read_all(&*file)?).unwrap_or_default()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Keeps them, safe from power cuts.
pub(crate) fn write(disk: &dyn Disk, nexts: &[Next]) -> io::Result<()> {
    let mut bytes = MAGIC.to_vec();
    for (topic, queue_id, next) in nexts {
        bytes.extend_from_slice(&queue_id.to_be_bytes());
        bytes.extend_from_slice(&next.to_be_bytes());
        bytes.extend_from_slice(&(topic.len() as u32).to_be_bytes());
        bytes.extend_from_slice(topic.as_bytes());
    }
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_be_bytes());
    replace_file(disk, PATH, &bytes)
}

/// They are in the indexes now.
pub(crate) fn remove(disk: &dyn Disk) -> io::Result<()> {
    match disk.remove(PATH) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn decode(bytes: &[u8]) -> Option<Vec<Next>> {
    let (content, crc) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
    let mut rest = content.strip_prefix(MAGIC).filter(|_| u32_at(crc, 0) == crc32fast::hash(content))?;
    let mut nexts = Vec::new();
    while !rest.is_empty() {
        let (entry, after) = rest.split_at_checked(ENTRY_BYTES)?;
        let (topic, after) = after.split_at_checked(u32_at(entry, 12) as usize)?;
        nexts.push((String::from_utf8(topic.to_vec()).ok()?, u32_at(entry, 0), u64_at(entry, 4)));
        rest = after;
    }
    Some(nexts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    #[test]
    fn what_was_kept_is_read_until_it_is_removed_and_damage_is_nothing() {
        let disk = MemoryDisk::new();
        assert_eq!(read(&disk).unwrap(), []);
        let nexts = [("orders".to_owned(), 3, 1 << 20), (String::new(), 0, 7)];
        write(&disk, &nexts).unwrap();
        assert_eq!(read(&disk).unwrap(), nexts);
        for at in 0..disk.content(PATH).unwrap().len() {
            let damaged = disk.fork();
            damaged.tamper(PATH, |bytes| bytes[at] ^= 1).unwrap();
            assert_eq!(read(&damaged).unwrap(), [], "{at}");
            damaged.tamper(PATH, |bytes| bytes.truncate(at)).unwrap();
            assert_eq!(read(&damaged).unwrap(), [], "{at}");
        }
        remove(&disk).unwrap();
        remove(&disk).unwrap();
        assert_eq!(read(&disk).unwrap(), []);
    }
}
