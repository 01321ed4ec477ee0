//! Who is connected: requests 34, 35, 38, 41, 42, 46, 203, 204, 328.

use std::collections::BTreeMap;

use protocol::bodies::check_client::CheckClientConfig;
use protocol::bodies::consumer_connection::{
    Connection, ConsumerConnection, ProducerConnection, ProducerInfo, ProducerTable,
};
use protocol::bodies::consumer_list::ConsumerList;
use protocol::bodies::heartbeat::{
    ConsumeFromWhere, ConsumeType, ConsumerData, HeartbeatData, MessageModel, SubscriptionData,
};
use protocol::bodies::message_queue::MessageQueue;
use protocol::bodies::queue_lock::{LockedQueues, QueueLockRequest};
use protocol::codes::ResponseCode;
use protocol::lenient_json;
use protocol::requests::{ConsumerGroup, ProducerGroup, UnregisterClient};

use super::call::{Call, Refusal};
use crate::filter::{CompiledFilters, FilterKind};
use crate::membership::{Beat, Client, ConsumerBeat, Door, Subscription};
use crate::names;
use crate::pull::{self, PullError};
use crate::queue_locks::QueueName;
use crate::send_back;

/// Most consumer groups, and most producer groups, in one heartbeat. Each new one becomes a stored group and topic.
const GROUPS_MAX: usize = 1_000;
/// Longest id of a client, in bytes.
const CLIENT_ID_BYTES_MAX: usize = 255;

/// Why a request of a client is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum ClientError {
    #[error("the heartbeat names {found} {what} groups; the limit is {GROUPS_MAX}")]
    Groups {
        /// `consumer` or `producer`.
        what: &'static str,
        found: usize,
    },
    #[error("the client id is {found} bytes long; the limit is {CLIENT_ID_BYTES_MAX}")]
    ClientId { found: usize },
}

impl From<ClientError> for Refusal {
    fn from(error: ClientError) -> Refusal {
        Refusal::new(ResponseCode::SYSTEM_ERROR, error)
    }
}

fn check_heartbeat(data: &HeartbeatData) -> Result<(), ClientError> {
    check_client_id(&data.client_id)?;
    let counts = [("consumer", data.consumer_data_set.len()), ("producer", data.producer_data_set.len())];
    match counts.into_iter().find(|(_, found)| *found > GROUPS_MAX) {
        Some((what, found)) => Err(ClientError::Groups { what, found }),
        None => Ok(()),
    }
}

fn check_client_id(id: &str) -> Result<(), ClientError> {
    match id.len() {
        0..=CLIENT_ID_BYTES_MAX => Ok(()),
        found => Err(ClientError::ClientId { found }),
    }
}

pub fn heartbeat(call: &mut Call<'_>) -> Result<(), Refusal> {
    let data: HeartbeatData = call.read_body()?;
    check_heartbeat(&data)?;
    let broker = call.broker;
    let now_ms = broker.clock.now_ms();
    let mut consumers = Vec::new();
    for consumer in data.consumer_data_set {
        // A group that may not be created is skipped without a word, as upstream does.
        let Some(settings) = broker.groups.get_or_create(&consumer.group_name, now_ms) else { continue };
        send_back::ensure_retry_topic(broker, &consumer.group_name, settings.retry_queues);
        consumers.push(consumer_beat(&broker.filters, consumer));
    }
    let beat = Beat {
        client: Client {
            id: data.client_id,
            address: call.connection.peer(),
            language: call.header.language,
            version: call.header.version,
            door: Door::Remoting,
        },
        producer_groups: data
            .producer_data_set
            .into_iter()
            .map(|producer| producer.group_name)
            .filter(|group| names::check_group(group).is_ok())
            .collect(),
        consumers,
    };
    let effects = broker.membership().heartbeat(now_ms, call.connection.id(), beat);
    broker.carry_out(effects);
    // Light heartbeats leave subscriptions out; saying no keeps clients on the full form.
    call.answer(ResponseCode::SUCCESS)
        .boolean("IS_SUPPORT_HEART_BEAT_V2", false)
        .boolean("IS_SUB_CHANGE", true)
        .finish(b"");
    Ok(())
}

