//! RecallMessage: a producer takes a delayed message back.

use protocol::v2::{self, Code};

use super::answer::ok;
use super::call::Call;
use super::code::Refused;
use super::{turn, validate};
use crate::broker::Broker;
use crate::recall;
use crate::topics::MessageType;

/// Takes the message back: once the answer says so, it is never delivered.
pub async fn recall_message(
    call: Call,
    request: v2::RecallMessageRequest,
) -> Result<v2::RecallMessageResponse, Refused> {
    let broker = call.broker();
    let topic = validate::topic(&request.topic)?;
    check_type(broker, topic)?;
    let (recalled, waiting) =
        turn::gather(broker, |appends| recall::recall(broker, topic, &request.recall_handle, appends));
    let message_id = recalled?;
    if let Some(waiting) = waiting {
        turn::stored(waiting).await?;
    }
    Ok(v2::RecallMessageResponse { status: Some(ok()), message_id })
}

/// Only topics that take delayed messages have some that wait.
fn check_type(broker: &Broker, topic: &str) -> Result<(), Refused> {
    match broker.topics.get(topic) {
        Some(known) if broker.config.topic_type_check.get() && !known.message_type.takes(MessageType::Delay) => {
            let text = format!("topic `{topic}` takes {} messages, which do not wait", known.message_type.name());
            Err(Refused::new(Code::MessagePropertyConflictWithType, text))
        }
        _ => Ok(()),
    }
}
