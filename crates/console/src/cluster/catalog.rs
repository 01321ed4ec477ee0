//! Topics and groups as brokers have them configured (21 and 201).

use std::collections::BTreeMap;

use client::clock;
use protocol::bodies::subscription_group::SubscriptionGroupConfig;
use protocol::bodies::topic_config::TopicConfig;

use super::Cluster;
use super::brokers::Brokers;
use super::why::{Silent, Why};

/// Prefix of the topics that hold what is to be delivered again.
pub const RETRY_PREFIX: &str = "%RETRY%";
/// Prefix of the topics that hold dead letters.
pub const DEAD_LETTER_PREFIX: &str = "%DLQ%";

/// What a topic is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicKind {
    /// Of users.
    User,
    /// Messages that a group gets again.
    Retry,
    /// Messages that a group never consumed.
    DeadLetter,
    /// Of the cluster itself.
    System,
}

/// Names of system topics, besides those that are named after brokers and clusters.
/// Source: `TopicValidator.java` and remoting.md §15.1.
const SYSTEM_TOPICS: [&str; 14] = [
    "SELF_TEST_TOPIC",
    "TBW102",
    "BenchmarkTest",
    "SCHEDULE_TOPIC_XXXX",
    "OFFSET_MOVED_EVENT",
    "RMQ_SYS_TRANS_HALF_TOPIC",
    "RMQ_SYS_TRANS_OP_HALF_TOPIC",
    "RMQ_SYS_ROCKSDB_TRANS_HALF_TOPIC",
    "RMQ_SYS_ROCKSDB_TRANS_OP_HALF_TOPIC",
    "TRANS_CHECK_MAX_TIME_TOPIC",
    "RMQ_SYS_TRACE_TOPIC",
    "CHECKPOINT_TOPIC",
    "rmq_sys_wheel_timer",
    "DefaultHeartBeatSyncerTopic",
];

/// Groups that brokers and tools make for themselves. Source: `MixAll.java` and remoting.md §15.3.
const SYSTEM_GROUPS: [&str; 6] = [
    "TOOLS_CONSUMER",
    "FILTERSRV_CONSUMER",
    "SELF_TEST_C_GROUP",
    "SELF_TEST_P_GROUP",
    "__MONITOR_CONSUMER",
    "DefaultHeartBeatSyncerTopic",
];

/// A topic and how each broker has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Name.
    pub name: String,
    /// What it is for.
    pub kind: TopicKind,
    /// Configuration by broker name.
    pub brokers: BTreeMap<String, TopicConfig>,
}

impl Topic {
    /// What kind of messages it takes, by the attribute `message.type`; `UNSPECIFIED` without it, as upstream has it.
    pub fn message_type(&self) -> &str {
        let stated = self.brokers.values().find_map(|config| config.attributes.get("message.type"));
        stated.map_or("UNSPECIFIED", String::as_str)
    }

    /// Queues for reading and for writing, of all brokers.
    pub fn queues(&self) -> (i32, i32) {
        let sum = |count: fn(&TopicConfig) -> i32| self.brokers.values().map(count).fold(0, i32::saturating_add);
        (sum(|config| config.read_queue_nums), sum(|config| config.write_queue_nums))
    }

    /// Whether brokers have it configured in different ways.
    pub fn drifts(&self) -> bool {
        let mut configs = self.brokers.values();
        let Some(first) = configs.next() else { return false };
        configs.any(|config| config != first)
    }
}

/// A group and how each broker has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Name.
    pub name: String,
    /// Whether brokers and tools made it for themselves.
    pub is_system: bool,
    /// Configuration by broker name.
    pub brokers: BTreeMap<String, SubscriptionGroupConfig>,
}

impl Group {
    /// The configuration of the first broker that has it.
    pub fn config(&self) -> Option<&SubscriptionGroupConfig> {
        self.brokers.values().next()
    }
}

/// All topics and groups at one time.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// When brokers were asked, in milliseconds since 1970.
    pub asked_ms: i64,
    /// Topics by name.
    pub topics: BTreeMap<String, Topic>,
    /// Groups by name.
    pub groups: BTreeMap<String, Group>,
    /// Who did not answer.
    pub silent: Vec<Silent>,
    /// Who answered, but not this.
    pub refusals: Vec<Silent>,
}

