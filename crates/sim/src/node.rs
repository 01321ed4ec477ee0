//! A broker on a machine of its own: disk, clock, metadata, and the process while it lives.

use broker::config::live::Hours;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use broker::broker::Broker;
use broker::clock::Clock;
use broker::config::{BrokerConfig, Flush};
use broker::delivery::expiry;
use broker::meta::{Meta, MetaWork};
use broker::remoting::{RemotingDoor, answer_ready_pops, answer_ready_pulls};
use broker::start::upkeep::{self, Ticks, Upkeep};
use broker::start::{Machine, open};
use broker::{decide, delay};
use fastrand::Rng;
use log::{LogConfig, MemoryDisk, OpenError, Recovery};

use crate::history::History;
use crate::metadata::Metadata;
use crate::rot;
use crate::schedule::NodeId;

/// Delay of one level more, in milliseconds.
pub const DELAY_STEP_MS: i64 = 150;
/// What the clocks say when a simulation begins, in milliseconds since 1970.
pub const CLOCK_START_MS: i64 = 1_750_000_000_000;

/// What differs from run to run in how brokers are set up.
#[derive(Clone, Debug)]
pub struct Setting {
    /// When answers may say that a message is stored.
    pub flush: Flush,
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// Age after which messages may be deleted.
    pub retention: Option<Duration>,
    sizes: LogConfig,
}

impl Setting {
    /// A setting by chance.
    pub fn random(rng: &mut Rng) -> Setting {
        let segment_bytes = 1 << rng.u32(14..18);
        Setting {
            flush: if rng.bool() { Flush::Sync } else { Flush::Async },
            segment_bytes,
            retention: (rng.u8(..4) == 0).then(|| Duration::from_secs(20)),
            sizes: LogConfig {
                index_segment_bytes: 1 << rng.u32(14..18),
                key_run_entries: 1 << rng.u32(4..9),
                key_replay_bytes: 1 << rng.u32(12..18),
                due_buffer_entries: 1 << rng.u32(2..8),
                spare_segments: rng.usize(0..3),
                ..LogConfig::default()
            },
        }
    }
}

/// A broker's machine.
pub struct Node {
    config: BrokerConfig,
    setting: Setting,
    address: SocketAddr,
    /// Its disk.
    pub disk: MemoryDisk,
    metadata: Metadata,
    clock_ms: Arc<AtomicI64>,
    /// By how much the clock is wrong, in milliseconds.
    pub clock_skew_ms: i64,
    /// Counts the machine's own starts.
    boots: u64,
    /// The process.
    pub process: Option<Process>,
    /// Counts the lives of the process.
    pub life: u64,
    /// Change of the disk in the middle of which the process ends, and how.
    pub ends_at: Option<(u64, Option<log::PowerCut>)>,
    /// Until when syncs take long, in microseconds.
    pub stalled_until_us: u64,
    /// Writes of the log that were damaged on the disk, by position.
    damaged_writes: Vec<Range<u64>>,
    /// Whether the mark was damaged that says how the log was left.
    mark_is_damaged: bool,
    /// How far a checkpoint vouches for the log, and where it ended, when that was last known.
    last_known: (u64, u64),
    /// Whether the log was fenced when the process before ended.
    ended_fenced: bool,
}

/// A broker's process.
pub struct Process {
    /// The broker.
    pub broker: Arc<Broker>,
    /// Its door.
    pub door: RemotingDoor,
    /// Whether somebody has seen that its log is fenced, and will start it anew.
    pub is_fenced: bool,
    saving: MetaWork<Metadata>,
    upkeep: Upkeep,
    ticks: Ticks,
}

impl Node {
    /// A machine with an empty disk.
    pub fn new(name: String, address: SocketAddr, setting: Setting) -> Node {
        let config = BrokerConfig {
            broker_name: name,
            advertised_ip: address.ip(),
            data_dir: "/nonexistent/simulated".into(),
            flush: setting.flush,
            segment_bytes: setting.segment_bytes,
            retention: setting.retention.unwrap_or(Duration::from_secs(100_000_000)).into(),
            delete_hours: (0..24).collect::<Hours>().into(),
            default_topic_queue_nums: 4.into(),
            delay_levels: (1..=18).map(|level| Duration::from_millis((DELAY_STEP_MS * level) as u64)).collect(),
            transaction_timeout: Duration::from_millis(800).into(),
            transaction_check_interval: Duration::from_millis(1_200).into(),
            transaction_check_max: 12.into(),
            sync_flush_timeout: Duration::from_secs(2).into(),
            ..BrokerConfig::default()
        };
        Node {
            config,
            setting,
            address,
            disk: MemoryDisk::new(),
            metadata: Metadata::default(),
            clock_ms: Arc::new(AtomicI64::new(CLOCK_START_MS)),
            clock_skew_ms: 0,
            boots: 1,
            process: None,
            life: 0,
            ends_at: None,
            stalled_until_us: 0,
            damaged_writes: Vec::new(),
            mark_is_damaged: false,
            last_known: (0, 0),
            ended_fenced: false,
        }
    }

