//! How far topics and groups have come.
//!
//! Sources: `remoting/.../protocol/admin/*.java`,
//! `remoting/.../protocol/body/{ConsumeStatsList,ResetOffsetBody}.java`.

use std::collections::BTreeMap;

use crate::bodies::declare::bodies;
use crate::bodies::queue_map::QueueMap;

bodies! {
    /// Answer of GET_TOPIC_STATS_INFO (202).
    TopicStatsTable {
        /// Every queue, also those without a message.
        offset_table: QueueMap<TopicOffset> = "offsetTable",
        /// Messages per second that were sent lately.
        topic_put_tps: f64 = "topicPutTps",
    }

    /// What a queue holds.
    #[derive(Copy, Eq)]
    TopicOffset {
        /// Store time of the last message in milliseconds since 1970, 0 when there is none.
        last_update_timestamp: i64 = "lastUpdateTimestamp",
        /// Offset after the last message.
        max_offset: i64 = "maxOffset",
        /// Offset of the first message.
        min_offset: i64 = "minOffset",
    }

    /// Answer of GET_CONSUME_STATS (208).
    ConsumeStats {
        /// Messages per second that were consumed lately.
        consume_tps: f64 = "consumeTps",
        /// Queues that the group consumes.
        offset_table: QueueMap<ConsumeOffset> = "offsetTable",
    }

    /// How far a group has come in a queue.
    #[derive(Copy, Eq)]
    ConsumeOffset {
        /// Offset after the last message of the queue.
        broker_offset: i64 = "brokerOffset",
        /// Offset that the group has committed.
        consumer_offset: i64 = "consumerOffset",
        /// Store time of the last consumed message in milliseconds since 1970, 0 when there is none.
        last_timestamp: i64 = "lastTimestamp",
        /// Offset up to which the group has pulled.
        pull_offset: i64 = "pullOffset",
    }

    /// Answer of GET_BROKER_CONSUME_STATS (317).
    ConsumeStatsList {
        /// Address of the broker.
        broker_addr: Option<String> = "brokerAddr",
        /// A map of one entry per group: its name and what it consumes, by topic.
        consume_stats_list: Vec<BTreeMap<String, Vec<ConsumeStats>>> = "consumeStatsList",
        /// Messages that are not committed.
        total_diff: i64 = "totalDiff",
        /// Messages that were pulled but not committed.
        total_inflight_diff: i64 = "totalInflightDiff",
    }

    /// Offsets by queue: answer of INVOKE_BROKER_TO_RESET_OFFSET (222), body of RESET_CONSUMER_CLIENT_OFFSET (220).
    #[derive(Eq)]
    ResetOffsets {
        /// The new offsets.
        offset_table: QueueMap<i64> = "offsetTable",
    }
}
