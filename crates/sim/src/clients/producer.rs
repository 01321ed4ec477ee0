//! A producer: sends messages of all kinds, several at a time, and remembers what it was told.

use std::collections::BTreeMap;

use protocol::batch::{self, BatchItem};
use protocol::codes::RequestCode;
use protocol::message_id::OffsetMessageId;
use protocol::properties;
use protocol::requests::SendMessage;
use protocol::typed::TypedHeader;

use super::session::Session;
use super::{Client, Context, Part, is_unknown, read_route};
use crate::history::{Decision, Kind, Outcome, Place, Sent};
use crate::message::{self, Message};
use crate::network::LinkId;
use crate::schedule::ClientId;

/// The topic whose settings new ones take over.
const TEMPLATE: &str = "TBW102";
/// Queues of topics that are created by use.
const QUEUES: i32 = 3;

enum About {
    /// Where the topic is; whether to create it if nobody knows.
    Route(String),
    /// Where new topics can be made, for this one.
    Template(String),
    /// Messages, the first of which has that number.
    Messages(Vec<u64>),
}

/// A producer of plain, delayed and batched messages.
pub struct Producer {
    topics: Vec<String>,
    routes: BTreeMap<String, Vec<Part>>,
    session: Session<About>,
    made: u64,
    /// Requests that may wait for answers at once.
    window: usize,
    /// Longest time between two messages, in microseconds.
    pace_us: u64,
    /// Messages to send in all.
    count: u64,
}

impl Producer {
    /// A producer for some topics.
    pub fn new(topics: Vec<String>, window: usize, pace_us: u64, count: u64) -> Producer {
        Producer { topics, routes: BTreeMap::new(), session: Session::default(), made: 0, window, pace_us, count }
    }

    fn send_next(&mut self, context: &mut Context<'_>) {
        let topic = self.topics[context.rng.usize(..self.topics.len())].clone();
        let Some(parts) = self.routes.get(&topic).filter(|parts| !parts.is_empty()) else {
            self.session.ask_route(context, &topic, About::Route(topic.clone()));
            return;
        };
        let part = parts[context.rng.usize(..parts.len())];
        let queue = context.rng.i32(0..part.queues.max(1));
        match context.rng.u8(..100) {
            0..70 => self.send_one(context, &topic, part, queue, Kind::Plain),
            70..85 => self.send_one(context, &topic, part, queue, Kind::Delayed),
            _ => self.send_batch(context, &topic, part, queue),
        }
    }

    fn new_id(&mut self, me: ClientId) -> u64 {
        self.made += 1;
        (me as u64) << 32 | self.made
    }

    fn send_one(&mut self, context: &mut Context<'_>, topic: &str, part: Part, queue: i32, kind: Kind) {
        let id = self.new_id(context.me);
        let mut stored = Vec::new();
        properties::push(&mut stored, properties::UNIQ_KEY, &format!("{id:016X}"));
        let clock_ms = context.clocks_ms[part.node];
        let mut due_ms = None;
        if kind == Kind::Delayed && context.rng.bool() {
            let due = clock_ms + context.rng.i64(100..6_000);
            due_ms = Some(due);
            properties::push(&mut stored, properties::TIMER_DELIVER_MS, &due.to_string());
        } else if kind == Kind::Delayed {
            let level = context.rng.i64(1..=6);
            if context.history.clocks_are_steady {
                due_ms = Some(clock_ms + crate::node::DELAY_STEP_MS * level);
            }
            properties::push(&mut stored, properties::DELAY, &level.to_string());
        }
        let body = message::body(id, context.rng.usize(..300));
        let oneway = context.rng.u8(..20) == 0;
        self.send(context, (topic, part, queue), &stored, &body, vec![(id, kind, due_ms)], oneway);
    }

    fn send_batch(&mut self, context: &mut Context<'_>, topic: &str, part: Part, queue: i32) {
        let mut body = Vec::new();
        let mut ids = Vec::new();
        for _ in 0..context.rng.usize(2..6) {
            let id = self.new_id(context.me);
            let mut stored = Vec::new();
            properties::push(&mut stored, properties::UNIQ_KEY, &format!("{id:016X}"));
            let own = message::body(id, context.rng.usize(..60));
            if batch::push(&mut body, BatchItem { flag: 0, body: &own, properties: &stored }).is_ok() {
                ids.push((id, Kind::Plain, None));
            }
        }
        self.send(context, (topic, part, queue), b"", &body, ids, false);
    }

