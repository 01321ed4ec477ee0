//! What happens when the time of a delivery is over: the message becomes visible again, stays with a consumer that is
//! alive, or becomes a dead letter after the last attempt.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use protocol::record::Record;

use super::queue::BURYING;
use super::{Consumption, Queue};
use crate::broker::Broker;
use crate::groups::GroupSettings;
use crate::send_back;
use crate::writer::{Appends, Outcome};

/// Time that a living consumer gets more, in milliseconds, whenever its time is over.
const RENEWED_MS: i64 = 60_000;
/// Longest time for which a living consumer holds a message, in milliseconds; then it is handed to another
/// (upstream's `renewMaxTimeMillis`).
const HELD_MAX_MS: i64 = 3 * 3_600_000;
/// Time within which a dead letter is stored, in milliseconds, or tried again.
const BURIAL_MS: i64 = 30_000;
/// Time after which a dead letter that could not be stored is tried again, in milliseconds.
const BURIAL_RETRY_MS: i64 = 1_000;
/// Consumptions that are looked at in one go; then other work gets its turn.
const BATCH_MAX: usize = 64;
/// Longest time between two looks.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// A message that had its last attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Doomed {
    queue_id: i32,
    offset: u64,
    attempts: u16,
}

impl Doomed {
    /// A message at its end.
    pub(super) fn new(queue_id: i32, offset: u64, attempts: u16) -> Doomed {
        Doomed { queue_id, offset, attempts }
    }
}

/// When a dead letter that is being stored is tried again, in milliseconds since 1970.
pub(super) fn burial_ends_ms(now_ms: i64) -> i64 {
    now_ms + BURIAL_MS
}

/// How often a message is handed out before it is a dead letter: once, and as often as the group retries.
pub fn attempts_max(group: &GroupSettings) -> u16 {
    u16::try_from(group.retry_max_times.max(0)).unwrap_or(u16::MAX).saturating_add(1)
}

/// Lets what is over become visible. Adds to `doomed` what is to be buried once the lock is released.
pub(super) fn expire(
    broker: &Broker,
    queue_id: i32,
    queue: &mut Queue,
    now_ms: i64,
    attempts_max: u16,
    doomed: &mut Vec<Doomed>,
) {
    if queue.delivery.in_flight().next_visible_ms().is_none_or(|next_ms| now_ms < next_ms) {
        return;
    }
    let holders = broker.deliveries.lock_holders();
    let mut changed = Vec::new();
    queue.delivery.expire(now_ms, |offset, flight| {
        let is_held = flight.holder != 0 && holders.is_alive(flight.holder, now_ms);
        if is_held && now_ms - flight.delivered_ms < HELD_MAX_MS {
            changed.push(offset);
            return Some(now_ms + RENEWED_MS);
        }
        if attempts_max <= flight.attempts && !flight.uncounted || flight.holder == BURYING {
            doomed.push(Doomed { queue_id, offset, attempts: flight.attempts });
            return Some(burial_ends_ms(now_ms));
        }
        None
    });
    for doomed in doomed.iter().filter(|doomed| doomed.queue_id == queue_id) {
        queue.delivery.bury(doomed.offset, burial_ends_ms(now_ms));
    }
    changed.into_iter().for_each(|offset| queue.touched(offset));
}

/// Stores messages as dead letters, and then settles them.
pub(super) fn bury(broker: &Arc<Broker>, consumption: &Arc<Consumption>, doomed: Vec<Doomed>) {
    for doomed in doomed {
        let mut appends = Appends::default();
        match push(broker, consumption, doomed, &mut appends) {
            Ok(true) => {}
            Ok(false) => {
                buried(broker, consumption, doomed);
                continue;
            }
            Err(error) => {
                not_buried(broker, consumption, doomed, &*error);
                continue;
            }
        }
        // The callback may outlive everything else, so it must not keep the broker.
        let (weak, of) = (Arc::downgrade(broker), consumption.clone());
        broker.writer.append_then(appends, move |_, outcome| {
            let Some(broker) = weak.upgrade() else { return };
            match outcome {
                Outcome::Stored | Outcome::Accepted | Outcome::FlushTimeout => buried(&broker, &of, doomed),
                Outcome::Refused(error) => not_buried(&broker, &of, doomed, error),
            }
        });
    }
}

/// Adds the dead letter; `false` says that the message is gone.
fn push(
    broker: &Broker,
    consumption: &Consumption,
    doomed: Doomed,
    appends: &mut Appends,
) -> Result<bool, Box<dyn std::error::Error>> {
    let Some(topic) = broker.topics.get(&consumption.topic) else { return Ok(false) };
    let number = broker.queue_number(&topic, doomed.queue_id)?;
    let mut bytes = Vec::new();
    let one = log::PullLimits { max_messages: 1, max_bytes: 1 };
    broker.log.pull(number, doomed.offset, one, &|_| true, &mut bytes)?;
    let Ok(record) = Record::parse(&bytes) else { return Ok(false) };
    if record.queue_offset() != doomed.offset {
        return Ok(false);
    }
    send_back::push_dead_letter(broker, &consumption.group, &record, i32::from(doomed.attempts), appends)?;
    Ok(true)
}

