//! UpdateOffset, GetOffset and QueryOffset.

use log::{Boundary, QueueOffsets};
use protocol::v2::{self, Code, MessageQueue, QueryOffsetPolicy};

use super::answer::{Answer, ok};
use super::call::Call;
use super::clients::existing_group;
use super::code::Refused;
use super::send::milliseconds;
use super::validate;
use crate::broker::Broker;

/// A queue that is there.
pub struct Queue {
    /// Name of its topic.
    pub topic: String,
    /// Its number in the topic.
    pub id: i32,
}

/// The queue that a request names.
pub fn existing_queue(broker: &Broker, named: &Option<MessageQueue>) -> Result<Queue, Refused> {
    let missing = || Refused::new(Code::BadRequest, "the request names no queue");
    let named = named.as_ref().ok_or_else(missing)?;
    let topic = validate::topic(&named.topic)?;
    let known = broker.topics.get(topic).ok_or_else(|| Refused::no_such_topic(topic))?;
    if !known.has_queue(named.id) {
        let text = format!("queue {} of topic `{topic}` does not exist; it has {}", named.id, known.queue_count());
        return Err(Refused::new(Code::BadRequest, text));
    }
    Ok(Queue { topic: topic.to_owned(), id: named.id })
}

/// Stores how far a group has consumed a queue.
pub async fn update_offset(call: Call, request: v2::UpdateOffsetRequest) -> Result<v2::UpdateOffsetResponse, Refused> {
    let broker = call.broker();
    let group = existing_group(broker, &request.group)?;
    let queue = existing_queue(broker, &request.message_queue)?;
    if request.offset < 0 {
        return Err(Refused::new(Code::IllegalOffset, format!("offset {} is negative", request.offset)));
    }
    broker.offsets.commit(&group, &queue.topic, queue.id, request.offset);
    Ok(v2::UpdateOffsetResponse::done())
}

/// How far a group has consumed a queue.
pub async fn get_offset(call: Call, request: v2::GetOffsetRequest) -> Result<v2::GetOffsetResponse, Refused> {
    let broker = call.broker();
    let group = validate::group(&request.group)?;
    let queue = existing_queue(broker, &request.message_queue)?;
    match broker.offsets.get(group, &queue.topic, queue.id).filter(|offset| *offset >= 0) {
        Some(offset) => Ok(v2::GetOffsetResponse { status: Some(ok()), offset }),
        None => {
            let text = format!("group `{group}` has no offset of queue {} of topic `{}`", queue.id, queue.topic);
            Err(Refused::new(Code::OffsetNotFound, text))
        }
    }
}

/// An offset of a queue: its first, the one after its last, or that of a moment.
pub async fn query_offset(call: Call, request: v2::QueryOffsetRequest) -> Result<v2::QueryOffsetResponse, Refused> {
    let broker = call.broker();
    let queue = existing_queue(broker, &request.message_queue)?;
    let unknown = |_| Refused::new(Code::BadRequest, format!("policy {} is not known", request.query_offset_policy));
    let policy = QueryOffsetPolicy::try_from(request.query_offset_policy).map_err(unknown)?;
    let number = broker.log.find_queue(&queue.topic, queue.id as u32);
    let offsets = number.map_or(QueueOffsets { min: 0, max: 0 }, |number| broker.log.offsets(number));
    let offset = match policy {
        QueryOffsetPolicy::Beginning => offsets.min,
        QueryOffsetPolicy::End => offsets.max,
        QueryOffsetPolicy::Timestamp => {
            let missing = || Refused::new(Code::BadRequest, "a moment is asked for and none is named");
            let moment_ms = milliseconds(request.timestamp.as_ref().ok_or_else(missing)?);
            match number {
                Some(number) => broker
                    .log
                    .offset_by_time(number, moment_ms, Boundary::Lower)
                    .map_err(|error| Refused::new(Code::InternalServerError, error))?,
                None => 0,
            }
        }
    };
    Ok(v2::QueryOffsetResponse { status: Some(ok()), offset: offset as i64 })
}
