//! The topics of this broker: settings, permissions, auto-creation.
//!
//! Source: `broker/.../topic/TopicConfigManager.java`.

pub mod attributes;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockWriteGuard};

use log::QueueNumber;
use serde::{Deserialize, Serialize};

use crate::config::Flush;
use crate::config::live::Live;
use crate::meta::{Meta, Stored, Tree};
use crate::names::{self, NameError};
use crate::stats::TopicTallies;
use attributes::AttributeError;

/// Queues that a topic may have for reading or writing.
pub const QUEUES_MAX: i32 = 65_536;

/// What a topic allows: bits as in `common/.../constant/PermName.java`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Permission(pub i32);

impl Permission {
    /// Read and write.
    pub const READ_WRITE: Permission = Permission(6);
    /// Bit of a template for auto-creation.
    pub const INHERIT: i32 = 1;
    const WRITE: i32 = 2;
    const READ: i32 = 4;

    /// Whether messages may be pulled.
    pub fn can_read(self) -> bool {
        self.0 & Self::READ != 0
    }
    /// Whether messages may be sent.
    pub fn can_write(self) -> bool {
        self.0 & Self::WRITE != 0
    }
    /// Whether the topic is a template for auto-creation.
    pub fn is_template(self) -> bool {
        self.0 & Self::INHERIT != 0
    }
}

/// Settings of a topic, as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicSettings {
    /// Name.
    pub name: String,
    /// Queues that can be read.
    pub read_queues: i32,
    /// Queues that can be written.
    pub write_queues: i32,
    /// What the topic allows.
    pub permission: Permission,
    /// Whether the topic is ordered.
    #[serde(default)]
    pub ordered: bool,
    /// Unit flags.
    #[serde(default)]
    pub sys_flag: i32,
    /// Whether messages may have several tags.
    #[serde(default)]
    pub multi_tag: bool,
    /// Attributes, without the sign of the request that set them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

impl TopicSettings {
    /// An ordinary topic.
    pub fn new(name: &str, queues: i32, permission: Permission) -> TopicSettings {
        TopicSettings {
            name: name.to_owned(),
            read_queues: queues,
            write_queues: queues,
            permission,
            ordered: false,
            sys_flag: 0,
            multi_tag: false,
            attributes: BTreeMap::new(),
        }
    }
}

/// Attribute of a topic that says when its sends are answered, in place of the broker's `flushDiskType`; with the same
/// values. Apogee's own.
pub const FLUSH_ATTRIBUTE: &str = "flush.disk.type";

/// Attribute of a topic that says what kind of message it takes, as upstream has it.
pub const MESSAGE_TYPE_ATTRIBUTE: &str = "message.type";

/// What kind of message a topic takes, or a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageType {
    /// Nothing special. A topic that does not say anything takes these.
    Normal,
    /// With a message group, within which order is kept.
    Fifo,
    /// Due at a given time.
    Delay,
    /// Half messages.
    Transaction,
    /// With a priority.
    Priority,
    /// For a lite topic.
    Lite,
    /// Only of topics: any of them.
    Mixed,
}

impl MessageType {
    /// The type of that name; an unknown one is `Normal`, as upstream takes it.
    fn named(name: &str) -> MessageType {
        match name.to_ascii_uppercase().as_str() {
            "FIFO" => MessageType::Fifo,
            "DELAY" => MessageType::Delay,
            "TRANSACTION" => MessageType::Transaction,
            "PRIORITY" => MessageType::Priority,
            "LITE" => MessageType::Lite,
            "MIXED" => MessageType::Mixed,
            _ => MessageType::Normal,
        }
    }

    /// The name of it in attributes.
    pub fn name(self) -> &'static str {
        match self {
            MessageType::Normal => "NORMAL",
            MessageType::Fifo => "FIFO",
            MessageType::Delay => "DELAY",
            MessageType::Transaction => "TRANSACTION",
            MessageType::Priority => "PRIORITY",
            MessageType::Lite => "LITE",
            MessageType::Mixed => "MIXED",
        }
    }

    /// Whether a topic of this type takes a message of that type.
    pub fn takes(self, message: MessageType) -> bool {
        self == MessageType::Mixed || self == message
    }
}

