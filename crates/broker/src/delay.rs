//! Messages that are due later: how long, and delivering them when their time has come.
//!
//! A delayed message is stored once where delayed messages wait, with its due time as a property, and entered in
//! the log's due index. When it is due it is stored again in its own topic; that record names the position of the
//! waiting one and thereby settles it, so a crash can neither lose it nor deliver it twice.
//! Sources: `broker/.../schedule/ScheduleMessageService.java`, `store/.../timer/TimerMessageStore.java`.

pub mod by_topic;

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use log::{AppendError, Due, LogPosition, ReadError};
use protocol::properties::{self, Properties};
use protocol::record::Record;

use crate::broker::Broker;
use crate::names;
use crate::send::{Draft, SendError};
use crate::writer::{Appends, Outcome, WriteError};

/// When a message is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    /// Due time in milliseconds since 1970.
    pub due_ms: i64,
    /// Delay level, counted from 1, if it was given as one.
    pub level: Option<usize>,
}

/// Why a delay is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DelayError {
    /// Not a number.
    #[error("`{value}` of property {name} is no number")]
    NoNumber {
        /// Name of the property.
        name: &'static str,
        /// What it says.
        value: String,
    },
    /// Too far ahead.
    #[error("message is due in {delay_ms} ms; the limit is {limit_ms} (timerMaxDelaySec)")]
    TooLong {
        /// Delay that was asked for, in milliseconds.
        delay_ms: i64,
        /// Longest delay, in milliseconds.
        limit_ms: i64,
    },
}

/// Properties that delay a message, the strongest first.
pub const NAMES: [&str; 4] =
    [properties::DELAY, properties::TIMER_DELAY_SEC, properties::TIMER_DELAY_MS, properties::TIMER_DELIVER_MS];

/// When a message with these properties is due; `None` means now.
pub fn of(broker: &Broker, given: &Properties<'_>) -> Result<Option<Delay>, DelayError> {
    of_values(broker, given.get_many(NAMES))
}

/// The same, for values of [`NAMES`] that were looked up already.
pub fn of_values(broker: &Broker, values: [Option<&str>; 4]) -> Result<Option<Delay>, DelayError> {
    let [level, seconds, milliseconds, deliver] = values;
    let no_number = |name, value: &str| DelayError::NoNumber { name, value: value.chars().take(40).collect() };
    if let Some(level) = level {
        let level: i64 = level.trim().parse().map_err(|_| no_number(properties::DELAY, level))?;
        let levels = &broker.config.delay_levels;
        if level > 0 && !levels.is_empty() {
            let level = usize::try_from(level).unwrap_or(usize::MAX).min(levels.len());
            return Ok(Some(at_level(broker, level)));
        }
        return Ok(None);
    }
    for (name, value, unit_ms, relative) in [
        (properties::TIMER_DELAY_SEC, seconds, 1000, true),
        (properties::TIMER_DELAY_MS, milliseconds, 1, true),
        (properties::TIMER_DELIVER_MS, deliver, 1, false),
    ] {
        let Some(value) = value else { continue };
        let number: i64 = value.trim().parse().map_err(|_| no_number(name, value))?;
        let now_ms = broker.clock.now_ms();
        let number = number.saturating_mul(unit_ms);
        let delay_ms = if relative { number } else { number.saturating_sub(now_ms) };
        let limit_ms = broker.config.timer_max_delay.get().as_millis() as i64;
        if delay_ms > limit_ms {
            return Err(DelayError::TooLong { delay_ms, limit_ms });
        }
        return Ok((delay_ms > 0).then_some(Delay { due_ms: now_ms + delay_ms, level: None }));
    }
    Ok(None)
}

/// The delay of a level, counted from 1; a level above the highest is the highest.
pub fn at_level(broker: &Broker, level: usize) -> Delay {
    let levels = &broker.config.delay_levels;
    let level = level.clamp(1, levels.len().max(1));
    let delay_ms = levels.get(level - 1).map_or(0, |delay| delay.as_millis() as i64);
    Delay { due_ms: broker.clock.now_ms() + delay_ms, level: Some(level) }
}

/// Delivers what is due until told to stop; sleeps until the next message is due, or an earlier one was stored.
pub async fn deliver_when_due(broker: Arc<Broker>) {
    loop {
        let wait = deliver_due(&broker);
        if wait.is_zero() {
            tokio::task::yield_now().await;
            continue;
        }
        let paused = 0 < pause_ms(&broker);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = broker.due.notified(), if !paused => {}
            () = broker.shutdown.cancelled() => return,
        }
    }
}

/// Delivers what is due now, some of it if it is much. Returns after what time there may be more: at once, if zero.
pub fn deliver_due(broker: &Arc<Broker>) -> Duration {
    /// Messages delivered in one go.
    const BATCH_MAX: usize = 256;
    /// The due index is asked again after this time at the latest: its next hour may have come into view.
    const LOOK_AGAIN_MS: i64 = 1_000;
    let pause_ms = pause_ms(broker);
    if pause_ms > 0 {
        return Duration::from_millis(pause_ms as u64);
    }
    let now_ms = broker.clock.now_ms();
    take_from_aside(broker, now_ms);
    let due = match broker.log.due_until(now_ms, BATCH_MAX) {
        Ok(due) => due,
        Err(error) => {
            tracing::error!(%error, "delayed messages cannot be read");
            Vec::new()
        }
    };
    if !due.is_empty() {
        deliver(broker, &due);
        return Duration::ZERO;
    }
    let next_ms = broker.log.next_due_ms().unwrap_or(i64::MAX);
    Duration::from_millis(next_ms.saturating_sub(now_ms).clamp(1, LOOK_AGAIN_MS) as u64)
}

