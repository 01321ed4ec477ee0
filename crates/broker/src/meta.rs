//! Small things that must outlive the process: topics, groups, offsets, check counts. The only module that names
//! sled.
//!
//! Changes are handed to one thread that applies them in batches, makes them durable, and then calls back whoever
//! waits; no request handler ever waits for the disk here. sled's own `flush` does not reach the disk's platter
//! (it ends in `sync_file_range`), so the file is synced through a second handle. Beside the store lies a plain JSON
//! copy of topics and groups: if sled cannot be opened, its folder is moved aside and the copy is loaded. Offsets
//! lost that way cost repeated deliveries, not messages.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;

/// Version of the value encoding: one byte, then a CRC-32 of what follows, then the value.
const VALUE_VERSION: u8 = 1;

/// What a tree holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tree {
    /// Topic settings as JSON, by name.
    Topics,
    /// Group settings as JSON, by name.
    Groups,
    /// Consumer offsets, by group, topic and queue.
    Offsets,
    /// How often the producer was asked, by position of the half message.
    Checks,
}

impl Tree {
    const ALL: [Tree; 4] = [Tree::Topics, Tree::Groups, Tree::Offsets, Tree::Checks];
    const EXPORTED: [Tree; 2] = [Tree::Topics, Tree::Groups];

    fn name(self) -> &'static str {
        match self {
            Tree::Topics => "topics",
            Tree::Groups => "groups",
            Tree::Offsets => "offsets",
            Tree::Checks => "checks",
        }
    }
}

/// Why metadata cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// A file or folder cannot be read or written.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// sled cannot be opened, not even afresh.
    #[error("cannot open the metadata in {}", path.display())]
    Store {
        /// The folder.
        path: PathBuf,
        /// What sled says.
        #[source]
        source: sled::Error,
    },
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Tree of the key.
    pub tree: Tree,
    /// The key.
    pub key: Vec<u8>,
    /// The new value, or none to remove the key.
    pub value: Option<Vec<u8>>,
}

type Saved = Box<dyn FnOnce(bool) + Send>;

enum Job {
    Change(Change),
    WhenSaved(Saved),
}

/// Handle to the metadata of a broker. Clones share it.
#[derive(Clone)]
pub struct Meta {
    jobs: mpsc::Sender<Job>,
}

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// What was stored when the broker started.
pub struct Stored {
    values: BTreeMap<Tree, Vec<Pair>>,
}

impl Stored {
    /// Key and value of everything in a tree, in key order.
    pub fn take(&mut self, tree: Tree) -> Vec<Pair> {
        self.values.remove(&tree).unwrap_or_default()
    }
}

/// The thread that writes. Ends when every [`Meta`] is gone.
#[must_use = "changes under way are only safe once the thread has ended"]
pub struct MetaThread(JoinHandle<()>);

impl MetaThread {
    /// Waits until everything was written.
    pub fn join(self) {
        let _ = self.0.join();
    }
}

impl Meta {
    /// Opens the metadata in `folder` and reads all of it.
    pub fn open(folder: &Path) -> Result<(Meta, Stored, MetaThread), MetaError> {
        let store = Store::open(folder)?;
        let mut values = BTreeMap::new();
        for tree in Tree::ALL {
            values.insert(tree, store.read_all(tree)?);
        }
        let (jobs, inbox) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("meta".into())
            .spawn(move || write_batches(&store, &inbox))
            .map_err(|source| MetaError::Io { path: folder.to_path_buf(), source })?;
        Ok((Meta { jobs }, Stored { values }, MetaThread(thread)))
    }

    /// Hands over a change.
    pub fn apply(&self, change: Change) {
        // The thread ends only after the last handle; if it died, its panic was reported.
        let _ = self.jobs.send(Job::Change(change));
    }

    /// Stores a value.
    pub fn put(&self, tree: Tree, key: impl Into<Vec<u8>>, value: Vec<u8>) {
        self.apply(Change { tree, key: key.into(), value: Some(value) });
    }

    /// Removes a key.
    pub fn remove(&self, tree: Tree, key: impl Into<Vec<u8>>) {
        self.apply(Change { tree, key: key.into(), value: None });
    }

    /// Calls `then` once every change handed over before is on disk (`true`), or could not be written (`false`).
    pub fn when_saved(&self, then: impl FnOnce(bool) + Send + 'static) {
        if let Err(mpsc::SendError(Job::WhenSaved(then))) = self.jobs.send(Job::WhenSaved(Box::new(then))) {
            then(false);
        }
    }
}

