//! Settings as text: for `--print-config`, for the admin tools, and for help.
use super::BrokerConfig;
use super::keys::{SETTINGS, Setting};
use super::load::Loaded;
use protocol::java_properties::write_entry;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Column in which origins start, unless an entry is longer.
const ORIGIN_COLUMN: usize = 44;

type Show = fn(&BrokerConfig) -> String;

/// Keys that nothing here depends on and that stock tools look for.
///
/// `exportConfigs` of older releases fails when one of its keys is missing.
const ASKED_FOR: &[(&str, Show)] = &[
    ("brokerIP2", |config| config.advertised_ip.to_string()),
    ("filterServerNums", |_| "0".to_owned()),
    ("haListenPort", |config| (u32::from(config.listen_port) + 1).to_string()),
    ("msgTraceTopicName", |_| "RMQ_SYS_TRACE_TOPIC".to_owned()),
    ("slaveReadEnable", |_| "false".to_owned()),
    ("useTLS", |_| "false".to_owned()),
];

/// Every key of [`print_config`] that somebody set.
pub fn print_changed(loaded: &Loaded) -> String {
    let lines = print_config(loaded);
    lines.lines().filter(|line| !line.contains("# default")).fold(String::new(), |text, line| text + line + "\n")
}

/// Every key in force with its value and where that comes from, sorted by key: `key=value  # origin`.
pub fn print_config(loaded: &Loaded) -> String {
    let mut out = String::new();
    let settings: BTreeMap<&str, String> =
        SETTINGS.iter().map(|setting| (setting.key, setting.show(&loaded.config))).collect();
    for (key, value) in settings {
        let entry = format!("{key}={value}");
        let origin = loaded.report.origins.get(key).map_or("", String::as_str);
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{entry:<ORIGIN_COLUMN$}  # {origin}");
    }
    out
}

/// The answer to `GET_BROKER_CONFIG`: properties, sorted by key. Keys without effect are shown if somebody set them.
pub fn dump(config: &BrokerConfig, without_effect: &BTreeMap<&'static str, String>) -> String {
    let settings = SETTINGS.iter().map(|setting| (setting.key, setting.show(config)));
    let asked_for = ASKED_FOR.iter().map(|(key, show)| (*key, show(config)));
    let set = without_effect.iter().map(|(key, value)| (*key, value.clone()));
    let all: BTreeMap<&str, String> = settings.chain(asked_for).chain(set).collect();
    let mut out = String::new();
    for (key, value) in all {
        write_entry(&mut out, key, &value);
    }
    out
}

/// The value where nobody says anything, or what it depends on.
pub fn default_of(setting: &Setting) -> String {
    match setting.key {
        "brokerName" => "name of this machine".to_owned(),
        "brokerIP1" => "address of this machine".to_owned(),
        "storePathRootDir" => "./data, unless the environment names another".to_owned(),
        "fastListenPort" => "listenPort - 2".to_owned(),
        _ => setting.show(&BrokerConfig::default()),
    }
}

/// From when on a changed value counts.
pub fn counts(setting: &Setting) -> &'static str {
    if setting.may_change() { "at any time" } else { "at start" }
}

/// Every key with its meaning, possible values and default, sorted by key.
pub fn help() -> String {
    let mut lines: BTreeMap<&str, String> = BTreeMap::new();
    for setting in SETTINGS {
        let default = default_of(setting);
        let (key, help, allowed) = (setting.key, setting.help, setting.allowed());
        let counts = counts(setting);
        let old = setting.old.map(|old| format!("\n    old name: {old}")).unwrap_or_default();
        lines.insert(
            key,
            format!("{key}\n    {help}\n    possible: {allowed}\n    default: {default}\n    counts: {counts}{old}\n"),
        );
    }
    lines.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::super::host::Host;
    use super::super::live::Hours;
    use super::super::load::{Sources, load};
    use super::*;

    fn host() -> Host {
        Host { name: "machine-1".into(), address: [10, 4, 7, 71].into(), data_dir: "/opt/store".into() }
    }

    #[test]
    fn the_listing_names_value_and_origin_of_every_key() {
        let command_line = [("listenPort".to_owned(), "20911".to_owned())];
        let loaded = load(&Sources { command_line: &command_line, ..Sources::default() }, &host()).unwrap();
        let listing = print_config(&loaded);
        assert_eq!(listing.lines().count(), SETTINGS.len());
        assert!(listing.lines().is_sorted());
        for expected in [
            "brokerIP1=10.4.7.71                           # default: address of this machine\n",
            "brokerName=machine-1                          # default: name of this machine\n",
            "fastListenPort=20909                          # default: listenPort - 2\n",
            "listenPort=20911                              # command line\n",
            "messageDelayLevel=1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h  # default\n",
        ] {
            assert!(listing.contains(expected), "{expected} is not in\n{listing}");
        }
    }

    #[test]
    fn tools_find_the_keys_they_look_for() {
        let config = BrokerConfig { nameservers: vec!["a:1".into(), "b:2".into()], ..BrokerConfig::default() };
        let dump = dump(&config, &BTreeMap::new());
        assert!(dump.lines().is_sorted());
        for expected in [
            "aclEnable=false",
            "autoCreateSubscriptionGroup=true",
            "autoCreateTopicEnable=true",
            "brokerClusterName=DefaultCluster",
            "brokerIP1=127.0.0.1",
            "brokerId=0",
            "brokerName=broker-a",
            "brokerPermission=6",
            "brokerRole=ASYNC_MASTER",
            "deleteWhen=04",
            "enableControllerMode=false",
            "fileReservedTime=72",
            "filterServerNums=0",
            "flushDiskType=ASYNC_FLUSH",
            "haListenPort=10912",
            "listenPort=10911",
            "mappedFileSizeCommitLog=1073741824",
            "maxMessageSize=4194304",
            "messageDelayLevel=1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h",
            "msgTraceTopicName=RMQ_SYS_TRACE_TOPIC",
            "namesrvAddr=a:1;b:2",
            "slaveReadEnable=false",
            "storePathRootDir=data",
            "traceOn=true",
            "traceTopicEnable=false",
            "useTLS=false",
        ] {
            assert!(dump.lines().any(|line| line == expected), "{expected} is not in\n{dump}");
        }
    }

    #[test]
    fn a_broker_can_be_started_with_what_it_told() {
        let config = BrokerConfig {
            cluster_name: "集群".into(),
            data_dir: "/opt/back\\slash and blank".into(),
            nameservers: vec!["a:1".into()],
            delete_hours: Hours::from_iter([4, 16]).into(),
            ..BrokerConfig::default()
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broker.conf");
        std::fs::write(&path, dump(&config, &BTreeMap::new())).unwrap();
        let loaded = load(&Sources { file: Some(&path), ..Sources::default() }, &host()).unwrap();
        assert_eq!(loaded.config, config);
        assert_eq!(loaded.report.unknown, []);
        assert_eq!(loaded.report.ignored, ASKED_FOR.iter().map(|(key, _)| *key).collect::<Vec<_>>());
    }

    #[test]
    fn help_has_a_paragraph_for_every_key() {
        let help = help();
        let expected = "mappedFileSizeCommitLog\n    size of one commit-log file, bytes\n    possible: a number of \
                        bytes from 4096 to 2147483648, in which K, M or G may follow\n    default: 1073741824\n    \
                        counts: at start\n    old name: mapedFileSizeCommitLog\n";
        assert!(help.contains(expected), "{help}");
        assert_eq!(help.lines().filter(|line| !line.starts_with(' ')).count(), SETTINGS.len());
    }
}
