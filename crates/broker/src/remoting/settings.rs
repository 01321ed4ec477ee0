//! What the broker was told: GET_BROKER_CONFIG (26) and UPDATE_BROKER_CONFIG (25).

use protocol::bodies::data_version::DataVersion;
use protocol::codes::ResponseCode;
use protocol::lenient_json;

use super::call::{Call, Refusal};
use crate::config::change::{ChangeCount, Changed};
use crate::config::print;
use crate::reconfigure;

pub fn show(call: &mut Call<'_>) -> Result<(), Refusal> {
    let broker = call.broker;
    let ChangeCount { counter, timestamp_ms } = broker.changes.count();
    let version = DataVersion { counter, state_version: 0, timestamp: timestamp_ms };
    let version = String::from_utf8(lenient_json::to_vec(&version)).unwrap_or_default();
    let text = print::dump(&broker.config, &broker.changes.without_effect());
    call.answer(ResponseCode::SUCCESS).text("version", &version).finish(text.as_bytes());
    Ok(())
}

pub fn change(call: &mut Call<'_>) -> Result<(), Refusal> {
    let text = std::str::from_utf8(call.body)
        .map_err(|error| Refusal::new(ResponseCode::SYSTEM_ERROR, format!("settings are not UTF-8: {error}")))?;
    let changed = reconfigure::change(call.broker, text).map_err(|error| Refusal::new(error.code(), error))?;
    for Changed { key, before, now } in changed {
        tracing::info!(peer = %call.connection.peer(), key, before, now, "setting changed");
    }
    call.answer_when_settings_are_saved();
    Ok(())
}
