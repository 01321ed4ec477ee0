//! A nameserver and a broker that say what a test wants, and a console before them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use client::stand_in::{Asked, Reply, StandIn};
use client::{Connections, Nameservers};
use console::{AuthMode, ConsoleSettings, ProxySettings, RunningConsole};
use protocol::codes::RequestCode;
use protocol::record::NewRecord;
use protocol::sys_flag::SysFlag;

use crate::browser::Browser;

/// Password of the first user.
pub const PASSWORD: &str = "correct horse battery";

/// Would run if a page took it as markup.
pub const SCRIPT: &str = "<script>alert(1)</script>";

/// How the pages write it.
pub const ESCAPED: &str = "&lt;script&gt;alert(1)&lt;/script&gt;";

/// What the broker was asked: code, fields, body.
pub type Requests = Arc<Mutex<Vec<(RequestCode, HashMap<String, String>, Vec<u8>)>>>;

/// A console and its cluster; all of it stops when dropped.
pub struct Scene {
    pub console: RunningConsole,
    pub settings: ConsoleSettings,
    pub requests: Requests,
    nameserver: StandIn,
    _broker: StandIn,
    _folder: tempfile::TempDir,
}

impl Scene {
    /// A console before one broker; what `told` does not answer has the usual answer.
    pub fn new(told: impl Fn(RequestCode) -> Option<String> + Send + Sync + 'static) -> Scene {
        Scene::with(AuthMode::Viewer, "", "", told)
    }

    /// The same with a login mode, a base path, and more brokers: `"name":"address",…`.
    pub fn with(
        auth: AuthMode,
        base_path: &str,
        more_brokers: &str,
        told: impl Fn(RequestCode) -> Option<String> + Send + Sync + 'static,
    ) -> Scene {
        let set = |settings: &mut ConsoleSettings| {
            settings.auth = auth;
            settings.base_path = base_path.to_owned();
        };
        let answer = move |asked: Asked| match told(asked.code) {
            Some(body) => asked.body(body),
            None => usual(asked),
        };
        Scene::answering(more_brokers, set, answer)
    }

    /// The same with any settings, before a broker that answers anything.
    pub fn answering(
        more_brokers: &str,
        set: impl FnOnce(&mut ConsoleSettings),
        answer: impl Fn(Asked) -> Reply + Send + Sync + 'static,
    ) -> Scene {
        let requests = Requests::default();
        let noted = requests.clone();
        let broker = StandIn::start(move |asked| {
            let fields = asked.fields.iter().cloned().collect();
            noted.lock().unwrap().push((asked.code, fields, asked.content.clone()));
            answer(asked)
        });
        let mut brokers = vec![("broker-a".to_owned(), broker.address().to_owned())];
        brokers.extend(
            more_brokers
                .split(',')
                .filter_map(|pair| pair.split_once('='))
                .map(|(name, address)| (name.into(), address.into())),
        );
        let nameserver = StandIn::start(move |asked| match asked.code {
            RequestCode::GET_BROKER_CLUSTER_INFO => asked.body(cluster_info(&brokers)),
            RequestCode::GET_ROUTEINFO_BY_TOPIC => {
                let (name, address) = &brokers[0];
                asked.body(format!(
                    r#"{{"brokerDatas":[{{"brokerAddrs":{{"0":"{address}"}},"brokerName":"{name}","cluster":"c"}}],"queueDatas":[{{"brokerName":"{name}","perm":6,"readQueueNums":1,"writeQueueNums":1}}]}}"#
                ))
            }
            _ => asked.body(""),
        });
        let folder = tempfile::tempdir().unwrap();
        let mut settings = ConsoleSettings {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            nameservers: Nameservers::parse(nameserver.address(), Connections::default()).unwrap(),
            folder: folder.path().join("console"),
            auth: AuthMode::Viewer,
            first_password: Some(PASSWORD.to_owned()),
            base_path: String::new(),
            proxies: ProxySettings::default(),
            metrics: metrics::Exporter::new(metrics::Options::default()),
        };
        set(&mut settings);
        let console = RunningConsole::start(settings.clone()).unwrap();
        Scene { console, settings, requests, nameserver, _broker: broker, _folder: folder }
    }

