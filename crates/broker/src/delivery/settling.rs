//! Settling what was handed out: acknowledging, changing when it comes back, giving it up.
//!
//! Sources: `broker/.../processor/{AckMessageProcessor,ChangeInvisibleTimeProcessor}.java`.

use std::sync::Arc;

use log::{DefineError, QueueNumber, ReadError};
use protocol::codes::ResponseCode;

use super::expiry::{self, Doomed};
use super::in_flight::Flight;
use super::queue::{BURYING, Delivery, HandleError};
use super::taking::{TakeRequest, Taken};
use super::{Consumption, Queue, State};
use crate::access::{self, AccessError};
use crate::broker::Broker;
use crate::stats;
use crate::topics::Topic;

/// A delivery of a queue that is to be settled or changed.
#[derive(Clone, Copy, Debug)]
pub struct Settlement<'a> {
    /// Consumer group.
    pub group: &'a str,
    /// Topic.
    pub topic: &'a str,
    /// Queue.
    pub queue_id: i32,
    /// The log's number for the queue, if the handle says it: the topic may be another one of the same name.
    pub queue: Option<QueueNumber>,
    /// The delivery.
    pub delivery: Delivery,
}

/// How the time of a delivery is to change.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// Time from now on for which the message is invisible, in milliseconds.
    pub invisible_ms: i64,
    /// Whether it comes back as the same attempt.
    pub uncounted: bool,
}

