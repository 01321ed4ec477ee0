use std::net::SocketAddr;
use std::sync::Arc;

use protocol::codes::RequestCode;
use protocol::record::{NewRecord, stamp};
use protocol::sys_flag::SysFlag;

use super::*;
use crate::connections::Connections;
use crate::stand_in::{Asked, Reply, StandIn};

const HOST: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

/// Two queues of three messages each, two to a pull; remembers what was committed.
#[derive(Clone, Default)]
struct Broker {
    committed: Arc<Mutex<BTreeMap<String, i64>>>,
    requests: Arc<Mutex<Vec<i32>>>,
}

impl Broker {
    fn answer(&self, asked: Asked) -> Reply {
        self.requests.lock().unwrap().push(asked.code.0);
        match asked.code {
            RequestCode::GET_MIN_OFFSET => asked.with(&[("offset", "0")]),
            RequestCode::GET_MAX_OFFSET => asked.with(&[("offset", "3")]),
            RequestCode::QUERY_CONSUMER_OFFSET => match self.committed.lock().unwrap().get(&asked.field("queueId")) {
                Some(offset) => asked.with(&[("offset", &offset.to_string())]),
                None => asked.code(22),
            },
            RequestCode::UPDATE_CONSUMER_OFFSET => {
                let offset = asked.field("commitOffset").parse().unwrap();
                self.committed.lock().unwrap().insert(asked.field("queueId"), offset);
                asked.code(0)
            }
            RequestCode::PULL_MESSAGE => pull(asked),
            RequestCode::HEART_BEAT | RequestCode::UNREGISTER_CLIENT => asked.code(0),
            _ => asked.code(3),
        }
    }
}

fn pull(asked: Asked) -> Reply {
    let offset: u64 = asked.field("queueOffset").parse().unwrap();
    if offset >= 3 && asked.field("suspendTimeoutMillis") != "0" {
        return asked.silence();
    }
    let queue_id = asked.field("queueId").parse().unwrap();
    let mut body = Vec::new();
    let next = 3.min(offset + 2);
    for at in offset..next {
        let properties = if at == 1 { "TAGS\x01odd\x02" } else { "TAGS\x01even\x02" };
        let record = NewRecord {
            topic: "t",
            queue_id,
            flag: 0,
            sys_flag: SysFlag(0),
            born_timestamp_ms: 1,
            born_host: HOST,
            store_host: HOST,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: b"x",
            properties: properties.as_bytes(),
        };
        let start = body.len();
        record.encode(&mut body).unwrap();
        stamp(&mut body[start..], at, at, 2);
    }
    let next = next.to_string();
    let fields = [("suggestWhichBrokerId", "0"), ("nextBeginOffset", &next), ("minOffset", "0"), ("maxOffset", "3")];
    let code = if body.is_empty() { 19 } else { 0 };
    asked.with(&fields).and_code(code).and_body(body)
}

struct Cluster {
    _broker: StandIn,
    nameserver: StandIn,
    state: Broker,
}

fn cluster() -> Cluster {
    let state = Broker::default();
    let answering = state.clone();
    let broker = StandIn::start(move |asked| answering.answer(asked));
    let address = broker.address().to_owned();
    let nameserver = StandIn::start(move |asked| match asked.field("topic").as_str() {
        "t" => asked.body(format!(
            r#"{{"brokerDatas":[{{"brokerAddrs":{{"0":"{address}"}},"brokerName":"b"}}],
                "queueDatas":[{{"brokerName":"b","perm":6,"readQueueNums":2,"writeQueueNums":2}}]}}"#
        )),
        _ => asked.code(17),
    });
    Cluster { _broker: broker, nameserver, state }
}

fn options(group: Option<&str>) -> ConsumerOptions {
    ConsumerOptions {
        topic: "t".into(),
        group: group.map(Into::into),
        tags: "*".into(),
        start: StartFrom::First,
        follow: false,
    }
}

async fn start(cluster: &Cluster, options: ConsumerOptions) -> Consumer {
    let nameservers = Nameservers::parse(cluster.nameserver.address(), Connections::default()).unwrap();
    Consumer::start(nameservers, options).await.unwrap()
}

async fn drain(consumer: &mut Consumer) -> Vec<(i32, u64)> {
    let mut read = Vec::new();
    while let Some(message) = consumer.next().await.unwrap() {
        read.push((message.queue_id, message.offset));
    }
    read.sort();
    read
}

#[tokio::test]
async fn every_queue_is_read_to_its_end() {
    let cluster = cluster();
    let mut consumer = start(&cluster, options(None)).await;
    assert_eq!(drain(&mut consumer).await, [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]);
    consumer.close().await;
    let requests = cluster.state.requests.lock().unwrap();
    assert!(!requests.contains(&15) && !requests.contains(&34), "{requests:?}");
}

#[tokio::test]
async fn a_group_goes_on_where_it_stopped() {
    let cluster = cluster();
    let mut consumer = start(&cluster, options(Some("g"))).await;
    assert_eq!(drain(&mut consumer).await.len(), 6);
    consumer.close().await;
    assert_eq!(cluster.state.committed.lock().unwrap().get("1"), Some(&3));
    let requests = cluster.state.requests.lock().unwrap().clone();
    assert!(requests.contains(&34) && requests.contains(&35), "{requests:?}");
    cluster.state.committed.lock().unwrap().insert("0".into(), 2);
    let mut consumer = start(&cluster, options(Some("g"))).await;
    assert_eq!(drain(&mut consumer).await, [(0, 2)]);
}

/// A message that was handed out last may not have been worked on when the consumer stops.
#[tokio::test]
async fn only_what_the_caller_is_done_with_is_committed() {
    let cluster = cluster();
    let mut consumer = start(&cluster, options(Some("g"))).await;
    let first = consumer.next().await.unwrap().unwrap();
    let second = consumer.next().await.unwrap().unwrap();
    assert_eq!((first.queue_id, first.offset + 1), (second.queue_id, second.offset));
    consumer.close().await;
    let committed = cluster.state.committed.lock().unwrap();
    assert_eq!(committed.get(&second.queue_id.to_string()), Some(&(second.offset as i64)), "{committed:?}");
}

#[tokio::test]
async fn the_last_message_can_be_marked_without_another() {
    let cluster = cluster();
    let mut consumer = start(&cluster, options(Some("g"))).await;
    let message = consumer.next().await.unwrap().unwrap();
    consumer.consumed();
    consumer.close().await;
    assert_eq!(cluster.state.committed.lock().unwrap().get(&message.queue_id.to_string()), Some(&1));
}

#[tokio::test]
async fn following_waits_and_filters() {
    let cluster = cluster();
    let options = ConsumerOptions { tags: "odd || other".into(), follow: true, ..options(None) };
    let mut consumer = start(&cluster, options).await;
    let mut read = Vec::new();
    while read.len() < 2 {
        read.push(consumer.next().await.unwrap().unwrap().offset);
    }
    assert_eq!(read, [1, 1]);
    let more = tokio::time::timeout(Duration::from_millis(100), consumer.next()).await;
    assert!(more.is_err());
    consumer.close().await;
}

#[tokio::test]
async fn a_topic_that_is_not_there_is_told() {
    let cluster = cluster();
    let nameservers = Nameservers::parse(cluster.nameserver.address(), Connections::default()).unwrap();
    let options = ConsumerOptions { topic: "none".into(), ..options(None) };
    let error = Consumer::start(nameservers, options).await.unwrap_err();
    assert!(matches!(error, ConsumeError::NoSuchTopic(topic) if topic == "none"));
}