    /// Stops the console and starts it again in the same folder, at another port.
    pub fn restart(&mut self) {
        // Connections live on the threads of the console that opened them.
        self.settings.nameservers = Nameservers::parse(self.nameserver.address(), Connections::default()).unwrap();
        let again = RunningConsole::start(self.settings.clone()).unwrap();
        std::mem::replace(&mut self.console, again).stop();
    }

    pub fn browser(&self) -> Browser {
        Browser::new(self.console.address)
    }

    pub fn admin(&self) -> Browser {
        let mut browser = self.browser();
        browser.log_in(PASSWORD);
        browser
    }

    /// How often the broker was asked this.
    pub fn count(&self, code: RequestCode) -> usize {
        self.requests.lock().unwrap().iter().filter(|(asked, ..)| *asked == code).count()
    }

    /// Fields and body of the last request of this kind.
    pub fn last(&self, code: RequestCode) -> Option<(HashMap<String, String>, Vec<u8>)> {
        let requests = self.requests.lock().unwrap();
        requests.iter().rev().find(|(asked, ..)| *asked == code).map(|(_, fields, body)| (fields.clone(), body.clone()))
    }
}

fn cluster_info(brokers: &[(String, String)]) -> String {
    let tables = brokers.iter().map(|(name, address)| {
        format!(r#""{name}":{{"brokerAddrs":{{"0":"{address}"}},"brokerName":"{name}","cluster":"DefaultCluster"}}"#)
    });
    let names: Vec<String> = brokers.iter().map(|(name, _)| format!("{name:?}")).collect();
    format!(
        r#"{{"brokerAddrTable":{{{}}},"clusterAddrTable":{{"DefaultCluster":[{}]}}}}"#,
        tables.collect::<Vec<_>>().join(","),
        names.join(",")
    )
}

/// One topic, one group, one client and one message, each with a name that would run as script.
pub fn usual(asked: Asked) -> Reply {
    let name = SCRIPT.replace('/', "\\/");
    let queue = format!(r#"{{"brokerName":"broker-a","queueId":0,"topic":"{name}"}}"#);
    match asked.code {
        RequestCode::GET_BROKER_RUNTIME_INFO => asked.body(format!(
            r#"{{"table":{{"brokerVersionDesc":"{name}","putTps":"2.5 2 1","getTransferredTps":"1","commitLogDiskRatio":"0.5","bootTimestamp":"1796000000000","commitLogMinOffset":"0","commitLogMaxOffset":"2048"}}}}"#
        )),
        RequestCode::GET_ALL_TOPIC_CONFIG => asked.body(format!(
            r#"{{"topicConfigTable":{{"orders":{{"topicName":"orders","readQueueNums":1,"writeQueueNums":1,"perm":6}},"%DLQ%workers":{{"topicName":"%DLQ%workers","readQueueNums":1,"writeQueueNums":1,"perm":6}},"{name}":{{"topicName":"{name}","readQueueNums":1,"writeQueueNums":1,"perm":6,"attributes":{{"message.type":"{name}"}}}}}}}}"#
        )),
        RequestCode::GET_ALL_SUBSCRIPTIONGROUP_CONFIG => asked.body(format!(
            r#"{{"subscriptionGroupTable":{{"workers":{{"groupName":"workers"}},"{name}":{{"groupName":"{name}"}}}}}}"#
        )),
        RequestCode::GET_BROKER_CONSUME_STATS => asked.body(format!(
            r#"{{"consumeStatsList":[{{"workers":[{{"consumeTps":1.5,"offsetTable":{{{queue}:{{"brokerOffset":9,"consumerOffset":4,"lastTimestamp":1796000000000}}}}}}]}}]}}"#
        )),
        RequestCode::GET_CONSUME_STATS => asked.body(format!(
            r#"{{"consumeTps":1.5,"offsetTable":{{{queue}:{{"brokerOffset":9,"consumerOffset":4,"lastTimestamp":1796000000000}}}}}}"#
        )),
        RequestCode::GET_TOPIC_STATS_INFO => {
            let topic = asked.field("topic").replace('/', "\\/");
            asked.body(format!(
                r#"{{"topicPutTps":2.5,"offsetTable":{{{{"brokerName":"broker-a","queueId":0,"topic":"{topic}"}}:{{"lastUpdateTimestamp":1796000000000,"maxOffset":1,"minOffset":0}}}}}}"#
            ))
        }
        RequestCode::QUERY_TOPIC_CONSUME_BY_WHO => asked.body(r#"{"groupList":["workers"]}"#),
        RequestCode::GET_CONSUMER_CONNECTION_LIST => asked.body(format!(
            r#"{{"connectionSet":[{{"clientAddr":"10.0.0.1:5","clientId":"{name}","language":"GO","version":1}}],"messageModel":"CLUSTERING","consumeType":"CONSUME_PASSIVELY","subscriptionTable":{{"orders":{{"topic":"orders","subString":"{name}"}}}}}}"#
        )),
        RequestCode::GET_CONSUMER_RUNNING_INFO => {
            let stacks = if asked.field("jstackEnable") == "true" { r#","jstack":"main: waits""# } else { "" };
            asked.body(format!(
                r#"{{"mqTable":{{{queue}:{{"commitOffset":41,"cachedMsgCount":3,"cachedMsgMinOffset":41,"cachedMsgMaxOffset":43,"lastPullTimestamp":1796000000000,"locked":true}}}},"mqPopTable":{{{queue}:{{"waitAckCount":77}}}},"properties":{{"{name}":"{name}"}},"statusTable":{{"{name}":{{"consumeRT":12.5,"consumeOKTPS":2.5}}}},"subscriptionSet":[{{"topic":"orders","subString":"{name}"}}]{stacks}}}"#
            ))
        }
        RequestCode::GET_TIMER_METRICS => {
            asked.body(format!(r#"{{"timingCount":{{"{name}":{{"count":4321}},"orders":{{"count":0}}}}}}"#))
        }
        RequestCode::GET_ALL_PRODUCER_INFO => asked.body(format!(
            r#"{{"data":{{"{name}":[{{"clientId":"{name}","language":"JAVA","remoteIP":"/10.0.0.2:6","version":9}}]}}}}"#
        )),
        RequestCode::GET_BROKER_CONFIG => asked.body(format!("fileReservedTime=72\nbrokerIP1={SCRIPT}\n")),
        RequestCode::PULL_MESSAGE => {
            let (topic, offset) = (asked.field("topic"), asked.field("queueOffset"));
            let fields = [("nextBeginOffset", "1"), ("minOffset", "0"), ("maxOffset", "1"), ("suggestWhichBrokerId", "0")];
            match offset.as_str() {
                "0" => asked.with(&fields).and_body(record(&topic)),
                _ => asked.with(&fields).and_code(19),
            }
        }
        RequestCode::QUERY_MESSAGE | RequestCode::VIEW_MESSAGE_BY_ID => {
            let topic = Some(asked.field("topic")).filter(|topic| !topic.is_empty()).unwrap_or_else(|| "orders".into());
            let fields = [("indexLastUpdateTimestamp", "0"), ("indexLastUpdatePhyoffset", "0")];
            asked.with(&fields).and_body(record(&topic))
        }
        RequestCode::INVOKE_BROKER_TO_RESET_OFFSET => asked.body(r#"{"offsetTable":{}}"#),
        RequestCode::SEARCH_OFFSET_BY_TIMESTAMP => asked.with(&[("offset", "0")]),
        RequestCode::SEND_MESSAGE | RequestCode::SEND_MESSAGE_V2 => {
            asked.with(&[("msgId", "7F00000100002A9F0000000000000000"), ("queueId", "0"), ("queueOffset", "1")])
        }
        _ => asked.body(""),
    }
}

fn record(topic: &str) -> Vec<u8> {
    let properties = format!("TAGS\u{1}{SCRIPT}\u{2}KEYS\u{1}{SCRIPT}\u{2}UNIQ_KEY\u{1}ABC\u{2}own\u{1}{SCRIPT}\u{2}");
    let record = NewRecord {
        topic,
        queue_id: 0,
        flag: 0,
        sys_flag: SysFlag(0),
        born_timestamp_ms: 1_796_000_000_000,
        born_host: "10.0.0.1:5".parse().unwrap(),
        store_host: "127.0.0.1:10911".parse().unwrap(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: SCRIPT.as_bytes(),
        properties: properties.as_bytes(),
    };
    let mut bytes = Vec::new();
    record.encode(&mut bytes).unwrap();
    bytes
}

/// Offset id of every message of the stand-in.
pub const MESSAGE_ID: &str = "7F00000100002A9F0000000000000000";
