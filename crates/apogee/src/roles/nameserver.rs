//! `apogee nameserver`

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use metrics::port::Port;
use metrics::{Exporter, Options};
use nameserver::NameserverConfig;
use nameserver::config::DEFAULT_METRICS_PORT;
use net::listen::ListenError;
use net::workers::{WorkerThreads, Workers};
use tokio_util::sync::CancellationToken;

use super::at_work::AtWork;
use super::role_lock::{Role, RoleLock};
use super::stopping::StopSignal;
use super::{data_dir, nameserver_settings, open_files, run_as};
use crate::command_line::Access;
use crate::output;

/// Port when none is configured.
pub const DEFAULT_PORT: u16 = 9876;

/// A nameserver has little to do.
const THREADS: usize = 1;

/// Flags of `nameserver`.
#[derive(Debug, Args)]
#[command(after_help = "\
Settings come from, each before the next: flags, what was changed while the nameserver ran, variables that start with
APOGEE_NAMESERVER_, the file.

Examples:
  apogee nameserver --port 9876 --data-dir /var/lib/apogee
  apogee nameserver -c namesrv.conf --print-config")]
pub struct NameserverArguments {
    /// Configuration: the properties of a stock nameserver, or TOML
    #[arg(long, short, alias = "configFile", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Port to listen on; otherwise listenPort, or 9876
    #[arg(long)]
    port: Option<u16>,
    /// Folder for what is stored; otherwise that of kvConfigPath, or ./data
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Print every setting and where it comes from, and end
    #[arg(long, short, alias = "printConfigItem")]
    print_config: bool,
    /// Print what every setting means, and end
    #[arg(long)]
    explain_config: bool,
}

impl NameserverArguments {
    /// Flags as keys of the file, which they go before.
    fn settings(&self) -> Vec<(&'static str, String)> {
        let flags = [
            ("listenPort", self.port.map(|port| port.to_string())),
            ("kvConfigPath", self.data_dir.as_ref().map(|folder| kv_path(folder).display().to_string())),
        ];
        flags.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

/// Where the KV table lies below a data folder.
pub fn kv_path(data_dir: &Path) -> PathBuf {
    data_dir.join("namesrv").join("kvConfig.json")
}

/// A nameserver that runs.
#[must_use = "a nameserver runs until it is stopped"]
pub struct RunningNameserver {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it shows of itself.
    pub exporter: Exporter,
    shutdown: CancellationToken,
    workers: Workers,
    threads: WorkerThreads,
    at_work: AtWork,
    /// Given back when all is written.
    lock: RoleLock,
}

impl RunningNameserver {
    /// Starts it; it is ready for requests when this returns.
    pub fn start(config: NameserverConfig) -> anyhow::Result<RunningNameserver> {
        let kv_path = &config.kv_path;
        let lock = RoleLock::take(&kv_path.with_file_name(""), Role::Nameserver)?;
        nameserver::kv::file::refuse_newer(kv_path)?;
        let listener = net::listen::listen(SocketAddr::new(config.bind_ip, config.listen_port))?;
        let address = listener.local_addr().context("the port is gone")?;
        let (workers, threads) = Workers::start("nameserver", THREADS).context("a thread cannot be started")?;
        let (shutdown, exporter) = (CancellationToken::new(), Exporter::new(Options::default()));
        serve(listener, config, &workers, exporter.clone(), shutdown.clone());
        let at_work = AtWork::note(Role::Nameserver, address);
        Ok(RunningNameserver { address, exporter, shutdown, workers, threads, at_work, lock })
    }

    /// Stops it and waits until all is written.
    pub fn stop(self) {
        drop(self.at_work);
        self.shutdown.cancel();
        self.workers.stop();
        self.threads.join();
        drop(self.lock);
    }
}

fn serve(
    listener: TcpListener,
    config: NameserverConfig,
    workers: &Workers,
    exporter: Exporter,
    shutdown: CancellationToken,
) {
    let spread = workers.clone();
    workers.spawn_on(0, move || async move {
        if let Err(error) = nameserver::serve(vec![listener], config, spread, exporter, shutdown).await {
            tracing::error!(%error, "the nameserver has ended");
        }
    });
}

/// Runs a nameserver until a signal comes.
pub fn run(arguments: &NameserverArguments, access: &Access) -> anyhow::Result<ExitCode> {
    if arguments.explain_config {
        output::line(nameserver_settings::help().trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let loaded = nameserver_settings::load(&nameserver_settings::Sources {
        file: arguments.config.as_deref(),
        environment: &std::env::vars().collect::<Vec<_>>(),
        command_line: &arguments.settings(),
        data_dir: &data_dir::default().path,
    })
    .context("the nameserver's settings are wrong")?;
    if arguments.print_config {
        match access.json {
            true => output::json(&loaded.json())?,
            false => output::line(loaded.print().trim_end())?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    open_files::raise_limit();
    run_as::give_up_root(&loaded.config.kv_path.with_file_name(""))?;
    loaded.comment();
    let signal = StopSignal::listen()?;
    let (ip, metrics_port) = (loaded.config.bind_ip, loaded.config.metrics_port);
    let running = RunningNameserver::start(loaded.config).map_err(|error| advise(error, "--port, or listenPort"))?;
    let metrics = match listen_for_metrics(ip, metrics_port) {
        Ok(metrics) => metrics,
        Err(error) => {
            running.stop();
            return Err(error);
        }
    };
    let metrics = metrics.map(|listener| Port::open(listener, running.exporter.clone())).transpose()?;
    let announced = announce(&running, access);
    if announced.is_ok() {
        signal.wait();
    }
    running.stop();
    if let Some(port) = metrics {
        port.close();
    }
    announced?;
    Ok(ExitCode::SUCCESS)
}

/// Listens for Prometheus. The usual port may be taken: then the nameserver is not watched, and serves all the
/// same.
fn listen_for_metrics(ip: IpAddr, chosen: Option<u16>) -> anyhow::Result<Option<TcpListener>> {
    let listened = net::listen::listen(SocketAddr::new(ip, chosen.unwrap_or(DEFAULT_METRICS_PORT)));
    match listened {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if chosen.is_none() => {
            tracing::warn!("metrics are not served: {error} (another port: metricsPromExporterPort)");
            Ok(None)
        }
        Err(error) => Err(advise(error.into(), "metricsPromExporterPort")),
    }
}

/// Says that the nameserver cannot start, and how another port is chosen if that is what is wrong.
pub fn advise(error: anyhow::Error, port_flags: &str) -> anyhow::Error {
    let advice = match error.downcast_ref::<ListenError>() {
        Some(_) => format!("the nameserver cannot start (another port: {port_flags})"),
        None => "the nameserver cannot start".to_owned(),
    };
    error.context(advice)
}

fn announce(running: &RunningNameserver, access: &Access) -> std::io::Result<()> {
    match access.json {
        true => output::json(&serde_json::json!({ "nameserver": running.address })),
        false => {
            output::line(&format!("The Name Server boot success. serializeType=JSON, address {}", running.address))
        }
    }
}
