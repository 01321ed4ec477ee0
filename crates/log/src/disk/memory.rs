//! A disk in memory that does on command what real ones do rarely: lose power, fail, fill up, rot.
//!
//! It is as forgetful as the rules allow: content counts only once its file was synced, a name only once its directory
//! was. A clone shares the disk; [`MemoryDisk::fork`] copies it, so that a test can crash at every point.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskFile};

/// What becomes of writes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerCut {
    /// All of them are lost.
    LoseUnsynced,
    /// The first `bytes` bytes of them, in the order they were written, are kept.
    KeepPrefix {
        /// How many bytes.
        bytes: u64,
    },
    /// Each piece of 64 bytes is kept or lost by the throw of a coin, and so is each change of a name.
    Torn {
        /// Decides the throws.
        seed: u64,
    },
}

/// A deterministic disk in memory.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
    during_sync: Arc<Mutex<Option<DuringSync>>>,
}

/// What happens while a sync is under way.
type DuringSync = Box<dyn FnOnce() + Send>;

#[derive(Clone, Default)]
struct State {
    /// Names as they are now, and as they were when their directory was last synced.
    names: BTreeMap<String, usize>,
    synced_names: BTreeMap<String, usize>,
    files: Vec<Content>,
    /// Operations that change something, so far.
    operations: u64,
    fail: Option<Failure>,
    /// Reads so far, and which of them fails.
    reads: u64,
    fail_read: Option<Failure>,
    capacity: Option<u64>,
    /// Which change goes to another place if it is a write, and what decides where.
    misdirect: Option<(u64, u64)>,
    misdirected: Option<Misdirected>,
    /// Set by a power cut: the handles of before are dead.
    generation: u64,
}

/// A write that went to another place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misdirected {
    /// The file, and the byte at which it should have been written.
    pub meant: (String, u64),
    /// Where it went.
    pub hit: (String, u64),
    /// What was written.
    pub bytes: Vec<u8>,
    /// What lay there before.
    pub overwritten: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Failure {
    operation: u64,
    lasting: bool,
}

impl Failure {
    fn check(failure: Option<Failure>, number: u64) -> io::Result<()> {
        match failure {
            Some(fail) if number == fail.operation || (fail.lasting && number > fail.operation) => {
                Err(io::Error::other("this operation was told to fail"))
            }
            _ => Ok(()),
        }
    }
}

#[derive(Clone, Default)]
struct Content {
    bytes: Vec<u8>,
    synced: Vec<u8>,
    /// Changes since the last sync.
    unsynced: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    SetLen(usize),
}

impl Content {
    fn apply(target: &mut Vec<u8>, change: &Change) {
        match change {
            Change::Write { at, bytes } => {
                if target.len() < at + bytes.len() {
                    target.resize(at + bytes.len(), 0);
                }
                target[*at..at + bytes.len()].copy_from_slice(bytes);
            }
            Change::SetLen(len) => target.resize(*len, 0),
        }
    }

    fn change(&mut self, change: Change) {
        Content::apply(&mut self.bytes, &change);
        self.unsynced.push(change);
    }
}

impl State {
    /// Counts an operation that changes something; it may be the one that has to fail.
    fn operate(&mut self) -> io::Result<()> {
        let number = self.operations;
        self.operations += 1;
        Failure::check(self.fail, number)
    }

    fn used(&self) -> u64 {
        let mut files: Vec<usize> = self.names.values().copied().collect();
        files.sort_unstable();
        files.dedup();
        files.iter().map(|file| self.files[*file].bytes.len() as u64).sum()
    }

