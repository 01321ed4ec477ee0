//! One connection that sends.

use std::cell::RefCell;
use std::future;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use protocol::codes::ResponseCode;
use protocol::frame::{Codec, Frame};
use protocol::header::{FieldSpans, Header};
use tokio::time::Instant;

use super::answers::glance;
use super::label::{Label, Origin, ROLLED_BACK};
use super::ledger::{Ledger, Sent};
use super::pace::{Alarm, Pace, Rate};
use super::send_frame::{Address, Kind, SLOTS_MAX, SendFrames, Shape, Stamp, slot_of};
use super::tally::Tally;
use super::topics::Topics;
use super::transaction;
use super::wire::Wire;

/// Time that the last answers get when the run is over.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// From this many connections on each waits for its next send with the runtime's timer, which counts milliseconds:
/// an alarm of its own for each would double the open files.
const ALARMS_MAX: u32 = 1_000;

/// What is known when the connections of a run are made.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// First requests.
    pub start: Instant,
    /// No requests from here on.
    pub end: Instant,
    /// Wall clock at `start`, in microseconds since 1970.
    pub start_us: i64,
}

impl Schedule {
    /// Wall clock at `now`, by the steady clock.
    pub fn wall_us(&self, now: Instant) -> i64 {
        self.start_us + now.saturating_duration_since(self.start).as_micros() as i64
    }
}

/// What the sending connections of a run have in common.
#[derive(Clone, Debug)]
pub struct Sending {
    /// Topics.
    pub topics: Topics,
    /// Producer group.
    pub group: String,
    /// Queues of each topic.
    pub queues: i32,
    /// How headers are written.
    pub codec: Codec,
    /// Requests that a connection has under way at most.
    pub window: u32,
    /// Bytes of a body.
    pub body_bytes: usize,
    /// Messages in one request.
    pub batch: u32,
    /// How fast.
    pub rate: Rate,
    /// Sending connections.
    pub connections: u32,
    /// Number of the run; bodies are labelled if there is one.
    pub run: Option<u32>,
    /// Whether to stop when all reading connections have read what they were to read.
    pub until_read: bool,
    /// What is sent.
    pub what: What,
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum What {
    /// Messages, until the time is over.
    Messages,
    /// Transactions, until the time is over: of 100, so many are rolled back.
    Transactions {
        /// Percent.
        rolled_back: u32,
    },
    /// A fixed number of delayed messages.
    Delayed(Delays),
}

/// Delayed messages, over all connections.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Delays {
    /// How many.
    pub count: u64,
    /// The first one is due so long after the run starts.
    pub first: Duration,
    /// The others are due evenly over this time.
    pub spread: Duration,
}

impl Delays {
    /// When message `index` is due, in milliseconds since 1970.
    fn due_ms(&self, start_us: i64, index: u64) -> u64 {
        let offset = self.spread.as_micros() * u128::from(index) / u128::from(self.count.max(1));
        (start_us.unsigned_abs() + (self.first.as_micros() + offset) as u64) / 1000
    }

    /// How many of them one of `connections` sends.
    fn share(&self, number: u32, connections: u32) -> u64 {
        let (number, connections) = (u64::from(number), u64::from(connections.max(1)));
        (self.count + connections - 1 - number) / connections
    }
}

/// A request under way.
#[derive(Clone, Copy, Debug)]
struct Slot {
    intended: Instant,
    /// Index of the queue.
    queue: u32,
    /// Number of the request in the queue's ledger; [`ROLLED_BACK`] for one that the ledger does not know.
    number: u64,
    /// Whether it is a decision, and so the last request of its transaction.
    ending: bool,
}

/// A queue that is written.
#[derive(Debug)]
struct Queue {
    address: Address,
    ledger: Ledger,
}

/// A connection that keeps up to a window of sends under way.
pub struct Producing {
    wire: Wire,
    sending: Arc<Sending>,
    number: u32,
    frames: SendFrames,
    /// Used in turn.
    queues: Vec<Queue>,
    next_queue: usize,
    slots: Vec<Slot>,
    free: Vec<u32>,
    stamp: Stamp,
    pace: Option<Pace>,
    schedule: Schedule,
    /// Requests that were sent, and how many there are to be.
    requests: u64,
    requests_max: u64,
    tally: Rc<RefCell<Tally>>,
}