impl Catalog {
    /// Groups that have dead letters, with the topic that holds them.
    pub fn dead_letter_topics(&self) -> impl Iterator<Item = (&str, &Topic)> {
        let topics = self.topics.values().filter(|topic| topic.kind == TopicKind::DeadLetter);
        topics.filter_map(|topic| Some((topic.name.strip_prefix(DEAD_LETTER_PREFIX)?, topic)))
    }
}

/// What a topic of that name is for. `names` are those of clusters and brokers, which have topics of their own.
pub fn kind_of(topic: &str, names: &[&str]) -> TopicKind {
    if topic.starts_with(RETRY_PREFIX) {
        return TopicKind::Retry;
    }
    if topic.starts_with(DEAD_LETTER_PREFIX) {
        return TopicKind::DeadLetter;
    }
    let is_reply = topic.strip_suffix("_REPLY_TOPIC").is_some_and(|cluster| names.contains(&cluster));
    let is_system =
        SYSTEM_TOPICS.contains(&topic) || topic.starts_with("rmq_sys_") || names.contains(&topic) || is_reply;
    if is_system { TopicKind::System } else { TopicKind::User }
}

fn is_system_group(group: &str) -> bool {
    SYSTEM_GROUPS.contains(&group)
        || ["CID_RMQ_SYS_", "CID_ONSAPI_", "CID_ONS-HTTP-PROXY"].iter().any(|prefix| group.starts_with(prefix))
}

impl Cluster {
    pub(super) async fn fetch_catalog(&self, brokers: &Brokers) -> Catalog {
        let masters = || brokers.masters();
        let (topics, groups) = tokio::join!(
            self.ask_all(masters(), |at| self.admin.topic_table(&at.address)),
            self.ask_all(masters(), |at| self.admin.group_table(&at.address)),
        );
        let mut names: Vec<&str> = brokers.clusters();
        names.extend(masters().map(|at| at.name.as_str()));
        let mut catalog = Catalog { asked_ms: clock::now_ms(), silent: brokers.silent.clone(), ..Catalog::default() };
        for (at, answer) in topics {
            match answer {
                Ok(table) => {
                    for (name, config) in table.topic_config_table {
                        let kind = kind_of(&name, &names);
                        let new = || Topic { name: name.clone(), kind, brokers: BTreeMap::new() };
                        let topic = catalog.topics.entry(name.clone()).or_insert_with(new);
                        topic.brokers.insert(at.name.clone(), config);
                    }
                }
                Err(why) => catalog.note(at.to_string(), why),
            }
        }
        for (at, answer) in groups {
            match answer {
                Ok(table) => {
                    for (name, config) in table.subscription_group_table {
                        let is_system = is_system_group(&name);
                        let new = || Group { name: name.clone(), is_system, brokers: BTreeMap::new() };
                        let group = catalog.groups.entry(name.clone()).or_insert_with(new);
                        group.brokers.insert(at.name.clone(), config);
                    }
                }
                Err(why) => catalog.note(at.to_string(), why),
            }
        }
        catalog
    }
}

impl Catalog {
    fn note(&mut self, node: String, why: Why) {
        let list = if why.is_silence() { &mut self.silent } else { &mut self.refusals };
        if !list.iter().any(|known| known.node == node) {
            list.push(Silent { node, why });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_told_apart_by_their_names() {
        let names = ["DefaultCluster", "broker-a"];
        let check = |topic: &str, expected| assert_eq!(kind_of(topic, &names), expected, "{topic}");
        check("orders", TopicKind::User);
        check("%RETRY%workers", TopicKind::Retry);
        check("%DLQ%workers", TopicKind::DeadLetter);
        check("TBW102", TopicKind::System);
        check("broker-a", TopicKind::System);
        check("DefaultCluster_REPLY_TOPIC", TopicKind::System);
        check("MY_REPLY_TOPIC", TopicKind::User);
        check("rmq_sys_REVIVE_LOG_DefaultCluster", TopicKind::System);
    }

    #[test]
    fn a_topic_drifts_when_brokers_have_it_otherwise() {
        let config = |queues| TopicConfig { topic_name: "t".into(), read_queue_nums: queues, ..TopicConfig::default() };
        let topic = |second| Topic {
            name: "t".into(),
            kind: TopicKind::User,
            brokers: BTreeMap::from([("a".to_owned(), config(4)), ("b".to_owned(), config(second))]),
        };
        assert!(!topic(4).drifts());
        assert!(topic(8).drifts());
        assert_eq!(topic(8).queues().0, 12);
    }
}
