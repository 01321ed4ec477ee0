//! How far groups are with what is handed out to them, for those who only look.

use std::collections::BTreeMap;

use super::Deliveries;

/// What a group has of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The first message that was never handed out.
    pub next: u64,
    /// Messages that are out: handed out, and not settled.
    pub out: usize,
}

impl Deliveries {
    /// What a group has of a topic, by queue. Empty if nothing was handed out to it.
    pub fn progress(&self, group: &str, topic: &str) -> BTreeMap<i32, Progress> {
        let Some(consumption) = self.find(group, topic) else { return BTreeMap::new() };
        let state = consumption.lock();
        let of_queue = |delivery: &super::queue::QueueDelivery| Progress {
            next: delivery.next(),
            out: delivery.in_flight().count(),
        };
        state.queues.iter().map(|(queue_id, queue)| (*queue_id, of_queue(&queue.delivery))).collect()
    }
}
