//! One connection that pulls and checks what it gets.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use protocol::codes::{Language, RequestCode, ResponseCode};
use protocol::frame::{Codec, Frame};
use protocol::header::{FieldSpans, Header};
use protocol::requests::{PullMessage, PullMessageResult};
use protocol::typed::TypedHeader;
use protocol::writer::{FrameWriter, OWN_VERSION};
use tokio::time::Instant;

use super::arrivals::{Arrivals, Checks};
use super::numbers::{Floors, Scattered};
use super::producing::{Schedule, remark};
use super::send_frame::Address;
use super::tally::Tally;
use super::topics::Topics;
use super::verify::Stream;
use super::wire::Wire;

/// Bits of a pull: it brings its own subscription, and it may be held.
const WITH_SUBSCRIPTION: i32 = 4;
const HELD: i32 = 2;

/// How long the broker may hold a pull.
const HOLD: Duration = Duration::from_secs(10);

/// Pulls that a connection which reads queues once has under way at most; each is of another queue.
const PULLS_MAX: usize = 64;

/// How often a reader looks whether everything has come, once nothing more is sent.
const DRAIN_LOOK: Duration = Duration::from_millis(5);

/// When a reader stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// When the time is over; at the end of a queue it starts over.
    TimeOver,
    /// When the time is over; at the end of a queue it waits for more.
    TimeFollowing,
    /// When everything that is sent meanwhile has come, or else so long after the time is over.
    Drained(Duration),
    /// When everything that is sent has come, or else so long after the last message is due.
    Delivered {
        /// From the start until the last message is due.
        due: Duration,
        /// So long after that.
        patience: Duration,
    },
    /// When the end of every queue is reached, or else the time is over.
    CaughtUp,
    /// When the end of every queue is reached. As long as something is missing that should be there, an end that is
    /// reached is looked at again for this long: stock brokers may acknowledge a message before it can be read.
    ReadBack(Duration),
}

impl Until {
    /// Whether queues are read to their end and then no more.
    fn reads_once(self) -> bool {
        matches!(self, Until::CaughtUp | Until::ReadBack(_))
    }
}

/// What the time of a message's arrival is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// The pull's own time is measured instead.
    Asked,
    /// When the message was born, by the producer's clock.
    Birth,
    /// When it was to be sent, by this process's clock.
    Intended,
    /// When it is due; messages that come before are faults.
    Due,
}

/// What is the same for every connection of a run.
#[derive(Clone, Debug)]
pub struct Pulling {
    /// Topics.
    pub topics: Topics,
    /// Consumer group.
    pub group: String,
    /// How headers are written.
    pub codec: Codec,
    /// Messages in one answer, at most.
    pub messages_max: i32,
    /// When to stop.
    pub until: Until,
    /// What is measured.
    pub since: Since,
    /// Whether checksums of bodies are checked.
    pub checksums: bool,
    /// Number of the run whose messages are verified one by one.
    pub run: Option<u32>,
    /// What came of the run, where the server chose the queues: then it is not told apart by queue.
    pub scattered: Option<Arc<Mutex<Scattered>>>,
}

/// A queue that is read, one pull at a time.
#[derive(Debug)]
pub struct Queue {
    /// Which one.
    pub address: Address,
    /// Offset of the next message.
    pub next: i64,
    asked_at: Instant,
    /// What came, by the number of the producing connection.
    pub streams: HashMap<u32, Stream>,
    /// The same where the server chose the queues.
    pub floors: Floors,
}

impl Queue {
    /// A queue that is read from `next` on.
    pub fn new(address: Address, next: i64, now: Instant) -> Queue {
        Queue { address, next, asked_at: now, streams: HashMap::new(), floors: Floors::new() }
    }
}

/// A connection that reads some queues of one broker.
pub struct Consuming {
    wire: Wire,
    pulling: Arc<Pulling>,
    names: Vec<String>,
    queues: Vec<Queue>,
    /// Queues that wait for their turn.
    line: VecDeque<usize>,
    /// Queues that are not read to their end.
    unfinished: usize,
    /// When the first end of a queue was reached.
    end_at: Option<Instant>,
    schedule: Schedule,
    arrivals: Arrivals,
    tally: Rc<RefCell<Tally>>,
}

impl Consuming {
    /// Reads `queues` from the given offsets on.
    pub fn new(
        wire: Wire,
        pulling: Arc<Pulling>,
        queues: &[(Address, i64)],
        schedule: Schedule,
        tally: Rc<RefCell<Tally>>,
    ) -> Consuming {
        let queue = |(address, next): &(Address, i64)| Queue::new(*address, *next, schedule.start);
        Consuming {
            wire,
            names: (0..pulling.topics.count()).map(|number| pulling.topics.name(number)).collect(),
            pulling,
            queues: queues.iter().map(queue).collect(),
            line: VecDeque::new(),
            unfinished: queues.len(),
            end_at: None,
            schedule,
            arrivals: Arrivals::default(),
            tally,
        }
    }

    /// Pulls until it is time to stop. Returns what came, and from which queues.
    pub async fn run(mut self) -> (Vec<Queue>, Arrivals) {
        if let Err(error) = self.pull_until_end().await {
            self.tally.borrow_mut().fault("connection", || error.to_string());
        }
        self.tally.borrow().progress().consuming.fetch_sub(1, Ordering::Relaxed);
        (self.queues, self.arrivals)
    }

