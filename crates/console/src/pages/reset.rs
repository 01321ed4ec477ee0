//! Moving a group: first what it would do, queue by queue, then doing it.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::groups::group_of;
use super::{noticed, places};
use crate::api::write;
use crate::app::{App, Notice};
use crate::auth::Role;
use crate::cluster::changes::{PlannedMove, ResetPlan, Target};
use crate::cluster::place::{self, Place};
use crate::html::{crumb, head, known, nothing, outcomes, submit, token};
use crate::input::{Params, Submitted, Values};
use crate::language::{Language, fill};
use crate::page::{Page, PageError, Section};
use crate::show;
use crate::viewer::Viewer;
use crate::when;

/// What was asked for.
struct Wish {
    topic: String,
    target: Target,
}

fn wish(values: &Values, language: Language) -> Result<Option<Wish>, PageError> {
    let Some(topic) = values.given("topic") else { return Ok(None) };
    let target = match values.get("to") {
        "earliest" => Target::Earliest,
        "latest" => Target::Latest,
        "time" => {
            let text = values.get("time");
            let time_ms = when::parse(text).filter(|time_ms| 0 < *time_ms);
            Target::Time(
                time_ms
                    .ok_or_else(|| PageError::BadRequest(fill(language.bad_time(), &[&text, &language.time_hint()])))?,
            )
        }
        "places" => Target::Places(places::parse(values.get("places")).map_err(PageError::BadRequest)?),
        "" => return Ok(None),
        other => {
            return Err(PageError::BadRequest(format!("`to` is `{other}`; known: earliest, latest, time, places")));
        }
    };
    Ok(Some(Wish { topic: topic.to_owned(), target }))
}

/// `GET /groups/{group}/reset`
pub async fn preview(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path(name): Path<String>,
    Params(params): Params,
) -> Result<Page, PageError> {
    params.only(&["topic", "to", "time", "places"])?;
    viewer.must(Role::Operator)?;
    let plan = match wish(&params, viewer.language)? {
        Some(wish) => Some((app.cluster.plan_reset(&name, &wish.topic, &wish.target).await, wish)),
        None => None,
    };
    reset_page(&app, &viewer, &name, &params, plan.as_ref(), false).await
}

async fn reset_page(
    app: &App,
    viewer: &Viewer,
    name: &str,
    asked: &Values,
    plan: Option<&(ResetPlan, Wish)>,
    is_old: bool,
) -> Result<Page, PageError> {
    let language = viewer.language;
    let (catalog, progress, members) =
        tokio::join!(app.cluster.catalog(), app.cluster.progress(name), app.cluster.members(name));
    group_of(viewer, &catalog, name)?;
    let mut topics: Vec<&str> = progress.topics();
    topics.extend(members.subscriptions.keys().map(String::as_str));
    topics.retain(|topic| !topic.starts_with('%'));
    topics.sort_unstable();
    topics.dedup();
    let title = fill(language.reset_group(), &[&name]);
    let to = asked.given("to").unwrap_or("time");
    Ok(Page::new(Section::Groups, &*title).without(&catalog.silent).without(&progress.silent).still(html! {
        (crumb(&viewer.links.group(name), name))
        (head(html! { (title) }, nothing(), nothing()))
        form.form method="get" action=(viewer.links.to(&["groups", name, "reset"])) {
            label {
                (language.topic())
                @if topics.is_empty() { input name="topic" required value=(asked.get("topic")) maxlength="255"; span.hint { (language.no_topics_to_reset()) } }
                @else { select name="topic" { @for topic in &topics { option value=(topic) selected[*topic == asked.get("topic")] { (topic) } } } }
            }
            fieldset {
                legend { (language.reset_target()) }
                label.check { input type="radio" name="to" value="earliest" checked[to == "earliest"]; (language.to_earliest()) }
                label.check { input type="radio" name="to" value="latest" checked[to == "latest"]; (language.to_latest()) }
                label.check { input type="radio" name="to" value="time" checked[to == "time"]; (language.to_time()) input name="time" value=(asked.get("time")) data-time aria-label=(language.to_time()) maxlength="40"; }
                span.hint { (language.time_hint()) }
                label.check { input type="radio" name="to" value="places" checked[to == "places"]; (language.to_places()) input name="places" value=(asked.get("places")) aria-label=(language.to_places()) maxlength=(places::BYTES_MAX) placeholder="broker-a.0.1200~broker-a.1.987"; }
            }
            div.buttons { button.button type="submit" { (language.preview()) } a.button href=(viewer.links.group(name)) { (language.cancel()) } }
        }
        @if let Some((plan, wish)) = plan { (preview_of(viewer, name, asked, plan, wish, is_old)) }
    }))
}

