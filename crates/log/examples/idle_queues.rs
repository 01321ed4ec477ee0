//! What idle queues cost: `cargo run --release -p apogee-log --example idle_queues -- DIR [QUEUES]`.

use std::net::SocketAddr;
use std::sync::Arc;

use apogee_log::{Batch, Log, LogConfig, NewRecord, RealDisk};
use protocol::sys_flag::SysFlag;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().ok_or("usage: idle_queues DIR [QUEUES]")?;
    let count: u32 = args.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let disk = Arc::new(RealDisk::open(&dir)?);
    let (log, recovery) = Log::open(disk.clone(), LogConfig::default(), &mut |_| {})?;
    println!("{recovery}, {} bytes resident", resident_bytes()?);
    let before = resident_bytes()?;
    let mut batch = Batch::new();
    let host = SocketAddr::from(([127, 0, 0, 1], 10911));
    for number in 0..count {
        let topic = format!("topic-with-a-usual-name-{:07}", number / 4);
        let queue = log.queue(&topic, number % 4)?;
        let record = NewRecord {
            topic: &topic,
            queue_id: (number % 4) as i32,
            flag: 0,
            sys_flag: SysFlag(0),
            born_timestamp_ms: 1,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: b"x",
            properties: &[],
        };
        batch.push(record, queue, 0, None)?;
        if batch.len() == 64 {
            log.append(&mut batch, 1)?;
            batch.clear();
        }
    }
    log.append(&mut batch, 1)?;
    let active = resident_bytes()? - before;
    for _ in 0..2 {
        let started = now();
        log.checkpoint(&|_| Ok(()))?;
        println!("checkpoint took {:?}", started.elapsed());
    }
    let stats = log.stats();
    println!("{} queues: {} bytes each just used", stats.queues, active / u64::from(count));
    println!("{} bytes each idle, by the index's own count", stats.index_memory_bytes / u64::from(count));
    log.close(&|_| Ok(()))?;
    drop(log);
    let started = now();
    let (log, recovery) = Log::open(disk, LogConfig::default(), &mut |_| {})?;
    println!("{recovery}, in {:?}", started.elapsed());
    println!("{} bytes each idle, after a restart", log.stats().index_memory_bytes / u64::from(count));
    Ok(())
}

fn resident_bytes() -> Result<u64, Box<dyn std::error::Error>> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split(' ').nth(1).ok_or("statm has no second number")?.parse()?;
    Ok(pages * 4096)
}

#[expect(clippy::disallowed_methods, reason = "measuring needs a clock")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}