impl Producing {
    /// Prepares the frames; nothing is sent before [`Producing::run`]. `number` is that of the connection among the
    /// sending ones; it writes to `queues` in turn, beginning with the one of its number.
    pub fn new(
        wire: Wire,
        sending: Arc<Sending>,
        number: u32,
        queues: &[Address],
        schedule: Schedule,
        tally: Rc<RefCell<Tally>>,
    ) -> io::Result<Producing> {
        debug_assert!(sending.window as usize <= SLOTS_MAX && !queues.is_empty());
        let shape = Shape {
            topics: &sending.topics,
            group: &sending.group,
            codec: sending.codec,
            kind: match sending.what {
                What::Messages => Kind::Plain,
                What::Transactions { .. } => Kind::Half,
                What::Delayed(_) => Kind::Delayed,
            },
            queues: sending.queues,
            body_bytes: sending.body_bytes,
            batch: sending.batch as usize,
            host: wire.local_address()?.ip(),
            maker: number,
            origin: sending.run.map(|run| Origin { run, producer: number }),
        };
        let idle = Slot { intended: schedule.start, queue: 0, number: 0, ending: false };
        Ok(Producing {
            frames: SendFrames::new(&shape),
            queues: queues.iter().map(|address| Queue { address: *address, ledger: Ledger::default() }).collect(),
            // Connections start at different queues.
            next_queue: number as usize % queues.len(),
            slots: vec![idle; sending.window as usize],
            free: (0..sending.window).rev().collect(),
            stamp: Stamp::new(schedule.start_us),
            pace: sending.rate.pace(schedule.start, number, sending.connections, sending.batch),
            requests: 0,
            requests_max: match sending.what {
                What::Delayed(delays) => delays.share(number, sending.connections),
                What::Messages | What::Transactions { .. } => u64::MAX,
            },
            wire,
            sending,
            number,
            schedule,
            tally,
        })
    }

    /// Sends until the schedule ends or everything is sent, then waits for the last answers. Returns what it sent to
    /// each queue, if that was labelled.
    pub async fn run(mut self) -> Vec<(Address, Sent)> {
        if let Err(error) = self.send_until_end().await {
            self.tally.borrow_mut().fault("connection", || error.to_string());
        }
        if let Some(pace) = &self.pace {
            self.tally.borrow_mut().overdue += pace.overdue(self.schedule.end.min(Instant::now()));
        }
        let waiting = tokio::time::timeout(LAST_ANSWERS, async {
            while self.free.len() < self.slots.len() && self.wire.turn().await.is_ok() {
                if self.take_answers().is_err() {
                    break;
                }
            }
        });
        let _ = waiting.await;
        let mut tally = self.tally.borrow_mut();
        tally.unanswered += (self.slots.len() - self.free.len()) as u64;
        // Release: whoever sees this also sees what was counted before.
        tally.progress().producing.fetch_sub(1, Ordering::Release);
        let batch = u64::from(self.sending.batch);
        let sent = self.queues.into_iter().map(|queue| (queue.address, queue.ledger.close(batch)));
        sent.filter(|(_, sent)| sent.messages > 0).collect()
    }

    async fn send_until_end(&mut self) -> io::Result<()> {
        let alarm = match &self.pace {
            Some(_) if self.sending.connections <= ALARMS_MAX => Some(Alarm::new()?),
            _ => None,
        };
        let mut over = pin!(tokio::time::sleep_until(self.schedule.end));
        loop {
            let now = Instant::now();
            let is_done = self.requests == self.requests_max && self.free.len() == self.slots.len();
            let is_read = self.sending.until_read && self.tally.borrow().progress().is_read();
            if self.schedule.end <= now || is_done || is_read {
                return Ok(());
            }
            self.fill(now);
            let next = self.pace.as_ref().filter(|_| !self.free.is_empty()).map(Pace::next);
            let rung = async {
                match (next, &alarm) {
                    (Some(next), Some(alarm)) => alarm.at(next).await,
                    (Some(next), None) => {
                        tokio::time::sleep_until(next).await;
                        Ok(())
                    }
                    (None, _) => future::pending().await,
                }
            };
            tokio::select! {
                biased;
                turn = self.wire.turn() => turn?,
                rung = rung => rung?,
                () = &mut over => return Ok(()),
            }
            self.take_answers()?;
        }
    }

    /// Puts as many requests into the outgoing buffer as window, pace and number allow.
    fn fill(&mut self, now: Instant) {
        self.stamp.set_time(self.schedule.wall_us(now));
        while self.requests < self.requests_max {
            let Some(slot) = self.free.last().copied() else { break };
            let intended = match &mut self.pace {
                None => now,
                Some(pace) => match pace.take(now) {
                    Some(intended) => intended,
                    None => break,
                },
            };
            self.free.pop();
            self.send(slot, intended);
            self.requests += 1;
        }
    }

