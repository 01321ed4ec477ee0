//! A broker made of what is stored: no thread, no socket and no task is started here.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU32};
use std::sync::{Arc, Mutex};

use client::Nameservers;
use log::{Disk, Log, LogConfig, OpenError, Recovery, Visibility};
use protocol::properties;
use tokio_util::sync::CancellationToken;

use super::recovered;
use crate::broker::Broker;
use crate::client_requests::ClientRequests;
use crate::clock::Clock;
use crate::config::change::{self, Changes};
use crate::config::{BrokerConfig, Flush};
use crate::connections::Connections;
use crate::counters::Counters;
use crate::delay::by_topic::WaitingCounter;
use crate::delivery::Deliveries;
use crate::filter::CompiledFilters;
use crate::groups::Groups;
use crate::membership::Membership;
use crate::meta::{Meta, Stored, Tree};
use crate::names;
use crate::offsets::Offsets;
use crate::queue_locks::QueueLocks;
use crate::reconfigure;
use crate::registration::Registrations;
use crate::request_modes::RequestModes;
use crate::sessions::Sessions;
use crate::stats::{self, Stats};
use crate::topics::{Permission, TopicSettings, Topics};
use crate::transactions::{CheckSchedule, Transactions};
use crate::writer::{Watchers, Writer};

/// The newest part of the log that stays in the page cache is this part of the memory. More would serve consumers
/// that are further behind; but a cache that grows takes ever new pages from the machine, and writing waits for them.
const CACHED_SHARE: u64 = 8;

/// What a broker needs of the machine that it runs on.
pub struct Machine {
    /// Where the log lies.
    pub disk: Arc<dyn Disk>,
    /// Tells the time.
    pub clock: Clock,
    /// Address that message ids carry.
    pub store_host: SocketAddr,
    /// Names this start of the machine: another one has lost its page cache.
    pub boot_id: String,
    /// Memory of the machine, in bytes.
    pub memory_bytes: u64,
    /// Sizes of the log that no setting names.
    pub log_sizes: LogConfig,
}

/// Opens what is stored and makes a broker of it. Nothing happens in it until its work is driven: by the threads and
/// tasks of [`super::start`], or step by step.
pub fn open(
    config: BrokerConfig,
    machine: Machine,
    meta: Meta,
    mut stored: Stored,
) -> Result<(Arc<Broker>, Recovery), OpenError> {
    let topics = Topics::load(&mut stored, meta.clone(), config.auto_create_topic.get(), machine.clock.now_ms());
    let known_queues = topics.all().into_values().flat_map(|topic| {
        let queues = topic.settings.write_queues.max(topic.settings.read_queues).max(0) as u32;
        // Only the broker itself makes its own topics large, and nobody reads what is not there.
        let is_own = names::is_system(&topic.settings.name, &config.cluster_name, &config.broker_name);
        (0..if is_own { 0 } else { queues }).map(move |queue| (topic.settings.name.clone(), queue))
    });
    let known_queues = known_queues.collect();
    let (log, transactions, recovery) = open_log(&config, &machine, known_queues, &mut stored, &meta)?;
    let changes = Changes::open(machine.disk.clone(), machine.clock.now_ms())
        .map_err(|source| OpenError::Io { what: change::READING, source })?;
    let opened = Opened { changes, log, topics, transactions };
    let broker = Arc::new(assemble(config, machine, opened, meta, stored));
    recovered::restore_topics(&broker);
    stats::begin(&broker);
    Ok((broker, recovery))
}

fn open_log(
    config: &BrokerConfig,
    machine: &Machine,
    known_queues: Vec<(String, u32)>,
    stored: &mut Stored,
    meta: &Meta,
) -> Result<(Log, Transactions, Recovery), OpenError> {
    let mut transactions = Transactions::new(CheckSchedule::of(config));
    let log_config = LogConfig {
        segment_bytes: config.segment_bytes,
        visibility: match config.flush {
            Flush::Async => Visibility::Written,
            Flush::Sync => Visibility::Durable,
        },
        cached_bytes: (machine.memory_bytes / CACHED_SHARE).min(config.cached_bytes_max.unwrap_or(u64::MAX)),
        boot_id: machine.boot_id.clone(),
        known_queues,
        ..machine.log_sizes.clone()
    };
    let (log, recovery) = recovered::open_log(machine.disk.clone(), log_config, &mut transactions)?;
    for (key, value) in stored.take(Tree::Checks) {
        let position = key.as_slice().try_into().map(u64::from_be_bytes);
        match (position, value.as_slice().try_into()) {
            (Ok(position), Ok(checks)) if transactions.get(position).is_some() => {
                transactions.restore_checks(position, u32::from_be_bytes(checks));
            }
            // Decided about in the moment before the stop.
            _ => meta.remove(Tree::Checks, key),
        }
    }
    Ok((log, transactions, recovery))
}

