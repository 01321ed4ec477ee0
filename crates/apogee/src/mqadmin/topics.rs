//! Topics: what they are, where they are, what they hold.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use client::Admin;
use client::admin::AdminError;
use client::route;
use protocol::bodies::kv::ORDER_TOPIC_CONFIG;
use protocol::bodies::route::QueueData;
use protocol::bodies::topic_config::{PERM_INHERIT, PERM_READ, PERM_WRITE, TopicConfig};
use protocol::codes::ResponseCode;
use protocol::lenient_json;
use serde_json::json;

use super::print::{Out, java_map, pretty, two_decimals};
use super::targets::{Failures, Target, brokers_with, masters_of, on_each};
use super::{is_of_group, times};
use crate::exit::{NotFound, Usage};

/// Options of `updateTopic`.
#[derive(Debug, Args)]
pub struct UpdateTopic {
    #[command(flatten)]
    target: Target,
    /// Topic
    #[arg(short, long)]
    topic: String,
    /// Queues that can be read
    #[arg(short, long = "readQueueNums", default_value_t = 8)]
    read_queue_nums: i32,
    /// Queues that can be written
    #[arg(short, long = "writeQueueNums", default_value_t = 8)]
    write_queue_nums: i32,
    /// 2 write, 4 read, 6 both
    #[arg(short, long, default_value_t = 6)]
    perm: i32,
    /// Whether the order of messages matters: true or false
    #[arg(short, long, default_value = "false")]
    order: String,
    /// Whether it is a unit topic: true or false
    #[arg(short, long, default_value = "false")]
    unit: String,
    /// Whether units subscribe to it: true or false
    #[arg(short = 's', long = "hasUnitSub", default_value = "false")]
    has_unit_sub: String,
    /// Attributes: +a=b,+c=d,-e
    #[arg(short, long, default_value = "", allow_hyphen_values = true)]
    attributes: String,
}

/// As Java's `Boolean.parseBoolean`.
pub fn is_true(text: &str) -> bool {
    text.trim().eq_ignore_ascii_case("true")
}

/// Reads `+a=b,-c` into changes by name.
pub fn changes(text: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    items
        .map(|item| match (item.starts_with('+'), item.starts_with('-'), item.split_once('=')) {
            (true, _, Some((name, value))) => Ok((name.to_owned(), value.to_owned())),
            (_, true, None) => Ok((item.to_owned(), String::new())),
            _ => bail!(Usage(format!("attribute `{item}` is neither +NAME=VALUE nor -NAME"))),
        })
        .collect()
}

impl UpdateTopic {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let order = is_true(&self.order);
        let topic = TopicConfig {
            attributes: changes(&self.attributes)?,
            order,
            perm: self.perm,
            read_queue_nums: self.read_queue_nums,
            topic_name: self.topic.trim().to_owned(),
            topic_sys_flag: i32::from(is_true(&self.unit)) | i32::from(is_true(&self.has_unit_sub)) << 1,
            write_queue_nums: self.write_queue_nums,
            ..TopicConfig::default()
        };
        let addresses = self.target.addresses(admin).await?;
        on_each(&addresses, async |address: &str| {
            admin.put_topic(address, &topic).await?;
            out.line(format!("create topic to {address} success."));
            out.value(json!({ "topic": topic.topic_name, "broker": address }));
            Ok(())
        })
        .await?;
        if order {
            let order_conf = self.set_order(admin, &addresses).await?;
            out.line(format!("set broker orderConf. isOrder={order}, orderConf=[{order_conf}]"));
        }
        out.line(config_text(&topic));
        Ok(())
    }

    /// Adds the brokers to the order configuration of the topic in the nameservers.
    async fn set_order(&self, admin: &Admin, addresses: &[String]) -> anyhow::Result<String> {
        let masters = admin.masters().await?;
        let names = masters.iter().filter(|master| addresses.contains(&master.address));
        let known = match admin.kv(ORDER_TOPIC_CONFIG, &self.topic).await {
            Ok(value) => value.unwrap_or_default(),
            Err(error) if error.code() == Some(ResponseCode::QUERY_NOT_FOUND) => String::new(),
            Err(error) => return Err(error.into()),
        };
        let mut order: BTreeMap<String, String> = known
            .split(';')
            .filter_map(|item| item.split_once(':'))
            .map(|(broker, count)| (broker.to_owned(), count.to_owned()))
            .collect();
        order.extend(names.map(|master| (master.broker.clone(), self.write_queue_nums.to_string())));
        let text: Vec<String> = order.iter().map(|(broker, count)| format!("{broker}:{count}")).collect();
        let text = text.join(";");
        admin.put_kv(ORDER_TOPIC_CONFIG, &self.topic, &text).await?;
        Ok(text)
    }
}

