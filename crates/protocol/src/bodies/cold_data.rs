//! How much is read of messages that are not in memory any more.
//!
//! Source: `broker/.../coldctr/ColdDataCgCtrService.java` (`getColdDataFlowCtrInfo`).

use std::collections::BTreeMap;

use crate::bodies::declare::bodies;

bodies! {
    /// Answer of GET_COLD_DATA_FLOW_CTR_INFO (2003). Fields are in upstream's order, for the tool prints them as they come.
    #[derive(Eq)]
    ColdDataFlow {
        /// What each group has read lately.
        runtime_table: BTreeMap<String, ColdReads> = "runtimeTable",
        /// Bytes per second that a group may read.
        config_table: BTreeMap<String, i64> = "configTable",
        /// Bytes per second that a group may read unless it has a limit of its own.
        cg_cold_read_threshold: i64 = "cgColdReadThreshold",
        /// Bytes per second that all groups may read.
        global_cold_read_threshold: i64 = "globalColdReadThreshold",
        /// Bytes that all groups have read lately.
        global_acc: i64 = "globalAcc",
    }

    /// What a group has read of messages that are not in memory any more.
    #[derive(Eq)]
    ColdReads {
        /// Bytes.
        cold_acc: i64 = "coldAcc",
        /// When the count began, in milliseconds since 1970.
        create_time_mills: i64 = "createTimeMills",
        /// Last read, in milliseconds since 1970.
        last_cold_read_time_mills: i64 = "lastColdReadTimeMills",
    }
}
