//! `apogee broker`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use broker::config::change::Changed;
use broker::config::host::Host;
use broker::config::load::{Loaded, Sources, load};
use broker::config::print;
use broker::reconfigure::{self, Reloaded};
use broker::start::{self, RunningBroker, StartError};
use clap::Args;

use super::at_work::AtWork;
use super::java_options::JavaOptions;
use super::role_lock::{Role, RoleLock};
use super::stopping::StopSignal;
use super::{data_dir, open_files, run_as, settings_json, variables};
use crate::command_line::Access;
use crate::output;
use crate::topic::name_and_value;
use crate::zone;

/// Flags of `broker`.
#[derive(Debug, Args)]
#[command(after_help = "\
Settings come from, each before the next: flags, variables that start with APOGEE_, the file, NAMESRV_ADDR.

Examples:
  apogee broker -c broker.conf -n '10.0.0.1:9876;10.0.0.2:9876'
  apogee broker -c broker.conf --print-config
  apogee broker --set brokerIP1=10.0.0.7 --set flushDiskType=SYNC_FLUSH")]
pub struct BrokerArguments {
    /// Configuration: the broker.conf of a stock broker, or TOML
    #[arg(long, short, alias = "configFile", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of everything that is stored; otherwise the file's storePathRootDir, or ./data
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Set a key of broker.conf; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = name_and_value)]
    settings: Vec<(String, String)>,
    /// Print every setting and where it comes from, and end
    #[arg(long, short, alias = "printConfigItem")]
    print_config: bool,
    /// Print the settings that differ from their defaults, and end
    #[arg(long, short = 'm', alias = "printImportantConfig")]
    print_important_config: bool,
    /// Taken from scripts: gRPC clients are served in any case
    #[arg(long, hide = true)]
    enable_proxy: bool,
    /// Taken from scripts, without effect
    #[arg(long, hide = true, value_name = "FILE")]
    proxy_config: Option<PathBuf>,
    /// Print what every setting means, and end
    #[arg(long)]
    explain_config: bool,
}

/// Loads settings from all sources.
pub fn settings(file: Option<&PathBuf>, command_line: &[(String, String)], host: &Host) -> anyhow::Result<Loaded> {
    let environment = variables::of_broker();
    let sources = Sources { file: file.map(PathBuf::as_path), environment: &environment, command_line };
    load(&sources, host).context("the broker's settings are wrong")
}

/// Says what the operator should know about the settings.
pub fn comment(loaded: &Loaded) {
    for note in loaded.report.notes() {
        tracing::info!("{note}");
    }
    for alert in loaded.report.alerts() {
        tracing::warn!("{alert}");
    }
}

/// A broker that runs, in a folder that is its own.
pub struct Running {
    /// The broker.
    pub broker: RunningBroker,
    at_work: AtWork,
    lock: RoleLock,
}

impl Running {
    /// Stops it, and then gives the folder back.
    pub fn stop(self) {
        drop(self.at_work);
        self.broker.stop();
        drop(self.lock);
    }
}

/// Starts a broker; an error about a port names `port_flag`, with which another one is chosen.
pub fn start(mut loaded: Loaded, port_flag: fn(&str) -> String) -> anyhow::Result<Running> {
    match zone::of_process() {
        Ok(zone) => loaded.config.zone = zone,
        Err(error) => tracing::warn!("{error}"),
    }
    loaded.config.cached_bytes_max = JavaOptions::of_environment().heap_bytes();
    let lock = RoleLock::take(&loaded.config.data_dir, Role::Broker).context("the broker cannot start")?;
    let broker = start::start(loaded.config).map_err(|error| {
        let advice = match &error {
            StartError::Listen { flag, .. } => format!("the broker cannot start (another port: {})", port_flag(flag)),
            _ => "the broker cannot start".to_owned(),
        };
        anyhow::Error::from(error).context(advice)
    })?;
    let at_work = AtWork::note(Role::Broker, broker.address);
    Ok(Running { broker, at_work, lock })
}

