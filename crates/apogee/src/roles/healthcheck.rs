//! `apogee healthcheck`: whether a server of this machine answers, for container engines.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use net::Channel;
use protocol::codes::{RequestCode, ResponseCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::at_work;
use super::nameserver::DEFAULT_PORT;
use super::role_lock::Role;
use crate::command_line::Access;
use crate::output;

/// Port of a broker when none is configured.
const BROKER_PORT: u16 = 10911;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Server {
    /// Takes and hands out messages
    Broker,
    /// Knows where topics are
    #[value(alias = "namesrv")]
    Nameserver,
    /// Shows it all
    Console,
}

/// Flags of `healthcheck`.
#[derive(Debug, Args)]
#[command(after_help = "\
Asks servers on this machine and ends with status 0 if each answers in time that it works. Without a name it asks
all that were started by this user.

Examples:
  apogee healthcheck
  apogee healthcheck broker
  apogee healthcheck nameserver --port 9877")]
pub struct HealthcheckArguments {
    /// What to ask [default: everything that runs]
    server: Option<Server>,
    /// Its port [default: 10911 of a broker, 9876 of a nameserver, 8080 of a console]
    #[arg(long, requires = "server")]
    port: Option<u16>,
    /// Longest time for connecting, and for the answer, in milliseconds
    #[arg(long, default_value_t = 3000, value_name = "MS")]
    timeout: u64,
}

/// Asks, and says what came.
pub async fn run(arguments: &HealthcheckArguments, access: &Access) -> anyhow::Result<ExitCode> {
    let asked = match arguments.server {
        Some(Server::Broker) => vec![(Role::Broker, arguments.port.unwrap_or(BROKER_PORT))],
        Some(Server::Nameserver) => vec![(Role::Nameserver, arguments.port.unwrap_or(DEFAULT_PORT))],
        Some(Server::Console) => vec![(Role::Console, arguments.port.unwrap_or(console::DEFAULT_PORT))],
        None => at_work::all(),
    };
    if asked.is_empty() {
        bail!("no server of this user runs on this machine");
    }
    let patience = Duration::from_millis(arguments.timeout);
    for (role, port) in asked {
        let (address, name) = (format!("127.0.0.1:{port}"), role.name());
        ask(role, &address, patience).await.with_context(|| format!("the {name} at {address} is not ready"))?;
        match access.json {
            true => output::json(&serde_json::json!({ "server": name, "address": address, "ready": true }))?,
            false => output::line(&format!("the {name} at {address} is ready"))?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn ask(role: Role, address: &str, patience: Duration) -> anyhow::Result<()> {
    let code = match role {
        Role::Broker => RequestCode::GET_BROKER_RUNTIME_INFO,
        Role::Nameserver => RequestCode::GET_NAMESRV_CONFIG,
        Role::Console => return ask_console(address, patience).await,
    };
    let channel = Channel::connect(address, patience).await?;
    let answer = channel.call(code, |frame| frame, b"", patience).await?;
    if answer.code != ResponseCode::SUCCESS {
        bail!("it answers with code {}", answer.code.0);
    }
    Ok(())
}

/// A console that reaches no broker shows why, and so does its work.
async fn ask_console(address: &str, patience: Duration) -> anyhow::Result<()> {
    let answered = tokio::time::timeout(patience, async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(format!("GET /livez HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(4096).read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    });
    let answer = answered.await.context("no reply in time")??;
    let status = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
    match status.split(' ').nth(1) {
        Some("200") => Ok(()),
        _ => bail!("it answers `{status}`"),
    }
}
