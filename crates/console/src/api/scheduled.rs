//! `/api/v1/scheduled`: messages that wait for their time, and taking one back.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use protocol::recall_handle::RecallHandle;
use serde_json::{Value, json};

use super::read;
use super::write::outcome;
use crate::app::App;
use crate::auth::Role;
use crate::cluster::why::Silent;
use crate::input::Params;
use crate::page::PageError;
use crate::viewer::Viewer;

/// `GET /api/v1/scheduled`
pub async fn list(State(app): State<Arc<App>>, Params(params): Params) -> Result<Response, PageError> {
    params.only(&[])?;
    let scheduled = app.cluster.scheduled().await;
    let items: Vec<Value> = scheduled
        .topics
        .iter()
        .map(|(topic, brokers)| json!({ "topic": topic, "count": brokers.values().sum::<i64>(), "brokers": brokers }))
        .collect();
    let total = items.len();
    let missing: Vec<Silent> = scheduled.silent.iter().chain(&scheduled.refusals).cloned().collect();
    Ok(read::list(items, None, total, scheduled.asked_ms, &missing))
}

/// `DELETE /api/v1/scheduled/{handle}`
pub async fn recall(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path(text): Path<String>,
    Params(params): Params,
) -> Result<Response, PageError> {
    params.only(&[])?;
    viewer.must(Role::Operator)?;
    let handle = RecallHandle::parse(&text).map_err(|error| PageError::BadRequest(error.to_string()))?;
    tracing::info!(user = viewer.user, topic = %handle.topic, id = %handle.unique_id, "message taken back by the API");
    Ok(outcome(&[app.cluster.recall(&handle, &text).await]))
}
