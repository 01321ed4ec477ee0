//! Brokers say who they are, that they live, and that they go.

use std::sync::Arc;

use protocol::bodies::cluster::BrokerMemberGroupBody;
use protocol::bodies::data_version::DataVersion;
use protocol::bodies::kv::ORDER_TOPIC_CONFIG;
use protocol::bodies::registration::{RegisterBrokerBody, body_crc32};
use protocol::bodies::topic_config::TopicConfig;
use protocol::lenient_json;
use protocol::requests::{BrokerHeartbeat, BrokerIdentity, GetBrokerMemberGroup, RegisterBroker};
use protocol::typed::TypedHeader;

use super::answer::{Answer, AnswerFields};
use super::{Call, Nameserver, Refusal, State};
use crate::effect::{Change, Effect, one_line};
use crate::horizon::Origin;
use crate::liveness::BrokerKey;
use crate::names::{self, NameError};
use crate::routes::{Queues, Registration};

/// Shortest and longest silence that a broker may ask for, in milliseconds.
const SILENCE_RANGE_MS: std::ops::RangeInclusive<i64> = 1_000..=24 * 60 * 60 * 1_000;

impl Nameserver {
    pub(super) fn register_broker(&self, call: Call<'_>, effects: &mut Vec<Effect>) -> Result<Answer, Refusal> {
        let header = RegisterBroker::decode(&call.header.fields)?;
        let registered = self.register(&header, call, effects);
        if let Err(refusal) = &registered {
            effects.push(Effect::Log(Change::RegistrationRefused {
                broker: one_line(&header.broker_name),
                address: one_line(&header.broker_addr),
                reason: one_line(&refusal.to_string()),
            }));
        }
        registered
    }

    fn register(
        &self,
        header: &RegisterBroker<'_>,
        call: Call<'_>,
        effects: &mut Vec<Effect>,
    ) -> Result<Answer, Refusal> {
        let crc = body_crc32(call.body);
        if header.body_crc32 != 0 && header.body_crc32 != crc {
            return Err(Refusal::Crc { header: header.body_crc32, body: crc });
        }
        let registration = self.registration(header, call, RegisterBrokerBody::decode(call.body)?)?;
        let State { routes, kv, settings, .. } = &mut *self.state();
        let registered =
            routes.register(call.arrival.now_ms, call.arrival.connection, registration, settings, effects)?;
        let order = settings.order_to_brokers.then(|| kv.namespace(ORDER_TOPIC_CONFIG)).flatten();
        Ok(Answer { fields: AnswerFields::Registered(registered), body: order.map(Into::into) })
    }

    /// Checks what a broker says. One bad name of its own refuses the broker; a bad topic only that topic.
    fn registration(
        &self,
        header: &RegisterBroker<'_>,
        call: Call<'_>,
        body: RegisterBrokerBody,
    ) -> Result<Registration, Refusal> {
        names::check_name("broker name", &header.broker_name).map_err(Refusal::Name)?;
        names::check_name("cluster name", &header.cluster_name).map_err(Refusal::Name)?;
        names::check_address(&header.broker_addr).map_err(Refusal::Name)?;
        if header.broker_id < 0 {
            return Err(Refusal::BrokerId(header.broker_id));
        }
        let zone = header.zone_name.as_deref().map(str::trim).filter(|zone| !zone.is_empty());
        zone.map_or(Ok(()), |zone| names::check_name("zone", zone)).map_err(Refusal::Name)?;
        let silence = header.heartbeat_timeout_millis.filter(|silence| *silence > 0);
        let silence = silence.map(|silence| silence.clamp(*SILENCE_RANGE_MS.start(), *SILENCE_RANGE_MS.end()) as u64);
        let mut topics = Vec::with_capacity(body.topics.topic_config_table.len());
        let (mut refused, mut first_refused) = (0, None);
        for (key, topic) in body.topics.topic_config_table {
            match usable(key, &topic) {
                Ok(topic) => topics.push(topic),
                Err(error) => {
                    refused += 1;
                    first_refused.get_or_insert_with(|| one_line(&error.to_string()));
                }
            }
        }
        Ok(Registration {
            key: BrokerKey::new(&header.cluster_name, &header.broker_addr),
            broker: Arc::from(&*header.broker_name),
            id: header.broker_id,
            origin: Origin { peer: call.arrival.reader.peer, by_default: header.address_is_default },
            ha_address: usable_address(header.ha_server_addr.as_deref()),
            zone: zone.map(Arc::from),
            acting_master: header.enable_acting_master,
            silence_max_ms: silence.unwrap_or(self.fixed.silence_max_ms),
            version: body.topics.data_version,
            topics,
            refused,
            first_refused,
        })
    }

