//! Pages that keep themselves up to date: one stream of events a page, which carries the parts that changed.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use client::clock;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use http::{StatusCode, Uri};
use tokio::sync::OwnedSemaphorePermit;
use tower::ServiceExt;

use crate::app::App;
use crate::html::shell;
use crate::input::Params;
use crate::page::{Page, PageError, Part};
use crate::routes;
use crate::viewer::Viewer;

/// Time between two looks at what changed.
const STEP: Duration = Duration::from_secs(2);

/// Looks without a change after which a sign of life is sent, so that proxies keep the connection.
const QUIET_MAX: u32 = 7;

/// One viewer's page.
struct Stream {
    app: Arc<App>,
    pages: Router,
    viewer: Viewer,
    uri: Uri,
    sent: HashMap<&'static str, u64>,
    quiet: u32,
    is_first: bool,
    _place: OwnedSemaphorePermit,
}

/// `GET /live?path=…`: the parts of that page as events, each time they change.
pub async fn stream(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Params(params): Params,
) -> Result<Response, PageError> {
    params.only(&["path"])?;
    let path = params.raw("path");
    let local = path.strip_prefix(app.links.base()).filter(|path| path.starts_with('/'));
    let uri: Option<Uri> = local.and_then(|path| path.parse().ok());
    let uri =
        uri.ok_or_else(|| PageError::BadRequest(format!("`path` is `{path}`, which is no page of the console")))?;
    let Ok(place) = app.live.clone().try_acquire_owned() else {
        return Ok(StatusCode::SERVICE_UNAVAILABLE.into_response());
    };
    let stream = Stream {
        pages: routes::pages(&app),
        viewer: Viewer { here: path.to_owned(), ..viewer },
        app,
        uri,
        sent: HashMap::new(),
        quiet: 0,
        is_first: true,
        _place: place,
    };
    let events = futures_util::stream::unfold(stream, async |mut stream| {
        let event = stream.next().await?;
        Some((Ok::<Bytes, std::convert::Infallible>(event), stream))
    });
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
        // nginx would keep events back.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(events)).into_response())
}

impl Stream {
    /// The next event; `None` ends the stream: the console stops, or the session ended.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if !std::mem::take(&mut self.is_first) {
                tokio::select! {
                    () = tokio::time::sleep(STEP) => {}
                    () = self.app.stop.cancelled() => return None,
                }
            }
            if let Some(secret) = &self.viewer.secret
                && !self.app.sessions().is_alive(clock::now_ms(), secret)
            {
                return None;
            }
            let page = self.page().await?;
            let event = self.event(&page);
            if !event.is_empty() {
                self.quiet = 0;
                return Some(event.into());
            }
            self.quiet += 1;
            if self.quiet == QUIET_MAX {
                self.quiet = 0;
                return Some(Bytes::from_static(b": still here\n\n"));
            }
        }
    }

    /// The page as it is now.
    async fn page(&self) -> Option<Page> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = self.uri.clone();
        request.extensions_mut().insert(self.viewer.clone());
        let mut response = self.pages.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
        response.extensions_mut().remove::<Page>()
    }

    /// Parts that differ from what was sent, as one event.
    fn event(&mut self, page: &Page) -> String {
        let mut parts = vec![("strip", shell::strip(&self.viewer, page)), ("as-of", shell::as_of(&self.viewer, page))];
        for part in &page.parts {
            if let Part::Live(id, markup) = part {
                parts.push((id, shell::region(id, markup)));
            }
        }
        let mut event = String::new();
        for (id, markup) in parts {
            let mut hasher = DefaultHasher::new();
            markup.0.hash(&mut hasher);
            let hash = hasher.finish();
            if self.sent.insert(id, hash) == Some(hash) {
                continue;
            }
            if event.is_empty() {
                event.push_str("event: patch\n");
            }
            for line in markup.0.split(['\n', '\r']) {
                event.push_str("data: ");
                event.push_str(line);
                event.push('\n');
            }
        }
        if !event.is_empty() {
            event.push('\n');
        }
        event
    }
}
