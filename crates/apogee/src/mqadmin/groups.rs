//! Consumer groups: how they are configured.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use client::Admin;
use protocol::bodies::assignment::{POP, PULL, RequestMode};
use protocol::bodies::subscription_group::{GroupRetryPolicy, SubscriptionGroupConfig};
use protocol::lenient_json;
use serde_json::json;

use super::print::{Out, java_map, or_null};
use super::targets::{Target, on_each};
use super::topics::{self, changes, is_true};
use crate::exit::{NotFound, Usage};

/// Options of `updateSubGroup`.
#[derive(Debug, Args)]
pub struct UpdateSubGroup {
    #[command(flatten)]
    target: Target,
    /// Group
    #[arg(short, long = "groupName")]
    group: String,
    /// Whether the group may consume: true or false
    #[arg(short = 's', long = "consumeEnable", default_value = "true")]
    consume_enable: String,
    /// Whether a queue without an offset begins at its first message: true or false
    #[arg(short = 'm', long = "consumeFromMinEnable", default_value = "false")]
    consume_from_min: String,
    /// Whether broadcasting consumers may pull: true or false
    #[arg(short = 'd', long = "consumeBroadcastEnable", default_value = "false")]
    broadcast: String,
    /// Whether messages of a queue are handed out in order: true or false
    #[arg(short = 'o', long = "consumeMessageOrderly", default_value = "false")]
    orderly: String,
    /// Queues of the retry topic
    #[arg(short = 'q', long = "retryQueueNums", default_value_t = 1)]
    retry_queues: i32,
    /// Retries before a message becomes a dead letter
    #[arg(short = 'r', long = "retryMaxTimes", default_value_t = 16)]
    retries: i32,
    /// Waits before retries, as JSON: {"type":"EXPONENTIAL","exponentialRetryPolicy":{"initial":5000,"max":7200000,
    /// "multiplier":2}} or {"type":"CUSTOMIZED","customizedRetryPolicy":{"next":[1000,5000,10000]}}
    #[arg(short = 'p', long = "groupRetryPolicy")]
    retry_policy: Option<String>,
    /// Id of the broker to consume from
    #[arg(short = 'i', long = "brokerId", default_value_t = 0)]
    broker_id: i64,
    /// Id of the broker to consume from when the group lags
    #[arg(short = 'w', long = "whichBrokerWhenConsumeSlowly", default_value_t = 1)]
    slow_broker_id: i64,
    /// Whether members are told when the group changes: true or false
    #[arg(short = 'a', long = "notifyConsumerIdsChanged", default_value = "true")]
    notify: String,
    /// Attributes: +a=b,+c=d,-e
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    attributes: String,
}

impl UpdateSubGroup {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let policy: GroupRetryPolicy = match &self.retry_policy {
            Some(text) => lenient_json::from_slice(text.as_bytes())
                .map_err(|error| Usage(format!("retry policy `{text}` is not understood: {error}")))?,
            None => GroupRetryPolicy::default(),
        };
        let group = SubscriptionGroupConfig {
            attributes: changes(&self.attributes)?,
            broker_id: self.broker_id,
            consume_broadcast_enable: is_true(&self.broadcast),
            consume_enable: is_true(&self.consume_enable),
            consume_from_min_enable: is_true(&self.consume_from_min),
            consume_message_orderly: is_true(&self.orderly),
            group_name: self.group.trim().to_owned(),
            group_retry_policy: policy,
            notify_consumer_ids_changed_enable: is_true(&self.notify),
            retry_max_times: self.retries,
            retry_queue_nums: self.retry_queues,
            which_broker_when_consume_slowly: self.slow_broker_id,
            ..SubscriptionGroupConfig::default()
        };
        let addresses = self.target.addresses(admin).await?;
        on_each(&addresses, async |address: &str| {
            admin.create_group_at(address, &group).await?;
            out.line(format!("create subscription group to {address} success."));
            out.value(json!({ "group": group.group_name, "broker": address }));
            Ok(())
        })
        .await?;
        let fields: Vec<String> = facts(&group).iter().map(|(name, value)| format!("{name}={value}")).collect();
        out.line(format!("SubscriptionGroupConfig{{{}}}", fields.join(", ")));
        Ok(())
    }
}

