//! What Prometheus sees of a broker: after traffic of every kind, all that the board and the alerts ask for.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use broker::config::exporting::Exporting;
use metrics::lint::{self, Sample};
use metrics::{Naming, Options};
use protocol::codes::{Language, RequestCode, ResponseCode};
use protocol::record::Record;
use protocol::v2::{Code, SendMessageRequest, SendMessageResponse};

use crate::calls::{Introduction, introduce, pull, send};
use crate::grpc_door::client::Client;
use crate::server::Server;
use crate::wire::{Message, Wire};
use protocol::writer::Expect;

const HOUR: Duration = Duration::from_secs(3600);

fn start(options: Options) -> Server {
    Server::start_with(|config| {
        config.delay_levels = vec![Duration::from_millis(10), 30 * HOUR];
        config.transaction_timeout = HOUR.into();
        // Nobody is there.
        config.nameservers = vec!["127.0.0.1:9".into()];
        config.exporting = Exporting {
            is_open: true,
            port: Some(0),
            labels: vec![("zone".into(), "a".into())],
            options,
            ..Exporting::default()
        };
    })
}

#[track_caller]
fn succeeds(answer: &Message) {
    assert_eq!(answer.response_code(), ResponseCode::SUCCESS, "{answer:?}");
}

/// Sends a half message, and decides about it as `decision` says; 0 does not.
fn transaction(wire: &mut Wire, decision: &str) {
    let id = format!("half-{decision}");
    let properties = format!("TRAN_MSG\u{1}true\u{2}PGROUP\u{1}pg\u{2}UNIQ_KEY\u{1}{id}\u{2}");
    let sent = send(wire, "orders", &[("properties", &properties), ("sysFlag", "4")], b"half");
    succeeds(&sent);
    let position = protocol::message_id::OffsetMessageId::parse(&sent.fields["msgId"]).unwrap().position.to_string();
    let fields = [
        ("producerGroup", "pg"),
        ("tranStateTableOffset", &*sent.fields["queueOffset"]),
        ("commitLogOffset", &position),
        ("commitOrRollback", decision),
    ];
    if decision != "0" {
        succeeds(&wire.call(RequestCode::END_TRANSACTION, &fields, b""));
    }
}

fn pop(wire: &mut Wire) {
    let fields = [
        ("consumerGroup", "popping"),
        ("topic", "orders"),
        ("queueId", "-1"),
        ("maxMsgNums", "1"),
        ("invisibleTime", "600000"),
        ("pollTime", "0"),
        ("bornTime", "0"),
        ("initMode", "0"),
        ("order", "false"),
    ];
    succeeds(&wire.call(RequestCode::POP_MESSAGE, &fields, b""));
}

/// Traffic of every kind: topic `orders`, groups `cg` and `popping`. The client is there while the connection is.
#[must_use = "a client whose connection is closed is seen no more"]
fn traffic(server: &Server) -> Wire {
    let mut wire = server.connect();
    introduce(
        &mut wire,
        &Introduction { id: "one", group: "cg", topic: "orders", language: Language::GO, version: 317 },
    );
    for body in [b"a", b"b", b"c"] {
        succeeds(&send(&mut wire, "orders", &[], body));
    }
    for level in ["1", "2"] {
        succeeds(&send(&mut wire, "orders", &[("properties", &format!("DELAY\u{1}{level}\u{2}"))], b"later"));
    }
    ["8", "12", "0"].iter().for_each(|decision| transaction(&mut wire, decision));
    let found = pull(&mut wire, "orders", &[("consumerGroup", "cg")]);
    succeeds(&found);
    let offset = [("consumerGroup", "cg"), ("topic", "orders"), ("queueId", "0"), ("commitOffset", "1")];
    succeeds(&wire.call(RequestCode::UPDATE_CONSUMER_OFFSET, &offset, b""));
    let position = Record::parse(&found.body).unwrap().position().to_string();
    let back = [("group", "cg"), ("offset", &*position), ("delayLevel", "-1")];
    succeeds(&wire.call(RequestCode::CONSUMER_SEND_MSG_BACK, &back, b""));
    pop(&mut wire);
    let unknown = wire.call(RequestCode(9_999), &[], b"");
    assert_eq!(unknown.response_code(), ResponseCode::REQUEST_CODE_NOT_SUPPORTED);
    // The message that was delayed for a moment comes after those before it.
    let held = [("queueOffset", "4"), ("sysFlag", "6"), ("suspendTimeoutMillis", "10000")];
    succeeds(&pull(&mut wire, "orders", &held));
    let mut client = Client::connect(server.grpc_address());
    let messages = vec![crate::grpc_door::message("orders", "0100", b"by gRPC")];
    let sent: SendMessageResponse = client.call("SendMessage", &SendMessageRequest { messages });
    assert_eq!(sent.status.map(|status| status.code), Some(Code::Ok as i32));
    server.broker().writer.sync_now();
    wire
}

