//! Reading messages from a queue.
//!
//! Source: `broker/.../processor/PullMessageProcessor.java`.

use log::{DefineError, ExpectedPull, Log, PullLimits, PullOutcome, QueueNumber, ReadError};
use protocol::bodies::heartbeat::MessageModel;
use protocol::codes::ResponseCode;
use protocol::requests::PullFlags;

use crate::access::{self, AccessError};
use crate::broker::Broker;
use crate::filter::{Filter, FilterError, FilterKind};
use crate::stats;

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
    /// The pull that will ask for what follows, if one can be foreseen.
    pub goes_on: Option<ExpectedPull>,
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
    /// An operator wants the group to go on elsewhere.
    Reset,
}

impl Found {
    /// The code that clients act on.
    pub fn code(self) -> ResponseCode {
        match self {
            Found::Messages(_) => ResponseCode::SUCCESS,
            Found::NothingMatched => ResponseCode::PULL_RETRY_IMMEDIATELY,
            Found::NothingYet | Found::Empty => ResponseCode::PULL_NOT_FOUND,
            Found::BeforeStart | Found::BeyondEnd | Found::Reset => ResponseCode::PULL_OFFSET_MOVED,
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
            Found::Reset => "OFFSET_RESET",
        }
    }
}

/// Why a pull is refused.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The group may not read the topic.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The group may not consume as broadcast.
    #[error("subscription group `{0}` may not consume as broadcast")]
    BroadcastDisabled(String),
    /// The filter of the request cannot be read.
    #[error(transparent)]
    Filter(FilterError),
    /// The filter that the group's heartbeats brought cannot be read.
    #[error("the subscription of group `{group}` to topic `{topic}` cannot be used: {source}")]
    GroupFilter {
        /// Group.
        group: String,
        /// Topic.
        topic: String,
        /// What is wrong with it.
        #[source]
        source: FilterError,
    },
    /// Filters on properties are switched off (`enablePropertyFilter`).
    #[error("The broker does not support consumer to filter message by {0}")]
    FilterOff(&'static str),
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
            Self::Access(error) => error.code(),
            Self::BroadcastDisabled(_) => (ResponseCode::NO_PERMISSION, Some(4)),
            Self::FilterOff(_) | Self::Queue(_) | Self::Read(_) => (ResponseCode::SYSTEM_ERROR, None),
            Self::Filter(_) => (ResponseCode::SUBSCRIPTION_PARSE_FAILED, None),
            Self::GroupFilter { .. } => (ResponseCode::FILTER_DATA_NOT_EXIST, None),
            Self::NotSubscribed { .. } => (ResponseCode::SUBSCRIPTION_NOT_EXIST, None),
            Self::OldSubscription { .. } => (ResponseCode::SUBSCRIPTION_NOT_LATEST, None),
        }
    }
}

/// Checks a pull and appends what it finds to `out`.
pub fn pull(broker: &Broker, request: &PullRequest, out: &mut Vec<u8>) -> Result<Pulled, PullError> {
    let group = access::consuming_group(broker, &request.group)?;
    let topic = access::readable_topic(broker, &request.topic)?;
    access::check_queue(&topic, request.queue_id)?;
    let filter = filter_of(broker, request, group.consume_broadcast_enable)?;
    access::check_allowed(&group, &topic)?;
    let mut pulled = Pulled {
        queue: None,
        found: Found::Empty,
        next_offset: 0,
        min_offset: 0,
        max_offset: 0,
        topic_sys_flag: topic.settings.sys_flag,
        group_sys_flag: group.sys_flag,
        goes_on: None,
    };
    let queue = broker.queue_number(&topic, request.queue_id)?;
    pulled.queue = Some(queue);
    // Whoever asked for the group's offset since then is there already.
    let reset = broker.offsets.take_reset(&request.group, &request.topic, request.queue_id);
    if let Some(offset) = reset.filter(|offset| *offset != request.offset) {
        let offsets = broker.log.offsets(queue);
        pulled.found = Found::Reset;
        (pulled.min_offset, pulled.max_offset) = (offsets.min as i64, offsets.max as i64);
        pulled.next_offset = offset;
        return Ok(pulled);
    }
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
    let before = out.len();
    let read = match filter {
        Filter::All => {
            let (read, next) = broker.log.pull_all(queue, offset, limits, out)?;
            pulled.goes_on = next;
            read
        }
        filter => read_matching(&broker.log, queue, offset, limits, &filter, out)?,
    };
    if let PullOutcome::Found { count } = read.outcome {
        let of_queue = || std::iter::once((request.queue_id, count));
        stats::count_got(broker, &topic, &request.group, of_queue, out.len() - before);
        #[cfg(feature = "otel")]
        crate::spans::delivered(broker, &request.topic, &request.group, &out[before..]);
    }
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

/// Reads records of a queue that pass a filter. Tags are compared by their hashes only, conditions on properties exactly.
pub fn read_matching(
    log: &Log,
    queue: QueueNumber,
    offset: u64,
    limits: PullLimits,
    filter: &Filter,
    out: &mut Vec<u8>,
) -> Result<log::Pulled, ReadError> {
    let accept = |tag_hash| filter.may_match(tag_hash);
    if filter.needs_properties() {
        log.pull_tested(queue, offset, limits, &accept, &|record| filter.matches(&record.properties()), out)
    } else {
        log.pull(queue, offset, limits, &accept, out)
    }
}

/// The filter of the request itself, or that of the group's heartbeats.
fn filter_of(broker: &Broker, request: &PullRequest, broadcast_allowed: bool) -> Result<Filter, PullError> {
    if let Some((kind, expression)) = &request.subscription {
        return read_filter(broker, FilterKind::parse(kind).map_err(PullError::Filter)?, expression);
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
    match &subscription.filter {
        Ok(filter) if filter.needs_properties() && !broker.config.property_filter.get() => Err(off()),
        Ok(filter) => Ok(filter.clone()),
        Err(source) => {
            let (group, topic) = (request.group.clone(), request.topic.clone());
            Err(PullError::GroupFilter { group, topic, source: source.clone() })
        }
    }
}

fn off() -> PullError {
    PullError::FilterOff(FilterKind::Sql92.name())
}

/// Reads the filter of a request, if filters of its kind are allowed.
pub fn read_filter(broker: &Broker, kind: FilterKind, expression: &str) -> Result<Filter, PullError> {
    if kind == FilterKind::Sql92 && !broker.config.property_filter.get() {
        return Err(off());
    }
    broker.filters.get(kind, expression).map_err(PullError::Filter)
}
