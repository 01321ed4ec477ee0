//! Consumer groups: their settings and auto-creation.
//!
//! Source: `broker/.../subscription/SubscriptionGroupManager.java`.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockWriteGuard};

use serde::{Deserialize, Serialize};

use crate::meta::{Meta, Stored, Tree};
use crate::names::{self, NameError};
use crate::topics::{QUEUES_MAX, TableVersion};

/// Groups that tools and the system use without asking.
const SYSTEM_GROUPS: [&str; 9] = [
    "TOOLS_CONSUMER",
    "FILTERSRV_CONSUMER",
    "SELF_TEST_C_GROUP",
    "CID_ONS-HTTP-PROXY",
    "CID_ONSAPI_PULL",
    "CID_ONSAPI_PERMISSION",
    "CID_ONSAPI_OWNER",
    "CID_RMQ_SYS_TRANS",
    "__MONITOR_CONSUMER",
];

/// Settings of a consumer group, as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupSettings {
    /// Name.
    pub name: String,
    /// Whether the group may consume.
    pub consume_enable: bool,
    /// Whether the group may consume as broadcast.
    pub consume_broadcast_enable: bool,
    /// Whether a new group starts at the first message.
    pub consume_from_min_enable: bool,
    /// Whether the group consumes in order; informational.
    pub consume_message_orderly: bool,
    /// Queues of the retry topic. None or less: messages handed back are dropped.
    pub retry_queues: i32,
    /// Times a message may be handed back before it is a dead letter.
    pub retry_max_times: i32,
    /// Broker to read from.
    pub broker_id: i64,
    /// Broker to read from when consumers are far behind.
    pub which_broker_when_consume_slowly: i64,
    /// Whether members are told of changes at once.
    pub notify_consumer_ids_changed_enable: bool,
    /// System flag of the group.
    pub sys_flag: i32,
    /// Hint for clients.
    pub consume_timeout_minutes: i32,
}

impl GroupSettings {
    /// A group as auto-creation makes it.
    pub fn new(name: &str) -> GroupSettings {
        GroupSettings {
            name: name.to_owned(),
            consume_enable: true,
            consume_broadcast_enable: true,
            consume_from_min_enable: true,
            consume_message_orderly: false,
            retry_queues: 1,
            retry_max_times: 16,
            broker_id: 0,
            which_broker_when_consume_slowly: 1,
            notify_consumer_ids_changed_enable: true,
            sys_flag: 0,
            consume_timeout_minutes: 15,
        }
    }
}

/// Why a group cannot be created or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// The name is not legal.
    #[error(transparent)]
    Name(#[from] NameError),
    /// More queues than a topic can have.
    #[error("{found} retry queues; a group has at most {QUEUES_MAX}")]
    RetryQueues {
        /// What was asked for.
        found: i32,
    },
}

/// Checks settings that an operator asks for.
pub fn check_settings(settings: &GroupSettings) -> Result<(), GroupError> {
    names::check_group(&settings.name)?;
    if settings.retry_queues > QUEUES_MAX {
        return Err(GroupError::RetryQueues { found: settings.retry_queues });
    }
    Ok(())
}

/// All consumer groups.
pub struct Groups {
    table: RwLock<HashMap<String, Arc<GroupSettings>>>,
    version: Mutex<TableVersion>,
    meta: Meta,
    auto_create: bool,
}

impl Groups {
    /// Loads what is stored and adds the groups of the system.
    pub fn load(stored: &mut Stored, meta: Meta, auto_create: bool, now_ms: i64) -> Groups {
        let mut table: HashMap<_, _> =
            SYSTEM_GROUPS.iter().map(|name| ((*name).to_owned(), Arc::new(GroupSettings::new(name)))).collect();
        for (key, value) in stored.take(Tree::Groups) {
            match serde_json::from_slice::<GroupSettings>(&value) {
                Ok(settings) => {
                    table.insert(settings.name.clone(), Arc::new(settings));
                }
                Err(error) => tracing::error!(group = %key.escape_ascii(), %error, "stored group cannot be read"),
            }
        }
        let version = Mutex::new(TableVersion { timestamp_ms: now_ms, counter: 0 });
        Groups { table: RwLock::new(table), version, meta, auto_create }
    }

