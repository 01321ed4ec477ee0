//! What readers learn.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::bodies::cluster::{BrokerMemberGroup, ClusterInfo};
use protocol::bodies::data_version::DataVersion;
use protocol::bodies::route::{BrokerData, MASTER_ID, QueueData, TopicRouteData, topic_sys_flag};
use protocol::bodies::topic_config::{PERM_WRITE, TopicList};
use protocol::lenient_json;

use super::{BrokerKey, Group, Routes, Topic};
use crate::horizon::{Origin, Seen};
use crate::settings::Settings;

/// Topics through which slaves of a group find one another; they want the true ids.
const MEMBER_TOPIC_PREFIX: &str = "rmq_sys_SYNC_BROKER_MEMBER_";

/// Which topics a list is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicKind {
    /// Topics of a unit.
    Unit,
    /// Topics that somebody in a unit subscribes to.
    UnitSub,
    /// The latter without the former.
    UnitSubOnly,
}

impl Routes {
    /// Where every live broker registered from, beside its advertised address.
    pub fn origins(&self) -> impl Iterator<Item = (&Arc<str>, Origin)> {
        self.liveness.iter().map(|(key, live)| (&key.address, live.origin))
    }

    /// Text of a topic's route; `None` when no live broker has it. `order` is the order configuration to show.
    pub fn route(&mut self, name: &str, settings: &Settings, order: Option<&str>, seen: &Seen) -> Option<Arc<[u8]>> {
        let topic = self.topics.get_mut(name)?;
        if !seen.is_plain() {
            // Few readers see anything else than most, so their texts are not kept.
            let route = route_of(&self.groups, name, topic, settings, order, seen);
            return Some(lenient_json::to_vec(&route).into());
        }
        if topic.route.is_none() {
            let route = route_of(&self.groups, name, topic, settings, order, seen);
            topic.route = Some(lenient_json::to_vec(&route).into());
        }
        topic.route.clone()
    }

    /// Text of a topic's route as a client in `zone` sees it: with the brokers of that zone, and with those that
    /// have no master, whose messages are still to be read by somebody.
    pub fn route_in_zone(
        &self,
        name: &str,
        zone: &str,
        settings: &Settings,
        order: Option<&str>,
        seen: &Seen,
    ) -> Option<Arc<[u8]>> {
        let mut route = route_of(&self.groups, name, self.topics.get(name)?, settings, order, seen);
        let here = |broker: &BrokerData| broker.zone_name.as_ref().is_some_and(|name| name.eq_ignore_ascii_case(zone));
        route.broker_datas.retain(|broker| broker.master().is_none() || here(broker));
        let kept: BTreeSet<&str> = route.broker_datas.iter().map(|broker| &*broker.broker_name).collect();
        route.queue_datas.retain(|queues| kept.contains(&*queues.broker_name));
        Some(lenient_json::to_vec(&route).into())
    }

    /// Text of the list of all brokers and clusters.
    pub fn cluster_info(&mut self, seen: &Seen) -> Arc<[u8]> {
        if let Some(text) = self.cluster_info.as_ref().filter(|_| seen.is_plain()) {
            return text.clone();
        }
        let mut info = ClusterInfo::default();
        for (name, group) in &self.groups {
            info.broker_addr_table.insert(name.to_string(), broker_data(name, group, seen));
            info.cluster_addr_table.entry(group.cluster.to_string()).or_default().push(name.to_string());
        }
        let text: Arc<[u8]> = lenient_json::to_vec(&info).into();
        if seen.is_plain() {
            self.cluster_info = Some(text.clone());
        }
        text
    }

    /// Every topic.
    pub fn all_topics(&self) -> TopicList {
        list(self.topics.keys())
    }

    /// Topics that brokers of the cluster have.
    pub fn topics_of_cluster(&self, cluster: &str) -> TopicList {
        let groups = self.groups.values().filter(|group| &*group.cluster == cluster);
        list(groups.flat_map(|group| &group.topics).collect::<BTreeSet<_>>())
    }

