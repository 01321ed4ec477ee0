//! Configuration of groups and brokers, changed by programs.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Response;
use http::HeaderMap;
use protocol::bodies::subscription_group::SubscriptionGroupConfig;
use serde::Deserialize;
use serde_json::{Value, json};

use super::etag;
use super::read::group_value;
use super::write::{check_name, is_dry_run, outcome, read};
use crate::app::App;
use crate::auth::Role;
use crate::cluster::brokers::BrokerAt;
use crate::cluster::changes::Outcome;
use crate::input::Params;
use crate::page::PageError;
use crate::pages::brokers::{broker_of, check_key};
use crate::pages::group_changes::{RETRIES_MAX, RETRY_QUEUES_MAX};
use crate::pages::groups::group_of;
use crate::viewer::Viewer;

/// Most characters of a group's name.
const GROUP_NAME_MAX: usize = 120;

/// A group to be created or changed; what is not given stays, or is as usual.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewGroup {
    name: String,
    consume_enable: Option<bool>,
    consume_broadcast_enable: Option<bool>,
    consume_from_min_enable: Option<bool>,
    consume_message_orderly: Option<bool>,
    retry_max_times: Option<i32>,
    retry_queue_nums: Option<i32>,
}

impl NewGroup {
    fn over(&self, base: &SubscriptionGroupConfig) -> Result<SubscriptionGroupConfig, PageError> {
        let number = |field: &str, given: Option<i32>, known: i32, least: i32, most: i32| match given {
            None => Ok(known),
            Some(number) if (least..=most).contains(&number) => Ok(number),
            Some(number) => Err(PageError::BadRequest(format!("`{field}` is {number}; expected {least} to {most}"))),
        };
        Ok(SubscriptionGroupConfig {
            group_name: self.name.clone(),
            consume_enable: self.consume_enable.unwrap_or(base.consume_enable),
            consume_broadcast_enable: self.consume_broadcast_enable.unwrap_or(base.consume_broadcast_enable),
            consume_from_min_enable: self.consume_from_min_enable.unwrap_or(base.consume_from_min_enable),
            consume_message_orderly: self.consume_message_orderly.unwrap_or(base.consume_message_orderly),
            retry_max_times: number("retryMaxTimes", self.retry_max_times, base.retry_max_times, -1, RETRIES_MAX)?,
            retry_queue_nums: number(
                "retryQueueNums",
                self.retry_queue_nums,
                base.retry_queue_nums,
                0,
                RETRY_QUEUES_MAX,
            )?,
            ..base.clone()
        })
    }
}

fn config_value(config: &SubscriptionGroupConfig) -> Value {
    json!({
        "name": config.group_name, "consumeEnable": config.consume_enable,
        "consumeBroadcastEnable": config.consume_broadcast_enable, "consumeFromMinEnable": config.consume_from_min_enable,
        "consumeMessageOrderly": config.consume_message_orderly, "retryMaxTimes": config.retry_max_times,
        "retryQueueNums": config.retry_queue_nums,
    })
}

/// `POST /api/v1/groups?dryRun=`
pub async fn put_group(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    headers: HeaderMap,
    Params(params): Params,
    body: Bytes,
) -> Result<Response, PageError> {
    params.only(&["dryRun"])?;
    viewer.must(Role::Operator)?;
    let new: NewGroup = read(&headers, &body)?;
    check_name("name", &new.name, GROUP_NAME_MAX)?;
    let catalog = etag::catalog(&app, &headers).await;
    let known = catalog.groups.get(&new.name);
    let config = new.over(&known.and_then(|group| group.config()).cloned().unwrap_or_default())?;
    let before = known.map(group_value);
    let after = config_value(&config);
    etag::check(&headers, before.as_ref())?;
    if is_dry_run(&viewer, &params)? {
        return Ok(etag::plan(before.as_ref(), &after));
    }
    viewer.deed.after(after);
    if let Some(before) = before {
        viewer.deed.before(before);
    }
    tracing::info!(user = viewer.user, group = new.name, "group put by the API");
    Ok(outcome(&app.cluster.put_group(&config).await))
}

/// `DELETE /api/v1/groups/{group}?topics=&dryRun=`
pub async fn delete_group(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path(name): Path<String>,
    headers: HeaderMap,
    Params(params): Params,
) -> Result<Response, PageError> {
    params.only(&["topics", "dryRun"])?;
    viewer.must(Role::Admin)?;
    let with_topics = params.flag("topics")?;
    let catalog = etag::catalog(&app, &headers).await;
    let before = group_value(group_of(&viewer, &catalog, &name)?);
    etag::check(&headers, Some(&before))?;
    if is_dry_run(&viewer, &params)? {
        return Ok(etag::plan(Some(&before), &Value::Null));
    }
    viewer.deed.before(before);
    viewer.deed.after(json!({ "topics": with_topics }));
    tracing::info!(user = viewer.user, group = name, "group deleted by the API");
    Ok(outcome(&app.cluster.delete_group(&name, with_topics).await))
}

async fn settings_of(app: &App, at: &BrokerAt) -> Result<BTreeMap<String, String>, PageError> {
    app.cluster.broker_settings(at).await.map_err(|why| PageError::Upstream(why.to_string()))
}

/// `GET /api/v1/brokers/{name}/{id}/config`
pub async fn settings(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path((name, id)): Path<(String, i64)>,
    headers: HeaderMap,
    Params(params): Params,
) -> Result<Response, PageError> {
    params.only(&[])?;
    let brokers = app.cluster.brokers().await;
    let settings = settings_of(&app, &broker_of(&viewer, &brokers, &name, id)?.at).await?;
    Ok(etag::tagged(&headers, &json!(settings)))
}

/// `PATCH /api/v1/brokers/{name}/{id}/config?dryRun=`: the settings to change, one after the other.
pub async fn change_settings(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path((name, id)): Path<(String, i64)>,
    headers: HeaderMap,
    Params(params): Params,
    body: Bytes,
) -> Result<Response, PageError> {
    params.only(&["dryRun"])?;
    viewer.must(Role::Admin)?;
    let changes: BTreeMap<String, String> = read(&headers, &body)?;
    for key in changes.keys() {
        check_key(key)?;
    }
    let brokers = app.cluster.brokers().await;
    let at = &broker_of(&viewer, &brokers, &name, id)?.at;
    let current = settings_of(&app, at).await?;
    let whole = json!(current);
    etag::check(&headers, Some(&whole))?;
    let before: BTreeMap<&String, Option<&String>> = changes.keys().map(|key| (key, current.get(key))).collect();
    if is_dry_run(&viewer, &params)? {
        let told = json!({ "dryRun": true, "before": before, "after": changes, "etag": etag::of(&whole) });
        return Ok(etag::with(super::read::answer(&told), &etag::of(&whole)));
    }
    viewer.deed.before(json!(before));
    viewer.deed.after(json!(changes));
    let mut outcomes = Vec::new();
    for (key, value) in &changes {
        let Outcome { node, result } = app.cluster.set_broker_setting(at, key, value).await;
        outcomes.push(Outcome { node: format!("{node} {key}"), result });
    }
    tracing::info!(user = viewer.user, broker = %at, "settings changed by the API");
    Ok(outcome(&outcomes))
}