    fn send(&mut self, slot: u32, intended: Instant) {
        let at = self.next_queue;
        self.next_queue = (at + 1) % self.queues.len();
        let queue = &mut self.queues[at];
        let mut number = 0;
        let mut label = None;
        if self.sending.run.is_some() {
            number = if is_rolled_back(self.sending.what, self.requests) { ROLLED_BACK } else { queue.ledger.begin() };
            let batch = u64::from(self.sending.batch);
            label = Some(Label {
                sequence: if number == ROLLED_BACK { ROLLED_BACK } else { number * batch },
                // Delayed messages come as they are due, not as they were sent.
                answered_below: match self.sending.what {
                    What::Delayed(_) => 0,
                    _ if number == ROLLED_BACK => 0,
                    _ => queue.ledger.answered_below() * batch,
                },
                time: match self.sending.what {
                    What::Delayed(delays) => {
                        let index = u64::from(self.number) + self.requests * u64::from(self.sending.connections);
                        delays.due_ms(self.schedule.start_us, index)
                    }
                    _ => intended.saturating_duration_since(self.schedule.start).as_nanos() as u64,
                },
            });
        }
        self.slots[slot as usize] = Slot { intended, queue: at as u32, number, ending: false };
        self.frames.push(&mut self.wire.outgoing, slot, &mut self.stamp, queue.address, label);
    }

    fn take_answers(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let Producing { wire, sending, frames, queues, slots, free, tally, .. } = self;
        let messages = frames.messages();
        let mut tally = tally.borrow_mut();
        let in_transactions = matches!(sending.what, What::Transactions { .. });
        wire.take_frames(|outgoing, frame| {
            let Some(answer) = glance(frame) else { return };
            let Some(at) = slot_of(answer.opaque).filter(|slot| *slot < slots.len()) else {
                return tally.fault("answer to nothing", || format!("opaque {}", answer.opaque));
            };
            let slot = &mut slots[at];
            let mut is_good = answer.code == ResponseCode::SUCCESS.0;
            if !is_good {
                tally.fault(ResponseCode(answer.code).to_string(), || remark(frame));
            } else if in_transactions && !slot.ending {
                let decision = transaction::Decision { commit: slot.number != ROLLED_BACK, opaque: answer.opaque };
                match decision.push(outgoing, sending.codec, &sending.group, frame) {
                    Ok(()) => return slot.ending = true,
                    Err(text) => tally.fault("half message without its place", || text),
                }
                is_good = false;
            }
            tally.latency(slot.intended, now);
            free.push(at as u32);
            if sending.run.is_some() && slot.number != ROLLED_BACK {
                queues[slot.queue as usize].ledger.finish(slot.number, is_good);
            }
            if is_good {
                tally.answer(now, messages, messages * sending.body_bytes as u64);
                if slot.number != ROLLED_BACK {
                    tally.progress().acknowledged.fetch_add(messages, Ordering::Relaxed);
                }
            }
        })
    }
}

/// Whether transaction `index` is one of those to be rolled back, which are spread evenly.
fn is_rolled_back(what: What, index: u64) -> bool {
    let What::Transactions { rolled_back } = what else { return false };
    let so_far = |index: u64| index.wrapping_mul(rolled_back.into()) / 100;
    so_far(index) != so_far(index + 1)
}

/// What an answer says about itself.
pub fn remark(frame: &Frame<'_>) -> String {
    let mut spans = FieldSpans::default();
    let codec = Codec::from_number(frame.codec_number).unwrap_or(Codec::Json);
    let header = Header::decode(codec, frame.header, &mut spans);
    header.ok().and_then(|header| header.remark).map(|text| text.resolve().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_shared_out_and_spread() {
        let delays = Delays { count: 10, first: Duration::from_secs(5), spread: Duration::from_secs(1) };
        assert_eq!([0, 1, 2, 3].map(|number| delays.share(number, 4)), [3, 3, 2, 2]);
        assert_eq!([0, 5, 9].map(|index| delays.due_ms(1_000_000, index)), [6_000, 6_500, 6_900]);
    }

    #[test]
    fn so_many_of_a_hundred_transactions_are_rolled_back() {
        for percent in [0, 1, 33, 100] {
            let what = What::Transactions { rolled_back: percent };
            assert_eq!((0..1000).filter(|index| is_rolled_back(what, *index)).count(), 10 * percent as usize);
        }
        assert!(!is_rolled_back(What::Messages, 0));
    }
}
