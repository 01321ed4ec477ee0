//! `/topics` and the page of one topic.

use std::sync::Arc;

use axum::extract::{Path, State};
use client::clock;
use maud::{Markup, html};
use protocol::bodies::topic_config::{PERM_READ, PERM_WRITE};

use super::window;
use crate::app::App;
use crate::auth::Role;
use crate::cluster::catalog::{Catalog, Topic, TopicKind};
use crate::cluster::topics::{Readers, TopicHoldings};
use crate::html::{Tone, action, ago, bar, card, chip, crumb, empty, head, known, nothing, refusals, state};
use crate::input::Params;
use crate::language::{Language, fill};
use crate::page::{Page, PageError, Section};
use crate::show;
use crate::viewer::Viewer;

/// Kinds that the list can be narrowed to, as addresses have them.
const KINDS: [(&str, Option<TopicKind>); 5] = [
    ("user", Some(TopicKind::User)),
    ("retry", Some(TopicKind::Retry)),
    ("dead", Some(TopicKind::DeadLetter)),
    ("system", Some(TopicKind::System)),
    ("all", None),
];

fn kind_text(language: Language, kind: &str) -> &'static str {
    match kind {
        "retry" => language.kind_retry(),
        "dead" => language.kind_dead(),
        "system" => language.kind_system(),
        "all" => language.kind_all(),
        _ => language.kind_user(),
    }
}

/// `GET /topics`
pub async fn list(State(app): State<Arc<App>>, viewer: Viewer, Params(params): Params) -> Result<Page, PageError> {
    params.only(&["q", "kind", "after"])?;
    let language = viewer.language;
    let kind_name = params.given("kind").unwrap_or("user");
    let Some((_, kind)) = KINDS.iter().find(|(name, _)| *name == kind_name) else {
        return Err(PageError::BadRequest(format!("`kind` is `{kind_name}`; known: user, retry, dead, system, all")));
    };
    let wanted = params.get("q").to_lowercase();
    let catalog = app.cluster.catalog().await;
    let fits = |topic: &&Topic| {
        kind.is_none_or(|kind| topic.kind == kind) && (wanted.is_empty() || topic.name.to_lowercase().contains(&wanted))
    };
    let (rows, next) = window(catalog.topics.values().filter(fits), |topic| &topic.name, params.given("after"));
    let asking = rows.iter().map(|topic| app.cluster.holdings(&topic.name));
    let holdings = futures_util::future::join_all(asking).await;
    let rows: Vec<(&Topic, &TopicHoldings)> = rows.into_iter().zip(holdings.iter().map(Arc::as_ref)).collect();
    let filter = html! {
        (head(
            html! { (language.topics()) },
            nothing(),
            action(&viewer, Role::Operator, "primary", &viewer.links.to(&["topics", "new"]), language.new_topic()),
        ))
        form.filter method="get" action=(viewer.links.to(&["topics"])) data-filter {
            input type="search" name="q" value=(params.get("q")) placeholder=(language.filter_by_name()) aria-label=(language.filter_by_name()) maxlength="255";
            input type="hidden" name="kind" value=(kind_name);
            nav.kinds {
                @for (name, _) in KINDS {
                    @let to = viewer.links.with(&["topics"], &[("q", params.get("q")), ("kind", name)]);
                    @if name == kind_name { a.here href=(to) aria-current="true" { (kind_text(language, name)) } } @else { a href=(to) { (kind_text(language, name)) } }
                }
            }
        }
    };
    let is_narrowed = !wanted.is_empty() || kind_name != "user" || params.given("after").is_some();
    let more = html! {
        @if params.given("after").is_some() { a.button href=(viewer.links.with(&["topics"], &[("q", params.get("q")), ("kind", kind_name)])) { (language.first_page()) } " " }
        @if let Some(next) = next { a.button href=(viewer.links.with(&["topics"], &[("q", params.get("q")), ("kind", kind_name), ("after", next)])) { (language.more()) } }
    };
    let page = Page::new(Section::Topics, language.topics()).asked_at(catalog.asked_ms).without(&catalog.silent);
    let page = holdings.iter().fold(page, |page, holding| page.without(&holding.silent));
    Ok(page
        .still(filter)
        .live("topics", html! { (refusals(&viewer, &catalog.refusals)) (topic_table(&viewer, &rows, is_narrowed)) })
        .still(html! { div.pager { (more) } }))
}

