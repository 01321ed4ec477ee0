//! Threads that append, sync, write checkpoints, remove what is old and read, on real files, while the power is cut at
//! any moment. What was reported durable, or seen by a reader, is there afterwards.
//!
//! `POWER_CUTS=1000 cargo test -p apogee-log --test it power_cuts` makes more cuts; `POWER_SEED` repeats the throws.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use apogee_log::{Disk, Log, LogConfig, PullLimits, PullOutcome, RealDisk, Record, Recovery, Visibility};

use crate::forgetful::ForgetfulDisk;
use crate::support::*;

const APPENDERS: usize = 3;
const QUEUES: u32 = 4;
/// Cuts of one folder; then a new one begins.
const CUTS_PER_FOLDER: u64 = 8;
/// The log is kept this short.
const SEGMENTS_MAX: usize = 12;

/// A message and where it lies in the log.
#[derive(Clone, PartialEq, Eq)]
struct Stored {
    position: u64,
    body: Vec<u8>,
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = String::from_utf8_lossy(&self.body[..self.body.len().min(20)]);
        write!(f, "{} bytes `{start}…` at {}", self.body.len(), self.position)
    }
}

type Places = BTreeMap<(u32, u64), Stored>;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn log_config(cut: u64) -> LogConfig {
    // Another boot id each time: the machine was restarted.
    LogConfig {
        segment_bytes: 8 << 10,
        index_segment_bytes: 8 << 10,
        visibility: Visibility::Durable,
        boot_id: format!("boot {cut}"),
        spare_segments: 2,
        key_run_entries: 64,
        ..config()
    }
}

fn throw(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

/// What threads share while the power is on.
struct Round {
    log: Log,
    is_over: AtomicBool,
    /// What was appended, whether durable or not.
    appended: Mutex<Places>,
    /// What readers saw.
    seen: Mutex<Places>,
    /// Up to where a sync reported success.
    durable: Mutex<u64>,
}

impl Round {
    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::SeqCst)
    }

    /// Appends until the disk fails.
    fn append(&self, appender: usize, mut seed: u64) {
        for number in 0.. {
            let count = 1 + throw(&mut seed) % 5;
            let messages: Vec<Message> = (0..count)
                .map(|index| {
                    let body = format!("{appender}.{number}.{index}.{}", "x".repeat((throw(&mut seed) % 200) as usize));
                    message("orders", (throw(&mut seed) % u64::from(QUEUES)) as u32, &body).property("KEYS", "k")
                })
                .collect();
            // Some of it may be in the log even so; only a crash tells.
            let Ok(placed) = try_append(&self.log, &messages, number) else { return };
            let mut appended = self.appended.lock().unwrap();
            for (message, placed) in messages.into_iter().zip(placed) {
                let stored = Stored { position: placed.position.0, body: message.body };
                let twice = appended.insert((message.queue_id, placed.queue_offset), stored);
                assert_eq!(twice, None, "an offset was given twice");
            }
        }
    }

    fn sync(&self) {
        // With nothing to do a sync succeeds on a disk without power too.
        while self.goes_on()
            && let Ok(durable) = self.log.sync()
        {
            let mut known = self.durable.lock().unwrap();
            *known = durable.0.max(*known);
        }
    }

    fn chores(&self) {
        while self.goes_on() {
            let chores = self.log.prepare().and_then(|_| self.log.maintain());
            if chores.is_err() || self.log.checkpoint(&|_| Ok(())).is_err() {
                return;
            }
            let force = (SEGMENTS_MAX < self.log.stats().segments).then_some(1);
            if self.log.clean(i64::MIN, force).is_err() {
                return;
            }
        }
    }

    fn read(&self) {
        let mut next = [0; QUEUES as usize];
        while self.goes_on() {
            for (queue_id, next) in next.iter_mut().enumerate() {
                let Some(queue) = self.log.find_queue("orders", queue_id as u32) else { continue };
                *next = self.log.offsets(queue).min.max(*next);
                let mut out = Vec::new();
                let limits = PullLimits { max_messages: 64, max_bytes: 64 << 10 };
                let Ok(pulled) = self.log.pull(queue, *next, limits, &|_| true, &mut out) else { continue };
                if !matches!(pulled.outcome, PullOutcome::Found { .. }) {
                    continue;
                }
                *next = pulled.next_offset;
                take_all(&out, &mut self.seen.lock().unwrap());
            }
        }
    }
}

fn take_all(records: &[u8], places: &mut Places) {
    for record in protocol::record::records(records) {
        record.verify_body().unwrap();
        let stored = Stored { position: record.position(), body: record.body().to_vec() };
        let place = (record.queue_id() as u32, record.queue_offset());
        let before = places.insert(place, stored.clone());
        assert!(before.is_none_or(|before| before == stored), "{place:?} changed");
    }
}

