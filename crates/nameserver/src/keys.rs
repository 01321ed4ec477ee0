//! The keys of `namesrv.conf`: one table, one declaration per key.
//!
//! Source of names and defaults: `common/.../namesrv/NamesrvConfig.java`, `remoting/.../netty/NettyServerConfig.java`.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::{DEFAULT_METRICS_PORT, NameserverConfig};
use crate::settings::{SettingError, Settings};

/// A key that the nameserver obeys.
#[derive(Debug)]
pub struct Key {
    /// The key as stock nameservers spell it.
    pub name: &'static str,
    /// What it means, in one line.
    pub help: &'static str,
    kind: Kind,
}

/// How the value of a key is written, and where it goes. The first two can change while the nameserver runs.
#[derive(Debug)]
enum Kind {
    Switch { get: fn(&Settings) -> bool, set: fn(&mut Settings, bool) },
    Seconds { get: fn(&Settings) -> u32, set: fn(&mut Settings, u32) },
    Number { range: RangeInclusive<u64>, get: fn(&NameserverConfig) -> u64, set: fn(&mut NameserverConfig, u64) },
    Text { allowed: &'static str, get: Show, set: fn(&mut NameserverConfig, &str) -> Option<()> },
}

type Show = fn(&NameserverConfig) -> String;

macro_rules! switch {
    ($field:ident) => {
        Kind::Switch { get: |settings| settings.$field, set: |settings, value| settings.$field = value }
    };
}

const DAY_SECONDS: u64 = 24 * 3600;

/// Every key that the nameserver obeys.
#[rustfmt::skip]
pub static KEYS: &[Key] = &[
    Key { name: "listenPort", help: "port for brokers and clients",
        kind: Kind::Number { range: 1..=65_535, get: |c| c.listen_port.into(), set: |c, port| c.listen_port = port as u16 } },
    Key { name: "bindAddress", help: "interface to listen on",
        kind: Kind::Text { allowed: "an IP address of this machine, or 0.0.0.0", get: |c| c.bind_ip.to_string(),
            set: |c, text| { c.bind_ip = text.parse().ok()?; Some(()) } } },
    Key { name: "metricsPromExporterPort", help: "port for Prometheus and probes; the usual one may be taken by another process",
        kind: Kind::Number { range: 1..=65_535, get: |c| c.metrics_port.unwrap_or(DEFAULT_METRICS_PORT).into(),
            set: |c, port| c.metrics_port = Some(port as u16).filter(|port| *port != DEFAULT_METRICS_PORT) } },
    Key { name: "kvConfigPath", help: "file of the KV table; what is changed while the nameserver runs is kept beside it",
        kind: Kind::Text { allowed: "a path", get: |c| c.kv_path.display().to_string(),
            set: |c, text| { c.kv_path = text.into(); Some(()) } } },
    Key { name: "configBlackList", help: "keys that cannot be changed while the nameserver runs, beside those that name a path, separated by ;",
        kind: Kind::Text { allowed: "keys, separated by `;`", get: |c| c.locked_keys.join(";"),
            set: |c, text| { lock(c, text); Some(()) } } },
    Key { name: "scanNotActiveBrokerInterval", help: "time between two looks for silent brokers, ms",
        kind: Kind::Number { range: 1..=DAY_SECONDS * 1000, get: |c| c.scan_interval.as_millis() as u64,
            set: |c, ms| c.scan_interval = Duration::from_millis(ms) } },
    Key { name: "serverChannelMaxIdleTimeSeconds", help: "time without a byte after which a connection is closed, seconds",
        kind: Kind::Number { range: 1..=DAY_SECONDS, get: |c| c.connections.idle.as_secs(),
            set: |c, seconds| c.connections.idle = Duration::from_secs(seconds) } },

    Key { name: "orderMessageEnable", help: "whether routes carry the order configuration of their topic",
        kind: switch!(order_in_routes) },
    Key { name: "returnOrderTopicConfigToBroker", help: "whether brokers learn from registrations which topics are ordered",
        kind: switch!(order_to_brokers) },
    Key { name: "supportActingMaster", help: "whether routes show the slave with the smallest id where there is no master",
        kind: switch!(acting_master) },
    Key { name: "enableAllTopicList", help: "whether the list of all topics is given out (206)",
        kind: switch!(list_all_topics) },
    Key { name: "enableTopicList", help: "whether the other lists of topics are given out (224, 311 to 313)",
        kind: switch!(list_topics) },
    Key { name: "notifyMinBrokerIdChanged", help: "whether brokers with an acting master are told when their smallest id changes",
        kind: switch!(notify_min_id) },
    Key { name: "deleteTopicWithBrokerRegistration", help: "whether a registration of several topics removes those it lacks",
        kind: switch!(registration_deletes) },
    Key { name: "needWaitForService", help: "whether routes are refused right after the start",
        kind: switch!(wait_for_service) },
    Key { name: "waitSecondsForService", help: "for how long they are then refused, seconds",
        kind: Kind::Seconds { get: |s| s.wait_seconds, set: |s, seconds| s.wait_seconds = seconds } },
];

/// Keys that a stock nameserver knows and that have no meaning here, sorted.
pub static WITHOUT_EFFECT: &[&str] = &[
    "clientRequestThreadPoolNums",
    "clientRequestThreadPoolQueueCapacity",
    "clusterTest",
    "configStorePath",
    "configStoreType",
    "defaultThreadPoolNums",
    "defaultThreadPoolQueueCapacity",
    "enableControllerInNamesrv",
    "enableShutdownGracefully",
    "productEnvName",
    "rocketmqHome",
    "serverAsyncSemaphoreValue",
    "serverCallbackExecutorThreads",
    "serverNettyWorkerGroupEnable",
    "serverOnewaySemaphoreValue",
    "serverPooledByteBufAllocatorEnable",
    "serverSelectorThreads",
    "serverSocketBacklog",
    "serverSocketRcvBufSize",
    "serverSocketSndBufSize",
    "serverWorkerThreads",
    "shutdownWaitTimeSeconds",
    "unRegisterBrokerQueueCapacity",
    "useEpollNativeSelector",
    "writeBufferHighWaterMark",
    "writeBufferLowWaterMark",
];

/// The key of that name, if the nameserver obeys it.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

impl Key {
    /// Sets the value.
    pub fn set(&self, config: &mut NameserverConfig, value: &str) -> Result<(), SettingError> {
        match &self.kind {
            Kind::Switch { .. } | Kind::Seconds { .. } => self.change(&mut config.settings, value),
            Kind::Number { range, set, .. } => {
                let number = value.parse().ok().filter(|number| range.contains(number));
                set(config, number.ok_or_else(|| self.wrong(value))?);
                Ok(())
            }
            Kind::Text { set, .. } => set(config, value).ok_or_else(|| self.wrong(value)),
        }
    }

