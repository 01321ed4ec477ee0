//! `/`: whether all is well, and where to look if not.

use std::cmp::Reverse;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use client::clock;
use maud::{Markup, html};

use crate::app::App;
use crate::cluster::brokers::{Brokers, Runtime};
use crate::cluster::catalog::{Catalog, TopicKind};
use crate::cluster::consumption::{Consumption, Progress};
use crate::cluster::series::Figure;
use crate::cluster::topics::TopicHoldings;
use crate::html::chart::{Line, chart, spark};
use crate::html::{Tone, ago, bar, card, copyable, empty, known, nothing, state};
use crate::input::Params;
use crate::language::fill;
use crate::page::{Page, PageError, Section, redirect};
use crate::pages::brokers::broker_table;
use crate::show;
use crate::viewer::Viewer;

/// Topics whose figures are asked for one by one, at most.
const TOPICS_ASKED_MAX: usize = 50;

/// Rows of the short tables.
const TOP: usize = 6;

/// A group that is behind by more than this is worth a sentence, in milliseconds.
const BEHIND_MS: i64 = 60_000;

/// `GET /`
pub async fn page(State(app): State<Arc<App>>, viewer: Viewer, Params(params): Params) -> Result<Page, PageError> {
    params.only(&[])?;
    let language = viewer.language;
    let cluster = &app.cluster;
    let (brokers, catalog, consumption) = tokio::join!(cluster.brokers(), cluster.catalog(), cluster.consumption());
    let page = Page::new(Section::Overview, language.overview()).asked_at(brokers.asked_ms).without(&brokers.silent);
    if brokers.is_blind() || brokers.brokers.is_empty() {
        return Ok(page.live("overview", nobody(&viewer, &brokers)));
    }
    let topics: Vec<&str> = user_topics(&catalog).collect();
    let holdings = match topics.len() {
        asked if asked <= TOPICS_ASKED_MAX => {
            let asking = topics.iter().map(async |topic| ((*topic).to_owned(), cluster.holdings(topic).await));
            Some(futures_util::future::join_all(asking).await)
        }
        _ => None,
    };
    let dead = dead_letters(&app, &catalog).await;
    let is_new = topics.is_empty() && catalog.silent.is_empty() && catalog.refusals.is_empty();
    let page = page.without(&catalog.silent).without(&consumption.silent);
    let page = page.live("verdict", verdict(&viewer, &brokers, &consumption));
    let page = if is_new { page.still(first_steps(&app, &viewer)) } else { page };
    Ok(page
        .live("cards", cards(&viewer, &brokers, &catalog, &consumption, dead))
        .live("charts", charts(&app, &viewer, &consumption))
        .live(
            "tops",
            html! {
                div.columns {
                    (busiest(&viewer, holdings.as_deref()))
                    (slowest(&app, &viewer, &consumption))
                }
            },
        )
        .live("brokers", html! { h2 { (language.brokers()) } (broker_table(&viewer, &brokers)) }))
}

fn user_topics(catalog: &Catalog) -> impl Iterator<Item = &str> {
    catalog.topics.values().filter(|topic| topic.kind == TopicKind::User).map(|topic| topic.name.as_str())
}

/// Dead letters that are kept, of all groups; `None` where that is not known.
async fn dead_letters(app: &App, catalog: &Catalog) -> Option<i64> {
    let topics: Vec<&str> = catalog.dead_letter_topics().map(|(_, topic)| topic.name.as_str()).collect();
    if TOPICS_ASKED_MAX < topics.len() || !catalog.silent.is_empty() {
        return None;
    }
    let asking = topics.iter().map(|topic| app.cluster.holdings(topic));
    let holdings = futures_util::future::join_all(asking).await;
    holdings.iter().map(|holding| holding.messages()).sum()
}

fn nobody(viewer: &Viewer, brokers: &Brokers) -> Markup {
    let language = viewer.language;
    html! {
        @if brokers.is_blind() {
            h1 { (state(Tone::Bad, language.no_nameserver())) }
            p { (language.no_nameserver_text()) }
            ul { @for view in &brokers.nameservers { li { b { (view.address) } @if let Err(why) = &view.brokers { ": " (why) } } } }
        } @else {
            h1 { (state(Tone::Bad, language.no_broker())) }
            p { (language.no_broker_text()) }
            @let nameserver = brokers.nameservers.iter().find(|view| view.brokers.is_ok()).map_or("127.0.0.1:9876", |view| &view.address);
            (copyable(&format!("apogee broker -n {nameserver}")))
        }
    }
}

