//! Sending a message by hand.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use client::Message;
use client::producer::Sent;
use maud::{Markup, html};
use protocol::properties;

use super::noticed;
use crate::app::{App, Notice};
use crate::auth::Role;
use crate::cluster::why::with_causes;
use crate::html::{Tone, crumb, head, nothing, state, submit, token};
use crate::input::{Params, Submitted, Values};
use crate::language::{Language, fill};
use crate::page::{Page, PageError, Section};
use crate::viewer::Viewer;

const FIELDS: [&str; 7] = ["form_token", "body", "tag", "keys", "properties", "delay", "sharding"];

/// Longest delay in seconds that a form takes: brokers have their own limit, of three days by default.
const DELAY_MAX: u64 = 40 * 24 * 3600;

/// What stands in the fields.
#[derive(Default)]
struct Draft {
    body: String,
    tag: String,
    keys: String,
    properties: String,
    delay: String,
    sharding: String,
}

impl Draft {
    fn of(form: &Values) -> Draft {
        let own = |name| form.raw(name).to_owned();
        Draft {
            body: own("body"),
            tag: own("tag"),
            keys: own("keys"),
            properties: own("properties"),
            delay: own("delay"),
            sharding: own("sharding"),
        }
    }
}

/// `GET /topics/{topic}/publish`; `from` names a message whose content the fields begin with.
pub async fn form(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path(topic): Path<String>,
    Params(params): Params,
) -> Result<Page, PageError> {
    params.only(&["from"])?;
    viewer.must(Role::Operator)?;
    let mut draft = Draft::default();
    if let Some(id) = params.given("from") {
        let found = app.cluster.messages_by_id(&topic, id).await;
        let Some(message) = found.messages.into_iter().next() else {
            return Err(PageError::NotFound(fill(viewer.language.no_such_message(), &[&id, &topic])));
        };
        let received = message.received;
        draft.body = String::from_utf8_lossy(&received.body).into_owned();
        draft.tag = received.tag.unwrap_or_default();
        draft.keys = received.keys.unwrap_or_default();
    }
    Ok(publish_page(&viewer, &topic, &draft, None))
}

fn publish_page(viewer: &Viewer, topic: &str, draft: &Draft, trouble: Option<&str>) -> Page {
    let language = viewer.language;
    let title = fill(language.publish_to(), &[&topic]);
    Page::new(Section::Topics, &*title).still(html! {
        (crumb(&viewer.links.topic(topic), topic))
        (head(html! { (title) }, nothing(), nothing()))
        @if let Some(trouble) = trouble { div.notice.bad role="alert" { p { (state(Tone::Bad, language.not_sent())) " " (trouble) } } }
        (fields(viewer, topic, draft))
    })
}

fn fields(viewer: &Viewer, topic: &str, draft: &Draft) -> Markup {
    let language = viewer.language;
    html! {
        form.form.broad method="post" action=(viewer.links.to(&["topics", topic, "publish"])) {
            (token(viewer))
            // A line end right after the tag is dropped by browsers, so that one goes first.
            label { (language.body()) textarea name="body" rows="12" spellcheck="false" { "\n" (draft.body) } }
            div.side-by-side {
                label { (language.tag()) input name="tag" value=(draft.tag) maxlength="255"; span.hint { (language.tag_hint()) } }
                label { (language.keys()) input name="keys" value=(draft.keys) maxlength="1024"; span.hint { (language.keys_hint()) } }
            }
            div.side-by-side {
                label { (language.delay()) input type="number" name="delay" value=(draft.delay) min="0" max=(DELAY_MAX); span.hint { (language.delay_hint()) } }
                label { (language.sharding_key()) input name="sharding" value=(draft.sharding) maxlength="255"; }
            }
            label { (language.properties_label()) textarea name="properties" rows="3" spellcheck="false" placeholder="source=console" { "\n" (draft.properties) } span.hint { (language.properties_hint()) } }
            div.buttons { (submit(viewer, Role::Operator, "primary", language.send())) a.button href=(viewer.links.topic(topic)) { (language.cancel()) } }
        }
    }
}

/// `POST /topics/{topic}/publish`
pub async fn send(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path(topic): Path<String>,
    Submitted(form): Submitted,
) -> Result<Response, PageError> {
    form.only(&FIELDS)?;
    viewer.must(Role::Operator)?;
    let message = message_of(&form, &topic, viewer.language)?;
    match app.cluster.send(&message).await {
        Ok(sent) => {
            tracing::info!(user = viewer.user, topic, id = sent.message_id, "message sent from the console");
            let to = app.links.message(&topic, &sent.offset_message_id);
            // A message that waits lies in another topic until it is due.
            let is_delayed = message.properties.iter().any(|(name, _)| name == properties::TIMER_DELAY_SEC);
            let to = if is_delayed { app.links.topic(&topic) } else { to };
            let undo = sent.recall_handle.as_deref().map(|handle| {
                let to = app.links.with(&["scheduled"], &[("handle", handle)]);
                (viewer.language.take_back_until_due(), format!("{to}#recall"))
            });
            Ok(noticed(&app, &to, Notice { undo, ..Notice::of(sent_text(viewer.language, &sent)) }))
        }
        Err(error) => Ok(publish_page(&viewer, &topic, &Draft::of(&form), Some(&with_causes(&error))).into_response()),
    }
}

fn sent_text(language: Language, sent: &Sent) -> String {
    fill(language.sent_as(), &[&sent.message_id, &sent.queue_id, &sent.broker, &sent.offset])
}

/// The message that a form describes.
fn message_of(form: &Values, topic: &str, language: Language) -> Result<Message, PageError> {
    let mut own = Vec::new();
    for line in form.raw("properties").lines().map(str::trim).filter(|line| !line.is_empty()) {
        let pair =
            line.split_once('=').filter(|(name, value)| !name.trim().is_empty() && is_clean(name) && is_clean(value));
        let (name, value) = pair.ok_or_else(|| PageError::BadRequest(fill(language.bad_property(), &[&line])))?;
        own.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    for field in ["tag", "keys", "sharding"] {
        if !is_clean(form.get(field)) {
            return Err(PageError::BadRequest(fill(language.bad_property(), &[&form.get(field)])));
        }
    }
    if let Some(seconds) = form.number::<u64>("delay")?.filter(|seconds| 0 < *seconds) {
        if DELAY_MAX < seconds {
            return Err(PageError::BadRequest(format!("`delay` is {seconds}; at most {DELAY_MAX}")));
        }
        own.push((properties::TIMER_DELAY_SEC.to_owned(), seconds.to_string()));
    }
    if let Some(key) = form.given("sharding") {
        own.push((properties::SHARDING_KEY.to_owned(), key.to_owned()));
    }
    Ok(Message {
        topic: topic.to_owned(),
        // Browsers send the line ends of text fields as two characters.
        body: form.raw("body").replace("\r\n", "\n").into_bytes(),
        tag: form.given("tag").map(str::to_owned),
        keys: form.get("keys").split_whitespace().map(str::to_owned).collect(),
        delay_level: None,
        properties: own,
    })
}

/// Without the two characters that separate stored properties.
fn is_clean(text: &str) -> bool {
    !text.contains(['\u{1}', '\u{2}'])
}