    /// Sets the value in what can change while the nameserver runs.
    pub fn change(&self, settings: &mut Settings, value: &str) -> Result<(), SettingError> {
        match &self.kind {
            Kind::Switch { set, .. } => {
                set(settings, value.to_ascii_lowercase().parse().map_err(|_| self.wrong(value))?);
                Ok(())
            }
            Kind::Seconds { set, .. } => {
                set(settings, value.parse().map_err(|_| self.wrong(value))?);
                Ok(())
            }
            Kind::Number { .. } | Kind::Text { .. } => Err(SettingError::OnlyAtStart(self.name)),
        }
    }

    /// Whether the value can change while the nameserver runs.
    pub fn may_change(&self) -> bool {
        matches!(self.kind, Kind::Switch { .. } | Kind::Seconds { .. })
    }

    /// The value, as it would be written in a file.
    pub fn show(&self, config: &NameserverConfig) -> String {
        match &self.kind {
            Kind::Switch { get, .. } => get(&config.settings).to_string(),
            Kind::Seconds { get, .. } => get(&config.settings).to_string(),
            Kind::Number { get, .. } => get(config).to_string(),
            Kind::Text { get, .. } => get(config),
        }
    }

    /// The value now, if it can change while the nameserver runs.
    pub fn show_live(&self, settings: &Settings) -> Option<String> {
        match &self.kind {
            Kind::Switch { get, .. } => Some(get(settings).to_string()),
            Kind::Seconds { get, .. } => Some(get(settings).to_string()),
            Kind::Number { .. } | Kind::Text { .. } => None,
        }
    }

    /// The possible values, in words.
    pub fn allowed(&self) -> String {
        match &self.kind {
            Kind::Switch { .. } => "`true` or `false`".to_owned(),
            Kind::Seconds { .. } => format!("a whole number from 0 to {}", u32::MAX),
            Kind::Number { range, .. } => format!("a whole number from {} to {}", range.start(), range.end()),
            Kind::Text { allowed, .. } => (*allowed).to_owned(),
        }
    }

    fn wrong(&self, value: &str) -> SettingError {
        SettingError::Value { key: self.name, value: value.to_owned(), allowed: self.allowed() }
    }
}

/// What is locked stays locked.
fn lock(config: &mut NameserverConfig, text: &str) {
    for key in text.split(';').map(str::trim).filter(|key| !key.is_empty()) {
        if !config.locked_keys.iter().any(|locked| locked == key) {
            config.locked_keys.push(key.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_that_is_shown_can_be_set() {
        let config = NameserverConfig::new("kv.json");
        let mut again = NameserverConfig::new("other.json");
        again.bind_ip = [127, 0, 0, 1].into();
        for key in KEYS {
            key.set(&mut again, &key.show(&config)).unwrap();
        }
        for key in KEYS {
            assert_eq!(key.show(&again), key.show(&config), "{}", key.name);
        }
    }

    #[test]
    fn no_key_is_both_obeyed_and_without_effect() {
        assert!(WITHOUT_EFFECT.is_sorted());
        assert!(KEYS.iter().all(|key| !WITHOUT_EFFECT.contains(&key.name)));
    }

    #[test]
    fn upstreams_keys_are_understood() {
        let mut config = NameserverConfig::new("kv.json");
        for (key, value) in [
            ("kvConfigPath", "other.json"),
            ("scanNotActiveBrokerInterval", "100"),
            ("serverChannelMaxIdleTimeSeconds", "60"),
            ("configBlackList", "a; b"),
            ("orderMessageEnable", "TRUE"),
            ("listenPort", "9877"),
            ("bindAddress", "127.0.0.1"),
        ] {
            config.set(key, value).unwrap();
        }
        assert_eq!((config.kv_path.to_str(), config.listen_port), (Some("other.json"), 9877));
        assert_eq!(
            (config.scan_interval, config.connections.idle),
            (Duration::from_millis(100), Duration::from_secs(60))
        );
        assert!(config.settings.order_in_routes);
        assert_eq!(config.locked_keys[4..], ["a", "b"]);
        assert_eq!(config.set("pineapple", "1"), Err(SettingError::Unknown("pineapple".into())));
        let error = config.set("scanNotActiveBrokerInterval", "0").unwrap_err().to_string();
        assert_eq!(error, "`scanNotActiveBrokerInterval` is `0`; it must be a whole number from 1 to 86400000");
        assert!(config.set("bindAddress", "eth0").is_err());
    }
}
