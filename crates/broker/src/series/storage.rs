//! The log and the disk.

use metrics::{Family, Page};

use crate::broker::Broker;
use crate::disk_space::DiskSpace;

const SIZE: Family = Family::gauge("rocketmq_storage_size", "Bytes in use on the disk of the store").in_unit("bytes");
const FLUSH_BEHIND: Family =
    Family::gauge("rocketmq_storage_flush_behind_bytes", "Bytes of the log that the disk does not have yet")
        .in_unit("bytes");
const DISPATCH_BEHIND: Family = Family::gauge(
    "rocketmq_storage_dispatch_behind_bytes",
    "Bytes of the log that no index knows; always 0, since both are written together",
)
.in_unit("bytes");
const RESERVE: Family =
    Family::gauge("rocketmq_storage_message_reserve_time", "Age of the oldest message").in_unit("milliseconds");
const DISK: Family = Family::gauge("apogee_disk_bytes", "The disk of the store, in bytes");
const LOG_BYTES: Family = Family::gauge("apogee_log_bytes", "Bytes of the commit log, from its oldest message on");
const LOG_END: Family =
    Family::counter("apogee_log_written_bytes", "Position after the newest message of the commit log");
const QUEUES: Family = Family::gauge("apogee_queues", "Queues that the log knows");
const INDEX: Family = Family::gauge("apogee_queue_index_bytes", "Bytes of the index of queues");
const FENCED: Family = Family::gauge("apogee_log_fenced", "Whether a failed sync keeps the log from taking messages");
const WAITING: Family =
    Family::gauge("apogee_store_waiting_bytes", "Bytes of messages that wait for the disk, or for whoever appends");
const APPEND: Family =
    Family::histogram("apogee_store_append_seconds", "Time of one append to the log, of any number of messages");
const BATCH: Family = Family::histogram("apogee_store_append_messages", "Messages of one append to the log");
const SYNC: Family = Family::histogram("apogee_store_fsync_seconds", "Time of one sync of the log");

/// Labels of the store of a stock broker.
const LOCAL: [(&str, &str); 2] = [("storage_type", "local"), ("storage_medium", "disk")];

pub fn write(broker: &Broker, page: &mut Page) {
    let (stats, now_ms) = (broker.log.stats(), broker.clock.now_ms());
    if let Some(space) = DiskSpace::of(&broker.config.data_dir) {
        page.family(&SIZE, |series| series.value(&LOCAL, space.used));
        page.family(&DISK, |series| {
            for (kind, bytes) in [("used", space.used), ("free", space.free), ("total", space.total())] {
                series.value(&[("kind", kind)], bytes);
            }
        });
    }
    let behind = stats.end.0.saturating_sub(stats.durable.0);
    page.family(&FLUSH_BEHIND, |series| series.value(&LOCAL, behind));
    page.family(&DISPATCH_BEHIND, |series| series.value(&LOCAL, 0_u64));
    if let Some(oldest_ms) = broker.log.earliest_store_timestamp_ms() {
        page.family(&RESERVE, |series| series.value(&LOCAL, (now_ms - oldest_ms).max(0)));
    }
    page.family(&LOG_BYTES, |series| series.value(&[], stats.end.0 - stats.start.0));
    page.family(&LOG_END, |series| series.value(&[], stats.end.0));
    page.family(&QUEUES, |series| series.value(&[], stats.queues));
    page.family(&INDEX, |series| {
        series.value(&[("medium", "disk")], stats.index_bytes);
        series.value(&[("medium", "memory")], stats.index_memory_bytes);
    });
    page.family(&FENCED, |series| series.value(&[], stats.is_fenced));
    let waiting = broker.writer.waiting_bytes();
    page.family(&WAITING, |series| series.value(&[], waiting));
    let measured = broker.writer.measured();
    page.family(&APPEND, |series| series.histogram(&[], &measured.append));
    page.family(&BATCH, |series| series.histogram(&[], &measured.batch));
    page.family(&SYNC, |series| series.histogram(&[], &measured.sync));
}
