//! `/topics/{topic}/tail`: messages as they come. Without script the page is a list with a refresh.

use std::sync::Arc;

use axum::extract::{Path, State};
use client::admin::StoredMessage;
use maud::{Markup, html};

use crate::app::App;
use crate::auth::Role;
use crate::cluster::messages::Scanned;
use crate::cluster::messages::tail::{Wanted, look_of};
use crate::cluster::topics::TopicHoldings;
use crate::cluster::{Cluster, TAIL_STEP};
use crate::html::{Tone, crumb, empty, head, refusals, state};
use crate::input::{Params, Values};
use crate::language::fill;
use crate::page::{Page, PageError, Section};
use crate::pages::messages::message_table;
use crate::pages::topics::topic_of;
use crate::show;
use crate::viewer::Viewer;

const PARAMETERS: [&str; 4] = ["tag", "key", "text", "paused"];

/// Messages that are shown at most.
const ROWS: usize = 50;

/// `GET /topics/{topic}/tail`
pub async fn page(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path(topic): Path<String>,
    Params(params): Params,
) -> Result<Page, PageError> {
    params.only(&PARAMETERS)?;
    let language = viewer.language;
    let is_paused = match params.given("paused") {
        None => false,
        Some("yes") => true,
        Some(other) => return Err(PageError::BadRequest(format!("`paused` is `{other}`; known: yes"))),
    };
    let own = |name: &str| params.given(name).map(str::to_owned);
    let wanted = Wanted { tag: own("tag"), key: own("key"), text: own("text") };
    // To look into bodies is to see them.
    if wanted.text.is_some() {
        viewer.must(Role::Viewer)?;
    }
    let cluster: &Cluster = &app.cluster;
    let catalog = cluster.catalog().await;
    topic_of(&viewer, &catalog, &topic)?;
    let (holdings, seen) = tokio::join!(cluster.holdings(&topic), cluster.tail(&topic));
    let about = fill(language.watch_about(), &[&TAIL_STEP.as_secs()]);
    let page = Page::new(Section::Topics, format!("{topic} · {}", language.watch()))
        .asked_at(holdings.asked_ms)
        .without(&catalog.silent)
        .without(&seen.silent)
        .still(html! {
            (crumb(&viewer.links.topic(&topic), &topic))
            (head(html! { (language.watch()) }, html! { (about) }, actions(&viewer, &topic, &params, is_paused)))
            (filter_form(&viewer, &topic, &params, is_paused))
            @if is_paused { p { (state(Tone::Warning, language.tail_paused())) } }
        });
    let rows = rows(&viewer, &topic, &wanted, &holdings, &seen);
    Ok(if is_paused { page.still(rows) } else { page.live("tail", rows) })
}

/// The address of this page with its filter, paused or not.
fn address(viewer: &Viewer, topic: &str, params: &Values, is_paused: bool) -> String {
    let mut query: Vec<(&str, &str)> = PARAMETERS[..3].iter().map(|name| (*name, params.get(name))).collect();
    query.push(("paused", if is_paused { "yes" } else { "" }));
    viewer.links.with(&["topics", topic, "tail"], &query)
}

fn actions(viewer: &Viewer, topic: &str, params: &Values, is_paused: bool) -> Markup {
    let language = viewer.language;
    html! {
        a.button href=(address(viewer, topic, params, is_paused)) { (language.refresh()) }
        a.button.primary href=(address(viewer, topic, params, !is_paused)) { (if is_paused { language.resume() } else { language.pause() }) }
    }
}

fn filter_form(viewer: &Viewer, topic: &str, params: &Values, is_paused: bool) -> Markup {
    let language = viewer.language;
    let to = viewer.links.to(&["topics", topic, "tail"]);
    let is_filtered = PARAMETERS[..3].iter().any(|name| params.given(name).is_some());
    html! {
        form.search method="get" action=(to) {
            label { (language.tag()) input name="tag" value=(params.get("tag")) maxlength="255" autocomplete="off"; }
            label { (language.tail_key()) input name="key" value=(params.get("key")) maxlength="255" autocomplete="off"; }
            @if viewer.may(Role::Viewer) {
                label { (language.tail_text()) input name="text" value=(params.get("text")) maxlength="255" autocomplete="off"; }
            }
            @if is_paused { input type="hidden" name="paused" value="yes"; }
            button.button type="submit" { (language.tail_filter()) }
            @if is_filtered { a.button href=(to) { (language.tail_all()) } }
        }
    }
}

fn rows(viewer: &Viewer, topic: &str, wanted: &Wanted, holdings: &TopicHoldings, seen: &Scanned) -> Markup {
    let language = viewer.language;
    let passing: Vec<StoredMessage> =
        seen.messages.iter().filter(|message| wanted.passes(message)).take(ROWS).cloned().collect();
    let looked = show::count(seen.messages.len() as i64);
    let is_known = seen.silent.is_empty() && seen.refusals.is_empty();
    html! {
        (refusals(viewer, &seen.refusals))
        @if seen.messages.is_empty() {
            @if is_known { (empty(language.topic_is_empty(), &[&format!("apogee send {} 'hello'", show::shell_word(topic))])) }
        } @else {
            p.faint { (fill(language.tail_shown(), &[&show::count(passing.len() as i64), &looked, &show::count(seen.held)])) " " (skipped(viewer, wanted, holdings)) }
            @if passing.is_empty() { (empty(&fill(language.tail_none(), &[&looked]), &[])) }
            @else { (message_table(viewer, topic, &passing)) }
        }
    }
}

/// What passes unseen at the rate at which messages come in now.
fn skipped(viewer: &Viewer, wanted: &Wanted, holdings: &TopicHoldings) -> Markup {
    let language = viewer.language;
    let look = look_of(holdings.queues.len()).min(if *wanted == Wanted::default() { ROWS } else { usize::MAX });
    let seen_per_second = look as f64 / TAIL_STEP.as_secs_f64();
    match holdings.in_per_second {
        Some(rate) if seen_per_second < rate => state(
            Tone::Warning,
            &fill(language.tail_skips(), &[&show::rate(rate - seen_per_second), &show::rate(rate), &look]),
        ),
        _ => html! { (fill(language.tail_keeps_up(), &[&look])) },
    }
}
