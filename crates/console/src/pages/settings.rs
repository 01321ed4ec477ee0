//! `/settings`: one's own password and sessions; users, for admins.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use client::clock;
use maud::{Markup, html};

use super::login::check;
use super::{noticed, tokens};
use crate::app::{App, Notice};
use crate::auth::passwords::LENGTH_MIN;
use crate::auth::users::UsersError;
use crate::auth::{AuthMode, Role};
use crate::html::{head, nothing, time, token};
use crate::input::{Params, Submitted};
use crate::language::{Language, fill};
use crate::page::{Page, PageError, Section};
use crate::show;
use crate::viewer::Viewer;

/// `GET /settings`
pub async fn page(State(app): State<Arc<App>>, viewer: Viewer, Params(params): Params) -> Result<Page, PageError> {
    params.only(&[])?;
    let language = viewer.language;
    let page = Page::new(Section::Settings, language.settings()).still(head(
        html! { (language.settings()) },
        nothing(),
        nothing(),
    ));
    let page = page.still(about(&app, &viewer));
    let page = match viewer.own_user() {
        None if viewer.is_signed_on => page.still(html! {
            p.faint { (fill(language.signed_on(), &[&viewer.user.as_deref().unwrap_or_default(), &viewer.role.name()])) }
            @if viewer.may(Role::Admin) { (tokens::panel(&app, &viewer)) }
        }),
        Some(user) => {
            page.still(html! { (own_password(&viewer)) (sessions(&app, &viewer, user)) (tokens::panel(&app, &viewer)) })
        }
        None => page,
    };
    Ok(if viewer.may(Role::Admin) { page.still(users(&app, &viewer)) } else { page })
}

fn about(app: &App, viewer: &Viewer) -> Markup {
    let language = viewer.language;
    let mode = match app.auth {
        AuthMode::Viewer => language.mode_viewer(),
        AuthMode::Required => language.mode_required(),
        AuthMode::Off => language.mode_off(),
    };
    let nameservers: Vec<&str> = app.cluster.nameserver_addresses().collect();
    html! {
        section.panel {
            h2 { (language.about_console()) }
            table.pairs {
                tbody {
                    tr { th scope="row" { (language.version()) } td { "Apogee " (env!("CARGO_PKG_VERSION")) } }
                    tr { th scope="row" { (language.nameservers()) } td.code { (nameservers.join("; ")) } }
                    tr { th scope="row" { (language.running_for()) } td { (show::duration(app.uptime().as_millis() as i64)) } }
                    tr { th scope="row" { (language.login_mode()) } td { (mode) } }
                }
            }
        }
    }
}

fn own_password(viewer: &Viewer) -> Markup {
    let language = viewer.language;
    html! {
        section.panel {
            h2 { (language.own_password()) }
            form.form method="post" action=(viewer.links.to(&["settings", "password"])) {
                (token(viewer))
                label { (language.current_password()) input type="password" name="current" autocomplete="current-password" required maxlength="256"; }
                label { (language.new_password()) input type="password" name="new" autocomplete="new-password" required minlength=(LENGTH_MIN) maxlength="256"; }
                div.buttons { button.button type="submit" { (language.change_password()) } }
            }
        }
    }
}

fn sessions(app: &App, viewer: &Viewer, user: &str) -> Markup {
    let language = viewer.language;
    let shown = app.sessions().list(clock::now_ms());
    let shown = shown.iter().filter(|session| session.user == user || viewer.may(Role::Admin));
    html! {
        section.panel {
            h2 { (language.sessions()) }
            table {
                thead { tr { th { (language.user()) } th { (language.address()) } th { (language.begun()) } th { (language.last_used()) } } }
                tbody { @for session in shown { tr { td { (session.user) } td { (session.address) } td { (time(session.began_ms)) } td { (time(session.used_ms)) } } } }
            }
            form method="post" action=(viewer.links.to(&["settings", "sessions", "end"])) { (token(viewer)) button.button type="submit" { (language.end_other_sessions()) } }
        }
    }
}

fn role_text(language: Language, role: Role) -> &'static str {
    match role {
        Role::Admin => language.role_admin(),
        Role::Operator => language.role_operator(),
        Role::Viewer | Role::Guest => language.role_viewer(),
    }
}

fn users(app: &App, viewer: &Viewer) -> Markup {
    let language = viewer.language;
    let users = app.users().list().to_vec();
    html! {
        section.panel {
            h2 { (language.users()) }
            table {
                thead { tr { th { (language.user()) } th { (language.role()) } th { "" } } }
                tbody {
                    @for user in &users {
                        tr {
                            td { (user.name) }
                            td { (user.role.name()) " " span.faint { (role_text(language, user.role)) } }
                            td.number { form method="post" action=(viewer.links.to(&["settings", "users", &user.name, "remove"])) { (token(viewer)) button.quiet type="submit" { (language.remove()) } } }
                        }
                    }
                }
            }
            h3 { (language.add_user()) }
            form.form method="post" action=(viewer.links.to(&["settings", "users"])) {
                (token(viewer))
                div.side-by-side {
                    label { (language.name()) input name="name" required maxlength="64" autocomplete="off"; }
                    label { (language.role()) select name="role" { @for role in Role::OF_USERS { option value=(role.name()) { (role.name()) } } } }
                    label { (language.password()) input type="password" name="password" autocomplete="new-password" required minlength=(LENGTH_MIN) maxlength="256"; }
                }
                div.buttons { button.button type="submit" { (language.save()) } }
            }
        }
    }
}

