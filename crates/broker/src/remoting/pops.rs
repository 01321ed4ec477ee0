//! POP_MESSAGE (200050), NOTIFICATION (200054) and what goes with them: answered at once or held.
//!
//! A held request is woken wherever a message arrives and run again by one task, after the producer got its answer.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::Stopwatch;
use net::Connection;
use protocol::codes::{RequestCode, ResponseCode};
use protocol::frame::Codec;
use protocol::pop::{
    Notification, ORDERED_REVIVE_QUEUE, OffsetInfo, PeekMessage, PollingInfo, PollingNumber, PopMessage,
};
use protocol::record;
use protocol::writer::FrameWriter;
use tokio::sync::Notify;

use super::call::{Call, Refusal};
use super::timing;
use crate::broker::Broker;
use crate::delivery::settling;
use crate::delivery::taking::{self, Access, Start, TakeError, TakeRequest, Took};
use crate::delivery::{INVISIBLE_MAX, Lease};
use crate::filter::{Filter, FilterKind};
use crate::held_receives::Woken;
use crate::pull::{self, PullError};
use crate::receive_waits::Wanted;

/// Age above which a request is too old to be served, in milliseconds, beyond the time it may be held.
const LATE_MS: i64 = 500;
/// Requests are answered this much before their time is up, in milliseconds.
const AHEAD_MS: i64 = 50;
/// Longest time for which a request is held, in milliseconds.
const HOLD_MAX_MS: i64 = 60_000;
/// Woken requests that are run before connections of the same thread get their turn.
const IN_A_ROW: usize = 32;

/// A pop or notification that is held.
pub struct HeldPop {
    connection: Arc<Connection>,
    opaque: i32,
    codec: Codec,
    deadline_ms: i64,
    /// Runs since it came.
    since: Stopwatch,
    asked: Asked,
}

/// What is asked.
enum Asked {
    /// Messages.
    Messages(TakeRequest),
    /// Whether there are any.
    Notification(TakeRequest),
}

impl Asked {
    fn request(&self) -> &TakeRequest {
        match self {
            Asked::Messages(request) | Asked::Notification(request) => request,
        }
    }

    fn code(&self) -> RequestCode {
        match self {
            Asked::Messages(_) => RequestCode::POP_MESSAGE,
            Asked::Notification(_) => RequestCode::NOTIFICATION,
        }
    }
}

/// Held requests that were woken, to be run again.
#[derive(Default)]
pub struct WokenPops {
    woken: Mutex<VecDeque<(Woken, HeldPop)>>,
    more: Notify,
}

