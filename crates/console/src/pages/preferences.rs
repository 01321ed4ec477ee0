//! Language and theme, kept by the browser.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::header::SET_COOKIE;

use crate::app::App;
use crate::input::Submitted;
use crate::language::Language;
use crate::page::{PageError, redirect};
use crate::viewer::{LANGUAGE_COOKIE, THEME_COOKIE, Theme};

/// `POST /preferences`
pub async fn set(State(app): State<Arc<App>>, Submitted(form): Submitted) -> Result<Response, PageError> {
    form.only(&["form_token", "back", "theme", "language"])?;
    let mut response = redirect(&own_page(&app, form.raw("back")));
    let theme = form.given("theme").and_then(Theme::of_name).map(|theme| (THEME_COOKIE, theme.name()));
    let language =
        form.given("language").and_then(Language::of_code).map(|language| (LANGUAGE_COOKIE, language.code()));
    for (name, value) in theme.into_iter().chain(language) {
        let cookie = format!("{name}={value}; Path={}; Max-Age=31536000; SameSite=Lax; HttpOnly", app.links.to(&[]));
        if let Ok(cookie) = cookie.parse() {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
    }
    Ok(response)
}

/// The page to go back to, if it is one of ours; the first page otherwise.
pub fn own_page(app: &App, wanted: &str) -> String {
    let rest = wanted.strip_prefix(app.links.base()).unwrap_or_default();
    let is_own = rest.starts_with('/') && !rest.starts_with("//") && !rest.contains(['\\', '\n', '\r']);
    if is_own { wanted.to_owned() } else { app.links.to(&[]) }
}
