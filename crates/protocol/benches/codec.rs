//! How long reading and writing the protocol takes: `cargo bench -p protocol`.

#![expect(missing_docs, reason = "criterion's macro makes a public function")]
#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]

use std::borrow::Cow;
use std::hint::black_box;
use std::net::SocketAddr;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use protocol::batch::{self, BatchItem};
use protocol::codes::{Language, RequestCode, ResponseCode};
use protocol::frame::{self, Codec};
use protocol::header::{FieldSpans, Header};
use protocol::properties;
use protocol::record::{NewRecord, Record};
use protocol::requests::SendMessage;
use protocol::sys_flag::SysFlag;
use protocol::typed::TypedHeader;
use protocol::writer::{FrameWriter, OWN_VERSION};

const CODECS: [(&str, Codec); 2] = [("json", Codec::Json), ("binary", Codec::Binary)];
const BODY: [u8; 128] = [b'x'; 128];
const BATCHED: usize = 32;

/// Properties that every client sends.
fn own_properties() -> Vec<u8> {
    let mut own = Vec::new();
    properties::push(&mut own, properties::UNIQ_KEY, "7F0000010A5A18B4AAC2000000010000");
    properties::push(&mut own, properties::WAIT, "true");
    own
}

/// A send as clients make it.
fn send_frame(codec: Codec) -> Vec<u8> {
    let own = own_properties();
    let send = SendMessage {
        producer_group: Cow::Borrowed("bench-group"),
        topic: Cow::Borrowed("bench-topic"),
        default_topic: Cow::Borrowed("TBW102"),
        default_topic_queue_nums: 4,
        queue_id: 3,
        sys_flag: 0,
        born_timestamp: 1_763_791_200_123,
        flag: 0,
        properties: Some(String::from_utf8_lossy(&own)),
        reconsume_times: Some(0),
        unit_mode: Some(false),
        max_reconsume_times: None,
        batch: Some(false),
    };
    let mut out = Vec::new();
    let code = RequestCode::SEND_MESSAGE_V2.0;
    send.encode(FrameWriter::begin(&mut out, codec, code, Language::JAVA, OWN_VERSION, 1, 0, None)).finish(&BODY);
    out
}

fn headers(c: &mut Criterion) {
    let mut group = c.benchmark_group("header of a send");
    for (name, codec) in CODECS {
        let bytes = send_frame(codec);
        group.bench_function(format!("{name}, fields found"), |b| {
            let mut spans = FieldSpans::default();
            b.iter(|| {
                let frame = frame::split(black_box(&bytes)).unwrap().unwrap();
                Header::decode(codec, frame.header, &mut spans).unwrap().opaque
            });
        });
        group.bench_function(format!("{name}, typed"), |b| {
            let mut spans = FieldSpans::default();
            b.iter(|| {
                let frame = frame::split(black_box(&bytes)).unwrap().unwrap();
                let header = Header::decode(codec, frame.header, &mut spans).unwrap();
                SendMessage::decode(&header.fields).unwrap().queue_id
            });
        });
    }
    group.finish();
}

/// From the bytes of a frame to the bytes of a record.
fn records(c: &mut Criterion) {
    let mut group = c.benchmark_group("send to record");
    let host = SocketAddr::from(([127, 0, 0, 1], 10911));
    for (name, codec) in CODECS {
        let bytes = send_frame(codec);
        group.throughput(Throughput::Elements(1));
        group.bench_function(name, |b| {
            let mut spans = FieldSpans::default();
            let mut out = Vec::new();
            b.iter(|| {
                let frame = frame::split(black_box(&bytes)).unwrap().unwrap();
                let header = Header::decode(codec, frame.header, &mut spans).unwrap();
                let send = SendMessage::decode(&header.fields).unwrap();
                out.clear();
                let record = NewRecord {
                    topic: &send.topic,
                    queue_id: send.queue_id,
                    flag: send.flag,
                    sys_flag: SysFlag(send.sys_flag),
                    born_timestamp_ms: send.born_timestamp,
                    born_host: host,
                    store_host: host,
                    reconsume_times: 0,
                    prepared_transaction_offset: 0,
                    body: frame.body,
                    properties: send.properties.as_deref().unwrap_or_default().as_bytes(),
                };
                record.encode(&mut out).unwrap()
            });
        });
    }
    let mut stored = Vec::new();
    let record = NewRecord {
        topic: "bench-topic",
        queue_id: 3,
        flag: 0,
        sys_flag: SysFlag(0),
        born_timestamp_ms: 1,
        born_host: host,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: &BODY,
        properties: &own_properties(),
    };
    record.encode(&mut stored).unwrap();
    group.bench_function("record read and checked", |b| {
        b.iter(|| {
            let record = Record::parse(black_box(&stored)).unwrap();
            record.verify_body().unwrap();
            record.size()
        });
    });
    group.finish();
}

fn batches(c: &mut Criterion) {
    let own = own_properties();
    let mut bytes = Vec::new();
    for _ in 0..BATCHED {
        batch::push(&mut bytes, BatchItem { flag: 0, body: &BODY, properties: &own }).unwrap();
    }
    let mut group = c.benchmark_group("batch");
    group.throughput(Throughput::Elements(BATCHED as u64));
    group.bench_function("32 items of 128 bytes split", |b| {
        b.iter(|| batch::items(black_box(&bytes)).map(|item| item.map_or(0, |item| item.body.len())).sum::<usize>());
    });
    group.finish();
}

fn answers(c: &mut Criterion) {
    let mut group = c.benchmark_group("answer to a send");
    for (name, codec) in CODECS {
        group.bench_function(name, |b| {
            let mut out = Vec::new();
            b.iter(|| {
                out.clear();
                FrameWriter::response(&mut out, codec, ResponseCode::SUCCESS, black_box(1_000_001), None)
                    .text("msgId", "0A00000100002A9F0000000000000064")
                    .integer("queueId", 3)
                    .unsigned("queueOffset", black_box(1_234_567))
                    .finish(b"");
                out.len()
            });
        });
    }
    group.finish();
}

criterion_group!(codec, headers, records, batches, answers);
criterion_main!(codec);
