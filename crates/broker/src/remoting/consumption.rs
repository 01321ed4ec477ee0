//! How far groups have come: requests 43, 208, 303, 308, 314, 317, 343, 345.

use std::collections::{BTreeMap, BTreeSet};

use log::QueueNumber;
use protocol::bodies::consumer_list::TopicSubscription;
use protocol::bodies::data_version::DataVersion;
use protocol::bodies::message_queue::MessageQueue;
use protocol::bodies::stats::{
    ConsumeOffset, ConsumeStats, ConsumeStatsList, ConsumeTimeSpans, ConsumerOffsetTable, CorrectionOffsets,
    QueueTimeSpan,
};
use protocol::bodies::topic_config::TopicList;
use protocol::codes::ResponseCode;
use protocol::lenient_json;
use protocol::requests::{
    CloneGroupOffset, GetBrokerConsumeStats, GetConsumeStats, GetSubscriptionGroup, QueryCorrectionOffset, TopicOfGroup,
};

use super::call::{Call, Refusal};
use super::topics::no_such_topic;
use crate::broker::Broker;
use crate::membership::Subscription;
use crate::stats::{GroupTallies, Span};
use crate::topics::Topic;

pub fn stats_of_group(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: GetConsumeStats<'_> = call.read()?;
    let broker = call.broker;
    let topics = match wanted_topics(&header) {
        wanted if wanted.is_empty() => topics_of_group(broker, &header.consumer_group),
        wanted => wanted.into_iter().map(str::to_owned).collect(),
    };
    let mut stats = ConsumeStats::default();
    for name in topics {
        let Some(topic) = broker.topics.get(&name) else { continue };
        stats.consume_tps += consumed_per_second(broker, &header.consumer_group, &topic);
        for queue_id in 0..topic.settings.read_queues {
            let offset = consume_offset(broker, &header.consumer_group, &name, queue_id);
            stats.offset_table.0.push((message_queue(broker, &name, queue_id), offset));
        }
    }
    call.answer_body(&lenient_json::to_vec(&stats));
    Ok(())
}

/// Topics that the request names. None means all.
fn wanted_topics<'h>(header: &'h GetConsumeStats<'_>) -> BTreeSet<&'h str> {
    let list = header.topic_list.as_deref().unwrap_or_default().split(';');
    list.chain(header.topic.as_deref()).filter(|topic| !topic.is_empty()).collect()
}

/// Topics of which the group has offsets, and those that its members subscribe to.
fn topics_of_group(broker: &Broker, group: &str) -> BTreeSet<String> {
    let mut topics = broker.offsets.topics_of(group);
    if let Some(group) = broker.membership().consumer_group(group) {
        topics.extend(group.subscriptions.keys().cloned());
    }
    topics
}

fn consume_offset(broker: &Broker, group: &str, topic: &str, queue_id: i32) -> ConsumeOffset {
    let consumed = broker.offsets.get(group, topic, queue_id).unwrap_or(0).max(0);
    let mut offset =
        ConsumeOffset { broker_offset: 0, consumer_offset: consumed, last_timestamp: 0, pull_offset: consumed };
    if let Some(queue) = broker.log.find_queue(topic, queue_id as u32) {
        offset.broker_offset = broker.log.offsets(queue).max as i64;
        if consumed > 0 {
            offset.last_timestamp = stored_ms(broker, queue, consumed - 1).unwrap_or(0);
        }
    }
    offset
}

/// When a message was stored, if it is there.
fn stored_ms(broker: &Broker, queue: QueueNumber, offset: i64) -> Option<i64> {
    broker.log.store_time(queue, u64::try_from(offset).ok()?).ok().flatten()
}

fn message_queue(broker: &Broker, topic: &str, queue_id: i32) -> MessageQueue {
    MessageQueue { broker_name: broker.config.broker_name.clone(), queue_id, topic: topic.to_owned() }
}

