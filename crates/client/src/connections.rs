//! One connection per address, made when first needed and again when it is over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use net::{Channel, ConnectError};

/// Time that connecting gets, host name look-up included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Channels by address. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Connections {
    slots: Arc<Mutex<HashMap<String, Slot>>>,
}

/// Locked while somebody connects, so that others wait for the same connection instead of making more.
type Slot = Arc<tokio::sync::Mutex<Option<Channel>>>;

impl Connections {
    /// The channel to `host:port`.
    pub async fn get(&self, address: &str) -> Result<Channel, ConnectError> {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.entry(address.to_owned()).or_default().clone()
        };
        let mut slot = slot.lock().await;
        if let Some(channel) = slot.as_ref().filter(|channel| !channel.is_closed()) {
            return Ok(channel.clone());
        }
        let channel = Channel::connect(address, CONNECT_TIMEOUT).await?;
        *slot = Some(channel.clone());
        Ok(channel)
    }

    /// Forgets the connection to `address`: the next request makes a new one. For connections that no longer answer.
    pub fn forget(&self, address: &str) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).remove(address);
    }
}
