//! `/api/v1/groups/{group}/clients`: who is connected for a group, and what each member tells about itself.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use client::clock;
use protocol::bodies::message_queue::MessageQueue;
use protocol::bodies::running_info::ConsumerRunningInfo;
use serde_json::{Map, Value, json};

use super::read::{answer, list};
use crate::app::App;
use crate::auth::Role;
use crate::input::Params;
use crate::language::fill;
use crate::page::PageError;
use crate::pages::groups::group_of;
use crate::viewer::Viewer;

/// `GET /api/v1/groups/{group}/clients`
pub async fn clients(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path(name): Path<String>,
    Params(params): Params,
) -> Result<Response, PageError> {
    params.only(&[])?;
    group_of(&viewer, &*app.cluster.catalog().await, &name)?;
    let members = app.cluster.members(&name).await;
    let items: Vec<Value> = members
        .members
        .values()
        .map(|member| {
            json!({ "id": member.id, "address": member.address, "language": member.language, "version": member.version, "brokers": member.brokers })
        })
        .collect();
    let total = items.len();
    Ok(list(items, None, total, clock::now_ms(), &members.silent))
}

/// `GET /api/v1/groups/{group}/clients/{client}/running-info?stacks=`
pub async fn running_info(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path((group, client)): Path<(String, String)>,
    Params(params): Params,
) -> Result<Response, PageError> {
    params.only(&["stacks"])?;
    let stacks = params.flag("stacks")?;
    viewer.must(if stacks { Role::Operator } else { Role::Viewer })?;
    group_of(&viewer, &*app.cluster.catalog().await, &group)?;
    let members = app.cluster.members(&group).await;
    let missing = || PageError::NotFound(fill(viewer.language.no_such_member(), &[&client, &group]));
    let member = members.members.get(&client).ok_or_else(missing)?;
    let told = app.cluster.running_info(&group, member, stacks).await;
    Ok(answer(&value(&told.map_err(|why| PageError::Upstream(why.to_string()))?)))
}

fn value(info: &ConsumerRunningInfo) -> Value {
    let pulled = info.mq_table.0.iter().map(|(queue, state)| {
        of_queue(
            queue,
            json!({
                "committed": state.commit_offset.to_string(), "cached": state.cached_msg_count,
                "cachedFrom": state.cached_msg_min_offset.to_string(), "cachedTo": state.cached_msg_max_offset.to_string(),
                "lastPullAt": state.last_pull_timestamp, "lastConsumedAt": state.last_consume_timestamp,
                "locked": state.locked, "dropped": state.dropped,
            }),
        )
    });
    let popped = info.mq_pop_table.0.iter().map(|(queue, state)| {
        let state = json!({
            "unacknowledged": state.wait_ack_count, "lastPopAt": state.last_pop_timestamp, "dropped": state.dropped,
        });
        of_queue(queue, state)
    });
    let rates = info.status_table.iter().map(|(topic, status)| {
        let told = json!({
            "pulledPerSecond": status.pull_tps, "pullMs": status.pull_rt, "consumedPerSecond": status.consume_ok_tps,
            "consumeMs": status.consume_rt, "failedPerSecond": status.consume_failed_tps,
            "failedInHour": status.consume_failed_msgs,
        });
        (topic.clone(), told)
    });
    let subscriptions =
        info.subscription_set.iter().map(|one| json!({ "topic": one.topic, "expression": one.sub_string }));
    json!({
        "queues": pulled.collect::<Vec<_>>(), "popQueues": popped.collect::<Vec<_>>(),
        "rates": rates.collect::<Map<_, _>>(), "subscriptions": subscriptions.collect::<Vec<_>>(),
        "properties": info.properties, "own": info.user_consumer_info, "stacks": info.jstack,
    })
}

fn of_queue(queue: &MessageQueue, mut state: Value) -> Value {
    state["topic"] = queue.topic.as_str().into();
    state["broker"] = queue.broker_name.as_str().into();
    state["queue"] = queue.queue_id.into();
    state
}
