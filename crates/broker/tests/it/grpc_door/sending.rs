//! SendMessage.

use protocol::codes::{RequestCode, ResponseCode};
use protocol::properties::{self, Properties};
use protocol::record::{self, Record};
use protocol::v2::{
    self, Code, MessageType, RecallMessageRequest, RecallMessageResponse, SendMessageRequest, SendMessageResponse,
};

use super::client::Client;
use super::{code, message};
use crate::calls::pull;
use crate::server::Server;

fn start() -> (Server, Client) {
    let server = Server::start();
    let client = Client::connect(server.grpc_address());
    (server, client)
}

fn send(client: &mut Client, messages: Vec<v2::Message>) -> SendMessageResponse {
    client.call("SendMessage", &SendMessageRequest { messages })
}

fn attribute(server: &Server, topic: &str, kind: &str) {
    let broker = server.broker();
    let mut settings = broker::topics::TopicSettings::new(topic, 4, broker::topics::Permission::READ_WRITE);
    settings.attributes.insert("message.type".into(), kind.into());
    broker.topics.put(settings, 1);
}

/// Every stored record of a topic with four queues.
fn stored(server: &Server, topic: &str) -> Vec<Vec<u8>> {
    let mut wire = server.connect();
    let mut all = Vec::new();
    for queue in ["0", "1", "2", "3"] {
        let answer = pull(&mut wire, topic, &[("queueId", queue)]);
        if answer.response_code() == ResponseCode::SUCCESS {
            all.extend(record::records(&answer.body).map(|record| record.bytes().to_vec()));
        }
    }
    all
}

#[test]
fn what_is_sent_by_grpc_is_pulled_by_remoting_with_everything_it_says() {
    let (server, mut client) = start();
    let mut sent = message("orders", "01AB", b"hello");
    sent.user_properties.insert("colour".into(), "grün".into());
    let system = sent.system_properties.as_mut().unwrap();
    system.tag = Some("TagA".into());
    system.keys = vec!["k1".into(), "k2".into()];
    system.born_timestamp = Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 123_000_000 });
    system.born_host = "somewhere".into();
    system.trace_context = Some("trace".into());
    system.delivery_attempt = Some(77);
    let answer = send(&mut client, vec![sent]);
    assert_eq!(code(&answer.status), Code::Ok);
    let [entry] = &answer.entries[..] else { panic!("{answer:?}") };
    assert_eq!(code(&entry.status), Code::Ok);
    assert_eq!((entry.message_id.as_str(), entry.transaction_id.as_str(), entry.offset), ("01AB", "01AB", 0));

    let [bytes] = &stored(&server, "orders")[..] else { panic!("not stored once") };
    let record = Record::parse(bytes).unwrap();
    assert_eq!((record.body(), record.born_timestamp_ms()), (&b"hello"[..], 1_700_000_000_123));
    assert_eq!(record.reconsume_times(), 0);
    let given = record.properties();
    for (name, value) in [
        ("colour", "grün"),
        ("TAGS", "TagA"),
        ("KEYS", "k1 k2"),
        ("UNIQ_KEY", "01AB"),
        ("__BORNHOST", "somewhere"),
        ("TRACE_CONTEXT", "trace"),
        ("CLUSTER", "DefaultCluster"),
    ] {
        assert_eq!(given.get(name), Some(value), "{name}");
    }

    let shown = broker::grpc::message_of(&record, bytes::Bytes::copy_from_slice(record.body()));
    let system = shown.system_properties.unwrap();
    assert_eq!(shown.user_properties.into_iter().collect::<Vec<_>>(), [("colour".to_owned(), "grün".to_owned())]);
    assert_eq!(system.body_digest.unwrap().checksum, "5D41402ABC4B2A76B9719D911017C592");
    assert_eq!((system.keys, system.born_host.as_str()), (vec!["k1".to_owned(), "k2".to_owned()], "somewhere"));
    assert_eq!((system.body_encoding, system.message_type), (1, 1));
}

