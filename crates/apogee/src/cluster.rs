//! How commands that talk to a cluster run.

use std::process::ExitCode;

use anyhow::Context;
use client::{Admin, Connections, Nameservers};

use crate::command_line::Access;

/// Runs a command to its end.
pub fn run(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(command)?;
    Ok(ExitCode::SUCCESS)
}

/// The nameservers that the flags name.
pub fn nameservers(access: &Access) -> anyhow::Result<Nameservers> {
    Nameservers::parse(&access.nameservers(), Connections::default()).context("flag --namesrv")
}

/// Administers the cluster that the flags name.
pub fn admin(access: &Access) -> anyhow::Result<Admin> {
    Ok(Admin::new(nameservers(access)?))
}
