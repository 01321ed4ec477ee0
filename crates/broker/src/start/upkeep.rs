//! Work that goes on beside the requests: checkpoints, retention, expiry, saving offsets.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use log::{CheckpointError, Disk, LogPosition};

use crate::broker::Broker;
use crate::config::BrokerConfig;
use crate::disk_space::DiskSpace;
use crate::registration::chain;
use crate::relocate;
use crate::stats;
use crate::transactions::snapshot;
use crate::writer::{Appends, Outcome};

/// Time between two checkpoints.
const CHECKPOINT_PERIOD_MS: i64 = 5_000;
/// The same while there are queues that no checkpoint names, or much that a restart would have to read.
const HURRIED_PERIOD_MS: i64 = 500;
/// Bytes of log after a checkpoint that are much: reading them takes a restart about a quarter of a second.
const UNCHECKED_BYTES_MAX: u64 = 256 << 20;
/// Time between two looks at what may be deleted.
const CLEAN_PERIOD_MS: i64 = 10_000;
/// Share of the disk above which the oldest messages go whatever their age (`diskSpaceCleanForciblyRatio`).
const DISK_FORCE_PERCENT: f64 = 85.0;
/// Time between two looks at the log's own chores (next segment, key runs, due buckets).
const MAINTAIN_PERIOD: Duration = Duration::from_millis(100);
/// Time between two looks at who was silent for too long.
const EXPIRY_PERIOD_MS: i64 = 5_000;

/// Chores that wait for the disk. Runs on a thread of its own until the broker stops.
pub fn run(broker: &Arc<Broker>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else { return };
    let mut upkeep = Upkeep::new(broker);
    loop {
        let stopped = runtime
            .block_on(async { tokio::time::timeout(MAINTAIN_PERIOD, broker.shutdown.cancelled()).await.is_ok() });
        if stopped {
            // Connections have ended, so nobody changes anything any more.
            broker.changes.save();
            return;
        }
        upkeep.step(broker);
    }
}

/// What was done when, of the chores that wait for the disk.
pub struct Upkeep {
    checkpoint_ms: i64,
    clean_ms: i64,
    sample_ms: i64,
    /// End of the log, and its queues, at the last checkpoint.
    checkpointed: (LogPosition, usize),
    /// Trouble is told when it begins, not every time it is met again.
    chores_work: bool,
    checkpoints_work: bool,
}

impl Upkeep {
    /// Nothing was done since the broker was opened.
    pub fn new(broker: &Broker) -> Upkeep {
        let now_ms = broker.clock.now_ms();
        Upkeep {
            checkpoint_ms: now_ms,
            clean_ms: now_ms,
            sample_ms: now_ms,
            checkpointed: (broker.log.end(), broker.log.stats().queues),
            chores_work: true,
            checkpoints_work: true,
        }
    }

    /// Does what is due. To be called several times a second.
    pub fn step(&mut self, broker: &Arc<Broker>) {
        broker.changes.save();
        let chores = broker.log.prepare().and_then(|_| broker.log.maintain());
        if let (true, Err(error)) = (self.chores_work, &chores) {
            tracing::warn!(%error, "a chore of the log failed; it is tried until it works");
        }
        self.chores_work = chores.is_ok();
        for damage in broker.log.take_damage() {
            tracing::error!("{damage}");
        }
        let now_ms = broker.clock.now_ms();
        // After a power cut a queue that no checkpoint names would begin at offset 0 again.
        let is_new_queue = broker.log.stats().queues != self.checkpointed.1;
        let is_much = UNCHECKED_BYTES_MAX < broker.log.end().0 - self.checkpointed.0.0;
        let period_ms = if is_new_queue || is_much { HURRIED_PERIOD_MS } else { CHECKPOINT_PERIOD_MS };
        if now_ms - self.checkpoint_ms >= period_ms || now_ms < self.checkpoint_ms {
            self.checkpoint_ms = now_ms;
            self.checkpoint(broker);
        }
        if now_ms - self.sample_ms >= stats::SAMPLE_EVERY_MS || now_ms < self.sample_ms {
            self.sample_ms = now_ms;
            stats::sample(broker, now_ms);
        }
        broker.waiting.count_much(broker);
        let asked = broker.clean_now.swap(false, Ordering::Relaxed);
        if asked || now_ms - self.clean_ms >= CLEAN_PERIOD_MS || now_ms < self.clean_ms {
            self.clean_ms = now_ms;
            clean(broker, now_ms, asked);
        }
    }