/// Why a delivery cannot be settled or changed.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The topic is not there.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The handle is not that of a message that is out.
    #[error(transparent)]
    Handle(#[from] HandleError),
    /// There is no message of that offset in the queue.
    #[error("offset {offset} is not in queue {queue_id} of topic `{topic}`: it has {min} to {max}")]
    NoMessage {
        /// Topic.
        topic: String,
        /// Queue.
        queue_id: i32,
        /// Offset that was named.
        offset: u64,
        /// First offset that is there.
        min: u64,
        /// Offset after the last that is there.
        max: u64,
    },
    /// The log cannot take one more queue.
    #[error(transparent)]
    Queue(#[from] DefineError),
    /// The log cannot be read.
    #[error("the queue could not be read: {0}")]
    Read(#[from] ReadError),
}

impl SettleError {
    /// The code that a remoting client acts on.
    pub fn code(&self) -> ResponseCode {
        match self {
            Self::Access(AccessError::NoSuchQueue { .. }) | Self::Handle(_) => ResponseCode::MESSAGE_ILLEGAL,
            Self::Access(error) => error.code().0,
            Self::NoMessage { .. } => ResponseCode::NO_MESSAGE,
            Self::Queue(_) | Self::Read(_) => ResponseCode::SYSTEM_ERROR,
        }
    }
}

/// Messages between the end of what is known and a receipt handle beyond it, at most: a crash forgets what was handed
/// out within the last moment, and the handles of that come back.
const FORGOTTEN_MAX: usize = 100_000;

/// Acknowledges a delivery; a repeated acknowledgement is fine.
pub fn acknowledge(broker: &Arc<Broker>, settlement: &Settlement<'_>) -> Result<(), SettleError> {
    #[cfg(feature = "otel")]
    if let Some(span) = crate::spans::begin_ack(broker, settlement) {
        let result = settle(broker, settlement);
        crate::spans::end_ack(broker, span, &result);
        return result;
    }
    settle(broker, settlement)
}

fn settle(broker: &Arc<Broker>, settlement: &Settlement<'_>) -> Result<(), SettleError> {
    let found = Found::of(broker, settlement)?;
    let mut state = found.consumption.lock();
    let queue = found.queue(broker, settlement, &mut state)?;
    queue.delivery.acknowledge(settlement.delivery, broker.clock.now_ms())?;
    queue.touched(settlement.delivery.offset);
    stats::count_acknowledged(broker, &found.topic, settlement.group);
    // Something of an ordered queue that was kept back can be had now. Looked at while nobody can look and be held.
    let in_flight = queue.delivery.in_flight();
    let is_next = || queue.delivery.next() < broker.log.offsets(found.number).max;
    let frees_queue = in_flight.next_visible_ms().is_none() && (in_flight.has_ready() || is_next());
    drop(state);
    if frees_queue {
        broker.receives.wake_next(found.consumption.id, Some(found.number));
    }
    Ok(())
}

/// Changes when a delivery comes back; returns when that is, in milliseconds since 1970.
pub fn change_invisible(broker: &Arc<Broker>, settlement: &Settlement<'_>, change: Change) -> Result<i64, SettleError> {
    let found = Found::of(broker, settlement)?;
    let mut state = found.consumption.lock();
    let queue = found.queue(broker, settlement, &mut state)?;
    let now_ms = broker.clock.now_ms();
    let Flight { visible_ms, .. } =
        queue.delivery.change_invisible(settlement.delivery, now_ms, change.invisible_ms, change.uncounted)?;
    queue.touched(settlement.delivery.offset);
    stats::count_postponed(broker, &found.topic, settlement.group);
    broker.deliveries.look_again(&found.consumption, &mut state);
    Ok(visible_ms)
}

/// Takes back what was handed out and could not be brought to its consumer: others get it at once, as if it had not been
/// handed out.
pub fn take_back(
    broker: &Arc<Broker>,
    request: &TakeRequest,
    delivered_ms: i64,
    messages: impl IntoIterator<Item = Taken>,
) {
    for taken in messages {
        let settlement = Settlement {
            group: &request.group,
            topic: &request.topic,
            queue_id: taken.queue_id,
            queue: Some(taken.queue),
            delivery: Delivery { offset: taken.offset, delivered_ms },
        };
        if let Err(error) = take_one_back(broker, &settlement) {
            tracing::debug!(%error, "a message is handed out again when its time is over");
        }
    }
}

fn take_one_back(broker: &Arc<Broker>, settlement: &Settlement<'_>) -> Result<(), SettleError> {
    let found = Found::of(broker, settlement)?;
    let mut state = found.consumption.lock();
    let queue = found.queue(broker, settlement, &mut state)?;
    queue.delivery.take_back(settlement.delivery, broker.clock.now_ms());
    queue.touched(settlement.delivery.offset);
    broker.deliveries.look_again(&found.consumption, &mut state);
    Ok(())
}

/// Makes a message a dead letter of its group, and settles it once that is stored; whether the delivery is over does not
/// matter, since its consumer gave up on the message itself. A message that is settled already stays so, and one that is
/// not out, because it is too old, its topic was deleted or its group begins anew, needs nothing: consumers ask again
/// until they hear that it is done.
pub fn give_up(broker: &Arc<Broker>, settlement: &Settlement<'_>) -> Result<(), SettleError> {
    match bury(broker, settlement) {
        Err(
            SettleError::Access(AccessError::NoSuchTopic(_)) | SettleError::Handle(_) | SettleError::NoMessage { .. },
        ) => Ok(()),
        ended => ended,
    }
}

fn bury(broker: &Arc<Broker>, settlement: &Settlement<'_>) -> Result<(), SettleError> {
    let found = Found::of(broker, settlement)?;
    let mut state = found.consumption.lock();
    let queue = found.queue(broker, settlement, &mut state)?;
    let offset = settlement.delivery.offset;
    let now_ms = broker.clock.now_ms();
    let flight = queue.delivery.in_flight().get(offset).copied();
    // One that is being stored as a dead letter already needs no second one.
    let Some(flight) = flight.filter(|flight| flight.holder != BURYING || flight.visible_ms <= now_ms) else {
        return Ok(());
    };
    let doomed = Doomed::new(settlement.queue_id, offset, flight.attempts);
    queue.delivery.bury(offset, expiry::burial_ends_ms(now_ms));
    queue.touched(offset);
    broker.deliveries.look_again(&found.consumption, &mut state);
    drop(state);
    expiry::bury(broker, &found.consumption, vec![doomed]);
    Ok(())
}

/// Where a settlement belongs.
struct Found {
    topic: Arc<Topic>,
    consumption: Arc<Consumption>,
    number: QueueNumber,
    max: u64,
}

impl Found {
    fn of(broker: &Broker, settlement: &Settlement<'_>) -> Result<Found, SettleError> {
        let missing = || AccessError::NoSuchTopic(settlement.topic.to_owned());
        let topic = broker.topics.get(settlement.topic).ok_or_else(missing)?;
        access::check_queue(&topic, settlement.queue_id)?;
        let number = broker.queue_number(&topic, settlement.queue_id)?;
        if settlement.queue.is_some_and(|named| named != number) {
            return Err(HandleError::Unknown.into());
        }
        let offsets = broker.log.offsets(number);
        let offset = settlement.delivery.offset;
        if !(offsets.min..offsets.max).contains(&offset) {
            return Err(SettleError::NoMessage {
                topic: settlement.topic.to_owned(),
                queue_id: settlement.queue_id,
                offset,
                min: offsets.min,
                max: offsets.max,
            });
        }
        let known = broker.deliveries.find(settlement.group, settlement.topic);
        // The group never took anything of the topic.
        let consumption = known.ok_or(HandleError::Unknown)?;
        Ok(Found { topic, consumption, number, max: offsets.max })
    }

    fn queue<'s>(
        &self,
        broker: &Broker,
        settlement: &Settlement<'_>,
        state: &'s mut State,
    ) -> Result<&'s mut Queue, SettleError> {
        let known = broker.offsets.get(settlement.group, &self.topic.settings.name, settlement.queue_id);
        if state.is_forgotten || known.is_none() {
            // The group never took anything from the queue, or that was forgotten.
            return Err(HandleError::Unknown.into());
        }
        let (max, id) = (self.max, settlement.queue_id);
        let queue = state.queue(&self.consumption, &broker.offsets, &broker.log, id, self.number, || max);
        let (next, delivery) = (queue.delivery.next(), settlement.delivery);
        if next <= delivery.offset {
            // Only a crash can forget, so it was handed out before this start.
            if broker.started_ms <= delivery.delivered_ms {
                return Err(HandleError::Unknown.into());
            }
            let before = broker.log.stored_ranges(self.number, next, delivery.offset, FORGOTTEN_MAX)?;
            let before = before.ok_or(HandleError::Unknown)?;
            queue.delivery.remember(delivery, &before);
            before.into_iter().flatten().for_each(|offset| queue.touched(offset));
        }
        Ok(queue)
    }
}
