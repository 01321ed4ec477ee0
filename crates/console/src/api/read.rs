//! What the API tells. Numbers that may not fit a double are texts; what is not known is null; who did not answer is
//! named in `errors`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use client::admin::StoredMessage;
use client::clock;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::etag;
use crate::app::App;
use crate::auth::Role;
use crate::cluster::brokers::{BrokerAt, Runtime};
use crate::cluster::catalog::{Group, Topic, TopicKind};
use crate::cluster::consumption::Progress;
use crate::cluster::messages::{Cursor, Filter, Range};
use crate::cluster::why::{Silent, Why};
use crate::input::{Params, Values};
use crate::page::PageError;
use crate::pages::groups::group_of;
use crate::pages::topics::topic_of;
use crate::viewer::Viewer;

/// Items of one answer when none are asked for, and at most.
const LIMIT: usize = 100;
pub const LIMIT_MAX: usize = 500;

/// An answer in JSON.
pub fn answer(value: &Value) -> Response {
    ([(CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

/// Who did not answer, and why.
pub fn errors(silent: &[Silent]) -> Vec<Value> {
    let code = |why: &Why| match why {
        Why::Silent { .. } => "TIMEOUT",
        Why::Unreachable(_) => "UNREACHABLE",
        Why::Unsupported => "UNSUPPORTED",
        Why::Refused { .. } => "REFUSED",
        Why::Garbled(_) => "GARBLED",
    };
    silent
        .iter()
        .map(|one| json!({ "node": one.node, "code": code(&one.why), "detail": one.why.to_string() }))
        .collect()
}

/// A list: items, where to go on, how many there are, and who is missing.
pub fn list(items: Vec<Value>, next: Option<&str>, total: usize, asked_ms: i64, missing: &[Silent]) -> Response {
    answer(&json!({
        "items": items, "next": next, "total": total, "asOf": asked_ms, "partial": !missing.is_empty(), "errors": errors(missing),
    }))
}

/// How many items are asked for.
pub fn limit(params: &Values) -> Result<usize, PageError> {
    let limit = params.number::<usize>("limit")?.unwrap_or(LIMIT);
    if (1..=LIMIT_MAX).contains(&limit) {
        return Ok(limit);
    }
    Err(PageError::BadRequest(format!("`limit` is {limit}; expected 1 to {LIMIT_MAX}")))
}

/// Named items, and the name to go on from where there are more.
type Window<'n, T> = (Vec<(&'n String, T)>, Option<&'n str>);

/// Items after `cursor`, and the name to go on from where there are more.
fn window<'n, T>(sorted: impl Iterator<Item = (&'n String, T)>, params: &Values) -> Result<Window<'n, T>, PageError> {
    let limit = limit(params)?;
    let after = params.given("cursor");
    let mut rows: Vec<(&String, T)> =
        sorted.filter(|(name, _)| after.is_none_or(|after| after < name.as_str())).take(limit + 1).collect();
    let has_more = limit < rows.len();
    rows.truncate(limit);
    let next = rows.last().filter(|_| has_more).map(|(name, _)| name.as_str());
    Ok((rows, next))
}

/// `GET /api/v1/overview`
pub async fn overview(State(app): State<Arc<App>>, Params(params): Params) -> Result<Response, PageError> {
    params.only(&[])?;
    let (brokers, catalog, consumption) =
        tokio::join!(app.cluster.brokers(), app.cluster.catalog(), app.cluster.consumption());
    let lag: i64 = consumption.groups.values().filter_map(Progress::lag).sum();
    let user_topics = catalog.topics.values().filter(|topic| topic.kind == TopicKind::User).count();
    let silent: Vec<Silent> = brokers.silent.iter().chain(&catalog.silent).cloned().collect();
    Ok(answer(&json!({
        "brokers": brokers.brokers.len(),
        "brokersAnswering": brokers.brokers.iter().filter(|broker| broker.runtime.is_ok()).count(),
        "topics": user_topics,
        "groups": catalog.groups.values().filter(|group| !group.is_system).count(),
        "inPerSecond": brokers.sum(Runtime::in_per_second),
        "outPerSecond": brokers.sum(Runtime::out_per_second),
        "lag": (!consumption.is_partial).then(|| lag.to_string()),
        "asOf": brokers.asked_ms,
        "partial": !silent.is_empty(),
        "errors": errors(&silent),
    })))
}

