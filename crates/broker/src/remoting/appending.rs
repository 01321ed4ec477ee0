//! Requests that append to the log: SEND_MESSAGE (10, 310, 320), CONSUMER_SEND_MSG_BACK (36), END_TRANSACTION (37),
//! RECALL_MESSAGE (370), RESUME_CHECK_HALF_MESSAGE (323).

use std::borrow::Cow;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::Stopwatch;
use net::Connection;
use protocol::codes::{RequestCode, ResponseCode};
use protocol::frame::Codec;
use protocol::header::Header;
use protocol::message_id::OffsetMessageId;
use protocol::requests::{ConsumerSendMsgBack, EndTransaction, RecallMessage, ResumeCheck, SendMessage};
use protocol::sys_flag::SysFlag;
use protocol::writer::FrameWriter;

use super::call::{Call, Refusal};
use crate::broker::Broker;
use crate::decide::{self, Decision};
use crate::recall;
use crate::rpc_latency::Kind;
use crate::send::{self, Admitted, QueueChoice, SendRequest};
use crate::send_back::{self, SendBack};
use crate::writer::{Appends, Outcome, Submission, Submitted};

/// Version from which on a client's own limit of hand-backs counts (3.4.9).
const VERSION_WITH_OWN_LIMIT: i32 = 121;

const COMMIT: i32 = 8;
const ROLLBACK: i32 = 12;

/// Whether requests of that code are gathered here.
pub fn is_appending(code: RequestCode) -> bool {
    matches!(
        code,
        RequestCode::SEND_MESSAGE
            | RequestCode::SEND_MESSAGE_V2
            | RequestCode::SEND_BATCH_MESSAGE
            | RequestCode::CONSUMER_SEND_MSG_BACK
            | RequestCode::END_TRANSACTION
            | RequestCode::RECALL_MESSAGE
            | RequestCode::RESUME_CHECK_HALF_MESSAGE
    )
}

/// What the requests of one read append, and the answers they get.
#[derive(Default)]
pub struct AppendingTurn {
    appends: Appends,
    answers: Vec<PendingAnswer>,
    origin: Option<(Arc<Broker>, Arc<Connection>)>,
    /// Runs since the first of them was taken in.
    since: Option<Stopwatch>,
}

struct PendingAnswer {
    request: RequestCode,
    opaque: i32,
    codec: Codec,
    kind: AnswerKind,
}

enum AnswerKind {
    /// To a send: where the message went.
    Placed(Admitted),
    /// To a recall: which message was taken back.
    Recalled(String),
    /// To anything else: that it was done.
    Done,
    /// The request wants no answer.
    None,
}

impl PendingAnswer {
    fn new(call: &Call<'_>, kind: AnswerKind) -> PendingAnswer {
        let request = RequestCode(call.header.code);
        PendingAnswer { request, opaque: call.header.opaque, codec: call.codec, kind }
    }

    fn is_oneway(&self) -> bool {
        matches!(self.kind, AnswerKind::None)
    }
}

impl AppendingTurn {
    /// Runs since the first request was taken in, if there was any.
    pub fn since(&self) -> Option<Stopwatch> {
        self.since
    }

    /// Whether there is nothing to append and nobody to answer.
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// Takes a request in, or refuses it at once.
    pub fn admit(&mut self, call: &mut Call<'_>) {
        if self.origin.is_none() {
            self.origin = Some((call.broker.clone(), call.connection.clone()));
            self.since = Some(call.since);
        }
        let admitted = match RequestCode(call.header.code) {
            RequestCode::CONSUMER_SEND_MSG_BACK => self.admit_send_back(call),
            RequestCode::END_TRANSACTION => self.admit_decision(call),
            RequestCode::RESUME_CHECK_HALF_MESSAGE => self.admit_resumption(call),
            RequestCode::RECALL_MESSAGE => return self.admit_recall(call),
            _ => return self.admit_send(call),
        };
        match admitted {
            Ok(true) => {
                let kind = if call.header.is_oneway() { AnswerKind::None } else { AnswerKind::Done };
                self.answers.push(PendingAnswer::new(call, kind));
            }
            Ok(false) => {}
            Err(refusal) => call.refuse(refusal),
        }
    }

