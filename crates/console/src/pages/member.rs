//! A member of a group: what it tells about itself when it is asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use client::clock;
use maud::{Markup, html};
use protocol::bodies::message_queue::MessageQueue;
use protocol::bodies::running_info::{ConsumeStatus, ConsumerRunningInfo, PopProcessQueueInfo, ProcessQueueInfo};

use super::groups::group_of;
use crate::app::App;
use crate::auth::Role;
use crate::html::{action, ago, chip, crumb, empty, head, known};
use crate::input::Params;
use crate::language::{Language, fill};
use crate::page::{Page, PageError, Section};
use crate::show;
use crate::viewer::Viewer;

/// `GET /groups/{group}/clients/{client}`
pub async fn one(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path((group, client)): Path<(String, String)>,
    Params(params): Params,
) -> Result<Page, PageError> {
    params.only(&["stacks"])?;
    let stacks = params.flag("stacks")?;
    // A dump stops the client for a moment, and settings of programs may be nobody else's business.
    viewer.must(if stacks { Role::Operator } else { Role::Viewer })?;
    let language = viewer.language;
    let (catalog, members) = tokio::join!(app.cluster.catalog(), app.cluster.members(&group));
    group_of(&viewer, &catalog, &group)?;
    let missing = || PageError::NotFound(fill(language.no_such_member(), &[&client, &group]));
    let member = members.members.get(&client).ok_or_else(missing)?;
    let told = app.cluster.running_info(&group, member, stacks).await;
    let links = &viewer.links;
    let here = links.with(&["groups", &group, "clients", &client], &[("stacks", "true")]);
    let about = html! {
        (chip(&member.language)) " " (member.address) " · " (fill(language.member_of(), &[&group]))
    };
    Ok(Page::new(Section::Groups, &*client).without(&members.silent).still(html! {
        (crumb(&links.group(&group), &group))
        (head(html! { (client) }, about, action(&viewer, Role::Operator, "", &here, language.ask_stacks())))
        @match &told {
            Ok(info) => {
                p.faint { (language.member_about()) }
                (details(&viewer, info, stacks))
            }
            Err(why) => { div.notice.warning { p { (fill(language.member_silent(), &[why])) } } }
        }
    }))
}

fn details(viewer: &Viewer, info: &ConsumerRunningInfo, stacks: bool) -> Markup {
    let language = viewer.language;
    html! {
        @if info.mq_table.0.is_empty() && info.mq_pop_table.0.is_empty() { (empty(language.no_queue_here(), &[])) }
        @if !info.mq_table.0.is_empty() { h2 { (language.queues_it_pulls()) } (pulled(viewer, &info.mq_table.0)) }
        @if !info.mq_pop_table.0.is_empty() { h2 { (language.queues_it_pops()) } (popped(viewer, &info.mq_pop_table.0)) }
        @if !info.status_table.is_empty() { h2 { (language.rates_of_member()) } (rates(language, &info.status_table)) }
        @if !info.subscription_set.is_empty() {
            h2 { (language.subscriptions()) }
            table {
                thead { tr { th { (language.topic()) } th { (language.expression()) } } }
                tbody {
                    @for subscription in &info.subscription_set {
                        tr { td { a href=(viewer.links.topic(&subscription.topic)) { (subscription.topic) } } td.code { (subscription.sub_string) } }
                    }
                }
            }
        }
        @if !info.properties.is_empty() || !info.user_consumer_info.is_empty() {
            h2 { (language.own_facts()) }
            (facts(language, info))
        }
        @if stacks {
            h2 { (language.stacks()) }
            @match info.jstack.as_deref().filter(|text| !text.is_empty()) {
                Some(text) => { pre.body tabindex="0" { (text) } }
                None => { (empty(language.stacks_none(), &[])) }
            }
        }
    }
}

fn place(viewer: &Viewer, queue: &MessageQueue) -> Markup {
    html! {
        td { a href=(viewer.links.topic(&queue.topic)) { (queue.topic) } }
        td { (queue.broker_name) }
        td.number { (queue.queue_id) }
    }
}