fn buried(broker: &Broker, consumption: &Consumption, doomed: Doomed) {
    let mut state = consumption.lock();
    if let Some(queue) = state.queues.get_mut(&doomed.queue_id) {
        queue.delivery.settle(doomed.offset);
        queue.touched(doomed.offset);
    }
    drop(state);
    // It may have kept an ordered queue back.
    broker.receives.wake_next(consumption.id, queue_number(broker, consumption, doomed.queue_id));
}

fn not_buried(broker: &Arc<Broker>, consumption: &Arc<Consumption>, doomed: Doomed, error: &dyn std::error::Error) {
    tracing::error!(
        group = consumption.group,
        topic = consumption.topic,
        queue_id = doomed.queue_id,
        offset = doomed.offset,
        %error,
        "a dead letter cannot be stored; it is tried again"
    );
    let mut state = consumption.lock();
    if let Some(queue) = state.queues.get_mut(&doomed.queue_id) {
        queue.delivery.bury(doomed.offset, broker.clock.now_ms() + BURIAL_RETRY_MS);
    }
    broker.deliveries.look_again(consumption, &mut state);
}

fn queue_number(broker: &Broker, consumption: &Consumption, queue_id: i32) -> Option<log::QueueNumber> {
    broker.topics.get(&consumption.topic)?.known_queue(queue_id)
}

/// Looks after deliveries and held calls whose time is over, until the broker stops.
pub async fn expire_when_due(broker: Arc<Broker>) {
    loop {
        let wait = expire_due(&broker);
        if wait.is_zero() {
            tokio::task::yield_now().await;
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = broker.deliveries.earlier.notified() => {}
            () = broker.receives.nearer() => {}
            () = broker.shutdown.cancelled() => return,
        }
    }
}

/// Looks after what is over now, some of it if it is much. Returns after what time there is more: at once, if zero.
pub fn expire_due(broker: &Arc<Broker>) -> Duration {
    let now_ms = broker.clock.now_ms();
    let mut looked_at = 0;
    while let Some(consumption) = broker.deliveries.next_due(now_ms) {
        expire_consumption(broker, &consumption, now_ms);
        looked_at += 1;
        if looked_at == BATCH_MAX {
            return Duration::ZERO;
        }
    }
    let next_wait_ms = broker.receives.expire(now_ms);
    let next_ms = broker.deliveries.next_timer_ms().into_iter().chain(next_wait_ms).min();
    let wait_ms = next_ms.unwrap_or(i64::MAX).saturating_sub(broker.clock.now_ms());
    Duration::from_millis(wait_ms.max(0) as u64).min(LOOK_AGAIN)
}

fn expire_consumption(broker: &Arc<Broker>, consumption: &Arc<Consumption>, now_ms: i64) {
    let attempts_max = broker.groups.get(&consumption.group).map_or(u16::MAX, |group| attempts_max(&group));
    let mut doomed = Vec::new();
    let mut state = consumption.lock();
    let mut visible = Vec::new();
    state.timer_ms = None;
    let Some(topic) = broker.topics.get(&consumption.topic).filter(|_| !state.is_forgotten) else { return };
    for queue_id in state.queues.keys().copied().collect::<Vec<i32>>() {
        let Ok(number) = broker.queue_number(&topic, queue_id) else { continue };
        // Whoever consumes by pulling meanwhile has moved the group's offset: that is settled, and no dead letter.
        let first = || broker.log.offsets(number).min;
        let queue = state.queue(consumption, &broker.offsets, &broker.log, queue_id, number, first);
        expire(broker, queue_id, queue, now_ms, attempts_max, &mut doomed);
        if queue.delivery.in_flight().has_ready() {
            visible.push(number);
        }
    }
    broker.deliveries.look_again(consumption, &mut state);
    drop(state);
    bury(broker, consumption, doomed);
    for number in visible {
        broker.receives.wake_next(consumption.id, Some(number));
    }
}

impl super::Deliveries {
    /// Takes out a consumption that is to be looked at.
    fn next_due(&self, now_ms: i64) -> Option<Arc<Consumption>> {
        let mut timers = self.timers.lock().unwrap_or_else(PoisonError::into_inner);
        let (at_ms, id) = timers.at.first().copied().filter(|(at_ms, _)| *at_ms <= now_ms)?;
        timers.at.remove(&(at_ms, id));
        timers.what.remove(&id)
    }

    fn next_timer_ms(&self) -> Option<i64> {
        let timers = self.timers.lock().unwrap_or_else(PoisonError::into_inner);
        timers.at.first().map(|(at_ms, _)| *at_ms)
    }

    /// Forgets consumers that were silent for too long. What they hold becomes visible when its time is over.
    pub fn forget_silent_holders(&self, now_ms: i64) {
        self.lock_holders().forget_silent(now_ms);
    }
}
