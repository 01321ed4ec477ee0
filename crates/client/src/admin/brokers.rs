//! State and chores of one broker.

use std::borrow::Cow;

use protocol::bodies::cold_data::ColdDataFlow;
use protocol::bodies::lite::BrokerLiteInfo;
use protocol::bodies::replication::ReplicationStatus;
use protocol::bodies::stats::BrokerStatsData;
use protocol::codes::RequestCode;
use protocol::requests::ViewBrokerStats;
use protocol::requests::tools::ReadAheadMode;

use super::Admin;
use crate::request::{NoFields, RequestError};

impl Admin {
    /// A counter (315), such as `TOPIC_PUT_NUMS` of a topic or `GROUP_GET_NUMS` of `topic@group`.
    pub async fn stats_data(&self, address: &str, name: &str, key: &str) -> Result<BrokerStatsData, RequestError> {
        let header = ViewBrokerStats { stats_name: Cow::Borrowed(name), stats_key: Cow::Borrowed(key) };
        self.read(address, RequestCode::VIEW_BROKER_STATS_DATA, &header).await
    }

    /// Replication (907).
    pub async fn ha_status(&self, address: &str) -> Result<ReplicationStatus, RequestError> {
        self.read(address, RequestCode::GET_BROKER_HA_STATUS, &NoFields).await
    }

    /// Light queues (200074).
    pub async fn lite_info(&self, address: &str) -> Result<BrokerLiteInfo, RequestError> {
        self.read(address, RequestCode::GET_BROKER_LITE_INFO, &NoFields).await
    }

    /// Has a chore done that needs no arguments: 306, 316, 329.
    pub async fn chore(&self, address: &str, code: RequestCode) -> Result<(), RequestError> {
        self.ask(address, code, &NoFields, b"").await.map(|_| ())
    }

    /// Reads of old messages, and how they are held back (2003).
    pub async fn cold_reads(&self, address: &str) -> Result<ColdDataFlow, RequestError> {
        self.read(address, RequestCode::GET_COLD_DATA_FLOW_CTR_INFO, &NoFields).await
    }

    /// Limits a group's reads of old messages to so many bytes (2001).
    pub async fn limit_cold_reads(&self, address: &str, group: &str, bytes: i64) -> Result<(), RequestError> {
        let body = format!("{group}={bytes}\n");
        self.ask(address, RequestCode::UPDATE_COLD_DATA_FLOW_CTR_CONFIG, &NoFields, body.as_bytes()).await.map(|_| ())
    }

    /// Takes the limit away (2002).
    pub async fn unlimit_cold_reads(&self, address: &str, group: &str) -> Result<(), RequestError> {
        self.ask(address, RequestCode::REMOVE_COLD_DATA_FLOW_CTR_CONFIG, &NoFields, group.as_bytes()).await.map(|_| ())
    }

    /// How the commit log is read ahead (2004): 0 normal, 1 random. Returns what the broker says about it.
    pub async fn set_read_ahead(&self, address: &str, mode: i32) -> Result<String, RequestError> {
        let answer = self.ask(address, RequestCode::SET_COMMITLOG_READ_MODE, &ReadAheadMode { mode }, b"").await?;
        Ok(answer.remark.unwrap_or_default())
    }
}
