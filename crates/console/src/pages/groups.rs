//! `/groups` and the page of one group.

use std::sync::Arc;

use axum::extract::{Path, State};
use client::clock;
use maud::{Markup, html};
use protocol::bodies::heartbeat::{ConsumeType, MessageModel};
use protocol::bodies::subscription_group::SubscriptionGroupConfig;

use super::window;
use crate::app::App;
use crate::auth::Role;
use crate::cluster::catalog::{Catalog, DEAD_LETTER_PREFIX, Group};
use crate::cluster::consumption::{Membership, Progress};
use crate::cluster::series::Figure;
use crate::html::chart::{Line, chart, spark};
use crate::html::{self, Tone, action, ago, card, chip, crumb, empty, head, known, nothing, refusals, state};
use crate::input::Params;
use crate::language::{Language, fill};
use crate::page::{Page, PageError, Section};
use crate::show;
use crate::viewer::Viewer;

/// A row of the list.
struct Row<'c> {
    group: &'c Group,
    progress: Arc<Progress>,
    members: Arc<Membership>,
}

/// `GET /groups`
pub async fn list(State(app): State<Arc<App>>, viewer: Viewer, Params(params): Params) -> Result<Page, PageError> {
    params.only(&["q", "kind", "after"])?;
    let language = viewer.language;
    let kind = params.given("kind").unwrap_or("user");
    if !["user", "system", "all"].contains(&kind) {
        return Err(PageError::BadRequest(format!("`kind` is `{kind}`; known: user, system, all")));
    }
    let wanted = params.get("q").to_lowercase();
    let (catalog, consumption) = tokio::join!(app.cluster.catalog(), app.cluster.consumption());
    let fits = |group: &&Group| {
        (kind == "all" || group.is_system == (kind == "system"))
            && (wanted.is_empty() || group.name.to_lowercase().contains(&wanted))
    };
    let (groups, next) = window(catalog.groups.values().filter(fits), |group| &group.name, params.given("after"));
    let asking = groups.iter().map(async |group| {
        // One answer may tell of all groups; where it does not, each one on the page is asked for.
        let progress = match consumption.groups.get(&group.name) {
            Some(progress) if !consumption.is_partial => Arc::new(progress.clone()),
            _ => app.cluster.progress(&group.name).await,
        };
        Row { group, progress, members: app.cluster.members(&group.name).await }
    });
    let rows = futures_util::future::join_all(asking).await;
    let links = &viewer.links;
    let filter = html! {
        (head(html! { (language.groups()) }, nothing(), action(&viewer, Role::Operator, "primary", &links.to(&["groups", "new"]), language.new_group())))
        form.filter method="get" action=(links.to(&["groups"])) data-filter {
            input type="search" name="q" value=(params.get("q")) placeholder=(language.filter_by_name()) aria-label=(language.filter_by_name()) maxlength="255";
            input type="hidden" name="kind" value=(kind);
            nav.kinds {
                @for (name, text) in [("user", language.kind_user_groups()), ("system", language.kind_system()), ("all", language.kind_all())] {
                    @let to = links.with(&["groups"], &[("q", params.get("q")), ("kind", name)]);
                    @if name == kind { a.here href=(to) aria-current="true" { (text) } } @else { a href=(to) { (text) } }
                }
            }
        }
    };
    let is_narrowed = !wanted.is_empty() || kind != "user" || params.given("after").is_some();
    let more = html! {
        @if params.given("after").is_some() { a.button href=(links.with(&["groups"], &[("q", params.get("q")), ("kind", kind)])) { (language.first_page()) } " " }
        @if let Some(next) = next { a.button href=(links.with(&["groups"], &[("q", params.get("q")), ("kind", kind), ("after", next)])) { (language.more()) } }
    };
    Ok(Page::new(Section::Groups, language.groups())
        .asked_at(catalog.asked_ms)
        .without(&catalog.silent)
        .still(filter)
        .live(
            "groups",
            html! { (refusals(&viewer, &catalog.refusals)) (group_table(&app, &viewer, &rows, is_narrowed)) },
        )
        .still(html! { div.pager { (more) } }))
}

