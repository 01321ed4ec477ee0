//! Small things that must outlive the process: topics, groups, offsets, check counts. The only module that names
//! sled.
//!
//! Changes are handed to one thread that applies them in batches, makes them durable, and then calls back whoever
//! waits; no request handler ever waits for the disk here. sled's own `flush` does not reach the disk's platter
//! (it ends in `sync_file_range`), so the file is synced through a second handle. Beside the store lies a plain JSON
//! copy of topics and groups: if sled is damaged, its folder is moved aside and the copy is loaded. Offsets lost that
//! way cost repeated deliveries, not messages. While nothing can be written, changes are kept and tried again
//! ([`saving`]).

mod saving;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use self::saving::Saver;
pub use self::saving::{Changes, MetaWork, Store};

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
    /// Messages that were handed out one by one and are not settled, by group, topic, queue and page of offsets.
    Deliveries,
    /// Whether push consumers pull or pop, as JSON, by topic and group.
    RequestModes,
}

impl Tree {
    /// Every tree.
    pub const ALL: [Tree; 6] =
        [Tree::Topics, Tree::Groups, Tree::Offsets, Tree::Checks, Tree::Deliveries, Tree::RequestModes];
    const EXPORTED: [Tree; 2] = [Tree::Topics, Tree::Groups];

