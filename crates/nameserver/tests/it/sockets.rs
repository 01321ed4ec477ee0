//! A nameserver with its shell: sockets, clock and disk.

use std::path::Path;
use std::time::Duration;

use metrics::{Exporter, Options, lint};
use nameserver::NameserverConfig;
use net::workers::{WorkerThreads, Workers};
use net::{Answer, Channel};
use protocol::bodies::registration::{RegisterBrokerBody, body_crc32};
use protocol::bodies::topic_config::TopicConfig;
use protocol::codes::{RequestCode, ResponseCode};
use protocol::writer::FrameWriter;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const TIMEOUT: Duration = Duration::from_secs(10);

/// A running nameserver; stops when dropped.
struct Running {
    address: String,
    exporter: Exporter,
    stop: CancellationToken,
    workers: Workers,
    threads: Option<WorkerThreads>,
}

impl Running {
    fn start(config: NameserverConfig) -> Running {
        let (workers, threads) = Workers::start("nameserver", 2).unwrap();
        let listener = net::listen::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stop = CancellationToken::new();
        let exporter = Exporter::new(Options::default());
        let (spread, shown, token) = (workers.clone(), exporter.clone(), stop.clone());
        workers.spawn_on(0, move || async move {
            nameserver::serve(vec![listener], config, spread, shown, token).await.unwrap();
        });
        Running { address, exporter, stop, workers, threads: Some(threads) }
    }

    fn in_folder(folder: &Path) -> Running {
        Running::start(NameserverConfig::new(folder.join("kvConfig.json")))
    }

    async fn connect(&self) -> Channel {
        Channel::connect(&self.address, TIMEOUT).await.unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
        self.workers.stop();
        if let Some(threads) = self.threads.take() {
            threads.join();
        }
    }
}

async fn call(channel: &Channel, code: RequestCode, fields: &[(&str, &str)], body: &[u8]) -> Answer {
    fn write<'o>(frame: FrameWriter<'o>, fields: &[(&str, &str)]) -> FrameWriter<'o> {
        fields.iter().fold(frame, |frame, (name, value)| frame.text(name, value))
    }
    channel.call(code, |frame| write(frame, fields), body, TIMEOUT).await.unwrap()
}

async fn register(channel: &Channel, id: &str, address: &str, more: &[(&str, &str)]) -> Answer {
    let topic = |name: &str| TopicConfig { topic_name: name.into(), ..TopicConfig::default() };
    let mut body = Vec::new();
    RegisterBrokerBody::new(Default::default(), [topic("T"), topic("TBW102")]).encode(&mut body);
    let crc = body_crc32(&body).to_string();
    let fields = [("brokerName", "b"), ("brokerAddr", address), ("clusterName", "c"), ("brokerId", id)];
    let fields = [&fields[..], &[("bodyCrc32", &*crc), ("enableActingMaster", "true")], more].concat();
    call(channel, RequestCode::REGISTER_BROKER, &fields, &body).await
}

async fn route(channel: &Channel) -> Answer {
    call(channel, RequestCode::GET_ROUTEINFO_BY_TOPIC, &[("topic", "T")], b"").await
}

