//! Brokers and clusters.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use client::{Admin, clock};
use protocol::codes::RequestCode;
use serde_json::json;

use super::print::Out;
use super::targets::{BrokerOf, Target, brokers_of, on_each};
use super::topics::is_true;

/// Options of `clusterList`.
#[derive(Debug, Args)]
pub struct ClusterList {
    /// Messages of yesterday and today in place of the state
    #[arg(short, long = "moreStats", num_args = 0..=1, default_missing_value = "true", default_value = "false")]
    pub more: bool,
    /// Print again and again, after so many seconds
    #[arg(short, long)]
    pub interval: Option<u64>,
    /// Only this cluster
    #[arg(short, long = "clusterName")]
    pub cluster: Option<String>,
}

impl ClusterList {
    /// How often the command is to be repeated.
    pub fn watch(&self) -> Option<Duration> {
        self.interval.map(|seconds| Duration::from_secs(seconds.max(1)))
    }

    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let brokers = brokers_of(admin, self.cluster.as_deref()).await?;
        out.line(if self.more { counts_row(COUNTS) } else { state_row(STATE) });
        let addresses: Vec<String> = brokers.iter().map(|broker| broker.address.clone()).collect();
        let mut at = brokers.iter();
        on_each(&addresses, async |address: &str| {
            let Some(broker) = at.next() else { return Ok(()) };
            // The list shows a broker that does not answer, too.
            let runtime = admin.runtime(address).await;
            let facts = Facts(runtime.as_ref().ok());
            let text = if self.more { facts.counts(broker) } else { facts.state(broker, clock::now_ms()) };
            let value = json!({
                "cluster": broker.cluster, "broker": broker.broker, "id": broker.id, "address": broker.address,
                "active": facts.text("brokerActive") == "true", "runtime": runtime.as_ref().ok(),
            });
            out.row(value, text);
            runtime.map(|_| ()).map_err(Into::into)
        })
        .await
    }
}

const STATE: [&str; 12] = [
    "#Cluster Name",
    "#Broker Name",
    "#BID",
    "#Addr",
    "#Version",
    "#InTPS(LOAD)",
    "#OutTPS(LOAD)",
    "#Timer(Progress)",
    "#PCWait(ms)",
    "#Hour",
    "#SPACE",
    "#ACTIVATED",
];
const COUNTS: [&str; 6] =
    ["#Cluster Name", "#Broker Name", "#InTotalYest", "#OutTotalYest", "#InTotalToday", "#OutTotalToday"];

fn state_row(cells: [&str; 12]) -> String {
    let [cluster, broker, id, address, version, in_tps, out_tps, timer, wait, hour, space, active] = cells;
    format!(
        "{cluster:<22}  {broker:<22}  {id:<4}  {address:<22} {version:<16}  {in_tps:>16}  {out_tps:>30}  {timer:<22}  \
         {wait:>11}  {hour:<12}  {space:<8}  {active:>10}"
    )
}

fn counts_row(cells: [&str; 6]) -> String {
    let [cluster, broker, in_before, out_before, in_today, out_today] = cells;
    format!("{cluster:<16}  {broker:<32} {in_before:>14} {out_before:>14} {in_today:>14} {out_today:>14}")
}

/// What a broker says about itself; nothing when it did not answer.
struct Facts<'a>(Option<&'a BTreeMap<String, String>>);

impl Facts<'_> {
    fn text(&self, name: &str) -> &str {
        self.0.and_then(|facts| facts.get(name)).map_or("", String::as_str)
    }

    /// The first number of a value; 0 where there is none.
    fn number(&self, name: &str) -> f64 {
        self.text(name).split_whitespace().next().and_then(|text| text.parse().ok()).unwrap_or(0.0)
    }

    fn whole(&self, name: &str) -> i64 {
        self.number(name) as i64
    }

    fn state(&self, broker: &BrokerOf, now_ms: i64) -> String {
        let queue = |name: &str| {
            let size = self.whole(&format!("{name}ThreadPoolQueueSize"));
            format!("{size},{}ms", self.whole(&format!("{name}ThreadPoolQueueHeadWaitTimeMills")))
        };
        let in_tps = format!("{:9.2}({})", self.number("putTps"), queue("send"));
        let out = if self.text("getTransferredTps").is_empty() { "getTransferedTps" } else { "getTransferredTps" };
        let out_tps = format!("{:9.2}({}|{})", self.number(out), queue("pull"), queue("ack"));
        let timer = format!(
            "{}-{}({:.1}w, {:.1}, {:.1})",
            self.whole("timerReadBehind"),
            self.whole("timerOffsetBehind"),
            self.number("timerCongestNum") / 10_000.0,
            self.number("timerEnqueueTps"),
            self.number("timerDequeueTps")
        );
        let earliest_ms = self.whole("earliestMessageTimeStamp");
        // A broker without messages tells no time.
        let hours = if earliest_ms > 0 { (now_ms - earliest_ms) as f64 / 3_600_000.0 } else { 0.0 };
        let wait = self.whole("pageCacheLockTimeMills").to_string();
        let space = format!("{:.4}", self.number("commitLogDiskRatio"));
        state_row([
            &broker.cluster,
            &broker.broker,
            &broker.id.to_string(),
            &broker.address,
            self.text("brokerVersionDesc"),
            &in_tps,
            &out_tps,
            &timer,
            &wait,
            &format!("{hours:.2}"),
            &space,
            self.text("brokerActive"),
        ])
    }

    fn counts(&self, broker: &BrokerOf) -> String {
        let between = |from: &str, to: &str| (self.whole(to) - self.whole(from)).to_string();
        let counts = [
            between("msgPutTotalYesterdayMorning", "msgPutTotalTodayMorning"),
            between("msgGetTotalYesterdayMorning", "msgGetTotalTodayMorning"),
            between("msgPutTotalTodayMorning", "msgPutTotalTodayNow"),
            between("msgGetTotalTodayMorning", "msgGetTotalTodayNow"),
        ];
        counts_row([&broker.cluster, &broker.broker, &counts[0], &counts[1], &counts[2], &counts[3]])
    }
}