/// A topic: its settings, and where the log keeps its queues.
#[derive(Debug)]
pub struct Topic {
    /// The settings.
    pub settings: TopicSettings,
    /// The change of the table that made it, see [`TableVersion::counter`].
    pub change: i64,
    /// When its sends are answered, if it says so itself.
    pub flush: Option<Flush>,
    /// What kind of message it takes.
    pub message_type: MessageType,
    /// What was counted of it; the same for as long as the topic is there.
    pub tallies: Arc<TopicTallies>,
    queues: Vec<OnceLock<QueueNumber>>,
}

impl Topic {
    fn new(settings: TopicSettings, change: i64, old: Option<&Topic>) -> Topic {
        let count = settings.read_queues.max(settings.write_queues).max(0) as usize;
        let queues = (0..count).map(|id| old.and_then(|old| old.queues.get(id)).cloned().unwrap_or_default()).collect();
        let flush = settings.attributes.get(FLUSH_ATTRIBUTE).and_then(|name| Flush::named(name));
        let message_type = settings.attributes.get(MESSAGE_TYPE_ATTRIBUTE);
        let message_type = message_type.map_or(MessageType::Normal, |name| MessageType::named(name));
        let tallies = old.map(|old| old.tallies.clone()).unwrap_or_default();
        Topic { settings, change, flush, message_type, tallies, queues }
    }

    /// Queues that can be written or read, whichever are more.
    pub fn queue_count(&self) -> i32 {
        self.queues.len() as i32
    }

    /// Whether the topic has that queue, for writing or reading.
    pub fn has_queue(&self, id: i32) -> bool {
        (0..self.queue_count()).contains(&id)
    }

    /// The log's number for a queue of this topic, if the log was asked for it before.
    pub fn known_queue(&self, id: i32) -> Option<QueueNumber> {
        self.queues.get(usize::try_from(id).ok()?)?.get().copied()
    }

    /// Remembers the log's number for a queue of this topic.
    pub fn remember_queue(&self, id: i32, number: QueueNumber) {
        if let Some(cell) = usize::try_from(id).ok().and_then(|id| self.queues.get(id)) {
            let _ = cell.set(number);
        }
    }
}

/// Why a topic cannot be created or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// The name is not legal.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The topic belongs to the system.
    #[error("topic `{0}` belongs to the system")]
    System(String),
    /// Too few or too many queues.
    #[error("{found} {what} queues; a topic has 0 to {QUEUES_MAX}, and at least one in all")]
    Queues {
        /// `read` or `write`.
        what: &'static str,
        /// What was asked for.
        found: i32,
    },
    /// Bits that are no permission.
    #[error("permission {0} is not between 0 and 7")]
    Permission(i32),
    /// A change of attributes that makes no sense.
    #[error(transparent)]
    Attribute(#[from] AttributeError),
}

/// Counts changes of a table; nameservers and tools compare it (`DataVersion`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableVersion {
    /// When the last change was made, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Changes made.
    pub counter: i64,
}

/// All topics.
pub struct Topics {
    table: RwLock<HashMap<String, Arc<Topic>>>,
    version: Mutex<TableVersion>,
    meta: Meta,
    auto_create: Live<bool>,
}

impl Topics {
    /// Loads what is stored.
    pub fn load(stored: &mut Stored, meta: Meta, auto_create: bool, now_ms: i64) -> Topics {
        let mut table = HashMap::new();
        for (key, value) in stored.take(Tree::Topics) {
            match serde_json::from_slice::<TopicSettings>(&value) {
                Ok(settings) => {
                    table.insert(settings.name.clone(), Arc::new(Topic::new(settings, 0, None)));
                }
                Err(error) => tracing::error!(topic = %key.escape_ascii(), %error, "stored topic cannot be read"),
            }
        }
        let version = Mutex::new(TableVersion { timestamp_ms: now_ms, counter: 0 });
        Topics { table: RwLock::new(table), version, meta, auto_create: auto_create.into() }
    }

