//! Creating, changing and deleting a group.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use protocol::bodies::subscription_group::SubscriptionGroupConfig;

use super::groups::group_of;
use super::noticed;
use crate::api::read::group_value;
use crate::app::{App, Notice};
use crate::auth::Role;
use crate::cluster::changes::Outcome;
use crate::html::{crumb, head, nothing, submit, token};
use crate::input::{Params, Submitted, Values};
use crate::language::fill;
use crate::page::{Page, PageError, Section};
use crate::viewer::Viewer;

/// Most retries that a form takes.
pub const RETRIES_MAX: i32 = 10_000;
/// Most queues for retries that a form takes.
pub const RETRY_QUEUES_MAX: i32 = 64;

const FIELDS: [&str; 8] =
    ["form_token", "name", "retries", "retry_queues", "consume", "broadcast", "from_first", "orderly"];

/// `GET /groups/new`
pub async fn new(viewer: Viewer, Params(params): Params) -> Result<Page, PageError> {
    params.only(&[])?;
    viewer.must(Role::Operator)?;
    let language = viewer.language;
    Ok(Page::new(Section::Groups, language.new_group()).still(html! {
        (crumb(&viewer.links.to(&["groups"]), language.groups()))
        (head(html! { (language.new_group()) }, nothing(), nothing()))
        form.form method="post" action=(viewer.links.to(&["groups", "new"])) {
            (token(&viewer))
            label { (language.name()) input name="name" required maxlength="120" pattern="[A-Za-z0-9_%|\\-]+" autofocus autocomplete="off"; span.hint { (language.group_name_hint()) } }
            (fields(&viewer, &SubscriptionGroupConfig::default()))
            div.buttons { (submit(&viewer, Role::Operator, "primary", language.create_group())) a.button href=(viewer.links.to(&["groups"])) { (language.cancel()) } }
        }
    }))
}

fn fields(viewer: &Viewer, config: &SubscriptionGroupConfig) -> Markup {
    let language = viewer.language;
    html! {
        div.side-by-side {
            label { (language.max_retries()) input type="number" name="retries" value=(config.retry_max_times) min="-1" max=(RETRIES_MAX) required; }
            label { (language.retry_queues()) input type="number" name="retry_queues" value=(config.retry_queue_nums) min="0" max=(RETRY_QUEUES_MAX) required; }
        }
        label.check { input type="checkbox" name="consume" value="yes" checked[config.consume_enable]; (language.may_consume()) }
        label.check { input type="checkbox" name="broadcast" value="yes" checked[config.consume_broadcast_enable]; (language.may_broadcast()) }
        label.check { input type="checkbox" name="from_first" value="yes" checked[config.consume_from_min_enable]; (language.begins_at_first()) }
        label.check { input type="checkbox" name="orderly" value="yes" checked[config.consume_message_orderly]; (language.in_order()) }
    }
}

fn asked(form: &Values, name: &str, base: &SubscriptionGroupConfig) -> Result<SubscriptionGroupConfig, PageError> {
    let number = |field: &str, least: i32, most: i32| {
        let number: Option<i32> = form.number(field)?;
        let number = number.filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| {
            PageError::BadRequest(format!("`{field}` is `{}`; expected {least} to {most}", form.get(field)))
        })
    };
    let is_on = |field: &str| !form.get(field).is_empty();
    Ok(SubscriptionGroupConfig {
        group_name: name.to_owned(),
        retry_max_times: number("retries", -1, RETRIES_MAX)?,
        retry_queue_nums: number("retry_queues", 0, RETRY_QUEUES_MAX)?,
        consume_enable: is_on("consume"),
        consume_broadcast_enable: is_on("broadcast"),
        consume_from_min_enable: is_on("from_first"),
        consume_message_orderly: is_on("orderly"),
        ..base.clone()
    })
}

fn all_done(outcomes: &[Outcome]) -> bool {
    outcomes.iter().all(|outcome| outcome.result.is_ok())
}

/// `POST /groups/new`
pub async fn create(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Submitted(form): Submitted,
) -> Result<Response, PageError> {
    form.only(&FIELDS)?;
    viewer.must(Role::Operator)?;
    let language = viewer.language;
    let name = form.given("name").ok_or_else(|| PageError::BadRequest("`name` is empty".to_owned()))?;
    let outcomes = app.cluster.put_group(&asked(&form, name, &SubscriptionGroupConfig::default())?).await;
    if outcomes.is_empty() {
        return Err(PageError::Upstream(language.no_broker().to_owned()));
    }
    tracing::info!(user = viewer.user, group = name, "group created from the console");
    let text = if all_done(&outcomes) { language.group_created() } else { language.group_not_created() };
    let to = if outcomes.iter().any(|outcome| outcome.result.is_ok()) {
        app.links.group(name)
    } else {
        app.links.to(&["groups"])
    };
    Ok(noticed(&app, &to, Notice { headline: fill(text, &[&name]), outcomes, ..Notice::default() }))
}

