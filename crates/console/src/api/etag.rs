//! Versions of what the API tells (RFC 9110, 8.8.3): who changes something can ask that nobody changed it in between.
//!
//! Brokers know no such condition. The console looks at all of them anew and compares just before it changes anything;
//! what somebody else changes within those milliseconds is not seen.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::header::{ETAG, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::read::answer;
use crate::app::App;
use crate::cluster::catalog::Catalog;
use crate::page::PageError;

/// The version of a value: the same as long as it is, whichever console tells it.
pub fn of(value: &Value) -> String {
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

/// The value with its version; nothing but the version for whoever has it already.
pub fn tagged(asked: &HeaderMap, value: &Value) -> Response {
    let etag = of(value);
    let response = if names(asked, &IF_NONE_MATCH, &etag) == Some(true) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        answer(value)
    };
    with(response, &etag)
}

/// What would be changed, with the version to send along when it is done.
pub fn plan(before: Option<&Value>, after: &Value) -> Response {
    let etag = before.map(of);
    let response = answer(&json!({ "dryRun": true, "before": before, "after": after, "etag": etag }));
    match etag {
        Some(etag) => with(response, &etag),
        None => response,
    }
}

/// An answer with this version.
pub fn with(mut response: Response, etag: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(etag) {
        response.headers_mut().insert(ETAG, value);
    }
    response
}

/// Refuses a change if there is another version than the request says, or if there is one where it says there is none.
pub fn check(asked: &HeaderMap, current: Option<&Value>) -> Result<(), PageError> {
    let etag = current.map(of).unwrap_or_default();
    let is_current = names(asked, &IF_MATCH, &etag).is_none_or(|names| names && current.is_some());
    let is_absent = names(asked, &IF_NONE_MATCH, &etag).is_none_or(|names| !names || current.is_none());
    if is_current && is_absent { Ok(()) } else { Err(PageError::Changed) }
}

/// The catalog; asked for anew where a request has a condition.
pub async fn catalog(app: &App, asked: &HeaderMap) -> Arc<Catalog> {
    if asked.contains_key(IF_MATCH) || asked.contains_key(IF_NONE_MATCH) {
        app.cluster.forget();
    }
    app.cluster.catalog().await
}

/// Whether a header names this version, or all with `*`; `None` without the header.
fn names(asked: &HeaderMap, header: &HeaderName, etag: &str) -> Option<bool> {
    let mut values = asked.get_all(header).into_iter().peekable();
    values.peek()?;
    let mut items = values.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(',')).map(str::trim);
    Some(items.any(|item| item == "*" || item == etag))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_change_is_refused_if_its_condition_does_not_hold() {
        let current = json!({ "a": 1 });
        let (own, other) = (of(&current), of(&json!({ "a": 2 })));
        let both = format!("{other}, {own}");
        let check = |headers: &[(HeaderName, &str)], current: Option<&Value>, expected: bool| {
            assert_eq!(super::check(&asked(headers), current).is_ok(), expected, "{headers:?} {current:?}");
        };
        check(&[], Some(&current), true);
        check(&[], None, true);
        check(&[(IF_MATCH, &own)], Some(&current), true);
        check(&[(IF_MATCH, &both)], Some(&current), true);
        check(&[(IF_MATCH, &other)], Some(&current), false);
        check(&[(IF_MATCH, "*")], Some(&current), true);
        check(&[(IF_MATCH, "*")], None, false);
        check(&[(IF_MATCH, &own)], None, false);
        check(&[(IF_MATCH, "nonsense")], Some(&current), false);
        check(&[(IF_NONE_MATCH, "*")], None, true);
        check(&[(IF_NONE_MATCH, "*")], Some(&current), false);
    }

    #[test]
    fn whoever_has_the_version_gets_no_body() {
        let value = json!({ "a": 1 });
        let etag = of(&value);
        assert_eq!(tagged(&asked(&[(IF_NONE_MATCH, &etag)]), &value).status(), StatusCode::NOT_MODIFIED);
        let whole = tagged(&asked(&[]), &value);
        assert_eq!((whole.status(), whole.headers()[ETAG].to_str().unwrap()), (StatusCode::OK, etag.as_str()));
    }
}
