//! Handing messages out one by one: POP of the remoting protocol and receiving by gRPC.
//!
//! For each group, topic and queue the broker keeps which messages are out, until when nobody else gets them, and how
//! often they were handed out ([`queue`], [`in_flight`]). A message that is not acknowledged in time is handed out again
//! from where it lies; after the group's last attempt it becomes a dead letter. The group's offset is the first message
//! that is not settled, in the same table as the offsets of pulls, so a group can change between the two.
//!
//! Everything is kept in memory; what changed is handed to the metadata a few times a second ([`saved`]). A crash in
//! between costs repeated deliveries, never a message.
//!
//! Sources: `broker/.../processor/{Pop,Ack,ChangeInvisibleTime}*.java`; where it differs from upstream (no copies to a
//! retry topic, no records in the log): `docs/decisions/0007-deliveries-are-a-table.md`.

pub mod expiry;
mod handle;
mod holders;
mod in_flight;
pub mod progress;
mod queue;
mod saved;
pub mod settling;
pub mod taking;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use log::Log;
use tokio::sync::Notify;

pub use handle::Handle;
pub use queue::{Delivery, HandleError, Lease};

use self::holders::Holders;
use self::queue::QueueDelivery;
use self::saved::{Page, Pages, decode_key, decode_page, encode_key};
use crate::meta::{Meta, Stored, Tree};
use crate::offsets::Offsets;

/// Longest time for which a consumer may ask for a message to be invisible.
pub const INVISIBLE_MAX: Duration = Duration::from_secs(12 * 3600);

/// What all groups have of all topics.
pub struct Deliveries {
    table: RwLock<HashMap<String, HashMap<String, Arc<Consumption>>>>,
    holders: Mutex<Holders>,
    /// When to look at which consumption again, by its number.
    timers: Mutex<Timers>,
    /// Told when something is to be looked at earlier than all else.
    earlier: Notify,
    last_id: AtomicU64,
    meta: Meta,
}

#[derive(Default)]
struct Timers {
    at: BTreeSet<(i64, u64)>,
    what: HashMap<u64, Arc<Consumption>>,
}

/// What one group has of one topic.
pub struct Consumption {
    /// Names it among those who wait for messages.
    pub id: u64,
    group: String,
    topic: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queues: BTreeMap<i32, Queue>,
    /// Turns the queue round with which a call begins.
    turn: usize,
    /// When [`expiry`] looks at it again.
    timer_ms: Option<i64>,
    /// The group or topic was deleted: nothing is to be saved of it any more.
    is_forgotten: bool,
}

#[derive(Default)]
struct Queue {
    delivery: QueueDelivery,
    /// The floor as the table of offsets has it. Another offset there says that somebody else moved it.
    told: u64,
    pages: Pages,
}

impl Queue {
    fn touched(&mut self, offset: u64) {
        self.pages.touch(offset);
    }

    /// Everything is other than it was.
    fn touched_all(&mut self) {
        self.pages.touch_all(&self.delivery);
    }
}

