//! The machine's disk, below one root directory.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Advice, FallocateFlags, FlockOperation, fadvise, fallocate, flock};
use rustix::io::Errno;

use super::{Disk, DiskFile};

/// Name of the file that an open [`RealDisk`] keeps locked.
const LOCK_FILE: &str = "lock";
/// Zeros written in one call.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Another process has the directory open.
    #[error("`{}` is in use by another process", .0.display())]
    Locked(PathBuf),
    /// The directory cannot be made or written.
    #[error("`{}` cannot be used", root.display())]
    Unusable {
        /// The directory.
        root: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// Files below a root directory. Only one process at a time can have it open.
#[derive(Debug)]
pub struct RealDisk {
    root: PathBuf,
    /// Holds the lock for as long as it is open.
    _lock: File,
}

impl RealDisk {
    /// Makes `root` if needed and locks it.
    pub fn open(root: impl AsRef<Path>) -> Result<RealDisk, DiskError> {
        let root = root.as_ref().to_path_buf();
        let unusable = |source| DiskError::Unusable { root: root.clone(), source };
        std::fs::create_dir_all(&root).map_err(unusable)?;
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(root.join(LOCK_FILE))
            .map_err(unusable)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(RealDisk { root, _lock: lock }),
            Err(Errno::WOULDBLOCK) => Err(DiskError::Locked(root)),
            Err(error) => Err(unusable(error.into())),
        }
    }

    /// The root directory.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

impl Disk for RealDisk {
    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.root.join(path))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn create(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(self.root.join(path))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.root.join(from), self.root.join(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        std::fs::remove_file(self.root.join(path))
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        std::fs::create_dir_all(self.root.join(path))?;
        File::open(&self.root)?.sync_all()
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.root.join(dir))? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        File::open(self.root.join(dir))?.sync_all()
    }
}

struct RealFile(File);

impl DiskFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.0.read_at(&mut buffer[done..], at + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, at)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        match fallocate(&self.0, FallocateFlags::empty(), 0, len) {
            // Some file systems cannot take space ahead; then a full disk shows at the write.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) if self.len()? < len => self.0.set_len(len),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            other => Ok(other?),
        }
    }

    fn zero(&self, from: u64, to: u64) -> io::Result<()> {
        if from >= to {
            return Ok(());
        }
        // Not every file system knows the first way; in memory only the second one gives the pages back.
        let ways = [FallocateFlags::ZERO_RANGE, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE];
        for way in ways {
            match fallocate(&self.0, way, from, to - from) {
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
                other => return Ok(other?),
            }
        }
        self.write_zeros(from, to)
    }

    fn write_zeros(&self, from: u64, to: u64) -> io::Result<()> {
        let mut at = from;
        while at < to {
            let size = (to - at).min(ZEROS.len() as u64);
            self.write_at(&ZEROS[..size as usize], at)?;
            at += size;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn forget_cached(&self, from: u64, to: u64) -> io::Result<()> {
        let Some(length) = to.checked_sub(from).and_then(NonZeroU64::new) else { return Ok(()) };
        Ok(fadvise(&self.0, from, Some(length), Advice::DontNeed)?)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_opening_is_refused_until_the_first_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let first = RealDisk::open(dir.path()).unwrap();
        assert!(matches!(RealDisk::open(dir.path()), Err(DiskError::Locked(root)) if root == dir.path()));
        drop(first);
        RealDisk::open(dir.path()).unwrap();
    }

    #[test]
    fn a_zeroed_range_reads_as_zero_and_keeps_its_neighbours() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(dir.path()).unwrap();
        let file = disk.create("a").unwrap();
        file.allocate(10_000).unwrap();
        file.write_at(&[7; 10_000], 0).unwrap();
        file.zero(10, 9_990).unwrap();
        let mut bytes = vec![1; 10_000];
        assert_eq!(file.read_at(&mut bytes, 0).unwrap(), 10_000);
        assert!(bytes[..10].iter().chain(&bytes[9_990..]).all(|byte| *byte == 7));
        assert!(bytes[10..9_990].iter().all(|byte| *byte == 0));
        assert_eq!(disk.list("").unwrap(), ["a", "lock"]);
    }
}
