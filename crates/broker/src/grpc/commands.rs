//! Questions of tools to a gRPC consumer: its stacks, and consuming one message, as commands on its telemetry stream.
//!
//! Tools ask in the remoting protocol (307, 309), so that is what their answers are written in.
//!
//! Source: `proxy/.../grpc/v2/channel/GrpcClientChannel.java`, `proxy/.../grpc/v2/client/ClientActivity.java`.

use std::sync::Arc;
use std::time::Duration;

use net::ConnectionId;
use protocol::bodies::heartbeat::ConsumeType;
use protocol::bodies::relayed::{ConsumeDirectlyResult, ConsumeResult, ConsumerRunningInfo};
use protocol::codes::ResponseCode;
use protocol::lenient_json;
use protocol::v2::telemetry_command::Command;
use protocol::v2::{
    self, Code, PrintThreadStackTraceCommand, Status, TelemetryCommand, ThreadStackTrace, VerifyMessageCommand,
    VerifyMessageResult,
};

use crate::broker::Broker;
use crate::client_requests::{ClientAnswer, NoAnswer};
use crate::membership::Subscription;

/// How long a consumer may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// Says what is known of a gRPC consumer, with the stacks of its threads if they are wanted.
pub fn running_info(
    broker: &Arc<Broker>,
    member: ConnectionId,
    group: &str,
    with_stacks: bool,
    then: impl FnOnce(Result<ClientAnswer, NoAnswer>) + Send + 'static,
) {
    let info = known_of(broker, member, group);
    if !with_stacks {
        return then(Ok(told(&info)));
    }
    let then = move |answer: Result<ClientAnswer, NoAnswer>| {
        then(answer.map(|answer| {
            let text = match answer.remark {
                Some(refused) => refused,
                None => String::from_utf8_lossy(&answer.body).into_owned(),
            };
            told(&ConsumerRunningInfo { jstack: Some(text), ..info })
        }));
    };
    let command = |nonce| Command::PrintThreadStackTraceCommand(PrintThreadStackTraceCommand { nonce });
    ask(broker, member, command, then);
}

/// Has a gRPC consumer consume a message.
pub fn consume_directly(
    broker: &Broker,
    member: ConnectionId,
    message: v2::Message,
    then: impl FnOnce(Result<ClientAnswer, NoAnswer>) + Send + 'static,
) {
    let (clock, asked_ms) = (broker.clock.clone(), broker.clock.now_ms());
    let then = move |answer: Result<ClientAnswer, NoAnswer>| {
        then(answer.map(|answer| {
            let result: ConsumeDirectlyResult = lenient_json::from_slice(&answer.body).unwrap_or_default();
            told(&ConsumeDirectlyResult { spent_time_millis: clock.now_ms() - asked_ms, ..result })
        }));
    };
    let command = |nonce| Command::VerifyMessageCommand(VerifyMessageCommand { nonce, message: Some(message) });
    ask(broker, member, command, then);
}

/// A consumer sent its stacks.
pub fn stacks_came(broker: &Broker, member: ConnectionId, status: Option<Status>, said: ThreadStackTrace) {
    let refused = status.filter(|status| status.code() != Code::Ok);
    answered(broker, member, &said.nonce, || ClientAnswer {
        code: ResponseCode::SUCCESS,
        remark: refused.map(|status| format!("the client gives no stacks: {} {}", status.code, status.message)),
        body: said.thread_stack_trace.unwrap_or_default().into_bytes(),
    });
}

/// A consumer says what came of a message.
pub fn verified(broker: &Broker, member: ConnectionId, status: Option<Status>, said: &VerifyMessageResult) {
    answered(broker, member, &said.nonce, || {
        let status = status.unwrap_or_default();
        let result = match status.code() {
            Code::Ok => ConsumeResult::Success,
            Code::FailedToConsumeMessage => ConsumeResult::Later,
            Code::MessageCorrupted => ConsumeResult::ReturnNull,
            _ => ConsumeResult::ThrowException,
        };
        let remark = Some(format!("{} {}", status.code, status.message)).filter(|_| result != ConsumeResult::Success);
        told(&ConsumeDirectlyResult { consume_result: Some(result), remark, ..ConsumeDirectlyResult::default() })
    });
}

/// The nonce is the number of the request.
fn answered(broker: &Broker, member: ConnectionId, nonce: &str, answer: impl FnOnce() -> ClientAnswer) {
    if let Ok(opaque) = nonce.parse() {
        broker.client_requests.answered(member, opaque, answer);
    }
}

fn ask(
    broker: &Broker,
    member: ConnectionId,
    command: impl FnOnce(String) -> Command,
    then: impl FnOnce(Result<ClientAnswer, NoAnswer>) + Send + 'static,
) {
    let send = |opaque: i32| {
        let command = TelemetryCommand { status: None, command: Some(command(opaque.to_string())) };
        broker.sessions.of_member(member).is_some_and(|session| session.command(command))
    };
    broker.ask(member, ANSWER_TIME, send, then);
}

fn told(body: &impl serde::Serialize) -> ClientAnswer {
    ClientAnswer { code: ResponseCode::SUCCESS, remark: None, body: lenient_json::to_vec(body) }
}

fn known_of(broker: &Broker, member: ConnectionId, group: &str) -> ConsumerRunningInfo {
    let mut info = ConsumerRunningInfo::default();
    if let Some(found) = broker.membership().consumer_group(group) {
        let kind = match found.consume_type {
            ConsumeType::Actively => "CONSUME_ACTIVELY",
            _ => "CONSUME_PASSIVELY",
        };
        info.properties.insert("PROP_CONSUME_TYPE".to_owned(), kind.to_owned());
        info.subscription_set = found.subscriptions.values().map(Subscription::to_wire).collect();
    }
    if let Some(session) = broker.sessions.of_member(member) {
        let language = session.client.language.name().unwrap_or("OTHER");
        info.properties.insert("PROP_CLIENT_VERSION".to_owned(), format!("gRPC {language}"));
        info.properties.insert("PROP_CONSUMER_START_TIMESTAMP".to_owned(), session.opened_ms.to_string());
    }
    info
}