fn topic_table(viewer: &Viewer, rows: &[(&Topic, &TopicHoldings)], is_narrowed: bool) -> Markup {
    let language = viewer.language;
    let now_ms = clock::now_ms();
    if rows.is_empty() {
        return match is_narrowed {
            true => empty(language.no_topic_matches(), &[]),
            false => empty(language.no_topics(), &["apogee send greetings 'hello'"]),
        };
    }
    html! {
        div.wide {
            table {
                thead {
                    tr {
                        th { (language.topic()) } th { (language.message_type()) } th.number { (language.rate_in()) } th.number { (language.kept()) }
                        th.number { (language.last_write()) } th.number { (language.queues()) } th { (language.permission()) } th { (language.brokers()) }
                    }
                }
                tbody {
                    @for (topic, holdings) in rows {
                        @let reason = holdings.reason().unwrap_or_else(|| language.not_told_short().to_owned());
                        tr {
                            td.name { a href=(viewer.links.topic(&topic.name)) { (topic.name) } }
                            td { (type_of(language, topic)) }
                            td.number { (known(holdings.in_per_second.map(show::rate), &reason)) }
                            td.number { (known(holdings.messages().map(show::count), &reason)) }
                            td.number { (ago(viewer, holdings.last_stored_ms(), now_ms)) }
                            td.number { (queues_of(topic)) }
                            td { (permission_of(language, topic)) }
                            td { @if topic.drifts() { (state(Tone::Warning, language.drifts())) } @else { (brokers_of(topic)) } }
                        }
                    }
                }
            }
        }
    }
}

fn brokers_of(topic: &Topic) -> String {
    let names: Vec<&str> = topic.brokers.keys().map(String::as_str).collect();
    if names.len() <= 2 { names.join(", ") } else { format!("{} …{}", names[0], names.len()) }
}

fn queues_of(topic: &Topic) -> String {
    match topic.queues() {
        (read, write) if read == write => show::count(i64::from(read)),
        (read, write) => format!("{read} / {write}"),
    }
}

fn type_of(language: Language, topic: &Topic) -> Markup {
    match topic.message_type() {
        "UNSPECIFIED" => html! { span.faint { (language.type_unspecified()) } },
        stated => chip(stated),
    }
}

/// What a permission allows.
pub fn permission_text(language: Language, perm: i32) -> &'static str {
    match (perm & PERM_READ != 0, perm & PERM_WRITE != 0) {
        (true, true) => language.perm_rw(),
        (true, false) => language.perm_r(),
        (false, true) => language.perm_w(),
        (false, false) => language.perm_none(),
    }
}

fn permission_of(language: Language, topic: &Topic) -> Markup {
    let perm = topic.brokers.values().next().map_or(0, |config| config.perm);
    let text = permission_text(language, perm);
    html! { @if perm & (PERM_READ | PERM_WRITE) == PERM_READ | PERM_WRITE { span.faint { (text) } } @else { (state(Tone::Warning, text)) } }
}

/// The topic of that name; an error says that nobody has it.
pub fn topic_of<'c>(viewer: &Viewer, catalog: &'c Catalog, name: &str) -> Result<&'c Topic, PageError> {
    let found = catalog.topics.get(name);
    found.ok_or_else(|| PageError::NotFound(fill(viewer.language.no_such_topic(), &[&name])))
}

/// `GET /topics/{topic}`
pub async fn one(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path(name): Path<String>,
    Params(params): Params,
) -> Result<Page, PageError> {
    params.only(&[])?;
    let language = viewer.language;
    let catalog = app.cluster.catalog().await;
    let topic = topic_of(&viewer, &catalog, &name)?;
    let (holdings, readers) = tokio::join!(app.cluster.holdings(&name), app.cluster.readers(&name));
    let asking = readers
        .groups
        .iter()
        .map(async |group| (group, app.cluster.progress(group).await, app.cluster.members(group).await));
    let readings: Vec<_> = futures_util::future::join_all(asking).await;
    let lag_in = |progress: &crate::cluster::consumption::Progress| {
        let own: Vec<i64> =
            progress.queues.iter().filter(|queue| queue.topic == name).filter_map(|queue| queue.lag()).collect();
        (!own.is_empty()).then(|| own.iter().sum::<i64>())
    };
    let links = &viewer.links;
    let actions = html! {
        a.button href=(links.with(&["messages"], &[("topic", &name)])) { (language.look_at_messages()) }
        a.button href=(links.to(&["topics", &name, "tail"])) { (language.watch()) }
        (action(&viewer, Role::Operator, "primary", &links.to(&["topics", &name, "publish"]), language.publish()))
        (action(&viewer, Role::Operator, "", &links.to(&["topics", &name, "edit"]), language.edit()))
        (action(&viewer, Role::Admin, "danger", &links.to(&["topics", &name, "delete"]), language.delete()))
    };
    let about = html! { (language.message_type()) ": " (type_of(language, topic)) " · " (language.permission()) ": " (permission_of(language, topic)) @if topic.drifts() { " " (state(Tone::Warning, language.drifts())) } };
    Ok(Page::new(Section::Topics, &*name)
        .asked_at(holdings.asked_ms)
        .without(&catalog.silent)
        .without(&holdings.silent)
        .without(&readers.silent)
        .still(html! { (crumb(&links.to(&["topics"]), language.topics())) (head(html! { (name) }, about, actions)) })
        .live("cards", topic_cards(&viewer, topic, &holdings, &readers))
        .live(
            "readers",
            html! {
                h2 { (language.who_reads()) }
                (refusals(&viewer, &readers.refusals))
                @if readings.is_empty() { @if readers.refusals.is_empty() { (empty(language.no_readers(), &[&format!("apogee consume {} --follow", show::shell_word(&name))])) } }
                @else {
                    table {
                        thead { tr { th { (language.group()) } th { (language.state()) } th.number { (language.members()) } th.number { (language.waiting()) } } }
                        tbody {
                            @for (group, progress, members) in &readings {
                                tr {
                                    td { a href=(links.group(group)) { (group) } }
                                    td { @if members.members.is_empty() { (state(Tone::Plain, language.group_idle())) } @else { (state(Tone::Good, language.group_live())) } }
                                    td.number { (members.members.len()) }
                                    td.number { (known(lag_in(progress).map(show::count), language.not_told_short())) }
                                }
                            }
                        }
                    }
                }
            },
        )
        .live("queues", html! { h2 { (language.queue_map()) } (refusals(&viewer, &holdings.refusals)) (queue_table(&viewer, &name, &holdings)) })
        .live("configuration", html! { h2 { (language.configuration()) } (configuration(language, topic)) }))
}

