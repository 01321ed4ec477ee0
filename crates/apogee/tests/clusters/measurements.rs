//! `apogee bench` against a cluster, and against a broker that loses everything.

use std::borrow::Cow;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use prost::Message as _;
use protocol::codes::{RequestCode, ResponseCode};
use protocol::frame::{self, Codec};
use protocol::header::{FieldSpans, Header};
use protocol::requests::{OffsetResult, PullMessageResult, SendMessageResult};
use protocol::typed::TypedHeader;
use protocol::v2::{Code, Message, SendMessageRequest, SendMessageResponse, SendResultEntry, Status};
use protocol::writer::FrameWriter;
use rustix::process::Signal;
use serde_json::Value;

use super::{Cluster, command};

/// Little is measured, for a short time.
const SHORT: [&str; 5] = ["--quiet", "--warmup", "0.05", "--seconds", "0.3"];

/// Runs a measurement against a cluster, which must find no fault.
#[track_caller]
fn measure(cluster: &Cluster, arguments: &[&str]) -> Value {
    let report = cluster.json(&[&["bench"], arguments].concat()).remove(0);
    assert_eq!(report["clean"], true, "{report}");
    assert!(report["outcome"]["messages"].as_u64().unwrap() > 0, "{report}");
    report
}

#[track_caller]
fn check(measurements: &[&[&str]], look: impl Fn(&Value)) {
    let data = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(data.path());
    for arguments in measurements {
        look(&measure(&cluster, arguments));
    }
    cluster.server.stop(Signal::TERM);
}

fn verified(report: &Value) {
    let found = &report["verification"];
    assert!(found["sent"].as_u64().unwrap() > 0 && found["sent"] == found["came"], "{found}");
}

#[test]
fn sends_are_measured_and_read_back() {
    let produce = [&["produce", "-c", "3", "-q", "2", "-w", "8", "-s", "100", "--verify"][..], &SHORT].concat();
    check(&[&produce, &[&produce[..], &["--header", "binary", "--threads", "2"]].concat()], verified);
    let short = [&["produce", "-c", "1", "--size", "1"][..], &SHORT].concat();
    check(&[&short], |report| assert_eq!(report["verification"], Value::Null));
}

#[test]
fn paced_sends_are_no_more_than_are_due() {
    let paced = ["produce", "-c", "4", "--rate", "400", "--quiet", "--warmup", "0.1", "--seconds", "0.5"];
    check(&[&paced], |report| {
        let outcome = &report["outcome"];
        // However slow the machine is: no more than what was due in 0.6 s, and the first of each connection.
        assert!(outcome["messages"].as_u64().unwrap() <= 240 + 4, "{outcome}");
        assert!(outcome["latency_us"]["p99"].as_f64().unwrap() > 0.0);
    });
}

#[test]
fn batches_are_measured_and_read_back() {
    let batch = ["batch", "-c", "2", "-w", "2", "--messages", "5", "--verify"];
    check(&[&[&batch[..], &SHORT].concat()], |report| {
        verified(report);
        let outcome = &report["outcome"];
        assert_eq!(outcome["messages"].as_u64().unwrap(), 5 * outcome["answers"].as_u64().unwrap());
    });
}

#[test]
fn transactions_are_measured_and_none_that_was_rolled_back_is_read() {
    let transaction = ["transaction", "-c", "2", "-w", "4", "--rollback", "30", "--verify"];
    check(&[&[&transaction[..], &SHORT].concat()], |report| {
        verified(report);
        // Those that were rolled back count as done, but are not to be read.
        let (sent, done) = (report["verification"]["sent"].as_u64(), report["outcome"]["messages"].as_u64());
        assert!(done.unwrap() > 0 && sent.unwrap() > 0, "{report}");
    });
}

#[test]
fn many_queues_are_created_written_and_read_back() {
    let many = ["many-queues", "--topics", "3", "--queues", "12", "-c", "2", "-w", "4", "--verify"];
    check(&[&[&many[..], &SHORT].concat()], verified);
}

#[test]
fn connections_are_opened_greeted_and_used() {
    let data = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(data.path());
    let pid = cluster.server.process.id().to_string();
    let report = measure(&cluster, &[&["connections", "-c", "300", "--pid", &pid][..], &SHORT].concat());
    assert_eq!(report["opened"]["connections"], 300);
    assert!(report["opened"]["answered_s"].as_f64() >= report["opened"]["connected_s"].as_f64());
    assert!(report["server"]["resident_bytes"]["max"].as_u64().unwrap() > 0, "{report}");
    cluster.server.stop(Signal::TERM);
}

