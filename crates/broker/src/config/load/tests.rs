use super::super::Flush;
use super::super::live::Hours;
use super::*;
use proptest::prelude::*;
use std::path::PathBuf;
use std::time::Duration;

fn host() -> Host {
    Host { name: "machine-1".into(), address: [10, 4, 7, 71].into(), data_dir: "/opt/store".into() }
}

/// A source under test: `text` as a file of that name, and pairs for the environment and the command line.
fn load_from(name: &str, text: &[u8], environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Loaded, String> {
    let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    let (environment, command_line) = (owned(environment), owned(flags));
    let sources = Sources { file: Some(&path), environment: &environment, command_line: &command_line };
    let short = |text: String| text.replace(&format!("{}/", folder.path().display()), "");
    let mut loaded = load(&sources, &host()).map_err(|error| short(error.to_string()))?;
    for place in loaded.report.origins.values_mut() {
        *place = short(std::mem::take(place));
    }
    for unknown in &mut loaded.report.unknown {
        unknown.place = short(std::mem::take(&mut unknown.place));
    }
    for renamed in &mut loaded.report.renamed {
        renamed.place = short(std::mem::take(&mut renamed.place));
    }
    for warning in &mut loaded.report.warnings {
        *warning = short(std::mem::take(warning));
    }
    Ok(loaded)
}

#[track_caller]
fn loaded(text: &str) -> Loaded {
    load_from("broker.conf", text.as_bytes(), &[], &[]).unwrap()
}

#[track_caller]
fn check_refused(text: &str, expected: &str) {
    assert_eq!(load_from("broker.conf", text.as_bytes(), &[], &[]).unwrap_err(), expected);
}

#[track_caller]
fn check_warns(text: &str, expected: &[&str]) {
    assert_eq!(loaded(text).report.alerts(), expected);
}

#[test]
fn the_file_of_the_tutorial_is_taken_as_it_is() {
    let text = include_bytes!("../../../golden/broker.conf");
    let Loaded { config, report } =
        load_from("broker.conf", text, &[("NAMESRV_ADDR", "rmqnamesrv:9876")], &[]).unwrap();
    let expected = BrokerConfig {
        cluster_name: "DefaultCluster".into(),
        broker_name: "broker-a".into(),
        broker_id: 0,
        advertised_ip: [127, 0, 0, 1].into(),
        listen_port: 10911,
        fast_listen_port: 10909,
        nameservers: vec!["rmqnamesrv:9876".into()],
        data_dir: "/opt/store".into(),
        auto_create_topic: true.into(),
        auto_create_group: true.into(),
        default_topic_queue_nums: 4.into(),
        max_message_bytes: 65536.into(),
        flush: Flush::Async,
        segment_bytes: 1 << 30,
        retention: Duration::from_secs(120 * 3600).into(),
        delete_hours: Hours::from_iter([4]).into(),
        disk_max_used_percent: 88.into(),
        ..BrokerConfig::default()
    };
    assert_eq!(config, expected);
    assert_eq!(report.unknown, []);
    assert_eq!(report.ignored, ["mapedFileSizeConsumeQueue"]);
    assert_eq!(
        report.notes(),
        [
            "`mapedFileSizeCommitLog` (broker.conf:53) counts as `mappedFileSizeCommitLog`, its name today",
            "keys of a stock broker without effect here: mapedFileSizeConsumeQueue",
        ]
    );
    assert_eq!(
        report.warnings,
        ["`brokerIP1` is 127.0.0.1 (broker.conf:32), which clients on other machines cannot use; this machine has \
          10.4.7.71"]
    );
    assert_eq!(report.origins["listenPort"], "broker.conf:44");
    assert_eq!(report.origins["mappedFileSizeCommitLog"], "broker.conf:53");
    assert_eq!(report.origins["namesrvAddr"], "environment NAMESRV_ADDR");
    assert_eq!(report.origins["syncFlushTimeout"], "default");
    assert_eq!(report.origins.len(), SETTINGS.len());
}

#[test]
fn without_sources_everything_is_a_default() {
    let Loaded { config, report } = load(&Sources::default(), &host()).unwrap();
    let expected = BrokerConfig {
        broker_name: "machine-1".into(),
        advertised_ip: [10, 4, 7, 71].into(),
        advertised_by_default: true,
        data_dir: "/opt/store".into(),
        ..BrokerConfig::default()
    };
    assert_eq!(config, expected);
    assert!(report.origins.values().all(|origin| origin.starts_with("default")), "{report:?}");
    assert_eq!((report.notes(), report.alerts()), (vec![], vec![]));
}

/// Nameservers and their origin when the file, variables and the command line name them.
#[track_caller]
fn check_precedence(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)], expected: &str) {
    let Loaded { config, report } = load_from("broker.conf", file.as_bytes(), environment, flags).unwrap();
    assert_eq!(format!("{} from {}", config.nameservers.join(";"), report.origins["namesrvAddr"]), expected);
}

