//! What operators change by hand. It lasts until the broker registers a new version of its topics.

use protocol::bodies::topic_config::{PERM_READ, PERM_WRITE};

use super::{Effect, Put, Queues, Routes, without_write};
use crate::effect::Change;

impl Routes {
    /// Takes the write permission from all topics of a broker, or gives it. Returns how many topics it has.
    ///
    /// Upstream sets the permission to exactly read and write when it is given; the template topic thereby loses
    /// the bit that auto-creation needs. Here the other bits stay.
    pub fn set_writable(&mut self, broker: &str, granted: bool, effects: &mut Vec<Effect>) -> usize {
        let Some((broker, _)) = self.groups.get_key_value(broker) else { return 0 };
        let broker = broker.clone();
        let grant = |perm| perm | PERM_READ | PERM_WRITE;
        let topics = self.change_perms(&broker, |perm| if granted { grant(perm) } else { without_write(perm) });
        effects.push(Effect::Log(Change::WritePermission { broker, granted, topics }));
        topics
    }

    /// Deletes a topic, on all brokers or on those of one cluster.
    pub fn delete_topic(&mut self, topic: &str, cluster: Option<&str>, effects: &mut Vec<Effect>) {
        let in_cluster = |broker: &str| {
            cluster.is_none_or(|cluster| self.groups.get(broker).is_some_and(|group| &*group.cluster == cluster))
        };
        let Some(known) = self.topics.get(topic) else { return };
        let brokers: Vec<_> = known.queues.keys().filter(|broker| in_cluster(broker)).cloned().collect();
        for broker in &brokers {
            self.take_queues(broker, topic);
        }
        if !brokers.is_empty() {
            let (topic, brokers) = (topic.to_owned(), brokers.len());
            effects.push(Effect::Log(Change::Topic { topic, brokers, deleted: true }));
        }
    }

    /// Puts a topic in by hand, on those of the brokers that are known.
    pub fn put_topic(&mut self, topic: &str, queues: &[(String, Queues)], effects: &mut Vec<Effect>) {
        let mut brokers = 0;
        for (broker, queues) in queues {
            let Some((broker, _)) = self.groups.get_key_value(broker.as_str()) else { continue };
            let broker = broker.clone();
            brokers += usize::from(self.put_queues(&broker, topic, *queues) != Put::Same);
        }
        if brokers > 0 {
            effects.push(Effect::Log(Change::Topic { topic: topic.to_owned(), brokers, deleted: false }));
        }
    }
}