    fn name(self) -> &'static str {
        match self {
            Tree::Topics => "topics",
            Tree::Groups => "groups",
            Tree::Offsets => "offsets",
            Tree::Checks => "checks",
            Tree::Deliveries => "deliveries",
            Tree::RequestModes => "request_modes",
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
    /// A later version of this program wrote a value. The store stays as it is.
    #[error("`{key}` in tree `{tree}` of {} has format version {found}; this program reads versions up to {supported}", path.display())]
    Newer {
        /// The store.
        path: PathBuf,
        /// Tree of the value.
        tree: &'static str,
        /// Key of the value, its bytes escaped.
        key: String,
        /// Version of the value.
        found: u8,
        /// The newest version that can be read.
        supported: u8,
    },
    /// A change cannot be written. Only ever logged, so the reason is part of the text.
    #[error("metadata cannot be saved in {}: {reason}", path.display())]
    Save {
        /// The file or folder.
        path: PathBuf,
        /// What the system or sled says.
        reason: String,
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

/// What a JSON copy holds: settings by name.
type JsonCopy = BTreeMap<String, serde_json::Value>;

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// What was stored when the broker started.
pub struct Stored {
    values: BTreeMap<Tree, Vec<Pair>>,
}

impl Stored {
    /// Key and value of everything, by tree.
    pub fn new(values: BTreeMap<Tree, Vec<Pair>>) -> Stored {
        Stored { values }
    }

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
        let store = SledStore::open(folder)?;
        let mut values = BTreeMap::new();
        for tree in Tree::ALL {
            values.insert(tree, store.read_all(tree)?);
        }
        let (jobs, inbox) = mpsc::channel();
        let reopened = folder.to_path_buf();
        let stale: Vec<Tree> = Tree::EXPORTED.into_iter().filter(|tree| store.copy_is_stale(*tree)).collect();
        let mut saver = Saver::new(store, move || SledStore::open(&reopened));
        saver.rewrite_copies(stale);
        let thread = std::thread::Builder::new()
            .name("meta".into())
            .spawn(move || MetaWork::new(saver, inbox).until_dropped())
            .map_err(|source| MetaError::Io { path: folder.to_path_buf(), source })?;
        Ok((Meta { jobs }, Stored { values }, MetaThread(thread)))
    }

    /// Metadata in another store than sled, without a thread: it is saved whenever [`MetaWork::step`] is called.
    /// `open` opens the store, now and after each failure.
    pub fn by_hand<S: Store>(
        mut open: impl FnMut() -> Result<S, MetaError> + Send + 'static,
    ) -> Result<(Meta, MetaWork<S>), MetaError> {
        let (jobs, inbox) = mpsc::channel();
        Ok((Meta { jobs }, MetaWork::new(Saver::new(open()?, open), inbox)))
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

/// Why a store is not used as it is.
enum Unusable {
    /// sled does not open it, or what it holds is damaged.
    Sled(sled::Error),
    /// A value has a later version.
    Newer { tree: &'static str, key: String, found: u8 },
}

impl From<sled::Error> for Unusable {
    fn from(error: sled::Error) -> Unusable {
        Unusable::Sled(error)
    }
}

struct SledStore {
    folder: PathBuf,
    db: sled::Db,
    trees: BTreeMap<Tree, sled::Tree>,
    /// A second handle of sled's file, for the sync that sled leaves out.
    file: File,
}

impl SledStore {
    /// Opens what is stored. A store that is damaged is moved aside; one that cannot be read or written now (the disk
    /// is full, another process holds it) stays where it is.
    fn open(folder: &Path) -> Result<SledStore, MetaError> {
        let io = |path: &Path| {
            let path = path.to_path_buf();
            move |source| MetaError::Io { path, source }
        };
        std::fs::create_dir_all(folder).map_err(io(folder))?;
        let path = folder.join("sled");
        let store_error = |source| MetaError::Store { path: path.clone(), source };
        match SledStore::open_unlocked(folder, &path) {
            Ok(store) => Ok(store),
            Err(Unusable::Newer { tree, key, found }) => {
                Err(MetaError::Newer { path, tree, key, found, supported: VALUE_VERSION })
            }
            Err(Unusable::Sled(error)) if !is_damage(&error) => Err(store_error(error)),
            Err(Unusable::Sled(error)) => {
                // Not named after the process: in a container each has the same number.
                let names = (1..).map(|count| folder.join(format!("sled.broken-{count}")));
                let aside = { names }.find(|aside| !aside.exists()).unwrap_or_else(|| folder.join("sled.broken"));
                tracing::error!(%error, aside = %aside.display(), "metadata is damaged; topics and groups are loaded from their JSON copy");
                std::fs::rename(&path, &aside).map_err(io(&path))?;
                let store = SledStore::open_sled(folder, &path).map_err(store_error)?;
                store.import()?;
                Ok(store)
            }
        }
    }

    /// Waits a moment for the lock: threads of sled outlive its handle for as long as their last write takes.
    fn open_unlocked(folder: &Path, path: &Path) -> Result<SledStore, Unusable> {
        const TRIES: usize = 20;
        let mut opened = SledStore::open_sled(folder, path);
        for _ in 1..TRIES {
            if !opened.as_ref().is_err_and(is_locked) {
                break;
            }
            #[expect(clippy::disallowed_methods, reason = "nobody tells when sled lets go of its lock")]
            std::thread::sleep(Duration::from_millis(25));
            opened = SledStore::open_sled(folder, path);
        }
        let store = opened?;
        store.look_through()?;
        Ok(store)
    }

    fn open_sled(folder: &Path, path: &Path) -> Result<SledStore, sled::Error> {
        remove_unfinished_snapshots(path)?;
        let db = sled::Config::new().path(path).cache_capacity(32 * 1024 * 1024).flush_every_ms(Some(500)).open()?;
        let mut trees = BTreeMap::new();
        for tree in Tree::ALL {
            trees.insert(tree, db.open_tree(tree.name())?);
        }
        let file = File::options().read(true).write(true).open(path.join("db"))?;
        File::open(path)?.sync_all()?;
        Ok(SledStore { folder: folder.to_path_buf(), db, trees, file })
    }

    /// Reads every value: damage shows itself then, and the caller still can move the folder aside.
    fn look_through(&self) -> Result<(), Unusable> {
        for tree in Tree::ALL {
            for item in self.trees[&tree].iter() {
                let (key, value) = item?;
                let key = || key.escape_ascii().to_string();
                match split_value(&value) {
                    Some((VALUE_VERSION, _)) => {}
                    Some((found, _)) if VALUE_VERSION < found => {
                        return Err(Unusable::Newer { tree: tree.name(), key: key(), found });
                    }
                    _ => {
                        let text = format!("value of `{}` in {} is damaged", key(), tree.name());
                        return Err(Unusable::Sled(sled::Error::Unsupported(text)));
                    }
                }
            }
        }
        Ok(())
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

    /// What the JSON copy of a tree should hold.
    fn copy_of(&self, tree: Tree) -> Result<JsonCopy, MetaError> {
        let mut copy = JsonCopy::new();
        for (key, value) in self.read_all(tree)? {
            if let (Ok(name), Ok(settings)) = (String::from_utf8(key), serde_json::from_slice(&value)) {
                copy.insert(name, settings);
            }
        }
        Ok(copy)
    }

    /// Whether the JSON copy of a tree does not hold what the tree does: the process was killed before it was rewritten,
    /// or somebody removed or changed it.
    fn copy_is_stale(&self, tree: Tree) -> bool {
        let found = std::fs::read(self.export_path(tree))
            .ok()
            .and_then(|bytes| serde_json::from_slice::<JsonCopy>(&bytes).ok());
        self.copy_of(tree).is_ok_and(|copy| found.unwrap_or_default() != copy)
    }

    fn export_path(&self, tree: Tree) -> PathBuf {
        self.folder.join(format!("{}.json", tree.name()))
    }

    fn import(&self) -> Result<(), MetaError> {
        let mut changes = Changes::new();
        for tree in Tree::EXPORTED {
            let path = self.export_path(tree);
            let copy: JsonCopy = match std::fs::read(&path) {
                Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(source) => return Err(MetaError::Io { path, source }),
            };
            changes.extend(
                copy.into_iter()
                    .map(|(name, settings)| ((tree, name.into_bytes()), Some(settings.to_string().into_bytes()))),
            );
        }
        self.write(&changes)
    }

    fn cannot_save(&self, what: &str, reason: impl std::fmt::Display) -> MetaError {
        MetaError::Save { path: self.folder.join(what), reason: reason.to_string() }
    }
}

impl Store for SledStore {
    fn write(&self, changes: &Changes) -> Result<(), MetaError> {
        /// Changes in one batch of sled. It frees the copies of a page, one for each change, only after the whole
        /// batch: 10,000 changes at once cost 600 MB that never came back. Nothing needs changes of several keys to
        /// be in force together.
        const SLED_BATCH_MAX: usize = 250;
        let sled_error = |error: sled::Error| self.cannot_save("sled", error);
        for tree in Tree::ALL {
            let mut changed = changes.iter().filter(|((of, _), _)| *of == tree).peekable();
            while changed.peek().is_some() {
                let mut batch = sled::Batch::default();
                for ((_, key), value) in changed.by_ref().take(SLED_BATCH_MAX) {
                    match value {
                        Some(value) => batch.insert(key.as_slice(), encode_value(value)),
                        None => batch.remove(key.as_slice()),
                    }
                }
                self.trees[&tree].apply_batch(batch).map_err(sled_error)?;
            }
        }
        self.db.flush().map_err(sled_error)?;
        self.file.sync_data().map_err(|error| self.cannot_save("sled/db", error))
    }

    /// Writes `{"name":settings,…}`: the keys are names and the values are JSON already.
    fn export(&self, tree: Tree) -> Result<(), MetaError> {
        let copy = self.copy_of(tree)?;
        let path = self.export_path(tree);
        let write = || {
            let temporary = path.with_extension("json.tmp");
            let mut file = File::create(&temporary)?;
            file.write_all(&serde_json::to_vec_pretty(&copy)?)?;
            file.sync_all()?;
            std::fs::rename(&temporary, &path)?;
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(|error: std::io::Error| MetaError::Save { path: path.clone(), reason: error.to_string() })
    }

    fn close(self) {
        // sled syncs its file when it is dropped, and panics if that fails.
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(self))).is_err() {
            tracing::warn!("the store of the metadata could not be closed in order");
        }
    }
}

/// Removes what a process left that was killed while sled wrote a snapshot: sled takes an unfinished one for the newest,
/// and the store for damaged. The one before and the file have everything. Only one process at a time gets here: it
/// holds the lock of the data folder.
fn remove_unfinished_snapshots(path: &Path) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b"snap.") && name.as_encoded_bytes().ends_with(b".generating") {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Whether what is stored is broken, rather than the disk full, the lock held or the folder forbidden.
fn is_damage(error: &sled::Error) -> bool {
    use std::io::ErrorKind;
    match error {
        sled::Error::Io(error) => {
            matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::NotFound)
                || error.kind() == ErrorKind::Other && !is_lock_text(error)
        }
        _ => true,
    }
}

/// sled has no error of its own for a lock that another holds.
fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if is_lock_text(error))
}

fn is_lock_text(error: &std::io::Error) -> bool {
    error.to_string().starts_with("could not acquire lock")
}

fn encode_value(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(5 + value.len());
    out.push(VALUE_VERSION);
    out.extend_from_slice(&crc32fast::hash(value).to_be_bytes());
    out.extend_from_slice(value);
    out
}

fn decode_value(stored: &[u8]) -> Option<&[u8]> {
    split_value(stored).filter(|(version, _)| *version == VALUE_VERSION).map(|(_, value)| value)
}

/// Version and value; `None` when they are damaged. Every version to come has its checksum in this place.
fn split_value(stored: &[u8]) -> Option<(u8, &[u8])> {
    let (head, value) = stored.split_at_checked(5)?;
    (head[1..] == crc32fast::hash(value).to_be_bytes()).then_some((head[0], value))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

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
    fn a_copy_that_a_kill_left_behind_or_that_is_gone_is_written_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let (meta, _, thread) = Meta::open(folder.path()).unwrap();
        meta.put(Tree::Topics, "a", b"{\"perm\":6}".to_vec());
        drop(meta);
        thread.join();
        let path = folder.path().join("topics.json");
        let copy = std::fs::read(&path).unwrap();
        for left in [None, Some(&b"{\"b\":{}}"[..]), Some(b"{\"a\":")] {
            match left {
                Some(left) => std::fs::write(&path, left).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            reopen(folder.path());
            assert_eq!(std::fs::read(&path).unwrap(), copy);
        }
        // What is right is left alone, and so is what was never needed.
        let written = std::fs::metadata(&path).unwrap().modified().unwrap();
        reopen(folder.path());
        assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), written);
        assert!(!folder.path().join("groups.json").exists());
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
    fn a_process_killed_while_sled_wrote_a_snapshot_leaves_the_store_whole() {
        for written in [&b""[..], b"half of it"] {
            let folder = tempfile::tempdir().unwrap();
            let (meta, _, thread) = Meta::open(folder.path()).unwrap();
            meta.put(Tree::Offsets, "g", vec![1]);
            drop(meta);
            thread.join();
            std::fs::write(folder.path().join("sled/snap.00000000000FFFFF.generating"), written).unwrap();
            assert_eq!(reopen(folder.path()).take(Tree::Offsets), [(b"g".to_vec(), vec![1])]);
            assert!(!folder.path().join("sled.broken-1").exists());
        }
    }

    #[test]
    fn a_store_of_a_later_version_is_refused_and_stays_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (meta, _, thread) = Meta::open(folder.path()).unwrap();
        meta.put(Tree::Offsets, "g", vec![1]);
        drop(meta);
        thread.join();
        let change = |change: &dyn Fn(&mut Vec<u8>)| {
            let db = sled::open(folder.path().join("sled")).unwrap();
            let tree = db.open_tree("offsets").unwrap();
            let mut value = tree.get("g").unwrap().unwrap().to_vec();
            change(&mut value);
            tree.insert("g", value).unwrap();
        };
        change(&|value| value[0] = 2);
        let error = Meta::open(folder.path()).err().unwrap().to_string();
        let path = folder.path().join("sled");
        let expected = format!(
            "`g` in tree `offsets` of {} has format version 2; this program reads versions up to 1",
            path.display()
        );
        assert_eq!(error, expected);
        change(&|value| value[0] = 1);
        assert_eq!(reopen(folder.path()).take(Tree::Offsets), [(b"g".to_vec(), vec![1])]);
    }

