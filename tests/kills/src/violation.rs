//! What a broker must never do.

use std::fmt;

use crate::message::{Id, Kind};

/// A place in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Whose topic it is.
    pub kind: Kind,
    /// Queue.
    pub queue: i32,
    /// Offset in the queue.
    pub offset: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "queue {} of `{}`, offset {}", self.queue, self.kind.topic(), self.offset)
    }
}

/// A promise that was broken, with the evidence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A message that was acknowledged or seen is not there.
    #[error("{place} held {id:?}, and holds nothing")]
    Gone {
        /// Where it was.
        place: Place,
        /// The message.
        id: Id,
    },
    /// Another message lies where one was acknowledged or seen.
    #[error("{place} held {known:?}, and holds {found:?}")]
    Changed {
        /// The place.
        place: Place,
        /// What was acknowledged or seen.
        known: Id,
        /// What is there.
        found: Id,
    },
    /// A body that no sender made.
    #[error("{place} holds a body that nobody sent: {start:?}")]
    Foreign {
        /// Where it lies.
        place: Place,
        /// How the body begins.
        start: String,
    },
    /// A message that was never sent, or not there.
    #[error("{place} holds {id:?}, which was never sent there")]
    NeverSent {
        /// Where it lies.
        place: Place,
        /// The message.
        id: Id,
    },
    /// One message lies at two offsets.
    #[error("{id:?} lies at offset {first} and at {place}")]
    Twice {
        /// The message.
        id: Id,
        /// Where it lies first.
        first: u64,
        /// Where it lies too.
        place: Place,
    },
    /// A message came up that was not there after the kill that ended its sender.
    #[error("{place} holds {id:?} of an earlier life, after which the queue ended at {end}")]
    CameBack {
        /// Where it lies.
        place: Place,
        /// The message.
        id: Id,
        /// Where the queue ended after that life.
        end: u64,
    },
    /// Offsets of a queue are not dense.
    #[error("{place} was asked for, and offset {found} came")]
    Gap {
        /// The place that should come.
        place: Place,
        /// The offset that came.
        found: u64,
    },
    /// A queue does not begin at 0, or ends before something that was seen of it.
    #[error("queue {queue} of `{}` has offsets {min} to {max}", kind.topic())]
    Ends {
        /// Whose topic it is.
        kind: Kind,
        /// Queue.
        queue: i32,
        /// First offset.
        min: i64,
        /// Offset after the last.
        max: i64,
    },
    /// A delayed message was delivered before it was due.
    #[error("{id:?} was delivered {early_ms} ms early, at {place}")]
    Early {
        /// The message.
        id: Id,
        /// Where it lies.
        place: Place,
        /// By how much.
        early_ms: i64,
    },
    /// A delayed message that was acknowledged was not delivered.
    #[error("{id:?} was acknowledged and is not delivered {late_ms} ms after it was due")]
    Undelivered {
        /// The message.
        id: Id,
        /// How long ago it was due.
        late_ms: i64,
    },
    /// A transaction was delivered that nobody committed.
    #[error("{place} holds {id:?}, whose transaction was {state}")]
    NotCommitted {
        /// Where it lies.
        place: Place,
        /// The message.
        id: Id,
        /// What became of the transaction.
        state: &'static str,
    },
    /// A commit was acknowledged, and the message is not there.
    #[error("the commit of {id:?} was acknowledged, and it is not delivered")]
    CommitLost {
        /// The message.
        id: Id,
    },
    /// A group's offset is not what was committed.
    #[error("offset of group `{group}` in queue {queue} of `{}` is {found}; {least} to {most} were committed", kind.topic())]
    GroupOffset {
        /// The group.
        group: &'static str,
        /// Whose topic it is.
        kind: Kind,
        /// Queue.
        queue: i32,
        /// What the broker says; -1 when it knows none.
        found: i64,
        /// The newest that had time to reach the disk.
        least: i64,
        /// The newest that was sent.
        most: i64,
    },
    /// The broker refused what it had no reason to refuse.
    #[error("{what} was refused with code {code}: {remark}")]
    Refused {
        /// The request.
        what: &'static str,
        /// The code.
        code: i32,
        /// What the broker said.
        remark: String,
    },
    /// The broker does not answer, or hung up although nobody killed it.
    #[error("{what}: {reason}")]
    Silent {
        /// Who waited.
        what: &'static str,
        /// What was found.
        reason: String,
    },
    /// The broker does not start, or ended by itself.
    #[error("the broker {what}; it said:\n{said}")]
    Down {
        /// What it did.
        what: &'static str,
        /// The end of its log.
        said: String,
    },
}
