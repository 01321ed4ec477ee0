//! `/api/v1/console/tokens`: the viewer's tokens; all, for admins.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::read::answer;
use super::write::read;
use crate::app::App;
use crate::auth::Role;
use crate::auth::tokens::Token;
use crate::input::Params;
use crate::page::PageError;
use crate::pages::tokens::{is_theirs, make, revoke};
use crate::viewer::Viewer;

/// A token to be made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewToken {
    note: String,
    role: String,
    days: i64,
}

fn token_value(token: &Token, used_ms: Option<i64>) -> Value {
    json!({
        "id": token.id, "note": token.note, "user": token.user, "role": token.role, "madeAt": token.made_ms,
        "expiresAt": token.expires_ms, "usedAt": used_ms,
    })
}

/// `GET /api/v1/console/tokens`
pub async fn list(State(app): State<Arc<App>>, viewer: Viewer, Params(params): Params) -> Result<Response, PageError> {
    params.only(&[])?;
    viewer.must(Role::Viewer)?;
    let tokens = app.tokens();
    let shown = tokens.list().iter().filter(|token| is_theirs(&viewer, token));
    let items: Vec<Value> = shown.map(|token| token_value(token, tokens.used_ms(&token.id))).collect();
    Ok(answer(&json!({ "total": items.len(), "items": items, "next": null })))
}

/// `POST /api/v1/console/tokens`
pub async fn create(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    headers: HeaderMap,
    Params(params): Params,
    body: Bytes,
) -> Result<Response, PageError> {
    params.only(&[])?;
    let new: NewToken = read(&headers, &body)?;
    viewer.deed.after(json!({ "note": new.note, "role": new.role, "days": new.days }));
    let (made, text) = make(&app, &viewer, &new.role, &new.note, new.days).await?;
    tracing::info!(user = viewer.user, token = made.id, role = made.role.name(), "token made by the API");
    let mut told = token_value(&made, None);
    told["token"] = text.into();
    Ok((StatusCode::CREATED, [(CONTENT_TYPE, "application/json")], told.to_string()).into_response())
}

/// `DELETE /api/v1/console/tokens/{id}`
pub async fn delete(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path(id): Path<String>,
    Params(params): Params,
) -> Result<Response, PageError> {
    params.only(&[])?;
    revoke(&app, &viewer, &id).await?;
    tracing::info!(user = viewer.user, token = id, "token revoked by the API");
    Ok(StatusCode::NO_CONTENT.into_response())
}
