//! Starting and stopping a broker: opens what is stored, listens, and runs the background work.

mod recovered;
mod upkeep;

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU32};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use log::{Disk, DiskError, Log, LogConfig, OpenError, RealDisk, Visibility};
use net::listen::{ListenError, listen};
use net::server::ServerOptions;
use net::workers::{WorkerThreads, Workers};
use protocol::properties;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::clock::Clock;
use crate::config::{BrokerConfig, Flush};
use crate::connections::Connections;
use crate::counters::Counters;
use crate::groups::Groups;
use crate::held_pulls::HeldPulls;
use crate::membership::Membership;
use crate::meta::{Meta, MetaError, MetaThread, Stored, Tree};
use crate::names;
use crate::offsets::Offsets;
use crate::queue_locks::QueueLocks;
use crate::registration::{Registrations, keep_registered};
use crate::remoting::{RemotingDoor, answer_held_pulls};
use crate::topics::{Permission, TopicSettings, Topics};
use crate::transactions::{CheckSchedule, Transactions};
use crate::writer::Writer;
use crate::{decide, delay};

/// The newest part of the log that stays in the page cache is this part of the memory. More would serve consumers
/// that are further behind; but a cache that grows takes ever new pages from the machine, and writing waits for them.
const CACHED_SHARE: u64 = 8;
/// Longest wait for the disk when the broker stops.
const WIND_UP_MAX: Duration = Duration::from_secs(5);

/// Why a broker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port cannot be listened on.
    #[error("{flag} cannot be used")]
    Listen {
        /// Setting that names the port.
        flag: &'static str,
        /// Why not.
        #[source]
        source: ListenError,
    },
    /// A nameserver's address cannot be resolved. One that merely does not answer is tried until it does.
    #[error("nameserver `{address}` (namesrvAddr) cannot be resolved")]
    Nameserver {
        /// The address.
        address: String,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The data folder cannot be made or written.
    #[error("data folder {} cannot be used", path.display())]
    DataFolder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The data folder belongs to another process, or cannot be used as a store.
    #[error("data folder {} cannot be used", path.display())]
    Disk {
        /// The folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: DiskError,
    },
    /// The log cannot be opened.
    #[error("the commit log in {} cannot be opened", path.display())]
    Log {
        /// The folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: OpenError,
    },
    /// Topics, groups and offsets cannot be opened.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// A thread cannot be started.
    #[error("a thread cannot be started")]
    Thread(#[source] std::io::Error),
}

/// A broker that runs. Must be stopped: dropping it leaves its threads running.
#[must_use = "a broker runs until it is stopped"]
pub struct RunningBroker {
    /// The broker.
    pub broker: Arc<Broker>,
    /// Address of the main port.
    pub address: SocketAddr,
    /// Address of the fast port.
    pub fast_address: SocketAddr,
    /// What opening the log found, in one line.
    pub recovery: String,
    workers: Workers,
    worker_threads: WorkerThreads,
    threads: Vec<JoinHandle<()>>,
    meta_thread: MetaThread,
}

/// Starts a broker; it is ready for requests when this returns.
pub fn start(config: BrokerConfig) -> Result<RunningBroker, StartError> {
    for address in &config.nameservers {
        address.to_socket_addrs().map_err(|source| StartError::Nameserver { address: address.clone(), source })?;
    }
    let clock = Clock::system();
    let listeners = [
        listen_on(&config, config.listen_port, "listenPort")?,
        listen_on(&config, config.fast_listen_port, "fastListenPort")?,
    ];
    let [address, fast_address] = [local(&listeners[0]), local(&listeners[1])];
    let store_host = SocketAddr::new(config.advertised_ip, address.port());
    let path = config.data_dir.clone();
    std::fs::create_dir_all(&path).map_err(|source| StartError::DataFolder { path: path.clone(), source })?;
    let disk = RealDisk::open(&path).map_err(|source| StartError::Disk { path: path.clone(), source })?;
    let (meta, mut stored, meta_thread) = Meta::open(&path.join("meta"))?;
    let (log, transactions, recovery) = open_log(&config, Arc::new(disk), &mut stored, &meta)?;
    let io_threads = match config.io_threads {
        0 => std::thread::available_parallelism().map_or(1, |cores| cores.get() / 2).max(1),
        threads => threads,
    };
    let broker = Arc::new(assemble(config, store_host, clock, log, transactions, meta, stored));
    recovered::restore_topics(&broker);
    let (workers, worker_threads) = Workers::start("broker-io", io_threads).map_err(StartError::Thread)?;
    let threads = start_threads(&broker)?;
    start_tasks(&broker, &workers, listeners);
    Ok(RunningBroker { broker, address, fast_address, recovery, workers, worker_threads, threads, meta_thread })
}

fn listen_on(config: &BrokerConfig, port: u16, flag: &'static str) -> Result<TcpListener, StartError> {
    listen(SocketAddr::new(config.bind_ip, port)).map_err(|source| StartError::Listen { flag, source })
}

fn local(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)))
}

