//! A consumer that pops: it takes messages, acknowledges most, gives some back for a while, and forgets some.

use std::collections::BTreeMap;

use protocol::codes::RequestCode;
use protocol::pop::{AckMessage, ChangeInvisibleTime, PopMessage};
use protocol::record::records;
use protocol::typed::TypedHeader;

use super::session::Session;
use super::{Client, Context, read_route};
use crate::handed_out::At;
use crate::history::Delivery;
use crate::message::{self, Message};
use crate::network::LinkId;
use crate::schedule::NodeId;

/// Group of those that take whatever there is.
pub const GROUP: &str = "couriers";
/// Group of those that take in order.
pub const ORDERED_GROUP: &str = "archive";
/// Time between two looks at what is to be done, in microseconds.
const LOOK_US: u64 = 40_000;

enum About {
    Route(String),
    /// Broker and topic, and when it was asked, in microseconds.
    Pop(NodeId, String, u64),
    /// A message that is out until then by the broker's clock, in milliseconds, and when the broker was told.
    Acknowledge(At, i64, u64),
    Change,
}

/// A consumer that pops.
pub struct Popper {
    topics: Vec<String>,
    ordered: bool,
    session: Session<About>,
    /// Brokers by topic, and whether a pop is under way there.
    places: BTreeMap<(NodeId, String), bool>,
    looks: u64,
    pops: u64,
}

impl Popper {
    /// A consumer of some topics.
    pub fn new(topics: Vec<String>, ordered: bool) -> Popper {
        Popper { topics, ordered, session: Session::default(), places: BTreeMap::new(), looks: 0, pops: 0 }
    }

    fn group(&self) -> &'static str {
        if self.ordered { ORDERED_GROUP } else { GROUP }
    }

    fn pop(&mut self, context: &mut Context<'_>, place: (NodeId, String)) {
        let hold_ms = if context.rng.bool() { 0 } else { context.rng.i64(50..1_500) };
        self.pops += 1;
        let header = PopMessage {
            consumer_group: self.group().into(),
            topic: place.1.clone().into(),
            queue_id: -1,
            max_msg_nums: context.rng.i32(1..=8),
            invisible_time: context.rng.i64(200..2_000),
            poll_time: hold_ms,
            born_time: 0,
            init_mode: 0,
            exp_type: Some("TAG".into()),
            exp: Some("*".into()),
            order: self.ordered,
            attempt_id: Some(format!("{}-{}", context.me, self.pops).into()),
        };
        self.places.insert(place.clone(), true);
        let (node, about) = (place.0, Some(About::Pop(place.0, place.1, context.now_us())));
        self.session.request(context, node, RequestCode::POP_MESSAGE, |frame| header.encode(frame), b"", about);
        self.session.wait_longer(hold_ms as u64 * 1_000);
    }

    fn popped(&mut self, context: &mut Context<'_>, (node, topic): (NodeId, &str), asked_us: u64, message: &Message) {
        self.places.insert((node, topic.to_owned()), false);
        let times = message.number("popTime").zip(message.number("invisibleTime"));
        let Some((popped_ms, invisible_ms)) = times.filter(|_| message.is_success()) else { return };
        let revive = message.number("reviveQid").unwrap_or_default();
        let mut queues: BTreeMap<i32, Vec<(At, u64)>> = BTreeMap::new();
        let places = places(message.fields.get("msgOffsetInfo").map_or("", String::as_str));
        for ((queue, offset), record) in places.into_iter().zip(records(&message.body)) {
            context.history.delivered(Delivery {
                node,
                group: self.group(),
                topic,
                queue,
                offset,
                position: record.position(),
                stored_ms: record.store_timestamp_ms(),
                id: message::id_of(record.body()),
            });
            let at = At { node, group: self.group(), topic: topic.to_owned(), queue, offset };
            queues.entry(queue).or_default().push((at, record.position()));
        }
        let (now_us, steady) = (context.now_us(), context.history.clocks_are_steady);
        for batch in queues.into_values() {
            let handed_out = &mut context.history.handed_out;
            let wrong = handed_out.handed_out(&batch, self.ordered, (popped_ms, invisible_ms), steady, now_us);
            wrong.into_iter().for_each(|what| context.history.broken(what));
            context.history.may_be_forgotten(batch.iter().map(|(at, _)| at), asked_us);
            for (at, _) in batch {
                let handle = format!("{0} {popped_ms} {invisible_ms} {revive} 0 b {1} {0}", at.offset, at.queue);
                self.decide(context, at, &handle, popped_ms.saturating_add(invisible_ms));
            }
        }
    }

    /// Acknowledges a message, gives it back for a while, or forgets it.
    fn decide(&mut self, context: &mut Context<'_>, at: At, handle: &str, visible_ms: i64) {
        let chance = if context.winding_up { 0 } else { context.rng.u8(..10) };
        let now_us = context.now_us();
        if chance < 7 {
            context.history.handed_out.asked(&at, now_us);
            let header = AckMessage {
                consumer_group: at.group.into(),
                topic: at.topic.clone().into(),
                queue_id: at.queue,
                extra_info: handle.into(),
                offset: at.offset as i64,
            };
            let (node, code) = (at.node, RequestCode::ACK_MESSAGE);
            let about = Some(About::Acknowledge(at.clone(), visible_ms, now_us));
            self.session.request(context, node, code, |frame| header.encode(frame), b"", about);
        } else if chance == 7 {
            context.history.handed_out.changing(&at, now_us);
            let header = ChangeInvisibleTime {
                consumer_group: at.group.into(),
                topic: at.topic.clone().into(),
                queue_id: at.queue,
                extra_info: handle.into(),
                offset: at.offset as i64,
                invisible_time: context.rng.i64(0..2_000),
                suspend: context.rng.bool(),
            };
            let code = RequestCode::CHANGE_MESSAGE_INVISIBLETIME;
            self.session.request(context, at.node, code, |frame| header.encode(frame), b"", Some(About::Change));
        }
    }

    /// Nobody will answer that any more.
    fn gone(&mut self, about: About) {
        if let About::Pop(node, topic, _) = about {
            self.places.insert((node, topic), false);
        }
    }
}

