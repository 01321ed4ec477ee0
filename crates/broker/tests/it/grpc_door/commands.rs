//! Tools ask in the remoting protocol, and a gRPC consumer is asked by telemetry: stacks, and consuming one message.

use protocol::codes::{RequestCode, ResponseCode};
use protocol::v2::telemetry_command::Command;
use protocol::v2::{ClientType, Code, Status, TelemetryCommand, ThreadStackTrace, VerifyMessageResult};

use super::client::{Client, Stream};
use super::telemetry::{answered, consumer};
use crate::calls::send;
use crate::server::Server;

const CLIENT: (&str, &str) = ("clientId", "tests@1@0@abc");
const GROUP: (&str, &str) = ("consumerGroup", "g");

/// Says who the client is; when that is answered, all that was said before has been heard.
fn introduce(stream: &mut Stream<'_>) {
    stream.say(&consumer("g", &["orders"], ClientType::PushConsumer));
    answered(stream.hear().unwrap());
}

fn say(status: Code, command: Command) -> TelemetryCommand {
    let status = Status { code: status.into(), message: "said".into() };
    TelemetryCommand { status: Some(status), command: Some(command) }
}

#[test]
fn what_is_known_of_a_consumer_is_told_and_its_stacks_when_they_are_wanted() {
    let server = Server::start();
    let (mut client, mut tool) = (Client::connect(server.grpc_address()), server.connect());
    let mut stream = client.open("Telemetry");
    introduce(&mut stream);
    let code = RequestCode::GET_CONSUMER_RUNNING_INFO;
    let told = tool.call(code, &[GROUP, CLIENT, ("jstackEnable", "false")], b"");
    assert_eq!(told.response_code(), ResponseCode::SUCCESS);
    let told = String::from_utf8(told.body).unwrap();
    assert!(
        told.contains(r#""topic":"orders""#) && told.contains(r#""PROP_CONSUME_TYPE":"CONSUME_PASSIVELY""#),
        "{told}"
    );
    assert!(told.contains(r#""mqTable":{}"#) && !told.contains("jstack"), "{told}");

    for (status, expected) in
        [(Code::Ok, r#""jstack":"main: \"here\"""#), (Code::NotImplemented, "no stacks: 50100 said")]
    {
        let opaque = tool.request(code, &[GROUP, CLIENT, ("jstackEnable", "true")], b"");
        let Some(Command::PrintThreadStackTraceCommand(asked)) = stream.hear::<TelemetryCommand>().unwrap().command
        else {
            panic!("another command")
        };
        let stacks = ThreadStackTrace { nonce: asked.nonce, thread_stack_trace: Some("main: \"here\"".into()) };
        stream.say(&say(status, Command::ThreadStackTrace(stacks)));
        introduce(&mut stream);
        let answer = tool.answer(opaque);
        assert_eq!(answer.remark, None);
        let told = String::from_utf8(answer.body).unwrap();
        assert!(told.contains(expected) && told.contains("orders"), "{told}");
    }
}

#[test]
fn a_consumer_is_given_a_message_and_says_what_came_of_it() {
    let server = Server::start();
    let (mut client, mut tool) = (Client::connect(server.grpc_address()), server.connect());
    let mut stream = client.open("Telemetry");
    introduce(&mut stream);
    let id = send(&mut tool, "orders", &[], b"hello").fields["msgId"].clone();
    for (status, expected) in [
        (Code::Ok, r#""consumeResult":"CR_SUCCESS","order":false,"spentTimeMills""#),
        (Code::FailedToConsumeMessage, r#""consumeResult":"CR_LATER","order":false,"remark":"60000 said""#),
        (Code::MessageCorrupted, r#""consumeResult":"CR_RETURN_NULL""#),
        (Code::NotImplemented, r#""consumeResult":"CR_THROW_EXCEPTION""#),
    ] {
        let opaque = tool.request(RequestCode::CONSUME_MESSAGE_DIRECTLY, &[GROUP, CLIENT, ("msgId", &id)], b"");
        let Some(Command::VerifyMessageCommand(asked)) = stream.hear::<TelemetryCommand>().unwrap().command else {
            panic!("another command")
        };
        assert_eq!(asked.message.unwrap().body, b"hello".as_slice());
        // What nobody asked means nothing.
        stream.say(&say(Code::Ok, Command::VerifyMessageResult(VerifyMessageResult { nonce: "nonsense".into() })));
        stream.say(&say(status, Command::VerifyMessageResult(VerifyMessageResult { nonce: asked.nonce })));
        introduce(&mut stream);
        let answer = tool.answer(opaque);
        assert_eq!(answer.remark, None);
        let told = String::from_utf8(answer.body).unwrap();
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn a_consumer_without_a_stream_or_one_that_leaves_cannot_be_asked() {
    let server = Server::start();
    let (mut client, mut tool) = (Client::connect(server.grpc_address()), server.connect());
    let mut stream = client.open("Telemetry");
    introduce(&mut stream);
    let code = RequestCode::GET_CONSUMER_RUNNING_INFO;
    let opaque = tool.request(code, &[GROUP, CLIENT, ("jstackEnable", "true")], b"");
    stream.hear::<TelemetryCommand>().unwrap();
    server.broker().end_session(CLIENT.1);
    let answer = tool.answer(opaque);
    assert_eq!(answer.remark.as_deref(), Some("the client is not connected any more"));
}
