//! Starting and stopping a broker: opens what is stored, listens, and runs the background work.

mod grpc_port;
mod memory;
mod open;
mod recovered;
pub mod upkeep;

pub use open::{Machine, open};

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use log::{DiskError, LogConfig, OpenError, RealDisk};
use metrics::Exporter;
use metrics::port::Port;
use net::listen::{ListenError, listen};
use net::server::ServerOptions;
use net::tls::TlsError;
use net::workers::{WorkerThreads, Workers};

use crate::broker::Broker;
use crate::clock::Clock;
use crate::config::{BrokerConfig, Flush, exporting};
use crate::delivery::expiry;
use crate::meta::{Meta, MetaError, MetaThread};
use crate::registration::keep_registered;
use crate::remoting::{RemotingDoor, answer_held_pulls, answer_woken_pops};
use crate::series::BrokerSeries;
use crate::{decide, delay};

/// Longest wait for the disk when the broker stops.
const WIND_UP_MAX: Duration = Duration::from_secs(5);

/// Setting that names the port for Prometheus.
const METRICS_PORT: &str = "metricsPromExporterPort";

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
    /// The certificate for gRPC clients cannot be used, or made.
    #[error("TLS cannot be offered to gRPC clients")]
    Tls(#[from] TlsError),
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
    /// Address of the port for gRPC clients, if it is open.
    pub grpc_address: Option<SocketAddr>,
    /// What the broker shows of itself; other parts of the process may be added.
    pub exporter: Exporter,
    /// Address of the port for Prometheus, if it is open.
    pub metrics_address: Option<SocketAddr>,
    /// What opening the log found, in one line.
    pub recovery: String,
    metrics_port: Option<Port>,
    #[cfg(feature = "otel")]
    traces: Option<traces::Exporting>,
    workers: Workers,
    worker_threads: WorkerThreads,
    threads: Vec<JoinHandle<()>>,
    meta_thread: MetaThread,
}

/// Starts a broker; it is ready for requests when this returns.
pub fn start(config: BrokerConfig) -> Result<RunningBroker, StartError> {
    let listeners = [
        listen_on(&config, config.listen_port, "listenPort")?,
        listen_on(&config, config.fast_listen_port, "fastListenPort")?,
    ];
    let grpc = match config.grpc_port {
        Some(port) => Some(listen_on(&config, port, "grpcServerPort")?),
        None => None,
    };
    let metrics = listen_for_metrics(&config)?;
    let [address, fast_address] = [local(&listeners[0]), local(&listeners[1])];
    let grpc_address = grpc.as_ref().map(local);
    let store_host = SocketAddr::new(config.advertised_ip, address.port());
    let path = config.data_dir.clone();
    std::fs::create_dir_all(&path).map_err(|source| StartError::DataFolder { path: path.clone(), source })?;
    let disk = RealDisk::open(&path).map_err(|source| StartError::Disk { path: path.clone(), source })?;
    let (meta, stored, meta_thread) = Meta::open(&path.join("meta"))?;
    let machine = Machine {
        disk: Arc::new(disk),
        clock: Clock::system(),
        store_host,
        boot_id: boot_id(),
        memory_bytes: memory::available_bytes(),
        log_sizes: LogConfig::default(),
    };
    let grpc = match grpc {
        Some(listener) => Some((listener, grpc_port::certificate(&config)?)),
        None => None,
    };
    let io_threads = match config.io_threads {
        0 => io_threads_for(std::thread::available_parallelism().map_or(1, usize::from)),
        threads => threads,
    };
    let (broker, recovery) =
        open(config, machine, meta, stored).map_err(|source| StartError::Log { path: path.clone(), source })?;
    #[cfg(feature = "otel")]
    let traces = start_traces(&broker).map_err(StartError::Thread)?;
    #[cfg(not(feature = "otel"))]
    say_no_traces(&broker.config);
    let (workers, worker_threads) = start_workers(&broker, io_threads).map_err(StartError::Thread)?;
    let threads = start_threads(&broker)?;
    start_tasks(&broker, &workers, listeners);
    if let Some((listener, tls)) = grpc {
        grpc_port::start(&broker, &workers, listener, tls);
    }
    let recovery = recovery.to_string();
    let exporter = Exporter::new(broker.config.exporting.options.clone());
    exporter.add(Arc::new(BrokerSeries::new(&broker)));
    let metrics = metrics.or_else(|| listen_for_metrics_anyway(&broker.config));
    let metrics_port = metrics.map(|listener| Port::open(listener, exporter.clone())).transpose();
    let metrics_port = metrics_port.map_err(StartError::Thread)?;
    Ok(RunningBroker {
        exporter,
        metrics_address: metrics_port.as_ref().map(|port| port.address),
        metrics_port,
        #[cfg(feature = "otel")]
        traces,
        broker,
        address,
        fast_address,
        grpc_address,
        recovery,
        workers,
        worker_threads,
        threads,
        meta_thread,
    })
}

