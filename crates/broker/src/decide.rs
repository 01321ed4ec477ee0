//! Deciding about half messages, and asking producers who do not.
//!
//! Sources: `broker/.../processor/EndTransactionProcessor.java`,
//! `broker/.../transaction/AbstractTransactionalMessageCheckListener.java`.

mod by_id;
mod resume;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use log::{LogPosition, ReadError};
use protocol::codes::{RequestCode, ResponseCode};
use protocol::frame::Codec;
use protocol::message_id::OffsetMessageId;
use protocol::properties::{self, Properties};
use protocol::record::{NewRecord, Record, stamp};
use protocol::requests::CheckTransactionState;
use protocol::sys_flag::TransactionState;
use protocol::typed::TypedHeader;
use protocol::writer::{Expect, FrameWriter};

use crate::broker::Broker;
use crate::delay;
use crate::grpc;
use crate::meta::Tree;
use crate::names;
use crate::send::{Draft, SendError};
use crate::topics::{Permission, TopicSettings};
use crate::transactions::{Half, Step};
use crate::writer::{Appends, Mark};

pub use by_id::{DecisionById, decide_by_id};
pub use resume::{ResumeError, resume};

/// A decision about a half message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Producer group.
    pub group: String,
    /// Offset of the half message in the half topic.
    pub queue_offset: i64,
    /// Position of the half message in the commit log.
    pub position: i64,
    /// Ids by which the request names the message, none if it names none. Place and group alone may mean another one: where
    /// a power cut took a half message, the next one gets its place.
    pub ids: Vec<String>,
    /// Whether the message is to be delivered.
    pub commit: bool,
    /// Whether it answers a question.
    pub from_check: bool,
}

