//! Taking messages for a consumer.
//!
//! Source: `broker/.../processor/PopMessageProcessor.java`.

use std::ops::Range;
use std::sync::Arc;

use log::{DefineError, PullLimits, PullOutcome, QueueNumber, QueueOffsets, ReadError};
use protocol::codes::ResponseCode;
use protocol::record::{self, Record};

use super::expiry::{self, Doomed};
use super::queue::Lease;
use super::{Consumption, Queue, State};
use crate::access::{self, AccessError};
use crate::broker::Broker;
use crate::filter::Filter;
use crate::groups::GroupSettings;
use crate::pull::read_matching;
use crate::stats;
use crate::topics::{MessageType, Topic};

/// Longest name of a receive call, in bytes.
pub const ATTEMPT_ID_BYTES_MAX: usize = 255;
/// Messages that one call gets, at most.
pub const MESSAGES_MAX: usize = 32;
/// Bytes that one call gets, at most, unless a single message is larger.
const BYTES_MAX: usize = 4 << 20;
/// Messages that one call passes over because they do not match, at most; then other calls get their turn.
const PASSED_OVER_MAX: usize = 2_048;

/// Where a group begins that never read the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the first message that is there.
    First,
    /// At the last message that is there; at the first as long as none has expired, so that who subscribes after the
    /// first send misses nothing.
    Last,
}

/// What a consumer asks for.
#[derive(Clone, Debug)]
pub struct TakeRequest {
    /// Consumer group.
    pub group: String,
    /// Topic.
    pub topic: String,
    /// Queue; none means any.
    pub queue_id: Option<i32>,
    /// Most messages wanted.
    pub max_messages: usize,
    /// How they are handed out.
    pub lease: Lease,
    /// What matches; the rest is passed over for the whole group.
    pub filter: Filter,
    /// Whether messages of a queue are handed out in order, one batch at a time.
    pub ordered: bool,
    /// Names the call in an ordered group: whoever repeats it gets the same again.
    pub attempt_id: Option<String>,
    /// Where a group begins that never read the queue.
    pub start: Start,
}

/// A message that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Queue.
    pub queue_id: i32,
    /// The log's number for the queue.
    pub queue: QueueNumber,
    /// Offset in the queue.
    pub offset: u64,
    /// Which attempt it is, counted from 1.
    pub attempt: u16,
    /// Where its record lies among the bytes that were read.
    pub bytes: Range<usize>,
}

/// What a call took.
#[derive(Debug, Default)]
pub struct Took {
    /// The messages.
    pub messages: Vec<Taken>,
    /// When they were handed out, in milliseconds since 1970: names these deliveries.
    pub delivered_ms: i64,
    /// Messages that the group has not been given yet.
    pub rest: u64,
    /// Queues with more that could be taken now.
    pub more: Vec<QueueNumber>,
}

