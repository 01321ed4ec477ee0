//! Telemetry: settings both ways, and questions of the broker to a client.
//!
//! The stream is one state machine: it hands out what waits to be sent, and reads on when nothing does. A client that
//! does not read is therefore not read from either.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use hyper::body::Incoming;
use protocol::v2::telemetry_command::Command;
use protocol::v2::{Settings, TelemetryCommand};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::answer::ok;
use super::body::{Inbound, Inflow, Reply, encode};
use super::call::{Call, Peer};
use super::code::Refused;
use super::{commands, settings, unary};
use crate::sessions::{Commands, Session};

/// Largest command of a client: the stacks of a large program.
const COMMAND_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Opens the stream; its headers go out at once.
pub async fn telemetry(peer: Rc<Peer>, request: http::Request<Incoming>) -> http::Response<Reply> {
    let (parts, body) = request.into_parts();
    let inbound = Inbound::new(Inflow::new(body, peer.arriving.clone()), COMMAND_BYTES_MAX);
    let call = Call::new(peer, parts.headers, parts.uri);
    if let Err(refused) = call.client_id() {
        let command = TelemetryCommand { status: Some(refused.into()), command: None };
        return unary::respond(Reply::unary(&command));
    }
    unary::respond(Reply::Messages(Box::pin(TelemetryStream::open(call.lasting(), inbound))))
}

struct TelemetryStream {
    call: Call,
    inbound: Inbound<TelemetryCommand>,
    commands: Arc<Commands>,
    /// Where commands of the broker come from, once the client has said what it does.
    session: Option<Arc<Session>>,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
    /// How the stream ends, once the client has been told.
    failure: Option<tonic::Status>,
    ended: bool,
}

impl TelemetryStream {
    fn open(call: Call, inbound: Inbound<TelemetryCommand>) -> TelemetryStream {
        let stopping = Box::pin(call.broker().shutdown.clone().cancelled_owned());
        TelemetryStream {
            call,
            inbound,
            commands: Arc::default(),
            session: None,
            stopping,
            failure: None,
            ended: false,
        }
    }

    /// Takes what the client says; gives back what it is answered.
    fn take(&mut self, said: TelemetryCommand) -> Result<Option<TelemetryCommand>, Refused> {
        match said.command {
            Some(Command::Settings(said)) => self.settle(said).map(Some),
            Some(Command::ThreadStackTrace(stacks)) => {
                if let Some(session) = &self.session {
                    commands::stacks_came(self.call.broker(), session.member, said.status, stacks);
                }
                Ok(None)
            }
            Some(Command::VerifyMessageResult(result)) => {
                if let Some(session) = &self.session {
                    commands::verified(self.call.broker(), session.member, said.status, &result);
                }
                Ok(None)
            }
            // What else a client may say means nothing.
            _ => Ok(None),
        }
    }

    fn settle(&mut self, said: Settings) -> Result<TelemetryCommand, Refused> {
        let broker = self.call.broker();
        let role = settings::role_of(broker, &said)?;
        let session = self.call.open_session()?;
        session.attach(&self.commands);
        broker.session_does(&session, role);
        // It may be another one than before: a goodbye ends a session, and not the stream.
        if !self.session.as_ref().is_some_and(|before| Arc::ptr_eq(before, &session)) {
            self.call.peer().opened(&session, &self.commands);
        }
        self.session = Some(session);
        let settings = settings::merged(broker, said);
        Ok(TelemetryCommand { status: Some(ok()), command: Some(Command::Settings(settings)) })
    }
}

impl Stream for TelemetryStream {
    type Item = Result<Bytes, tonic::Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some(failure) = this.failure.take() {
            this.ended = true;
            return Poll::Ready(Some(Err(failure)));
        }
        if this.ended {
            return Poll::Ready(None);
        }
        loop {
            if let Some(command) = this.commands.take(cx.waker()) {
                return Poll::Ready(Some(Ok(encode(&command))));
            }
            match this.inbound.poll_message(cx) {
                Poll::Ready(Some(Ok(said))) => match this.take(said) {
                    Ok(Some(answer)) => return Poll::Ready(Some(Ok(encode(&answer)))),
                    Ok(None) => {}
                    Err(refused) => {
                        this.failure = Some(failed(&refused));
                        // A stream that fails is opened again and again by Node.js, which waits for ever then and gives
                        // up when it is told. The others act on the end.
                        let told = TelemetryCommand { status: Some(refused.into()), command: None };
                        return Poll::Ready(Some(Ok(encode(&told))));
                    }
                },
                // The other side has nothing more to say, or is gone.
                Poll::Ready(_) => {
                    this.ended = true;
                    return Poll::Ready(None);
                }
                Poll::Pending if this.stopping.as_mut().poll(cx).is_ready() => {
                    this.ended = true;
                    return Poll::Ready(None);
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl Drop for TelemetryStream {
    fn drop(&mut self) {
        if let Some(session) = &self.session {
            session.detach(&self.commands);
        }
    }
}

/// How a stream ends that said what cannot be: here alone a refusal is a gRPC error.
fn failed(refused: &Refused) -> tonic::Status {
    let text = format!("process client telemetryCommand failed. {}", refused.text);
    match i32::from(refused.code) {
        40_000..50_000 => tonic::Status::invalid_argument(text),
        _ => tonic::Status::internal(text),
    }
}

#[cfg(test)]
mod tests {
    use protocol::v2::Code;

    use super::*;

    #[test]
    fn faults_of_the_client_are_told_apart_from_ours() {
        let check = |code| failed(&Refused::new(code, "x")).code();
        assert_eq!(check(Code::IllegalTopic), tonic::Code::InvalidArgument);
        assert_eq!(check(Code::InternalServerError), tonic::Code::Internal);
        assert_eq!(check(Code::TooManyRequests), tonic::Code::InvalidArgument);
    }
}