    /// Topics of a kind, judged by the first of their brokers.
    pub fn topics_of_kind(&self, kind: TopicKind) -> TopicList {
        list(self.topics.iter().filter(|(_, topic)| is_of_kind(topic, kind)).map(|(name, _)| name))
    }

    /// Names of clusters and brokers, each of which is a topic too, and the address of some broker that knows the
    /// other system topics.
    pub fn system_topics(&self, seen: &Seen) -> TopicList {
        let clusters: BTreeSet<&Arc<str>> = self.groups.values().map(|group| &group.cluster).collect();
        let address = self.groups.values().find_map(|group| group.members.values().next());
        let broker_addr = address.map(|key| seen.address(&key.address));
        TopicList { broker_addr, ..list(clusters.into_iter().chain(self.groups.keys())) }
    }

    /// Members of a group; without addresses when nobody knows it.
    pub fn member_group(&self, cluster: &str, broker: &str, seen: &Seen) -> BrokerMemberGroup {
        let broker_addrs = self.groups.get(broker).map(|group| addresses(group, seen)).unwrap_or_default();
        BrokerMemberGroup { broker_addrs, broker_name: broker.into(), cluster: cluster.into() }
    }

    /// A broker asks which version of its topics is known. To ask is a sign of life.
    pub fn version(&mut self, now_ms: u64, key: &BrokerKey) -> Option<DataVersion> {
        self.liveness.heard(now_ms, key);
        self.liveness.get(key).map(|live| live.version)
    }

    /// A broker gives a sign of life.
    pub fn heartbeat(&mut self, now_ms: u64, key: &BrokerKey) {
        self.liveness.heard(now_ms, key);
    }
}

fn list<'a>(names: impl IntoIterator<Item = &'a Arc<str>>) -> TopicList {
    TopicList { broker_addr: None, topic_list: names.into_iter().map(Arc::to_string).collect() }
}

fn is_of_kind(topic: &Topic, kind: TopicKind) -> bool {
    let flag = topic.queues.values().next().map_or(0, |queues| queues.sys_flag);
    let (unit, unit_sub) = (flag & topic_sys_flag::UNIT != 0, flag & topic_sys_flag::UNIT_SUB != 0);
    match kind {
        TopicKind::Unit => unit,
        TopicKind::UnitSub => unit_sub,
        TopicKind::UnitSubOnly => unit_sub && !unit,
    }
}

fn route_of(
    groups: &BTreeMap<Arc<str>, Group>,
    name: &str,
    topic: &Topic,
    settings: &Settings,
    order: Option<&str>,
    seen: &Seen,
) -> TopicRouteData {
    let mut route = TopicRouteData::default();
    let stand_ins = settings.acting_master && !name.starts_with(MEMBER_TOPIC_PREFIX);
    for (broker, queues) in &topic.queues {
        let Some(group) = groups.get(broker) else { continue };
        let mut data = broker_data(broker, group, seen);
        if stand_ins && group.acting_master && !group.has_master() && queues.perm & PERM_WRITE == 0 {
            let stand_in = data.broker_addrs.pop_first();
            data.broker_addrs.extend(stand_in.map(|(_, address)| (MASTER_ID, address)));
        }
        route.broker_datas.push(data);
        route.queue_datas.push(QueueData {
            broker_name: broker.to_string(),
            perm: queues.perm,
            read_queue_nums: queues.read,
            topic_sys_flag: queues.sys_flag,
            write_queue_nums: queues.write,
        });
    }
    route.order_topic_conf = order.map(str::to_owned);
    route
}

fn broker_data(name: &str, group: &Group, seen: &Seen) -> BrokerData {
    BrokerData {
        broker_addrs: addresses(group, seen),
        broker_name: name.into(),
        cluster: group.cluster.to_string(),
        enable_acting_master: group.acting_master,
        zone_name: group.zone.as_deref().map(str::to_owned),
    }
}

fn addresses(group: &Group, seen: &Seen) -> BTreeMap<i64, String> {
    group.members.iter().map(|(id, key)| (*id, seen.address(&key.address))).collect()
}
