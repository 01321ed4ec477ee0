//! How far consumer groups are.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;
use clap::Args;
use client::Admin;
use client::admin::AdminError;
use protocol::bodies::consumer_connection::ConsumerConnection;
use protocol::bodies::heartbeat::{ConsumeType, MessageModel};
use protocol::bodies::message_queue::MessageQueue;
use protocol::bodies::stats::{ConsumeOffset, ConsumeStats};
use protocol::versions;
use serde_json::json;

use super::print::{Out, two_decimals};
use super::targets::{BrokerWith, Failures, brokers_with};
use super::times;
use super::topics::is_true;
use crate::exit::NotFound;

/// Brokers of a group: those that have its retry topic, or the topic (or cluster) that is named.
pub async fn brokers_of_group(admin: &Admin, group: &str, routed: Option<&str>) -> anyhow::Result<Vec<BrokerWith>> {
    if let Some(routed) = routed {
        return brokers_with(admin, routed).await;
    }
    match brokers_with(admin, &format!("%RETRY%{group}")).await {
        Err(error) if error.downcast_ref().is_some_and(|it| matches!(it, AdminError::NoSuchTopic(_))) => {
            bail!(NotFound(format!(
                "group `{group}` is not there, or has no retry topic; then name a cluster or broker"
            )))
        }
        outcome => outcome,
    }
}

/// Options of `consumerProgress`.
#[derive(Debug, Args)]
pub struct ConsumerProgress {
    /// Group; all groups without it
    #[arg(short, long = "groupName")]
    pub group: Option<String>,
    /// Only this topic
    #[arg(short, long = "topicName")]
    pub topic: Option<String>,
    /// Show which client has a queue: true or false
    #[arg(short = 's', long = "showClientIP", default_value = "false")]
    pub show_client_ip: String,
    /// Cluster, or parent of a light topic, by which the brokers are found
    #[arg(short, long)]
    pub cluster: Option<String>,
}

impl ConsumerProgress {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        match &self.group {
            Some(group) => self.one(admin, group, out).await,
            None => self.all(admin, out).await,
        }
    }

    async fn one(&self, admin: &Admin, group: &str, out: &mut Out) -> anyhow::Result<()> {
        let brokers = brokers_of_group(admin, group, self.cluster.as_deref()).await?;
        let mut tps = 0.0;
        let mut queues: Vec<(MessageQueue, ConsumeOffset)> = Vec::new();
        for broker in &brokers {
            let stats = admin.consume_stats(&broker.address, group, self.topic.as_deref()).await?;
            tps += stats.consume_tps;
            queues.extend(stats.offset_table.0);
        }
        if queues.is_empty() {
            bail!(NotFound(format!("group `{group}` has no offset yet")));
        }
        queues.sort_by(|(one, _), (other, _)| in_order(one, other));
        let shows_clients = is_true(&self.show_client_ip);
        let clients = if shows_clients { clients_by_queue(admin, &brokers, group).await? } else { BTreeMap::new() };
        let client_column = |text: &str| if shows_clients { format!("{text:<20} ") } else { String::new() };
        out.line(format!(
            "{:<64}  {:<32}  {:<4}  {:<20}  {:<20}  {}{:<20} {:<20}{}",
            "#Topic",
            "#Broker Name",
            "#QID",
            "#Broker Offset",
            "#Consumer Offset",
            client_column("#Client IP"),
            "#Diff",
            "#Inflight",
            "#LastTime"
        ));
        let (mut diff_total, mut inflight_total) = (0, 0);
        for (queue, offset) in &queues {
            let (diff, inflight) =
                (offset.broker_offset - offset.consumer_offset, offset.pull_offset - offset.consumer_offset);
            diff_total += diff;
            inflight_total += inflight;
            let last_ms = Some(offset.last_timestamp).filter(|time| *time > 0);
            let client = clients.get(queue).map(String::as_str);
            let text = format!(
                "{:<64}  {:<32}  {:<4}  {:<20}  {:<20}  {}{diff:<20} {inflight:<20} {}",
                queue.topic,
                queue.broker_name,
                queue.queue_id,
                offset.broker_offset,
                offset.consumer_offset,
                client_column(client.unwrap_or("N/A")),
                last_ms.map_or_else(|| "N/A".to_owned(), times::with_seconds)
            );
            let value = json!({
                "topic": queue.topic, "broker": queue.broker_name, "queue": queue.queue_id,
                "broker_offset": offset.broker_offset, "consumer_offset": offset.consumer_offset, "client": client,
                "diff": diff, "inflight": inflight, "last_consumed_ms": last_ms,
            });
            out.row(value, text);
        }
        out.line("");
        out.line(format!("Consume TPS: {}", two_decimals(tps)));
        out.line(format!("Consume Diff Total: {diff_total}"));
        out.line(format!("Consume Inflight Total: {inflight_total}"));
        out.fact("tps", tps);
        out.fact("diff_total", diff_total);
        out.fact("inflight_total", inflight_total);
        Ok(())
    }

    async fn all(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        out.line(format!(
            "{:<64}  {:<6}  {:<24} {:<5}  {:<14}  {:<7}  {}",
            "#Group", "#Count", "#Version", "#Type", "#Model", "#TPS", "#Diff Total"
        ));
        let mut failures = Failures::default();
        for topic in admin.topics().await? {
            let Some(group) = topic.strip_prefix("%RETRY%") else { continue };
            // A group that was deleted in the meantime has no brokers.
            let Ok(brokers) = brokers_of_group(admin, group, self.cluster.as_deref()).await else { continue };
            let summary = Summary::of(admin, &brokers, group).await;
            failures.note(summary.map(|summary| out.row(summary.value(group), summary.text(group))));
        }
        failures.outcome()
    }
}

