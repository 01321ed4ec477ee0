//! Questions of tools that the broker passes on to a consumer: 307, 309 and 223.

use protocol::codes::{RequestCode, ResponseCode};

use crate::calls::{Introduction, introduce, send};
use crate::server::Server;

const INFO: RequestCode = RequestCode::GET_CONSUMER_RUNNING_INFO;
const FIELDS: [(&str, &str); 3] = [("consumerGroup", "cg"), ("clientId", "c"), ("jstackEnable", "true")];

#[test]
fn a_question_and_its_answer_are_passed_on_byte_for_byte() {
    let server = Server::start();
    let (mut consumer, mut tool) = (server.connect(), server.connect());
    introduce(&mut consumer, &Introduction::default());
    let opaque = tool.request(INFO, &FIELDS, b"");
    let question = consumer.pushed(INFO);
    assert!(!question.oneway && question.body.is_empty());
    assert_eq!(question.fields.iter().map(|(name, value)| (&**name, &**value)).collect::<Vec<_>>(), {
        let mut sorted = FIELDS;
        sorted.sort();
        sorted
    });
    // The Go client writes what is no JSON.
    let body = br#"{"jstack":"a "quoted" stack"#;
    consumer.reply(&question, ResponseCode::SUCCESS, Some("not set any response code"), body);
    let answer = tool.answer(opaque);
    assert_eq!((answer.response_code(), answer.body.as_slice()), (ResponseCode::SUCCESS, body.as_slice()));
    assert_eq!(answer.remark.as_deref(), Some("not set any response code"));
    assert!(server.broker().client_requests.is_empty());
}

#[test]
fn whoever_asks_a_consumer_that_is_not_there_goes_or_is_silent_is_answered() {
    let server = Server::start();
    let mut tool = server.connect();
    let absent = tool.call(INFO, &FIELDS, b"");
    assert_eq!(absent.response_code(), ResponseCode::SYSTEM_ERROR);
    assert_eq!(absent.remark.as_deref(), Some("The Consumer <cg> <c> not online"));

    let mut old = server.connect();
    introduce(&mut old, &Introduction { version: 61, ..Introduction::default() });
    let refused = tool.call(INFO, &FIELDS, b"");
    assert_eq!(refused.remark.as_deref(), Some("the consumer <c> has version 61; from 62 on it can be asked"));
    drop(old);

    let mut leaving = server.connect();
    introduce(&mut leaving, &Introduction { id: "leaving", ..Introduction::default() });
    let fields = [("consumerGroup", "cg"), ("clientId", "leaving")];
    let opaque = tool.request(INFO, &fields, b"");
    leaving.pushed(INFO);
    drop(leaving);
    assert_eq!(tool.answer(opaque).remark.as_deref(), Some("the client is not connected any more"));

    let mut silent = server.connect();
    introduce(&mut silent, &Introduction { id: "silent", ..Introduction::default() });
    let opaque = tool.request(INFO, &[("consumerGroup", "cg"), ("clientId", "silent")], b"");
    let question = silent.pushed(INFO);
    server.broker().client_requests.give_up(i64::MAX);
    let answer = tool.answer(opaque);
    assert_eq!(answer.response_code(), ResponseCode::CONSUME_MSG_TIMEOUT);
    assert_eq!(answer.remark.as_deref(), Some("the client did not answer within 10s"));
    // Too late.
    silent.reply(&question, ResponseCode::SUCCESS, None, b"");
    silent.settle();
    assert!(tool.unclaimed().is_empty());
}

#[test]
fn an_answer_counts_only_on_the_connection_that_was_asked() {
    let server = Server::start();
    let (mut consumer, mut tool, mut other) = (server.connect(), server.connect(), server.connect());
    introduce(&mut consumer, &Introduction::default());
    let opaque = tool.request(INFO, &FIELDS, b"");
    let question = consumer.pushed(INFO);
    other.reply(&question, ResponseCode::SUCCESS, None, b"forged");
    other.settle();
    consumer.reply(&question, ResponseCode::SUCCESS, None, b"true");
    assert_eq!(tool.answer(opaque).body, b"true");
}