    /// The group of that name, without creating it.
    pub fn get(&self, name: &str) -> Option<Arc<GroupSettings>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The group of that name, created on its first use where that is allowed.
    pub fn get_or_create(&self, name: &str, now_ms: i64) -> Option<Arc<GroupSettings>> {
        if let Some(found) = self.get(name) {
            return Some(found);
        }
        if !self.auto_create || names::check_group(name).is_err() {
            return None;
        }
        let mut table = self.write();
        // Somebody may have created it since, with settings that were asked for.
        if let Some(found) = table.get(name) {
            return Some(found.clone());
        }
        Some(self.change(&mut table, GroupSettings::new(name), now_ms))
    }

    /// Creates or replaces a group whose settings were checked by [`check_settings`].
    pub fn put(&self, settings: GroupSettings, now_ms: i64) -> Arc<GroupSettings> {
        self.change(&mut self.write(), settings, now_ms)
    }

    /// Forgets a group; says whether it was there.
    pub fn remove(&self, name: &str, now_ms: i64) -> bool {
        let mut table = self.write();
        let removed = table.remove(name).is_some();
        if removed {
            self.meta.remove(Tree::Groups, name);
            self.touch(now_ms);
        }
        removed
    }

    /// Every group, by name.
    pub fn all(&self) -> BTreeMap<String, Arc<GroupSettings>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.iter().map(|(name, group)| (name.clone(), group.clone())).collect()
    }

    /// How often the table changed.
    pub fn version(&self) -> TableVersion {
        *self.version.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<String, Arc<GroupSettings>>> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Handed to the metadata while the table is locked, so that changes are stored in the order in which they were
    /// made.
    fn change(
        &self,
        table: &mut HashMap<String, Arc<GroupSettings>>,
        settings: GroupSettings,
        now_ms: i64,
    ) -> Arc<GroupSettings> {
        let value = serde_json::to_vec(&settings).unwrap_or_default();
        let (name, settings) = (settings.name.clone(), Arc::new(settings));
        table.insert(name.clone(), settings.clone());
        self.meta.put(Tree::Groups, name, value);
        self.touch(now_ms);
        settings
    }

    fn touch(&self, now_ms: i64) {
        let mut version = self.version.lock().unwrap_or_else(PoisonError::into_inner);
        version.counter += 1;
        version.timestamp_ms = now_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::at_once::at_once;

    fn groups(folder: &std::path::Path) -> (Groups, crate::meta::MetaThread) {
        let (meta, mut stored, thread) = Meta::open(folder).unwrap();
        (Groups::load(&mut stored, meta, true, 1), thread)
    }

    fn settings(round: usize, retry_max_times: i32) -> GroupSettings {
        GroupSettings { retry_max_times, ..GroupSettings::new(&format!("g{round}")) }
    }

    #[test]
    fn what_is_stored_is_what_the_table_holds_whoever_changes_it_at_the_same_time() {
        let folder = tempfile::tempdir().unwrap();
        let (all, thread) = groups(folder.path());
        at_once(5000, |round, thread| match (round % 2, thread) {
            (1, 0) => drop(all.remove(&format!("g{round}"), 1)),
            _ => drop(all.put(settings(round, thread), 1)),
        });
        let held = all.all();
        drop(all);
        thread.join();
        let (all, thread) = groups(folder.path());
        let stored = all.all();
        let differ = held.iter().filter(|(name, group)| stored.get(*name) != Some(group)).count();
        assert_eq!((differ, held.len()), (0, stored.len()));
        drop(all);
        thread.join();
    }

    #[test]
    fn creation_on_first_use_checks_the_name_and_never_replaces_what_an_operator_created() {
        let folder = tempfile::tempdir().unwrap();
        let (all, thread) = groups(folder.path());
        assert_eq!(all.get_or_create("a group", 1), None);
        at_once(5000, |round, thread| match thread {
            0 => drop(all.put(settings(round, 3), 1)),
            _ => drop(all.get_or_create(&format!("g{round}"), 1)),
        });
        let replaced =
            all.all().into_iter().filter(|(name, group)| name.starts_with('g') && group.retry_max_times != 3);
        assert_eq!(replaced.count(), 0);
        drop(all);
        thread.join();
    }
}
