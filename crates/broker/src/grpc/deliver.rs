//! ReceiveMessage: takes messages, waits for them as long as the client allows, and gives back what it did not get.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use hyper::body::Incoming;
use log::QueueNumber;
use prost_types::Timestamp;
use protocol::record::Record;
use protocol::v2::receive_message_response::Content;
use protocol::v2::{self, Code, ReceiveMessageResponse};
use tokio::sync::oneshot;

use super::answer::ok;
use super::body::Reply;
use super::call::{Call, Peer};
use super::code::Refused;
use super::message::{message_of, timestamp};
use super::settings::{LONG_POLL_MAX, RECEIVE_BATCH_MAX};
use super::{unary, validate};
use crate::broker::Broker;
use crate::delivery::settling;
use crate::delivery::taking::{self, Access, Start, TakeRequest, Taken, Took};
use crate::delivery::{Delivery, Handle, INVISIBLE_MAX, Lease};
use crate::held_receives::Woken;
use crate::receive_waits::{WaiterId, Wanted};

/// Time that an answer needs to arrive before the client gives up.
const RESERVE: Duration = Duration::from_millis(200);
/// Time for which messages are invisible whose consumer holds them for as long as it lives; then it gets more.
const RENEWED_INVISIBLE: Duration = Duration::from_secs(60);
/// Shortest time for which a consumer may ask for messages to be invisible.
const INVISIBLE_MIN: Duration = Duration::from_secs(10);

/// Receives, and waits for messages as long as the client allows.
pub async fn receive_message(peer: Rc<Peer>, request: http::Request<Incoming>) -> http::Response<Reply> {
    unary::streamed(peer, request, refusal, |call, request| elements(Step::Asked(Box::new((call, request))))).await
}

/// What comes next in the stream of a call.
enum Step {
    Asked(Box<(Call, v2::ReceiveMessageRequest)>),
    Giving(Box<Giving>),
    Over(Arc<Broker>),
    Ended,
}

/// Status first, messages, and the time of sending last. Each is made when it can be sent.
fn elements(first: Step) -> impl Stream<Item = ReceiveMessageResponse> {
    futures_util::stream::unfold(first, |step| async move {
        match step {
            Step::Asked(asked) => {
                let (call, request) = *asked;
                Some(match receive(&call, &request).await {
                    Ok(giving) => (element(Content::Status(ok())), Step::Giving(Box::new(giving))),
                    Err(refused) => (refusal(refused), Step::Over(call.broker().clone())),
                })
            }
            Step::Giving(mut giving) => Some(match giving.next() {
                Some(message) => (element(Content::Message(message)), Step::Giving(giving)),
                None => (element(Content::DeliveryTimestamp(now(&giving.broker))), Step::Ended),
            }),
            Step::Over(broker) => Some((element(Content::DeliveryTimestamp(now(&broker))), Step::Ended)),
            Step::Ended => None,
        }
    })
}

fn element(content: Content) -> ReceiveMessageResponse {
    ReceiveMessageResponse { content: Some(content) }
}

fn refusal(refused: Refused) -> ReceiveMessageResponse {
    element(Content::Status(refused.into()))
}

fn now(broker: &Broker) -> Timestamp {
    timestamp(broker.clock.now_ms())
}

/// Messages on their way to a client. Those that it did not get when the call ends are handed to others.
struct Giving {
    broker: Arc<Broker>,
    request: TakeRequest,
    delivered_ms: i64,
    left: std::vec::IntoIter<Taken>,
    /// The message that was made last: it counts as got when the next element is asked for.
    on_its_way: Option<Taken>,
    records: Bytes,
}

impl Giving {
    fn next(&mut self) -> Option<v2::Message> {
        loop {
            self.on_its_way = self.left.next();
            let taken = self.on_its_way.as_ref()?;
            let Ok(record) = Record::parse(&self.records[taken.bytes.clone()]) else { continue };
            let mut message = message_of(&record, self.records.slice_ref(record.body()));
            if let Some(system) = &mut message.system_properties {
                let handle = Handle {
                    queue_id: taken.queue_id,
                    queue_number: taken.queue.0,
                    delivery: Delivery { offset: taken.offset, delivered_ms: self.delivered_ms },
                };
                system.receipt_handle = Some(handle.encode(&self.request.group, &self.request.topic));
                let before = record.reconsume_times().max(0);
                system.delivery_attempt = Some(before.saturating_add(i32::from(taken.attempt)));
            }
            return Some(message);
        }
    }
}

impl Drop for Giving {
    fn drop(&mut self) {
        let messages = self.on_its_way.take().into_iter().chain(self.left.by_ref());
        settling::take_back(&self.broker, &self.request, self.delivered_ms, messages);
    }
}

async fn receive(call: &Call, request: &v2::ReceiveMessageRequest) -> Result<Giving, Refused> {
    let broker = call.broker();
    let deadline_ms = broker.clock.now_ms() + hold(call, request).as_millis() as i64;
    let mut wanted = question(call, request)?;
    let mut last = false;
    loop {
        let access = taking::check(broker, &wanted.group, &wanted.topic, None)?;
        wanted.ordered = access.group.consume_message_orderly;
        let mut records = Vec::new();
        let took = taking::take(broker, &access, &wanted, &mut records)?;
        if !took.messages.is_empty() {
            took.more.iter().for_each(|queue| broker.receives.wake_next(access.consumption.id, Some(*queue)));
            return Ok(giving(broker, wanted, took, records));
        }
        if last || deadline_ms <= broker.clock.now_ms() {
            return Err(Refused::new(Code::MessageNotFound, "no new message"));
        }
        last = wait(broker, &access, &wanted, deadline_ms).await? == Woken::Deadline;
    }
}