/// Topics, then brokers, then queues.
fn in_order(one: &MessageQueue, other: &MessageQueue) -> std::cmp::Ordering {
    (&one.topic, &one.broker_name, one.queue_id).cmp(&(&other.topic, &other.broker_name, other.queue_id))
}

/// A group in one line.
#[derive(Default)]
struct Summary {
    clients: usize,
    /// The lowest one.
    version: Option<i32>,
    consume_type: Option<ConsumeType>,
    message_model: Option<MessageModel>,
    tps: f64,
    diff: i64,
}

impl Summary {
    async fn of(admin: &Admin, brokers: &[BrokerWith], group: &str) -> anyhow::Result<Summary> {
        let mut summary = Summary::default();
        let mut ids = BTreeSet::new();
        for broker in brokers {
            let stats: ConsumeStats = admin.consume_stats(&broker.address, group, None).await?;
            summary.tps += stats.consume_tps;
            let offsets = stats.offset_table.0.iter();
            summary.diff += offsets.map(|(_, offset)| offset.broker_offset - offset.consumer_offset).sum::<i64>();
            let Some(members) = admin.consumers(&broker.address, group).await? else { continue };
            summary.version = members.connection_set.iter().map(|it| it.version).chain(summary.version).min();
            (summary.consume_type, summary.message_model) = (members.consume_type, members.message_model);
            ids.extend(members.connection_set.into_iter().map(|it| it.client_id));
        }
        summary.clients = ids.len();
        Ok(summary)
    }

    fn consume_type(&self) -> &'static str {
        match self.consume_type {
            _ if self.clients == 0 => "",
            Some(ConsumeType::Actively) => "PULL",
            Some(ConsumeType::Pop) => "POP",
            _ => "PUSH",
        }
    }

    fn message_model(&self) -> &'static str {
        self.message_model.filter(|_| self.clients > 0).map_or("", MessageModel::name)
    }

    fn text(&self, group: &str) -> String {
        let version = self.version.map_or_else(|| "OFFLINE".to_owned(), versions::name);
        let (clients, tps, diff) = (self.clients, self.tps as i64, self.diff);
        let (kind, model) = (self.consume_type(), self.message_model());
        format!("{group:<64}  {clients:<6}  {version:<24} {kind:<5}  {model:<14}  {tps:<7}  {diff}")
    }

    fn value(&self, group: &str) -> serde_json::Value {
        json!({
            "group": group, "clients": self.clients, "version": self.version.map(versions::name),
            "type": Some(self.consume_type()).filter(|it| !it.is_empty()),
            "model": Some(self.message_model()).filter(|it| !it.is_empty()), "tps": self.tps, "diff_total": self.diff,
        })
    }
}

