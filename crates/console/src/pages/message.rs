//! One message: where it lies, its properties, its body, who consumed it.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use client::admin::StoredMessage;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use maud::{Markup, html};
use protocol::properties;

use super::messages::message_table;
use crate::app::App;
use crate::auth::Role;
use crate::bodies::{Flaw, Mismatch, View, shown};
use crate::cluster::catalog::{TopicKind, kind_of};
use crate::cluster::messages::Found;
use crate::html::{Tone, action, card, crumb, empty, head, known, nothing, refusals, state, time};
use crate::input::Params;
use crate::language::{Language, fill};
use crate::page::{Page, PageError, Section};
use crate::show;
use crate::viewer::Viewer;

/// Properties that clients and brokers set for themselves; the others are the user's own.
/// Source: `MessageConst.java`.
const SYSTEM_PROPERTIES: [&str; 48] = [
    properties::KEYS,
    properties::TAGS,
    properties::WAIT,
    properties::DELAY,
    properties::RETRY_TOPIC,
    properties::REAL_TOPIC,
    properties::REAL_QID,
    properties::TRAN_MSG,
    properties::PGROUP,
    properties::UNIQ_KEY,
    properties::ORIGIN_MESSAGE_ID,
    properties::CLUSTER,
    properties::MSG_REGION,
    properties::TRACE_ON,
    properties::POP_CK,
    properties::TRANSACTION_ID,
    properties::TRANSACTION_CHECK_TIMES,
    properties::CHECK_IMMUNITY_TIME_IN_SECONDS,
    properties::RECONSUME_TIME,
    properties::MAX_RECONSUME_TIMES,
    properties::TIMER_DELAY_SEC,
    properties::TIMER_DELAY_MS,
    properties::TIMER_DELIVER_MS,
    properties::TIMER_OUT_MS,
    properties::SHARDING_KEY,
    properties::PRIORITY,
    properties::LITE_TOPIC,
    "MIN_OFFSET",
    "MAX_OFFSET",
    "BUYER_ID",
    "TRANSFER_FLAG",
    "CORRECTION_FLAG",
    "MQ2_FLAG",
    "EXTEND_UNIQ_INFO",
    "CONSUME_START_TIME",
    "1ST_POP_TIME",
    "INSTANCE_ID",
    "CORRELATION_ID",
    "REPLY_TO_CLIENT",
    "MSG_TYPE",
    "TTL",
    "DUP_INFO",
    "INNER_NUM",
    "INNER_MULTI_DISPATCH",
    "DLQ_ORIGIN_TOPIC",
    "DLQ_ORIGIN_MESSAGE_ID",
    "__BORNHOST",
    "BORN_TIMESTAMP",
];

/// `GET /messages/{topic}/{id}`
pub async fn one(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path((topic, id)): Path<(String, String)>,
    Params(params): Params,
) -> Result<Page, PageError> {
    params.only(&["view"])?;
    let language = viewer.language;
    let view = match params.given("view") {
        None => None,
        Some(name) => Some(View::of_name(name).ok_or_else(|| {
            let known = View::ALL.map(|(_, known)| known).join(", ");
            PageError::BadRequest(format!("`view` is `{name}`; known: {known}"))
        })?),
    };
    let found = app.cluster.messages_by_id(&topic, &id).await;
    let title = format!("{} {id}", language.message_id());
    let page = Page::new(Section::Messages, title).without(&found.silent);
    let up = crumb(&viewer.links.with(&["messages"], &[("topic", &topic)]), &topic);
    match found.messages.as_slice() {
        [] if found.silent.is_empty() && found.refusals.is_empty() => {
            Err(PageError::NotFound(fill(language.no_such_message(), &[&id, &topic])))
        }
        [] => Ok(page.still(html! { (up) (refusals(&viewer, &found.refusals)) (empty(&fill(language.no_such_message(), &[&id, &topic]), &[])) })),
        [message] => message_page(&app, &viewer, page, &topic, message, view).await,
        messages => Ok(page.still(html! {
            (up)
            p { (fill(language.several_have_id(), &[&messages.len()])) }
            (message_table(&viewer, &topic, messages))
        })),
    }
}

