//! Decisions that name a half message by the id that its producer gave it, as gRPC clients do.

use log::ReadError;
use protocol::properties;
use protocol::record::Record;

use super::{DecideError, Decision, decide};
use crate::broker::Broker;
use crate::names;
use crate::writer::Appends;

/// Most half messages of one id that are looked at: a producer that got no answer sends again.
const HALVES_MAX: usize = 16;

/// A decision about a half message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecisionById<'a> {
    /// Producer group.
    pub group: &'a str,
    /// Unique id of the message.
    pub id: &'a str,
    /// Whether the message is to be delivered.
    pub commit: bool,
    /// Whether it answers a question.
    pub from_check: bool,
}

/// Adds what a decision makes of the half message to `appends`. The log is asked where it is, so a decision is found
/// again for as long as the message is there, and hearing it again is no error. Of several that were sent with the same
/// id the newest is meant; the others are dropped.
pub fn decide_by_id(broker: &Broker, decision: &DecisionById<'_>, appends: &mut Appends) -> Result<(), DecideError> {
    let halves = find(broker, decision.group, decision.id)?;
    if halves.is_empty() {
        let (group, id) = (decision.group.to_owned(), decision.id.to_owned());
        return Err(DecideError::Unknown { group, id });
    }
    for (age, (position, queue_offset)) in halves.into_iter().enumerate() {
        // Not every client says that it answers a question.
        let was_asked = broker.transactions().get(position).is_some_and(|half| half.checks > 0);
        let decision = Decision {
            ids: Vec::new(),
            group: decision.group.to_owned(),
            queue_offset: queue_offset as i64,
            position: position as i64,
            commit: decision.commit && age == 0,
            from_check: decision.from_check || was_asked,
        };
        decide(broker, &decision, appends)?;
    }
    Ok(())
}

/// Positions and queue offsets of the half messages that a group sent with an id, the newest first.
pub fn find(broker: &Broker, group: &str, id: &str) -> Result<Vec<(u64, u64)>, ReadError> {
    let mut bytes = Vec::new();
    broker.log.query_key(names::HALF_TOPIC, id, 0, i64::MAX, HALVES_MAX, &mut bytes)?;
    let mut halves = Vec::new();
    let mut rest = bytes.as_slice();
    while let Ok(record) = Record::parse(rest) {
        let [its_id, its_group] = record.properties().get_many([properties::UNIQ_KEY, properties::PGROUP]);
        if its_id == Some(id) && its_group == Some(group) {
            halves.push((record.position(), record.queue_offset()));
        }
        rest = &rest[record.size() as usize..];
    }
    halves.reverse();
    Ok(halves)
}