/// Every group, with everything that it has offsets of.
pub fn stats_of_broker(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: GetBrokerConsumeStats = call.read()?;
    let broker = call.broker;
    let mut list = ConsumeStatsList { broker_addr: Some(broker.store_host.to_string()), ..ConsumeStatsList::default() };
    for group in broker.groups.all().into_keys() {
        let mut of_group = Vec::new();
        for name in broker.offsets.topics_of(&group) {
            let topic = broker.topics.get(&name).filter(|topic| topic.settings.ordered || !header.is_order);
            let Some(topic) = topic.filter(|_| !is_unsubscribed(broker, &group, &name)) else { continue };
            let stats = stats_of_topic(broker, &group, &topic);
            for (_, offset) in &stats.offset_table.0 {
                list.total_diff += offset.broker_offset - offset.consumer_offset;
                list.total_inflight_diff += (offset.pull_offset - offset.consumer_offset).max(0);
            }
            of_group.push(stats);
        }
        list.consume_stats_list.push(BTreeMap::from([(group, of_group)]));
    }
    call.answer_body(&lenient_json::to_vec(&list));
    Ok(())
}

/// Queues that the group has an offset of.
fn stats_of_topic(broker: &Broker, group: &str, topic: &Topic) -> ConsumeStats {
    let name = &topic.settings.name;
    let committed = broker.offsets.of(group, name);
    let known = committed.into_iter().filter(|(queue_id, offset)| topic.has_queue(*queue_id) && *offset >= 0);
    let offsets = known
        .map(|(queue_id, _)| (message_queue(broker, name, queue_id), consume_offset(broker, group, name, queue_id)));
    ConsumeStats { consume_tps: consumed_per_second(broker, group, topic), offset_table: offsets.collect() }
}

/// Messages that the group got of the topic, per second of the last minute.
fn consumed_per_second(broker: &Broker, group: &str, topic: &Topic) -> f64 {
    let now_ms = broker.clock.now_ms();
    let rate = |of_group: &GroupTallies| of_group.got.over(Span::Minute, now_ms).messages_per_second();
    topic.tallies.known_group(group, rate).unwrap_or(0.0)
}

/// Whether members of the group are connected and want other topics only.
fn is_unsubscribed(broker: &Broker, group: &str, topic: &str) -> bool {
    let membership = broker.membership();
    membership.consumer_group(group).is_some_and(|group| !group.subscriptions.contains_key(topic))
}

pub fn time_spans(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: TopicOfGroup<'_> = call.read()?;
    let broker = call.broker;
    let topic = broker.topics.get(&header.topic).ok_or_else(|| no_such_topic(&header.topic))?;
    let spans = (0..topic.queue_count()).map(|queue_id| time_span(broker, &header.group, &header.topic, queue_id));
    let body = ConsumeTimeSpans { consume_time_span_set: spans.collect() };
    call.answer_body(&lenient_json::to_vec(&body));
    Ok(())
}

fn time_span(broker: &Broker, group: &str, topic: &str, queue_id: i32) -> QueueTimeSpan {
    let mut span = QueueTimeSpan {
        consume_time_stamp: -1,
        delay_time: 0,
        max_time_stamp: -1,
        message_queue: message_queue(broker, topic, queue_id),
        min_time_stamp: -1,
    };
    let Some(queue) = broker.log.find_queue(topic, queue_id as u32) else { return span };
    let offsets = broker.log.offsets(queue);
    let consumed = broker.offsets.get(group, topic, queue_id).unwrap_or(0).max(0);
    let stored_ms = |offset| stored_ms(broker, queue, offset).unwrap_or(-1);
    span.min_time_stamp = stored_ms(offsets.min as i64);
    span.max_time_stamp = stored_ms(offsets.max as i64 - 1);
    span.consume_time_stamp = if consumed > 0 { stored_ms(consumed - 1) } else { span.min_time_stamp };
    if consumed < offsets.max as i64 {
        let next_ms = stored_ms(consumed.max(offsets.min as i64));
        span.delay_time = (broker.clock.now_ms() - next_ms).max(0);
    }
    span
}

