//! How many records a second one thread appends: `cargo run --release -p apogee-log --example append_rate -- DIR`.
//!
//! Prints one line a round; the first rounds write fresh pages, later ones pages that retention recycled. The queues
//! are used in turn, which is the worst order for the index.

use std::net::SocketAddr;
use std::sync::Arc;

use apogee_log::{Batch, Log, LogConfig, NewRecord, RealDisk};
use protocol::sys_flag::SysFlag;

const BATCH: usize = 64;
const BATCHES: usize = 40_000;
const ROUNDS: usize = 6;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().ok_or("usage: append_rate DIR [BODY_BYTES] [QUEUES] [KEYS]")?;
    let body = vec![b'x'; args.next().map_or(Ok(128), |text| text.parse())?];
    let queue_count: usize = args.next().map_or(Ok(8), |text| text.parse())?;
    let with_keys = args.next().is_some();
    let disk = Arc::new(RealDisk::open(&dir)?);
    let config = LogConfig { segment_bytes: 256 << 20, spare_segments: 8, ..LogConfig::default() };
    let (log, recovery) = Log::open(disk, config, &mut |_| {})?;
    println!("{recovery}");

    let host = SocketAddr::from(([127, 0, 0, 1], 10911));
    let queues: Vec<_> = (0..queue_count).map(|queue| log.queue("BenchT", queue as u32)).collect::<Result<_, _>>()?;
    let mut batch = Batch::new();
    let mut number = 0_usize;
    let mut properties = Vec::new();
    for round in 0..ROUNDS {
        let mut encoding = std::time::Duration::ZERO;
        let started = now();
        for index in 0..BATCHES {
            let begin = now();
            batch.clear();
            for _ in 0..BATCH {
                number += 1;
                let queue = number % queue_count;
                properties.clear();
                if with_keys {
                    let id = format!("{number:032X}");
                    protocol::properties::push(&mut properties, protocol::properties::UNIQ_KEY, &id);
                }
                let record = NewRecord {
                    topic: "BenchT",
                    queue_id: queue as i32,
                    flag: 0,
                    sys_flag: SysFlag(0),
                    born_timestamp_ms: 1,
                    born_host: host,
                    store_host: host,
                    reconsume_times: 0,
                    prepared_transaction_offset: 0,
                    body: &body,
                    properties: &properties,
                };
                batch.push(record, queues[queue], 0, None)?;
            }
            encoding += begin.elapsed();
            log.append(&mut batch, round as i64)?;
            if index % 1000 == 0 {
                log.maintain()?;
                log.prepare()?;
            }
        }
        let took = started.elapsed();
        let rate = (BATCH * BATCHES) as f64 / took.as_secs_f64();
        let append_ns = (took - encoding).as_nanos() / (BATCH * BATCHES) as u128;
        println!("round {round}: {rate:.0} records/s, {append_ns} ns each for append, {encoding:?} for encoding");
        log.checkpoint(&|_| Ok(()))?;
        log.clean(round as i64, Some(u64::MAX))?;
    }
    Ok(log.close(&|_| Ok(()))?)
}

#[expect(clippy::disallowed_methods, reason = "measuring needs a clock")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}