    /// How much longer a file may become before the disk is full.
    fn free(&self) -> u64 {
        self.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used()))
    }

    /// Puts a write to another place if it is the one that was told to go wrong. There it overwrites what it finds, but
    /// lengthens no file.
    fn misdirect(&mut self, file: usize, change: Change) -> Option<Change> {
        let Some((_, seed)) = self.misdirect.filter(|(operation, _)| *operation < self.operations) else {
            return Some(change);
        };
        let Change::Write { at, bytes } = change else { return Some(change) };
        let size = bytes.len();
        let has_room = |file: &usize| size < self.files[*file].bytes.len();
        let targets: Vec<_> = self.names.iter().filter(|(_, file)| has_room(file)).collect();
        let meant = self.names.iter().find(|(_, named)| **named == file).map(|(name, _)| name.clone());
        // Zeros take something away, and the mark of an open log says what must not be believed: where those go astray
        // when something else has failed already, nothing is promised.
        let may_go =
            bytes.iter().any(|byte| *byte != 0) && meant.as_deref().is_some_and(|name| !name.starts_with("running"));
        let (Some(meant), Some(count), true) = (meant, (!targets.is_empty()).then_some(targets.len() as u64), may_go)
        else {
            return Some(Change::Write { at, bytes });
        };
        let (name, target) = targets[(seed % count) as usize];
        let to = (seed / count) as usize % (self.files[*target].bytes.len() - size);
        let (name, target) = (name.clone(), *target);
        self.misdirect = None;
        self.misdirected = Some(Misdirected {
            meant: (meant, at as u64),
            hit: (name, to as u64),
            bytes: bytes.clone(),
            overwritten: self.files[target].bytes[to..to + size].to_vec(),
        });
        // The file that it was meant for is as long as if it had come.
        let len = self.files[file].bytes.len();
        if len < at + size {
            self.files[file].change(Change::SetLen(at + size));
        }
        // Whoever syncs the other file, or not, knows nothing of it.
        let Content { bytes: now, synced, .. } = &mut self.files[target];
        for kept in [now, synced] {
            if let Some(place) = kept.get_mut(to..to + size) {
                place.copy_from_slice(&bytes);
            }
        }
        None
    }

    fn find(&self, path: &str) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, path.to_owned()))
    }
}

/// A small generator of throws; the sequence depends on the seed only.
fn throw(seed: &mut u64) -> bool {
    *seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *seed;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (mixed ^ (mixed >> 31)) & 1 == 1
}

impl MemoryDisk {
    /// An empty disk without limit.
    pub fn new() -> MemoryDisk {
        MemoryDisk::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy that shares nothing. Handles opened before go on with the original.
    pub fn fork(&self) -> MemoryDisk {
        MemoryDisk { state: Arc::new(Mutex::new(self.state().clone())), during_sync: Arc::default() }
    }

    /// Takes the power away. Files opened before answer with errors from here on.
    pub fn cut_power(&self, cut: PowerCut) {
        let mut state = self.state();
        state.generation += 1;
        (state.fail, state.fail_read) = (None, None);
        let mut seed = if let PowerCut::Torn { seed } = cut { seed } else { 0 };
        let mut keep = if let PowerCut::KeepPrefix { bytes } = cut { bytes } else { 0 };
        if let PowerCut::Torn { .. } = cut {
            let changed: Vec<String> = state.names.keys().chain(state.synced_names.keys()).cloned().collect();
            for name in changed {
                if throw(&mut seed) {
                    match state.names.get(&name).copied() {
                        Some(file) => state.synced_names.insert(name, file),
                        None => state.synced_names.remove(&name),
                    };
                }
            }
        }
        state.names = state.synced_names.clone();
        for file in &mut state.files {
            let mut bytes = std::mem::take(&mut file.synced);
            for change in std::mem::take(&mut file.unsynced) {
                match (cut, change) {
                    (PowerCut::LoseUnsynced, _) => {}
                    (PowerCut::KeepPrefix { .. }, Change::Write { at, bytes: written }) => {
                        let kept = keep.min(written.len() as u64);
                        keep -= kept;
                        let written = written[..kept as usize].to_vec();
                        Content::apply(&mut bytes, &Change::Write { at, bytes: written });
                    }
                    (PowerCut::KeepPrefix { .. }, change) => Content::apply(&mut bytes, &change),
                    (PowerCut::Torn { .. }, Change::Write { at, bytes: written }) => {
                        for (index, piece) in written.chunks(64).enumerate() {
                            if throw(&mut seed) {
                                let at = at + index * 64;
                                Content::apply(&mut bytes, &Change::Write { at, bytes: piece.to_vec() });
                            }
                        }
                    }
                    (PowerCut::Torn { .. }, change) => {
                        if throw(&mut seed) {
                            Content::apply(&mut bytes, &change);
                        }
                    }
                }
            }
            file.synced = bytes.clone();
            file.bytes = bytes;
        }
    }

    /// Operations so far that change something: writes, syncs, creations, renames, removals.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Lets the changing operation with that number fail, counted as [`MemoryDisk::operations`] does; with `lasting`
    /// also all that follow.
    pub fn fail_operation(&self, operation: u64, lasting: bool) {
        self.state().fail = Some(Failure { operation, lasting });
    }

    /// Reads so far.
    pub fn reads(&self) -> u64 {
        self.state().reads
    }

    /// Lets the read with that number fail, counted as [`MemoryDisk::reads`] does; with `lasting` also all that follow.
    pub fn fail_read(&self, read: u64, lasting: bool) {
        self.state().fail_read = Some(Failure { operation: read, lasting });
    }

    /// Lets no operation fail any more.
    pub fn heal(&self) {
        let mut state = self.state();
        (state.fail, state.fail_read, state.misdirect) = (None, None, None);
    }

    /// Lets `happen` run within the next sync of a file: what it writes is not part of that sync.
    pub fn during_next_sync(&self, happen: impl FnOnce() + Send + 'static) {
        *self.during_sync.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(happen));
    }