fn consumer_beat(filters: &CompiledFilters, consumer: ConsumerData) -> ConsumerBeat {
    ConsumerBeat {
        group: consumer.group_name,
        consume_type: consumer.consume_type.unwrap_or(ConsumeType::Passively),
        model: consumer.message_model.unwrap_or(MessageModel::Clustering),
        from_where: consumer.consume_from_where.unwrap_or(ConsumeFromWhere::LastOffset),
        subscriptions: Some(
            consumer
                .subscription_data_set
                .into_iter()
                .filter(|wanted| names::check_topic(&wanted.topic).is_ok())
                .map(|wanted| subscription(filters, &wanted))
                .collect(),
        ),
    }
}

fn subscription(filters: &CompiledFilters, wanted: &SubscriptionData) -> Subscription {
    Subscription::new(filters, &wanted.topic, &wanted.expression_type, &wanted.sub_string, wanted.sub_version)
}

pub fn unregister(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: UnregisterClient<'_> = call.read()?;
    let effects = call.broker.membership().unregister(
        call.connection.id(),
        header.producer_group.as_deref(),
        header.consumer_group.as_deref(),
    );
    call.broker.carry_out(effects);
    call.answer_done();
    Ok(())
}

pub fn consumer_list(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: ConsumerGroup<'_> = call.read()?;
    let ids: Vec<String> = call
        .broker
        .membership()
        .consumer_group(&header.consumer_group)
        .map(|group| group.clients().filter(|client| shares_queues(client)).map(|client| client.id.clone()).collect())
        .unwrap_or_default();
    if ids.is_empty() {
        let remark = format!("no consumer for this group, {}", header.consumer_group);
        return Err(Refusal::new(ResponseCode::SYSTEM_ERROR, remark));
    }
    call.answer_body(&lenient_json::to_vec(&ConsumerList { consumer_id_list: ids }));
    Ok(())
}

/// Remoting consumers divide the queues of a topic among those of this list. A gRPC client takes no queue for itself:
/// what was left to it would not be read.
fn shares_queues(client: &Client) -> bool {
    client.door == Door::Remoting
}

pub fn check_client(call: &mut Call<'_>) -> Result<(), Refusal> {
    let body: CheckClientConfig = call.read_body()?;
    let wanted = body.subscription_data;
    let kind = FilterKind::parse(&wanted.expression_type).map_err(PullError::Filter);
    let read = kind.and_then(|kind| pull::read_filter(call.broker, kind, &wanted.sub_string));
    read.map_err(|error| Refusal::new(error.code().0, error))?;
    call.answer_done();
    Ok(())
}

pub fn consumer_connections(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: ConsumerGroup<'_> = call.read()?;
    let membership = call.broker.membership();
    let Some(group) = membership.consumer_group(&header.consumer_group) else {
        let remark = format!("the consumer group[{}] not online", header.consumer_group);
        return Err(Refusal::new(ResponseCode::CONSUMER_NOT_ONLINE, remark));
    };
    let table: BTreeMap<String, SubscriptionData> =
        group.subscriptions.iter().map(|(topic, wanted)| (topic.clone(), wanted.to_wire())).collect();
    let body = ConsumerConnection {
        connection_set: group.clients().map(wire_connection).collect(),
        consume_from_where: Some(group.from_where),
        consume_type: Some(group.consume_type),
        message_model: Some(group.model),
        subscription_table: table,
    };
    drop(membership);
    call.answer_body(&lenient_json::to_vec(&body));
    Ok(())
}

