//! How topics are configured.
//!
//! Sources: `common/.../TopicConfig.java`,
//! `remoting/.../protocol/body/{TopicConfigSerializeWrapper,CreateTopicListRequestBody,TopicList}.java`.

use std::collections::BTreeMap;

use crate::bodies::data_version::DataVersion;
use crate::bodies::declare::{bodies, names};

/// Permission bit: new topics may take their configuration from this one.
pub const PERM_INHERIT: i32 = 1;
/// Permission bit: messages may be sent.
pub const PERM_WRITE: i32 = 2;
/// Permission bit: messages may be pulled.
pub const PERM_READ: i32 = 4;

bodies! {
    /// One topic.
    #[derive(Eq)]
    TopicConfig {
        /// Attributes such as `message.type`. In the bodies of 17 and 18 a name begins with `+` to set it and with
        /// `-` to remove it.
        attributes: BTreeMap<String, String> = "attributes",
        /// Whether the order of messages matters.
        order: bool = "order",
        /// Sum of [`PERM_READ`], [`PERM_WRITE`] and [`PERM_INHERIT`].
        perm: i32 = "perm" or PERM_READ | PERM_WRITE,
        /// Queues that can be read.
        read_queue_nums: i32 = "readQueueNums" or 16,
        /// How many tags a message has.
        topic_filter_type: TopicFilterType = "topicFilterType" or TopicFilterType::SingleTag,
        /// Topic.
        topic_name: String = "topicName",
        /// Unit bits.
        topic_sys_flag: i32 = "topicSysFlag",
        /// Queues that can be written.
        write_queue_nums: i32 = "writeQueueNums" or 16,
    }

    /// Answer of GET_ALL_TOPIC_CONFIG (21).
    #[derive(Eq)]
    TopicConfigTable {
        /// Version of the table.
        data_version: DataVersion = "dataVersion",
        /// Version of the static-topic mappings, of which we have none.
        mapping_data_version: Option<DataVersion> = "mappingDataVersion",
        /// Every topic by its name.
        topic_config_table: BTreeMap<String, TopicConfig> = "topicConfigTable",
    }

    /// Body of UPDATE_AND_CREATE_TOPIC_LIST (18).
    #[derive(Eq)]
    TopicConfigList {
        /// The topics to create or change.
        topic_config_list: Vec<TopicConfig> = "topicConfigList",
    }

    /// Names of topics: answer of 206, 224, 304, 305, 311, 312, 313 and 343.
    #[derive(Eq)]
    TopicList {
        /// Address of the broker, in the answer of 343.
        broker_addr: Option<String> = "brokerAddr",
        /// The names.
        topic_list: Vec<String> = "topicList",
    }
}

names! {
    /// How many tags a message has.
    TopicFilterType {
        /// At most one.
        SingleTag = "SINGLE_TAG",
        /// Several, separated by `||`.
        MultiTag = "MULTI_TAG",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lenient_json::{from_slice, to_vec};

    #[test]
    fn what_a_topic_does_not_say_is_upstreams_default() {
        let read: TopicConfig = from_slice(br#"{"topicName":"t","perm":null,"topicFilterType":"NONE"}"#).unwrap();
        let expected = r#"{"attributes":{},"order":false,"perm":6,"readQueueNums":16,"topicFilterType":"SINGLE_TAG","topicName":"t","topicSysFlag":0,"writeQueueNums":16}"#;
        assert_eq!(String::from_utf8(to_vec(&read)).unwrap(), expected);
    }
}
