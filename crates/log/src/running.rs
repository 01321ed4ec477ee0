//! The mark that the log is open: from it the next start knows how the last one ended.
//!
//! It holds the boot id. When a sync fails, a line is added that says how far the log was durable. Nobody syncs that
//! line, and nobody has to: what it warns of is the page cache, which shows what the failed sync did not bring to the
//! disk for as long as it shows the line. The file has room for it from the start, since syncs fail on full disks too.

use std::io;

use crate::disk::{Disk, read_all, replace_file};

const PATH: &str = "running";
/// Size of the file; what is not used is empty lines.
const BYTES: usize = 512;
const UNSYNCED: &str = "unsynced ";
const INDEXES: &str = "indexes";

/// How the log stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// In order.
    Clean,
    /// The process ended; the page cache has all it wrote.
    Killed,
    /// So did the machine, as far as is known.
    PowerLost,
}

/// What was found at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// How the log stopped.
    pub stop: Stop,
    /// Position from which on the page cache may show what the disk does not have.
    pub unsynced_from: Option<u64>,
    /// Whether the same holds for files of the indexes.
    pub indexes_unsynced: bool,
}

/// Reads the mark.
pub(crate) fn read(disk: &dyn Disk, boot_id: &str) -> io::Result<Found> {
    let mut found = Found { stop: Stop::Clean, unsynced_from: None, indexes_unsynced: false };
    let text = match disk.open(PATH) {
        Ok(file) => String::from_utf8_lossy(&read_all(&*file)?).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    let mut lines = text.split('\n');
    found.stop = if lines.next() == Some(boot_id.trim()) { Stop::Killed } else { Stop::PowerLost };
    for line in lines {
        if let Some(position) = line.strip_prefix(UNSYNCED).and_then(|position| position.trim().parse().ok()) {
            found.unsynced_from = Some(position);
        }
        found.indexes_unsynced |= line == INDEXES;
    }
    Ok(found)
}

/// Says that the log is open.
pub(crate) fn write(disk: &dyn Disk, boot_id: &str) -> io::Result<()> {
    replace_file(disk, PATH, content(boot_id).as_bytes())
}

fn content(boot_id: &str) -> String {
    format!("{:\n<BYTES$}", boot_id.trim())
}

/// Says that the log was closed in order.
pub(crate) fn remove(disk: &dyn Disk) -> io::Result<()> {
    disk.remove(PATH)?;
    disk.sync_dir("")
}

/// Notes that a sync failed, of the log behind a position or of the indexes too. Positions of later notes are never higher:
/// between two of them the log was opened in vain, from a checkpoint that is older than the first.
pub(crate) fn note_failed_sync(disk: &dyn Disk, boot_id: &str, durable: u64, indexes: bool) -> io::Result<()> {
    let file = match disk.open(PATH) {
        Ok(file) => file,
        // The log was just being opened.
        Err(_) => {
            let file = disk.create(PATH)?;
            file.write_at(content(boot_id).as_bytes(), 0)?;
            file
        }
    };
    // Nothing is read here: the disk is in trouble. What an earlier start noted of the indexes stays.
    let at = boot_id.trim().len() as u64;
    let line = format!("\n{UNSYNCED}{durable:<20}\n");
    file.write_at(line.as_bytes(), at)?;
    if indexes {
        file.write_at(format!("{INDEXES}\n").as_bytes(), at + line.len() as u64)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    #[test]
    fn the_mark_tells_how_the_log_was_left() {
        let disk = MemoryDisk::new();
        let read_by = |boot_id| read(&disk, boot_id).unwrap();
        assert_eq!(read_by("b"), Found { stop: Stop::Clean, unsynced_from: None, indexes_unsynced: false });
        write(&disk, "b").unwrap();
        assert_eq!((read_by("b").stop, read_by("c").stop), (Stop::Killed, Stop::PowerLost));
        // As the system tells it.
        assert_eq!(read_by("b\n").stop, Stop::Killed);
        // There is room for it on a full disk.
        disk.set_capacity(Some(disk.used_bytes()));
        note_failed_sync(&disk, "b", 70, false).unwrap();
        disk.set_capacity(None);
        assert_eq!(read_by("b"), Found { stop: Stop::Killed, unsynced_from: Some(70), indexes_unsynced: false });
        disk.fail_read(disk.reads(), true);
        note_failed_sync(&disk, "b", 60, true).unwrap();
        disk.heal();
        assert_eq!(read_by("b"), Found { stop: Stop::Killed, unsynced_from: Some(60), indexes_unsynced: true });
        note_failed_sync(&disk, "b", 7, false).unwrap();
        assert_eq!(read_by("b"), Found { stop: Stop::Killed, unsynced_from: Some(7), indexes_unsynced: true });
        write(&disk, "b").unwrap();
        assert_eq!(read_by("b").unsynced_from, None);
        remove(&disk).unwrap();
        note_failed_sync(&disk, "b", 5, false).unwrap();
        assert_eq!(read_by("b"), Found { stop: Stop::Killed, unsynced_from: Some(5), indexes_unsynced: false });
    }
}
