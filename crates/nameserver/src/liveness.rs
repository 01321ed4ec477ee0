//! Who was heard when, on which connection, and with which version of its topics.
//!
//! Time is a plain count of milliseconds that never goes back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use net::ConnectionId;
use protocol::bodies::data_version::DataVersion;

use crate::horizon::Origin;

/// One broker process, as registrations and heartbeats name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BrokerKey {
    /// Cluster that the broker says it belongs to.
    pub cluster: Arc<str>,
    /// Address that clients dial.
    pub address: Arc<str>,
}

impl BrokerKey {
    /// A key of these two texts.
    pub fn new(cluster: &str, address: &str) -> BrokerKey {
        BrokerKey { cluster: cluster.into(), address: address.into() }
    }
}

/// What is known of a broker that is alive.
#[derive(Clone, Debug)]
pub struct LiveBroker {
    /// Broker name; master and slaves share it.
    pub name: Arc<str>,
    /// 0 is the master.
    pub id: i64,
    /// Connection of the last registration.
    pub connection: ConnectionId,
    /// Where that connection came from.
    pub origin: Origin,
    /// Version of the topics that were registered last.
    pub version: DataVersion,
    /// Address for replication.
    pub ha_address: Option<Arc<str>>,
    /// When the broker was last heard.
    pub heard_ms: u64,
    /// Silence after which it counts as gone.
    pub silence_max_ms: u64,
}

/// All brokers that are alive.
#[derive(Debug, Default)]
pub struct Liveness {
    brokers: BTreeMap<BrokerKey, LiveBroker>,
    /// Finds the brokers of a connection that closes, without looking at all the others.
    by_connection: BTreeMap<ConnectionId, BTreeSet<BrokerKey>>,
}

impl Liveness {
    /// The broker of that key.
    pub fn get(&self, key: &BrokerKey) -> Option<&LiveBroker> {
        self.brokers.get(key)
    }

    /// Every broker that is alive.
    pub fn iter(&self) -> impl Iterator<Item = (&BrokerKey, &LiveBroker)> {
        self.brokers.iter()
    }

    /// Puts a broker in, or what is newly known of one.
    pub fn put(&mut self, key: BrokerKey, broker: LiveBroker) {
        self.remove(&key);
        self.by_connection.entry(broker.connection).or_default().insert(key.clone());
        self.brokers.insert(key, broker);
    }

    /// Takes a broker out.
    pub fn remove(&mut self, key: &BrokerKey) -> Option<LiveBroker> {
        let broker = self.brokers.remove(key)?;
        if let Some(keys) = self.by_connection.get_mut(&broker.connection) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_connection.remove(&broker.connection);
            }
        }
        Some(broker)
    }

    /// Notes a sign of life. One from a stranger is not enough to be known: it must register first.
    pub fn heard(&mut self, now_ms: u64, key: &BrokerKey) {
        if let Some(broker) = self.brokers.get_mut(key) {
            broker.heard_ms = now_ms;
        }
    }

    /// Brokers that registered last on this connection.
    pub fn on_connection(&self, connection: ConnectionId) -> Vec<BrokerKey> {
        self.by_connection.get(&connection).into_iter().flatten().cloned().collect()
    }

    /// Brokers that were silent for too long.
    pub fn silent(&self, now_ms: u64) -> Vec<BrokerKey> {
        let silent = |broker: &LiveBroker| broker.heard_ms.saturating_add(broker.silence_max_ms) < now_ms;
        self.brokers.iter().filter(|(_, broker)| silent(broker)).map(|(key, _)| key.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broker(connection: u64, heard_ms: u64) -> LiveBroker {
        LiveBroker {
            name: "b".into(),
            id: 0,
            connection: ConnectionId(connection),
            origin: Origin { peer: std::net::Ipv4Addr::LOCALHOST.into(), by_default: false },
            version: DataVersion::default(),
            ha_address: None,
            heard_ms,
            silence_max_ms: 120_000,
        }
    }

    #[test]
    fn a_broker_is_silent_only_after_its_time() {
        let key = BrokerKey::new("c", "a:1");
        let mut liveness = Liveness::default();
        liveness.put(key.clone(), broker(1, 1_000));
        assert_eq!(liveness.silent(121_000), []);
        assert_eq!(liveness.silent(121_001), std::slice::from_ref(&key));
        liveness.heard(121_000, &key);
        assert_eq!(liveness.silent(241_000), []);
        liveness.heard(5, &BrokerKey::new("c", "stranger:1"));
        assert_eq!(liveness.iter().count(), 1);
    }

    #[test]
    fn a_broker_belongs_to_the_connection_it_registered_on_last() {
        let key = BrokerKey::new("c", "a:1");
        let mut liveness = Liveness::default();
        liveness.put(key.clone(), broker(1, 0));
        liveness.put(key.clone(), broker(2, 0));
        assert_eq!(liveness.on_connection(ConnectionId(1)), []);
        assert_eq!(liveness.on_connection(ConnectionId(2)), std::slice::from_ref(&key));
        liveness.remove(&key);
        assert!(liveness.by_connection.is_empty());
    }
}
