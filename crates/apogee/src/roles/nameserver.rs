//! `apogee nameserver`

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use broker::config::properties;
use clap::Args;
use nameserver::NameserverConfig;
use nameserver::settings::SettingError;
use net::listen::ListenError;
use net::workers::{WorkerThreads, Workers};
use tokio_util::sync::CancellationToken;

use super::stopping::StopSignal;
use super::{DEFAULT_DATA_DIR, open_files};
use crate::command_line::Access;
use crate::output;

/// Port when none is configured.
pub const DEFAULT_PORT: u16 = 9876;

/// A nameserver has little to do.
const THREADS: usize = 1;

/// Flags of `nameserver`.
#[derive(Debug, Args)]
#[command(after_help = "\
Keys of the file: listenPort, bindAddress, kvConfigPath, and upstream's switches such as orderMessageEnable.

Example: apogee nameserver --port 9876 --data-dir /var/lib/apogee")]
pub struct NameserverArguments {
    /// Properties file, as of a stock nameserver
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Port to listen on; otherwise the file's listenPort, or 9876
    #[arg(long)]
    port: Option<u16>,
    /// Folder for what is stored; the file's kvConfigPath goes before it
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA_DIR)]
    data_dir: PathBuf,
}

/// Where to listen, and everything else.
#[derive(Debug)]
pub struct NameserverSetup {
    /// Interface and port.
    pub listen: SocketAddr,
    /// Everything else.
    pub config: NameserverConfig,
}

impl NameserverSetup {
    /// Listens on every interface, and keeps the KV table below `data_dir`.
    pub fn new(port: u16, data_dir: &Path) -> NameserverSetup {
        NameserverSetup {
            listen: SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port),
            config: NameserverConfig::new(data_dir.join("namesrv").join("kvConfig.json")),
        }
    }

    /// Sets what the file says.
    fn read(&mut self, path: &Path) -> anyhow::Result<()> {
        let file = path.display();
        if path.is_dir() {
            bail!("`{file}` is a directory; container engines create one where the file to mount does not exist");
        }
        let bytes = std::fs::read(path).with_context(|| format!("`{file}` cannot be read"))?;
        let entries = properties::read(&properties::decode(&bytes));
        for entry in entries.map_err(|error| anyhow::anyhow!("{file}:{}: {error}", error.line()))? {
            let value = entry.value.trim();
            self.set(&entry.key, value).with_context(|| format!("{file}:{}", entry.line))?;
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: &str) -> anyhow::Result<()> {
        match key {
            "listenPort" => {
                let port = value.parse().with_context(|| format!("`listenPort` is `{value}`, which is no port"))?;
                self.listen.set_port(port);
            }
            "bindAddress" => {
                let ip: IpAddr =
                    value.parse().with_context(|| format!("`bindAddress` is `{value}`, which is no address"))?;
                self.listen.set_ip(ip);
            }
            _ => match self.config.set(key, value) {
                Err(SettingError::Unknown(_)) => tracing::warn!("`{key}` has no effect here"),
                outcome => outcome?,
            },
        }
        Ok(())
    }
}

/// A nameserver that runs.
#[must_use = "a nameserver runs until it is stopped"]
pub struct RunningNameserver {
    /// Where it listens.
    pub address: SocketAddr,
    shutdown: CancellationToken,
    workers: Workers,
    threads: WorkerThreads,
}

impl RunningNameserver {
    /// Starts it; it is ready for requests when this returns.
    pub fn start(setup: NameserverSetup) -> anyhow::Result<RunningNameserver> {
        let kv_path = &setup.config.kv_path;
        if let Some(folder) = kv_path.parent() {
            std::fs::create_dir_all(folder).with_context(|| {
                format!("folder `{}` of the KV table cannot be made (another one: --data-dir)", folder.display())
            })?;
        }
        let listener = net::listen::listen(setup.listen)?;
        let address = listener.local_addr().context("the port is gone")?;
        let (workers, threads) = Workers::start("nameserver", THREADS).context("a thread cannot be started")?;
        let shutdown = CancellationToken::new();
        serve(listener, setup.config, &workers, shutdown.clone());
        Ok(RunningNameserver { address, shutdown, workers, threads })
    }

    /// Stops it and waits until all is written.
    pub fn stop(self) {
        self.shutdown.cancel();
        self.workers.stop();
        self.threads.join();
    }
}

fn serve(listener: TcpListener, config: NameserverConfig, workers: &Workers, shutdown: CancellationToken) {
    let spread = workers.clone();
    workers.spawn_on(0, move || async move {
        if let Err(error) = nameserver::serve(vec![listener], config, spread, shutdown).await {
            tracing::error!(%error, "the nameserver has ended");
        }
    });
}

/// Runs a nameserver until a signal comes.
pub fn run(arguments: &NameserverArguments, access: &Access) -> anyhow::Result<ExitCode> {
    open_files::raise_limit();
    let mut setup = NameserverSetup::new(DEFAULT_PORT, &arguments.data_dir);
    if let Some(path) = &arguments.config {
        setup.read(path)?;
    }
    if let Some(port) = arguments.port {
        setup.listen.set_port(port);
    }
    let signal = StopSignal::listen()?;
    let running = RunningNameserver::start(setup).map_err(|error| advise(error, "--port, or listenPort"))?;
    let announced = announce(&running, access);
    if announced.is_ok() {
        signal.wait();
    }
    running.stop();
    announced?;
    Ok(ExitCode::SUCCESS)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> anyhow::Result<NameserverSetup> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("namesrv.conf");
        std::fs::write(&path, text).unwrap();
        let mut setup = NameserverSetup::new(DEFAULT_PORT, folder.path());
        setup.read(&path).map(|()| setup)
    }

    #[test]
    fn the_file_of_a_stock_nameserver_is_read() {
        let setup = read("# port\nlistenPort = 9877\nbindAddress=127.0.0.1\nserverWorkerThreads=8\n").unwrap();
        assert_eq!(setup.listen, "127.0.0.1:9877".parse().unwrap());
        assert!(read("orderMessageEnable=true").unwrap().config.settings.order_in_routes);
    }

    #[test]
    fn a_wrong_value_is_named_with_its_line() {
        let error = read("\n\nlistenPort=many").unwrap_err();
        let chain: Vec<String> = error.chain().map(ToString::to_string).collect();
        assert!(chain[0].ends_with("namesrv.conf:3"), "{chain:?}");
        assert_eq!(chain[1], "`listenPort` is `many`, which is no port");
    }
}
