use std::net::Ipv4Addr;

use net::ConnectionId;
use proptest::prelude::*;
use protocol::bodies::data_version::DataVersion;

use super::*;
use crate::effect::{Change, GoneReason};
use crate::horizon::{Origin, Seen};
use crate::settings::Settings;

const READ_WRITE: i32 = 6;

fn queues(perm: i32) -> Queues {
    Queues { read: 4, write: 4, perm, sys_flag: 0 }
}

fn version(counter: i64) -> DataVersion {
    DataVersion { counter, ..DataVersion::default() }
}

/// A registration of `name:id@address` in cluster `c` with these topics.
fn registration(broker: &str, topics: &[&str]) -> Registration {
    let (name, rest) = broker.split_once(':').unwrap();
    let (id, address) = rest.split_once('@').unwrap();
    Registration {
        key: BrokerKey::new("c", &format!("{address}:1")),
        broker: name.into(),
        id: id.parse().unwrap(),
        origin: Origin { peer: Ipv4Addr::LOCALHOST.into(), by_default: false },
        ha_address: Some(format!("{address}:2").into()),
        zone: None,
        acting_master: Some(false),
        silence_max_ms: 120_000,
        version: version(1),
        topics: topics.iter().map(|topic| ((*topic).to_owned(), queues(READ_WRITE))).collect(),
        refused: 0,
        first_refused: None,
    }
}

/// Routes under test: every event is followed by [`check`], and what it wants done is kept.
#[derive(Default)]
struct Bench {
    routes: Routes,
    settings: Settings,
    now_ms: u64,
    effects: Vec<Effect>,
}

impl Bench {
    fn with(settings: Settings) -> Bench {
        Bench { settings, ..Bench::default() }
    }

    fn register_on(&mut self, connection: u64, registration: Registration) -> Result<Registered, RegisterError> {
        let Bench { routes, settings, now_ms, effects } = self;
        let registered = routes.register(*now_ms, ConnectionId(connection), registration, settings, effects);
        check(&self.routes, &self.settings);
        registered
    }

    #[track_caller]
    fn register(&mut self, broker: &str, topics: &[&str]) -> Registered {
        self.register_on(1, registration(broker, topics)).unwrap()
    }

    fn unregister(&mut self, broker: &str) {
        let Registration { key, broker, .. } = registration(broker, &[]);
        self.routes.unregister(&key, &broker, &self.settings, &mut self.effects);
        check(&self.routes, &self.settings);
    }

    fn close(&mut self, connection: u64) {
        self.routes.connection_closed(ConnectionId(connection), &self.settings, &mut self.effects);
        check(&self.routes, &self.settings);
    }

    fn tick_at(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        self.routes.tick(now_ms, &self.settings, &mut self.effects);
        check(&self.routes, &self.settings);
    }

    fn route(&mut self, topic: &str) -> Option<String> {
        let route = self.routes.route(topic, &self.settings, None, &Seen::default())?;
        Some(String::from_utf8(route.to_vec()).unwrap())
    }

    /// The route in short: `broker{id=host,…}perm` of each broker.
    fn brokers(&mut self, topic: &str) -> String {
        let Some(text) = self.routes.route(topic, &self.settings, None, &Seen::default()) else { return "none".into() };
        short(&text)
    }

    fn gone(&self) -> Vec<GoneReason> {
        let reason = |effect: &Effect| match effect {
            Effect::Log(Change::Gone { reason, .. }) => Some(*reason),
            _ => None,
        };
        self.effects.iter().filter_map(reason).collect()
    }
}

fn short(route: &[u8]) -> String {
    let route: protocol::bodies::route::TopicRouteData = protocol::lenient_json::from_slice(route).unwrap();
    let of_broker = |(broker, queues): (&protocol::bodies::route::BrokerData, &protocol::bodies::route::QueueData)| {
        let members: Vec<_> = broker
            .broker_addrs
            .iter()
            .map(|(id, address)| format!("{id}={}", address.split(':').next().unwrap()))
            .collect();
        format!("{}{{{}}}{}", broker.broker_name, members.join(","), queues.perm)
    };
    route.broker_datas.iter().zip(&route.queue_datas).map(of_broker).collect::<Vec<_>>().join(" ")
}