    /// Notes that bytes of a file are damaged, which was `content` before.
    pub fn note_damage(&mut self, history: &mut History, node: NodeId, path: &str, content: &[u8], bytes: Range<u64>) {
        if let Some(damage) = rot::log_damage(path, content, bytes.clone()) {
            self.damaged_writes.push(damage.writes);
            damage.hits.into_iter().for_each(|hit| history.record_damaged(node, hit));
        }
        self.mark_is_damaged |= path == "running";
        // How far queues had skipped ahead is known from the index alone, and a log whose beginning and end do not fit
        // makes them skip ahead.
        let is_log = rot::base_of(path).is_some();
        if path.starts_with("checkpoint") {
            // Without it, what was torn by a power cut may look like damage in the middle.
            history.skipped.insert(node);
            history.checkpoint_lost.insert(node);
        }
        let is_misdirected = 1 < bytes.end - bytes.start;
        // So does damage that no checkpoint has seen: it may have cost the last message of a queue.
        if is_log || self.setting.flush == Flush::Async {
            history.skipped.insert(node);
        }
        // Offsets that are in the index alone: skipped ones, and those of records that the same write has cost.
        if path.starts_with("index/") && (self.setting.flush == Flush::Async || is_misdirected) {
            history.cut_short.insert(node);
        }
    }

    /// Where the next start may end the log, because it is damaged there and no checkpoint vouches for it: when the power
    /// goes, a sync has failed, or nothing follows that is whole.
    pub fn may_end_at(&self, power_is_cut: bool) -> Option<u64> {
        let stats = self.process.as_ref().map(|process| process.broker.log.stats());
        let (vouched, end) = stats.map_or(self.last_known, |stats| (stats.checkpointed.0, stats.end.0));
        let is_doubtful =
            power_is_cut || self.mark_is_damaged || stats.map_or(self.ended_fenced, |stats| stats.is_fenced);
        let unvouched = self.damaged_writes.iter().filter(|writes| vouched <= writes.end);
        unvouched.filter(|writes| is_doubtful || end <= writes.end).map(|writes| writes.start).min()
    }

    /// How the broker is set up.
    pub fn setting(&self) -> &Setting {
        &self.setting
    }

    /// Sets the clock; returns what it says, in milliseconds.
    pub fn tell_time(&self, now_us: u64) -> i64 {
        let ms = CLOCK_START_MS + (now_us / 1_000) as i64 + self.clock_skew_ms;
        self.clock_ms.store(ms, Ordering::Relaxed);
        ms
    }

    /// Starts the process.
    pub fn start(&mut self) -> Result<Recovery, OpenError> {
        let (broker, saving, recovery) = self.open(self.disk.clone())?;
        let process = Process {
            door: RemotingDoor::new(broker.clone()),
            upkeep: Upkeep::new(&broker),
            ticks: Ticks::new(&broker),
            broker,
            saving,
            is_fenced: false,
        };
        self.process = Some(process);
        self.life += 1;
        Ok(recovery)
    }

    /// Opens what lies on a disk, as a start does.
    pub fn open(&self, disk: MemoryDisk) -> Result<(Arc<Broker>, MetaWork<Metadata>, Recovery), OpenError> {
        let metadata = self.metadata.clone();
        let unreachable = |source: broker::meta::MetaError| OpenError::Io {
            what: "opening metadata",
            source: std::io::Error::other(source),
        };
        let (meta, saving) = Meta::by_hand(move || Ok(metadata.clone())).map_err(unreachable)?;
        let clock = self.clock_ms.clone();
        let machine = Machine {
            disk: Arc::new(disk),
            clock: Clock::from_fn(move || clock.load(Ordering::Relaxed)),
            store_host: self.address,
            boot_id: self.boots.to_string(),
            memory_bytes: 1 << 30,
            log_sizes: self.setting.sizes.clone(),
        };
        let (broker, recovery) = open(self.config.clone(), machine, meta, self.metadata.stored())?;
        Ok((broker, saving, recovery))
    }

    /// The process ends without a word, with the machine if the power was cut.
    pub fn end(&mut self, cut: Option<log::PowerCut>) {
        if let Some(process) = self.process.take() {
            let stats = process.broker.log.stats();
            self.last_known = (stats.checkpointed.0, stats.end.0);
            self.ended_fenced = stats.is_fenced;
        }
        self.life += 1;
        self.ends_at = None;
        self.stalled_until_us = 0;
        self.disk.heal();
        if let Some(cut) = cut {
            self.disk.cut_power(cut);
            self.boots += 1;
        }
    }

    /// The process ends in order.
    pub fn stop(&mut self, now: Instant) {
        if let Some(process) = &mut self.process {
            process.broker.writer.sync_now();
            process.broker.deliveries.save_changed(&process.broker.offsets);
            upkeep::close(&process.broker);
            process.saving.step(now);
        }
        self.end(None);
    }
}

impl Process {
    /// Syncs the log.
    pub fn sync(&self) {
        self.broker.writer.sync_now();
    }

    /// Saves metadata.
    pub fn save(&mut self, now: Instant) {
        self.saving.step(now);
    }

    /// Checkpoints, retention, the log's own chores.
    pub fn keep_up(&mut self) {
        self.upkeep.step(&self.broker);
    }

    /// Chores of a moment.
    pub fn tick(&mut self) {
        self.ticks.step(&self.broker);
    }

    /// Delivers what is due.
    pub fn deliver(&self) {
        while delay::deliver_due(&self.broker).is_zero() {}
    }

    /// Asks about half messages.
    pub fn ask(&self) {
        while decide::ask_due(&self.broker) {}
    }

    /// Answers held pulls and pops whose time has come, and lets what is out for too long come again; says when there
    /// is more of it.
    pub fn answer_pulls(&self) -> Duration {
        loop {
            let wait = answer_ready_pulls(&self.broker).min(expiry::expire_due(&self.broker));
            let more_pops = answer_ready_pops(&self.broker);
            if !wait.is_zero() && !more_pops {
                return wait;
            }
        }
    }
}
