#![no_main]

//! A log whose files were changed: it opens or says why not, reads without harm whatever it holds, and what is appended
//! then is there after the next start.

use std::sync::{Arc, OnceLock};

use libfuzzer_sys::fuzz_target;
use log::{Batch, Boundary, Disk, Log, LogConfig, LogPosition, MemoryDisk, NewRecord, PullLimits};
use protocol::sys_flag::SysFlag;

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 4096,
        index_segment_bytes: 4096,
        key_run_entries: 8,
        due_buffer_entries: 4,
        boot_id: "boot".into(),
        ..LogConfig::default()
    }
}

fn append(log: &Log, topic: &str, body: &[u8], due_ms: Option<i64>) -> bool {
    let host = ([127, 0, 0, 1], 10911).into();
    let properties = match due_ms {
        Some(due_ms) => format!("TIMER_OUT_MS\u{1}{due_ms}\u{2}"),
        None => "UNIQ_KEY\u{1}key\u{2}".to_owned(),
    };
    let record = NewRecord {
        topic,
        queue_id: 0,
        flag: 0,
        sys_flag: SysFlag(0),
        born_timestamp_ms: 1,
        born_host: host,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body,
        properties: properties.as_bytes(),
    };
    let Ok(queue) = log.queue(topic, 0) else { return false };
    let mut batch = Batch::new();
    batch.push(record, queue, 7, due_ms).is_ok() && log.append(&mut batch, 1).is_ok()
}

/// A log as a kill leaves it: with a checkpoint, and records after it.
fn killed() -> &'static MemoryDisk {
    static DISK: OnceLock<MemoryDisk> = OnceLock::new();
    DISK.get_or_init(|| {
        let disk = MemoryDisk::new();
        let (log, _) = Log::open(Arc::new(disk.clone()), config(), &mut |_| {}).expect("a new log opens");
        for n in 0..20 {
            assert!(append(&log, "orders", format!("order {n}").as_bytes(), None));
            assert!(append(&log, "rmq_sys_wheel_timer", b"later", Some(n * 1_800_000)));
        }
        log.checkpoint(&|_| Ok(())).expect("the disk is well");
        assert!(append(&log, "orders", b"after the checkpoint", None));
        disk
    })
}

fn paths(disk: &MemoryDisk) -> Vec<String> {
    let mut paths = vec!["checkpoint".to_owned(), "running".to_owned()];
    for dir in ["commitlog", "index", "keys", "due"] {
        paths.extend(disk.list(dir).expect("the folder is there").into_iter().map(|name| format!("{dir}/{name}")));
    }
    paths
}

/// Changes files as `script` says: each step names a file, a place and what becomes of it.
fn change(disk: &MemoryDisk, mut script: &[u8]) {
    let paths = paths(disk);
    while let Some(([file, what, high, low, count], rest)) = script.split_first_chunk() {
        let new = &rest[..rest.len().min(usize::from(*count))];
        script = &rest[new.len()..];
        let at = usize::from(u16::from_be_bytes([*high, *low]));
        let changed = disk.tamper(&paths[usize::from(*file) % paths.len()], |bytes| match what % 4 {
            0 => bytes.truncate(at),
            3 => fix_checksum(bytes, at),
            _ => {
                let at = at % (bytes.len() + 1);
                let end = bytes.len().min(at + new.len());
                bytes[at..end].copy_from_slice(&new[..end - at]);
            }
        });
        changed.expect("the file is there");
    }
}

/// Puts the checksum of everything before it where one of the formats has it, so that what was changed is believed.
fn fix_checksum(bytes: &mut [u8], which: usize) {
    let at = [20, 24, 60, 4092, bytes.len().saturating_sub(4)][which % 5];
    if at + 4 <= bytes.len() {
        let crc = crc32fast::hash(&bytes[..at]);
        bytes[at..at + 4].copy_from_slice(&crc.to_be_bytes());
    }
}

/// Reads everything in every way.
fn read(log: &Log) {
    let mut out = Vec::new();
    for (topic, queue_id) in log.queues() {
        let Some(queue) = log.find_queue(&topic, queue_id) else { continue };
        let mut offset = log.offsets(queue).min;
        for _ in 0..100 {
            out.clear();
            let limits = PullLimits { max_messages: 16, max_bytes: 1 << 16 };
            match log.pull(queue, offset, limits, &|_| true, &mut out) {
                Ok(pulled) if offset < pulled.next_offset => offset = pulled.next_offset,
                _ => break,
            }
        }
        let _ = (log.offset_by_time(queue, 5, Boundary::Lower), log.entries(queue, 0, 50), log.store_time(queue, 3));
    }
    let _ = log.query_key("orders", "key", i64::MIN, i64::MAX, 64, &mut out);
    let _ = log.due_until(i64::MAX, 100);
    let _ = log.pending_in(LogPosition(0)..LogPosition(u64::MAX));
    let _ = (log.earliest_store_timestamp_ms(), log.stats(), log.maintain());
}

fuzz_target!(|script: &[u8]| {
    let disk = killed().fork();
    change(&disk, script);
    let Ok((log, _)) = Log::open(Arc::new(disk.clone()), config(), &mut |_| {}) else { return };
    read(&log);
    if !append(&log, "fuzzed", b"one more", None) || log.sync().is_err() {
        return;
    }
    drop(log);
    let (log, _) = Log::open(Arc::new(disk), config(), &mut |_| {}).expect("a log that took a message opens again");
    let queue = log.find_queue("fuzzed", 0).expect("its queue is there");
    let mut out = Vec::new();
    let end = log.offsets(queue).max;
    let limits = PullLimits { max_messages: 1, max_bytes: 1 << 16 };
    log.pull(queue, end - 1, limits, &|_| true, &mut out).expect("it can be pulled");
    assert!(out.windows(8).any(|window| window == b"one more"), "a message that was acknowledged is gone");
});
