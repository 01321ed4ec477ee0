//! What no official client does: each call gets a status, or its connection ends; others are served as before.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use protocol::v2::{Code, HeartbeatResponse, SERVICE, SendMessageRequest, SendMessageResponse, Status};

use super::client::{Client, framed};
use super::{code, message};
use crate::server::Server;

/// A broker is still well if it takes a message.
#[track_caller]
fn is_well(server: &Server) {
    let mut client = Client::connect(server.grpc_address());
    let request = SendMessageRequest { messages: vec![message("well", "id", b"x")] };
    let answer: SendMessageResponse = client.call("SendMessage", &request);
    assert_eq!(code(&answer.status), Code::Ok);
}

fn send_path() -> String {
    format!("/{SERVICE}/SendMessage")
}

#[test]
fn bytes_that_are_no_message_are_a_failed_call() {
    let server = Server::start();
    let mut client = Client::connect(server.grpc_address());
    let mut check = |body: Bytes, status: &str| {
        let outcome = client.raw(&send_path(), body);
        assert_eq!(outcome.status.as_deref(), Some(status), "{outcome:?}");
        assert!(!outcome.text.is_empty());
    };
    check(Bytes::new(), "13");
    check(Bytes::from_static(b"\0\0"), "13");
    check(framed(b"\xff\xff\xff"), "13");
    check(framed(&[0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F]), "13");
    // Compressed, as it says.
    check(Bytes::from_static(b"\x01\0\0\0\x01x"), "12");
    // A hundred megabytes are announced, and not waited for.
    check(Bytes::from_static(b"\0\x06\x40\0\0"), "8");
    // Less than announced.
    check(Bytes::from_static(b"\0\0\0\0\x09abc"), "13");
    is_well(&server);
}

#[test]
fn what_nobody_serves_is_said_so() {
    let server = Server::start();
    let mut client = Client::connect(server.grpc_address());
    for path in ["/apache.rocketmq.v2.MessagingService/Nothing", "/apache.rocketmq.v2.Admin/ChangeLogLevel", "/", "/a"]
    {
        let outcome = client.raw(path, framed(b""));
        assert_eq!(outcome.status.as_deref(), Some("12"), "{path}");
    }
    // Health, for whoever balances.
    let health = client.raw("/grpc.health.v1.Health/Check", framed(b""));
    assert_eq!((health.status.as_deref(), &health.messages[..]), (Some("0"), &[Bytes::from_static(b"\x08\x01")][..]));
    // Reflection, for people with a tool at hand: which services are there?
    let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let listed = client.raw(path, framed(&[0x3A, 0]));
    assert_eq!((listed.status.as_deref(), listed.messages.len()), (Some("0"), 1), "{listed:?}");
    let listed = String::from_utf8_lossy(&listed.messages[0]).into_owned();
    assert!(listed.contains(SERVICE) && listed.contains("grpc.health.v1.Health"), "{listed}");
}

/// Calls every rpc of the protocol with nothing: each is answered, and says in its first message what came of it.
fn call_each(client: &mut Client, mut check: impl FnMut(&str, Option<Status>)) {
    let listed = include_str!("../../../../protocol/golden/grpc-v2.tsv").lines();
    let rpcs: Vec<&str> =
        listed.filter(|line| line.starts_with("service\t")).filter_map(|l| l.split('\t').nth(2)).collect();
    assert_eq!(rpcs.len(), 17);
    for rpc in rpcs {
        let outcome = client.raw(&format!("/{SERVICE}/{rpc}"), framed(b""));
        assert_eq!(outcome.status.as_deref(), Some("0"), "{rpc}: {outcome:?}");
        // The status is field 1 of every response; this one has nothing else.
        let status = outcome.messages.first().map(|first| HeartbeatResponse::decode(first.clone()).unwrap().status);
        check(rpc, status.flatten());
    }
}

#[test]
fn every_rpc_of_the_protocol_is_served() {
    let server = Server::start();
    let mut client = Client::connect(server.grpc_address());
    call_each(&mut client, |rpc, status| match rpc {
        // It has nothing to say to an empty command.
        "Telemetry" => assert_eq!(status, None),
        _ => assert_ne!(code(&status), Code::Unspecified, "{rpc}"),
    });
    client.headers.retain(|(name, _)| *name != "x-mq-client-id");
    call_each(&mut client, |rpc, status| assert_eq!(code(&status), Code::ClientIdRequired, "{rpc}"));
}

#[test]
fn headers_without_end_and_odd_metadata_do_no_harm() {
    let server = Server::start();
    let mut client = Client::connect(server.grpc_address());
    client.headers.push(("x-mq-language", "COBOL".into()));
    client.headers.push(("authorization", "MQv2-HMAC-SHA1 Credential=, nonsense".into()));
    client.headers.push(("x-mq-date-time", "yesterday".into()));
    client.headers.push(("grpc-timeout", "0n".into()));
    let request = SendMessageRequest { messages: vec![message("well", "id", b"x")] };
    let answer: SendMessageResponse = client.call("SendMessage", &request);
    assert_eq!(code(&answer.status), Code::Ok);
    client.headers.push(("x-bomb", "x".repeat(60_000)));
    let outcome = client.raw(&send_path(), framed(b""));
    assert_ne!(outcome.status.as_deref(), Some("0"), "{outcome:?}");
    is_well(&server);
}