    /// Limits the sum of all file lengths; `None` lifts the limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// Sum of all file lengths.
    pub fn used_bytes(&self) -> u64 {
        self.state().used()
    }

    /// Content of a file as it is now.
    pub fn content(&self, path: &str) -> io::Result<Vec<u8>> {
        let state = self.state();
        Ok(state.files[state.find(path)?].bytes.clone())
    }

    /// Paths of all files, in order.
    pub fn paths(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    /// Flips a bit of a file, wherever the byte is kept: on the platter and on its way there.
    pub fn flip_bit(&self, path: &str, byte: u64, bit: u32) -> io::Result<()> {
        let mut state = self.state();
        let index = state.find(path)?;
        let (byte, mask) = (usize::try_from(byte).map_err(io::Error::other)?, 1 << (bit % 8));
        let file = &mut state.files[index];
        for kept in [&mut file.bytes, &mut file.synced] {
            if let Some(byte) = kept.get_mut(byte) {
                *byte ^= mask;
            }
        }
        for change in &mut file.unsynced {
            if let Change::Write { at, bytes } = change
                && let Some(byte) = byte.checked_sub(*at).and_then(|byte| bytes.get_mut(byte))
            {
                *byte ^= mask;
            }
        }
        Ok(())
    }

    /// Lets the first write from the changing operation with that number on go to another place, which `seed` decides.
    pub fn misdirect_write(&self, operation: u64, seed: u64) {
        self.state().misdirect = Some((operation, seed));
    }

    /// The write that went to another place since the last call.
    pub fn take_misdirected(&self) -> Option<Misdirected> {
        self.state().misdirected.take()
    }

    /// Changes a file behind the back of everybody, as rot does: both now and after a power cut.
    pub fn tamper(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let mut state = self.state();
        let index = state.find(path)?;
        let file = &mut state.files[index];
        change(&mut file.bytes);
        file.synced = file.bytes.clone();
        file.unsynced.clear();
        Ok(())
    }
}

impl Disk for MemoryDisk {
    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.state();
        let file = state.find(path)?;
        Ok(Arc::new(MemoryFile { disk: self.clone(), file, generation: state.generation }))
    }