    #[test]
    fn a_store_that_another_holds_stays_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (meta, _, thread) = Meta::open(folder.path()).unwrap();
        meta.put(Tree::Offsets, "g", vec![1]);
        let error = Meta::open(folder.path()).err().unwrap();
        assert!(matches!(error, MetaError::Store { .. }), "{error}");
        drop(meta);
        thread.join();
        assert_eq!(reopen(folder.path()).take(Tree::Offsets), [(b"g".to_vec(), vec![1])]);
    }

    /// sled, on a disk that can be full.
    struct Flaky {
        store: SledStore,
        full: Arc<AtomicBool>,
    }

    impl Store for Flaky {
        fn write(&self, changes: &Changes) -> Result<(), MetaError> {
            match self.full.load(Ordering::SeqCst) {
                true => Err(self.store.cannot_save("sled", "no space left on device")),
                false => self.store.write(changes),
            }
        }
        fn export(&self, tree: Tree) -> Result<(), MetaError> {
            self.store.export(tree)
        }
        fn close(self) {
            self.store.close();
        }
    }

    #[test]
    fn sled_is_opened_again_in_the_same_process_and_folder_after_a_failed_write() {
        let folder = tempfile::tempdir().unwrap();
        let full = Arc::new(AtomicBool::new(true));
        let (path, switch) = (folder.path().to_path_buf(), full.clone());
        let open = move || Ok(Flaky { store: SledStore::open(&path)?, full: switch.clone() });
        let saver = Saver::new(open().unwrap(), open);
        let (jobs, inbox) = mpsc::channel();
        let meta = Meta { jobs };
        let thread = MetaThread(std::thread::spawn(move || MetaWork::new(saver, inbox).until_dropped()));
        let saved = |meta: &Meta| {
            let (sender, saved) = mpsc::channel();
            meta.when_saved(move |ok| sender.send(ok).unwrap());
            saved.recv().unwrap()
        };
        meta.put(Tree::Topics, "a", b"{}".to_vec());
        meta.put(Tree::Offsets, "g", vec![1]);
        assert!(!saved(&meta));
        full.store(false, Ordering::SeqCst);
        meta.put(Tree::Offsets, "g", vec![2]);
        while !saved(&meta) {
            std::thread::yield_now();
        }
        drop(meta);
        thread.join();
        let mut stored = reopen(folder.path());
        assert_eq!(stored.take(Tree::Topics), [(b"a".to_vec(), b"{}".to_vec())]);
        assert_eq!(stored.take(Tree::Offsets), [(b"g".to_vec(), vec![2])]);
    }

    #[test]
    fn a_failed_write_says_that_metadata_cannot_be_saved() {
        let folder = tempfile::tempdir().unwrap();
        let store = SledStore::open(folder.path()).unwrap();
        let text = store.cannot_save("sled", "no space left").to_string();
        assert_eq!(text, format!("metadata cannot be saved in {}/sled: no space left", folder.path().display()));
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
