//! The requests that the load and the survey make.

use std::borrow::Cow;
use std::io;

use protocol::codes::{RequestCode, ResponseCode};
use protocol::properties;
use protocol::record;
use protocol::requests::{
    CreateTopic, EndTransaction, PullMessage, QueryConsumerOffset, QueueOfTopic, SendMessage, UpdateConsumerOffset,
};

use crate::history::{Decision, Found, GroupQueue, HalfPlace};
use crate::message::{Id, Kind};
use crate::violation::{Place, Violation};
use crate::wire::{Answer, Wire};

/// Producer group of everything.
const PRODUCERS: &str = "producers";
/// System flag with which clients send half messages.
const PREPARED: i32 = 4;
/// Flag of a pull that brings its own subscription.
const WITH_SUBSCRIPTION: i32 = 4;

/// Why something was not done: the broker broke a promise, or is not there any more.
#[derive(Debug)]
pub enum Trouble {
    /// A promise was broken.
    Broken(Violation),
    /// The connection is over.
    Over(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::Over(error)
    }
}

impl From<Violation> for Trouble {
    fn from(violation: Violation) -> Trouble {
        Trouble::Broken(violation)
    }
}

/// Turns a refusal into a violation.
pub fn accept(what: &'static str, answer: &Answer<'_>) -> Result<(), Violation> {
    if answer.code == ResponseCode::SUCCESS {
        return Ok(());
    }
    Err(Violation::Refused { what, code: answer.code.0, remark: answer.remark() })
}

/// The header of a send; `given` are properties.
pub fn send<'a>(id: &Id, given: &[(&str, &str)]) -> SendMessage<'a> {
    let mut stored = Vec::new();
    given.iter().for_each(|(name, value)| properties::push(&mut stored, name, value));
    let is_half = given.iter().any(|(name, _)| *name == properties::TRAN_MSG);
    SendMessage {
        producer_group: Cow::Borrowed(PRODUCERS),
        topic: Cow::Borrowed(id.kind.topic()),
        default_topic: Cow::Borrowed("TBW102"),
        default_topic_queue_nums: 4,
        queue_id: id.queue,
        sys_flag: if is_half { PREPARED } else { 0 },
        born_timestamp: 1,
        flag: 0,
        properties: Some(Cow::Owned(String::from_utf8_lossy(&stored).into_owned())),
        reconsume_times: Some(0),
        unit_mode: None,
        max_reconsume_times: None,
        batch: None,
    }
}

/// Properties that make a message a half message.
pub fn half_properties() -> [(&'static str, &'static str); 2] {
    [(properties::TRAN_MSG, "true"), (properties::PGROUP, PRODUCERS)]
}

/// A decision about a half message.
pub fn decision<'a>(half: HalfPlace, decision: Decision) -> EndTransaction<'a> {
    EndTransaction {
        producer_group: Cow::Borrowed(PRODUCERS),
        tran_state_table_offset: half.offset,
        commit_log_offset: half.position,
        commit_or_rollback: match decision {
            Decision::Commit => 8,
            Decision::Rollback => 12,
        },
        from_transaction_check: false,
        msg_id: None,
        transaction_id: None,
    }
}

/// Stores a group's offset.
pub fn commit_offset<'a>(group: GroupQueue, offset: i64) -> UpdateConsumerOffset<'a> {
    UpdateConsumerOffset {
        consumer_group: Cow::Borrowed(group.group),
        topic: Cow::Borrowed(group.kind.topic()),
        queue_id: group.queue,
        commit_offset: offset,
    }
}

/// A group's offset; -1 when the broker knows none.
pub fn group_offset(wire: &mut Wire, group: GroupQueue) -> Result<i64, Trouble> {
    let header = QueryConsumerOffset {
        consumer_group: Cow::Borrowed(group.group),
        topic: Cow::Borrowed(group.kind.topic()),
        queue_id: group.queue,
        set_zero_if_not_found: false,
    };
    let answer = wire.ask(RequestCode::QUERY_CONSUMER_OFFSET, &header, b"")?;
    if [ResponseCode::QUERY_NOT_FOUND, ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST].contains(&answer.code) {
        return Ok(-1);
    }
    accept("a look at a group's offset", &answer)?;
    Ok(answer.number("offset")?)
}

/// Makes the topics of all kinds.
pub fn create_topics(wire: &mut Wire) -> Result<(), Trouble> {
    for kind in Kind::ALL {
        let header = CreateTopic {
            topic: Cow::Borrowed(kind.topic()),
            default_topic: None,
            read_queue_nums: kind.queues(),
            write_queue_nums: kind.queues(),
            perm: 6,
            topic_filter_type: None,
            topic_sys_flag: None,
            order: false,
            attributes: None,
        };
        let answer = wire.ask(RequestCode::UPDATE_AND_CREATE_TOPIC, &header, b"")?;
        accept("the creation of a topic", &answer)?;
    }
    Ok(())
}

/// First offset of a queue, and the one after the last.
pub fn ends(wire: &mut Wire, kind: Kind, queue: i32) -> Result<(i64, i64), Trouble> {
    let header = QueueOfTopic { topic: Cow::Borrowed(kind.topic()), queue_id: queue };
    let mut ends = [0; 2];
    for (end, code) in ends.iter_mut().zip([RequestCode::GET_MIN_OFFSET, RequestCode::GET_MAX_OFFSET]) {
        let answer = wire.ask(code, &header, b"")?;
        accept("a look at a queue's ends", &answer)?;
        *end = answer.number("offset")?;
    }
    Ok((ends[0], ends[1]))
}

/// Pulls from a queue, for a group that begins to exist thereby; empty when there is nothing at `offset` yet. Messages
/// come with dense offsets from there on.
pub fn pull(wire: &mut Wire, from: GroupQueue, offset: u64, most: i32) -> Result<Vec<Found>, Trouble> {
    let GroupQueue { group, kind, queue } = from;
    let header = PullMessage {
        consumer_group: Cow::Borrowed(group),
        topic: Cow::Borrowed(kind.topic()),
        queue_id: queue,
        queue_offset: offset as i64,
        max_msg_nums: most,
        sys_flag: WITH_SUBSCRIPTION,
        commit_offset: 0,
        suspend_timeout_millis: 0,
        subscription: Some(Cow::Borrowed("*")),
        sub_version: 0,
        expression_type: Some(Cow::Borrowed("TAG")),
        max_msg_bytes: None,
    };
    let answer = wire.ask(RequestCode::PULL_MESSAGE, &header, b"")?;
    if answer.code == ResponseCode::PULL_NOT_FOUND || answer.code == ResponseCode::PULL_OFFSET_MOVED {
        return Ok(Vec::new());
    }
    accept("a pull", &answer)?;
    let mut found = Vec::new();
    for record in record::records(answer.body) {
        let place = Place { kind, queue, offset: offset + found.len() as u64 };
        if record.queue_offset() != place.offset {
            return Err(Violation::Gap { place, found: record.queue_offset() }.into());
        }
        let body = record.body();
        let start = || String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        found.push(Found { place, id: Id::of_body(body).ok_or_else(start), store_ms: record.store_timestamp_ms() });
    }
    Ok(found)
}