    fn admit_send(&mut self, call: &mut Call<'_>) {
        match self.try_send(call) {
            Ok(admitted) => {
                let kind = if call.header.is_oneway() { AnswerKind::None } else { AnswerKind::Placed(admitted) };
                self.answers.push(PendingAnswer::new(call, kind));
            }
            Err(refusal) => {
                call.broker.counters.sends_refused.fetch_add(1, Ordering::Relaxed);
                let (broker, opaque) = (call.broker, call.header.opaque);
                let answer = FrameWriter::response(call.out, call.codec, refusal.code, opaque, Some(&refusal.remark));
                send_fields(broker, answer).finish(b"");
            }
        }
    }

    fn admit_recall(&mut self, call: &mut Call<'_>) {
        match self.try_recall(call) {
            Ok(unique_id) => {
                let kind = if call.header.is_oneway() { AnswerKind::None } else { AnswerKind::Recalled(unique_id) };
                self.answers.push(PendingAnswer::new(call, kind));
            }
            Err(refusal) => {
                let (region, opaque) = (&call.broker.config.region_id, call.header.opaque);
                FrameWriter::response(call.out, call.codec, refusal.code, opaque, Some(&refusal.remark))
                    .text("MSG_REGION", region)
                    .finish(b"");
            }
        }
    }

    fn try_recall(&mut self, call: &Call<'_>) -> Result<String, Refusal> {
        let header: RecallMessage<'_> = call.read()?;
        recall::recall(call.broker, &header.topic, &header.recall_handle, &mut self.appends)
            .map_err(|error| Refusal::new(error.code(), error))
    }

    fn try_send(&mut self, call: &Call<'_>) -> Result<Admitted, Refusal> {
        let header: SendMessage<'_> = call.read()?;
        let given = header.properties.as_deref().unwrap_or_default();
        let request = SendRequest {
            topic: &header.topic,
            template: &header.default_topic,
            template_queues: header.default_topic_queue_nums,
            queue: if header.queue_id < 0 {
                QueueChoice::Turn(call.broker.next_turn())
            } else {
                QueueChoice::Given(header.queue_id)
            },
            sys_flag: SysFlag(header.sys_flag),
            born_ms: header.born_timestamp,
            born_host: call.connection.peer(),
            flag: header.flag,
            properties: given.as_bytes(),
            reconsume_times: header.reconsume_times.unwrap_or(0),
            max_reconsume_times: own_limit(call.header, header.max_reconsume_times),
            batch: header.batch.unwrap_or(false),
            body: call.body,
        };
        send::admit(call.broker, &request, &mut self.appends).map_err(|error| Refusal::new(error.code(), error))
    }

    fn admit_send_back(&mut self, call: &Call<'_>) -> Result<bool, Refusal> {
        let header: ConsumerSendMsgBack<'_> = call.read()?;
        let request = SendBack {
            group: header.group.into_owned(),
            position: header.offset,
            delay_level: header.delay_level,
            max_reconsume_times: own_limit(call.header, header.max_reconsume_times),
        };
        send_back::send_back(call.broker, &request, &mut self.appends)
            .map_err(|error| Refusal::new(error.code(), error))?;
        call.broker.counters.sent_back.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }

    fn admit_resumption(&mut self, call: &Call<'_>) -> Result<bool, Refusal> {
        let header: ResumeCheck<'_> = call.read()?;
        let id = OffsetMessageId::parse(&header.msg_id).ok_or_else(|| {
            Refusal::new(ResponseCode::SYSTEM_ERROR, format!("`{:.40}` is no offset message id", header.msg_id))
        })?;
        decide::resume(call.broker, id.position, &mut self.appends)
            .map_err(|error| Refusal::new(error.code(), error))?;
        Ok(true)
    }

