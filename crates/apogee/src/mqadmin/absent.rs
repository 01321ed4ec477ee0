//! Official commands that are not here, and why.

const LOG_LAYOUT: &str = "does not apply to Apogee: it works on files of the Java store";
const ROCKSDB: &str = "does not apply to Apogee, which has no RocksDB";
const CONTROLLER: &str = "does not apply to Apogee, which has no controller";
const STATIC_TOPICS: &str = "does not apply to Apogee, which has no static topics";
const CONTAINER: &str = "does not apply to Apogee, which has no broker container";
const LITE: &str = "is not here: light topics are not served by Apogee";
const NOT_HERE: &str = "is not here; use the official mqadmin";

const ABSENT: [(&str, &str); 27] = [
    ("addBroker", CONTAINER),
    ("removeBroker", CONTAINER),
    ("resetMasterFlushOffset", "does not apply to Apogee: its slaves do not take the flush offset from tools"),
    ("startMonitoring", NOT_HERE),
    ("clusterRT", NOT_HERE),
    ("updateStaticTopic", STATIC_TOPICS),
    ("remappingStaticTopic", STATIC_TOPICS),
    ("exportMetadataInRocksDB", ROCKSDB),
    ("rocksDBConfigToJson", ROCKSDB),
    ("checkRocksdbCqWriteProgress", ROCKSDB),
    ("exportPopRecord", NOT_HERE),
    ("getSyncStateSet", CONTROLLER),
    ("getBrokerEpoch", CONTROLLER),
    ("getControllerMetaData", CONTROLLER),
    ("getControllerConfig", CONTROLLER),
    ("updateControllerConfig", CONTROLLER),
    ("electMaster", CONTROLLER),
    ("cleanBrokerMetadata", CONTROLLER),
    ("dumpCompactionLog", LOG_LAYOUT),
    ("copyUser", NOT_HERE),
    ("copyAcl", NOT_HERE),
    ("switchTimerEngine", "does not apply to Apogee, which has one timer engine"),
    ("getParentTopicInfo", LITE),
    ("getLiteTopicInfo", LITE),
    ("getLiteClientInfo", LITE),
    ("getLiteGroupInfo", LITE),
    ("triggerLiteDispatch", LITE),
];

/// Why an official command is not here; `None` when it is no official command.
pub fn reason(name: &str) -> Option<&'static str> {
    ABSENT.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, reason)| *reason)
}
