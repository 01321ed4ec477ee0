//! Moving the offsets of a group: INVOKE_BROKER_TO_RESET_OFFSET (222).

use protocol::lenient_json;
use protocol::requests::ResetOffset;

use super::call::{Call, Refusal};
use crate::reset::{self, Reset, ResetTo};

pub fn reset(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: ResetOffset<'_> = call.read()?;
    let queue_id = header.queue_id.filter(|queue_id| *queue_id >= 0);
    // An offset means one queue; tools send -1 for both where a time counts.
    let offset = header.offset.filter(|offset| queue_id.is_some() && *offset >= 0);
    let to = match offset {
        Some(offset) => ResetTo::Offset(offset),
        None => ResetTo::Time { ms: header.timestamp, force: header.is_force },
    };
    let wanted = Reset { group: &header.group, topic: &header.topic, queue_id, to };
    let offsets = reset::reset(call.broker, &wanted).map_err(|error| Refusal::new(error.code(), error))?;
    tracing::info!(group = wanted.group, topic = wanted.topic, peer = %call.connection.peer(), "offsets were reset");
    call.answer_body(&lenient_json::to_vec(&offsets));
    Ok(())
}
