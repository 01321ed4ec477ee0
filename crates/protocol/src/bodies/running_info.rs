//! What a consumer tells about itself, and what it did with a message it was asked to consume: the answers of
//! GET_CONSUMER_RUNNING_INFO (307) and CONSUME_MESSAGE_DIRECTLY (309).
//!
//! Sources: `remoting/.../protocol/body/{ConsumerRunningInfo,ProcessQueueInfo,PopProcessQueueInfo,ConsumeStatus,
//! ConsumeMessageDirectlyResult}.java`. Upstream spells `droped` with one `p`, the Go client with two.

use std::collections::BTreeMap;

use crate::bodies::declare::bodies;
use crate::bodies::heartbeat::SubscriptionData;
use crate::bodies::queue_map::QueueMap;

bodies! {
    /// Answer of 307.
    ConsumerRunningInfo {
        /// Stacks of its threads, when they were asked for.
        jstack: Option<String> = "jstack",
        /// Queues that it pops.
        mq_pop_table: QueueMap<PopProcessQueueInfo> = "mqPopTable",
        /// Queues that it pulls.
        mq_table: QueueMap<ProcessQueueInfo> = "mqTable",
        /// Settings and facts.
        properties: BTreeMap<String, String> = "properties",
        /// How fast it is, by topic.
        status_table: BTreeMap<String, ConsumeStatus> = "statusTable",
        /// What it subscribes to.
        subscription_set: Vec<SubscriptionData> = "subscriptionSet",
        /// What the program itself wants to be shown.
        user_consumer_info: BTreeMap<String, String> = "userConsumerInfo",
    }

    /// A queue that is pulled. Times are milliseconds since 1970.
    #[derive(Copy, Eq)]
    ProcessQueueInfo {
        /// Messages that wait in memory.
        cached_msg_count: i32 = "cachedMsgCount",
        /// Offset of the last of them.
        cached_msg_max_offset: i64 = "cachedMsgMaxOffset",
        /// Offset of the first of them.
        cached_msg_min_offset: i64 = "cachedMsgMinOffset",
        /// Their size in MiB.
        cached_msg_size_in_mib: i32 = "cachedMsgSizeInMiB",
        /// Committed offset.
        commit_offset: i64 = "commitOffset",
        /// Whether the queue was given away.
        dropped: bool = "droped" | "dropped",
        /// Last consumption.
        last_consume_timestamp: i64 = "lastConsumeTimestamp",
        /// Last time that the queue was locked.
        last_lock_timestamp: i64 = "lastLockTimestamp",
        /// Last pull.
        last_pull_timestamp: i64 = "lastPullTimestamp",
        /// Whether the queue is locked for this consumer.
        locked: bool = "locked",
        /// Messages that an orderly listener holds.
        transaction_msg_count: i32 = "transactionMsgCount",
        /// Offset of the last of them.
        transaction_msg_max_offset: i64 = "transactionMsgMaxOffset",
        /// Offset of the first of them.
        transaction_msg_min_offset: i64 = "transactionMsgMinOffset",
        /// How often it was tried to unlock the queue.
        try_unlock_times: i64 = "tryUnlockTimes",
    }

    /// A queue that is popped.
    #[derive(Copy, Eq)]
    PopProcessQueueInfo {
        /// Whether the queue was given away.
        dropped: bool = "droped" | "dropped",
        /// Last pop, in milliseconds since 1970.
        last_pop_timestamp: i64 = "lastPopTimestamp",
        /// Messages that are not acknowledged.
        wait_ack_count: i32 = "waitAckCount",
    }

    /// How fast a topic is consumed.
    #[derive(Copy)]
    ConsumeStatus {
        /// Messages that failed within the hour.
        consume_failed_msgs: i64 = "consumeFailedMsgs",
        /// Failures per second.
        consume_failed_tps: f64 = "consumeFailedTPS",
        /// Successes per second.
        consume_ok_tps: f64 = "consumeOKTPS",
        /// Milliseconds that a message takes.
        consume_rt: f64 = "consumeRT",
        /// Milliseconds that a pull takes.
        pull_rt: f64 = "pullRT",
        /// Messages pulled per second.
        pull_tps: f64 = "pullTPS",
    }

    /// Answer of 309.
    #[derive(Eq)]
    ConsumeDirectlyResult {
        /// Whether the offset would be committed.
        auto_commit: bool = "autoCommit" or true,
        /// What the listener said, `CR_SUCCESS` and so on.
        consume_result: Option<String> = "consumeResult",
        /// Whether the listener is orderly.
        order: bool = "order",
        /// What went wrong.
        remark: Option<String> = "remark",
        /// Milliseconds that it took.
        spent_time_millis: i64 = "spentTimeMills",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lenient_json::from_slice;

    #[test]
    fn both_spellings_of_dropped_are_read() {
        for name in ["droped", "dropped"] {
            let text = format!(
                r#"{{"mqTable":{{{{"brokerName":"b","queueId":0,"topic":"t"}}:{{"commitOffset":3,"{name}":true}}}}}}"#
            );
            let info: ConsumerRunningInfo = from_slice(text.as_bytes()).unwrap();
            let (queue, state) = &info.mq_table.0[0];
            assert_eq!((queue.topic.as_str(), state.commit_offset, state.dropped), ("t", 3, true), "{name}");
        }
    }
}
