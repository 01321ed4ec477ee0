//! How long the log takes to append, to find and to recover: `cargo bench -p apogee-log`.
//!
//! Appends go to real files below the temporary folder, which take up to 1 GB; everything else to memory, so that
//! figures say what the code takes and not what the disk does.

#![expect(missing_docs, reason = "criterion's macro makes a public function")]
#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on has failed")]

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use apogee_log::{Batch, Disk, Log, LogConfig, MemoryDisk, NewRecord, PullLimits, QueueNumber, RealDisk};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use protocol::sys_flag::SysFlag;

const QUEUES: usize = 8;
const BATCH: usize = 64;
const BODY: [u8; 128] = [b'x'; 128];

/// Batches between two rounds of retention: 64 MiB of records.
const BATCHES_KEPT: u64 = 4096;

fn open(disk: Arc<dyn Disk>, segment_bytes: u64) -> Log {
    let config = LogConfig { segment_bytes, spare_segments: 2, ..LogConfig::default() };
    Log::open(disk, config, &mut |_| {}).unwrap().0
}

fn queues(log: &Log) -> Vec<QueueNumber> {
    (0..QUEUES).map(|queue| log.queue("bench", queue as u32).unwrap()).collect()
}

/// One message to each queue in turn.
fn fill(batch: &mut Batch, queues: &[QueueNumber]) {
    let host = SocketAddr::from(([127, 0, 0, 1], 10911));
    batch.clear();
    for number in 0..BATCH {
        let record = NewRecord {
            topic: "bench",
            queue_id: (number % queues.len()) as i32,
            flag: 0,
            sys_flag: SysFlag(0),
            born_timestamp_ms: 1,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: &BODY,
            properties: b"UNIQ_KEY\x017F0000010A5A18B4AAC2000000010000\x02WAIT\x01true",
        };
        batch.push(record, queues[number % queues.len()], 0, None).unwrap();
    }
}

fn filled(disk: &MemoryDisk, batches: usize) -> Log {
    let log = open(Arc::new(disk.clone()), 16 << 20);
    let queues = queues(&log);
    let mut batch = Batch::new();
    for _ in 0..batches {
        fill(&mut batch, &queues);
        log.append(&mut batch, 1).unwrap();
    }
    log
}

fn append(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let log = open(Arc::new(RealDisk::open(folder.path()).unwrap()), 32 << 20);
    let queues = queues(&log);
    let mut group = c.benchmark_group("append");
    group.sample_size(20).measurement_time(Duration::from_secs(3)).throughput(Throughput::Elements(BATCH as u64));
    let mut batch = Batch::new();
    group.bench_function("batch of 64 encoded", |b| b.iter(|| fill(&mut batch, black_box(&queues))));
    let mut appended = 0_u64;
    group.bench_function("batch of 64 encoded and appended to a file", |b| {
        b.iter(|| {
            fill(&mut batch, &queues);
            log.append(&mut batch, 1).unwrap();
            appended += 1;
            if appended.is_multiple_of(BATCHES_KEPT) {
                log.maintain().unwrap();
                log.checkpoint(&|_| Ok(())).unwrap();
                log.clean(0, Some(u64::MAX)).unwrap();
                log.prepare().unwrap();
            }
        });
    });
    group.finish();
}

fn pull(c: &mut Criterion) {
    let disk = MemoryDisk::new();
    let log = filled(&disk, 2_000);
    let queue = queues(&log)[3];
    let end = log.offsets(queue).max;
    let mut group = c.benchmark_group("pull");
    for count in [1, 32, 1024] {
        let limits = PullLimits { max_messages: count, max_bytes: 1 << 20 };
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(format!("{count} messages"), |b| {
            let (mut out, mut offset) = (Vec::new(), 0);
            b.iter(|| {
                out.clear();
                let pulled = log.pull(queue, offset, limits, &|_| true, &mut out).unwrap();
                offset = if pulled.next_offset + 1024 < end { pulled.next_offset } else { 0 };
                out.len()
            });
        });
    }
    group.throughput(Throughput::Elements(1));
    group.bench_function("entry of the index", |b| {
        let mut offset = 0;
        b.iter(|| {
            // A step that no block divides, so that look-ups jump.
            offset = (offset + 7_919) % end;
            log.entries(queue, offset, 1).unwrap().len()
        });
    });
    group.bench_function("nothing new", |b| {
        let limits = PullLimits { max_messages: 32, max_bytes: 1 << 20 };
        b.iter(|| log.pull(queue, black_box(end), limits, &|_| true, &mut Vec::new()).unwrap().outcome);
    });
    group.finish();
}

/// Opens what a crash leaves: records that no checkpoint knows have to be read again.
fn recovery(c: &mut Criterion) {
    let mut group = c.benchmark_group("open after a crash");
    group.sample_size(10).measurement_time(Duration::from_secs(3));
    for (name, batches) in [("nothing to read", 0), ("64,000 records to read", 1_000)] {
        let disk = MemoryDisk::new();
        let log = filled(&disk, 100);
        log.checkpoint(&|_| Ok(())).unwrap();
        let queues = queues(&log);
        let mut batch = Batch::new();
        for _ in 0..batches {
            fill(&mut batch, &queues);
            log.append(&mut batch, 1).unwrap();
        }
        let crashed = disk.fork();
        group.throughput(Throughput::Elements((batches * BATCH).max(1) as u64));
        group.bench_function(name, |b| {
            b.iter_batched(|| Arc::new(crashed.fork()), |disk| open(disk, 16 << 20).end(), BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(log, append, pull, recovery);
criterion_main!(log);