    fn create(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        state.operate()?;
        let file = match state.find(path) {
            Ok(file) => {
                state.files[file].change(Change::SetLen(0));
                file
            }
            Err(_) => {
                state.files.push(Content::default());
                let file = state.files.len() - 1;
                state.names.insert(path.to_owned(), file);
                file
            }
        };
        Ok(Arc::new(MemoryFile { disk: self.clone(), file, generation: state.generation }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        let file = state.find(from)?;
        state.names.remove(from);
        state.names.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        state.find(path)?;
        state.names.remove(path);
        Ok(())
    }

    fn create_dir(&self, _path: &str) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        let state = self.state();
        let names = state.names.keys().filter_map(|name| name.strip_prefix(&prefix));
        Ok(names.filter(|name| !name.contains('/')).map(str::to_owned).collect())
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        let mut state = self.state();
        state.operate()?;
        let inside = |name: &String| name.strip_prefix(&prefix).is_some_and(|name| !name.contains('/'));
        state.synced_names.retain(|name, _| !inside(name));
        let now: Vec<_> =
            state.names.iter().filter(|(name, _)| inside(name)).map(|(name, file)| (name.clone(), *file)).collect();
        state.synced_names.extend(now);
        Ok(())
    }
}

struct MemoryFile {
    disk: MemoryDisk,
    file: usize,
    generation: u64,
}

impl MemoryFile {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.state();
        if state.generation == self.generation {
            return Ok(state);
        }
        Err(io::Error::other("the file was opened before the power cut"))
    }

    fn change(&self, change: Change) -> io::Result<()> {
        let mut state = self.state()?;
        if let Err(error) = state.operate() {
            // A failed write may have got anywhere: let half of it arrive.
            if let Change::Write { at, bytes } = change {
                let half = bytes[..bytes.len() / 2].to_vec();
                state.files[self.file].change(Change::Write { at, bytes: half });
            }
            return Err(error);
        }
        let len = state.files[self.file].bytes.len();
        let free = state.free();
        let wanted = match &change {
            Change::Write { at, bytes } => at + bytes.len(),
            Change::SetLen(len) => *len,
        };
        let more = wanted.saturating_sub(len) as u64;
        if more > free {
            if let Change::Write { at, bytes } = change {
                let room = (len + free as usize).saturating_sub(at).min(bytes.len());
                state.files[self.file].change(Change::Write { at, bytes: bytes[..room].to_vec() });
            }
            return Err(io::ErrorKind::StorageFull.into());
        }
        if let Some(change) = state.misdirect(self.file, change) {
            state.files[self.file].change(change);
        }
        Ok(())
    }
}

impl DiskFile for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut state = self.state()?;
        let number = state.reads;
        state.reads += 1;
        Failure::check(state.fail_read, number)?;
        let bytes = &state.files[self.file].bytes;
        let from = usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
        let size = buffer.len().min(bytes.len() - from);
        buffer[..size].copy_from_slice(&bytes[from..from + size]);
        Ok(size)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.change(Change::Write { at: usize::try_from(at).map_err(io::Error::other)?, bytes: bytes.to_vec() })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::SetLen(usize::try_from(len).map_err(io::Error::other)?))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        if self.len()? < len { self.set_len(len) } else { Ok(()) }
    }

    fn zero(&self, from: u64, to: u64) -> io::Result<()> {
        let to = to.min(self.len()?);
        if from >= to {
            return Ok(());
        }
        self.write_at(&vec![0; (to - from) as usize], from)
    }

    /// A single sync that fails takes what it should have made durable with it: the file reads as before, but another
    /// sync does not bring it to the disk. Systems do the same. Where everything fails from here on, as for a process
    /// that is killed, the system still has it.
    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state()?;
        let dies = state.fail.is_some_and(|fail| fail.lasting && fail.operation <= state.operations);
        let outcome = state.operate();
        if dies {
            return outcome;
        }
        let changes = std::mem::take(&mut state.files[self.file].unsynced);
        drop(state);
        let happens = self.disk.during_sync.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(happen) = happens {
            happen();
        }
        outcome?;
        let mut state = self.state()?;
        for change in &changes {
            Content::apply(&mut state.files[self.file].synced, change);
        }
        Ok(())
    }

    /// What is read afterwards is what the disk has, or will have with the next sync.
    fn forget_cached(&self, from: u64, to: u64) -> io::Result<()> {
        let mut state = self.state()?;
        let file = &mut state.files[self.file];
        let mut there = file.synced.clone();
        file.unsynced.iter().for_each(|change| Content::apply(&mut there, change));
        there.resize(file.bytes.len(), 0);
        let to = usize::try_from(to).unwrap_or(usize::MAX).min(there.len());
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(to);
        file.bytes[from..to].copy_from_slice(&there[from..to]);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.state()?.files[self.file].bytes.len() as u64)
    }
}
