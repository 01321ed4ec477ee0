//! Replies to requesters: SEND_REPLY_MESSAGE (324, 325), pushed on as PUSH_REPLY_MESSAGE_TO_CLIENT (326).
//!
//! A requester sends an ordinary message that names it; whoever consumes it sends the reply to the broker, which pushes
//! it to the requester's connection. The reply is stored as well, pushed or not.
//!
//! Source: `broker/.../processor/ReplyMessageProcessor.java`.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use protocol::codes::{RequestCode, ResponseCode};
use protocol::frame::Codec;
use protocol::message_id::OffsetMessageId;
use protocol::properties::{self, Properties};
use protocol::requests::{PushReply, SendMessage};
use protocol::sys_flag::SysFlag;
use protocol::typed::TypedHeader;
use protocol::writer::{Expect, FrameWriter};

use super::appending::send_fields;
use super::call::{Call, LateAnswer, Refusal};
use crate::broker::Broker;
use crate::client_requests::{ClientAnswer, NoAnswer};
use crate::send::{self, Admitted, QueueChoice, SendError, SendRequest};
use crate::writer::{Appends, Outcome};

/// How long a requester may take to say that it has the reply.
const PUSH_TIME: Duration = Duration::from_secs(10);

pub fn send_reply(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: SendMessage<'_> = call.read()?;
    let broker = call.broker;
    let request = send_request(call, &header);
    let mut appends = Appends::default();
    let admitted = match send::admit(broker, &request, &mut appends) {
        Ok(admitted) => Some(admitted).filter(|_| broker.config.store_replies.get()),
        // The helper of the Go client builds replies without a body.
        Err(SendError::NoBody(_)) => None,
        Err(error) => return Err(Refusal::new(error.code(), error)),
    };
    let reply =
        Reply { asker: call.later(), broker: Arc::downgrade(broker), queue_id: header.queue_id, admitted, appends };
    let Some(requester) = Properties::new(request.properties).get(properties::REPLY_TO_CLIENT).map(str::to_owned)
    else {
        let property = properties::REPLY_TO_CLIENT;
        reply.finish(Err(format!("push reply message fail, the reply has no property {property}.")));
        return Ok(());
    };
    let member = broker.membership().producing_client(&requester);
    let Some(connection) = member.and_then(|member| broker.connections.get(member)) else {
        reply.finish(Err(format!("push reply message fail, channel of <{requester}> not found.")));
        return Ok(());
    };
    let (push, body) = (push_of(broker, &header, &request), call.body);
    let write = |out: &mut Vec<u8>, opaque: i32| {
        let code = RequestCode::PUSH_REPLY_MESSAGE_TO_CLIENT;
        push.encode(FrameWriter::request(out, Codec::Json, code, opaque, Expect::Answer)).finish(body);
    };
    let then = move |answer: Result<ClientAnswer, NoAnswer>| {
        reply.finish(match answer {
            Ok(answer) if answer.code == ResponseCode::SUCCESS => Ok(()),
            Ok(answer) => Err(format!(
                "push reply message to <{requester}> fail, code {}: {}",
                answer.code.0,
                answer.remark.as_deref().unwrap_or_default()
            )),
            Err(error) => Err(format!("push reply message to <{requester}> fail: {error}.")),
        });
    };
    broker.ask_connection(&connection, PUSH_TIME, write, then);
    Ok(())
}

fn send_request<'r>(call: &'r Call<'_>, header: &'r SendMessage<'_>) -> SendRequest<'r> {
    SendRequest {
        topic: &header.topic,
        template: &header.default_topic,
        template_queues: header.default_topic_queue_nums,
        queue: match header.queue_id {
            given @ 0.. => QueueChoice::Given(given),
            _ => QueueChoice::Turn(call.broker.next_turn()),
        },
        sys_flag: SysFlag(header.sys_flag),
        born_ms: header.born_timestamp,
        born_host: call.connection.peer(),
        flag: header.flag,
        properties: header.properties.as_deref().unwrap_or_default().as_bytes(),
        reconsume_times: header.reconsume_times.unwrap_or(0),
        max_reconsume_times: None,
        batch: false,
        body: call.body,
    }
}