fn verdict(viewer: &Viewer, brokers: &Brokers, consumption: &Consumption) -> Markup {
    let language = viewer.language;
    let all = brokers.brokers.len();
    let answering = brokers.brokers.iter().filter(|broker| broker.runtime.is_ok()).count();
    let now_ms = clock::now_ms();
    let is_behind = |progress: &&Progress| BEHIND_MS < progress.behind_ms(now_ms).unwrap_or(0);
    let behind = consumption.groups.values().filter(is_behind).count();
    let tone = match (answering == all, behind) {
        (false, _) => Tone::Bad,
        (true, 0) => Tone::Good,
        (true, _) => Tone::Warning,
    };
    let groups = match behind {
        0 if consumption.is_partial => language.groups_unknown().to_owned(),
        0 => language.no_group_behind().to_owned(),
        behind => fill(language.groups_behind(), &[&behind]),
    };
    let text = format!("{} {groups}", fill(language.brokers_answer(), &[&answering, &all]));
    html! {
        h1.verdict { (state(tone, if tone == Tone::Good { language.all_is_well() } else { &text })) }
        @if tone == Tone::Good { p.faint.under { (text) } }
    }
}

fn first_steps(app: &App, viewer: &Viewer) -> Markup {
    let language = viewer.language;
    let nameservers: Vec<&str> = app.cluster.nameserver_addresses().collect();
    let flag = match nameservers.as_slice() {
        ["127.0.0.1:9876"] => String::new(),
        others => format!(" -n {}", show::shell_word(&others.join(";"))),
    };
    html! {
        div.steps {
            ol {
                li { (language.first_steps()) (copyable(&format!("apogee send greetings 'hello'{flag}"))) }
                li { (language.first_steps_read()) (copyable(&format!("apogee consume greetings{flag}"))) }
                li { (fill(language.first_steps_clients(), &[&nameservers.join(";")])) }
            }
        }
    }
}

fn cards(
    viewer: &Viewer,
    brokers: &Brokers,
    catalog: &Catalog,
    consumption: &Consumption,
    dead: Option<i64>,
) -> Markup {
    let language = viewer.language;
    let rate = |figure: fn(&Runtime) -> Option<f64>| {
        brokers.sum(figure).map(|rate| fill(language.per_second(), &[&show::rate(rate)]))
    };
    let total = |figure: fn(&Runtime) -> Option<i64>| {
        let total = brokers.sum(|runtime| figure(runtime).map(|count| count as f64));
        total.map(|total| fill(language.in_since_start(), &[&show::count(total as i64)]))
    };
    let lags: Vec<i64> = consumption.groups.values().filter_map(Progress::lag).collect();
    let lag = (!consumption.is_partial).then(|| show::count(lags.iter().sum()));
    let disk = brokers
        .brokers
        .iter()
        .filter_map(|broker| broker.runtime.as_ref().ok()?.disk_used())
        .fold(None, |most: Option<f64>, used| Some(most.map_or(used, |most| most.max(used))));
    let tone = |used: f64| {
        if used < 0.75 {
            Tone::Good
        } else if used < 0.85 {
            Tone::Warning
        } else {
            Tone::Bad
        }
    };
    let note = |text: Option<String>| html! { (text.unwrap_or_default()) };
    let user_groups = catalog.groups.values().filter(|group| !group.is_system).count();
    html! {
        div.cards {
            (card(language.messages_in(), known(rate(Runtime::in_per_second), language.not_told_short()), note(total(Runtime::messages_in))))
            (card(language.messages_out(), known(rate(Runtime::out_per_second), language.not_told_short()), note(total(Runtime::messages_out))))
            (card(language.total_lag(), known(lag, language.not_told_short()), html! { (fill(language.groups_count(), &[&user_groups])) }))
            (card(
                language.dead_letters_kept(),
                html! { a href=(viewer.links.to(&["dead-letters"])) { (known(dead.map(show::count), language.not_told_short())) } },
                nothing(),
            ))
            (card(
                language.disk_used(),
                known(disk.map(show::percent), language.not_told_short()),
                html! { @if let Some(used) = disk { (bar(used, tone(used))) } (language.disk_fullest()) },
            ))
        }
    }
}

fn charts(app: &App, viewer: &Viewer, consumption: &Consumption) -> Markup {
    let language = viewer.language;
    let points = |figure| app.cluster.series.points(&figure);
    let rates = [
        Line { name: language.messages_in(), class: "line-a", points: points(Figure::In) },
        Line { name: language.messages_out(), class: "line-b", points: points(Figure::Out) },
    ];
    let lag = [Line { name: language.waiting(), class: "line-c", points: points(Figure::Lag) }];
    html! {
        div.columns {
            (chart(viewer, language.throughput(), &rates, show::rate))
            @if !consumption.is_partial { (chart(viewer, language.lag_over_time(), &lag, |value| show::count(value as i64))) }
        }
    }
}

