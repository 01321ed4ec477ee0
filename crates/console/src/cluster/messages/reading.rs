//! Reading a topic from one end to the other, each message once: what many pages would read again and again.

use std::collections::VecDeque;

use client::admin::StoredMessage;

use super::super::Cluster;
use super::super::place::Place;
use super::super::topics::QueueHolding;
use super::super::why::{Silent, Why};
use super::{Cursor, Filter, PULL_MAX, Range};

/// Most bytes of bodies of one queue that are held to be given last to first, unless one message has more.
const HELD_BYTES_MAX: usize = 2 << 20;

/// Which messages come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Those that were stored first.
    #[default]
    Oldest,
    /// Those that were stored last.
    Newest,
}

/// How far a reading is.
#[derive(Debug)]
pub struct Reading {
    /// Messages that were looked at.
    pub looked_at: u64,
    /// Who did not answer, or not this: what they hold is missing.
    pub missing: Vec<Silent>,
    topic: String,
    range: Range,
    filter: Filter,
    order: Order,
    queues: Vec<QueueReading>,
    /// Some queues are not among them, for nobody told where they begin.
    lacks_queues: bool,
    /// In their order.
    ready: VecDeque<StoredMessage>,
}

#[derive(Debug)]
struct QueueReading {
    queue: QueueHolding,
    /// Offsets that were not read.
    left: std::ops::Range<i64>,
    /// In the order of the reading.
    hits: VecDeque<StoredMessage>,
    /// Its broker did not answer: another reading may have what is left.
    gave_up: bool,
}

impl QueueReading {
    fn is_dry(&self) -> bool {
        self.hits.is_empty() && !self.left.is_empty() && !self.gave_up
    }
}

impl Reading {
    /// Where another reading goes on after the messages that this one gave; `None` when all were given.
    pub fn cursor(&self) -> Option<Cursor> {
        // What a cursor does not name counts as read.
        if self.lacks_queues {
            return None;
        }
        let places = self.queues.iter().filter_map(|reading| {
            let (broker, queue_id) = (&reading.queue.broker, reading.queue.queue_id);
            let is_own =
                |message: &&StoredMessage| message.received.broker == *broker && message.received.queue_id == queue_id;
            let first = self.ready.iter().find(is_own).or(reading.hits.front());
            let first = first.map(|message| message.received.offset as i64);
            let offset = match self.order {
                Order::Oldest => first.or((!reading.left.is_empty()).then_some(reading.left.start)),
                Order::Newest => first.map(|at| at + 1).or((!reading.left.is_empty()).then_some(reading.left.end)),
            };
            Some(Place { broker: broker.clone(), queue_id, offset: offset? })
        });
        let places: Vec<Place> = places.collect();
        (!places.is_empty()).then_some(Cursor(places))
    }

    fn wants(&self, message: &StoredMessage) -> bool {
        let time = message.received.store_timestamp_ms;
        let is_in_range =
            self.range.from_ms.is_none_or(|from| from <= time) && self.range.to_ms.is_none_or(|to| time <= to);
        is_in_range && self.filter.passes(message)
    }

    /// Makes those messages ready before which none of another queue can come any more.
    fn sort(&mut self) {
        while !self.queues.iter().any(QueueReading::is_dry) {
            let time =
                |reading: &QueueReading| reading.hits.front().map_or(0, |message| message.received.store_timestamp_ms);
            let full = self.queues.iter_mut().filter(|reading| !reading.hits.is_empty());
            let next = match self.order {
                Order::Oldest => full.min_by_key(|reading| time(reading)),
                Order::Newest => full.max_by_key(|reading| time(reading)),
            };
            let Some(message) = next.and_then(|reading| reading.hits.pop_front()) else { break };
            self.ready.push_back(message);
        }
    }

    fn note(&mut self, node: &str, why: Why) {
        if !self.missing.iter().any(|known| known.node == node) {
            self.missing.push(Silent { node: node.to_owned(), why });
        }
    }
}

