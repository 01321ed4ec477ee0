//! How stock brokers read old messages. Apogee does not hold such reads back: it refuses requests to change it.

use clap::Args;
use client::Admin;
use serde_json::json;

use super::print::{Out, pretty};
use super::targets::{Target, on_each};

/// Options of `getColdDataFlowCtrInfo`.
#[derive(Debug, Args)]
pub struct GetColdDataFlowCtrInfo {
    #[command(flatten)]
    target: Target,
}

impl GetColdDataFlowCtrInfo {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let addresses = self.target.addresses(admin).await?;
        on_each(&addresses, async |address: &str| {
            let info = admin.cold_reads(address).await?;
            let text = format!(" ============{address}============\n{}", pretty(&info));
            out.row(json!({ "broker": address, "info": info }), text);
            Ok(())
        })
        .await
    }
}

/// Options of `updateColdDataFlowCtrGroupConfig`.
#[derive(Debug, Args)]
pub struct UpdateColdDataFlowCtrGroupConfig {
    #[command(flatten)]
    target: Target,
    /// Group
    #[arg(short, long = "consumerGroup")]
    group: String,
    /// Bytes
    #[arg(short = 'v', long)]
    threshold: i64,
}

impl UpdateColdDataFlowCtrGroupConfig {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let (group, threshold) = (self.group.trim(), self.threshold);
        let addresses = self.target.addresses(admin).await?;
        on_each(&addresses, async |address: &str| {
            admin.limit_cold_reads(address, group, threshold).await?;
            let text = format!("updateColdDataFlowCtrGroupConfig success, {address}");
            out.row(json!({ "broker": address, "group": group, "threshold": threshold }), text);
            Ok(())
        })
        .await
    }
}

/// Options of `removeColdDataFlowCtrGroupConfig`.
#[derive(Debug, Args)]
pub struct RemoveColdDataFlowCtrGroupConfig {
    #[command(flatten)]
    target: Target,
    /// Group
    #[arg(short, long = "consumerGroup")]
    group: String,
}

impl RemoveColdDataFlowCtrGroupConfig {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let group = self.group.trim();
        let addresses = self.target.addresses(admin).await?;
        on_each(&addresses, async |address: &str| {
            admin.unlimit_cold_reads(address, group).await?;
            let text = format!("remove broker cold read threshold success, {address}");
            out.row(json!({ "broker": address, "group": group }), text);
            Ok(())
        })
        .await
    }
}

/// Options of `setCommitLogReadAheadMode`.
#[derive(Debug, Args)]
pub struct SetCommitLogReadAheadMode {
    #[command(flatten)]
    target: Target,
    /// 0 normal, 1 random
    #[arg(short, long = "commitLogReadAheadMode", value_parser = clap::value_parser!(i32).range(0..=1))]
    mode: i32,
}

impl SetCommitLogReadAheadMode {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let addresses = self.target.addresses(admin).await?;
        on_each(&addresses, async |address: &str| {
            let said = admin.set_read_ahead(address, self.mode).await?;
            let text = format!(" ============{address}============\n{said}");
            out.row(json!({ "broker": address, "mode": self.mode }), text);
            Ok(())
        })
        .await
    }
}