/// `RW-`.
fn perm_text(perm: i32) -> String {
    let letter = |bit: i32, letter: char| if perm & bit != 0 { letter } else { '-' };
    [letter(PERM_READ, 'R'), letter(PERM_WRITE, 'W'), letter(PERM_INHERIT, 'X')].iter().collect()
}

fn config_text(topic: &TopicConfig) -> String {
    format!(
        "TopicConfig [topicName={}, readQueueNums={}, writeQueueNums={}, perm={}, topicFilterType={}, topicSysFlag={}, \
         order={}, attributes={}]",
        topic.topic_name,
        topic.read_queue_nums,
        topic.write_queue_nums,
        perm_text(topic.perm),
        topic.topic_filter_type.name(),
        topic.topic_sys_flag,
        topic.order,
        java_map(&topic.attributes)
    )
}

/// Options of `updateTopicList`.
#[derive(Debug, Args)]
pub struct UpdateTopicList {
    #[command(flatten)]
    target: Target,
    /// A file with a JSON list of topic configurations
    #[arg(short, long = "filename", value_name = "PATH")]
    filename: PathBuf,
}

impl UpdateTopicList {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let path = self.filename.display();
        let text = std::fs::read(&self.filename).with_context(|| format!("cannot read `{path}`"))?;
        let topics: Vec<TopicConfig> =
            lenient_json::from_slice(&text).with_context(|| format!("`{path}` is no JSON list of topics"))?;
        if topics.is_empty() {
            bail!(Usage(format!("`{path}` names no topic")));
        }
        let addresses = self.target.addresses(admin).await?;
        on_each(&addresses, async |address: &str| {
            admin.put_topics(address, topics.clone()).await?;
            let text = format!("submit batch of topic config to {address} success, please check the result later.");
            out.row(json!({ "broker": address, "topics": topics.len() }), text);
            Ok(())
        })
        .await
    }
}

/// Options of `deleteTopic`.
#[derive(Debug, Args)]
pub struct DeleteTopic {
    /// Topic
    #[arg(short, long)]
    topic: String,
    /// Cluster
    #[arg(short, long = "clusterName")]
    cluster: String,
}

impl DeleteTopic {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let (topic, cluster) = (self.topic.trim(), self.cluster.trim());
        delete(admin, topic, cluster).await?;
        out.line(format!("delete topic [{topic}] from cluster [{cluster}] success."));
        out.row(
            json!({ "topic": topic, "cluster": cluster }),
            format!("delete topic [{topic}] from NameServer success."),
        );
        Ok(())
    }
}

/// Deletes a topic on every master of a cluster, then in every nameserver.
pub async fn delete(admin: &Admin, topic: &str, cluster: &str) -> anyhow::Result<()> {
    let addresses: Vec<String> = masters_of(admin, cluster).await?.into_iter().map(|master| master.address).collect();
    on_each(&addresses, async |address: &str| Ok(admin.delete_topic_at(address, topic).await?)).await?;
    Ok(admin.forget_topic(topic).await?)
}

/// Options of `updateTopicPerm`.
#[derive(Debug, Args)]
pub struct UpdateTopicPerm {
    #[command(flatten)]
    target: Target,
    /// Topic
    #[arg(short, long)]
    topic: String,
    /// 2 write, 4 read, 6 both
    #[arg(short, long, value_parser = clap::value_parser!(i32).range(0..=7))]
    perm: i32,
}

impl UpdateTopicPerm {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let found = admin.route(&self.topic).await?;
        let queues = |address: &str| -> Option<&QueueData> {
            let broker = found.broker_datas.iter().find(|data| data.master() == Some(address))?;
            found.queue_datas.iter().find(|queues| queues.broker_name == broker.broker_name)
        };
        // Masters of the cluster that do not have the topic are passed over, as officially; a broker that was named
        // has to have it.
        let mut addresses = self.target.addresses(admin).await?;
        addresses.retain(|address| queues(address).is_some());
        if addresses.is_empty() {
            bail!(NotFound(format!("no such broker has topic `{}`", self.topic)));
        }
        on_each(&addresses, async |address: &str| {
            let Some(queues) = queues(address) else { return Ok(()) };
            if queues.perm == self.perm {
                out.line("new perm equals to the old one!");
                return Ok(());
            }
            let topic = TopicConfig {
                topic_name: self.topic.clone(),
                perm: self.perm,
                read_queue_nums: queues.read_queue_nums,
                write_queue_nums: queues.write_queue_nums,
                topic_sys_flag: queues.topic_sys_flag,
                ..TopicConfig::default()
            };
            admin.put_topic(address, &topic).await?;
            let (old, new) = (queues.perm, self.perm);
            let value = json!({ "topic": topic.topic_name, "broker": address, "old": old, "new": new });
            out.row(value, format!("update topic perm from {old} to {new} in {address} success."));
            if self.target.broker.is_some() {
                out.line(format!("{}.", config_text(&topic)));
            }
            Ok(())
        })
        .await
    }
}