fn open_log(
    config: &BrokerConfig,
    disk: Arc<dyn Disk>,
    stored: &mut Stored,
    meta: &Meta,
) -> Result<(Log, Transactions, String), StartError> {
    let mut transactions = Transactions::new(CheckSchedule {
        first_after_ms: config.transaction_timeout.as_millis() as i64,
        interval_ms: config.transaction_check_interval.as_millis() as i64,
        checks_max: config.transaction_check_max,
    });
    let log_config = LogConfig {
        segment_bytes: config.segment_bytes,
        visibility: match config.flush {
            Flush::Async => Visibility::Written,
            Flush::Sync => Visibility::Durable,
        },
        cached_bytes: memory_bytes() / CACHED_SHARE,
        boot_id: std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default(),
        ..LogConfig::default()
    };
    let (log, recovery) = recovered::open_log(disk, log_config, &mut transactions)
        .map_err(|source| StartError::Log { path: config.data_dir.clone(), source })?;
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
    Ok((log, transactions, recovery.to_string()))
}

fn assemble(
    config: BrokerConfig,
    store_host: SocketAddr,
    clock: Clock,
    log: Log,
    transactions: Transactions,
    meta: Meta,
    mut stored: Stored,
) -> Broker {
    let now_ms = clock.now_ms();
    let topics = Topics::load(&mut stored, meta.clone(), config.auto_create_topic, now_ms);
    create_system_topics(&topics, &config, now_ms);
    // What was just created, or stored before: these four exist.
    let system =
        |name: &str, queues: i32| topics.ensure(TopicSettings::new(name, queues, Permission::READ_WRITE), now_ms).0;
    let levels = config.delay_levels.len().max(1) as i32;
    let (schedule_topic, timer_topic) = (system(names::SCHEDULE_TOPIC, levels), system(names::TIMER_TOPIC, 1));
    let (half_topic, op_half_topic) = (system(names::HALF_TOPIC, 1), system(names::OP_HALF_TOPIC, 1));
    let log = Arc::new(log);
    let (pulls, due) = (Arc::new(HeldPulls::default()), Arc::new(Notify::new()));
    let transactions = Arc::new(Mutex::new(transactions));
    let writer = Writer::new(
        log.clone(),
        config.flush,
        clock.clone(),
        pulls.clone(),
        transactions.clone(),
        meta.clone(),
        due.clone(),
    );
    let mut own_properties = Vec::new();
    properties::push(&mut own_properties, properties::CLUSTER, &config.cluster_name);
    properties::push(&mut own_properties, properties::MSG_REGION, &config.region_id);
    properties::push(&mut own_properties, properties::TRACE_ON, if config.trace_on { "true" } else { "false" });
    Broker {
        store_host,
        started_ms: now_ms,
        permission: AtomicI32::new(config.permission),
        log,
        writer,
        groups: Groups::load(&mut stored, meta.clone(), config.auto_create_group, now_ms),
        offsets: Offsets::load(&mut stored, meta.clone()),
        meta,
        topics,
        clock,
        connections: Connections::default(),
        pulls,
        due,
        delivery_pause_until_ms: AtomicI64::new(0),
        delivery_aside: Mutex::default(),
        deleting: Mutex::default(),
        registrations: Registrations::default(),
        counters: Counters::default(),
        // As upstream: 40 %.
        recent_bytes: memory_bytes() / 5 * 2,
        shutdown: CancellationToken::new(),
        schedule_topic,
        timer_topic,
        half_topic,
        op_half_topic,
        own_properties,
        membership: Mutex::new(Membership::default()),
        locks: Mutex::new(QueueLocks::default()),
        transactions,
        turns: AtomicU32::new(now_ms as u32),
        opaques: AtomicI32::new(1),
        config,
    }
}

