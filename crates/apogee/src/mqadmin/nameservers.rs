//! Nameservers: their settings, the KV table, and which brokers take messages.

use clap::Args;
use client::Admin;
use serde_json::json;

use super::brokers::print_settings;
use super::print::Out;
use super::targets::on_each;

/// Options of `getNamesrvConfig`.
#[derive(Debug, Args)]
pub struct GetNamesrvConfig {}

impl GetNamesrvConfig {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        on_each(admin.nameservers().addresses(), async |address: &str| {
            print_settings(address, &admin.nameserver_settings(address).await?, out);
            Ok(())
        })
        .await
    }
}

/// Options of `updateNamesrvConfig`.
#[derive(Debug, Args)]
pub struct UpdateNamesrvConfig {
    /// Key
    #[arg(short, long)]
    key: String,
    /// Value
    #[arg(short, long, allow_hyphen_values = true)]
    value: String,
}

impl UpdateNamesrvConfig {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let (key, value) = (self.key.trim(), self.value.trim());
        let addresses = admin.nameservers().addresses();
        on_each(addresses, async |address: &str| {
            admin.set_nameserver_setting(address, key, value).await?;
            out.value(json!({ "nameserver": address, "key": key, "value": value }));
            Ok(())
        })
        .await?;
        out.line(format!("update name server config success![{}]", addresses.join(", ")));
        out.line(format!("{key} : {value}"));
        Ok(())
    }
}

/// Options of `updateKvConfig`.
#[derive(Debug, Args)]
pub struct UpdateKvConfig {
    /// Namespace
    #[arg(short = 's', long)]
    namespace: String,
    /// Key
    #[arg(short, long)]
    key: String,
    /// Value
    #[arg(short, long, allow_hyphen_values = true)]
    value: String,
}

impl UpdateKvConfig {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let (namespace, key, value) = (self.namespace.trim(), self.key.trim(), self.value.trim());
        admin.put_kv(namespace, key, value).await?;
        let fact = json!({ "namespace": namespace, "key": key, "value": value });
        out.row(fact, "create or update kv config to namespace success.");
        Ok(())
    }
}

/// Options of `deleteKvConfig`.
#[derive(Debug, Args)]
pub struct DeleteKvConfig {
    /// Namespace
    #[arg(short = 's', long)]
    namespace: String,
    /// Key
    #[arg(short, long)]
    key: String,
}

impl DeleteKvConfig {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let (namespace, key) = (self.namespace.trim(), self.key.trim());
        admin.delete_kv(namespace, key).await?;
        out.row(json!({ "namespace": namespace, "key": key }), "delete kv config from namespace success.");
        Ok(())
    }
}

/// Options of `wipeWritePerm`.
#[derive(Debug, Args)]
pub struct WipeWritePerm {
    /// Broker name
    #[arg(short, long = "brokerName")]
    pub broker: String,
}

impl WipeWritePerm {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let broker = self.broker.trim();
        on_each(admin.nameservers().addresses(), async |address: &str| {
            let topics = admin.wipe_write_perm(address, broker).await?;
            let text = format!("wipe write perm of broker[{broker}] in name server[{address}] OK, {topics}");
            out.row(json!({ "broker": broker, "nameserver": address, "topics": topics }), text);
            Ok(())
        })
        .await
    }
}

/// Options of `addWritePerm`.
#[derive(Debug, Args)]
pub struct AddWritePerm {
    /// Broker name
    #[arg(short, long = "brokerName")]
    pub broker: String,
}

impl AddWritePerm {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let broker = self.broker.trim();
        on_each(admin.nameservers().addresses(), async |address: &str| {
            let topics = admin.add_write_perm(address, broker).await?;
            let text = format!("add write perm of broker[{broker}] in name server[{address}] OK, {topics}");
            out.row(json!({ "broker": broker, "nameserver": address, "topics": topics }), text);
            Ok(())
        })
        .await
    }
}