/// `GET /api/v1/brokers`
pub async fn brokers(State(app): State<Arc<App>>, Params(params): Params) -> Result<Response, PageError> {
    params.only(&[])?;
    let brokers = app.cluster.brokers().await;
    let items: Vec<Value> = brokers
        .brokers
        .iter()
        .map(|broker| {
            let runtime = broker.runtime.as_ref().ok();
            json!({
                "name": broker.at.name, "id": broker.at.id, "cluster": broker.at.cluster, "address": broker.at.address,
                "answers": runtime.is_some(), "version": runtime.and_then(Runtime::version),
                "inPerSecond": runtime.and_then(Runtime::in_per_second), "outPerSecond": runtime.and_then(Runtime::out_per_second),
                "diskUsed": runtime.and_then(Runtime::disk_used), "startedAt": runtime.and_then(Runtime::started_ms),
                "runtime": runtime.map(|runtime| &runtime.0),
            })
        })
        .collect();
    let total = items.len();
    Ok(list(items, None, total, brokers.asked_ms, &brokers.silent))
}

/// `GET /api/v1/nameservers`
pub async fn nameservers(State(app): State<Arc<App>>, Params(params): Params) -> Result<Response, PageError> {
    params.only(&[])?;
    let brokers = app.cluster.brokers().await;
    let named = |at: &BrokerAt| json!({ "name": at.name, "id": at.id, "cluster": at.cluster, "address": at.address });
    let items: Vec<Value> = brokers
        .nameservers
        .iter()
        .map(|view| {
            let known = view.brokers.as_ref().ok();
            // What this one lacks and another one knows.
            let missing: Vec<Value> = brokers.missing_at(view).into_iter().map(named).collect();
            json!({
                "address": view.address, "answers": known.is_some(),
                "brokers": known.map(|known| known.iter().map(named).collect::<Vec<_>>()), "missing": missing,
            })
        })
        .collect();
    let total = items.len();
    Ok(list(items, None, total, brokers.asked_ms, &brokers.silent))
}

/// `GET /api/v1/dlq`
pub async fn dead_letters(State(app): State<Arc<App>>, Params(params): Params) -> Result<Response, PageError> {
    params.only(&["limit", "cursor"])?;
    let catalog = app.cluster.catalog().await;
    let topics: BTreeMap<String, &str> =
        catalog.dead_letter_topics().map(|(group, topic)| (group.to_owned(), topic.name.as_str())).collect();
    let (rows, next) = window(topics.iter(), &params)?;
    let asking = rows.iter().map(async |(group, topic)| {
        let holdings = app.cluster.holdings(topic).await;
        json!({
            "group": group, "topic": topic, "messages": holdings.messages().map(|count| count.to_string()),
            "lastStoredAt": holdings.last_stored_ms(),
        })
    });
    let items = futures_util::future::join_all(asking).await;
    Ok(list(items, next, topics.len(), catalog.asked_ms, &catalog.silent))
}

/// A topic as the API tells it.
pub fn topic_value(topic: &Topic) -> Value {
    let kind = match topic.kind {
        TopicKind::User => "user",
        TopicKind::Retry => "retry",
        TopicKind::DeadLetter => "dead",
        TopicKind::System => "system",
    };
    let brokers: serde_json::Map<String, Value> = topic
        .brokers
        .iter()
        .map(|(broker, config)| {
            let value = json!({
                "readQueues": config.read_queue_nums, "writeQueues": config.write_queue_nums, "perm": config.perm,
                "order": config.order, "attributes": config.attributes,
            });
            (broker.clone(), value)
        })
        .collect();
    json!({ "name": topic.name, "kind": kind, "messageType": topic.message_type(), "drifts": topic.drifts(), "brokers": brokers })
}

