//! The commit log of a broker and the indexes derived from it.
//!
//! All records of all topics lie in one log, in the order in which they came ([`Log::append`]). Three indexes are derived
//! from it and can be rebuilt at any time: which message has which offset in which queue, which messages carry which
//! key, and which messages come back when. A checkpoint says how far the indexes are in files, so that a restart reads
//! only the end of the log.
//!
//! The disk is a trait: [`RealDisk`] below a directory, [`MemoryDisk`] for tests that cut the power.
//!
//! ```
//! use std::sync::Arc;
//! use apogee_log::{Batch, Log, LogConfig, MemoryDisk, NewRecord, PullLimits, PullOutcome};
//!
//! let disk = Arc::new(MemoryDisk::new());
//! let config = LogConfig { segment_bytes: 1 << 16, ..LogConfig::default() };
//! let (log, recovery) = Log::open(disk, config, &mut |_record| {})?;
//! println!("{recovery}");
//!
//! let queue = log.queue("orders", 0)?;
//! let host = "127.0.0.1:10911".parse()?;
//! let mut batch = Batch::new();
//! let record = NewRecord {
//!     topic: "orders",
//!     queue_id: 0,
//!     flag: 0,
//!     sys_flag: Default::default(),
//!     born_timestamp_ms: 1,
//!     born_host: host,
//!     store_host: host,
//!     reconsume_times: 0,
//!     prepared_transaction_offset: 0,
//!     body: b"hello",
//!     properties: b"",
//! };
//! batch.push(record, queue, 0, None)?;
//! log.append(&mut batch, 2)?;
//! assert_eq!(batch.placed()[0].queue_offset, 0);
//!
//! let limits = PullLimits { max_messages: 32, max_bytes: 1 << 18 };
//! let mut records = Vec::new();
//! let pulled = log.pull(queue, 0, limits, &|_tag_hash| true, &mut records)?;
//! assert_eq!(pulled.outcome, PullOutcome::Found { count: 1 });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **Walls:** no runtime, no clock (time comes in as an argument), no RocketMQ requests. Files are drawn in
//! `docs/formats/log.md`.
//!
//! Locks are taken in this order: maintenance or preparing, sync, writer, published, list of segments,
//! damage. That of the answers that were read ahead is never held with another one.

mod ahead;
mod batch;
mod checkpoint;
mod commit_log;
mod config;
mod damage;
mod disk;
mod due;
mod due_index;
mod format;
mod key_index;
mod log;
mod maintenance;
mod open;
pub mod planted;
mod position;
mod prepare;
mod published;
mod pull;
mod query;
mod queue_index;
mod recovery;
mod repair;
mod retention;
mod running;
mod salvage;
mod segment;
mod writer;

pub use ahead::ExpectedPull;
pub use batch::{Batch, Placed};
pub use commit_log::ReadError;
pub use config::{LogConfig, Visibility};
pub use damage::Damage;
pub use disk::{Disk, DiskError, DiskFile, MemoryDisk, Misdirected, PowerCut, RealDisk, replace_file};
pub use due_index::{Due, DueBacklog};
pub use format::{NewerFormat, refuse_newer};
pub use log::{DELETED_QUEUES_TOPIC, DefineError, DeleteError, Log, LogStats, QueueOffsets, SyncError};
pub use maintenance::{CheckpointError, WriteState};
pub use open::{OpenError, Recovery};
pub use position::{LogPosition, QueueNumber};
pub use protocol::record::{EncodeError, NewRecord, Record};
pub use pull::{Boundary, PullLimits, PullOutcome, Pulled};
pub use queue_index::item::IndexEntry;
pub use retention::{CleanError, Cleaned};
pub use segment::RECORD_BYTES_MAX;
pub use writer::{AppendError, Appended};
