//! Who is connected: producers and consumers, by group. A pure core: events and the time go in, effects come out.
//!
//! Sources: `broker/.../client/{ConsumerManager,ProducerManager,ConsumerGroupInfo}.java`. The key of membership is
//! the connection, or the session of a gRPC client; the client id is an attribute.

pub mod census;
mod subscription;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;

use net::ConnectionId;
use protocol::bodies::heartbeat::{ConsumeFromWhere, ConsumeType, MessageModel};
use protocol::codes::Language;

pub use subscription::Subscription;

/// By which protocol a client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Remoting; the member is a connection.
    Remoting,
    /// gRPC; the member is a session, which may have any number of connections.
    Grpc,
}

/// A client, as it introduced itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Client id; members of a group sort by it.
    pub id: String,
    /// Address of its connection.
    pub address: SocketAddr,
    /// Language it is written in.
    pub language: Language,
    /// Ordinal of its version.
    pub version: i32,
    /// How it is connected.
    pub door: Door,
}

/// What a client says of one of its consumer groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerBeat {
    /// Group.
    pub group: String,
    /// How it gets messages.
    pub consume_type: ConsumeType,
    /// Whether members share the messages.
    pub model: MessageModel,
    /// Where a group without offsets begins; clients act on it, the broker only shows it.
    pub from_where: ConsumeFromWhere,
    /// What it wants; `None` where it does not say, which changes nothing.
    pub subscriptions: Option<Vec<Subscription>>,
}

/// A heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// Who sends it.
    pub client: Client,
    /// Producer groups it is in.
    pub producer_groups: Vec<String>,
    /// Consumer groups it is in.
    pub consumers: Vec<ConsumerBeat>,
}

/// What has to be done after an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The members of a consumer group changed: these connections are to be told.
    Tell {
        /// The group.
        group: String,
        /// Connections of its members.
        members: Vec<ConnectionId>,
    },
}

#[derive(Clone, Debug)]
struct Member {
    client: Client,
    heard_ms: i64,
}

/// A consumer group with somebody in it.
#[derive(Clone, Debug)]
pub struct ConsumerGroup {
    members: BTreeMap<ConnectionId, Member>,
    /// Topic to subscription, of the latest heartbeat.
    pub subscriptions: BTreeMap<String, Subscription>,
    /// How the group gets messages, as the latest heartbeat says.
    pub consume_type: ConsumeType,
    /// Whether members share the messages, as the latest heartbeat says.
    pub model: MessageModel,
    /// Where a group without offsets begins, as the latest heartbeat says.
    pub from_where: ConsumeFromWhere,
}

impl ConsumerGroup {
    /// The members.
    pub fn clients(&self) -> impl Iterator<Item = &Client> {
        self.members.values().map(|member| &member.client)
    }

    /// The members, by what stands for them.
    pub fn members(&self) -> impl Iterator<Item = (ConnectionId, &Client)> {
        self.members.iter().map(|(id, member)| (*id, &member.client))
    }
}

/// All members of all groups.
#[derive(Debug, Default)]
pub struct Membership {
    consumers: HashMap<String, ConsumerGroup>,
    producers: HashMap<String, BTreeMap<ConnectionId, Member>>,
    /// Groups of each connection: consumer groups, producer groups.
    of_connection: HashMap<ConnectionId, (BTreeSet<String>, BTreeSet<String>)>,
    /// Where clients that produce were last heard of, by client id.
    producing: HashMap<String, ConnectionId>,
    /// Turns the choice of a producer round.
    turn: usize,
}

