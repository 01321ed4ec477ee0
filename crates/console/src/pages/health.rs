//! What machines ask: whether the console lives, and whether it can do its work.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};

use crate::app::App;

/// `GET /metrics`: the series of this process, in the format that is accepted.
pub async fn metrics(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let scrape = app.metrics.scrape(accept);
    ([(CONTENT_TYPE, scrape.content_type)], scrape.body).into_response()
}

/// `GET /livez`: the process answers.
pub async fn alive() -> &'static str {
    "alive\n"
}

/// `GET /readyz`: a nameserver and a broker answer; each check is named with its reason.
pub async fn ready(State(app): State<Arc<App>>) -> Response {
    let brokers = app.cluster.brokers().await;
    let checks: Vec<serde_json::Value> = brokers
        .nameservers
        .iter()
        .map(|view| check(&format!("nameserver {}", view.address), view.brokers.as_ref().err()))
        .chain(
            brokers.brokers.iter().map(|broker| check(&format!("broker {}", broker.at), broker.runtime.as_ref().err())),
        )
        .collect();
    let is_ready = brokers.brokers.iter().any(|broker| broker.runtime.is_ok());
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = serde_json::json!({ "ready": is_ready, "checks": checks });
    (status, [(CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

fn check(name: &str, trouble: Option<&crate::cluster::why::Why>) -> serde_json::Value {
    match trouble {
        None => serde_json::json!({ "check": name, "ok": true }),
        Some(why) => serde_json::json!({ "check": name, "ok": false, "reason": why.to_string() }),
    }
}
