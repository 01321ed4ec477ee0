//! Receive calls that are held until a message can be had: the shell around [`Waits`].

use log::QueueNumber;
use tokio::sync::Notify;

use crate::receive_waits::{WaiterId, Waits, Wanted};
use crate::sync::{Mutex, MutexGuard, PoisonError};

/// Why a call is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// There may be a message. Who was woken and takes none has to wake the next.
    Message,
    /// Its time is up.
    Deadline,
}

/// What wakes a call. Runs on the thread that has the message, so it must be short.
pub type Wake = Box<dyn FnOnce(Woken) + Send>;

/// All receive calls that are held.
#[derive(Default)]
pub struct HeldReceives {
    waits: Mutex<Waits<Wake>>,
    /// Woken when a deadline was set that is nearer than all others.
    nearer: Notify,
}

impl HeldReceives {
    /// Holds a call until a message arrives in one of `queues`, or is given up by another, or its deadline; gives `wake`
    /// back when too many are held. Whoever calls this has to look for messages once more afterwards.
    pub fn hold(
        &self,
        topic: u64,
        queues: &[QueueNumber],
        wanted: Wanted,
        deadline_ms: i64,
        wake: Wake,
    ) -> Result<WaiterId, Wake> {
        let (held, is_nearest) = {
            let mut waits = self.lock();
            let held = waits.wait(topic, queues, wanted, deadline_ms, wake);
            (held, waits.next_deadline_ms() == Some(deadline_ms))
        };
        if is_nearest {
            self.nearer.notify_one();
        }
        held
    }

    /// Messages arrived in these queues.
    pub fn arrived(&self, queues: impl Iterator<Item = QueueNumber>) {
        let mut woken = Vec::new();
        {
            let mut waits = self.lock();
            if waits.is_empty() {
                return;
            }
            let mut last = None;
            for queue in queues {
                if last != Some(queue) {
                    waits.arrived(queue, &mut woken);
                    last = Some(queue);
                }
            }
        }
        woken.into_iter().for_each(|wake| wake(Woken::Message));
    }

    /// Wakes a call, if it is still held.
    pub fn wake(&self, id: WaiterId) {
        let wake = self.lock().forget(id);
        if let Some(wake) = wake {
            wake(Woken::Message);
        }
    }

    /// There are messages for a group and topic, in one queue or in any: wakes one that waits for them.
    pub fn wake_next(&self, topic: u64, queue: Option<QueueNumber>) {
        let wake = self.lock().next(topic, queue);
        if let Some(wake) = wake {
            wake(Woken::Message);
        }
    }

    /// Lets a call go. `false` says that it was woken already.
    pub fn forget(&self, id: WaiterId) -> bool {
        let forgotten = self.lock().forget(id);
        forgotten.is_some()
    }

    /// Wakes everybody who waits for a group and topic that is gone.
    pub fn forget_topic(&self, topic: u64) {
        let woken = self.lock().forget_topic(topic);
        woken.into_iter().for_each(|wake| wake(Woken::Deadline));
    }

    /// Wakes those whose time is up; returns when the next one's is.
    pub fn expire(&self, now_ms: i64) -> Option<i64> {
        let mut woken = Vec::new();
        let next_ms = {
            let mut waits = self.lock();
            waits.expired(now_ms, &mut woken);
            waits.next_deadline_ms()
        };
        woken.into_iter().for_each(|wake| wake(Woken::Deadline));
        next_ms
    }

    /// How many are held for a group and topic.
    pub fn count(&self, topic: u64, wanted: Wanted) -> usize {
        self.lock().count(topic, wanted)
    }

    /// Ends when a deadline was set that is nearer than all others.
    pub async fn nearer(&self) {
        self.nearer.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Waits<Wake>> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
