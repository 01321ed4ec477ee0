//! Messages that wait: to be due, or to be decided about.

use std::collections::{BTreeMap, HashMap};

use log::{DueBacklog, LogPosition};
use metrics::{Family, Page};
use protocol::properties;
use protocol::record::Record;

use crate::broker::Broker;
use crate::delay::by_topic::BOUNDS_S;

const ENQUEUE_LAG: Family = Family::gauge(
    "rocketmq_timer_enqueue_lag",
    "Delayed messages that are stored and not entered for delivery; always 0, since both are one",
);
const ENQUEUE_LATENCY: Family =
    Family::gauge("rocketmq_timer_enqueue_latency", "Time from storing a delayed message to entering it; always 0")
        .in_unit("milliseconds");
const DEQUEUE_LAG: Family =
    Family::gauge("rocketmq_timer_dequeue_lag", "Delayed messages that are due and not delivered, up to 10,000");
const DEQUEUE_LATENCY: Family =
    Family::gauge("rocketmq_timer_dequeue_latency", "Time for which the oldest of them has been due")
        .in_unit("milliseconds");
const BACKLOG: Family = Family::gauge(
    "apogee_delay_backlog_messages",
    "Delayed messages by the hour in which they are due: 0 is this one, 24+ all from a day on",
);
const TIMING: Family =
    Family::gauge("rocketmq_timing_messages", "Delayed messages that wait, by the topic they are for");
const SNAPSHOT: Family = Family::gauge(
    "rocketmq_timer_message_snapshot",
    "Delayed messages that have to wait for so many seconds at most, and longer than for the bound before",
);
const HALF: Family = Family::gauge("rocketmq_half_messages", "Half messages without a decision");
const OLDEST_HALF: Family =
    Family::gauge("apogee_half_message_oldest_seconds", "Age of the oldest half message without a decision");

const DELAY: Family =
    Family::histogram("rocketmq_delay_message_latency", "Delays that messages were sent with").in_unit("seconds");
const COMMIT: Family = Family::histogram(
    "rocketmq_finish_message_latency",
    "Seconds from storing a half message to its commit; the unit in the name is that of stock brokers",
)
.in_unit("milliseconds");

const HOUR_MS: i64 = 3_600_000;
/// Hours that are told apart; what is due later is one.
const HOURS: i64 = 24;
/// Half messages that are looked at in one scrape; those beyond count for no topic.
const HALVES_MAX: usize = 20_000;
/// Half messages that are read from the log for one scrape, to learn their topics.
const READS_MAX: usize = 2_000;

pub fn write(broker: &Broker, half_topics: &mut HashMap<u64, String>, page: &mut Page) {
    let now_ms = broker.clock.now_ms();
    write_delayed(&broker.log.due_backlog(now_ms), now_ms, page);
    write_waiting(broker, page);
    write_halves(broker, half_topics, now_ms, page);
    page.family(&DELAY, |series| series.histogram(&[], &broker.counters.wait_times.delay));
    let topics = broker.topics.list();
    page.family(&COMMIT, |series| {
        for topic in &topics {
            if let Some(times) = topic.tallies.known_commit_times() {
                series.histogram(&[("topic", &*topic.settings.name)], times);
            }
        }
    });
}

fn write_delayed(backlog: &DueBacklog, now_ms: i64, page: &mut Page) {
    page.family(&ENQUEUE_LAG, |series| series.value(&[], 0_u64));
    page.family(&ENQUEUE_LATENCY, |series| series.value(&[], 0_u64));
    page.family(&DEQUEUE_LAG, |series| series.value(&[], backlog.overdue));
    let late_ms = backlog.first_due_ms.map_or(0, |due_ms| (now_ms - due_ms).max(0));
    page.family(&DEQUEUE_LATENCY, |series| series.value(&[], late_ms));
    let hours = by_hour_from_now(backlog, now_ms);
    page.family(&BACKLOG, |series| {
        for (hour, count) in hours.iter().enumerate() {
            let name = if hour as i64 == HOURS { format!("{HOURS}+") } else { hour.to_string() };
            series.value(&[("due_hour", &name)], *count);
        }
    });
}

fn write_waiting(broker: &Broker, page: &mut Page) {
    let waiting = broker.waiting.get(broker);
    // What waits for a topic that was deleted makes the topic again when it is due, and counts then.
    let topics = waiting.topics.iter().filter(|(topic, _)| broker.topics.get(topic).is_some());
    page.family(&TIMING, |series| topics.clone().for_each(|(topic, count)| series.value(&[("topic", topic)], *count)));
    page.family(&SNAPSHOT, |series| {
        for (bound_s, count) in BOUNDS_S.iter().zip(waiting.by_bound) {
            series.value(&[("timer_bound_s", &bound_s.to_string())], count);
        }
    });
}

/// Messages by the hours until their own begins; what should have been delivered in an earlier hour counts for this one.
fn by_hour_from_now(backlog: &DueBacklog, now_ms: i64) -> [usize; HOURS as usize + 1] {
    let mut hours = [0; HOURS as usize + 1];
    for (hour, count) in &backlog.hours {
        hours[(hour - now_ms.div_euclid(HOUR_MS)).clamp(0, HOURS) as usize] += count;
    }
    hours
}

fn write_halves(broker: &Broker, known: &mut HashMap<u64, String>, now_ms: i64, page: &mut Page) {
    let (positions, total, oldest_ms) = {
        let table = broker.transactions();
        let positions: Vec<u64> = table.iter().take(HALVES_MAX).map(|(position, _)| position).collect();
        // They lie in the order in which they were stored.
        let oldest_ms = table.iter().next().map(|(_, half)| half.stored_ms);
        (positions, table.len(), oldest_ms)
    };
    let mut reads = 0;
    let mut before = std::mem::take(known);
    for position in &positions {
        let topic = before.remove(position).or_else(|| {
            reads += 1;
            if reads <= READS_MAX { topic_of_half(broker, *position) } else { None }
        });
        known.extend(topic.map(|topic| (*position, topic)));
    }
    let mut by_topic: BTreeMap<&str, usize> = BTreeMap::new();
    for topic in known.values() {
        *by_topic.entry(topic).or_default() += 1;
    }
    let rest = total.saturating_sub(known.len());
    page.family(&HALF, |series| {
        by_topic.iter().for_each(|(topic, count)| series.value(&[("topic", topic)], *count));
        if rest > 0 || by_topic.is_empty() {
            series.value(&[("topic", "")], rest);
        }
    });
    let oldest_s = oldest_ms.map_or(0.0, |stored_ms| (now_ms - stored_ms).max(0) as f64 / 1000.0);
    page.family(&OLDEST_HALF, |series| series.value(&[], oldest_s));
}

fn topic_of_half(broker: &Broker, position: u64) -> Option<String> {
    let mut bytes = Vec::new();
    broker.log.read(LogPosition(position), &mut bytes).ok()?;
    Record::parse(&bytes).ok()?.properties().get(properties::REAL_TOPIC).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backlog_is_told_by_hours_from_now() {
        let hours = vec![(99, 1), (100, 2), (101, 3), (123, 4), (124, 5), (9_999, 6)];
        let backlog = DueBacklog { hours, ..DueBacklog::default() };
        let told = by_hour_from_now(&backlog, 100 * HOUR_MS + 59 * 60_000);
        assert_eq!((told[0], told[1], told[23], told[24]), (3, 3, 4, 11));
        assert_eq!(told.iter().sum::<usize>(), 21);
    }
}
