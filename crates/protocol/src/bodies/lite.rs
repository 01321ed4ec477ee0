//! Lite topics (5.5.0).
//!
//! Source: `remoting/.../protocol/body/GetBrokerLiteInfoResponseBody.java`.

use std::collections::BTreeMap;

use crate::bodies::declare::bodies;

bodies! {
    /// Answer of GET_BROKER_LITE_INFO (200074).
    #[derive(Eq)]
    BrokerLiteInfo {
        /// Queues that have an index.
        cq_table_size: i32 = "cqTableSize",
        /// Light queues there are.
        current_lmq_num: i32 = "currentLmqNum",
        /// Clients with something to be told.
        event_map_size: i32 = "eventMapSize",
        /// Groups by the topic that their lite topics belong to.
        group_meta: BTreeMap<String, Vec<String>> = "groupMeta",
        /// Subscriptions to lite topics.
        lite_subscription_count: i32 = "liteSubscriptionCount",
        /// Most light queues there may be.
        max_lmq_num: i32 = "maxLmqNum",
        /// Topics of groups that have offsets.
        offset_table_size: i32 = "offsetTableSize",
        /// Lite topics that are consumed in order.
        order_info_count: i32 = "orderInfoCount",
        /// Kind of store.
        store_type: String = "storeType",
        /// Minutes that lite topics live, by the topic that they belong to.
        topic_meta: BTreeMap<String, i32> = "topicMeta",
    }
}