impl Consumption {
    /// Brings the table of offsets up to what is settled.
    fn tell_floors(&self, offsets: &Offsets) {
        let mut state = self.lock();
        if state.is_forgotten {
            return;
        }
        for (queue_id, queue) in &mut state.queues {
            let floor = queue.delivery.floor();
            if floor != queue.told
                && offsets.move_on(&self.group, &self.topic, *queue_id, queue.told as i64, floor as i64)
            {
                queue.told = floor;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deliveries {
    /// Loads what is stored.
    pub fn load(stored: &mut Stored, meta: Meta, offsets: &Offsets) -> Deliveries {
        let deliveries = Deliveries {
            table: RwLock::default(),
            holders: Mutex::default(),
            timers: Mutex::default(),
            earlier: Notify::new(),
            last_id: AtomicU64::new(0),
            meta,
        };
        let mut pages: BTreeMap<(String, String, i32), BTreeMap<u64, Page>> = BTreeMap::new();
        for (key, value) in stored.take(Tree::Deliveries) {
            let read = decode_key(&key).and_then(|read| Some((decode_page(read.page, &value)?, read)));
            let Some((page, read)) = read else {
                // Its messages are handed out again.
                tracing::error!(key = %key.escape_ascii(), "stored deliveries cannot be read");
                deliveries.meta.remove(Tree::Deliveries, key);
                continue;
            };
            pages.entry((read.group, read.topic, read.queue_id)).or_default().insert(read.page, page);
        }
        for ((group, topic, queue_id), pages) in pages {
            // A group without an offset was deleted in the moment before the stop.
            let floor = offsets.get(&group, &topic, queue_id).and_then(|offset| u64::try_from(offset).ok());
            let Some(floor) = floor else {
                for page in pages.into_keys() {
                    deliveries.meta.remove(Tree::Deliveries, encode_key(&group, &topic, queue_id, page));
                }
                continue;
            };
            let mut queue =
                Queue { delivery: saved::restore(floor, &pages), told: floor, pages: Pages::stored(&pages) };
            queue.touched_all();
            let consumption = deliveries.of(&group, &topic);
            let mut state = consumption.lock();
            state.queues.insert(queue_id, queue);
            deliveries.look_again(&consumption, &mut state);
        }
        deliveries
    }

    /// What a group has of a topic.
    pub fn of(&self, group: &str, topic: &str) -> Arc<Consumption> {
        if let Some(found) = self.find(group, topic) {
            return found;
        }
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let topics = table.entry(group.to_owned()).or_default();
        let made = topics.entry(topic.to_owned()).or_insert_with(|| {
            Arc::new(Consumption {
                id: self.last_id.fetch_add(1, Ordering::Relaxed) + 1,
                group: group.to_owned(),
                topic: topic.to_owned(),
                state: Mutex::default(),
            })
        });
        made.clone()
    }

    fn find(&self, group: &str, topic: &str) -> Option<Arc<Consumption>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.get(group)?.get(topic).cloned()
    }

    /// A consumer that holds what it gets was heard of; its number for [`Lease::holder`].
    pub fn heard(&self, group: &str, client_id: &str, now_ms: i64) -> u32 {
        self.lock_holders().heard(group, client_id, now_ms)
    }

    /// A consumer is gone: what it holds becomes visible at `visible_ms`.
    pub fn gone(&self, group: &str, client_id: &str, visible_ms: i64) {
        let Some(holder) = self.lock_holders().gone(group, client_id) else { return };
        for consumption in self.of_group(group) {
            let mut state = consumption.lock();
            for queue in state.queues.values_mut() {
                if queue.delivery.holder_gone(holder, visible_ms) {
                    queue.touched_all();
                }
            }
            self.look_again(&consumption, &mut state);
        }
    }

    fn of_group(&self, group: &str) -> Vec<Arc<Consumption>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.get(group).map(|topics| topics.values().cloned().collect()).unwrap_or_default()
    }

    /// Messages of a queue that were handed out to a group and are not settled.
    pub fn in_flight(&self, group: &str, topic: &str, queue_id: i32) -> usize {
        let Some(consumption) = self.find(group, topic) else { return 0 };
        let state = consumption.lock();
        state.queues.get(&queue_id).map_or(0, |queue| queue.delivery.in_flight().count())
    }

    /// Messages that were handed out to anybody and are not settled.
    pub fn all_in_flight(&self) -> usize {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let of = |consumption: &Arc<Consumption>| -> usize {
            consumption.lock().queues.values().map(|queue| queue.delivery.in_flight().count()).sum()
        };
        table.values().flat_map(HashMap::values).map(of).sum()
    }

    /// When a message was handed out to a consumer of a group that has not settled it, in milliseconds since 1970.
    pub fn delivered_ms(&self, group: &str, topic: &str, queue_id: i32, offset: u64) -> Option<i64> {
        let consumption = self.find(group, topic)?;
        let state = consumption.lock();
        state.queues.get(&queue_id)?.delivery.in_flight().get(offset).map(|flight| flight.delivered_ms)
    }

    /// An operator moved the group's offset of a queue: messages from there on are handed out (again), those before are
    /// settled. Returns the number that is waited for, or `None` if the group never was handed messages of that queue one
    /// by one.
    pub fn reset(&self, group: &str, topic: &str, queue_id: i32, offset: u64) -> Option<u64> {
        let consumption = self.find(group, topic)?;
        let mut state = consumption.lock();
        let queue = state.queues.get_mut(&queue_id)?;
        queue.delivery.reset(offset);
        queue.told = offset;
        queue.touched_all();
        self.look_again(&consumption, &mut state);
        drop(state);
        Some(consumption.id)
    }

    /// Forgets what a group has, of one topic or of all. Returns the numbers that were waited for.
    pub fn forget_group(&self, group: &str) -> Vec<u64> {
        let topics = self.table.write().unwrap_or_else(PoisonError::into_inner).remove(group).unwrap_or_default();
        topics.into_values().map(|consumption| self.forget(&consumption)).collect()
    }

    /// Forgets what everybody has of a topic. Returns the numbers that were waited for.
    pub fn forget_topic(&self, topic: &str) -> Vec<u64> {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let forgotten: Vec<Arc<Consumption>> = table.values_mut().filter_map(|topics| topics.remove(topic)).collect();
        table.retain(|_, topics| !topics.is_empty());
        drop(table);
        forgotten.iter().map(|consumption| self.forget(consumption)).collect()
    }

    fn forget(&self, consumption: &Arc<Consumption>) -> u64 {
        let mut state = consumption.lock();
        state.is_forgotten = true;
        for (queue_id, queue) in std::mem::take(&mut state.queues) {
            for page in queue.pages.into_stored() {
                let key = encode_key(&consumption.group, &consumption.topic, queue_id, page);
                self.meta.remove(Tree::Deliveries, key);
            }
        }
        consumption.id
    }

    /// Hands everything that changed since the last call to the metadata; returns how many pages it was.
    ///
    /// Floors go first: a page that is removed before its floor is stored would cost repeats.
    pub fn save_changed(&self, offsets: &Offsets) -> usize {
        let all: Vec<Arc<Consumption>> = {
            let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
            table.values().flat_map(|topics| topics.values().cloned()).collect()
        };
        all.iter().for_each(|consumption| consumption.tell_floors(offsets));
        offsets.save_changed();
        all.iter().map(|consumption| self.save_pages(consumption)).sum()
    }

    fn save_pages(&self, consumption: &Consumption) -> usize {
        let mut state = consumption.lock();
        if state.is_forgotten {
            return 0;
        }
        let mut written = 0;
        for (queue_id, queue) in &mut state.queues {
            for (page, value) in queue.pages.take_writes(&queue.delivery, queue.told) {
                let key = encode_key(&consumption.group, &consumption.topic, *queue_id, page);
                match value {
                    Some(value) => self.meta.put(Tree::Deliveries, key, value),
                    None => self.meta.remove(Tree::Deliveries, key),
                }
                written += 1;
            }
        }
        written
    }

    /// Makes sure that `consumption` is looked at when its next message becomes visible.
    fn look_again(&self, consumption: &Arc<Consumption>, state: &mut State) {
        let next_ms = state.queues.values().filter_map(|queue| queue.delivery.in_flight().next_visible_ms()).min();
        let Some(next_ms) = next_ms.filter(|next_ms| state.timer_ms.is_none_or(|timer_ms| *next_ms < timer_ms)) else {
            return;
        };
        let mut timers = self.timers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old_ms) = state.timer_ms.replace(next_ms) {
            timers.at.remove(&(old_ms, consumption.id));
        }
        timers.at.insert((next_ms, consumption.id));
        timers.what.insert(consumption.id, consumption.clone());
        if timers.at.first() == Some(&(next_ms, consumption.id)) {
            self.earlier.notify_one();
        }
    }

    fn lock_holders(&self) -> MutexGuard<'_, Holders> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What the group has of a queue, brought up to what others did to its offset and to the log.
    fn queue<'s>(
        &'s mut self,
        consumption: &Consumption,
        offsets: &Offsets,
        log: &Log,
        queue_id: i32,
        number: log::QueueNumber,
        first: impl FnOnce() -> u64,
    ) -> &'s mut Queue {
        let is_new = !self.queues.contains_key(&queue_id);
        let queue = self.queues.entry(queue_id).or_default();
        let known = offsets.get(&consumption.group, &consumption.topic, queue_id);
        match known.and_then(|offset| u64::try_from(offset).ok()) {
            Some(offset) if is_new => {
                queue.delivery = QueueDelivery::starting_at(offset);
                queue.told = offset;
            }
            Some(offset) if offset != queue.told => {
                tracing::info!(
                    group = consumption.group,
                    topic = consumption.topic,
                    queue_id,
                    from = queue.told,
                    to = offset,
                    "the group's offset was moved"
                );
                queue.delivery.reset(offset);
                queue.told = offset;
                queue.touched_all();
            }
            Some(_) => {}
            // The group never read it, or that was forgotten.
            None => {
                let offset = first();
                queue.delivery = QueueDelivery::starting_at(offset);
                queue.told = offset;
                queue.touched_all();
                offsets.commit(&consumption.group, &consumption.topic, queue_id, offset as i64);
            }
        }
        let min = log.offsets(number).min;
        if queue.delivery.forget_below(min) {
            queue.touched_all();
        }
        queue
    }
}
