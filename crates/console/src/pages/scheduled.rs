//! `/scheduled`: messages that wait for their time, and taking one back.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use protocol::recall_handle::RecallHandle;

use super::noticed;
use crate::app::{App, Notice};
use crate::auth::Role;
use crate::cluster::scheduled::Scheduled;
use crate::html::{empty, head, nothing, refusals, submit, time, token};
use crate::input::{Params, Submitted};
use crate::language::fill;
use crate::page::{Page, PageError, Section};
use crate::show;
use crate::viewer::Viewer;

/// Longest handle in a field, in characters.
const HANDLE_MAX: usize = 4096;

/// `GET /scheduled`
pub async fn page(State(app): State<Arc<App>>, viewer: Viewer, Params(params): Params) -> Result<Page, PageError> {
    params.only(&["handle"])?;
    let language = viewer.language;
    let scheduled = app.cluster.scheduled().await;
    let handle = match params.given("handle") {
        Some(text) => Some((text, parse(&viewer, text)?)),
        None => None,
    };
    Ok(Page::new(Section::Scheduled, language.scheduled())
        .asked_at(scheduled.asked_ms)
        .without(&scheduled.silent)
        .still(head(html! { (language.scheduled()) }, html! { (language.scheduled_about()) }, nothing()))
        .live("scheduled", html! { (refusals(&viewer, &scheduled.refusals)) (table(&viewer, &scheduled)) })
        .still(recall_form(&viewer, handle.as_ref())))
}

fn parse(viewer: &Viewer, text: &str) -> Result<RecallHandle<'static>, PageError> {
    RecallHandle::parse(text).map_err(|error| PageError::BadRequest(fill(viewer.language.bad_handle(), &[&error])))
}

fn table(viewer: &Viewer, scheduled: &Scheduled) -> Markup {
    let language = viewer.language;
    if scheduled.topics.is_empty() {
        // Brokers that refused are named above.
        return if scheduled.refusals.is_empty() { empty(language.none_scheduled(), &[]) } else { nothing() };
    }
    let all: i64 = scheduled.topics.values().flat_map(|brokers| brokers.values()).sum();
    html! {
        div.wide {
            table {
                thead { tr { th { (language.topic()) } th { (language.brokers()) } th.number { (language.waits()) } } }
                tbody {
                    @for (topic, brokers) in &scheduled.topics {
                        tr {
                            td { a href=(viewer.links.topic(topic)) { (topic) } }
                            td { @for (at, (broker, count)) in brokers.iter().enumerate() { @if 0 < at { ", " } (broker) " " span.faint { (show::count(*count)) } } }
                            td.number { (show::count(brokers.values().sum())) }
                        }
                    }
                }
                tfoot { tr { th colspan="2" { (language.in_all()) } td.number { (show::count(all)) } } }
            }
        }
    }
}

fn recall_form(viewer: &Viewer, handle: Option<&(&str, RecallHandle<'_>)>) -> Markup {
    let language = viewer.language;
    html! {
        h2 #recall { (language.take_back()) }
        form.form method="post" action=(viewer.links.to(&["scheduled", "recall"])) {
            (token(viewer))
            label {
                (language.recall_handle())
                input name="handle" required value=(handle.map_or("", |(text, _)| text)) maxlength=(HANDLE_MAX) spellcheck="false";
                span.hint { (language.take_back_about()) }
            }
            @if let Some((_, known)) = handle {
                p { (language.topic()) " " b { (known.topic) } " · " (known.broker) " · " span.code { (known.unique_id) } " · " (language.due_at()) " " (time(known.due_ms)) }
            }
            div.buttons { (submit(viewer, Role::Operator, "danger", language.take_back())) }
        }
    }
}

/// `POST /scheduled/recall`
pub async fn recall(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Submitted(form): Submitted,
) -> Result<Response, PageError> {
    form.only(&["form_token", "handle"])?;
    viewer.must(Role::Operator)?;
    let language = viewer.language;
    let text = form.get("handle").trim();
    let handle = parse(&viewer, text)?;
    let outcome = app.cluster.recall(&handle, text).await;
    tracing::info!(user = viewer.user, topic = %handle.topic, id = %handle.unique_id, "message taken back from the console");
    let headline = if outcome.result.is_ok() { language.recalled() } else { language.not_recalled() };
    let notice = Notice {
        headline: fill(headline, &[&handle.unique_id, &handle.topic]),
        outcomes: vec![outcome],
        ..Notice::default()
    };
    Ok(noticed(&app, &app.links.to(&["scheduled"]), notice))
}
