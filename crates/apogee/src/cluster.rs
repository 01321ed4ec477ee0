//! How commands that talk to a cluster run.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use client::{Admin, Connections, Nameservers};

use crate::command_line::Access;
use crate::mqadmin::times::duration_ms;

/// Makes a terminal empty and begins at its top.
const CLEAR: &[u8] = b"\x1b[H\x1b[2J";

/// Runs a command to its end; again and again when it is to be watched.
pub fn run(access: &Access, command: impl AsyncFn() -> anyhow::Result<()>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        let Some(interval) = access.watch else { return command().await };
        loop {
            if io::stdout().is_terminal() {
                io::stdout().lock().write_all(CLEAR)?;
            }
            command().await?;
            tokio::time::sleep(interval).await;
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Runs a command that changes something, or that ends when it has seen enough: once.
pub fn run_once(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<ExitCode> {
    run_to_code(async { command.await.map(|()| ExitCode::SUCCESS) })
}

/// Runs a command that chooses its exit status.
pub fn run_to_code(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(command)
}

/// Reads the interval of `--watch`.
pub fn interval(text: &str) -> Result<Duration, String> {
    let ms = duration_ms(text).and_then(|ms| u64::try_from(ms).ok()).filter(|ms| *ms >= 100);
    ms.map(Duration::from_millis).ok_or_else(|| format!("`{text}` is no interval of at least 100ms, such as 2s"))
}

/// The nameservers that the flags name.
pub fn nameservers(access: &Access) -> anyhow::Result<Nameservers> {
    Nameservers::parse(&access.nameservers(), Connections::default()).context("flag --namesrv")
}

/// Administers the cluster that the flags name.
pub fn admin(access: &Access) -> anyhow::Result<Admin> {
    Ok(Admin::new(nameservers(access)?))
}