    fn checkpoint(&mut self, broker: &Arc<Broker>) {
        let reached = (broker.log.end(), broker.log.stats().queues);
        if reached == self.checkpointed {
            return;
        }
        let written = checkpoint(broker);
        if let (true, Err(error)) = (self.checkpoints_work, &written) {
            let error = chain(error);
            tracing::warn!(error, "no checkpoint can be written; a restart would read more of the log");
        }
        self.checkpoints_work = written.is_ok();
        if self.checkpoints_work {
            self.checkpointed = reached;
        }
    }
}

/// Writes a checkpoint.
pub fn checkpoint(broker: &Arc<Broker>) -> Result<(), CheckpointError> {
    broker.log.checkpoint(&|disk| {
        // A half message is entered in the table right after its append. Whoever is in between has passed when
        // nothing, appended now, is through; otherwise the table could lack a message that no restart reads again.
        if append_and_wait(broker, Appends::default()) {
            write_halves(broker, disk)
        } else {
            Err(io::Error::other("the log takes nothing any more"))
        }
    })
}

/// Writes the last checkpoint and ends the log's life; says whether it worked. Nobody may append any more.
pub fn close(broker: &Broker) -> bool {
    let closed = broker.log.close(&|disk| write_halves(broker, disk));
    if let Err(error) = &closed {
        tracing::warn!(%error, "the log was not closed cleanly; the next start reads more of it");
    }
    closed.is_ok()
}

fn write_halves(broker: &Broker, disk: &dyn Disk) -> io::Result<()> {
    // Encoded first: whoever decides about a half message meanwhile must not wait for the disk.
    let bytes = snapshot::encode(&broker.transactions());
    snapshot::write(disk, &bytes)
}

/// Appends on this thread or another, and waits; says whether it was stored. `false` too when the broker stops.
fn append_and_wait(broker: &Arc<Broker>, appends: Appends) -> bool {
    let (tell, told) = mpsc::sync_channel(1);
    let shared = broker.clone();
    broker.writer.append_then(appends, move |appends, outcome| {
        if let Outcome::Refused(error) = outcome {
            tracing::error!(%error, "what waits in the log cannot be moved");
        } else {
            relocate::moved(&shared, appends);
        }
        // Nobody waits any more when the broker stops.
        let _ = tell.send(!matches!(outcome, Outcome::Refused(_)));
    });
    // Nobody else need be there to sync: whoever waits for it does it.
    broker.writer.sync_waiting();
    loop {
        match told.recv_timeout(MAINTAIN_PERIOD) {
            Ok(stored) => return stored,
            Err(RecvTimeoutError::Timeout) if !broker.shutdown.is_cancelled() => {}
            Err(_) => return false,
        }
    }
}

/// Whether the clocks of the broker's zone show one of the hours at which old messages are deleted.
fn is_hour_to_delete(config: &BrokerConfig, now_ms: i64) -> bool {
    let hour = config.zone.local_ms(now_ms).div_euclid(3_600_000).rem_euclid(24) as u8;
    config.delete_hours.get().contains(hour)
}

/// Deletes what is old, at the hours for it or when the disk fills up.
fn clean(broker: &Arc<Broker>, now_ms: i64, asked: bool) {
    let used_percent = DiskSpace::of(&broker.config.data_dir).map_or(0.0, |space| space.used_ratio() * 100.0);
    let full = used_percent > f64::from(broker.config.disk_max_used_percent.get());
    if !full && !asked && !is_hour_to_delete(&broker.config, now_ms) {
        return;
    }
    let expire_before_ms = now_ms - broker.config.retention.get().as_millis() as i64;
    // One file at a time: the next look, in a moment, sees what it brought.
    let force_bytes = (used_percent > DISK_FORCE_PERCENT).then_some(1);
    if let Some(doomed) = broker.log.doomed(expire_before_ms, force_bytes)
        && !relocate(broker, doomed)
    {
        return;
    }
    match broker.log.clean(expire_before_ms, force_bytes) {
        Ok(cleaned) if cleaned.segments > 0 => {
            tracing::info!(segments = cleaned.segments, bytes = cleaned.bytes, used_percent, "old messages deleted");
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "old messages cannot be deleted"),
    }
}

