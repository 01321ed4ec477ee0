//! Transactions: half messages, decisions by id, and questions by telemetry.

use std::time::Duration;

use protocol::codes::{RequestCode, ResponseCode};
use protocol::properties;
use protocol::record::Record;
use protocol::v2::telemetry_command::Command;
use protocol::v2::{
    Code, EndTransactionRequest, EndTransactionResponse, MessageType, SendMessageRequest, SendMessageResponse,
    TelemetryCommand, TransactionResolution,
};

use super::client::Client;
use super::telemetry::{answered, producer};
use super::{code, message, resource};
use crate::calls::{Introduction, introduce, pull, send};
use crate::server::Server;

fn start(change: impl FnOnce(&mut broker::config::BrokerConfig)) -> (Server, Client) {
    let server = Server::start_with(change);
    let broker = server.broker();
    let mut settings = broker::topics::TopicSettings::new("tx", 1, broker::topics::Permission::READ_WRITE);
    settings.attributes.insert("message.type".into(), "TRANSACTION".into());
    broker.topics.put(settings, 1);
    let client = Client::connect(server.grpc_address());
    (server, client)
}

/// Producers are asked at once.
fn asking(config: &mut broker::config::BrokerConfig) {
    config.transaction_timeout = Duration::from_millis(1).into();
}

fn send_half(client: &mut Client, id: &str) {
    let mut half = message("tx", id, b"half");
    half.system_properties.as_mut().unwrap().message_type = MessageType::Transaction.into();
    let answer: SendMessageResponse = client.call("SendMessage", &SendMessageRequest { messages: vec![half] });
    assert_eq!(code(&answer.status), Code::Ok);
    assert_eq!(answer.entries[0].transaction_id, id);
}

fn end(client: &mut Client, id: &str, resolution: TransactionResolution) -> Code {
    let request = EndTransactionRequest {
        topic: resource("tx"),
        transaction_id: id.to_owned(),
        resolution: resolution.into(),
        ..EndTransactionRequest::default()
    };
    let answer: EndTransactionResponse = client.call("EndTransaction", &request);
    code(&answer.status)
}

/// How many messages the topic has for consumers.
fn delivered(server: &Server) -> usize {
    let answer = pull(&mut server.connect(), "tx", &[]);
    match answer.response_code() {
        ResponseCode::SUCCESS => protocol::record::records(&answer.body).count(),
        _ => 0,
    }
}

#[test]
fn a_half_message_is_delivered_when_it_is_committed_and_only_once() {
    use TransactionResolution::{Commit, Rollback, Unspecified};
    let (mut server, mut client) = start(|_| {});
    send_half(&mut client, "one");
    send_half(&mut client, "two");
    assert_eq!(delivered(&server), 0);
    assert_eq!(end(&mut client, "one", Unspecified), Code::Ok);
    assert_eq!(delivered(&server), 0);
    assert_eq!(end(&mut client, "one", Commit), Code::Ok);
    assert_eq!(end(&mut client, "one", Commit), Code::Ok);
    assert_eq!(end(&mut client, "one", Rollback), Code::Ok);
    assert_eq!(delivered(&server), 1);
    server.restart();
    let mut client = Client::connect(server.grpc_address());
    assert_eq!(end(&mut client, "one", Commit), Code::Ok);
    assert_eq!(end(&mut client, "two", Rollback), Code::Ok);
    assert_eq!(end(&mut client, "two", Commit), Code::Ok);
    assert_eq!(delivered(&server), 1);
    assert_eq!(end(&mut client, "three", Commit), Code::InternalServerError);
    assert_eq!(end(&mut client, " ", Commit), Code::InvalidTransactionId);
}

/// A producer that got no answer sends again, with the same id.
#[test]
fn of_half_messages_with_one_id_one_is_delivered() {
    let (server, mut client) = start(|_| {});
    send_half(&mut client, "same");
    send_half(&mut client, "same");
    assert_eq!(end(&mut client, "same", TransactionResolution::Commit), Code::Ok);
    assert_eq!(delivered(&server), 1);
    assert!(server.broker().transactions().is_empty());
}

