//! Who consumes: the members of a group, the groups of a topic.
//!
//! Sources: `remoting/.../protocol/header/GetConsumerListByGroupResponseBody.java`,
//! `remoting/.../protocol/body/{GroupList,QuerySubscriptionResponseBody}.java`.

use crate::bodies::declare::bodies;
use crate::bodies::heartbeat::SubscriptionData;

bodies! {
    /// Answer of GET_CONSUMER_LIST_BY_GROUP (38). Clients sort the ids before they share out the queues.
    #[derive(Eq)]
    ConsumerList {
        /// Client ids of the members, in any order.
        consumer_id_list: Vec<String> = "consumerIdList",
    }

    /// Answer of QUERY_TOPIC_CONSUME_BY_WHO (300).
    #[derive(Eq)]
    GroupList {
        /// Groups that subscribe to the topic or have offsets in it.
        group_list: Vec<String> = "groupList",
    }

    /// Answer of QUERY_SUBSCRIPTION_BY_CONSUMER (345).
    TopicSubscription {
        /// Group.
        group: String = "group",
        /// What it subscribes to, if somebody of it is connected.
        subscription_data: Option<SubscriptionData> = "subscriptionData",
        /// Topic.
        topic: String = "topic",
    }
}