impl WokenPops {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(Woken, HeldPop)>> {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub fn pop(call: &mut Call<'_>) -> Result<(), Refusal> {
    let Err(refusal) = pop_or_hold(call) else { return Ok(()) };
    // Clients read the fields whatever the code.
    FrameWriter::response(call.out, call.codec, refusal.code, call.header.opaque, Some(&refusal.remark))
        .integer("popTime", 0)
        .integer("invisibleTime", 0)
        .integer("reviveQid", 0)
        .integer("restNum", 0)
        .finish(b"");
    Ok(())
}

fn pop_or_hold(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: PopMessage<'_> = call.read()?;
    let now_ms = call.broker.clock.now_ms();
    let born_ms = if header.born_time > 0 { header.born_time } else { now_ms };
    let late_ms = now_ms.saturating_sub(born_ms).saturating_sub(header.poll_time);
    if LATE_MS < late_ms {
        let remark = format!("the request is {late_ms} ms past its poll time; the limit is {LATE_MS}");
        return Err(Refusal::new(ResponseCode::POLLING_TIMEOUT, remark));
    }
    let max = taking::MESSAGES_MAX as i32;
    if header.max_msg_nums > max {
        let remark = format!("{} messages are wanted at once; the limit is {max}", header.max_msg_nums);
        return Err(Refusal::new(ResponseCode::INVALID_PARAMETER, remark));
    }
    let request = TakeRequest {
        group: header.consumer_group.into_owned(),
        topic: header.topic.into_owned(),
        queue_id: (header.queue_id >= 0).then_some(header.queue_id),
        max_messages: header.max_msg_nums.max(1) as usize,
        lease: Lease { invisible_ms: header.invisible_time.clamp(0, INVISIBLE_MAX.as_millis() as i64), holder: 0 },
        filter: filter_of(call.broker, header.exp_type.as_deref(), header.exp.as_deref())?,
        ordered: header.order,
        attempt_id: attempt_id(header.attempt_id)?,
        start: if header.init_mode == 0 { Start::First } else { Start::Last },
    };
    let deadline_ms = deadline_ms(now_ms, born_ms, header.poll_time);
    serve(call, Asked::Messages(request), deadline_ms)
}

pub fn notification(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: Notification<'_> = call.read()?;
    let now_ms = call.broker.clock.now_ms();
    let born_ms = if header.born_time > 0 { header.born_time } else { now_ms };
    let request = TakeRequest {
        group: header.consumer_group.into_owned(),
        topic: header.topic.into_owned(),
        queue_id: (header.queue_id >= 0).then_some(header.queue_id),
        max_messages: 1,
        lease: Lease { invisible_ms: 0, holder: 0 },
        filter: Filter::All,
        ordered: header.order,
        attempt_id: attempt_id(header.attempt_id)?,
        start: Start::Last,
    };
    let deadline_ms = deadline_ms(now_ms, born_ms, header.poll_time);
    serve(call, Asked::Notification(request), deadline_ms)
}

/// PEEK_MESSAGE (200052): what a pop would find, left where it is.
pub fn peek(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: PeekMessage<'_> = call.read()?;
    let broker = call.broker;
    let queue_id = (header.queue_id >= 0).then_some(header.queue_id);
    let access = taking::check(broker, &header.consumer_group, &header.topic, queue_id).map_err(refusal)?;
    let max = header.max_msg_nums.clamp(1, taking::MESSAGES_MAX as i32) as usize;
    let mut body = Vec::new();
    let took = taking::peek(broker, &access, max, &mut body).map_err(|error| refusal(error.into()))?;
    let code = if body.is_empty() { ResponseCode::PULL_NOT_FOUND } else { ResponseCode::SUCCESS };
    call.answer(code)
        .integer("popTime", broker.clock.now_ms())
        .integer("invisibleTime", 0)
        .integer("reviveQid", 0)
        .integer("restNum", took as i64)
        .finish(&body);
    Ok(())
}

pub fn polling_info(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: PollingInfo<'_> = call.read()?;
    let broker = call.broker;
    let queue_id = (header.queue_id >= 0).then_some(header.queue_id);
    let access = taking::check(broker, &header.consumer_group, &header.topic, queue_id).map_err(refusal)?;
    let polling_num = broker.receives.count(access.consumption.id, wanted(queue_id, &access)) as i32;
    call.answer_header(&PollingNumber { polling_num });
    Ok(())
}

/// The name of a call, which is kept for as long as its messages are out.
fn attempt_id(given: Option<Cow<'_, str>>) -> Result<Option<String>, Refusal> {
    let max = taking::ATTEMPT_ID_BYTES_MAX;
    match given {
        Some(id) if max < id.len() => {
            let remark = format!("the attempt id is {} bytes long; the limit is {max}", id.len());
            Err(Refusal::new(ResponseCode::INVALID_PARAMETER, remark))
        }
        given => Ok(given.map(Cow::into_owned)),
    }
}

fn deadline_ms(now_ms: i64, born_ms: i64, poll_ms: i64) -> i64 {
    born_ms.saturating_add(poll_ms).saturating_sub(AHEAD_MS).clamp(now_ms, now_ms + HOLD_MAX_MS)
}

/// The filter that a request brings.
fn filter_of(broker: &Broker, kind: Option<&str>, expression: Option<&str>) -> Result<Filter, Refusal> {
    let Some(expression) = expression.filter(|expression| !expression.is_empty()) else { return Ok(Filter::All) };
    let kind = FilterKind::parse(kind.unwrap_or_default()).map_err(PullError::Filter);
    let read = kind.and_then(|kind| pull::read_filter(broker, kind, expression));
    read.map_err(|error| Refusal::new(error.code().0, error))
}

fn wanted(queue_id: Option<i32>, access: &Access) -> Wanted {
    match (queue_id, access.queues.as_slice()) {
        (Some(_), [(_, number)]) => Wanted::Queue(*number),
        _ => Wanted::Any,
    }
}

fn refusal(error: TakeError) -> Refusal {
    Refusal::new(error.code(), error)
}

/// Answers now, or holds the request.
fn serve(call: &mut Call<'_>, asked: Asked, deadline_ms: i64) -> Result<(), Refusal> {
    let held = HeldPop {
        connection: call.connection.clone(),
        opaque: call.header.opaque,
        codec: call.codec,
        deadline_ms,
        since: call.since,
        asked,
    };
    let may_hold = !call.header.is_oneway() && call.broker.clock.now_ms() < deadline_ms;
    match try_now(call.broker, held, may_hold) {
        Tried::Held => Ok(()),
        Tried::Answer(answer) => {
            answer.write(call.out);
            Ok(())
        }
        Tried::Refused(_, error) => Err(refusal(error)),
    }
}

/// What became of a request.
enum Tried {
    Held,
    Answer(Answer),
    Refused(HeldPop, TakeError),
}

/// Runs a request, and holds it if there is nothing and it may be held.
fn try_now(broker: &Arc<Broker>, held: HeldPop, may_hold: bool) -> Tried {
    let request = held.asked.request();
    let access = match taking::check(broker, &request.group, &request.topic, request.queue_id) {
        Ok(access) => access,
        Err(error) => return Tried::Refused(held, error),
    };
    let answer = match run(broker, &access, &held) {
        Ok(answer) => answer,
        Err(error) => return Tried::Refused(held, error),
    };
    if !may_hold || answer.found {
        return Tried::Answer(answer);
    }
    let (topic, wanted, deadline_ms) = (access.consumption.id, wanted(request.queue_id, &access), held.deadline_ms);
    let queues: Vec<log::QueueNumber> = access.queues.iter().map(|(_, number)| *number).collect();
    let request = request.clone();
    let woken_pops = broker.woken_pops.clone();
    let wake = Box::new(move |woken| {
        woken_pops.lock().push_back((woken, held));
        woken_pops.more.notify_one();
    });
    let Ok(id) = broker.receives.hold(topic, &queues, wanted, deadline_ms, wake) else {
        return Tried::Answer(Answer { code: ResponseCode::POLLING_FULL, ..answer });
    };
    // A message that came between our look and the hold woke nobody.
    if taking::has_something(broker, &access, &request) {
        broker.receives.wake(id);
    }
    Tried::Held
}

/// An answer to a pop or notification.
struct Answer {
    codec: Codec,
    opaque: i32,
    code: ResponseCode,
    found: bool,
    kind: Kind,
}

enum Kind {
    Messages { took: Took, body: Vec<u8>, lease: Lease, ordered: bool },
    Notification,
}

fn run(broker: &Arc<Broker>, access: &Access, held: &HeldPop) -> Result<Answer, TakeError> {
    let (codec, opaque) = (held.codec, held.opaque);
    match &held.asked {
        Asked::Notification(request) => {
            let found = taking::has_something(broker, access, request);
            Ok(Answer { codec, opaque, code: ResponseCode::SUCCESS, found, kind: Kind::Notification })
        }
        Asked::Messages(request) => {
            let mut body = Vec::new();
            let took = taking::take(broker, access, request, &mut body)?;
            for taken in &took.messages {
                let times =
                    record::Record::parse(&body[taken.bytes.clone()]).map_or(0, |record| record.reconsume_times());
                let times = times.saturating_add(i32::from(taken.attempt) - 1);
                record::set_reconsume_times(&mut body[taken.bytes.clone()], times);
            }
            let found = !took.messages.is_empty();
            if found {
                took.more.iter().for_each(|queue| broker.receives.wake_next(access.consumption.id, Some(*queue)));
            }
            let code = if found { ResponseCode::SUCCESS } else { ResponseCode::POLLING_TIMEOUT };
            let kind = Kind::Messages { took, body, lease: request.lease, ordered: request.ordered };
            Ok(Answer { codec, opaque, code, found, kind })
        }
    }
}

impl Answer {
    /// The connection has ended: others get the messages.
    fn take_back(&self, broker: &Arc<Broker>, request: &TakeRequest) {
        if let Kind::Messages { took, .. } = &self.kind {
            settling::take_back(broker, request, took.delivered_ms, took.messages.iter().cloned());
        }
    }