impl Membership {
    /// A heartbeat arrived.
    pub fn heartbeat(&mut self, now_ms: i64, connection: ConnectionId, beat: Beat) -> Vec<Effect> {
        let mut effects = Vec::new();
        let member = Member { client: beat.client, heard_ms: now_ms };
        let groups = self.of_connection.entry(connection).or_default();
        if !beat.producer_groups.is_empty() {
            self.producing.insert(member.client.id.clone(), connection);
        }
        for group in beat.producer_groups {
            groups.1.insert(group.clone());
            self.producers.entry(group).or_default().insert(connection, member.clone());
        }
        for consumer in beat.consumers {
            groups.0.insert(consumer.group.clone());
            let group = self.consumers.entry(consumer.group.clone()).or_insert_with(|| ConsumerGroup {
                members: BTreeMap::new(),
                subscriptions: BTreeMap::new(),
                consume_type: consumer.consume_type,
                model: consumer.model,
                from_where: consumer.from_where,
            });
            group.consume_type = consumer.consume_type;
            group.model = consumer.model;
            group.from_where = consumer.from_where;
            let before = group.members.insert(connection, member.clone());
            let joined = before.is_none_or(|before| before.client.id != member.client.id);
            let wanted = consumer.subscriptions;
            let resubscribed = wanted.is_some_and(|wanted| merge(&mut group.subscriptions, wanted));
            if joined || resubscribed {
                effects.extend(tell(&consumer.group, group));
            }
        }
        effects
    }

    /// A connection ended.
    pub fn disconnected(&mut self, connection: ConnectionId) -> Vec<Effect> {
        let Some((consumers, producers)) = self.of_connection.remove(&connection) else { return Vec::new() };
        for group in producers {
            self.leave_producers(&group, connection);
        }
        consumers.into_iter().filter_map(|group| self.leave_consumers(&group, connection)).collect()
    }

    /// A client said that it leaves the groups.
    pub fn unregister(
        &mut self,
        connection: ConnectionId,
        producer_group: Option<&str>,
        consumer_group: Option<&str>,
    ) -> Vec<Effect> {
        if let Some(groups) = self.of_connection.get_mut(&connection) {
            consumer_group.map(|group| groups.0.remove(group));
            producer_group.map(|group| groups.1.remove(group));
        }
        if let Some(group) = producer_group {
            self.leave_producers(group, connection);
        }
        consumer_group.and_then(|group| self.leave_consumers(group, connection)).into_iter().collect()
    }

    /// Drops members that were silent for longer than `silence_max_ms`.
    pub fn expire(&mut self, now_ms: i64, silence_max_ms: i64) -> Vec<Effect> {
        let silent = |member: &Member| silence_max_ms < now_ms - member.heard_ms;
        let consumers = self.consumers.iter().flat_map(|(group, info)| {
            info.members
                .iter()
                .filter(|(_, member)| silent(member))
                .map(|(connection, _)| (*connection, None, Some(group.clone())))
        });
        let producers = self.producers.iter().flat_map(|(group, members)| {
            members
                .iter()
                .filter(|(_, member)| silent(member))
                .map(|(connection, _)| (*connection, Some(group.clone()), None))
        });
        let gone: Vec<(ConnectionId, Option<String>, Option<String>)> = consumers.chain(producers).collect();
        gone.into_iter()
            .flat_map(|(connection, producer, consumer)| {
                self.unregister(connection, producer.as_deref(), consumer.as_deref())
            })
            .collect()
    }

    /// The consumer group of that name, if anybody is in it.
    pub fn consumer_group(&self, group: &str) -> Option<&ConsumerGroup> {
        self.consumers.get(group)
    }

    /// Names of all consumer groups with somebody in them.
    pub fn consumer_groups(&self) -> impl Iterator<Item = (&str, &ConsumerGroup)> {
        self.consumers.iter().map(|(name, group)| (name.as_str(), group))
    }

    /// Members of a producer group.
    pub fn producers(&self, group: &str) -> impl Iterator<Item = &Client> {
        self.producers.get(group).into_iter().flat_map(BTreeMap::values).map(|member| &member.client)
    }

    /// Names of all producer groups with somebody in them, each with its members and when they were heard last, in
    /// milliseconds since 1970.
    pub fn producer_groups(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = (&Client, i64)>)> {
        let heard = |member: &Member| member.heard_ms;
        self.producers.iter().map(move |(name, members)| {
            (name.as_str(), members.values().map(move |member| (&member.client, heard(member))))
        })
    }

