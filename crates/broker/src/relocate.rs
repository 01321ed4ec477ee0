//! Storing again a message that still waits when its part of the log is about to be deleted.
//!
//! The new record settles the old one, so a crash leaves exactly one of the two waiting. A half message thereby
//! gets a new place; producers learn it with the next question, and a decision that names the old place is refused.

use std::sync::Arc;

use log::{Due, LogPosition};
use protocol::properties;
use protocol::record::{NewRecord, Record, java_string_hash};

use crate::broker::Broker;
use crate::meta::Tree;
use crate::names;
use crate::send::SendError;
use crate::transactions::Half;
use crate::writer::{Appends, Mark};

/// What is due within this time, in milliseconds, is not moved: it may be under way to its topic, and a copy would be
/// delivered once more. It keeps its part of the log until it has been delivered.
const DUE_SOON_MS: i64 = 2_000;

/// Adds a copy of the waiting message at `position` to `appends`, unless it is due soon.
pub fn push_again(broker: &Arc<Broker>, position: LogPosition, appends: &mut Appends) -> Result<(), SendError> {
    let mut bytes = Vec::new();
    let (Ok(()), Ok(record)) = (broker.log.read(position, &mut bytes), Record::parse(&bytes)) else { return Ok(()) };
    let Some(topic) = broker.topics.get(record.topic()) else { return Ok(()) };
    let queue = broker.queue_number(&topic, record.queue_id())?;
    let given = record.properties();
    let due_ms: Option<i64> = given.get(properties::TIMER_OUT_MS).and_then(|due| due.parse().ok());
    if let Some(due_ms) = due_ms {
        // What somebody takes back at this moment must not live on as a copy.
        let is_soon = due_ms <= broker.clock.now_ms().saturating_add(DUE_SOON_MS);
        if is_soon || !broker.log.take_waiting(Due { due_ms, position, size: record.size() }) {
            return Ok(());
        }
        appends.marks.push((appends.batch.len(), Mark::Takes { position }));
    }
    let copy = NewRecord {
        topic: record.topic(),
        queue_id: record.queue_id(),
        flag: record.flag(),
        sys_flag: record.sys_flag(),
        born_timestamp_ms: record.born_timestamp_ms(),
        born_host: record.born_host(),
        store_host: broker.store_host,
        reconsume_times: record.reconsume_times(),
        prepared_transaction_offset: position.0 as i64,
        body: record.body(),
        properties: record.properties_bytes(),
    };
    let index = appends.batch.len();
    if record.topic() == names::HALF_TOPIC {
        let Some(half) = broker.transactions().take(position.0) else { return Ok(()) };
        appends.marks.push((index, Mark::Half { immunity_ms: half.immunity_ms }));
        appends.marks.push((index, Mark::Decides { position: position.0, half }));
    }
    appends.batch.push(copy, queue, given.get(properties::TAGS).map_or(0, java_string_hash), due_ms)?;
    appends.has_due |= due_ms.is_some();
    Ok(())
}

/// What was moved is stored: producers are asked about a half message when they would have been, and as often.
pub fn moved(broker: &Broker, appends: &Appends) {
    for (index, mark) in &appends.marks {
        let (Mark::Decides { position, half }, Some(placed)) = (mark, appends.batch.placed().get(*index)) else {
            continue;
        };
        let new_position = placed.position.0;
        broker.meta.remove(Tree::Checks, position.to_be_bytes());
        if half.checks > 0 {
            broker.meta.put(Tree::Checks, new_position.to_be_bytes(), half.checks.to_be_bytes().to_vec());
        }
        let mut transactions = broker.transactions();
        if transactions.take(new_position).is_some() {
            transactions.stored(new_position, Half { queue_offset: placed.queue_offset, ..half.clone() });
        }
    }
}

/// What was to be moved stays where it is.
pub fn put_back(broker: &Broker, appends: &Appends) {
    for (_, mark) in &appends.marks {
        match mark {
            Mark::Decides { position, half } => broker.transactions().stored(*position, half.clone()),
            Mark::Takes { position } => broker.log.handed_back(*position),
            Mark::Half { .. } => {}
        }
    }
}
