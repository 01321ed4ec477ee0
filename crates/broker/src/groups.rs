//! Consumer groups: their settings and auto-creation.
//!
//! Source: `broker/.../subscription/SubscriptionGroupManager.java`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

use protocol::bodies::subscription_group::{GroupRetryPolicy, RetryPolicyKind};
use serde::{Deserialize, Serialize};

use crate::config::live::Live;
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
    /// How long a message that was handed out in vain waits before it is handed out again.
    #[serde(default)]
    pub retry_policy: GroupRetryPolicy,
    /// Attributes, without the sign of the request that set them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// Topics that the group may not read.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub forbidden_topics: BTreeSet<String>,
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
            retry_policy: GroupRetryPolicy::default(),
            attributes: BTreeMap::new(),
            forbidden_topics: BTreeSet::new(),
        }
    }

    /// How long a message waits that was handed out `times` times in vain, before it is handed out again.
    ///
    /// Source: `remoting/.../protocol/subscription/{CustomizedRetryPolicy,ExponentialRetryPolicy}.java`.
    pub fn retry_delay(&self, times: u32) -> Duration {
        /// The waits of the customized kind unless the group has its own, in seconds.
        const WAITS_S: [i64; 18] =
            [1, 5, 10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1200, 1800, 3600, 7200];
        /// The first waits are left out: messages come back no sooner than by delay level 3.
        const LEFT_OUT: usize = 2;
        let policy = &self.retry_policy;
        let wait_ms = match policy.kind {
            RetryPolicyKind::Customized => {
                let own = policy.customized_retry_policy.as_ref().map(|own| own.next.as_slice());
                let waits_ms = own
                    .filter(|own| !own.is_empty())
                    .map_or_else(|| WAITS_S.map(|seconds| seconds * 1000).to_vec(), <[i64]>::to_vec);
                let index = (times as usize).saturating_add(LEFT_OUT).min(waits_ms.len() - 1);
                waits_ms[index]
            }
            RetryPolicyKind::Exponential => {
                let own = policy.exponential_retry_policy.unwrap_or_default();
                let factor = own.multiplier.saturating_pow(times.min(32));
                own.initial.saturating_mul(factor).min(own.max)
            }
        };
        Duration::from_millis(wait_ms.max(0) as u64)
    }
}

/// Most waits that a group can have of its own.
const RETRY_WAITS_MAX: usize = 100;

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
    /// More waits than a group can have.
    #[error("{found} waits before retries; a group has at most {RETRY_WAITS_MAX}")]
    RetryWaits {
        /// What was asked for.
        found: usize,
    },
    /// A wait before a retry, or the factor between them, is negative.
    #[error("{what} of the retry policy is {found}; it cannot be negative")]
    RetryPolicy {
        /// What it is: a wait, or the factor.
        what: &'static str,
        /// What was asked for.
        found: i64,
    },
    /// A change of attributes that makes no sense.
    #[error("attribute `{0}` starts with neither + nor -")]
    Attribute(String),
}

/// Checks settings that an operator asks for.
pub fn check_settings(settings: &GroupSettings) -> Result<(), GroupError> {
    names::check_group(&settings.name)?;
    if settings.retry_queues > QUEUES_MAX {
        return Err(GroupError::RetryQueues { found: settings.retry_queues });
    }
    check_policy(&settings.retry_policy)
}

fn check_policy(policy: &GroupRetryPolicy) -> Result<(), GroupError> {
    let own = policy.customized_retry_policy.as_ref().map_or(&[][..], |own| &own.next);
    if own.len() > RETRY_WAITS_MAX {
        return Err(GroupError::RetryWaits { found: own.len() });
    }
    let waits = own.iter().map(|wait| ("a wait", *wait));
    let growing = policy.exponential_retry_policy.map_or([0; 3], |own| [own.initial, own.max, own.multiplier]);
    let growing = ["the first wait", "the longest wait", "the factor"].into_iter().zip(growing);
    match waits.chain(growing).find(|(_, number)| *number < 0) {
        Some((what, found)) => Err(GroupError::RetryPolicy { what, found }),
        None => Ok(()),
    }
}

