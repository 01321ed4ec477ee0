//! Where a topic is: the body of GET_ROUTEINFO_BY_TOPIC (105) and of REGISTER_TOPIC_IN_NAMESRV (217).
//!
//! Source: `remoting/.../protocol/route/*.java`. The Go client cuts `brokerAddrs` by hand at `,` and `:` and knows
//! no white space, so the compact text of [`crate::lenient_json`] is part of the protocol here.

use std::collections::BTreeMap;

use super::declare::bodies;

/// Id of the broker that takes writes.
pub const MASTER_ID: i64 = 0;

/// Bits of `topicSysFlag` (`common/.../sysflag/TopicSysFlag.java`).
pub mod topic_sys_flag {
    /// The topic belongs to a unit.
    pub const UNIT: i32 = 1;
    /// Somebody in a unit subscribes to the topic.
    pub const UNIT_SUB: i32 = 2;
}

bodies! {
    /// Brokers and queues of one topic.
    TopicRouteData {
        /// Brokers that have queues of the topic.
        broker_datas: Vec<BrokerData> = "brokerDatas",
        /// Filter servers went with 4.3; readers still expect the key.
        filter_server_table: BTreeMap<String, Vec<String>> = "filterServerTable",
        /// Publish queues of an ordered topic, `broker-a:4;broker-b:4`. Java takes an empty text for a value.
        order_topic_conf: Option<String> = "orderTopicConf",
        /// Queues, one entry a broker.
        queue_datas: Vec<QueueData> = "queueDatas",
    }

    /// Brokers of one name: a master and its slaves.
    BrokerData {
        /// Addresses by broker id. Go panics when the key is missing; an empty table is fine.
        broker_addrs: BTreeMap<i64, String> = "brokerAddrs",
        /// Broker name.
        broker_name: String = "brokerName",
        /// Cluster.
        cluster: String = "cluster",
        /// Whether a slave may stand in for the master.
        enable_acting_master: bool = "enableActingMaster",
        /// Zone.
        zone_name: Option<String> = "zoneName",
    }

    /// Queues that a topic has on one broker.
    QueueData {
        /// Broker name.
        broker_name: String = "brokerName",
        /// Permission bits, as in [`super::topic_config`].
        perm: i32 = "perm",
        /// Queues that can be read.
        read_queue_nums: i32 = "readQueueNums",
        /// See [`topic_sys_flag`].
        topic_sys_flag: i32 = "topicSysFlag",
        /// Queues that can be written.
        write_queue_nums: i32 = "writeQueueNums",
    }
}

impl BrokerData {
    /// Address of the master.
    pub fn master(&self) -> Option<&str> {
        self.broker_addrs.get(&MASTER_ID).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lenient_json;

    fn two_brokers() -> TopicRouteData {
        let broker = |name: &str, addrs: &[(i64, &str)]| BrokerData {
            broker_addrs: addrs.iter().map(|(id, address)| (*id, (*address).to_owned())).collect(),
            broker_name: name.into(),
            cluster: "DefaultCluster".into(),
            enable_acting_master: false,
            zone_name: None,
        };
        let queues = |name: &str| QueueData {
            broker_name: name.into(),
            perm: 6,
            read_queue_nums: 4,
            topic_sys_flag: 0,
            write_queue_nums: 8,
        };
        TopicRouteData {
            broker_datas: vec![
                broker("broker-a", &[(0, "10.0.0.1:10911"), (1, "10.0.0.2:10911")]),
                BrokerData { zone_name: Some("z".into()), ..broker("broker-b", &[]) },
            ],
            filter_server_table: BTreeMap::new(),
            order_topic_conf: None,
            queue_datas: vec![queues("broker-a"), queues("broker-b")],
        }
    }

    #[test]
    fn a_route_is_written_as_go_can_cut_it() {
        let route = two_brokers();
        let text = concat!(
            r#"{"brokerDatas":[{"brokerAddrs":{"0":"10.0.0.1:10911","1":"10.0.0.2:10911"},"brokerName":"broker-a","#,
            r#""cluster":"DefaultCluster","enableActingMaster":false},{"brokerAddrs":{},"brokerName":"broker-b","#,
            r#""cluster":"DefaultCluster","enableActingMaster":false,"zoneName":"z"}],"filterServerTable":{},"#,
            r#""queueDatas":[{"brokerName":"broker-a","perm":6,"readQueueNums":4,"topicSysFlag":0,"#,
            r#""writeQueueNums":8},{"brokerName":"broker-b","perm":6,"readQueueNums":4,"topicSysFlag":0,"#,
            r#""writeQueueNums":8}]}"#,
        );
        assert_eq!(String::from_utf8(lenient_json::to_vec(&route)).unwrap(), text);
        assert_eq!(lenient_json::from_slice::<TopicRouteData>(text.as_bytes()).unwrap(), route);
    }

    #[test]
    fn the_order_of_a_topic_stands_before_its_queues() {
        let route = TopicRouteData { order_topic_conf: Some("broker-a:4".into()), ..Default::default() };
        assert_eq!(
            String::from_utf8(lenient_json::to_vec(&route)).unwrap(),
            r#"{"brokerDatas":[],"filterServerTable":{},"orderTopicConf":"broker-a:4","queueDatas":[]}"#
        );
    }

    #[test]
    fn a_route_of_a_java_nameserver_is_read() {
        let text = r#"{"brokerDatas":[{"brokerAddrs":{0:"10.0.0.1:10911",1:"10.0.0.2:10911"},"brokerName":"broker-a",
            "cluster":"DefaultCluster"},{"brokerAddrs":{},"brokerName":"broker-b","cluster":"DefaultCluster",
            "zoneName":"z"}],"queueDatas":[
            {"brokerName":"broker-a","perm":6,"readQueueNums":4,"writeQueueNums":8,"topicSynFlag":0},
            {"brokerName":"broker-b","perm":6,"readQueueNums":"4","writeQueueNums":8}],"new":[1]}"#;
        assert_eq!(lenient_json::from_slice::<TopicRouteData>(text.as_bytes()).unwrap(), two_brokers());
    }
}