fn preview_of(viewer: &Viewer, name: &str, asked: &Values, plan: &ResetPlan, wish: &Wish, is_old: bool) -> Markup {
    let language = viewer.language;
    html! {
        h2 { (language.preview()) }
        @if is_old { div.notice.warning { p { (language.plan_is_old()) } } }
        @if !plan.troubles.is_empty() { div.notice.bad { (outcomes(viewer, &plan.troubles)) } }
        div.wide {
            table {
                thead {
                    tr {
                        th { (language.broker()) } th.number { (language.queue()) } th.number { (language.old_offset()) } th.number { (language.new_offset()) } th { "" }
                    }
                }
                tbody {
                    @for planned in &plan.moves {
                        tr {
                            td { (planned.broker) }
                            td.number { (planned.queue_id) }
                            td.number { (known(planned.old, language.no_offset_yet())) }
                            td.number { (planned.new) }
                            td { (distance(language, planned)) }
                        }
                    }
                }
            }
        }
        p { (if plan.is_online { language.online_reset() } else { language.offline_reset() }) }
        form method="post" action=(viewer.links.to(&["groups", name, "reset"])) {
            (token(viewer))
            input type="hidden" name="topic" value=(wish.topic);
            input type="hidden" name="to" value=(asked.get("to"));
            input type="hidden" name="time" value=(asked.get("time"));
            input type="hidden" name="places" value=(asked.get("places"));
            input type="hidden" name="plan" value=(mark(plan));
            @if plan.changes() { (submit(viewer, Role::Operator, "danger", language.reset_offsets())) }
            @else { button.button type="submit" disabled title=(language.nothing_changes()) { (language.reset_offsets()) } " " span.faint { (language.nothing_changes()) } }
        }
    }
}

fn distance(language: Language, planned: &PlannedMove) -> String {
    match planned.distance() {
        None => language.no_offset_yet().to_owned(),
        Some(0) => language.unchanged().to_owned(),
        Some(back) if back < 0 => fill(language.messages_again(), &[&show::count(-back)]),
        Some(forth) => fill(language.messages_skipped(), &[&show::count(forth)]),
    }
}

/// What the plan would set: whoever confirms confirms exactly this. Where a group stands now is not part of it, as a
/// live group moves all the time.
fn mark(plan: &ResetPlan) -> String {
    place::joined(&plan.moves.iter().map(|planned| planned.place(planned.new)).collect::<Vec<_>>())
}

/// `POST /groups/{group}/reset`
pub async fn apply(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path(name): Path<String>,
    Submitted(form): Submitted,
) -> Result<Response, PageError> {
    form.only(&["form_token", "topic", "to", "time", "places", "plan"])?;
    viewer.must(Role::Operator)?;
    let language = viewer.language;
    let Some(wish) = wish(&form, language)? else {
        return Err(PageError::BadRequest("`topic` and `to` are needed".to_owned()));
    };
    let catalog = app.cluster.catalog().await;
    group_of(&viewer, &catalog, &name)?;
    let plan = app.cluster.plan_reset(&name, &wish.topic, &wish.target).await;
    // The end of a queue moves with every message; to go there is what was confirmed.
    if wish.target != Target::Latest && form.raw("plan") != mark(&plan) {
        return Ok(reset_page(&app, &viewer, &name, &form, Some(&(plan, wish)), true).await?.into_response());
    }
    viewer.deed.before(write::offsets_before(&plan));
    let outcomes = app.cluster.reset(&name, &wish.topic, &wish.target, &plan).await;
    tracing::info!(user = viewer.user, group = name, topic = wish.topic, target = ?wish.target, "group moved from the console");
    let before: Vec<Place> = plan.moves.iter().filter_map(|planned| Some(planned.place(planned.old?))).collect();
    let way = places::way_back(app.links.to(&["groups", &name, "reset"]), &wish.topic, &before);
    let is_done = outcomes.iter().all(|outcome| outcome.result.is_ok());
    let text = if is_done { language.reset_done() } else { language.reset_failed() };
    Ok(noticed(
        &app,
        &app.links.group(&name),
        Notice {
            headline: fill(text, &[&name, &wish.topic]),
            outcomes,
            undo: way.map(|way| (language.undo(), way)),
            ..Notice::default()
        },
    ))
}
