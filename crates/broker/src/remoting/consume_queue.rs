//! Looking into the index of a queue: QUERY_CONSUME_QUEUE (321).

use log::{IndexEntry, LogPosition};
use protocol::bodies::consume_queue::{ConsumeQueueEntry, ConsumeQueueView};
use protocol::codes::ResponseCode;
use protocol::lenient_json;
use protocol::record::Record;
use protocol::requests::QueryConsumeQueue;

use super::call::{Call, Refusal};
use crate::broker::Broker;
use crate::filter::Filter;
use crate::membership::Subscription;

/// Most entries in one answer.
const ENTRIES_MAX: i32 = 1_000;

pub fn query(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: QueryConsumeQueue<'_> = call.read()?;
    let broker = call.broker;
    let queue = u32::try_from(header.queue_id).ok().and_then(|id| broker.log.find_queue(&header.topic, id));
    let queue = queue.ok_or_else(|| {
        let remark = format!("queue {} of topic `{}` has no messages", header.queue_id, header.topic);
        Refusal::new(ResponseCode::SYSTEM_ERROR, remark)
    })?;
    let offsets = broker.log.offsets(queue);
    let (first, count) = (header.index.max(0) as u64, header.count.clamp(0, ENTRIES_MAX) as usize);
    let entries = broker.log.entries(queue, first, count);
    let entries = entries.map_err(|error| Refusal::new(ResponseCode::SYSTEM_ERROR, error))?;
    let subscription = header.consumer_group.as_deref().filter(|group| !group.is_empty()).map(|group| {
        let membership = broker.membership();
        let group = membership.consumer_group(group);
        group.and_then(|group| group.subscriptions.get(&*header.topic)).cloned()
    });
    let subscription = subscription.flatten();
    let view = ConsumeQueueView {
        // Upstream keeps compiled filters of SQL92 alone, and shows that there is none.
        filter_data: subscription.as_ref().map(|_| "null".to_owned()),
        max_queue_index: offsets.max as i64,
        min_queue_index: offsets.min as i64,
        queue_data: entries.iter().map(|entry| wire_entry(broker, entry, subscription.as_ref())).collect(),
        subscription_data: subscription.as_ref().map(Subscription::to_wire),
    };
    call.answer_body(&lenient_json::to_vec(&view));
    Ok(())
}

fn wire_entry(broker: &Broker, entry: &IndexEntry, subscription: Option<&Subscription>) -> ConsumeQueueEntry {
    let passed = subscription.map(|wanted| match &wanted.filter {
        Ok(filter) => passes(broker, entry, filter),
        Err(error) => Err(error.to_string()),
    });
    let (eval, msg) = match passed {
        Some(Ok(passes)) => (passes, None),
        Some(Err(problem)) => (false, Some(problem)),
        None => (false, None),
    };
    ConsumeQueueEntry {
        eval,
        msg,
        physic_offset: entry.position as i64,
        physic_size: entry.size as i32,
        tags_code: i64::from(entry.tag_hash),
        ..ConsumeQueueEntry::default()
    }
}

/// Whether a message passes a filter, or why that cannot be said.
fn passes(broker: &Broker, entry: &IndexEntry, filter: &Filter) -> Result<bool, String> {
    if !filter.may_match(entry.tag_hash) || !filter.needs_properties() {
        return Ok(filter.may_match(entry.tag_hash));
    }
    let mut bytes = Vec::new();
    broker.log.read(LogPosition(entry.position), &mut bytes).map_err(|error| error.to_string())?;
    Record::parse(&bytes).map(|record| filter.matches(&record.properties())).map_err(|error| error.to_string())
}
