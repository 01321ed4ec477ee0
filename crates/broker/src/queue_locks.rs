//! Which client may consume which queue of an orderly group. A pure core: time comes in as an argument.
//!
//! Source: `broker/.../client/rebalance/RebalanceLockManager.java`. A lock that is not renewed for 60 seconds may be
//! taken by another client. Closing a connection releases nothing, so that a client that reconnects keeps order.

use std::collections::HashMap;

/// Time without renewal after which a lock may be taken by another client.
pub const LOCK_LIFE_MS: i64 = 60_000;

/// A queue as clients name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueName {
    /// Topic.
    pub topic: String,
    /// Broker name.
    pub broker: String,
    /// Queue of the topic.
    pub queue_id: i32,
}

#[derive(Debug)]
struct Lock {
    client: String,
    renewed_ms: i64,
}

/// All queue locks.
#[derive(Debug, Default)]
pub struct QueueLocks {
    groups: HashMap<String, HashMap<QueueName, Lock>>,
}

impl QueueLocks {
    /// Gives the client every queue that nobody else holds; returns those that it holds now.
    pub fn lock(&mut self, now_ms: i64, group: &str, client: &str, queues: Vec<QueueName>) -> Vec<QueueName> {
        let locks = self.groups.entry(group.to_owned()).or_default();
        let mut held = Vec::new();
        for queue in queues {
            let free =
                locks.get(&queue).is_none_or(|lock| lock.client == client || LOCK_LIFE_MS <= now_ms - lock.renewed_ms);
            if free {
                locks.insert(queue.clone(), Lock { client: client.to_owned(), renewed_ms: now_ms });
                held.push(queue);
            }
        }
        held
    }

    /// Takes from the client those of the queues that it holds.
    pub fn unlock(&mut self, group: &str, client: &str, queues: &[QueueName]) {
        let Some(locks) = self.groups.get_mut(group) else { return };
        for queue in queues {
            if locks.get(queue).is_some_and(|lock| lock.client == client) {
                locks.remove(queue);
            }
        }
        if locks.is_empty() {
            self.groups.remove(group);
        }
    }

    /// Whether any queue of the group is held.
    pub fn is_held(&self, now_ms: i64, group: &str) -> bool {
        self.groups.get(group).is_some_and(|locks| locks.values().any(|lock| now_ms - lock.renewed_ms < LOCK_LIFE_MS))
    }

    /// Forgets locks that anybody may take.
    pub fn drop_expired(&mut self, now_ms: i64) {
        self.groups.retain(|_, locks| {
            locks.retain(|_, lock| now_ms - lock.renewed_ms < LOCK_LIFE_MS);
            !locks.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(queue_id: i32) -> QueueName {
        QueueName { topic: "t".into(), broker: "b".into(), queue_id }
    }

    #[test]
    fn a_queue_has_one_owner_until_the_owner_is_silent_for_a_minute() {
        let mut locks = QueueLocks::default();
        assert_eq!(locks.lock(0, "g", "a", vec![queue(0), queue(1)]), [queue(0), queue(1)]);
        assert_eq!(locks.lock(10, "g", "b", vec![queue(1), queue(2)]), [queue(2)]);
        assert_eq!(locks.lock(50_000, "g", "a", vec![queue(0)]), [queue(0)]);
        assert_eq!(locks.lock(60_000, "g", "b", vec![queue(0), queue(1)]), [queue(1)]);
        assert!(locks.is_held(60_000, "g") && !locks.is_held(60_000, "h"));
    }

    #[test]
    fn only_the_owner_unlocks() {
        let mut locks = QueueLocks::default();
        locks.lock(0, "g", "a", vec![queue(0)]);
        locks.unlock("g", "b", &[queue(0)]);
        assert_eq!(locks.lock(1, "g", "b", vec![queue(0)]), []);
        locks.unlock("g", "a", &[queue(0)]);
        assert_eq!(locks.lock(2, "g", "b", vec![queue(0)]), [queue(0)]);
        locks.drop_expired(70_000);
        assert!(!locks.is_held(2, "g"));
    }
}