#[test]
fn the_later_source_is_stronger() {
    let file = "namesrvAddr=file:1";
    let (stock, ours) = (("NAMESRV_ADDR", "stock:1"), ("APOGEE_NAMESRV_ADDR", "ours:1"));
    let flag = ("namesrvAddr", "flag:1");
    check_precedence("", &[], &[], " from default");
    check_precedence("", &[stock], &[], "stock:1 from environment NAMESRV_ADDR");
    check_precedence(file, &[stock], &[], "file:1 from broker.conf:1");
    check_precedence(file, &[ours, stock], &[], "ours:1 from environment APOGEE_NAMESRV_ADDR");
    check_precedence(file, &[ours, stock], &[flag], "flag:1 from command line");
}

#[test]
fn variables_may_be_spelled_in_any_case() {
    for name in ["APOGEE_LISTENPORT", "APOGEE_LISTEN_PORT", "APOGEE_listenPort", "APOGEE_listen.port"] {
        let loaded = load_from("broker.conf", b"listenPort=1000", &[(name, "20911")], &[]).unwrap();
        assert_eq!((loaded.config.listen_port, loaded.config.fast_listen_port), (20911, 20909), "{name}");
        assert_eq!(loaded.report.origins["listenPort"], format!("environment {name}"));
    }
}

#[test]
fn an_empty_variable_is_not_set_and_others_are_not_looked_at() {
    let environment = [("APOGEE_LISTEN_PORT", ""), ("NAMESRV_ADDR", " "), ("LISTEN_PORT", "1"), ("PATH", "/bin")];
    let loaded = load_from("broker.conf", b"", &environment, &[]).unwrap();
    assert_eq!(loaded.config.listen_port, 10911);
    assert_eq!(loaded.report.alerts(), [""; 0]);
}

#[test]
fn unknown_keys_are_told_with_the_nearest_known_one() {
    let loaded = load_from(
        "broker.conf",
        b"brokerNmae=a\npineapple=1\nlistenport=1\na.b[0]=2\nhaListenPort=10912\ntls.server.mode=enforcing",
        &[("APOGEE_LISTN_PORT", "1")],
        &[("autoCreateTopic", "false")],
    );
    assert_eq!(
        loaded.unwrap().report.alerts(),
        [
            "`brokerNmae` (broker.conf:1) is no known key and has no effect; did you mean `brokerName`?",
            "`pineapple` (broker.conf:2) is no known key and has no effect",
            "`listenport` (broker.conf:3) is no known key and has no effect; did you mean `listenPort`?",
            "`a.b[0]` (broker.conf:4) is no known key and has no effect",
            "`tls.server.mode` (broker.conf:6) is no known key and has no effect",
            "`LISTN_PORT` (environment APOGEE_LISTN_PORT) is no known key and has no effect; did you mean \
             `listenPort`?",
            "`autoCreateTopic` (command line) is no known key and has no effect; did you mean `autoCreateTopicEnable`?",
        ]
    );
}

