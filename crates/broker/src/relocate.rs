//! Storing again a message that still waits when its part of the log is about to be deleted.
//!
//! The new record settles the old one, so a crash leaves exactly one of the two waiting. A half message thereby
//! gets a new place; producers learn it with the next question, and a decision that names the old place is refused.

use std::sync::Arc;

use log::LogPosition;
use protocol::properties;
use protocol::record::{NewRecord, Record, java_string_hash};

use crate::broker::Broker;
use crate::names;
use crate::send::SendError;
use crate::writer::{Appends, Mark};

/// Adds a copy of the waiting message at `position` to `appends`.
pub fn push_again(broker: &Arc<Broker>, position: LogPosition, appends: &mut Appends) -> Result<(), SendError> {
    let mut bytes = Vec::new();
    let (Ok(()), Ok(record)) = (broker.log.read(position, &mut bytes), Record::parse(&bytes)) else { return Ok(()) };
    let Some(topic) = broker.topics.get(record.topic()) else { return Ok(()) };
    let queue = broker.queue_number(&topic, record.queue_id())?;
    let given = record.properties();
    let due_ms = given.get(properties::TIMER_OUT_MS).and_then(|due| due.parse().ok());
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
