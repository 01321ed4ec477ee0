//! Reading through the queues of a topic: the newest messages, or those of a time range that pass a filter. Both give
//! a cursor from which the next page goes on without a gap and without a double.

use std::collections::VecDeque;
use std::time::Duration;

use client::admin::{PullRequest, StoredMessage};
use tokio::time::Instant;

use super::super::Cluster;
use super::super::place::Place;
use super::super::topics::QueueHolding;
use super::super::why::{Silent, Why};
use super::{Cursor, PULL_MAX, READING_GROUP};

/// Messages that one page may look at.
const SCAN_MAX: u64 = 50_000;

/// Time that one page may look.
const SCAN_TIME: Duration = Duration::from_secs(2);

/// Which messages of a range are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The tag; brokers pass over others.
    pub tag: Option<String>,
    /// Text that the body, a key or a property has.
    pub text: Option<String>,
    /// The one queue.
    pub queue: Option<(String, i32)>,
}

impl Filter {
    /// Whether nothing is passed over.
    pub fn is_empty(&self) -> bool {
        *self == Filter::default()
    }

    pub(super) fn has_queue(&self, queue: &QueueHolding) -> bool {
        self.queue.as_ref().is_none_or(|(broker, id)| *broker == queue.broker && *id == queue.queue_id)
    }

    pub(super) fn passes(&self, message: &StoredMessage) -> bool {
        let Some(text) = &self.text else { return true };
        let received = &message.received;
        contains(&received.body, text.as_bytes())
            || received.properties.iter().any(|(name, value)| name.contains(text) || value.contains(text))
    }
}

fn contains(body: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || body.windows(wanted.len()).any(|window| window == wanted)
}

/// Where to begin and where to end, in store times in milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// First.
    pub from_ms: Option<i64>,
    /// Last.
    pub to_ms: Option<i64>,
}

/// What reading through brought.
#[derive(Clone, Debug, Default)]
pub struct Scanned {
    /// The messages: newest first for the newest ones, else oldest first.
    pub messages: Vec<StoredMessage>,
    /// Messages that were looked at.
    pub looked_at: u64,
    /// Messages that the queues hold in all; what is outside of the range counts too.
    pub held: i64,
    /// Where to go on; `None` when the range is read to its end.
    pub next: Option<Cursor>,
    /// Who did not answer.
    pub silent: Vec<Silent>,
    /// Who answered, but not this.
    pub refusals: Vec<Silent>,
}

/// What reading one queue brought.
struct QueueScan {
    broker: String,
    queue_id: i32,
    hits: VecDeque<StoredMessage>,
    looked_at: u64,
    /// Where to go on, if there is more.
    next: Option<i64>,
    trouble: Option<Why>,
}

impl Cluster {
    /// The newest messages before `older_than`, or of all; up to about `count`.
    pub async fn newest_messages(
        &self,
        topic: &str,
        older_than: Option<&Cursor>,
        filter: &Filter,
        count: usize,
    ) -> Scanned {
        let holdings = self.holdings(topic).await;
        let end = |queue: &QueueHolding| {
            let known = older_than.map(|cursor| cursor.offset(&queue.broker, queue.queue_id).unwrap_or(0));
            known.unwrap_or(queue.offset.max_offset).min(queue.offset.max_offset)
        };
        let count_each = i64::try_from(count).unwrap_or(i64::MAX).min(i64::from(PULL_MAX));
        let queues: Vec<&QueueHolding> = holdings.queues.iter().filter(|queue| filter.has_queue(queue)).collect();
        let reading = queues.iter().map(async |queue| {
            let end = end(queue);
            let start = end.saturating_sub(count_each).max(queue.offset.min_offset);
            let read = match start < end {
                true => {
                    self.pull_between(topic, queue, start, end, "*", usize::MAX).await.map(Option::unwrap_or_default)
                }
                false => Ok(Vec::new()),
            };
            (*queue, start, end, read)
        });
        let mut scanned = Scanned {
            held: queues.iter().map(|queue| queue.messages()).sum(),
            silent: holdings.silent.clone(),
            refusals: holdings.refusals.clone(),
            ..Scanned::default()
        };
        let mut reads = Vec::new();
        for (queue, start, end, read) in futures_util::future::join_all(reading).await {
            match read {
                Ok(messages) => {
                    scanned.looked_at += messages.len() as u64;
                    scanned.messages.extend(messages);
                    reads.push((queue, start, end));
                }
                Err(why) => scanned.trouble(&queue.broker, why),
            }
        }
        scanned.messages.sort_by_key(|message| {
            let received = &message.received;
            std::cmp::Reverse((received.store_timestamp_ms, received.queue_id, received.offset))
        });
        scanned.messages.truncate(count);
        let is_shown = |queue: &QueueHolding| {
            let shown = scanned.messages.iter().map(|message| &message.received);
            let own = shown.filter(|message| message.broker == queue.broker && message.queue_id == queue.queue_id);
            own.map(|message| message.offset as i64).min()
        };
        // What was read and not shown is read again.
        let places = reads.iter().map(|(queue, _, end)| Place {
            broker: queue.broker.clone(),
            queue_id: queue.queue_id,
            offset: is_shown(queue).unwrap_or(*end),
        });
        let places: Vec<Place> = places.collect();
        let has_more = |place: &Place| {
            let queue = queues.iter().find(|queue| queue.broker == place.broker && queue.queue_id == place.queue_id);
            queue.is_some_and(|queue| queue.offset.min_offset < place.offset)
        };
        scanned.next = places.iter().any(has_more).then_some(Cursor(places));
        scanned
    }

