//! Which address leads where.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

use crate::app::App;
use crate::pages::{
    activity, brokers, clients, dead_letters, doctor, group_changes, groups, health, login, member, message, messages,
    overview, preferences, publish, reference, reset, scheduled, settings, tail, tokens, topic_changes, topics,
};
use crate::{api, assets, door, live};

/// Most bytes of a form: a message of 4 MiB whose every second byte is encoded still fits.
pub const FORM_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Everything, with the door before it.
pub fn all(app: &Arc<App>) -> Router {
    let inner = pages(app)
        .merge(api::operations::routes(app))
        .route("/live", get(live::stream).with_state(app.clone()))
        .route("/assets/{version}/{name}", get(assets::serve))
        .route("/livez", get(health::alive))
        .route("/metrics", get(health::metrics).with_state(app.clone()))
        .route("/readyz", get(health::ready).with_state(app.clone()));
    let router = match app.links.base() {
        "" => inner,
        // Below a prefix the first page has two addresses, with a slash at its end and without.
        base => Router::new().nest(base, inner).route(&app.links.to(&[]), get(overview::page).with_state(app.clone())),
    };
    router.layer(DefaultBodyLimit::max(FORM_BYTES_MAX)).layer(from_fn_with_state(app.clone(), door::pass))
}

/// The pages, without the door.
pub fn pages(app: &Arc<App>) -> Router {
    Router::new()
        .route("/", get(overview::page))
        .route("/topics", get(topics::list))
        .route("/topics/new", get(topic_changes::new).post(topic_changes::create))
        .route("/topics/{topic}", get(topics::one))
        .route("/topics/{topic}/edit", get(topic_changes::edit).post(topic_changes::change))
        .route("/topics/{topic}/delete", get(topic_changes::ask_delete).post(topic_changes::delete))
        .route("/topics/{topic}/publish", get(publish::form).post(publish::send))
        .route("/topics/{topic}/tail", get(tail::page))
        .route("/groups", get(groups::list))
        .route("/groups/new", get(group_changes::new).post(group_changes::create))
        .route("/groups/{group}", get(groups::one))
        .route("/groups/{group}/clients/{client}", get(member::one))
        .route("/groups/{group}/edit", get(group_changes::edit).post(group_changes::change))
        .route("/groups/{group}/delete", get(group_changes::ask_delete).post(group_changes::delete))
        .route("/groups/{group}/reset", get(reset::preview).post(reset::apply))
        .route("/messages", get(messages::search))
        .route("/messages/{topic}/{id}", get(message::one))
        .route("/messages/{topic}/{id}/body", get(message::body))
        .route("/dead-letters", get(dead_letters::list))
        .route("/dead-letters/{group}", get(dead_letters::one).post(dead_letters::redeliver))
        .route("/scheduled", get(scheduled::page))
        .route("/scheduled/recall", post(scheduled::recall))
        .route("/clients", get(clients::list))
        .route("/cluster", get(brokers::list))
        .route("/brokers/{name}/{id}", get(brokers::one))
        .route("/brokers/{name}/{id}/settings/{key}", get(brokers::edit).post(brokers::change))
        .route("/doctor", get(doctor::page))
        .route("/activity", get(activity::list))
        .route("/api", get(reference::page))
        .route("/search", get(overview::find))
        .route("/settings", get(settings::page))
        .route("/settings/password", post(settings::change_password))
        .route("/settings/users", post(settings::put_user))
        .route("/settings/users/{name}/remove", post(settings::remove_user))
        .route("/settings/tokens", post(tokens::create))
        .route("/settings/tokens/{id}/revoke", post(tokens::remove))
        .route("/settings/sessions/end", post(settings::end_sessions))
        .route("/login", get(login::form).post(login::log_in))
        .route("/logout", post(login::log_out))
        .route("/preferences", post(preferences::set))
        .with_state(app.clone())
}
