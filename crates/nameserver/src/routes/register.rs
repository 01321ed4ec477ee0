//! A broker registers.

use std::sync::Arc;

use net::ConnectionId;
use protocol::bodies::data_version::DataVersion;
use protocol::bodies::route::MASTER_ID;

use super::{Effect, Group, Put, Queues, Routes, without_write};
use crate::effect::{Change, GoneReason};
use crate::horizon::Origin;
use crate::liveness::{BrokerKey, LiveBroker};
use crate::settings::Settings;

/// What a broker says about itself. Names and addresses have been checked.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Cluster and address.
    pub key: BrokerKey,
    /// Broker name.
    pub broker: Arc<str>,
    /// 0 is the master.
    pub id: i64,
    /// Where the registration comes from.
    pub origin: Origin,
    /// Address for replication.
    pub ha_address: Option<Arc<str>>,
    /// Zone.
    pub zone: Option<Arc<str>>,
    /// Whether a slave may stand in for the master. Brokers before 5.0 do not say.
    pub acting_master: Option<bool>,
    /// Silence after which the broker counts as gone.
    pub silence_max_ms: u64,
    /// Version of its topics.
    pub version: DataVersion,
    /// Its topics, or only those that changed.
    pub topics: Vec<(String, Queues)>,
    /// Topics that are left out because nobody could use them.
    pub refused: usize,
    /// What is wrong with the first of those.
    pub first_refused: Option<String>,
}

/// What a broker learns when it registers: for slaves, whom to copy from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registered {
    /// Address of the master.
    pub master_address: Option<Arc<str>>,
    /// Where the master gives its log out.
    pub master_ha_address: Option<Arc<str>>,
}

/// Why a registration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// A broker announces a changed topic, but the others are not known yet. It registers them all within 30 s.
    #[error("broker `{broker}` id {id} is not known; its first registration cannot have a single topic")]
    SingleTopicFirst {
        /// Broker name.
        broker: Arc<str>,
        /// Its id.
        id: i64,
    },
}

impl Routes {
    /// Takes a registration in.
    pub fn register(
        &mut self,
        now_ms: u64,
        connection: ConnectionId,
        registration: Registration,
        settings: &Settings,
        effects: &mut Vec<Effect>,
    ) -> Result<Registered, RegisterError> {
        let Registration { key, broker, id, .. } = &registration;
        let holder = self.groups.get(broker).and_then(|group| group.members.get(id));
        if holder.is_none() && registration.topics.len() + registration.refused == 1 {
            return Err(RegisterError::SingleTopicFirst { broker: broker.clone(), id: *id });
        }
        if let Some(holder) = holder.filter(|holder| *holder != key)
            && let Some(live) = self.liveness.get(holder)
            && registration.version.state_version < live.version.state_version
        {
            // A former master that does not know yet that another took over.
            let (broker, address) = (broker.to_string(), key.address.to_string());
            let reason = GoneReason::Stale.to_string();
            effects.push(Effect::Log(Change::RegistrationRefused { broker, address, reason }));
            self.remove(key, GoneReason::Stale, settings, effects);
            return Ok(Registered::default());
        }

        let min_id_before = self.groups.get(broker).and_then(Group::min_id);
        let joined = self.join(&registration, settings, effects);
        let known_version = self.liveness.get(key).map(|live| live.version);
        let live = LiveBroker {
            name: broker.clone(),
            id: *id,
            connection,
            origin: registration.origin,
            version: registration.version,
            ha_address: registration.ha_address.clone(),
            heard_ms: now_ms,
            silence_max_ms: registration.silence_max_ms,
        };
        self.liveness.put(key.clone(), live);
        let fresh = joined || known_version != Some(registration.version);
        if fresh && let Some(first) = &registration.first_refused {
            let (broker, count) = (broker.clone(), registration.refused);
            effects.push(Effect::Log(Change::TopicsRefused { broker, count, first: first.clone() }));
        }
        self.take_topics(&registration, fresh, settings, effects);
        if min_id_before.is_some_and(|before| *id < before) {
            self.notify_min_id(broker, None, settings, effects);
        }
        Ok(self.master_for(&registration))
    }