fn group_table(app: &App, viewer: &Viewer, rows: &[Row<'_>], is_narrowed: bool) -> Markup {
    let language = viewer.language;
    let now_ms = clock::now_ms();
    if rows.is_empty() {
        return match is_narrowed {
            true => empty(language.no_group_matches(), &[]),
            false => empty(language.no_groups(), &["apogee consume greetings --group workers --follow"]),
        };
    }
    html! {
        div.wide {
            table {
                thead {
                    tr {
                        th { (language.group()) } th { (language.state()) } th.number { (language.members()) } th { (language.mode()) }
                        th.number { (language.waiting()) } th { (language.trend()) } th.number { (language.behind_by()) } th.number { (language.rate_out()) } th { (language.topics()) }
                    }
                }
                tbody {
                    @for Row { group, progress, members } in rows {
                        tr {
                            td.name { a href=(viewer.links.group(&group.name)) { (group.name) } }
                            td { (state_of(language, group, members)) }
                            td.number { (members.members.len()) }
                            td { (mode_of(language, members)) }
                            td.number { (known(progress.lag().map(show::count), reason_of(language, progress, members))) }
                            td { (spark(&app.cluster.series.points(&Figure::LagOf(group.name.clone())), language.trend())) }
                            td.number { (behind(language, progress, now_ms)) }
                            td.number { (known(progress.out_per_second.map(show::rate), language.not_told_short())) }
                            td.names-short { (topics_of(viewer, progress)) }
                        }
                    }
                }
            }
        }
    }
}

fn state_of(language: Language, group: &Group, members: &Membership) -> Markup {
    let is_paused = group.config().is_some_and(|config| !config.consume_enable);
    match (is_paused, members.members.is_empty(), members.differing.is_empty()) {
        (true, ..) => state(Tone::Warning, language.group_paused()),
        (_, true, _) => state(Tone::Plain, language.group_idle()),
        (_, _, false) => state(Tone::Warning, language.group_live()),
        _ => state(Tone::Good, language.group_live()),
    }
}

fn mode_of(language: Language, members: &Membership) -> Markup {
    let model = members.message_model.map(|model| match model {
        MessageModel::Broadcasting => language.broadcasting(),
        MessageModel::Clustering => language.clustering(),
    });
    let kind = members.consume_type.map(|kind| match kind {
        ConsumeType::Actively => language.pulls(),
        ConsumeType::Passively => language.pushes(),
        ConsumeType::Pop => language.pops(),
    });
    html! {
        @if model.is_none() && kind.is_none() { (known(None::<&str>, language.group_idle())) }
        @for text in model.into_iter().chain(kind) { (chip(text)) " " }
    }
}

fn is_broadcast(members: &Membership) -> bool {
    members.message_model == Some(MessageModel::Broadcasting)
}

/// Why a lag is not known.
fn reason_of(language: Language, progress: &Progress, members: &Membership) -> &'static str {
    match () {
        () if is_broadcast(members) => language.broadcast_has_no_progress(),
        () if progress.queues.is_empty() => language.no_progress(),
        () => language.lag_makes_no_sense(),
    }
}

fn behind(language: Language, progress: &Progress, now_ms: i64) -> Markup {
    match (progress.lag(), progress.behind_ms(now_ms)) {
        (Some(0), _) => html! { span.faint { "0 s" } },
        (Some(_), behind) => known(behind.map(show::duration), language.lag_without_time()),
        (None, _) => known(None::<&str>, language.not_told_short()),
    }
}

fn topics_of(viewer: &Viewer, progress: &Progress) -> Markup {
    let topics: Vec<&str> = progress.topics().into_iter().filter(|topic| !topic.starts_with('%')).collect();
    html! {
        @for (at, topic) in topics.iter().take(2).enumerate() { @if 0 < at { ", " } a href=(viewer.links.topic(topic)) { (topic) } }
        @if 2 < topics.len() { span.faint { " +" (topics.len() - 2) } }
    }
}

