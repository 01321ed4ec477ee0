//! Requests that append to the log: SEND_MESSAGE (10, 310, 320), CONSUMER_SEND_MSG_BACK (36), END_TRANSACTION (37).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use net::Connection;
use protocol::codes::{RequestCode, ResponseCode};
use protocol::frame::Codec;
use protocol::header::Header;
use protocol::message_id::OffsetMessageId;
use protocol::requests::{ConsumerSendMsgBack, EndTransaction, SendMessage};
use protocol::sys_flag::SysFlag;
use protocol::writer::FrameWriter;

use super::call::{Call, Refusal};
use crate::broker::Broker;
use crate::decide::{self, Decision};
use crate::send::{self, Admitted, SendRequest};
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
    )
}

/// What the requests of one read append, and the answers they get.
#[derive(Default)]
pub struct AppendingTurn {
    appends: Appends,
    answers: Vec<PendingAnswer>,
    origin: Option<(Arc<Broker>, Arc<Connection>)>,
}

struct PendingAnswer {
    opaque: i32,
    codec: Codec,
    kind: AnswerKind,
}

enum AnswerKind {
    /// To a send: where the message went.
    Placed(Admitted),
    /// To anything else: that it was done.
    Done,
    /// The request wants no answer.
    None,
}

impl AppendingTurn {
    /// Whether there is nothing to append and nobody to answer.
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// Takes a request in, or refuses it at once.
    pub fn admit(&mut self, call: &mut Call<'_>) {
        if self.origin.is_none() {
            self.origin = Some((call.broker.clone(), call.connection.clone()));
        }
        let admitted = match RequestCode(call.header.code) {
            RequestCode::CONSUMER_SEND_MSG_BACK => self.admit_send_back(call),
            RequestCode::END_TRANSACTION => self.admit_decision(call),
            _ => return self.admit_send(call),
        };
        match admitted {
            Ok(true) => {
                let kind = if call.header.is_oneway() { AnswerKind::None } else { AnswerKind::Done };
                self.answers.push(PendingAnswer { opaque: call.header.opaque, codec: call.codec, kind });
            }
            Ok(false) => {}
            Err(refusal) => call.refuse(refusal),
        }
    }

    fn admit_send(&mut self, call: &mut Call<'_>) {
        match self.try_send(call) {
            Ok(admitted) => {
                let kind = if call.header.is_oneway() { AnswerKind::None } else { AnswerKind::Placed(admitted) };
                self.answers.push(PendingAnswer { opaque: call.header.opaque, codec: call.codec, kind });
            }
            Err(refusal) => {
                call.broker.counters.sends_refused.fetch_add(1, Ordering::Relaxed);
                let (broker, opaque) = (call.broker, call.header.opaque);
                let answer = FrameWriter::response(call.out, call.codec, refusal.code, opaque, Some(&refusal.remark));
                send_fields(broker, answer).finish(b"");
            }
        }
    }

    fn try_send(&mut self, call: &Call<'_>) -> Result<Admitted, Refusal> {
        let header: SendMessage<'_> = call.read()?;
        let given = header.properties.as_deref().unwrap_or_default();
        let request = SendRequest {
            topic: &header.topic,
            template: &header.default_topic,
            template_queues: header.default_topic_queue_nums,
            queue_id: header.queue_id,
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
        let decision = Decision {
            group: header.producer_group.into_owned(),
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
            Submitted::Later => Box::default(),
        }
    }

    /// Answers once nameservers know of the topics that were created.
    fn answer_when_told(self: Box<Self>) {
        let Some((broker, connection)) = self.origin.clone() else { return };
        broker.clone().registrations.when_told(broker.clock.now_ms(), move || {
            connection.send(|out| self.write_answers(&broker, Outcome::Stored, out));
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
    }

    fn write_answers(&self, broker: &Broker, outcome: Outcome<'_>, out: &mut Vec<u8>) {
        if let Outcome::Refused(error) = outcome {
            broker.counters.sends_refused.fetch_add(self.answers.len() as u64, Ordering::Relaxed);
            let (code, remark) = (send::write_code(error), error.to_string());
            for answer in self.answers.iter().filter(|answer| !matches!(answer.kind, AnswerKind::None)) {
                let frame = FrameWriter::response(out, answer.codec, code, answer.opaque, Some(&remark));
                send_fields(broker, frame).finish(b"");
            }
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
                AnswerKind::Placed(admitted) => {
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
                    let (start, end) = admitted.unique_id;
                    let id = &self.appends.unique_ids[start as usize..end as usize];
                    if let Ok(id) = std::str::from_utf8(id)
                        && !id.is_empty()
                    {
                        frame = frame.text("transactionId", id);
                    }
                    frame.finish(b"");
                }
            }
        }
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
        } else if let Some((broker, connection)) = &self.origin {
            connection.send(|out| self.write_answers(broker, outcome, out));
        }
    }
}

/// Fields that every answer to a send carries: Go traces only when it knows the region.
fn send_fields<'o>(broker: &Broker, answer: FrameWriter<'o>) -> FrameWriter<'o> {
    answer.text("MSG_REGION", &broker.config.region_id).boolean("TRACE_ON", broker.config.trace_on)
}

fn own_limit(header: &Header<'_>, limit: Option<i32>) -> Option<i32> {
    limit.filter(|_| header.version >= VERSION_WITH_OWN_LIMIT)
}
