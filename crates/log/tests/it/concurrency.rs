//! Everything at once, on both disks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use apogee_log::{Disk, Log, LogConfig, MemoryDisk, PullLimits, RealDisk, Record};

use crate::support::*;

const WRITERS: usize = 3;
const BATCHES: usize = 150;

/// Follows a queue until `count` messages were seen, whose offsets and bodies must be in order.
fn follow(log: &Log, writer: usize, count: usize) {
    let queue = log.queue("shared", writer as u32).unwrap();
    let mut offset = 0;
    while offset < count as u64 {
        let mut out = Vec::new();
        let limits = PullLimits { max_messages: 50, max_bytes: 100_000 };
        let pulled = log.pull(queue, offset, limits, &|_| true, &mut out).unwrap();
        for record in protocol::record::records(&out) {
            assert_eq!(record.queue_offset(), offset);
            assert_eq!(record.body(), format!("{writer} {offset}").as_bytes());
            offset += 1;
        }
        assert_eq!(pulled.next_offset, offset);
    }
}

fn run(disk: Arc<dyn Disk>, config: LogConfig) {
    let (log, _) = Log::open(disk.clone(), config.clone(), &mut |_: &Record<'_>| {}).unwrap();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let log = &log;
                scope.spawn(move || {
                    for number in 0..BATCHES {
                        let texts = (0..3).map(|index| {
                            let body = format!("{writer} {}", 3 * number + index);
                            message("shared", writer as u32, &body).property("KEYS", "k")
                        });
                        append(log, &texts.collect::<Vec<_>>(), number as i64);
                        if number % 4 == 0 {
                            log.sync().unwrap();
                        }
                    }
                    log.sync().unwrap();
                })
            })
            .collect();
        for writer in 0..WRITERS {
            let log = &log;
            scope.spawn(move || follow(log, writer, 3 * BATCHES));
        }
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                log.prepare().unwrap();
                log.maintain().unwrap();
                log.checkpoint(&|_| Ok(())).unwrap();
                log.due_until(5, 5).unwrap();
                log.query_key("shared", "k", 0, i64::MAX, 3, &mut Vec::new()).unwrap();
            }
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        is_done.store(true, Ordering::Relaxed);
    });
    log.close(&|_| Ok(())).unwrap();
    drop(log);
    let (log, recovery) = Log::open(disk, config, &mut |_| {}).unwrap();
    assert!(recovery.was_clean && recovery.rebuilt.is_none(), "{recovery}");
    (0..WRITERS).for_each(|writer| follow(&log, writer, 3 * BATCHES));
}

#[test]
fn threads_do_not_disturb_each_other() {
    run(Arc::new(MemoryDisk::new()), config());
    run(Arc::new(MemoryDisk::new()), durable_config());
}

#[test]
fn the_real_disk_does_what_the_one_in_memory_does() {
    let dir = tempfile::tempdir().unwrap();
    run(Arc::new(RealDisk::open(dir.path()).unwrap()), LogConfig { segment_bytes: 16 << 10, ..config() });
}
