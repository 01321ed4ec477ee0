//! Whether push consumers of a group pull a topic or pop it, as an operator wants it.
//!
//! Source: `broker/.../loadbalance/MessageRequestModeManager.java`.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::bodies::assignment::RequestMode;

use crate::meta::{Meta, Stored, Tree};

/// Modes by topic and group.
pub struct RequestModes {
    table: Mutex<BTreeMap<(String, String), RequestMode>>,
    meta: Meta,
}

impl RequestModes {
    /// Loads what is stored.
    pub fn load(stored: &mut Stored, meta: Meta) -> RequestModes {
        let mut table = BTreeMap::new();
        for (key, value) in stored.take(Tree::RequestModes) {
            match serde_json::from_slice::<RequestMode>(&value) {
                Ok(mode) => {
                    table.insert((mode.topic.clone(), mode.consumer_group.clone()), mode);
                }
                Err(error) => tracing::error!(key = %key.escape_ascii(), %error, "stored request mode cannot be read"),
            }
        }
        RequestModes { table: Mutex::new(table), meta }
    }

    /// The mode of a topic and group, if anybody set one.
    pub fn get(&self, topic: &str, group: &str) -> Option<RequestMode> {
        self.lock().get(&(topic.to_owned(), group.to_owned())).cloned()
    }

    /// Sets a mode.
    pub fn put(&self, mode: RequestMode) {
        let mut table = self.lock();
        let key = [mode.topic.as_str(), mode.consumer_group.as_str()].join("\0");
        self.meta.put(Tree::RequestModes, key, serde_json::to_vec(&mode).unwrap_or_default());
        table.insert((mode.topic.clone(), mode.consumer_group.clone()), mode);
    }

    /// Every mode.
    pub fn all(&self) -> Vec<RequestMode> {
        self.lock().values().cloned().collect()
    }

    /// Forgets the modes of a topic, or of a group.
    pub fn forget(&self, which: impl Fn(&RequestMode) -> bool) {
        self.lock().retain(|(topic, group), mode| {
            let goes = which(mode);
            if goes {
                self.meta.remove(Tree::RequestModes, [topic.as_str(), group.as_str()].join("\0"));
            }
            !goes
        });
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, String), RequestMode>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
