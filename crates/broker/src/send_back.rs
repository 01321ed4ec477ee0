//! Messages that consumers hand back: retried later, and dead letters in the end.
//!
//! Source: `broker/.../processor/AbstractSendMessageProcessor.java` (`consumerSendMsgBack`).

use std::sync::Arc;

use log::{LogPosition, ReadError};
use protocol::codes::ResponseCode;
use protocol::message_id::OffsetMessageId;
use protocol::properties;
use protocol::record::{Record, RecordError};

use crate::broker::Broker;
use crate::delay::{self, Delay};
use crate::names;
use crate::send::{Draft, SendError};
use crate::stats::{Counted, GroupTallies, Tally};
use crate::topics::{Permission, Topic, TopicSettings};
use crate::writer::Appends;

/// A message that is handed back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendBack {
    /// Consumer group.
    pub group: String,
    /// Position of the message in the commit log.
    pub position: i64,
    /// 0: the broker decides; negative: dead letter; otherwise the delay level.
    pub delay_level: i32,
    /// Times that a message may be handed back, if the client says so.
    pub max_reconsume_times: Option<i32>,
}

/// Why a message cannot be handed back.
#[derive(Debug, thiserror::Error)]
pub enum SendBackError {
    /// The group is not there and may not be created.
    #[error("subscription group `{0}` does not exist")]
    NoSuchGroup(String),
    /// The broker may not be written now.
    #[error("broker `{0}` may not be written")]
    BrokerReadOnly(String),
    /// Nothing is stored at the position.
    #[error("no message at position {position}")]
    NoMessage {
        /// The position.
        position: i64,
        /// What the log says.
        #[source]
        source: Option<ReadError>,
    },
    /// What is stored at the position cannot be read.
    #[error("message at position {position} cannot be read")]
    Damaged {
        /// The position.
        position: i64,
        /// What is wrong with it.
        #[source]
        source: RecordError,
    },
    /// The copy cannot be stored.
    #[error(transparent)]
    Send(#[from] SendError),
}

impl SendBackError {
    /// The code the client acts on.
    pub fn code(&self) -> ResponseCode {
        match self {
            Self::NoSuchGroup(_) => ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST,
            Self::BrokerReadOnly(_) => ResponseCode::NO_PERMISSION,
            Self::NoMessage { .. } | Self::Damaged { .. } => ResponseCode::SYSTEM_ERROR,
            // Clients send the message anew when this fails, whatever the code.
            Self::Send(_) => ResponseCode::SYSTEM_ERROR,
        }
    }
}

/// Adds the copy that is retried, or the dead letter, to `appends`. Adds nothing for a group that keeps no retries.
pub fn send_back(broker: &Broker, request: &SendBack, appends: &mut Appends) -> Result<(), SendBackError> {
    let now_ms = broker.clock.now_ms();
    let group = broker
        .groups
        .get_or_create(&request.group, now_ms)
        .ok_or_else(|| SendBackError::NoSuchGroup(request.group.clone()))?;
    if !Permission(broker.config.permission.get()).can_write() {
        return Err(SendBackError::BrokerReadOnly(broker.config.broker_name.clone()));
    }
    if group.retry_queues <= 0 {
        return Ok(());
    }
    let bytes = read(broker, request.position)?;
    let record =
        Record::parse(&bytes).map_err(|source| SendBackError::Damaged { position: request.position, source })?;
    let times = record.reconsume_times();
    let limit = request.max_reconsume_times.unwrap_or(group.retry_max_times);
    let dead = times >= limit || request.delay_level < 0;
    let (topic, queue_id, delay) = if dead {
        (broker.dead_letter_topic(&request.group), 0, None)
    } else {
        let name = names::retry_topic(&request.group);
        let settings = TopicSettings::new(&name, group.retry_queues, Permission::READ_WRITE);
        let (topic, created) = broker.topics.ensure(settings, now_ms);
        if created {
            broker.topics_changed(&[&name]);
        }
        let queue_id = broker.next_turn() % group.retry_queues.min(topic.queue_count()).max(1);
        let level = if request.delay_level == 0 { times.saturating_add(3) } else { request.delay_level };
        (topic, queue_id, Some(delay::at_level(broker, level.max(1) as usize)))
    };
    push_copy(broker, &topic, queue_id, &record, times.saturating_add(1), delay, appends)?;
    count(broker, &request.group, &record, |of_group| &of_group.sent_back);
    if dead {
        count(broker, &request.group, &record, |of_group| &of_group.dead);
    }
    Ok(())
}

/// A message counts for the topic that its consumer had it from.
fn count(broker: &Broker, group: &str, record: &Record<'_>, which: fn(&GroupTallies) -> &Tally) {
    let given = record.properties();
    let topic = given.get(properties::RETRY_TOPIC).unwrap_or_else(|| record.topic());
    if let Some(topic) = broker.topics.get(topic) {
        let counted = Counted { messages: 1, bytes: u64::from(record.size()), times: 1 };
        topic.tallies.with_group(group, |of_group| which(of_group).add(counted));
    }
}

/// Adds a message that a group gives up on to `appends`, as a dead letter of the group.
pub fn push_dead_letter(
    broker: &Broker,
    group: &str,
    record: &Record<'_>,
    reconsume_times: i32,
    appends: &mut Appends,
) -> Result<(), SendError> {
    let topic = broker.dead_letter_topic(group);
    push_copy(broker, &topic, 0, record, reconsume_times, None, appends)?;
    count(broker, group, record, |of_group| &of_group.dead);
    Ok(())
}

fn push_copy(
    broker: &Broker,
    topic: &Arc<Topic>,
    queue_id: i32,
    record: &Record<'_>,
    reconsume_times: i32,
    delay: Option<Delay>,
    appends: &mut Appends,
) -> Result<(), SendError> {
    let draft = Draft {
        topic,
        queue_id,
        flag: record.flag(),
        sys_flag: record.sys_flag(),
        born_ms: record.born_timestamp_ms(),
        born_host: record.born_host(),
        reconsume_times,
        settles: 0,
        tag_hash: record.tag_hash(),
        body: record.body(),
    };
    let level = delay.and_then(|delay| delay.level);
    draft.push(broker, &mut copied_properties(record, level), delay, appends)
}

fn read(broker: &Broker, position: i64) -> Result<Vec<u8>, SendBackError> {
    let mut bytes = Vec::new();
    let Ok(at) = u64::try_from(position) else { return Err(SendBackError::NoMessage { position, source: None }) };
    match broker.log.read(LogPosition(at), &mut bytes) {
        Ok(()) => Ok(bytes),
        Err(source) => Err(SendBackError::NoMessage { position, source: Some(source) }),
    }
}

fn copied_properties(record: &Record<'_>, level: Option<usize>) -> Vec<u8> {
    let replaced = [properties::DELAY, properties::REAL_TOPIC, properties::REAL_QID, properties::WAIT];
    let mut stored = Vec::with_capacity(record.properties_bytes().len() + 128);
    properties::push_kept(&mut stored, record.properties_bytes(), |name| {
        !replaced.iter().any(|replaced| replaced.as_bytes() == name)
    });
    let given = record.properties();
    if given.get(properties::RETRY_TOPIC).is_none() {
        properties::push(&mut stored, properties::RETRY_TOPIC, record.topic());
    }
    if given.get(properties::ORIGIN_MESSAGE_ID).is_none() {
        let origin = OffsetMessageId { host: record.store_host(), position: record.position() };
        properties::push(&mut stored, properties::ORIGIN_MESSAGE_ID, &origin.to_string());
    }
    if let Some(level) = level {
        properties::push(&mut stored, properties::DELAY, &level.to_string());
    }
    properties::push(&mut stored, properties::WAIT, "false");
    stored
}

/// Creates the retry topic of a group that consumes, as upstream does at its first heartbeat.
pub fn ensure_retry_topic(broker: &Arc<Broker>, group: &str, queues: i32) {
    let name = names::retry_topic(group);
    let settings = TopicSettings::new(&name, queues.max(1), Permission::READ_WRITE);
    if names::check_topic(&name).is_ok() && broker.topics.ensure(settings, broker.clock.now_ms()).1 {
        broker.topics_changed(&[&name]);
    }
}
