//! Configurations of a cluster, into files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use client::{Admin, clock};
use protocol::bodies::consumer_connection::Connection;
use protocol::bodies::subscription_group::SubscriptionGroupConfig;
use protocol::bodies::topic_config::TopicConfig;
use protocol::versions;
use serde::Serialize;
use serde_json::{Value, json};

use super::is_of_group;
use super::print::{Out, pretty};
use super::progress::brokers_of_group;
use super::targets::{Target, brokers_of, masters_of};
use crate::group;

/// Settings that are exported, in upstream's words.
const EXPORTED: [&str; 15] = [
    "brokerClusterName",
    "brokerId",
    "brokerName",
    "brokerRole",
    "fileReservedTime",
    "maxMessageSize",
    "traceOn",
    "traceTopicEnable",
    "msgTraceTopicName",
    "messageDelayLevel",
    "autoCreateTopicEnable",
    "autoCreateSubscriptionGroup",
    "slaveReadEnable",
    "flushDiskType",
    "useTLS",
];

/// Where exports go when nothing is said.
fn default_folder() -> PathBuf {
    std::env::temp_dir().join("rocketmq/export")
}

fn write(folder: Option<&PathBuf>, name: &str, value: &impl Serialize, out: &mut Out) -> anyhow::Result<()> {
    let folder = folder.cloned().unwrap_or_else(default_folder);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
    let path = folder.join(name);
    write_file(&path, &pretty(value))?;
    out.row(json!({ "file": path }), format!("export {} success", path.display()));
    Ok(())
}

fn write_file(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))
}

/// Options of `exportMetadata`.
#[derive(Debug, Args)]
pub struct ExportMetadata {
    #[command(flatten)]
    pub target: Target,
    /// Folder of the file
    #[arg(short = 'f', long = "filePath", value_name = "FOLDER")]
    pub folder: Option<PathBuf>,
    /// Only topics
    #[arg(short = 't', long = "topic", num_args = 0..=1, default_missing_value = "true", default_value = "false")]
    pub topics: bool,
    /// Only groups
    #[arg(short = 'g', long = "subscriptionGroup", num_args = 0..=1, default_missing_value = "true", default_value = "false")]
    pub groups: bool,
    /// Retry and dead-letter topics too
    #[arg(short = 's', long = "specialTopic", num_args = 0..=1, default_missing_value = "true", default_value = "false")]
    pub special: bool,
}

impl ExportMetadata {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let (topics, groups) = metadata(admin, &self.target, self.special).await?;
        let now_ms = clock::now_ms();
        let folder = self.folder.as_ref();
        match (self.topics, self.groups) {
            (true, false) => {
                write(folder, "topic.json", &json!({ "topicConfigTable": topics, "exportTime": now_ms }), out)
            }
            (false, true) => {
                let value = json!({ "subscriptionGroupTable": groups, "exportTime": now_ms });
                write(folder, "subscriptionGroup.json", &value, out)
            }
            _ => {
                let value =
                    json!({ "topicConfigTable": topics, "subscriptionGroupTable": groups, "exportTime": now_ms });
                write(folder, "metadata.json", &value, out)
            }
        }
    }
}

type Metadata = (BTreeMap<String, TopicConfig>, BTreeMap<String, SubscriptionGroupConfig>);

/// Topics and groups of users. Of a cluster's masters the numbers of queues are added up, as officially.
async fn metadata(admin: &Admin, target: &Target, special: bool) -> anyhow::Result<Metadata> {
    let (mut topics, mut groups) = (BTreeMap::new(), BTreeMap::new());
    for address in target.addresses(admin).await? {
        let system: BTreeSet<String> = admin.system_topics(&address).await?.into_iter().collect();
        for (name, topic) in admin.topic_table(&address).await?.topic_config_table {
            if system.contains(&name) || (is_of_group(&name) && !special) {
                continue;
            }
            let known: &mut TopicConfig = topics.entry(name).or_insert_with(|| TopicConfig {
                read_queue_nums: 0,
                write_queue_nums: 0,
                ..topic.clone()
            });
            known.read_queue_nums += topic.read_queue_nums;
            known.write_queue_nums += topic.write_queue_nums;
        }
        for (name, group) in admin.group_table(&address).await?.subscription_group_table {
            if group::is_internal(&name) {
                continue;
            }
            let known: &mut SubscriptionGroupConfig =
                groups.entry(name).or_insert_with(|| SubscriptionGroupConfig { retry_queue_nums: 0, ..group.clone() });
            known.retry_queue_nums += group.retry_queue_nums;
        }
    }
    Ok((topics, groups))
}

/// Options of `exportConfigs`.
#[derive(Debug, Args)]
pub struct ExportConfigs {
    /// Cluster
    #[arg(short, long = "clusterName")]
    pub cluster: String,
    /// Folder of the file
    #[arg(short = 'f', long = "filePath", value_name = "FOLDER")]
    pub folder: Option<PathBuf>,
}

impl ExportConfigs {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let brokers = brokers_of(admin, Some(&self.cluster)).await?;
        let mut configs = BTreeMap::new();
        for broker in brokers.iter().filter(|broker| broker.id == 0) {
            let mut settings = admin.broker_settings(&broker.address).await?;
            settings.retain(|key, _| EXPORTED.contains(&key.as_str()));
            configs.insert(broker.broker.clone(), settings);
        }
        let scale = json!({
            "namesrvSize": admin.nameservers().addresses().len(), "masterBrokerSize": configs.len(),
            "slaveBrokerSize": brokers.len() - configs.len(),
        });
        let value = json!({ "clusterScale": scale, "brokerConfigs": configs });
        write(self.folder.as_ref(), "configs.json", &value, out)
    }
}

