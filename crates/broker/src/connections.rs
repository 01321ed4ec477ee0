//! Connections by their number, for whoever pushes requests to clients.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use net::{Connection, ConnectionId};

/// Every open connection.
#[derive(Debug, Default)]
pub struct Connections(Mutex<HashMap<ConnectionId, Arc<Connection>>>);

impl Connections {
    /// A connection was opened.
    pub fn add(&self, connection: &Arc<Connection>) {
        self.lock().insert(connection.id(), connection.clone());
    }

    /// A connection ended.
    pub fn remove(&self, connection: &Connection) {
        self.lock().remove(&connection.id());
    }

    /// The connection of that number, if it is open.
    pub fn get(&self, id: ConnectionId) -> Option<Arc<Connection>> {
        self.lock().get(&id).cloned()
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ConnectionId, Arc<Connection>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
