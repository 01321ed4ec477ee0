//! `apogee shutdown`, and `mqshutdown` by its call name: asks a server of this machine to stop.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use broker::config::host::Host;
use clap::{Args, ValueEnum};
use rustix::process::{Pid, Signal, kill_process};

use super::nameserver::kv_path;
use super::role_lock::{Role, holder};
use super::{broker as broker_role, data_dir};
use crate::output;

/// What to stop, under the names of the stock scripts.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Server {
    /// A broker
    Broker,
    /// A nameserver
    #[value(alias = "nameserver")]
    Namesrv,
}

/// Flags of `shutdown`.
#[derive(Debug, Args)]
#[command(after_help = "Example: apogee shutdown broker -c broker.conf")]
pub struct ShutdownArguments {
    /// What to stop
    server: Server,
    /// Data folder of the server, if it has another than the configured one
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Configuration of the broker
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Sends the signal. The words are those of the stock script, which others look for.
pub fn run(arguments: &ShutdownArguments) -> anyhow::Result<ExitCode> {
    let folder = match &arguments.data_dir {
        Some(folder) => folder.clone(),
        None => {
            let host = Host::of_this_machine(data_dir::default().path);
            broker_role::settings(arguments.config.as_ref(), &[], &host)?.config.data_dir
        }
    };
    let (role, folder, name) = match arguments.server {
        Server::Broker => (Role::Broker, folder, "mqbroker"),
        Server::Namesrv => (Role::Nameserver, kv_path(&folder).with_file_name(""), "mqnamesrv"),
    };
    let running = holder(&folder, role).with_context(|| format!("folder {} cannot be looked at", folder.display()))?;
    let Some(id) = running else {
        output::line(&format!("No {name} running."))?;
        return Ok(ExitCode::FAILURE);
    };
    output::line(&format!("The {name}({id}) is running..."))?;
    let process = Pid::from_raw(id).with_context(|| format!("{id} is no process"))?;
    kill_process(process, Signal::TERM).with_context(|| format!("process {id} cannot be signalled"))?;
    output::line(&format!("Send shutdown request to {name}({id}) OK"))?;
    Ok(ExitCode::SUCCESS)
}