/// Options of `exportMetrics`.
#[derive(Debug, Args)]
pub struct ExportMetrics {
    /// Cluster
    #[arg(short, long = "clusterName")]
    pub cluster: String,
    /// Folder of the file
    #[arg(short = 'f', long = "filePath", value_name = "FOLDER")]
    pub folder: Option<PathBuf>,
}

impl ExportMetrics {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let mut reports = BTreeMap::new();
        let mut total = Traffic::default();
        for master in masters_of(admin, &self.cluster).await? {
            let traffic = Traffic::of(admin, &master.address).await?;
            total.add(&traffic);
            reports.insert(master.broker, report(admin, &master.address, &traffic).await?);
        }
        let [tps, days] = total.values("total");
        let value = json!({ "evaluateReport": reports, "totalData": { "totalTps": tps, "totalOneDayNum": days } });
        write(self.folder.as_ref(), "metrics.json", &value, out)
    }
}

/// Messages that come and go: per second, and yesterday.
#[derive(Default)]
struct Traffic {
    /// Normal messages in and out, half messages, delayed messages.
    tps: [f64; 4],
    days: [i64; 4],
}

impl Traffic {
    async fn of(admin: &Admin, address: &str) -> anyhow::Result<Traffic> {
        let runtime = admin.runtime(address).await?;
        let number = |name: &str| -> Option<f64> { runtime.get(name)?.split_whitespace().next()?.parse().ok() };
        let yesterday = |kind: &str| {
            let morning = |day: &str| number(&format!("msg{kind}Total{day}Morning")).unwrap_or(0.0);
            (morning("Today") - morning("Yesterday")) as i64
        };
        let mut traffic = Traffic::default();
        traffic.tps[0] = number("putTps").unwrap_or(0.0);
        traffic.tps[1] = number("getTransferredTps").or_else(|| number("getTransferedTps")).unwrap_or(0.0);
        (traffic.days[0], traffic.days[1]) = (yesterday("Put"), yesterday("Get"));
        for (at, topic) in [(2, "RMQ_SYS_TRANS_HALF_TOPIC"), (3, "SCHEDULE_TOPIC_XXXX")] {
            // A broker without the counter has had no traffic.
            let Ok(stats) = admin.stats_data(address, "TOPIC_PUT_NUMS", topic).await else { continue };
            (traffic.tps[at], traffic.days[at]) = (stats.stats_minute.tps, stats.day_sum());
        }
        Ok(traffic)
    }

    fn add(&mut self, other: &Traffic) {
        for at in 0..4 {
            self.tps[at] += other.tps[at];
            self.days[at] += other.days[at];
        }
    }

    /// Rates and numbers under upstream's names; those of rates may have a word in front.
    fn values(&self, word: &str) -> [Value; 2] {
        let name = |kind: &str| match word {
            "" => format!("{kind}Tps"),
            word => format!("{word}{}{}Tps", kind[..1].to_uppercase(), &kind[1..]),
        };
        let kinds = ["normalIn", "normalOut", "transIn", "scheduleIn"];
        let tps: BTreeMap<String, f64> = kinds.iter().zip(self.tps).map(|(kind, tps)| (name(kind), tps)).collect();
        let names = ["normalOneDayInNum", "normalOneDayOutNum", "transOneDayInNum", "scheduleOneDayInNum"];
        let days: BTreeMap<&str, i64> = names.into_iter().zip(self.days).collect();
        [json!(tps), json!(days)]
    }
}

async fn report(admin: &Admin, address: &str, traffic: &Traffic) -> anyhow::Result<Value> {
    let runtime = admin.runtime(address).await?;
    let settings = admin.broker_settings(address).await?;
    let target = Target { broker: Some(address.to_owned()), cluster: None };
    let (topics, groups) = metadata(admin, &target, false).await?;
    let mut clients = BTreeSet::new();
    for group in groups.keys() {
        // A group without a retry topic was never joined.
        if brokers_of_group(admin, group, None).await.is_err() {
            continue;
        }
        let Some(members) = admin.consumers(address, group).await? else { continue };
        let name = |member: &Connection| format!("{}%{}", member.language, versions::name(member.version));
        clients.extend(members.connection_set.iter().map(name));
    }
    let [tps, days] = traffic.values("");
    Ok(json!({
        // Upstream, too, takes the threads of the client for the processors.
        "runtimeEnv": { "cpuNum": settings.get("clientCallbackExecutorThreads") },
        "runtimeQuota": {
            "diskRatio": {
                "commitLogDiskRatio": runtime.get("commitLogDiskRatio"),
                "consumeQueueDiskRatio": runtime.get("consumeQueueDiskRatio"),
            },
            "groupSize": groups.len(), "messageAverageSize": runtime.get("putMessageAverageSize"), "oneDayNum": days,
            "topicSize": topics.len(), "tps": tps,
        },
        "runtimeVersion": { "clientInfo": clients, "rocketmqVersion": runtime.get("brokerVersionDesc") },
    }))
}
