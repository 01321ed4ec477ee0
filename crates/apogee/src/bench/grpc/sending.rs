//! A connection that sends: as many calls under way as its window has places.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use prost_types::Timestamp;
use protocol::v2::{
    Encoding, Message, MessageType, Resource, SendMessageRequest, SendMessageResponse, SystemProperties,
};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::calls::{Calls, Rpc, framed};
use super::{refused, resource};
use crate::bench::label::{Label, Origin};
use crate::bench::ledger::{Ledger, Sent};
use crate::bench::producing::Schedule;
use crate::bench::tally::Tally;

/// Time that the last answers get when the run is over.
pub const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// What the sending connections of a run have in common.
#[derive(Clone, Debug)]
pub struct Sending {
    /// Topic.
    pub topic: String,
    /// Calls that a connection has under way.
    pub window: u32,
    /// Bytes of a body.
    pub body_bytes: usize,
    /// Messages in one call.
    pub batch: u32,
    /// Number of the run, which goes into message ids.
    pub run: u32,
    /// Whether bodies are labelled.
    pub labelled: bool,
}

/// A connection that sends.
pub struct Producer {
    calls: Calls,
    sending: Arc<Sending>,
    /// Its number among the sending ones.
    number: u32,
    topic: Resource,
    /// The body of messages without a label, and what others are made from.
    body: Bytes,
    ledger: RefCell<Ledger>,
    messages: Cell<u64>,
    under_way: Cell<u64>,
    schedule: Schedule,
    tally: Rc<RefCell<Tally>>,
}

impl Producer {
    /// A connection that has sent nothing.
    pub fn new(
        calls: Calls,
        sending: Arc<Sending>,
        number: u32,
        schedule: Schedule,
        tally: Rc<RefCell<Tally>>,
    ) -> Producer {
        let mut body = vec![b'x'; sending.body_bytes];
        if sending.labelled {
            Origin { run: sending.run, producer: number }.put(&mut body);
        }
        Producer {
            calls,
            topic: resource(&sending.topic),
            body: body.into(),
            sending,
            number,
            ledger: RefCell::default(),
            messages: Cell::new(0),
            under_way: Cell::new(0),
            schedule,
            tally,
        }
    }

    /// Sends until the schedule ends, then waits for the last answers. Returns what it sent.
    pub async fn run(self) -> Sent {
        let producer = Rc::new(self);
        let mut places = JoinSet::new();
        for _ in 0..producer.sending.window {
            let producer = producer.clone();
            places.spawn_local(async move { producer.send_until_end().await });
        }
        let all_answered = async { while places.join_next().await.is_some() {} };
        let _ = tokio::time::timeout_at(producer.schedule.end + LAST_ANSWERS, all_answered).await;
        places.shutdown().await;
        let mut tally = producer.tally.borrow_mut();
        tally.unanswered += producer.under_way.get();
        // Release: whoever sees this also sees what was counted before.
        tally.progress().producing.fetch_sub(1, Ordering::Release);
        producer.ledger.take().close(producer.sending.batch.into())
    }

    async fn send_until_end(&self) {
        loop {
            let begun = Instant::now();
            if self.schedule.end <= begun {
                return;
            }
            let number = self.ledger.borrow_mut().begin();
            let request = self.request(number, begun);
            let id = request.messages.first().and_then(|message| message.system_properties.as_ref());
            let id = id.map(|system| system.message_id.clone()).unwrap_or_default();
            self.under_way.set(self.under_way.get() + 1);
            let answer = self.calls.unary::<SendMessageResponse>(Rpc::Send, framed(&request)).await;
            let now = Instant::now();
            let mut tally = self.tally.borrow_mut();
            let (fault, is_cut_off) = match answer {
                Ok(answer) => (self.check(&answer, &id), false),
                Err(failed) => (Some((failed.kind, failed.text)), failed.is_cut_off),
            };
            if is_cut_off {
                // It stays under way: nobody will say what became of it.
                return tally.fault("connection", || fault.map(|(_, text)| text).unwrap_or_default());
            }
            self.under_way.set(self.under_way.get() - 1);
            self.ledger.borrow_mut().finish(number, fault.is_none());
            tally.latency(begun, now);
            match fault {
                Some((kind, text)) => tally.fault(kind, || text),
                None => {
                    let messages = u64::from(self.sending.batch);
                    tally.answer(now, messages, messages * self.sending.body_bytes as u64);
                    tally.progress().acknowledged.fetch_add(messages, Ordering::Relaxed);
                }
            }
        }
    }

    fn request(&self, number: u64, now: Instant) -> SendMessageRequest {
        let batch = u64::from(self.sending.batch);
        let born_us = self.schedule.wall_us(now);
        let born =
            Timestamp { seconds: born_us.div_euclid(1_000_000), nanos: (born_us.rem_euclid(1_000_000) * 1000) as i32 };
        let message = |index: u64| {
            let made = self.messages.replace(self.messages.get() + 1);
            let system = SystemProperties {
                message_id: format!("01{:012X}{:08X}{made:012X}", self.number, self.sending.run),
                body_encoding: Encoding::Identity.into(),
                message_type: MessageType::Normal.into(),
                born_timestamp: Some(born),
                born_host: "apogee-bench".to_owned(),
                ..SystemProperties::default()
            };
            let body =
                if self.sending.labelled { self.labelled(number * batch + index, now) } else { self.body.clone() };
            Message { topic: Some(self.topic.clone()), system_properties: Some(system), body, ..Message::default() }
        };
        SendMessageRequest { messages: (0..batch).map(message).collect() }
    }

    fn labelled(&self, sequence: u64, now: Instant) -> Bytes {
        let answered_below = self.ledger.borrow().answered_below() * u64::from(self.sending.batch);
        let time = now.saturating_duration_since(self.schedule.start).as_nanos() as u64;
        let mut body = self.body.to_vec();
        Label { sequence, answered_below, time }.put(&mut body);
        body.into()
    }

    /// What is wrong with an answer. Stock servers answer a batch by a single entry.
    fn check(&self, answer: &SendMessageResponse, id: &str) -> Option<(String, String)> {
        if let Some(fault) = refused(answer.status.as_ref()) {
            return Some(fault);
        }
        let entries = answer.entries.len();
        if entries != 1 && entries != self.sending.batch as usize {
            return Some(("answer with another number of entries".to_owned(), format!("{entries}")));
        }
        if self.sending.batch == 1 && answer.entries[0].message_id != id {
            let text = format!("{} where {id} was sent", answer.entries[0].message_id);
            return Some(("answer to another message".to_owned(), text));
        }
        answer.entries.iter().find_map(|entry| refused(entry.status.as_ref()))
    }
}