/// The machine's memory, or 8 GiB where it cannot be read.
fn memory_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib =
        text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse().ok());
    kib.unwrap_or(8 << 20) * 1024
}

/// Topics that every broker has, as upstream creates them at boot.
fn create_system_topics(topics: &Topics, config: &BrokerConfig, now_ms: i64) {
    let ensure = |name: &str, queues: i32, permission: i32| {
        topics.ensure(TopicSettings::new(name, queues, Permission(permission)), now_ms);
    };
    if config.auto_create_topic {
        let template = TopicSettings::new(names::TEMPLATE_TOPIC, config.default_topic_queue_nums, Permission(7));
        topics.put(template, now_ms);
    } else {
        // Otherwise a template from an earlier start would let clients go on creating topics.
        topics.remove(names::TEMPLATE_TOPIC, now_ms);
    }
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

fn start_threads(broker: &Arc<Broker>) -> Result<Vec<JoinHandle<()>>, StartError> {
    let thread = |name: &str, run: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(StartError::Thread)
    };
    let (syncing, keeping) = (broker.clone(), broker.clone());
    Ok(vec![
        thread("log-sync", Box::new(move || syncing.writer.sync_until_stopped()))?,
        thread("log-upkeep", Box::new(move || upkeep::run(&keeping)))?,
    ])
}

fn start_tasks(broker: &Arc<Broker>, workers: &Workers, listeners: [TcpListener; 2]) {
    let (shared, spread) = (broker.clone(), workers.clone());
    workers.spawn_on(0, move || async move {
        let (door, stop) = (RemotingDoor::new(shared.clone()), shared.shutdown.clone());
        let served = net::serve(listeners.into(), door, spread, ServerOptions::default(), stop).await;
        if let Err(error) = served {
            tracing::error!(%error, "the broker's ports cannot be served");
        }
    });
    let shared = broker.clone();
    workers.spawn_on(0, move || answer_held_pulls(shared));
    let shared = broker.clone();
    workers.spawn_on(0, move || delay::deliver_when_due(shared));
    let shared = broker.clone();
    workers.spawn_on(0, move || decide::ask_when_due(shared));
    let shared = broker.clone();
    workers.spawn_on(0, move || upkeep::tick(shared));
    for nameserver in broker.config.nameservers.clone() {
        let shared = broker.clone();
        workers.spawn_on(0, move || keep_registered(shared, nameserver));
    }
}

impl RunningBroker {
    /// Takes no more messages, and waits until those that were taken have been answered.
    fn wind_up(&self) {
        let (sender, ended) = std::sync::mpsc::channel();
        let broker = self.broker.clone();
        self.workers.spawn_on(0, move || async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(2));
            while !broker.writer.wind_up() && !broker.shutdown.is_cancelled() {
                ticks.tick().await;
            }
            let _ = sender.send(());
        });
        // A disk that hangs must not keep the process for ever.
        let _ = ended.recv_timeout(WIND_UP_MAX);
    }

    /// Stops the broker: answers what was accepted, saves everything, and waits for all threads.
    pub fn stop(self) {
        self.wind_up();
        self.broker.shutdown.cancel();
        self.workers.stop();
        self.worker_threads.join();
        self.broker.registrations.give_up_telling(i64::MAX);
        self.broker.writer.stop();
        for thread in self.threads {
            // A panic was already reported by the thread itself.
            let _ = thread.join();
        }
        self.broker.offsets.save_changed();
        upkeep::close(&self.broker);
        let (sender, saved) = std::sync::mpsc::channel();
        self.broker.meta.when_saved(move |ok| {
            let _ = sender.send(ok);
        });
        let _ = saved.recv();
        // The metadata thread ends with the last handle of the metadata, which the broker holds.
        match Arc::try_unwrap(self.broker) {
            Ok(broker) => {
                drop(broker);
                self.meta_thread.join();
            }
            Err(_) => tracing::warn!("the broker is still in use; its metadata is saved and stays open"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nameserver_that_cannot_be_resolved_stops_the_start_before_anything_is_touched() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("data");
        let config = BrokerConfig {
            nameservers: vec!["127.0.0.1:9876".into(), "no port".into()],
            data_dir: data_dir.clone(),
            ..BrokerConfig::default()
        };
        let error = start(config).err().unwrap();
        assert_eq!(error.to_string(), "nameserver `no port` (namesrvAddr) cannot be resolved");
        assert!(!data_dir.exists());
    }
}
