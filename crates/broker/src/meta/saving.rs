//! Core of the metadata thread: which changes are written when, and what happens while they cannot be.
//!
//! A full disk passes. Changes that could not be written are kept, the newest of each key, and tried again with a
//! store that was opened afresh: sled refuses everything after its first failed write.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::{Change, Job, MetaError, Tree};

/// Changes by key, so that only the newest of each is kept.
pub type Changes = BTreeMap<(Tree, Vec<u8>), Option<Vec<u8>>>;

/// Pause between tries to save after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Least time between two rewrites of the JSON copies, each of which holds everything.
const EXPORT_EVERY: Duration = Duration::from_secs(1);

/// Where changes are written. After a failed write a store is closed and opened again.
pub trait Store {
    /// Makes the changes durable.
    fn write(&self, changes: &Changes) -> Result<(), MetaError>;
    /// Rewrites the JSON copy of a tree.
    fn export(&self, tree: Tree) -> Result<(), MetaError>;
    /// Closes the store; another can be opened afterwards.
    fn close(self);
}

/// What the metadata thread does, for whoever drives it step by step instead.
pub struct MetaWork<S> {
    saver: Saver<S>,
    inbox: mpsc::Receiver<Job>,
}

impl<S: Store> MetaWork<S> {
    pub(super) fn new(saver: Saver<S>, inbox: mpsc::Receiver<Job>) -> MetaWork<S> {
        MetaWork { saver, inbox }
    }

    /// Saves what has arrived, and calls back whoever waits for that.
    pub fn step(&mut self, now: Instant) {
        self.save(None, now);
    }

    fn save(&mut self, first: Option<Job>, now: Instant) {
        /// Changes taken before the disk is asked to keep them.
        const BATCH_MAX: usize = 10_000;
        let mut waiting = Vec::new();
        for job in first.into_iter().chain(self.inbox.try_iter()).take(BATCH_MAX) {
            match job {
                Job::Change(change) => self.saver.keep(change),
                Job::WhenSaved(then) => waiting.push(then),
            }
        }
        let saved = self.saver.save(now);
        for then in waiting {
            then(saved);
        }
        self.saver.export(now);
    }

    /// Writes what arrives until every sender is gone, then whatever is left.
    pub(super) fn until_dropped(mut self) {
        loop {
            let first = match self.saver.due() {
                Some(at) => self.inbox.recv_timeout(at.saturating_duration_since(clock_now())),
                None => self.inbox.recv().map_err(|mpsc::RecvError| RecvTimeoutError::Disconnected),
            };
            if matches!(first, Err(RecvTimeoutError::Disconnected)) {
                break;
            }
            self.save(first.ok(), clock_now());
        }
        self.saver.finish(clock_now());
    }
}

#[expect(clippy::disallowed_methods, reason = "the thread is a shell; what it drives takes the time as an argument")]
fn clock_now() -> Instant {
    Instant::now()
}

/// Changes on their way to a store.
pub(super) struct Saver<S> {
    open: Box<dyn FnMut() -> Result<S, MetaError> + Send>,
    /// None after a failed write.
    store: Option<S>,
    kept: Changes,
    retry_at: Option<Instant>,
    /// Trees whose JSON copy is older than the store.
    stale: BTreeSet<Tree>,
    export_at: Option<Instant>,
    exported_at: Option<Instant>,
    export_fails: bool,
}

impl<S: Store> Saver<S> {
    /// `open` opens the store again after a failure.
    pub(super) fn new(store: S, open: impl FnMut() -> Result<S, MetaError> + Send + 'static) -> Saver<S> {
        Saver {
            open: Box::new(open),
            store: Some(store),
            kept: Changes::new(),
            retry_at: None,
            stale: BTreeSet::new(),
            export_at: None,
            exported_at: None,
            export_fails: false,
        }
    }

    /// Rewrites the JSON copies of some trees as soon as possible.
    pub(super) fn rewrite_copies(&mut self, trees: impl IntoIterator<Item = Tree>) {
        self.stale.extend(trees);
        if !self.stale.is_empty() {
            self.export_at = Some(clock_now());
        }
    }

    /// When something is to be done even if nothing arrives.
    fn due(&self) -> Option<Instant> {
        self.retry_at.or(self.export_at)
    }

    fn keep(&mut self, change: Change) {
        self.kept.insert((change.tree, change.key), change.value);
    }

    /// Writes what is kept; says whether all of it is on disk now.
    fn save(&mut self, now: Instant) -> bool {
        if self.retry_at.is_some_and(|at| now < at) {
            return false;
        }
        if self.kept.is_empty() {
            return true;
        }
        if let Err(error) = self.try_save() {
            if let Some(store) = self.store.take() {
                store.close();
            }
            if self.retry_at.replace(now + RETRY_AFTER).is_none() {
                let kept = self.kept.len();
                tracing::error!(%error, kept, "metadata cannot be saved; changes are kept in memory and tried again every second");
            }
            return false;
        }
        let written = std::mem::take(&mut self.kept);
        if self.retry_at.take().is_some() {
            tracing::info!(changes = written.len(), "metadata is saved again");
        }
        self.stale.extend(Tree::EXPORTED.into_iter().filter(|tree| written.keys().any(|(of, _)| of == tree)));
        if !self.stale.is_empty() && self.export_at.is_none() {
            self.export_at = Some(self.exported_at.map_or(now, |at| now.max(at + EXPORT_EVERY)));
        }
        true
    }

    fn try_save(&mut self) -> Result<(), MetaError> {
        let store = match self.store.take() {
            Some(store) => store,
            None => (self.open)()?,
        };
        self.store.insert(store).write(&self.kept)
    }

