//! A connection that receives messages and acknowledges them.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use md5::{Digest, Md5};
use protocol::v2::receive_message_response::Content;
use protocol::v2::{
    AckMessageEntry, AckMessageRequest, AckMessageResponse, Code, DigestType, FilterExpression, FilterType, Message,
    MessageQueue, ReceiveMessageRequest, ReceiveMessageResponse, SystemProperties,
};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::calls::{Calls, Failed, Rpc, framed};
use super::sending::LAST_ANSWERS;
use super::{refused, resource};
use crate::bench::numbers::Numbers;
use crate::bench::producing::Schedule;
use crate::bench::tally::Tally;

/// How long a server may hold a call that brings nothing, and how long the call may take.
pub const HOLD_SECONDS: u64 = 20;
pub const CALL_SECONDS: u64 = 23;
/// How long nobody else gets a message that was received; acknowledging takes no longer.
const INVISIBLE_SECONDS: i64 = 60;
/// How often it is looked whether everything has come.
const LOOK: Duration = Duration::from_millis(5);

/// When receiving ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// When the time is over.
    InTime,
    /// When everything has come, or when nothing has come for so long.
    WhenAllCame(Duration),
}

/// What the receiving connections of a run have in common.
#[derive(Debug)]
pub struct Receiving {
    /// Topic.
    pub topic: String,
    /// Consumer group.
    pub group: String,
    /// Calls that a connection has under way, with the acknowledgements that follow from them.
    pub window: u32,
    /// Messages that one call may bring.
    pub messages_max: i32,
    /// Messages in one acknowledgement.
    pub acks: usize,
    /// Whether digests of bodies are checked.
    pub checksums: bool,
    /// When to stop.
    pub ends: Ends,
    /// What came: offsets, by store and queue.
    pub came: Mutex<HashMap<(String, i32), Numbers>>,
}

/// A connection that receives.
pub struct Receiver {
    calls: Calls,
    receiving: Arc<Receiving>,
    question: Bytes,
    stop: CancellationToken,
    acks_under_way: Cell<u64>,
    schedule: Schedule,
    receives: Rc<RefCell<Tally>>,
    acknowledged: Rc<RefCell<Tally>>,
}

impl Receiver {
    /// A connection that has received nothing. What it receives and what it acknowledges is counted apart.
    pub fn new(
        calls: Calls,
        receiving: Arc<Receiving>,
        schedule: Schedule,
        receives: Rc<RefCell<Tally>>,
        acknowledged: Rc<RefCell<Tally>>,
    ) -> Receiver {
        let question = framed(&question(&receiving.topic, &receiving.group, receiving.messages_max));
        let (stop, acks_under_way) = (CancellationToken::new(), Cell::new(0));
        Receiver { calls, receiving, question, stop, acks_under_way, schedule, receives, acknowledged }
    }

