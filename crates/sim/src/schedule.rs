//! What happens when: the clock of a simulation, and everything that is still to come.

use std::collections::BTreeMap;

use crate::faults::Fault;
use crate::network::{LinkId, Side};

/// Number of a client.
pub type ClientId = usize;
/// Number of a server.
pub type NodeId = usize;

/// Something that happens at a time.
#[derive(Clone, Debug)]
pub enum Event {
    /// Bytes, or an end, reach a side of a connection.
    Arrive(LinkId, Side),
    /// A client wanted to be called.
    Timer(ClientId),
    /// A server does some of its background work, unless it was killed since.
    Work {
        /// The server.
        node: NodeId,
        /// Which of its lives the work belongs to.
        life: u64,
        /// The work.
        work: Work,
    },
    /// Something breaks.
    Fault(Fault),
    /// A server that is down starts.
    Start(NodeId),
}

/// Background work of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Sync of the log.
    Sync,
    /// Checkpoints, retention, the log's own chores.
    Upkeep,
    /// Chores of a moment.
    Tick,
    /// Delivery of delayed messages.
    Due,
    /// Questions about half messages.
    Ask,
    /// Held pulls.
    Pulls,
    /// Saving of metadata.
    Saving,
    /// A nameserver's look for silent brokers.
    Scan,
}

/// The clock and what is to come. Events of the same time happen in the order in which they were entered.
#[derive(Default)]
pub struct Schedule {
    now_us: u64,
    entered: u64,
    events: BTreeMap<(u64, u64), Event>,
}

impl Schedule {
    /// Microseconds since the simulation began.
    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    /// Lets something happen at a time; one that has passed means now.
    pub fn at(&mut self, at_us: u64, event: Event) {
        self.entered += 1;
        self.events.insert((at_us.max(self.now_us), self.entered), event);
    }

    /// Lets something happen after a time.
    pub fn after(&mut self, wait_us: u64, event: Event) {
        self.at(self.now_us.saturating_add(wait_us), event);
    }

    /// Moves the clock to the next event and takes it, unless that comes after `until_us`.
    pub fn next(&mut self, until_us: u64) -> Option<Event> {
        let (at, _) = *self.events.first_key_value()?.0;
        if until_us < at {
            self.now_us = until_us;
            return None;
        }
        self.now_us = at;
        self.events.pop_first().map(|(_, event)| event)
    }
}