/// What always holds; see the head of `routes.rs`. Kept texts are those that would be written now.
#[track_caller]
fn check(routes: &Routes, settings: &Settings) {
    for (key, live) in routes.liveness.iter() {
        assert_eq!(routes.groups.get(&live.name).and_then(|group| group.members.get(&live.id)), Some(key));
    }
    for (name, group) in &routes.groups {
        assert!(!group.members.is_empty(), "{name} is empty");
        for (id, key) in &group.members {
            let live = routes.liveness.get(key).expect("a member is alive");
            assert_eq!((&live.name, live.id), (name, *id));
        }
        for topic in &group.topics {
            assert!(routes.topics[topic].queues.contains_key(name), "{name} has {topic}");
        }
    }
    for (name, topic) in &routes.topics {
        assert!(!topic.queues.is_empty(), "{name} is empty");
        for broker in topic.queues.keys() {
            assert!(routes.groups[broker].topics.contains(name), "{name} is on {broker}");
        }
    }
    let mut fresh = Routes { groups: clone_groups(routes), ..Routes::default() };
    if let Some(text) = &routes.cluster_info {
        assert_eq!(*text, fresh.cluster_info(&Seen::default()));
    }
    for (name, topic) in &routes.topics {
        if let Some(text) = &topic.route {
            fresh.topics.insert(name.clone(), Topic { queues: topic.queues.clone(), route: None });
            assert_eq!(
                Some(text),
                fresh.route(name, settings, None, &Seen::default()).as_ref(),
                "kept route of {name}"
            );
        }
    }
}

fn clone_groups(routes: &Routes) -> BTreeMap<Arc<str>, Group> {
    let copy = |group: &Group| Group {
        cluster: group.cluster.clone(),
        zone: group.zone.clone(),
        acting_master: group.acting_master,
        members: group.members.clone(),
        topics: group.topics.clone(),
    };
    routes.groups.iter().map(|(name, group)| (name.clone(), copy(group))).collect()
}

#[test]
fn a_route_is_the_text_that_a_java_nameserver_answers() {
    let mut bench = Bench::default();
    bench.register("broker-a:0@10.0.0.1", &["T", "V"]);
    assert_eq!(
        bench.route("T").unwrap(),
        concat!(
            r#"{"brokerDatas":[{"brokerAddrs":{"0":"10.0.0.1:1"},"brokerName":"broker-a","cluster":"c","#,
            r#""enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"broker-a","perm":6,"#,
            r#""readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#
        )
    );
    assert_eq!(bench.route("U"), None);
}