    /// What stands for the consumer of that group and client id: the connection by which it was last heard of.
    pub fn consumer(&self, group: &str, client_id: &str) -> Option<(ConnectionId, &Client)> {
        let members = self.consumers.get(group)?.members.iter();
        let same = members.filter(|(_, member)| member.client.id == client_id);
        same.max_by_key(|(_, member)| member.heard_ms).map(|(id, member)| (*id, &member.client))
    }

    /// What stands for the client of that id, if it is in any producer group.
    pub fn producing_client(&self, client_id: &str) -> Option<ConnectionId> {
        self.producing.get(client_id).copied()
    }

    /// Connections of a producer group, beginning with the one whose turn it is.
    pub fn producers_in_turn(&mut self, group: &str) -> Vec<ConnectionId> {
        let mut members: Vec<_> = self.producers.get(group).into_iter().flatten().map(|(id, _)| *id).collect();
        if !members.is_empty() {
            self.turn = self.turn.wrapping_add(1);
            let first = self.turn % members.len();
            members.rotate_left(first);
        }
        members
    }

    fn leave_producers(&mut self, group: &str, connection: ConnectionId) {
        let Some(members) = self.producers.get_mut(group) else { return };
        let gone = members.remove(&connection);
        if members.is_empty() {
            self.producers.remove(group);
        }
        let produces = self.of_connection.get(&connection).is_some_and(|groups| !groups.1.is_empty());
        if let Some(gone) = gone.filter(|_| !produces)
            && self.producing.get(&gone.client.id) == Some(&connection)
        {
            self.producing.remove(&gone.client.id);
        }
    }

    fn leave_consumers(&mut self, group: &str, connection: ConnectionId) -> Option<Effect> {
        let info = self.consumers.get_mut(group)?;
        info.members.remove(&connection)?;
        if info.members.is_empty() {
            self.consumers.remove(group);
            return None;
        }
        tell(group, info)
    }
}

fn tell(group: &str, info: &ConsumerGroup) -> Option<Effect> {
    if info.model == MessageModel::Broadcasting {
        return None;
    }
    Some(Effect::Tell { group: group.to_owned(), members: info.members.keys().copied().collect() })
}

