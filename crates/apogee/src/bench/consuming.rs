//! One connection that pulls and checks what it gets.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use protocol::codes::{Language, RequestCode, ResponseCode};
use protocol::frame::{Codec, Frame};
use protocol::header::{FieldSpans, Header};
use protocol::record::Record;
use protocol::requests::{PullMessage, PullMessageResult};
use protocol::typed::TypedHeader;
use protocol::writer::{FrameWriter, OWN_VERSION};
use tokio::time::Instant;

use super::producing::{Schedule, remark};
use super::tally::Tally;
use super::wire::Wire;

/// Bits of a pull: it may be held, and it brings its own subscription.
const HELD_WITH_SUBSCRIPTION: i32 = 2 | 4;

/// How long the broker may hold a pull.
const HOLD: Duration = Duration::from_secs(10);

/// What is the same for every connection of a run.
#[derive(Clone, Debug)]
pub struct Pulling {
    /// Topic.
    pub topic: Arc<str>,
    /// Consumer group.
    pub group: Arc<str>,
    /// Messages in one answer, at most.
    pub messages_max: i32,
    /// Whether to wait for new messages at the end instead of starting over.
    pub follow: bool,
}

/// A queue that is read, one pull at a time.
#[derive(Clone, Copy, Debug)]
struct Queue {
    id: i32,
    next: i64,
    asked_at: Instant,
}

/// A connection that reads some queues of one broker.
pub struct Consuming {
    wire: Wire,
    pulling: Pulling,
    queues: Vec<Queue>,
    schedule: Schedule,
    tally: Rc<RefCell<Tally>>,
}

impl Consuming {
    /// Reads `queues` from the given offsets on.
    pub fn new(
        wire: Wire,
        pulling: Pulling,
        queues: &[(i32, i64)],
        schedule: Schedule,
        tally: Rc<RefCell<Tally>>,
    ) -> Consuming {
        let queues = queues.iter().map(|(id, next)| Queue { id: *id, next: *next, asked_at: schedule.start });
        Consuming { wire, pulling, queues: queues.collect(), schedule, tally }
    }

    /// Pulls until the schedule ends.
    pub async fn run(mut self) {
        if let Err(error) = self.pull_until_end().await {
            self.tally.borrow_mut().fault("connection", || error.to_string());
        }
    }

    async fn pull_until_end(&mut self) -> io::Result<()> {
        let mut over = pin!(tokio::time::sleep_until(self.schedule.end));
        for slot in 0..self.queues.len() {
            ask(&mut self.wire.outgoing, &self.pulling, &self.queues[slot], slot);
        }
        loop {
            tokio::select! {
                biased;
                turn = self.wire.turn() => turn?,
                () = &mut over => return Ok(()),
            }
            let now = Instant::now();
            if self.schedule.end <= now {
                return Ok(());
            }
            let Consuming { wire, pulling, queues, schedule, tally } = self;
            let mut tally = tally.borrow_mut();
            wire.take_frames(|outgoing, frame| {
                let mut spans = FieldSpans::default();
                let Some(codec) = Codec::from_number(frame.codec_number) else { return };
                let Ok(header) = Header::decode(codec, frame.header, &mut spans) else { return };
                let slot = usize::try_from(header.opaque).unwrap_or(usize::MAX);
                let (true, Some(queue)) = (header.is_response(), queues.get_mut(slot)) else { return };
                let mut checks = Checks { pulling, tally: &mut tally, now, wall_us: schedule.wall_us(now) };
                checks.take(queue, &header, frame);
                queue.asked_at = now;
                ask(outgoing, pulling, queue, slot);
            })?;
        }
    }
}

fn ask(out: &mut Vec<u8>, pulling: &Pulling, queue: &Queue, slot: usize) {
    let pull = PullMessage {
        consumer_group: Cow::Borrowed(&pulling.group),
        topic: Cow::Borrowed(&pulling.topic),
        queue_id: queue.id,
        queue_offset: queue.next,
        max_msg_nums: pulling.messages_max,
        sys_flag: HELD_WITH_SUBSCRIPTION,
        commit_offset: 0,
        suspend_timeout_millis: HOLD.as_millis() as i64,
        subscription: Some(Cow::Borrowed("*")),
        sub_version: 0,
        expression_type: Some(Cow::Borrowed("TAG")),
        max_msg_bytes: None,
    };
    let code = RequestCode::PULL_MESSAGE.0;
    pull.encode(FrameWriter::begin(out, Codec::Json, code, Language::JAVA, OWN_VERSION, slot as i32, 0, None))
        .finish(b"");
}

/// Checks one answer.
struct Checks<'c> {
    pulling: &'c Pulling,
    tally: &'c mut Tally,
    now: Instant,
    wall_us: i64,
}

impl Checks<'_> {
    fn take(&mut self, queue: &mut Queue, header: &Header<'_>, frame: &Frame<'_>) {
        let code = ResponseCode(header.code);
        let result = match code {
            ResponseCode::SUCCESS
            | ResponseCode::PULL_NOT_FOUND
            | ResponseCode::PULL_RETRY_IMMEDIATELY
            | ResponseCode::PULL_OFFSET_MOVED => PullMessageResult::decode(&header.fields),
            _ => return self.tally.fault(code.to_string(), || remark(frame)),
        };
        let result = match result {
            Ok(result) => result,
            Err(error) => return self.tally.fault("answer without its fields", || error.to_string()),
        };
        if code == ResponseCode::SUCCESS {
            let after = self.records(queue, frame.body);
            if result.next_begin_offset < after {
                self.tally.fault("next offset before the last message", || {
                    format!("queue {}: next {} after {after}", queue.id, result.next_begin_offset)
                });
            }
            if !self.pulling.follow {
                self.tally.latency(queue.asked_at, self.now);
            }
        }
        queue.next = result.next_begin_offset;
        let is_empty = result.max_offset <= result.min_offset;
        if !self.pulling.follow && result.max_offset <= queue.next && !is_empty {
            queue.next = result.min_offset;
        }
    }

    /// Checks every record; returns the offset after the last.
    fn records(&mut self, queue: &Queue, mut body: &[u8]) -> i64 {
        let mut expected = queue.next;
        let (mut messages, mut body_bytes) = (0, 0);
        while !body.is_empty() {
            let record = match Record::parse(body) {
                Ok(record) => record,
                Err(error) => {
                    self.tally.fault("broken record", || error.to_string());
                    break;
                }
            };
            body = &body[record.size() as usize..];
            let offset = record.queue_offset() as i64;
            if offset != expected {
                self.tally.fault("offset out of order", || {
                    format!("queue {}: {offset} where {expected} was to come", queue.id)
                });
            }
            if (record.topic(), record.queue_id()) != (&*self.pulling.topic, queue.id) {
                self.tally.fault("message of another queue", || format!("{} {}", record.topic(), record.queue_id()));
            }
            if let Err(error) = record.verify_body() {
                self.tally.fault("broken body", || error.to_string());
            }
            if self.pulling.follow {
                self.tally.delivery(self.now, self.wall_us - born_us(&record));
            }
            expected = offset + 1;
            messages += 1;
            body_bytes += record.body().len() as u64;
        }
        if messages == 0 {
            self.tally.fault("answer without messages", String::new);
        }
        self.tally.answer(self.now, messages, body_bytes);
        expected
    }
}

/// When a message was born, in microseconds since 1970: `bench produce` puts those below a millisecond into the
/// message's flag.
fn born_us(record: &Record<'_>) -> i64 {
    record.born_timestamp_ms() * 1000 + i64::from(record.flag().clamp(0, 999))
}