    /// Messages of a range that pass a filter, oldest first, up to `count`; goes on at `cursor` where there is one.
    pub async fn scan_messages(
        &self,
        topic: &str,
        range: Range,
        cursor: Option<&Cursor>,
        filter: &Filter,
        count: usize,
    ) -> Scanned {
        let holdings = self.holdings(topic).await;
        let queues: Vec<&QueueHolding> = holdings
            .queues
            .iter()
            .filter(|queue| filter.has_queue(queue))
            // A queue that the cursor does not name was read to its end.
            .filter(|queue| cursor.is_none_or(|cursor| cursor.offset(&queue.broker, queue.queue_id).is_some()))
            .collect();
        let share = SCAN_MAX / queues.len().max(1) as u64;
        let until = Instant::now() + SCAN_TIME;
        let reading = queues.iter().map(async |queue| {
            let known = cursor.and_then(|cursor| cursor.offset(&queue.broker, queue.queue_id));
            self.scan_queue(topic, queue, known, range, filter, count, share, until).await
        });
        let mut scans = futures_util::future::join_all(reading).await;
        let mut scanned = Scanned {
            held: queues.iter().map(|queue| queue.messages()).sum(),
            silent: holdings.silent.clone(),
            refusals: holdings.refusals.clone(),
            looked_at: scans.iter().map(|scan| scan.looked_at).sum(),
            ..Scanned::default()
        };
        for scan in &mut scans {
            if let Some(why) = scan.trouble.take() {
                scanned.trouble(&scan.broker, why);
            }
        }
        scanned.messages = take_oldest(&mut scans, count);
        // Hits that did not find room are read again by the next page.
        let next = scans.iter().filter_map(|scan| {
            let offset = scan.hits.front().map(|message| message.received.offset as i64).or(scan.next)?;
            Some(Place { broker: scan.broker.clone(), queue_id: scan.queue_id, offset })
        });
        let next: Vec<Place> = next.collect();
        scanned.next = (!next.is_empty()).then_some(Cursor(next));
        scanned
    }

