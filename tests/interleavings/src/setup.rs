//! A writer on a disk in memory, and messages for it.

use std::sync::Arc;

use log::{Batch, Log, LogConfig, MemoryDisk, NewRecord, Visibility};
use protocol::sys_flag::SysFlag;

use crate::clock::Clock;
use crate::config::Flush;
use crate::held_pulls::HeldPulls;
use crate::meta::{Changes, Meta, MetaError, Store, Tree};
use crate::sync::Mutex;
use crate::transactions::{CheckSchedule, Transactions};
use crate::writer::{Appends, Watchers, Writer};

/// Interleavings of each test. More: `INTERLEAVINGS=100000`.
pub fn runs() -> usize {
    std::env::var("INTERLEAVINGS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(2_000)
}

pub const TOPIC: &str = "orders";

/// Metadata that nobody saves.
struct NoStore;

impl Store for NoStore {
    fn write(&self, _changes: &Changes) -> Result<(), MetaError> {
        Ok(())
    }

    fn export(&self, _tree: Tree) -> Result<(), MetaError> {
        Ok(())
    }

    fn close(self) {}
}

/// What a test works with.
pub struct Setup {
    pub log: Arc<Log>,
    pub writer: Arc<Writer>,
    pub pulls: Arc<HeldPulls>,
}

pub fn setup(flush: Flush) -> Setup {
    let visibility = match flush {
        Flush::Async => Visibility::Written,
        Flush::Sync => Visibility::Durable,
    };
    let config = LogConfig { segment_bytes: 64 << 10, visibility, ..LogConfig::default() };
    let (log, _) = Log::open(Arc::new(MemoryDisk::new()), config, &mut |_| {}).unwrap();
    let log = Arc::new(log);
    log.queue(TOPIC, 0).unwrap();
    let pulls = Arc::new(HeldPulls::default());
    let schedule = CheckSchedule { first_after_ms: 1, interval_ms: 1, checks_max: 1 };
    let transactions = Arc::new(Mutex::new(Transactions::new(schedule)));
    // Nothing here is saved: the half that would save it is dropped.
    let (meta, _) = Meta::by_hand(|| Ok(NoStore)).unwrap();
    let watchers = Watchers { pulls: pulls.clone(), ..Watchers::default() };
    let writer = Writer::new(log.clone(), flush, Clock::system(), watchers, transactions, meta);
    Setup { log, writer: Arc::new(writer), pulls }
}

/// One message.
pub fn appends(log: &Log, body: &str) -> Appends {
    let host = ([127, 0, 0, 1], 10911).into();
    let record = NewRecord {
        topic: TOPIC,
        queue_id: 0,
        flag: 0,
        sys_flag: SysFlag(0),
        born_timestamp_ms: 1,
        born_host: host,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: body.as_bytes(),
        properties: b"",
    };
    let mut batch = Batch::new();
    batch.push(record, log.queue(TOPIC, 0).unwrap(), 0, None).unwrap();
    Appends { batch, ..Appends::default() }
}
