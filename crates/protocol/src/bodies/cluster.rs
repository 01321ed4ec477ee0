//! Which brokers there are: the bodies of GET_BROKER_CLUSTER_INFO (106) and GET_BROKER_MEMBER_GROUP (901).
//!
//! Source: `remoting/.../protocol/body/{ClusterInfo,BrokerMemberGroup,GetBrokerMemberGroupResponseBody}.java`.

use std::collections::BTreeMap;

use super::declare::bodies;
use super::route::BrokerData;

bodies! {
    /// All brokers and clusters. Tools believe in a broker only when it is in both tables.
    ClusterInfo {
        /// Brokers by name.
        broker_addr_table: BTreeMap<String, BrokerData> = "brokerAddrTable",
        /// Broker names by cluster.
        cluster_addr_table: BTreeMap<String, Vec<String>> = "clusterAddrTable",
    }

    /// Answer of 901.
    BrokerMemberGroupBody {
        /// The group; without addresses when nobody knows it.
        broker_member_group: BrokerMemberGroup = "brokerMemberGroup",
    }

    /// A master and its slaves, as they see one another.
    BrokerMemberGroup {
        /// Addresses by broker id.
        broker_addrs: BTreeMap<i64, String> = "brokerAddrs",
        /// Broker name.
        broker_name: String = "brokerName",
        /// Cluster.
        cluster: String = "cluster",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lenient_json;

    #[test]
    fn cluster_info_of_a_java_nameserver_is_read_and_written_with_quoted_ids() {
        let text = concat!(
            r#"{"brokerAddrTable":{"broker-a":{"brokerAddrs":{0:"127.0.0.1:20911"},"brokerName":"broker-a","#,
            r#""cluster":"DefaultCluster","enableActingMaster":false}},"#,
            r#""clusterAddrTable":{"DefaultCluster":["broker-a"]}}"#,
        );
        let info: ClusterInfo = lenient_json::from_slice(text.as_bytes()).unwrap();
        assert_eq!(info.broker_addr_table["broker-a"].broker_addrs[&0], "127.0.0.1:20911");
        assert_eq!(info.cluster_addr_table["DefaultCluster"], ["broker-a"]);
        assert_eq!(String::from_utf8(lenient_json::to_vec(&info)).unwrap(), text.replace("{0:", "{\"0\":"));
    }

    #[test]
    fn a_member_group_is_wrapped() {
        let group = BrokerMemberGroup {
            broker_addrs: BTreeMap::from([(0, "10.0.0.1:10911".to_owned())]),
            broker_name: "broker-a".into(),
            cluster: "c".into(),
        };
        assert_eq!(
            String::from_utf8(lenient_json::to_vec(&BrokerMemberGroupBody { broker_member_group: group })).unwrap(),
            r#"{"brokerMemberGroup":{"brokerAddrs":{"0":"10.0.0.1:10911"},"brokerName":"broker-a","cluster":"c"}}"#
        );
    }
}
