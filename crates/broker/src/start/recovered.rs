//! What the log knows at start that is nowhere else.

use std::collections::BTreeMap;
use std::sync::Arc;

use log::{Disk, Log, LogConfig, OpenError, Recovery};
use protocol::properties;
use protocol::record::Record;

use crate::broker::Broker;
use crate::names;
use crate::topics::{self, Permission, TopicSettings};
use crate::transactions::snapshot::{self, Snapshot};
use crate::transactions::{Half, Transactions};

/// Opens the log and finds the half messages that wait: in the file of them and the log's tail, or, where that file is
/// of no use, in the whole log.
pub fn open_log(
    disk: Arc<dyn Disk>,
    config: LogConfig,
    transactions: &mut Transactions,
) -> Result<(Log, Recovery), OpenError> {
    let found = snapshot::read(&*disk, transactions)
        .map_err(|source| OpenError::Io { what: "reading the half messages", source })?;
    if let Snapshot::Newer(newer) = found {
        return Err(newer.into());
    }
    if found == Snapshot::Damaged {
        tracing::error!("the file `halves` is damaged; the whole log is read for half messages");
    }
    let config = LogConfig { replay_all: found != Snapshot::Read, ..config };
    let (log, recovery) = Log::open(disk, config, &mut |record| replay(transactions, record))?;
    // A new broker has none and nothing to miss.
    if found == Snapshot::Missing && recovery.records != 0 {
        tracing::warn!("the file `halves` is missing; the whole log was read for half messages");
    }
    Ok((log, recovery))
}

/// A record of the log: half messages are found again, and decisions about them.
fn replay(transactions: &mut Transactions, record: &Record<'_>) {
    if record.topic() == names::HALF_TOPIC {
        let immunity_ms = record
            .properties()
            .get(properties::CHECK_IMMUNITY_TIME_IN_SECONDS)
            .and_then(|seconds| seconds.trim().parse::<i64>().ok())
            .filter(|seconds| *seconds >= 0)
            .map(|seconds| seconds.saturating_mul(1000));
        let half = Half {
            queue_offset: record.queue_offset(),
            stored_ms: record.store_timestamp_ms(),
            immunity_ms,
            checks: 0,
        };
        transactions.stored(record.position(), half);
    }
    if let Ok(settled) = u64::try_from(record.prepared_transaction_offset())
        && settled != 0
    {
        transactions.take(settled);
    }
}

/// Creates topics again that have messages and no settings: auto-created ones are saved a moment after their first
/// message was accepted, and the process may have been killed in that moment.
pub fn restore_topics(broker: &Broker) {
    let mut found: BTreeMap<String, i32> = BTreeMap::new();
    for (topic, queue_id) in broker.log.queues() {
        let queues = found.entry(topic).or_default();
        *queues = (*queues).max(queue_id.saturating_add(1).min(topics::QUEUES_MAX as u32) as i32);
    }
    found.retain(|name, _| broker.topics.get(name).is_none() && names::check_topic(name).is_ok());
    for (name, queues) in found {
        let single = names::is_retry(&name) || names::is_dead_letter(&name);
        let queues = if single { queues } else { queues.max(broker.config.default_topic_queue_nums.get().min(4)) };
        tracing::warn!(topic = name, queues, "topic had messages and no settings; it is created again");
        broker.topics.put(TopicSettings::new(&name, queues, Permission::READ_WRITE), broker.clock.now_ms());
    }
}

#[cfg(test)]
mod tests {
    use log::{Batch, LogPosition, MemoryDisk, NewRecord};
    use protocol::sys_flag::SysFlag;

    use super::*;
    use crate::transactions::CheckSchedule;

    fn table() -> Transactions {
        Transactions::new(CheckSchedule { first_after_ms: 1, interval_ms: 1, checks_max: 1 })
    }

    fn append(log: &Log, topic: &str, settles: LogPosition) -> LogPosition {
        let host = ([127, 0, 0, 1], 10911).into();
        let record = NewRecord {
            topic,
            queue_id: 0,
            flag: 0,
            sys_flag: SysFlag(0),
            born_timestamp_ms: 1,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: settles.0 as i64,
            body: b"paid",
            properties: b"",
        };
        let mut batch = Batch::new();
        batch.push(record, log.queue(topic, 0).unwrap(), 0, None).unwrap();
        log.append(&mut batch, 1).unwrap();
        batch.placed()[0].position
    }

    #[test]
    fn half_messages_are_found_whatever_became_of_their_file() {
        let disk = MemoryDisk::new();
        let config = LogConfig { segment_bytes: 4096, ..LogConfig::default() };
        let open = |disk: &MemoryDisk| {
            let mut transactions = table();
            let opened = open_log(Arc::new(disk.clone()), config.clone(), &mut transactions).unwrap();
            (opened, transactions.iter().map(|(position, _)| position).collect::<Vec<_>>())
        };
        let ((log, _), found) = open(&disk);
        assert_eq!(found, [0; 0]);
        let old = append(&log, names::HALF_TOPIC, LogPosition(0));
        let decided = append(&log, names::HALF_TOPIC, LogPosition(0));
        append(&log, "orders", decided);
        let mut transactions = table();
        transactions.stored(old.0, Half { queue_offset: 0, stored_ms: 1, immunity_ms: None, checks: 0 });
        log.checkpoint(&|disk| snapshot::write(disk, &snapshot::encode(&transactions))).unwrap();
        let new = append(&log, names::HALF_TOPIC, LogPosition(0));

        let removed = disk.fork();
        removed.remove("halves").unwrap();
        let damaged = disk.fork();
        damaged.tamper("halves", |bytes| bytes[9] ^= 1).unwrap();
        for (disk, records) in [(disk.fork(), 1), (removed, 4), (damaged, 4)] {
            let ((_, recovery), found) = open(&disk);
            assert_eq!(found, [old.0, new.0]);
            assert_eq!((recovery.records, recovery.rebuilt), (records, None), "{recovery}");
        }
    }
}
