//! Locking queues for ordered consumption (LOCK_BATCH_MQ, 41; UNLOCK_BATCH_MQ, 42).
//!
//! Sources: `remoting/.../protocol/body/{LockBatchRequestBody,UnlockBatchRequestBody,LockBatchResponseBody}.java`.

use crate::bodies::declare::bodies;
use crate::bodies::message_queue::MessageQueue;

bodies! {
    /// Body of 41 and 42: who wants which queues.
    #[derive(Eq)]
    QueueLockRequest {
        /// Client id of the owner.
        client_id: String = "clientId",
        /// Consumer group; locks of different groups do not meet.
        consumer_group: String = "consumerGroup",
        /// The queues.
        mq_set: Vec<MessageQueue> = "mqSet",
        /// Whether the lock stays with this broker of a master and its slaves.
        only_this_broker: bool = "onlyThisBroker",
    }

    /// Answer of 41: the queues that the client owns now. The list is written even when empty, since a Java client
    /// crashes on `null`.
    #[derive(Eq)]
    LockedQueues {
        /// The queues, exactly as they were asked for.
        lock_ok_mq_set: Vec<MessageQueue> = "lockOKMQSet",
    }
}