    /// `false` says that there is nothing to answer: the producer does not know yet.
    fn admit_decision(&mut self, call: &Call<'_>) -> Result<bool, Refusal> {
        let header: EndTransaction<'_> = call.read()?;
        let commit = match header.commit_or_rollback {
            COMMIT => true,
            ROLLBACK => false,
            0 => return Ok(false),
            other => {
                let remark = format!("decision {other} is neither {COMMIT} (commit) nor {ROLLBACK} (rollback)");
                return Err(Refusal::new(ResponseCode::SYSTEM_ERROR, remark));
            }
        };
        let ids = [header.msg_id, header.transaction_id].into_iter().flatten();
        let decision = Decision {
            group: header.producer_group.into_owned(),
            ids: ids.filter(|id| !id.is_empty()).map(Cow::into_owned).collect(),
            queue_offset: header.tran_state_table_offset,
            position: header.commit_log_offset,
            commit,
            from_check: header.from_transaction_check,
        };
        decide::decide(call.broker, &decision, &mut self.appends).map_err(|error| Refusal::new(error.code(), error))?;
        Ok(true)
    }

    /// Appends what was gathered and answers, now or later. Gives back a turn to go on with.
    pub fn append(mut self: Box<Self>, broker: &Broker, replies: &mut Vec<u8>) -> Box<AppendingTurn> {
        if self.appends.batch.is_empty() {
            // Decisions that were made before need no record, and an answer all the same.
            if !self.answers.is_empty() {
                self.write_answers(broker, Outcome::Stored, replies);
            }
            self.reset();
            return self;
        }
        match broker.writer.submit(self) {
            Submitted::Done(turn, Ok(())) if turn.appends.created_topic => {
                turn.answer_when_told();
                Box::default()
            }
            Submitted::Done(mut turn, result) => {
                let outcome = result.as_ref().map_or_else(Outcome::Refused, |()| Outcome::Stored);
                turn.write_answers(broker, outcome, replies);
                turn.reset();
                turn
            }
            // Whoever completes it, on whatever thread, leaves it among the spare ones.
            Submitted::Later => Box::new(spare_turns().pop().unwrap_or_default()),
        }
    }

    /// Answers once nameservers know of the topics that were created.
    fn answer_when_told(self: Box<Self>) {
        let Some((broker, connection)) = self.origin.clone() else { return };
        broker.clone().when_topics_are_told(move |saved| {
            let outcome = saved.outcome();
            connection.send(|out| self.write_answers(&broker, outcome, out));
        });
    }

    fn reset(&mut self) {
        /// A turn that once was huge does not keep its room.
        const KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;
        if self.appends.batch.bytes() > KEPT_BYTES_MAX {
            *self = AppendingTurn::default();
            return;
        }
        self.appends.clear();
        self.answers.clear();
        self.origin = None;
        self.since = None;
    }

    fn keep_as_spare(mut self) {
        const SPARES_MAX: usize = 128;
        const KEPT_BYTES_MAX: usize = 64 * 1024;
        let is_small = self.appends.batch.bytes() <= KEPT_BYTES_MAX;
        self.reset();
        let mut spare = spare_turns();
        if is_small && spare.len() < SPARES_MAX {
            spare.push(self);
        }
    }

    fn write_answers(&self, broker: &Broker, outcome: Outcome<'_>, out: &mut Vec<u8>) {
        #[cfg(feature = "otel")]
        crate::spans::end_sends(broker, &self.appends, &outcome);
        if let Outcome::Refused(error) = outcome {
            broker.counters.sends_refused.fetch_add(self.answers.len() as u64, Ordering::Relaxed);
            let (code, remark) = (send::write_code(error), error.to_string());
            for answer in self.answers.iter().filter(|answer| !answer.is_oneway()) {
                let frame = FrameWriter::response(out, answer.codec, code, answer.opaque, Some(&remark));
                send_fields(broker, frame).finish(b"");
            }
            self.note_times(broker, code);
            return;
        }
        let placed = self.appends.batch.placed();
        broker.counters.messages_in.fetch_add(placed.len() as u64, Ordering::Relaxed);
        broker.counters.bytes_in.fetch_add(self.appends.batch.bytes() as u64, Ordering::Relaxed);
        let code = match outcome {
            Outcome::FlushTimeout => ResponseCode::FLUSH_DISK_TIMEOUT,
            _ => ResponseCode::SUCCESS,
        };
        for answer in &self.answers {
            match &answer.kind {
                AnswerKind::None => {}
                AnswerKind::Done => FrameWriter::response(out, answer.codec, code, answer.opaque, None).finish(b""),
                AnswerKind::Recalled(unique_id) => FrameWriter::response(out, answer.codec, code, answer.opaque, None)
                    .text("msgId", unique_id)
                    .text("MSG_REGION", &broker.config.region_id)
                    .finish(b""),
                AnswerKind::Placed(admitted) => self.write_placed(broker, answer, admitted, code, out),
            }
        }
        self.note_times(broker, code);
    }