#[test]
fn several_messages_get_one_entry_each_and_stay_in_order_in_one_queue() {
    let (server, mut client) = start();
    let many = (0..10).map(|n| message("orders", &format!("id{n}"), format!("{n}").as_bytes())).collect();
    let answer = send(&mut client, many);
    assert_eq!(code(&answer.status), Code::Ok);
    let ids: Vec<String> = answer.entries.iter().map(|entry| entry.message_id.clone()).collect();
    assert_eq!(ids, (0..10).map(|n| format!("id{n}")).collect::<Vec<_>>());
    assert_eq!(answer.entries.iter().map(|entry| entry.offset).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    let bodies: Vec<u8> =
        stored(&server, "orders").iter().flat_map(|bytes| Record::parse(bytes).unwrap().body().to_vec()).collect();
    assert_eq!(bodies, b"0123456789");
}

#[test]
fn messages_of_a_group_go_to_one_queue_alone_or_together() {
    let (server, mut client) = start();
    attribute(&server, "fifo", "FIFO");
    let of_group = |id: &str, group: &str| {
        let mut sent = message("fifo", id, b"x");
        sent.system_properties.as_mut().unwrap().message_group = Some(group.into());
        sent
    };
    for group in 0..8 {
        let group = format!("group-{group}");
        let together = send(&mut client, vec![of_group("a", &group), of_group("b", &group)]);
        let alone = send(&mut client, vec![of_group("c", &group)]);
        assert_eq!((code(&together.status), code(&alone.status)), (Code::Ok, Code::Ok));
    }
    let records = stored(&server, "fifo");
    let mut queues = std::collections::BTreeMap::new();
    for bytes in &records {
        let record = Record::parse(bytes).unwrap();
        let group = record.properties().get("__SHARDINGKEY").unwrap().to_owned();
        let queue = *queues.entry(group).or_insert(record.queue_id());
        assert_eq!(queue, record.queue_id());
    }
    assert_eq!((records.len(), queues.len()), (24, 8));
    assert!(queues.values().collect::<std::collections::BTreeSet<_>>().len() > 1, "all in one queue: {queues:?}");
}

#[test]
fn each_check_has_its_code() {
    let (server, mut client) = start();
    attribute(&server, "mixed", "MIXED");
    let mut check = |change: &dyn Fn(&mut v2::Message), expected: Code| {
        let mut sent = message("mixed", "id", b"x");
        change(&mut sent);
        let answer = send(&mut client, vec![sent]);
        assert_eq!(code(&answer.status), expected, "{answer:?}");
        assert!(expected == Code::Ok || answer.entries.is_empty());
    };
    let system = |change: fn(&mut v2::SystemProperties)| {
        move |message: &mut v2::Message| change(message.system_properties.as_mut().unwrap())
    };
    check(&|_| {}, Code::Ok);
    check(&|message| message.topic = None, Code::IllegalTopic);
    check(&|message| message.topic = super::resource("a$b"), Code::IllegalTopic);
    check(&|message| message.topic = super::resource("TBW102"), Code::IllegalTopic);
    check(&|message| message.body = Vec::new().into(), Code::MessageBodyEmpty);
    check(&|message| message.body = vec![1; (4 << 20) + 1].into(), Code::MessageBodyTooLarge);
    check(&|message| message.body = vec![1; 4 << 20].into(), Code::Ok);
    check(
        &|message| message.user_properties = (0..129).map(|n| (n.to_string(), String::new())).collect(),
        Code::MessagePropertiesTooLarge,
    );
    let property = |name: &'static str, value: String| {
        move |message: &mut v2::Message| {
            message.user_properties.insert(name.into(), value.clone());
        }
    };
    check(&property("KEYS", "x".into()), Code::IllegalMessagePropertyKey);
    check(&property("a", "\u{1}".into()), Code::IllegalMessagePropertyKey);
    check(&property("a", "x".repeat(16_384)), Code::MessagePropertiesTooLarge);
    check(&property("a", "x".repeat(16_383)), Code::Ok);
    check(&system(|system| system.tag = Some("a|b".into())), Code::IllegalMessageTag);
    check(&system(|system| system.keys = vec![" ".into()]), Code::IllegalMessageKey);
    check(&system(|system| system.message_id = " ".into()), Code::IllegalMessageId);
    check(&system(|system| system.message_group = Some("x".repeat(64))), Code::IllegalMessageGroup);
    check(&system(|system| system.message_group = Some("x".repeat(63))), Code::Ok);
    check(
        &system(|system| {
            system.message_type = MessageType::Transaction.into();
            let seconds = 3_601;
            system.orphaned_transaction_recovery_duration = Some(prost_types::Duration { seconds, nanos: 0 });
        }),
        Code::BadRequest,
    );
    let due = |seconds| {
        move |message: &mut v2::Message| {
            let due = Some(prost_types::Timestamp { seconds, nanos: 0 });
            message.system_properties.as_mut().unwrap().delivery_timestamp = due;
        }
    };
    check(&due(i64::MAX), Code::IllegalDeliveryTime);
    check(&due(i64::MIN), Code::Ok);
    check(&due(1_000_000_000), Code::Ok);
    check(&system(|system| system.priority = Some(-1)), Code::InternalServerError);
    check(&system(|system| system.lite_topic = Some("x".into())), Code::Unsupported);
    check(&|message| message.system_properties = None, Code::IllegalMessageId);
    check(&system(|system| (system.message_type, system.body_encoding) = (999, -7)), Code::Ok);

    let answer = send(&mut client, Vec::new());
    assert_eq!(code(&answer.status), Code::MessageCorrupted);
    let answer = send(&mut client, vec![message("mixed", "a", b"x"), message("other", "b", b"x")]);
    assert_eq!(code(&answer.status), Code::MessageCorrupted);
}

