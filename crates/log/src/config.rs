//! Sizes and promises of a log.

/// From when on readers see a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// As soon as it is written to the page cache: survives a killed process (ASYNC_FLUSH).
    Written,
    /// Once it was synced: what a reader saw survives a power cut (SYNC_FLUSH).
    Durable,
}

/// Settings of a [`crate::Log`].
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// Bytes of one commit-log file. A change applies to files made later.
    pub segment_bytes: u64,
    /// Bytes of one file of the queue index.
    pub index_segment_bytes: u64,
    /// From when on readers see a record.
    pub visibility: Visibility,
    /// Bytes of the newest part of the log that stay in the page cache if there is room; older ones make way for what
    /// is written next.
    pub cached_bytes: u64,
    /// Whether [`crate::Log::open`] shows its owner every record of the log and not the newest alone: the state that the
    /// owner wrote at the last checkpoint is lost.
    pub replay_all: bool,
    /// Names this start of the machine. When it differs after an unclean stop, the machine lost its page cache, and
    /// with [`Visibility::Written`] queue offsets skip ahead so that none is given twice.
    pub boot_id: String,
    /// Queues, by topic and id, that the owner knows to exist. One that the log does not know had all its messages lost,
    /// if some may be: it skips ahead like the others, since its first offsets may have been given.
    pub known_queues: Vec<(String, u32)>,
    /// Files that retention keeps for use as future segments instead of removing them.
    pub spare_segments: usize,
    /// Entries of one run of the key index.
    pub key_run_entries: usize,
    /// Bytes of log that a restart may have to read for keys that are in no run yet.
    pub key_replay_bytes: u64,
    /// Entries that wait for the files of the due index before [`crate::Log::maintain`] writes them.
    pub due_buffer_entries: usize,
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig {
            segment_bytes: 1 << 30,
            index_segment_bytes: 64 << 20,
            visibility: Visibility::Written,
            cached_bytes: u64::MAX,
            replay_all: false,
            boot_id: String::new(),
            known_queues: Vec::new(),
            spare_segments: 1,
            key_run_entries: 64 << 10,
            key_replay_bytes: 64 << 20,
            due_buffer_entries: 4 << 10,
        }
    }
}
