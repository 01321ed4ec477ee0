//! Clients that are connected to one broker.

use std::borrow::Cow;
use std::time::Duration;

use protocol::bodies::consumer_connection::{ConsumerConnection, ProducerConnection, ProducerTable};
use protocol::bodies::running_info::{ConsumeDirectlyResult, ConsumerRunningInfo};
use protocol::codes::{RequestCode, ResponseCode};
use protocol::lenient_json;
use protocol::requests::{ConsumeDirectly, ConsumerGroup, ProducerGroup, RunningInfoOf};

use super::Admin;
use crate::request::{NoFields, Request, RequestError};

/// Time that a request gets which the broker relays to a client; the broker gives the client ten seconds.
const RELAYED_TIMEOUT: Duration = Duration::from_secs(15);

impl Admin {
    /// Members of a consumer group (203); `None` when nobody is there.
    pub async fn consumers(&self, address: &str, group: &str) -> Result<Option<ConsumerConnection>, RequestError> {
        let header = ConsumerGroup { consumer_group: Cow::Borrowed(group) };
        match self.read(address, RequestCode::GET_CONSUMER_CONNECTION_LIST, &header).await {
            Ok(connection) => Ok(Some(connection)),
            Err(error) if error.code() == Some(ResponseCode::CONSUMER_NOT_ONLINE) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Members of a producer group (204); nobody there is an error.
    pub async fn producers(&self, address: &str, group: &str) -> Result<ProducerConnection, RequestError> {
        let header = ProducerGroup { producer_group: Cow::Borrowed(group) };
        self.read(address, RequestCode::GET_PRODUCER_CONNECTION_LIST, &header).await
    }

    /// All producers of a broker (328).
    pub async fn producer_table(&self, address: &str) -> Result<ProducerTable, RequestError> {
        self.read(address, RequestCode::GET_ALL_PRODUCER_INFO, &NoFields).await
    }

    /// What a member of a group tells about itself (307).
    pub async fn running_info(
        &self,
        address: &str,
        group: &str,
        client_id: &str,
        stacks: bool,
    ) -> Result<ConsumerRunningInfo, RequestError> {
        let header = RunningInfoOf {
            consumer_group: Cow::Borrowed(group),
            client_id: Cow::Borrowed(client_id),
            jstack_enable: stacks,
        };
        let channel = self.channel(address).await?;
        let request = Request::new(&channel, RequestCode::GET_CONSUMER_RUNNING_INFO).timeout(RELAYED_TIMEOUT);
        let answer = request.send(&header).await?;
        request.read_body(lenient_json::from_slice(&answer.body))
    }

    /// Makes a member of a group consume a message (309).
    pub async fn consume_directly(
        &self,
        address: &str,
        message: &ConsumeDirectly<'_>,
    ) -> Result<ConsumeDirectlyResult, RequestError> {
        let channel = self.channel(address).await?;
        let request = Request::new(&channel, RequestCode::CONSUME_MESSAGE_DIRECTLY).timeout(RELAYED_TIMEOUT);
        let answer = request.send(message).await?;
        request.read_body(lenient_json::from_slice(&answer.body))
    }
}
