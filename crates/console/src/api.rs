//! `/api/v1`: the same as the pages, for programs. Errors are problem documents (RFC 9457).

mod audit;
pub mod read;
mod tokens;
pub mod write;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::{delete, get, patch};
use http::header::{self, HeaderValue};

use crate::app::App;
use crate::page::PageError;

/// Addresses of the API.
pub fn routes(app: &Arc<App>) -> Router {
    Router::new()
        .route("/api/v1/overview", get(read::overview))
        .route("/api/v1/audit", get(audit::list))
        .route("/api/v1/brokers", get(read::brokers))
        .route("/api/v1/topics", get(read::topics).post(write::put_topic))
        .route("/api/v1/topics/{topic}", get(read::topic).delete(write::delete_topic))
        .route("/api/v1/topics/{topic}/queues", get(read::queues))
        .route("/api/v1/topics/{topic}/messages", get(read::messages).post(write::send))
        .route("/api/v1/console/tokens", get(tokens::list).post(tokens::create))
        .route("/api/v1/console/tokens/{id}", delete(tokens::delete))
        .route("/api/v1/groups", get(read::groups))
        .route("/api/v1/groups/{group}", get(read::group))
        .route("/api/v1/groups/{group}/progress", get(read::progress))
        .route("/api/v1/groups/{group}/offsets", patch(write::reset))
        .route("/api/v1/groups/{group}/clients", get(read::clients))
        .route("/api/v1/messages/{topic}/{id}", get(read::message))
        .with_state(app.clone())
}

/// Makes a problem document of an error; leaves other answers as they are.
pub fn problem_of(mut response: Response) -> Response {
    let error = response.extensions_mut().remove::<PageError>();
    let status = response.status();
    if error.is_none() && !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let slug = match &error {
        Some(PageError::NotFound(_)) => "not-found",
        Some(PageError::BadRequest(_)) => "bad-request",
        Some(PageError::Forbidden { .. }) => "forbidden",
        Some(PageError::StaleForm) => "foreign-request",
        Some(PageError::WrongPassword) => "wrong-password",
        Some(PageError::WrongToken) => "wrong-token",
        Some(PageError::Throttled { .. }) => "throttled",
        Some(PageError::Upstream(_)) => "upstream",
        Some(PageError::Failed(_)) => "failed",
        None => "http",
    };
    let title = status.canonical_reason().unwrap_or("Error");
    let detail = error.map_or_else(|| title.to_owned(), |error| error.to_string());
    let body = serde_json::json!({
        "type": format!("/api/errors/{slug}"), "title": title, "status": status.as_u16(), "detail": detail,
    });
    let mut problem = Response::new(Body::from(body.to_string()));
    *problem.status_mut() = status;
    problem.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    problem
}
