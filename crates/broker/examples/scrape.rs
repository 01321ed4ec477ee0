//! How long a scrape takes of a broker that shows 50,000 series: a few thousand topics with messages, each read by a
//! group that is behind.
//!
//! `cargo run --release -p broker --example scrape`

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a measurement that cannot go on has failed")]

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use broker::config::BrokerConfig;
use broker::config::exporting::Exporting;
use broker::start::{RunningBroker, start};
use protocol::codes::RequestCode;
use protocol::frame::Codec;
use protocol::writer::{Expect, FrameWriter};

const SERIES: usize = 50_000;
const TOPICS_AT_ONCE: usize = 100;
const SCRAPES: usize = 20;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(BrokerConfig {
        bind_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        listen_port: 0,
        fast_listen_port: 0,
        grpc_port: None,
        exporting: Exporting::closed(),
        data_dir: folder.path().join("data"),
        default_topic_queue_nums: 4.into(),
        segment_bytes: 64 << 20,
        ..BrokerConfig::default()
    })
    .unwrap();
    let mut wire = TcpStream::connect(running.address).unwrap();
    let mut topics = 0;
    while series(&running) < SERIES {
        (0..TOPICS_AT_ONCE).for_each(|_| {
            topics += 1;
            use_topic(&mut wire, &format!("orders-of-customer-{topics:06}"));
        });
    }
    let page = running.exporter.scrape("").body;
    println!("{topics} topics, {} series, {} KiB", series(&running), page.len() / 1024);
    let mut times: Vec<Duration> = (0..SCRAPES).map(|_| time(|| drop(running.exporter.scrape("")))).collect();
    times.sort_unstable();
    println!("scrape: median {:.1?}, worst {:.1?} of {SCRAPES}", times[SCRAPES / 2], times[SCRAPES - 1]);
    running.stop();
}

/// Sends three messages to a new topic, has a group read them, and commits the first.
fn use_topic(wire: &mut TcpStream, topic: &str) {
    let sent = [
        ("producerGroup", "producers"),
        ("topic", topic),
        ("defaultTopic", "TBW102"),
        ("defaultTopicQueueNums", "4"),
        ("queueId", "0"),
        ("sysFlag", "0"),
        ("bornTimestamp", "1700000000000"),
        ("flag", "0"),
    ];
    (0..3).for_each(|_| call(wire, RequestCode::SEND_MESSAGE, &sent, &[b'x'; 100]));
    let pulled = [
        ("consumerGroup", "consumers"),
        ("topic", topic),
        ("queueId", "0"),
        ("queueOffset", "0"),
        ("maxMsgNums", "32"),
        ("sysFlag", "4"),
        ("commitOffset", "0"),
        ("suspendTimeoutMillis", "0"),
        ("subscription", "*"),
        ("expressionType", "TAG"),
    ];
    call(wire, RequestCode::PULL_MESSAGE, &pulled, b"");
    let committed = [("consumerGroup", "consumers"), ("topic", topic), ("queueId", "0"), ("commitOffset", "1")];
    call(wire, RequestCode::UPDATE_CONSUMER_OFFSET, &committed, b"");
}

fn call(wire: &mut TcpStream, code: RequestCode, fields: &[(&str, &str)], body: &[u8]) {
    let mut bytes = Vec::new();
    let frame = FrameWriter::request(&mut bytes, Codec::Json, code, 1, Expect::Answer);
    fields.iter().fold(frame, |frame, (name, value)| frame.text(name, value)).finish(body);
    wire.write_all(&bytes).unwrap();
    let mut size = [0; 4];
    wire.read_exact(&mut size).unwrap();
    bytes.resize(u32::from_be_bytes(size) as usize, 0);
    wire.read_exact(&mut bytes).unwrap();
    let is_success = String::from_utf8_lossy(&bytes).contains("\"code\":0,");
    assert!(is_success, "{}", String::from_utf8_lossy(&bytes));
}

/// How many series a scrape shows.
fn series(running: &RunningBroker) -> usize {
    running.exporter.scrape("").body.lines().filter(|line| !line.starts_with('#')).count()
}

fn time(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}