pub fn producer_connections(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: ProducerGroup<'_> = call.read()?;
    let connections: Vec<Connection> =
        call.broker.membership().producers(&header.producer_group).map(wire_connection).collect();
    if connections.is_empty() {
        let remark = format!("the producer group[{}] not exist", header.producer_group);
        return Err(Refusal::new(ResponseCode::SYSTEM_ERROR, remark));
    }
    call.answer_body(&lenient_json::to_vec(&ProducerConnection { connection_set: connections }));
    Ok(())
}

pub fn all_producers(call: &mut Call<'_>) -> Result<(), Refusal> {
    let membership = call.broker.membership();
    let groups = membership.producer_groups().map(|(group, members)| {
        let members = members.map(|(client, heard_ms)| ProducerInfo {
            client_id: client.id.clone(),
            language: wire_language(client),
            last_update_timestamp: heard_ms,
            // As Java prints an address without a name.
            remote_ip: format!("/{}", client.address),
            version: client.version,
        });
        (group.to_owned(), members.collect())
    });
    let table = ProducerTable { data: groups.collect() };
    drop(membership);
    if table.data.is_empty() {
        return Err(Refusal::new(ResponseCode::SYSTEM_ERROR, "no producer is connected"));
    }
    call.answer_body(&lenient_json::to_vec(&table));
    Ok(())
}

fn wire_connection(client: &Client) -> Connection {
    Connection {
        client_addr: client.address.to_string(),
        client_id: client.id.clone(),
        language: wire_language(client),
        version: client.version,
    }
}

/// Java does not read a language that it does not know.
fn wire_language(client: &Client) -> String {
    client.language.name().unwrap_or("OTHER").to_owned()
}

pub fn lock_queues(call: &mut Call<'_>) -> Result<(), Refusal> {
    let body: QueueLockRequest = call.read_body()?;
    check_client_id(&body.client_id)?;
    let now_ms = call.broker.clock.now_ms();
    let queues = body.mq_set.into_iter().map(queue_name).collect();
    let held = call.broker.locks().lock(now_ms, &body.consumer_group, &body.client_id, queues);
    let held = held.into_iter().map(|queue| MessageQueue {
        broker_name: queue.broker,
        queue_id: queue.queue_id,
        topic: queue.topic,
    });
    call.answer_body(&lenient_json::to_vec(&LockedQueues { lock_ok_mq_set: held.collect() }));
    Ok(())
}

pub fn unlock_queues(call: &mut Call<'_>) -> Result<(), Refusal> {
    let body: QueueLockRequest = call.read_body()?;
    let queues: Vec<QueueName> = body.mq_set.into_iter().map(queue_name).collect();
    call.broker.locks().unlock(&body.consumer_group, &body.client_id, &queues);
    call.answer_done();
    Ok(())
}

fn queue_name(queue: MessageQueue) -> QueueName {
    QueueName { topic: queue.topic, broker: queue.broker_name, queue_id: queue.queue_id }
}

#[cfg(test)]
mod tests {
    use protocol::bodies::heartbeat::ProducerData;

    use super::*;

    #[test]
    fn a_heartbeat_with_too_many_groups_or_too_long_an_id_is_refused() {
        let beat = |id: usize, consumers: usize, producers: usize| {
            let mut data = HeartbeatData { client_id: "c".repeat(id), ..HeartbeatData::default() };
            data.consumer_data_set.resize_with(consumers, ConsumerData::default);
            data.producer_data_set.resize_with(producers, ProducerData::default);
            check_heartbeat(&data)
        };
        assert_eq!(beat(255, 1_000, 1_000), Ok(()));
        assert_eq!(beat(1, 1_001, 0), Err(ClientError::Groups { what: "consumer", found: 1_001 }));
        assert_eq!(beat(256, 0, 0), Err(ClientError::ClientId { found: 256 }));
        let error = beat(1, 1, 50_000).unwrap_err();
        assert_eq!(error.to_string(), "the heartbeat names 50000 producer groups; the limit is 1000");
    }
}
