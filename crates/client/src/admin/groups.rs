//! Consumer groups and their offsets on one broker.

use std::borrow::Cow;

use protocol::bodies::assignment::RequestMode;
use protocol::bodies::stats::{ConsumeStats, ConsumeStatsList, ResetOffsets};
use protocol::bodies::subscription_group::{SubscriptionGroupConfig, SubscriptionGroupList, SubscriptionGroupTable};
use protocol::codes::RequestCode;
use protocol::lenient_json;
use protocol::requests::{
    DeleteSubscriptionGroup, GetBrokerConsumeStats, GetConsumeStats, ResetOffset, UpdateConsumerOffset,
};

use super::Admin;
use crate::request::{NoFields, RequestError};

impl Admin {
    /// All groups of a broker (201).
    pub async fn group_table(&self, address: &str) -> Result<SubscriptionGroupTable, RequestError> {
        self.read(address, RequestCode::GET_ALL_SUBSCRIPTIONGROUP_CONFIG, &NoFields).await
    }

    /// Creates or changes many groups on one broker (225).
    pub async fn put_groups(&self, address: &str, groups: Vec<SubscriptionGroupConfig>) -> Result<(), RequestError> {
        let body = lenient_json::to_vec(&SubscriptionGroupList { group_config_list: groups });
        self.ask(address, RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST, &NoFields, &body).await.map(|_| ())
    }

    /// Deletes a group on one broker (207), its offsets too if `clean_offset`.
    pub async fn delete_group_at(&self, address: &str, group: &str, clean_offset: bool) -> Result<(), RequestError> {
        let header = DeleteSubscriptionGroup { group_name: Cow::Borrowed(group), clean_offset };
        self.ask(address, RequestCode::DELETE_SUBSCRIPTIONGROUP, &header, b"").await.map(|_| ())
    }

    /// Says how a group gets the messages of a topic on one broker (401).
    pub async fn set_request_mode(&self, address: &str, mode: &RequestMode) -> Result<(), RequestError> {
        let body = lenient_json::to_vec(mode);
        self.ask(address, RequestCode::SET_MESSAGE_REQUEST_MODE, &NoFields, &body).await.map(|_| ())
    }

    /// How far a group is on one broker (208), in all topics or in one.
    pub async fn consume_stats(
        &self,
        address: &str,
        group: &str,
        topic: Option<&str>,
    ) -> Result<ConsumeStats, RequestError> {
        let header =
            GetConsumeStats { consumer_group: Cow::Borrowed(group), topic: topic.map(Cow::Borrowed), topic_list: None };
        self.read(address, RequestCode::GET_CONSUME_STATS, &header).await
    }

    /// How far all groups of a broker are (317).
    pub async fn broker_consume_stats(&self, address: &str, is_order: bool) -> Result<ConsumeStatsList, RequestError> {
        self.read(address, RequestCode::GET_BROKER_CONSUME_STATS, &GetBrokerConsumeStats { is_order }).await
    }

    /// Stores the offset of one queue (15).
    pub async fn store_offset(
        &self,
        address: &str,
        group: &str,
        topic: &str,
        queue_id: i32,
        offset: i64,
    ) -> Result<(), RequestError> {
        let header = UpdateConsumerOffset {
            consumer_group: Cow::Borrowed(group),
            topic: Cow::Borrowed(topic),
            queue_id,
            commit_offset: offset,
        };
        self.ask(address, RequestCode::UPDATE_CONSUMER_OFFSET, &header, b"").await.map(|_| ())
    }

    /// Moves a group (222); returns the new offsets.
    pub async fn reset_offset(&self, address: &str, reset: &ResetOffset<'_>) -> Result<ResetOffsets, RequestError> {
        self.read(address, RequestCode::INVOKE_BROKER_TO_RESET_OFFSET, reset).await
    }
}
