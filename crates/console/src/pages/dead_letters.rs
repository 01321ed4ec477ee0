//! `/dead-letters`: what groups gave up on, and giving it another chance.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use client::admin::StoredMessage;
use client::clock;
use maud::{Markup, html};
use protocol::bodies::heartbeat::ConsumeType;

use super::noticed;
use crate::app::{App, Notice};
use crate::auth::Role;
use crate::bodies::preview;
use crate::cluster::catalog::DEAD_LETTER_PREFIX;
use crate::cluster::messages::{Cursor, Filter};
use crate::cluster::place::Place;
use crate::cluster::redelivery::{Again, origin_topic};
use crate::html::{ago, crumb, empty, head, known, needs_role, nothing, refusals, time, token};
use crate::input::{Params, Submitted};
use crate::language::fill;
use crate::page::{Page, PageError, Section};
use crate::show;
use crate::viewer::Viewer;

/// Messages of one page.
const COUNT: usize = 50;

/// `GET /dead-letters`
pub async fn list(State(app): State<Arc<App>>, viewer: Viewer, Params(params): Params) -> Result<Page, PageError> {
    params.only(&[])?;
    let language = viewer.language;
    let catalog = app.cluster.catalog().await;
    let groups: Vec<(&str, &str)> =
        catalog.dead_letter_topics().map(|(group, topic)| (group, topic.name.as_str())).take(500).collect();
    let asking = groups.iter().map(async |(group, topic)| (*group, app.cluster.holdings(topic).await));
    let rows = futures_util::future::join_all(asking).await;
    let now_ms = clock::now_ms();
    let table = html! {
        (refusals(&viewer, &catalog.refusals))
        @if rows.is_empty() { (empty(language.no_dead_letters(), &[])) }
        @else {
            table {
                thead { tr { th { (language.group()) } th.number { (language.kept()) } th.number { (language.last_arrival()) } } }
                tbody {
                    @for (group, holdings) in &rows {
                        tr {
                            td { a href=(viewer.links.to(&["dead-letters", group])) { (group) } }
                            td.number { (known(holdings.messages().map(show::count), language.not_told_short())) }
                            td.number { (ago(&viewer, holdings.last_stored_ms(), now_ms)) }
                        }
                    }
                }
            }
        }
    };
    Ok(Page::new(Section::DeadLetters, language.dead_letters())
        .asked_at(catalog.asked_ms)
        .without(&catalog.silent)
        .still(head(html! { (language.dead_letters()) }, nothing(), nothing()))
        .live("dead-letters", table))
}

/// `GET /dead-letters/{group}`
pub async fn one(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path(group): Path<String>,
    Params(params): Params,
) -> Result<Page, PageError> {
    params.only(&["at"])?;
    let language = viewer.language;
    let at = match params.given("at") {
        None => None,
        Some(text) => Some(
            Cursor::parse(text).ok_or_else(|| PageError::BadRequest("`at` is no place to go on from".to_owned()))?,
        ),
    };
    let topic = format!("{DEAD_LETTER_PREFIX}{group}");
    let catalog = app.cluster.catalog().await;
    let title = fill(language.dead_letters_of(), &[&group]);
    let page = Page::new(Section::DeadLetters, &*title).without(&catalog.silent);
    let top = html! {
        (crumb(&viewer.links.to(&["dead-letters"]), language.dead_letters()))
        (head(html! { (title) }, html! { a href=(viewer.links.group(&group)) { (group) } }, nothing()))
    };
    if !catalog.topics.contains_key(&topic) {
        return Ok(page.still(html! { (top) (empty(language.no_dead_letters(), &[])) }));
    }
    let scanned = app.cluster.newest_messages(&topic, at.as_ref(), &Filter::default(), COUNT).await;
    let older = scanned
        .next
        .as_ref()
        .map(|cursor| viewer.links.with(&["dead-letters", &group], &[("at", &cursor.to_string())]));
    Ok(page.without(&scanned.silent).still(html! {
        (top)
        (refusals(&viewer, &scanned.refusals))
        @if scanned.messages.is_empty() {
            @if scanned.refusals.is_empty() && scanned.silent.is_empty() { (empty(language.no_dead_letters(), &[])) }
            @else { p.faint { (language.dead_letters_may_not_be_read()) } }
        } @else {
            p.faint { (fill(language.newest_shown(), &[&scanned.messages.len(), &show::count(scanned.held)])) }
            form method="post" action=(viewer.links.to(&["dead-letters", &group])) {
                (token(&viewer))
                (letters(&viewer, &topic, &scanned.messages))
                p.hint { (fill(language.redeliver_hint(), &[&group])) }
                div.buttons { (again(&viewer, "group", "primary", language.redeliver_selected())) (again(&viewer, "topic", "", language.republish_selected())) }
            }
            @if let Some(older) = older { div.pager { a.button href=(older) { (language.older()) } } }
        }
    }))
}

