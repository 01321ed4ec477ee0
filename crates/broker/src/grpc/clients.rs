//! Heartbeat and NotifyClientTermination.

use protocol::bodies::heartbeat::ConsumeType;
use protocol::v2::{self, ClientType, Code};

use super::answer::Answer;
use super::call::Call;
use super::code::Refused;
use super::validate;
use crate::broker::Broker;
use crate::sessions::Role;

/// A client is there. One whose settings are not known, because the broker was started since, is taken for what it
/// says here.
pub async fn heartbeat(call: Call, request: v2::HeartbeatRequest) -> Result<v2::HeartbeatResponse, Refused> {
    let broker = call.broker();
    let known = call.session().and_then(|session| session.role());
    let role = match known {
        Some(Role::Consumer { consume_type, subscriptions, .. }) => {
            let group = existing_group(broker, &request.group)?;
            Role::Consumer { group, consume_type, subscriptions }
        }
        Some(producer) => producer,
        None => match request.client_type() {
            ClientType::Producer => Role::Producer { topics: Vec::new() },
            kind => Role::Consumer {
                group: existing_group(broker, &request.group)?,
                consume_type: consume_type(kind)?,
                subscriptions: None,
            },
        },
    };
    let session = call.open_session()?;
    broker.session_does(&session, role);
    Ok(v2::HeartbeatResponse::done())
}

/// A client says goodbye.
pub async fn terminated(
    call: Call,
    request: v2::NotifyClientTerminationRequest,
) -> Result<v2::NotifyClientTerminationResponse, Refused> {
    let broker = call.broker();
    let ended = broker.end_session(call.client_id()?);
    if let Some(Role::Consumer { .. }) = ended.as_ref().and_then(|session| session.role()) {
        validate::group(&request.group)?;
    }
    if ended.is_none() {
        return Err(Refused::new(Code::UnrecognizedClientType, "cannot find client settings for this client"));
    }
    Ok(v2::NotifyClientTerminationResponse::done())
}

/// The group that a resource names, created where that is allowed.
pub fn existing_group(broker: &Broker, named: &Option<v2::Resource>) -> Result<String, Refused> {
    let group = validate::group(named)?;
    match broker.groups.get_or_create(group, broker.clock.now_ms()) {
        Some(_) => Ok(group.to_owned()),
        None => Err(Refused::new(Code::IllegalConsumerGroup, format!("group not found: {group}"))),
    }
}

/// How a kind of consumer gets its messages.
pub fn consume_type(kind: ClientType) -> Result<ConsumeType, Refused> {
    match kind {
        ClientType::PushConsumer => Ok(ConsumeType::Passively),
        ClientType::SimpleConsumer | ClientType::PullConsumer => Ok(ConsumeType::Actively),
        other => Err(Refused::new(
            Code::UnrecognizedClientType,
            format!("clients of type {} are not served", other.as_str_name()),
        )),
    }
}