/// `GET /api/v1/topics?q=&kind=&limit=&cursor=`
pub async fn topics(State(app): State<Arc<App>>, Params(params): Params) -> Result<Response, PageError> {
    params.only(&["q", "kind", "limit", "cursor"])?;
    let kind = match params.given("kind").unwrap_or("user") {
        "user" => Some(TopicKind::User),
        "retry" => Some(TopicKind::Retry),
        "dead" => Some(TopicKind::DeadLetter),
        "system" => Some(TopicKind::System),
        "all" => None,
        other => {
            return Err(PageError::BadRequest(format!("`kind` is `{other}`; known: user, retry, dead, system, all")));
        }
    };
    let wanted = params.get("q").to_lowercase();
    let catalog = app.cluster.catalog().await;
    let fits =
        |topic: &Topic| kind.is_none_or(|kind| topic.kind == kind) && topic.name.to_lowercase().contains(&wanted);
    let total = catalog.topics.values().filter(|topic| fits(topic)).count();
    let (rows, next) = window(catalog.topics.iter().filter(|(_, topic)| fits(topic)), &params)?;
    Ok(list(rows.iter().map(|(_, topic)| topic_value(topic)).collect(), next, total, catalog.asked_ms, &catalog.silent))
}

/// `GET /api/v1/topics/{topic}`
pub async fn topic(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path(name): Path<String>,
    headers: HeaderMap,
    Params(params): Params,
) -> Result<Response, PageError> {
    params.only(&[])?;
    let catalog = app.cluster.catalog().await;
    Ok(etag::tagged(&headers, &topic_value(topic_of(&viewer, &catalog, &name)?)))
}

/// `GET /api/v1/topics/{topic}/queues`
pub async fn queues(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path(name): Path<String>,
    Params(params): Params,
) -> Result<Response, PageError> {
    params.only(&[])?;
    topic_of(&viewer, &*app.cluster.catalog().await, &name)?;
    let holdings = app.cluster.holdings(&name).await;
    let items: Vec<Value> = holdings
        .queues
        .iter()
        .map(|queue| {
            json!({
                "broker": queue.broker, "queue": queue.queue_id, "minOffset": queue.offset.min_offset.to_string(),
                "maxOffset": queue.offset.max_offset.to_string(), "lastStoredAt": queue.last_stored_ms(),
            })
        })
        .collect();
    let total = items.len();
    Ok(list(items, None, total, holdings.asked_ms, &holdings.silent))
}

/// A message as the API tells it; its body only to who may read it.
pub fn message_value(viewer: &Viewer, message: &StoredMessage) -> Value {
    let received = &message.received;
    let body = viewer.may(Role::Viewer).then(|| String::from_utf8_lossy(&received.body).into_owned());
    json!({
        "topic": received.topic, "id": received.message_id, "offsetId": received.offset_message_id, "broker": received.broker,
        "queue": received.queue_id, "offset": received.offset.to_string(), "tag": received.tag, "keys": received.keys,
        "properties": received.properties.iter().cloned().collect::<std::collections::BTreeMap<String, String>>(),
        "bornAt": received.born_timestamp_ms, "storedAt": received.store_timestamp_ms, "reconsumeTimes": received.reconsume_times,
        "size": received.body.len(), "body": body,
    })
}

/// `GET /api/v1/topics/{topic}/messages?from=&to=&tag=&key=&text=&limit=&cursor=`
pub async fn messages(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path(name): Path<String>,
    Params(params): Params,
) -> Result<Response, PageError> {
    params.only(&["from", "to", "tag", "key", "text", "limit", "cursor"])?;
    topic_of(&viewer, &*app.cluster.catalog().await, &name)?;
    if let Some(key) = params.given("key") {
        let found = app.cluster.messages_by_key(&name, key, false).await;
        let items: Vec<Value> = found.messages.iter().map(|message| message_value(&viewer, message)).collect();
        let total = items.len();
        return Ok(list(items, None, total, clock::now_ms(), &found.silent));
    }
    let own = |name: &str| params.given(name).map(str::to_owned);
    let filter = Filter { tag: own("tag"), text: own("text"), queue: None };
    if filter.text.is_some() {
        viewer.must(Role::Viewer)?;
    }
    let cursor = match params.given("cursor") {
        None => None,
        Some(text) => {
            Some(Cursor::parse(text).ok_or_else(|| PageError::BadRequest("`cursor` is none of ours".to_owned()))?)
        }
    };
    let range = Range { from_ms: params.number("from")?, to_ms: params.number("to")? };
    let scanned = app.cluster.scan_messages(&name, range, cursor.as_ref(), &filter, limit(&params)?).await;
    let items: Vec<Value> = scanned.messages.iter().map(|message| message_value(&viewer, message)).collect();
    Ok(answer(&json!({
        "items": items, "scanned": scanned.looked_at.to_string(), "matched": scanned.messages.len(),
        "truncated": scanned.next.is_some(), "next": scanned.next.map(|cursor| cursor.to_string()),
        "asOf": clock::now_ms(), "partial": !scanned.silent.is_empty(), "errors": errors(&scanned.silent),
    })))
}

