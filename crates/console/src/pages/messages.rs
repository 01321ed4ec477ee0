//! `/messages`: finding messages by id, by key, or by looking through the queues of a topic.

use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};

use crate::api::export::MESSAGES_MAX;
use crate::app::App;
use crate::auth::Role;
use crate::bodies::preview;
use crate::cluster::catalog::TopicKind;
use crate::cluster::messages::{Cursor, Filter, Found, Range, Scanned, queue_of};
use crate::html::{empty, head, nothing, refusals, time};
use crate::input::{Params, Values};
use crate::language::fill;
use crate::page::{Page, PageError, Section};
use crate::show;
use crate::viewer::Viewer;
use crate::when;

use client::admin::StoredMessage;

/// Messages of one page.
const COUNT: usize = 50;

const PARAMETERS: [&str; 9] = ["topic", "by", "key", "from", "to", "tag", "text", "queue", "at"];

/// Ways to look, as addresses have them.
const WAYS: [&str; 4] = ["newest", "time", "key", "id"];

/// `GET /messages`
pub async fn search(State(app): State<Arc<App>>, viewer: Viewer, Params(params): Params) -> Result<Page, PageError> {
    params.only(&PARAMETERS)?;
    let language = viewer.language;
    let by = params.given("by").unwrap_or("newest");
    if !WAYS.contains(&by) {
        return Err(PageError::BadRequest(format!("`by` is `{by}`; known: {}", WAYS.join(", "))));
    }
    let catalog = app.cluster.catalog().await;
    let topics: Vec<&str> = catalog
        .topics
        .values()
        .filter(|topic| topic.kind != TopicKind::System)
        .map(|topic| topic.name.as_str())
        .collect();
    let page = Page::new(Section::Messages, language.find_messages()).without(&catalog.silent).still(html! {
        (head(html! { (language.find_messages()) }, nothing(), nothing()))
        (search_form(&viewer, &params, by, &topics))
    });
    let Some(topic) = params.given("topic") else {
        return Ok(page.still(html! { p.faint { (language.choose_topic()) } }));
    };
    match (by, params.given("key")) {
        ("key" | "id", None) => Ok(page),
        ("id", Some(id)) => {
            Ok(found_page(page, &viewer, topic, &[("id", id)], &app.cluster.messages_by_id(topic, id).await))
        }
        ("key", Some(key)) => {
            let found = app.cluster.messages_by_key(topic, key, false).await;
            Ok(found_page(page, &viewer, topic, &[("key", key)], &found))
        }
        _ => through_queues(&app, &viewer, page, topic, by, &params).await,
    }
}

fn search_form(viewer: &Viewer, params: &Values, by: &str, topics: &[&str]) -> Markup {
    let language = viewer.language;
    let text = |way: &str| match way {
        "time" => language.by_time(),
        "key" => language.by_key(),
        "id" => language.by_id(),
        _ => language.by_newest(),
    };
    html! {
        form.search method="get" action=(viewer.links.to(&["messages"])) data-search {
            label { (language.any_topic()) input name="topic" value=(params.get("topic")) list="topics" required maxlength="255" autocomplete="off"; }
            datalist id="topics" { @for topic in topics.iter().take(500) { option value=(topic) {} } }
            label { (language.search_by()) select name="by" { @for way in WAYS { option value=(way) selected[way == by] { (text(way)) } } } }
            label data-for="key id" { (language.key_or_id()) input name="key" value=(params.get("key")) maxlength="255" autocomplete="off"; }
            label data-for="time" { (language.begin_time()) input name="from" value=(params.get("from")) placeholder="2026-11-25 04:48:17" data-time maxlength="40"; }
            label data-for="time" { (language.to_time_label()) input name="to" value=(params.get("to")) placeholder="2026-11-25 04:50" data-time maxlength="40"; }
            label data-for="time" { (language.tag()) input name="tag" value=(params.get("tag")) maxlength="255"; }
            label data-for="time" { (language.body_has()) input name="text" value=(params.get("text")) maxlength="255"; }
            @if let Some(queue) = params.given("queue") { label { (language.queue()) input name="queue" value=(queue) maxlength="255"; } }
            button.button.primary type="submit" { (language.find()) }
        }
    }
}

fn found_page(page: Page, viewer: &Viewer, topic: &str, query: &[(&str, &str)], found: &Found) -> Page {
    let language = viewer.language;
    let page = page.without(&found.silent);
    page.still(html! {
        (refusals(viewer, &found.refusals))
        @if found.messages.is_empty() { (empty(&fill(language.none_by_index(), &[&topic]), &[])) }
        @else {
            p.faint { (fill(language.found_by_index(), &[&show::count(found.messages.len() as i64)])) }
            (message_table(viewer, topic, &found.messages))
            (exports(viewer, topic, query))
        }
    })
}

/// Links to all that a search finds, as files.
fn exports(viewer: &Viewer, topic: &str, query: &[(&str, &str)]) -> Markup {
    let link = |format: &str| {
        let query: Vec<(&str, &str)> = query.iter().copied().chain([("format", format)]).collect();
        viewer.links.with(&["api", "v1", "topics", topic, "messages", "export"], &query)
    };
    html! {
        @if viewer.may(Role::Viewer) {
            p.faint {
                (fill(viewer.language.export_found(), &[&show::count(MESSAGES_MAX as i64)])) " "
                a href=(link("jsonl")) download { "JSON Lines" } " · " a href=(link("csv")) download { "CSV" }
            }
        }
    }
}