#[test]
fn a_topic_takes_the_messages_of_its_type() {
    let (server, mut client) = start();
    for (topic, kind) in [("n", "NORMAL"), ("f", "FIFO"), ("d", "DELAY"), ("t", "TRANSACTION"), ("m", "MIXED")] {
        attribute(&server, topic, kind);
    }
    let mut check = |kind: &str, change: fn(&mut v2::SystemProperties)| {
        for topic in ["n", "f", "d", "t", "m"] {
            let mut sent = message(topic, "id", b"x");
            change(sent.system_properties.as_mut().unwrap());
            let answer = send(&mut client, vec![sent]);
            let fits = topic == kind || topic == "m";
            let expected = if fits { Code::Ok } else { Code::MessagePropertyConflictWithType };
            assert_eq!(code(&answer.status), expected, "{kind} to {topic}");
        }
    };
    check("n", |_| {});
    check("f", |system| system.message_group = Some("g".into()));
    check("d", |system| {
        system.delivery_timestamp = Some(prost_types::Timestamp { seconds: 1, nanos: 0 });
        system.message_group = Some("g".into());
    });
    check("t", |system| system.message_type = MessageType::Transaction.into());
}

#[test]
fn a_delayed_message_waits_and_keeps_its_moment() {
    let (server, mut client) = start();
    attribute(&server, "later", "DELAY");
    let due_ms = server.broker().clock.now_ms() + 300;
    let mut sent = message("later", "id", b"x");
    let due = prost_types::Timestamp { seconds: due_ms / 1000, nanos: (due_ms % 1000 * 1_000_000) as i32 };
    sent.system_properties.as_mut().unwrap().delivery_timestamp = Some(due);
    assert_eq!(code(&send(&mut client, vec![sent]).status), Code::Ok);
    assert!(stored(&server, "later").is_empty());
    let mut wire = server.connect();
    let arrived = (0..4).cycle().find_map(|queue: i32| {
        let answer = pull(&mut wire, "later", &[("queueId", &queue.to_string())]);
        (answer.response_code() == ResponseCode::SUCCESS).then_some(answer.body)
    });
    let record = Record::parse(arrived.as_ref().unwrap()).unwrap();
    assert!(record.store_timestamp_ms() >= due_ms, "{} before {due_ms}", record.store_timestamp_ms());
    let shown = broker::grpc::message_of(&record, bytes::Bytes::new());
    assert_eq!(shown.system_properties.unwrap().delivery_timestamp, Some(due));
}

