//! How the broker is doing and what it was told: GET_BROKER_RUNTIME_INFO (28) and GET_BROKER_CONFIG (26).

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use protocol::bodies::data_version::DataVersion;
use protocol::bodies::kv::KvTable;
use protocol::codes::ResponseCode;
use protocol::lenient_json;
use protocol::writer::OWN_VERSION;

use super::call::{Call, Refusal};
use crate::broker::Broker;
use crate::counters::Rate;
use crate::disk_space::DiskSpace;

/// The version whose behaviour we show, by upstream's name.
const VERSION_NAME: &str = "V5_3_4";

pub fn runtime_info(call: &mut Call<'_>) -> Result<(), Refusal> {
    let table = runtime_table(call.broker).into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    call.answer_body(&lenient_json::to_vec(&KvTable { table }));
    Ok(())
}

pub fn config(call: &mut Call<'_>) -> Result<(), Refusal> {
    let broker = call.broker;
    let version = DataVersion { counter: 0, state_version: 0, timestamp: broker.started_ms };
    let version = String::from_utf8(lenient_json::to_vec(&version)).unwrap_or_default();
    let text = crate::config::print::dump(&broker.config);
    call.answer(ResponseCode::SUCCESS).text("version", &version).finish(text.as_bytes());
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
        ("remainHowManyDataToFlush", format!("{} B", stats.end.0.saturating_sub(stats.durable.0))),
        ("putMessageDistributeTime", "null".to_owned()),
    ]);
    table.extend(broker.counters.own());
    for zero in ZEROS {
        table.insert(zero, "0".to_owned());
    }
    table
}

const ZEROS: [&str; 36] = [
    "msgPutTotalYesterdayMorning",
    "msgPutTotalTodayMorning",
    "msgGetTotalYesterdayMorning",
    "msgGetTotalTodayMorning",
    "putMessageEntireTimeMax",
    "getMessageEntireTimeMax",
    "dispatchMaxBuffer",
    "dispatchBehindBytes",
    "pageCacheLockTimeMills",
    "putLatency99",
    "putLatency999",
    "startAcceptSendRequestTimeStamp",
    "remainTransientStoreBufferNumbs",
    "remainHowManyDataToCommit",
    "timerReadBehind",
    "timerOffsetBehind",
    "timerCongestNum",
    "timerEnqueueTps",
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
    fn our_own_counters_are_shown_beside_what_tools_parse() {
        let folder = tempfile::tempdir().unwrap();
        let config = BrokerConfig {
            listen_port: 0,
            fast_listen_port: 0,
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