/// Everything that a log holds; offsets have to be dense.
fn all_of(log: &Log) -> Result<Places, String> {
    let mut places = Places::new();
    for queue_id in 0..QUEUES {
        let Some(queue) = log.find_queue("orders", queue_id) else { continue };
        let (mut next, max) = (log.offsets(queue).min, log.offsets(queue).max);
        while next < max {
            let mut out = Vec::new();
            let limits = PullLimits { max_messages: 64, max_bytes: 64 << 10 };
            let pulled = log.pull(queue, next, limits, &|_| true, &mut out).map_err(|error| error.to_string())?;
            let count = protocol::record::records(&out).count() as u64;
            if count == 0 || pulled.next_offset != next + count {
                return Err(format!("queue {queue_id} has {count} messages from {next} to {}", pulled.next_offset));
            }
            take_all(&out, &mut places);
            next = pulled.next_offset;
        }
    }
    Ok(places)
}

fn open_log(disk: Arc<dyn Disk>, cut: u64) -> (Log, Recovery) {
    Log::open(disk, log_config(cut), &mut |_: &Record<'_>| {}).unwrap()
}

/// What must be there after a cut: what was there before or durable or seen, from the start of the log on.
fn check(log: &Log, before: &Places, round: &Round) -> Result<Places, String> {
    let found = all_of(log)?;
    let start = log.start().0;
    let durable = *round.durable.lock().unwrap();
    let appended = round.appended.lock().unwrap();
    let promised = appended.iter().filter(|(_, stored)| stored.position < durable);
    let seen = round.seen.lock().unwrap();
    for (place, stored) in before.iter().chain(promised).chain(seen.iter()) {
        if start <= stored.position && found.get(place) != Some(stored) {
            return Err(format!(
                "{place:?} was durable (up to {durable}) or seen: {stored:?}, not {:?}",
                found.get(place)
            ));
        }
    }
    for (place, stored) in &found {
        let known = before.get(place).or_else(|| appended.get(place)).or_else(|| seen.get(place));
        // An append that was cut off may be there: nobody was told its place.
        if known.is_some_and(|known| known != stored) {
            return Err(format!("{place:?} holds what was never put there: {stored:?}"));
        }
    }
    Ok(found)
}

/// Lets threads work until the power is cut at some moment, and returns what has to be on the disk now.
fn live(
    disk: &ForgetfulDisk,
    [folder, scratch]: [&Path; 2],
    cut: u64,
    before: &Places,
    seed: &mut u64,
) -> Result<Places, String> {
    let (log, _) = open_log(Arc::new(disk.clone()), 2 * cut);
    let round = Round {
        log,
        is_over: AtomicBool::new(false),
        appended: Mutex::default(),
        seen: Mutex::default(),
        durable: Mutex::default(),
    };
    let left = scratch.join("left");
    std::thread::scope(|scope| {
        for appender in 0..APPENDERS {
            let seed = throw(seed);
            let round = &round;
            scope.spawn(move || round.append(appender, seed));
        }
        scope.spawn(|| round.sync());
        scope.spawn(|| round.chores());
        scope.spawn(|| round.read());
        // The cut comes at any moment; nothing that could be waited for stands for it.
        std::thread::park_timeout(Duration::from_millis(5 + throw(seed) % 60));
        let all_is_lost = throw(seed).is_multiple_of(3);
        disk.cut_power(&left, &mut || !all_is_lost && throw(seed).is_multiple_of(2)).unwrap();
        round.is_over.store(true, Ordering::SeqCst);
    });
    std::fs::remove_dir_all(folder).unwrap();
    std::fs::rename(&left, folder).unwrap();
    let (log, _) = open_log(Arc::new(RealDisk::open(folder).unwrap()), 2 * cut + 1);
    check(&log, before, &round)
}

/// A seed that differs each time and is printed, or the one that is to be repeated.
fn new_seed() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the seed is printed")]
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = variable("POWER_SEED").unwrap_or(now);
    println!("POWER_SEED={seed}");
    seed
}

/// Cuts the power on one folder again and again; returns how many messages were found in all.
fn cut_again_and_again(cuts: std::ops::Range<u64>, lies: bool, seed: &mut u64) -> Result<usize, String> {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("folder");
    std::fs::create_dir_all(&folder).unwrap();
    let (mut there, mut messages) = (Places::new(), 0);
    for cut in cuts {
        let scratch = root.path().join(cut.to_string());
        let disk = ForgetfulDisk::with_files_of(&scratch, &folder, lies).unwrap();
        there = live(&disk, [&folder, &scratch], cut, &there, seed)?;
        messages += there.len();
        std::fs::remove_dir_all(scratch).unwrap();
    }
    Ok(messages)
}

#[test]
fn what_was_durable_or_seen_survives_a_power_cut_under_load() {
    let cuts = variable("POWER_CUTS").unwrap_or(16);
    let mut seed = new_seed();
    let mut messages = 0;
    for first in (0..cuts).step_by(CUTS_PER_FOLDER as usize) {
        messages += cut_again_and_again(first..cuts.min(first + CUTS_PER_FOLDER), false, &mut seed).unwrap();
    }
    println!("{cuts} power cuts, {messages} messages found after them");
    assert!(0 < messages, "nothing was ever durable");
}

#[test]
fn a_disk_that_lies_about_syncs_is_found_out() {
    let mut seed = new_seed();
    println!("{}", cut_again_and_again(0..20, true, &mut seed).unwrap_err());
}
