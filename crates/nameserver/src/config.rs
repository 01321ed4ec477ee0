//! What a nameserver is started with.

use std::path::PathBuf;
use std::time::Duration;

use net::server::ServerOptions;

use crate::settings::{SettingError, Settings};

/// Everything that a nameserver has to be told.
#[derive(Clone, Debug)]
pub struct NameserverConfig {
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
            kv_path: kv_path.into(),
            scan_interval: Duration::from_secs(5),
            silence_max: Duration::from_secs(120),
            connections: ServerOptions::default(),
            locked_keys: ["configBlackList", "configStorePath", "kvConfigPath", "rocketmqHome"].map(Into::into).into(),
            settings: Settings::default(),
        }
    }

    /// Sets one of the keys of upstream's `namesrv.properties`. Those about sockets and threads are not known here.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), SettingError> {
        let wrong = |expected| SettingError::Value { key: key.into(), value: value.into(), expected };
        let number = |expected| value.parse().ok().filter(|number| *number > 0).ok_or_else(|| wrong(expected));
        match key {
            "kvConfigPath" => self.kv_path = value.into(),
            "scanNotActiveBrokerInterval" => {
                self.scan_interval = Duration::from_millis(number("number of milliseconds above 0")?);
            }
            "serverChannelMaxIdleTimeSeconds" => {
                self.connections.idle = Duration::from_secs(number("number of seconds above 0")?);
            }
            "configBlackList" => {
                let more = value.split(';').map(str::trim).filter(|key| !key.is_empty()).map(str::to_owned);
                self.locked_keys.extend(more);
            }
            _ => self.settings = self.settings.with(&[(key.into(), value.into())])?,
        }
        Ok(())
    }

    /// The keys that only count at start, as GET_NAMESRV_CONFIG (319) shows them.
    pub fn fixed_entries(&self) -> Vec<(String, String)> {
        let entries = [
            ("kvConfigPath", self.kv_path.display().to_string()),
            ("scanNotActiveBrokerInterval", self.scan_interval.as_millis().to_string()),
            ("serverChannelMaxIdleTimeSeconds", self.connections.idle.as_secs().to_string()),
            ("configBlackList", self.locked_keys.join(";")),
        ];
        entries.map(|(key, value)| (key.to_owned(), value)).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_keys_are_understood() {
        let mut config = NameserverConfig::new("kv.json");
        for (key, value) in [
            ("kvConfigPath", "other.json"),
            ("scanNotActiveBrokerInterval", "100"),
            ("serverChannelMaxIdleTimeSeconds", "60"),
            ("configBlackList", "a; b"),
            ("orderMessageEnable", "true"),
        ] {
            config.set(key, value).unwrap();
        }
        assert_eq!(config.kv_path, PathBuf::from("other.json"));
        assert_eq!(
            (config.scan_interval, config.connections.idle),
            (Duration::from_millis(100), Duration::from_secs(60))
        );
        assert!(config.settings.order_in_routes);
        assert_eq!(config.locked_keys[4..], ["a", "b"]);
        assert_eq!(config.set("listenPort", "1"), Err(SettingError::Unknown("listenPort".into())));
        assert!(matches!(config.set("scanNotActiveBrokerInterval", "0"), Err(SettingError::Value { .. })));
    }
}
