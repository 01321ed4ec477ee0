//! Copies of a broker, and what they ask for.
//!
//! Sources: `remoting/.../protocol/body/{HARuntimeInfo,DelayOffsetSerializeWrapper}.java`,
//! `store/.../timer/{TimerMetrics,TimerCheckpoint}.java`.

use std::collections::BTreeMap;

use crate::bodies::data_version::DataVersion;
use crate::bodies::declare::bodies;

bodies! {
    /// Answer of GET_BROKER_HA_STATUS (907).
    #[derive(Eq)]
    ReplicationStatus {
        /// How this broker copies from its master.
        ha_client_runtime_info: CopyingFrom = "haClientRuntimeInfo",
        /// Who copies from this broker.
        ha_connection_info: Vec<CopyingTo> = "haConnectionInfo",
        /// Copies that are up to date.
        in_sync_slave_nums: i32 = "inSyncSlaveNums",
        /// Whether this broker is a master.
        master: bool = "master",
        /// End of the commit log.
        master_commit_log_max_offset: i64 = "masterCommitLogMaxOffset",
    }

    /// How a broker copies from its master.
    #[derive(Eq)]
    CopyingFrom {
        /// Last bytes read, in milliseconds since 1970.
        last_read_timestamp: i64 = "lastReadTimestamp",
        /// Last report written, in milliseconds since 1970.
        last_write_timestamp: i64 = "lastWriteTimestamp",
        /// Address of the master.
        master_addr: Option<String> = "masterAddr",
        /// How far the master has written to disk.
        master_flush_offset: i64 = "masterFlushOffset",
        /// End of the copy.
        max_offset: i64 = "maxOffset",
        /// Bytes per second.
        transferred_byte_in_second: i64 = "transferredByteInSecond",
    }

    /// One copy.
    #[derive(Eq)]
    CopyingTo {
        /// Address.
        addr: String = "addr",
        /// Bytes that it is behind.
        diff: i64 = "diff",
        /// Whether it counts as up to date.
        in_sync: bool = "inSync",
        /// How far it has confirmed.
        slave_ack_offset: i64 = "slaveAckOffset",
        /// Where it began.
        transfer_from_where: i64 = "transferFromWhere",
        /// Bytes per second.
        transferred_byte_in_second: i64 = "transferredByteInSecond",
    }

    /// Answer of GET_ALL_DELAY_OFFSET (45).
    #[derive(Eq)]
    DelayOffsets {
        /// Version of the table.
        data_version: DataVersion = "dataVersion",
        /// Offset of the first message that was not delivered, by delay level.
        offset_table: BTreeMap<i64, i64> = "offsetTable",
    }

    /// Answer of GET_TIMER_METRICS (61).
    #[derive(Eq)]
    TimerMetrics {
        /// Version of the table.
        data_version: DataVersion = "dataVersion",
        /// Messages that wait, by topic.
        timing_count: BTreeMap<String, TimerMetric> = "timingCount",
    }

    /// Messages of a topic that wait for their time.
    #[derive(Eq)]
    TimerMetric {
        /// How many.
        count: i64 = "count",
        /// Last change, in milliseconds since 1970.
        time_stamp: i64 = "timeStamp",
    }
}

/// Answer of GET_TIMER_CHECK_POINT (60): times in milliseconds since 1970, and positions in upstream's timing wheel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimerCheckpoint {
    /// Time up to which messages were delivered.
    pub last_read_time_ms: i64,
    /// How far the wheel's log is on disk.
    pub last_timer_log_flush_pos: i64,
    /// Offset in the timer topic up to which messages were entered.
    pub last_timer_queue_offset: i64,
    /// The same of the master.
    pub master_timer_queue_offset: i64,
    /// Version of the timer metrics.
    pub version: DataVersion,
}

impl TimerCheckpoint {
    /// The seven numbers, big-endian.
    pub fn to_bytes(&self) -> [u8; 56] {
        let numbers = [
            self.last_read_time_ms,
            self.last_timer_log_flush_pos,
            self.last_timer_queue_offset,
            self.master_timer_queue_offset,
            self.version.state_version,
            self.version.timestamp,
            self.version.counter,
        ];
        let mut bytes = [0; 56];
        for (place, number) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(numbers) {
            *place = number.to_be_bytes();
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_checkpoint_is_seven_numbers() {
        let version = DataVersion { counter: 7, state_version: 5, timestamp: 6 };
        let checkpoint = TimerCheckpoint {
            last_read_time_ms: 1,
            last_timer_log_flush_pos: 2,
            last_timer_queue_offset: 3,
            master_timer_queue_offset: 4,
            version,
        };
        let bytes = checkpoint.to_bytes();
        let numbers: Vec<i64> = bytes.as_chunks::<8>().0.iter().map(|number| i64::from_be_bytes(*number)).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7]);
    }
}