impl Cluster {
    /// Begins to read messages of a range that pass a filter, after those that another reading gave.
    pub async fn begin_reading(
        &self,
        topic: &str,
        range: Range,
        filter: Filter,
        order: Order,
        after: Option<&Cursor>,
    ) -> Reading {
        let holdings = self.holdings(topic).await;
        let queues: Vec<&QueueHolding> = holdings.queues.iter().filter(|queue| filter.has_queue(queue)).collect();
        let asking = queues.iter().map(async |queue| (*queue, self.offsets(topic, queue, range).await));
        let asked = futures_util::future::join_all(asking).await;
        let missing = holdings.silent.iter().chain(&holdings.refusals).cloned().collect();
        let mut reading = Reading {
            looked_at: 0,
            missing,
            topic: topic.to_owned(),
            range,
            filter,
            order,
            queues: Vec::new(),
            lacks_queues: false,
            ready: VecDeque::new(),
        };
        for (queue, offsets) in asked {
            let mut left = match offsets {
                Ok(offsets) => offsets,
                Err(why) => {
                    reading.note(&queue.broker, why);
                    continue;
                }
            };
            if let Some(after) = after {
                // A queue that is not named was read to its end.
                let Some(place) = after.offset(&queue.broker, queue.queue_id) else { continue };
                match order {
                    Order::Oldest => left.start = left.start.max(place),
                    Order::Newest => left.end = left.end.min(place),
                }
            }
            reading.queues.push(QueueReading { queue: queue.clone(), left, hits: VecDeque::new(), gave_up: false });
        }
        reading.lacks_queues = !reading.missing.is_empty();
        reading
    }

    /// The next message, unless there is none or `looked_at_max` were looked at.
    pub async fn read_on(&self, reading: &mut Reading, looked_at_max: u64) -> Option<StoredMessage> {
        loop {
            if let Some(message) = reading.ready.pop_front() {
                return Some(message);
            }
            if looked_at_max <= reading.looked_at || !reading.queues.iter().any(QueueReading::is_dry) {
                return None;
            }
            let (topic, order) = (reading.topic.as_str(), reading.order);
            let tags = reading.filter.tag.as_deref().unwrap_or("*");
            let dry = reading.queues.iter().enumerate().filter(|(_, queue)| queue.is_dry());
            let pulling = dry.map(async |(at, queue)| {
                (at, self.pull_some(topic, &queue.queue, queue.left.clone(), order, tags).await)
            });
            for (at, pulled) in futures_util::future::join_all(pulling).await {
                match pulled {
                    Ok((messages, left)) => {
                        let wanted: VecDeque<StoredMessage> =
                            messages.into_iter().filter(|message| reading.wants(message)).collect();
                        let queue = &mut reading.queues[at];
                        reading.looked_at += (left.start - queue.left.start + queue.left.end - left.end) as u64;
                        (queue.hits, queue.left) = (wanted, left);
                    }
                    Err(why) => {
                        let broker = reading.queues[at].queue.broker.clone();
                        reading.queues[at].gave_up = true;
                        reading.note(&broker, why);
                    }
                }
            }
            reading.sort();
        }
    }

    /// Offsets in which all messages of a range are.
    async fn offsets(&self, topic: &str, queue: &QueueHolding, range: Range) -> Result<std::ops::Range<i64>, Why> {
        let whole = queue.offset.min_offset..queue.offset.max_offset;
        let start = match range.from_ms {
            Some(from_ms) => self.offset_at(topic, queue, from_ms).await?.max(whole.start),
            None => whole.start,
        };
        let end = match range.to_ms {
            // Of a time after the last message, some brokers tell where that one is.
            Some(to_ms) => self.offset_at(topic, queue, to_ms.saturating_add(1)).await?.saturating_add(1),
            None => whole.end,
        };
        Ok(start..end.min(whole.end))
    }

    /// What one answer brings of these offsets, and which of them are left.
    async fn pull_some(
        &self,
        topic: &str,
        queue: &QueueHolding,
        left: std::ops::Range<i64>,
        order: Order,
        tags: &str,
    ) -> Result<(Vec<StoredMessage>, std::ops::Range<i64>), Why> {
        match order {
            Order::Oldest => {
                let (mut messages, next) = self.pull(topic, queue, left.start, tags).await?;
                messages.retain(|message| left.contains(&(message.received.offset as i64)));
                // A broker that does not get ahead has nothing more.
                let next = if left.start < next { next.min(left.end) } else { left.end };
                Ok((messages, next..left.end))
            }
            Order::Newest => {
                let mut window = i64::from(PULL_MAX);
                loop {
                    let start = left.end.saturating_sub(window).max(left.start);
                    // One message is taken whatever its size.
                    let bytes_max = if window == 1 { usize::MAX } else { HELD_BYTES_MAX };
                    if let Some(mut messages) =
                        self.pull_between(topic, queue, start, left.end, tags, bytes_max).await?
                    {
                        messages.reverse();
                        return Ok((messages, left.start..start));
                    }
                    window /= 4;
                    window = window.max(1);
                }
            }
        }
    }
}