/// The group of that name; an error says that nobody has it.
pub fn group_of<'c>(viewer: &Viewer, catalog: &'c Catalog, name: &str) -> Result<&'c Group, PageError> {
    let found = catalog.groups.get(name);
    found.ok_or_else(|| PageError::NotFound(fill(viewer.language.no_such_group(), &[&name])))
}

/// `GET /groups/{group}`
pub async fn one(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path(name): Path<String>,
    Params(params): Params,
) -> Result<Page, PageError> {
    params.only(&[])?;
    let language = viewer.language;
    let (catalog, progress, members) =
        tokio::join!(app.cluster.catalog(), app.cluster.progress(&name), app.cluster.members(&name));
    let group = group_of(&viewer, &catalog, &name)?;
    let dead_letters = format!("{DEAD_LETTER_PREFIX}{name}");
    let dead = match catalog.topics.contains_key(&dead_letters) {
        true => app.cluster.holdings(&dead_letters).await.messages(),
        false => Some(0),
    };
    let links = &viewer.links;
    let actions = html! {
        (action(&viewer, Role::Operator, "primary", &links.to(&["groups", &name, "reset"]), language.reset()))
        (action(&viewer, Role::Operator, "", &links.to(&["groups", &name, "edit"]), language.edit()))
        (action(&viewer, Role::Admin, "danger", &links.to(&["groups", &name, "delete"]), language.delete()))
    };
    let lines = [Line {
        name: language.waiting(),
        class: "line-c",
        points: app.cluster.series.points(&Figure::LagOf(name.clone())),
    }];
    Ok(Page::new(Section::Groups, &*name)
        .asked_at(progress.asked_ms)
        .without(&catalog.silent)
        .without(&progress.silent)
        .without(&members.silent)
        .still(html! { (crumb(&links.to(&["groups"]), language.groups())) })
        .live("head", head(html! { (name) }, html! { (state_of(language, group, &members)) " " (mode_of(language, &members)) }, actions))
        .live("cards", group_cards(&viewer, &name, &progress, &members, dead))
        .live("chart", chart(&viewer, language.lag_over_time(), &lines, |value| show::count(value as i64)))
        .live("progress", html! { h2 { (language.progress()) } (refusals(&viewer, &progress.refusals)) (progress_table(&viewer, &progress, &members)) })
        .live("members", html! { h2 { (language.clients()) } (refusals(&viewer, &members.refusals)) (member_table(&viewer, &name, &members)) })
        .live("subscriptions", subscriptions(&viewer, &members))
        .live("configuration", html! { h2 { (language.configuration()) } (configuration(language, group)) }))
}

fn group_cards(viewer: &Viewer, name: &str, progress: &Progress, members: &Membership, dead: Option<i64>) -> Markup {
    let language = viewer.language;
    let rate = progress.out_per_second.map(|rate| fill(language.per_second(), &[&show::rate(rate)]));
    html! {
        div.cards {
            (card(language.waiting(), known(progress.lag().map(show::count), reason_of(language, progress, members)), nothing()))
            (card(language.behind_by(), behind(language, progress, clock::now_ms()), nothing()))
            (card(language.messages_out(), known(rate, language.not_told_short()), nothing()))
            (card(language.members(), html! { (members.members.len()) }, nothing()))
            (card(
                language.dead_letters(),
                html! { a href=(viewer.links.to(&["dead-letters", name])) { (known(dead.map(show::count), language.not_told_short())) } },
                nothing(),
            ))
        }
    }
}