/// Options of `brokerStatus`.
#[derive(Debug, Args)]
pub struct BrokerStatus {
    #[command(flatten)]
    pub target: Target,
}

impl BrokerStatus {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let named = self.target.broker.is_some();
        let addresses = self.target.addresses(admin).await?;
        on_each(&addresses, async |address: &str| {
            let facts = admin.runtime(address).await?;
            for (name, value) in &facts {
                let place = if named { String::new() } else { format!("{address:<24} ") };
                out.line(format!("{place}{name:<32}: {value}"));
            }
            out.value(json!({ "broker": address, "runtime": facts }));
            Ok(())
        })
        .await
    }
}

/// Options of `getBrokerConfig`.
#[derive(Debug, Args)]
pub struct GetBrokerConfig {
    #[command(flatten)]
    pub target: Target,
}

impl GetBrokerConfig {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let addresses = self.target.addresses(admin).await?;
        on_each(&addresses, async |address: &str| {
            let settings = admin.broker_settings(address).await?;
            print_settings(address, &settings, out);
            Ok(())
        })
        .await
    }
}

/// Settings of one server.
pub fn print_settings(address: &str, settings: &BTreeMap<String, String>, out: &mut Out) {
    out.line(format!("============{address}============"));
    for (key, value) in settings {
        out.line(format!("{key:<50}=  {value}"));
    }
    out.value(json!({ "address": address, "settings": settings }));
}

/// Options of `updateBrokerConfig`.
#[derive(Debug, Args)]
pub struct UpdateBrokerConfig {
    #[command(flatten)]
    pub target: Target,
    /// Slaves of the cluster too: true or false
    #[arg(short = 'a', long = "updateAllBroker", default_value = "false")]
    pub all: String,
    /// Key
    #[arg(short, long)]
    pub key: String,
    /// Value
    #[arg(short, long, allow_hyphen_values = true)]
    pub value: String,
}

impl UpdateBrokerConfig {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let addresses = match (&self.target.broker, &self.target.cluster) {
            (None, Some(cluster)) if is_true(&self.all) => {
                brokers_of(admin, Some(cluster)).await?.into_iter().map(|broker| broker.address).collect()
            }
            _ => self.target.addresses(admin).await?,
        };
        let (key, value) = (self.key.trim(), self.value.trim());
        on_each(&addresses, async |address: &str| {
            admin.set_broker_setting(address, key, value).await?;
            let text = format!("update broker config success, {address}");
            out.row(json!({ "broker": address, "key": key, "value": value }), text);
            Ok(())
        })
        .await
    }
}

/// Options of the chores: one broker, one cluster, or all of them.
#[derive(Debug, Args)]
struct Everywhere {
    /// Address of a broker
    #[arg(short = 'b', long = "brokerAddr")]
    broker: Option<String>,
    /// Every master of this cluster
    #[arg(short = 'c', long, visible_alias = "clusterName")]
    cluster: Option<String>,
}

impl Everywhere {
    async fn run(&self, admin: &Admin, code: RequestCode, out: &mut Out) -> anyhow::Result<()> {
        let target = Target { broker: self.broker.clone(), cluster: self.cluster.clone() };
        let addresses = target.addresses(admin).await?;
        let outcome = on_each(&addresses, async |address: &str| {
            admin.chore(address, code).await?;
            out.value(json!({ "broker": address }));
            Ok(())
        })
        .await;
        // The official tool says one word, whatever happened in between.
        match outcome {
            Ok(()) => out.line("success"),
            Err(error) => {
                out.line("false");
                return Err(error);
            }
        }
        Ok(())
    }
}

