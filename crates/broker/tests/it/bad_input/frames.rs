//! Bytes that are no frame, frames that never end, headers that cannot be read.

use protocol::codes::{RequestCode, ResponseCode};
use protocol::frame::{Codec, FRAME_BYTES_MAX};

use super::{Guarded, at_most_one_line, until};
use crate::wire::Wire;

/// A frame with these bytes as its header.
fn frame(codec_number: u8, header: &[u8], body: &[u8]) -> Vec<u8> {
    let total = (4 + header.len() + body.len()) as u32;
    let word = u32::from(codec_number) << 24 | header.len() as u32;
    [&total.to_be_bytes()[..], &word.to_be_bytes(), header, body].concat()
}

/// A binary header with these bytes after its fixed parts: remark and entries.
fn binary_header(rest: &[u8]) -> Vec<u8> {
    let mut header = vec![0, 30, 0, 1, 0];
    header.extend_from_slice(&7i32.to_be_bytes());
    header.extend_from_slice(&0i32.to_be_bytes());
    header.extend_from_slice(rest);
    header
}

/// The broker closes the connection, counts it, and says so once.
#[track_caller]
fn check_closed(guarded: &mut Guarded, what: &str, bytes: &[u8]) {
    let before = guarded.count(|counters| &counters.protocol_closes);
    let mut wire = guarded.connect();
    let peer = wire.address();
    wire.send(bytes);
    wire.closed();
    until(|| guarded.count(|counters| &counters.protocol_closes) > before);
    assert_eq!(guarded.count(|counters| &counters.protocol_closes), before + 1, "{what}");
    at_most_one_line(peer);
    guarded.still_serves();
}