fn write_batches(store: &Store, inbox: &mpsc::Receiver<Job>) {
    /// Changes applied before the disk is asked to keep them.
    const BATCH_MAX: usize = 10_000;
    let mut healthy = true;
    while let Ok(first) = inbox.recv() {
        let (mut changes, mut waiting) = (Vec::new(), Vec::new());
        for job in std::iter::once(first).chain(inbox.try_iter()).take(BATCH_MAX) {
            match job {
                Job::Change(change) => changes.push(change),
                Job::WhenSaved(then) => waiting.push(then),
            }
        }
        // After one failed write sled is poisoned; like a log whose sync failed, it is not tried again.
        if healthy && let Err(error) = store.write(changes) {
            tracing::error!(%error, "metadata can no longer be saved; topics, groups and offsets change in memory only");
            healthy = false;
        }
        for then in waiting {
            then(healthy);
        }
    }
}

struct Store {
    folder: PathBuf,
    db: sled::Db,
    trees: BTreeMap<Tree, sled::Tree>,
    /// A second handle of sled's file, for the sync that sled leaves out.
    file: File,
}

impl Store {
    fn open(folder: &Path) -> Result<Store, MetaError> {
        let io = |path: &Path| {
            let path = path.to_path_buf();
            move |source| MetaError::Io { path, source }
        };
        std::fs::create_dir_all(folder).map_err(io(folder))?;
        let path = folder.join("sled");
        match Store::open_sled(folder, &path) {
            Ok(store) => Ok(store),
            Err(error) => {
                let aside = folder.join(format!("sled.broken-{}", std::process::id()));
                tracing::error!(%error, aside = %aside.display(), "metadata is damaged; topics and groups are loaded from their JSON copy");
                std::fs::rename(&path, &aside).map_err(io(&path))?;
                let store = Store::open_sled(folder, &path)
                    .map_err(|source| MetaError::Store { path: path.clone(), source })?;
                store.import()?;
                Ok(store)
            }
        }
    }

    fn open_sled(folder: &Path, path: &Path) -> Result<Store, sled::Error> {
        let db = sled::Config::new().path(path).cache_capacity(32 * 1024 * 1024).flush_every_ms(Some(500)).open()?;
        let mut trees = BTreeMap::new();
        for tree in Tree::ALL {
            trees.insert(tree, db.open_tree(tree.name())?);
        }
        let file = File::options().read(true).write(true).open(path.join("db"))?;
        File::open(path)?.sync_all()?;
        let store = Store { folder: folder.to_path_buf(), db, trees, file };
        // Damage shows itself when values are read; then the caller still can move the folder aside.
        for tree in Tree::ALL {
            for item in store.trees[&tree].iter() {
                let (key, value) = item?;
                if decode_value(&value).is_none() {
                    let name = tree.name();
                    return Err(sled::Error::Unsupported(format!(
                        "value of `{}` in {name} is damaged",
                        key.escape_ascii()
                    )));
                }
            }
        }
        Ok(store)
    }

    fn read_all(&self, tree: Tree) -> Result<Vec<Pair>, MetaError> {
        self.trees[&tree]
            .iter()
            .map(|item| {
                let (key, value) = item.map_err(|source| MetaError::Store { path: self.folder.clone(), source })?;
                Ok((key.to_vec(), decode_value(&value).unwrap_or_default().to_vec()))
            })
            .collect()
    }

    fn write(&self, changes: Vec<Change>) -> Result<(), MetaError> {
        if changes.is_empty() {
            return Ok(());
        }
        let store_error = |source| MetaError::Store { path: self.folder.clone(), source };
        let exported: Vec<Tree> =
            Tree::EXPORTED.into_iter().filter(|tree| changes.iter().any(|change| change.tree == *tree)).collect();
        let mut batches: BTreeMap<Tree, sled::Batch> = BTreeMap::new();
        for change in changes {
            let batch = batches.entry(change.tree).or_default();
            match change.value {
                Some(value) => batch.insert(change.key, encode_value(&value)),
                None => batch.remove(change.key),
            }
        }
        for (tree, batch) in batches {
            self.trees[&tree].apply_batch(batch).map_err(store_error)?;
        }
        self.db.flush().map_err(store_error)?;
        self.file.sync_data().map_err(|source| MetaError::Io { path: self.folder.join("sled/db"), source })?;
        exported.into_iter().try_for_each(|tree| self.export(tree))
    }