#[test]
fn a_producer_that_names_the_topic_is_asked_what_became_of_a_transaction() {
    let (server, mut client) = start(asking);
    let mut other = Client::connect(server.grpc_address());
    let mut stream = other.open("Telemetry");
    stream.say(&producer(&["tx"]));
    answered(stream.hear().unwrap());
    send_half(&mut client, "orphan");
    let question: TelemetryCommand = stream.hear().unwrap();
    assert!(question.status.is_none());
    let Some(Command::RecoverOrphanedTransactionCommand(asked)) = question.command else { panic!("{question:?}") };
    let message = asked.message.unwrap();
    assert_eq!((asked.transaction_id.as_str(), &message.body[..]), ("orphan", &b"half"[..]));
    assert_eq!(message.topic, resource("tx"));
    let system = message.system_properties.unwrap();
    assert_eq!((system.message_type(), system.message_id.as_str()), (MessageType::Transaction, "orphan"));
    assert!(system.body_digest.is_some() && system.body_encoding == 1 && system.receipt_handle.is_none());
    assert_eq!(end(&mut client, "orphan", TransactionResolution::Commit), Code::Ok);
    assert_eq!(delivered(&server), 1);
}

/// The producer group of a gRPC producer has the name of its topic.
#[test]
fn a_half_message_of_a_remoting_producer_can_be_decided_by_a_grpc_producer() {
    let (server, mut client) = start(asking);
    let mut other = Client::connect(server.grpc_address());
    let mut stream = other.open("Telemetry");
    stream.say(&producer(&["tx"]));
    answered(stream.hear().unwrap());
    let mut given = Vec::new();
    for (name, value) in [(properties::TRAN_MSG, "true"), (properties::PGROUP, "tx"), (properties::UNIQ_KEY, "far")] {
        properties::push(&mut given, name, value);
    }
    let given = String::from_utf8(given).unwrap();
    let more = [("producerGroup", "tx"), ("sysFlag", "4"), ("properties", given.as_str())];
    let sent = send(&mut server.connect(), "tx", &more, b"half");
    assert_eq!(sent.response_code(), ResponseCode::SUCCESS, "{sent:?}");
    let question: TelemetryCommand = stream.hear().unwrap();
    let Some(Command::RecoverOrphanedTransactionCommand(asked)) = question.command else { panic!("{question:?}") };
    assert_eq!((asked.transaction_id.as_str(), &asked.message.unwrap().body[..]), ("far", &b"half"[..]));
    assert_eq!(delivered(&server), 0);
    assert_eq!(end(&mut client, "far", TransactionResolution::Commit), Code::Ok);
    assert_eq!(delivered(&server), 1);
}

#[test]
fn a_half_message_of_a_grpc_producer_can_be_decided_by_a_remoting_producer() {
    let (server, mut client) = start(asking);
    let mut wire = server.connect();
    introduce(&mut wire, &Introduction { id: "producer", group: "tx", ..Introduction::default() });
    send_half(&mut client, "near");
    let question = wire.pushed(RequestCode::CHECK_TRANSACTION_STATE);
    let record = Record::parse(&question.body).unwrap();
    assert_eq!((record.topic(), record.body()), ("tx", &b"half"[..]));
    assert_eq!(question.fields["transactionId"], "near");
    let decision = [
        ("producerGroup", "tx"),
        ("tranStateTableOffset", &question.fields["tranStateTableOffset"]),
        ("commitLogOffset", &question.fields["commitLogOffset"]),
        ("commitOrRollback", "8"),
        ("fromTransactionCheck", "true"),
        ("msgId", "near"),
        ("transactionId", "near"),
    ];
    assert_eq!(wire.call(RequestCode::END_TRANSACTION, &decision, b"").response_code(), ResponseCode::SUCCESS);
    assert_eq!(delivered(&server), 1);
    // Its own decision comes late, and changes nothing.
    assert_eq!(end(&mut client, "near", TransactionResolution::Rollback), Code::Ok);
    assert_eq!(delivered(&server), 1);
}