#[test]
fn keys_without_effect_are_listed_once_and_sorted() {
    let text = "useTLS=true\nhaListenPort=10912\nhaListenPort=\nsendMessageThreadPoolNums=128";
    let Loaded { report, .. } = loaded(text);
    assert_eq!(report.ignored, ["haListenPort", "sendMessageThreadPoolNums", "useTLS"]);
    assert_eq!(report.unknown, []);
}

#[test]
fn a_wrong_value_names_key_range_file_and_line() {
    check_refused(
        "\n# a port\nlistenPort=lots",
        "`listenPort` is `lots` (broker.conf:3); it must be a whole number from 1 to 65535",
    );
    check_refused(
        "autoCreateTopicEnable=yes",
        "`autoCreateTopicEnable` is `yes` (broker.conf:1); it must be `true` or `false`",
    );
    check_refused(
        "flushDiskType=SYNC",
        "`flushDiskType` is `SYNC` (broker.conf:1); it must be `ASYNC_FLUSH` or `SYNC_FLUSH`",
    );
    check_refused(
        "namesrvAddr=rmqnamesrv",
        "`namesrvAddr` is `rmqnamesrv` (broker.conf:1); it must be `host:port`, several of them separated by `;`",
    );
    check_refused(
        "brokerIP1=not an address",
        "`brokerIP1` is `not an address` (broker.conf:1); it must be an IP address, or a host name that can be \
         resolved",
    );
    let variable = load_from("broker.conf", b"", &[("APOGEE_DELETE_WHEN", "25")], &[]);
    assert_eq!(
        variable.unwrap_err(),
        "`deleteWhen` is `25` (environment APOGEE_DELETE_WHEN); it must be hours from 0 to 23, several of them \
         separated by `;`"
    );
}

#[test]
fn what_would_be_less_safe_than_asked_for_is_refused() {
    check_refused(
        "brokerRole=SLAVE",
        "`brokerRole` is `SLAVE` (broker.conf:1), which is not supported yet; only `ASYNC_MASTER` is",
    );
    check_refused(
        "authenticationEnabled = true",
        "`authenticationEnabled` is `true` (broker.conf:1), which is not supported yet; only `false` is",
    );
}

#[test]
fn an_unreadable_file_names_its_path_or_line() {
    check_refused("a=1\nbrokerName=\\u00", "broker.conf:2: `\\u00` is not `\\u` and four hexadecimal digits");
    let refused =
        |path: &Path| load(&Sources { file: Some(path), ..Sources::default() }, &host()).unwrap_err().to_string();
    assert_eq!(refused(Path::new("/does/not/exist")), "`/does/not/exist` cannot be read");
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(
        refused(folder.path()),
        format!(
            "`{}` is a directory; container engines create one where the file to mount does not exist",
            folder.path().display()
        )
    );
}

#[test]
fn a_segment_holds_the_largest_message() {
    check_refused(
        "maxMessageSize=1m\nmapedFileSizeCommitLog=1048576",
        "`mappedFileSizeCommitLog` is 1048576 (broker.conf:2); a message of `maxMessageSize` 1048576 (broker.conf:1) \
         needs 1114112",
    );
    check_refused(
        "mappedFileSizeCommitLog=1048576",
        "`mappedFileSizeCommitLog` is 1048576 (broker.conf:1); a message of `maxMessageSize` 4194304 (default) needs \
         4259840",
    );
    assert_eq!(loaded("maxMessageSize=64k\nmappedFileSizeCommitLog=128k").config.segment_bytes, 131072);
}

#[test]
fn the_two_ports_differ() {
    check_refused(
        "listenPort=2",
        "`listenPort` is 2 (broker.conf:1); `fastListenPort` must be set, as it cannot be two less",
    );
    check_refused(
        "fastListenPort=10911",
        "`listenPort` and `fastListenPort` are both 10911 (broker.conf:1); they must differ",
    );
    assert_eq!(loaded("listenPort=2\nfastListenPort=3").config.fast_listen_port, 3);
}

