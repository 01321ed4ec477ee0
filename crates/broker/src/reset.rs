//! Moving the offsets of a group, while it consumes or not.
//!
//! Done here, a reset reaches every kind of consumer: one that pulls is sent to the new offset by the answer to its next
//! pull, and what it commits before counts no more; one that gets its messages one by one gets those from the new offset
//! on. The other way, of brokers before 5.0, is to tell the consumers to do it (`useServerSideResetOffset=false`).
//!
//! Sources: `broker/.../processor/AdminBrokerProcessor.java` (`resetOffset`), `broker/.../client/net/Broker2Client.java`.

use log::{Boundary, QueueNumber, ReadError};
use net::ConnectionId;
use protocol::bodies::message_queue::MessageQueue;
use protocol::bodies::stats::{QueueOffset, ResetOffsetList, ResetOffsets};
use protocol::codes::{Language, RequestCode, ResponseCode};
use protocol::frame::Codec;
use protocol::lenient_json;
use protocol::requests::ResetClientOffset;
use protocol::typed::TypedHeader;
use protocol::writer::{Expect, FrameWriter};

use crate::broker::Broker;
use crate::membership::{Client, Door};
use crate::topics::Topic;

/// First version of a client that can be told to reset its offsets (3.0.7).
const VERSION_THAT_RESETS: i32 = 62;

/// What an operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset<'a> {
    /// Consumer group.
    pub group: &'a str,
    /// Topic.
    pub topic: &'a str,
    /// The one queue that is meant, or all.
    pub queue_id: Option<i32>,
    /// Where it is to go on.
    pub to: ResetTo,
}

/// Where a group is to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetTo {
    /// At that offset.
    Offset(i64),
    /// At the first message that was stored then or later.
    Time {
        /// In milliseconds since 1970; a negative one means behind the last message.
        ms: i64,
        /// Whether an offset may move forwards.
        force: bool,
    },
}

/// Why offsets are not reset.
#[derive(Debug, thiserror::Error)]
pub enum ResetError {
    /// The topic is not there.
    #[error("Topic {0} does not exist")]
    NoSuchTopic(String),
    /// The group is not there.
    #[error("Group {0} does not exist")]
    NoSuchGroup(String),
    /// The topic does not have that queue.
    #[error("topic `{topic}` has no queue {queue_id}; it has {queues}")]
    NoSuchQueue {
        /// Topic.
        topic: String,
        /// Queue that was asked for.
        queue_id: i32,
        /// Queues of the topic.
        queues: i32,
    },
    /// The offset is none that the queue can have.
    #[error("Target offset {offset} not in consume queue range [{min}-{max}]")]
    OutOfRange {
        /// Offset that was asked for.
        offset: i64,
        /// First offset of the queue.
        min: u64,
        /// Offset after the last message.
        max: u64,
    },
    /// The queue cannot be read.
    #[error("messages could not be looked for by their time: {0}")]
    Read(#[from] ReadError),
    /// Consumers are to do it, and none is connected.
    #[error("Consumer not online, so can not reset offset. Group: {group} Topic: {topic}")]
    NotOnline {
        /// Consumer group.
        group: String,
        /// Topic.
        topic: String,
    },
    /// Consumers are to do it, and one of them cannot.
    #[error(
        "the client {client} does not support this feature; it has version {version}, which is below {VERSION_THAT_RESETS}"
    )]
    TooOld {
        /// Client id.
        client: String,
        /// Ordinal of its version.
        version: i32,
    },
}

impl ResetError {
    /// The code of the answer.
    pub fn code(&self) -> ResponseCode {
        match self {
            Self::NoSuchTopic(_) => ResponseCode::TOPIC_NOT_EXIST,
            Self::NoSuchGroup(_) => ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST,
            Self::NotOnline { .. } => ResponseCode::CONSUMER_NOT_ONLINE,
            Self::NoSuchQueue { .. } | Self::OutOfRange { .. } | Self::Read(_) | Self::TooOld { .. } => {
                ResponseCode::SYSTEM_ERROR
            }
        }
    }
}

/// Moves the offsets of a group. Returns the new offsets by queue.
pub fn reset(broker: &Broker, wanted: &Reset<'_>) -> Result<ResetOffsets, ResetError> {
    let topic = broker.topics.get(wanted.topic).ok_or_else(|| ResetError::NoSuchTopic(wanted.topic.to_owned()))?;
    if broker.groups.get(wanted.group).is_none() {
        return Err(ResetError::NoSuchGroup(wanted.group.to_owned()));
    }
    let offsets = new_offsets(broker, &topic, wanted)?;
    let members = members(broker, wanted.group);
    if broker.config.server_side_reset.get() || members.iter().any(|(_, client)| client.door == Door::Grpc) {
        let pulls = members.iter().any(|(_, client)| client.door == Door::Remoting);
        for (queue_id, offset) in &offsets {
            move_offset(broker, wanted, *queue_id, *offset, pulls);
        }
        // Handed over at once, not with the next round.
        broker.offsets.save_changed();
        broker.pulls.wake_where(|pull| pull.request.group == wanted.group && pull.request.topic == wanted.topic);
    } else {
        tell_members(broker, wanted, &offsets, &members)?;
    }
    Ok(ResetOffsets { offset_table: by_queue(broker, wanted.topic, &offsets).collect() })
}