fn policy_text(policy: &GroupRetryPolicy) -> String {
    let exponential = policy.exponential_retry_policy.as_ref().map(|it| {
        format!("ExponentialRetryPolicy{{initial={}, max={}, multiplier={}}}", it.initial, it.max, it.multiplier)
    });
    let customized = policy.customized_retry_policy.as_ref().map(|it| {
        let waits: Vec<String> = it.next.iter().map(i64::to_string).collect();
        format!("CustomizedRetryPolicy{{next=[{}]}}", waits.join(", "))
    });
    format!(
        "GroupRetryPolicy{{type={}, exponentialRetryPolicy={}, customizedRetryPolicy={}}}",
        policy.kind.name(),
        or_null(exponential.as_deref()),
        or_null(customized.as_deref())
    )
}

/// Names and values of a configuration in the order in which the official tool prints them.
fn facts(group: &SubscriptionGroupConfig) -> [(&'static str, String); 15] {
    let subscriptions = group.subscription_data_set.as_ref().map(|set| {
        let one = |it: &protocol::bodies::subscription_group::SimpleSubscription| {
            format!(
                "SimpleSubscriptionData{{topic={}, expressionType={}, expression={}, version={}}}",
                it.topic, it.expression_type, it.expression, it.version
            )
        };
        format!("[{}]", set.iter().map(one).collect::<Vec<_>>().join(", "))
    });
    [
        ("groupName", group.group_name.clone()),
        ("consumeEnable", group.consume_enable.to_string()),
        ("consumeFromMinEnable", group.consume_from_min_enable.to_string()),
        ("consumeBroadcastEnable", group.consume_broadcast_enable.to_string()),
        ("consumeMessageOrderly", group.consume_message_orderly.to_string()),
        ("retryQueueNums", group.retry_queue_nums.to_string()),
        ("retryMaxTimes", group.retry_max_times.to_string()),
        ("groupRetryPolicy", policy_text(&group.group_retry_policy)),
        ("brokerId", group.broker_id.to_string()),
        ("whichBrokerWhenConsumeSlowly", group.which_broker_when_consume_slowly.to_string()),
        ("notifyConsumerIdsChangedEnable", group.notify_consumer_ids_changed_enable.to_string()),
        ("groupSysFlag", group.group_sys_flag.to_string()),
        ("consumeTimeoutMinute", group.consume_timeout_minute.to_string()),
        ("subscriptionDataSet", or_null(subscriptions.as_deref()).to_owned()),
        ("attributes", java_map(&group.attributes)),
    ]
}

/// Options of `updateSubGroupList`.
#[derive(Debug, Args)]
pub struct UpdateSubGroupList {
    #[command(flatten)]
    target: Target,
    /// A file with a JSON list of group configurations
    #[arg(short, long = "filename", value_name = "PATH")]
    filename: PathBuf,
}

impl UpdateSubGroupList {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let path = self.filename.display();
        let text = std::fs::read(&self.filename).with_context(|| format!("cannot read `{path}`"))?;
        let groups: Vec<SubscriptionGroupConfig> =
            lenient_json::from_slice(&text).with_context(|| format!("`{path}` is no JSON list of groups"))?;
        if groups.is_empty() {
            bail!(Usage(format!("`{path}` names no group")));
        }
        let addresses = self.target.addresses(admin).await?;
        on_each(&addresses, async |address: &str| {
            admin.put_groups(address, groups.clone()).await?;
            let text = format!("submit batch of group config to {address} success, please check the result later.");
            out.row(json!({ "broker": address, "groups": groups.len() }), text);
            Ok(())
        })
        .await
    }
}

