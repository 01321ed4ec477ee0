//! A nameserver, a broker and a console of the release binary, each a process of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::patience::{until, within};

/// Password of the console's first user.
pub const PASSWORD: &str = "correct horse battery";

/// The processes; all of them are killed when this is dropped.
pub struct Cluster {
    apogee: PathBuf,
    folder: PathBuf,
    nameserver: String,
    broker_port: u16,
    broker: Child,
    /// Where the console listens.
    pub console: SocketAddr,
    _others: [Child; 2],
}

impl Cluster {
    /// Starts all three on ports of their own, with their data below `folder`, and waits until the console finds the
    /// broker.
    pub async fn start(apogee: &Path, folder: &Path) -> anyhow::Result<Cluster> {
        let [nameserver_port, console_port, broker_port] = free_ports()?;
        let nameserver = format!("127.0.0.1:{nameserver_port}");
        let (port, loopback) =
            (nameserver_port.to_string(), format!("bindAddress=127.0.0.1\nlistenPort={nameserver_port}\n"));
        std::fs::write(folder.join("namesrv.conf"), loopback)?;
        let mut command = Command::new(apogee);
        command.args(["nameserver", "--port", &port, "-c"]).arg(folder.join("namesrv.conf"));
        command.arg("--data-dir").arg(folder.join("nameserver"));
        let namesrv = start(command, folder, "nameserver").await?;
        let broker = start_broker(apogee, folder, &nameserver, broker_port).await?;
        let mut command = Command::new(apogee);
        command.args([
            "console",
            "-n",
            &nameserver,
            "--console-listen",
            "127.0.0.1",
            "--port",
            &console_port.to_string(),
        ]);
        command.arg("--data-dir").arg(folder.join("console")).env("APOGEE_CONSOLE_PASSWORD", PASSWORD);
        let console = start(command, folder, "console").await?;
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, console_port));
        let cluster = Cluster {
            apogee: apogee.to_owned(),
            folder: folder.to_owned(),
            nameserver,
            broker_port,
            broker,
            console: at,
            _others: [namesrv, console],
        };
        until("the console finds the broker", async || is_ready(at).await).await?;
        Ok(cluster)
    }

    /// Runs the command line against this cluster and gives back what it printed.
    pub async fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(&self.apogee);
        command.args(arguments).args(["-n", &self.nameserver]);
        output(command, &format!("apogee {}", arguments.join(" "))).await
    }

    /// Runs a line that a page offers for copying, in a shell that finds the binary.
    pub async fn run_line(&self, line: &str) -> anyhow::Result<String> {
        let mut path = self.apogee.parent().map(Path::to_owned).unwrap_or_default().into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut command = Command::new("sh");
        command.args(["-c", line]).env("PATH", path);
        output(command, line).await
    }

    /// Sends one message and gives back what the command line tells about it.
    pub async fn send(&self, topic: &str, body: &str, more: &[&str]) -> anyhow::Result<Value> {
        let mut arguments = vec!["send", topic, body, "--json"];
        arguments.extend_from_slice(more);
        Ok(serde_json::from_str(&self.run(&arguments).await?)?)
    }

    /// Makes a dead letter out of a message, as a consumer that gives it up does.
    pub async fn give_up(&self, group: &str, topic: &str, sent: &Value) -> anyhow::Result<()> {
        let id = sent["offset_message_id"].as_str().context("no id")?;
        let position = i64::from_str_radix(id.get(16..).context("a short id")?, 16)?;
        let fields = json!({
            "group": group, "offset": position.to_string(), "delayLevel": "-1", "maxReconsumeTimes": "0",
            "originMsgId": sent["message_id"], "originTopic": topic, "unitMode": "false",
        });
        let header = json!({
            "code": 36, "language": "JAVA", "version": 453, "opaque": 1, "flag": 0,
            "serializeTypeCurrentRPC": "JSON", "extFields": fields,
        });
        let answer = within("an answer of the broker", self.ask(&header)).await?;
        ensure!(answer["code"] == 0, "the broker did not take the message back: {answer}");
        Ok(())
    }

    async fn ask(&self, header: &Value) -> anyhow::Result<Value> {
        let header = header.to_string();
        let size = header.len() as u32;
        let mut frame = (size + 4).to_be_bytes().to_vec();
        frame.extend_from_slice(&size.to_be_bytes());
        frame.extend_from_slice(header.as_bytes());
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.broker_port)).await?;
        stream.write_all(&frame).await?;
        let size = stream.read_u32().await?;
        let header_size = stream.read_u32().await? & 0x00ff_ffff;
        ensure!(header_size < size && size < 1 << 20, "an answer of {size} bytes with a header of {header_size}");
        let mut header = vec![0; header_size as usize];
        stream.read_exact(&mut header).await?;
        Ok(serde_json::from_slice(&header)?)
    }

    /// Makes the broker stand still, with its connections open, as a machine does that is out of memory; or go on.
    pub fn freeze_broker(&self, stands: bool) -> anyhow::Result<()> {
        let id = self.broker.id().and_then(|id| Pid::from_raw(id as i32)).context("the broker has ended")?;
        Ok(kill_process(id, if stands { Signal::STOP } else { Signal::CONT })?)
    }

    /// Kills the broker, as a crash would.
    pub async fn kill_broker(&mut self) -> anyhow::Result<()> {
        self.broker.kill().await.context("the broker cannot be killed")
    }

    /// Starts the broker again on its data and its port.
    pub async fn restart_broker(&mut self) -> anyhow::Result<()> {
        self.broker = start_broker(&self.apogee, &self.folder, &self.nameserver, self.broker_port).await?;
        Ok(())
    }
}

