//! Reading messages from a queue.
//!
//! Source: `broker/.../processor/PullMessageProcessor.java`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use log::{DefineError, PullLimits, PullOutcome, QueueNumber, ReadError};
use protocol::bodies::heartbeat::MessageModel;
use protocol::codes::ResponseCode;
use protocol::requests::PullFlags;

use crate::broker::Broker;
use crate::membership::{Filter, subscribe_tags};
use crate::topics::{Permission, Topic};

/// Most messages in one answer.
const MESSAGES_MAX: usize = 1024;
/// Most bytes in one answer, unless a single message is larger.
const BYTES_MAX: usize = 1024 * 1024;

/// A pull, kept while it is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullRequest {
    /// Consumer group.
    pub group: String,
    /// Topic.
    pub topic: String,
    /// Queue.
    pub queue_id: i32,
    /// First offset wanted.
    pub offset: i64,
    /// Most messages wanted.
    pub max_messages: i32,
    /// Most bytes wanted, if the client says so.
    pub max_bytes: Option<i32>,
    /// What the client allows.
    pub flags: PullFlags,
    /// The subscription that the request brings, if it does: type and expression.
    pub subscription: Option<(String, String)>,
    /// Version of the subscription that the client means.
    pub sub_version: i64,
}

/// What a pull found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The queue.
    pub queue: Option<QueueNumber>,
    /// What was found.
    pub found: Found,
    /// Offset to pull next.
    pub next_offset: i64,
    /// First offset that is there.
    pub min_offset: i64,
    /// Offset after the last that is there.
    pub max_offset: i64,
    /// Flags of the topic.
    pub topic_sys_flag: i32,
    /// Flags of the group.
    pub group_sys_flag: i32,
}

/// How a pull ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Messages.
    Messages(usize),
    /// Messages were there, and none passed the filter.
    NothingMatched,
    /// Nothing at the offset yet.
    NothingYet,
    /// Nothing was ever in the queue.
    Empty,
    /// The offset lies before the first message.
    BeforeStart,
    /// The offset lies behind the last message.
    BeyondEnd,
}

impl Found {
    /// The code that clients act on.
    pub fn code(self) -> ResponseCode {
        match self {
            Found::Messages(_) => ResponseCode::SUCCESS,
            Found::NothingMatched => ResponseCode::PULL_RETRY_IMMEDIATELY,
            Found::NothingYet | Found::Empty => ResponseCode::PULL_NOT_FOUND,
            Found::BeforeStart | Found::BeyondEnd => ResponseCode::PULL_OFFSET_MOVED,
        }
    }

    /// Upstream's name of the state, sent as remark; no client reads it, people do.
    pub fn name(self) -> &'static str {
        match self {
            Found::Messages(_) => "FOUND",
            Found::NothingMatched => "NO_MATCHED_MESSAGE",
            Found::NothingYet => "OFFSET_OVERFLOW_ONE",
            Found::Empty => "NO_MESSAGE_IN_QUEUE",
            Found::BeforeStart => "OFFSET_TOO_SMALL",
            Found::BeyondEnd => "OFFSET_OVERFLOW_BADLY",
        }
    }
}

