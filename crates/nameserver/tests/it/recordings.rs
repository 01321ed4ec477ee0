//! Answers what a stock nameserver was asked, and compares with what it said.
//!
//! The recordings lie in `protocol/golden/remoting`. Bodies are compared as JSON: ours quote numeric keys, a stock
//! nameserver does so only for new clients.

use std::collections::{BTreeMap, BTreeSet};

use nameserver::handlers::{Arrival, Fixed, Handled, Nameserver};
use nameserver::horizon::Reader;
use nameserver::kv::{KvChange, KvTable};
use nameserver::settings::Settings;
use net::ConnectionId;
use protocol::bodies::data_version::DataVersion;
use protocol::bodies::registration::{RegisterBrokerBody, body_crc32};
use protocol::bodies::route::TopicRouteData;
use protocol::bodies::topic_config::TopicConfig;
use protocol::codes::{RequestCode, ResponseCode};
use protocol::frame::{self, Codec};
use protocol::header::{FieldSpans, Header};
use protocol::lenient_json;
use protocol::requests::GetRoute;
use protocol::typed::TypedHeader;
use protocol::writer::{Expect, FrameWriter};
use serde_json::Value;

/// One line of a recording.
struct Line {
    number: u64,
    connection: String,
    asks: bool,
    reply: bool,
    opaque: i64,
    now_ms: u64,
    event: Option<String>,
    bytes: Vec<u8>,
}