/// `GET /groups/{group}/edit`
pub async fn edit(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path(name): Path<String>,
    Params(params): Params,
) -> Result<Page, PageError> {
    params.only(&[])?;
    viewer.must(Role::Operator)?;
    let language = viewer.language;
    let catalog = app.cluster.catalog().await;
    let config = group_of(&viewer, &catalog, &name)?.config().cloned().unwrap_or_default();
    let title = fill(language.edit_group(), &[&name]);
    Ok(Page::new(Section::Groups, &*title).without(&catalog.silent).still(html! {
        (crumb(&viewer.links.group(&name), &name))
        (head(html! { (title) }, nothing(), nothing()))
        form.form method="post" action=(viewer.links.to(&["groups", &name, "edit"])) {
            (token(&viewer))
            (fields(&viewer, &config))
            div.buttons { (submit(&viewer, Role::Operator, "primary", language.save())) a.button href=(viewer.links.group(&name)) { (language.cancel()) } }
        }
    }))
}

/// `POST /groups/{group}/edit`
pub async fn change(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path(name): Path<String>,
    Submitted(form): Submitted,
) -> Result<Response, PageError> {
    form.only(&FIELDS)?;
    viewer.must(Role::Operator)?;
    let language = viewer.language;
    let catalog = app.cluster.catalog().await;
    let group = group_of(&viewer, &catalog, &name)?;
    let base = group.config().cloned().unwrap_or_default();
    viewer.deed.before(group_value(group));
    let outcomes = app.cluster.put_group(&asked(&form, &name, &base)?).await;
    tracing::info!(user = viewer.user, group = name, "group changed from the console");
    let text = if all_done(&outcomes) { language.group_changed() } else { language.group_not_changed() };
    Ok(noticed(&app, &app.links.group(&name), Notice { headline: fill(text, &[&name]), outcomes, ..Notice::default() }))
}

/// `GET /groups/{group}/delete`
pub async fn ask_delete(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path(name): Path<String>,
    Params(params): Params,
) -> Result<Page, PageError> {
    params.only(&[])?;
    viewer.must(Role::Admin)?;
    delete_page(&app, &viewer, &name, false).await
}

async fn delete_page(app: &App, viewer: &Viewer, name: &str, has_mistyped: bool) -> Result<Page, PageError> {
    let language = viewer.language;
    let catalog = app.cluster.catalog().await;
    group_of(viewer, &catalog, name)?;
    let members = app.cluster.members(name).await;
    let title = fill(language.delete_group(), &[&name]);
    Ok(Page::new(Section::Groups, &*title).without(&catalog.silent).still(html! {
        (crumb(&viewer.links.group(name), name))
        (head(html! { (title) }, nothing(), nothing()))
        form.form method="post" action=(viewer.links.to(&["groups", name, "delete"])) {
            (token(viewer))
            p { (fill(language.delete_group_text(), &[&members.members.len()])) }
            label.check { input type="checkbox" name="topics" value="yes"; (language.delete_topics_too()) }
            label { (language.type_name_to_confirm()) input name="typed" required autocomplete="off" placeholder=(name) maxlength="255"; }
            @if has_mistyped { p.field-error role="alert" { (fill(language.name_differs(), &[&name])) } }
            div.buttons { (submit(viewer, Role::Admin, "danger", language.delete_now())) a.button href=(viewer.links.group(name)) { (language.cancel()) } }
        }
    }))
}

/// `POST /groups/{group}/delete`
pub async fn delete(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path(name): Path<String>,
    Submitted(form): Submitted,
) -> Result<Response, PageError> {
    form.only(&["form_token", "typed", "topics"])?;
    viewer.must(Role::Admin)?;
    if form.get("typed") != name {
        return Ok(delete_page(&app, &viewer, &name, true).await?.into_response());
    }
    viewer.deed.before(group_value(group_of(&viewer, &*app.cluster.catalog().await, &name)?));
    let outcomes = app.cluster.delete_group(&name, !form.get("topics").is_empty()).await;
    tracing::info!(user = viewer.user, group = name, "group deleted from the console");
    let text = if all_done(&outcomes) { viewer.language.group_deleted() } else { viewer.language.group_not_deleted() };
    Ok(noticed(
        &app,
        &app.links.to(&["groups"]),
        Notice { headline: fill(text, &[&name]), outcomes, ..Notice::default() },
    ))
}