#[test]
fn what_may_not_be_meant_is_a_warning() {
    check_warns(
        "diskMaxUsedSpaceRatio=99\nbrokerRole=SYNC_MASTER\nbrokerId=1",
        &[
            "`brokerRole` is `SYNC_MASTER` (broker.conf:2); `ASYNC_MASTER` is used: there are no replicas to wait for",
            "`diskMaxUsedSpaceRatio` is `99` (broker.conf:1); `95` is used: 10 to 95 are possible",
            "`brokerId` is `1` (broker.conf:3); `0` is used: the broker is a master, and a master has no other",
        ],
    );
    check_warns(
        "listenPort=1000\nlistenPort=2000\nlistenPort=",
        &[
            "`listenPort` is set more than once; `2000` (broker.conf:2) counts and `1000` (broker.conf:1) does not",
            "`listenPort` (broker.conf:3) has no value and no effect",
        ],
    );
    check_warns(
        "maxMessageSize=32m",
        &["`maxMessageSize` is 33554432 (broker.conf:1), but a request of more than 16777216 bytes is not read"],
    );
    check_warns(
        "storePathRootDir=/a/store\nstorePathCommitLog=/b/commitlog",
        &["`storePathCommitLog` is `/b/commitlog` (broker.conf:2), but messages are stored in `storePathRootDir` \
             too: `/a/store`"],
    );
    check_warns("storePathRootDir=/a/store\nstorePathCommitLog=/a/store/commitlog", &[]);
    assert_eq!(loaded("brokerId=1").config.broker_id, 0);
}

#[test]
fn the_name_of_today_counts_against_an_old_one() {
    for (text, expected) in [
        (
            "mapedFileSizeCommitLog=8m\nmappedFileSizeCommitLog=16m",
            "`16m` (broker.conf:2) counts and `8m` (broker.conf:1)",
        ),
        (
            "mappedFileSizeCommitLog=16m\nmapedFileSizeCommitLog=8m",
            "`16m` (broker.conf:1) counts and `8m` (broker.conf:2)",
        ),
    ] {
        let Loaded { config, report } = loaded(text);
        assert_eq!(config.segment_bytes, 16 << 20);
        assert_eq!(report.alerts(), [format!("`mappedFileSizeCommitLog` is set more than once; {expected} does not")]);
        assert_eq!(report.renamed.len(), 1);
    }
    // A stronger source counts, whatever the spelling.
    let variable = [("APOGEE_MAPED_FILE_SIZE_COMMIT_LOG", "8m")];
    let loaded = load_from("broker.conf", b"mappedFileSizeCommitLog=16m", &variable, &[]).unwrap();
    assert_eq!(loaded.config.segment_bytes, 8 << 20);
}

#[test]
fn a_host_name_is_advertised_as_its_address() {
    let Loaded { config, report } = loaded("brokerIP1=localhost");
    assert!(config.advertised_ip.is_loopback());
    assert!(
        report.warnings[0].starts_with("`brokerIP1` is the host name `localhost` (broker.conf:1); clients are told ")
    );
}

#[test]
fn values_lose_their_blanks_and_a_byte_order_mark_is_no_key() {
    let Loaded { config, report } = loaded("\u{feff}listenPort = 20911  \r\nbrokerName=a\t\r\n");
    assert_eq!((config.listen_port, config.broker_name.as_str()), (20911, "a"));
    assert_eq!(report.alerts(), [""; 0]);
}

#[test]
fn comments_in_gbk_do_no_harm() {
    // Among them a character whose second byte is a backslash, at the end of its line.
    let text = b"# \xb6\xcb\xbf\xda\x81\x5c\nlistenPort=20911\n# \x90\x5c\nbrokerName=b\n";
    let config = load_from("broker.conf", text, &[], &[]).unwrap().config;
    assert_eq!((config.listen_port, config.broker_name.as_str()), (20911, "b"));
}

