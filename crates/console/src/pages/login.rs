//! Logging in and out.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use client::clock;
use http::header::SET_COOKIE;
use http::{HeaderMap, StatusCode};
use maud::html;

use crate::app::App;
use crate::auth::{Role, passwords};
use crate::html::{copyable, nothing, token};
use crate::input::{Params, Submitted};
use crate::page::{Page, PageError, Section, redirect};
use crate::pages::preferences::own_page;
use crate::viewer::{SESSION_COOKIE, Viewer};

/// `GET /login`
pub async fn form(viewer: Viewer, Params(params): Params) -> Result<Page, PageError> {
    params.only(&["next"])?;
    Ok(login_page(&viewer, params.raw("next"), "", false))
}

fn login_page(viewer: &Viewer, next: &str, name: &str, has_failed: bool) -> Page {
    let language = viewer.language;
    Page::new(Section::Other, language.log_in()).still(html! {
        div.login {
            h1 { (language.log_in()) }
            p.faint { (language.what_guests_see()) }
            @if has_failed { p.field-error role="alert" { (language.wrong_password()) } } @else { (nothing()) }
            form action=(viewer.links.to(&["login"])) method="post" {
                (token(viewer))
                input type="hidden" name="next" value=(next);
                label { (language.user()) input name="name" value=(name) autocomplete="username" required autofocus[name.is_empty()] maxlength="64"; }
                label { (language.password()) input type="password" name="password" autocomplete="current-password" required autofocus[!name.is_empty()] maxlength="256"; }
                button.button.primary type="submit" { (language.log_in()) }
            }
            p.faint { (language.first_login()) " " (language.reset_password_with()) }
            (copyable("apogee console passwd admin"))
        }
    })
}

/// `POST /login`
pub async fn log_in(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    headers: HeaderMap,
    Submitted(form): Submitted,
) -> Result<Response, PageError> {
    form.only(&["form_token", "next", "name", "password"])?;
    let (name, password) = (form.get("name").to_owned(), form.raw("password").to_owned());
    let wait = app.throttle().wait(app.uptime(), &name, viewer.address);
    if let Some(wait) = wait {
        return Err(PageError::Throttled { seconds: wait.as_secs() + 1 });
    }
    let checked = check(&app, &name, password).await?;
    // What is no name of a user may be a password in the wrong field.
    if app.users().find(&name).is_some() {
        viewer.deed.by(&name);
    }
    let Some(role) = checked else {
        app.throttle().failed(app.uptime(), &name, viewer.address);
        tracing::warn!(name, address = %viewer.address, "a login failed");
        let mut response = login_page(&viewer, form.raw("next"), &name, true).into_response();
        *response.status_mut() = StatusCode::FORBIDDEN;
        return Ok(response);
    };
    app.throttle().succeeded(&name, viewer.address);
    let failed = |error: crate::auth::NoRandomness| PageError::Failed(error.to_string());
    let secret = app.sessions().begin(clock::now_ms(), &name, role, viewer.address).map_err(failed)?;
    tracing::info!(name, address = %viewer.address, "logged in");
    let mut response = redirect(&own_page(&app, form.raw("next")));
    set_session(&app, &headers, &mut response, &secret, "")?;
    Ok(response)
}

/// The role of whoever has this password.
pub async fn check(app: &App, name: &str, password: String) -> Result<Option<Role>, PageError> {
    let known = {
        let mut users = app.users();
        users.refresh();
        users.find(name).cloned()
    };
    let (role, hash) = known.map(|user| (user.role, user.password)).unzip();
    let failed = |_| PageError::Failed("the console is stopping".to_owned());
    let _one_at_a_time =
        app.hashing.acquire().await.map_err(|_| PageError::Failed("the console is stopping".to_owned()))?;
    let verifying = tokio::task::spawn_blocking(move || passwords::verify(&password, hash.as_deref()));
    Ok(if verifying.await.map_err(failed)? { role } else { None })
}

/// `POST /logout`
pub async fn log_out(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    headers: HeaderMap,
    Submitted(_): Submitted,
) -> Result<Response, PageError> {
    if let Some(secret) = &viewer.secret {
        app.sessions().end(secret);
    }
    let mut response = redirect(&app.links.to(&[]));
    set_session(&app, &headers, &mut response, "", "; Max-Age=0")?;
    Ok(response)
}

fn set_session(
    app: &App,
    headers: &HeaderMap,
    response: &mut Response,
    secret: &str,
    more: &str,
) -> Result<(), PageError> {
    // A proxy that speaks TLS to the browser says so. Who lies about it only makes their own cookie stricter.
    let is_secure = headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
    let secure = if is_secure { "; Secure" } else { "" };
    let cookie = format!("{SESSION_COOKIE}={secret}; Path={}; HttpOnly; SameSite=Lax{secure}{more}", app.links.to(&[]));
    let value = cookie.parse().map_err(|_| PageError::Failed("the session has no cookie".to_owned()))?;
    response.headers_mut().append(SET_COOKIE, value);
    Ok(())
}