/// Stores again what still waits (delayed and half messages) in a part of the log that is about to be deleted, and
/// syncs it. Only then may the part go; says whether it may.
fn relocate(broker: &Arc<Broker>, doomed: Range<LogPosition>) -> bool {
    /// Bytes that are moved together, so that a segment of waiting messages is never in memory as a whole.
    const MOVED_BYTES: usize = 4 << 20;
    let halves: Vec<LogPosition> = broker
        .transactions()
        .iter()
        .map(|(position, _)| LogPosition(position))
        .filter(|position| doomed.contains(position))
        .collect();
    let due = match broker.log.pending_in(doomed) {
        Ok(due) => due,
        Err(error) => {
            tracing::error!(%error, "it is not known which delayed messages wait; nothing is deleted");
            return false;
        }
    };
    let waiting: Vec<LogPosition> = halves.into_iter().chain(due.into_iter().map(|due| due.position)).collect();
    let mut appends = Appends::default();
    for position in &waiting {
        if let Err(error) = relocate::push_again(broker, *position, &mut appends) {
            tracing::error!(position = position.0, %error, "a waiting message cannot be moved");
            relocate::put_back(broker, &appends);
            return false;
        }
        if MOVED_BYTES <= appends.batch.bytes() && !append_and_wait(broker, std::mem::take(&mut appends)) {
            return false;
        }
    }
    if waiting.is_empty() {
        return true;
    }
    append_and_wait(broker, appends) && broker.log.sync().is_ok()
}

/// Chores that are done in a moment. Runs on the worker threads until the broker stops.
pub async fn tick(broker: Arc<Broker>) {
    let mut chores = Ticks::new(&broker);
    let mut ticks = tokio::time::interval(broker.config.offset_flush_period.min(Duration::from_millis(500)));
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = broker.shutdown.cancelled() => return,
        }
        chores.step(&broker);
    }
}

/// When the chores were done that take a moment.
pub struct Ticks {
    expiry_ms: i64,
    sample_ms: i64,
}

impl Ticks {
    /// Nothing was done since the broker was opened.
    pub fn new(broker: &Broker) -> Ticks {
        Ticks { expiry_ms: broker.clock.now_ms(), sample_ms: 0 }
    }

    /// Does what is due. To be called about twice a second.
    pub fn step(&mut self, broker: &Broker) {
        let now_ms = broker.clock.now_ms();
        broker.deliveries.save_changed(&broker.offsets);
        broker.unsaved.give_up(now_ms);
        broker.client_requests.give_up(now_ms);
        broker.registrations.give_up_telling(now_ms);
        broker.writer.give_up_waiting(broker.config.sync_flush_timeout.get().as_millis() as i64);
        if now_ms - self.sample_ms >= 1_000 || now_ms < self.sample_ms {
            self.sample_ms = now_ms;
            broker.counters.sample(now_ms);
        }
        if now_ms - self.expiry_ms >= EXPIRY_PERIOD_MS || now_ms < self.expiry_ms {
            self.expiry_ms = now_ms;
            let silence_max_ms = broker.config.client_expiry.get().as_millis() as i64;
            let effects = broker.membership().expire(now_ms, silence_max_ms);
            broker.carry_out(effects);
            broker.expire_sessions(now_ms, silence_max_ms);
            broker.locks().drop_expired(now_ms);
            broker.deliveries.forget_silent_holders(now_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::live::Hours;
    use client::zone::Zone;

    #[test]
    fn hours_to_delete_are_those_of_the_zone() {
        let at = |zone: &str, hour: i64| {
            let zone = Zone::named(zone, "TZ").unwrap();
            let config = BrokerConfig { zone, delete_hours: Hours::from_iter([4]).into(), ..BrokerConfig::default() };
            is_hour_to_delete(&config, hour * 3_600_000 + 59 * 60_000)
        };
        assert_eq!([3, 4, 20].map(|hour| at("UTC", hour)), [false, true, false]);
        assert_eq!([3, 4, 20].map(|hour| at("Asia/Shanghai", hour)), [false, false, true]);
        // Half an hour past a full one.
        assert_eq!([22, 23].map(|hour| at("Asia/Kolkata", hour)), [true, false]);
    }
}