/// Why nothing can be taken.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// The group may not read the topic.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The log cannot take one more queue.
    #[error(transparent)]
    Queue(#[from] DefineError),
    /// The log cannot be read.
    #[error("messages could not be read: {0}")]
    Read(#[from] ReadError),
}

impl TakeError {
    /// The code that a remoting client acts on.
    pub fn code(&self) -> ResponseCode {
        match self {
            Self::Access(error) => error.code().0,
            Self::Queue(_) | Self::Read(_) => ResponseCode::SYSTEM_ERROR,
        }
    }
}

/// Group and topic of a call, checked.
pub struct Access {
    /// Settings of the group.
    pub group: Arc<GroupSettings>,
    /// The topic.
    pub topic: Arc<Topic>,
    /// What the group has of the topic.
    pub consumption: Arc<Consumption>,
    /// The queues that are asked for.
    pub queues: Vec<(i32, QueueNumber)>,
}

/// Checks group, topic and queue.
pub fn check(broker: &Broker, group: &str, topic: &str, queue_id: Option<i32>) -> Result<Access, TakeError> {
    let topic = access::readable_topic(broker, topic)?;
    if let Some(queue_id) = queue_id {
        access::check_queue(&topic, queue_id)?;
    }
    let group = access::consuming_group(broker, group)?;
    access::check_allowed(&group, &topic)?;
    let consumption = broker.deliveries.of(&group.name, &topic.settings.name);
    let ids = queue_id.map_or(0..topic.settings.read_queues, |id| id..id + 1);
    let queues = ids.map(|id| Ok((id, broker.queue_number(&topic, id)?))).collect::<Result<_, DefineError>>()?;
    Ok(Access { group, topic, consumption, queues })
}

/// Takes messages and appends their records to `out`.
pub fn take(
    broker: &Arc<Broker>,
    access: &Access,
    request: &TakeRequest,
    out: &mut Vec<u8>,
) -> Result<Took, TakeError> {
    let mut state = access.consumption.lock();
    if state.is_forgotten {
        return Ok(Took::default());
    }
    let mut taking = Taking {
        broker,
        consumption: &access.consumption,
        request,
        attempts_max: expiry::attempts_max(&access.group),
        now_ms: broker.clock.now_ms(),
        from: out.len(),
        out,
        passed_over: 0,
        doomed: Vec::new(),
        took: Took::default(),
    };
    taking.took.delivered_ms = taking.now_ms;
    state.turn = state.turn.wrapping_add(1);
    let mut failed = None;
    let count = access.queues.len();
    let by_priority = access.topic.message_type == MessageType::Priority && !request.ordered;
    for index in 0..count {
        // The higher the priority the higher the queue. Others take turns, so that none is read last each time.
        let place = if by_priority { count - 1 - index } else { (index + state.turn) % count };
        let (queue_id, number) = access.queues[place];
        if let Err(error) = taking.visit(&mut state, queue_id, number) {
            // What other queues gave is out already.
            failed = Some(error);
        }
    }
    let Taking { took, doomed, from, out, .. } = taking;
    let read = &out[from..];
    if !took.messages.is_empty() {
        let by_queue = || {
            let runs = took.messages.chunk_by(|one, next| one.queue_id == next.queue_id);
            runs.map(|run| (run[0].queue_id, run.len()))
        };
        stats::count_got(broker, &access.topic, &request.group, by_queue, read.len());
        #[cfg(feature = "otel")]
        crate::spans::delivered(broker, &request.topic, &request.group, read);
    }
    broker.deliveries.look_again(&access.consumption, &mut state);
    drop(state);
    expiry::bury(broker, &access.consumption, doomed);
    match failed {
        Some(error) if took.messages.is_empty() => Err(error),
        Some(error) => {
            tracing::error!(%error, topic = request.topic, "a queue cannot be read");
            Ok(took)
        }
        None => Ok(took),
    }
}

/// Whether a call would get something now. Reads nothing, so what does not match counts too.
pub fn has_something(broker: &Arc<Broker>, access: &Access, request: &TakeRequest) -> bool {
    let mut state = access.consumption.lock();
    let now_ms = broker.clock.now_ms();
    access.queues.iter().any(|(queue_id, number)| {
        let offsets = broker.log.offsets(*number);
        let first = || first_offset(request.start, offsets);
        if !is_known(broker, access, &state, *queue_id) {
            return first() < offsets.max;
        }
        let queue = state.queue(&access.consumption, &broker.offsets, &broker.log, *queue_id, *number, first);
        let delivery = &queue.delivery;
        let attempt_id = request.attempt_id.as_deref();
        let is_due = delivery.in_flight().next_visible_ms().is_some_and(|next_ms| next_ms <= now_ms);
        is_due
            || !delivery.again(1, request.ordered, attempt_id).is_empty()
            || delivery.next() < offsets.max && delivery.may_go_on(0, request.ordered, attempt_id)
    })
}

/// Appends up to `max` records that were never handed out, and leaves them; returns how many there are in all.
pub fn peek(broker: &Arc<Broker>, access: &Access, max: usize, out: &mut Vec<u8>) -> Result<u64, ReadError> {
    let mut state = access.consumption.lock();
    let (mut count, mut rest) = (0, 0);
    for (queue_id, number) in &access.queues {
        let offsets = broker.log.offsets(*number);
        let first = || first_offset(Start::First, offsets);
        let next = match is_known(broker, access, &state, *queue_id) {
            true => {
                let of = &access.consumption;
                state.queue(of, &broker.offsets, &broker.log, *queue_id, *number, first).delivery.next()
            }
            false => first(),
        };
        rest += offsets.max.saturating_sub(next);
        if count < max {
            let limits = PullLimits { max_messages: max - count, max_bytes: BYTES_MAX };
            let pulled = broker.log.pull(*number, next, limits, &|_| true, out)?;
            if let PullOutcome::Found { count: found } = pulled.outcome {
                count += found;
            }
        }
    }
    Ok(rest)
}

/// Whether the group has begun to read a queue. Only taking makes it begin: it decides where.
fn is_known(broker: &Broker, access: &Access, state: &State, queue_id: i32) -> bool {
    let offset = || broker.offsets.get(&access.group.name, &access.topic.settings.name, queue_id);
    !state.is_forgotten && (state.queues.contains_key(&queue_id) || offset().is_some())
}

fn first_offset(start: Start, offsets: QueueOffsets) -> u64 {
    match start {
        Start::Last if offsets.min > 0 => offsets.max.saturating_sub(1).max(offsets.min),
        Start::First | Start::Last => offsets.min,
    }
}

/// A call under way.
struct Taking<'a> {
    broker: &'a Arc<Broker>,
    consumption: &'a Arc<Consumption>,
    request: &'a TakeRequest,
    attempts_max: u16,
    now_ms: i64,
    out: &'a mut Vec<u8>,
    /// Length of `out` at the beginning.
    from: usize,
    /// Messages that did not match.
    passed_over: usize,
    /// Messages that had their last attempt.
    doomed: Vec<Doomed>,
    took: Took,
}

