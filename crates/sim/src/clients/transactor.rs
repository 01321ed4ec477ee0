//! A producer of transactions: sends half messages, decides about them or waits to be asked.

use std::collections::{BTreeMap, BTreeSet};

use protocol::bodies::heartbeat::{HeartbeatData, ProducerData};
use protocol::codes::RequestCode;
use protocol::lenient_json;
use protocol::message_id::OffsetMessageId;
use protocol::properties;
use protocol::record::Record;
use protocol::requests::{EndTransaction, SendMessage};
use protocol::sys_flag::{SysFlag, TransactionState};
use protocol::typed::TypedHeader;

use super::session::Session;
use super::{Client, Context, Part, is_unknown, read_route};
use crate::history::{Decision, Kind, Outcome, Place, Sent};
use crate::message::{self, Message};
use crate::network::LinkId;
use crate::schedule::NodeId;

const GROUP: &str = "payers";
const TEMPLATE: &str = "TBW102";
const QUEUES: i32 = 2;

enum About {
    Route,
    Half(u64),
    Heartbeat,
}

/// A producer of transactions.
pub struct Transactor {
    topic: String,
    parts: Vec<Part>,
    session: Session<About>,
    /// Half messages that it will decide about without being asked: when, and about which.
    undecided: BTreeMap<(u64, u64), Place>,
    asked: BTreeSet<NodeId>,
    made: u64,
    count: u64,
    looks: u64,
}

impl Transactor {
    /// A producer of so many transactions for a topic.
    pub fn new(topic: &str, count: u64) -> Transactor {
        Transactor {
            topic: topic.to_owned(),
            parts: Vec::new(),
            session: Session::default(),
            undecided: BTreeMap::new(),
            asked: BTreeSet::new(),
            made: 0,
            count,
            looks: 0,
        }
    }

    fn send_half(&mut self, context: &mut Context<'_>) {
        let part = self.parts[context.rng.usize(..self.parts.len())];
        self.made += 1;
        let id = (context.me as u64) << 32 | self.made;
        let mut stored = Vec::new();
        properties::push(&mut stored, properties::UNIQ_KEY, &format!("{id:016X}"));
        properties::push(&mut stored, properties::TRAN_MSG, "true");
        properties::push(&mut stored, properties::PGROUP, GROUP);
        let header = SendMessage {
            producer_group: GROUP.into(),
            topic: self.topic.as_str().into(),
            default_topic: TEMPLATE.into(),
            default_topic_queue_nums: QUEUES,
            queue_id: context.rng.i32(0..part.queues.max(1)),
            sys_flag: SysFlag(0).with_transaction(TransactionState::Prepared).0,
            born_timestamp: 1,
            flag: 0,
            properties: Some(String::from_utf8_lossy(&stored)),
            reconsume_times: None,
            unit_mode: None,
            max_reconsume_times: None,
            batch: None,
        };
        let decision = match context.rng.u8(..10) {
            0..6 => Decision::Commit,
            6..9 => Decision::Rollback,
            _ => Decision::Never,
        };
        let body = message::body(id, context.rng.usize(..200));
        let code = RequestCode::SEND_MESSAGE_V2;
        let order =
            self.session.request(context, part.node, code, |frame| header.encode(frame), &body, Some(About::Half(id)));
        let sent = Sent {
            node: part.node,
            topic: self.topic.clone(),
            kind: Kind::Half,
            order,
            due_ms: None,
            outcome: Outcome::Unknown,
            decision,
            excused: false,
            damaged: false,
        };
        context.history.sent.insert(id, sent);
    }

    fn half_answered(&mut self, context: &mut Context<'_>, id: u64, message: &Message) {
        let place =
            message.fields.get("msgId").and_then(|id| OffsetMessageId::parse(id)).zip(message.number("queueOffset"));
        match (message.is_success(), place) {
            (true, Some((at, offset))) => {
                let place = Place { queue: 0, offset: offset as u64, position: at.position };
                context.history.told(id, Outcome::Stored(place));
                // Some are left for the broker to ask about.
                if context.rng.u8(..3) != 0 {
                    let at_us = context.now_us() + context.rng.u64(100..400_000);
                    self.undecided.insert((at_us, id), place);
                }
            }
            (true, None) => context.history.broken(format!("the answer for half message {id:x} says not where it is")),
            _ if is_unknown(message) => {}
            // A producer whose half message was refused rolls back; if it is there all the same, it says so when asked.
            _ => context.history.told(id, Outcome::Refused),
        }
    }

