//! Small logs with short ways to fill and to look at them.

use std::net::SocketAddr;
use std::sync::Arc;

use apogee_log::{
    AppendError, Batch, Log, LogConfig, LogPosition, MemoryDisk, NewRecord, Placed, PullLimits, PullOutcome,
    QueueNumber, Record, Recovery, Visibility,
};
use protocol::sys_flag::SysFlag;

/// Small enough that everything rolls and seals within a few records.
pub fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 2048,
        index_segment_bytes: 4096,
        visibility: Visibility::Written,
        cached_bytes: u64::MAX,
        replay_all: false,
        boot_id: "boot".to_owned(),
        known_queues: Vec::new(),
        spare_segments: 1,
        key_run_entries: 8,
        key_replay_bytes: 1024,
        due_buffer_entries: 4,
    }
}

pub fn durable_config() -> LogConfig {
    LogConfig { visibility: Visibility::Durable, ..config() }
}

pub fn open_with(disk: &MemoryDisk, config: LogConfig) -> (Log, Recovery) {
    Log::open(Arc::new(disk.clone()), config, &mut |_| {}).unwrap()
}

pub fn open(disk: &MemoryDisk) -> Log {
    open_with(disk, config()).0
}

/// A message before it has a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    pub queue_id: u32,
    pub body: Vec<u8>,
    pub properties: String,
    pub tag_hash: i32,
    pub due_ms: Option<i64>,
    pub settles: u64,
}

pub fn message(topic: &str, queue_id: u32, body: &str) -> Message {
    Message {
        topic: topic.to_owned(),
        queue_id,
        body: body.as_bytes().to_vec(),
        properties: String::new(),
        tag_hash: 0,
        due_ms: None,
        settles: 0,
    }
}

impl Message {
    pub fn tag(mut self, tag: &str) -> Message {
        self.tag_hash = protocol::record::java_string_hash(tag);
        self.property("TAGS", tag)
    }

    pub fn property(mut self, name: &str, value: &str) -> Message {
        self.properties += &format!("{name}\u{1}{value}\u{2}");
        self
    }

    pub fn due(mut self, due_ms: i64) -> Message {
        self.due_ms = Some(due_ms);
        self.property("TIMER_OUT_MS", &due_ms.to_string())
    }

    pub fn settles(mut self, position: LogPosition) -> Message {
        self.settles = position.0;
        self
    }
}

pub fn batch(log: &Log, messages: &[Message]) -> Batch {
    let host = SocketAddr::from(([127, 0, 0, 1], 10911));
    let mut batch = Batch::new();
    for message in messages {
        let queue = log.queue(&message.topic, message.queue_id).unwrap();
        let record = NewRecord {
            topic: &message.topic,
            queue_id: message.queue_id as i32,
            flag: 0,
            sys_flag: SysFlag(0),
            born_timestamp_ms: 1,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: message.settles as i64,
            body: &message.body,
            properties: message.properties.as_bytes(),
        };
        batch.push(record, queue, message.tag_hash, message.due_ms).unwrap();
    }
    batch
}

pub fn try_append(log: &Log, messages: &[Message], now_ms: i64) -> Result<Vec<Placed>, AppendError> {
    let mut batch = batch(log, messages);
    log.append(&mut batch, now_ms)?;
    Ok(batch.placed().to_vec())
}

#[track_caller]
pub fn append(log: &Log, messages: &[Message], now_ms: i64) -> Vec<Placed> {
    try_append(log, messages, now_ms).unwrap()
}

/// What can be read of a queue: offset, body and position of each message.
pub type Content = Vec<(u64, Vec<u8>, u64)>;

#[track_caller]
pub fn content(log: &Log, queue: QueueNumber) -> Content {
    let mut found = Vec::new();
    let mut offset = log.offsets(queue).min;
    loop {
        let mut out = Vec::new();
        let limits = PullLimits { max_messages: 7, max_bytes: 2000 };
        let pulled = log.pull(queue, offset, limits, &|_| true, &mut out).unwrap();
        assert!(pulled.next_offset >= offset);
        match pulled.outcome {
            PullOutcome::Found { count } => {
                let records: Vec<Record> = protocol::record::records(&out).collect();
                assert_eq!(records.len(), count);
                for record in &records {
                    record.verify_body().unwrap();
                    found.push((record.queue_offset(), record.body().to_vec(), record.position()));
                    let mut single = Vec::new();
                    log.read(LogPosition(record.position()), &mut single).unwrap();
                    assert_eq!(single, record.bytes());
                }
            }
            PullOutcome::AtEnd | PullOutcome::Empty => return found,
            // A hole may reach to the end.
            PullOutcome::NothingMatched if pulled.next_offset == pulled.max_offset => return found,
            outcome => panic!("{outcome:?} at offset {offset}"),
        }
        offset = pulled.next_offset;
    }
}

#[track_caller]
pub fn content_of(log: &Log, topic: &str, queue_id: u32) -> Content {
    log.find_queue(topic, queue_id).map_or(Vec::new(), |queue| content(log, queue))
}

pub fn bodies(log: &Log, topic: &str, queue_id: u32) -> Vec<String> {
    content_of(log, topic, queue_id).into_iter().map(|(_, body, _)| String::from_utf8(body).unwrap()).collect()
}

pub fn checkpoint(log: &Log) {
    log.checkpoint(&|_| Ok(())).unwrap();
}

pub fn close(log: Log) {
    log.close(&|_| Ok(())).unwrap();
}