async fn start_broker(apogee: &Path, folder: &Path, nameserver: &str, port: u16) -> anyhow::Result<Child> {
    let mut command = Command::new(apogee);
    command.args(["broker", "-n", nameserver, "--data-dir"]).arg(folder.join("broker"));
    for setting in ["brokerIP1=127.0.0.1", "bindAddress=127.0.0.1", "brokerName=broker-a", "grpcServerPort=0"] {
        command.args(["--set", setting]);
    }
    command.args(["--set", &format!("listenPort={port}"), "--set", &format!("fastListenPort={}", port + 1)]);
    start(command, folder, "broker").await
}

async fn start(mut command: Command, folder: &Path, name: &str) -> anyhow::Result<Child> {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join(format!("{name}.log")))?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
    // What the surroundings say about other clusters is not for these.
    for variable in ["NAMESRV_ADDR", "JAVA_OPTS", "JAVA_OPT_EXT"] {
        command.env_remove(variable);
    }
    command.spawn().with_context(|| format!("the {name} does not start"))
}

async fn output(mut command: Command, line: &str) -> anyhow::Result<String> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = within(line, async { Ok(command.output().await?) }).await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{line}` failed ({}): {said}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// Whether the console says that a broker answers it.
async fn is_ready(console: SocketAddr) -> anyhow::Result<bool> {
    let Ok(mut stream) = TcpStream::connect(console).await else { return Ok(false) };
    let request = format!("GET /readyz HTTP/1.1\r\nhost: {console}\r\nconnection: close\r\n\r\n");
    if stream.write_all(request.as_bytes()).await.is_err() {
        return Ok(false);
    }
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer).await;
    Ok(read.is_ok() && answer.starts_with(b"HTTP/1.1 200"))
}

/// Ports that were free a moment ago; the one after the last is free, too.
fn free_ports() -> anyhow::Result<[u16; 3]> {
    for _ in 0..100 {
        let kept: Vec<TcpListener> =
            (0..3).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<_, _>>()?;
        let ports: Vec<u16> = kept.iter().map(|one| Ok(one.local_addr()?.port())).collect::<anyhow::Result<_>>()?;
        let after = ports[2].checked_add(1);
        if after.is_some_and(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()) {
            return Ok([ports[0], ports[1], ports[2]]);
        }
    }
    anyhow::bail!("no free ports")
}
