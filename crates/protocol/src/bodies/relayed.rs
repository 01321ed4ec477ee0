//! What clients say when a broker asks them.
//!
//! Sources: `remoting/.../protocol/body/{ConsumerRunningInfo,ConsumeMessageDirectlyResult,GetConsumerStatusBody}.java`.
//! Answers of remoting clients to 307 and 309 are passed on as they are: the Go client writes a text of its own there.

use std::collections::BTreeMap;

use crate::bodies::declare::{bodies, names};
use crate::bodies::heartbeat::SubscriptionData;
use crate::bodies::queue_map::QueueMap;

bodies! {
    /// Answer to GET_CONSUMER_STATUS_FROM_CLIENT (221).
    #[derive(Eq)]
    ConsumerStatus {
        /// Offset up to which the client has consumed each of its queues.
        message_queue_table: QueueMap<i64> = "messageQueueTable",
    }

    /// Answer to INVOKE_BROKER_TO_GET_CONSUMER_STATUS (223).
    #[derive(Eq)]
    ConsumerStatusTable {
        /// Offsets by queue, by client id.
        consumer_table: BTreeMap<String, QueueMap<i64>> = "consumerTable",
    }

    /// Answer to GET_CONSUMER_RUNNING_INFO (307), as far as a broker can give it for a gRPC client.
    #[derive(Eq)]
    ConsumerRunningInfo {
        /// Stacks of the client's threads.
        jstack: Option<String> = "jstack",
        /// Queues that the client pops.
        mq_pop_table: QueueMap<i64> = "mqPopTable",
        /// Queues that the client pulls.
        mq_table: QueueMap<i64> = "mqTable",
        /// What kind of client it is; names begin with `PROP_`.
        properties: BTreeMap<String, String> = "properties",
        /// Speed, by topic.
        status_table: BTreeMap<String, i64> = "statusTable",
        /// What it subscribes to.
        subscription_set: Vec<SubscriptionData> = "subscriptionSet",
    }

    /// Answer to CONSUME_MESSAGE_DIRECTLY (309).
    #[derive(Eq)]
    ConsumeDirectlyResult {
        /// Whether the client says itself how far it has come.
        auto_commit: bool = "autoCommit" or true,
        /// What came of it.
        consume_result: Option<ConsumeResult> = "consumeResult",
        /// Whether the client consumes in order.
        order: bool = "order",
        /// What went wrong.
        remark: Option<String> = "remark",
        /// How long it took, in milliseconds.
        spent_time_millis: i64 = "spentTimeMills",
    }
}

names! {
    /// What came of a message that was to be consumed (`CMResult`).
    ConsumeResult {
        /// It was consumed.
        Success = "CR_SUCCESS",
        /// It is to come again later.
        Later = "CR_LATER",
        /// It was rolled back.
        Rollback = "CR_ROLLBACK",
        /// It was committed.
        Commit = "CR_COMMIT",
        /// The consumer failed.
        ThrowException = "CR_THROW_EXCEPTION",
        /// The consumer did not say.
        ReturnNull = "CR_RETURN_NULL",
    }
}
