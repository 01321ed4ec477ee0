//! What the log asks of a disk. Two disks exist: the machine's ([`RealDisk`]) and one in memory that can lose power,
//! fail and fill up on command ([`MemoryDisk`]).
//!
//! Paths are relative, with `/` between at most one directory and a name.

use std::io;
use std::sync::Arc;

mod memory;
mod real;

pub use memory::{MemoryDisk, Misdirected, PowerCut};
pub use real::{DiskError, RealDisk};

/// A directory tree of one level that survives a crash as far as it was synced.
pub trait Disk: Send + Sync {
    /// Opens a file that exists.
    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Makes an empty file, or empties the one that is there.
    fn create(&self, path: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Gives a file another name; a file of that name is replaced.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file. A file that is open can still be read.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Makes a directory unless it is there.
    fn create_dir(&self, path: &str) -> io::Result<()>;
    /// Names of the files in a directory, in order. `""` is the root.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;
    /// Makes creations, renames and removals in a directory survive a power cut.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;
}

/// An open file. All calls may come from several threads at once.
#[expect(clippy::len_without_is_empty, reason = "nobody asks whether a file is empty")]
pub trait DiskFile: Send + Sync {
    /// Reads into `buffer` from byte `at` on. Returns fewer bytes only when the file ends.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;
    /// Writes all of `bytes` at byte `at`. After an error any part may have been written.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Cuts or extends the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes the file at least `len` bytes long and takes the space for them, so that later writes find it.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// Makes bytes `from..to` read as zero.
    fn zero(&self, from: u64, to: u64) -> io::Result<()>;
    /// Writes zeros to a range that reads as zero already, so that syncs of what is written there later need not note
    /// that reserved blocks are now in use. Where that makes no difference, nothing has to be done.
    fn write_zeros(&self, _from: u64, _to: u64) -> io::Result<()> {
        Ok(())
    }
    /// Makes the content and length survive a power cut.
    fn sync_data(&self) -> io::Result<()>;
    /// Says that bytes `from..to`, which were synced, will hardly be read soon: memory that caches them can go to
    /// others. They can be read as before.
    fn forget_cached(&self, from: u64, to: u64) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
}

/// Reads exactly `buffer.len()` bytes, or fails with [`io::ErrorKind::UnexpectedEof`].
pub(crate) fn read_exact_at(file: &dyn DiskFile, buffer: &mut [u8], at: u64) -> io::Result<()> {
    let read = file.read_at(buffer, at)?;
    if read == buffer.len() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("file ends {} bytes early", buffer.len() - read)))
}

/// The whole content of a file.
pub(crate) fn read_all(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
    read_exact_at(file, &mut bytes, 0)?;
    Ok(bytes)
}

/// Puts `bytes` into a file so that after a crash either the old or the new content is there, whole.
pub fn replace_file(disk: &dyn Disk, path: &str, bytes: &[u8]) -> io::Result<()> {
    let fresh = format!("{path}.new");
    let file = disk.create(&fresh)?;
    file.write_at(bytes, 0)?;
    file.sync_data()?;
    disk.rename(&fresh, path)?;
    disk.sync_dir(path.rsplit_once('/').map_or("", |(dir, _)| dir))
}
