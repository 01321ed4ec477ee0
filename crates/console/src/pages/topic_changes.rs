//! Creating, changing and deleting a topic.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use maud::{Markup, html};
use protocol::bodies::topic_config::{PERM_READ, PERM_WRITE, TopicConfig};

use super::noticed;
use super::topics::{permission_text, topic_of};
use crate::api::read::topic_value;
use crate::app::{App, Notice};
use crate::auth::Role;
use crate::cluster::changes::Outcome;
use crate::html::{crumb, head, nothing, submit, token};
use crate::input::{Params, Submitted, Values};
use crate::language::fill;
use crate::page::{Page, PageError, Section};
use crate::show;
use crate::viewer::Viewer;

/// Kinds of messages that a topic can be made for; the empty one is not stated.
const TYPES: [&str; 5] = ["", "NORMAL", "FIFO", "DELAY", "TRANSACTION"];

/// Most queues of a topic on one broker: forms are no place for more.
const QUEUES_MAX: i32 = 1024;

/// Attribute that says what kind of messages a topic takes.
const MESSAGE_TYPE: &str = "message.type";

const FIELDS: [&str; 7] = ["form_token", "name", "read", "write", "perm", "type", "order"];

/// `GET /topics/new`
pub async fn new(viewer: Viewer, Params(params): Params) -> Result<Page, PageError> {
    params.only(&[])?;
    viewer.must(Role::Operator)?;
    let language = viewer.language;
    let config = TopicConfig { read_queue_nums: 8, write_queue_nums: 8, ..TopicConfig::default() };
    Ok(Page::new(Section::Topics, language.new_topic()).still(html! {
        (crumb(&viewer.links.to(&["topics"]), language.topics()))
        (head(html! { (language.new_topic()) }, nothing(), nothing()))
        form.form method="post" action=(viewer.links.to(&["topics", "new"])) {
            (token(&viewer))
            label { (language.name()) input name="name" required maxlength="127" pattern="[A-Za-z0-9_%|\\-]+" autofocus autocomplete="off"; span.hint { (language.topic_name_hint()) } }
            (fields(&viewer, &config))
            div.buttons { (submit(&viewer, Role::Operator, "primary", language.create_topic())) a.button href=(viewer.links.to(&["topics"])) { (language.cancel()) } }
        }
    }))
}

fn fields(viewer: &Viewer, config: &TopicConfig) -> Markup {
    let language = viewer.language;
    let stated = config.attributes.get(MESSAGE_TYPE).map_or("", String::as_str);
    html! {
        div.side-by-side {
            label { (language.read_queues()) input type="number" name="read" value=(config.read_queue_nums) min="1" max=(QUEUES_MAX) required; }
            label { (language.write_queues()) input type="number" name="write" value=(config.write_queue_nums) min="1" max=(QUEUES_MAX) required; }
        }
        p.hint { (language.queues_hint()) }
        label {
            (language.message_type())
            select name="type" { @for kind in TYPES { option value=(kind) selected[kind == stated] { (if kind.is_empty() { language.type_unspecified() } else { kind }) } } }
            span.hint { (language.type_hint()) }
        }
        label {
            (language.permission())
            select name="perm" {
                @for perm in [PERM_READ | PERM_WRITE, PERM_READ, PERM_WRITE] {
                    option value=(perm) selected[perm == config.perm & (PERM_READ | PERM_WRITE)] { (permission_text(language, perm)) }
                }
            }
        }
        label.check { input type="checkbox" name="order" value="yes" checked[config.order]; (language.order()) }
    }
}

/// The configuration that a form asks for, based on the one that there is.
fn asked(form: &Values, name: &str, base: &TopicConfig) -> Result<TopicConfig, PageError> {
    let queues = |field: &str| {
        let number: Option<i32> = form.number(field)?;
        let number = number.filter(|number| (1..=QUEUES_MAX).contains(number));
        number.ok_or_else(|| {
            PageError::BadRequest(format!("`{field}` is `{}`; expected 1 to {QUEUES_MAX}", form.get(field)))
        })
    };
    let perm = form.number("perm")?.filter(|perm| [2, 4, 6].contains(perm));
    let perm =
        perm.ok_or_else(|| PageError::BadRequest(format!("`perm` is `{}`; expected 2, 4 or 6", form.get("perm"))))?;
    let kind = form.get("type");
    if !TYPES.contains(&kind) {
        return Err(PageError::BadRequest(format!("`type` is `{kind}`; known: {}", TYPES[1..].join(", "))));
    }
    // Names in changes begin with `+` to set and `-` to remove.
    let stated = base.attributes.contains_key(MESSAGE_TYPE);
    let change = match kind {
        "" if stated => Some((format!("-{MESSAGE_TYPE}"), String::new())),
        "" => None,
        kind => Some((format!("+{MESSAGE_TYPE}"), kind.to_owned())),
    };
    Ok(TopicConfig {
        topic_name: name.to_owned(),
        read_queue_nums: queues("read")?,
        write_queue_nums: queues("write")?,
        perm,
        order: !form.get("order").is_empty(),
        attributes: change.into_iter().collect(),
        ..base.clone()
    })
}

