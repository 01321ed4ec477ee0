//! `/cluster` and the page of one broker.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use client::clock;
use maud::{Markup, html};

use super::noticed;
use crate::app::{App, Notice};
use crate::auth::Role;
use crate::cluster::brokers::{Broker, BrokerAt, Brokers};
use crate::html::{
    Tone, ago, bar, card, chip, copyable, crumb, empty, head, known, needs_role, nothing, state, submit, token,
};
use crate::input::{Params, Submitted};
use crate::language::fill;
use crate::page::{Page, PageError, Section};
use crate::show;
use crate::viewer::Viewer;

/// `GET /cluster`
pub async fn list(State(app): State<Arc<App>>, viewer: Viewer, Params(params): Params) -> Result<Page, PageError> {
    params.only(&[])?;
    let language = viewer.language;
    let brokers = app.cluster.brokers().await;
    Ok(Page::new(Section::Cluster, language.cluster())
        .asked_at(brokers.asked_ms)
        .without(&brokers.silent)
        .still(head(html! { (language.cluster()) }, nothing(), nothing()))
        .live("brokers", html! { h2 { (language.brokers()) } (broker_table(&viewer, &brokers)) })
        .live("nameservers", html! { h2 { (language.nameservers()) } (nameserver_table(&viewer, &brokers)) }))
}

/// All brokers as rows.
pub fn broker_table(viewer: &Viewer, brokers: &Brokers) -> Markup {
    let language = viewer.language;
    if brokers.brokers.is_empty() {
        return html! { (empty(language.no_brokers_yet(), &[])) };
    }
    html! {
        div.wide {
            table {
                thead {
                    tr {
                        th { (language.broker()) } th { (language.state()) } th { (language.cluster()) } th { (language.address_told()) } th { (language.version()) }
                        th.number { (language.rate_in()) } th.number { (language.rate_out()) } th { (language.disk_used()) } th.number { (language.stored()) }
                        th.number { (language.oldest_message()) } th.number { (language.uptime()) }
                    }
                }
                tbody { @for broker in &brokers.brokers { (broker_row(viewer, broker)) } }
            }
        }
    }
}

fn broker_row(viewer: &Viewer, broker: &Broker) -> Markup {
    let language = viewer.language;
    let now_ms = clock::now_ms();
    let at = &broker.at;
    let runtime = broker.runtime.as_ref().ok();
    let reason =
        broker.runtime.as_ref().err().map_or_else(|| language.not_told_short().to_owned(), ToString::to_string);
    let role = if at.is_master() { language.master().to_owned() } else { fill(language.slave(), &[&at.id]) };
    let disk = runtime.and_then(|runtime| runtime.disk_used());
    let tone = |used: f64| {
        if used < 0.75 {
            Tone::Plain
        } else if used < 0.85 {
            Tone::Warning
        } else {
            Tone::Bad
        }
    };
    html! {
        tr {
            td.name { a href=(viewer.links.broker(&at.name, at.id)) { (at.name) } " " span.faint { (role) } }
            td { @if runtime.is_some() { (state(Tone::Good, language.answers())) } @else { span title=(reason) { (state(Tone::Bad, language.silent())) } } }
            td { (at.cluster) }
            td { (at.address) }
            td { (known(runtime.and_then(|runtime| runtime.version()), &reason)) @if runtime.is_some_and(|runtime| runtime.is_apogee()) { " " (chip("Apogee")) } }
            td.number { (known(runtime.and_then(|runtime| runtime.in_per_second()).map(show::rate), &reason)) }
            td.number { (known(runtime.and_then(|runtime| runtime.out_per_second()).map(show::rate), &reason)) }
            td.disk { @match disk { Some(used) => { (show::percent(used)) (bar(used, tone(used))) }, None => (known(None::<&str>, &reason)) } }
            td.number { (known(runtime.and_then(|runtime| runtime.stored_bytes()).map(show::bytes), &reason)) }
            td.number { @match runtime { Some(runtime) => (ago(viewer, runtime.earliest_message_ms(), now_ms)), None => (known(None::<&str>, &reason)) } }
            td.number { (known(runtime.and_then(|runtime| runtime.started_ms()).map(|started_ms| show::duration(now_ms - started_ms)), &reason)) }
        }
    }
}

