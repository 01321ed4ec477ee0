//! How far behind consumers are.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use log::QueueNumber;
use metrics::{Family, Page};

use super::{is_system, truth};
use crate::broker::Broker;
use crate::delivery::progress::Progress;
use crate::names;
use crate::topics::Topic;

const LAG: Family = Family::gauge("rocketmq_consumer_lag_messages", "Messages that the group has not settled");
const LAG_LATENCY: Family =
    Family::gauge("rocketmq_consumer_lag_latency", "Age of the oldest message that the group has not settled")
        .in_unit("milliseconds");
const IN_FLIGHT: Family =
    Family::gauge("rocketmq_consumer_inflight_messages", "Messages handed out to the group and not settled");
const READY: Family = Family::gauge("rocketmq_consumer_ready_messages", "Messages that the group was never given");
const QUEUEING_LATENCY: Family =
    Family::gauge("rocketmq_consumer_queueing_latency", "Age of the oldest message that the group was never given")
        .in_unit("milliseconds");
const QUEUE_LAG: Family =
    Family::gauge("apogee_consumer_queue_lag_messages", "Messages of a queue that the group has not settled");

/// Store times read from the log for one scrape. Each may have to come from the disk; what is left out is shown next time.
const READS_MAX: usize = 5_000;

/// What a group has of a topic.
struct Behind {
    group: String,
    topic: String,
    is_system: bool,
    lag: u64,
    in_flight: u64,
    ready: u64,
    /// Store time of the first message that is not settled, and of the first that was never given; `None` if there is
    /// none, or if it is not known yet.
    unsettled_ms: Option<i64>,
    waiting_ms: Option<i64>,
    /// Whether a time is missing above that should be there.
    is_incomplete: bool,
    by_queue: BTreeMap<i32, u64>,
}

/// A number about a group and a topic, if it is known.
type Value<'v> = dyn Fn(&Behind) -> Option<i64> + 'v;

type StoreTimes = HashMap<(QueueNumber, u64), i64>;

pub fn write(broker: &Broker, known: &mut StoreTimes, page: &mut Page) {
    let mut times = Times { broker, known: std::mem::take(known), used: HashMap::new(), reads: 0 };
    let mut all = Vec::new();
    for group in broker.offsets.groups() {
        for (topic, queues) in broker.offsets.of_group(&group) {
            if let Some(known) = broker.topics.get(&topic) {
                all.push(behind(&mut times, &group, &known, &queues));
            }
        }
    }
    *known = times.used;
    let now_ms = broker.clock.now_ms();
    let age = |since_ms: Option<i64>| since_ms.map_or(0, |since_ms| (now_ms - since_ms).max(0));
    let families: [(Family, &Value<'_>); 5] = [
        (LAG, &|behind| Some(behind.lag as i64)),
        (IN_FLIGHT, &|behind| Some(behind.in_flight as i64)),
        (READY, &|behind| Some(behind.ready as i64)),
        (LAG_LATENCY, &|behind| (!behind.is_incomplete).then(|| age(behind.unsettled_ms))),
        (QUEUEING_LATENCY, &|behind| (!behind.is_incomplete).then(|| age(behind.waiting_ms))),
    ];
    for (family, value) in families {
        page.family(&family, |series| {
            for (behind, value) in all.iter().filter_map(|behind| Some((behind, value(behind)?))) {
                series.value(&behind.labels(), value);
            }
        });
    }
    page.family(&QUEUE_LAG, |series| {
        for behind in &all {
            for (queue_id, lag) in &behind.by_queue {
                let [group, topic, ..] = behind.labels();
                series.value(&[group, topic, ("queue_id", &queue_id.to_string())], *lag);
            }
        }
    });
}

impl Behind {
    fn labels(&self) -> [(&str, &str); 4] {
        [
            ("consumer_group", &self.group),
            ("topic", &self.topic),
            ("is_retry", truth(names::is_retry(&self.topic))),
            ("is_system", truth(self.is_system)),
        ]
    }
}

fn behind(times: &mut Times<'_>, group: &str, topic: &Arc<Topic>, queues: &BTreeMap<i32, i64>) -> Behind {
    let broker = times.broker;
    let name = &topic.settings.name;
    let handed_out = broker.deliveries.progress(group, name);
    let mut behind = Behind {
        group: group.to_owned(),
        topic: name.clone(),
        is_system: is_system(broker, name, group),
        lag: 0,
        in_flight: 0,
        ready: 0,
        unsettled_ms: None,
        waiting_ms: None,
        is_incomplete: false,
        by_queue: BTreeMap::new(),
    };
    for (queue_id, offset) in queues {
        let known = topic.known_queue(*queue_id);
        let number = known.or_else(|| broker.log.find_queue(name, u32::try_from(*queue_id).ok()?));
        let Some(number) = number else { continue };
        let offsets = broker.log.offsets(number);
        let settled = (*offset).max(0) as u64;
        let settled = settled.clamp(offsets.min, offsets.max);
        // Whoever pulls has what it asked for; how much of that is under way only it knows.
        let Progress { next, out } = handed_out.get(queue_id).copied().unwrap_or(Progress { next: settled, out: 0 });
        let next = next.clamp(settled, offsets.max);
        let lag = offsets.max - settled;
        behind.by_queue.insert(*queue_id, lag);
        behind.lag += lag;
        behind.in_flight += out as u64;
        behind.ready += offsets.max - next;
        for (first, earliest) in [(settled, &mut behind.unsettled_ms), (next, &mut behind.waiting_ms)] {
            if first < offsets.max {
                match times.of(number, first) {
                    Some(ms) => *earliest = Some(earliest.map_or(ms, |known: i64| known.min(ms))),
                    None => behind.is_incomplete = true,
                }
            }
        }
    }
    behind
}

/// Looks store times up.
struct Times<'b> {
    broker: &'b Broker,
    known: StoreTimes,
    /// Those that this scrape needed: the rest is forgotten with it.
    used: StoreTimes,
    reads: usize,
}

impl Times<'_> {
    fn of(&mut self, queue: QueueNumber, offset: u64) -> Option<i64> {
        let key = (queue, offset);
        let found = self.used.get(&key).or_else(|| self.known.get(&key)).copied().or_else(|| {
            self.reads += 1;
            let allowed = self.reads <= READS_MAX;
            allowed.then(|| self.broker.log.store_time(queue, offset).ok().flatten()).flatten()
        });
        found.inspect(|ms| {
            self.used.insert(key, *ms);
        })
    }
}