    fn export_path(&self, tree: Tree) -> PathBuf {
        self.folder.join(format!("{}.json", tree.name()))
    }

    /// Writes `{"name":settings,…}`: the keys are names and the values are JSON already.
    fn export(&self, tree: Tree) -> Result<(), MetaError> {
        let mut copy = BTreeMap::new();
        for (key, value) in self.read_all(tree)? {
            if let (Ok(name), Ok(settings)) =
                (String::from_utf8(key), serde_json::from_slice::<serde_json::Value>(&value))
            {
                copy.insert(name, settings);
            }
        }
        let path = self.export_path(tree);
        let write = || {
            let temporary = path.with_extension("json.tmp");
            let mut file = File::create(&temporary)?;
            file.write_all(&serde_json::to_vec_pretty(&copy)?)?;
            file.sync_all()?;
            std::fs::rename(&temporary, &path)?;
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(|source| MetaError::Io { path: path.clone(), source })
    }

    fn import(&self) -> Result<(), MetaError> {
        let mut changes = Vec::new();
        for tree in Tree::EXPORTED {
            let path = self.export_path(tree);
            let copy: BTreeMap<String, serde_json::Value> = match std::fs::read(&path) {
                Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(source) => return Err(MetaError::Io { path, source }),
            };
            changes.extend(copy.into_iter().map(|(name, settings)| Change {
                tree,
                key: name.into_bytes(),
                value: Some(settings.to_string().into_bytes()),
            }));
        }
        self.write(changes)
    }
}

fn encode_value(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(5 + value.len());
    out.push(VALUE_VERSION);
    out.extend_from_slice(&crc32fast::hash(value).to_be_bytes());
    out.extend_from_slice(value);
    out
}

fn decode_value(stored: &[u8]) -> Option<&[u8]> {
    let (head, value) = stored.split_at_checked(5)?;
    (head[0] == VALUE_VERSION && head[1..] == crc32fast::hash(value).to_be_bytes()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reopen(folder: &Path) -> Stored {
        let (meta, stored, thread) = Meta::open(folder).unwrap();
        drop(meta);
        thread.join();
        stored
    }

    #[test]
    fn what_was_saved_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let (meta, _, thread) = Meta::open(folder.path()).unwrap();
        meta.put(Tree::Topics, "a", b"{\"perm\":6}".to_vec());
        meta.put(Tree::Topics, "b", b"{}".to_vec());
        meta.remove(Tree::Topics, "b");
        meta.put(Tree::Offsets, "g", vec![1, 2]);
        let (sender, saved) = mpsc::channel();
        meta.when_saved(move |ok| sender.send(ok).unwrap());
        assert!(saved.recv().unwrap());
        drop(meta);
        thread.join();
        let mut stored = reopen(folder.path());
        assert_eq!(stored.take(Tree::Topics), [(b"a".to_vec(), b"{\"perm\":6}".to_vec())]);
        assert_eq!(stored.take(Tree::Offsets), [(b"g".to_vec(), vec![1, 2])]);
        assert!(!folder.path().join("sled/blobs").read_dir().is_ok_and(|mut blobs| blobs.next().is_some()));
    }

    #[test]
    fn a_damaged_store_is_moved_aside_and_topics_come_from_their_copy() {
        let folder = tempfile::tempdir().unwrap();
        let (meta, _, thread) = Meta::open(folder.path()).unwrap();
        meta.put(Tree::Topics, "a", b"{\"perm\":6}".to_vec());
        meta.put(Tree::Offsets, "g", vec![1]);
        drop(meta);
        thread.join();
        let db = sled::open(folder.path().join("sled")).unwrap();
        db.open_tree("offsets").unwrap().insert("g", b"a value without its checksum").unwrap();
        drop(db);
        let mut stored = reopen(folder.path());
        assert_eq!(stored.take(Tree::Topics), [(b"a".to_vec(), b"{\"perm\":6}".to_vec())]);
        assert_eq!(stored.take(Tree::Offsets), []);
        let aside = folder
            .path()
            .read_dir()
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("sled.broken"));
        assert_eq!(aside.count(), 1);
    }

    #[test]
    fn a_flipped_bit_in_a_value_is_noticed() {
        let mut stored = encode_value(b"value");
        assert_eq!(decode_value(&stored), Some(&b"value"[..]));
        for at in 0..stored.len() {
            stored[at] ^= 4;
            assert_eq!(decode_value(&stored), None, "{at}");
            stored[at] ^= 4;
        }
    }
}
