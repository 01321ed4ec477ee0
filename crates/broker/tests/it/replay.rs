//! Recorded requests of official clients, played to a fresh broker; its answers beside those of the Java broker.
//!
//! Compared are codes, names and kinds of fields, the values that a broker in the same state must repeat, stored
//! messages, and the shape of JSON bodies. What is meant to differ stands in [`known`].

mod beginning;
mod compare;
mod known;
mod player;
mod rewrite;
mod shape;

use std::collections::BTreeMap;
use std::time::Duration;

use broker::config::BrokerConfig;
use player::{Style, play};
use protocol::codes::RequestCode;

use crate::recording::lines;
use crate::server::Server;
use crate::wire::Wire;

/// Delays and checks of transactions at a pace that tests can wait for.
fn quick(config: &mut BrokerConfig) {
    let delays_ms = [[150; 4], [3_600_000; 4]].concat();
    config.delay_levels = delays_ms.into_iter().map(Duration::from_millis).collect();
    config.transaction_timeout = Duration::from_millis(200).into();
    config.property_filter = true.into();
    config.timer_max_delay = Duration::from_secs(3 * 24 * 3600).into();
}

/// Plays a recording; fails when something differs that is not known to.
#[track_caller]
fn check(name: &str, style: Style, answers: usize, pushes: usize) {
    check_on(&Server::start_with(quick), name, style, BTreeMap::new(), answers, pushes);
}

#[track_caller]
fn check_on(server: &Server, name: &str, style: Style, wires: BTreeMap<String, Wire>, answers: usize, pushes: usize) {
    let outcome = play(server, &lines(name), style, wires);
    let unknown = known::unknown(name, &outcome.differences);
    let text: Vec<String> =
        unknown.iter().map(|found| format!("{name}:{} {}: {}", found.line, found.request, found.what)).collect();
    assert!(text.is_empty(), "{}", text.join("\n"));
    assert_eq!((outcome.answers, outcome.pushes), (answers, pushes), "answers and requests of the broker");
}

/// One test for each recording: answers and requests of the broker that are compared.
macro_rules! recordings {
    ($($test:ident: $name:literal, $answers:literal, $pushes:literal;)*) => {$(
        #[test]
        fn $test() {
            check($name, Style::default(), $answers, $pushes);
        }
    )*};
}

recordings! {
    a_go_producer_is_answered: "go-simple", 1, 0;
    go_sends_of_all_kinds_are_answered: "go-async-oneway-batch", 5, 0;
    a_go_consumer_is_answered: "go-consumer", 52, 1;
    a_go_consumer_gets_a_delayed_message: "go-delay", 40, 1;
    a_go_transaction_is_asked_about_and_committed: "go-transaction", 68, 2;
    a_go_orderly_consumer_locks_its_queues: "go-orderly-consumer", 63, 1;
    go_broadcast_consumers_are_answered: "go-broadcast", 22, 0;
    go_retries_end_as_dead_letters: "go-retry", 57, 1;
    a_go_pull_consumer_is_answered: "go-pull-consumer", 27, 1;
    go_administration_is_answered: "go-admin", 4, 0;
    java_sends_of_all_kinds_are_answered: "java-simple", 14, 0;
    java_push_consumers_are_answered: "java-push-concurrent", 60, 2;
    a_java_orderly_consumer_locks_its_queues: "java-push-orderly", 49, 1;
    a_java_lite_pull_consumer_is_answered: "java-lite-pull", 41, 2;
    java_transactions_are_decided: "java-transaction", 29, 2;
    java_queries_find_messages: "java-query", 13, 0;
    binary_headers_are_answered_in_kind: "java-binary-header", 57, 1;
    an_old_java_client_is_answered: "java498-simple-and-push", 31, 1;
    java_delays_are_kept: "java-delay", 31, 1;
    traces_are_stored: "java-trace", 25, 1;
    java_requesters_get_their_replies: "java-request-reply", 32, 3;
    a_java_pop_consumer_is_answered: "java-pop-push", 48, 1;
}

#[test]
fn go_requesters_get_their_replies() {
    // Replies without a body, which are refused there and pushed on here.
    check("go-request-reply", Style { without: &[69, 71, 73, 75], ..Style::default() }, 31, 2);
}

#[test]
fn wrong_requests_are_answered_as_recorded() {
    // Lines 116 and 117 are a send without a birth time, which is taken here: all later offsets would be others.
    check("errors", Style { ids_from_broker: true, without: &[116, 117], ..Style::default() }, 123, 0);
}

#[test]
fn the_admin_tool_is_answered() {
    let server = Server::start_with(quick);
    // The producer and one of the two consumers that ran beside the tool were connected before the recording began.
    let subscription = r#"{"expressionType":"TAG","subString":"*","subVersion":1,"topic":"AdminTopic"}"#;
    let consumer = format!(
        r#"{{"consumeFromWhere":"CONSUME_FROM_FIRST_OFFSET","consumeType":"CONSUME_PASSIVELY","groupName":"CG_admin",
        "messageModel":"CLUSTERING","subscriptionDataSet":[{subscription}],"unitMode":false}}"#
    );
    let heartbeat = format!(
        r#"{{"clientID":"192.0.2.2@c1","consumerDataSet":[{consumer}],"producerDataSet":[{{"groupName":"PG_admin"}}]}}"#
    );
    let mut consumer = server.connect();
    consumer.call(RequestCode::HEART_BEAT, &[], heartbeat.as_bytes());
    let wires = BTreeMap::from([("c4".to_owned(), consumer)]);
    check_on(&server, "mqadmin", Style { partial: true, ..Style::default() }, wires, 686, 12);
}
