//! ACK_MESSAGE (200051), BATCH_ACK_MESSAGE (200151) and CHANGE_MESSAGE_INVISIBLETIME (200053).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::codes::ResponseCode;
use protocol::pop::{
    AckMessage, BatchAck, BatchAckBody, ChangeInvisibleTime, ChangedInvisibleTime, ExtraInfo, ORDERED_REVIVE_QUEUE,
};

use super::call::{Call, Refusal};
use crate::delivery::settling::{self, Change, SettleError, Settlement};
use crate::delivery::{Delivery, INVISIBLE_MAX};

/// Longest bit set of acknowledgements, in bytes: messages that were handed out together lie close together.
const BATCH_BYTES_MAX: usize = 8 * 1024;
/// Most acknowledgements that one batch may hold apart from each other.
const BATCHES_MAX: usize = 1_024;

pub fn acknowledge(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: AckMessage<'_> = call.read()?;
    let handle = parse(&header.extra_info)?;
    let delivery = delivery(header.offset, handle.pop_time_ms)?;
    let settlement = settlement(&header.consumer_group, &header.topic, header.queue_id, delivery);
    match settling::acknowledge(call.broker, &settlement) {
        // Upstream answers late and repeated acknowledgements alike; the message has come again or will.
        Ok(()) | Err(SettleError::Handle(_)) => {
            call.answer_done();
            Ok(())
        }
        Err(error) => Err(refusal(error)),
    }
}

pub fn acknowledge_batch(call: &mut Call<'_>) -> Result<(), Refusal> {
    let body: BatchAckBody = call.read_body()?;
    if body.acks.is_empty() {
        return Err(Refusal::new(ResponseCode::NO_MESSAGE, "the batch has no acknowledgements"));
    }
    if BATCHES_MAX < body.acks.len() {
        let remark = format!("the batch has {} parts; the limit is {BATCHES_MAX}", body.acks.len());
        return Err(Refusal::new(ResponseCode::INVALID_PARAMETER, remark));
    }
    for ack in &body.acks {
        let unreadable = || Refusal::new(ResponseCode::SYSTEM_ERROR, format!("`{:.40}` is no bit set", ack.bits));
        let bits = STANDARD.decode(&ack.bits).map_err(|_| unreadable())?;
        if BATCH_BYTES_MAX < bits.len() {
            let remark = format!("the bit set is {} bytes long; the limit is {BATCH_BYTES_MAX}", bits.len());
            return Err(Refusal::new(ResponseCode::INVALID_PARAMETER, remark));
        }
        for offset in offsets_of(ack, &bits) {
            let settlement = settlement(&ack.group, &ack.topic, ack.queue_id, delivery(offset, ack.pop_time)?);
            match settling::acknowledge(call.broker, &settlement) {
                Ok(()) | Err(SettleError::Handle(_) | SettleError::NoMessage { .. }) => {}
                Err(error) => return Err(refusal(error)),
            }
        }
    }
    call.answer_done();
    Ok(())
}

/// Offsets of the bits that are set.
fn offsets_of<'a>(ack: &'a BatchAck, bits: &'a [u8]) -> impl Iterator<Item = i64> + 'a {
    let set = bits
        .iter()
        .enumerate()
        .flat_map(|(at, byte)| (0..8).filter(move |bit| byte & (1 << bit) != 0).map(move |bit| at as i64 * 8 + bit));
    set.map(|bit| ack.start_offset.saturating_add(bit))
}

pub fn change_invisible_time(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: ChangeInvisibleTime<'_> = call.read()?;
    let handle = parse(&header.extra_info)?;
    let delivery = delivery(header.offset, handle.pop_time_ms)?;
    let settlement = settlement(&header.consumer_group, &header.topic, header.queue_id, delivery);
    let ordered = handle.revive_queue == ORDERED_REVIVE_QUEUE;
    let change = Change {
        invisible_ms: header.invisible_time.clamp(0, INVISIBLE_MAX.as_millis() as i64),
        uncounted: header.suspend && !ordered,
    };
    let visible_ms = settling::change_invisible(call.broker, &settlement, change).map_err(refusal)?;
    // The delivery keeps its time, so that every handle of it stays good.
    call.answer_header(&ChangedInvisibleTime {
        pop_time: delivery.delivered_ms,
        invisible_time: visible_ms.saturating_sub(delivery.delivered_ms),
        revive_qid: handle.revive_queue,
    });
    Ok(())
}

fn parse(text: &str) -> Result<ExtraInfo, Refusal> {
    let unreadable = || Refusal::new(ResponseCode::SYSTEM_ERROR, format!("`{text:.80}` is no receipt handle"));
    ExtraInfo::parse(text).ok_or_else(unreadable)
}

fn delivery(offset: i64, delivered_ms: i64) -> Result<Delivery, Refusal> {
    let negative = |_| Refusal::new(ResponseCode::NO_MESSAGE, format!("offset {offset} is negative"));
    let offset = u64::try_from(offset).map_err(negative)?;
    if delivered_ms < 0 {
        let remark = format!("the receipt handle says that the message was handed out at {delivered_ms}");
        return Err(Refusal::new(ResponseCode::MESSAGE_ILLEGAL, remark));
    }
    Ok(Delivery { offset, delivered_ms })
}

/// Handles of this protocol do not say which queue of the log is meant.
fn settlement<'a>(group: &'a str, topic: &'a str, queue_id: i32, delivery: Delivery) -> Settlement<'a> {
    Settlement { group, topic, queue_id, queue: None, delivery }
}

fn refusal(error: SettleError) -> Refusal {
    Refusal::new(error.code(), error)
}
