//! A consumer that consumes in order: it locks a queue, consumes from where its group is, and gives the queue to others
//! of its group now and then.

use std::collections::BTreeMap;

use protocol::bodies::message_queue::MessageQueue;
use protocol::bodies::queue_lock::{LockedQueues, QueueLockRequest};
use protocol::codes::{RequestCode, ResponseCode};
use protocol::lenient_json;
use protocol::record::records;

use super::queue_requests::Pull;
use super::session::Session;
use super::{Client, Context, read_route};
use crate::history::Delivery;
use crate::message::{self, Message};
use crate::network::LinkId;
use crate::schedule::NodeId;

/// Group of all consumers of this kind.
const GROUP: &str = "ledger";
/// Time between two looks at what is to be done, in microseconds.
const LOOK_US: u64 = 40_000;
/// How long a client takes a lock for its own, in microseconds: half of what the broker keeps it for.
const LOCK_US: u64 = 30_000_000;

type Queue = (NodeId, String, i32);

enum About {
    Route(String),
    Lock(Queue),
    Unlock(Queue),
    Offset(Queue),
    Pull(Queue, i64),
    Commit(Queue, i64),
}

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// Until when the queue is this client's own.
    locked_until_us: u64,
    /// Next offset to pull, once that is known.
    next: Option<i64>,
    /// The offset that the broker has confirmed.
    committed: Option<i64>,
    /// A request about it is under way.
    is_busy: bool,
}

/// A consumer in order.
pub struct Orderly {
    topics: Vec<String>,
    session: Session<About>,
    queues: BTreeMap<Queue, Progress>,
    looks: u64,
}

impl Orderly {
    /// A consumer of some topics.
    pub fn new(topics: Vec<String>) -> Orderly {
        Orderly { topics, session: Session::default(), queues: BTreeMap::new(), looks: 0 }
    }

    fn set(&mut self, queue: &Queue, change: impl FnOnce(&mut Progress)) {
        if let Some(progress) = self.queues.get_mut(queue) {
            change(progress);
        }
    }

    fn lock(&mut self, context: &mut Context<'_>, queue: &Queue, code: RequestCode, about: About) {
        self.set(queue, |progress| progress.is_busy = true);
        let body = lenient_json::to_vec(&QueueLockRequest {
            client_id: format!("orderly-{}", context.me),
            consumer_group: GROUP.into(),
            mq_set: vec![MessageQueue {
                broker_name: format!("broker-{}", queue.0),
                queue_id: queue.2,
                topic: queue.1.clone(),
            }],
            only_this_broker: false,
        });
        self.session.request(context, queue.0, code, |frame| frame, &body, Some(about));
    }

    fn work(&mut self, context: &mut Context<'_>, queue: &Queue) {
        let Some(progress) = self.queues.get(queue).copied().filter(|progress| !progress.is_busy) else { return };
        if progress.locked_until_us <= context.now_us() {
            return self.lock(context, queue, RequestCode::LOCK_BATCH_MQ, About::Lock(queue.clone()));
        }
        let Some(next) = progress.next else { return self.ask_offset(context, queue) };
        if progress.committed != Some(next) {
            return self.commit(context, queue, next);
        }
        // Everything is confirmed: others may go on from here.
        if context.rng.u8(..12) == 0 && !context.winding_up {
            context.history.gave_up(queue, context.me);
            self.set(queue, |progress| *progress = Progress::default());
            return self.lock(context, queue, RequestCode::UNLOCK_BATCH_MQ, About::Unlock(queue.clone()));
        }
        self.pull(context, queue, next);
    }

    fn ask_offset(&mut self, context: &mut Context<'_>, queue: &Queue) {
        self.set(queue, |progress| progress.is_busy = true);
        self.session.ask_offset(context, GROUP, queue, About::Offset(queue.clone()));
    }

    fn commit(&mut self, context: &mut Context<'_>, queue: &Queue, offset: i64) {
        self.set(queue, |progress| progress.is_busy = true);
        self.session.commit_offset(context, GROUP, queue, offset, About::Commit(queue.clone(), offset));
    }