fn scrape(server: &Server, accept: &str) -> Vec<Sample> {
    let page = server.exporter().scrape(accept).body;
    lint::check(&page).unwrap_or_else(|error| panic!("{error}\n{page}"))
}

/// The value of the one series of that name and with those labels.
#[track_caller]
fn value(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> f64 {
    let fits = |sample: &&Sample| {
        sample.name == name
            && labels.iter().all(|(label, value)| sample.labels.get(*label).is_some_and(|is| is == value))
    };
    let found: Vec<&Sample> = samples.iter().filter(fits).collect();
    assert_eq!(found.len(), 1, "{name} {labels:?}: {found:?}");
    found[0].value
}

#[test]
fn traffic_is_shown_with_the_names_and_labels_of_stock_brokers() {
    let server = start(Options::default());
    let _wire = traffic(&server);
    let samples = scrape(&server, "");
    let value = |name: &str, labels: &[(&str, &str)]| value(&samples, name, labels);
    // Three, one that was delayed, one that was committed, one by gRPC; that waits where its turn came.
    let sent = [("topic", "orders"), ("message_type", "normal"), ("is_system", "false"), ("cluster", "DefaultCluster")];
    assert_eq!(value("rocketmq_messages_in_total", &sent), 6.0);
    assert!(value("rocketmq_throughput_in_total", &sent) > 600.0);
    assert_eq!(value("rocketmq_message_size_count", &sent), 6.0);
    assert_eq!(value("rocketmq_message_size_sum", &sent), value("rocketmq_throughput_in_total", &sent));
    let got = [("topic", "orders"), ("consumer_group", "cg"), ("is_retry", "false"), ("aggregation", "cumulative")];
    assert!(value("rocketmq_messages_out_total", &got) >= 4.0);
    let behind = [("topic", "orders"), ("consumer_group", "cg"), ("is_system", "false"), ("zone", "a")];
    assert!(value("rocketmq_consumer_lag_messages", &behind) >= 3.0);
    assert!(value("rocketmq_consumer_ready_messages", &behind) >= 3.0);
    assert!(value("rocketmq_consumer_lag_latency_milliseconds", &behind) >= 0.0);
    let popped = [("topic", "orders"), ("consumer_group", "popping")];
    assert_eq!(value("rocketmq_consumer_inflight_messages", &popped), 1.0);
    let client = [("language", "go"), ("version", "v4_5_2"), ("protocol_type", "remoting")];
    assert_eq!(value("rocketmq_producer_connections", &client), 1.0);
    let member = [("consumer_group", "cg"), ("consume_mode", "PUSH"), ("language", "go")];
    assert_eq!(value("rocketmq_consumer_connections", &member), 1.0);
    assert_eq!(value("rocketmq_send_to_dlq_messages_total", &[("consumer_group", "cg")]), 1.0);
    assert_eq!(value("rocketmq_half_messages", &[("topic", "orders")]), 1.0);
    assert_eq!(value("rocketmq_commit_messages_total", &[("topic", "orders")]), 1.0);
    assert_eq!(value("rocketmq_finish_message_latency_milliseconds_count", &[("topic", "orders")]), 1.0);
    assert_eq!(value("rocketmq_rollback_messages_total", &[("topic", "orders")]), 1.0);
    assert_eq!(value("rocketmq_timer_enqueue_total", &[("topic", "orders")]), 2.0);
    assert_eq!(value("rocketmq_timer_dequeue_total", &[("topic", "orders")]), 1.0);
    assert_eq!(value("apogee_delay_backlog_messages", &[("due_hour", "24+")]), 1.0);
    let sends = [("request_code", "send_message"), ("response_code", "success"), ("protocol_type", "remoting")];
    assert_eq!(value("rocketmq_rpc_latency_milliseconds_count", &sends), 8.0);
    let by_grpc = [("request_code", "send_message"), ("response_code", "ok"), ("protocol_type", "grpc")];
    assert_eq!(value("rocketmq_rpc_latency_milliseconds_count", &by_grpc), 1.0);
    let unknown = [("request_code", "unknown"), ("response_code", "request_code_not_supported")];
    assert_eq!(value("rocketmq_rpc_latency_milliseconds_count", &unknown), 1.0);
    assert!(value("apogee_store_fsync_seconds_count", &[]) >= 1.0);
    assert!(value("apogee_store_append_messages_sum", &[]) >= 8.0);
}

#[test]
fn requests_are_timed_that_are_held_answered_later_or_not_answered() {
    let server = start(Options::default());
    let (mut wire, mut consumer) = (server.connect(), server.connect());
    let topic = [("topic", "fresh"), ("defaultTopic", "TBW102"), ("readQueueNums", "1"), ("writeQueueNums", "1")];
    let topic = [&topic[..], &[("perm", "6"), ("topicFilterType", "SINGLE_TAG"), ("order", "false")]].concat();
    succeeds(&wire.call(RequestCode::UPDATE_AND_CREATE_TOPIC, &topic, b""));
    let of_system = [("topic", "SCHEDULE_TOPIC_XXXX")];
    let refused = wire.call(RequestCode::UPDATE_AND_CREATE_TOPIC, &[&of_system, &topic[1..]].concat(), b"");
    assert_eq!(refused.response_code(), ResponseCode::INVALID_PARAMETER);
    succeeds(&wire.call(RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, &[], br#"{"groupName":"cg"}"#));
    let pulled = [
        ("consumerGroup", "cg"),
        ("topic", "fresh"),
        ("queueId", "0"),
        ("queueOffset", "0"),
        ("maxMsgNums", "32"),
        ("sysFlag", "6"),
        ("commitOffset", "0"),
        ("suspendTimeoutMillis", "10000"),
        ("subscription", "*"),
        ("subVersion", "0"),
        ("expressionType", "TAG"),
    ];
    let popped = [
        ("consumerGroup", "popping"),
        ("topic", "fresh"),
        ("queueId", "-1"),
        ("maxMsgNums", "1"),
        ("invisibleTime", "600000"),
        ("pollTime", "10000"),
        ("bornTime", "0"),
        ("initMode", "0"),
        ("order", "false"),
    ];
    let held = [
        consumer.request(RequestCode::PULL_MESSAGE, &pulled, b""),
        consumer.request(RequestCode::POP_MESSAGE, &popped, b""),
    ];
    consumer.settle();
    let sent =
        [("producerGroup", "pg"), ("topic", "fresh"), ("defaultTopic", "TBW102"), ("defaultTopicQueueNums", "1")];
    let more = [("queueId", "0"), ("sysFlag", "0"), ("bornTimestamp", "0"), ("flag", "0"), ("properties", "")];
    wire.request_as(RequestCode::SEND_MESSAGE, Expect::Nothing, &[&sent[..], &more].concat(), b"oneway");
    held.into_iter().for_each(|opaque| succeeds(&consumer.answer(opaque)));
    wire.request_as(RequestCode::QUERY_CONSUMER_OFFSET, Expect::Nothing, &[("topic", "fresh")], b"");
    wire.settle();
    let samples = scrape(&server, "");
    let count = |request: &str, response: &str, held: &str, result: &str| {
        let labels =
            [("request_code", request), ("response_code", response), ("is_long_polling", held), ("result", result)];
        value(&samples, "rocketmq_rpc_latency_milliseconds_count", &labels)
    };
    assert_eq!(count("update_and_create_topic", "success", "false", "success"), 1.0);
    let created = |what: &str, status: &str, is_system: &str| {
        let name = format!("rocketmq_{what}_create_execution_time_milliseconds_count");
        value(&samples, &name, &[("invocation_status", status), ("is_system", is_system)])
    };
    assert_eq!(created("topic", "success", "false"), 1.0);
    assert_eq!(created("topic", "failure", "true"), 1.0);
    assert_eq!(created("consumer_group", "success", "false"), 1.0);
    assert_eq!(count("pull_message", "success", "true", "success"), 1.0);
    assert_eq!(count("pop_message", "success", "true", "success"), 1.0);
    assert_eq!(count("send_message", "success", "false", "oneway"), 1.0);
    assert_eq!(count("query_consumer_offset", "system_error", "false", "oneway"), 1.0);
}

#[test]
fn both_formats_and_all_namings_can_be_scraped() {
    for naming in [Naming::Suffixed, Naming::Plain, Naming::Both] {
        let server = start(Options { naming, ..Options::default() });
        let _wire = traffic(&server);
        for accept in ["", "application/openmetrics-text;version=1.0.0"] {
            let names: BTreeSet<String> = scrape(&server, accept).into_iter().map(|sample| sample.name).collect();
            let has = |name: &str| names.contains(name);
            let (suffixed, plain) =
                (has("rocketmq_consumer_lag_latency_milliseconds"), has("rocketmq_consumer_lag_latency"));
            assert_eq!((suffixed, plain), (naming != Naming::Plain, naming != Naming::Suffixed));
            assert!(has("rocketmq_messages_in_total") && !has("rocketmq_messages_in_total_total"));
        }
    }
}

#[test]
fn the_port_serves_scrapes_and_probes() {
    let server = start(Options::default());
    let ask = |path: &str| {
        let mut stream = TcpStream::connect(server.metrics_address()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(ask("/metrics").contains("\nrocketmq_broker_permission{"));
    assert!(ask("/readyz").starts_with("HTTP/1.1 200 OK"));
    server.broker().shutdown.cancel();
    assert!(ask("/readyz").starts_with("HTTP/1.1 503"));
    assert!(ask("/livez").starts_with("HTTP/1.1 200 OK"));
}

#[test]
fn what_is_deleted_is_shown_no_more() {
    let server = start(Options::default());
    let mut wire = traffic(&server);
    succeeds(&wire.call(RequestCode::DELETE_TOPIC_IN_BROKER, &[("topic", "orders")], b""));
    succeeds(&wire.call(RequestCode::DELETE_SUBSCRIPTIONGROUP, &[("groupName", "popping")], b""));
    let samples = scrape(&server, "");
    let names_it = |sample: &&Sample| {
        sample.labels.get("topic").is_some_and(|topic| topic == "orders")
            // A half message that waits is there, whatever became of its topic.
            && sample.name != "rocketmq_half_messages"
    };
    assert_eq!(samples.iter().find(names_it), None);
    assert!(!samples.iter().any(|sample| sample.labels.values().any(|value| value == "popping")));
}

/// Every query of the board and of the alerts.
fn queries() -> Vec<String> {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
    let board = std::fs::read_to_string(deploy.join("grafana/dashboards/apogee.json")).unwrap();
    let mut queries = Vec::new();
    collect(&serde_json::from_str(&board).unwrap(), &mut queries);
    let rules = std::fs::read_to_string(deploy.join("prometheus/alerts.yml")).unwrap();
    let of_rules: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).collect();
    assert_eq!(of_rules.len(), rules.matches("alert: ").count());
    queries.extend(of_rules.into_iter().map(str::to_owned));
    queries
}

fn collect(value: &serde_json::Value, queries: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (key, value) in fields {
                match value.as_str() {
                    Some(query) if key == "expr" || key == "query" => queries.push(query.to_owned()),
                    _ => collect(value, queries),
                }
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect(item, queries)),
        _ => {}
    }
}

#[test]
fn every_query_of_board_and_alerts_asks_for_series_that_are_there() {
    let server = start(Options::default());
    let _wire = traffic(&server);
    let there: BTreeSet<String> = scrape(&server, "").into_iter().map(|sample| sample.name).collect();
    let queries = queries();
    assert!(queries.len() > 40, "{}", queries.len());
    for query in queries {
        let asked = lint::names_in(&query);
        // Those of nameservers are checked where nameservers are.
        let missing: Vec<&String> =
            asked.iter().filter(|name| !name.starts_with("apogee_namesrv_") && !there.contains(*name)).collect();
        assert!(missing.is_empty(), "{missing:?} in {query}");
        assert!(!asked.is_empty() || query.contains("up{") || query == "prometheus", "{query}");
    }
}