fn nameserver_table(viewer: &Viewer, brokers: &Brokers) -> Markup {
    let language = viewer.language;
    html! {
        table {
            thead { tr { th { (language.address()) } th { (language.state()) } th { (language.brokers_known()) } } }
            tbody {
                @for view in &brokers.nameservers {
                    tr {
                        td { (view.address) }
                        @match &view.brokers {
                            Ok(known_brokers) => {
                                @let missing = brokers.missing_at(view);
                                td { (state(Tone::Good, language.answers())) }
                                td {
                                    (known_brokers.len()) " "
                                    @if missing.is_empty() { span.faint { (language.nameservers_agree()) } }
                                    @else { @let names: Vec<String> = missing.iter().map(ToString::to_string).collect(); (state(Tone::Warning, &fill(language.nameserver_lacks(), &[&names.join(", ")]))) }
                                }
                            }
                            Err(why) => { td { (state(Tone::Bad, language.silent())) } td { (known(None::<&str>, &why.to_string())) " " span.faint { (why) } } }
                        }
                    }
                }
            }
        }
    }
}

/// The broker of that name and id; an error says that no nameserver knows it.
pub fn broker_of<'b>(viewer: &Viewer, brokers: &'b Brokers, name: &str, id: i64) -> Result<&'b Broker, PageError> {
    let found = brokers.brokers.iter().find(|broker| broker.at.name == name && broker.at.id == id);
    found.ok_or_else(|| PageError::NotFound(fill(viewer.language.no_such_broker(), &[&name, &id])))
}

/// `GET /brokers/{name}/{id}`
pub async fn one(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path((name, id)): Path<(String, i64)>,
    Params(params): Params,
) -> Result<Page, PageError> {
    params.only(&["q"])?;
    let language = viewer.language;
    let brokers = app.cluster.brokers().await;
    let broker = broker_of(&viewer, &brokers, &name, id)?;
    let settings = app.cluster.broker_settings(&broker.at).await;
    let wanted = params.get("q").to_lowercase();
    let fits = |key: &str, value: &str| {
        wanted.is_empty() || key.to_lowercase().contains(&wanted) || value.to_lowercase().contains(&wanted)
    };
    let page = Page::new(Section::Cluster, broker.at.to_string()).asked_at(brokers.asked_ms).without(&brokers.silent);
    Ok(page
        .still(html! {
            (crumb(&viewer.links.to(&["cluster"]), language.cluster()))
            (head(html! { (broker.at) }, html! { (broker.at.cluster) " · " (broker.at.address) }, nothing()))
        })
        .live("cards", broker_cards(&viewer, broker))
        .still(html! {
            form.filter method="get" action=(viewer.links.broker(&name, id)) data-filter {
                input type="search" name="q" value=(params.get("q")) placeholder=(language.filter_values()) aria-label=(language.filter_values()) maxlength="255";
            }
        })
        .live(
            "runtime",
            html! {
                h2 { (language.runtime_values()) }
                @match &broker.runtime {
                    Ok(runtime) => div.wide { table.pairs { tbody { @for (key, value) in runtime.0.iter().filter(|(key, value)| fits(key, value)) { tr { th scope="row" { (key) } td.code { (value) } } } } } },
                    Err(why) => p.field-error { (why) },
                }
            },
        )
        .still(html! {
            h2 #settings { (language.broker_settings()) }
            @match &settings {
                Ok(settings) => div.wide {
                    table.pairs {
                        tbody {
                            @for (key, value) in settings.iter().filter(|(key, value)| fits(key, value)) {
                                tr { th scope="row" { (key) } td.code { (value) } td.number { (edit_link(&viewer, &broker.at, key)) } }
                            }
                        }
                    }
                },
                Err(why) => p.field-error { (fill(language.settings_not_told(), &[why])) },
            }
        }))
}

fn edit_link(viewer: &Viewer, at: &BrokerAt, key: &str) -> Markup {
    let language = viewer.language;
    html! {
        @if viewer.may(Role::Admin) { a href=(viewer.links.to(&["brokers", &at.name, &at.id.to_string(), "settings", key])) { (language.edit()) } }
        @else { span.faint title=(needs_role(viewer, Role::Admin)) { (language.edit()) } }
    }
}

