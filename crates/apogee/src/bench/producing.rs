//! One connection that sends.

use std::cell::RefCell;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use protocol::codes::ResponseCode;
use protocol::frame::{Codec, Frame};
use protocol::header::{FieldSpans, Header};
use tokio::time::Instant;

use super::answers::glance;
use super::pace::{Alarm, Pace};
use super::send_frame::{SLOTS_MAX, SendFrame, Shape, Stamp, slot_of};
use super::tally::Tally;
use super::wire::Wire;

/// Time that the last answers get when the run is over.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

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

/// A connection that keeps up to a window of sends under way.
pub struct Producing {
    wire: Wire,
    /// One a queue, used in turn.
    frames: Vec<SendFrame>,
    next_frame: usize,
    /// Intended send time of the request in each slot.
    intended: Vec<Instant>,
    free: Vec<u32>,
    stamp: Stamp,
    pace: Option<Pace>,
    schedule: Schedule,
    body_bytes: u64,
    tally: Rc<RefCell<Tally>>,
}

impl Producing {
    /// Prepares the frames; nothing is sent before [`Producing::run`].
    pub fn new(
        wire: Wire,
        shape: &Shape<'_>,
        window: usize,
        pace: Option<Pace>,
        schedule: Schedule,
        tally: Rc<RefCell<Tally>>,
    ) -> Producing {
        debug_assert!(window <= SLOTS_MAX);
        Producing {
            wire,
            frames: (0..shape.queues).map(|queue| SendFrame::new(shape, queue)).collect(),
            // Connections start at different queues.
            next_frame: shape.maker as usize % shape.queues.max(1) as usize,
            intended: vec![schedule.start; window],
            free: (0..window as u32).rev().collect(),
            stamp: Stamp::new(schedule.start_us),
            pace,
            schedule,
            body_bytes: shape.body_bytes as u64,
            tally,
        }
    }

    /// Sends until the schedule ends, then waits for the last answers.
    pub async fn run(mut self) {
        if let Err(error) = self.send_until_end().await {
            self.tally.borrow_mut().fault("connection", || error.to_string());
        }
        if let Some(pace) = &self.pace {
            self.tally.borrow_mut().overdue += pace.overdue(self.schedule.end);
        }
        let waiting = tokio::time::timeout(LAST_ANSWERS, async {
            while self.free.len() < self.intended.len() && self.wire.turn().await.is_ok() {
                if self.take_answers().is_err() {
                    break;
                }
            }
        });
        let _ = waiting.await;
        self.tally.borrow_mut().unanswered += (self.intended.len() - self.free.len()) as u64;
    }

    async fn send_until_end(&mut self) -> io::Result<()> {
        let alarm = Alarm::new()?;
        let mut over = pin!(tokio::time::sleep_until(self.schedule.end));
        loop {
            let now = Instant::now();
            if self.schedule.end <= now {
                return Ok(());
            }
            self.fill(now);
            let next = self.pace.as_ref().filter(|_| !self.free.is_empty()).map(Pace::next);
            tokio::select! {
                biased;
                turn = self.wire.turn() => turn?,
                rung = alarm.at(next.unwrap_or(now)), if next.is_some() => rung?,
                () = &mut over => return Ok(()),
            }
            self.take_answers()?;
        }
    }

    /// Puts as many requests into the outgoing buffer as window and pace allow.
    fn fill(&mut self, now: Instant) {
        self.stamp.set_time(self.schedule.wall_us(now));
        while let Some(slot) = self.free.last().copied() {
            let intended = match &mut self.pace {
                None => now,
                Some(pace) => match pace.take(now) {
                    Some(intended) => intended,
                    None => break,
                },
            };
            self.free.pop();
            self.intended[slot as usize] = intended;
            self.frames[self.next_frame].push(&mut self.wire.outgoing, slot, &mut self.stamp);
            self.next_frame = (self.next_frame + 1) % self.frames.len();
        }
    }

    fn take_answers(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let messages = self.frames[0].messages();
        let mut tally = self.tally.borrow_mut();
        self.wire.take_frames(|_, frame| {
            let Some(answer) = glance(frame) else { return };
            let Some(slot) = slot_of(answer.opaque).filter(|slot| *slot < self.intended.len()) else {
                return tally.fault("answer to nothing", || format!("opaque {}", answer.opaque));
            };
            tally.latency(self.intended[slot], now);
            self.free.push(slot as u32);
            if answer.code == ResponseCode::SUCCESS.0 {
                tally.answer(now, messages, messages * self.body_bytes);
            } else {
                tally.fault(ResponseCode(answer.code).to_string(), || remark(frame));
            }
        })
    }
}

/// What an answer says about itself.
pub fn remark(frame: &Frame<'_>) -> String {
    let mut spans = FieldSpans::default();
    let codec = Codec::from_number(frame.codec_number).unwrap_or(Codec::Json);
    let header = Header::decode(codec, frame.header, &mut spans);
    header.ok().and_then(|header| header.remark).map(|text| text.resolve().into_owned()).unwrap_or_default()
}