/// By queue, the least that any group has consumed.
pub fn correction_offsets(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: QueryCorrectionOffset<'_> = call.read()?;
    let broker = call.broker;
    let left_out = header.filter_groups.as_deref().unwrap_or_default();
    let counts = |group: &str| group != header.compare_group && !left_out.split(',').any(|other| other.trim() == group);
    let mut least = BTreeMap::new();
    for group in broker.offsets.groups_of(&header.topic).into_iter().filter(|group| counts(group)) {
        for (queue_id, offset) in broker.offsets.of(&group, &header.topic) {
            least
                .entry(i64::from(queue_id))
                .and_modify(|known: &mut i64| *known = offset.min(*known))
                .or_insert(offset);
        }
    }
    call.answer_body(&lenient_json::to_vec(&CorrectionOffsets { correction_offsets: least }));
    Ok(())
}

/// Gives a group the offsets of another one.
pub fn clone_offsets(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: CloneGroupOffset<'_> = call.read()?;
    let broker = call.broker;
    let (from, to) = (&*header.src_group, &*header.dest_group);
    if broker.groups.get(to).is_none() {
        let remark = format!("subscription group `{to}` does not exist");
        return Err(Refusal::new(ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST, remark));
    }
    let topics = match header.topic.as_deref() {
        Some(topic) if !topic.is_empty() => BTreeSet::from([topic.to_owned()]),
        _ => broker.offsets.topics_of(from),
    };
    let topics: Vec<String> = topics.into_iter().filter(|topic| broker.topics.get(topic).is_some()).collect();
    if let Some(topic) = topics.iter().find(|topic| !header.offline && is_unsubscribed(broker, to, topic)) {
        let remark = format!("group `{to}` is connected and does not subscribe to topic `{topic}`");
        return Err(Refusal::new(ResponseCode::SYSTEM_ERROR, remark));
    }
    for topic in &topics {
        for (queue_id, offset) in broker.offsets.of(from, topic) {
            broker.offsets.commit(to, topic, queue_id, offset);
        }
    }
    call.answer_done();
    Ok(())
}

pub fn topics_of_consumer(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: GetSubscriptionGroup<'_> = call.read()?;
    let body = TopicList {
        broker_addr: Some(call.broker.store_host.to_string()),
        topic_list: call.broker.offsets.topics_of(&header.group).into_iter().collect(),
    };
    call.answer_body(&lenient_json::to_vec(&body));
    Ok(())
}

pub fn subscription_of_consumer(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: TopicOfGroup<'_> = call.read()?;
    let membership = call.broker.membership();
    let wanted = membership.consumer_group(&header.group).and_then(|group| group.subscriptions.get(&*header.topic));
    let subscription_data = wanted.map(Subscription::to_wire);
    drop(membership);
    let body =
        TopicSubscription { group: header.group.into_owned(), subscription_data, topic: header.topic.into_owned() };
    call.answer_body(&lenient_json::to_vec(&body));
    Ok(())
}

/// Offsets of all groups, as a copy of the broker takes them over.
pub fn all_offsets(call: &mut Call<'_>) -> Result<(), Refusal> {
    let broker = call.broker;
    let offsets = broker.offsets.all().into_iter().map(|(group, topic, queues)| {
        let queues = queues.into_iter().map(|(queue_id, offset)| (i64::from(queue_id), offset));
        (format!("{topic}@{group}"), queues.collect())
    });
    let body = ConsumerOffsetTable {
        // Offsets change all the time; nobody counts how often.
        data_version: DataVersion { timestamp: broker.clock.now_ms(), ..DataVersion::default() },
        offset_table: offsets.collect(),
    };
    call.answer_body(&lenient_json::to_vec(&body));
    Ok(())
}