fn listen_on(config: &BrokerConfig, port: u16, flag: &'static str) -> Result<TcpListener, StartError> {
    listen(SocketAddr::new(config.bind_ip, port)).map_err(|source| StartError::Listen { flag, source })
}

/// Listens for Prometheus on the port that was chosen for it.
fn listen_for_metrics(config: &BrokerConfig) -> Result<Option<TcpListener>, StartError> {
    let exporting = &config.exporting;
    let Some(port) = exporting.port.filter(|_| exporting.is_open) else { return Ok(None) };
    let address = SocketAddr::new(exporting.host.unwrap_or(config.bind_ip), port);
    let listener = listen(address).map_err(|source| StartError::Listen { flag: METRICS_PORT, source })?;
    Ok(Some(listener))
}

/// Listens for Prometheus on the usual port, unless another was chosen. It may be another broker's: then this one is not
/// watched, and serves its clients all the same.
fn listen_for_metrics_anyway(config: &BrokerConfig) -> Option<TcpListener> {
    let exporting = &config.exporting;
    if !exporting.is_open || exporting.port.is_some() {
        return None;
    }
    let address = SocketAddr::new(exporting.host.unwrap_or(config.bind_ip), exporting::DEFAULT_PORT);
    let listener = listen(address);
    if let Err(error) = &listener {
        tracing::warn!("metrics are not served: {error} (another port: {METRICS_PORT})");
    }
    listener.ok()
}

fn local(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)))
}

/// What names this start of the machine; empty where the system has no such name.
fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

/// Says so if traces are wanted that this program cannot tell.
#[cfg(not(feature = "otel"))]
fn say_no_traces(config: &BrokerConfig) {
    if let Some(target) = &config.traces_target {
        tracing::warn!(
            "no traces go to {target} (tracesGrpcExporterTarget): this program is built without the feature `otel`"
        );
    }
}

/// Starts telling a collector of messages, if the settings name one.
#[cfg(feature = "otel")]
fn start_traces(broker: &Broker) -> std::io::Result<Option<traces::Exporting>> {
    let Some((tracer, exporting)) = crate::spans::start(&broker.config)? else { return Ok(None) };
    // Nobody set it before: a broker is started once.
    let _ = broker.tracer.set(tracer);
    Ok(Some(exporting))
}

/// Threads that serve connections on a machine of so many cores: all of a few, half of many, where what appends would
/// mostly wait for each other (decision 11).
fn io_threads_for(cores: usize) -> usize {
    /// Cores of which each gets a thread.
    const ALL_OF: usize = 4;
    cores.min(ALL_OF).max(cores / 2)
}

fn start_workers(broker: &Arc<Broker>, count: usize) -> std::io::Result<(Workers, WorkerThreads)> {
    if broker.config.flush == Flush::Async {
        return Workers::start("broker-io", count);
    }
    let shared = broker.clone();
    Workers::start_with_rest("broker-io", count, move || shared.writer.sync_at_rest())
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
    workers.spawn_on(0, move || expiry::expire_when_due(shared));
    let shared = broker.clone();
    workers.spawn_on(0, move || answer_woken_pops(shared));
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
        self.broker.client_requests.give_up(i64::MAX);
        self.broker.registrations.give_up_telling(i64::MAX);
        self.broker.writer.stop();
        for thread in self.threads {
            // A panic was already reported by the thread itself.
            let _ = thread.join();
        }
        if let Some(port) = self.metrics_port {
            port.close();
        }
        #[cfg(feature = "otel")]
        if let Some(traces) = self.traces {
            traces.close();
        }
        self.broker.deliveries.save_changed(&self.broker.offsets);
        upkeep::close(&self.broker);
        let (sender, saved) = std::sync::mpsc::channel();
        self.broker.meta.when_saved(move |ok| {
            let _ = sender.send(ok);
        });
        let _ = saved.recv();
        // Some may have begun to wait when what they did was saved.
        self.broker.unsaved.give_up(i64::MAX);
        self.broker.registrations.give_up_telling(i64::MAX);
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
    fn a_nameserver_that_cannot_be_resolved_yet_is_no_reason_not_to_start() {
        let folder = tempfile::tempdir().unwrap();
        let config = BrokerConfig {
            bind_ip: [127, 0, 0, 1].into(),
            listen_port: 0,
            fast_listen_port: 0,
            grpc_port: None,
            nameservers: vec!["not-there-yet.invalid:9876".into()],
            data_dir: folder.path().to_path_buf(),
            ..BrokerConfig::default()
        };
        start(config).unwrap().stop();
    }
}