    pub(super) fn heartbeat(&self, call: Call<'_>) -> Result<Answer, Refusal> {
        let header = BrokerHeartbeat::decode(&call.header.fields)?;
        let key = BrokerKey::new(&header.cluster_name, &header.broker_addr);
        self.state().routes.heartbeat(call.arrival.now_ms, &key);
        Ok(Answer::default())
    }

    pub(super) fn query_data_version(&self, call: Call<'_>) -> Result<Answer, Refusal> {
        let header = BrokerIdentity::decode(&call.header.fields)?;
        let asked: DataVersion = lenient_json::from_slice(call.body)?;
        let key = BrokerKey::new(&header.cluster_name, &header.broker_addr);
        let known = self.state().routes.version(call.arrival.now_ms, &key);
        let fields = AnswerFields::VersionChanged(known != Some(asked));
        Ok(Answer { fields, body: known.map(|version| lenient_json::to_vec(&version).into()) })
    }

    pub(super) fn unregister_broker(&self, call: Call<'_>, effects: &mut Vec<Effect>) -> Result<Answer, Refusal> {
        let header = BrokerIdentity::decode(&call.header.fields)?;
        let key = BrokerKey::new(&header.cluster_name, &header.broker_addr);
        let State { routes, settings, .. } = &mut *self.state();
        routes.unregister(&key, &header.broker_name, settings, effects);
        Ok(Answer::default())
    }

    pub(super) fn cluster_info(&self, call: Call<'_>) -> Answer {
        let state = &mut *self.state();
        let seen = state.seen_by(call.arrival.reader);
        Answer::body(state.routes.cluster_info(&seen))
    }

    pub(super) fn member_group(&self, call: Call<'_>) -> Result<Answer, Refusal> {
        let header = GetBrokerMemberGroup::decode(&call.header.fields)?;
        let state = self.state();
        let seen = state.seen_by(call.arrival.reader);
        let group = state.routes.member_group(&header.cluster_name, &header.broker_name, &seen);
        Ok(Answer::body(lenient_json::to_vec(&BrokerMemberGroupBody { broker_member_group: group })))
    }
}

/// Why a topic of a registration is left out.
#[derive(Debug, thiserror::Error)]
pub(super) enum TopicError {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("topic `{topic}` has {queues} queues; the limits are 0 and {limit}", limit = names::QUEUES_MAX)]
    Queues { topic: String, queues: i32 },
}

/// The name and queues of a registered topic, if clients can use them.
fn usable(key: String, topic: &TopicConfig) -> Result<(String, Queues), TopicError> {
    let name = if topic.topic_name.is_empty() { key } else { topic.topic_name.clone() };
    let queues = Queues {
        read: topic.read_queue_nums,
        write: topic.write_queue_nums,
        perm: topic.perm,
        sys_flag: topic.topic_sys_flag,
    };
    check_topic(&name, &queues)?;
    Ok((name, queues))
}

pub(super) fn check_topic(name: &str, queues: &Queues) -> Result<(), TopicError> {
    names::check_topic(name)?;
    let wrong = [queues.read, queues.write].into_iter().find(|queues| !(0..=names::QUEUES_MAX).contains(queues));
    match wrong {
        Some(queues) => Err(TopicError::Queues { topic: name.into(), queues }),
        None => Ok(()),
    }
}

/// Only slaves of our time dial it; a master without it can still be read.
fn usable_address(address: Option<&str>) -> Option<Arc<str>> {
    address.filter(|address| names::check_address(address).is_ok()).map(Arc::from)
}
