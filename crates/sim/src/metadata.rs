//! Where a simulated broker keeps its metadata: what was saved survives everything.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use broker::meta::{Changes, MetaError, Pair, Store, Stored, Tree};

type Values = BTreeMap<(Tree, Vec<u8>), Vec<u8>>;

/// Saved values; clones share them.
#[derive(Clone, Default)]
pub struct Metadata(Arc<Mutex<Values>>);

impl Metadata {
    /// What a broker finds when it starts.
    pub fn stored(&self) -> Stored {
        let saved = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut values: BTreeMap<Tree, Vec<Pair>> = BTreeMap::new();
        for ((tree, key), value) in saved.iter() {
            values.entry(*tree).or_default().push((key.clone(), value.clone()));
        }
        Stored::new(values)
    }
}

impl Store for Metadata {
    fn write(&self, changes: &Changes) -> Result<(), MetaError> {
        let mut saved = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in changes {
            match value {
                Some(value) => saved.insert(key.clone(), value.clone()),
                None => saved.remove(key),
            };
        }
        Ok(())
    }

    fn export(&self, _: Tree) -> Result<(), MetaError> {
        Ok(())
    }

    fn close(self) {}
}
