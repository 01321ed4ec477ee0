//! What a broker tells nameservers, and when.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::bodies::registration::RegisterBrokerBody;
use protocol::bodies::topic_config::TopicConfig;
use protocol::codes::RequestCode;

use crate::nameserver_stand_in::Nameserver;
use crate::requests::Came;
use crate::running::{Running, broker_with};

/// A broker that registers by itself once an hour only: whatever comes earlier has a reason.
fn registering_broker(nameservers: &[&Nameserver]) -> Running {
    broker_with(|config| {
        config.nameservers = nameservers.iter().map(|nameserver| nameserver.address().to_string()).collect();
        config.register_period = Duration::from_secs(3600).into();
    })
}

#[track_caller]
fn topics_of(came: &Came) -> RegisterBrokerBody {
    assert_eq!(RequestCode(came.code), RequestCode::REGISTER_BROKER);
    RegisterBrokerBody::decode(&came.body).unwrap()
}

/// Waits until the nameserver has heard of the topics, in one registration or in several, and says how.
#[track_caller]
fn heard_of(nameserver: &Nameserver, topics: &[&str]) -> Vec<TopicConfig> {
    let mut heard = BTreeMap::new();
    while !topics.iter().all(|topic| heard.contains_key(*topic)) {
        heard.extend(topics_of(&nameserver.told()).topics.topic_config_table);
    }
    topics.iter().map(|topic| heard[*topic].clone()).collect()
}

#[test]
fn a_broker_registers_when_it_starts_and_says_who_it_is() {
    let nameserver = Nameserver::start(None);
    let broker = registering_broker(&[&nameserver]);
    let came = nameserver.told();
    assert!(topics_of(&came).topics.topic_config_table.contains_key("TBW102"));
    assert_eq!((came.field("brokerName"), came.field("clusterName")), ("broker-a", "DefaultCluster"));
    assert_eq!((came.field("brokerAddr"), came.field("brokerId")), (broker.inside().address.to_string().as_str(), "0"));
}

#[test]
fn every_nameserver_hears_of_a_new_topic_at_once() {
    let nameservers = [Nameserver::start(None), Nameserver::start(None)];
    let broker = registering_broker(&[&nameservers[0], &nameservers[1]]);
    let mut client = broker.client();
    let versions: Vec<i64> =
        nameservers.iter().map(|nameserver| topics_of(&nameserver.told()).topics.data_version.counter).collect();
    client.create_topic("orders", 3);
    client.send("made-by-a-send", 0, "a");
    for nameserver in &nameservers {
        let topics = heard_of(nameserver, &["orders", "made-by-a-send"]);
        assert_eq!((topics[0].read_queue_nums, topics[0].write_queue_nums, topics[0].perm), (3, 3, 6));
        assert_eq!((topics[1].read_queue_nums, topics[1].write_queue_nums, topics[1].perm), (4, 4, 6));
    }
    client.create_topic("orders", 5);
    for (nameserver, version) in nameservers.iter().zip(versions) {
        let body = topics_of(&nameserver.told());
        assert_eq!(body.topics.topic_config_table["orders"].read_queue_nums, 5);
        assert!(version < body.topics.data_version.counter);
    }
}

#[test]
fn a_nameserver_that_was_gone_hears_of_the_broker_again() {
    let nameserver = Nameserver::start(None);
    let address = nameserver.address();
    let broker = registering_broker(&[&nameserver]);
    nameserver.told();
    drop(nameserver);
    broker.client().create_topic("made-meanwhile", 1);
    let nameserver = Nameserver::start(Some(address));
    heard_of(&nameserver, &["made-meanwhile"]);
    broker.client().create_topic("made-afterwards", 1);
    heard_of(&nameserver, &["made-afterwards"]);
}

#[test]
fn a_nameserver_that_is_gone_keeps_nobody_waiting() {
    let (gone, nameserver) = (Nameserver::start(None), Nameserver::start(None));
    let broker = registering_broker(&[&gone, &nameserver]);
    drop(gone);
    broker.client().create_topic("orders", 1);
    heard_of(&nameserver, &["orders"]);
}

#[test]
fn a_broker_that_stops_takes_its_registration_back() {
    let nameserver = Nameserver::start(None);
    let broker = registering_broker(&[&nameserver]);
    let address = broker.inside().address.to_string();
    nameserver.told();
    drop(broker);
    let came = nameserver.told();
    assert_eq!(RequestCode(came.code), RequestCode::UNREGISTER_BROKER);
    assert_eq!((came.field("brokerName"), came.field("brokerAddr")), ("broker-a", address.as_str()));
    assert_eq!((came.field("clusterName"), came.field("brokerId")), ("DefaultCluster", "0"));
}

#[test]
fn nameservers_hear_at_once_that_the_broker_may_no_longer_be_written() {
    let nameserver = Nameserver::start(None);
    let broker = registering_broker(&[&nameserver]);
    let mut client = broker.client();
    client.create_topic("orders", 3);
    assert_eq!(heard_of(&nameserver, &["orders"])[0].perm, 6);
    let version = broker.inside().broker.topics.version().counter;
    broker::reconfigure::change(&broker.inside().broker, "brokerPermission=4").unwrap();
    let body = topics_of(&nameserver.told());
    assert_eq!((body.topics.topic_config_table["orders"].perm, body.topics.topic_config_table["TBW102"].perm), (4, 5));
    assert!(version < body.topics.data_version.counter);
}
