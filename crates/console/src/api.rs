//! `/api/v1`: the same as the pages, for programs. Errors are problem documents (RFC 9457).

mod audit;
mod config;
mod doctor;
mod etag;
pub mod export;
mod members;
pub mod openapi;
pub mod operations;
pub mod read;
mod scheduled;
mod tokens;
pub mod write;

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use http::header::{self, HeaderValue};
use serde_json::{Value, json};

use crate::page::PageError;

/// Content type of a problem document.
const PROBLEM: &str = "application/problem+json";

fn title(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Error")
}

/// A problem document; `slug` names its kind.
fn problem(slug: &str, status: StatusCode, detail: &str) -> Value {
    json!({
        "type": format!("/api/errors/{slug}"), "title": title(status), "status": status.as_u16(), "detail": detail,
    })
}

/// Makes a problem document of an error; leaves other answers as they are.
pub fn problem_of(mut response: Response) -> Response {
    let error = response.extensions_mut().remove::<PageError>();
    let status = response.status();
    let is_problem = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == PROBLEM);
    if error.is_none() && (is_problem || !status.is_client_error() && !status.is_server_error()) {
        return response;
    }
    let slug = match &error {
        Some(PageError::NotFound(_)) => "not-found",
        Some(PageError::BadRequest(_)) => "bad-request",
        Some(PageError::Forbidden { .. }) => "forbidden",
        Some(PageError::StaleForm) => "foreign-request",
        Some(PageError::WrongPassword) => "wrong-password",
        Some(PageError::WrongToken) => "wrong-token",
        Some(PageError::Changed) => "changed",
        Some(PageError::InProgress) => "in-progress",
        Some(PageError::KeyReused) => "key-reused",
        Some(PageError::Throttled { .. }) => "throttled",
        Some(PageError::Upstream(_)) => "upstream",
        Some(PageError::Failed(_)) => "failed",
        None => "http",
    };
    let detail = error.map(|error| error.to_string());
    let body = problem(slug, status, detail.as_deref().unwrap_or(title(status)));
    let mut problem = Response::new(Body::from(body.to_string()));
    *problem.status_mut() = status;
    problem.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
    problem
}
