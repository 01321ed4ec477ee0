//! Half messages that were given up are asked about once more, when an operator wants it.
//!
//! Source: `broker/.../processor/AdminBrokerProcessor.java` (`resumeCheckHalfMessage`).

use log::{LogPosition, ReadError};
use protocol::codes::ResponseCode;
use protocol::properties;
use protocol::record::Record;

use super::by_id;
use crate::broker::Broker;
use crate::meta::Tree;
use crate::names;
use crate::send::{Draft, SendError};
use crate::writer::Appends;

/// Why a message is not asked about again.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// Nothing lies at the position.
    #[error("no message lies at position {0}")]
    NoMessage(u64),
    /// The message is no half message.
    #[error("the message belongs to topic `{0}`; only half messages that were given up are asked about again")]
    NoHalf(String),
    /// Somebody decided about the half message.
    #[error("the half message at position {0} was decided about or given up")]
    Decided(u64),
    /// It was stored again before, and waits.
    #[error("half message `{0}` waits for a decision again already")]
    Waits(String),
    /// It cannot be found out whether it waits.
    #[error("half messages cannot be looked for: {0}")]
    Read(#[from] ReadError),
    /// The message cannot be stored.
    #[error(transparent)]
    Send(#[from] SendError),
}

impl ResumeError {
    /// The code of the answer.
    pub fn code(&self) -> ResponseCode {
        match self {
            Self::Send(error) => error.code(),
            _ => ResponseCode::SYSTEM_ERROR,
        }
    }
}

/// Adds to `appends` the half message at the position once more, as if nobody had been asked about it. One that still
/// waits where it is only forgets how often it was asked about.
pub fn resume(broker: &Broker, position: u64, appends: &mut Appends) -> Result<(), ResumeError> {
    let mut bytes = Vec::new();
    let read = broker.log.read(LogPosition(position), &mut bytes);
    let record = read.ok().and_then(|()| Record::parse(&bytes).ok()).ok_or(ResumeError::NoMessage(position))?;
    match record.topic() {
        names::HALF_TOPIC => forget_checks(broker, position),
        names::CHECK_MAX_TOPIC => push_again(broker, &record, appends),
        other => Err(ResumeError::NoHalf(other.to_owned())),
    }
}

fn forget_checks(broker: &Broker, position: u64) -> Result<(), ResumeError> {
    let mut halves = broker.transactions();
    if halves.get(position).is_none() {
        return Err(ResumeError::Decided(position));
    }
    halves.restore_checks(position, 0);
    drop(halves);
    broker.meta.remove(Tree::Checks, position.to_be_bytes());
    Ok(())
}

fn push_again(broker: &Broker, record: &Record<'_>, appends: &mut Appends) -> Result<(), ResumeError> {
    let [id, group, name, queue_id] = record.properties().get_many([
        properties::UNIQ_KEY,
        properties::PGROUP,
        properties::REAL_TOPIC,
        properties::REAL_QID,
    ]);
    let (id, name) = (id.unwrap_or_default(), name.unwrap_or_default());
    // Stored twice it could be delivered twice.
    let halves = by_id::find(broker, group.unwrap_or_default(), id)?;
    if halves.iter().any(|(position, _)| broker.transactions().get(*position).is_some()) {
        return Err(ResumeError::Waits(id.to_owned()));
    }
    let topic = broker.topics.get(name).ok_or_else(|| SendError::NoSuchTopic(name.to_owned()))?;
    let mut stored = Vec::with_capacity(record.properties_bytes().len());
    // Those of a half message are added anew.
    let own =
        [properties::REAL_TOPIC, properties::REAL_QID, properties::TRANSACTION_ID, properties::TRANSACTION_CHECK_TIMES];
    properties::push_kept(&mut stored, record.properties_bytes(), |name| own.iter().all(|own| own.as_bytes() != name));
    let draft = Draft {
        topic: &topic,
        queue_id: queue_id.and_then(|id| id.parse().ok()).unwrap_or(0),
        flag: record.flag(),
        sys_flag: record.sys_flag(),
        born_ms: record.born_timestamp_ms(),
        born_host: record.born_host(),
        reconsume_times: record.reconsume_times(),
        settles: 0,
        tag_hash: record.tag_hash(),
        body: record.body(),
    };
    Ok(draft.push_half(broker, &mut stored, appends)?)
}
