//! Version of a table that brokers copy and nameservers compare.
//!
//! Source: `remoting/.../protocol/DataVersion.java`.

use crate::bodies::declare::bodies;

bodies! {
    /// How often a table was changed, and when last. Two versions are the same when all three numbers are.
    #[derive(Copy, Eq)]
    DataVersion {
        /// Changes so far.
        counter: i64 = "counter",
        /// Version of the replication state, 0 without replication.
        state_version: i64 = "stateVersion",
        /// Last change, in milliseconds since 1970.
        timestamp: i64 = "timestamp",
    }
}