macro_rules! chores {
    ($($(#[$meta:meta])* $name:ident = $code:ident;)*) => {$(
        $(#[$meta])*
        #[derive(Debug, Args)]
        pub struct $name {
            #[command(flatten)]
            place: Everywhere,
        }

        impl $name {
            pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
                self.place.run(admin, RequestCode::$code, out).await
            }
        }
    )*};
}

chores! {
    /// Options of `cleanExpiredCQ`.
    CleanExpiredCq = CLEAN_EXPIRED_CONSUMEQUEUE;
    /// Options of `cleanUnusedTopic`.
    CleanUnusedTopic = CLEAN_UNUSED_TOPIC;
    /// Options of `deleteExpiredCommitLog`.
    DeleteExpiredCommitLog = DELETE_EXPIRED_COMMITLOG;
}

/// Options of `haStatus`.
#[derive(Debug, Args)]
pub struct HaStatus {
    #[command(flatten)]
    target: Target,
    /// Print again and again, after so many seconds
    #[arg(short, long)]
    interval: Option<u64>,
}

impl HaStatus {
    /// How often the command is to be repeated.
    pub fn watch(&self) -> Option<Duration> {
        self.interval.map(|seconds| Duration::from_secs(seconds.max(1)))
    }

    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let addresses = self.target.addresses(admin).await?;
        on_each(&addresses, async |address: &str| {
            let status = admin.ha_status(address).await?;
            out.value(json!({ "broker": address, "status": status }));
            if status.master {
                out.line(format!("\n#MasterAddr\t{address}"));
                out.line(format!("#MasterCommitLogMaxOffset\t{}", status.master_commit_log_max_offset));
                out.line(format!("#SlaveNum\t{}", status.ha_connection_info.len()));
                out.line(format!("#InSyncSlaveNum\t{}", status.in_sync_slave_nums));
                let row = |cells: [&str; 6]| {
                    let [slave, offset, diff, speed, state, from] = cells;
                    format!("{slave:<32}  {offset:<16} {diff:>16} {speed:>20} {state:>16} {from:>12}")
                };
                let headers =
                    ["#SlaveAddr", "#SlaveAckOffset", "#Diff", "#TransferSpeed(KB/s)", "#Status", "#TransferFromWhere"];
                out.line(row(headers));
                for slave in &status.ha_connection_info {
                    let speed = format!("{:.2}", slave.transferred_byte_in_second as f64 / 1024.0);
                    let state = if slave.in_sync { "OK" } else { "Fall Behind" };
                    let numbers =
                        [slave.slave_ack_offset, slave.diff, slave.transfer_from_where].map(|it| it.to_string());
                    out.line(row([&slave.addr, &numbers[0], &numbers[1], &speed, state, &numbers[2]]));
                }
                return Ok(());
            }
            let slave = &status.ha_client_runtime_info;
            out.line(format!("\n#MasterAddr\t{}", slave.master_addr.as_deref().unwrap_or_default()));
            out.line(format!("#CommitLogMaxOffset\t{}", slave.max_offset));
            out.line(format!("#TransferSpeed(KB/s)\t{:.2}", slave.transferred_byte_in_second as f64 / 1024.0));
            out.line(format!("#LastReadTime\t{}", super::times::with_ms(slave.last_read_timestamp)));
            out.line(format!("#LastWriteTime\t{}", super::times::with_ms(slave.last_write_timestamp)));
            out.line(format!("#MasterFlushOffset\t{}", slave.master_flush_offset));
            Ok(())
        })
        .await
    }
}

/// Options of `getBrokerLiteInfo`.
#[derive(Debug, Args)]
pub struct GetBrokerLiteInfo {
    #[command(flatten)]
    target: Target,
    /// Topics and groups too
    #[arg(short = 'd', long = "showDetail", num_args = 0..=1, default_missing_value = "true", default_value = "false")]
    detail: bool,
}

impl GetBrokerLiteInfo {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let row = |cells: [&str; 9]| {
            let [broker, store, max, now, subscriptions, orders, queues, offsets, events] = cells;
            format!(
                "{broker:<30} {store:<17} {max:<10} {now:<14} {subscriptions:<20} {orders:<17} {queues:<15} \
                 {offsets:<18} {events:<15}"
            )
        };
        out.line(row([
            "#Broker",
            "#Store Type",
            "#Max LMQ",
            "#Current LMQ",
            "#SubscriptionCount",
            "#OrderInfoCount",
            "#CQTableSize",
            "#OffsetTableSize",
            "#eventMapSize",
        ]));
        let addresses = self.target.addresses(admin).await?;
        on_each(&addresses, async |address: &str| {
            let info = admin.lite_info(address).await?;
            let numbers = [
                info.max_lmq_num,
                info.current_lmq_num,
                info.lite_subscription_count,
                info.order_info_count,
                info.cq_table_size,
                info.offset_table_size,
                info.event_map_size,
            ]
            .map(|number| number.to_string());
            let [max, now, subscriptions, orders, queues, offsets, events] = numbers.each_ref().map(String::as_str);
            let text = row([address, &info.store_type, max, now, subscriptions, orders, queues, offsets, events]);
            out.row(json!({ "broker": address, "info": info }), text);
            if self.detail {
                out.line(format!("Topic Meta: {}", json!(info.topic_meta)));
                out.line(format!("Group Meta: {}", json!(info.group_meta)));
            }
            Ok(())
        })
        .await
    }
}