    fn decide(&mut self, context: &mut Context<'_>, node: NodeId, id: u64, place: Place, from_check: bool) {
        let commit_or_rollback = match context.history.sent.get(&id).map(|sent| sent.decision) {
            Some(Decision::Commit) => 8,
            Some(Decision::Rollback) => 12,
            Some(Decision::Never) | None => return,
        };
        let header = EndTransaction {
            producer_group: GROUP.into(),
            tran_state_table_offset: place.offset as i64,
            commit_log_offset: place.position as i64,
            commit_or_rollback,
            from_transaction_check: from_check,
            msg_id: Some(format!("{id:016X}").into()),
            transaction_id: None,
        };
        self.session.request(context, node, RequestCode::END_TRANSACTION, |frame| header.encode(frame), b"", None);
    }

    fn asked(&mut self, context: &mut Context<'_>, link: LinkId, message: &Message) {
        let (Some(node), Ok(record)) = (self.session.node_of(link), Record::parse(&message.body)) else { return };
        let place = Place {
            queue: 0,
            offset: message.number("tranStateTableOffset").unwrap_or(0) as u64,
            position: message.number("commitLogOffset").unwrap_or(0) as u64,
        };
        match message::id_of(record.body()) {
            Some(id) => self.decide(context, node, id, place, true),
            None => context.history.broken(format!("{node} asks about a half message that nobody sent")),
        }
    }

    fn beat(&mut self, context: &mut Context<'_>) {
        let body = lenient_json::to_vec(&HeartbeatData {
            client_id: format!("transactor-{}", context.me),
            consumer_data_set: Vec::new(),
            heartbeat_fingerprint: 0,
            producer_data_set: vec![ProducerData { group_name: GROUP.into() }],
            without_sub: false,
        });
        for part in self.parts.clone() {
            self.asked.insert(part.node);
        }
        for node in self.asked.clone() {
            self.session.request(context, node, RequestCode::HEART_BEAT, |frame| frame, &body, Some(About::Heartbeat));
        }
    }
}

impl Client for Transactor {
    fn wake(&mut self, context: &mut Context<'_>) {
        self.session.expired(context);
        if self.looks.is_multiple_of(16) {
            let topic = if self.made == 0 { TEMPLATE } else { &self.topic };
            self.session.ask_route(context, topic, About::Route);
            self.beat(context);
        }
        self.looks += 1;
        while let Some(((at_us, id), place)) = self.undecided.first_key_value().map(|(key, place)| (*key, *place)) {
            if context.now_us() < at_us {
                break;
            }
            self.undecided.pop_first();
            if let Some(node) = context.history.sent.get(&id).map(|sent| sent.node) {
                self.decide(context, node, id, place, false);
            }
        }
        if !context.winding_up && self.made < self.count && !self.parts.is_empty() && self.session.waiting() < 8 {
            self.send_half(context);
        }
        let wait_us = context.rng.u64(5_000..60_000);
        context.wake_after(wait_us);
    }

    fn frame(&mut self, context: &mut Context<'_>, link: LinkId, message: Message) {
        if !message.is_answer {
            if message.code == RequestCode::CHECK_TRANSACTION_STATE.0 {
                self.asked(context, link, &message);
            }
            return;
        }
        match self.session.answered(link, &message) {
            Some(About::Half(id)) => self.half_answered(context, id, &message),
            Some(About::Route) => {
                if let Some(parts) = read_route(context, &message).filter(|parts| !parts.is_empty()) {
                    self.parts =
                        parts.into_iter().map(|part| Part { queues: part.queues.min(QUEUES), ..part }).collect();
                }
            }
            Some(About::Heartbeat) | None => {}
        }
    }

    fn closed(&mut self, _: &mut Context<'_>, link: LinkId) {
        self.session.closed(link);
    }
}