/// Applies attributes as requests bring them, `+name` to a value and `-name` to anything, to those that a group has.
pub fn change_attributes(
    attributes: &mut BTreeMap<String, String>,
    changes: BTreeMap<String, String>,
) -> Result<(), GroupError> {
    for (change, value) in changes {
        if let Some(name) = change.strip_prefix('+') {
            attributes.insert(name.to_owned(), value);
        } else if let Some(name) = change.strip_prefix('-') {
            attributes.remove(name);
        } else {
            return Err(GroupError::Attribute(change.chars().take(40).collect()));
        }
    }
    Ok(())
}

/// All consumer groups.
pub struct Groups {
    table: RwLock<HashMap<String, Arc<GroupSettings>>>,
    version: Mutex<TableVersion>,
    meta: Meta,
    auto_create: Live<bool>,
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
        Groups { table: RwLock::new(table), version, meta, auto_create: auto_create.into() }
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
        if !self.auto_create.get() || names::check_group(name).is_err() {
            return None;
        }
        let mut table = self.write();
        // Somebody may have created it since, with settings that were asked for.
        if let Some(found) = table.get(name) {
            return Some(found.clone());
        }
        Some(self.change(&mut table, GroupSettings::new(name), now_ms))
    }

    /// Allows or forbids that use creates a group.
    pub fn allow_creation(&self, allowed: bool) {
        self.auto_create.set(allowed);
    }

    /// Creates or replaces a group whose settings were checked by [`check_settings`].
    pub fn put(&self, settings: GroupSettings, now_ms: i64) -> Arc<GroupSettings> {
        self.change(&mut self.write(), settings, now_ms)
    }

    /// Says whether a group may read a topic from now on. `false` when there is no such group.
    pub fn allow_reading(&self, name: &str, topic: &str, allowed: bool, now_ms: i64) -> bool {
        let mut table = self.write();
        let Some(known) = table.get(name) else { return false };
        if known.forbidden_topics.contains(topic) != allowed {
            return true;
        }
        let mut settings = GroupSettings::clone(known);
        if allowed {
            settings.forbidden_topics.remove(topic);
        } else {
            settings.forbidden_topics.insert(topic.to_owned());
        }
        self.change(&mut table, settings, now_ms);
        true
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

    #[test]
    fn messages_wait_as_the_policy_of_their_group_says() {
        let waits = |policy: &str| {
            let retry_policy = protocol::lenient_json::from_slice(policy.as_bytes()).unwrap();
            let group = GroupSettings { retry_policy, ..GroupSettings::new("g") };
            [0, 1, 14, 15, 100].map(|times| group.retry_delay(times).as_millis())
        };
        assert_eq!(waits("{}"), [10_000, 30_000, 3_600_000, 7_200_000, 7_200_000]);
        let own = r#"{"type":"CUSTOMIZED","customizedRetryPolicy":{"next":[1,2,3,4]}}"#;
        assert_eq!(waits(own), [3, 4, 4, 4, 4]);
        assert_eq!(waits(r#"{"customizedRetryPolicy":{"next":[7]}}"#), [7; 5]);
        assert_eq!(waits(r#"{"customizedRetryPolicy":{"next":[]}}"#)[0], 10_000);
        assert_eq!(waits(r#"{"type":"EXPONENTIAL"}"#), [5_000, 10_000, 7_200_000, 7_200_000, 7_200_000]);
        let own = r#"{"type":"EXPONENTIAL","exponentialRetryPolicy":{"initial":100,"max":700,"multiplier":2}}"#;
        assert_eq!(waits(own), [100, 200, 700, 700, 700]);
    }

    #[test]
    fn a_policy_that_makes_no_sense_is_refused() {
        let check = |policy: &str| {
            let retry_policy = protocol::lenient_json::from_slice(policy.as_bytes()).unwrap();
            check_settings(&GroupSettings { retry_policy, ..GroupSettings::new("g") })
        };
        assert_eq!(check("{}"), Ok(()));
        let error = check(r#"{"customizedRetryPolicy":{"next":[1,-2]}}"#).unwrap_err();
        assert_eq!(error.to_string(), "a wait of the retry policy is -2; it cannot be negative");
        let error = check(r#"{"exponentialRetryPolicy":{"multiplier":-1}}"#).unwrap_err();
        assert_eq!(error, GroupError::RetryPolicy { what: "the factor", found: -1 });
        let many = format!(r#"{{"customizedRetryPolicy":{{"next":[{}1]}}}}"#, "1,".repeat(100));
        assert_eq!(check(&many), Err(GroupError::RetryWaits { found: 101 }));
    }
}
