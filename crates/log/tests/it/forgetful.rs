//! A disk over a real folder that keeps what was not synced in memory, and loses or tears it when the power is cut.
//!
//! The files below `blobs/` hold what was synced, nothing else. A cut makes a plain folder of them, with the names that
//! were synced, which a [`RealDisk`](apogee_log::RealDisk) then opens. All calls may come from any thread; a cut may
//! fall into the middle of a sync, which then has reached the files in part and reports nothing.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use apogee_log::{Disk, DiskFile};

/// Bytes that reach a file together or not at all when a write is torn.
const SECTOR_BYTES: usize = 512;

#[derive(Clone)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    SetLen(usize),
}

impl Change {
    /// What the change does to the window `from..` of the file.
    fn apply(&self, window: &mut [u8], from: usize) {
        match self {
            Change::Write { at, bytes } => {
                let (start, end) = (from.max(*at), (from + window.len()).min(at + bytes.len()));
                if start < end {
                    window[start - from..end - from].copy_from_slice(&bytes[start - at..end - at]);
                }
            }
            Change::SetLen(len) => {
                let cut = len.saturating_sub(from).min(window.len());
                window[cut..].fill(0);
            }
        }
    }

    /// The length of a file of `len` bytes after it.
    fn len_after(&self, len: usize) -> usize {
        match self {
            Change::Write { at, bytes } => len.max(at + bytes.len()),
            Change::SetLen(len) => *len,
        }
    }

    fn write_to(&self, file: &File) -> io::Result<()> {
        match self {
            Change::Write { at, bytes } => file.write_all_at(bytes, *at as u64),
            Change::SetLen(len) => file.set_len(*len as u64),
        }
    }
}

/// A file, whatever its names are.
struct Inode {
    blob: PathBuf,
    file: File,
    unsynced: Mutex<Unsynced>,
    /// One sync at a time.
    syncing: Mutex<()>,
}

struct Unsynced {
    changes: Vec<Change>,
    len: usize,
}

#[derive(Default)]
struct Names {
    now: BTreeMap<String, Arc<Inode>>,
    synced: BTreeMap<String, Arc<Inode>>,
    blobs: usize,
}

struct Shared {
    root: PathBuf,
    names: Mutex<Names>,
    is_off: AtomicBool,
    /// Whether syncs report success and do nothing.
    lies: bool,
}

/// The disk. Clones share it.
#[derive(Clone)]
pub struct ForgetfulDisk(Arc<Shared>);

impl ForgetfulDisk {
    /// A disk below `root`, with the files of `folder` on it, synced. With `lies`, it says that it synced and did not.
    pub fn with_files_of(root: &Path, folder: &Path, lies: bool) -> io::Result<ForgetfulDisk> {
        fs::create_dir_all(root.join("blobs"))?;
        let shared = Shared { root: root.to_owned(), names: Mutex::default(), is_off: AtomicBool::new(false), lies };
        let disk = ForgetfulDisk(Arc::new(shared));
        let mut folders = vec![folder.to_owned()];
        while let Some(next) = folders.pop() {
            for entry in fs::read_dir(next)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let name = path.strip_prefix(folder).map_err(io::Error::other)?.to_string_lossy().into_owned();
                let bytes = fs::read(&path)?;
                let mut names = disk.0.names.lock().unwrap();
                let inode = disk.new_inode(&mut names)?;
                inode.file.write_all_at(&bytes, 0)?;
                inode.unsynced.lock().unwrap().len = bytes.len();
                names.now.insert(name.clone(), inode.clone());
                names.synced.insert(name, inode);
            }
        }
        Ok(disk)
    }

    fn new_inode(&self, names: &mut Names) -> io::Result<Arc<Inode>> {
        names.blobs += 1;
        let blob = self.0.root.join("blobs").join(names.blobs.to_string());
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&blob)?;
        let unsynced = Mutex::new(Unsynced { changes: Vec::new(), len: 0 });
        Ok(Arc::new(Inode { blob, file, unsynced, syncing: Mutex::new(()) }))
    }

    /// Takes the power away at this moment; from here on every call fails. What was not synced is kept or lost by the
    /// throws of `throw`, name by name and sector by sector. Puts what is left into `folder`.
    pub fn cut_power(&self, folder: &Path, throw: &mut dyn FnMut() -> bool) -> io::Result<()> {
        self.0.is_off.store(true, Ordering::SeqCst);
        let names = self.0.names.lock().unwrap();
        let mut left = names.synced.clone();
        for name in names.now.keys().chain(names.synced.keys()) {
            if throw() {
                match names.now.get(name) {
                    Some(inode) => left.insert(name.clone(), inode.clone()),
                    None => left.remove(name),
                };
            }
        }
        for (name, inode) in &left {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap_or(folder))?;
            fs::copy(&inode.blob, &path)?;
            let file = OpenOptions::new().write(true).open(&path)?;
            for change in &inode.unsynced.lock().unwrap().changes {
                tear(change, throw, &file)?;
            }
        }
        Ok(())
    }

    fn check_power(&self) -> io::Result<()> {
        match self.0.is_off.load(Ordering::SeqCst) {
            true => Err(io::Error::other("the power is off")),
            false => Ok(()),
        }
    }

    fn file(&self, inode: Arc<Inode>) -> Arc<dyn DiskFile> {
        Arc::new(ForgetfulFile { disk: self.clone(), inode })
    }
}

