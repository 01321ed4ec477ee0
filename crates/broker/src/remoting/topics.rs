//! Topics: requests 17, 21, 202, 215, 300, 351.

use protocol::bodies::consumer_list::GroupList;
use protocol::bodies::data_version::DataVersion;
use protocol::bodies::message_queue::MessageQueue;
use protocol::bodies::stats::{TopicOffset, TopicStatsTable};
use protocol::bodies::topic_config::TopicConfigTable;
use protocol::codes::ResponseCode;
use protocol::lenient_json;
use protocol::requests::{CreateTopic, OneTopic};

use super::call::{Call, Refusal};
use crate::names;
use crate::registration::{wire_topic, wire_version};
use crate::topics::{self, Permission, TopicError, TopicSettings};

pub fn create(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: CreateTopic<'_> = call.read()?;
    let broker = call.broker;
    let refused = |error: TopicError| {
        let code = match error {
            TopicError::Attribute(_) => ResponseCode::SYSTEM_ERROR,
            _ => ResponseCode::INVALID_PARAMETER,
        };
        Refusal::new(code, error)
    };
    let known = broker.topics.get(&header.topic);
    let mut settings = TopicSettings {
        name: header.topic.into_owned(),
        read_queues: header.read_queue_nums,
        write_queues: header.write_queue_nums,
        permission: Permission(header.perm),
        ordered: header.order,
        sys_flag: header.topic_sys_flag.unwrap_or(0),
        multi_tag: header.topic_filter_type.as_deref() == Some("MULTI_TAG"),
        attributes: known.map(|topic| topic.settings.attributes.clone()).unwrap_or_default(),
    };
    topics::check_settings(&settings).map_err(refused)?;
    if names::is_system(&settings.name, &broker.config.cluster_name, &broker.config.broker_name) {
        return Err(refused(TopicError::System(settings.name)));
    }
    if let Some(changes) = header.attributes.as_deref() {
        topics::change_attributes(&mut settings.attributes, changes).map_err(refused)?;
    }
    let name = settings.name.clone();
    if broker.is_deleting(&name) {
        return Err(Refusal::new(ResponseCode::SYSTEM_ERROR, format!("topic `{name}` is being deleted")));
    }
    broker.topics.put(settings, broker.clock.now_ms());
    broker.topics_changed(&[&name]);
    call.answer_when_saved();
    Ok(())
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
    broker.offsets.forget_topic(&header.topic);
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
    let mut table = TopicStatsTable::default();
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

fn no_such_topic(topic: &str) -> Refusal {
    Refusal::new(ResponseCode::TOPIC_NOT_EXIST, format!("topic `{topic}` does not exist"))
}
