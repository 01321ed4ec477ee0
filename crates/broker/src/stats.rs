//! How much was sent and consumed: in all, over the last minute, hour and day.
//!
//! Counters hang on the topics, so that the paths of messages find them without a look-up: what one append stores of a
//! topic is one addition, and what one read gives to a group is another. The upkeep looks at all of them every ten
//! seconds ([`sample`]) and keeps what it saw for as long as somebody may ask about ([`History`]).
//!
//! Source: `store/.../stats/BrokerStatsManager.java`, `common/.../stats/StatsItem.java`.

mod append_times;
mod history;
mod mornings;
mod puts;
mod queues;
mod tally;
mod view;

use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::broker::Broker;
use crate::topics::Topic;

pub use append_times::{AppendTimes, Distribution};
pub use history::{Counted, History, SAMPLE_EVERY_MS, Span, Sum};
pub use mornings::Mornings;
pub use puts::Puts;
pub use queues::{QueueCounts, QueueHistories};
pub use tally::{GroupTallies, Tally, TopicTallies};
pub use view::view;

/// What was counted of the broker as a whole.
#[derive(Debug, Default)]
pub struct Stats {
    totals: Mutex<Totals>,
    /// Acknowledgements of messages that were handed out one by one.
    acked: Tally,
    /// How often it was changed when such a message comes back.
    postponed: Tally,
}

#[derive(Debug, Default)]
struct Totals {
    put: History,
    got: History,
    mornings: Mornings,
}

impl Stats {
    /// Messages that clients had sent and got at the last two midnights.
    pub fn mornings(&self) -> Mornings {
        self.totals().mornings
    }

    fn totals(&self) -> MutexGuard<'_, Totals> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A group was given messages of a topic, by one read. `queues` says how many of which queue, and may be asked again.
pub fn count_got<Q: Iterator<Item = (i32, usize)>>(
    broker: &Broker,
    topic: &Topic,
    group: &str,
    queues: impl Fn() -> Q,
    bytes: usize,
) {
    let messages: usize = queues().map(|(_, messages)| messages).sum();
    let counters = &broker.counters;
    counters.messages_out.fetch_add(messages as u64, Ordering::Relaxed);
    counters.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
    counters.pulls_found.fetch_add(1, Ordering::Relaxed);
    let counted = Counted { messages: messages as u64, bytes: bytes as u64, times: 1 };
    topic.tallies.with_group(group, |of_group| {
        of_group.got.add(counted);
        for (queue_id, messages) in queues() {
            of_group.got_by_queue.add(queue_id.max(0) as usize, messages as u64);
        }
    });
}

/// A consumer of a group acknowledged a message that was handed out.
pub fn count_acknowledged(broker: &Broker, topic: &Topic, group: &str) {
    broker.stats.acked.add(ONE);
    topic.tallies.with_group(group, |of_group| of_group.acked.add(ONE));
}

/// A consumer of a group changed when a message that was handed out comes back.
pub fn count_postponed(broker: &Broker, topic: &Topic, group: &str) {
    broker.stats.postponed.add(ONE);
    topic.tallies.with_group(group, |of_group| of_group.postponed.add(ONE));
}

/// A message whose size does not matter.
const ONE: Counted = Counted { messages: 1, bytes: 0, times: 1 };

/// Notes where queues stand that are there at the start: what they hold was not sent since.
pub fn begin(broker: &Broker) {
    for topic in broker.topics.list() {
        // One that was never used takes no room.
        for (queue, stands_at) in queue_stands(broker, &topic).filter(|(_, stands_at)| *stands_at > 0) {
            topic.tallies.queues.begin_at(queue, stands_at);
        }
    }
}

/// Where the queues of a topic stand, by id: those that hold, or held, anything.
fn queue_stands(broker: &Broker, topic: &Topic) -> impl Iterator<Item = (usize, u64)> {
    (0..topic.queue_count()).filter_map(|id| {
        let number =
            topic.known_queue(id).or_else(|| broker.log.find_queue(&topic.settings.name, u32::try_from(id).ok()?))?;
        Some((usize::try_from(id).ok()?, broker.log.next_offset(number)))
    })
}

/// Keeps where all counters stand. To be called every [`SAMPLE_EVERY_MS`].
pub fn sample(broker: &Broker, now_ms: i64) {
    let (put, got) = (total_put(broker), total_got(broker));
    let mut totals = broker.stats.totals();
    totals.put.sample(now_ms, put);
    totals.got.sample(now_ms, got);
    totals.mornings.sample(broker.config.zone.local_ms(now_ms), [put.messages, got.messages]);
    drop(totals);
    broker.stats.acked.sample(now_ms);
    broker.stats.postponed.sample(now_ms);
    broker.writer.append_times().cut(now_ms);
    for topic in broker.topics.list() {
        topic.tallies.sample(now_ms);
        let put = topic.tallies.put.counted().messages;
        if !topic.tallies.queues.is_at_rest(put) {
            topic.tallies.queues.sample(now_ms, put, queue_stands(broker, &topic));
        }
    }
}

fn total_put(broker: &Broker) -> Counted {
    let messages = broker.counters.messages_in.load(Ordering::Relaxed);
    Counted { messages, bytes: broker.counters.bytes_in.load(Ordering::Relaxed), times: messages }
}

fn total_got(broker: &Broker) -> Counted {
    let counters = &broker.counters;
    Counted {
        messages: counters.messages_out.load(Ordering::Relaxed),
        bytes: counters.bytes_out.load(Ordering::Relaxed),
        times: counters.pulls_found.load(Ordering::Relaxed),
    }
}
