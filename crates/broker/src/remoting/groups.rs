//! Settings of consumer groups: requests 200, 201, 207, 225, 352.

use protocol::bodies::subscription_group::{SubscriptionGroupConfig, SubscriptionGroupList, SubscriptionGroupTable};
use protocol::codes::ResponseCode;
use protocol::lenient_json;
use protocol::requests::{DeleteSubscriptionGroup, GetSubscriptionGroup};

use super::call::{Call, Refusal};
use crate::broker::Broker;
use crate::groups::{self, GroupError, GroupSettings};
use crate::registration::wire_version;

pub fn create(call: &mut Call<'_>) -> Result<(), Refusal> {
    let settings = check(call.broker, call.read_body()?)?;
    call.broker.groups.put(settings, call.broker.clock.now_ms());
    call.answer_when_saved();
    Ok(())
}

/// All of them, or none.
pub fn create_many(call: &mut Call<'_>) -> Result<(), Refusal> {
    let body: SubscriptionGroupList = call.read_body()?;
    let checked = body.group_config_list.into_iter().map(|wanted| check(call.broker, wanted));
    let checked: Vec<GroupSettings> = checked.collect::<Result<_, Refusal>>()?;
    for settings in checked {
        call.broker.groups.put(settings, call.broker.clock.now_ms());
    }
    call.answer_when_saved();
    Ok(())
}

/// Checks what an operator wants of a group, and completes it with the attributes that the group has.
fn check(broker: &Broker, wanted: SubscriptionGroupConfig) -> Result<GroupSettings, Refusal> {
    let refused = |error: GroupError| {
        let code = match error {
            GroupError::Attribute(_) => ResponseCode::SYSTEM_ERROR,
            _ => ResponseCode::INVALID_PARAMETER,
        };
        Refusal::new(code, error)
    };
    let known = broker.groups.get(&wanted.group_name);
    let mut attributes = known.map(|group| group.attributes.clone()).unwrap_or_default();
    groups::change_attributes(&mut attributes, wanted.attributes.clone()).map_err(refused)?;
    let settings = GroupSettings { attributes, ..settings(wanted) };
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