#[test]
fn a_flag_of_the_jvm_goes_before_the_variable_and_after_the_file() {
    let variables = [(JAVA_NAMESERVERS, "java:1"), ("NAMESRV_ADDR", "variable:1")];
    let nameservers =
        |text: &str| load_from("broker.conf", text.as_bytes(), &variables, &[]).unwrap().config.nameservers;
    assert_eq!(nameservers(""), ["java:1"]);
    assert_eq!(nameservers("namesrvAddr=file:1"), ["file:1"]);
}

#[test]
fn toml_has_the_same_keys() {
    let text = b"# a broker\nlistenPort = 20911\nauto_create_topic_enable = false\nnamesrvAddr = [\"a:1\", \"b:2\"]\n\
                 messageDelayLevel = ['1s', '2m']\nbroker-name = \"x\"\nlistenPrt = 1\nuseTLS = true\n";
    let Loaded { config, report } = load_from("broker.toml", text, &[], &[("broker_name", "y")]).unwrap();
    assert_eq!((config.listen_port, config.auto_create_topic.get(), config.broker_name.as_str()), (20911, false, "y"));
    assert_eq!(config.nameservers, ["a:1", "b:2"]);
    assert_eq!(config.delay_levels, [Duration::from_secs(1), Duration::from_secs(120)]);
    assert_eq!(report.origins["autoCreateTopicEnable"], "broker.toml:3");
    assert_eq!(report.ignored, ["useTLS"]);
    assert_eq!(
        report.alerts(),
        ["`listenPrt` (broker.toml:7) is no known key and has no effect; did you mean `listenPort`?"]
    );
}

#[test]
fn toml_is_flat() {
    let refused = |text: &str| load_from("broker.toml", text.as_bytes(), &[], &[]).unwrap_err();
    assert_eq!(
        refused("\"listenPort\" = 1.5"),
        "`listenPort` is `1.5` (broker.toml); it must be a whole number from 1 to 65535"
    );
    assert_eq!(
        refused("[broker]\nlistenPort = 1"),
        "`broker` (broker.toml) is a table; settings are single values or lists, at the top of the file"
    );
    assert_eq!(refused("listenPort = "), "`broker.toml` is not valid TOML");
    assert_eq!(refused("listenPort = 1\nlistenPort = 2"), "`broker.toml` is not valid TOML");
}

#[test]
fn the_samples_of_a_stock_broker_without_replicas_load() {
    let text = "brokerClusterName=DefaultCluster\nbrokerName=broker-a\nbrokerId=0\ndeleteWhen=04\nfileReservedTime=48\n\
                brokerRole=ASYNC_MASTER\nflushDiskType=ASYNC_FLUSH\n";
    assert_eq!(loaded(text).report.alerts(), [""; 0]);
}

#[test]
fn a_path_is_kept_as_it_is() {
    assert_eq!(loaded("storePathRootDir=store\\\\x").config.data_dir, PathBuf::from("store\\x"));
}

proptest! {
    // Every unknown key is compared with all known ones, which takes its time without optimisation.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_file_makes_the_loader_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        lines in prop::collection::vec(
            ("[a-zA-Z.\\[\\]]{0,12}|listenPort|brokerId|deleteWhen", "[-0-9a-z;: ]{0,8}"),
            0..8,
        ),
        toml in any::<bool>(),
    ) {
        let name = if toml { "broker.toml" } else { "broker.conf" };
        let _ = load_from(name, &bytes, &[], &[]);
        let text: String = lines.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        let _ = load_from(name, text.as_bytes(), &[], &[]);
        let pairs: Vec<(&str, &str)> = lines.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let _ = load_from(name, b"", &pairs, &pairs);
    }
}