#[test]
fn bytes_that_are_no_frame_end_their_connection() {
    let mut guarded = Guarded::start();
    for length in [0, 3, -1, i32::MIN, i32::MAX, (FRAME_BYTES_MAX - 3) as i32] {
        check_closed(&mut guarded, &format!("length {length}"), &length.to_be_bytes());
    }
    check_closed(&mut guarded, "HTTP", b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n");
    check_closed(&mut guarded, "TLS", &[0x16, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]);
    check_closed(&mut guarded, "PROXY", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n");
    check_closed(&mut guarded, "header longer than its frame", &[0, 0, 0, 10, 0, 0, 0, 7, 1, 1, 1, 1, 1, 1]);
    check_closed(&mut guarded, "header of 16 MiB in a small frame", &[0, 0, 0, 4, 0, 0xff, 0xff, 0xff]);
    guarded.finish();
}

#[test]
fn headers_that_cannot_be_read_end_their_connection() {
    let mut guarded = Guarded::start();
    let deep = |start: &str, times: usize| format!(r#"{{"code":30,"x":{}"#, start.repeat(times));
    let many_fields: Vec<String> = (0..100_000).map(|number| format!(r#""f{number}":"v""#)).collect();
    let json = [
        ("no JSON", "hello".to_owned()),
        ("half a JSON object", r#"{"code":30,"opaque":1,"extFields":{"topic":"#.to_owned()),
        ("a code that is no number", r#"{"code":"abc","opaque":7}"#.to_owned()),
        ("a code beyond 32 bits", r#"{"code":99999999999,"opaque":7}"#.to_owned()),
        ("lists 100,000 deep", deep("[", 100_000)),
        ("objects 100,000 deep", deep(r#"{"a":"#, 100_000)),
        ("100,000 fields", format!(r#"{{"code":30,"opaque":7,"extFields":{{{}}}}}"#, many_fields.join(","))),
        ("NUL bytes", "\0".repeat(40)),
    ];
    let before = guarded.count(|counters| &counters.unreadable_headers);
    for (what, header) in &json {
        check_closed(&mut guarded, what, &frame(Codec::Json.number(), header.as_bytes(), b""));
    }
    let entry = [0, 1, b'a', 0, 0, 0, 1, b'b'];
    let many = [&[0; 4][..], &(entry.len() as u32 * 100_000).to_be_bytes(), &entry.repeat(100_000)].concat();
    let binary = [
        ("a header that ends early", vec![0, 30]),
        ("a negative remark", binary_header(&[0xff; 4])),
        ("a remark beyond the header", binary_header(&[0, 0, 1, 0, b'x'])),
        ("entries beyond the header", binary_header(&[0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff])),
        ("a negative length of entries", binary_header(&[0, 0, 0, 0, 0x80, 0, 0, 0])),
        ("a name beyond the entries", binary_header(&[0, 0, 0, 0, 0, 0, 0, 4, 0x7f, 0xff, b'a', b'b'])),
        ("a negative value length", binary_header(&[0, 0, 0, 0, 0, 0, 0, 7, 0, 1, b'a', 0xff, 0xff, 0xff, 0xff])),
        ("100,000 entries", binary_header(&many)),
    ];
    for (what, header) in &binary {
        check_closed(&mut guarded, what, &frame(Codec::Binary.number(), header, b""));
    }
    let unreadable = guarded.count(|counters| &counters.unreadable_headers) - before;
    assert_eq!(unreadable, (json.len() + binary.len()) as u64);
    guarded.finish();
}

#[test]
fn frames_that_ask_nothing_are_passed_over() {
    let mut guarded = Guarded::start();
    let mut wire = guarded.connect();
    wire.send(&frame(7, b"{}", b""));
    wire.send(&frame(255, &[0xff; 50], &[0xff; 50]));
    wire.send(&frame(0, b"{}", b""));
    wire.send(&frame(0, b"[]", b"body"));
    wire.send(&frame(0, b"", b""));
    wire.send(&frame(1, b"", b""));
    wire.send(&frame(0, br#"{"code":0,"flag":1,"opaque":9,"language":"JAVA","version":0}"#, b"an answer"));
    assert_eq!(wire.unclaimed(), []);
    guarded.still_serves();
    guarded.finish();
}

#[test]
fn odd_headers_that_can_be_read_are_answered() {
    let guarded = Guarded::start();
    let mut wire = guarded.connect();
    let headers = [
        r#"{"code":"30","opaque":7,"extFields":{"topic":"kept","queueId":"0"}}"#,
        r#"{"code":30,"opaque":7,"language":"KLINGON","version":2147483647,"extFields":{"topic":"kept","queueId":0}}"#,
        r#" { "opaque" : 7 , "code" : 30 , "extFields" : { "queueId" : "0" , "topic" : "\u006bept" } } "#,
        r#"{"unknown":{"a":[1,2,{"b":null}]},"code":30,"opaque":7,"extFields":{"topic":"kept","queueId":"0"}}"#,
    ];
    for header in headers {
        wire.send(&frame(0, header.as_bytes(), b""));
        let answer = wire.answer(7);
        assert_eq!((answer.response_code(), answer.number("offset")), (ResponseCode::SUCCESS, 10), "{header}");
    }
    for opaque in [0, -1, i32::MIN, i32::MAX] {
        wire.send(&frame(0, format!(r#"{{"code":30,"opaque":{opaque}}}"#).as_bytes(), b""));
        assert_eq!(wire.answer(opaque).response_code(), ResponseCode::SYSTEM_ERROR);
    }
    guarded.finish();
}

#[test]
fn what_came_whole_before_rubbish_is_stored_and_answered() {
    let mut guarded = Guarded::start();
    let mut wire = guarded.connect();
    let fields = [("topic", "before"), ("defaultTopic", "TBW102"), ("defaultTopicQueueNums", "4"), ("queueId", "0")];
    // The first send creates the topic; its answer waits until that is saved.
    assert_eq!(wire.call(RequestCode::SEND_MESSAGE, &fields, b"first").response_code(), ResponseCode::SUCCESS);
    let opaque = wire.request(RequestCode::SEND_MESSAGE, &fields, b"whole");
    wire.send(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(wire.answer(opaque).response_code(), ResponseCode::SUCCESS);
    wire.closed();
    let offset = guarded.wire.call(RequestCode::GET_MAX_OFFSET, &fields, b"");
    assert_eq!(offset.number("offset"), 2);
    guarded.finish();
}

#[test]
fn a_send_that_ends_in_the_middle_stores_nothing() {
    let mut guarded = Guarded::start();
    let header = r#"{"code":10,"opaque":1,"extFields":{"topic":"half","defaultTopic":"TBW102","queueId":"0"}}"#;
    let whole = frame(0, header.as_bytes(), &[b'x'; 5000]);
    for cut in [1, 4, 7, 8, 20, 100, 1000, whole.len() - 1] {
        let mut wire = guarded.connect();
        wire.send(&whole[..cut]);
        wire.finish_sending();
        wire.closed();
    }
    let answer = guarded.wire.call(RequestCode::GET_TOPIC_CONFIG, &[("topic", "half")], b"");
    assert_eq!(answer.response_code(), ResponseCode::TOPIC_NOT_EXIST);
    guarded.finish();
}

/// Set for the process in which the memory test is alone.
const ALONE: &str = "HALF_FRAMES_ALONE";

/// Other tests of this process take memory too, so this one runs in a process of its own.
#[test]
fn two_thousand_half_frames_take_little_memory() {
    if std::env::var_os(ALONE).is_some() {
        return hold_half_frames();
    }
    let name = "bad_input::frames::two_thousand_half_frames_take_little_memory";
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

fn hold_half_frames() {
    const CONNECTIONS: usize = 2000;
    const KIB_PER_CONNECTION_MAX: usize = 6;
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let wanted = rustix::process::Rlimit { current: files.maximum, ..files };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, wanted).unwrap();

    let mut guarded = Guarded::start();
    // Buffers that the threads keep are there from the first connections on.
    let warm: Vec<Wire> = (0..20).map(|_| half_frame(&guarded)).collect();
    let open = |guarded: &Guarded| guarded.server.broker().connections.len();
    until(|| open(&guarded) == warm.len() + 1);
    guarded.still_serves();
    let before_kib = anonymous_kib();
    let held: Vec<Wire> = (0..CONNECTIONS).map(|_| half_frame(&guarded)).collect();
    until(|| open(&guarded) == warm.len() + CONNECTIONS + 1);
    guarded.still_serves();
    let grown_kib = anonymous_kib().saturating_sub(before_kib);
    assert!(grown_kib <= CONNECTIONS * KIB_PER_CONNECTION_MAX, "{CONNECTIONS} half frames took {grown_kib} KiB");
    drop((warm, held));
    until(|| open(&guarded) == 1);
    guarded.finish();
}

/// A connection that announces almost 16 MiB and sends a hundred bytes of it.
fn half_frame(guarded: &Guarded) -> Wire {
    let mut wire = guarded.connect();
    let length = (FRAME_BYTES_MAX - 4) as u32;
    wire.send(&[&length.to_be_bytes()[..], &[0, 0, 0, 200], &[b'{'; 100]].concat());
    wire
}

/// Memory of this process that no file stands behind.
fn anonymous_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().strip_suffix("kB").unwrap().trim().parse().unwrap()
}