/// Options of `deleteSubGroup`.
#[derive(Debug, Args)]
pub struct DeleteSubGroup {
    #[command(flatten)]
    target: Target,
    /// Group
    #[arg(short, long = "groupName")]
    group: String,
    /// Whether its offsets go too: true or false
    #[arg(short, long = "removeOffset", default_value = "false")]
    remove_offset: String,
}

impl DeleteSubGroup {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let (group, clean) = (self.group.trim(), is_true(&self.remove_offset));
        let cluster = self.target.cluster.as_deref().filter(|_| self.target.broker.is_none());
        let addresses = self.target.addresses(admin).await?;
        on_each(&addresses, async |address: &str| {
            admin.delete_group_at(address, group, clean).await?;
            let place = cluster.map(|cluster| format!(" in cluster [{cluster}]")).unwrap_or_default();
            let text = format!("delete subscription group [{group}] from broker [{address}]{place} success.");
            out.row(json!({ "group": group, "broker": address }), text);
            Ok(())
        })
        .await?;
        let Some(cluster) = cluster else { return Ok(()) };
        for topic in [format!("%RETRY%{group}"), format!("%DLQ%{group}")] {
            topics::delete(admin, &topic, cluster).await?;
        }
        Ok(())
    }
}

/// Options of `setConsumeMode`.
#[derive(Debug, Args)]
pub struct SetConsumeMode {
    #[command(flatten)]
    target: Target,
    /// Topic
    #[arg(short, long = "topicName")]
    topic: String,
    /// Group
    #[arg(short, long = "groupName")]
    group: String,
    /// PULL or POP
    #[arg(short, long)]
    mode: String,
    /// With how many other members a queue is shared that is popped
    #[arg(short = 'q', long = "popShareQueueNum", default_value_t = 0)]
    pop_share: i32,
}

impl SetConsumeMode {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let mode = [PULL, POP].into_iter().find(|known| known.eq_ignore_ascii_case(&self.mode));
        let mode = mode.ok_or_else(|| Usage(format!("mode `{}` is neither PULL nor POP", self.mode)))?;
        let request = RequestMode {
            consumer_group: self.group.clone(),
            mode: mode.to_owned(),
            pop_share_queue_num: self.pop_share,
            topic: self.topic.clone(),
        };
        let addresses = self.target.addresses(admin).await?;
        on_each(&addresses, async |address: &str| {
            admin.set_request_mode(address, &request).await?;
            out.line(format!("set consume mode to {address} success."));
            out.value(json!({ "broker": address, "topic": self.topic, "group": self.group, "mode": mode }));
            Ok(())
        })
        .await?;
        let (topic, group, share) = (&self.topic, &self.group, self.pop_share);
        out.line(format!("topic[{topic}] group[{group}] consume mode[{mode}] popShareQueueNum[{share}]"));
        Ok(())
    }
}

/// Options of `getConsumerConfig`.
#[derive(Debug, Args)]
pub struct GetConsumerConfig {
    /// Group
    #[arg(short, long = "groupName")]
    pub group: String,
}

impl GetConsumerConfig {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let mut found = false;
        for master in admin.masters().await? {
            let table = admin.group_table(&master.address).await?;
            let Some(group) = table.subscription_group_table.get(&self.group) else { continue };
            found = true;
            out.line(format!("{0}{1}:{2}{0}", "=".repeat(29), master.cluster, master.broker));
            for (name, value) in facts(group) {
                let value = if name == "subscriptionDataSet" && value == "null" { "" } else { &value };
                out.line(format!("{name:<40}=  {value}"));
            }
            out.value(json!({ "cluster": master.cluster, "broker": master.broker, "config": group }));
        }
        if !found {
            bail!(NotFound(format!("no broker knows group `{}`", self.group)));
        }
        Ok(())
    }
}