impl Taking<'_> {
    fn room(&self) -> PullLimits {
        PullLimits {
            max_messages: self.request.max_messages.clamp(1, MESSAGES_MAX) - self.took.messages.len(),
            max_bytes: BYTES_MAX.saturating_sub(self.out.len() - self.from),
        }
    }

    fn is_full(&self) -> bool {
        let room = self.room();
        room.max_messages == 0 || room.max_bytes == 0
    }

    /// Takes what a queue has to give.
    fn visit(&mut self, state: &mut State, queue_id: i32, number: QueueNumber) -> Result<(), TakeError> {
        let (broker, request) = (self.broker, self.request);
        let log_offsets = broker.log.offsets(number);
        let first = || first_offset(request.start, log_offsets);
        let queue = state.queue(self.consumption, &broker.offsets, &broker.log, queue_id, number, first);
        expiry::expire(broker, queue_id, queue, self.now_ms, self.attempts_max, &mut self.doomed);
        let result = if self.is_full() { Ok(()) } else { self.take_from(queue, queue_id, number, log_offsets.max) };
        let left = log_offsets.max.saturating_sub(queue.delivery.next());
        self.took.rest += left;
        let again = !queue.delivery.again(1, request.ordered, None).is_empty();
        if again || 0 < left && queue.delivery.may_go_on(0, request.ordered, None) {
            self.took.more.push(number);
        }
        result
    }

    fn take_from(&mut self, queue: &mut Queue, queue_id: i32, number: QueueNumber, max: u64) -> Result<(), TakeError> {
        let ordered = self.request.ordered;
        let attempt_id = self.request.attempt_id.as_deref();
        let has_fresh = queue.delivery.next() < max;
        let room = self.room().max_messages;
        let limit = match has_fresh {
            // Some may be gone, and then those behind them are next.
            _ if ordered => usize::MAX,
            // What comes again must not keep back what never came.
            true if room == 1 => self.broker.next_turn() as usize & 1,
            true => room.div_ceil(2),
            false => room,
        };
        let before = self.took.messages.len();
        let again = queue.delivery.again(limit, ordered, attempt_id);
        let mut result = Ok(());
        for offset in &again {
            if self.is_full() || result.is_err() {
                break;
            }
            result = self.hand_out_again(queue, queue_id, number, *offset);
        }
        let handed_out = self.took.messages.len() - before;
        if result.is_ok() && !self.is_full() && queue.delivery.may_go_on(handed_out, ordered, attempt_id) {
            result = self.take_fresh(queue, queue_id, number);
        }
        if ordered && before < self.took.messages.len() {
            queue.delivery.handed_out_to(attempt_id);
        }
        result
    }

    fn hand_out_again(
        &mut self,
        queue: &mut Queue,
        queue_id: i32,
        number: QueueNumber,
        offset: u64,
    ) -> Result<(), TakeError> {
        let from = self.out.len();
        let one = PullLimits { max_messages: 1, max_bytes: 1 };
        let pulled = self.broker.log.pull(number, offset, one, &|_| true, self.out)?;
        let found = Record::parse(&self.out[from..]).ok().filter(|record| record.queue_offset() == offset);
        let matches = found.is_some_and(|record| self.request.filter.matches(&record.properties()));
        queue.touched(offset);
        match pulled.outcome {
            PullOutcome::Found { .. } if matches => self.hand_out(queue, queue_id, number, offset, from),
            _ => {
                // It does not match (any more), or is gone: there is nothing left to do with it.
                self.out.truncate(from);
                queue.delivery.settle(offset);
            }
        }
        Ok(())
    }

    /// Takes messages that were never handed out.
    fn take_fresh(&mut self, queue: &mut Queue, queue_id: i32, number: QueueNumber) -> Result<(), TakeError> {
        let filter = &self.request.filter;
        while !self.is_full() && self.passed_over < PASSED_OVER_MAX {
            let (from, before) = (self.out.len(), queue.delivery.next());
            let pulled = read_matching(&self.broker.log, number, before, self.room(), filter, self.out)?;
            match pulled.outcome {
                PullOutcome::Found { .. } => {}
                PullOutcome::NothingMatched => {
                    queue.delivery.pass_over(pulled.next_offset);
                    queue.touched(before);
                    queue.touched(pulled.next_offset);
                    self.passed_over += (pulled.next_offset - before) as usize;
                    continue;
                }
                PullOutcome::BeforeStart => {
                    // Retention was here since.
                    queue.delivery.forget_below(pulled.next_offset);
                    continue;
                }
                PullOutcome::AtEnd | PullOutcome::BeyondEnd | PullOutcome::Empty => return Ok(()),
            }
            let found = self.out.split_off(from);
            for record in record::records(&found) {
                if filter.needs_properties() || filter.matches(&record.properties()) {
                    let at = self.out.len();
                    self.out.extend_from_slice(record.bytes());
                    self.hand_out(queue, queue_id, number, record.queue_offset(), at);
                } else {
                    self.passed_over += 1;
                }
            }
            queue.delivery.pass_over(pulled.next_offset);
            queue.touched(pulled.next_offset);
        }
        Ok(())
    }

    fn hand_out(&mut self, queue: &mut Queue, queue_id: i32, number: QueueNumber, offset: u64, from: usize) {
        let attempt = queue.delivery.hand_out(offset, self.now_ms, self.request.lease);
        queue.touched(offset);
        let bytes = from..self.out.len();
        self.took.messages.push(Taken { queue_id, queue: number, offset, attempt, bytes });
    }
}