/// Speaks raw HTTP/2 and reads until the other side ends the connection.
fn ends(server: &Server, bytes: &[u8]) -> bool {
    let mut stream = TcpStream::connect(server.grpc_address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // The other side may have seen enough in the middle of it.
    let _ = stream.write_all(bytes);
    let mut sink = [0; 4096];
    loop {
        match stream.read(&mut sink) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return true,
            Err(_) => return false,
        }
    }
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// Headers of a call, by indexes of the static table: POST, http, /.
const HEADERS: &[u8] = &[0x83, 0x86, 0x84];

#[test]
fn calls_that_are_cancelled_as_fast_as_they_are_made_end_the_connection() {
    let server = Server::start();
    let mut bytes = PREFACE.to_vec();
    for call in 0..20_000_u32 {
        bytes.extend(frame(1, 4, 2 * call + 1, HEADERS));
        bytes.extend(frame(3, 0, 2 * call + 1, &[0, 0, 0, 8]));
    }
    assert!(ends(&server, &bytes));
    is_well(&server);
}

#[test]
fn headers_that_go_on_and_on_end_the_connection() {
    let server = Server::start();
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(1, 0, 1, HEADERS));
    for _ in 0..20_000 {
        // A literal that is never indexed: a = b, a thousand times.
        bytes.extend(frame(9, 0, 1, &[0x10, 1, b'a', 1, b'b'].repeat(1000)));
    }
    assert!(ends(&server, &bytes));
    is_well(&server);
}

/// C++ asks every minute, also without a call; other servers end a connection for that.
#[test]
fn a_client_may_ask_as_often_as_it_likes_whether_the_broker_is_there() {
    let server = Server::start();
    let mut stream = TcpStream::connect(server.grpc_address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(PREFACE).unwrap();
    let ping = |number: u64| frame(6, 0, 0, &number.to_be_bytes());
    // The kind of the next frame, and what it carries.
    let next = |stream: &mut TcpStream| {
        let mut head = [0; 9];
        stream.read_exact(&mut head).unwrap();
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).unwrap();
        assert_ne!(head[3], 7, "the connection ends: {payload:?}");
        (head[3], payload)
    };
    for number in 0..50_u64 {
        stream.write_all(&ping(number)).unwrap();
        while next(&mut stream) != (6, number.to_be_bytes().to_vec()) {}
    }
    stream.write_all(&frame(1, 5, 1, HEADERS)).unwrap();
    while next(&mut stream).0 != 1 {}
}

#[test]
fn what_is_neither_http2_nor_tls_is_closed() {
    let server = Server::start();
    assert!(ends(&server, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"));
    assert!(ends(&server, &[0, 0, 0, 20, 0, 0, 0, 4, b'{', b'}']));
    assert!(ends(&server, b"\x16\x03\x01\0\x05hello"));
    assert!(ends(&server, b"PRI * HTTP/2.0\r\n\r\nnonsense, and more of it until it is looked at"));
    is_well(&server);
}

#[test]
fn more_open_calls_than_a_connection_may_have_are_refused_and_the_rest_is_served() {
    let server = Server::start();
    let mut bytes = PREFACE.to_vec();
    for call in 0..100_000_u32 {
        bytes.extend(frame(1, 4, 2 * call + 1, HEADERS));
    }
    // Each is refused; so many refusals end the connection.
    assert!(ends(&server, &bytes));
    is_well(&server);
}

/// Settings are answered on the stream that brings them: one that does not read the answers is not read from.
#[test]
fn a_telemetry_stream_that_does_not_read_is_not_read_from_without_end() {
    let server = Server::start();
    let mut client = Client::connect(server.grpc_address());
    let mut said = 0;
    let settings = framed(&super::telemetry::producer(&["orders"; 500]).encode_to_vec());
    let (_response, mut send) = client.begin(&format!("/{SERVICE}/Telemetry"));
    client.wait(async {
        loop {
            send.reserve_capacity(settings.len());
            let capacity = std::future::poll_fn(|cx| send.poll_capacity(cx));
            // The window that is left is given back only by who reads.
            let Ok(Some(Ok(_))) = tokio::time::timeout(Duration::from_secs(1), capacity).await else { return };
            if send.capacity() < settings.len() {
                continue;
            }
            send.send_data(settings.clone(), false).unwrap();
            said += settings.len();
            assert!(said < 16 << 20, "{said} bytes were read of a client that reads none");
        }
    });
    assert!(said > settings.len());
    is_well(&server);
}