#[test]
fn a_tool_that_hangs_up_leaves_nothing_behind() {
    let server = Server::start();
    let (mut consumer, mut tool) = (server.connect(), server.connect());
    introduce(&mut consumer, &Introduction::default());
    tool.request(INFO, &FIELDS, b"");
    let question = consumer.pushed(INFO);
    drop(tool);
    consumer.reply(&question, ResponseCode::SUCCESS, None, b"");
    consumer.settle();
    assert!(server.broker().client_requests.is_empty());
}

#[test]
fn a_message_is_given_to_the_consumer_that_is_named() {
    let server = Server::start();
    let (mut consumer, mut tool) = (server.connect(), server.connect());
    introduce(&mut consumer, &Introduction::default());
    let id = send(&mut tool, "orders", &[], b"hello").fields["msgId"].clone();
    let code = RequestCode::CONSUME_MESSAGE_DIRECTLY;
    let fields = [("consumerGroup", "cg"), ("clientId", "c"), ("msgId", id.as_str()), ("topic", "orders")];
    let opaque = tool.request(code, &fields, b"");
    let question = consumer.pushed(code);
    assert_eq!((question.fields["brokerName"].as_str(), question.fields["msgId"].as_str()), ("broker-a", id.as_str()));
    assert_eq!((question.number("topicSysFlag"), question.number("groupSysFlag")), (0, 0));
    assert_eq!(protocol::record::Record::parse(&question.body).unwrap().body(), b"hello");
    consumer.reply(&question, ResponseCode::SUCCESS, None, br#"{"consumeResult":"CR_SUCCESS"}"#);
    assert_eq!(tool.answer(opaque).body, br#"{"consumeResult":"CR_SUCCESS"}"#);

    for wrong in ["", "nonsense", "7F0000010000000000000000000FFFFF"] {
        let fields = [("consumerGroup", "cg"), ("clientId", "c"), ("msgId", wrong)];
        let answer = tool.call(code, &fields, b"");
        assert_eq!(answer.remark.unwrap(), format!("there is no message of id `{wrong}`"));
    }
    assert!(consumer.unclaimed().iter().all(|message| message.code != code.0));
}

#[test]
fn the_status_of_a_group_is_what_its_consumers_say() {
    let server = Server::start();
    let (mut one, mut two, mut tool) = (server.connect(), server.connect(), server.connect());
    let code = RequestCode::INVOKE_BROKER_TO_GET_CONSUMER_STATUS;
    let fields = [("topic", "orders"), ("group", "cg")];
    assert_eq!(tool.call(code, &fields, b"").response_code(), ResponseCode::CONSUMER_NOT_ONLINE);
    introduce(&mut one, &Introduction { id: "one", ..Introduction::default() });
    introduce(&mut two, &Introduction { id: "two", ..Introduction::default() });

    let opaque = tool.request(code, &fields, b"");
    let asked = RequestCode::GET_CONSUMER_STATUS_FROM_CLIENT;
    let (first, second) = (one.pushed(asked), two.pushed(asked));
    assert_eq!((first.fields["topic"].as_str(), first.fields["group"].as_str()), ("orders", "cg"));
    let queue = r#"{"brokerName":"broker-a","queueId":0,"topic":"orders"}"#;
    one.reply(&first, ResponseCode::SUCCESS, None, format!(r#"{{"messageQueueTable":{{{queue}:7}}}}"#).as_bytes());
    two.reply(&second, ResponseCode::SYSTEM_ERROR, Some("no"), b"");
    let answer = tool.answer(opaque);
    let expected = format!(r#"{{"consumerTable":{{"one":{{{queue}:7}}}}}}"#);
    assert_eq!((answer.response_code(), String::from_utf8(answer.body).unwrap()), (ResponseCode::SUCCESS, expected));

    let opaque = tool.request(code, &[("topic", "orders"), ("group", "cg"), ("clientAddr", "two")], b"");
    let question = two.pushed(asked);
    two.reply(&question, ResponseCode::SUCCESS, None, br#"{"messageQueueTable":{}}"#);
    assert_eq!(tool.answer(opaque).body, br#"{"consumerTable":{"two":{}}}"#);
    assert!(one.unclaimed().iter().all(|message| message.code != asked.0));
}