/// Options of `topicRoute`.
#[derive(Debug, Args)]
pub struct TopicRoute {
    /// Topic
    #[arg(short, long)]
    pub topic: String,
    /// As a table
    #[arg(short, long, num_args = 0..=1, default_missing_value = "true", default_value = "false")]
    pub list: bool,
}

impl TopicRoute {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let mut found = admin.route(&self.topic).await?;
        found.broker_datas.sort_by(|one, other| one.broker_name.cmp(&other.broker_name));
        found.queue_datas.sort_by(|one, other| one.broker_name.cmp(&other.broker_name));
        if !self.list {
            out.row(&found, pretty(&found));
            return Ok(());
        }
        let row = |cells: [&str; 6]| {
            let [cluster, broker, addresses, read, write, perm] = cells;
            format!("{cluster:<45} {broker:<32} {addresses:<50} {read:<10} {write:<11} {perm:<5}")
        };
        out.line(row(["#ClusterName", "#BrokerName", "#BrokerAddrs", "#ReadQueue", "#WriteQueue", "#Perm"]).trim_end());
        let (mut read_total, mut write_total) = (0, 0);
        for data in &found.broker_datas {
            let Some(queues) = found.queue_datas.iter().find(|queues| queues.broker_name == data.broker_name) else {
                continue;
            };
            let (read, write) = (queues.read_queue_nums, queues.write_queue_nums);
            read_total += read;
            write_total += write;
            let (read, write, perm) = (read.to_string(), write.to_string(), queues.perm.to_string());
            let text = row([&data.cluster, &data.broker_name, &java_map(&data.broker_addrs), &read, &write, &perm]);
            out.row(json!({ "broker": data, "queues": queues }), text);
        }
        out.line("-".repeat(158));
        let (brokers, read, write) = (found.broker_datas.len(), read_total.to_string(), write_total.to_string());
        out.line(row(["Total:", &brokers.to_string(), "", &read, &write, ""]));
        Ok(())
    }
}

/// Options of `topicStatus`.
#[derive(Debug, Args)]
pub struct TopicStatus {
    /// Topic
    #[arg(short, long)]
    pub topic: String,
    /// Cluster, or parent of a light topic, by which the route is found
    #[arg(short, long)]
    pub cluster: Option<String>,
}

impl TopicStatus {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let routed = self.cluster.as_deref().unwrap_or(&self.topic);
        let mut queues = Vec::new();
        let mut put_tps = 0.0;
        for broker in brokers_with(admin, routed).await? {
            let table = admin.topic_stats_table(&broker.address, &self.topic).await?;
            put_tps += table.topic_put_tps;
            queues.extend(table.offset_table.0);
        }
        if queues.is_empty() {
            bail!(NotFound(format!("topic `{}` has no queue", self.topic)));
        }
        queues.sort_by(|one, other| one.0.cmp(&other.0));
        let row = |cells: [&str; 5]| {
            let [broker, queue, min, max, last] = cells;
            format!("{broker:<32}  {queue:<4}  {min:<20}  {max:<20}    {last}")
        };
        out.line(row(["#Broker Name", "#QID", "#Min Offset", "#Max Offset", "#Last Updated"]));
        for (queue, offset) in &queues {
            let last_ms = Some(offset.last_update_timestamp).filter(|time| *time > 0);
            let cells = [queue.queue_id.to_string(), offset.min_offset.to_string(), offset.max_offset.to_string()];
            let last = last_ms.map(times::with_ms).unwrap_or_default();
            let value = json!({
                "broker": queue.broker_name, "queue": queue.queue_id, "min_offset": offset.min_offset,
                "max_offset": offset.max_offset, "last_stored_ms": last_ms,
            });
            out.row(value, row([&queue.broker_name, &cells[0], &cells[1], &cells[2], &last]));
        }
        out.line("");
        out.line(format!("Topic Put TPS: {put_tps:?}"));
        out.fact("put_tps", put_tps);
        Ok(())
    }
}