/// Why a decision is refused. Clients ignore it; the question that follows repairs what went wrong.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// No half message lies at the position.
    #[error("no half message at position {0}")]
    NoHalf(i64),
    /// The half message belongs to another group.
    #[error("the half message belongs to producer group `{found:.120}`, not `{given:.120}`")]
    WrongGroup {
        /// Group of the message.
        found: String,
        /// Group of the request.
        given: String,
    },
    /// The offset in the half topic is another.
    #[error("the half message has offset {found} in the half topic, not {given}")]
    WrongOffset {
        /// Offset of the message.
        found: u64,
        /// Offset of the request.
        given: i64,
    },
    /// The half message is another one than the request names.
    #[error("the half message is {found:.40}, not {given:.90}")]
    OtherMessage {
        /// Id of the message.
        found: String,
        /// Ids of the request.
        given: String,
    },
    /// Too late for a decision of the producer's own accord; it will be asked.
    #[error("the half message is {age_ms} ms old and may be decided unasked for {limit_ms} ms only")]
    TooLate {
        /// Age of the message in milliseconds.
        age_ms: i64,
        /// Age up to which it may be decided unasked, in milliseconds.
        limit_ms: i64,
    },
    /// No half message of that id, or none that is still there.
    #[error("producer group `{group:.120}` has no transaction `{id:.90}`")]
    Unknown {
        /// Producer group.
        group: String,
        /// Id of the message.
        id: String,
    },
    /// The half message cannot be looked for.
    #[error("the half message cannot be looked for: {0}")]
    Read(#[from] ReadError),
    /// The message cannot be stored.
    #[error(transparent)]
    Send(#[from] SendError),
}

impl DecideError {
    /// The code of the answer.
    pub fn code(&self) -> ResponseCode {
        match self {
            Self::TooLate { .. } => ResponseCode::ILLEGAL_OPERATION,
            Self::NoHalf(_)
            | Self::WrongGroup { .. }
            | Self::WrongOffset { .. }
            | Self::OtherMessage { .. }
            | Self::Unknown { .. }
            | Self::Read(_) => ResponseCode::SYSTEM_ERROR,
            Self::Send(error) => error.code(),
        }
    }
}

/// Adds what a decision makes of a half message to `appends`. Adds nothing if it was decided before: the first
/// decision is final, and hearing it again is no error.
pub fn decide(broker: &Broker, decision: &Decision, appends: &mut Appends) -> Result<(), DecideError> {
    let no_half = || DecideError::NoHalf(decision.position);
    let position = u64::try_from(decision.position).map_err(|_| no_half())?;
    let mut bytes = Vec::new();
    broker.log.read(LogPosition(position), &mut bytes).map_err(|_| no_half())?;
    let record = Record::parse(&bytes).ok().filter(|record| record.topic() == names::HALF_TOPIC).ok_or_else(no_half)?;
    let given = record.properties();
    let group = given.get(properties::PGROUP).unwrap_or_default();
    if group != decision.group {
        return Err(DecideError::WrongGroup { found: group.to_owned(), given: decision.group.clone() });
    }
    if i64::try_from(record.queue_offset()) != Ok(decision.queue_offset) {
        return Err(DecideError::WrongOffset { found: record.queue_offset(), given: decision.queue_offset });
    }
    if let Some(id) = given.get(properties::UNIQ_KEY).filter(|id| !is_named(&decision.ids, id, position)) {
        return Err(DecideError::OtherMessage { found: id.to_owned(), given: decision.ids.join(" and ") });
    }
    let Some(half) = broker.transactions().get(position).cloned() else { return Ok(()) };
    if let (false, Some(limit_ms)) = (decision.from_check, half.immunity_ms) {
        let age_ms = broker.clock.now_ms() - record.store_timestamp_ms();
        if age_ms > limit_ms {
            return Err(DecideError::TooLate { age_ms, limit_ms });
        }
    }
    // From here on nobody else decides; a failed append puts the message back.
    let Some(half) = broker.transactions().take(position) else { return Ok(()) };
    let first = appends.batch.len();
    let pushed = if decision.commit {
        push_commit(broker, &record, position, half.checks, appends)
    } else {
        broker.push_settlement(LogPosition(position), appends)
    };
    match pushed {
        Ok(()) => {
            appends.batch.settles_nothing_due();
            appends.marks.push((first, Mark::Decides { position, half }));
            count(broker, &record, decision.commit);
            Ok(())
        }
        Err(error) => {
            broker.transactions().stored(position, half);
            Err(error.into())
        }
    }
}

/// Whether ids of a request fit a message: none is given, or one is the id of its sender or of its place.
fn is_named(ids: &[String], id: &str, position: u64) -> bool {
    let of_place = format!("{position:016X}");
    ids.is_empty() || ids.iter().any(|given| given == id || given.ends_with(&of_place))
}

fn count(broker: &Broker, record: &Record<'_>, commit: bool) {
    let topic = record.properties().get(properties::REAL_TOPIC).and_then(|name| broker.topics.get(name));
    let Some(topic) = topic else { return };
    let counter = if commit { &topic.tallies.committed } else { &topic.tallies.rolled_back };
    counter.fetch_add(1, Ordering::Relaxed);
    if commit {
        let age_s = (broker.clock.now_ms() - record.store_timestamp_ms()).max(0) as u64 / 1000;
        topic.tallies.commit_times().observe(age_s);
    }
}

fn push_commit(
    broker: &Broker,
    record: &Record<'_>,
    position: u64,
    checks: u32,
    appends: &mut Appends,
) -> Result<(), SendError> {
    let given = record.properties();
    let name = given.get(properties::REAL_TOPIC).unwrap_or_default();
    let queue_id = given.get(properties::REAL_QID).and_then(|id| id.parse::<i32>().ok()).unwrap_or(0);
    let topic = broker.topics.get(name).ok_or_else(|| SendError::NoSuchTopic(name.to_owned()))?;
    let mut stored = Vec::with_capacity(record.properties_bytes().len() + 32);
    // `TRAN_MSG` and the rest stay, as recorded from 5.5.0: the Go client takes its transaction id by it.
    let gone = [properties::REAL_TOPIC, properties::REAL_QID, properties::TRANSACTION_CHECK_TIMES];
    properties::push_kept(&mut stored, record.properties_bytes(), |name| {
        !gone.iter().any(|gone| gone.as_bytes() == name)
    });
    if checks > 0 {
        properties::push(&mut stored, properties::TRANSACTION_CHECK_TIMES, &checks.to_string());
    }
    let delay = delay::of(broker, &given)?;
    let draft = Draft {
        topic: &topic,
        queue_id: queue_id.rem_euclid(topic.queue_count().max(1)),
        flag: record.flag(),
        sys_flag: record.sys_flag().with_transaction(TransactionState::Commit),
        born_ms: record.born_timestamp_ms(),
        born_host: record.born_host(),
        reconsume_times: record.reconsume_times(),
        settles: position,
        tag_hash: record.tag_hash(),
        body: record.body(),
    };
    draft.push(broker, &mut stored, delay, appends)
}

/// Asks producers about half messages that are due, until told to stop.
pub async fn ask_when_due(broker: Arc<Broker>) {
    const LOOK_AGAIN: Duration = Duration::from_millis(500);
    loop {
        if ask_due(&broker) {
            tokio::task::yield_now().await;
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = broker.shutdown.cancelled() => return,
        }
    }
}

/// Asks producers about half messages that are due now; says whether there may be more of them.
pub fn ask_due(broker: &Arc<Broker>) -> bool {
    /// Questions asked in one go.
    const STEPS_MAX: usize = 256;
    let steps = broker.transactions().due(broker.clock.now_ms(), STEPS_MAX);
    let more = steps.len() == STEPS_MAX;
    for step in steps {
        match step {
            Step::Ask { position, check } => ask(broker, position, check),
            Step::GiveUp { position } => give_up(broker, position),
        }
    }
    more
}

fn ask(broker: &Arc<Broker>, position: u64, check: u32) {
    if broker.transactions().get(position).is_none() {
        return;
    }
    // Counted before asking, as upstream does: a producer that crashes the moment it is asked is asked less often.
    broker.meta.put(Tree::Checks, position.to_be_bytes(), check.to_be_bytes().to_vec());
    let mut bytes = Vec::new();
    if let Err(error) = broker.log.read(LogPosition(position), &mut bytes) {
        tracing::error!(position, %error, "a half message cannot be read");
        return;
    }
    let Ok(record) = Record::parse(&bytes) else { return };
    let given = record.properties();
    let group = given.get(properties::PGROUP).unwrap_or_default();
    let body = question_body(broker, &record, check);
    let transaction = given.get(properties::UNIQ_KEY).unwrap_or_default();
    let id = given.get(properties::UNIQ_KEY).map(Into::into);
    let host = OffsetMessageId { host: record.store_host(), position }.to_string();
    let header = CheckTransactionState {
        topic: Some(names::HALF_TOPIC.into()),
        tran_state_table_offset: record.queue_offset() as i64,
        commit_log_offset: position as i64,
        msg_id: id.clone(),
        transaction_id: id,
        offset_msg_id: Some(host.into()),
    };
    let producers = broker.membership().producers_in_turn(group);
    let asked = producers.into_iter().any(|id| {
        if let Some(session) = broker.sessions.of_member(id) {
            return grpc::recover_transaction(&session, &body, transaction);
        }
        broker.connections.get(id).is_some_and(|connection| {
            let opaque = broker.next_opaque();
            connection.send(|out| {
                let frame = FrameWriter::request(
                    out,
                    Codec::Json,
                    RequestCode::CHECK_TRANSACTION_STATE,
                    opaque,
                    Expect::Nothing,
                );
                header.encode(frame).text("bname", &broker.config.broker_name).finish(&body);
            })
        })
    });
    if asked {
        broker.counters.transaction_checks.fetch_add(1, Ordering::Relaxed);
    }
}

/// The half message as producers are shown it: with its real topic and queue, and how often they were asked.
fn question_body(broker: &Broker, record: &Record<'_>, check: u32) -> Vec<u8> {
    let given = record.properties();
    let topic = given.get(properties::REAL_TOPIC).unwrap_or_default();
    let queue_id = given.get(properties::REAL_QID).and_then(|id| id.parse().ok()).unwrap_or(0);
    let mut stored = Vec::with_capacity(record.properties_bytes().len() + 64);
    let replaced = [properties::TRANSACTION_CHECK_TIMES, properties::WAIT];
    properties::push_kept(&mut stored, record.properties_bytes(), |name| {
        !replaced.iter().any(|replaced| replaced.as_bytes() == name)
    });
    properties::push(&mut stored, properties::TRANSACTION_CHECK_TIMES, &check.to_string());
    properties::push(&mut stored, properties::WAIT, "false");
    let shown = NewRecord {
        topic,
        queue_id,
        flag: record.flag(),
        sys_flag: record.sys_flag(),
        born_timestamp_ms: record.born_timestamp_ms(),
        born_host: record.born_host(),
        store_host: broker.store_host,
        reconsume_times: record.reconsume_times(),
        prepared_transaction_offset: 0,
        body: record.body(),
        properties: &stored,
    };
    let mut body = Vec::new();
    if shown.encode(&mut body).is_ok() {
        stamp(&mut body, record.queue_offset(), record.position(), record.store_timestamp_ms());
    }
    body
}

/// Moves a half message that nobody decided about to where an operator finds it.
fn give_up(broker: &Arc<Broker>, position: u64) {
    let mut bytes = Vec::new();
    let read = broker.log.read(LogPosition(position), &mut bytes);
    let Some(half) = broker.transactions().take(position) else { return };
    let settled = match (read, Record::parse(&bytes)) {
        (Ok(()), Ok(record)) => {
            let id = Properties::new(record.properties_bytes()).get(properties::UNIQ_KEY).unwrap_or_default();
            tracing::warn!(position, id, "nobody decided about a half message; it is given up");
            push_given_up(broker, &record, position, half)
        }
        // Retention took it, or it is damaged: there is nothing left to decide about.
        _ => {
            tracing::error!(position, "a half message is gone");
            broker.meta.remove(Tree::Checks, position.to_be_bytes());
            return;
        }
    };
    if let Err(error) = settled {
        tracing::error!(position, %error, "a half message cannot be given up yet");
    }
}

fn push_given_up(broker: &Arc<Broker>, record: &Record<'_>, position: u64, half: Half) -> Result<(), SendError> {
    let settings = TopicSettings::new(names::CHECK_MAX_TOPIC, 1, Permission::READ_WRITE);
    let (topic, created) = broker.topics.ensure(settings, broker.clock.now_ms());
    if created {
        broker.topics_changed(&[names::CHECK_MAX_TOPIC]);
    }
    let mut appends = Appends::default();
    let draft = Draft {
        topic: &topic,
        queue_id: 0,
        flag: record.flag(),
        sys_flag: record.sys_flag(),
        born_ms: record.born_timestamp_ms(),
        born_host: record.born_host(),
        reconsume_times: record.reconsume_times(),
        settles: position,
        tag_hash: record.tag_hash(),
        body: record.body(),
    };
    if let Err(error) = draft.push(broker, &mut record.properties_bytes().to_vec(), None, &mut appends) {
        broker.transactions().stored(position, half);
        return Err(error);
    }
    appends.marks.push((0, Mark::Decides { position, half }));
    broker.writer.append_then(appends, |_, _| {});
    Ok(())
}