fn topic_cards(viewer: &Viewer, topic: &Topic, holdings: &TopicHoldings, readers: &Readers) -> Markup {
    let language = viewer.language;
    let reason = holdings.reason().unwrap_or_else(|| language.not_told_short().to_owned());
    let rate = holdings.in_per_second.map(|rate| fill(language.per_second(), &[&show::rate(rate)]));
    let groups = readers.refusals.is_empty().then_some(readers.groups.len());
    html! {
        div.cards {
            (card(language.messages_in(), known(rate, &reason), nothing()))
            (card(language.kept(), known(holdings.messages().map(show::count), &reason), nothing()))
            (card(language.last_write(), ago(viewer, holdings.last_stored_ms(), clock::now_ms()), nothing()))
            (card(language.queues(), html! { (queues_of(topic)) }, html! { (brokers_of(topic)) }))
            (card(language.groups(), known(groups, language.not_told_short()), nothing()))
        }
    }
}

fn queue_table(viewer: &Viewer, topic: &str, holdings: &TopicHoldings) -> Markup {
    let language = viewer.language;
    let now_ms = clock::now_ms();
    let most = holdings.queues.iter().map(|queue| queue.messages()).max().unwrap_or(0).max(1);
    html! {
        div.wide {
            table {
                thead {
                    tr {
                        th { (language.broker()) } th.number { (language.queue()) } th.number { (language.kept()) } th { (language.share()) }
                        th.number { (language.first_offset()) } th.number { (language.next_offset()) } th.number { (language.last_write()) }
                    }
                }
                tbody {
                    @for queue in &holdings.queues {
                        @let to = viewer.links.with(&["messages"], &[("topic", topic), ("queue", &format!("{}.{}", queue.broker, queue.queue_id))]);
                        tr {
                            td { (queue.broker) }
                            td.number { a href=(to) { (queue.queue_id) } }
                            td.number { (show::count(queue.messages())) }
                            td { (bar(queue.messages() as f64 / most as f64, Tone::Plain)) }
                            td.number { (queue.offset.min_offset) }
                            td.number { (queue.offset.max_offset) }
                            td.number { (ago(viewer, queue.last_stored_ms(), now_ms)) }
                        }
                    }
                }
            }
        }
    }
}

fn configuration(language: Language, topic: &Topic) -> Markup {
    html! {
        div.wide {
            table {
                thead {
                    tr {
                        th { (language.broker()) } th.number { (language.read_queues()) } th.number { (language.write_queues()) } th { (language.permission()) }
                        th { (language.order()) } th { (language.attributes()) }
                    }
                }
                tbody {
                    @for (broker, config) in &topic.brokers {
                        tr {
                            td { (broker) }
                            td.number { (config.read_queue_nums) }
                            td.number { (config.write_queue_nums) }
                            td { (permission_text(language, config.perm)) " " span.faint { "(" (config.perm) ")" } }
                            td { (if config.order { language.yes() } else { language.no() }) }
                            td { @for (name, value) in &config.attributes { (chip(&format!("{name}={value}"))) " " } }
                        }
                    }
                }
            }
        }
    }
}