async fn message_page(
    app: &App,
    viewer: &Viewer,
    page: Page,
    topic: &str,
    message: &StoredMessage,
    view: Option<View>,
) -> Result<Page, PageError> {
    let language = viewer.language;
    let received = &message.received;
    let links = &viewer.links;
    let again = links.with(&["topics", topic, "publish"], &[("from", &received.offset_message_id)]);
    let actions = html! { (action(viewer, Role::Operator, "", &again, language.send_again())) };
    let is_user = |name: &str| !SYSTEM_PROPERTIES.contains(&name);
    let (own, system): (Vec<_>, Vec<_>) = received.properties.iter().partition(|(name, _)| is_user(name));
    let consumption = consumption(app, viewer, topic, message).await;
    Ok(page.still(html! {
        (crumb(&links.with(&["messages"], &[("topic", topic)]), topic))
        (head(html! { span.code { (received.message_id) } }, nothing(), actions))
        div.cards {
            (card(language.topic(), html! { a href=(links.topic(topic)) { (topic) } }, html! { (received.broker) ":" (received.queue_id) " #" (received.offset) }))
            (card(language.tag(), known(received.tag.as_deref(), language.no_properties()), html! { @if let Some(keys) = &received.keys { (language.keys()) ": " (keys) } }))
            (card(language.stored_at(), time(received.store_timestamp_ms), html! { (message.store_host) }))
            (card(language.born(), time(received.born_timestamp_ms), html! { (fill(language.born_at(), &[&message.born_host])) }))
            (card(language.size(), html! { (show::bytes(received.body.len() as i64)) }, html! { (language.consumed_times()) ": " (received.reconsume_times) }))
        }
        h2 { (language.body()) }
        (body_of(viewer, topic, message, view))
        (consumption)
        div.columns {
            section.panel { h2 { (language.properties_user()) } (property_table(language, &own)) }
            section.panel {
                h2 { (language.properties_system()) }
                (property_table(language, &system))
                p.faint { (language.offset_id()) ": " span.code { (received.offset_message_id) } }
                p.faint { (language.position()) ": " (message.position) }
            }
        }
    }))
}

fn property_table(language: Language, properties: &[&(String, String)]) -> Markup {
    html! {
        @if properties.is_empty() { p.faint { (language.no_properties()) } }
        @else { table.pairs { tbody { @for (name, value) in properties { tr { th scope="row" { (name) } td.code { (value) } } } } } }
    }
}

fn body_of(viewer: &Viewer, topic: &str, message: &StoredMessage, view: Option<View>) -> Markup {
    let language = viewer.language;
    if !viewer.may(Role::Viewer) {
        return empty(language.bodies_take_login(), &[]);
    }
    let body = &message.received.body;
    if body.is_empty() {
        return html! { p.faint { (language.body_is_empty()) } };
    }
    let seen = shown(body, view);
    let id = &message.received.offset_message_id;
    html! {
        nav.kinds.views {
            @for (view, name) in View::ALL {
                @let to = viewer.links.with(&["messages", topic, id], &[("view", name)]);
                @if view == seen.view { a.here href=(to) aria-current="true" { (name_of(language, view)) } } @else { a href=(to) { (name_of(language, view)) } }
            }
            a href=(viewer.links.to(&["messages", topic, id, "body"])) download { (language.download()) }
        }
        @if let Some(packing) = seen.unpacked { p.faint { (fill(language.inside(), &[&packing])) } }
        @if let Some(mismatch) = seen.mismatch { p.faint { (why_not(language, seen.view, mismatch)) } }
        @if let Some((part, whole)) = seen.part {
            @let whole = format!("{}{}", if seen.has_more { "> " } else { "" }, show::bytes(whole as i64));
            p.faint { (fill(language.body_cut(), &[&show::bytes(part as i64), &whole])) }
        }
        pre.body { (seen.text) }
    }
}

