//! Which broker has which topic, decided from what brokers said and when.
//!
//! A plain state machine: events and the time go in, answers and [`Effect`]s come out. Three things always hold
//! (`check` in the tests says so after every event):
//!
//! * a member of a group is alive, and who is alive is a member of its group;
//! * a topic names only groups that exist, and a group knows the topics that name it;
//! * nothing is empty: a topic has queues, a group has members.

mod answers;
mod operations;
mod register;
mod removal;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::bodies::route::MASTER_ID;
use protocol::bodies::topic_config::PERM_WRITE;

use crate::effect::Effect;
use crate::liveness::{BrokerKey, Liveness};

pub use answers::TopicKind;
pub use register::{RegisterError, Registered, Registration};

/// Queues that a topic has on one broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queues {
    /// Queues that can be read.
    pub read: i32,
    /// Queues that can be written.
    pub write: i32,
    /// Permission bits.
    pub perm: i32,
    /// Unit bits.
    pub sys_flag: i32,
}

/// All brokers, and the topics they have.
#[derive(Debug, Default)]
pub struct Routes {
    topics: BTreeMap<Arc<str>, Topic>,
    groups: BTreeMap<Arc<str>, Group>,
    liveness: Liveness,
    /// Text of the answer to 106, which every broker asks for every five seconds.
    cluster_info: Option<Arc<[u8]>>,
}

#[derive(Debug, Default)]
struct Topic {
    /// Queues by broker name.
    queues: BTreeMap<Arc<str>, Queues>,
    /// Text of the route. Clients ask for it every 30 s and it hardly ever changes.
    route: Option<Arc<[u8]>>,
}

/// Brokers of one name: a master and its slaves.
#[derive(Debug)]
struct Group {
    cluster: Arc<str>,
    zone: Option<Arc<str>>,
    acting_master: bool,
    /// Members by id. Each is alive.
    members: BTreeMap<i64, BrokerKey>,
    /// Topics that have queues here, so that a broker that goes touches only its own.
    topics: BTreeSet<Arc<str>>,
}

impl Group {
    fn min_id(&self) -> Option<i64> {
        self.members.keys().next().copied()
    }

    fn has_master(&self) -> bool {
        self.members.contains_key(&MASTER_ID)
    }
}

/// Whether a topic changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Put {
    Added,
    Changed,
    Same,
}

impl Routes {
    /// How many brokers are alive, and how many topics they have.
    pub fn sizes(&self) -> (usize, usize) {
        (self.liveness.iter().count(), self.topics.len())
    }

    /// Clusters that have brokers which are alive.
    pub fn clusters(&self) -> BTreeSet<String> {
        self.groups.values().map(|group| group.cluster.to_string()).collect()
    }

    /// Drops the texts that depend on the settings or on the order configuration.
    pub fn forget_texts(&mut self) {
        for topic in self.topics.values_mut() {
            topic.route = None;
        }
    }

    /// Drops the text of one route, because the order configuration of its topic changed.
    pub fn forget_route(&mut self, topic: &str) {
        if let Some(topic) = self.topics.get_mut(topic) {
            topic.route = None;
        }
    }

    /// Gives a topic queues on a group that exists.
    fn put_queues(&mut self, group: &Arc<str>, topic: &str, queues: Queues) -> Put {
        if let Some(known) = self.topics.get_mut(topic)
            && let Some(before) = known.queues.get_mut(group)
        {
            if *before == queues {
                return Put::Same;
            }
            *before = queues;
            known.route = None;
            return Put::Changed;
        }
        let name: Arc<str> = self.topics.get_key_value(topic).map_or_else(|| topic.into(), |(name, _)| name.clone());
        let known = self.topics.entry(name.clone()).or_default();
        known.queues.insert(group.clone(), queues);
        known.route = None;
        if let Some(group) = self.groups.get_mut(group) {
            group.topics.insert(name);
        }
        Put::Added
    }

    /// Takes the queues of a topic on one group away, and the topic with the last of them. Says whether that happened.
    fn take_queues(&mut self, group: &str, topic: &str) -> bool {
        if let Some(group) = self.groups.get_mut(group) {
            group.topics.remove(topic);
        }
        let Some(known) = self.topics.get_mut(topic) else { return false };
        known.queues.remove(group);
        known.route = None;
        let empty = known.queues.is_empty();
        if empty {
            self.topics.remove(topic);
        }
        empty
    }

    /// Changes the permissions of all topics of a group.
    fn change_perms(&mut self, group: &str, change: impl Fn(i32) -> i32) -> usize {
        let Some(known) = self.groups.get(group) else { return 0 };
        for name in &known.topics {
            if let Some(topic) = self.topics.get_mut(name)
                && let Some(queues) = topic.queues.get_mut(group)
                && queues.perm != change(queues.perm)
            {
                queues.perm = change(queues.perm);
                topic.route = None;
            }
        }
        known.topics.len()
    }

    /// Drops every text that shows a group.
    fn forget_group(&mut self, group: &str) {
        self.cluster_info = None;
        let Some(known) = self.groups.get(group) else { return };
        for name in &known.topics {
            if let Some(topic) = self.topics.get_mut(name) {
                topic.route = None;
            }
        }
    }
}

fn without_write(perm: i32) -> i32 {
    perm & !PERM_WRITE
}