/// The lines of a recording that went to or came from the nameserver.
fn recording(name: &str) -> Vec<Line> {
    let path = format!("{}/../protocol/golden/remoting/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).filter_map(line_of).collect()
}

fn line_of(line: Value) -> Option<Line> {
    (line["peer"] == "namesrv").then(|| Line {
        number: line["n"].as_u64().unwrap(),
        connection: line["conn"].as_str().unwrap().to_owned(),
        asks: line["dir"] == "c2s",
        reply: line["reply"] == true,
        opaque: line["opaque"].as_i64().unwrap_or_default(),
        now_ms: line["t_ms"].as_f64().unwrap() as u64,
        event: line["event"].as_str().map(str::to_owned),
        bytes: line["hex"].as_str().map(bytes_of).unwrap_or_default(),
    })
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks_exact(2).map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

/// What of an answer does not depend on words.
#[derive(Debug, PartialEq)]
struct Answer {
    code: ResponseCode,
    has_remark: bool,
    fields: BTreeSet<String>,
    body: Option<Value>,
}

fn answer_of(bytes: &[u8]) -> (i64, Answer) {
    let frame = frame::split(bytes).unwrap().expect("a whole frame");
    let mut spans = FieldSpans::default();
    let header = Header::decode(Codec::from_number(frame.codec_number).unwrap(), frame.header, &mut spans).unwrap();
    assert!(header.is_response());
    let body = (!frame.body.is_empty()).then(|| lenient_json::normalise(frame.body).unwrap());
    let answer = Answer {
        code: ResponseCode(header.code),
        has_remark: header.remark.is_some(),
        fields: header.fields.iter().map(|(name, _)| name.resolve().into_owned()).collect(),
        body: body.map(|text| serde_json::from_slice(&text).unwrap()),
    };
    (header.opaque.into(), answer)
}

fn nameserver() -> Nameserver {
    let fixed = Fixed { silence_max_ms: 120_000, locked_keys: Vec::new(), shown: Vec::new() };
    Nameserver::new(fixed, Settings::default(), KvTable::default())
}

/// Asks without a socket; a change of the KV table is made at once.
fn ask(nameserver: &Nameserver, connection: u64, now_ms: u64, bytes: &[u8]) -> Vec<u8> {
    let frame = frame::split(bytes).unwrap().unwrap();
    let (mut spans, mut out, mut effects) = (FieldSpans::default(), Vec::new(), Vec::new());
    let arrival = Arrival { connection: ConnectionId(connection), reader: Reader::LOOPBACK, now_ms };
    match nameserver.handle(arrival, &frame, &mut spans, &mut out, &mut effects) {
        Handled::Done => {}
        Handled::Store(change, pending) => pending.finish(store(nameserver, &change), &mut out),
        Handled::SaveSettings(pending) => pending.finish_settings(true, &mut out),
        Handled::Unreadable(error) => panic!("{error}"),
    }
    out
}

fn store(nameserver: &Nameserver, change: &KvChange) -> Result<(), nameserver::kv::KvError> {
    let mut table = nameserver.kv();
    table.apply(change)?;
    nameserver.set_kv(table, [change]);
    Ok(())
}

/// Asks everything that is in `lines` and compares. Connections are numbered by their names.
fn replay<'l>(nameserver: &Nameserver, lines: impl IntoIterator<Item = &'l Line>) -> usize {
    let mut recorded = BTreeMap::new();
    let mut compared = 0;
    for line in lines {
        let connection: u64 = line.connection[1..].parse().unwrap();
        let key = (connection, line.opaque);
        if let Some(event) = &line.event {
            if line.asks && event.starts_with("close") {
                nameserver.connection_closed(ConnectionId(connection), &mut Vec::new());
            }
        } else if line.asks && !line.reply {
            let (opaque, answer) = answer_of(&ask(nameserver, connection, line.now_ms, &line.bytes));
            assert_eq!(opaque, line.opaque, "line {}", line.number);
            recorded.insert(key, answer);
        } else {
            let ours = recorded.remove(&key).expect("an answer follows its request");
            assert_eq!(ours, answer_of(&line.bytes).1, "line {}", line.number);
            compared += 1;
        }
    }
    assert!(recorded.is_empty());
    compared
}

fn route(nameserver: &Nameserver, topic: &str) -> Option<TopicRouteData> {
    let mut bytes = Vec::new();
    let request = GetRoute { topic: topic.into(), accept_standard_json_only: true, zone_mode: false, zone_name: None };
    let frame = FrameWriter::request(&mut bytes, Codec::Json, RequestCode::GET_ROUTEINFO_BY_TOPIC, 1, Expect::Answer);
    request.encode(frame).finish(b"");
    let answer = ask(nameserver, 99, 0, &bytes);
    let frame = frame::split(&answer).unwrap().unwrap();
    (!frame.body.is_empty()).then(|| lenient_json::from_slice(frame.body).unwrap())
}

/// The recorded nameserver had an order configuration once, so it answers registrations with an empty table.
fn once_had_an_order(nameserver: &Nameserver) {
    let (namespace, key) = ("ORDER_TOPIC_CONFIG".to_owned(), "T".to_owned());
    let put = KvChange::Put { namespace: namespace.clone(), key: key.clone(), value: "broker-a:4".into() };
    store(nameserver, &put).unwrap();
    store(nameserver, &KvChange::Delete { namespace, key }).unwrap();
}

#[test]
fn a_stock_broker_starts_changes_topics_and_stops() {
    let lines = recording("broker-registration");
    let nameserver = nameserver();
    once_had_an_order(&nameserver);
    let (before_stop, rest) = lines.split_at(lines.iter().position(|line| line.number == 27).unwrap());
    assert_eq!(replay(&nameserver, before_stop), 13);

    let route = |topic| route(&nameserver, topic);
    let changed = route("RegTopic").expect("a topic announced alone is there, and stays though it was deleted");
    assert_eq!((changed.queue_datas[0].read_queue_nums, changed.queue_datas[0].perm), (4, 6));
    assert_eq!(changed.broker_datas[0].master(), Some("127.0.0.1:20911"));
    assert_eq!(route("%RETRY%CG_Java498").unwrap().queue_datas[0].write_queue_nums, 1);

    assert_eq!(replay(&nameserver, rest), 3);
    assert_eq!(route("TBW102"), None);
}

#[test]
fn a_stock_broker_is_gone_when_its_connection_closes() {
    let lines = recording("broker-registration");
    let nameserver = nameserver();
    once_had_an_order(&nameserver);
    replay(&nameserver, &lines[..2]);
    nameserver.connection_closed(ConnectionId(2), &mut Vec::new());
    assert!(route(&nameserver, "TBW102").is_some());
    nameserver.connection_closed(ConnectionId(1), &mut Vec::new());
    assert_eq!(route(&nameserver, "TBW102"), None);
}

/// Replays chosen lines after the broker of the recordings has registered its template topic.
#[track_caller]
fn check_lines(name: &str, numbers: &[std::ops::RangeInclusive<u64>], expected: usize) {
    let nameserver = nameserver();
    once_had_an_order(&nameserver);
    register_broker(&nameserver);
    let lines = recording(name);
    let chosen = lines
        .iter()
        .filter(|line| line.event.is_none() && numbers.iter().any(|numbers| numbers.contains(&line.number)));
    assert_eq!(replay(&nameserver, chosen), expected);
}

fn register_broker(nameserver: &Nameserver) {
    let topic = |name: &str, perm| TopicConfig {
        topic_name: name.into(),
        perm,
        read_queue_nums: 4,
        write_queue_nums: 4,
        ..TopicConfig::default()
    };
    let mut body = Vec::new();
    RegisterBrokerBody::new(DataVersion::default(), [topic("TBW102", 7), topic("SELF_TEST_TOPIC", 6)])
        .encode(&mut body);
    let mut bytes = Vec::new();
    FrameWriter::request(&mut bytes, Codec::Binary, RequestCode::REGISTER_BROKER, 1, Expect::Answer)
        .text("brokerName", "broker-a")
        .text("brokerAddr", "127.0.0.1:20911")
        .text("clusterName", "DefaultCluster")
        .integer("brokerId", 0)
        .integer("bodyCrc32", body_crc32(&body))
        .finish(&body);
    assert_eq!(answer_of(&ask(nameserver, 1, 0, &bytes)).1.code, ResponseCode::SUCCESS);
}

#[test]
fn a_go_client_looks_for_a_topic_and_for_the_template() {
    check_lines("go-simple", &[1..=4], 2);
    check_lines("java-simple", &[1..=4], 2);
}

#[test]
fn odd_requests_are_answered_as_recorded() {
    check_lines("errors", &[17..=18, 24..=29, 44..=57], 7);
}

#[test]
fn the_admin_tool_is_answered_as_recorded() {
    check_lines("mqadmin", &[1..=2, 690..=701, 2513..=2514, 2517..=2518, 2527..=2530, 2545..=2546], 12);
}
