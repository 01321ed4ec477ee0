//! Being a member of a consumer group: heartbeats, and leaving.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use protocol::bodies::heartbeat::{
    ConsumeFromWhere, ConsumeType, ConsumerData, HeartbeatData, MessageModel, SubscriptionData,
};
use protocol::codes::RequestCode;
use protocol::lenient_json;
use protocol::record::java_string_hash;
use protocol::requests::UnregisterClient;

use super::{Shared, StartFrom};
use crate::clock;
use crate::request::{NoFields, Request, RequestError};
use crate::route::QueueAt;

/// Time that a broker gets to hear that we leave.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// One member.
#[derive(Debug)]
pub(super) struct Member {
    shared: Arc<Shared>,
    client_id: String,
    brokers: BTreeSet<String>,
    heartbeat: Vec<u8>,
}

/// Tags of an expression; none wants everything.
pub(super) fn tags(expression: &str) -> Vec<&str> {
    if expression.trim() == "*" {
        return Vec::new();
    }
    expression.split("||").map(str::trim).filter(|tag| !tag.is_empty()).collect()
}

impl Member {
    /// A member of the options' group; `None` when they have none.
    pub(super) fn new(shared: Arc<Shared>, queues: &[QueueAt]) -> Option<Member> {
        let options = &shared.options;
        let group = options.group.clone()?;
        let now_ms = clock::now_ms();
        let client_id = format!("apogee@{}#{now_ms}", std::process::id());
        let tags = tags(&options.tags);
        let subscription = SubscriptionData {
            code_set: tags.iter().map(|tag| java_string_hash(tag)).collect(),
            sub_string: options.tags.clone(),
            sub_version: now_ms,
            tags_set: tags.into_iter().map(str::to_owned).collect(),
            topic: options.topic.clone(),
            ..SubscriptionData::default()
        };
        let consumer = ConsumerData {
            consume_from_where: Some(match options.start {
                StartFrom::First => ConsumeFromWhere::FirstOffset,
                StartFrom::Last => ConsumeFromWhere::LastOffset,
            }),
            consume_type: Some(ConsumeType::Actively),
            group_name: group,
            message_model: Some(MessageModel::Clustering),
            subscription_data_set: vec![subscription],
            unit_mode: false,
        };
        let heartbeat = HeartbeatData {
            client_id: client_id.clone(),
            consumer_data_set: vec![consumer],
            ..HeartbeatData::default()
        };
        Some(Member {
            brokers: queues.iter().map(|queue| queue.address.clone()).collect(),
            heartbeat: lenient_json::to_vec(&heartbeat),
            shared,
            client_id,
        })
    }

    /// Heartbeats go to the broker of this queue too.
    pub(super) fn meet(&mut self, queue: &QueueAt) {
        self.brokers.insert(queue.address.clone());
    }

    /// Tells every broker (34); the first failure counts.
    pub(super) async fn heartbeat(&self) -> Result<(), RequestError> {
        let mut outcome = Ok(());
        for address in &self.brokers {
            let told = async {
                let channel = self.shared.nameservers.connections().get(address).await?;
                Request::new(&channel, RequestCode::HEART_BEAT).body(&self.heartbeat).send(&NoFields).await
            };
            outcome = outcome.and(told.await.map(|_| ()));
        }
        outcome
    }

    /// Takes leave of every broker (35). They would notice by themselves, later.
    pub(super) async fn leave(self) {
        let header = UnregisterClient {
            client_id: Cow::Borrowed(&self.client_id),
            producer_group: None,
            consumer_group: self.shared.options.group.as_deref().map(Cow::Borrowed),
        };
        for address in &self.brokers {
            let told = async {
                let channel = self.shared.nameservers.connections().get(address).await?;
                let request = Request::new(&channel, RequestCode::UNREGISTER_CLIENT).timeout(LEAVE_TIMEOUT);
                request.send(&header).await
            };
            if let Err(error) = told.await {
                tracing::debug!(%error, "leaving the group");
            }
        }
    }
}
