//! Numbers that say where something is.

/// A byte position in the commit log, counted from the first byte ever written.
///
/// Positions only grow. Rolling to a new segment or deleting an old one moves no record. No record lies at
/// position 0 (every segment begins with a header), so 0 can stand for "none" inside records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition(pub u64);

impl std::fmt::Display for LogPosition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The log's own number for one queue of one topic.
///
/// Numbers are dense, so that appends find a queue by indexing, not by hashing. They are kept over restarts, but not
/// over a rebuild of the indexes: ask [`crate::Log::queue`] again after each open. The number of a deleted queue is
/// never used again while the log is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueNumber(pub u32);