    fn send(
        &mut self,
        context: &mut Context<'_>,
        (topic, part, queue): (&str, Part, i32),
        stored: &[u8],
        body: &[u8],
        messages: Vec<(u64, Kind, Option<i64>)>,
        oneway: bool,
    ) {
        let batch = messages.len() > 1;
        let header = SendMessage {
            producer_group: "producers".into(),
            topic: topic.into(),
            default_topic: TEMPLATE.into(),
            default_topic_queue_nums: QUEUES,
            queue_id: queue,
            sys_flag: 0,
            born_timestamp: 1,
            flag: 0,
            properties: Some(String::from_utf8_lossy(stored)),
            reconsume_times: None,
            unit_mode: None,
            max_reconsume_times: None,
            batch: batch.then_some(true),
        };
        let code = if batch { RequestCode::SEND_BATCH_MESSAGE } else { RequestCode::SEND_MESSAGE_V2 };
        let ids = messages.iter().map(|(id, ..)| *id).collect();
        let about = (!oneway).then_some(About::Messages(ids));
        let order = self.session.request(context, part.node, code, |frame| header.encode(frame), body, about);
        for (id, kind, due_ms) in messages {
            let sent = Sent {
                node: part.node,
                topic: topic.to_owned(),
                kind,
                order,
                due_ms,
                outcome: Outcome::Unknown,
                decision: Decision::Commit,
                excused: false,
                damaged: false,
            };
            context.history.sent.insert(id, sent);
        }
    }

    fn told(&self, context: &mut Context<'_>, ids: &[u64], message: &Message) {
        if message.is_success() {
            let (Some(queue), Some(first)) = (message.number("queueId"), message.number("queueOffset")) else { return };
            let positions: Vec<Option<OffsetMessageId>> = message
                .fields
                .get("msgId")
                .map(|ids| ids.split(',').map(OffsetMessageId::parse).collect())
                .unwrap_or_default();
            for (index, id) in ids.iter().enumerate() {
                let Some(position) = positions.get(index).and_then(Option::as_ref).map(|id| id.position) else {
                    context.history.broken(format!("the answer for {id:x} names no position"));
                    continue;
                };
                let place = Place { queue: queue as i32, offset: first as u64 + index as u64, position };
                context.history.told(*id, Outcome::Stored(place));
            }
            return;
        }
        if !is_unknown(message) {
            ids.iter().for_each(|id| context.history.told(*id, Outcome::Refused));
        }
    }
}

impl Client for Producer {
    fn wake(&mut self, context: &mut Context<'_>) {
        // Connections that do not answer are given up; what was sent on them is not known.
        self.session.expired(context);
        let waits = self.session.waiting();
        if context.winding_up || self.count <= self.made {
            if waits != 0 {
                context.wake_after(500_000);
            }
            return;
        }
        if waits < self.window {
            self.send_next(context);
        }
        if context.rng.u8(..) == 0 {
            // Another broker may have the topic by now.
            self.routes.clear();
        }
        let wait_us = context.rng.u64(1..=self.pace_us);
        context.wake_after(wait_us);
    }

    fn frame(&mut self, context: &mut Context<'_>, link: LinkId, message: Message) {
        match self.session.answered(link, &message) {
            Some(About::Messages(ids)) => self.told(context, &ids, &message),
            Some(About::Route(topic)) => match read_route(context, &message) {
                Some(parts) => {
                    self.routes.insert(topic, parts);
                }
                None => {
                    self.session.ask_route(context, TEMPLATE, About::Template(topic));
                }
            },
            Some(About::Template(topic)) => {
                let parts = read_route(context, &message).unwrap_or_default();
                let parts = parts.into_iter().map(|part| Part { queues: QUEUES, ..part }).collect();
                self.routes.insert(topic, parts);
            }
            None => {}
        }
    }

    fn closed(&mut self, _: &mut Context<'_>, link: LinkId) {
        self.session.closed(link);
    }
}