    async fn pull_until_end(&mut self) -> io::Result<()> {
        // Queues that are read once take turns.
        let count = self.queues.len();
        let first = if self.pulling.until.reads_once() { PULLS_MAX.min(count) } else { count };
        for slot in 0..first {
            self.queues[slot].asked_at = Instant::now();
            ask(&mut self.wire.outgoing, &self.pulling, &self.names, &self.queues[slot], slot);
        }
        self.line.extend(first..count);
        let first_look = match self.pulling.until {
            Until::Delivered { due, .. } => self.schedule.start + due,
            _ => self.schedule.end,
        };
        let mut look = pin!(tokio::time::sleep_until(first_look));
        while self.unfinished > 0 {
            tokio::select! {
                biased;
                turn = self.wire.turn() => turn?,
                () = &mut look => {
                    let now = Instant::now();
                    if self.is_over(now) {
                        return Ok(());
                    }
                    look.as_mut().reset(now + DRAIN_LOOK);
                    continue;
                }
            }
            let now = Instant::now();
            if first_look <= now && self.is_over(now) {
                return Ok(());
            }
            self.take_answers(now)?;
        }
        Ok(())
    }

    fn is_over(&self, now: Instant) -> bool {
        match self.pulling.until {
            Until::Drained(patience) => {
                self.tally.borrow().progress().is_drained() || self.schedule.end + patience <= now
            }
            Until::Delivered { due, patience } => {
                self.tally.borrow().progress().is_drained() || self.schedule.start + due + patience <= now
            }
            _ => self.schedule.end <= now,
        }
    }

    fn take_answers(&mut self, now: Instant) -> io::Result<()> {
        let Consuming { wire, pulling, names, queues, line, unfinished, end_at, schedule, arrivals, tally } = self;
        let until = pulling.until;
        let mut tally = tally.borrow_mut();
        wire.take_frames(|outgoing, frame| {
            let mut spans = FieldSpans::default();
            let Some(codec) = Codec::from_number(frame.codec_number) else { return };
            let Ok(header) = Header::decode(codec, frame.header, &mut spans) else { return };
            let mut slot = usize::try_from(header.opaque).unwrap_or(usize::MAX);
            let (true, Some(queue)) = (header.is_response(), queues.get_mut(slot)) else { return };
            let topic = &names[queue.address.topic as usize];
            let mut checks = Checks { pulling, topic, tally: &mut tally, arrivals, now, schedule: *schedule };
            let at_end = take(&mut checks, queue, &header, frame);
            if until.reads_once() && at_end {
                let end_at = *end_at.get_or_insert(now);
                match until {
                    Until::ReadBack(patience) if now < end_at + patience && !tally.progress().is_drained() => {
                        line.push_back(slot);
                    }
                    _ => *unfinished -= 1,
                }
                match line.pop_front() {
                    Some(next) => slot = next,
                    None => return,
                }
            }
            queues[slot].asked_at = now;
            ask(outgoing, pulling, names, &queues[slot], slot);
        })
    }
}

/// Asks for a queue's next messages. Where a queue is not read once, the broker may hold the pull for a while: then
/// nobody else waits for it.
fn ask(out: &mut Vec<u8>, pulling: &Pulling, names: &[String], queue: &Queue, slot: usize) {
    let hold = (!pulling.until.reads_once()).then_some(HOLD);
    let pull = PullMessage {
        consumer_group: Cow::Borrowed(&pulling.group),
        topic: Cow::Borrowed(&names[queue.address.topic as usize]),
        queue_id: queue.address.queue,
        queue_offset: queue.next,
        max_msg_nums: pulling.messages_max,
        sys_flag: WITH_SUBSCRIPTION | if hold.is_some() { HELD } else { 0 },
        commit_offset: 0,
        suspend_timeout_millis: hold.unwrap_or_default().as_millis() as i64,
        subscription: Some(Cow::Borrowed("*")),
        sub_version: 0,
        expression_type: Some(Cow::Borrowed("TAG")),
        max_msg_bytes: None,
    };
    let code = RequestCode::PULL_MESSAGE.0;
    pull.encode(FrameWriter::begin(out, pulling.codec, code, Language::JAVA, OWN_VERSION, slot as i32, 0, None))
        .finish(b"");
}

/// Checks an answer and moves the queue on. Returns whether its end is reached, or cannot be.
fn take(checks: &mut Checks<'_>, queue: &mut Queue, header: &Header<'_>, frame: &Frame<'_>) -> bool {
    let code = ResponseCode(header.code);
    let until = checks.pulling.until;
    let result = match code {
        ResponseCode::SUCCESS
        | ResponseCode::PULL_NOT_FOUND
        | ResponseCode::PULL_RETRY_IMMEDIATELY
        | ResponseCode::PULL_OFFSET_MOVED => PullMessageResult::decode(&header.fields),
        _ => {
            checks.tally.fault(code.to_string(), || remark(frame));
            return true;
        }
    };
    let result = match result {
        Ok(result) => result,
        Err(error) => {
            checks.tally.fault("answer without its fields", || error.to_string());
            return true;
        }
    };
    if code == ResponseCode::SUCCESS {
        let after = checks.records(queue, frame.body);
        if result.next_begin_offset < after {
            checks.tally.fault("next offset before the last message", || {
                format!("queue {}: next {} after {after}", queue.address.queue, result.next_begin_offset)
            });
        }
        if checks.pulling.since == Since::Asked {
            checks.tally.latency(queue.asked_at, checks.now);
        }
    }
    queue.next = result.next_begin_offset;
    let at_end = result.max_offset <= queue.next;
    let is_empty = result.max_offset <= result.min_offset;
    if until == Until::TimeOver && at_end && !is_empty {
        queue.next = result.min_offset;
    }
    at_end
}