/// What is wrong with a request about users is the requester's to put right, but for files.
fn refused(error: &UsersError) -> PageError {
    match error {
        UsersError::Password(_) | UsersError::Name(_) | UsersError::LastAdmin(_) | UsersError::NoSuchUser(_) => {
            PageError::BadRequest(error.to_string())
        }
        UsersError::File { .. }
        | UsersError::Form { .. }
        | UsersError::Version { .. }
        | UsersError::NoRandomness(_) => PageError::Failed(error.to_string()),
    }
}

/// Hashing and the file take their time, on a thread where nobody waits for it.
async fn change_users(
    app: &Arc<App>,
    change: impl FnOnce(&mut crate::auth::users::Users) -> Result<(), UsersError> + Send + 'static,
) -> Result<(), PageError> {
    let stopping = || PageError::Failed("the console is stopping".to_owned());
    let _one_at_a_time = app.hashing.acquire().await.map_err(|_| stopping())?;
    let shared = app.clone();
    let changed = tokio::task::spawn_blocking(move || change(&mut shared.users())).await;
    changed.map_err(|_| stopping())?.map_err(|error| refused(&error))
}

/// `POST /settings/password`
pub async fn change_password(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Submitted(form): Submitted,
) -> Result<Response, PageError> {
    form.only(&["form_token", "current", "new"])?;
    let Some(user) = viewer.own_user().map(str::to_owned) else {
        return Err(PageError::Forbidden { needs: Role::Viewer });
    };
    if let Some(wait) = app.throttle().wait(app.uptime(), &user, viewer.address) {
        return Err(PageError::Throttled { seconds: wait.as_secs() + 1 });
    }
    let Some(role) = check(&app, &user, form.raw("current").to_owned()).await? else {
        app.throttle().failed(app.uptime(), &user, viewer.address);
        return Err(PageError::BadRequest(viewer.language.wrong_password().to_owned()));
    };
    let new = form.raw("new").to_owned();
    let name = user.clone();
    change_users(&app, move |users| users.put(&name, role, &new)).await?;
    app.sessions().end_others(&user, viewer.secret.as_deref());
    tracing::info!(user, "password changed");
    Ok(noticed(&app, &app.links.to(&["settings"]), Notice::of(viewer.language.password_changed())))
}

/// `POST /settings/users`
pub async fn put_user(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Submitted(form): Submitted,
) -> Result<Response, PageError> {
    form.only(&["form_token", "name", "role", "password"])?;
    viewer.must(Role::Admin)?;
    let role = Role::of_name(form.get("role"));
    let role = role.ok_or_else(|| {
        PageError::BadRequest(format!("`role` is `{}`; known: viewer, operator, admin", form.get("role")))
    })?;
    let (name, password) = (form.get("name").to_owned(), form.raw("password").to_owned());
    let put = name.clone();
    change_users(&app, move |users| users.put(&put, role, &password)).await?;
    // Whoever is logged in under that name has the old role.
    app.sessions().end_others(&name, viewer.secret.as_deref());
    tracing::info!(user = viewer.user, changed = name, role = role.name(), "user saved");
    Ok(noticed(&app, &app.links.to(&["settings"]), Notice::of(fill(viewer.language.user_saved(), &[&name]))))
}

/// `POST /settings/users/{name}/remove`
pub async fn remove_user(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path(name): Path<String>,
    Submitted(form): Submitted,
) -> Result<Response, PageError> {
    form.only(&["form_token"])?;
    viewer.must(Role::Admin)?;
    let removed = name.clone();
    change_users(&app, move |users| users.remove(&removed)).await?;
    app.sessions().end_others(&name, None);
    let gone = name.clone();
    tokens::change(&app, move |tokens| tokens.revoke_of(&gone)).await?;
    tracing::info!(user = viewer.user, removed = name, "user removed");
    Ok(noticed(&app, &app.links.to(&["settings"]), Notice::of(fill(viewer.language.user_removed(), &[&name]))))
}

/// `POST /settings/sessions/end`
pub async fn end_sessions(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Submitted(form): Submitted,
) -> Result<Response, PageError> {
    form.only(&["form_token"])?;
    let Some(user) = viewer.own_user() else { return Err(PageError::Forbidden { needs: Role::Viewer }) };
    app.sessions().end_others(user, viewer.secret.as_deref());
    Ok(noticed(&app, &app.links.to(&["settings"]), Notice::of(viewer.language.sessions_ended())))
}