    /// Rewrites JSON copies that are due.
    fn export(&mut self, now: Instant) {
        let Some(store) = self.store.as_ref().filter(|_| self.export_at.is_some_and(|at| at <= now)) else { return };
        let result = self.stale.iter().try_for_each(|tree| store.export(*tree));
        self.exported_at = Some(now);
        match result {
            Ok(()) => {
                self.stale.clear();
                self.export_at = None;
                self.export_fails = false;
            }
            Err(error) => {
                self.export_at = Some(now + EXPORT_EVERY);
                if !std::mem::replace(&mut self.export_fails, true) {
                    tracing::error!(%error, "the JSON copy of the metadata cannot be written; it is tried again every second");
                }
            }
        }
    }

    /// Tries once more, whenever the last try was.
    fn finish(mut self, now: Instant) {
        self.retry_at = self.retry_at.map(|at| at.min(now));
        if !self.save(now) {
            tracing::error!(lost = self.kept.len(), "metadata cannot be saved; the last changes are lost");
        }
        self.export_at = self.export_at.map(|at| at.min(now));
        self.export(now);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A disk that can be full, and what lies on it.
    #[derive(Default)]
    struct Disk {
        full: bool,
        values: Changes,
        opened: usize,
        exports: usize,
    }

    /// A store that, like sled, refuses everything after its first failure.
    struct Fake {
        disk: Arc<Mutex<Disk>>,
        poisoned: std::cell::Cell<bool>,
    }

    impl Store for Fake {
        fn write(&self, changes: &Changes) -> Result<(), MetaError> {
            let mut disk = self.disk.lock().unwrap();
            if disk.full || self.poisoned.get() {
                self.poisoned.set(true);
                return Err(MetaError::Save { path: "meta".into(), reason: "no space left".into() });
            }
            disk.values.extend(changes.clone());
            Ok(())
        }
        fn export(&self, _: Tree) -> Result<(), MetaError> {
            self.disk.lock().unwrap().exports += 1;
            Ok(())
        }
        fn close(self) {}
    }

    fn saver(disk: &Arc<Mutex<Disk>>) -> Saver<Fake> {
        let disk = disk.clone();
        let open = move || {
            disk.lock().unwrap().opened += 1;
            Ok(Fake { disk: disk.clone(), poisoned: false.into() })
        };
        Saver::new(open().unwrap(), open)
    }

    fn put(key: &str, value: u8) -> Change {
        Change { tree: Tree::Topics, key: key.into(), value: Some(vec![value]) }
    }

    fn values(disk: &Mutex<Disk>) -> Vec<(String, Option<Vec<u8>>)> {
        let disk = disk.lock().unwrap();
        disk.values.iter().map(|((_, key), value)| (String::from_utf8(key.clone()).unwrap(), value.clone())).collect()
    }

    #[test]
    fn changes_that_could_not_be_written_are_written_once_there_is_room() {
        let disk = Arc::new(Mutex::new(Disk { full: true, ..Disk::default() }));
        let mut saver = saver(&disk);
        let start = clock_now();
        assert!(saver.save(start), "nothing to save");
        saver.keep(put("a", 1));
        assert!(!saver.save(start));
        disk.lock().unwrap().full = false;
        saver.keep(put("a", 2));
        saver.keep(Change { value: None, ..put("b", 0) });
        assert!(!saver.save(start + RETRY_AFTER / 2), "too soon for the next try");
        assert_eq!((saver.due(), saver.kept.len()), (Some(start + RETRY_AFTER), 2));
        assert!(saver.save(start + RETRY_AFTER));
        assert_eq!(values(&disk), [("a".to_owned(), Some(vec![2])), ("b".to_owned(), None)]);
        assert_eq!((disk.lock().unwrap().opened, saver.kept.len()), (2, 0));
        saver.keep(put("c", 3));
        assert!(saver.save(start + RETRY_AFTER));
    }

    #[test]
    fn while_nothing_can_be_saved_whoever_waits_hears_of_it_and_the_end_tries_once_more() {
        let disk = Arc::new(Mutex::new(Disk { full: true, ..Disk::default() }));
        let (jobs, inbox) = mpsc::channel();
        let (saver, (sender, heard)) = (saver(&disk), mpsc::channel());
        let thread = std::thread::spawn(move || MetaWork::new(saver, inbox).until_dropped());
        for value in 0..3 {
            jobs.send(Job::Change(put("a", value))).unwrap_or_else(|_| panic!("the thread ended"));
            let sender = sender.clone();
            let then = Job::WhenSaved(Box::new(move |saved| sender.send(saved).unwrap()));
            jobs.send(then).unwrap_or_else(|_| panic!("the thread ended"));
            assert!(!heard.recv().unwrap());
        }
        disk.lock().unwrap().full = false;
        drop(jobs);
        thread.join().unwrap();
        assert_eq!(values(&disk), [("a".to_owned(), Some(vec![2]))]);
        assert_eq!(disk.lock().unwrap().exports, 1);
    }

    #[test]
    fn copies_are_rewritten_at_most_once_a_second_and_at_the_end() {
        let disk = Arc::new(Mutex::new(Disk::default()));
        let mut saver = saver(&disk);
        let start = clock_now();
        for at in 0..100 {
            let now = start + EXPORT_EVERY * at / 50;
            saver.keep(put("a", at as u8));
            assert!(saver.save(now));
            saver.export(now);
        }
        assert_eq!(disk.lock().unwrap().exports, 2);
        assert_eq!(saver.due(), Some(start + EXPORT_EVERY * 2));
        saver.finish(start + EXPORT_EVERY * 2);
        assert_eq!(disk.lock().unwrap().exports, 3);
    }
}