/// What was found on the disk, beside metadata.
struct Opened {
    changes: Changes,
    log: Log,
    topics: Topics,
    transactions: Transactions,
}

fn assemble(config: BrokerConfig, machine: Machine, opened: Opened, meta: Meta, mut stored: Stored) -> Broker {
    let Machine { store_host, clock, memory_bytes, .. } = machine;
    let Opened { changes, log, topics, transactions } = opened;
    let now_ms = clock.now_ms();
    create_system_topics(&topics, &config, now_ms);
    // What was just created, or stored before: these four exist.
    let system =
        |name: &str, queues: i32| topics.ensure(TopicSettings::new(name, queues, Permission::READ_WRITE), now_ms).0;
    let levels = config.delay_levels.len().max(1) as i32;
    let (schedule_topic, timer_topic) = (system(names::SCHEDULE_TOPIC, levels), system(names::TIMER_TOPIC, 1));
    let (half_topic, op_half_topic) = (system(names::HALF_TOPIC, 1), system(names::OP_HALF_TOPIC, 1));
    let log = Arc::new(log);
    let watchers = Watchers::default();
    let transactions = Arc::new(Mutex::new(transactions));
    let writer =
        Writer::new(log.clone(), config.flush, clock.clone(), watchers.clone(), transactions.clone(), meta.clone());
    let offsets = Offsets::load(&mut stored, meta.clone());
    Broker {
        changes,
        store_host,
        started_ms: now_ms,
        log,
        writer,
        groups: Groups::load(&mut stored, meta.clone(), config.auto_create_group.get(), now_ms),
        filters: CompiledFilters::default(),
        deliveries: Deliveries::load(&mut stored, meta.clone(), &offsets),
        receives: watchers.receives,
        woken_pops: Arc::default(),
        request_modes: RequestModes::load(&mut stored, meta.clone()),
        nameservers: Nameservers::parse(&config.nameservers.join(";"), client::Connections::default()).ok(),
        offsets,
        meta,
        topics,
        clock,
        connections: Connections::default(),
        sessions: Sessions::default(),
        client_requests: ClientRequests::default(),
        pulls: watchers.pulls,
        due: watchers.due,
        delivery_pause_until_ms: AtomicI64::new(0),
        delivery_aside: Mutex::default(),
        waiting: WaitingCounter::default(),
        deleting: Mutex::default(),
        clean_now: AtomicBool::new(false),
        registrations: Arc::new(Registrations::default()),
        unsaved: Arc::default(),
        counters: Counters::default(),
        stats: Stats::default(),
        // As upstream: 40 %.
        recent_bytes: memory_bytes / 5 * 2,
        shutdown: CancellationToken::new(),
        schedule_topic,
        timer_topic,
        half_topic,
        op_half_topic,
        own_properties: own_properties(&config),
        #[cfg(feature = "otel")]
        tracer: std::sync::OnceLock::new(),
        membership: Mutex::new(Membership::default()),
        locks: Mutex::new(QueueLocks::default()),
        transactions,
        turns: AtomicU32::new(now_ms as u32),
        opaques: AtomicI32::new(1),
        config,
    }
}

/// Properties that every stored message carries.
fn own_properties(config: &BrokerConfig) -> Vec<u8> {
    let mut own = Vec::new();
    properties::push(&mut own, properties::CLUSTER, &config.cluster_name);
    properties::push(&mut own, properties::MSG_REGION, &config.region_id);
    properties::push(&mut own, properties::TRACE_ON, if config.trace_on { "true" } else { "false" });
    own
}

/// Topics that every broker has, as upstream creates them at boot.
fn create_system_topics(topics: &Topics, config: &BrokerConfig, now_ms: i64) {
    let ensure = |name: &str, queues: i32, permission: i32| {
        topics.ensure(TopicSettings::new(name, queues, Permission(permission)), now_ms);
    };
    reconfigure::set_template(topics, config, now_ms);
    ensure("SELF_TEST_TOPIC", 1, 6);
    ensure("BenchmarkTest", 1024, 6);
    ensure("OFFSET_MOVED_EVENT", 1, 6);
    ensure(&config.cluster_name, 16, 7);
    ensure(&config.broker_name, 1, 7);
    ensure(&format!("{}_REPLY_TOPIC", config.cluster_name), 1, 6);
    if config.trace_topic {
        ensure(names::TRACE_TOPIC, 1, 6);
    }
}
