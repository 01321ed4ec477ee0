//! Topics: requests 17, 18, 21, 202, 215, 300, 305, 351.

use std::collections::BTreeMap;

use protocol::bodies::consumer_list::GroupList;
use protocol::bodies::data_version::DataVersion;
use protocol::bodies::message_queue::MessageQueue;
use protocol::bodies::stats::{TopicOffset, TopicStatsTable};
use protocol::bodies::topic_config::{TopicConfigList, TopicConfigTable, TopicFilterType, TopicList};
use protocol::codes::ResponseCode;
use protocol::lenient_json;
use protocol::requests::{CreateTopic, OneTopic};

use super::call::{Call, Refusal};
use crate::broker::Broker;
use crate::creation_times::Creation;
use crate::names;
use crate::registration::{wire_topic, wire_version};
use crate::stats::Span;
use crate::topics::attributes::{self, AttributeError, Rules};
use crate::topics::{self, Permission, TopicError, TopicSettings};

pub fn create(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: CreateTopic<'_> = call.read()?;
    let broker = call.broker;
    let creation = begin(call, [&*header.topic]);
    let mut settings = TopicSettings {
        name: header.topic.into_owned(),
        read_queues: header.read_queue_nums,
        write_queues: header.write_queue_nums,
        permission: Permission(header.perm),
        ordered: header.order,
        sys_flag: header.topic_sys_flag.unwrap_or(0),
        multi_tag: header.topic_filter_type.as_deref() == Some("MULTI_TAG"),
        attributes: BTreeMap::new(),
    };
    let changes = header.attributes.as_deref();
    check(broker, &mut settings, |attributes, rules| match changes {
        Some(changes) => attributes::change(attributes, changes, rules),
        None => Ok(()),
    })?;
    put(broker, vec![settings]);
    call.answer_when_created(creation);
    Ok(())
}

/// All of them, or none.
pub fn create_many(call: &mut Call<'_>) -> Result<(), Refusal> {
    let body: TopicConfigList = call.read_body()?;
    let broker = call.broker;
    let creation = begin(call, body.topic_config_list.iter().map(|wanted| &*wanted.topic_name));
    let mut checked = Vec::with_capacity(body.topic_config_list.len());
    for wanted in body.topic_config_list {
        let mut settings = TopicSettings {
            name: wanted.topic_name,
            read_queues: wanted.read_queue_nums,
            write_queues: wanted.write_queue_nums,
            permission: Permission(wanted.perm),
            ordered: wanted.order,
            sys_flag: wanted.topic_sys_flag,
            multi_tag: wanted.topic_filter_type == TopicFilterType::MultiTag,
            attributes: BTreeMap::new(),
        };
        let changes = wanted.attributes.iter().map(|(change, value)| (change.as_str(), Some(value.as_str())));
        check(broker, &mut settings, |attributes, rules| attributes::change_each(attributes, changes, rules))?;
        checked.push(settings);
    }
    put(broker, checked);
    call.answer_when_created(creation);
    Ok(())
}

/// From here on it counts how long it takes to create these topics, and whether it succeeds.
fn begin<'n>(call: &Call<'_>, names: impl IntoIterator<Item = &'n str>) -> Creation {
    let config = &call.broker.config;
    let is_system = |name: &str| names::is_system(name, &config.cluster_name, &config.broker_name);
    Creation::new(&call.broker.counters.topic_creations, call.since, names.into_iter().any(is_system))
}

/// Checks what an operator wants of a topic, and completes it with the attributes that the topic has and `change`
/// changes.
fn check(
    broker: &Broker,
    settings: &mut TopicSettings,
    change: impl FnOnce(&mut BTreeMap<String, String>, Rules) -> Result<(), AttributeError>,
) -> Result<(), Refusal> {
    let refused = |error: TopicError| {
        let code = match error {
            TopicError::Attribute(AttributeError::MixedOff) => ResponseCode::INVALID_PARAMETER,
            TopicError::Attribute(_) => ResponseCode::SYSTEM_ERROR,
            _ => ResponseCode::INVALID_PARAMETER,
        };
        Refusal::new(code, error)
    };
    topics::check_settings(settings).map_err(refused)?;
    let name = &settings.name;
    if names::is_system(name, &broker.config.cluster_name, &broker.config.broker_name) {
        return Err(refused(TopicError::System(name.clone())));
    }
    let known = broker.topics.get(name);
    let rules = Rules { is_new: known.is_none(), mixed: broker.config.mixed_topics.get() };
    settings.attributes = known.map(|topic| topic.settings.attributes.clone()).unwrap_or_default();
    change(&mut settings.attributes, rules).map_err(|error| refused(error.into()))?;
    if broker.is_deleting(name) {
        return Err(Refusal::new(ResponseCode::SYSTEM_ERROR, format!("topic `{name}` is being deleted")));
    }
    Ok(())
}

