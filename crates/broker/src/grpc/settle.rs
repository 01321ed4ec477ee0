//! AckMessage, ChangeInvisibleDuration, ForwardMessageToDeadLetterQueue.

use std::sync::Arc;
use std::time::Duration;

use log::QueueNumber;
use protocol::properties;
use protocol::record;
use protocol::v2::{self, Code};

use super::answer::{Answer, ok};
use super::call::Call;
use super::code::Refused;
use super::deliver::invisible_time;
use super::send::overall;
use super::validate;
use crate::broker::Broker;
use crate::delivery::settling::{self, Change, Settlement};
use crate::delivery::{Delivery, Handle};

/// Messages of one id that are looked at for one that is out.
const SAME_ID_MAX: usize = 32;

/// Acknowledges messages, each with a status of its own.
pub async fn ack_message(call: Call, request: v2::AckMessageRequest) -> Result<v2::AckMessageResponse, Refused> {
    let broker = call.broker();
    let topic = validate::topic(&request.topic)?;
    let group = validate::group(&request.group)?;
    let entries: Vec<v2::AckMessageResultEntry> = request
        .entries
        .iter()
        .map(|entry| {
            let acknowledged = settlement(group, topic, &entry.receipt_handle)
                .and_then(|settlement| Ok(settling::acknowledge(broker, &settlement)?));
            v2::AckMessageResultEntry {
                message_id: entry.message_id.clone(),
                receipt_handle: entry.receipt_handle.clone(),
                status: Some(acknowledged.map_or_else(v2::Status::from, |()| ok())),
            }
        })
        .collect();
    if entries.is_empty() {
        return Err(Refused::new(Code::InternalServerError, "ack message result is empty"));
    }
    let status = Some(overall(entries.iter().map(|entry| &entry.status)));
    Ok(v2::AckMessageResponse { status, entries })
}

/// Changes when a message comes back. Some clients keep the handle of any answer, so each has one.
pub async fn change_invisible_duration(
    call: Call,
    request: v2::ChangeInvisibleDurationRequest,
) -> Result<v2::ChangeInvisibleDurationResponse, Refused> {
    let status = Some(change(&call, &request).map_or_else(v2::Status::from, |()| ok()));
    // Every handle of a delivery is good for as long as the message is out.
    Ok(v2::ChangeInvisibleDurationResponse { status, receipt_handle: request.receipt_handle })
}

fn change(call: &Call, request: &v2::ChangeInvisibleDurationRequest) -> Result<(), Refused> {
    let topic = validate::topic(&request.topic)?;
    let group = validate::group(&request.group)?;
    let time = invisible_time(&request.invisible_duration, Duration::ZERO)?;
    let settlement = settlement(group, topic, &request.receipt_handle)?;
    let broker = call.broker();
    let ordered = broker.groups.get(group).is_some_and(|group| group.consume_message_orderly);
    let change =
        Change { invisible_ms: time.as_millis() as i64, uncounted: request.suspend.unwrap_or_default() && !ordered };
    settling::change_invisible(broker, &settlement, change)?;
    Ok(())
}

/// Makes a message a dead letter. One that is settled already, or gone, needs nothing more.
pub async fn forward_to_dead_letters(
    call: Call,
    request: v2::ForwardMessageToDeadLetterQueueRequest,
) -> Result<v2::ForwardMessageToDeadLetterQueueResponse, Refused> {
    let broker = call.broker();
    let topic = validate::topic(&request.topic)?;
    let group = validate::group(&request.group)?;
    let settlement = match request.receipt_handle.as_str() {
        // The C++ client brings none.
        "" => out_by_id(broker, group, topic, &request.message_id),
        handle => Some(settlement(group, topic, handle)?),
    };
    if let Some(settlement) = settlement {
        settling::give_up(broker, &settlement)?;
    }
    Ok(v2::ForwardMessageToDeadLetterQueueResponse::done())
}

fn settlement<'a>(group: &'a str, topic: &'a str, handle: &str) -> Result<Settlement<'a>, Refused> {
    let unreadable = || Refused::new(Code::InvalidReceiptHandle, "the receipt handle is none of this group and topic");
    let handle = Handle::decode(handle, group, topic).ok_or_else(unreadable)?;
    let queue = Some(QueueNumber(handle.queue_number));
    Ok(Settlement { group, topic, queue_id: handle.queue_id, queue, delivery: handle.delivery })
}

/// A message of that id which is with a consumer of the group.
fn out_by_id<'a>(broker: &Arc<Broker>, group: &'a str, topic: &'a str, message_id: &str) -> Option<Settlement<'a>> {
    let known = broker.topics.get(topic)?;
    let mut found = Vec::new();
    broker.log.query_key(topic, message_id, 0, i64::MAX, SAME_ID_MAX, &mut found).ok()?;
    record::records(&found).filter(|record| record.properties().get(properties::UNIQ_KEY) == Some(message_id)).find_map(
        |record| {
            let (queue_id, offset) = (record.queue_id(), record.queue_offset());
            let delivered_ms = broker.deliveries.delivered_ms(group, topic, queue_id, offset)?;
            let queue = broker.queue_number(&known, queue_id).ok()?;
            // Before the topic was created again there may have been another message at that place.
            let there = broker.log.entries(queue, offset, 1).ok()?;
            let is_there = there.first().is_some_and(|entry| entry.position == record.position());
            let delivery = Delivery { offset, delivered_ms };
            is_there.then_some(Settlement { group, topic, queue_id, queue: Some(queue), delivery })
        },
    )
}
