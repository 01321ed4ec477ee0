//! `/api/v1/doctor`: the checks of the page, for programs.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::read::list;
use crate::app::App;
use crate::html::Tone;
use crate::input::Params;
use crate::page::PageError;
use crate::pages::doctor::examine;
use crate::viewer::Viewer;

/// `GET /api/v1/doctor`
pub async fn checks(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Params(params): Params,
) -> Result<Response, PageError> {
    params.only(&[])?;
    let examined = examine(&app.cluster, viewer.language).await;
    let items: Vec<Value> = examined
        .checks
        .iter()
        .map(|check| {
            let verdict = match check.tone() {
                Tone::Good => "good",
                Tone::Warning => "look",
                Tone::Bad => "broken",
                Tone::Plain => "unknown",
            };
            json!({
                "what": check.what, "verdict": verdict, "evidence": check.evidence, "gaps": check.gaps,
                "next": (!check.evidence.is_empty()).then_some(&check.next),
            })
        })
        .collect();
    let total = items.len();
    Ok(list(items, None, total, examined.asked_ms, &examined.silent))
}
