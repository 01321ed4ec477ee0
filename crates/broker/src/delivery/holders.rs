//! Consumers that hold what they got for as long as they live (`auto_renew`): who is alive. A pure core.

use std::collections::HashMap;

/// A consumer that was not heard of for so long is gone, in milliseconds. The slowest of the official clients sends a
/// heartbeat every 30 s.
const SILENCE_MAX_MS: i64 = 75_000;

/// Consumers by group and client id.
#[derive(Debug, Default)]
pub struct Holders {
    ids: HashMap<String, HashMap<String, u32>>,
    heard: HashMap<u32, i64>,
    last: u32,
}

impl Holders {
    /// A consumer was heard of: its number, never 0.
    pub fn heard(&mut self, group: &str, client_id: &str, now_ms: i64) -> u32 {
        let known = self.ids.get(group).and_then(|clients| clients.get(client_id)).copied();
        let id = known.unwrap_or_else(|| {
            self.last = self.last.checked_add(1).unwrap_or(1);
            self.ids.entry(group.to_owned()).or_default().insert(client_id.to_owned(), self.last);
            self.last
        });
        self.heard.insert(id, now_ms);
        id
    }

    /// A consumer said goodbye, or its connection ended. Its number, if it had one.
    pub fn gone(&mut self, group: &str, client_id: &str) -> Option<u32> {
        let clients = self.ids.get_mut(group)?;
        let id = clients.remove(client_id)?;
        if clients.is_empty() {
            self.ids.remove(group);
        }
        self.heard.remove(&id);
        Some(id)
    }

    /// Whether a consumer still holds what it got.
    pub fn is_alive(&self, id: u32, now_ms: i64) -> bool {
        self.heard.get(&id).is_some_and(|heard_ms| now_ms - heard_ms <= SILENCE_MAX_MS)
    }

    /// Forgets those that were silent for too long.
    pub fn forget_silent(&mut self, now_ms: i64) {
        let heard = &mut self.heard;
        heard.retain(|_, heard_ms| now_ms - *heard_ms <= SILENCE_MAX_MS);
        for clients in self.ids.values_mut() {
            clients.retain(|_, id| heard.contains_key(id));
        }
        self.ids.retain(|_, clients| !clients.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_lives_from_one_sign_of_life_to_the_next() {
        let mut holders = Holders::default();
        let one = holders.heard("g", "a", 0);
        assert_eq!((holders.heard("g", "a", 50_000), one != 0), (one, true));
        assert!(holders.heard("g", "b", 0) != one && holders.heard("other", "a", 0) != one);
        assert!(holders.is_alive(one, 125_000) && !holders.is_alive(one, 125_001) && !holders.is_alive(0, 0));
        assert_eq!((holders.gone("g", "a"), holders.gone("g", "a")), (Some(one), None));
        assert!(!holders.is_alive(one, 50_001));
        // Who comes back is somebody else: what it held was given back.
        assert_ne!(holders.heard("g", "a", 50_002), one);
        holders.forget_silent(200_000);
        assert!(holders.ids.is_empty() && holders.heard.is_empty());
    }
}
