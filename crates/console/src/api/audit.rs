//! `/api/v1/audit`: what was changed, by whom, and what came of it.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::json;

use super::read::{answer, limit};
use crate::app::App;
use crate::auth::Role;
use crate::input::Params;
use crate::page::PageError;
use crate::pages::activity::{find, wanted};
use crate::viewer::Viewer;

/// `GET /api/v1/audit?user=&action=&q=&result=&from=&to=&limit=&cursor=`
pub async fn list(State(app): State<Arc<App>>, viewer: Viewer, Params(params): Params) -> Result<Response, PageError> {
    params.only(&["user", "action", "q", "result", "from", "to", "limit", "cursor"])?;
    viewer.must(Role::Admin)?;
    let (entries, next) = find(&app, wanted(&params, viewer.language)?, limit(&params)?).await?;
    Ok(answer(&json!({ "items": entries, "next": next.map(|next| next.to_string()) })))
}
