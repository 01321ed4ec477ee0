//! Statistics by upstream's names, as VIEW_BROKER_STATS_DATA (315) asks for them.

use protocol::bodies::stats::{BrokerStatsData, StatsItem};

use super::history::{Counted, Span, Sum};
use super::tally::{GroupTallies, Tally};
use super::{total_got, total_put};
use crate::broker::Broker;

/// What of a sum is wanted.
#[derive(Clone, Copy)]
enum Unit {
    Messages,
    Bytes,
}

/// The statistics `name` of `key`; `None` when there are none of that name, or nothing was counted.
///
/// | name | key |
/// |---|---|
/// | `TOPIC_PUT_NUMS`, `TOPIC_PUT_SIZE` | topic |
/// | `GROUP_GET_NUMS`, `GROUP_GET_SIZE`, `GROUP_ACK_NUMS`, `GROUP_CK_NUMS` | `topic@group` |
/// | `QUEUE_PUT_NUMS` | `topic@queue` |
/// | `QUEUE_GET_NUMS` | `topic@queue@group` |
/// | `SNDBCK_PUT_NUMS`, `DLQ_PUT_NUMS` | `topic@group` |
/// | `BROKER_PUT_NUMS`, `BROKER_GET_NUMS`, `BROKER_ACK_NUMS`, `BROKER_CK_NUMS` | cluster |
pub fn view(broker: &Broker, name: &str, key: &str) -> Option<BrokerStatsData> {
    match name {
        "TOPIC_PUT_NUMS" => of_topic(broker, key, Unit::Messages),
        "TOPIC_PUT_SIZE" => of_topic(broker, key, Unit::Bytes),
        "GROUP_GET_NUMS" => of_group(broker, key, |of_group| &of_group.got, Unit::Messages),
        "GROUP_GET_SIZE" => of_group(broker, key, |of_group| &of_group.got, Unit::Bytes),
        "QUEUE_PUT_NUMS" => of_queue(broker, key),
        "QUEUE_GET_NUMS" => of_queue_and_group(broker, key),
        "SNDBCK_PUT_NUMS" => of_group(broker, key, |of_group| &of_group.sent_back, Unit::Messages),
        "DLQ_PUT_NUMS" => of_group(broker, key, |of_group| &of_group.dead, Unit::Messages),
        "GROUP_ACK_NUMS" => of_group(broker, key, |of_group| &of_group.acked, Unit::Messages),
        "GROUP_CK_NUMS" => of_group(broker, key, |of_group| &of_group.postponed, Unit::Messages),
        "BROKER_ACK_NUMS" if key == broker.config.cluster_name => data_of(broker, &broker.stats.acked, Unit::Messages),
        "BROKER_CK_NUMS" if key == broker.config.cluster_name => {
            data_of(broker, &broker.stats.postponed, Unit::Messages)
        }
        "BROKER_PUT_NUMS" | "BROKER_GET_NUMS" if key == broker.config.cluster_name => of_broker(broker, name),
        _ => None,
    }
}

fn of_topic(broker: &Broker, topic: &str, unit: Unit) -> Option<BrokerStatsData> {
    data_of(broker, &broker.topics.get(topic)?.tallies.put, unit)
}

fn of_group(
    broker: &Broker,
    key: &str,
    which: impl Fn(&GroupTallies) -> &Tally,
    unit: Unit,
) -> Option<BrokerStatsData> {
    let (topic, group) = key.split_once('@')?;
    let topic = broker.topics.get(topic)?;
    topic.tallies.known_group(group, |of_group| data_of(broker, which(of_group), unit))?
}

fn of_queue(broker: &Broker, key: &str) -> Option<BrokerStatsData> {
    let (topic, id) = key.rsplit_once('@')?;
    let (topic, id) = (broker.topics.get(topic)?, id.parse::<u32>().ok()?);
    let stands_at = broker.log.next_offset(broker.log.find_queue(&topic.settings.name, id)?);
    let (queues, now_ms) = (&topic.tallies.queues, broker.clock.now_ms());
    data_if_any(|span| queues.over(span, now_ms, id as usize, stands_at))
}

fn of_queue_and_group(broker: &Broker, key: &str) -> Option<BrokerStatsData> {
    let (topic, rest) = key.split_once('@')?;
    let (id, group) = rest.split_once('@')?;
    let (topic, id, now_ms) = (broker.topics.get(topic)?, id.parse::<usize>().ok()?, broker.clock.now_ms());
    topic.tallies.known_group(group, |of_group| data_if_any(|span| of_group.got_by_queue.over(span, now_ms, id)))?
}

fn data_if_any(over: impl Fn(Span) -> Option<Sum>) -> Option<BrokerStatsData> {
    over(Span::Minute)?;
    Some(data(Unit::Messages, |span| over(span).unwrap_or_default()))
}

fn of_broker(broker: &Broker, name: &str) -> Option<BrokerStatsData> {
    let is_put = name == "BROKER_PUT_NUMS";
    let counted = if is_put { total_put(broker) } else { total_got(broker) };
    let totals = broker.stats.totals();
    let history = if is_put { &totals.put } else { &totals.got };
    let now_ms = broker.clock.now_ms();
    (counted != Counted::default()).then(|| data(Unit::Messages, |span| history.over(span, now_ms, counted)))
}

fn data_of(broker: &Broker, tally: &Tally, unit: Unit) -> Option<BrokerStatsData> {
    let now_ms = broker.clock.now_ms();
    (tally.counted() != Counted::default()).then(|| data(unit, |span| tally.over(span, now_ms)))
}

fn data(unit: Unit, over: impl Fn(Span) -> Sum) -> BrokerStatsData {
    let item = |span| {
        let sum = over(span);
        let (value, tps) = match unit {
            Unit::Messages => (sum.counted.messages, sum.messages_per_second()),
            Unit::Bytes => (sum.counted.bytes, sum.bytes_per_second()),
        };
        let times = sum.counted.times;
        let avgpt = if times == 0 { 0.0 } else { value as f64 / times as f64 };
        StatsItem { avgpt, sum: i64::try_from(value).unwrap_or(i64::MAX), tps }
    };
    BrokerStatsData { stats_day: item(Span::Day), stats_hour: item(Span::Hour), stats_minute: item(Span::Minute) }
}
