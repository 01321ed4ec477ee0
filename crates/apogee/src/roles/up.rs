//! `apogee up`: nameserver, broker and console in one process. They talk to each other over the network, as they would apart.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use broker::config::host::Host;
use broker::config::load::Loaded;
use broker::start::RunningBroker;
use clap::Args;
use client::{Admin, Connections, Nameservers};
use console::{RunningConsole, StartError};

use super::at_work::AtWork;
use super::console::{self as console_role, ConsoleFlags};
use super::nameserver::{DEFAULT_PORT, RunningNameserver, advise};
use super::nameserver_settings;
use super::role_lock::Role;
use super::stopping::StopSignal;
use super::{broker as broker_role, data_dir, open_files, run_as};
use crate::command_line::{Access, DEFAULT_NAMESERVER};
use crate::output;

/// Name of the broker when none is configured: that of every tutorial.
const BROKER_NAME: &str = "broker-a";

/// Time that the broker gets to register before we say that all is up.
const REGISTRATION_MAX: Duration = Duration::from_secs(5);
/// Time between two looks whether it has.
const REGISTRATION_POLL: Duration = Duration::from_millis(10);

/// Flags of `up`.
#[derive(Debug, Args)]
#[command(after_help = "\
Clients are told the advertised address and must reach it: 127.0.0.1 serves programs on this machine only.
-n adds nameservers: the broker registers with them too, and with the one that is started here in any case.

Examples:
  apogee up
  apogee up --data-dir /var/lib/apogee --advertise 10.4.7.71
  apogee up --nameserver-port 19876 --broker-port 20911")]