#[test]
fn what_is_there_is_read_over_and_over_or_once_while_producers_run() {
    let produce = [&["produce", "-c", "2", "-q", "2"][..], &SHORT].concat();
    let consume = [&["consume", "-c", "3"][..], &SHORT].concat();
    let catch_up = [&["catch-up", "-c", "2", "--rate", "1000", "-m", "100"][..], &SHORT].concat();
    check(&[&produce, &consume, &catch_up], |_| ());
}

#[test]
fn messages_sent_meanwhile_are_read_and_verified() {
    let end_to_end = [&["end-to-end", "-c", "2", "-q", "3", "--readers", "2", "-s", "64"][..], &SHORT].concat();
    let closed = [&end_to_end[..], &["--rate", "max", "--threads", "2"]].concat();
    check(&[&end_to_end, &closed], |report| {
        verified(report);
        assert!(report["outcome"]["delivery_ms"]["p50"].as_f64().unwrap() > 0.0, "{report}");
    });
}

#[test]
fn delayed_messages_come_once_and_not_early() {
    let delay = ["delay", "-N", "500", "--delay", "0.5", "--spread", "0.2", "-c", "2", "-q", "2", "--quiet"];
    check(&[&delay], |report| {
        verified(report);
        assert_eq!(report["verification"]["came"], 500);
        assert!(report["delivered_within_s"].as_f64().unwrap() > 0.0, "{report}");
    });
}

/// Runs measurements over gRPC.
fn check_grpc(measurements: &[&[&str]], look: impl Fn(&Value)) {
    let data = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(data.path());
    for arguments in measurements {
        look(&measure(&cluster, &[arguments, &["--protocol", "grpc", "--endpoint", &cluster.grpc][..]].concat()));
    }
    cluster.server.stop(Signal::TERM);
}

#[test]
fn sends_over_grpc_are_measured_and_read_back() {
    let produce = [&["produce", "-c", "3", "-q", "4", "-w", "8", "-s", "100", "--verify"][..], &SHORT].concat();
    let batches = [&produce[..], &["--batch", "3", "--threads", "2"]].concat();
    check_grpc(&[&produce, &batches], |report| {
        verified(report);
        assert!(report["outcome"]["latency_us"]["p50"].as_f64().unwrap() > 0.0, "{report}");
    });
}

#[test]
fn what_is_there_is_received_over_grpc_once_by_every_run() {
    let produce = [&["produce", "-c", "2", "-q", "3", "-w", "8"][..], &SHORT].concat();
    let consume = [&["consume", "-c", "2", "-w", "2"][..], &SHORT].concat();
    let whole = [&consume[..], &["--verify", "--acks", "5", "--threads", "2"]].concat();
    check_grpc(&[&produce, &whole, &consume, &whole], |report| {
        if report["verification"] != Value::Null {
            verified(report);
            assert_eq!(report["outcome"]["messages"], report["parts"]["receives"]["messages"], "{report}");
        }
    });
}

#[test]
fn consumers_that_wait_over_grpc_are_connected_and_introduced() {
    let data = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(data.path());
    let arguments = ["bench", "connections", "-c", "50", "--protocol", "grpc", "--endpoint", &cluster.grpc];
    let report = cluster.json(&[&arguments[..], &SHORT].concat()).remove(0);
    assert_eq!(
        (&report["clean"], &report["opened"]["connections"]),
        (&Value::Bool(true), &Value::from(50)),
        "{report}"
    );
    cluster.server.stop(Signal::TERM);
}

#[test]
fn measurements_that_are_not_there_for_grpc_say_so() {
    for arguments in [&["transaction"][..], &["produce", "--rate", "100"], &["consume", "--follow"]] {
        let output = command(&[&["bench"], arguments, &["--protocol", "grpc"]].concat()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("is not there for gRPC"), "{said}");
    }
}