/// Takes over the subscriptions of a heartbeat: a newer version of one replaces it, and a topic that is missing is
/// no longer wanted. Returns whether topics came or went; a changed expression alone does not count.
fn merge(known: &mut BTreeMap<String, Subscription>, said: Vec<Subscription>) -> bool {
    let wanted: BTreeSet<&str> = said.iter().map(|subscription| subscription.topic.as_str()).collect();
    let before = known.len();
    known.retain(|topic, _| wanted.contains(topic.as_str()));
    let mut changed = known.len() != before;
    for subscription in said {
        match known.get(&subscription.topic) {
            Some(old) if subscription.version <= old.version => {}
            old => {
                changed |= old.is_none();
                known.insert(subscription.topic.clone(), subscription);
            }
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::CompiledFilters;

    const ONE: ConnectionId = ConnectionId(1);
    const TWO: ConnectionId = ConnectionId(2);

    fn wanted(topic: &str, tags: &str, version: i64) -> Subscription {
        Subscription::new(&CompiledFilters::default(), topic, "TAG", tags, version)
    }

    fn beat(id: &str, groups: &[(&str, &[&str])]) -> Beat {
        let client = Client {
            id: id.into(),
            address: "10.0.0.1:1".parse().unwrap(),
            language: Language::GO,
            version: 317,
            door: Door::Remoting,
        };
        let consumers = groups.iter().map(|(group, topics)| ConsumerBeat {
            group: (*group).into(),
            consume_type: ConsumeType::Passively,
            model: MessageModel::Clustering,
            from_where: ConsumeFromWhere::LastOffset,
            subscriptions: Some(topics.iter().map(|topic| wanted(topic, "*", 1)).collect()),
        });
        Beat { client, producer_groups: vec!["p".into()], consumers: consumers.collect() }
    }

    fn told(group: &str, members: &[ConnectionId]) -> Vec<Effect> {
        vec![Effect::Tell { group: group.into(), members: members.to_vec() }]
    }

    #[test]
    fn everybody_in_a_group_is_told_when_a_member_comes_or_goes() {
        let mut all = Membership::default();
        assert_eq!(all.heartbeat(0, ONE, beat("a", &[("g", &["t"])])), told("g", &[ONE]));
        assert_eq!(all.heartbeat(1, ONE, beat("a", &[("g", &["t"])])), []);
        assert_eq!(all.heartbeat(2, TWO, beat("b", &[("g", &["t"])])), told("g", &[ONE, TWO]));
        assert_eq!(all.disconnected(ONE), told("g", &[TWO]));
        assert_eq!(all.disconnected(ONE), []);
        assert_eq!(all.unregister(TWO, None, Some("g")), []);
        assert!(all.consumer_group("g").is_none());
    }

    #[test]
    fn a_topic_that_comes_or_goes_counts_and_a_new_expression_does_not() {
        let mut all = Membership::default();
        all.heartbeat(0, ONE, beat("a", &[("g", &["t"])]));
        assert_eq!(all.heartbeat(1, ONE, beat("a", &[("g", &["t", "u"])])), told("g", &[ONE]));
        assert_eq!(all.heartbeat(2, ONE, beat("a", &[("g", &["u"])])), told("g", &[ONE]));
        let mut newer = beat("a", &[("g", &["u"])]);
        newer.consumers[0].subscriptions = Some(vec![wanted("u", "x", 2)]);
        assert_eq!(all.heartbeat(3, ONE, newer), []);
        assert!(!all.consumer_group("g").unwrap().subscriptions["u"].filter.as_ref().unwrap().may_match(1));
        all.heartbeat(4, ONE, beat("a", &[("g", &["u"])]));
        assert_eq!(all.consumer_group("g").unwrap().subscriptions["u"].version, 2, "an older version changes nothing");
    }

    #[test]
    fn silence_ends_membership() {
        let mut all = Membership::default();
        all.heartbeat(0, ONE, beat("a", &[("g", &["t"])]));
        all.heartbeat(100, TWO, beat("b", &[("g", &["t"])]));
        assert_eq!(all.expire(120, 120), []);
        assert_eq!(all.expire(121, 120), told("g", &[TWO]));
        assert_eq!(all.producers_in_turn("p"), [TWO]);
    }

    #[test]
    fn producers_are_asked_in_turn() {
        let mut all = Membership::default();
        all.heartbeat(0, ONE, beat("a", &[]));
        all.heartbeat(0, TWO, beat("b", &[]));
        let (first, second) = (all.producers_in_turn("p")[0], all.producers_in_turn("p")[0]);
        assert_ne!(first, second);
        assert!(all.producers_in_turn("nobody").is_empty());
    }

    #[test]
    fn a_client_that_produces_is_found_by_its_id_where_it_was_last_heard_of() {
        let mut all = Membership::default();
        let producing = |all: &Membership| all.producing_client("a");
        all.heartbeat(0, ONE, beat("a", &[("g", &["t"])]));
        all.heartbeat(0, TWO, beat("b", &[]));
        assert_eq!((producing(&all), all.producing_client("c")), (Some(ONE), None));
        assert_eq!(all.consumer("g", "a").map(|(id, client)| (id, client.id.as_str())), Some((ONE, "a")));
        assert!(all.consumer("g", "b").is_none() && all.consumer("h", "a").is_none());
        // The same client came back by another connection before the first was seen to be gone.
        all.disconnected(TWO);
        all.heartbeat(1, TWO, beat("a", &[]));
        all.disconnected(ONE);
        assert_eq!(producing(&all), Some(TWO));
        all.unregister(TWO, Some("p"), None);
        assert_eq!(producing(&all), None);
        all.heartbeat(2, ONE, beat("a", &[]));
        all.expire(200, 100);
        assert!(producing(&all).is_none() && all.producing.is_empty());
    }

    #[test]
    fn broadcasting_groups_are_left_in_peace() {
        let mut all = Membership::default();
        let mut beat = beat("a", &[("g", &["t"])]);
        beat.consumers[0].model = MessageModel::Broadcasting;
        assert_eq!(all.heartbeat(0, ONE, beat), []);
    }
}
