//! What the API changes. Every answer tells what came of it on each node.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use client::Message;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use protocol::bodies::topic_config::{PERM_READ, PERM_WRITE, TopicConfig};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::read::{answer, topic_value};
use super::{PROBLEM, etag, problem};
use crate::activity::deed::Outcomes;
use crate::app::App;
use crate::auth::Role;
use crate::cluster::changes::{Outcome, ResetPlan, Target};
use crate::cluster::place::Place;
use crate::cluster::why::with_causes;
use crate::input::{Params, Values};
use crate::page::PageError;
use crate::pages::groups::group_of;
use crate::pages::topics::topic_of;
use crate::viewer::Viewer;

/// Most queues of a topic on one broker.
const QUEUES_MAX: i32 = 1024;
/// What topics may be declared for.
const MESSAGE_TYPES: [&str; 8] = ["NORMAL", "FIFO", "DELAY", "TRANSACTION", "MIXED", "PRIORITY", "LITE", "UNSPECIFIED"];
/// Most characters of a topic's name.
const TOPIC_NAME_MAX: usize = 127;
/// The same of a topic of retries or dead letters.
const GROUP_TOPIC_NAME_MAX: usize = 255;

/// A topic to be created or changed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewTopic {
    name: String,
    #[serde(default = "eight")]
    read_queues: i32,
    #[serde(default = "eight")]
    write_queues: i32,
    message_type: Option<String>,
}

fn eight() -> i32 {
    8
}

/// A message to be sent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewMessage {
    body: String,
    tag: Option<String>,
    #[serde(default)]
    keys: Vec<String>,
    #[serde(default)]
    properties: std::collections::BTreeMap<String, String>,
}

/// Where a group is to be moved: `earliest`, `latest`, milliseconds since 1970, or places.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    topic: String,
    to: Value,
}

/// Where a group stands, queue by queue, for the entry of a reset.
pub fn offsets_before(plan: &ResetPlan) -> Value {
    plan.moves
        .iter()
        .map(|planned| json!({ "broker": planned.broker, "queue": planned.queue_id, "offset": planned.old }))
        .collect()
}

/// The body of a request. That it has to be said to be JSON keeps forms of other sites out.
pub fn read<T: DeserializeOwned>(headers: &HeaderMap, body: &Bytes) -> Result<T, PageError> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if content_type.split(';').next().unwrap_or_default().trim() != "application/json" {
        return Err(PageError::BadRequest(format!("`content-type` is `{content_type}`; expected application/json")));
    }
    serde_json::from_slice(body).map_err(|error| PageError::BadRequest(format!("the body is not understood: {error}")))
}

/// Whether only a plan is asked for.
pub fn is_dry_run(viewer: &Viewer, params: &Values) -> Result<bool, PageError> {
    let is_dry_run = params.flag("dryRun")?;
    if is_dry_run {
        viewer.deed.only_looks();
    }
    Ok(is_dry_run)
}

fn node_value(outcome: &Outcome) -> Value {
    let error = outcome.result.as_ref().err().map(ToString::to_string);
    json!({ "node": outcome.node, "done": error.is_none(), "error": error })
}

/// What came of a change: 200 where all went well, 207 where some nodes refused, 502 where all did.
pub fn outcome(outcomes: &[Outcome]) -> Response {
    let nodes: Vec<Value> = outcomes.iter().map(node_value).collect();
    let done = outcomes.iter().filter(|outcome| outcome.result.is_ok()).count();
    let told = json!({ "nodes": nodes });
    let (status, content_type, told) = match done {
        0 => (StatusCode::BAD_GATEWAY, PROBLEM, nobody_did_it(outcomes, told)),
        all if all == outcomes.len() => (StatusCode::OK, "application/json", told),
        _ => (StatusCode::MULTI_STATUS, "application/json", told),
    };
    let mut response = (status, [(CONTENT_TYPE, content_type)], told.to_string()).into_response();
    response.extensions_mut().insert(Outcomes(outcomes.to_vec()));
    response
}

/// The problem that no node did what was asked, and why each did not.
fn nobody_did_it(outcomes: &[Outcome], mut told: Value) -> Value {
    let reason = |outcome: &Outcome| Some(format!("{}: {}", outcome.node, outcome.result.as_ref().err()?));
    let reasons: Vec<String> = outcomes.iter().filter_map(reason).collect();
    let detail = if reasons.is_empty() { "no broker is known".to_owned() } else { reasons.join("; ") };
    if let (Value::Object(told), Value::Object(problem)) =
        (&mut told, problem("upstream", StatusCode::BAD_GATEWAY, &detail))
    {
        told.extend(problem);
    }
    told
}