fn busiest(viewer: &Viewer, holdings: Option<&[(String, Arc<TopicHoldings>)]>) -> Markup {
    let language = viewer.language;
    let now_ms = clock::now_ms();
    let mut rows: Vec<&(String, Arc<TopicHoldings>)> = holdings.unwrap_or_default().iter().collect();
    rows.retain(|(_, holding)| 0 < holding.messages().unwrap_or(0));
    rows.sort_by_key(|(_, holding)| {
        Reverse(((holding.in_per_second.unwrap_or(0.0) * 1000.0) as i64, holding.last_stored_ms(), holding.messages()))
    });
    rows.truncate(TOP);
    html! {
        section.panel {
            h2 { (language.busiest_topics()) }
            @if holdings.is_none() { p.faint { (language.too_many_topics()) } }
            @else if rows.is_empty() { p.faint { (language.no_traffic()) } }
            @else {
                table {
                    thead { tr { th { (language.topic()) } th.number { (language.rate_in()) } th.number { (language.kept()) } th.number { (language.last_write()) } } }
                    tbody {
                        @for (name, holding) in rows {
                            tr {
                                td { a href=(viewer.links.topic(name)) { (name) } }
                                td.number { (known(holding.in_per_second.map(show::rate), language.not_told_short())) }
                                td.number { (known(holding.messages().map(show::count), language.not_told_short())) }
                                td.number { (ago(viewer, holding.last_stored_ms(), now_ms)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn slowest(app: &App, viewer: &Viewer, consumption: &Consumption) -> Markup {
    let language = viewer.language;
    let now_ms = clock::now_ms();
    let mut rows: Vec<(&String, &Progress, i64)> =
        consumption.groups.iter().filter_map(|(name, progress)| Some((name, progress, progress.lag()?))).collect();
    rows.retain(|(_, _, lag)| 0 < *lag);
    rows.sort_by_key(|(_, _, lag)| Reverse(*lag));
    rows.truncate(TOP);
    html! {
        section.panel {
            h2 { (language.slowest_groups()) }
            @if rows.is_empty() { p.faint { @if consumption.is_partial { (language.not_told_short()) } @else { (language.none_waits()) } } }
            @else {
                table {
                    thead { tr { th { (language.group()) } th.number { (language.waiting()) } th.number { (language.behind_by()) } th { (language.trend()) } } }
                    tbody {
                        @for (name, progress, lag) in rows {
                            tr {
                                td { a href=(viewer.links.group(name)) { (name) } }
                                td.number { (show::count(lag)) }
                                td.number { (known(progress.behind_ms(now_ms).map(show::duration), language.lag_without_time())) }
                                td { (spark(&app.cluster.series.points(&Figure::LagOf(name.clone())), language.trend())) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// `GET /search?q=…`: goes to whatever has that name.
pub async fn find(State(app): State<Arc<App>>, viewer: Viewer, Params(params): Params) -> Result<Response, PageError> {
    params.only(&["q"])?;
    let wanted = params.get("q");
    if wanted.is_empty() {
        return Ok(redirect(&app.links.to(&[])));
    }
    let (catalog, brokers) = tokio::join!(app.cluster.catalog(), app.cluster.brokers());
    if catalog.topics.contains_key(wanted) {
        return Ok(redirect(&app.links.topic(wanted)));
    }
    if catalog.groups.contains_key(wanted) {
        return Ok(redirect(&app.links.group(wanted)));
    }
    if let Some(broker) = brokers.brokers.iter().find(|broker| broker.at.name == wanted || broker.at.address == wanted)
    {
        return Ok(redirect(&app.links.broker(&broker.at.name, broker.at.id)));
    }
    let is_id = [32, 56].contains(&wanted.len()) && wanted.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id {
        return Ok(redirect(&app.links.with(&["messages"], &[("by", "id"), ("key", wanted)])));
    }
    let part = wanted.to_lowercase();
    let topics: Vec<&str> = catalog
        .topics
        .keys()
        .map(String::as_str)
        .filter(|name| name.to_lowercase().contains(&part))
        .take(ROWS)
        .collect();
    let groups: Vec<&str> = catalog
        .groups
        .keys()
        .map(String::as_str)
        .filter(|name| name.to_lowercase().contains(&part))
        .take(ROWS)
        .collect();
    let language = viewer.language;
    let page = Page::new(Section::Other, wanted).without(&catalog.silent).still(html! {
        h1 { (wanted) }
        @if topics.is_empty() && groups.is_empty() { (empty(&fill(language.nothing_found(), &[&wanted]), &[])) }
        @if !topics.is_empty() { h2 { (language.topics()) } ul.names { @for name in &topics { li { a href=(viewer.links.topic(name)) { (name) } } } } }
        @if !groups.is_empty() { h2 { (language.groups()) } ul.names { @for name in &groups { li { a href=(viewer.links.group(name)) { (name) } } } } }
    });
    Ok(page.into_response())
}

/// Names that a search without an exact hit lists.
const ROWS: usize = 50;