/// Options of `topicClusterList`.
#[derive(Debug, Args)]
pub struct TopicClusterList {
    /// Topic
    #[arg(short, long)]
    pub topic: String,
}

impl TopicClusterList {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        for cluster in clusters_of(admin, &self.topic).await? {
            out.row(&cluster, &cluster);
        }
        Ok(())
    }
}

/// Clusters that have a topic.
async fn clusters_of(admin: &Admin, topic: &str) -> anyhow::Result<BTreeSet<String>> {
    let known = admin.cluster().await?;
    let found = admin.route(topic).await?;
    let has = |broker: &String| found.broker_datas.iter().any(|data| data.broker_name == *broker);
    let clusters = known.cluster_addr_table.into_iter().filter(|(_, brokers)| brokers.iter().any(has));
    Ok(clusters.map(|(cluster, _)| cluster).collect())
}

/// Options of `topicList`.
#[derive(Debug, Args)]
pub struct TopicList {
    /// With clusters and consumer groups
    #[arg(short, long = "clusterModel", num_args = 0..=1, default_missing_value = "true", default_value = "false")]
    pub cluster_model: bool,
}

impl TopicList {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let topics = admin.topics().await?;
        if !self.cluster_model {
            for topic in &topics {
                out.row(topic, topic);
            }
            return Ok(());
        }
        out.line(format!("{:<20}  {:<48}  {:<48}", "#Cluster Name", "#Topic", "#Consumer Group"));
        for topic in topics.iter().filter(|topic| !is_of_group(topic)) {
            // A topic that was deleted in the meantime has neither cluster nor group.
            let Ok(brokers) = brokers_with(admin, topic).await else { continue };
            let clusters = clusters_of(admin, topic).await?;
            let cluster = clusters.first().map(String::as_str).unwrap_or_default();
            let mut groups = groups_of(admin, topic, &brokers[0].address).await;
            if groups.is_empty() {
                groups.push(String::new());
            }
            for group in groups {
                let value =
                    json!({ "cluster": cluster, "topic": topic, "group": Some(&group).filter(|it| !it.is_empty()) });
                out.row(value, format!("{cluster:<20}  {topic:<64}  {group:<64}"));
            }
        }
        Ok(())
    }
}

/// Groups of a topic; none where the broker does not say.
async fn groups_of(admin: &Admin, topic: &str, address: &str) -> Vec<String> {
    admin.groups_of_topic(address, topic).await.unwrap_or_default()
}

/// Options of `allocateMQ`.
#[derive(Debug, Args)]
pub struct AllocateMq {
    /// Topic
    #[arg(short, long)]
    topic: String,
    /// Addresses of clients, separated by commas
    #[arg(short, long = "ipList", value_delimiter = ',', required = true)]
    ip_list: Vec<String>,
}

impl AllocateMq {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let queues = route::readable(&admin.route(&self.topic).await?);
        let (clients, count) = (self.ip_list.len(), queues.len());
        let mut result = BTreeMap::new();
        let mut from = 0;
        for (at, client) in self.ip_list.iter().enumerate() {
            let share = count / clients + usize::from(at < count % clients);
            let shared: Vec<_> = queues[from..from + share]
                .iter()
                .map(|queue| json!({ "brokerName": queue.broker, "queueId": queue.queue_id, "topic": self.topic }))
                .collect();
            from += share;
            result.insert(client, shared);
        }
        let value = json!({ "result": result });
        out.row(&value, value.to_string());
        Ok(())
    }
}

/// Options of `updateOrderConf`.
#[derive(Debug, Args)]
pub struct UpdateOrderConf {
    /// Topic
    #[arg(short, long)]
    topic: String,
    /// put, get or delete
    #[arg(short, long)]
    method: String,
    /// The configuration, brokerName1:num;brokerName2:num
    #[arg(short = 'v', long = "orderConf")]
    order_conf: Option<String>,
}

impl UpdateOrderConf {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let topic = self.topic.trim();
        match (self.method.trim(), &self.order_conf) {
            ("get", _) => {
                let value = admin.kv(ORDER_TOPIC_CONFIG, topic).await?.unwrap_or_default();
                out.line(format!("get orderConf success. topic=[{topic}], orderConf=[{value}] "));
                out.value(json!({ "topic": topic, "order_conf": value }));
            }
            ("put", Some(value)) => {
                admin.put_kv(ORDER_TOPIC_CONFIG, topic, value).await?;
                out.line(format!("update orderConf success. topic=[{topic}], orderConf=[{value}]"));
                out.value(json!({ "topic": topic, "order_conf": value }));
            }
            ("put", None) => bail!(Usage("put needs -v: which configuration".to_owned())),
            ("delete", _) => {
                admin.delete_kv(ORDER_TOPIC_CONFIG, topic).await?;
                out.row(json!({ "topic": topic }), format!("delete orderConf success. topic=[{topic}]"));
            }
            (other, _) => bail!(Usage(format!("method `{other}` is none of put, get and delete"))),
        }
        Ok(())
    }
}