/// Topics that belong to a group have its name in theirs.
fn topic_name_max(name: &str) -> usize {
    if name.starts_with("%RETRY%") || name.starts_with("%DLQ%") { GROUP_TOPIC_NAME_MAX } else { TOPIC_NAME_MAX }
}

/// A name of a topic or group that brokers take: at most `most` of the characters that they allow.
pub fn check_name(field: &str, name: &str, most: usize) -> Result<(), PageError> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-%|".contains(&byte);
    if (1..=most).contains(&name.len()) && name.bytes().all(is_allowed) {
        return Ok(());
    }
    let expected = format!("expected 1 to {most} letters, digits or `_`, `-`, `%`, `|`");
    Err(PageError::BadRequest(format!("`{field}` is `{name}`; {expected}")))
}

/// `POST /api/v1/topics?dryRun=`
pub async fn put_topic(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    headers: HeaderMap,
    Params(params): Params,
    body: Bytes,
) -> Result<Response, PageError> {
    params.only(&["dryRun"])?;
    viewer.must(Role::Operator)?;
    let new: NewTopic = read(&headers, &body)?;
    check_name("name", &new.name, topic_name_max(&new.name))?;
    for (name, queues) in [("readQueues", new.read_queues), ("writeQueues", new.write_queues)] {
        if !(1..=QUEUES_MAX).contains(&queues) {
            return Err(PageError::BadRequest(format!("`{name}` is {queues}; expected 1 to {QUEUES_MAX}")));
        }
    }
    if let Some(kind) = new.message_type.as_deref().filter(|kind| !MESSAGE_TYPES.contains(kind)) {
        let known = MESSAGE_TYPES.join(", ");
        return Err(PageError::BadRequest(format!("`messageType` is `{kind}`; known: {known}")));
    }
    let kind = new.message_type.clone().map(|kind| ("+message.type".to_owned(), kind));
    let after = json!({
        "name": new.name, "readQueues": new.read_queues, "writeQueues": new.write_queues, "messageType": new.message_type,
    });
    let before = etag::catalog(&app, &headers).await.topics.get(&new.name).map(topic_value);
    etag::check(&headers, before.as_ref())?;
    if is_dry_run(&viewer, &params)? {
        return Ok(etag::plan(before.as_ref(), &after));
    }
    viewer.deed.after(after);
    if let Some(before) = before {
        viewer.deed.before(before);
    }
    let config = TopicConfig {
        topic_name: new.name,
        read_queue_nums: new.read_queues,
        write_queue_nums: new.write_queues,
        perm: PERM_READ | PERM_WRITE,
        attributes: kind.into_iter().collect(),
        ..TopicConfig::default()
    };
    tracing::info!(user = viewer.user, topic = config.topic_name, "topic put by the API");
    Ok(outcome(&app.cluster.put_topic(&[], &config).await))
}

/// `DELETE /api/v1/topics/{topic}?dryRun=`
pub async fn delete_topic(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path(name): Path<String>,
    headers: HeaderMap,
    Params(params): Params,
) -> Result<Response, PageError> {
    params.only(&["dryRun"])?;
    viewer.must(Role::Admin)?;
    let before = topic_value(topic_of(&viewer, &*etag::catalog(&app, &headers).await, &name)?);
    etag::check(&headers, Some(&before))?;
    if is_dry_run(&viewer, &params)? {
        return Ok(etag::plan(Some(&before), &Value::Null));
    }
    viewer.deed.before(before);
    tracing::info!(user = viewer.user, topic = name, "topic deleted by the API");
    Ok(outcome(&app.cluster.delete_topic(&name).await))
}

