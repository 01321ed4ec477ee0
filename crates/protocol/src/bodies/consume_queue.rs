//! What the index of a queue holds.
//!
//! Sources: `remoting/.../protocol/body/{QueryConsumeQueueResponseBody,ConsumeQueueData}.java`.

use crate::bodies::declare::bodies;
use crate::bodies::heartbeat::SubscriptionData;

bodies! {
    /// Answer of QUERY_CONSUME_QUEUE (321).
    ConsumeQueueView {
        /// What the filter of the group is made of, as text; `null` as text for tags.
        filter_data: Option<String> = "filterData",
        /// Offset after the last message.
        max_queue_index: i64 = "maxQueueIndex",
        /// Offset of the first message.
        min_queue_index: i64 = "minQueueIndex",
        /// The entries.
        queue_data: Vec<ConsumeQueueEntry> = "queueData",
        /// What the group subscribes to.
        subscription_data: Option<SubscriptionData> = "subscriptionData",
    }

    /// One message in the index of a queue.
    #[derive(Eq)]
    ConsumeQueueEntry {
        /// Bits of the filters that want it, of brokers that compute them ahead.
        bit_map: Option<String> = "bitMap",
        /// Whether the filter of the group lets it through; `false` where no group was named.
        eval: bool = "eval",
        /// What such brokers keep beside the entry.
        extend_data_json: Option<String> = "extendDataJson",
        /// What is wrong with it.
        msg: Option<String> = "msg",
        /// Position in the commit log.
        physic_offset: i64 = "physicOffset",
        /// Bytes of the record.
        physic_size: i32 = "physicSize",
        /// Hash of its tag.
        tags_code: i64 = "tagsCode",
    }
}