async fn through_queues(
    app: &App,
    viewer: &Viewer,
    page: Page,
    topic: &str,
    by: &str,
    params: &Values,
) -> Result<Page, PageError> {
    let language = viewer.language;
    let moment = |name: &str| match params.given(name) {
        None => Ok(None),
        Some(text) => {
            let bad = || PageError::BadRequest(fill(language.bad_time(), &[&text, &language.time_hint()]));
            when::parse(text).map(Some).ok_or_else(bad)
        }
    };
    let range = Range { from_ms: moment("from")?, to_ms: moment("to")? };
    let queue = params.given("queue").map(|text| queue_of(text).map_err(PageError::BadRequest)).transpose()?;
    let at = match params.given("at") {
        None => None,
        Some(text) => Some(
            Cursor::parse(text).ok_or_else(|| PageError::BadRequest("`at` is no place to go on from".to_owned()))?,
        ),
    };
    let own = |name: &str| params.given(name).map(str::to_owned);
    let is_newest = by == "newest";
    let filter = match is_newest {
        true => Filter { queue, ..Filter::default() },
        false => Filter { tag: own("tag"), text: own("text"), queue },
    };
    // To look into bodies is to see them.
    if filter.text.is_some() {
        viewer.must(Role::Viewer)?;
    }
    let scanned = match is_newest {
        true => app.cluster.newest_messages(topic, at.as_ref(), &filter, COUNT).await,
        false => app.cluster.scan_messages(topic, range, at.as_ref(), &filter, COUNT).await,
    };
    let next = scanned.next.as_ref().map(|cursor| {
        let cursor = cursor.to_string();
        let mut query: Vec<(&str, &str)> =
            PARAMETERS.iter().filter(|name| **name != "at").map(|name| (*name, params.get(name))).collect();
        query.push(("at", &cursor));
        viewer.links.with(&["messages"], &query)
    });
    let [from, to] = [range.from_ms, range.to_ms].map(|time| time.map(|ms| ms.to_string()).unwrap_or_default());
    let query: &[(&str, &str)] = match is_newest {
        true => &[("order", "newest"), ("queue", params.get("queue"))],
        false => &[
            ("from", &from),
            ("to", &to),
            ("tag", params.get("tag")),
            ("text", params.get("text")),
            ("queue", params.get("queue")),
        ],
    };
    let page = page.without(&scanned.silent);
    Ok(page.still(html! {
        (refusals(viewer, &scanned.refusals))
        (summary(viewer, &scanned, is_newest, &filter))
        @if !scanned.messages.is_empty() { (message_table(viewer, topic, &scanned.messages)) (exports(viewer, topic, query)) }
        @if let Some(next) = next { div.pager { a.button href=(next) { (if is_newest { language.older() } else { language.go_on() }) } } }
    }))
}

fn summary(viewer: &Viewer, scanned: &Scanned, is_newest: bool, filter: &Filter) -> Markup {
    let language = viewer.language;
    let found = show::count(scanned.messages.len() as i64);
    let (looked, held) = (show::count(scanned.looked_at as i64), show::count(scanned.held));
    html! {
        @if is_newest {
            @if scanned.messages.is_empty() && scanned.silent.is_empty() && scanned.refusals.is_empty() { (empty(language.topic_is_empty(), &[])) }
            @else if !scanned.messages.is_empty() { p.faint { (fill(language.newest_shown(), &[&found, &held])) } }
        } @else if scanned.messages.is_empty() {
            @if scanned.next.is_some() { (empty(&fill(language.none_so_far(), &[&looked, &held]), &[])) }
            @else if scanned.held == 0 && filter.is_empty() { (empty(language.topic_is_empty(), &[])) }
            @else { (empty(&fill(language.none_in_range(), &[&looked]), &[])) }
        } @else { p.faint { (fill(language.looked_at(), &[&found, &looked, &held])) } }
    }
}

/// Messages as rows.
pub fn message_table(viewer: &Viewer, topic: &str, messages: &[StoredMessage]) -> Markup {
    let language = viewer.language;
    let shows_bodies = viewer.may(Role::Viewer);
    html! {
        @if !shows_bodies { p.faint { (language.bodies_take_login()) } }
        div.wide {
            table {
                thead {
                    tr {
                        th { (language.stored_at()) } th { (language.message_id()) } th { (language.tag()) } th { (language.keys()) }
                        th { (language.place()) } th.number { (language.size()) } @if shows_bodies { th { (language.body()) } }
                    }
                }
                tbody {
                    @for message in messages {
                        @let received = &message.received;
                        tr {
                            td.nowrap { (time(received.store_timestamp_ms)) }
                            td.code.nowrap { a href=(viewer.links.message(topic, &received.offset_message_id)) title=(received.message_id) { (short(&received.message_id)) } }
                            td { (received.tag.as_deref().unwrap_or_default()) }
                            td { (received.keys.as_deref().unwrap_or_default()) }
                            td.nowrap { (received.broker) ":" (received.queue_id) " #" (received.offset) }
                            td.number { (show::bytes(received.body.len() as i64)) }
                            @if shows_bodies { td.preview { (preview(&received.body)) } }
                        }
                    }
                }
            }
        }
    }
}

/// The end of an id is what differs between messages of one sender.
fn short(id: &str) -> String {
    let from = id.char_indices().rev().nth(15).map_or(0, |(at, _)| at);
    if from == 0 { id.to_owned() } else { format!("…{}", &id[from..]) }
}
