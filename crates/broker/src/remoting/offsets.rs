//! Offsets of queues and groups: requests 14, 15, 29, 30, 31, 32.

use log::{Boundary, QueueNumber, QueueOffsets};
use protocol::codes::ResponseCode;
use protocol::requests::{
    OffsetResult, QueryConsumerOffset, QueueOfTopic, SearchOffset, TimestampResult, UpdateConsumerOffset,
};

use protocol::writer::FrameWriter;

use super::call::{Call, Refusal};

pub fn query_consumer_offset(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: QueryConsumerOffset<'_> = call.read()?;
    let broker = call.broker;
    let stored = broker.offsets.get(&header.consumer_group, &header.topic, header.queue_id);
    if let Some(offset) = stored.filter(|offset| *offset >= 0) {
        call.answer_header(&OffsetResult { offset });
        return Ok(());
    }
    // A new group of a young queue starts at its beginning, whatever it says about where to start.
    let young = header.set_zero_if_not_found
        && find_queue(call, &header.topic, header.queue_id).is_some_and(|queue| {
            let offsets = offsets_of(call, Some(queue));
            offsets.max > 0 && offsets.min == 0 && broker.is_recent(queue, 0)
        });
    if young {
        call.answer_header(&OffsetResult { offset: 0 });
        return Ok(());
    }
    let group = &header.consumer_group;
    let remark = format!("group `{group}` has no offset of queue {} of topic `{}`", header.queue_id, header.topic);
    Err(Refusal::new(ResponseCode::QUERY_NOT_FOUND, remark))
}

pub fn update_consumer_offset(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: UpdateConsumerOffset<'_> = call.read()?;
    let broker = call.broker;
    let Some(topic) = broker.topics.get(&header.topic) else {
        let remark = format!("topic `{}` does not exist", header.topic);
        return Err(Refusal::new(ResponseCode::TOPIC_NOT_EXIST, remark));
    };
    if broker.groups.get(&header.consumer_group).is_none() {
        let remark = format!("subscription group `{}` does not exist", header.consumer_group);
        return Err(Refusal::new(ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST, remark));
    }
    let (group, name, queue_id) = (&header.consumer_group, &header.topic, header.queue_id);
    if broker.offsets.is_reset(group, name, queue_id) {
        if broker.membership().consumer_group(group).is_some() {
            let remark = Some("Offset has been previously reset");
            FrameWriter::response(call.out, call.codec, ResponseCode::SUCCESS, call.header.opaque, remark).finish(b"");
            return Ok(());
        }
        // Nobody is left to be told: this is a tool, or a consumer on its way out.
        broker.offsets.take_reset(group, name, queue_id);
    }
    // Upstream answers the same, and stores offsets of queues that there are not, without an end.
    if topic.has_queue(queue_id) {
        broker.offsets.commit(group, name, queue_id, header.commit_offset);
    }
    call.answer_done();
    Ok(())
}

pub fn max_offset(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: QueueOfTopic<'_> = call.read().map_err(with_offset)?;
    let queue = find_queue(call, &header.topic, header.queue_id);
    let offset = offsets_of(call, queue).max;
    call.answer_header(&OffsetResult { offset: offset as i64 });
    Ok(())
}

pub fn min_offset(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: QueueOfTopic<'_> = call.read().map_err(with_offset)?;
    let queue = find_queue(call, &header.topic, header.queue_id);
    let offset = offsets_of(call, queue).min;
    call.answer_header(&OffsetResult { offset: offset as i64 });
    Ok(())
}

pub fn search_offset(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: SearchOffset<'_> = call.read().map_err(with_offset)?;
    let upper = header.boundary_type.is_some_and(|boundary| boundary.eq_ignore_ascii_case("upper"));
    let boundary = if upper { Boundary::Upper } else { Boundary::Lower };
    let offset = match find_queue(call, &header.topic, header.queue_id) {
        Some(queue) => call
            .broker
            .log
            .offset_by_time(queue, header.timestamp, boundary)
            .map_err(|error| with_offset(Refusal::new(ResponseCode::SYSTEM_ERROR, error)))?,
        None => 0,
    };
    call.answer_header(&OffsetResult { offset: offset as i64 });
    Ok(())
}

pub fn earliest_store_time(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: QueueOfTopic<'_> = call.read()?;
    let timestamp = match find_queue(call, &header.topic, header.queue_id) {
        Some(queue) => {
            let min = offsets_of(call, Some(queue)).min;
            let read = call.broker.log.store_time(queue, min);
            read.map_err(|error| Refusal::new(ResponseCode::SYSTEM_ERROR, error))?.unwrap_or(-1)
        }
        None => -1,
    };
    call.answer_header(&TimestampResult { timestamp });
    Ok(())
}

/// The Go client reads the offset without looking at the code.
fn with_offset(refusal: impl Into<Refusal>) -> Refusal {
    Refusal { offset: Some(0), ..refusal.into() }
}

/// The queue, if anything was ever written to it.
fn find_queue(call: &Call<'_>, topic: &str, queue_id: i32) -> Option<QueueNumber> {
    call.broker.log.find_queue(topic, u32::try_from(queue_id).ok()?)
}

/// The offsets of a queue; a queue that is not there has none.
fn offsets_of(call: &Call<'_>, queue: Option<QueueNumber>) -> QueueOffsets {
    queue.map_or(QueueOffsets { min: 0, max: 0 }, |queue| call.broker.log.offsets(queue))
}
