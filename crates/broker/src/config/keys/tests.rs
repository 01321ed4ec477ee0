use super::*;
use proptest::prelude::*;

fn setting(key: &str) -> &'static Setting {
    match find(key, Spelling::Exact) {
        Some(Known::Setting(setting)) => setting,
        other => panic!("{key} is {other:?}"),
    }
}

/// What is in force after `value`, or why it was refused.
#[track_caller]
fn check(key: &str, value: &str, expected: &str) {
    let mut config = BrokerConfig::default();
    let told = match setting(key).apply(&mut config, value) {
        Ok(Taken::AsWritten) => setting(key).show(&config),
        Ok(Taken::Instead { used, reason }) => {
            assert_eq!(used, setting(key).show(&config));
            format!("{used}, as {reason}")
        }
        Err(Refused::Outside { allowed }) => format!("not {allowed}"),
        Err(Refused::NotYet { only }) => format!("only {only}"),
        Err(Refused::OnlyAtStart) => "only at start".to_owned(),
    };
    assert_eq!(told, expected, "{key}={value}");
}

#[test]
fn whole_numbers_have_a_range() {
    check("listenPort", "10911", "10911");
    check("listenPort", "0", "not a whole number from 1 to 65535");
    check("listenPort", "65536", "not a whole number from 1 to 65535");
    check("listenPort", "10.5", "not a whole number from 1 to 65535");
    check("brokerId", "99999999999999999999", "not a whole number from -1 to 9223372036854775807");
    check("fileReservedTime", "120", "120");
}

#[test]
fn some_numbers_are_moved_into_their_range() {
    check("diskMaxUsedSpaceRatio", "88", "88");
    check("diskMaxUsedSpaceRatio", "99", "95, as 10 to 95 are possible");
    check("diskMaxUsedSpaceRatio", "-1", "10, as 10 to 95 are possible");
    check("registerNameServerPeriod", "1000", "10000, as 10000 to 60000 are possible");
    check("registerNameServerPeriod", "often", "not a whole number from 10000 to 60000");
}

#[test]
fn sizes_may_have_a_unit() {
    check("maxMessageSize", "65536", "65536");
    check("maxMessageSize", "64K", "65536");
    check("maxMessageSize", "4 MiB", "4194304");
    check("mappedFileSizeCommitLog", "2g", "2147483648");
    let refused = "not a number of bytes from 4096 to 2147483648, in which K, M or G may follow";
    check("mappedFileSizeCommitLog", "3g", refused);
    check("mappedFileSizeCommitLog", "4095", refused);
    check("mappedFileSizeCommitLog", "99999999999g", refused);
    check("mappedFileSizeCommitLog", "-1", refused);
    check("mappedFileSizeCommitLog", "1 parsec", refused);
}

#[test]
fn truth_is_one_of_two_words() {
    check("traceOn", "FALSE", "false");
    check("traceOn", "True", "true");
    check("traceOn", "yes", "not `true` or `false`");
}

#[test]
fn names_have_no_blanks() {
    check("brokerName", "broker-a", "broker-a");
    check("brokerName", "节点", "节点");
    check("brokerName", "broker a", "not a name without blanks of at most 127 bytes");
    check("brokerName", &"a".repeat(128), "not a name without blanks of at most 127 bytes");
}

#[test]
fn nameservers_are_hosts_with_ports() {
    check("namesrvAddr", "a:9876;10.0.0.1:9877;", "a:9876;10.0.0.1:9877");
    check("namesrvAddr", "a:9876, [::1]:9876", "a:9876;[::1]:9876");
    for wrong in ["a", "a:", ":9876", "a:0", "a:x", "::1:9876", "[]:9876", "http://a:9876", "a:9876;b"] {
        check("namesrvAddr", wrong, "not `host:port`, several of them separated by `;`");
    }
}

#[test]
fn hours_of_deletion_are_a_list() {
    check("deleteWhen", "04", "04");
    check("deleteWhen", "4;16;04;", "04;16");
    for wrong in ["24", "4;x", ";"] {
        check("deleteWhen", wrong, "not hours from 0 to 23, several of them separated by `;`");
    }
}