/// Brings some sectors of a change to a file.
fn tear(change: &Change, throw: &mut dyn FnMut() -> bool, file: &File) -> io::Result<()> {
    match change {
        Change::Write { at, bytes } => {
            let mut from = *at;
            while from < at + bytes.len() {
                let to = ((from / SECTOR_BYTES + 1) * SECTOR_BYTES).min(at + bytes.len());
                if throw() {
                    file.write_all_at(&bytes[from - at..to - at], from as u64)?;
                }
                from = to;
            }
            Ok(())
        }
        change if throw() => change.write_to(file),
        _ => Ok(()),
    }
}

fn dir_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(dir, _)| dir)
}

impl Disk for ForgetfulDisk {
    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.check_power()?;
        let found = self.0.names.lock().unwrap().now.get(path).cloned();
        Ok(self.file(found.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?))
    }

    fn create(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut names = self.0.names.lock().unwrap();
        self.check_power()?;
        if let Some(inode) = names.now.get(path).cloned() {
            drop(names);
            let file = self.file(inode);
            file.set_len(0)?;
            return Ok(file);
        }
        let inode = self.new_inode(&mut names)?;
        names.now.insert(path.to_owned(), inode.clone());
        Ok(self.file(inode))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut names = self.0.names.lock().unwrap();
        self.check_power()?;
        let inode = names.now.remove(from).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        names.now.insert(to.to_owned(), inode);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut names = self.0.names.lock().unwrap();
        self.check_power()?;
        names.now.remove(path).map(drop).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn create_dir(&self, _path: &str) -> io::Result<()> {
        self.check_power()
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.check_power()?;
        let names = self.0.names.lock().unwrap();
        let inside = names.now.keys().filter(|name| dir_of(name) == dir);
        Ok(inside.map(|name| name.rsplit('/').next().unwrap_or(name).to_owned()).collect())
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let mut names = self.0.names.lock().unwrap();
        self.check_power()?;
        names.synced.retain(|name, _| dir_of(name) != dir);
        let inside: Vec<_> = names.now.iter().filter(|(name, _)| dir_of(name) == dir).collect();
        let inside: Vec<_> = inside.into_iter().map(|(name, inode)| (name.clone(), inode.clone())).collect();
        names.synced.extend(inside);
        Ok(())
    }
}

struct ForgetfulFile {
    disk: ForgetfulDisk,
    inode: Arc<Inode>,
}

impl ForgetfulFile {
    fn change(&self, change: Change) -> io::Result<()> {
        let mut unsynced = self.inode.unsynced.lock().unwrap();
        self.disk.check_power()?;
        unsynced.len = change.len_after(unsynced.len);
        unsynced.changes.push(change);
        Ok(())
    }
}

impl DiskFile for ForgetfulFile {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let unsynced = self.inode.unsynced.lock().unwrap();
        self.disk.check_power()?;
        let at = at as usize;
        let count = unsynced.len.saturating_sub(at).min(buffer.len());
        let window = &mut buffer[..count];
        window.fill(0);
        let mut done = 0;
        while done < window.len() {
            match self.inode.file.read_at(&mut window[done..], (at + done) as u64)? {
                0 => break,
                read => done += read,
            }
        }
        // A sync that is under way may have brought some of them to the file already: that changes nothing.
        unsynced.changes.iter().for_each(|change| change.apply(window, at));
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.change(Change::Write { at: at as usize, bytes: bytes.to_vec() })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::SetLen(len as usize))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        if self.len()? < len { self.set_len(len) } else { Ok(()) }
    }

    fn zero(&self, from: u64, to: u64) -> io::Result<()> {
        self.write_at(&vec![0; (to - from) as usize], from)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.disk.0.lies {
            return self.disk.check_power();
        }
        let _one_at_a_time = self.inode.syncing.lock().unwrap();
        let changes = self.inode.unsynced.lock().unwrap().changes.clone();
        for change in &changes {
            self.disk.check_power()?;
            change.write_to(&self.inode.file)?;
        }
        self.inode.file.sync_data()?;
        let mut unsynced = self.inode.unsynced.lock().unwrap();
        // With the power gone in between, nobody may be told that it worked.
        self.disk.check_power()?;
        unsynced.changes.drain(..changes.len());
        Ok(())
    }

    fn forget_cached(&self, _from: u64, _to: u64) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.disk.check_power()?;
        Ok(self.inode.unsynced.lock().unwrap().len as u64)
    }
}