    /// The topic of that name.
    pub fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Every topic, by name.
    pub fn all(&self) -> BTreeMap<String, Arc<Topic>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.iter().map(|(name, topic)| (name.clone(), topic.clone())).collect()
    }

    /// Every topic, in any order.
    pub fn list(&self) -> Vec<Arc<Topic>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// How often the table changed.
    pub fn version(&self) -> TableVersion {
        *self.version.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Allows or forbids that a send creates its topic.
    pub fn allow_creation(&self, allowed: bool) {
        self.auto_create.set(allowed);
    }

    /// Counts a change of what every topic looks like from outside, without one of them being another.
    pub fn note_change_of_all(&self, now_ms: i64) {
        self.touch(now_ms);
    }

    /// Creates or replaces a topic whose settings were checked by [`check_settings`].
    pub fn put(&self, settings: TopicSettings, now_ms: i64) -> Arc<Topic> {
        self.change(&mut self.write(), settings, now_ms)
    }

    /// Creates a topic unless it is there. The flag says whether it was created.
    pub fn ensure(&self, settings: TopicSettings, now_ms: i64) -> (Arc<Topic>, bool) {
        if let Some(topic) = self.get(&settings.name) {
            return (topic, false);
        }
        let mut table = self.write();
        // Somebody may have created it since, with settings that were asked for.
        if let Some(topic) = table.get(&settings.name) {
            return (topic.clone(), false);
        }
        (self.change(&mut table, settings, now_ms), true)
    }

    /// Creates the topic of a send after its template; `None` if the template does not allow it.
    pub fn create_after(&self, name: &str, template: &str, queues: i32, now_ms: i64) -> Option<Arc<Topic>> {
        if !self.auto_create.get() {
            return None;
        }
        let template = self.get(template).filter(|template| template.settings.permission.is_template())?;
        let queues = queues.min(template.settings.write_queues).max(1);
        let permission = Permission(template.settings.permission.0 & !Permission::INHERIT);
        let settings =
            TopicSettings { multi_tag: template.settings.multi_tag, ..TopicSettings::new(name, queues, permission) };
        Some(self.ensure(settings, now_ms).0)
    }

    /// Forgets a topic; returns it if it was there.
    pub fn remove(&self, name: &str, now_ms: i64) -> Option<Arc<Topic>> {
        let mut table = self.write();
        let removed = table.remove(name)?;
        self.meta.remove(Tree::Topics, name);
        self.touch(now_ms);
        Some(removed)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<String, Arc<Topic>>> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counted and handed to the metadata while the table is locked: whoever reads the count and then the table
    /// misses no change, and changes are stored in the order in which they were made.
    fn change(&self, table: &mut HashMap<String, Arc<Topic>>, settings: TopicSettings, now_ms: i64) -> Arc<Topic> {
        let old = table.get(&settings.name);
        if let Some(old) = old.filter(|old| old.settings == settings) {
            return old.clone();
        }
        let (name, value) = (settings.name.clone(), serde_json::to_vec(&settings).unwrap_or_default());
        let topic = Arc::new(Topic::new(settings, self.touch(now_ms), old.map(Arc::as_ref)));
        table.insert(name.clone(), topic.clone());
        self.meta.put(Tree::Topics, name, value);
        topic
    }

    fn touch(&self, now_ms: i64) -> i64 {
        let mut version = self.version.lock().unwrap_or_else(PoisonError::into_inner);
        version.counter += 1;
        version.timestamp_ms = now_ms;
        version.counter
    }
}

/// Checks settings that an operator asks for.
pub fn check_settings(settings: &TopicSettings) -> Result<(), TopicError> {
    names::check_topic(&settings.name)?;
    for (what, found) in [("read", settings.read_queues), ("write", settings.write_queues)] {
        if !(0..=QUEUES_MAX).contains(&found) || settings.read_queues.max(settings.write_queues) == 0 {
            return Err(TopicError::Queues { what, found });
        }
    }
    if !(0..8).contains(&settings.permission.0) {
        return Err(TopicError::Permission(settings.permission.0));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::at_once::at_once;

    fn topics(folder: &std::path::Path) -> (Topics, crate::meta::MetaThread) {
        let (meta, mut stored, thread) = Meta::open(folder).unwrap();
        (Topics::load(&mut stored, meta, true, 1), thread)
    }

    #[test]
    fn topics_are_created_after_the_template_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (all, thread) = topics(folder.path());
        assert!(all.create_after("orders", "TBW102", 4, 1).is_none());
        all.put(TopicSettings::new("TBW102", 8, Permission(7)), 1);
        let topic = all.create_after("orders", "TBW102", 4, 2).unwrap();
        assert_eq!((topic.queue_count(), topic.settings.permission), (4, Permission::READ_WRITE));
        assert_eq!(all.create_after("wide", "TBW102", 100, 2).unwrap().queue_count(), 8);
        assert!(all.create_after("other", "orders", 4, 2).is_none());
        assert_eq!(all.version().counter, 3);
        drop(all);
        thread.join();
        let (all, thread) = topics(folder.path());
        assert_eq!(all.get("orders").unwrap().settings, topic.settings);
        assert!(all.remove("orders", 3).is_some() && all.get("orders").is_none());
        drop(all);
        thread.join();
    }

    #[test]
    fn what_is_stored_is_what_the_table_holds_whoever_changes_it_at_the_same_time() {
        let folder = tempfile::tempdir().unwrap();
        let (all, thread) = topics(folder.path());
        at_once(5000, |round, thread| match (round % 2, thread) {
            (1, 0) => drop(all.remove(&format!("t{round}"), 1)),
            _ => drop(all.put(TopicSettings::new(&format!("t{round}"), thread + 1, Permission(6)), 1)),
        });
        let held: Vec<TopicSettings> = all.all().into_values().map(|topic| topic.settings.clone()).collect();
        drop(all);
        thread.join();
        let (all, thread) = topics(folder.path());
        let stored: Vec<TopicSettings> = all.all().into_values().map(|topic| topic.settings.clone()).collect();
        let differs = held.iter().zip(&stored).find(|(held, stored)| held != stored);
        assert!(held == stored, "{} held, {} stored, first difference {differs:?}", held.len(), stored.len());
        drop(all);
        thread.join();
    }

    #[test]
    fn creation_on_first_use_never_replaces_what_an_operator_created() {
        let folder = tempfile::tempdir().unwrap();
        let (all, thread) = topics(folder.path());
        let settings = |round: usize, queues| TopicSettings::new(&format!("t{round}"), queues, Permission(6));
        at_once(5000, |round, thread| match thread {
            0 => drop(all.put(settings(round, 16), 1)),
            _ => drop(all.ensure(settings(round, 4), 1)),
        });
        let replaced = all.all().into_values().filter(|topic| topic.queue_count() != 16).count();
        assert_eq!(replaced, 0);
        drop(all);
        thread.join();
    }

    #[test]
    fn a_changed_topic_keeps_the_log_numbers_of_its_queues() {
        let folder = tempfile::tempdir().unwrap();
        let (all, thread) = topics(folder.path());
        let topic = all.put(TopicSettings::new("t", 2, Permission(6)), 1);
        topic.remember_queue(1, QueueNumber(7));
        let grown = all.put(TopicSettings::new("t", 4, Permission(6)), 1);
        assert_eq!(
            (grown.known_queue(1), grown.known_queue(3), grown.known_queue(-1)),
            (Some(QueueNumber(7)), None, None)
        );
        drop(all);
        thread.join();
    }

    #[test]
    fn a_topic_has_the_queues_that_can_be_written_or_read() {
        let settings = TopicSettings { write_queues: 5, ..TopicSettings::new("t", 2, Permission(6)) };
        let topic = Topic::new(settings, 0, None);
        assert_eq!(
            [i32::MIN, -1, 0, 4, 5, i32::MAX].map(|id| topic.has_queue(id)),
            [false, false, true, true, false, false]
        );
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let with = |read, write, permission| {
            let mut settings = TopicSettings::new("t", read, Permission(permission));
            settings.write_queues = write;
            check_settings(&settings)
        };
        assert_eq!(with(0, 4, 6), Ok(()));
        assert!(matches!(with(0, 0, 6), Err(TopicError::Queues { .. })));
        assert!(matches!(with(2_000_000_000, 1, 6), Err(TopicError::Queues { what: "read", .. })));
        assert!(matches!(with(1, -1, 6), Err(TopicError::Queues { what: "write", .. })));
        assert_eq!(with(1, 1, 8), Err(TopicError::Permission(8)));
    }
}