fn all_done(outcomes: &[Outcome]) -> bool {
    outcomes.iter().all(|outcome| outcome.result.is_ok())
}

/// `POST /topics/new`
pub async fn create(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Submitted(form): Submitted,
) -> Result<Response, PageError> {
    form.only(&FIELDS)?;
    viewer.must(Role::Operator)?;
    let language = viewer.language;
    let name = form.given("name").ok_or_else(|| PageError::BadRequest("`name` is empty".to_owned()))?;
    let config = asked(&form, name, &TopicConfig::default())?;
    let outcomes = app.cluster.put_topic(&[], &config).await;
    if outcomes.is_empty() {
        return Err(PageError::Upstream(language.no_broker().to_owned()));
    }
    tracing::info!(user = viewer.user, topic = name, "topic created from the console");
    let text = if all_done(&outcomes) { language.topic_created() } else { language.topic_not_created() };
    let to = if outcomes.iter().any(|outcome| outcome.result.is_ok()) {
        app.links.topic(name)
    } else {
        app.links.to(&["topics"])
    };
    Ok(noticed(&app, &to, Notice { headline: fill(text, &[&name]), outcomes, ..Notice::default() }))
}

/// `GET /topics/{topic}/edit`
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
    let topic = topic_of(&viewer, &catalog, &name)?;
    let config = topic.brokers.values().next().cloned().unwrap_or_default();
    let title = fill(language.edit_topic(), &[&name]);
    Ok(Page::new(Section::Topics, &*title).without(&catalog.silent).still(html! {
        (crumb(&viewer.links.topic(&name), &name))
        (head(html! { (title) }, nothing(), nothing()))
        form.form method="post" action=(viewer.links.to(&["topics", &name, "edit"])) {
            (token(&viewer))
            (fields(&viewer, &config))
            p.hint { (language.fewer_queues_hint()) }
            div.buttons { (submit(&viewer, Role::Operator, "primary", language.save())) a.button href=(viewer.links.topic(&name)) { (language.cancel()) } }
        }
    }))
}

/// `POST /topics/{topic}/edit`
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
    let topic = topic_of(&viewer, &catalog, &name)?;
    let base = topic.brokers.values().next().cloned().unwrap_or_default();
    let config = asked(&form, &name, &base)?;
    viewer.deed.before(topic_value(topic));
    let brokers: Vec<String> = topic.brokers.keys().cloned().collect();
    let outcomes = app.cluster.put_topic(&brokers, &config).await;
    tracing::info!(user = viewer.user, topic = name, "topic changed from the console");
    let text = if all_done(&outcomes) { language.topic_changed() } else { language.topic_not_changed() };
    Ok(noticed(&app, &app.links.topic(&name), Notice { headline: fill(text, &[&name]), outcomes, ..Notice::default() }))
}

/// `GET /topics/{topic}/delete`
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
    topic_of(viewer, &catalog, name)?;
    let (holdings, readers) = tokio::join!(app.cluster.holdings(name), app.cluster.readers(name));
    let messages = holdings.messages().map_or_else(|| show::UNKNOWN.to_owned(), show::count);
    let groups = if readers.refusals.is_empty() { readers.groups.len().to_string() } else { show::UNKNOWN.to_owned() };
    let title = fill(language.delete_topic(), &[&name]);
    Ok(Page::new(Section::Topics, &*title).without(&catalog.silent).still(html! {
        (crumb(&viewer.links.topic(name), name))
        (head(html! { (title) }, nothing(), nothing()))
        form.form method="post" action=(viewer.links.to(&["topics", name, "delete"])) {
            (token(viewer))
            p { (fill(language.delete_topic_text(), &[&messages, &groups])) }
            label { (language.type_name_to_confirm()) input name="typed" required autocomplete="off" placeholder=(name) maxlength="255"; }
            @if has_mistyped { p.field-error role="alert" { (fill(language.name_differs(), &[&name])) } }
            div.buttons { (submit(viewer, Role::Admin, "danger", language.delete_now())) a.button href=(viewer.links.topic(name)) { (language.cancel()) } }
        }
    }))
}

/// `POST /topics/{topic}/delete`
pub async fn delete(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path(name): Path<String>,
    Submitted(form): Submitted,
) -> Result<Response, PageError> {
    use axum::response::IntoResponse;

    form.only(&["form_token", "typed"])?;
    viewer.must(Role::Admin)?;
    if form.get("typed") != name {
        return Ok(delete_page(&app, &viewer, &name, true).await?.into_response());
    }
    viewer.deed.before(topic_value(topic_of(&viewer, &*app.cluster.catalog().await, &name)?));
    let outcomes = app.cluster.delete_topic(&name).await;
    tracing::info!(user = viewer.user, topic = name, "topic deleted from the console");
    let text = if all_done(&outcomes) { viewer.language.topic_deleted() } else { viewer.language.topic_not_deleted() };
    Ok(noticed(
        &app,
        &app.links.to(&["topics"]),
        Notice { headline: fill(text, &[&name]), outcomes, ..Notice::default() },
    ))
}
