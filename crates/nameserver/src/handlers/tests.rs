use proptest::prelude::*;
use protocol::bodies::registration::{RegisterBrokerBody, body_crc32};
use protocol::bodies::topic_config::TopicConfig;
use protocol::codes::ResponseCode;
use protocol::frame;
use protocol::writer::{Expect, FrameWriter};

use super::*;
use crate::effect::Change;

fn nameserver() -> Nameserver {
    let shown = vec![("listenPort".to_owned(), "9876".to_owned())];
    let fixed = Fixed { silence_max_ms: 120_000, locked_keys: vec!["kvConfigPath".into()], shown };
    Nameserver::new(fixed, Settings::default(), KvTable::default())
}

/// Asks at a time; gives the answer's code and remark, its fields and its body.
struct Asked {
    code: ResponseCode,
    remark: String,
    fields: Vec<(String, String)>,
    body: String,
    effects: Vec<Effect>,
}

fn request(code: RequestCode, fields: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let frame = FrameWriter::request(&mut bytes, Codec::Json, code, 7, Expect::Answer);
    fields.iter().fold(frame, |frame, (name, value)| frame.text(name, value)).finish(body);
    bytes
}

fn ask_at(nameserver: &Nameserver, now_ms: u64, bytes: &[u8]) -> Asked {
    ask_from(nameserver, Reader::LOOPBACK, now_ms, bytes)
}

fn ask_from(nameserver: &Nameserver, reader: Reader, now_ms: u64, bytes: &[u8]) -> Asked {
    let (mut out, mut effects) = (Vec::new(), Vec::new());
    let frame = frame::split(bytes).unwrap().unwrap();
    let arrival = Arrival { connection: ConnectionId(1), reader, now_ms };
    match nameserver.handle(arrival, &frame, &mut FieldSpans::default(), &mut out, &mut effects) {
        Handled::Done => {}
        Handled::Store(change, pending) => {
            let mut table = nameserver.kv();
            let applied = table.apply(&change).map(|_| ());
            nameserver.set_kv(table, [&change]);
            pending.finish(applied, &mut out);
        }
        Handled::SaveSettings(pending) => pending.finish_settings(true, &mut out),
        Handled::Unreadable(error) => panic!("{error}"),
    }
    let frame = frame::split(&out).unwrap().unwrap();
    let mut spans = FieldSpans::default();
    let header = Header::decode(Codec::Json, frame.header, &mut spans).unwrap();
    assert_eq!(header.opaque, 7);
    let text = |text: protocol::header::Text<'_>| text.resolve().into_owned();
    Asked {
        code: ResponseCode(header.code),
        remark: header.remark.map(text).unwrap_or_default(),
        fields: header.fields.iter().map(|(name, value)| (text(name), text(value))).collect(),
        body: String::from_utf8(frame.body.to_vec()).unwrap(),
        effects,
    }
}

fn ask(nameserver: &Nameserver, code: RequestCode, fields: &[(&str, &str)], body: &[u8]) -> Asked {
    ask_at(nameserver, 0, &request(code, fields, body))
}

const BROKER: [(&str, &str); 4] = [("brokerName", "b"), ("brokerAddr", "h:1"), ("clusterName", "c"), ("brokerId", "0")];

fn topics(names: &[&str]) -> Vec<u8> {
    let topic = |name: &&str| TopicConfig { topic_name: (*name).into(), ..TopicConfig::default() };
    let mut body = Vec::new();
    RegisterBrokerBody::new(Default::default(), names.iter().map(topic)).encode(&mut body);
    body
}

fn register(nameserver: &Nameserver, names: &[&str]) -> Asked {
    ask(nameserver, RequestCode::REGISTER_BROKER, &BROKER, &topics(names))
}

fn route(nameserver: &Nameserver, topic: &str) -> Asked {
    ask(nameserver, RequestCode::GET_ROUTEINFO_BY_TOPIC, &[("topic", topic)], b"")
}

/// `BROKER` with one field changed.
fn with<'a>(name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    let others = BROKER.into_iter().filter(|(known, _)| *known != name);
    others.chain([(name, value)]).collect()
}

