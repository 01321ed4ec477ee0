//! What a nameserver is started with.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use net::server::ServerOptions;

use crate::keys::{self, KEYS, WITHOUT_EFFECT};
use crate::settings::{SettingError, Settings};

/// Port for Prometheus. That of brokers is one less, so that both can be on one machine.
pub const DEFAULT_METRICS_PORT: u16 = 5558;

/// Everything that a nameserver has to be told.
#[derive(Clone, Debug)]
pub struct NameserverConfig {
    /// Interface to listen on (`bindAddress`). Default: all.
    pub bind_ip: IpAddr,
    /// Port (`listenPort`). Default: 9876.
    pub listen_port: u16,
    /// Port for Prometheus and probes (`metricsPromExporterPort`), if it is not the usual one: that is
    /// [`DEFAULT_METRICS_PORT`], if nobody has it.
    pub metrics_port: Option<u16>,
    /// File of the KV table (`kvConfigPath`).
    pub kv_path: PathBuf,
    /// Time between two looks for silent brokers (`scanNotActiveBrokerInterval`). Default: 5 s.
    pub scan_interval: Duration,
    /// Silence after which a broker counts as gone, unless it asks for another. Default: 120 s.
    pub silence_max: Duration,
    /// Limits of its connections (`serverChannelMaxIdleTimeSeconds` among them).
    pub connections: ServerOptions,
    /// Keys that nobody may change from afar (`configBlackList`). Default: upstream's.
    pub locked_keys: Vec<String>,
    /// What can be changed while it runs.
    pub settings: Settings,
}

impl NameserverConfig {
    /// Upstream's defaults, with the KV table in that file.
    pub fn new(kv_path: impl Into<PathBuf>) -> NameserverConfig {
        NameserverConfig {
            bind_ip: Ipv4Addr::UNSPECIFIED.into(),
            listen_port: 9876,
            metrics_port: None,
            kv_path: kv_path.into(),
            scan_interval: Duration::from_secs(5),
            silence_max: Duration::from_secs(120),
            connections: ServerOptions::default(),
            locked_keys: ["configBlackList", "configStorePath", "kvConfigPath", "rocketmqHome"].map(Into::into).into(),
            settings: Settings::default(),
        }
    }

    /// Sets one of the keys of upstream's `namesrv.properties`. Those that mean nothing here are taken and do nothing.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), SettingError> {
        match keys::find(key) {
            Some(known) => known.set(self, value),
            None if WITHOUT_EFFECT.contains(&key) => Ok(()),
            None => Err(SettingError::Unknown(key.to_owned())),
        }
    }

    /// The keys that only count at start, as GET_NAMESRV_CONFIG (319) shows them.
    pub fn fixed_entries(&self) -> Vec<(String, String)> {
        let fixed = KEYS.iter().filter(|key| !key.may_change());
        fixed.map(|key| (key.name.to_owned(), key.show(self))).collect()
    }
}
