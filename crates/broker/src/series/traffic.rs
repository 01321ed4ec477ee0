//! What is sent and what is got.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{Family, Page};

use super::{is_system, is_system_topic, truth};
use crate::broker::Broker;
use crate::names;
use crate::stats::{Counted, TopicTallies};
use crate::topics::Topic;

const MESSAGES_IN: Family = Family::counter("rocketmq_messages_in", "Messages stored in the topic");
const BYTES_IN: Family = Family::counter("rocketmq_throughput_in", "Bytes stored in the topic");
const SIZES: Family = Family::histogram("rocketmq_message_size", "Sizes of the messages stored in the topic, in bytes");
const MESSAGES_OUT: Family = Family::counter("rocketmq_messages_out", "Messages of the topic that the group got");
const BYTES_OUT: Family = Family::counter("rocketmq_throughput_out", "Bytes of the topic that the group got");
const DEAD: Family = Family::counter("rocketmq_send_to_dlq_messages", "Dead letters of the group");
const DELAYED: Family = Family::counter("rocketmq_timer_enqueue", "Messages for the topic that were sent with a delay");
const DELIVERED: Family =
    Family::counter("rocketmq_timer_dequeue", "Delayed messages that were delivered to the topic");
const COMMITTED: Family =
    Family::counter("rocketmq_commit_messages", "Half messages for the topic that were committed");
const ROLLED_BACK: Family =
    Family::counter("rocketmq_rollback_messages", "Half messages for the topic that were rolled back");

/// One of the counters of a topic.
type Which = fn(&TopicTallies) -> &AtomicU64;

/// A topic in use: idle ones have no series.
struct Used {
    topic: Arc<Topic>,
    message_type: String,
    is_system: bool,
    put: Counted,
    got: Vec<(String, Counted)>,
}

pub fn write(broker: &Broker, page: &mut Page) {
    let used: Vec<Used> = broker.topics.list().into_iter().map(|topic| used(broker, topic)).collect();
    for (family, value) in [(MESSAGES_IN, messages as fn(&Counted) -> u64), (BYTES_IN, bytes)] {
        page.family(&family, |series| {
            for used in used.iter().filter(|used| used.put != Counted::default()) {
                let labels = [
                    ("topic", used.name()),
                    ("message_type", &used.message_type),
                    ("is_system", truth(used.is_system)),
                ];
                series.value(&labels, value(&used.put));
            }
        });
    }
    page.family(&SIZES, |series| {
        for used in &used {
            if let Some(sizes) = used.topic.tallies.known_sizes() {
                let labels = [
                    ("topic", used.name()),
                    ("message_type", &*used.message_type),
                    ("is_system", truth(used.is_system)),
                ];
                series.histogram(&labels, sizes);
            }
        }
    });
    for (family, value) in [(MESSAGES_OUT, messages as fn(&Counted) -> u64), (BYTES_OUT, bytes)] {
        page.family(&family, |series| {
            for (used, (group, got)) in used.iter().flat_map(|used| used.got.iter().map(move |got| (used, got))) {
                let labels = [
                    ("topic", used.name()),
                    ("consumer_group", group),
                    ("is_retry", truth(names::is_retry(used.name()))),
                    ("is_system", truth(is_system(broker, used.name(), group))),
                ];
                series.value(&labels, value(got));
            }
        });
    }
    page.family(&DEAD, |series| {
        for used in used.iter().filter(|used| used.put != Counted::default()) {
            if let Some(group) = names::group_of_dead_letter_topic(used.name()) {
                let labels = [("consumer_group", group), ("topic", used.name()), ("is_system", truth(used.is_system))];
                series.value(&labels, used.put.messages);
            }
        }
    });
    let counters: [(Family, Which); 4] = [
        (DELAYED, |tallies| &tallies.delayed),
        (DELIVERED, |tallies| &tallies.delivered),
        (COMMITTED, |tallies| &tallies.committed),
        (ROLLED_BACK, |tallies| &tallies.rolled_back),
    ];
    for (family, counter) in counters {
        page.family(&family, |series| {
            for used in &used {
                let count = counter(&used.topic.tallies).load(Ordering::Relaxed);
                if count > 0 {
                    series.value(&[("topic", used.name())], count);
                }
            }
        });
    }
}

impl Used {
    fn name(&self) -> &str {
        &self.topic.settings.name
    }
}

fn used(broker: &Broker, topic: Arc<Topic>) -> Used {
    Used {
        message_type: topic.message_type.name().to_ascii_lowercase(),
        is_system: is_system_topic(broker, &topic.settings.name),
        put: topic.tallies.put.counted(),
        got: topic.tallies.got_by_group(),
        topic,
    }
}

fn messages(counted: &Counted) -> u64 {
    counted.messages
}

fn bytes(counted: &Counted) -> u64 {
    counted.bytes
}
