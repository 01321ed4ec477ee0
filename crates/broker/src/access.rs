//! Who may read what: the checks that every way of consuming begins with.

use std::sync::Arc;

use protocol::codes::ResponseCode;

use crate::broker::Broker;
use crate::groups::GroupSettings;
use crate::topics::{Permission, Topic};

/// Why a group may not read a topic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// The broker may not be read now.
    #[error("broker `{0}` may not be read")]
    BrokerUnreadable(String),
    /// The group is not there and may not be created.
    #[error("subscription group `{0}` does not exist")]
    NoSuchGroup(String),
    /// The group may not consume.
    #[error("subscription group `{0}` may not consume")]
    GroupDisabled(String),
    /// The topic is not there.
    #[error("topic `{0}` does not exist")]
    NoSuchTopic(String),
    /// The topic may not be read.
    #[error("topic `{0}` may not be read")]
    TopicUnreadable(String),
    /// An operator forbade the group to read the topic (request 353).
    #[error("subscription group `{group}` may not read topic `{topic}`")]
    TopicForbidden {
        /// Group.
        group: String,
        /// Topic.
        topic: String,
    },
    /// The topic does not have that queue.
    #[error("queue {queue_id} of topic `{topic}` does not exist; it has {queues} to read")]
    NoSuchQueue {
        /// Topic.
        topic: String,
        /// Queue that was asked for.
        queue_id: i32,
        /// Queues of the topic.
        queues: i32,
    },
}

impl AccessError {
    /// The code that a remoting client acts on, and the kind of refusal that newer ones read.
    pub fn code(&self) -> (ResponseCode, Option<i32>) {
        match self {
            Self::BrokerUnreadable(_) => (ResponseCode::NO_PERMISSION, Some(1)),
            Self::GroupDisabled(_) => (ResponseCode::NO_PERMISSION, Some(2)),
            Self::TopicUnreadable(_) => (ResponseCode::NO_PERMISSION, Some(3)),
            Self::TopicForbidden { .. } => (ResponseCode::NO_PERMISSION, Some(5)),
            Self::NoSuchGroup(_) => (ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST, None),
            Self::NoSuchTopic(_) => (ResponseCode::TOPIC_NOT_EXIST, None),
            Self::NoSuchQueue { .. } => (ResponseCode::INVALID_PARAMETER, None),
        }
    }
}

/// The group, created where that is allowed, if it may consume.
pub fn consuming_group(broker: &Broker, group: &str) -> Result<Arc<GroupSettings>, AccessError> {
    if !Permission(broker.config.permission.get()).can_read() {
        return Err(AccessError::BrokerUnreadable(broker.config.broker_name.clone()));
    }
    let settings = broker
        .groups
        .get_or_create(group, broker.clock.now_ms())
        .ok_or_else(|| AccessError::NoSuchGroup(group.to_owned()))?;
    if !settings.consume_enable {
        return Err(AccessError::GroupDisabled(group.to_owned()));
    }
    Ok(settings)
}

/// The topic, if it may be read.
pub fn readable_topic(broker: &Broker, topic: &str) -> Result<Arc<Topic>, AccessError> {
    let found = broker.topics.get(topic).ok_or_else(|| AccessError::NoSuchTopic(topic.to_owned()))?;
    if !found.settings.permission.can_read() {
        return Err(AccessError::TopicUnreadable(topic.to_owned()));
    }
    Ok(found)
}

/// Makes sure that nobody forbade the group to read the topic.
pub fn check_allowed(group: &GroupSettings, topic: &Topic) -> Result<(), AccessError> {
    if group.forbidden_topics.contains(&topic.settings.name) {
        let (group, topic) = (group.name.clone(), topic.settings.name.clone());
        return Err(AccessError::TopicForbidden { group, topic });
    }
    Ok(())
}

/// Makes sure that a topic has that queue to read.
pub fn check_queue(topic: &Topic, queue_id: i32) -> Result<(), AccessError> {
    let queues = topic.settings.read_queues;
    if !(0..queues).contains(&queue_id) {
        return Err(AccessError::NoSuchQueue { topic: topic.settings.name.clone(), queue_id, queues });
    }
    Ok(())
}