/// How long nothing is to be delivered yet, in milliseconds.
fn pause_ms(broker: &Broker) -> i64 {
    broker.delivery_pause_until_ms.load(Ordering::Relaxed) - broker.clock.now_ms()
}

fn deliver(broker: &Arc<Broker>, due: &[Due]) {
    let mut appends = Appends::default();
    let mut bytes = Vec::new();
    let mut delivered = Vec::new();
    for due in due {
        bytes.clear();
        match broker.log.read(due.position, &mut bytes) {
            Ok(()) => {}
            Err(error @ ReadError::Io(_)) => {
                set_aside(broker, due.position, &error);
                continue;
            }
            Err(error) => {
                tracing::error!(position = due.position.0, %error, "a delayed message is lost: it cannot be read");
                continue;
            }
        }
        match push_due(broker, &bytes, due.position, &mut appends) {
            Ok(()) => delivered.push(*due),
            Err(error) => set_aside(broker, due.position, &error),
        }
    }
    let again = broker.clone();
    broker.writer.append_then(appends, move |_, outcome| match outcome {
        Outcome::Refused(WriteError::Log(AppendError::RecordTooLarge { .. } | AppendError::UnknownQueue(_)))
            if delivered.len() > 1 =>
        {
            // One of them is to blame; the others must not wait for it.
            delivered.iter().for_each(|due| deliver(&again, std::slice::from_ref(due)));
        }
        Outcome::Refused(
            error @ WriteError::Log(AppendError::RecordTooLarge { .. } | AppendError::UnknownQueue(_)),
        ) => delivered.iter().for_each(|due| set_aside(&again, due.position, error)),
        Outcome::Refused(error) => {
            tracing::error!(%error, "delayed messages cannot be delivered yet");
            delivered.iter().for_each(|due| again.log.handed_back(due.position));
            pause(&again);
        }
        Outcome::Stored | Outcome::Accepted | Outcome::FlushTimeout => {}
    });
}

/// What cannot be delivered now, a full disk mostly, is tried again after a moment.
fn pause(broker: &Broker) {
    const PAUSE_MS: i64 = 500;
    broker.delivery_pause_until_ms.store(broker.clock.now_ms() + PAUSE_MS, Ordering::Relaxed);
}

/// A message that cannot be read or delivered for a reason of its own is tried again later, and holds up no other.
fn set_aside(broker: &Broker, position: LogPosition, error: &dyn std::error::Error) {
    const ASIDE_MS: i64 = 10_000;
    tracing::error!(position = position.0, %error, "a delayed message cannot be delivered; it is tried again in ten seconds");
    let mut aside = broker.delivery_aside.lock().unwrap_or_else(PoisonError::into_inner);
    aside.push((broker.clock.now_ms() + ASIDE_MS, position));
}

/// Hands back what was set aside long enough ago.
fn take_from_aside(broker: &Broker, now_ms: i64) {
    let mut aside = broker.delivery_aside.lock().unwrap_or_else(PoisonError::into_inner);
    aside.retain(|(until_ms, position)| {
        let waits = now_ms < *until_ms;
        if !waits {
            broker.log.handed_back(*position);
        }
        waits
    });
}

/// Adds the record that delivers a waiting one.
fn push_due(broker: &Broker, bytes: &[u8], position: LogPosition, appends: &mut Appends) -> Result<(), SendError> {
    let Ok(record) = Record::parse(bytes) else {
        // The log checked the record; what it hands out can be read.
        return Ok(());
    };
    let waiting = record.properties();
    let name = waiting.get(properties::REAL_TOPIC).unwrap_or_default();
    let queue_id = waiting.get(properties::REAL_QID).and_then(|id| id.parse::<i32>().ok()).unwrap_or(0);
    let topic = match broker.topics.get(name) {
        Some(topic) => topic,
        // Deleted meanwhile: created again where a send would create it, otherwise settled without delivery.
        None => match broker.topics.create_after(
            name,
            names::TEMPLATE_TOPIC,
            queue_id.saturating_add(1),
            broker.clock.now_ms(),
        ) {
            Some(topic) => {
                broker.topics_changed(&[name]);
                topic
            }
            None => {
                tracing::warn!(topic = name, "a delayed message is dropped: its topic is gone");
                return broker.push_settlement(position, appends);
            }
        },
    };
    let mut stored = Vec::with_capacity(record.properties_bytes().len());
    // Consumers see what the client asked for (`DELAY`, `TIMER_DELAY_MS`) and where the message waited for, as
    // recorded from 5.5.0; only the due time is the broker's own.
    properties::push_kept(&mut stored, record.properties_bytes(), |name| name != properties::TIMER_OUT_MS.as_bytes());
    let draft = Draft {
        topic: &topic,
        queue_id: queue_id.rem_euclid(topic.queue_count().max(1)),
        flag: record.flag(),
        sys_flag: record.sys_flag(),
        born_ms: record.born_timestamp_ms(),
        born_host: record.born_host(),
        reconsume_times: record.reconsume_times(),
        settles: position.0,
        tag_hash: record.tag_hash(),
        body: record.body(),
    };
    draft.push(broker, &mut stored, None, appends)?;
    topic.tallies.delivered.fetch_add(1, Ordering::Relaxed);
    Ok(())
}