fn giving(broker: &Arc<Broker>, request: TakeRequest, took: Took, records: Vec<u8>) -> Giving {
    let (delivered_ms, left) = (took.delivered_ms, took.messages.into_iter());
    Giving { broker: broker.clone(), request, delivered_ms, left, on_its_way: None, records: records.into() }
}

/// How long the call may wait. A client that names no time, or none that makes sense, waits as long as its own deadline
/// allows: the simple consumers of Go name none, those of C# zero.
fn hold(call: &Call, request: &v2::ReceiveMessageRequest) -> Duration {
    let wanted = request.long_polling_timeout.and_then(validate::duration);
    let wanted = wanted.filter(|wait| !wait.is_zero()).unwrap_or(LONG_POLL_MAX).min(LONG_POLL_MAX);
    wanted.min(call.time_limit().unwrap_or(LONG_POLL_MAX).saturating_sub(RESERVE))
}

fn question(call: &Call, request: &v2::ReceiveMessageRequest) -> Result<TakeRequest, Refused> {
    let broker = call.broker();
    let missing = || Refused::new(Code::IllegalTopic, "the request names no queue");
    let queue = request.message_queue.as_ref().ok_or_else(missing)?;
    let topic = validate::topic(&queue.topic)?;
    let group = validate::group(&request.group)?;
    if let Some(id) = request.attempt_id.as_ref().filter(|id| taking::ATTEMPT_ID_BYTES_MAX < id.len()) {
        let text = format!("the attempt id is {} bytes long; the limit is {}", id.len(), taking::ATTEMPT_ID_BYTES_MAX);
        return Err(Refused::new(Code::BadRequest, text));
    }
    let lease = if request.auto_renew {
        taking::check(broker, group, topic, None)?;
        let holder = broker.deliveries.heard(group, call.client_id()?, broker.clock.now_ms());
        Lease { invisible_ms: RENEWED_INVISIBLE.as_millis() as i64, holder }
    } else {
        let time = invisible_time(&request.invisible_duration, INVISIBLE_MIN)?;
        Lease { invisible_ms: time.as_millis() as i64, holder: 0 }
    };
    Ok(TakeRequest {
        group: group.to_owned(),
        topic: topic.to_owned(),
        // Whatever queue is named, those of the broker are meant: assignments name none.
        queue_id: None,
        max_messages: request.batch_size.clamp(1, RECEIVE_BATCH_MAX) as usize,
        lease,
        filter: validate::filter(broker, request.filter_expression.as_ref())?,
        ordered: false,
        attempt_id: request.attempt_id.clone(),
        start: Start::Last,
    })
}

/// A time for which messages are to be invisible.
pub fn invisible_time(given: &Option<prost_types::Duration>, min: Duration) -> Result<Duration, Refused> {
    let given = given.unwrap_or_default();
    let time = validate::duration(given).filter(|time| (min..=INVISIBLE_MAX).contains(time));
    time.ok_or_else(|| {
        let text = format!(
            "the invisible duration is {}.{:03} s; it can be {} to {} s",
            given.seconds,
            given.nanos / 1_000_000,
            min.as_secs(),
            INVISIBLE_MAX.as_secs()
        );
        Refused::new(Code::IllegalInvisibleTime, text)
    })
}

/// A call that waits. Whoever was woken and does not come to look wakes the next.
struct Waiting<'a> {
    broker: &'a Broker,
    topic: u64,
    id: WaiterId,
    looks: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.looks && !self.broker.receives.forget(self.id) {
            self.broker.receives.wake_next(self.topic, None);
        }
    }
}

async fn wait(broker: &Arc<Broker>, access: &Access, wanted: &TakeRequest, deadline_ms: i64) -> Result<Woken, Refused> {
    let (wake, woken) = oneshot::channel();
    let queues: Vec<QueueNumber> = access.queues.iter().map(|(_, number)| *number).collect();
    let topic = access.consumption.id;
    let wake = Box::new(move |why| {
        // Who is gone meanwhile has passed it on.
        let _ = wake.send(why);
    });
    let id = broker
        .receives
        .hold(topic, &queues, Wanted::Any, deadline_ms, wake)
        .map_err(|_| Refused::new(Code::TooManyRequests, "polling full"))?;
    let mut waiting = Waiting { broker, topic, id, looks: false };
    // A message that came between our look and the hold woke nobody.
    if taking::has_something(broker, access, wanted) && broker.receives.forget(id) {
        waiting.looks = true;
        // A filter that matches little must not keep the thread from others.
        tokio::task::yield_now().await;
        return Ok(Woken::Message);
    }
    tokio::select! {
        why = woken => {
            waiting.looks = true;
            Ok(why.unwrap_or(Woken::Deadline))
        }
        () = broker.shutdown.cancelled() => Err(Refused::new(Code::MessageNotFound, "the broker stops")),
    }
}
