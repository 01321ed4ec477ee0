//! What happens before and after every page: who looks is found out, forms of other sites are turned away, pages get
//! their shell, and every answer its headers.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use client::clock;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};

use crate::activity::deed::Way;
use crate::api;
use crate::app::App;
use crate::auth::{AuthMode, Role, programs};
use crate::cluster::why::with_causes;
use crate::html::shell;
use crate::idempotency;
use crate::packing;
use crate::page::{Page, PageError, redirect};
use crate::viewer::Viewer;

/// Address of whoever sent a request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// Nothing of another host, no script but ours, in nobody's frame.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Wraps every request.
pub async fn pass(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let here = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let path = request.uri().path().to_owned();
    let peer = request.extensions().get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0);
    let asked = request.headers().clone();
    let viewer = Viewer::of(&app, &asked, here, app.proxies.client(peer, &asked), clock::now_ms());
    let is_api = path.starts_with(&app.links.to(&["api", ""]));
    let (viewer, refused) = match if is_api { programs::log_in(&app, &viewer, &asked).await } else { Ok(None) } {
        Ok(Some(known)) => (known, None),
        Ok(None) => match app.proxies.signed_on(peer, &asked) {
            Some(named) => (viewer.signed_on(&app, named), None),
            None => (viewer, None),
        },
        Err(error) => (viewer, Some(error.into_response())),
    };
    request.extensions_mut().insert(viewer.clone());
    let response = match refused.or_else(|| refusal(&app, &viewer, &request, &path)) {
        Some(refusal) => refusal,
        None if request.method().is_safe() && !is_export(&request) => next.run(request).await,
        None => watched(&app, &viewer, request, next).await,
    };
    let mut response = if is_api { api::problem_of(response) } else { dress(&app, &viewer, response) };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    packing::pack(&asked, response).await
}

/// Whether many bodies are read at once: who does is noted as if something was changed.
fn is_export(request: &Request) -> bool {
    request.extensions().get::<MatchedPath>().is_some_and(|path| path.as_str().ends_with("/messages/export"))
}

/// Serves a request that may change something, and notes what came of it. It runs to its end even if whoever sent it
/// goes: what was done is never without an entry.
async fn watched(app: &Arc<App>, viewer: &Viewer, request: Request, next: Next) -> Response {
    let at_ms = clock::now_ms();
    let without_base = |path: &str| path.strip_prefix(app.links.base()).unwrap_or(path).to_owned();
    let way = Way {
        method: request.method().to_string(),
        path: without_base(request.uri().path()),
        route: request.extensions().get::<MatchedPath>().map_or_else(String::new, |path| without_base(path.as_str())),
    };
    let (app, viewer) = (app.clone(), viewer.clone());
    // A token that is shown once is not kept in order to be shown again.
    let has_key = request.headers().contains_key(idempotency::KEY)
        && !request.method().is_safe()
        && way.route.starts_with("/api/")
        && way.route != "/api/v1/console/tokens"
        && viewer.may(Role::Operator);
    let serving = tokio::spawn(async move {
        let response = if has_key {
            let user = viewer.user.as_deref().unwrap_or_default();
            let served = app.answers.serve(at_ms, user, request, next).await;
            served.unwrap_or_else(IntoResponse::into_response)
        } else {
            next.run(request).await
        };
        if response.headers().contains_key(idempotency::REPLAYED) {
            return response;
        }
        if let Some(entry) = viewer.deed.entry(at_ms, &viewer, &way, &response) {
            let noting = tokio::task::spawn_blocking(move || app.activity().append(entry));
            if let Ok(Err(error)) = noting.await {
                tracing::error!(error = with_causes(&error), "a change was not noted");
            }
        }
        response
    });
    let failed = |_| PageError::Failed("the console is stopping".to_owned()).into_response();
    serving.await.unwrap_or_else(failed)
}

/// What turns a request away before it reaches its page.
fn refusal(app: &App, viewer: &Viewer, request: &Request, path: &str) -> Option<Response> {
    // No browser sends a token by itself for another site.
    if !request.method().is_safe() && viewer.token.is_none() && is_foreign(request.headers()) {
        return Some(PageError::StaleForm.into_response());
    }
    if app.auth != AuthMode::Required || viewer.may(Role::Viewer) || is_open(app, path) {
        return None;
    }
    // Whom a proxy named, a login would bring no further.
    let can_log_in = !viewer.is_signed_on && request.method().is_safe();
    if can_log_in && !path.starts_with(&app.links.to(&["api", ""])) {
        return Some(redirect(&app.links.with(&["login"], &[("next", &viewer.here)])));
    }
    Some(PageError::Forbidden { needs: Role::Viewer }.into_response())
}

/// What one needs in order to log in, and what machines ask.
fn is_open(app: &App, path: &str) -> bool {
    let open = [&["login"][..], &["preferences"], &["livez"], &["readyz"]];
    open.iter().any(|segments| path == app.links.to(segments)) || path.starts_with(&app.links.to(&["assets"]))
}

/// Whether another site sent this. Browsers say so in one of two headers; programs that are no browsers in neither.
fn is_foreign(headers: &HeaderMap) -> bool {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(site) = text(&HeaderName::from_static("sec-fetch-site"))
        && !["same-origin", "none"].contains(&site)
    {
        return true;
    }
    match (text(&header::ORIGIN), text(&header::HOST)) {
        (Some(origin), host) => origin.split_once("://").map(|(_, host)| host) != host,
        (None, _) => false,
    }
}

/// Puts pages and errors into the shell, in the viewer's language.
fn dress(app: &App, viewer: &Viewer, mut response: Response) -> Response {
    if let Some(page) = response.extensions_mut().remove::<Page>() {
        let notice = shell::notice_of(app, &viewer.here);
        return html(response.status(), shell::whole(viewer, &page, notice.as_ref()).into_string());
    }
    let error = response.extensions_mut().remove::<PageError>().or_else(|| error_of(response.status()));
    match error {
        Some(error) => {
            let mut dressed =
                html(error.status(), shell::whole(viewer, &shell::error_page(viewer, &error), None).into_string());
            if let PageError::Throttled { seconds } = error {
                dressed.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            dressed
        }
        None => response,
    }
}

/// What the router itself refuses.
fn error_of(status: StatusCode) -> Option<PageError> {
    match status {
        StatusCode::NOT_FOUND => Some(PageError::NotFound(String::new())),
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => {
            Some(PageError::BadRequest(status.canonical_reason().unwrap_or_default().to_owned()))
        }
        _ => None,
    }
}

fn html(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_other_sites_are_told_by_what_browsers_say() {
        let check = |pairs: &[(&'static str, &'static str)], expected: bool| {
            let headers: HeaderMap = pairs
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect();
            assert_eq!(is_foreign(&headers), expected, "{pairs:?}");
        };
        check(&[("host", "c:8080")], false);
        check(&[("host", "c:8080"), ("origin", "http://c:8080")], false);
        check(&[("host", "c:8080"), ("origin", "https://c:8080"), ("sec-fetch-site", "same-origin")], false);
        check(&[("host", "c:8080"), ("origin", "http://evil:8080")], true);
        check(&[("host", "c:8080"), ("origin", "null")], true);
        check(&[("host", "c:8080"), ("sec-fetch-site", "cross-site")], true);
        check(&[("host", "c:8080"), ("sec-fetch-site", "same-site")], true);
    }
}
