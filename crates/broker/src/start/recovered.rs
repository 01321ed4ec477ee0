//! What the log knows at start that is nowhere else.

use std::collections::BTreeMap;

use protocol::properties;
use protocol::record::Record;

use crate::broker::Broker;
use crate::names;
use crate::topics::{self, Permission, TopicSettings};
use crate::transactions::{Half, Transactions};

/// A record of the log's tail: half messages are found again, and decisions about them.
pub fn replay(transactions: &mut Transactions, record: &Record<'_>) {
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
        let queues = if single { queues } else { queues.max(broker.config.default_topic_queue_nums.min(4)) };
        tracing::warn!(topic = name, queues, "topic had messages and no settings; it is created again");
        broker.topics.put(TopicSettings::new(&name, queues, Permission::READ_WRITE), broker.clock.now_ms());
    }
}