fn broker_cards(viewer: &Viewer, broker: &Broker) -> Markup {
    let language = viewer.language;
    let now_ms = clock::now_ms();
    let runtime = broker.runtime.as_ref().ok();
    let reason =
        broker.runtime.as_ref().err().map_or_else(|| language.not_told_short().to_owned(), ToString::to_string);
    let rate = |rate: Option<f64>| known(rate.map(|rate| fill(language.per_second(), &[&show::rate(rate)])), &reason);
    let total = |total: Option<i64>| html! { @if let Some(total) = total { (fill(language.in_since_start(), &[&show::count(total)])) } };
    html! {
        div.cards {
            (card(language.messages_in(), rate(runtime.and_then(|runtime| runtime.in_per_second())), total(runtime.and_then(|runtime| runtime.messages_in()))))
            (card(language.messages_out(), rate(runtime.and_then(|runtime| runtime.out_per_second())), total(runtime.and_then(|runtime| runtime.messages_out()))))
            (card(language.stored(), known(runtime.and_then(|runtime| runtime.stored_bytes()).map(show::bytes), &reason), nothing()))
            (card(language.disk_used(), known(runtime.and_then(|runtime| runtime.disk_used()).map(show::percent), &reason), nothing()))
            (card(
                language.uptime(),
                known(runtime.and_then(|runtime| runtime.started_ms()).map(|started_ms| show::duration(now_ms - started_ms)), &reason),
                html! { (known(runtime.and_then(|runtime| runtime.version()), &reason)) },
            ))
        }
    }
}

/// `GET /brokers/{name}/{id}/settings/{key}`
pub async fn edit(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path((name, id, key)): Path<(String, i64, String)>,
    Params(params): Params,
) -> Result<Page, PageError> {
    params.only(&[])?;
    viewer.must(Role::Admin)?;
    let language = viewer.language;
    let brokers = app.cluster.brokers().await;
    let broker = broker_of(&viewer, &brokers, &name, id)?;
    let settings = app.cluster.broker_settings(&broker.at).await.map_err(|why| PageError::Upstream(why.to_string()))?;
    let value = settings.get(&key).ok_or_else(|| PageError::NotFound(key.clone()))?;
    let title = fill(language.edit_setting(), &[&key, &broker.at]);
    let id = id.to_string();
    Ok(Page::new(Section::Cluster, &*title).still(html! {
        (crumb(&viewer.links.to(&["brokers", &name, &id]), &name))
        (head(html! { (title) }, nothing(), nothing()))
        form.form method="post" action=(viewer.links.to(&["brokers", &name, &id, "settings", &key])) {
            (token(&viewer))
            label { (key) input name="value" value=(value) autofocus autocomplete="off" maxlength="4096"; span.hint { (language.edit_setting_text()) } }
            div.buttons { (submit(&viewer, Role::Admin, "primary", language.save())) a.button href=(viewer.links.to(&["brokers", &name, &id])) { (language.cancel()) } }
        }
        (copyable(&update_command(&broker.at, &key, value)))
    }))
}

/// The same by command.
fn update_command(at: &BrokerAt, key: &str, value: &str) -> String {
    let [address, key, value] = [&at.address, key, value].map(show::shell_word);
    format!("apogee mqadmin updateBrokerConfig -b {address} -k {key} -v {value}")
}

/// Refuses what cannot be the name of a setting.
pub fn check_key(key: &str) -> Result<(), PageError> {
    if !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&c)) {
        return Ok(());
    }
    Err(PageError::BadRequest(format!("`{key}` is no name of a setting")))
}

/// `POST /brokers/{name}/{id}/settings/{key}`
pub async fn change(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path((name, id, key)): Path<(String, i64, String)>,
    Submitted(form): Submitted,
) -> Result<Response, PageError> {
    form.only(&["form_token", "value"])?;
    viewer.must(Role::Admin)?;
    check_key(&key)?;
    let language = viewer.language;
    let brokers = app.cluster.brokers().await;
    let broker = broker_of(&viewer, &brokers, &name, id)?;
    let value = form.get("value");
    if let Ok(settings) = app.cluster.broker_settings(&broker.at).await {
        viewer.deed.before(serde_json::json!({ "value": settings.get(&key) }));
    }
    let outcome = app.cluster.set_broker_setting(&broker.at, &key, value).await;
    tracing::info!(user = viewer.user, broker = %broker.at, key, value, done = outcome.result.is_ok(), "setting changed from the console");
    let headline = match outcome.result {
        Ok(()) => fill(language.setting_changed(), &[&key, &value]),
        Err(_) => fill(language.setting_refused(), &[&key]),
    };
    let to = app.links.broker(&name, id);
    Ok(noticed(&app, &to, Notice { headline, outcomes: vec![outcome], ..Notice::default() }))
}