fn members(broker: &Broker, group: &str) -> Vec<(ConnectionId, Client)> {
    let membership = broker.membership();
    let group = membership.consumer_group(group);
    group.into_iter().flat_map(|group| group.members()).map(|(id, client)| (id, client.clone())).collect()
}

fn new_offsets(broker: &Broker, topic: &Topic, wanted: &Reset<'_>) -> Result<Vec<(i32, i64)>, ResetError> {
    let queue_ids = match wanted.queue_id {
        Some(queue_id) if topic.has_queue(queue_id) => queue_id..queue_id + 1,
        Some(queue_id) => {
            let topic = topic.settings.name.clone();
            let queues = broker.topics.get(&topic).map_or(0, |topic| topic.queue_count());
            return Err(ResetError::NoSuchQueue { topic, queue_id, queues });
        }
        None => 0..topic.settings.read_queues,
    };
    queue_ids.map(|queue_id| Ok((queue_id, new_offset(broker, wanted, queue_id)?))).collect()
}

fn new_offset(broker: &Broker, wanted: &Reset<'_>, queue_id: i32) -> Result<i64, ResetError> {
    let queue: Option<QueueNumber> = broker.log.find_queue(wanted.topic, queue_id as u32);
    let (min, max) = queue.map_or((0, 0), |queue| {
        let offsets = broker.log.offsets(queue);
        (offsets.min, offsets.max)
    });
    match wanted.to {
        ResetTo::Offset(offset) => match u64::try_from(offset) {
            Ok(given) if (min..=max + 1).contains(&given) => Ok(offset),
            _ => Err(ResetError::OutOfRange { offset, min, max }),
        },
        ResetTo::Time { ms, force } => {
            let found = match queue {
                Some(queue) if ms >= 0 => broker.log.offset_by_time(queue, ms, Boundary::Lower)?,
                _ => max,
            } as i64;
            let now = broker.offsets.get(wanted.group, wanted.topic, queue_id).filter(|now| *now >= 0);
            Ok(now.filter(|now| !force && *now < found).unwrap_or(found))
        }
    }
}

fn move_offset(broker: &Broker, wanted: &Reset<'_>, queue_id: i32, offset: i64, pulls: bool) {
    let Reset { group, topic, .. } = *wanted;
    // Who gets messages one by one need not be told: the next ones are from there.
    let one_by_one = broker.deliveries.reset(group, topic, queue_id, offset.max(0) as u64);
    broker.offsets.reset(group, topic, queue_id, offset, pulls && one_by_one.is_none());
    if let Some(waited_for) = one_by_one {
        broker.receives.wake_next(waited_for, broker.log.find_queue(topic, queue_id as u32));
    }
}

/// Tells the consumers of a group to reset their offsets themselves.
fn tell_members(
    broker: &Broker,
    wanted: &Reset<'_>,
    offsets: &[(i32, i64)],
    members: &[(ConnectionId, Client)],
) -> Result<(), ResetError> {
    if members.is_empty() {
        return Err(ResetError::NotOnline { group: wanted.group.to_owned(), topic: wanted.topic.to_owned() });
    }
    if let Some((_, client)) = members.iter().find(|(_, client)| client.version < VERSION_THAT_RESETS) {
        return Err(ResetError::TooOld { client: client.id.clone(), version: client.version });
    }
    let table = ResetOffsets { offset_table: by_queue(broker, wanted.topic, offsets).collect() };
    let list = by_queue(broker, wanted.topic, offsets).map(|(queue, offset)| QueueOffset {
        broker_name: queue.broker_name,
        offset,
        queue_id: queue.queue_id,
        topic: queue.topic,
    });
    let list = ResetOffsetList { offset_table: list.collect() };
    let (timestamp, is_force) = match wanted.to {
        ResetTo::Offset(_) => (-1, true),
        ResetTo::Time { ms, force } => (ms, force),
    };
    let header = ResetClientOffset {
        topic: wanted.topic.into(),
        group: wanted.group.into(),
        timestamp,
        is_force,
        queue_id: wanted.queue_id.unwrap_or(-1),
    };
    for (id, client) in members {
        let body = match client.language {
            Language::CPP => lenient_json::to_vec(&list),
            _ => lenient_json::to_vec(&table),
        };
        let Some(connection) = broker.connections.get(*id) else { continue };
        let (code, opaque) = (RequestCode::RESET_CONSUMER_CLIENT_OFFSET, broker.next_opaque());
        connection.send(|out| {
            header.encode(FrameWriter::request(out, Codec::Json, code, opaque, Expect::Nothing)).finish(&body);
        });
    }
    Ok(())
}

fn by_queue(broker: &Broker, topic: &str, offsets: &[(i32, i64)]) -> impl Iterator<Item = (MessageQueue, i64)> {
    offsets.iter().map(move |(queue_id, offset)| {
        let broker_name = broker.config.broker_name.clone();
        (MessageQueue { broker_name, queue_id: *queue_id, topic: topic.to_owned() }, *offset)
    })
}