#[test]
fn with_sync_flush_a_send_is_answered_and_kept() {
    let mut server = Server::start_with(|config| config.flush = broker::config::Flush::Sync);
    let mut client = Client::connect(server.grpc_address());
    assert_eq!(code(&send(&mut client, vec![message("orders", "id", b"kept")]).status), Code::Ok);
    server.restart();
    let records = stored(&server, "orders");
    let given = Record::parse(&records[0]).unwrap().properties_bytes().to_vec();
    assert_eq!(Properties::new(&given).get(properties::UNIQ_KEY), Some("id"));
}

#[test]
fn a_delayed_message_is_recalled_once_and_never_delivered() {
    let (server, mut client) = start();
    attribute(&server, "later", "DELAY");
    let mut recall = |topic: &str, handle: &str| {
        let request = RecallMessageRequest { topic: super::resource(topic), recall_handle: handle.to_owned() };
        let answer: RecallMessageResponse = client.call("RecallMessage", &request);
        (code(&answer.status), answer.message_id)
    };
    assert_eq!(recall("later", "nonsense").0, Code::InternalServerError);
    attribute(&server, "normal", "NORMAL");
    assert_eq!(recall("normal", "nonsense").0, Code::MessagePropertyConflictWithType);

    let mut sent = message("later", "id", b"x");
    let seconds = server.broker().clock.now_ms() / 1000 + 3600;
    sent.system_properties.as_mut().unwrap().delivery_timestamp = Some(prost_types::Timestamp { seconds, nanos: 0 });
    let answer = send(&mut client, vec![sent]);
    let handle = answer.entries[0].recall_handle.clone();
    let mut recall = |handle: &str| {
        let request = RecallMessageRequest { topic: super::resource("later"), recall_handle: handle.to_owned() };
        let answer: RecallMessageResponse = client.call("RecallMessage", &request);
        (code(&answer.status), answer.message_id)
    };
    assert_eq!(recall(&handle), (Code::Ok, "id".to_owned()));
    assert_eq!(recall(&handle).0, Code::InternalServerError);
    assert!(stored(&server, "later").is_empty());
    let answer = send(&mut client, vec![message("well", "now", b"x")]);
    assert_eq!(answer.entries[0].recall_handle, "");
}

#[test]
fn a_delayed_message_is_recalled_by_the_other_door_too() {
    let (server, mut client) = start();
    attribute(&server, "later", "DELAY");
    let mut wire = server.connect();
    let seconds = server.broker().clock.now_ms() / 1000 + 3600;

    let mut sent = message("later", "near", b"x");
    sent.system_properties.as_mut().unwrap().delivery_timestamp = Some(prost_types::Timestamp { seconds, nanos: 0 });
    let handle = send(&mut client, vec![sent]).entries[0].recall_handle.clone();
    let fields = [("producerGroup", "pg"), ("topic", "later"), ("recallHandle", handle.as_str())];
    let recalled = wire.call(RequestCode::RECALL_MESSAGE, &fields, b"");
    assert_eq!(recalled.response_code(), ResponseCode::SUCCESS, "{recalled:?}");
    assert_eq!(recalled.fields["msgId"], "near");

    let mut given = Vec::new();
    properties::push(&mut given, properties::UNIQ_KEY, "far");
    properties::push(&mut given, properties::TIMER_DELIVER_MS, &(seconds * 1000).to_string());
    let given = String::from_utf8(given).unwrap();
    let sent = crate::calls::send(&mut wire, "later", &[("properties", &given)], b"x");
    let handle = sent.fields["recallHandle"].clone();
    let request = RecallMessageRequest { topic: super::resource("later"), recall_handle: handle };
    let answer: RecallMessageResponse = client.call("RecallMessage", &request);
    assert_eq!((code(&answer.status), answer.message_id.as_str()), (Code::Ok, "far"));
}
