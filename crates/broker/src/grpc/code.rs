//! The code of every refusal: no other place of this door turns an error into one.

use std::fmt::Display;

use log::AppendError;
use protocol::v2::{Code, Status};

use crate::access::AccessError;
use crate::decide::DecideError;
use crate::delivery::settling::SettleError;
use crate::delivery::taking::TakeError;
use crate::names::NameError;
use crate::pull::PullError;
use crate::recall::RecallError;
use crate::send::SendError;
use crate::writer::WriteError;

/// A call that is refused: the status of its response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What the client acts on.
    pub code: Code,
    /// What people read; never empty.
    pub text: String,
}

impl Refused {
    /// A refusal with a text.
    pub fn new(code: Code, text: impl Display) -> Refused {
        Refused { code, text: text.to_string() }
    }

    /// A topic whose name is wrong.
    pub fn topic(error: NameError) -> Refused {
        Refused::new(Code::IllegalTopic, error)
    }

    /// A group whose name is wrong.
    pub fn group(error: NameError) -> Refused {
        Refused::new(Code::IllegalConsumerGroup, error)
    }

    /// A topic that is not there.
    pub fn no_such_topic(topic: &str) -> Refused {
        Refused::new(Code::TopicNotFound, format!("topic `{topic}` does not exist"))
    }
}

impl From<Refused> for Status {
    fn from(refused: Refused) -> Status {
        Status { code: refused.code.into(), message: refused.text }
    }
}

impl From<SendError> for Refused {
    fn from(error: SendError) -> Refused {
        Refused::new(send_code(&error), error)
    }
}

fn send_code(error: &SendError) -> Code {
    match error {
        SendError::BrokerReadOnly(_) | SendError::Forbidden(_) | SendError::TransactionsRefused => Code::Forbidden,
        SendError::Name(_) => Code::IllegalTopic,
        SendError::NoSuchTopic(_) | SendError::BeingDeleted(_) => Code::TopicNotFound,
        SendError::NoSuchGroup(_) => Code::ConsumerGroupNotFound,
        SendError::NoBody(_) => Code::MessageBodyEmpty,
        SendError::BodyTooLarge { .. } | SendError::BatchTooLarge { .. } => Code::MessageBodyTooLarge,
        SendError::PropertiesTooLarge { .. } | SendError::Encode(_) => Code::MessagePropertiesTooLarge,
        SendError::Delay(_) => Code::IllegalDeliveryTime,
        SendError::NoSuchQueue { .. }
        | SendError::Batch { .. }
        | SendError::BatchCannotCarry(_)
        | SendError::Queue(_) => Code::InternalServerError,
        SendError::Write(error) => write_code(error),
    }
}

/// The code for what could not be stored.
pub fn write_code(error: &WriteError) -> Code {
    match error {
        WriteError::Busy { .. } => Code::TooManyRequests,
        WriteError::Log(AppendError::RecordTooLarge { .. }) => Code::MessageBodyTooLarge,
        WriteError::Stopping | WriteError::Log(_) => Code::InternalServerError,
    }
}

impl From<DecideError> for Refused {
    fn from(error: DecideError) -> Refused {
        let code = match &error {
            DecideError::Send(error) => send_code(error),
            _ => Code::InternalServerError,
        };
        Refused::new(code, error)
    }
}

impl From<AccessError> for Refused {
    fn from(error: AccessError) -> Refused {
        Refused::new(access_code(&error), error)
    }
}

fn access_code(error: &AccessError) -> Code {
    match error {
        AccessError::BrokerUnreadable(_)
        | AccessError::GroupDisabled(_)
        | AccessError::TopicUnreadable(_)
        | AccessError::TopicForbidden { .. }
        | AccessError::NoSuchQueue { .. } => Code::Forbidden,
        AccessError::NoSuchGroup(_) => Code::ConsumerGroupNotFound,
        AccessError::NoSuchTopic(_) => Code::TopicNotFound,
    }
}

impl From<TakeError> for Refused {
    fn from(error: TakeError) -> Refused {
        let code = match &error {
            TakeError::Access(error) => access_code(error),
            TakeError::Queue(_) | TakeError::Read(_) => Code::InternalServerError,
        };
        Refused::new(code, error)
    }
}

impl From<SettleError> for Refused {
    fn from(error: SettleError) -> Refused {
        let code = match &error {
            // Clients try again without end for any code but this one.
            SettleError::Handle(_)
            | SettleError::NoMessage { .. }
            | SettleError::Access(AccessError::NoSuchTopic(_) | AccessError::NoSuchQueue { .. }) => {
                Code::InvalidReceiptHandle
            }
            SettleError::Access(error) => access_code(error),
            SettleError::Queue(_) | SettleError::Read(_) => Code::InternalServerError,
        };
        Refused::new(code, error)
    }
}

impl From<PullError> for Refused {
    fn from(error: PullError) -> Refused {
        let code = match &error {
            PullError::Access(error) => access_code(error),
            PullError::BroadcastDisabled(_) => Code::Forbidden,
            PullError::Filter(_) | PullError::GroupFilter { .. } | PullError::FilterOff(_) => {
                Code::IllegalFilterExpression
            }
            PullError::NotSubscribed { .. }
            | PullError::OldSubscription { .. }
            | PullError::Queue(_)
            | PullError::Read(_) => Code::InternalServerError,
        };
        Refused::new(code, error)
    }
}

impl From<RecallError> for Refused {
    fn from(error: RecallError) -> Refused {
        let code = match &error {
            RecallError::NoSuchTopic(_) => Code::TopicNotFound,
            RecallError::Send(error) => send_code(error),
            _ => Code::InternalServerError,
        };
        Refused::new(code, error)
    }
}
