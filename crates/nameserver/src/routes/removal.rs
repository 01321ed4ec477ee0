//! A broker goes: it says so, its connection closes, or nothing is heard of it.
//!
//! Each removal touches only the topics of the broker that goes, so that a thousand brokers that lose their
//! connections at once cost a thousand times as much as one.

use std::sync::Arc;

use net::ConnectionId;

use super::{Effect, Routes, without_write};
use crate::effect::{Change, GoneReason, MinIdNotice};
use crate::liveness::{BrokerKey, LiveBroker};
use crate::settings::Settings;

impl Routes {
    /// A broker says that it goes. Nothing happens unless the key belongs to that broker.
    pub fn unregister(&mut self, key: &BrokerKey, broker: &str, settings: &Settings, effects: &mut Vec<Effect>) {
        if self.liveness.get(key).is_some_and(|live| &*live.name == broker) {
            self.remove(key, GoneReason::Unregistered, settings, effects);
        }
    }

    /// A connection closed: whoever registered last on it is gone. A broker that has registered again on another
    /// connection stays.
    pub fn connection_closed(&mut self, connection: ConnectionId, settings: &Settings, effects: &mut Vec<Effect>) {
        for key in self.liveness.on_connection(connection) {
            self.remove(&key, GoneReason::ConnectionClosed, settings, effects);
        }
    }

    /// Looks for brokers that have fallen silent.
    pub fn tick(&mut self, now_ms: u64, settings: &Settings, effects: &mut Vec<Effect>) {
        for key in self.liveness.silent(now_ms) {
            let Some(live) = self.liveness.get(&key) else { continue };
            let (connection, limit_ms) = (live.connection, live.silence_max_ms);
            self.remove(&key, GoneReason::Silent { limit_ms }, settings, effects);
            effects.push(Effect::Close(connection));
        }
    }

    /// Takes one broker out of all tables.
    pub(super) fn remove(
        &mut self,
        key: &BrokerKey,
        reason: GoneReason,
        settings: &Settings,
        effects: &mut Vec<Effect>,
    ) {
        let Some(live) = self.liveness.remove(key) else { return };
        let LiveBroker { name, id, .. } = live;
        let Some(group) = self.groups.get_mut(&name) else { return };
        let min_id_before = group.min_id();
        group.members.remove(&id);
        let topics_lost = if group.members.is_empty() { self.remove_group(&name) } else { self.reduce(&name) };
        let (broker, address) = (name.clone(), key.address.clone());
        effects.push(Effect::Log(Change::Gone { broker, id, address, reason, topics_lost }));
        if min_id_before == Some(id) {
            self.notify_min_id(&name, Some(&key.address), settings, effects);
        }
    }

    /// Nobody of the group is left. Returns how many topics went with it.
    fn remove_group(&mut self, name: &str) -> usize {
        self.cluster_info = None;
        let topics = self.groups.remove(name).map(|group| group.topics).unwrap_or_default();
        topics.iter().filter(|topic| self.take_queues(name, topic)).count()
    }

    /// Somebody of the group is left; without a master it can be read only.
    fn reduce(&mut self, name: &str) -> usize {
        self.forget_group(name);
        if self.groups.get(name).is_some_and(|group| group.acting_master && !group.has_master()) {
            self.change_perms(name, without_write);
        }
        0
    }

    /// Tells a group that its smallest id is another now. Who became the smallest by registering knows it.
    pub(super) fn notify_min_id(
        &self,
        name: &Arc<str>,
        gone_address: Option<&Arc<str>>,
        settings: &Settings,
        effects: &mut Vec<Effect>,
    ) {
        let Some(group) = self.groups.get(name).filter(|group| settings.notify_min_id && group.acting_master) else {
            return;
        };
        let Some((min_id, min_key)) = group.members.iter().next() else { return };
        let notice = MinIdNotice {
            broker: name.clone(),
            min_id: *min_id,
            min_address: min_key.address.clone(),
            gone_address: gone_address.cloned(),
            ha_address: self.liveness.get(min_key).and_then(|live| live.ha_address.clone()),
        };
        let told = group.members.values().skip(usize::from(gone_address.is_none()));
        effects.extend(told.filter_map(|key| {
            let connection = self.liveness.get(key)?.connection;
            Some(Effect::NotifyMinId { connection, notice: notice.clone() })
        }));
    }
}
