//! What the core wants done: a line for the log, a word to a broker, the end of a connection.

use std::fmt;
use std::sync::Arc;

use net::ConnectionId;

/// Something for the shell to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Tell the operator what changed.
    Log(Change),
    /// Send NOTIFY_MIN_BROKER_ID_CHANGE (905), to which no answer comes.
    NotifyMinId {
        /// Connection of the broker to be told.
        connection: ConnectionId,
        /// What it is told.
        notice: MinIdNotice,
    },
    /// End a connection whose broker has fallen silent.
    Close(ConnectionId),
}

/// What brokers of a group learn when the smallest id among them changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MinIdNotice {
    /// Broker name.
    pub broker: Arc<str>,
    /// Smallest id now.
    pub min_id: i64,
    /// Address of the broker with that id.
    pub min_address: Arc<str>,
    /// Address of the broker that has gone, if that was the cause.
    pub gone_address: Option<Arc<str>>,
    /// Replication address of the broker with the smallest id.
    pub ha_address: Option<Arc<str>>,
}

/// Why a broker is no longer in the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoneReason {
    /// It said so.
    Unregistered,
    /// Its connection closed.
    ConnectionClosed,
    /// Nothing was heard of it for this long.
    Silent {
        /// Longest silence allowed.
        limit_ms: u64,
    },
    /// Another broker of its name and id has a newer state.
    Stale,
    /// Another broker took its name and id.
    Replaced,
    /// Its address registered again under another name or id.
    Renamed,
}

/// A change of state, as a line for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A broker is known that was not, or was known by another address.
    Registered {
        /// Broker name.
        broker: Arc<str>,
        /// Its id.
        id: i64,
        /// Its address.
        address: Arc<str>,
        /// Its cluster.
        cluster: Arc<str>,
    },
    /// A broker is no longer known.
    Gone {
        /// Broker name.
        broker: Arc<str>,
        /// Its id.
        id: i64,
        /// Its address.
        address: Arc<str>,
        /// Why.
        reason: GoneReason,
        /// Topics that no broker has any more.
        topics_lost: usize,
    },
    /// A registration changed topics.
    Topics {
        /// Broker name.
        broker: Arc<str>,
        /// Topics that the broker did not have before.
        added: usize,
        /// Topics whose queues or permissions changed.
        changed: usize,
        /// Topics that the broker has no longer.
        removed: usize,
    },
    /// A registration has topics that nobody could use.
    TopicsRefused {
        /// Broker name.
        broker: Arc<str>,
        /// How many.
        count: usize,
        /// What is wrong with the first.
        first: String,
    },
    /// A registration was refused.
    RegistrationRefused {
        /// Broker name.
        broker: String,
        /// Its address.
        address: String,
        /// Why.
        reason: String,
    },
    /// The write permission of all topics of a broker was taken or given.
    WritePermission {
        /// Broker name.
        broker: Arc<str>,
        /// Whether its topics can be written now.
        granted: bool,
        /// Topics that the broker has.
        topics: usize,
    },
    /// A topic was deleted, or put in by hand.
    Topic {
        /// The topic.
        topic: String,
        /// Brokers that have it, or had it.
        brokers: usize,
        /// Whether it was deleted.
        deleted: bool,
    },
    /// A setting was changed while running.
    Setting {
        /// Its key.
        key: String,
        /// Its value now.
        value: String,
    },
}

/// Longest piece of foreign text in a line for the operator, in characters.
const QUOTED_MAX: usize = 200;

/// Text that came from outside, fit to stand in a line for the operator.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().take(QUOTED_MAX).map(|character| if character.is_control() { ' ' } else { character }).collect()
}

impl Change {
    /// Whether an operator may have to do something about it.
    pub fn is_warning(&self) -> bool {
        match self {
            Change::Gone { reason, .. } => *reason != GoneReason::Unregistered,
            Change::TopicsRefused { .. } | Change::RegistrationRefused { .. } => true,
            _ => false,
        }
    }
}

impl fmt::Display for GoneReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GoneReason::Unregistered => f.write_str("it unregistered"),
            GoneReason::ConnectionClosed => f.write_str("its connection closed"),
            GoneReason::Silent { limit_ms } => write!(f, "nothing was heard of it for {} s", limit_ms / 1000),
            GoneReason::Stale => f.write_str("a broker of the same name and id has a newer state"),
            GoneReason::Replaced => f.write_str("another address took its name and id"),
            GoneReason::Renamed => f.write_str("its address registered under another name or id"),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Registered { broker, id, address, cluster } => {
                write!(f, "broker `{broker}` id {id} registered: {address} in cluster `{cluster}`")
            }
            Change::Gone { broker, id, address, reason, topics_lost } => {
                write!(f, "broker `{broker}` id {id} is gone, {reason}: {address}")?;
                if *topics_lost > 0 { write!(f, "; {topics_lost} topics have no broker now") } else { Ok(()) }
            }
            Change::Topics { broker, added, changed, removed } => {
                write!(f, "topics of broker `{broker}`: {added} added, {changed} changed, {removed} removed")
            }
            Change::TopicsRefused { broker, count, first } => {
                write!(f, "{count} topics of broker `{broker}` are left out; the first: {first}")
            }
            Change::RegistrationRefused { broker, address, reason } => {
                write!(f, "registration of broker `{broker}` at `{address}` refused: {reason}")
            }
            Change::WritePermission { broker, granted, topics } => {
                let verb = if *granted { "given to" } else { "taken from" };
                write!(f, "write permission {verb} {topics} topics of broker `{broker}`")
            }
            Change::Topic { topic, brokers, deleted } => {
                let verb = if *deleted { "deleted from" } else { "put in for" };
                write!(f, "topic `{topic}` {verb} {brokers} brokers")
            }
            Change::Setting { key, value } => write!(f, "setting `{key}` is now `{value}`"),
        }
    }
}