/// Runs a broker until a signal comes.
pub fn run(arguments: &BrokerArguments, access: &Access) -> anyhow::Result<ExitCode> {
    if arguments.explain_config {
        match access.json {
            true => output::json(&settings_json::explained())?,
            false => output::line(print::help().trim_end())?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    open_files::raise_limit();
    let mut command_line = arguments.settings.clone();
    if let Some(folder) = &arguments.data_dir {
        command_line.push(("storePathRootDir".into(), folder.display().to_string()));
    }
    if let Some(nameservers) = &access.nameservers {
        command_line.push(("namesrvAddr".into(), nameservers.clone()));
    }
    let folder = data_dir::default();
    let host = Host::of_this_machine(folder.path);
    let loaded = settings(arguments.config.as_ref(), &command_line, &host)?;
    if arguments.print_important_config {
        output::line(print::print_changed(&loaded).trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.print_config {
        match access.json {
            true => output::json(&settings_json::in_force(&loaded))?,
            false => output::line(print::print_config(&loaded).trim_end())?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    run_as::give_up_root(&loaded.config.data_dir)?;
    comment(&loaded);
    if let Some(reason) =
        folder.reason.filter(|_| loaded.report.origins.get("storePathRootDir").is_some_and(|place| place == "default"))
    {
        tracing::info!("data folder is {}: {reason}", loaded.config.data_dir.display());
    }
    if arguments.proxy_config.is_some() {
        tracing::info!("--proxy-config has no effect: gRPC clients are served by the broker itself");
    }
    // Without a file there is nothing to look at again, and the end of a terminal ends the broker.
    let signal = match &arguments.config {
        Some(_) => StopSignal::listen_with_reload()?,
        None => StopSignal::listen()?,
    };
    let running = start(loaded, |key| format!("{key} in the file, or --set {key}=…"))?;
    let announced = announce(&running.broker, access);
    if announced.is_ok() {
        signal.wait_or(|| reload(&running.broker, settings(arguments.config.as_ref(), &command_line, &host)));
    }
    running.stop();
    announced?;
    Ok(ExitCode::SUCCESS)
}

/// Takes over what can change while the broker runs, and says what cannot.
fn reload(running: &RunningBroker, loaded: anyhow::Result<Loaded>) {
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(error) => return tracing::error!("nothing is changed on SIGHUP: {error:#}"),
    };
    comment(&loaded);
    let Reloaded { changed, at_start } = reconfigure::reload(&running.broker, &loaded.config);
    for Changed { key, before, now } in &changed {
        tracing::info!("`{key}` is `{now}` from now on; it was `{before}`");
    }
    if !at_start.is_empty() {
        tracing::warn!("these keys count only after a start: {}", at_start.join(", "));
    }
    if changed.is_empty() && at_start.is_empty() {
        tracing::info!("SIGHUP: the settings are as they were");
    }
}

fn announce(running: &RunningBroker, access: &Access) -> std::io::Result<()> {
    let config = &running.broker.config;
    let (name, address) = (&config.broker_name, running.broker.store_host);
    tracing::info!("{}", running.recovery);
    if access.json {
        return output::json(&serde_json::json!({
            "broker": name,
            "address": address,
            "listens": [running.address, running.fast_address],
            "grpc": running.grpc_address,
            "metrics": running.metrics_address,
            "nameservers": config.nameservers,
            "data_dir": config.data_dir,
        }));
    }
    let nameservers = match config.nameservers.is_empty() {
        true => String::new(),
        false => format!(" and name server is {}", config.nameservers.join(";")),
    };
    output::line(&format!("The broker[{name}, {address}] boot success. serializeType=JSON{nameservers}"))?;
    match running.grpc_address {
        Some(grpc) => output::line(&format!("gRPC clients are served on {grpc}, with and without TLS")),
        None => Ok(()),
    }
}