/// A gRPC server that says it has stored what it has not, beside a broker that has nothing.
#[test]
fn messages_lost_behind_grpc_are_told_and_make_the_exit_status_1() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let broker = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            std::thread::spawn(move || forget_everything(stream));
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || forget_calls(listener));
    let places = ["--broker", &broker, "--protocol", "grpc", "--endpoint", &endpoint];
    let arguments = ["bench", "produce", "-c", "1", "-w", "4", "--verify", "--patience", "0.1", "--json"];
    let output = command(&[&arguments[..], &places, &SHORT].concat()).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    assert_eq!((output.status.code(), &report["clean"]), (Some(1), &Value::Bool(false)), "{report}");
    let found = &report["verification"];
    assert!(found["lost"].as_u64().unwrap() > 0 && found["lost"] == found["sent"], "{report}");
    assert_eq!(report["parts"]["sends"]["faults"], serde_json::json!({}), "{report}");
}

/// Answers every call as if what it sent were stored.
fn forget_calls(listener: TcpListener) {
    listener.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut calls = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, respond))) = calls.accept().await {
                    tokio::spawn(forget_call(request.into_body(), respond));
                }
            });
        }
    });
}

async fn forget_call(mut body: h2::RecvStream, mut respond: h2::server::SendResponse<bytes::Bytes>) {
    let mut request = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        body.flow_control().release_capacity(data.len()).unwrap();
        request.extend_from_slice(&data);
    }
    let request = SendMessageRequest::decode(&request[5..]).unwrap();
    let ok = || Some(Status { code: Code::Ok.into(), message: String::new() });
    let entry = |message: Message| SendResultEntry {
        status: ok(),
        message_id: message.system_properties.unwrap_or_default().message_id,
        ..SendResultEntry::default()
    };
    let entries = request.messages.into_iter().map(entry).collect();
    let answer = SendMessageResponse { status: ok(), entries }.encode_to_vec();
    let framed = [&[0][..], &(answer.len() as u32).to_be_bytes(), &answer].concat();
    let mut stream = respond.send_response(http::Response::new(()), false).unwrap();
    stream.send_data(framed.into(), false).unwrap();
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    stream.send_trailers(trailers).unwrap();
}

/// A broker that says it has stored what it has not.
#[test]
fn lost_messages_are_told_and_make_the_exit_status_1() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            std::thread::spawn(move || forget_everything(stream));
        }
    });
    let arguments = ["bench", "produce", "--broker", &address, "-c", "1", "-w", "4", "--verify", "--patience", "0.1"];
    let output = command(&[&arguments[..], &SHORT, &["--json"]].concat()).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    assert_eq!((output.status.code(), &report["clean"]), (Some(1), &Value::Bool(false)), "{report}");
    let found = &report["verification"];
    assert!(found["lost"].as_u64().unwrap() > 0 && found["lost"] == found["sent"], "{report}");
}

/// Answers until the other side has gone.
fn forget_everything(mut stream: TcpStream) {
    let (mut received, mut buffer) = (Vec::new(), [0; 64 * 1024]);
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        received.extend_from_slice(&buffer[..count]);
        let mut out = Vec::new();
        while let Some(frame) = frame::split(&received).unwrap() {
            let mut spans = FieldSpans::default();
            let header = Header::decode(Codec::Json, frame.header, &mut spans).unwrap();
            let code = match RequestCode(header.code) {
                RequestCode::PULL_MESSAGE => ResponseCode::PULL_NOT_FOUND,
                _ => ResponseCode::SUCCESS,
            };
            let answer = FrameWriter::response(&mut out, Codec::Json, code, header.opaque, None);
            let answer = match RequestCode(header.code) {
                RequestCode::PULL_MESSAGE => {
                    let (next_begin_offset, min_offset, max_offset) = (0, 0, 0);
                    PullMessageResult { suggest_which_broker_id: 0, next_begin_offset, min_offset, max_offset }
                        .encode(answer)
                }
                RequestCode::GET_MIN_OFFSET | RequestCode::GET_MAX_OFFSET => OffsetResult { offset: 0 }.encode(answer),
                _ => {
                    let msg_id = Cow::Borrowed("7F00000100002A9F0000000000000000");
                    SendMessageResult {
                        msg_id,
                        queue_id: 0,
                        queue_offset: 0,
                        transaction_id: None,
                        recall_handle: None,
                    }
                    .encode(answer)
                }
            };
            answer.finish(b"");
            let size = frame.size;
            received.drain(..size);
        }
        if stream.write_all(&out).is_err() {
            return;
        }
    }
}