/// Options of `statsAll`.
#[derive(Debug, Args)]
pub struct StatsAll {
    /// Only topics with traffic
    #[arg(short, long = "activeTopic", num_args = 0..=1, default_missing_value = "true", default_value = "false")]
    pub active_topic: bool,
    /// Only this topic
    #[arg(short, long)]
    pub topic: Option<String>,
}

impl StatsAll {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let names =
            ["#Topic", "#Consumer Group", "#Accumulation", "#InTPS", "#OutTPS", "#InMsg24Hour", "#OutMsg24Hour"];
        out.line(stats_row(names));
        let mut failures = Failures::default();
        for topic in admin.topics().await?.iter().filter(|topic| !is_of_group(topic)) {
            if self.topic.as_ref().is_some_and(|wanted| wanted != topic) {
                continue;
            }
            match self.topic_rows(admin, topic, out).await {
                // It was deleted in the meantime.
                Err(error) if error.downcast_ref().is_some_and(|it| matches!(it, AdminError::NoSuchTopic(_))) => {}
                outcome => failures.note(outcome),
            }
        }
        failures.outcome()
    }

    async fn topic_rows(&self, admin: &Admin, topic: &str, out: &mut Out) -> anyhow::Result<()> {
        let brokers = brokers_with(admin, topic).await?;
        let (in_tps, in_day) = {
            let mut sum = (0.0, 0);
            for broker in &brokers {
                // A broker without the counter has had no traffic.
                if let Ok(stats) = admin.stats_data(&broker.address, "TOPIC_PUT_NUMS", topic).await {
                    sum = (sum.0 + stats.stats_minute.tps, sum.1 + stats.day_sum());
                }
            }
            sum
        };
        let groups = groups_of(admin, topic, &brokers[0].address).await;
        for group in &groups {
            let (mut out_tps, mut out_day, mut left) = (0.0, 0, 0);
            for broker in &brokers {
                let key = format!("{topic}@{group}");
                if let Ok(stats) = admin.stats_data(&broker.address, "GROUP_GET_NUMS", &key).await {
                    (out_tps, out_day) = (out_tps + stats.stats_minute.tps, out_day + stats.day_sum());
                }
                let progress = admin.consume_stats(&broker.address, group, Some(topic)).await?;
                let offsets = progress.offset_table.0.iter();
                left += offsets.map(|(_, offset)| offset.broker_offset - offset.consumer_offset).sum::<i64>();
            }
            if self.active_topic && in_day == 0 && out_day == 0 {
                continue;
            }
            let value = json!({
                "topic": topic, "group": group, "accumulation": left, "in_tps": in_tps, "out_tps": out_tps,
                "in_24h": in_day, "out_24h": out_day,
            });
            let (left, in_rate, out_rate) = (left.to_string(), two_decimals(in_tps), two_decimals(out_tps));
            let days = [in_day.to_string(), out_day.to_string()];
            out.row(value, stats_row([topic, group, &left, &in_rate, &out_rate, &days[0], &days[1]]));
        }
        if groups.is_empty() && !(self.active_topic && in_day == 0) {
            let value = json!({ "topic": topic, "accumulation": 0, "in_tps": in_tps, "in_24h": in_day });
            let text = stats_row([topic, "", "0", &two_decimals(in_tps), "", &in_day.to_string(), "NO_CONSUMER"]);
            out.row(value, text);
        }
        Ok(())
    }
}

fn stats_row(cells: [&str; 7]) -> String {
    let [topic, group, left, in_tps, out_tps, in_day, out_day] = cells;
    format!("{topic:<64}  {group:<64} {left:>12} {in_tps:>11} {out_tps:>11} {in_day:>14} {out_day:>14}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_added_and_removed() {
        let read = changes("+message.type=FIFO, -old").unwrap();
        assert_eq!(java_map(&read), "{+message.type=FIFO, -old=}");
        assert!(changes("message.type=FIFO").is_err() && changes("+x").is_err() && changes("").unwrap().is_empty());
    }

    #[test]
    fn permissions_are_letters() {
        assert_eq!([6, 4, 2, 7, 0].map(perm_text), ["RW-", "R--", "-W-", "RWX", "---"]);
    }
}