/// Members of a group: what the first broker says that knows them.
pub async fn members(
    admin: &Admin,
    brokers: &[BrokerWith],
    group: &str,
) -> anyhow::Result<Option<(String, ConsumerConnection)>> {
    for broker in brokers {
        if let Some(members) = admin.consumers(&broker.address, group).await? {
            return Ok(Some((broker.address.clone(), members)));
        }
    }
    Ok(None)
}

/// Which client has which queue, by its address; the id of a client begins with it.
async fn clients_by_queue(
    admin: &Admin,
    brokers: &[BrokerWith],
    group: &str,
) -> anyhow::Result<BTreeMap<MessageQueue, String>> {
    let mut clients = BTreeMap::new();
    let Some((address, members)) = members(admin, brokers, group).await? else { return Ok(clients) };
    for member in &members.connection_set {
        // A client that cannot tell is one whose queues are not known.
        let Ok(info) = admin.running_info(&address, group, &member.client_id, false).await else { continue };
        let ip = member.client_id.split('@').next().unwrap_or_default();
        let queues = info.mq_table.0.into_iter().map(|(queue, _)| queue);
        clients.extend(
            queues.chain(info.mq_pop_table.0.into_iter().map(|(queue, _)| queue)).map(|it| (it, ip.to_owned())),
        );
    }
    Ok(clients)
}

/// Options of `brokerConsumeStats`.
#[derive(Debug, Args)]
pub struct BrokerConsumeStats {
    /// Address of the broker
    #[arg(short, long = "brokerAddr")]
    broker: String,
    /// Only groups that consume in order: true or false
    #[arg(short, long, default_value = "false")]
    order: String,
    /// Taken and without meaning here: how long to wait, in milliseconds
    #[arg(short, long = "timeoutMillis")]
    timeout_ms: Option<u64>,
    /// Only queues that lack more messages than this
    #[arg(short, long = "level", default_value_t = 0)]
    level: i64,
}

impl BrokerConsumeStats {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let stats = admin.broker_consume_stats(&self.broker, is_true(&self.order)).await?;
        let row = |cells: [&str; 8]| {
            let [topic, group, broker, queue, end, committed, diff, last] = cells;
            format!(
                "{topic:<64}  {group:<64}  {broker:<32}  {queue:<4}  {end:<20}  {committed:<20}  {diff:<20}  {last}"
            )
        };
        out.line(row([
            "#Topic",
            "#Group",
            "#Broker Name",
            "#QID",
            "#Broker Offset",
            "#Consumer Offset",
            "#Diff",
            "#LastTime",
        ]));
        let by_group = stats.consume_stats_list.iter().flatten();
        for (group, table) in by_group.flat_map(|(group, tables)| tables.iter().map(move |table| (group, table))) {
            let mut queues = table.offset_table.0.clone();
            queues.sort_by(|(one, _), (other, _)| in_order(one, other));
            for (queue, offset) in &queues {
                let diff = offset.broker_offset - offset.consumer_offset;
                // As officially, queues of which nothing was consumed are left out.
                if diff < self.level || offset.last_timestamp == 0 {
                    continue;
                }
                let numbers = [i64::from(queue.queue_id), offset.broker_offset, offset.consumer_offset, diff];
                let [id, end, committed, left] = numbers.map(|number| number.to_string());
                let last_ms = Some(offset.last_timestamp).filter(|time| *time > 0);
                let last = last_ms.map(times::with_seconds).unwrap_or_default();
                let value = json!({
                    "topic": queue.topic, "group": group, "broker": queue.broker_name, "queue": queue.queue_id,
                    "broker_offset": offset.broker_offset, "consumer_offset": offset.consumer_offset, "diff": diff,
                    "last_consumed_ms": last_ms,
                });
                let cells = [&queue.topic, group, &queue.broker_name, &id, &end, &committed, &left, &last];
                out.row(value, row(cells.map(String::as_str)));
            }
        }
        out.line("");
        out.line(format!("Diff Total: {}", stats.total_diff));
        out.fact("diff_total", stats.total_diff);
        Ok(())
    }
}
