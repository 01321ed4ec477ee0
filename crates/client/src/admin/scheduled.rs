//! Messages that wait for their time on one broker.

use std::borrow::Cow;

use protocol::bodies::replication::TimerMetrics;
use protocol::codes::RequestCode;
use protocol::requests::RecallMessage;

use super::Admin;
use crate::request::{NoFields, RequestError};

impl Admin {
    /// How many messages wait, by topic (61).
    pub async fn timer_metrics(&self, address: &str) -> Result<TimerMetrics, RequestError> {
        self.read(address, RequestCode::GET_TIMER_METRICS, &NoFields).await
    }

    /// Takes a message back before its time (370); the handle is what the answer to its send said.
    pub async fn recall(&self, address: &str, topic: &str, handle: &str) -> Result<(), RequestError> {
        let header =
            RecallMessage { producer_group: None, topic: Cow::Borrowed(topic), recall_handle: Cow::Borrowed(handle) };
        self.ask(address, RequestCode::RECALL_MESSAGE, &header, b"").await.map(|_| ())
    }
}
