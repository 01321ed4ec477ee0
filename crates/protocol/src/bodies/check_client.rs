//! Asking whether a subscription would work (CHECK_CLIENT_CONFIG, 46).
//!
//! Source: `remoting/.../protocol/body/CheckClientRequestBody.java`.

use crate::bodies::declare::bodies;
use crate::bodies::heartbeat::SubscriptionData;

bodies! {
    /// Body of 46, sent by Java consumers at start for every subscription that is no tag filter.
    #[derive(Eq)]
    CheckClientConfig {
        /// Client id.
        client_id: String = "clientId",
        /// Consumer group.
        group: String = "group",
        /// Namespace of the client.
        namespace: Option<String> = "namespace",
        /// The subscription to check.
        subscription_data: SubscriptionData = "subscriptionData",
    }
}