fn again(viewer: &Viewer, value: &str, class: &str, text: &str) -> Markup {
    html! {
        @if viewer.may(Role::Operator) { button.button.(class) type="submit" name="again" value=(value) { (text) } }
        @else { button.button.(class) type="submit" disabled title=(needs_role(viewer, Role::Operator)) { (text) } }
    }
}

fn letters(viewer: &Viewer, topic: &str, messages: &[StoredMessage]) -> Markup {
    let language = viewer.language;
    let shows_bodies = viewer.may(Role::Viewer);
    html! {
        div.wide {
            table {
                thead {
                    tr {
                        th { input type="checkbox" data-all="place" aria-label=(language.select_all()) hidden; }
                        th { (language.arrived()) } th { (language.message_id()) } th { (language.origin_topic()) } th { (language.tag()) } th { (language.keys()) }
                        th.number { (language.attempts()) } @if shows_bodies { th { (language.body()) } }
                    }
                }
                tbody {
                    @for message in messages {
                        @let received = &message.received;
                        @let place = Place { broker: received.broker.clone(), queue_id: received.queue_id, offset: received.offset as i64 };
                        tr {
                            td { input type="checkbox" name="place" value=(Cursor(vec![place])) aria-label=(received.message_id); }
                            td.nowrap { (time(received.store_timestamp_ms)) }
                            td.code { a href=(viewer.links.message(topic, &received.offset_message_id)) { (received.message_id) } }
                            td { @match origin_topic(message) { Some(origin) => { a href=(viewer.links.topic(origin)) { (origin) } }, None => (known(None::<&str>, language.not_told_short())) } }
                            td { (received.tag.as_deref().unwrap_or_default()) }
                            td { (received.keys.as_deref().unwrap_or_default()) }
                            td.number { (received.reconsume_times) }
                            @if shows_bodies { td.preview { (preview(&received.body)) } }
                        }
                    }
                }
            }
        }
    }
}

/// `POST /dead-letters/{group}`
pub async fn redeliver(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path(group): Path<String>,
    Submitted(form): Submitted,
) -> Result<Response, PageError> {
    form.only(&["form_token", "place", "again"])?;
    viewer.must(Role::Operator)?;
    let language = viewer.language;
    let again = match form.get("again") {
        "group" => Again::ToGroup,
        "topic" => Again::ToTopic,
        other => return Err(PageError::BadRequest(format!("`again` is `{other}`; known: group, topic"))),
    };
    let places: Option<Vec<Place>> = form.all("place").map(Place::parse).collect();
    let places = places.ok_or_else(|| PageError::BadRequest("`place` is no place of a message".to_owned()))?;
    let back = app.links.to(&["dead-letters", &group]);
    if places.is_empty() || COUNT < places.len() {
        let lines = vec![(false, fill(language.newest_shown(), &[&places.len(), &COUNT]))];
        return Ok(noticed(
            &app,
            &back,
            Notice { headline: language.none_selected().to_owned(), lines, ..Notice::default() },
        ));
    }
    let members = app.cluster.members(&group).await;
    if again == Again::ToGroup && members.consume_type == Some(ConsumeType::Pop) {
        return Err(PageError::BadRequest(fill(language.no_retry_topic(), &[&group])));
    }
    let outcomes = app.cluster.redeliver(&group, &places, again).await;
    let done = outcomes.iter().filter(|outcome| outcome.result.is_ok()).count();
    tracing::info!(user = viewer.user, group, done, again = ?again, "dead letters sent again from the console");
    let lines = outcomes.iter().map(|outcome| {
        let place = format!("{}:{} #{}", outcome.place.broker, outcome.place.queue_id, outcome.place.offset);
        match &outcome.result {
            Ok(id) => (true, fill(language.sent_again_as(), &[&place, id])),
            Err(why) => (false, fill(language.not_sent_again(), &[&place, why])),
        }
    });
    let headline = fill(language.redelivered(), &[&done, &outcomes.len()]);
    Ok(noticed(&app, &back, Notice { headline, lines: lines.collect(), ..Notice::default() }))
}
