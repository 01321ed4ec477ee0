//! A consumer of a group: pulls every queue of its topics, commits how far it is, hands some messages back, forgets
//! everything now and then and asks where it was.

use std::collections::BTreeMap;

use protocol::bodies::heartbeat::{
    ConsumeFromWhere, ConsumeType, ConsumerData, HeartbeatData, MessageModel, SubscriptionData,
};
use protocol::codes::{RequestCode, ResponseCode};
use protocol::lenient_json;
use protocol::record::records;
use protocol::requests::ConsumerSendMsgBack;
use protocol::typed::TypedHeader;

use super::queue_requests::Pull;
use super::session::Session;
use super::{Client, Context, read_route};
use crate::history::Delivery;
use crate::message::{self, Message};
use crate::network::LinkId;
use crate::schedule::NodeId;

/// Time between two looks at what is to be done, in microseconds.
const LOOK_US: u64 = 25_000;
/// Longest time that a pull may be held, in milliseconds.
const HOLD_MS: i64 = 1_500;

type Queue = (NodeId, String, i32);

enum About {
    Route(String),
    Offset(Queue),
    Pull(Queue),
    /// Queue, offset, and when the broker was told.
    Commit(Queue, i64, u64),
    SentBack(NodeId, u64),
    Heartbeat,
}

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// Next offset to pull, once that is known.
    next: Option<i64>,
    /// The last offset that was committed, or is being.
    committed: i64,
    /// A request about it is under way.
    is_busy: bool,
}

/// A consumer.
pub struct Consumer {
    group: String,
    topics: Vec<String>,
    session: Session<About>,
    queues: BTreeMap<Queue, Progress>,
    looks: u64,
}

impl Consumer {
    /// A consumer of some topics, and of what its group hands back.
    pub fn new(group: &str, mut topics: Vec<String>) -> Consumer {
        topics.push(format!("%RETRY%{group}"));
        Consumer { group: group.to_owned(), topics, session: Session::default(), queues: BTreeMap::new(), looks: 0 }
    }

    /// Queues and the next offset of each, as far as the consumer got.
    fn ask_routes(&mut self, context: &mut Context<'_>) {
        for topic in self.topics.clone() {
            self.session.ask_route(context, &topic, About::Route(topic.clone()));
        }
    }

    fn beat(&mut self, context: &mut Context<'_>) {
        let nodes: std::collections::BTreeSet<NodeId> = self.queues.keys().map(|(node, ..)| *node).collect();
        let subscription = |topic: &String| SubscriptionData {
            class_filter_mode: false,
            code_set: Vec::new(),
            expression_type: "TAG".into(),
            sub_string: "*".into(),
            sub_version: 1,
            tags_set: Vec::new(),
            topic: topic.clone(),
        };
        let body = lenient_json::to_vec(&HeartbeatData {
            client_id: format!("consumer-{}", context.me),
            consumer_data_set: vec![ConsumerData {
                consume_from_where: Some(ConsumeFromWhere::FirstOffset),
                consume_type: Some(ConsumeType::Passively),
                group_name: self.group.clone(),
                message_model: Some(MessageModel::Clustering),
                subscription_data_set: self.topics.iter().map(subscription).collect(),
                unit_mode: false,
            }],
            heartbeat_fingerprint: 0,
            producer_data_set: Vec::new(),
            without_sub: false,
        });
        for node in nodes {
            self.session.request(context, node, RequestCode::HEART_BEAT, |frame| frame, &body, Some(About::Heartbeat));
        }
    }

    fn work(&mut self, context: &mut Context<'_>) {
        for (queue, progress) in self.queues.clone() {
            if progress.is_busy {
                continue;
            }
            let Some(next) = progress.next else {
                self.ask_offset(context, &queue);
                continue;
            };
            self.pull(context, &queue, next);
            if progress.committed < next && context.rng.u8(..4) == 0 {
                self.commit(context, &queue, next);
            }
        }
    }

    fn set(&mut self, queue: &Queue, change: impl FnOnce(&mut Progress)) {
        if let Some(progress) = self.queues.get_mut(queue) {
            change(progress);
        }
    }

    fn ask_offset(&mut self, context: &mut Context<'_>, queue: &Queue) {
        self.set(queue, |progress| progress.is_busy = true);
        self.session.ask_offset(context, &self.group, queue, About::Offset(queue.clone()));
    }

    fn pull(&mut self, context: &mut Context<'_>, queue: &Queue, next: i64) {
        self.set(queue, |progress| progress.is_busy = true);
        let pull = Pull { from: next, max: context.rng.i32(1..=32), hold_ms: HOLD_MS };
        self.session.pull(context, &self.group, queue, pull, About::Pull(queue.clone()));
    }

