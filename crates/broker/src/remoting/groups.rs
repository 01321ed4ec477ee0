//! Settings of consumer groups: requests 200, 201, 207, 225, 352, 353.

use std::collections::{BTreeMap, BTreeSet};

use protocol::bodies::subscription_group::{
    GroupForbidden, SubscriptionGroupConfig, SubscriptionGroupList, SubscriptionGroupTable,
};
use protocol::codes::ResponseCode;
use protocol::lenient_json;
use protocol::requests::{DeleteSubscriptionGroup, GetSubscriptionGroup, GroupMayRead};

use super::call::{Call, Refusal};
use crate::broker::Broker;
use crate::creation_times::Creation;
use crate::groups::{self, GroupError, GroupSettings};
use crate::names;
use crate::registration::wire_version;

/// The bit that stands for a topic that may not be read, where a table of such bits is asked for.
const NO_READING: i32 = 1 << 2;

pub fn create(call: &mut Call<'_>) -> Result<(), Refusal> {
    let wanted: SubscriptionGroupConfig = call.read_body()?;
    let creation = begin(call, [&*wanted.group_name]);
    let settings = check(call.broker, wanted)?;
    call.broker.groups.put(settings, call.broker.clock.now_ms());
    call.answer_when_created(creation);
    Ok(())
}

/// All of them, or none.
pub fn create_many(call: &mut Call<'_>) -> Result<(), Refusal> {
    let body: SubscriptionGroupList = call.read_body()?;
    let creation = begin(call, body.group_config_list.iter().map(|wanted| &*wanted.group_name));
    let checked = body.group_config_list.into_iter().map(|wanted| check(call.broker, wanted));
    let checked: Vec<GroupSettings> = checked.collect::<Result<_, Refusal>>()?;
    for settings in checked {
        call.broker.groups.put(settings, call.broker.clock.now_ms());
    }
    call.answer_when_created(creation);
    Ok(())
}

/// From here on it counts how long it takes to create these groups, and whether it succeeds.
fn begin<'n>(call: &Call<'_>, names: impl IntoIterator<Item = &'n str>) -> Creation {
    let is_system = names.into_iter().any(names::is_system_group);
    Creation::new(&call.broker.counters.group_creations, call.since, is_system)
}

/// Checks what an operator wants of a group, and completes it with the attributes and bans that the
/// group has.
fn check(broker: &Broker, wanted: SubscriptionGroupConfig) -> Result<GroupSettings, Refusal> {
    let refused = |error: GroupError| {
        let code = match error {
            GroupError::Attribute(_) => ResponseCode::SYSTEM_ERROR,
            _ => ResponseCode::INVALID_PARAMETER,
        };
        Refusal::new(code, error)
    };
    let known = broker.groups.get(&wanted.group_name);
    let (mut attributes, forbidden_topics) =
        known.map(|group| (group.attributes.clone(), group.forbidden_topics.clone())).unwrap_or_default();
    groups::change_attributes(&mut attributes, wanted.attributes.clone()).map_err(refused)?;
    let settings = GroupSettings { attributes, forbidden_topics, ..settings(wanted) };
    groups::check_settings(&settings).map_err(refused)?;
    Ok(settings)
}

pub fn delete(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: DeleteSubscriptionGroup<'_> = call.read()?;
    call.broker.groups.remove(&header.group_name, call.broker.clock.now_ms());
    if header.clean_offset {
        call.broker.forget_consumption_of_group(&header.group_name);
    }
    call.answer_when_saved();
    Ok(())
}

pub fn all(call: &mut Call<'_>) -> Result<(), Refusal> {
    let groups = call.broker.groups.all();
    let forbidden = groups.iter().filter(|(_, group)| !group.forbidden_topics.is_empty());
    let bits = |group: &GroupSettings| group.forbidden_topics.iter().map(|topic| (topic.clone(), NO_READING)).collect();
    let table = SubscriptionGroupTable {
        forbidden_table: forbidden.map(|(name, group)| (name.clone(), bits(group))).collect::<BTreeMap<_, _>>(),
        data_version: wire_version(call.broker.groups.version()),
        subscription_group_table: groups.into_iter().map(|(name, group)| (name, wire_group(&group))).collect(),
    };
    call.answer_body(&lenient_json::to_vec(&table));
    Ok(())
}

pub fn one(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: GetSubscriptionGroup<'_> = call.read()?;
    let broker = call.broker;
    let Some(group) = broker.groups.get_or_create(&header.group, broker.clock.now_ms()) else {
        return Err(no_such_group(&header.group));
    };
    call.answer_body(&lenient_json::to_vec(&wire_group(&group)));
    Ok(())
}

/// Forbids a group to read a topic, or allows it again, and tells which it is.
pub fn may_read(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: GroupMayRead<'_> = call.read()?;
    let (broker, now_ms) = (call.broker, call.broker.clock.now_ms());
    if broker.groups.get_or_create(&header.group, now_ms).is_none() {
        return Err(no_such_group(&header.group));
    }
    if let Some(readable) = header.readable {
        broker.groups.allow_reading(&header.group, &header.topic, readable, now_ms);
    }
    let group = broker.groups.get(&header.group).ok_or_else(|| no_such_group(&header.group))?;
    let readable = !group.forbidden_topics.contains(&*header.topic);
    let body = GroupForbidden { group: header.group.into_owned(), readable, topic: header.topic.into_owned() };
    call.answer_body(&lenient_json::to_vec(&body));
    Ok(())
}

fn no_such_group(group: &str) -> Refusal {
    let remark = format!("subscription group `{group}` does not exist");
    Refusal::new(ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST, remark)
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
        retry_policy: body.group_retry_policy,
        attributes: body.attributes,
        forbidden_topics: BTreeSet::new(),
    }
}

fn wire_group(group: &GroupSettings) -> SubscriptionGroupConfig {
    SubscriptionGroupConfig {
        broker_id: group.broker_id,
        consume_broadcast_enable: group.consume_broadcast_enable,
        consume_enable: group.consume_enable,
        consume_from_min_enable: group.consume_from_min_enable,
        consume_message_orderly: group.consume_message_orderly,
        attributes: group.attributes.clone(),
        consume_timeout_minute: group.consume_timeout_minutes,
        group_name: group.name.clone(),
        group_retry_policy: group.retry_policy.clone(),
        group_sys_flag: group.sys_flag,
        notify_consumer_ids_changed_enable: group.notify_consumer_ids_changed_enable,
        retry_max_times: group.retry_max_times,
        retry_queue_nums: group.retry_queues,
        which_broker_when_consume_slowly: group.which_broker_when_consume_slowly,
        ..SubscriptionGroupConfig::default()
    }
}