pub struct UpArguments {
    /// Folder of everything that is stored [default: ./data, unless the file has storePathRootDir]
    #[arg(long, short, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address that clients are told [default: 127.0.0.1, unless the file has brokerIP1]
    #[arg(long, visible_alias = "host", value_name = "IP")]
    advertise: Option<IpAddr>,
    /// Port of the nameserver
    #[arg(long, value_name = "PORT", default_value_t = DEFAULT_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    nameserver_port: u16,
    /// Port of the broker [default: 10911, unless the file has listenPort]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    broker_port: Option<u16>,
    /// Second port of the broker, for clients with the VIP channel [default: the broker's port minus 2]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    fast_port: Option<u16>,
    /// Port for gRPC clients, 0 for none [default: 8081, unless the file has grpcServerPort]
    #[arg(long, value_name = "PORT")]
    grpc_port: Option<u16>,
    /// Port of the web console, 0 for none [default: 8080, unless somebody else has it]
    #[arg(long, env = "APOGEE_CONSOLE_PORT", value_name = "PORT")]
    console_port: Option<u16>,
    #[command(flatten)]
    console: ConsoleFlags,
    /// Configuration of the broker: the broker.conf of a stock broker, or TOML
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl UpArguments {
    /// Flags as keys of broker.conf, which they go before.
    fn settings(&self, nameservers: String) -> Vec<(String, String)> {
        let mut settings = vec![("namesrvAddr".to_owned(), nameservers)];
        let flags = [
            ("storePathRootDir", self.data_dir.as_ref().map(|folder| folder.display().to_string())),
            ("brokerIP1", self.advertise.map(|ip| ip.to_string())),
            ("listenPort", self.broker_port.map(|port| port.to_string())),
            ("fastListenPort", self.fast_port.map(|port| port.to_string())),
            ("grpcServerPort", self.grpc_port.map(|port| port.to_string())),
        ];
        settings.extend(flags.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
        settings
    }
}

/// Runs all until a signal comes.
pub fn run(arguments: &UpArguments, access: &Access) -> anyhow::Result<ExitCode> {
    open_files::raise_limit();
    let loaded = settings(arguments, access)?;
    let signal = StopSignal::listen()?;
    let names = nameserver_settings::load(&nameserver_settings::Sources {
        file: None,
        environment: &std::env::vars().collect::<Vec<_>>(),
        command_line: &[("listenPort", arguments.nameserver_port.to_string())],
        data_dir: &loaded.config.data_dir,
    })
    .context("the nameserver's settings are wrong")?;
    names.comment();
    let nameserver = RunningNameserver::start(names.config).map_err(|error| advise(error, "--nameserver-port"))?;
    let broker = match start_broker(loaded) {
        Ok(broker) => broker,
        Err(error) => {
            nameserver.stop();
            return Err(error);
        }
    };
    broker.broker.exporter.add_all_of(&nameserver.exporter);
    let console = start_console(arguments, &broker.broker);
    let address = console.as_ref().ok().and_then(Option::as_ref).map(|console| console.address);
    let console_at_work = address.map(|address| AtWork::note(Role::Console, address));
    let announced = console.as_ref().map_err(|error| anyhow::anyhow!("{error:#}")).and_then(|console| {
        wait_until_registered(arguments.nameserver_port)?;
        Ok(announce(&nameserver, &broker.broker, console.as_ref(), arguments.nameserver_port, access)?)
    });
    if announced.is_ok() {
        signal.wait();
    }
    drop((console_at_work, console));
    broker.stop();
    nameserver.stop();
    announced?;
    Ok(ExitCode::SUCCESS)
}

fn settings(arguments: &UpArguments, access: &Access) -> anyhow::Result<Loaded> {
    let own = own_address(arguments.nameserver_port);
    let others = access.nameservers.iter().map(|others| format!(";{others}"));
    let settings = arguments.settings(std::iter::once(own).chain(others).collect());
    let host =
        Host { name: BROKER_NAME.to_owned(), address: Ipv4Addr::LOCALHOST.into(), data_dir: data_dir::default().path };
    let loaded = broker_role::settings(arguments.config.as_ref(), &settings, &host)?;
    run_as::give_up_root(&loaded.config.data_dir)?;
    if arguments.config.is_some() {
        broker_role::comment(&loaded);
    }
    Ok(loaded)
}

fn start_broker(loaded: Loaded) -> anyhow::Result<broker_role::Running> {
    broker_role::start(loaded, |key| match key {
        "fastListenPort" => "--fast-port, or fastListenPort in the file".to_owned(),
        "grpcServerPort" => "--grpc-port, or grpcServerPort in the file".to_owned(),
        _ => "--broker-port, or listenPort in the file".to_owned(),
    })
}

/// Starts the console, unless it is not wanted. That 8080 is taken keeps nobody from a broker, unless the port was
/// asked for.
fn start_console(arguments: &UpArguments, broker: &RunningBroker) -> anyhow::Result<Option<RunningConsole>> {
    let port = arguments.console_port.unwrap_or(console::DEFAULT_PORT);
    if port == 0 {
        return Ok(None);
    }
    let config = &broker.broker.config;
    let nameserver = own_address(arguments.nameserver_port);
    let is_public = !config.advertised_ip.is_loopback();
    let mut settings = console_role::settings(&arguments.console, port, &nameserver, &config.data_dir, is_public)?;
    settings.metrics = broker.exporter.clone();
    match console_role::start(settings) {
        Ok(running) => Ok(Some(running)),
        Err(error @ StartError::Listen(_)) if arguments.console_port.is_none() => {
            tracing::warn!("no console: {error} (another port: --console-port)");
            Ok(None)
        }
        Err(error @ StartError::Listen(_)) => {
            Err(anyhow::Error::from(error).context("the console cannot start (another port: --console-port)"))
        }
        Err(error) => Err(anyhow::Error::from(error).context("the console cannot start")),
    }
}

/// Waits until the nameserver knows the broker, so that the first command finds it.
fn wait_until_registered(nameserver_port: u16) -> anyhow::Result<()> {
    let admin = Admin::new(Nameservers::parse(&own_address(nameserver_port), Connections::default())?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let registered = runtime.block_on(async {
        let polling = async {
            let mut ticks = tokio::time::interval(REGISTRATION_POLL);
            while admin.masters().await.is_err() {
                ticks.tick().await;
            }
        };
        tokio::time::timeout(REGISTRATION_MAX, polling).await
    });
    if registered.is_err() {
        tracing::warn!("the broker has not registered with the nameserver yet");
    }
    Ok(())
}

/// The nameserver's address, for this machine.
fn own_address(nameserver_port: u16) -> String {
    format!("127.0.0.1:{nameserver_port}")
}

fn announce(
    nameserver: &RunningNameserver,
    broker: &RunningBroker,
    console: Option<&RunningConsole>,
    nameserver_port: u16,
    access: &Access,
) -> std::io::Result<()> {
    let config = &broker.broker.config;
    let told = broker.broker.store_host;
    if access.json {
        return output::json(&serde_json::json!({
            "nameserver": nameserver.address,
            "broker": { "name": config.broker_name, "address": told,
                "listens": [broker.address, broker.fast_address], "grpc": broker.grpc_address },
            "console": console.map(|console| console.address),
            "console_password": console.and_then(|console| console.first_password.as_ref()),
            "data_dir": config.data_dir,
        }));
    }
    let own = own_address(nameserver_port);
    let flag = if own == DEFAULT_NAMESERVER { String::new() } else { format!(" -n {own}") };
    output::line(&format!("apogee {} is up", env!("CARGO_PKG_VERSION")))?;
    output::line(&format!("  nameserver  {}", nameserver.address))?;
    output::line(&format!("  broker      {} and {}", broker.address, broker.fast_address.port()))?;
    if let Some(grpc) = broker.grpc_address {
        output::line(&format!("  gRPC        {grpc}, with and without TLS"))?;
    }
    if let Some(console) = console {
        console_role::announce(console)?;
    }
    output::line(&format!("  advertised  {told}{}", only_here(config.advertised_ip)))?;
    output::line(&format!("  data        {}; {}", config.data_dir.display(), broker.recovery))?;
    output::line("try, in another terminal:")?;
    output::line(&format!("  apogee consume greetings --follow{flag}"))?;
    output::line(&format!("  apogee send greetings 'hello'{flag}"))?;
    output::line("stop with Ctrl-C")
}

/// Clients elsewhere are told an address that means their own machine.
fn only_here(advertised: IpAddr) -> String {
    if !advertised.is_loopback() {
        return String::new();
    }
    match Host::of_this_machine(PathBuf::new()).address {
        address if address.is_loopback() => ", for programs on this machine only".to_owned(),
        address => format!(", for programs on this machine only; for others: --advertise {address}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_keys_only_where_they_were_given() {
        let mut arguments = UpArguments {
            data_dir: None,
            advertise: None,
            nameserver_port: 9876,
            broker_port: None,
            fast_port: None,
            grpc_port: None,
            console_port: None,
            console: ConsoleFlags::default(),
            config: None,
        };
        let keys = |arguments: &UpArguments| -> Vec<String> {
            arguments.settings("n:1".into()).into_iter().map(|(key, value)| format!("{key}={value}")).collect()
        };
        assert_eq!(keys(&arguments), ["namesrvAddr=n:1"]);
        arguments.data_dir = Some("d".into());
        arguments.broker_port = Some(20911);
        arguments.advertise = Some([10, 4, 7, 71].into());
        assert_eq!(keys(&arguments)[1..], ["storePathRootDir=d", "brokerIP1=10.4.7.71", "listenPort=20911"]);
    }
}