#[test]
fn delay_levels_have_units() {
    let defaults = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h";
    assert_eq!(setting("messageDelayLevel").show(&BrokerConfig::default()), defaults);
    check("messageDelayLevel", defaults, defaults);
    check("messageDelayLevel", "1s  90s 60m 24h 2d", "1s 90s 1h 1d 2d");
    for wrong in ["1", "s", "1s 5", "1w", "0s", "-1s", "1.5s", "1S", "中"] {
        check("messageDelayLevel", wrong, "not delays such as `1s 10m 2h 1d`, separated by blanks");
    }
}

#[test]
fn flush_addresses_and_paths() {
    check("flushDiskType", "SYNC_FLUSH", "SYNC_FLUSH");
    check("flushDiskType", "sync", "not `ASYNC_FLUSH` or `SYNC_FLUSH`");
    check("bindAddress", "::", "::");
    check("bindAddress", "eth0", "not an IP address of this machine, or 0.0.0.0");
    check("storePathRootDir", "/opt/store", "/opt/store");
}

#[test]
fn what_the_broker_cannot_do_is_not_passed_over() {
    check("brokerRole", "ASYNC_MASTER", "ASYNC_MASTER");
    check("brokerRole", "SYNC_MASTER", "ASYNC_MASTER, as there are no replicas to wait for");
    check("brokerRole", "SLAVE", "only ASYNC_MASTER");
    check("aclEnable", "False", "false");
    check("aclEnable", "true", "only false");
    check("inSyncReplicas", "2", "only 1");
}

#[test]
fn every_default_can_be_written_and_read() {
    let defaults = BrokerConfig::default();
    let mut config = BrokerConfig { trace_on: false, nameservers: vec!["a:1".into()], ..BrokerConfig::default() };
    for setting in SETTINGS {
        assert_eq!(setting.apply(&mut config, &setting.show(&defaults)), Ok(Taken::AsWritten), "{}", setting.key);
    }
    assert_eq!(config, defaults);
}

#[test]
fn no_two_keys_differ_only_in_case_and_separators() {
    let mut keys: Vec<String> = SETTINGS.iter().flat_map(|s| s.old.into_iter().chain([s.key])).map(folded).collect();
    keys.extend(without_effect().map(folded));
    assert!(keys.iter().all(|key| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric())));
    let all = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), all);
}

#[test]
fn the_environment_need_not_spell_exactly() {
    assert!(matches!(find("LISTEN_PORT", Spelling::Folded), Some(Known::Setting(s)) if s.key == "listenPort"));
    assert!(find("LISTEN_PORT", Spelling::Exact).is_none());
    assert!(matches!(find("maped-file.size_commitLog", Spelling::Folded), Some(Known::OldName(_))));
    assert!(matches!(find("HA_LISTEN_PORT", Spelling::Folded), Some(Known::WithoutEffect("haListenPort"))));
}

#[test]
fn an_unknown_key_has_a_nearest_one() {
    assert_eq!(nearest("brokerNmae"), Some("brokerName"));
    assert_eq!(nearest("listenport"), Some("listenPort"));
    assert_eq!(nearest("autoCreateSubscriptionGroupEnable"), Some("autoCreateSubscriptionGroup"));
    assert_eq!(nearest("clusterName"), Some("brokerClusterName"));
    assert_eq!(nearest("autoCreateTopic"), Some("autoCreateTopicEnable"));
    assert_eq!(nearest("flushDiskTyp"), Some("flushDiskType"));
    assert_eq!(nearest("sendMessageThreadPoolNum"), Some("sendMessageThreadPoolNums"));
    assert_eq!(nearest("pineapple"), None);
    assert_eq!(nearest(""), None);
}

proptest! {
    #[test]
    fn no_value_makes_a_setting_panic(value in any::<String>(), short in "[0-9smhdgkb;: -]{0,12}") {
        for setting in SETTINGS {
            for value in [&value, &short] {
                let mut config = BrokerConfig::default();
                if setting.apply(&mut config, value).is_ok() && !value.is_empty() {
                    let shown = setting.show(&config);
                    let mut again = BrokerConfig::default();
                    prop_assert_eq!(setting.apply(&mut again, &shown), Ok(Taken::AsWritten));
                    prop_assert_eq!(&again, &config, "{}={}", setting.key, value);
                }
            }
        }
    }
}
