//! Exit statuses of the commands that talk to a cluster.

use client::admin::AdminError;
use client::consumer::ConsumeError;
use client::producer::SendError;
use client::request::RequestError;
use protocol::codes::ResponseCode;

/// What a command ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Something went wrong that has no status of its own.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// What was asked for is not there.
    NotFound = 3,
    /// It is there already, or not in the state that the command needs.
    Conflict = 4,
    /// The server does not allow it.
    Denied = 5,
    /// A server was not reached.
    Unreachable = 6,
    /// Some servers did it, others did not.
    Partial = 7,
}

/// Something is not there.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotFound(pub String);

/// The command line asks for something that cannot be.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Some servers did it, others did not.
#[derive(Debug, thiserror::Error)]
#[error("{failed} of {asked} failed: {}", .texts.join("; "))]
pub struct Partial {
    /// How many failed.
    pub failed: usize,
    /// How many were asked.
    pub asked: usize,
    /// What each of those that failed said.
    pub texts: Vec<String>,
}

impl Status {
    /// The status for an error: that of the first cause that has one.
    pub fn of(error: &anyhow::Error) -> Status {
        error.chain().find_map(of_cause).unwrap_or(Status::Failed)
    }
}

fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Status> {
    if cause.is::<Partial>() {
        return Some(Status::Partial);
    }
    if cause.is::<NotFound>() {
        return Some(Status::NotFound);
    }
    if cause.is::<Usage>() {
        return Some(Status::Usage);
    }
    if let Some(error) = cause.downcast_ref::<AdminError>() {
        return match error {
            AdminError::Request(error) => of_request(error),
            AdminError::NoBroker { .. } | AdminError::NoSuchTopic(_) | AdminError::NoSuchGroup(_) => {
                Some(Status::NotFound)
            }
        };
    }
    if let Some(error) = cause.downcast_ref::<ConsumeError>() {
        return match error {
            ConsumeError::Request(error) => of_request(error),
            ConsumeError::NoSuchTopic(_) => Some(Status::NotFound),
        };
    }
    if let Some(SendError::NoRoute(_)) = cause.downcast_ref() {
        return Some(Status::NotFound);
    }
    cause.downcast_ref().and_then(of_request)
}

fn of_request(error: &RequestError) -> Option<Status> {
    match error {
        RequestError::Connect(_) | RequestError::Call(_) => Some(Status::Unreachable),
        RequestError::Refused { code, .. } => of_code(*code),
        RequestError::Fields { .. } | RequestError::Body { .. } => None,
    }
}

fn of_code(code: ResponseCode) -> Option<Status> {
    match code {
        ResponseCode::TOPIC_NOT_EXIST
        | ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST
        | ResponseCode::QUERY_NOT_FOUND
        | ResponseCode::NO_MESSAGE
        | ResponseCode::CONSUMER_NOT_ONLINE
        | ResponseCode::USER_NOT_EXIST
        | ResponseCode::POLICY_NOT_EXIST => Some(Status::NotFound),
        ResponseCode::TOPIC_EXIST_ALREADY | ResponseCode::INVALID_PARAMETER | ResponseCode::ILLEGAL_OPERATION => {
            Some(Status::Conflict)
        }
        ResponseCode::NO_PERMISSION => Some(Status::Denied),
        ResponseCode::SERVICE_NOT_AVAILABLE => Some(Status::Unreachable),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;
    use protocol::codes::RequestCode;

    use super::*;

    fn refused(code: ResponseCode) -> RequestError {
        RequestError::Refused { address: "a:1".into(), request: RequestCode(17), code, remark: String::new() }
    }

    #[test]
    fn a_refusal_has_the_status_of_its_code_however_deep_it_lies() {
        for (code, expected) in [
            (ResponseCode::TOPIC_NOT_EXIST, Status::NotFound),
            (ResponseCode::NO_PERMISSION, Status::Denied),
            (ResponseCode::INVALID_PARAMETER, Status::Conflict),
            (ResponseCode::SYSTEM_ERROR, Status::Failed),
        ] {
            let error: anyhow::Result<()> = Err(AdminError::Request(refused(code)).into());
            assert_eq!(Status::of(&error.context("cannot").unwrap_err()), expected, "{code}");
        }
    }

    #[test]
    fn what_is_not_there_and_what_failed_in_part_is_told_apart() {
        assert_eq!(Status::of(&AdminError::NoSuchTopic("t".into()).into()), Status::NotFound);
        assert_eq!(Status::of(&ConsumeError::NoSuchTopic("t".into()).into()), Status::NotFound);
        assert_eq!(Status::of(&NotFound("x".into()).into()), Status::NotFound);
        let partial = Partial { failed: 1, asked: 2, texts: vec!["a".into()] };
        assert_eq!(partial.to_string(), "1 of 2 failed: a");
        assert_eq!(Status::of(&partial.into()), Status::Partial);
        assert_eq!(Status::of(&anyhow::anyhow!("x")), Status::Failed);
    }
}
