//! Taking a delayed message back before it is delivered.
//!
//! Taking it out of the due index is the one step that decides between a recall and the delivery, another recall, or
//! a move to a newer part of the log: whoever has it appends the record that settles it. A crash in between leaves it
//! waiting, and the recall unanswered.
//! Source: `broker/.../processor/RecallMessageProcessor.java`.

use std::sync::atomic::Ordering;

use log::{Due, ReadError};
use protocol::codes::ResponseCode;
use protocol::properties;
use protocol::recall_handle::{HandleError, RecallHandle};
use protocol::record::{Record, records};

use crate::broker::Broker;
use crate::names;
use crate::send::SendError;
use crate::topics::Permission;
use crate::writer::{Appends, Mark};

/// Waiting messages with the same id that are looked at. There is one, unless a client sent it again.
const SAME_ID_MAX: usize = 64;

/// Why a message cannot be taken back. The text goes to the client.
#[derive(Debug, thiserror::Error)]
pub enum RecallError {
    /// Recalls are switched off.
    #[error("recalling messages is switched off (recallMessageEnable)")]
    Off,
    /// The broker may not be written.
    #[error("broker `{0}` may not be written")]
    BrokerReadOnly(String),
    /// The topic is not there.
    #[error("topic `{0}` does not exist")]
    NoSuchTopic(String),
    /// The handle cannot be read.
    #[error("recall handle is invalid: {0}")]
    Handle(#[from] HandleError),
    /// The handle is of another topic.
    #[error("the handle is of topic `{found}`, not `{given}`")]
    OtherTopic {
        /// Topic of the handle.
        found: String,
        /// Topic of the request.
        given: String,
    },
    /// The handle is of another broker.
    #[error("the handle is of broker `{found}`; this is `{own}`")]
    OtherBroker {
        /// Broker of the handle.
        found: String,
        /// This broker.
        own: String,
    },
    /// The message is due.
    #[error("the message was due {late_ms} ms ago")]
    AlreadyDue {
        /// Milliseconds since it was due.
        late_ms: i64,
    },
    /// The message is delivered, taken back, or was never there.
    #[error("no message `{unique_id}` of topic `{topic}` waits for {due_ms}")]
    NotWaiting {
        /// Id of the handle.
        unique_id: String,
        /// Topic of the handle.
        topic: String,
        /// Due time of the handle.
        due_ms: i64,
    },
    /// The log cannot be read.
    #[error("the message could not be looked up: {0}")]
    Read(#[from] ReadError),
    /// The recall cannot be stored.
    #[error(transparent)]
    Send(#[from] SendError),
}

impl RecallError {
    /// The code the client acts on.
    pub fn code(&self) -> ResponseCode {
        match self {
            Self::Off => ResponseCode::NO_PERMISSION,
            Self::BrokerReadOnly(_) => ResponseCode::SERVICE_NOT_AVAILABLE,
            Self::NoSuchTopic(_) => ResponseCode::TOPIC_NOT_EXIST,
            Self::Handle(_)
            | Self::OtherTopic { .. }
            | Self::OtherBroker { .. }
            | Self::AlreadyDue { .. }
            | Self::NotWaiting { .. } => ResponseCode::ILLEGAL_OPERATION,
            Self::Read(_) => ResponseCode::SYSTEM_ERROR,
            Self::Send(error) => error.code(),
        }
    }
}

/// The handle by which a message is taken back.
pub fn handle<'a>(broker: &'a Broker, topic: &'a str, due_ms: i64, unique_id: &'a str) -> RecallHandle<'a> {
    RecallHandle {
        topic: topic.into(),
        broker: broker.config.broker_name.as_str().into(),
        due_ms,
        unique_id: unique_id.into(),
    }
}

/// Takes the message of a handle out of those that wait, and adds what settles it to `appends`: once that is stored,
/// the message is never delivered. Returns its unique id. A failed append lets it wait on.
pub fn recall(broker: &Broker, topic: &str, handle: &str, appends: &mut Appends) -> Result<String, RecallError> {
    let handle = check(broker, topic, handle)?;
    let mut bytes = Vec::new();
    broker.log.query_key(names::TIMER_TOPIC, &handle.unique_id, i64::MIN, i64::MAX, SAME_ID_MAX, &mut bytes)?;
    let mut found = false;
    for record in records(&bytes).filter(|record| is_meant(record, &handle)) {
        let position = log::LogPosition(record.position());
        if !broker.log.take_waiting(Due { due_ms: handle.due_ms, position, size: record.size() }) {
            continue;
        }
        let index = appends.batch.len();
        if let Err(error) = broker.push_settlement(position, appends) {
            broker.log.handed_back(position);
            return Err(error.into());
        }
        appends.marks.push((index, Mark::Takes { position }));
        found = true;
    }
    if !found {
        return Err(RecallError::NotWaiting {
            unique_id: handle.unique_id.into_owned(),
            topic: topic.to_owned(),
            due_ms: handle.due_ms,
        });
    }
    broker.counters.recalled.fetch_add(1, Ordering::Relaxed);
    Ok(handle.unique_id.into_owned())
}

fn check(broker: &Broker, topic: &str, handle: &str) -> Result<RecallHandle<'static>, RecallError> {
    if !broker.config.recall.get() {
        return Err(RecallError::Off);
    }
    if !Permission(broker.config.permission.get()).can_write() {
        return Err(RecallError::BrokerReadOnly(broker.config.broker_name.clone()));
    }
    if broker.topics.get(topic).is_none() {
        return Err(RecallError::NoSuchTopic(topic.to_owned()));
    }
    let handle = RecallHandle::parse(handle)?;
    if handle.topic != topic {
        return Err(RecallError::OtherTopic { found: handle.topic.into_owned(), given: topic.to_owned() });
    }
    let own = &broker.config.broker_name;
    if handle.broker != *own {
        return Err(RecallError::OtherBroker { found: handle.broker.into_owned(), own: own.clone() });
    }
    let now_ms = broker.clock.now_ms();
    if handle.due_ms <= now_ms {
        return Err(RecallError::AlreadyDue { late_ms: now_ms.saturating_sub(handle.due_ms) });
    }
    Ok(handle)
}

/// Whether a record is the waiting message of a handle: the key of the search may have been a word of `KEYS`.
fn is_meant(record: &Record<'_>, handle: &RecallHandle<'_>) -> bool {
    let names = [properties::UNIQ_KEY, properties::REAL_TOPIC, properties::TIMER_OUT_MS];
    let [unique_id, topic, due] = record.properties().get_many(names);
    unique_id == Some(&*handle.unique_id)
        && topic == Some(&*handle.topic)
        && due.and_then(|due| due.parse().ok()) == Some(handle.due_ms)
}