    #[expect(clippy::too_many_arguments, reason = "each is one limit of the same loop")]
    async fn scan_queue(
        &self,
        topic: &str,
        queue: &QueueHolding,
        known: Option<i64>,
        range: Range,
        filter: &Filter,
        count: usize,
        share: u64,
        until: Instant,
    ) -> QueueScan {
        let mut scan = QueueScan {
            broker: queue.broker.clone(),
            queue_id: queue.queue_id,
            hits: VecDeque::new(),
            looked_at: 0,
            next: None,
            trouble: None,
        };
        let start = match (known, range.from_ms) {
            (Some(offset), _) => Ok(offset),
            (None, Some(from_ms)) => self.offset_at(topic, queue, from_ms).await,
            (None, None) => Ok(queue.offset.min_offset),
        };
        let mut at = match start {
            Ok(offset) => offset.max(queue.offset.min_offset),
            Err(why) => {
                scan.trouble = Some(why);
                return scan;
            }
        };
        while at < queue.offset.max_offset {
            if count <= scan.hits.len() || share <= scan.looked_at || until <= Instant::now() {
                scan.next = Some(at);
                break;
            }
            let (messages, next) = match self.pull(topic, queue, at, filter.tag.as_deref().unwrap_or("*")).await {
                Ok(pulled) => pulled,
                Err(why) => {
                    scan.next = Some(at);
                    scan.trouble = Some(why);
                    break;
                }
            };
            if next <= at {
                break;
            }
            scan.looked_at += (next - at) as u64;
            at = next;
            let is_late =
                |message: &StoredMessage| range.to_ms.is_some_and(|to| to < message.received.store_timestamp_ms);
            let ended = messages.iter().any(is_late);
            scan.hits.extend(messages.into_iter().filter(|message| !is_late(message) && filter.passes(message)));
            if ended {
                break;
            }
        }
        scan
    }

    pub(super) async fn offset_at(&self, topic: &str, queue: &QueueHolding, time_ms: i64) -> Result<i64, Why> {
        let address = self.address_of(&queue.broker).await?;
        self.reach.ask(&address, self.admin.offset_by_time(&address, topic, queue.queue_id, time_ms)).await
    }

    async fn address_of(&self, broker: &str) -> Result<String, Why> {
        let brokers = self.brokers().await;
        let master = brokers.master(broker).map(|at| at.address.clone());
        master.ok_or_else(|| Why::Unreachable(format!("no master of `{broker}` is registered")))
    }

    /// Messages from `start` up to `end`; `None` if their bodies have more than `bytes_max`. Brokers may give fewer at a time
    /// than they are asked for.
    pub(super) async fn pull_between(
        &self,
        topic: &str,
        queue: &QueueHolding,
        start: i64,
        end: i64,
        tags: &str,
        bytes_max: usize,
    ) -> Result<Option<Vec<StoredMessage>>, Why> {
        let mut found: Vec<StoredMessage> = Vec::new();
        let mut bytes = 0;
        let mut at = start;
        while at < end {
            let (messages, next) = self.pull(topic, queue, at, tags).await?;
            if next <= at {
                break;
            }
            at = next;
            for message in messages.into_iter().filter(|message| (message.received.offset as i64) < end) {
                bytes += message.received.body.len();
                found.push(message);
            }
            if bytes_max < bytes {
                return Ok(None);
            }
        }
        Ok(Some(found))
    }

    pub(super) async fn pull(
        &self,
        topic: &str,
        queue: &QueueHolding,
        offset: i64,
        tags: &str,
    ) -> Result<(Vec<StoredMessage>, i64), Why> {
        let address = self.address_of(&queue.broker).await?;
        let request = PullRequest {
            broker: &queue.broker,
            address: &address,
            group: READING_GROUP,
            topic,
            queue_id: queue.queue_id,
            offset,
            count: PULL_MAX,
            tags,
        };
        let pulled = self.reach.ask(&address, self.admin.pull(&request)).await?;
        Ok((pulled.messages, pulled.next))
    }
}

impl Scanned {
    fn trouble(&mut self, broker: &str, why: Why) {
        let list = if why.is_silence() { &mut self.silent } else { &mut self.refusals };
        if !list.iter().any(|known| known.node == broker) {
            list.push(Silent { node: broker.to_owned(), why });
        }
    }
}

/// Takes the oldest hits of all queues, each queue in its own order.
fn take_oldest(scans: &mut [QueueScan], count: usize) -> Vec<StoredMessage> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let time = |scan: &QueueScan| scan.hits.front().map(|message| message.received.store_timestamp_ms);
        let oldest = scans.iter_mut().filter(|scan| !scan.hits.is_empty()).min_by_key(|scan| time(scan));
        let Some(message) = oldest.and_then(|scan| scan.hits.pop_front()) else { break };
        taken.push(message);
    }
    taken
}