    /// Receives until it is time to stop; what was received is acknowledged.
    pub async fn run(self) {
        let receiver = Rc::new(self);
        let mut places = JoinSet::new();
        for _ in 0..receiver.receiving.window {
            let receiver = receiver.clone();
            places.spawn_local(async move { receiver.receive_until_stopped().await });
        }
        receiver.over().await;
        receiver.stop.cancel();
        let all_done = async { while places.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(LAST_ANSWERS, all_done).await;
        places.shutdown().await;
        receiver.acknowledged.borrow_mut().unanswered += receiver.acks_under_way.get();
        receiver.receives.borrow().progress().consuming.fetch_sub(1, Ordering::Release);
    }

    /// Waits until receiving is to end.
    async fn over(&self) {
        let patience = match self.receiving.ends {
            Ends::InTime => return tokio::time::sleep_until(self.schedule.end).await,
            Ends::WhenAllCame(patience) => patience,
        };
        let progress = self.receives.borrow().progress().clone();
        let (mut came, mut came_at) = (0, Instant::now());
        loop {
            let now = progress.came.load(Ordering::Relaxed);
            if progress.is_drained() || self.stop.is_cancelled() {
                return;
            }
            if now != came {
                (came, came_at) = (now, Instant::now());
            } else if came_at + patience <= Instant::now() {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn receive_until_stopped(self: &Rc<Receiver>) {
        while !self.stop.is_cancelled() {
            let begun = Instant::now();
            let messages = tokio::select! {
                biased;
                messages = receive(&self.calls, self.question.clone()) => messages,
                () = self.stop.cancelled() => return,
            };
            let now = Instant::now();
            match messages {
                Ok(messages) if messages.is_empty() => {}
                Ok(messages) => {
                    self.check(&messages, begun, now);
                    self.acknowledge(messages).await;
                }
                Err(failed) => {
                    self.receives.borrow_mut().fault(failed.kind, || failed.text);
                    if failed.is_cut_off {
                        return self.stop.cancel();
                    }
                }
            }
        }
    }

    /// Checks what one call brought.
    fn check(&self, messages: &[Message], begun: Instant, now: Instant) {
        let mut tally = self.receives.borrow_mut();
        let mut came = self.receiving.came.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut fresh, mut body_bytes) = (0, 0);
        let mut last: HashMap<(&str, i32), i64> = HashMap::new();
        let nothing = SystemProperties::default();
        for message in messages {
            let system = message.system_properties.as_ref().unwrap_or(&nothing);
            let (queue, offset) = (system.queue_id, system.queue_offset());
            let place = || format!("offset {offset} of queue {queue}");
            if message.topic.as_ref().is_none_or(|topic| topic.name != self.receiving.topic) {
                tally.fault("message of another topic", place);
            }
            if system.delivery_attempt() != 1 {
                tally.fault("delivered again", || format!("{}, attempt {}", place(), system.delivery_attempt()));
            }
            if last.insert((&system.store_host, queue), offset).is_some_and(|before| offset <= before) {
                tally.fault("out of order", place);
            }
            if self.receiving.checksums && !is_intact(message, system) {
                tally.fault("broken body", place);
            }
            if system.receipt_handle().is_empty() {
                tally.fault("message without handle", place);
            }
            let seen = came.entry((system.store_host.clone(), queue)).or_default();
            match seen.insert(offset.unsigned_abs()) {
                true => fresh += 1,
                false => tally.fault("duplicate", place),
            }
            body_bytes += message.body.len() as u64;
        }
        tally.latency(begun, now);
        tally.answer(now, messages.len() as u64, body_bytes);
        tally.progress().came.fetch_add(messages.len() as u64, Ordering::Relaxed);
        tally.progress().own_came.fetch_add(fresh, Ordering::Relaxed);
    }

    /// Acknowledges messages, as many calls at the same time as that takes, and waits for the answers.
    async fn acknowledge(self: &Rc<Receiver>, messages: Vec<Message>) {
        let entry = |message: Message| {
            let system = message.system_properties.unwrap_or_default();
            let entry = AckMessageEntry {
                message_id: system.message_id,
                receipt_handle: system.receipt_handle.unwrap_or_default(),
                lite_topic: None,
            };
            (entry, message.body.len() as u64)
        };
        let mut entries = messages.into_iter().map(entry);
        let mut running = JoinSet::new();
        loop {
            let (entries, sizes): (Vec<_>, Vec<u64>) = entries.by_ref().take(self.receiving.acks).unzip();
            if entries.is_empty() {
                break;
            }
            let receiver = self.clone();
            running.spawn_local(async move { receiver.acknowledge_together(entries, sizes.iter().sum()).await });
        }
        while running.join_next().await.is_some() {}
    }

    async fn acknowledge_together(&self, entries: Vec<AckMessageEntry>, body_bytes: u64) {
        let count = entries.len();
        let Receiving { topic, group, .. } = &*self.receiving;
        let request = AckMessageRequest { group: Some(resource(group)), topic: Some(resource(topic)), entries };
        let begun = Instant::now();
        self.acks_under_way.set(self.acks_under_way.get() + 1);
        let answer = self.calls.unary::<AckMessageResponse>(Rpc::Ack, framed(&request)).await;
        self.acks_under_way.set(self.acks_under_way.get() - 1);
        let now = Instant::now();
        let mut tally = self.acknowledged.borrow_mut();
        let fault = match answer {
            Ok(answer) if answer.entries.len() != count => {
                Some(("answer with another number of entries".to_owned(), format!("{}", answer.entries.len())))
            }
            Ok(answer) => {
                let entries = answer.entries.iter().map(|entry| entry.status.as_ref());
                std::iter::once(answer.status.as_ref()).chain(entries).find_map(refused)
            }
            Err(failed) => {
                if failed.is_cut_off {
                    self.stop.cancel();
                }
                Some((failed.kind, failed.text))
            }
        };
        tally.latency(begun, now);
        match fault {
            Some((kind, text)) => tally.fault(kind, || text),
            None => tally.answer(now, count as u64, body_bytes),
        }
    }
}

/// Asks for messages of every queue.
pub fn question(topic: &str, group: &str, messages_max: i32) -> ReceiveMessageRequest {
    let duration = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    ReceiveMessageRequest {
        group: Some(resource(group)),
        message_queue: Some(MessageQueue { topic: Some(resource(topic)), id: -1, ..MessageQueue::default() }),
        filter_expression: Some(FilterExpression { r#type: FilterType::Tag.into(), expression: "*".to_owned() }),
        batch_size: messages_max,
        invisible_duration: duration(INVISIBLE_SECONDS),
        auto_renew: false,
        long_polling_timeout: duration(HOLD_SECONDS as i64),
        attempt_id: None,
    }
}

/// Receives what there is; nothing if nothing came for as long as a call is held.
pub async fn receive(calls: &Calls, question: Bytes) -> Result<Vec<Message>, Failed> {
    let (_stream, mut answers) = calls.open(Rpc::Receive, question, Some(CALL_SECONDS), true).await?;
    let mut messages = Vec::new();
    let mut fault = None;
    while let Some(answer) = answers.next::<ReceiveMessageResponse>().await? {
        match answer.content {
            Some(Content::Message(message)) => messages.push(message),
            Some(Content::Status(status)) if status.code() != Code::MessageNotFound => {
                fault = fault.or_else(|| refused(Some(&status)));
            }
            _ => {}
        }
    }
    match fault {
        Some((kind, text)) => Err(Failed { kind, text, is_cut_off: false }),
        None => Ok(messages),
    }
}

fn is_intact(message: &Message, system: &SystemProperties) -> bool {
    let Some(digest) = &system.body_digest else { return false };
    // Servers of both kinds make no other.
    let hex = |byte: &u8| [byte >> 4, byte & 0xF].map(|digit| b"0123456789ABCDEF"[usize::from(digit)]);
    digest.r#type() == DigestType::Md5 && Md5::digest(&message.body).iter().flat_map(hex).eq(digest.checksum.bytes())
}
