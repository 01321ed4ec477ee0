//! Which queues a client consumes, and how: bodies of QUERY_ASSIGNMENT (400), SET_MESSAGE_REQUEST_MODE (401) and
//! GET_ALL_MESSAGE_REQUEST_MODE (402).
//!
//! Source: `remoting/.../protocol/body/{QueryAssignment*,SetMessageRequestMode*,MessageRequestMode*}.java`.

use std::collections::BTreeMap;

use super::declare::bodies;
use super::message_queue::MessageQueue;

/// Push consumers pull.
pub const PULL: &str = "PULL";
/// Push consumers pop.
pub const POP: &str = "POP";

bodies! {
    /// Body of 400.
    QueryAssignment {
        /// Who asks.
        client_id: String = "clientId",
        /// Its group.
        consumer_group: String = "consumerGroup",
        /// `CLUSTERING` or `BROADCASTING`.
        message_model: String = "messageModel",
        /// `AVG` or `AVG_BY_CIRCLE`.
        strategy_name: String = "strategyName",
        /// Topic.
        topic: String = "topic",
    }

    /// Answer of 400.
    Assignments {
        /// The queues. Nothing at all, in place of an empty list, says that the request makes no sense.
        message_queue_assignments: Option<Vec<Assignment>> = "messageQueueAssignments",
    }

    /// One queue.
    Assignment {
        /// The queue; number -1 means any of the broker.
        message_queue: MessageQueue = "messageQueue",
        /// [`PULL`] or [`POP`].
        mode: String = "mode",
    }

    /// Body of 401.
    RequestMode {
        /// Group.
        consumer_group: String = "consumerGroup",
        /// [`PULL`] or [`POP`].
        mode: String = "mode",
        /// With how many other members a queue is shared that is popped.
        pop_share_queue_num: i32 = "popShareQueueNum",
        /// Topic.
        topic: String = "topic",
    }

    /// Answer of 402: by topic, then by group.
    RequestModeTable {
        /// The modes.
        message_request_mode_map: BTreeMap<String, BTreeMap<String, RequestMode>> = "messageRequestModeMap",
    }
}