/// `GET /api/v1/messages/{topic}/{id}`
pub async fn message(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path((topic, id)): Path<(String, String)>,
    Params(params): Params,
) -> Result<Response, PageError> {
    params.only(&[])?;
    let found = app.cluster.messages_by_id(&topic, &id).await;
    let items: Vec<Value> = found.messages.iter().map(|message| message_value(&viewer, message)).collect();
    match items.len() {
        0 if found.silent.is_empty() => Err(PageError::NotFound(format!("topic `{topic}` has no message `{id}`"))),
        total => Ok(list(items, None, total, clock::now_ms(), &found.silent)),
    }
}

/// A group as the API tells it.
pub fn group_value(group: &Group) -> Value {
    let brokers: serde_json::Map<String, Value> = group
        .brokers
        .iter()
        .map(|(broker, config)| {
            let value = json!({
                "consumeEnable": config.consume_enable, "consumeBroadcastEnable": config.consume_broadcast_enable,
                "consumeFromMinEnable": config.consume_from_min_enable, "consumeMessageOrderly": config.consume_message_orderly,
                "retryMaxTimes": config.retry_max_times, "retryQueueNums": config.retry_queue_nums,
            });
            (broker.clone(), value)
        })
        .collect();
    json!({ "name": group.name, "system": group.is_system, "brokers": brokers })
}

/// `GET /api/v1/groups?q=&limit=&cursor=`
pub async fn groups(State(app): State<Arc<App>>, Params(params): Params) -> Result<Response, PageError> {
    params.only(&["q", "limit", "cursor"])?;
    let wanted = params.get("q").to_lowercase();
    let catalog = app.cluster.catalog().await;
    let fits = |group: &Group| !group.is_system && group.name.to_lowercase().contains(&wanted);
    let total = catalog.groups.values().filter(|group| fits(group)).count();
    let (rows, next) = window(catalog.groups.iter().filter(|(_, group)| fits(group)), &params)?;
    Ok(list(rows.iter().map(|(_, group)| group_value(group)).collect(), next, total, catalog.asked_ms, &catalog.silent))
}

/// `GET /api/v1/groups/{group}`
pub async fn group(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path(name): Path<String>,
    headers: HeaderMap,
    Params(params): Params,
) -> Result<Response, PageError> {
    params.only(&[])?;
    let catalog = app.cluster.catalog().await;
    Ok(etag::tagged(&headers, &group_value(group_of(&viewer, &catalog, &name)?)))
}

/// `GET /api/v1/groups/{group}/progress`
pub async fn progress(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path(name): Path<String>,
    Params(params): Params,
) -> Result<Response, PageError> {
    params.only(&[])?;
    group_of(&viewer, &*app.cluster.catalog().await, &name)?;
    let progress = app.cluster.progress(&name).await;
    let items: Vec<Value> = progress
        .queues
        .iter()
        .map(|queue| {
            json!({
                "topic": queue.topic, "broker": queue.broker, "queue": queue.queue_id,
                "consumerOffset": queue.offset.consumer_offset.to_string(), "brokerOffset": queue.offset.broker_offset.to_string(),
                "lag": queue.lag().map(|lag| lag.to_string()), "behindMs": queue.behind_ms(progress.asked_ms),
            })
        })
        .collect();
    let total = items.len();
    Ok(list(items, None, total, progress.asked_ms, &progress.silent))
}