    /// All of them took the time of the turn. Mostly they ask the same, so that a thousand are noted like one.
    fn note_times(&self, broker: &Broker, code: ResponseCode) {
        let Some(since) = self.since else { return };
        let time = since.elapsed();
        for same in self.answers.chunk_by(|a, b| a.request == b.request && a.is_oneway() == b.is_oneway()) {
            let kind = Kind { oneway: same[0].is_oneway(), ..Kind::remoting(same[0].request, code) };
            broker.counters.rpc_latency.observe(kind, time, same.len() as u64);
        }
    }

    fn write_placed(
        &self,
        broker: &Broker,
        answer: &PendingAnswer,
        admitted: &Admitted,
        code: ResponseCode,
        out: &mut Vec<u8>,
    ) {
        let placed = self.appends.batch.placed();
        let records = &placed[admitted.first_record..admitted.first_record + admitted.records];
        let frame = FrameWriter::response(out, answer.codec, code, answer.opaque, None);
        let mut frame = send_fields(broker, frame)
            .plain("msgId", |out| {
                for (index, record) in records.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    OffsetMessageId { host: broker.store_host, position: record.position.0 }.push(out);
                }
            })
            .integer("queueId", admitted.queue_id)
            .unsigned("queueOffset", records.first().map_or(0, |record| record.queue_offset));
        let optional = [
            ("transactionId", admitted.unique_id, &self.appends.unique_ids),
            ("recallHandle", admitted.recall_handle, &self.appends.recall_handles),
        ];
        for (name, (start, end), texts) in optional {
            if let Ok(text) = std::str::from_utf8(&texts[start as usize..end as usize])
                && !text.is_empty()
            {
                frame = frame.text(name, text);
            }
        }
        frame.finish(b"");
    }
}

impl Submission for AppendingTurn {
    fn appends(&mut self) -> &mut Appends {
        &mut self.appends
    }

    fn bytes(&self) -> usize {
        self.appends.batch.bytes()
    }

    fn complete(&mut self, outcome: Outcome<'_>) {
        if let (true, Outcome::Stored) = (self.appends.created_topic, outcome) {
            Box::new(std::mem::take(self)).answer_when_told();
            return;
        }
        if let Some((broker, connection)) = &self.origin {
            connection.send(|out| self.write_answers(broker, outcome, out));
        }
        // After a timeout the records are still needed: they become visible later.
        if let Outcome::Stored | Outcome::Refused(_) = outcome {
            std::mem::take(self).keep_as_spare();
        }
    }
}

/// Turns whose room is used again; with SYNC_FLUSH each read that waits for the disk needs one of its own.
static SPARE_TURNS: Mutex<Vec<AppendingTurn>> = Mutex::new(Vec::new());

fn spare_turns() -> MutexGuard<'static, Vec<AppendingTurn>> {
    SPARE_TURNS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Fields that every answer to a send carries: Go traces only when it knows the region.
pub fn send_fields<'o>(broker: &Broker, answer: FrameWriter<'o>) -> FrameWriter<'o> {
    answer.text("MSG_REGION", &broker.config.region_id).boolean("TRACE_ON", broker.config.trace_on)
}

fn own_limit(header: &Header<'_>, limit: Option<i32>) -> Option<i32> {
    limit.filter(|_| header.version >= VERSION_WITH_OWN_LIMIT)
}