#[test]
fn the_order_configuration_is_part_of_the_route() {
    let mut bench = Bench::default();
    bench.register("b:0@h", &["T", "U"]);
    let text = bench.routes.route("T", &bench.settings, Some("b:4"), &Seen::default()).unwrap();
    assert!(String::from_utf8(text.to_vec()).unwrap().contains(r#""filterServerTable":{},"orderTopicConf":"b:4","#));
}

#[test]
fn members_of_a_group_are_shown_together() {
    let mut bench = Bench::default();
    bench.register("a:0@h1", &["T", "X"]);
    bench.register("b:0@h3", &["T", "U"]);
    let slave = bench.register("a:1@h2", &["T", "V"]);
    assert_eq!(bench.brokers("T"), "a{0=h1,1=h2}6 b{0=h3}6");
    assert_eq!(bench.brokers("V"), "none", "a slave brings no topics while there is a master");
    assert_eq!(slave.master_address.as_deref(), Some("h1:1"));
    assert_eq!(slave.master_ha_address.as_deref(), Some("h1:2"));
}

#[test]
fn a_topic_that_a_registration_lacks_stays() {
    let mut bench = Bench::default();
    bench.register("b:0@h", &["T", "U"]);
    let mut one = registration("b:0@h", &["V"]);
    one.version = version(2);
    bench.register_on(1, one).unwrap();
    assert_eq!(bench.routes.all_topics().topic_list, ["T", "U", "V"]);

    bench.settings.registration_deletes = true;
    let mut one = registration("b:0@h", &["W"]);
    one.version = version(3);
    bench.register_on(1, one).unwrap();
    assert_eq!(bench.routes.all_topics().topic_list, ["T", "U", "V", "W"], "one topic says nothing of the others");
    let mut two = registration("b:0@h", &["T", "V"]);
    two.version = version(4);
    bench.register_on(1, two).unwrap();
    assert_eq!(bench.routes.all_topics().topic_list, ["T", "V"]);
}

#[test]
fn a_single_topic_is_refused_from_a_stranger() {
    let mut bench = Bench::default();
    let refused = bench.register_on(1, registration("b:0@h", &["T"])).map(|_| ());
    assert_eq!(refused, Err(RegisterError::SingleTopicFirst { broker: "b".into(), id: 0 }));
    assert!(bench.routes.groups.is_empty());
    bench.register_on(1, registration("b:0@h", &[])).unwrap();
    bench.register_on(1, registration("b:0@h", &["T"])).unwrap();
    assert_eq!(bench.brokers("T"), "b{0=h}6");
}

#[test]
fn an_operators_change_stays_until_the_broker_has_a_new_version() {
    let mut bench = Bench::default();
    bench.register("b:0@h", &["T", "U"]);
    assert_eq!(bench.routes.set_writable("b", false, &mut bench.effects), 2);
    bench.register("b:0@h", &["T", "U"]);
    assert_eq!(bench.brokers("T"), "b{0=h}4");
    bench.routes.delete_topic("U", None, &mut bench.effects);
    bench.register("b:0@h", &["T", "U"]);
    assert_eq!((bench.brokers("T"), bench.brokers("U")), ("b{0=h}4".into(), "b{0=h}6".into()));
    let mut changed = registration("b:0@h", &["T", "U"]);
    changed.version = version(2);
    bench.register_on(1, changed).unwrap();
    assert_eq!(bench.brokers("T"), "b{0=h}6");
    assert_eq!(bench.routes.set_writable("stranger", false, &mut bench.effects), 0);
}

#[test]
fn write_permission_leaves_the_template_topic_usable() {
    let mut bench = Bench::default();
    let mut registration = registration("b:0@h", &["T", "TBW102"]);
    registration.topics[1].1.perm = 7;
    bench.register_on(1, registration).unwrap();
    bench.routes.set_writable("b", false, &mut bench.effects);
    assert_eq!(bench.brokers("TBW102"), "b{0=h}5");
    bench.routes.set_writable("b", true, &mut bench.effects);
    assert_eq!((bench.brokers("T"), bench.brokers("TBW102")), ("b{0=h}6".into(), "b{0=h}7".into()));
}

#[test]
fn silence_ends_a_broker_after_120_seconds() {
    let mut bench = Bench::default();
    bench.register("b:0@h", &["T", "U"]);
    bench.tick_at(120_000);
    assert_eq!(bench.brokers("T"), "b{0=h}6");
    bench.tick_at(120_001);
    assert_eq!(bench.brokers("T"), "none");
    assert_eq!(bench.gone(), [GoneReason::Silent { limit_ms: 120_000 }]);
    assert_eq!(bench.effects.last(), Some(&Effect::Close(ConnectionId(1))));
    assert!(bench.routes.system_topics(&Seen::default()).topic_list.is_empty());
}

#[test]
fn every_sign_of_life_counts() {
    let mut bench = Bench::default();
    let mut short = registration("b:0@h", &["T", "U"]);
    short.silence_max_ms = 10_000;
    let key = short.key.clone();
    bench.register_on(1, short).unwrap();
    bench.routes.heartbeat(10_000, &key);
    bench.tick_at(20_000);
    assert_eq!(bench.routes.version(20_000, &key), Some(version(1)));
    bench.tick_at(30_000);
    assert_eq!(bench.gone(), []);
    bench.tick_at(30_001);
    assert_eq!(bench.gone(), [GoneReason::Silent { limit_ms: 10_000 }]);
    assert_eq!(bench.routes.version(30_001, &key), None);
}

#[test]
fn a_closed_connection_ends_its_broker_at_once_but_not_one_that_came_back() {
    let mut bench = Bench::default();
    bench.register("b:0@h", &["T", "U"]);
    bench.register_on(2, registration("b:0@h", &["T", "U"])).unwrap();
    bench.close(1);
    assert_eq!(bench.brokers("T"), "b{0=h}6");
    bench.close(2);
    assert_eq!((bench.brokers("T"), bench.gone()), ("none".into(), vec![GoneReason::ConnectionClosed]));
}

#[test]
fn unregistering_is_for_the_broker_itself() {
    let mut bench = Bench::default();
    bench.register("b:0@h", &["T", "U"]);
    bench.unregister("other:0@h");
    bench.unregister("b:0@elsewhere");
    assert_eq!(bench.brokers("T"), "b{0=h}6");
    bench.unregister("b:0@h");
    bench.unregister("b:0@h");
    assert_eq!((bench.brokers("T"), bench.gone()), ("none".into(), vec![GoneReason::Unregistered]));
}

#[test]
fn slaves_stay_when_the_master_goes() {
    let mut bench = Bench::default();
    bench.register("b:0@h1", &["T", "U"]);
    bench.register("b:1@h2", &["T", "U"]);
    bench.unregister("b:0@h1");
    assert_eq!(bench.brokers("T"), "b{1=h2}6", "without an acting master the permission stays");
}

#[test]
fn an_address_has_one_id() {
    let mut bench = Bench::default();
    bench.register("b:0@h1", &["T", "U"]);
    bench.register("b:1@h2", &["T", "U"]);
    bench.unregister("b:0@h1");
    bench.register("b:0@h2", &["T", "U"]);
    assert_eq!(bench.brokers("T"), "b{0=h2}6");
    bench.register("b:1@h1", &["T", "U"]);
    assert_eq!(bench.brokers("T"), "b{0=h2,1=h1}6");
}

#[test]
fn an_address_that_registers_under_another_name_leaves_the_old_one() {
    let mut bench = Bench::default();
    bench.register("old:0@h", &["T", "U"]);
    bench.register("new:0@h", &["T", "V"]);
    assert_eq!((bench.brokers("T"), bench.brokers("U")), ("new{0=h}6".into(), "none".into()));
    assert_eq!(bench.gone(), [GoneReason::Renamed]);
}

#[test]
fn a_master_with_an_older_state_does_not_come_back() {
    let mut bench = Bench::default();
    bench.register("b:0@h1", &["T", "U"]);
    let mut newer = registration("b:0@h2", &["T", "U"]);
    newer.version.state_version = 2;
    bench.register_on(2, newer).unwrap();
    assert_eq!((bench.brokers("T"), bench.gone()), ("b{0=h2}6".into(), vec![GoneReason::Replaced]));
    let stale = bench.register("b:0@h1", &["T", "U", "V"]);
    assert_eq!(
        (stale, bench.brokers("T"), bench.brokers("V")),
        (Registered::default(), "b{0=h2}6".into(), "none".into())
    );
    bench.close(1);
    assert_eq!(bench.brokers("T"), "b{0=h2}6");
}

#[test]
fn a_slave_stands_in_for_a_master_that_is_gone() {
    let mut bench = Bench::with(Settings { acting_master: true, notify_min_id: true, ..Settings::default() });
    let acting = |broker: &str| Registration { acting_master: Some(true), ..registration(broker, &["T", "U"]) };
    bench.register_on(1, acting("b:0@h1")).unwrap();
    bench.register_on(2, acting("b:1@h2")).unwrap();
    bench.register_on(3, acting("b:2@h3")).unwrap();
    assert_eq!(bench.brokers("T"), "b{0=h1,1=h2,2=h3}6");
    bench.effects.clear();
    bench.close(1);
    assert_eq!(bench.brokers("T"), "b{0=h2,2=h3}4", "it can be read only");
    let told: Vec<_> = bench
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::NotifyMinId { connection, notice } => {
                Some((connection.0, notice.min_id, &*notice.min_address, notice.gone_address.as_deref()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(told, [(2, 1, "h2:1", Some("h1:1")), (3, 1, "h2:1", Some("h1:1"))]);

    bench.effects.clear();
    bench.register_on(4, acting("b:0@h1")).unwrap();
    assert_eq!(bench.brokers("T"), "b{0=h1,1=h2,2=h3}6");
    let told = bench.effects.iter().filter(|effect| matches!(effect, Effect::NotifyMinId { .. })).count();
    assert_eq!(told, 2, "who came knows it");
}

#[test]
fn a_slave_alone_brings_its_topics_readable() {
    let mut bench = Bench::default();
    bench.register_on(1, Registration { acting_master: Some(true), ..registration("b:1@h", &["T", "U"]) }).unwrap();
    assert_eq!(bench.brokers("T"), "b{1=h}4");
    let before_5_0 = Registration { acting_master: None, ..registration("c:1@g", &["V", "W"]) };
    bench.register_on(2, before_5_0).unwrap();
    assert_eq!(bench.brokers("V"), "none");
}

#[test]
fn a_zone_shows_its_own_brokers_and_those_without_a_master() {
    let mut bench = Bench::default();
    let in_zone =
        |broker: &str, zone: &str| Registration { zone: Some(zone.into()), ..registration(broker, &["T", "U"]) };
    bench.register_on(1, in_zone("a:0@h1", "East")).unwrap();
    bench.register_on(1, in_zone("b:0@h2", "west")).unwrap();
    bench.register_on(1, in_zone("c:1@h3", "west")).unwrap();
    bench.register("d:0@h4", &["T", "U"]);
    let text = bench.routes.route_in_zone("T", "east", &bench.settings, None, &Seen::default()).unwrap();
    assert_eq!(short(&text), "a{0=h1}6 c{1=h3}6");
    assert_eq!(bench.routes.route_in_zone("V", "east", &bench.settings, None, &Seen::default()), None);
}

#[test]
fn topics_are_deleted_everywhere_or_in_one_cluster() {
    let mut bench = Bench::default();
    bench.register("a:0@h1", &["T", "U"]);
    let mut other = registration("b:0@h2", &["T", "U"]);
    other.key.cluster = "d".into();
    bench.register_on(1, other).unwrap();
    bench.routes.delete_topic("T", Some("d"), &mut bench.effects);
    bench.routes.delete_topic("U", None, &mut bench.effects);
    bench.routes.delete_topic("V", None, &mut bench.effects);
    check(&bench.routes, &bench.settings);
    assert_eq!((bench.brokers("T"), bench.brokers("U")), ("a{0=h1}6".into(), "none".into()));
    assert_eq!(bench.routes.topics_of_cluster("c").topic_list, ["T"]);
    assert!(bench.routes.topics_of_cluster("d").topic_list.is_empty());
}

#[test]
fn topics_are_put_in_for_brokers_that_are_known() {
    let mut bench = Bench::default();
    bench.register("a:0@h", &["T", "U"]);
    let brokers = [("a".to_owned(), queues(4)), ("stranger".to_owned(), queues(6))];
    bench.routes.put_topic("V", &brokers, &mut bench.effects);
    check(&bench.routes, &bench.settings);
    assert_eq!(bench.brokers("V"), "a{0=h}4");
}

#[test]
fn lists_tell_units_and_system_topics_apart() {
    let mut bench = Bench::default();
    let mut registration = registration("a:0@h", &["neither", "unit", "sub", "both"]);
    for (flag, topic) in registration.topics.iter_mut().enumerate() {
        topic.1.sys_flag = flag as i32;
    }
    bench.register_on(1, registration).unwrap();
    assert_eq!(bench.routes.topics_of_kind(TopicKind::Unit).topic_list, ["both", "unit"]);
    assert_eq!(bench.routes.topics_of_kind(TopicKind::UnitSub).topic_list, ["both", "sub"]);
    assert_eq!(bench.routes.topics_of_kind(TopicKind::UnitSubOnly).topic_list, ["sub"]);
    let system = bench.routes.system_topics(&Seen::default());
    assert_eq!((system.broker_addr.as_deref(), system.topic_list), (Some("h:1"), vec!["c".into(), "a".into()]));
}

/// Every broker has every topic. Were each removal to look at all topics of all brokers, this would take minutes.
#[test]
fn a_mass_disconnect_costs_no_more_than_its_parts() {
    let topics: Vec<String> = (0..300).map(|number| format!("T{number}")).collect();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    let (mut routes, settings, mut effects) = (Routes::default(), Settings::default(), Vec::new());
    for number in 0..300 {
        let registration = registration(&format!("b{number}:0@h{number}"), &topics);
        routes.register(0, ConnectionId(number), registration, &settings, &mut effects).unwrap();
    }
    for number in 0..300 {
        routes.connection_closed(ConnectionId(number), &settings, &mut effects);
    }
    assert!(routes.topics.is_empty() && routes.groups.is_empty());
}

/// Something that happens to a nameserver.
#[derive(Clone, Debug)]
enum Event {
    Register { connection: u64, registration: Registration },
    Unregister(Registration),
    Close(u64),
    Pass(u64),
    Heartbeat(Registration),
    Writable(String, bool),
    Delete(String, Option<String>),
    Put(String, String),
    Read(String),
}

fn some_registration() -> impl Strategy<Value = Registration> {
    let topics = proptest::collection::btree_set("[T-W]", 0..4);
    let who = ("[ab]", 0i64..3, 0u8..4, "[cd]");
    let how = (proptest::option::of(any::<bool>()), proptest::option::of("[yz]"), 0i64..3, 0i64..3, 1u64..200);
    (who, how, topics).prop_map(
        |((name, id, host, cluster), (acting_master, zone, state, counter, silence), topics)| {
            let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
            Registration {
                key: BrokerKey::new(&cluster, &format!("h{host}:1")),
                acting_master,
                zone: zone.map(Into::into),
                version: DataVersion { counter, state_version: state, timestamp: 0 },
                silence_max_ms: silence * 1000,
                ..registration(&format!("{name}:{id}@h{host}"), &topics)
            }
        },
    )
}

fn some_event() -> impl Strategy<Value = Event> {
    let registrations = (0u64..4, some_registration())
        .prop_map(|(connection, registration)| Event::Register { connection, registration });
    prop_oneof![
        6 => registrations,
        1 => some_registration().prop_map(Event::Unregister),
        1 => (0u64..4).prop_map(Event::Close),
        1 => (0u64..150_000).prop_map(Event::Pass),
        1 => some_registration().prop_map(Event::Heartbeat),
        1 => ("[ab]", any::<bool>()).prop_map(|(broker, granted)| Event::Writable(broker, granted)),
        1 => ("[T-W]", proptest::option::of("[cd]")).prop_map(|(topic, cluster)| Event::Delete(topic, cluster)),
        1 => ("[T-W]", "[abx]").prop_map(|(topic, broker)| Event::Put(topic, broker)),
        3 => "[T-W]".prop_map(Event::Read),
    ]
}

proptest! {
    #[test]
    fn nothing_that_happens_leaves_a_topic_with_a_dead_broker(
        events in proptest::collection::vec(some_event(), 1..60),
        acting_master: bool, registration_deletes: bool, notify_min_id: bool,
    ) {
        let settings = Settings { acting_master, registration_deletes, notify_min_id, ..Settings::default() };
        let mut bench = Bench::with(settings);
        for event in events {
            let effects = &mut bench.effects;
            match event {
                Event::Register { connection, registration } => {
                    let _ = bench.register_on(connection, registration);
                }
                Event::Unregister(r) => bench.routes.unregister(&r.key, &r.broker, &bench.settings, effects),
                Event::Close(connection) => bench.close(connection),
                Event::Pass(ms) => bench.tick_at(bench.now_ms + ms),
                Event::Heartbeat(r) => bench.routes.heartbeat(bench.now_ms, &r.key),
                Event::Writable(broker, granted) => {
                    bench.routes.set_writable(&broker, granted, effects);
                }
                Event::Delete(topic, cluster) => bench.routes.delete_topic(&topic, cluster.as_deref(), effects),
                Event::Put(topic, broker) => bench.routes.put_topic(&topic, &[(broker, queues(6))], effects),
                Event::Read(topic) => {
                    bench.route(&topic);
                    bench.routes.cluster_info(&Seen::default());
                }
            }
            check(&bench.routes, &bench.settings);
        }
        // Whoever is heard no more is gone in the end, and everything with it.
        bench.tick_at(bench.now_ms + 1_000_000);
        prop_assert!(bench.routes.topics.is_empty() && bench.routes.groups.is_empty());
        prop_assert_eq!(bench.routes.liveness.iter().count(), 0);
    }
}
