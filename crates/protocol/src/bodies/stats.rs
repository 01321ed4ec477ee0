//! How far topics and groups have come.
//!
//! Sources: `remoting/.../protocol/admin/*.java`, `common/.../stats/StatsSnapshot.java`,
//! `remoting/.../protocol/body/{ConsumeStatsList,ResetOffsetBody,QueueTimeSpan,QueryConsumeTimeSpanBody}.java`,
//! `remoting/.../protocol/body/{QueryCorrectionOffsetBody,BrokerStatsData,ConsumerOffsetSerializeWrapper}.java`.

use std::collections::BTreeMap;

use crate::bodies::data_version::DataVersion;
use crate::bodies::declare::bodies;
use crate::bodies::message_queue::MessageQueue;
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

    /// Answer of QUERY_CONSUME_TIME_SPAN (303).
    #[derive(Eq)]
    ConsumeTimeSpans {
        /// Every queue of the topic.
        consume_time_span_set: Vec<QueueTimeSpan> = "consumeTimeSpanSet",
    }

    /// Between which times the messages of a queue were stored, and how far a group has come. Times are milliseconds
    /// since 1970, -1 where there is no message.
    #[derive(Eq)]
    QueueTimeSpan {
        /// When the last message that the group consumed was stored.
        consume_time_stamp: i64 = "consumeTimeStamp",
        /// Age in milliseconds of the first message that it has not consumed; 0 without one.
        delay_time: i64 = "delayTime",
        /// When the last message was stored.
        max_time_stamp: i64 = "maxTimeStamp",
        /// The queue.
        message_queue: MessageQueue = "messageQueue",
        /// When the first message was stored.
        min_time_stamp: i64 = "minTimeStamp",
    }

    /// Answer of QUERY_CORRECTION_OFFSET (308).
    #[derive(Eq)]
    CorrectionOffsets {
        /// Offset by queue.
        correction_offsets: BTreeMap<i64, i64> = "correctionOffsets",
    }

    /// Answer of GET_ALL_CONSUMER_OFFSET (43).
    #[derive(Eq)]
    ConsumerOffsetTable {
        /// Version of the table.
        data_version: DataVersion = "dataVersion",
        /// Offset by queue, by `topic@group`.
        offset_table: BTreeMap<String, BTreeMap<i64, i64>> = "offsetTable",
    }

    /// Answer of VIEW_BROKER_STATS_DATA (315).
    #[derive(Copy)]
    BrokerStatsData {
        /// Over the last day.
        stats_day: StatsItem = "statsDay",
        /// Over the last hour.
        stats_hour: StatsItem = "statsHour",
        /// Over the last minute.
        stats_minute: StatsItem = "statsMinute",
    }

    /// What was counted over a span of time.
    #[derive(Copy)]
    StatsItem {
        /// Average of one time that something was counted.
        avgpt: f64 = "avgpt",
        /// Sum.
        sum: i64 = "sum",
        /// Sum per second.
        tps: f64 = "tps",
    }

    /// Body of RESET_CONSUMER_CLIENT_OFFSET (220) for clients written in C++, which read no keys that are objects.
    #[derive(Eq)]
    ResetOffsetList {
        /// The new offsets.
        offset_table: Vec<QueueOffset> = "offsetTable",
    }

    /// An offset of a queue.
    #[derive(Eq)]
    QueueOffset {
        /// Broker that has the queue.
        broker_name: String = "brokerName",
        /// Offset.
        offset: i64 = "offset",
        /// Queue.
        queue_id: i32 = "queueId",
        /// Topic.
        topic: String = "topic",
    }
}

impl BrokerStatsData {
    /// The sum over the longest span that has one, as tools show it for a day.
    pub fn day_sum(&self) -> i64 {
        let spans = [self.stats_day, self.stats_hour, self.stats_minute];
        spans.iter().map(|span| span.sum).find(|sum| *sum != 0).unwrap_or(0)
    }
}