/// What the requester is told.
fn push_of<'r>(broker: &Broker, header: &'r SendMessage<'_>, request: &SendRequest<'_>) -> PushReply<'r> {
    let now_ms = broker.clock.now_ms();
    let mut given = Vec::new();
    properties::push(&mut given, properties::PUSH_REPLY_TIME, &now_ms.to_string());
    let own = [properties::MSG_REGION, properties::TRACE_ON, properties::PUSH_REPLY_TIME];
    properties::push_kept(&mut given, request.properties, |name| own.iter().all(|own| own.as_bytes() != name));
    properties::push(&mut given, properties::MSG_REGION, &broker.config.region_id);
    properties::push(&mut given, properties::TRACE_ON, if broker.config.trace_on { "true" } else { "false" });
    let host = |address: SocketAddr| address.to_string().into();
    PushReply {
        producer_group: header.producer_group.as_ref().into(),
        topic: header.topic.as_ref().into(),
        default_topic: header.default_topic.as_ref().into(),
        default_topic_queue_nums: header.default_topic_queue_nums,
        queue_id: header.queue_id,
        sys_flag: header.sys_flag,
        born_timestamp: header.born_timestamp,
        flag: header.flag,
        properties: String::from_utf8_lossy(&given).into_owned().into(),
        reconsume_times: header.reconsume_times.unwrap_or(0),
        unit_mode: header.unit_mode.unwrap_or(false),
        born_host: host(request.born_host),
        store_host: host(broker.store_host),
        store_timestamp: now_ms,
    }
}

/// A reply that was taken in, and is on its way to the requester.
struct Reply {
    asker: LateAnswer,
    /// The requests that wait belong to the broker, so they must not keep it.
    broker: Weak<Broker>,
    queue_id: i32,
    /// What is to be stored of it, if anything.
    admitted: Option<Admitted>,
    appends: Appends,
}

impl Reply {
    /// Stores the reply and answers. `pushed` says why the requester does not have it.
    fn finish(self, pushed: Result<(), String>) {
        let Some(broker) = self.broker.upgrade() else { return };
        let (code, remark) = match pushed {
            Ok(()) => (ResponseCode::SUCCESS, None),
            Err(remark) => (ResponseCode::SYSTEM_ERROR, Some(remark)),
        };
        let asker = self.asker;
        let Some(admitted) = self.admitted else {
            asker.give(code, remark.as_deref(), |frame| write_place(&broker, frame, None, self.queue_id));
            return;
        };
        broker.clone().writer.append_then(self.appends, move |appends, outcome| {
            if let Outcome::Refused(error) = outcome {
                tracing::warn!(%error, "a reply could not be stored");
            }
            let placed = match outcome {
                Outcome::Refused(_) => None,
                _ => appends
                    .batch
                    .placed()
                    .get(admitted.first_record)
                    .map(|record| (record.position.0, record.queue_offset)),
            };
            asker.give(code, remark.as_deref(), |frame| write_place(&broker, frame, placed, admitted.queue_id));
        });
    }
}

/// Where the reply was stored: position and offset. Without that the fields are there too: clients read them all.
fn write_place(broker: &Broker, frame: FrameWriter<'_>, placed: Option<(u64, u64)>, queue_id: i32) {
    let id = placed.map(|(position, _)| OffsetMessageId { host: broker.store_host, position }.to_string());
    send_fields(broker, frame)
        .text("msgId", id.as_deref().unwrap_or("0"))
        .integer("queueId", queue_id)
        .unsigned("queueOffset", placed.map_or(0, |(_, offset)| offset))
        .finish(b"");
}