    fn pull(&mut self, context: &mut Context<'_>, queue: &Queue, next: i64) {
        self.set(queue, |progress| progress.is_busy = true);
        let pull = Pull { from: next, max: context.rng.i32(1..=8), hold_ms: 0 };
        self.session.pull(context, GROUP, queue, pull, About::Pull(queue.clone(), next));
    }

    fn pulled(&mut self, context: &mut Context<'_>, queue: &Queue, from: i64, message: &Message) {
        let is_own = self.queues.get(queue).is_some_and(|progress| context.now_us() < progress.locked_until_us);
        self.set(queue, |progress| progress.is_busy = false);
        let Some(next) = message.number("nextBeginOffset").filter(|_| is_own) else { return };
        if message.is_success() {
            for record in records(&message.body) {
                context.history.delivered(Delivery {
                    node: queue.0,
                    group: GROUP,
                    topic: &queue.1,
                    queue: queue.2,
                    offset: record.queue_offset(),
                    position: record.position(),
                    stored_ms: record.store_timestamp_ms(),
                    id: message::id_of(record.body()),
                });
            }
        }
        let moves = [ResponseCode::SUCCESS, ResponseCode::PULL_RETRY_IMMEDIATELY, ResponseCode::PULL_OFFSET_MOVED];
        if moves.iter().any(|code| code.0 == message.code) {
            context.history.consumed_in_order(queue, context.me, from, next);
            self.set(queue, |progress| progress.next = Some(next));
        }
    }

    fn locked(&mut self, context: &mut Context<'_>, queue: &Queue, message: &Message) {
        let locked: Option<LockedQueues> = lenient_json::from_slice(&message.body).ok();
        let is_own = message.is_success() && locked.is_some_and(|locked| !locked.lock_ok_mq_set.is_empty());
        let until_us = if is_own { context.now_us() + LOCK_US } else { 0 };
        if is_own {
            context.history.got_lock(queue, context.me, until_us);
        }
        self.set(queue, |progress| *progress = Progress { locked_until_us: until_us, ..Progress::default() });
    }

    /// Nobody will answer that any more.
    fn gone(&mut self, context: &mut Context<'_>, about: About) {
        match about {
            About::Route(_) => {}
            About::Lock(queue)
            | About::Unlock(queue)
            | About::Offset(queue)
            | About::Pull(queue, _)
            | About::Commit(queue, _) => {
                context.history.gave_up(&queue, context.me);
                self.set(&queue, |progress| *progress = Progress::default());
            }
        }
    }
}

impl Client for Orderly {
    fn wake(&mut self, context: &mut Context<'_>) {
        for about in self.session.expired(context) {
            self.gone(context, about);
        }
        if self.looks.is_multiple_of(25) {
            for topic in self.topics.clone() {
                self.session.ask_route(context, &topic, About::Route(topic.clone()));
            }
        }
        self.looks += 1;
        for queue in self.queues.keys().cloned().collect::<Vec<_>>() {
            self.work(context, &queue);
        }
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
            Some(About::Lock(queue)) => self.locked(context, &queue, &message),
            Some(About::Unlock(queue)) => self.set(&queue, |progress| *progress = Progress::default()),
            Some(About::Offset(queue)) => {
                let found = message.number("offset").filter(|_| message.is_success());
                if found.is_some() || message.code == ResponseCode::QUERY_NOT_FOUND.0 {
                    let offset = Some(found.unwrap_or(0));
                    self.set(&queue, |progress| (progress.next, progress.committed) = (offset, offset));
                }
                self.set(&queue, |progress| progress.is_busy = false);
            }
            Some(About::Pull(queue, from)) => self.pulled(context, &queue, from, &message),
            Some(About::Commit(queue, offset)) => {
                let committed = message.is_success().then_some(offset);
                self.set(&queue, |progress| (progress.committed, progress.is_busy) = (committed, false));
            }
            None => {}
        }
    }

    fn closed(&mut self, context: &mut Context<'_>, link: LinkId) {
        let node = self.session.node_of(link);
        for about in self.session.closed(link) {
            self.gone(context, about);
        }
        // Whether the broker still knows of its locks nobody can tell.
        for queue in self.queues.keys().filter(|queue| Some(queue.0) == node).cloned().collect::<Vec<_>>() {
            context.history.gave_up(&queue, context.me);
            self.set(&queue, |progress| *progress = Progress::default());
        }
    }
}
