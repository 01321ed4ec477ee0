//! Responses, and the status that each of them carries.

use protocol::v2::{self, Code, Status};

use super::code::Refused;

/// The status of a call that did what was asked.
pub fn ok() -> Status {
    Status { code: Code::Ok.into(), message: "OK".to_owned() }
}

/// A response to a call.
pub trait Answer: prost::Message + Default {
    /// Where its status is.
    fn status_mut(&mut self) -> &mut Option<Status>;

    /// A response that says no and nothing else.
    fn refusal(refused: Refused) -> Self {
        let mut answer = Self::default();
        *answer.status_mut() = Some(refused.into());
        answer
    }

    /// A response that says that it was done.
    fn done() -> Self {
        let mut answer = Self::default();
        *answer.status_mut() = Some(ok());
        answer
    }
}

macro_rules! answers {
    ($($name:ident),* $(,)?) => {
        $(impl Answer for v2::$name {
            fn status_mut(&mut self) -> &mut Option<Status> {
                &mut self.status
            }
        })*
    };
}

answers!(
    QueryRouteResponse,
    HeartbeatResponse,
    SendMessageResponse,
    QueryAssignmentResponse,
    AckMessageResponse,
    ForwardMessageToDeadLetterQueueResponse,
    UpdateOffsetResponse,
    GetOffsetResponse,
    QueryOffsetResponse,
    EndTransactionResponse,
    NotifyClientTerminationResponse,
    ChangeInvisibleDurationResponse,
    RecallMessageResponse,
    SyncLiteSubscriptionResponse,
);