#[test]
fn what_is_no_name_is_refused_and_leaves_nothing_behind() {
    let nameserver = nameserver();
    let long = "n".repeat(200);
    for (name, value) in [
        ("brokerName", ""),
        ("brokerName", "a b"),
        ("brokerName", &long),
        ("brokerAddr", "h:0"),
        ("brokerAddr", "h"),
        ("brokerAddr", "h:1,x:2"),
        ("clusterName", "c\n"),
        ("brokerId", "-1"),
        ("brokerId", "x"),
        ("__ZONE_NAME", "a;b"),
        ("bodyCrc32", "12345"),
    ] {
        let fields = with(name, value);
        let refused = ask(&nameserver, RequestCode::REGISTER_BROKER, &fields, &topics(&["T", "U"]));
        assert_eq!(refused.code, ResponseCode::SYSTEM_ERROR, "{name}={value}");
        assert!(!refused.remark.is_empty());
    }
    let missing = ask(&nameserver, RequestCode::REGISTER_BROKER, &BROKER[1..], b"");
    assert_eq!(missing.remark, "field `brokerName` is missing");
    let info = ask(&nameserver, RequestCode::GET_BROKER_CLUSTER_INFO, &[], b"");
    assert_eq!(info.body, r#"{"brokerAddrTable":{},"clusterAddrTable":{}}"#);
    assert_eq!(ask(&nameserver, RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER, &[], b"").body, r#"{"topicList":[]}"#);
}

#[test]
fn a_body_that_arrived_damaged_is_refused() {
    let nameserver = nameserver();
    let mut body = topics(&["T", "U"]);
    let crc = body_crc32(&body).to_string();
    let fields = with("bodyCrc32", &crc);
    assert_eq!(ask(&nameserver, RequestCode::REGISTER_BROKER, &fields, &body).code, ResponseCode::SUCCESS);
    body[40] ^= 1;
    let refused = ask(&nameserver, RequestCode::REGISTER_BROKER, &fields, &body);
    assert!(refused.remark.starts_with("crc32 not match"), "{}", refused.remark);
    assert!(matches!(&refused.effects[..], [Effect::Log(Change::RegistrationRefused { .. })]));
}

#[test]
fn a_bad_topic_does_not_keep_the_others_out() {
    let nameserver = nameserver();
    let registered = register(&nameserver, &["T", "bad topic", "U"]);
    assert_eq!(registered.code, ResponseCode::SUCCESS);
    let refused = registered.effects.iter().find(|effect| matches!(effect, Effect::Log(Change::TopicsRefused { .. })));
    let Some(Effect::Log(refused)) = refused else { panic!("{:?}", registered.effects) };
    assert_eq!(
        refused.to_string(),
        "1 topics of broker `b` are left out; the first: topic `bad topic` has the character ' ', which cannot be in it"
    );
    let list = ask(&nameserver, RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER, &[], b"");
    assert_eq!(list.body, r#"{"topicList":["T","U"]}"#);
    let effects = register(&nameserver, &["T", "bad topic", "U"]).effects;
    assert_eq!(effects, [], "nothing changed, nothing is said");
}

#[test]
fn the_order_configuration_is_shown_when_it_is_switched_on() {
    let nameserver = nameserver();
    assert_eq!(register(&nameserver, &["T", "U"]).body, "", "no namespace, no table: brokers keep their flags");
    let put = [("namespace", "ORDER_TOPIC_CONFIG"), ("key", "T"), ("value", "b:4")];
    assert_eq!(ask(&nameserver, RequestCode::PUT_KV_CONFIG, &put, b"").code, ResponseCode::SUCCESS);
    assert_eq!(register(&nameserver, &["T", "U"]).body, r#"{"table":{"T":"b:4"}}"#);
    assert!(!route(&nameserver, "T").body.contains("orderTopicConf"));
    let on = ask(&nameserver, RequestCode::UPDATE_NAMESRV_CONFIG, &[], b"orderMessageEnable=true\n");
    assert_eq!(on.code, ResponseCode::SUCCESS);
    assert!(route(&nameserver, "T").body.contains(r#""orderTopicConf":"b:4""#));
    assert!(!route(&nameserver, "U").body.contains("orderTopicConf"));
    ask(&nameserver, RequestCode::DELETE_KV_CONFIG, &put[..2], b"");
    assert!(!route(&nameserver, "T").body.contains("orderTopicConf"));
    assert_eq!(register(&nameserver, &["T", "U"]).body, r#"{"table":{}}"#);
}

#[test]
fn settings_are_shown_and_changed() {
    let nameserver = nameserver();
    let update = |text: &str| ask(&nameserver, RequestCode::UPDATE_NAMESRV_CONFIG, &[], text.as_bytes());
    let shown = ask(&nameserver, RequestCode::GET_NAMESRV_CONFIG, &[], b"").body;
    assert!(shown.contains("\nlistenPort=9876\n") && shown.contains("\nwaitSecondsForService=45\n"), "{shown}");
    let locked = update("kvConfigPath=x");
    let told = "Can not update config in black list. `kvConfigPath` can only be set where the nameserver is started";
    assert_eq!((locked.code, locked.remark.as_str()), (ResponseCode::NO_PERMISSION, told));
    assert_eq!(update("configStorePath=x").code, ResponseCode::NO_PERMISSION);
    let fixed = update("listenPort=1");
    assert!(fixed.code == ResponseCode::SYSTEM_ERROR && fixed.remark.contains("counts only at start"));
    assert_eq!(update("").remark, "no setting is named; lines of `key=value` are expected");
    assert_eq!(update("serverWorkerThreads=9").code, ResponseCode::SUCCESS);
    assert!(ask(&nameserver, RequestCode::GET_NAMESRV_CONFIG, &[], b"").body.contains("\nserverWorkerThreads=9\n"));
    assert_eq!(update("enableTopicList=false\nnonsense=1").code, ResponseCode::SYSTEM_ERROR);
    let cluster = [("cluster", "c")];
    let list = || ask(&nameserver, RequestCode::GET_TOPICS_BY_CLUSTER, &cluster, b"").code;
    assert_eq!(list(), ResponseCode::SUCCESS);
    assert_eq!(update("enableTopicList=false\nenableAllTopicList=false").code, ResponseCode::SUCCESS);
    assert_eq!(list(), ResponseCode::SYSTEM_ERROR);
    let all = ask(&nameserver, RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER, &[], b"");
    assert_eq!(all.remark, "enableAllTopicList is switched off");
}

#[test]
fn routes_wait_for_brokers_after_a_start_when_asked_to() {
    let nameserver = nameserver();
    register(&nameserver, &["T", "U"]);
    ask(&nameserver, RequestCode::UPDATE_NAMESRV_CONFIG, &[], b"needWaitForService=true\nwaitSecondsForService=30");
    let get = request(RequestCode::GET_ROUTEINFO_BY_TOPIC, &[("topic", "T")], b"");
    assert_eq!(ask_at(&nameserver, 29_999, &get).code, ResponseCode::SYSTEM_ERROR);
    assert_eq!(ask_at(&nameserver, 30_000, &get).code, ResponseCode::SUCCESS);
}

#[test]
fn a_broker_learns_whether_its_version_is_known() {
    let nameserver = nameserver();
    let ask = |body: &[u8]| ask(&nameserver, RequestCode::QUERY_DATA_VERSION, &BROKER, body);
    let changed = |asked: &Asked| asked.fields == [("changed".to_owned(), "true".to_owned())];
    let stranger = ask(br#"{"counter":0,"stateVersion":0,"timestamp":0}"#);
    assert!(changed(&stranger) && stranger.body.is_empty());
    register(&nameserver, &["T", "U"]);
    let same = ask(br#"{"counter":0,"stateVersion":0,"timestamp":0}"#);
    assert!(!changed(&same));
    assert_eq!(same.body, r#"{"counter":0,"stateVersion":0,"timestamp":0}"#);
    assert!(changed(&ask(br#"{"counter":1,"stateVersion":0,"timestamp":0}"#)));
}

#[test]
fn heartbeats_keep_a_broker() {
    let nameserver = nameserver();
    register(&nameserver, &["T", "U"]);
    let heartbeat = request(RequestCode::BROKER_HEARTBEAT, &BROKER, b"");
    assert_eq!(ask_at(&nameserver, 100_000, &heartbeat).code, ResponseCode::SUCCESS);
    nameserver.tick(220_000, &mut Vec::new());
    assert_eq!(route(&nameserver, "T").code, ResponseCode::SUCCESS);
    nameserver.tick(220_001, &mut Vec::new());
    assert_eq!(route(&nameserver, "T").code, ResponseCode::TOPIC_NOT_EXIST);
}

#[test]
fn members_of_a_group_are_listed() {
    let nameserver = nameserver();
    register(&nameserver, &["T", "U"]);
    let group = |name| {
        ask(&nameserver, RequestCode::GET_BROKER_MEMBER_GROUP, &[("clusterName", "c"), ("brokerName", name)], b"").body
    };
    assert_eq!(group("b"), r#"{"brokerMemberGroup":{"brokerAddrs":{"0":"h:1"},"brokerName":"b","cluster":"c"}}"#);
    assert_eq!(group("x"), r#"{"brokerMemberGroup":{"brokerAddrs":{},"brokerName":"x","cluster":"c"}}"#);
}

#[test]
fn a_topic_is_put_in_by_hand() {
    let nameserver = nameserver();
    register(&nameserver, &["T", "U"]);
    let body = br#"{"queueDatas":[{"brokerName":"b","perm":6,"readQueueNums":2,"writeQueueNums":2}]}"#;
    let put = |topic| ask(&nameserver, RequestCode::REGISTER_TOPIC_IN_NAMESRV, &[("topic", topic)], body).code;
    assert_eq!(put("V"), ResponseCode::SUCCESS);
    assert_eq!(route(&nameserver, "V").code, ResponseCode::SUCCESS);
    assert_eq!(put("bad topic"), ResponseCode::INVALID_PARAMETER);
}

#[test]
fn who_does_not_wait_gets_no_answer() {
    let nameserver = nameserver();
    let mut bytes = Vec::new();
    FrameWriter::request(&mut bytes, Codec::Binary, RequestCode(9999), 1, Expect::Nothing).finish(b"");
    FrameWriter::response(&mut bytes, Codec::Json, ResponseCode::SUCCESS, 1, None).finish(b"");
    let mut rest = &bytes[..];
    while let Some(frame) = frame::split(rest).unwrap() {
        let (mut out, mut effects) = (Vec::new(), Vec::new());
        let arrival = Arrival { connection: ConnectionId(1), reader: Reader::LOOPBACK, now_ms: 0 };
        let handled = nameserver.handle(arrival, &frame, &mut FieldSpans::default(), &mut out, &mut effects);
        assert!(matches!(handled, Handled::Done) && out.is_empty());
        rest = &rest[frame.size..];
    }
}

#[test]
fn a_remark_does_not_grow_with_the_request() {
    let asked = route(&nameserver(), &"\u{1}".repeat(2_000_000));
    assert_eq!(asked.code, ResponseCode::TOPIC_NOT_EXIST);
    assert_eq!(asked.remark.len(), 1024);
}

const CODES: [i32; 26] = [
    100, 101, 102, 103, 104, 105, 106, 205, 206, 216, 217, 219, 224, 304, 311, 312, 313, 318, 319, 322, 327, 901, 904,
    34, 905, 0,
];

proptest! {
    #[test]
    fn no_request_makes_it_panic_or_stay_silent(
        code in proptest::sample::select(&CODES[..]),
        fields in proptest::collection::btree_map(
            proptest::sample::select(vec!["topic", "brokerName", "brokerAddr", "clusterName", "brokerId", "namespace",
                "key", "value", "cluster", "bodyCrc32", "heartbeatTimeoutMillis", "__ZONE_NAME", "__ZONE_MODE"]),
            prop_oneof![".{0,8}", "[a-z]:[0-9]{1,3}", "-?[0-9]{1,20}", Just("true".to_owned())], 0..8),
        body in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..60),
            r#"[{}\[\]",:a-z0-9=\n]{0,60}"#.prop_map(String::into_bytes),
            Just(topics(&["T", "U"])),
        ],
    ) {
        let nameserver = nameserver();
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let asked = ask(&nameserver, RequestCode(code), &fields, &body);
        prop_assert!(asked.code == ResponseCode::SUCCESS || !asked.remark.is_empty());
    }
}

#[test]
fn each_reader_is_told_addresses_that_it_can_use() {
    // The nameserver's container is in 172.18.0.0/16, behind 172.18.0.1.
    let table = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n\
        eth0 00000000 010012AC 0003 0 0 0 00000000 0 0 0\n\
        eth0 000012AC 00000000 0001 0 0 0 0000FFFF 0 0 0\n";
    let at = |peer: &str| Reader { peer: peer.parse().unwrap(), local: "172.18.0.2".parse().unwrap() };
    let (broker, neighbour, host) = (at("172.18.0.3"), at("172.18.0.4"), at("172.18.0.1"));
    let nameserver = nameserver();
    nameserver.set_surroundings(Surroundings::from_route_table(table, true));
    let fields = with("brokerAddr", "127.0.0.1:10911");
    let registration = request(RequestCode::REGISTER_BROKER, &fields, &topics(&["T", "U"]));
    assert_eq!(ask_from(&nameserver, broker, 0, &registration).code, ResponseCode::SUCCESS);

    let questions = [
        request(RequestCode::GET_ROUTEINFO_BY_TOPIC, &[("topic", "T")], b""),
        request(RequestCode::GET_BROKER_CLUSTER_INFO, &[], b""),
        request(RequestCode::GET_BROKER_MEMBER_GROUP, &[("clusterName", "c"), ("brokerName", "b")], b""),
        request(RequestCode::GET_SYSTEM_TOPIC_LIST_FROM_NS, &[], b""),
    ];
    for question in &questions {
        // Each twice, so that kept texts are seen not to be mixed up.
        for _ in 0..2 {
            let outside = ask_from(&nameserver, host, 0, question).body;
            assert!(outside.contains("127.0.0.1:10911"), "{outside}");
            let inside = ask_from(&nameserver, neighbour, 0, question).body;
            assert_eq!(inside, outside.replace("127.0.0.1:10911", "172.18.0.3:10911"));
        }
    }
}