/// `POST /api/v1/topics/{topic}/messages`
pub async fn send(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path(topic): Path<String>,
    headers: HeaderMap,
    Params(params): Params,
    body: Bytes,
) -> Result<Response, PageError> {
    params.only(&[])?;
    viewer.must(Role::Operator)?;
    let new: NewMessage = read(&headers, &body)?;
    check_name("topic", &topic, topic_name_max(&topic))?;
    if new.body.is_empty() {
        return Err(PageError::BadRequest("`body` is empty; brokers store no message without one".to_owned()));
    }
    let texts = new.properties.iter().flat_map(|(name, value)| [name, value]).chain(&new.keys).chain(&new.tag);
    if let Some(text) = texts.into_iter().find(|text| text.contains(['\u{1}', '\u{2}'])) {
        return Err(PageError::BadRequest(format!("`{text}` has a character that separates stored properties")));
    }
    viewer.deed.after(json!({ "tag": new.tag, "keys": new.keys, "bytes": new.body.len() }));
    let properties = new.properties.into_iter().collect();
    let message =
        Message { topic, body: new.body.into_bytes(), tag: new.tag, keys: new.keys, delay_level: None, properties };
    let sent = app.cluster.send(&message).await.map_err(|error| PageError::Upstream(with_causes(&error)))?;
    tracing::info!(user = viewer.user, topic = message.topic, id = sent.message_id, "message sent by the API");
    let told = json!({
        "id": sent.message_id, "offsetId": sent.offset_message_id, "broker": sent.broker, "queue": sent.queue_id,
        "offset": sent.offset.to_string(),
    });
    Ok((StatusCode::CREATED, [(CONTENT_TYPE, "application/json")], told.to_string()).into_response())
}

/// A place as entries of resets have it, so that what was there before can be sent back.
fn place(value: &Value) -> Result<Place, PageError> {
    let offset = value["offset"].as_i64().or_else(|| value["offset"].as_str()?.parse().ok());
    let queue_id = value["queue"].as_i64().and_then(|queue_id| i32::try_from(queue_id).ok());
    match (value["broker"].as_str(), queue_id, offset.filter(|offset| 0 <= *offset)) {
        (Some(broker), Some(queue_id), Some(offset)) => Ok(Place { broker: broker.to_owned(), queue_id, offset }),
        _ => {
            let expected = "expected `broker`, `queue` and `offset`, from 0 on";
            Err(PageError::BadRequest(format!("a place of `to` is {value}; {expected}")))
        }
    }
}

/// `PATCH /api/v1/groups/{group}/offsets?dryRun=`
pub async fn reset(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path(group): Path<String>,
    headers: HeaderMap,
    Params(params): Params,
    body: Bytes,
) -> Result<Response, PageError> {
    params.only(&["dryRun"])?;
    viewer.must(Role::Operator)?;
    let wish: Move = read(&headers, &body)?;
    let target = match &wish.to {
        Value::String(text) if text == "earliest" => Target::Earliest,
        Value::String(text) if text == "latest" => Target::Latest,
        Value::Number(number) if number.as_i64().is_some_and(|time_ms| 0 < time_ms) => {
            Target::Time(number.as_i64().unwrap_or_default())
        }
        Value::Array(places) => {
            // Where a group stood nowhere, there is no way back.
            let places = places.iter().filter(|place| place.get("offset") != Some(&Value::Null));
            Target::Places(places.map(place).collect::<Result<_, _>>()?)
        }
        other => {
            let expected = "expected \"earliest\", \"latest\", milliseconds since 1970 or places";
            return Err(PageError::BadRequest(format!("`to` is {other}; {expected}")));
        }
    };
    group_of(&viewer, &*app.cluster.catalog().await, &group)?;
    let plan = app.cluster.plan_reset(&group, &wish.topic, &target).await;
    // Where a group stands now moves all the time; the plan is where it would go.
    let places: Value = plan.moves.iter().map(|to| json!([to.broker, to.queue_id, to.new])).collect();
    etag::check(&headers, Some(&places))?;
    if is_dry_run(&viewer, &params)? {
        let moves: Vec<Value> = plan
            .moves
            .iter()
            .map(|planned| {
                json!({
                    "broker": planned.broker, "queue": planned.queue_id, "from": planned.old.map(|offset| offset.to_string()),
                    "to": planned.new.to_string(),
                })
            })
            .collect();
        let tag = etag::of(&places);
        let troubles: Vec<Value> = plan.troubles.iter().map(node_value).collect();
        let told = json!({ "dryRun": true, "online": plan.is_online, "moves": moves, "nodes": troubles, "etag": tag });
        return Ok(etag::with(answer(&told), &tag));
    }
    viewer.deed.before(offsets_before(&plan));
    viewer.deed.after(json!({ "topic": wish.topic, "to": wish.to }));
    tracing::info!(user = viewer.user, group, topic = wish.topic, target = ?target, "group moved by the API");
    let mut outcomes = app.cluster.reset(&group, &wish.topic, &target, &plan).await;
    outcomes.extend(plan.troubles);
    Ok(outcome(&outcomes))
}
