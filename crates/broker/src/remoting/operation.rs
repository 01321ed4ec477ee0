//! How the broker is doing: GET_BROKER_RUNTIME_INFO (28), VIEW_BROKER_STATS_DATA (315).

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use protocol::bodies::kv::KvTable;
use protocol::codes::ResponseCode;
use protocol::lenient_json;
use protocol::requests::ViewBrokerStats;
use protocol::writer::OWN_VERSION;

use super::call::{Call, Refusal};
use super::replication::delay_levels;
use crate::broker::Broker;
use crate::counters::Rate;
use crate::disk_space::DiskSpace;
use crate::stats::{self, Span};

/// The version whose behaviour we show, by upstream's name.
const VERSION_NAME: &str = "V5_3_4";

pub fn runtime_info(call: &mut Call<'_>) -> Result<(), Refusal> {
    let mut table: BTreeMap<String, String> =
        runtime_table(call.broker).into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let commit_log = call.broker.config.data_dir.join("commitlog");
    if let Some(ratio) = table.get("commitLogDiskRatio").cloned() {
        table.insert(format!("commitLogDiskRatio_{}", commit_log.display()), ratio);
    }
    for (level, [waiting, end]) in delay_levels(call.broker) {
        table.insert(format!("scheduleMessageOffset_{level}"), format!("{waiting},{end}"));
    }
    call.answer_body(&lenient_json::to_vec(&KvTable { table }));
    Ok(())
}

pub fn statistics(call: &mut Call<'_>) -> Result<(), Refusal> {
    let header: ViewBrokerStats<'_> = call.read()?;
    let (name, key) = (&*header.stats_name, &*header.stats_key);
    let data = stats::view(call.broker, name, key)
        .ok_or_else(|| Refusal::new(ResponseCode::SYSTEM_ERROR, format!("The stats <{name}> <{key}> not exist")))?;
    call.answer_body(&lenient_json::to_vec(&data));
    Ok(())
}

/// What tools parse. Numbers that mean nothing here (queues of thread pools that do not exist) are zero: a tool
/// that misses them breaks its row.
fn runtime_table(broker: &Broker) -> BTreeMap<&'static str, String> {
    let stats = broker.log.stats();
    let counters = &broker.counters;
    let now_ms = broker.clock.now_ms();
    let rate = |rate| {
        let rates: Vec<String> = counters.rates(rate).iter().map(|rate| format!("{rate:.3}")).collect();
        rates.join(" ")
    };
    let messages_in = counters.messages_in.load(Ordering::Relaxed);
    let messages_out = counters.messages_out.load(Ordering::Relaxed);
    let bytes_in = counters.bytes_in.load(Ordering::Relaxed);
    let average = if messages_in == 0 { 0.0 } else { bytes_in as f64 / messages_in as f64 };
    let (disk_ratio, capacity) = disk(broker);
    let text = |value: &dyn std::fmt::Display| value.to_string();
    let mut table = BTreeMap::from([
        ("brokerVersionDesc", VERSION_NAME.to_owned()),
        ("brokerVersion", text(&OWN_VERSION)),
        ("bootTimestamp", text(&broker.started_ms)),
        ("runtime", age(now_ms - broker.started_ms)),
        ("putTps", rate(Rate::MessagesIn)),
        ("getTransferredTps", rate(Rate::MessagesOut)),
        ("getTotalTps", rate(Rate::PullsFound)),
        ("getFoundTps", rate(Rate::PullsFound)),
        ("getMissTps", rate(Rate::PullsMissed)),
        ("msgPutTotalTodayNow", text(&messages_in)),
        ("msgGetTotalTodayNow", text(&messages_out)),
        ("putMessageTimesTotal", text(&messages_in)),
        ("putMessageFailedTimes", text(&counters.sends_refused.load(Ordering::Relaxed))),
        ("putMessageSizeTotal", text(&bytes_in)),
        ("putMessageAverageSize", text(&average)),
        ("commitLogMinOffset", text(&stats.start.0)),
        ("commitLogMaxOffset", text(&stats.end.0)),
        ("earliestMessageTimeStamp", text(&broker.log.earliest_store_timestamp_ms().unwrap_or(-1))),
        ("commitLogDiskRatio", text(&disk_ratio)),
        ("consumeQueueDiskRatio", text(&disk_ratio)),
        ("commitLogDirCapacity", capacity),
        ("brokerActive", "true".to_owned()),
        ("remainHowManyDataToFlush", readable(stats.end.0.saturating_sub(stats.durable.0))),
        ("getTransferedTps", rate(Rate::MessagesOut)),
    ]);
    table.extend(lately(broker, now_ms));
    table.extend(broker.counters.own());
    for zero in ZEROS {
        table.insert(zero, "0".to_owned());
    }
    table
}

