//! What a copy of the broker would ask for: requests 45, 60, 61, 907.

use std::collections::BTreeMap;

use log::Boundary;
use protocol::bodies::data_version::DataVersion;
use protocol::bodies::replication::{DelayOffsets, ReplicationStatus, TimerCheckpoint, TimerMetric, TimerMetrics};
use protocol::lenient_json;

use super::call::{Call, Refusal};
use crate::broker::Broker;
use crate::names;

/// There are no copies yet, so the broker is a master without any.
pub fn status(call: &mut Call<'_>) -> Result<(), Refusal> {
    let status = ReplicationStatus {
        master: true,
        master_commit_log_max_offset: call.broker.log.end().0 as i64,
        ..ReplicationStatus::default()
    };
    call.answer_body(&lenient_json::to_vec(&status));
    Ok(())
}

pub fn delay_offsets(call: &mut Call<'_>) -> Result<(), Refusal> {
    let offsets = delay_levels(call.broker).into_iter().map(|(level, [delivered, _])| (level, delivered));
    let body = DelayOffsets { data_version: version(call.broker), offset_table: offsets.collect() };
    call.answer_body(&lenient_json::to_vec(&body));
    Ok(())
}

/// By delay level, the offset of the first message that is not yet due, and the offset after the last one. What is due
/// is delivered at once. Levels without a message are left out.
pub fn delay_levels(broker: &Broker) -> BTreeMap<i64, [i64; 2]> {
    let now_ms = broker.clock.now_ms();
    let levels = broker.config.delay_levels.iter().enumerate();
    let offsets = levels.filter_map(|(queue_id, delay)| {
        let queue = broker.log.find_queue(names::SCHEDULE_TOPIC, queue_id as u32)?;
        let max = broker.log.offsets(queue).max;
        // Messages of a level wait equally long, so those that are due were stored before the others.
        let stored_ms = now_ms.saturating_sub(delay.as_millis() as i64);
        let waiting = broker.log.offset_by_time(queue, stored_ms, Boundary::Lower).ok()?;
        Some((queue_id as i64 + 1, [waiting as i64, max as i64]))
    });
    offsets.collect()
}

/// Places in upstream's timing wheel, of which there is none here, are 0.
pub fn timer_checkpoint(call: &mut Call<'_>) -> Result<(), Refusal> {
    let broker = call.broker;
    let queue = broker.log.find_queue(names::TIMER_TOPIC, 0);
    let entered = queue.map_or(0, |queue| broker.log.offsets(queue).max as i64);
    let checkpoint = TimerCheckpoint {
        last_read_time_ms: broker.clock.now_ms(),
        last_timer_log_flush_pos: 0,
        last_timer_queue_offset: entered,
        master_timer_queue_offset: entered,
        version: version(broker),
    };
    call.answer_body(&checkpoint.to_bytes());
    Ok(())
}

pub fn timer_metrics(call: &mut Call<'_>) -> Result<(), Refusal> {
    let waiting = call.broker.waiting.get(call.broker);
    let metric = |count: u64| TimerMetric { count: count as i64, time_stamp: waiting.counted_ms };
    let counts = waiting.topics.iter().map(|(topic, count)| (topic.to_string(), metric(*count)));
    let body = TimerMetrics { data_version: version(call.broker), timing_count: counts.collect() };
    call.answer_body(&lenient_json::to_vec(&body));
    Ok(())
}

/// These tables change all the time, and nobody counts how often.
fn version(broker: &Broker) -> DataVersion {
    DataVersion { timestamp: broker.clock.now_ms(), ..DataVersion::default() }
}