fn name_of(language: Language, view: View) -> &'static str {
    match view {
        View::Text => language.view_auto(),
        View::Gbk => "GBK",
        View::Json => language.view_json(),
        View::Xml => "XML",
        View::MsgPack => "MessagePack",
        View::Cbor => "CBOR",
        View::Protobuf => "Protobuf",
        View::Hex => language.view_hex(),
    }
}

/// Why a body is not shown as it was to be.
fn why_not(language: Language, view: View, mismatch: Mismatch) -> String {
    let name = name_of(language, view);
    match mismatch {
        Mismatch::NotText if view == View::Text => language.not_text().to_owned(),
        Mismatch::NotText => fill(language.not_text_in(), &[&name]),
        Mismatch::NotJson => language.not_json().to_owned(),
        Mismatch::Flaw(Flaw::Ends(at)) => fill(language.not_so_ends(), &[&name, &at]),
        Mismatch::Flaw(Flaw::Unknown(at)) => fill(language.not_so_unknown(), &[&name, &at]),
        Mismatch::Flaw(Flaw::TooDeep) => fill(language.not_so_deep(), &[&name]),
        Mismatch::Flaw(Flaw::Rest(at)) => fill(language.not_so_rest(), &[&name, &at]),
    }
}

/// Which groups are past the message: what their offsets tell.
async fn consumption(app: &App, viewer: &Viewer, topic: &str, message: &StoredMessage) -> Markup {
    let language = viewer.language;
    if kind_of(topic, &[]) != TopicKind::User {
        return nothing();
    }
    let readers = app.cluster.readers(topic).await;
    let asking = readers.groups.iter().map(async |group| (group, app.cluster.progress(group).await));
    let rows = futures_util::future::join_all(asking).await;
    let received = &message.received;
    html! {
        h2 { (language.consumption()) }
        (refusals(viewer, &readers.refusals))
        @if rows.is_empty() && readers.refusals.is_empty() { p.faint { (language.no_readers()) } }
        @if !rows.is_empty() {
            table {
                thead { tr { th { (language.group()) } th { (language.state()) } th { "" } } }
                tbody {
                    @for (group, progress) in &rows {
                        @let place = progress.queues.iter().find(|queue| (queue.topic.as_str(), &queue.broker, queue.queue_id) == (topic, &received.broker, received.queue_id));
                        @let at = place.map(|queue| queue.offset.consumer_offset);
                        tr {
                            td { a href=(viewer.links.group(group)) { (group) } }
                            td {
                                @match at {
                                    Some(at) if (received.offset as i64) < at => (state(Tone::Good, language.consumed())),
                                    Some(_) => (state(Tone::Plain, language.not_yet_consumed())),
                                    None => (known(None::<&str>, language.no_progress())),
                                }
                            }
                            td.faint { @if let Some(at) = at { (fill(language.consumed_evidence(), &[&at, &received.offset])) } }
                        }
                    }
                }
            }
        }
    }
}

/// `GET /messages/{topic}/{id}/body`: the bytes as they are, as a file.
pub async fn body(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path((topic, id)): Path<(String, String)>,
    Params(params): Params,
) -> Result<Response, PageError> {
    params.only(&[])?;
    viewer.must(Role::Viewer)?;
    let Found { messages, .. } = app.cluster.messages_by_id(&topic, &id).await;
    let Some(message) = messages.into_iter().next() else {
        return Err(PageError::NotFound(fill(viewer.language.no_such_message(), &[&id, &topic])));
    };
    let name: String = message.received.offset_message_id.chars().filter(char::is_ascii_alphanumeric).collect();
    let headers = [
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{name}.body\"")),
    ];
    Ok((headers, message.received.body).into_response())
}
