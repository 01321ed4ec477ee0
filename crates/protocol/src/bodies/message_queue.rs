//! Which queue: topic, broker, number.
//!
//! Source: `common/.../message/MessageQueue.java`.

use crate::bodies::declare::bodies;

bodies! {
    /// A queue of a topic on a broker.
    #[derive(Eq, Hash, PartialOrd, Ord)]
    MessageQueue {
        /// Broker name.
        broker_name: String = "brokerName",
        /// Number of the queue.
        queue_id: i32 = "queueId",
        /// Topic.
        topic: String = "topic",
    }
}