/// Why a pull is refused.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The broker may not be read now.
    #[error("broker `{0}` may not be read")]
    BrokerUnreadable(String),
    /// The group is not there and may not be created.
    #[error("subscription group `{0}` does not exist")]
    NoSuchGroup(String),
    /// The group may not consume.
    #[error("subscription group `{0}` may not consume")]
    GroupDisabled(String),
    /// The group may not consume as broadcast.
    #[error("subscription group `{0}` may not consume as broadcast")]
    BroadcastDisabled(String),
    /// The topic is not there.
    #[error("topic `{0}` does not exist")]
    NoSuchTopic(String),
    /// The topic may not be read.
    #[error("topic `{0}` may not be read")]
    TopicUnreadable(String),
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
    /// The filter is of a kind that this broker does not know.
    #[error("filters of type `{0}` are not supported; TAG is")]
    UnknownFilter(String),
    /// Nobody of the group is connected, or it does not want the topic.
    #[error("subscription group `{group}` has not subscribed to topic `{topic}`")]
    NotSubscribed {
        /// Group.
        group: String,
        /// Topic.
        topic: String,
    },
    /// The client means a newer subscription than its heartbeats brought.
    #[error("subscription of group `{group}` has version {known}; the request means {wanted}")]
    OldSubscription {
        /// Group.
        group: String,
        /// Version that is known.
        known: i64,
        /// Version that the request means.
        wanted: i64,
    },
    /// The log cannot take one more queue.
    #[error(transparent)]
    Queue(#[from] DefineError),
    /// The log cannot be read.
    #[error("messages could not be read: {0}")]
    Read(#[from] ReadError),
}

impl PullError {
    /// The code the client acts on, and the kind of refusal that newer clients read.
    pub fn code(&self) -> (ResponseCode, Option<i32>) {
        match self {
            Self::BrokerUnreadable(_) => (ResponseCode::NO_PERMISSION, Some(1)),
            Self::GroupDisabled(_) => (ResponseCode::NO_PERMISSION, Some(2)),
            Self::TopicUnreadable(_) => (ResponseCode::NO_PERMISSION, Some(3)),
            Self::BroadcastDisabled(_) => (ResponseCode::NO_PERMISSION, Some(4)),
            Self::NoSuchGroup(_) => (ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST, None),
            Self::NoSuchTopic(_) => (ResponseCode::TOPIC_NOT_EXIST, None),
            Self::NoSuchQueue { .. } => (ResponseCode::INVALID_PARAMETER, None),
            Self::UnknownFilter(_) | Self::Queue(_) | Self::Read(_) => (ResponseCode::SYSTEM_ERROR, None),
            Self::NotSubscribed { .. } => (ResponseCode::SUBSCRIPTION_NOT_EXIST, None),
            Self::OldSubscription { .. } => (ResponseCode::SUBSCRIPTION_NOT_LATEST, None),
        }
    }
}

/// Checks a pull and appends what it finds to `out`.
pub fn pull(broker: &Broker, request: &PullRequest, out: &mut Vec<u8>) -> Result<Pulled, PullError> {
    if !Permission(broker.permission.load(Ordering::Relaxed)).can_read() {
        return Err(PullError::BrokerUnreadable(broker.config.broker_name.clone()));
    }
    let group = broker
        .groups
        .get_or_create(&request.group, broker.clock.now_ms())
        .ok_or_else(|| PullError::NoSuchGroup(request.group.clone()))?;
    if !group.consume_enable {
        return Err(PullError::GroupDisabled(request.group.clone()));
    }
    let topic = readable_topic(broker, request)?;
    let filter = filter_of(broker, request, group.consume_broadcast_enable)?;
    let mut pulled = Pulled {
        queue: None,
        found: Found::Empty,
        next_offset: 0,
        min_offset: 0,
        max_offset: 0,
        topic_sys_flag: topic.settings.sys_flag,
        group_sys_flag: group.sys_flag,
    };
    let queue = broker.queue_number(&topic, request.queue_id)?;
    pulled.queue = Some(queue);
    let Ok(offset) = u64::try_from(request.offset) else {
        let offsets = broker.log.offsets(queue);
        pulled.found = Found::BeforeStart;
        (pulled.min_offset, pulled.max_offset) = (offsets.min as i64, offsets.max as i64);
        pulled.next_offset = pulled.min_offset;
        return Ok(pulled);
    };
    let limits = PullLimits {
        // The Go pull consumer asks for no message and wants one.
        max_messages: (request.max_messages.max(1) as usize).min(MESSAGES_MAX),
        max_bytes: request.max_bytes.map_or(BYTES_MAX, |bytes| (bytes.max(0) as usize).min(BYTES_MAX)),
    };
    let read = broker.log.pull(queue, offset, limits, &|tag_hash| filter.accepts(tag_hash), out)?;
    pulled.found = match read.outcome {
        PullOutcome::Found { count } => Found::Messages(count),
        PullOutcome::NothingMatched => Found::NothingMatched,
        PullOutcome::AtEnd => Found::NothingYet,
        PullOutcome::BeyondEnd => Found::BeyondEnd,
        PullOutcome::BeforeStart => Found::BeforeStart,
        // Upstream corrects an offset that a queue without messages cannot have.
        PullOutcome::Empty if offset == 0 => Found::Empty,
        PullOutcome::Empty => Found::BeyondEnd,
    };
    pulled.next_offset = read.next_offset as i64;
    pulled.min_offset = read.min_offset as i64;
    pulled.max_offset = read.max_offset as i64;
    Ok(pulled)
}

fn readable_topic(broker: &Broker, request: &PullRequest) -> Result<Arc<Topic>, PullError> {
    let topic = broker.topics.get(&request.topic).ok_or_else(|| PullError::NoSuchTopic(request.topic.clone()))?;
    if !topic.settings.permission.can_read() {
        return Err(PullError::TopicUnreadable(request.topic.clone()));
    }
    if !(0..topic.settings.read_queues).contains(&request.queue_id) {
        return Err(PullError::NoSuchQueue {
            topic: request.topic.clone(),
            queue_id: request.queue_id,
            queues: topic.settings.read_queues,
        });
    }
    Ok(topic)
}

/// The filter of the request itself, or that of the group's heartbeats.
fn filter_of(broker: &Broker, request: &PullRequest, broadcast_allowed: bool) -> Result<Filter, PullError> {
    if let Some((kind, expression)) = &request.subscription {
        if !is_tag_type(kind) {
            return Err(PullError::UnknownFilter(kind.clone()));
        }
        return Ok(subscribe_tags(&request.topic, expression, request.sub_version).filter);
    }
    let not_subscribed = || PullError::NotSubscribed { group: request.group.clone(), topic: request.topic.clone() };
    let membership = broker.membership();
    let group = membership.consumer_group(&request.group).ok_or_else(not_subscribed)?;
    if !broadcast_allowed && group.model == MessageModel::Broadcasting {
        return Err(PullError::BroadcastDisabled(request.group.clone()));
    }
    let subscription = group.subscriptions.get(&request.topic).ok_or_else(not_subscribed)?;
    if subscription.version < request.sub_version {
        return Err(PullError::OldSubscription {
            group: request.group.clone(),
            known: subscription.version,
            wanted: request.sub_version,
        });
    }
    if !is_tag_type(&subscription.expression_type) {
        return Err(PullError::UnknownFilter(subscription.expression_type.clone()));
    }
    Ok(subscription.filter.clone())
}

/// Whether an expression type means tags; absent counts as tags.
pub fn is_tag_type(kind: &str) -> bool {
    kind.is_empty() || kind == "TAG"
}
