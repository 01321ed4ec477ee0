//! Who is connected to a broker.
//!
//! Sources: `remoting/.../protocol/body/{Connection,ConsumerConnection,ProducerConnection}.java`,
//! `ProducerTableInfo.java`, `ProducerInfo.java`.

use std::collections::BTreeMap;

use crate::bodies::declare::bodies;
use crate::bodies::heartbeat::{ConsumeFromWhere, ConsumeType, MessageModel, SubscriptionData};

bodies! {
    /// Answer of GET_CONSUMER_CONNECTION_LIST (203).
    ConsumerConnection {
        /// Members of the group.
        connection_set: Vec<Connection> = "connectionSet",
        /// Where a queue without a stored offset begins.
        consume_from_where: Option<ConsumeFromWhere> = "consumeFromWhere",
        /// How the group gets its messages.
        consume_type: Option<ConsumeType> = "consumeType",
        /// Whether members share the messages.
        message_model: Option<MessageModel> = "messageModel",
        /// What the group subscribes to, by topic.
        subscription_table: BTreeMap<String, SubscriptionData> = "subscriptionTable",
    }

    /// Answer of GET_PRODUCER_CONNECTION_LIST (204).
    #[derive(Eq)]
    ProducerConnection {
        /// Members of the group.
        connection_set: Vec<Connection> = "connectionSet",
    }

    /// One connected client.
    #[derive(Eq)]
    Connection {
        /// Address of the peer, `ip:port`.
        client_addr: String = "clientAddr",
        /// Client id.
        client_id: String = "clientId",
        /// Upstream name of its language ([`crate::codes::Language`]). Java refuses others.
        language: String = "language",
        /// Ordinal of its version.
        version: i32 = "version",
    }

    /// Answer of GET_ALL_PRODUCER_INFO (328).
    #[derive(Eq)]
    ProducerTable {
        /// Members by group.
        data: BTreeMap<String, Vec<ProducerInfo>> = "data",
    }

    /// One connected producer.
    #[derive(Eq)]
    ProducerInfo {
        /// Client id.
        client_id: String = "clientId",
        /// Upstream name of its language.
        language: String = "language",
        /// Last heartbeat, in milliseconds since 1970.
        last_update_timestamp: i64 = "lastUpdateTimestamp",
        /// Address of the peer, `/ip:port`.
        remote_ip: String = "remoteIP",
        /// Ordinal of its version.
        version: i32 = "version",
    }
}