/// Asks until the route is gone; whoever runs the test gives up for us.
async fn until_gone(channel: &Channel) {
    while route(channel).await.code != ResponseCode::TOPIC_NOT_EXIST {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_broker_is_in_the_route_while_its_connection_is_open() {
    let folder = TempDir::new().unwrap();
    let nameserver = Running::in_folder(folder.path());
    let (broker, client) = (nameserver.connect().await, nameserver.connect().await);
    assert_eq!(register(&broker, "0", "10.0.0.1:10911", &[]).await.code, ResponseCode::SUCCESS);
    let answer = route(&client).await;
    assert!(String::from_utf8(answer.body).unwrap().contains(r#"{"brokerAddrs":{"0":"10.0.0.1:10911"},"#));
    broker.close().await;
    until_gone(&client).await;
}

#[tokio::test]
async fn what_board_and_alerts_ask_of_nameservers_is_shown() {
    let folder = TempDir::new().unwrap();
    let nameserver = Running::in_folder(folder.path());
    let broker = nameserver.connect().await;
    register(&broker, "0", "10.0.0.1:10911", &[]).await;
    route(&broker).await;
    call(&broker, RequestCode::GET_ROUTEINFO_BY_TOPIC, &[("topic", "missing")], b"").await;
    let page = nameserver.exporter.scrape("").body;
    let samples = lint::check(&page).unwrap();
    let value = |name: &str, found: Option<&str>| {
        let mut all = samples.iter().filter(|sample| sample.name == name);
        all.find(|sample| sample.labels.get("found").map(String::as_str) == found).unwrap().value
    };
    assert_eq!([value("apogee_namesrv_brokers", None), value("apogee_namesrv_topics", None)], [1.0, 2.0]);
    let routes = ["true", "false"].map(|found| value("apogee_namesrv_route_requests_total", Some(found)));
    assert_eq!((routes, value("apogee_namesrv_registrations_total", None)), ([1.0, 1.0], 1.0));
    let brokers = samples.iter().find(|sample| sample.name == "apogee_namesrv_brokers").unwrap();
    assert_eq!(brokers.labels["cluster"], "c");
    let port = nameserver.address.rsplit_once(':').unwrap().1;
    assert!(brokers.labels["node_id"].ends_with(&format!(":{port}")));
    assert_eq!((&*brokers.labels["node_type"], &*brokers.labels["aggregation"]), ("nameserver", "cumulative"));
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
    for file in ["grafana/dashboards/apogee.json", "prometheus/alerts.yml"] {
        let text = std::fs::read_to_string(deploy.join(file)).unwrap();
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        let asked: Vec<&str> = words.filter(|word| word.starts_with("apogee_namesrv_")).collect();
        assert!(!asked.is_empty());
        assert!(asked.iter().all(|name| samples.iter().any(|sample| sample.name == *name)), "{file}: {asked:?}");
    }
}

#[tokio::test]
async fn a_silent_broker_is_cut_off() {
    let folder = TempDir::new().unwrap();
    let mut config = NameserverConfig::new(folder.path().join("kvConfig.json"));
    config.scan_interval = Duration::from_millis(20);
    let nameserver = Running::start(config);
    let (broker, client) = (nameserver.connect().await, nameserver.connect().await);
    register(&broker, "0", "10.0.0.1:10911", &[("heartbeatTimeoutMillis", "1000")]).await;
    assert_eq!(route(&client).await.code, ResponseCode::SUCCESS);
    broker.closed().await;
    assert_eq!(route(&client).await.code, ResponseCode::TOPIC_NOT_EXIST);
}

#[tokio::test]
async fn brokers_are_told_when_the_smallest_id_changes() {
    let folder = TempDir::new().unwrap();
    let mut config = NameserverConfig::new(folder.path().join("kvConfig.json"));
    config.set("notifyMinBrokerIdChanged", "true").unwrap();
    let nameserver = Running::start(config);
    let (sender, mut pushed) = tokio::sync::mpsc::channel(8);
    let master = nameserver.connect().await;
    let slave = Channel::connect_with(&nameserver.address, TIMEOUT, sender).await.unwrap();
    register(&master, "0", "10.0.0.1:10911", &[("haServerAddr", "10.0.0.1:10912")]).await;
    let answer = register(&slave, "1", "10.0.0.2:10911", &[]).await;
    assert_eq!(answer.field("masterAddr").as_deref(), Some("10.0.0.1:10911"));
    assert_eq!(answer.field("haServerAddr").as_deref(), Some("10.0.0.1:10912"));
    master.close().await;
    let notice = pushed.recv().await.unwrap();
    assert_eq!((notice.code, notice.oneway), (RequestCode::NOTIFY_MIN_BROKER_ID_CHANGE, true));
    assert_eq!(notice.field("minBrokerId").as_deref(), Some("1"));
    assert_eq!(notice.field("offlineBrokerAddr").as_deref(), Some("10.0.0.1:10911"));
}

#[tokio::test]
async fn the_kv_table_survives_a_restart() {
    let folder = TempDir::new().unwrap();
    let nameserver = Running::in_folder(folder.path());
    let tool = nameserver.connect().await;
    for number in 0..5 {
        let value = format!("v{number}");
        let fields = [("namespace", "n"), ("key", "k"), ("value", &value)];
        assert_eq!(call(&tool, RequestCode::PUT_KV_CONFIG, &fields, b"").await.code, ResponseCode::SUCCESS);
    }
    tool.close().await;
    drop(nameserver);

    let nameserver = Running::in_folder(folder.path());
    let tool = nameserver.connect().await;
    let answer = call(&tool, RequestCode::GET_KV_CONFIG, &[("namespace", "n"), ("key", "k")], b"").await;
    assert_eq!(answer.field("value").as_deref(), Some("v4"));
}

#[tokio::test]
async fn a_change_that_cannot_be_stored_is_refused_and_not_seen() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("file"), b"").unwrap();
    let nameserver = Running::start(NameserverConfig::new(folder.path().join("file").join("kvConfig.json")));
    let tool = nameserver.connect().await;
    let fields = [("namespace", "n"), ("key", "k"), ("value", "v")];
    let answer = call(&tool, RequestCode::PUT_KV_CONFIG, &fields, b"").await;
    assert_eq!(
        (answer.code, answer.remark.as_deref()),
        (ResponseCode::SYSTEM_ERROR, Some("change could not be stored"))
    );
    let answer = call(&tool, RequestCode::GET_KV_CONFIG, &fields[..2], b"").await;
    assert_eq!(answer.code, ResponseCode::QUERY_NOT_FOUND);
}

#[tokio::test]
async fn a_changed_setting_is_kept_beside_the_kv_table() {
    let folder = TempDir::new().unwrap();
    let file = nameserver::changed::path_beside(&folder.path().join("kvConfig.json"));
    let nameserver = Running::in_folder(folder.path());
    let tool = nameserver.connect().await;
    for text in ["waitSecondsForService=44\n", "serverWorkerThreads=9\nenableTopicList=false\n"] {
        let answer = call(&tool, RequestCode::UPDATE_NAMESRV_CONFIG, &[], text.as_bytes()).await;
        assert_eq!(answer.code, ResponseCode::SUCCESS);
    }
    let kept = || -> Vec<(String, String)> {
        nameserver::changed::read(&file).unwrap().into_iter().map(|entry| (entry.key, entry.value)).collect()
    };
    let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let all = [("enableTopicList", "false"), ("serverWorkerThreads", "9"), ("waitSecondsForService", "44")];
    assert_eq!(kept(), pairs(&all));
    drop(nameserver);
    // What was changed before is kept when something else is changed.
    let nameserver = Running::in_folder(folder.path());
    let tool = nameserver.connect().await;
    let answer = call(&tool, RequestCode::UPDATE_NAMESRV_CONFIG, &[], b"enableTopicList=true").await;
    assert_eq!(answer.code, ResponseCode::SUCCESS);
    assert_eq!(kept()[1..], pairs(&all)[1..]);
}
