//! `/activity`: what was changed, by whom, and what came of it.

use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};

use super::places;
use crate::activity::{self, Came, Entry, Wanted};
use crate::app::App;
use crate::auth::Role;
use crate::cluster::place::Place;
use crate::html::{Tone, empty, head, nothing, state, time};
use crate::input::{Params, Values};
use crate::language::{Language, fill};
use crate::page::{Page, PageError, Section};
use crate::viewer::Viewer;
use crate::when;

/// Entries of one page.
const ROWS: usize = 100;

/// Entries that parameters ask for, for the page and the API alike.
pub fn wanted(params: &Values, language: Language) -> Result<Wanted, PageError> {
    let time = |name: &str| {
        let Some(text) = params.given(name) else { return Ok(None) };
        let bad = || PageError::BadRequest(fill(language.bad_time(), &[&text, &language.time_hint()]));
        when::parse(text).map(Some).ok_or_else(bad)
    };
    let result = match params.given("result") {
        None => None,
        Some(name) => Some(
            Came::of_name(name)
                .ok_or_else(|| PageError::BadRequest(format!("`result` is `{name}`; known: done, partly, failed")))?,
        ),
    };
    Ok(Wanted {
        user: params.get("user").to_owned(),
        action: params.get("action").to_owned(),
        text: params.get("q").to_owned(),
        result,
        from_ms: time("from")?,
        to_ms: time("to")?,
        before: params.number("cursor")?,
    })
}

/// The newest entries that are wanted, and the number to go on from where there are more. Reads files, on a thread
/// where nobody waits for it.
pub async fn find(app: &App, wanted: Wanted, most: usize) -> Result<(Vec<Entry>, Option<u64>), PageError> {
    let folder = app.activity().folder().to_owned();
    let reading = tokio::task::spawn_blocking(move || activity::newest(&folder, &wanted, most + 1));
    let read = reading.await.map_err(|_| PageError::Failed("the console is stopping".to_owned()))?;
    let mut entries = read.map_err(|error| PageError::Failed(error.to_string()))?;
    let has_more = most < entries.len();
    entries.truncate(most);
    let next = entries.last().filter(|_| has_more).map(|entry| entry.number);
    Ok((entries, next))
}

/// `GET /activity`
pub async fn list(State(app): State<Arc<App>>, viewer: Viewer, Params(params): Params) -> Result<Page, PageError> {
    params.only(&["user", "action", "q", "result", "from", "to", "cursor"])?;
    viewer.must(Role::Admin)?;
    let language = viewer.language;
    let asked = wanted(&params, language)?;
    let is_narrowed = asked != Wanted::default();
    let (entries, next) = find(&app, asked, ROWS).await?;
    let older = next.map(|next| {
        let kept = ["user", "action", "q", "result", "from", "to"].map(|name| (name, params.get(name)));
        let next = next.to_string();
        let mut query = kept.to_vec();
        query.push(("cursor", &next));
        viewer.links.with(&["activity"], &query)
    });
    Ok(Page::new(Section::Activity, language.activity()).still(html! {
        (head(html! { (language.activity()) }, html! { (language.activity_about()) }, nothing()))
        (filter(&viewer, &params))
        @if entries.is_empty() {
            (empty(if is_narrowed { language.no_activity_found() } else { language.no_activity() }, &[]))
        } @else {
            (table(&viewer, &entries))
            @if let Some(older) = older { div.pager { a.button href=(older) { (language.older()) } } }
        }
    }))
}

fn filter(viewer: &Viewer, params: &Values) -> Markup {
    let language = viewer.language;
    html! {
        form.filter method="get" action=(viewer.links.to(&["activity"])) {
            input name="user" value=(params.get("user")) placeholder=(language.user()) aria-label=(language.user()) maxlength="64";
            input name="action" value=(params.get("action")) placeholder=(language.action_begins_with()) aria-label=(language.action_begins_with()) maxlength="64";
            input type="search" name="q" value=(params.get("q")) placeholder=(language.path_has()) aria-label=(language.path_has()) maxlength="255";
            select name="result" aria-label=(language.result()) {
                option value="" { (language.any_result()) }
                @for came in Came::ALL { option value=(came.name()) selected[came.name() == params.get("result")] { (came_text(language, came)) } }
            }
            button.button type="submit" { (language.filter()) }
        }
    }
}

fn came_text(language: Language, came: Came) -> &'static str {
    match came {
        Came::Done => language.came_done(),
        Came::Partly => language.came_partly(),
        Came::Failed => language.came_failed(),
    }
}

fn table(viewer: &Viewer, entries: &[Entry]) -> Markup {
    let language = viewer.language;
    html! {
        div.wide {
            table {
                thead { tr { th { (language.when()) } th { (language.who()) } th { (language.address()) } th { (language.what()) } th { (language.result()) } th { (language.before_and_after()) } } }
                tbody {
                    @for entry in entries {
                        tr #{ "a" (entry.number) } {
                            td.nowrap { (time(entry.at_ms)) }
                            td { @match &entry.user { Some(user) => { a href=(viewer.links.with(&["activity"], &[("user", user)])) { (user) } }, None => { span.faint { (language.nobody()) } } } @if let Some(token) = &entry.token { " " span.faint.code { "apg_" (token) "_…" } } }
                            td { (entry.address) }
                            td { b { (entry.action) } br; span.code { (entry.path) } }
                            td { (came(language, entry)) @if let Some(way) = way_back(viewer, entry) { div { a href=(way) { (language.undo()) } } } }
                            td { (values(language, entry)) }
                        }
                    }
                }
            }
        }
    }
}

/// Where a reset of a group can be taken back.
fn way_back(viewer: &Viewer, entry: &Entry) -> Option<String> {
    if entry.action != "group.reset" || entry.result == Came::Failed {
        return None;
    }
    // As it is in addresses.
    let group = entry.path.split('/').skip_while(|segment| *segment != "groups").nth(1)?;
    let topic = entry.after.as_ref()?["topic"].as_str()?;
    let before = entry.before.as_ref()?.as_array()?.iter().filter_map(|place| {
        let queue_id = i32::try_from(place["queue"].as_i64()?).ok()?;
        Some(Place { broker: place["broker"].as_str()?.to_owned(), queue_id, offset: place["offset"].as_i64()? })
    });
    places::way_back(format!("{}/groups/{group}/reset", viewer.links.base()), topic, &before.collect::<Vec<_>>())
}

fn came(language: Language, entry: &Entry) -> Markup {
    let tone = match entry.result {
        Came::Done => Tone::Good,
        Came::Partly => Tone::Warning,
        Came::Failed => Tone::Bad,
    };
    html! {
        (state(tone, came_text(language, entry.result)))
        @if let Some(detail) = &entry.detail { div.faint { (detail) } }
        @for node in &entry.nodes { @if let Some(error) = &node.error { div { b { (node.node) } ": " (error) } } }
    }
}

fn values(language: Language, entry: &Entry) -> Markup {
    html! {
        @if entry.before.is_some() || entry.after.is_some() {
            details {
                summary { (language.before_and_after()) }
                @if let Some(before) = &entry.before { div { (language.before()) ": " code { (before) } } }
                @if let Some(after) = &entry.after { div { (language.after()) ": " code { (after) } } }
            }
        }
    }
}
