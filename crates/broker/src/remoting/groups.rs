//! Consumer groups: requests 200, 201, 207, 208, 352.

use protocol::bodies::message_queue::MessageQueue;
use protocol::bodies::stats::{ConsumeOffset, ConsumeStats};
use protocol::bodies::subscription_group::{SubscriptionGroupConfig, SubscriptionGroupTable};
use protocol::codes::ResponseCode;
use protocol::lenient_json;
use protocol::requests::{DeleteSubscriptionGroup, GetConsumeStats, GetSubscriptionGroup};

use super::call::{Call, Refusal};
use crate::groups::{self, GroupSettings};
use crate::registration::wire_version;

pub fn create(call: &mut Call<'_>) -> Result<(), Refusal> {
    let body: SubscriptionGroupConfig = call.read_body()?;
    let settings = settings(body);
    groups::check_settings(&settings).map_err(|error| Refusal::new(ResponseCode::INVALID_PARAMETER, error))?;
    call.broker.groups.put(settings, call.broker.clock.now_ms());
    call.answer_when_saved();
    Ok(())
}

pub fn delete(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: DeleteSubscriptionGroup<'_> = call.read()?;
    call.broker.groups.remove(&header.group_name, call.broker.clock.now_ms());
    if header.clean_offset {
        call.broker.offsets.forget_group(&header.group_name);
    }
    call.answer_when_saved();
    Ok(())
}

pub fn all(call: &mut Call<'_>) -> Result<(), Refusal> {
    let groups = call.broker.groups.all();
    let table = SubscriptionGroupTable {
        data_version: wire_version(call.broker.groups.version()),
        subscription_group_table: groups.into_iter().map(|(name, group)| (name, wire_group(&group))).collect(),
        ..SubscriptionGroupTable::default()
    };
    call.answer_body(&lenient_json::to_vec(&table));
    Ok(())
}

pub fn one(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: GetSubscriptionGroup<'_> = call.read()?;
    let broker = call.broker;
    let Some(group) = broker.groups.get_or_create(&header.group, broker.clock.now_ms()) else {
        let remark = format!("subscription group `{}` does not exist", header.group);
        return Err(Refusal::new(ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST, remark));
    };
    call.answer_body(&lenient_json::to_vec(&wire_group(&group)));
    Ok(())
}

pub fn consume_stats(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: GetConsumeStats<'_> = call.read()?;
    let broker = call.broker;
    let wanted = header.topic.as_deref().filter(|topic| !topic.is_empty());
    let mut topics = broker.offsets.topics_of(&header.consumer_group);
    if let Some(group) = broker.membership().consumer_group(&header.consumer_group) {
        topics.extend(group.subscriptions.keys().cloned());
    }
    topics.retain(|topic| wanted.is_none_or(|wanted| wanted == topic));
    let mut stats = ConsumeStats::default();
    for name in topics {
        let Some(topic) = broker.topics.get(&name) else { continue };
        for queue_id in 0..topic.settings.read_queues {
            let offset = consume_offset(call, &header.consumer_group, &name, queue_id);
            let queue = MessageQueue { broker_name: broker.config.broker_name.clone(), queue_id, topic: name.clone() };
            stats.offset_table.0.push((queue, offset));
        }
    }
    call.answer_body(&lenient_json::to_vec(&stats));
    Ok(())
}

fn consume_offset(call: &Call<'_>, group: &str, topic: &str, queue_id: i32) -> ConsumeOffset {
    let broker = call.broker;
    let consumed = broker.offsets.get(group, topic, queue_id).unwrap_or(0).max(0);
    let mut offset =
        ConsumeOffset { broker_offset: 0, consumer_offset: consumed, last_timestamp: 0, pull_offset: consumed };
    if let Some(queue) = broker.log.find_queue(topic, queue_id as u32) {
        offset.broker_offset = broker.log.offsets(queue).max as i64;
        if consumed > 0 {
            let last = broker.log.store_time(queue, consumed as u64 - 1);
            offset.last_timestamp = last.ok().flatten().unwrap_or(0);
        }
    }
    offset
}

fn settings(body: SubscriptionGroupConfig) -> GroupSettings {
    GroupSettings {
        name: body.group_name,
        consume_enable: body.consume_enable,
        consume_broadcast_enable: body.consume_broadcast_enable,
        consume_from_min_enable: body.consume_from_min_enable,
        consume_message_orderly: body.consume_message_orderly,
        retry_queues: body.retry_queue_nums,
        retry_max_times: body.retry_max_times,
        broker_id: body.broker_id,
        which_broker_when_consume_slowly: body.which_broker_when_consume_slowly,
        notify_consumer_ids_changed_enable: body.notify_consumer_ids_changed_enable,
        sys_flag: body.group_sys_flag,
        consume_timeout_minutes: body.consume_timeout_minute,
    }
}

fn wire_group(group: &GroupSettings) -> SubscriptionGroupConfig {
    SubscriptionGroupConfig {
        broker_id: group.broker_id,
        consume_broadcast_enable: group.consume_broadcast_enable,
        consume_enable: group.consume_enable,
        consume_from_min_enable: group.consume_from_min_enable,
        consume_message_orderly: group.consume_message_orderly,
        consume_timeout_minute: group.consume_timeout_minutes,
        group_name: group.name.clone(),
        group_sys_flag: group.sys_flag,
        notify_consumer_ids_changed_enable: group.notify_consumer_ids_changed_enable,
        retry_max_times: group.retry_max_times,
        retry_queue_nums: group.retry_queues,
        which_broker_when_consume_slowly: group.which_broker_when_consume_slowly,
        ..SubscriptionGroupConfig::default()
    }
}