    /// Makes the broker a member of its group. Says whether its id was not there before.
    fn join(&mut self, registration: &Registration, settings: &Settings, effects: &mut Vec<Effect>) -> bool {
        let Registration { key, broker, id, .. } = registration;
        // The address was somebody else until now: the same broker in another role, or another broker.
        if let Some(live) = self.liveness.get(key)
            && live.name != *broker
        {
            self.remove(key, GoneReason::Renamed, settings, effects);
        }
        let group = self.groups.entry(broker.clone()).or_insert_with(|| Group {
            cluster: key.cluster.clone(),
            zone: None,
            acting_master: false,
            members: Default::default(),
            topics: Default::default(),
        });
        let mut left: Vec<BrokerKey> = Vec::new();
        group.members.retain(|other_id, other| {
            let moved = other.address == key.address && (other_id != id || other != key);
            if moved {
                left.push(other.clone());
            }
            !moved
        });
        let replaced = group.members.insert(*id, key.clone());
        let joined = replaced.is_none();
        let mut changed = replaced.as_ref() != Some(key) || !left.is_empty();
        if let Some(other) = replaced.filter(|other| other != key) {
            let (broker, address) = (broker.clone(), other.address.clone());
            let reason = GoneReason::Replaced;
            effects.push(Effect::Log(Change::Gone { broker, id: *id, address, reason, topics_lost: 0 }));
            left.push(other);
        }
        let cluster = if *id == MASTER_ID { key.cluster.clone() } else { group.cluster.clone() };
        let acting_master = registration.acting_master == Some(true);
        if (&group.cluster, &group.zone, group.acting_master) != (&cluster, &registration.zone, acting_master) {
            (group.cluster, group.zone, group.acting_master) = (cluster, registration.zone.clone(), acting_master);
            changed = true;
        }
        for other in left.iter().filter(|other| *other != key) {
            self.liveness.remove(other);
        }
        if changed {
            self.forget_group(broker);
            effects.push(Effect::Log(Change::Registered {
                broker: broker.clone(),
                id: *id,
                address: key.address.clone(),
                cluster: key.cluster.clone(),
            }));
        }
        joined
    }

    /// Takes the topics of a master, or of the slave with the smallest id while there is no master.
    ///
    /// A registration with the version that is known changes nothing that is known: otherwise it would undo, after
    /// at most 30 s, what an operator did by hand.
    fn take_topics(
        &mut self,
        registration: &Registration,
        fresh: bool,
        settings: &Settings,
        effects: &mut Vec<Effect>,
    ) {
        let Registration { broker, id, .. } = registration;
        let Some(group) = self.groups.get(broker) else { return };
        let stands_in = *id != MASTER_ID && registration.acting_master.is_some() && group.min_id() == Some(*id);
        if *id != MASTER_ID && !stands_in {
            return;
        }
        let read_only = stands_in && group.acting_master;
        let (mut added, mut changed, mut removed) = (0, 0, 0);
        for (topic, queues) in &registration.topics {
            let known = || self.topics.get(topic.as_str()).is_some_and(|topic| topic.queues.contains_key(broker));
            if !fresh && known() {
                continue;
            }
            let perm = if read_only { without_write(queues.perm) } else { queues.perm };
            match self.put_queues(broker, topic, Queues { perm, ..*queues }) {
                Put::Added => added += 1,
                Put::Changed => changed += 1,
                Put::Same => {}
            }
        }
        // A single topic is one that changed; it says nothing about the others.
        if settings.registration_deletes && registration.topics.len() > 1 {
            for topic in self.lacking(registration) {
                self.take_queues(broker, &topic);
                removed += 1;
            }
        }
        if added + changed + removed > 0 {
            effects.push(Effect::Log(Change::Topics { broker: broker.clone(), added, changed, removed }));
        }
    }

    /// Topics that the broker had and does not name any more.
    fn lacking(&self, registration: &Registration) -> Vec<Arc<str>> {
        let named: std::collections::BTreeSet<&str> = registration.topics.iter().map(|(topic, _)| &**topic).collect();
        let had = self.groups.get(&registration.broker).into_iter().flat_map(|group| &group.topics);
        had.filter(|topic| !named.contains(&***topic)).cloned().collect()
    }

    fn master_for(&self, registration: &Registration) -> Registered {
        let group = self.groups.get(&registration.broker);
        let master = group.filter(|_| registration.id != MASTER_ID).and_then(|group| group.members.get(&MASTER_ID));
        master.map_or_else(Registered::default, |master| Registered {
            master_address: Some(master.address.clone()),
            master_ha_address: self.liveness.get(master).and_then(|live| live.ha_address.clone()),
        })
    }
}
