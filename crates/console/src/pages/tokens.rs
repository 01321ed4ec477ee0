//! Tokens of programs, on the page of settings: made, shown once, revoked.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use client::clock;
use http::StatusCode;
use maud::{Markup, html};

use super::noticed;
use crate::app::{App, Notice};
use crate::auth::Role;
use crate::auth::tokens::{DAYS_MAX, Token, Tokens, TokensError};
use crate::html::{copyable, crumb, head, known, nothing, time, token};
use crate::input::Submitted;
use crate::language::fill;
use crate::page::{Page, PageError, Section};
use crate::viewer::Viewer;

/// Days that a token lives if nothing else is chosen.
const DAYS: i64 = 90;

/// Whether the viewer may see and revoke a token.
pub fn is_theirs(viewer: &Viewer, token: &Token) -> bool {
    viewer.may(Role::Admin) || viewer.own_user() == Some(&token.user)
}

/// The part of the page of settings.
pub fn panel(app: &App, viewer: &Viewer) -> Markup {
    let language = viewer.language;
    let tokens = app.tokens();
    let shown: Vec<&Token> = tokens.list().iter().filter(|token| is_theirs(viewer, token)).collect();
    let now_ms = clock::now_ms();
    html! {
        section.panel #tokens {
            h2 { (language.tokens()) }
            p.faint { (language.tokens_about()) }
            @if !shown.is_empty() {
                table {
                    thead { tr { th { (language.token_note()) } th { (language.user()) } th { (language.role()) } th { (language.token_ends()) } th { (language.last_used()) } th { "" } } }
                    tbody {
                        @for one in shown {
                            tr {
                                td { (one.note) " " span.faint.code { "apg_" (one.id) "_…" } }
                                td { (one.user) }
                                td { (one.role.name()) }
                                td { (time(one.expires_ms)) @if one.expires_ms <= now_ms { " " span.faint { (language.token_has_ended()) } } }
                                td { @match tokens.used_ms(&one.id) { Some(used_ms) => (time(used_ms)), None => (known(None::<&str>, language.token_not_used())) } }
                                td.number { form method="post" action=(viewer.links.to(&["settings", "tokens", &one.id, "revoke"])) { (token(viewer)) button.quiet type="submit" { (language.revoke()) } } }
                            }
                        }
                    }
                }
            }
            @if viewer.own_user().is_some() {
                h3 { (language.make_token()) }
                form.form method="post" action=(viewer.links.to(&["settings", "tokens"])) {
                    (token(viewer))
                    div.side-by-side {
                        label { (language.token_note()) input name="note" required maxlength="100" autocomplete="off"; }
                        label { (language.role()) select name="role" { @for role in Role::OF_USERS.into_iter().filter(|role| viewer.may(*role)) { option value=(role.name()) { (role.name()) } } } }
                        label { (language.token_days()) input type="number" name="days" value=(DAYS) min="1" max=(DAYS_MAX) required; }
                    }
                    div.buttons { button.button type="submit" { (language.make_token()) } }
                }
            }
        }
    }
}

/// Makes a token for the viewer, who must be a person: a token that leaked must not outlive itself in others.
pub async fn make(
    app: &Arc<App>,
    viewer: &Viewer,
    role: &str,
    note: &str,
    days: i64,
) -> Result<(Token, String), PageError> {
    if viewer.is_signed_on {
        return Err(PageError::BadRequest("only users of the console have tokens; a proxy named you".to_owned()));
    }
    let Some(user) = viewer.user.clone() else { return Err(PageError::Forbidden { needs: Role::Viewer }) };
    if viewer.token.is_some() {
        return Err(PageError::BadRequest("a token makes no tokens; send name and password".to_owned()));
    }
    let role = Role::of_name(role)
        .ok_or_else(|| PageError::BadRequest(format!("`role` is `{role}`; known: viewer, operator, admin")))?;
    viewer.must(role)?;
    let note = note.to_owned();
    change(app, move |tokens| tokens.make(clock::now_ms(), &user, role, &note, days)).await
}

/// Revokes a token of the viewer's, or any, for an admin.
pub async fn revoke(app: &Arc<App>, viewer: &Viewer, id: &str) -> Result<(), PageError> {
    viewer.must(Role::Viewer)?;
    let is_known = app.tokens().list().iter().any(|token| token.id == id && is_theirs(viewer, token));
    if !is_known {
        return Err(PageError::NotFound(TokensError::NoSuchToken(id.to_owned()).to_string()));
    }
    let id = id.to_owned();
    change(app, move |tokens| tokens.revoke(&id)).await
}

/// The file takes its time, on a thread where nobody waits for it.
pub async fn change<T: Send + 'static>(
    app: &Arc<App>,
    change: impl FnOnce(&mut Tokens) -> Result<T, TokensError> + Send + 'static,
) -> Result<T, PageError> {
    let shared = app.clone();
    let changed = tokio::task::spawn_blocking(move || change(&mut shared.tokens())).await;
    changed.map_err(|_| PageError::Failed("the console is stopping".to_owned()))?.map_err(|error| match error {
        TokensError::Days(_) | TokensError::Note(_) | TokensError::TooMany | TokensError::NoSuchToken(_) => {
            PageError::BadRequest(error.to_string())
        }
        TokensError::File { .. }
        | TokensError::Form { .. }
        | TokensError::Version { .. }
        | TokensError::NoRandomness(_)
        | TokensError::Hash(_) => PageError::Failed(error.to_string()),
    })
}

/// `POST /settings/tokens`: the answer shows the token, and no later one does.
pub async fn create(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Submitted(form): Submitted,
) -> Result<Response, PageError> {
    form.only(&["form_token", "note", "role", "days"])?;
    let days = form.number("days")?.unwrap_or(DAYS);
    let (made, text) = make(&app, &viewer, form.get("role"), form.get("note"), days).await?;
    tracing::info!(user = viewer.user, token = made.id, role = made.role.name(), "token made");
    let language = viewer.language;
    let page = Page::new(Section::Settings, language.token_made()).still(html! {
        (crumb(&viewer.links.to(&["settings"]), language.settings()))
        (head(html! { (language.token_made()) }, html! { (made.note) " · " (made.role.name()) }, nothing()))
        div.notice.good { p { (language.token_shown_once()) } }
        (copyable(&text))
        p { (language.token_ends()) " " (time(made.expires_ms)) }
        (copyable(&format!("curl -H 'authorization: Bearer {text}' …{}", viewer.links.to(&["api", "v1", "topics"]))))
    });
    Ok((StatusCode::CREATED, page).into_response())
}

/// `POST /settings/tokens/{id}/revoke`
pub async fn remove(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path(id): Path<String>,
    Submitted(form): Submitted,
) -> Result<Response, PageError> {
    form.only(&["form_token"])?;
    revoke(&app, &viewer, &id).await?;
    tracing::info!(user = viewer.user, token = id, "token revoked");
    Ok(noticed(&app, &app.links.to(&["settings"]), Notice::of(fill(viewer.language.token_revoked(), &[&id]))))
}