fn progress_table(viewer: &Viewer, progress: &Progress, members: &Membership) -> Markup {
    let language = viewer.language;
    let now_ms = clock::now_ms();
    if progress.queues.is_empty() {
        let text = if is_broadcast(members) { language.broadcast_has_no_progress() } else { language.no_progress() };
        return empty(text, &[]);
    }
    html! {
        div.wide {
            table {
                thead {
                    tr {
                        th { (language.topic()) } th { (language.broker()) } th.number { (language.queue()) } th.number { (language.consumer_offset()) }
                        th.number { (language.next_offset()) } th.number { (language.waiting()) } th.number { (language.last_consumed()) }
                    }
                }
                tbody {
                    @for queue in &progress.queues {
                        @let consumed_ms = Some(queue.offset.last_timestamp).filter(|time| 0 < *time);
                        tr {
                            td { a href=(viewer.links.topic(&queue.topic)) { (queue.topic) } }
                            td { (queue.broker) }
                            td.number { (queue.queue_id) }
                            td.number { (known((0 <= queue.offset.consumer_offset).then_some(queue.offset.consumer_offset), language.no_progress())) }
                            td.number { (queue.offset.broker_offset) }
                            td.number { (known(queue.lag().map(show::count), language.lag_makes_no_sense())) }
                            td.number { (ago(viewer, consumed_ms, now_ms)) }
                        }
                    }
                }
            }
        }
    }
}

fn member_table(viewer: &Viewer, group: &str, members: &Membership) -> Markup {
    let language = viewer.language;
    if members.members.is_empty() {
        return empty(language.nobody_connected(), &[]);
    }
    html! {
        div.wide {
            table {
                thead { tr { th { (language.client_id()) } th { (language.address()) } th { (language.language_of_client()) } th.number { (language.version()) } th { (language.brokers()) } } }
                tbody {
                    @for member in members.members.values() {
                        tr {
                            td.code { (html::member(viewer, group, &member.id)) }
                            td { (member.address) }
                            td { (chip(&member.language)) }
                            td.number { (member.version) }
                            td { (member.brokers.join(", ")) }
                        }
                    }
                }
            }
        }
    }
}

fn subscriptions(viewer: &Viewer, members: &Membership) -> Markup {
    let language = viewer.language;
    html! {
        @if !members.subscriptions.is_empty() {
            h2 { (language.subscriptions()) }
            @if !members.differing.is_empty() {
                div.notice.bad { p { (state(Tone::Bad, &fill(language.subscriptions_differ(), &[&members.differing.join(", ")]))) } }
            }
            table {
                thead { tr { th { (language.topic()) } th { (language.message_type()) } th { (language.expression()) } } }
                tbody {
                    @for (topic, subscription) in &members.subscriptions {
                        tr { td { a href=(viewer.links.topic(topic)) { (topic) } } td { (chip(&subscription.expression_type)) } td.code { (subscription.sub_string) } }
                    }
                }
            }
        }
    }
}

fn configuration(language: Language, group: &Group) -> Markup {
    let yes = |value: bool| (if value { language.yes() } else { language.no() }).to_owned();
    let values = |config: &SubscriptionGroupConfig| {
        [
            (language.may_consume(), yes(config.consume_enable)),
            (language.may_broadcast(), yes(config.consume_broadcast_enable)),
            (language.begins_at_first(), yes(config.consume_from_min_enable)),
            (language.in_order(), yes(config.consume_message_orderly)),
            (language.max_retries(), config.retry_max_times.to_string()),
            (language.retry_queues(), config.retry_queue_nums.to_string()),
        ]
    };
    let columns: Vec<[(&str, String); 6]> = group.brokers.values().map(values).collect();
    let names: Vec<&str> =
        columns.first().map(|column| column.iter().map(|(name, _)| *name).collect()).unwrap_or_default();
    html! {
        div.wide {
            table {
                thead { tr { th { (language.setting()) } @for broker in group.brokers.keys() { th { (broker) } } } }
                tbody {
                    @for (at, name) in names.iter().enumerate() {
                        tr { td { (name) } @for column in &columns { td { (column[at].1) } } }
                    }
                }
            }
        }
    }
}