    /// A notification says in its fields what a pop says by its code.
    fn written_code(&self) -> ResponseCode {
        match self.kind {
            Kind::Notification => ResponseCode::SUCCESS,
            Kind::Messages { .. } => self.code,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let full = self.code == ResponseCode::POLLING_FULL;
        match &self.kind {
            Kind::Notification => {
                FrameWriter::response(out, self.codec, self.written_code(), self.opaque, None)
                    .boolean("hasMsg", self.found)
                    .boolean("pollingFull", full)
                    .finish(b"");
            }
            Kind::Messages { took, body, lease, ordered } => {
                let remark = if self.found { "FOUND" } else { "NO_MESSAGE_IN_QUEUE" };
                let offsets =
                    took.messages.iter().map(|taken| (taken.queue_id, taken.offset, taken.attempt.saturating_sub(1)));
                let info = OffsetInfo::of(offsets);
                let mut frame = FrameWriter::response(out, self.codec, self.code, self.opaque, Some(remark))
                    .integer("popTime", took.delivered_ms)
                    .integer("invisibleTime", lease.invisible_ms)
                    .integer("reviveQid", if *ordered { ORDERED_REVIVE_QUEUE } else { 0 })
                    .integer("restNum", took.rest as i64)
                    .text("startOffsetInfo", &info.start)
                    .text("msgOffsetInfo", &info.messages);
                if *ordered {
                    frame = frame.text("orderCountInfo", &info.counts);
                }
                frame.finish(body);
            }
        }
    }
}

/// Runs held requests again that were woken, until the broker stops.
pub async fn answer_woken_pops(broker: Arc<Broker>) {
    loop {
        if answer_ready_pops(&broker) {
            tokio::task::yield_now().await;
            continue;
        }
        tokio::select! {
            () = broker.woken_pops.more.notified() => {}
            () = broker.shutdown.cancelled() => return,
        }
    }
}

/// Runs held requests again that were woken, some of them if there are many; says whether there are more.
pub fn answer_ready_pops(broker: &Arc<Broker>) -> bool {
    let taken: Vec<(Woken, HeldPop)> = {
        let mut woken = broker.woken_pops.lock();
        let count = woken.len().min(IN_A_ROW);
        woken.drain(..count).collect()
    };
    for (woken, held) in taken {
        run_again(broker, woken, held);
    }
    !broker.woken_pops.lock().is_empty()
}

fn run_again(broker: &Arc<Broker>, woken: Woken, held: HeldPop) {
    if held.connection.is_closed() {
        if woken == Woken::Message {
            wake_another(broker, held.asked.request());
        }
        return;
    }
    let (connection, request) = (held.connection.clone(), held.asked.request().clone());
    let (asked, since) = (held.asked.code(), held.since);
    let may_hold = woken == Woken::Message && broker.clock.now_ms() < held.deadline_ms;
    match try_now(broker, held, may_hold) {
        Tried::Held => {}
        Tried::Answer(answer) => {
            if matches!(answer.kind, Kind::Notification) {
                wake_another(broker, &request);
            }
            timing::note_held(broker, asked, answer.written_code(), since);
            if !connection.send(|out| answer.write(out)) {
                answer.take_back(broker, &request);
            }
        }
        Tried::Refused(held, error) => {
            wake_another(broker, &request);
            timing::note_held(broker, asked, error.code(), since);
            connection.send(|out| {
                let remark = error.to_string();
                FrameWriter::response(out, held.codec, error.code(), held.opaque, Some(&remark)).finish(b"");
            });
        }
    }
}

/// Somebody else can have what a request was woken for that takes nothing.
fn wake_another(broker: &Arc<Broker>, request: &TakeRequest) {
    let Ok(access) = taking::check(broker, &request.group, &request.topic, request.queue_id) else { return };
    let queue = match wanted(request.queue_id, &access) {
        Wanted::Queue(number) => Some(number),
        Wanted::Any => None,
    };
    broker.receives.wake_next(access.consumption.id, queue);
}