    fn commit(&mut self, context: &mut Context<'_>, queue: &Queue, offset: i64) {
        self.set(queue, |progress| progress.committed = offset);
        self.session.commit_offset(
            context,
            &self.group,
            queue,
            offset,
            About::Commit(queue.clone(), offset, context.now_us()),
        );
    }

    fn hand_back(&mut self, context: &mut Context<'_>, queue: &Queue, id: u64, position: u64) {
        let header = ConsumerSendMsgBack {
            group: self.group.as_str().into(),
            offset: position as i64,
            delay_level: 1,
            origin_msg_id: None,
            origin_topic: Some(queue.1.as_str().into()),
            unit_mode: false,
            max_reconsume_times: Some(16),
        };
        let (code, about) = (RequestCode::CONSUMER_SEND_MSG_BACK, About::SentBack(queue.0, id));
        self.session.request(context, queue.0, code, |frame| header.encode(frame), b"", Some(about));
    }

    fn pulled(&mut self, context: &mut Context<'_>, queue: &Queue, message: &Message) {
        self.set(queue, |progress| progress.is_busy = false);
        if message.is_success() {
            for record in records(&message.body) {
                let id = message::id_of(record.body());
                context.history.delivered(Delivery {
                    node: queue.0,
                    group: &self.group,
                    topic: &queue.1,
                    queue: queue.2,
                    offset: record.queue_offset(),
                    position: record.position(),
                    stored_ms: record.store_timestamp_ms(),
                    id,
                });
                if let (Some(id), 0, false) = (id, context.rng.u8(..40), context.winding_up) {
                    self.hand_back(context, queue, id, record.position());
                }
            }
        }
        let moves = [ResponseCode::SUCCESS, ResponseCode::PULL_RETRY_IMMEDIATELY, ResponseCode::PULL_OFFSET_MOVED];
        match message.number("nextBeginOffset") {
            Some(next) if moves.iter().any(|code| code.0 == message.code) => {
                self.set(queue, |progress| progress.next = Some(next));
                self.work(context);
            }
            _ => {}
        }
    }

    fn offset_answered(&mut self, context: &mut Context<'_>, queue: &Queue, message: &Message) {
        let found = message.number("offset").filter(|_| message.is_success());
        let not_found = message.code == ResponseCode::QUERY_NOT_FOUND.0;
        if found.is_some() || not_found {
            let (node, topic, number) = queue.clone();
            context.history.offset_found(&(node, self.group.clone(), topic, number), found);
            self.set(queue, |progress| {
                (progress.next, progress.committed) = (Some(found.unwrap_or(0)), found.unwrap_or(0));
            });
        }
        self.set(queue, |progress| progress.is_busy = false);
    }
}

impl Client for Consumer {
    fn wake(&mut self, context: &mut Context<'_>) {
        for about in self.session.expired(context) {
            self.gone(about);
        }
        if self.looks.is_multiple_of(40) {
            self.ask_routes(context);
            self.beat(context);
        }
        self.looks += 1;
        if !context.winding_up && context.rng.u16(..400) == 0 {
            // As if it were another process.
            self.session.hang_up_all(context);
            self.queues.clear();
            self.looks = 0;
        }
        self.work(context);
        context.wake_after(LOOK_US);
    }

    fn frame(&mut self, context: &mut Context<'_>, link: LinkId, message: Message) {
        match self.session.answered(link, &message) {
            Some(About::Route(topic)) => {
                for part in read_route(context, &message).unwrap_or_default() {
                    for queue in 0..part.queues {
                        self.queues.entry((part.node, topic.clone(), queue)).or_default();
                    }
                }
            }
            Some(About::Offset(queue)) => self.offset_answered(context, &queue, &message),
            Some(About::Pull(queue)) => self.pulled(context, &queue, &message),
            Some(About::Commit(queue, offset, asked_us)) if message.is_success() => {
                let (node, topic, number) = queue;
                context.history.committed((node, self.group.clone(), topic, number), offset, asked_us);
            }
            Some(About::SentBack(node, id)) if message.is_success() => {
                let now_us = context.now_us();
                context.history.sent_back.push((node, self.group.clone(), id, now_us));
            }
            _ => {}
        }
    }

    fn closed(&mut self, _: &mut Context<'_>, link: LinkId) {
        for about in self.session.closed(link) {
            self.gone(about);
        }
    }
}

impl Consumer {
    /// Nobody will answer that any more.
    fn gone(&mut self, about: About) {
        match about {
            About::Pull(queue) | About::Offset(queue) => self.set(&queue, |progress| progress.is_busy = false),
            About::Commit(queue, ..) => self.set(&queue, |progress| progress.committed = 0),
            _ => {}
        }
    }
}