/// Queue and offset of each message, in the order of the body. A record whose queue is damaged on the disk does not say it.
fn places(text: &str) -> Vec<(i32, u64)> {
    let mut places = Vec::new();
    for part in text.split(';') {
        let parts: Vec<&str> = part.split(' ').collect();
        let [_, queue, offsets] = parts.as_slice() else { continue };
        let Ok(queue) = queue.parse() else { continue };
        places.extend(offsets.split(',').filter_map(|offset| Some((queue, offset.parse().ok()?))));
    }
    places
}

impl Client for Popper {
    fn wake(&mut self, context: &mut Context<'_>) {
        for about in self.session.expired(context) {
            self.gone(about);
        }
        if self.looks.is_multiple_of(25) {
            for topic in self.topics.clone() {
                self.session.ask_route(context, &topic, About::Route(topic.clone()));
            }
        }
        self.looks += 1;
        let idle: Vec<_> = self.places.iter().filter(|(_, busy)| !**busy).map(|(place, _)| place.clone()).collect();
        idle.into_iter().for_each(|place| self.pop(context, place));
        context.wake_after(LOOK_US);
    }

    fn frame(&mut self, context: &mut Context<'_>, link: LinkId, message: Message) {
        match self.session.answered(link, &message) {
            Some(About::Route(topic)) => {
                for part in read_route(context, &message).unwrap_or_default() {
                    self.places.entry((part.node, topic.clone())).or_default();
                }
            }
            Some(About::Pop(node, topic, asked_us)) => self.popped(context, (node, &topic), asked_us, &message),
            Some(About::Acknowledge(at, visible_ms, asked_us)) => {
                // A late acknowledgement is answered like any other, and settles nothing.
                let was_in_time = context.clocks_ms[at.node] < visible_ms;
                if message.is_success() && was_in_time {
                    let now_us = context.now_us();
                    context.history.handed_out.settled(&at, visible_ms, now_us);
                    context.history.may_be_forgotten([&at], asked_us);
                }
            }
            Some(About::Change) | None => {}
        }
    }

    fn closed(&mut self, _: &mut Context<'_>, link: LinkId) {
        for about in self.session.closed(link) {
            self.gone(about);
        }
    }
}