fn put(broker: &Broker, checked: Vec<TopicSettings>) {
    let names: Vec<String> = checked.iter().map(|settings| settings.name.clone()).collect();
    let now_ms = broker.clock.now_ms();
    for settings in checked {
        broker.topics.put(settings, now_ms);
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    broker.topics_changed(&names);
}

pub fn delete(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: OneTopic<'_> = call.read()?;
    let broker = call.broker;
    names::check_topic(&header.topic).map_err(|error| Refusal::new(ResponseCode::INVALID_PARAMETER, error))?;
    if names::is_system(&header.topic, &broker.config.cluster_name, &broker.config.broker_name) {
        let error = TopicError::System(header.topic.into_owned());
        return Err(Refusal::new(ResponseCode::INVALID_PARAMETER, error));
    }
    let _deletion = broker.begin_deletion(&header.topic);
    broker.topics.remove(&header.topic, broker.clock.now_ms());
    // Every queue that the log knows of: the topic may have had more of them once.
    broker.writer.delete_queues(&header.topic).map_err(|error| Refusal::new(ResponseCode::SYSTEM_ERROR, error))?;
    broker.forget_consumption_of_topic(&header.topic);
    let gone = header.topic.clone();
    broker.pulls.wake_where(|held| held.request.topic == *gone);
    call.answer_when_saved();
    Ok(())
}

pub fn all(call: &mut Call<'_>) -> Result<(), Refusal> {
    let topics = call.broker.topics.all();
    let table = TopicConfigTable {
        data_version: wire_version(call.broker.topics.version()),
        mapping_data_version: Some(DataVersion::default()),
        topic_config_table: topics.into_iter().map(|(name, topic)| (name, wire_topic(&topic.settings))).collect(),
    };
    // Without a total, old and new tools take this one answer for all there is.
    call.answer_body(&lenient_json::to_vec(&table));
    Ok(())
}

pub fn one(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: OneTopic<'_> = call.read()?;
    let topic = call.broker.topics.get(&header.topic).ok_or_else(|| no_such_topic(&header.topic))?;
    call.answer_body(&lenient_json::to_vec(&wire_topic(&topic.settings)));
    Ok(())
}

pub fn stats(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: OneTopic<'_> = call.read()?;
    let broker = call.broker;
    let topic = broker.topics.get(&header.topic).ok_or_else(|| no_such_topic(&header.topic))?;
    let put = topic.tallies.put.over(Span::Minute, broker.clock.now_ms());
    let mut table = TopicStatsTable { topic_put_tps: put.messages_per_second(), ..TopicStatsTable::default() };
    for queue_id in 0..topic.queue_count() {
        let mut offset = TopicOffset::default();
        if let Some(queue) = broker.log.find_queue(&header.topic, queue_id as u32) {
            let offsets = broker.log.offsets(queue);
            (offset.min_offset, offset.max_offset) = (offsets.min as i64, offsets.max as i64);
            if offsets.max > offsets.min {
                let newest = broker.log.store_time(queue, offsets.max - 1);
                offset.last_update_timestamp = newest.ok().flatten().unwrap_or(0);
            }
        }
        let queue = MessageQueue {
            broker_name: broker.config.broker_name.clone(),
            queue_id,
            topic: header.topic.clone().into_owned(),
        };
        table.offset_table.0.push((queue, offset));
    }
    call.answer_body(&lenient_json::to_vec(&table));
    Ok(())
}

pub fn consumed_by(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: OneTopic<'_> = call.read()?;
    let mut groups = call.broker.offsets.groups_of(&header.topic);
    let membership = call.broker.membership();
    let subscribed = membership.consumer_groups().filter(|(_, group)| group.subscriptions.contains_key(&*header.topic));
    groups.extend(subscribed.map(|(name, _)| name.to_owned()));
    drop(membership);
    call.answer_body(&lenient_json::to_vec(&GroupList { group_list: groups.into_iter().collect() }));
    Ok(())
}

/// Topics of the system that this broker has.
pub fn system(call: &mut Call<'_>) -> Result<(), Refusal> {
    let config = &call.broker.config;
    let mut names: Vec<String> = call.broker.topics.all().into_keys().collect();
    names.retain(|name| names::is_system(name, &config.cluster_name, &config.broker_name));
    call.answer_body(&lenient_json::to_vec(&TopicList { topic_list: names, ..TopicList::default() }));
    Ok(())
}

pub fn no_such_topic(topic: &str) -> Refusal {
    Refusal::new(ResponseCode::TOPIC_NOT_EXIST, format!("topic `{topic}` does not exist"))
}