/// A time that a client told; zero for never.
fn since(viewer: &Viewer, time_ms: i64) -> Markup {
    ago(viewer, Some(time_ms).filter(|time_ms| 0 < *time_ms), clock::now_ms())
}

fn pulled(viewer: &Viewer, queues: &[(MessageQueue, ProcessQueueInfo)]) -> Markup {
    let language = viewer.language;
    let mut sorted: Vec<_> = queues.iter().collect();
    sorted.sort_by(|(one, _), (other, _)| one.cmp(other));
    html! {
        div.wide {
            table {
                thead {
                    tr {
                        th { (language.topic()) } th { (language.broker()) } th.number { (language.queue()) }
                        th.number { (language.committed()) } th.number { (language.in_memory()) }
                        th.number { (language.last_pull()) } th.number { (language.last_consumed()) } th { (language.state()) }
                    }
                }
                tbody {
                    @for (queue, state) in sorted {
                        tr {
                            (place(viewer, queue))
                            td.number { (known((0 <= state.commit_offset).then_some(state.commit_offset), language.no_offset_yet())) }
                            td.number {
                                (show::count(state.cached_msg_count.into()))
                                @if 0 < state.cached_msg_count { " " span.faint { "(" (state.cached_msg_min_offset) "–" (state.cached_msg_max_offset) ")" } }
                            }
                            td.number { (since(viewer, state.last_pull_timestamp)) }
                            td.number { (since(viewer, state.last_consume_timestamp)) }
                            td { @if state.locked { (chip(language.locked())) " " } @if state.dropped { (chip(language.given_away())) } }
                        }
                    }
                }
            }
        }
    }
}

fn popped(viewer: &Viewer, queues: &[(MessageQueue, PopProcessQueueInfo)]) -> Markup {
    let language = viewer.language;
    let mut sorted: Vec<_> = queues.iter().collect();
    sorted.sort_by(|(one, _), (other, _)| one.cmp(other));
    html! {
        div.wide {
            table {
                thead {
                    tr {
                        th { (language.topic()) } th { (language.broker()) } th.number { (language.queue()) }
                        th.number { (language.not_acknowledged()) } th.number { (language.last_pop()) } th { (language.state()) }
                    }
                }
                tbody {
                    @for (queue, state) in sorted {
                        tr {
                            (place(viewer, queue))
                            td.number { (show::count(state.wait_ack_count.into())) }
                            td.number { (since(viewer, state.last_pop_timestamp)) }
                            td { @if state.dropped { (chip(language.given_away())) } }
                        }
                    }
                }
            }
        }
    }
}

fn rates(language: Language, topics: &BTreeMap<String, ConsumeStatus>) -> Markup {
    let millis = |value: f64| format!("{value:.1} ms");
    html! {
        div.wide {
            table {
                thead {
                    tr {
                        th { (language.topic()) } th.number { (language.pulled_per_second()) } th.number { (language.time_of_pull()) }
                        th.number { (language.done_per_second()) } th.number { (language.time_of_message()) } th.number { (language.failed_in_hour()) }
                    }
                }
                tbody {
                    @for (topic, status) in topics {
                        tr {
                            td { (topic) }
                            td.number { (show::rate(status.pull_tps)) }
                            td.number { (millis(status.pull_rt)) }
                            td.number { (show::rate(status.consume_ok_tps)) }
                            td.number { (millis(status.consume_rt)) }
                            td.number { (show::count(status.consume_failed_msgs)) }
                        }
                    }
                }
            }
        }
    }
}

fn facts(language: Language, info: &ConsumerRunningInfo) -> Markup {
    html! {
        div.wide {
            table {
                thead { tr { th { (language.setting()) } th { (language.value()) } } }
                tbody {
                    @for (name, value) in info.properties.iter().chain(&info.user_consumer_info) {
                        tr { td.code { (name) } td.code { (value) } }
                    }
                }
            }
        }
    }
}