/// What was measured lately, and totals at midnight.
fn lately(broker: &Broker, now_ms: i64) -> [(&'static str, String); 10] {
    let mornings = broker.stats.mornings();
    let times = broker.writer.append_times();
    let taken = times.lately();
    let entered = broker.timer_topic.tallies.put.over(Span::Minute, now_ms);
    let behind_ms = broker.log.next_due_ms().map_or(0, |due_ms| (now_ms - due_ms).max(0));
    [
        ("msgPutTotalYesterdayMorning", mornings.yesterday[0].to_string()),
        ("msgPutTotalTodayMorning", mornings.today[0].to_string()),
        ("msgGetTotalYesterdayMorning", mornings.yesterday[1].to_string()),
        ("msgGetTotalTodayMorning", mornings.today[1].to_string()),
        ("putMessageEntireTimeMax", times.max_ms().to_string()),
        ("putMessageDistributeTime", taken.text()),
        ("putLatency99", format!("{:.2}", taken.quantile_ms(0.99))),
        ("putLatency999", format!("{:.2}", taken.quantile_ms(0.999))),
        ("timerReadBehind", (behind_ms / 1000).to_string()),
        ("timerEnqueueTps", format!("{:.1}", entered.messages_per_second())),
    ]
}

const ZEROS: [&str; 27] = [
    "getMessageEntireTimeMax",
    "dispatchMaxBuffer",
    "dispatchBehindBytes",
    "pageCacheLockTimeMills",
    "startAcceptSendRequestTimeStamp",
    "remainTransientStoreBufferNumbs",
    "remainHowManyDataToCommit",
    "timerOffsetBehind",
    "timerCongestNum",
    "timerDequeueTps",
    "sendThreadPoolQueueSize",
    "sendThreadPoolQueueCapacity",
    "sendThreadPoolQueueHeadWaitTimeMills",
    "pullThreadPoolQueueSize",
    "pullThreadPoolQueueCapacity",
    "pullThreadPoolQueueHeadWaitTimeMills",
    "litePullThreadPoolQueueSize",
    "litePullThreadPoolQueueCapacity",
    "litePullThreadPoolQueueHeadWaitTimeMills",
    "queryThreadPoolQueueSize",
    "queryThreadPoolQueueCapacity",
    "queryThreadPoolQueueHeadWaitTimeMills",
    "ackThreadPoolQueueSize",
    "ackThreadPoolQueueCapacity",
    "ackThreadPoolQueueHeadWaitTimeMills",
    "EndTransactionQueueSize",
    "EndTransactionThreadPoolQueueCapacity",
];

/// Share of the disk that is used, and its size as tools show it.
fn disk(broker: &Broker) -> (f64, String) {
    let Some(space) = DiskSpace::of(&broker.config.data_dir) else { return (0.0, String::new()) };
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let ratio = (space.used_ratio() * 100.0).round() / 100.0;
    (ratio, format!("Total : {:.1} GiB, Free : {:.1} GiB.", gib(space.total()), gib(space.free)))
}

/// A number of bytes as upstream writes it: the exporter reads its number alone.
fn readable(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let unit = (1..UNITS.len()).take_while(|unit| bytes >> (10 * (unit + 1)) > 0).last().unwrap_or(0);
    match bytes {
        0..1024 => format!("{bytes} B"),
        _ => format!("{:.1} {}", bytes as f64 / (1_u64 << (10 * (unit + 1))) as f64, UNITS[unit]),
    }
}

fn age(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    format!("[ {days} days, {hours} hours, {minutes} minutes, {} seconds ]", seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BrokerConfig;

    #[test]
    fn bytes_are_written_in_the_largest_unit_that_they_fill() {
        let written = [0, 1023, 1024, 3_584, 5 << 20, 3 << 30, 2 << 50, u64::MAX].map(readable);
        let expected = ["0 B", "1023 B", "1.0 KiB", "3.5 KiB", "5.0 MiB", "3.0 GiB", "2.0 PiB", "16384.0 PiB"];
        assert_eq!(written, expected);
    }

    #[test]
    fn our_own_counters_are_shown_beside_what_tools_parse() {
        let folder = tempfile::tempdir().unwrap();
        let config = BrokerConfig {
            listen_port: 0,
            fast_listen_port: 0,
            grpc_port: None,
            exporting: crate::config::exporting::Exporting::closed(),
            data_dir: folder.path().to_path_buf(),
            segment_bytes: 16 << 20,
            ..BrokerConfig::default()
        };
        let running = crate::start::start(config).unwrap();
        running.broker.counters.sent_back.fetch_add(3, Ordering::Relaxed);
        let table = runtime_table(&running.broker);
        running.stop();
        assert_eq!((table["apogee.sentBack"].as_str(), table["apogee.protocolCloses"].as_str()), ("3", "0"));
        assert_eq!(table["brokerActive"], "true");
    }
}
