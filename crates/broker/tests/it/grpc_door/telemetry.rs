//! Telemetry, heartbeats and goodbyes.

use std::sync::Arc;

use protocol::v2::settings::PubSub;
use protocol::v2::telemetry_command::Command;
use protocol::v2::{
    ClientType, Code, FilterExpression, FilterType, HeartbeatRequest, HeartbeatResponse,
    NotifyClientTerminationRequest, NotifyClientTerminationResponse, Publishing, Settings, Subscription,
    SubscriptionEntry, TelemetryCommand, retry_policy,
};

use super::client::{Client, Stream};
use super::{code, resource};
use crate::server::Server;

/// Settings of a producer of these topics.
pub fn producer(topics: &[&str]) -> TelemetryCommand {
    let topics = topics.iter().filter_map(|topic| resource(topic)).collect();
    let publishing = Publishing { topics, max_body_size: 128 << 20, validate_message_type: false };
    settings(ClientType::Producer, PubSub::Publishing(publishing))
}

/// Settings of a consumer of these topics.
pub fn consumer(group: &str, topics: &[&str], kind: ClientType) -> TelemetryCommand {
    let subscriptions = topics.iter().map(|topic| SubscriptionEntry {
        topic: resource(topic),
        expression: Some(FilterExpression { r#type: 1, expression: "*".into() }),
    });
    let subscription =
        Subscription { group: resource(group), subscriptions: subscriptions.collect(), ..Subscription::default() };
    settings(kind, PubSub::Subscription(subscription))
}

fn settings(kind: ClientType, pub_sub: PubSub) -> TelemetryCommand {
    let settings = Settings { client_type: Some(kind.into()), pub_sub: Some(pub_sub), ..Settings::default() };
    TelemetryCommand { status: None, command: Some(Command::Settings(settings)) }
}

/// How a stream ends on which something was said that cannot be: with a status first, which some clients need to give up.
#[track_caller]
fn refused(stream: &mut Stream<'_>) -> (Code, String) {
    let told: TelemetryCommand = stream.hear().unwrap();
    assert!(told.command.is_none(), "{told:?}");
    let ended = stream.hear::<TelemetryCommand>().unwrap_err();
    assert_eq!(ended.status.as_deref(), Some("3"), "{ended:?}");
    assert!(!ended.text.is_empty());
    (code(&told.status), told.status.unwrap().message)
}

/// The settings of an answer.
pub fn answered(command: TelemetryCommand) -> Settings {
    assert_eq!(code(&command.status), Code::Ok);
    let Some(Command::Settings(settings)) = command.command else { panic!("{command:?}") };
    settings
}

fn beat(group: Option<&str>, kind: ClientType) -> HeartbeatRequest {
    HeartbeatRequest { group: group.and_then(resource), client_type: kind.into() }
}

#[test]
fn settings_of_producers_are_answered_complete_and_as_often_as_they_come() {
    let server = Server::start();
    let mut client = Client::connect(server.grpc_address());
    let mut stream = client.open("Telemetry");
    for topics in [&["orders"][..], &[], &["orders", "more"]] {
        stream.say(&producer(topics));
        let settings = answered(stream.hear().unwrap());
        let policy = settings.backoff_policy.unwrap();
        assert_eq!(policy.max_attempts, 3);
        assert!(matches!(policy.strategy, Some(retry_policy::Strategy::ExponentialBackoff(_))));
        assert!(settings.metric.is_some_and(|metric| !metric.on));
        let Some(PubSub::Publishing(publishing)) = settings.pub_sub else { panic!("another kind") };
        assert_eq!((publishing.max_body_size, publishing.validate_message_type), (4 << 20, true));
        assert_eq!(publishing.topics.len(), topics.len());
    }
    stream.half_close();
    assert_eq!(stream.hear::<TelemetryCommand>().unwrap_err().status.as_deref(), Some("0"));
}

#[test]
fn settings_of_consumers_create_their_group_and_are_answered_complete() {
    let server = Server::start();
    let mut client = Client::connect(server.grpc_address());
    let mut stream = client.open("Telemetry");
    stream.say(&consumer("g", &["orders"], ClientType::PushConsumer));
    let settings = answered(stream.hear().unwrap());
    let policy = settings.backoff_policy.unwrap();
    let Some(retry_policy::Strategy::CustomizedBackoff(waits)) = policy.strategy else { panic!("another strategy") };
    assert_eq!((policy.max_attempts, waits.next.len(), waits.next[17].seconds), (17, 18, 7200));
    let Some(PubSub::Subscription(subscription)) = settings.pub_sub else { panic!("another kind") };
    assert_eq!((subscription.fifo, subscription.receive_batch_size), (Some(false), Some(32)));
    assert_eq!(subscription.long_polling_timeout.unwrap().seconds, 20);
    assert_eq!(subscription.subscriptions.len(), 1);
    assert!(subscription.lite_subscription_quota > Some(0) && subscription.max_lite_topic_size > Some(0));
    let broker = server.broker();
    assert!(broker.groups.get("g").is_some());
    let membership = broker.membership();
    let group = membership.consumer_group("g").unwrap();
    assert_eq!(group.clients().map(|client| client.id.as_str()).collect::<Vec<_>>(), ["tests@1@0@abc"]);
    assert!(group.subscriptions.contains_key("orders"));
}

#[test]
fn settings_that_say_nothing_or_cannot_be_end_the_stream() {
    let server = Server::start_with(|config| config.auto_create_group = false.into());
    let mut client = Client::connect(server.grpc_address());
    let nothing = TelemetryCommand { status: None, command: Some(Command::Settings(Settings::default())) };
    for (wrong, expected) in [
        (nothing, Code::BadRequest),
        (producer(&["a$b"]), Code::IllegalTopic),
        (consumer("g", &["orders"], ClientType::SimpleConsumer), Code::IllegalConsumerGroup),
        (consumer("a b", &[], ClientType::PushConsumer), Code::IllegalConsumerGroup),
    ] {
        let mut stream = client.open("Telemetry");
        stream.say(&wrong);
        assert_eq!(refused(&mut stream).0, expected);
    }
    server.broker().groups.allow_creation(true);
    let mut stream = client.open("Telemetry");
    stream.say(&consumer("g", &[], ClientType::LiteSimpleConsumer));
    assert_eq!(refused(&mut stream).0, Code::UnrecognizedClientType);
    assert!(server.broker().sessions.is_empty());
}

/// Later it would be told at each receive only, and a push consumer logs that and goes on.
#[test]
fn an_expression_that_cannot_be_served_ends_the_stream() {
    let server = Server::start();
    let mut client = Client::connect(server.grpc_address());
    let mut check = |kind: FilterType, expression: &str, expected: Option<&str>| {
        let mut said = consumer("g", &["orders"], ClientType::PushConsumer);
        let Some(Command::Settings(Settings { pub_sub: Some(PubSub::Subscription(wanted)), .. })) = &mut said.command
        else {
            panic!("another kind")
        };
        wanted.subscriptions[0].expression =
            Some(FilterExpression { r#type: kind.into(), expression: expression.into() });
        let mut stream = client.open("Telemetry");
        stream.say(&said);
        let Some(expected) = expected else {
            answered(stream.hear().unwrap());
            return;
        };
        let (code, text) = refused(&mut stream);
        assert_eq!(code, Code::IllegalFilterExpression, "{expression}");
        assert!(text.contains(expected), "{expression}: {text}");
    };
    check(FilterType::Sql, "price > 5", Some("SQL92"));
    server.broker().config.property_filter.set(true);
    check(FilterType::Sql, "price >", Some("expected"));
    check(FilterType::Sql, "", Some("empty"));
    check(FilterType::Tag, &"x".repeat(20_000), Some("20000"));
    assert!(server.broker().sessions.is_empty());
    check(FilterType::Sql, "price > 5", None);
    check(FilterType::Tag, "price >", None);
    check(FilterType::Unspecified, "", None);
}

#[test]
fn a_client_without_id_is_told_in_the_answer() {
    let server = Server::start();
    let mut client = Client::connect(server.grpc_address());
    client.headers.retain(|(name, _)| *name != "x-mq-client-id");
    let answer: HeartbeatResponse = client.call("Heartbeat", &beat(None, ClientType::Producer));
    assert_eq!(code(&answer.status), Code::ClientIdRequired);
    let mut stream = client.open("Telemetry");
    assert_eq!(code(&stream.hear::<TelemetryCommand>().unwrap().status), Code::ClientIdRequired);
    assert_eq!(stream.hear::<TelemetryCommand>().unwrap_err().status.as_deref(), Some("0"));
    client.headers.push(("x-mq-client-id", "  ".into()));
    let answer: HeartbeatResponse = client.call("Heartbeat", &beat(None, ClientType::Producer));
    assert_eq!(code(&answer.status), Code::ClientIdRequired);
}

/// A client that outlived a restart of the broker sends no settings, some for ever.
#[test]
fn a_heartbeat_alone_makes_a_member_and_a_goodbye_ends_it() {
    let server = Server::start();
    let mut client = Client::connect(server.grpc_address());
    let goodbye = NotifyClientTerminationRequest { group: resource("g") };
    let answer: NotifyClientTerminationResponse = client.call("NotifyClientTermination", &goodbye);
    assert_eq!(code(&answer.status), Code::UnrecognizedClientType);
    let answer: HeartbeatResponse = client.call("Heartbeat", &beat(Some("g"), ClientType::PushConsumer));
    assert_eq!(code(&answer.status), Code::Ok);
    assert!(server.broker().membership().consumer_group("g").is_some());
    let answer: HeartbeatResponse = client.call("Heartbeat", &beat(Some("a b"), ClientType::PushConsumer));
    assert_eq!(code(&answer.status), Code::IllegalConsumerGroup);
    let answer: NotifyClientTerminationResponse = client.call("NotifyClientTermination", &goodbye);
    assert_eq!(code(&answer.status), Code::Ok);
    assert!(server.broker().membership().consumer_group("g").is_none() && server.broker().sessions.is_empty());
    // Go names an empty group for producers.
    let answer: HeartbeatResponse = client.call("Heartbeat", &beat(Some(""), ClientType::Producer));
    assert_eq!(code(&answer.status), Code::Ok);
    let goodbye = NotifyClientTerminationRequest { group: resource("") };
    let answer: NotifyClientTerminationResponse = client.call("NotifyClientTermination", &goodbye);
    assert_eq!(code(&answer.status), Code::Ok);
}

#[test]
fn a_silent_client_is_forgotten() {
    let server = Server::start();
    let mut client = Client::connect(server.grpc_address());
    let _: HeartbeatResponse = client.call("Heartbeat", &beat(Some("g"), ClientType::PushConsumer));
    let broker = server.broker();
    broker.expire_sessions(broker.clock.now_ms() + 119_000, 120_000);
    assert_eq!(broker.sessions.len(), 1);
    broker.expire_sessions(broker.clock.now_ms() + 121_000, 120_000);
    assert!(broker.sessions.is_empty() && broker.membership().consumer_group("g").is_none());
}

/// It could not be asked anything before it says its settings again, which may take minutes.
#[test]
fn a_silent_client_whose_stream_is_open_keeps_its_session() {
    let server = Server::start();
    let broker = server.broker();
    let (mut client, mut beating) = (Client::connect(server.grpc_address()), Client::connect(server.grpc_address()));
    let mut stream = client.open("Telemetry");
    stream.say(&consumer("g", &["orders"], ClientType::PushConsumer));
    answered(stream.hear().unwrap());
    let session = broker.sessions.get("tests@1@0@abc").unwrap();
    let late_ms = broker.clock.now_ms() + 121_000;
    let _ = broker.membership().expire(late_ms, 120_000);
    broker.expire_sessions(late_ms, 120_000);
    // It counts as a member no more until it is heard of again.
    assert!(broker.membership().consumer_group("g").is_none());
    let answer: HeartbeatResponse = beating.call("Heartbeat", &beat(Some("g"), ClientType::PushConsumer));
    assert_eq!(code(&answer.status), Code::Ok);
    assert!(broker.membership().consumer_group("g").is_some());
    assert!(Arc::ptr_eq(&broker.sessions.get("tests@1@0@abc").unwrap(), &session) && session.has_stream());
}

#[test]
fn a_client_that_hangs_up_is_gone_at_once() {
    let server = Server::start();
    let broker = server.broker();
    let hang_up = |said_goodbye: bool| {
        let mut client = Client::connect(server.grpc_address());
        let mut other = Client::connect(server.grpc_address());
        let mut stream = client.open("Telemetry");
        stream.say(&consumer("g", &["orders"], ClientType::PushConsumer));
        answered(stream.hear().unwrap());
        if said_goodbye {
            let goodbye = NotifyClientTerminationRequest { group: resource("g") };
            let answer: NotifyClientTerminationResponse = other.call("NotifyClientTermination", &goodbye);
            assert_eq!(code(&answer.status), Code::Ok);
            stream.say(&consumer("g", &["orders"], ClientType::PushConsumer));
            answered(stream.hear().unwrap());
        }
        assert!(broker.membership().consumer_group("g").is_some());
        drop(stream);
        drop(client);
        other.until(|| broker.sessions.is_empty() && broker.membership().consumer_group("g").is_none());
    };
    hang_up(false);
    // One that came back by the same stream, too.
    hang_up(true);
}

#[test]
fn open_streams_do_not_hold_up_a_stop() {
    let server = Server::start();
    let mut client = Client::connect(server.grpc_address());
    let mut stream = client.open("Telemetry");
    stream.say(&producer(&["orders"]));
    answered(stream.hear().unwrap());
    drop(server);
    let _ = stream.hear::<TelemetryCommand>().unwrap_err();
}
