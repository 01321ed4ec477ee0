//! The broker under test: a process of its own, started on a folder and killed.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

use crate::violation::Violation;

/// Longest time that a start, or an end in order, may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of the broker's log that a report shows.
const SAID_BYTES: usize = 4_000;

/// When an acknowledgement is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// When the page cache has the message.
    Async,
    /// When the disk has it.
    Sync,
}

impl Flush {
    /// The setting's value.
    pub fn name(self) -> &'static str {
        match self {
            Flush::Async => "ASYNC_FLUSH",
            Flush::Sync => "SYNC_FLUSH",
        }
    }
}

/// How a broker is started.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The program.
    pub apogee: PathBuf,
    /// Data folder.
    pub data: PathBuf,
    /// File for what the broker logs, added to with each start.
    pub log: PathBuf,
    /// Flush mode.
    pub flush: Flush,
    /// Size of a segment.
    pub segment_bytes: u64,
    /// Port for clients, and the one after it.
    pub port: u16,
}

/// A broker that was started.
pub struct Broker {
    process: Child,
    /// Its first line, which says that it is up.
    up: mpsc::Receiver<String>,
    log: PathBuf,
    address: SocketAddr,
}

/// Two neighbouring ports that were free a moment ago.
pub fn free_ports() -> anyhow::Result<u16> {
    for _ in 0..100 {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = first.local_addr()?.port();
        if port < u16::MAX && TcpListener::bind((Ipv4Addr::LOCALHOST, port + 1)).is_ok() {
            return Ok(port);
        }
    }
    anyhow::bail!("no two neighbouring ports are free")
}

impl Setup {
    /// Starts a broker; does not wait until it is up.
    pub fn start(&self) -> anyhow::Result<Broker> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let settings = [
            ("bindAddress", "127.0.0.1".to_owned()),
            ("brokerIP1", "127.0.0.1".to_owned()),
            ("brokerName", "killed".to_owned()),
            ("listenPort", self.port.to_string()),
            ("fastListenPort", (self.port + 1).to_string()),
            ("grpcServerPort", "0".to_owned()),
            ("flushDiskType", self.flush.name().to_owned()),
            ("mappedFileSizeCommitLog", self.segment_bytes.to_string()),
            // A segment must be able to take the largest message.
            ("maxMessageSize", (64 << 10).to_string()),
            // Nobody answers questions about half messages here, so none is asked.
            ("transactionTimeOut", (3_600_000).to_string()),
        ];
        let mut command = Command::new(&self.apogee);
        command.args(["broker", "--json", "--data-dir"]).arg(&self.data);
        command.args(settings.iter().flat_map(|(key, value)| ["--set".to_owned(), format!("{key}={value}")]));
        command.env_remove("NAMESRV_ADDR").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut process = command.spawn().with_context(|| format!("{} cannot be started", self.apogee.display()))?;
        let stdout = process.stdout.take().context("a process without output")?;
        let (sender, up) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            // Ends with the process at the latest; nobody may be listening any more by then.
            if BufReader::new(stdout).read_line(&mut line).is_ok_and(|size| size != 0) {
                let _ = sender.send(line);
            }
        });
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        Ok(Broker { process, up, log: self.log.clone(), address })
    }
}

impl Broker {
    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until it is up.
    pub fn wait_until_up(&mut self) -> Result<(), Violation> {
        match self.up.recv_timeout(PATIENCE) {
            Ok(_) => Ok(()),
            Err(mpsc::RecvTimeoutError::Timeout) => Err(self.down("does not come up")),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(self.down("does not start")),
        }
    }

    /// Waits for some time; says whether it is up within it.
    pub fn is_up_within(&mut self, time: Duration) -> bool {
        self.up.recv_timeout(time).is_ok()
    }

    /// Kills it as nothing can be caught or cleaned up. A broker that had ended by itself is a violation.
    pub fn kill(mut self) -> Result<(), Violation> {
        let ended = self.process.try_wait().ok().flatten();
        // Fails only when it is gone already, which was just looked at.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if ended.is_some() { Err(self.down("ended by itself")) } else { Ok(()) }
    }

    /// Asks it to end, and waits.
    pub fn stop(mut self) -> Result<(), Violation> {
        let asked = kill_process(Pid::from_child(&self.process), Signal::TERM);
        if asked.is_err() || !self.wait().is_some_and(|status| status.success()) {
            return Err(self.down("did not end in order when it was asked to"));
        }
        Ok(())
    }

    fn wait(&mut self) -> Option<ExitStatus> {
        let (_keep, never) = mpsc::channel::<()>();
        let step = Duration::from_millis(2);
        for _ in 0..PATIENCE.as_millis() / step.as_millis() {
            if let Some(status) = self.process.try_wait().ok().flatten() {
                return Some(status);
            }
            // The system offers no wait with an end, so it is asked from time to time.
            let _ = never.recv_timeout(step);
        }
        None
    }

    fn down(&self, what: &'static str) -> Violation {
        Violation::Down { what, said: last_words(&self.log) }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Already gone unless something else has failed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The end of a log.
fn last_words(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(SAID_BYTES)..]).into_owned()
}
