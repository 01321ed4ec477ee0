//! What happened, as clients know it, and what they may conclude from it at once.

use std::collections::{BTreeMap, BTreeSet};

use crate::handed_out::{At, HandedOut};
use crate::network::LinkId;
use crate::rot::Hit;
use crate::schedule::{ClientId, NodeId};

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// To be delivered at once.
    Plain,
    /// To be delivered at a time.
    Delayed,
    /// To be delivered when its producer says so.
    Half,
}

/// What a producer does about its half message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is to be delivered.
    Commit,
    /// It is not to be delivered.
    Rollback,
    /// It never says.
    Never,
}

/// What a producer was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing that one can rely on.
    Unknown,
    /// Where the message is.
    Stored(Place),
    /// That it is not stored.
    Refused,
}

/// Where a message was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Queue of its topic; of a delayed or half message, of the topic where it waits.
    pub queue: i32,
    /// Offset in that queue.
    pub offset: u64,
    /// Position in the log.
    pub position: u64,
}

/// A message that was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The broker.
    pub node: NodeId,
    /// Its topic.
    pub topic: String,
    /// What it is.
    pub kind: Kind,
    /// The connection, and its number among the messages of that.
    pub order: (LinkId, u64),
    /// When it is due by the broker's clock, in milliseconds, if that is known.
    pub due_ms: Option<i64>,
    /// What the producer was told.
    pub outcome: Outcome,
    /// What it decided.
    pub decision: Decision,
    /// Whether a power cut may have taken it: it was acknowledged without a sync.
    pub excused: bool,
    /// Whether a record of it was damaged on the disk. Whatever became of it, nobody may get other bytes.
    pub damaged: bool,
}

/// A message that a consumer saw.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// The message.
    pub id: u64,
    /// Position in the log.
    pub position: u64,
    /// Groups that saw it there.
    pub groups: BTreeSet<String>,
    /// Whether a power cut may have taken it since.
    pub excused: bool,
}

/// Where a message was seen.
pub type SeenAt = (NodeId, String, i32, u64);
/// A queue of a broker.
pub type QueueAt = (NodeId, String, i32);
/// A group's offset in a queue.
pub type OffsetOf = (NodeId, String, String, i32);

/// A message as a consumer got it.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// The broker.
    pub node: NodeId,
    /// The group.
    pub group: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// The queue.
    pub queue: i32,
    /// Offset in the queue.
    pub offset: u64,
    /// Position in the log.
    pub position: u64,
    /// Store time of the delivered record, in milliseconds.
    pub stored_ms: i64,
    /// The message; `None` when its body is none that was sent.
    pub id: Option<u64>,
}

/// Everything that clients did and saw.
#[derive(Default)]
pub struct History {
    /// Messages by number.
    pub sent: BTreeMap<u64, Sent>,
    /// What consumers saw, by place.
    pub seen: BTreeMap<SeenAt, Sighting>,
    /// Messages handed back and acknowledged so: group, message, when.
    pub sent_back: Vec<(NodeId, String, u64, u64)>,
    /// Confirmed commits of a group in a queue: offset and when.
    commits: BTreeMap<OffsetOf, Vec<(u64, i64)>>,
    /// When each broker was killed last.
    killed_us: BTreeMap<NodeId, u64>,
    /// Who consumes a queue in order, and until when it may.
    owners: BTreeMap<QueueAt, (ClientId, u64)>,
    /// Up to which offset a queue was consumed in order.
    consumed: BTreeMap<QueueAt, i64>,
    /// Places of records that were damaged on the disk.
    pub damaged: BTreeSet<SeenAt>,
    /// Brokers whose log may have ended where it was damaged, so that offsets from there on are given again.
    pub cut_short: BTreeSet<NodeId>,
    /// Brokers that may have skipped offsets because of damage.
    pub skipped: BTreeSet<NodeId>,
    /// Brokers whose checkpoint was damaged. After a power cut what was torn looks like damage in the middle, behind
    /// which records are kept: that is a gap, and moving ahead because of it another one.
    pub checkpoint_lost: BTreeSet<NodeId>,
    /// What consumers were handed one by one.
    pub handed_out: HandedOut,
    /// Promises that were broken.
    pub violations: Vec<String>,
    /// Whether clocks only go forward, at their pace.
    pub clocks_are_steady: bool,
}

impl History {
    /// A promise was broken.
    pub fn broken(&mut self, what: String) {
        const KEPT_MAX: usize = 20;
        if self.violations.len() < KEPT_MAX {
            self.violations.push(what);
        }
    }

    /// A producer was told something about a message.
    pub fn told(&mut self, id: u64, outcome: Outcome) {
        if let Some(sent) = self.sent.get_mut(&id) {
            sent.outcome = outcome;
        }
    }

    /// A consumer got a message.
    pub fn delivered(&mut self, delivery: Delivery<'_>) {
        let Delivery { node, group, topic, queue, offset, .. } = delivery;
        let Some(id) = delivery.id else {
            return self.broken(format!("{group} got at {topic}/{queue}/{offset} of {node} what nobody sent"));
        };
        if let Some(what) = self.wrong_to_deliver(id, &delivery) {
            self.broken(format!("{group} got {id:x} at {topic}/{queue}/{offset} of {node}: {what}"));
        }
        let fresh = Sighting { id, position: delivery.position, groups: BTreeSet::new(), excused: false };
        let seen = self.seen.entry((node, topic.to_owned(), queue, offset)).or_insert(fresh);
        if seen.id != id && seen.excused && self.cut_short.contains(&node) {
            *seen = Sighting { id, position: delivery.position, groups: BTreeSet::new(), excused: false };
        }
        seen.groups.insert(group.to_owned());
        if seen.id != id {
            let before = seen.id;
            self.broken(format!("{topic}/{queue}/{offset} of {node} was {before:x} and is {id:x}"));
        }
    }

    fn wrong_to_deliver(&self, id: u64, delivery: &Delivery<'_>) -> Option<String> {
        let Some(sent) = self.sent.get(&id) else { return Some("it was never sent".into()) };
        if sent.node != delivery.node {
            return Some(format!("it was sent to {}", sent.node));
        }
        if sent.damaged {
            return None;
        }
        let is_retry = delivery.topic.starts_with('%');
        if !is_retry && sent.topic != delivery.topic {
            return Some(format!("it was sent to {}", sent.topic));
        }
        if sent.outcome == Outcome::Refused {
            return Some("its producer was told that it is not stored".into());
        }
        if sent.kind == Kind::Half && sent.decision != Decision::Commit {
            return Some(format!("its producer decided {:?}", sent.decision));
        }
        match sent.due_ms {
            Some(due_ms) if !is_retry && delivery.stored_ms < due_ms => {
                Some(format!("{} ms before its time", due_ms - delivery.stored_ms))
            }
            _ => None,
        }
    }

    /// A broker answered what it was asked about messages at `asked_us`. If it was killed since then, it may have forgotten
    /// that it handed them out, or what became of them.
    pub fn may_be_forgotten<'a>(&mut self, messages: impl IntoIterator<Item = &'a At>, asked_us: u64) {
        for at in messages {
            if self.killed_us.get(&at.node).is_some_and(|killed_us| asked_us <= *killed_us) {
                self.handed_out.may_be_forgotten(at);
            }
        }
    }

    /// A broker confirmed a group's offset that it was told at `asked_us`. The answer of one that was killed since then
    /// may still have been on its way.
    pub fn committed(&mut self, of: OffsetOf, offset: i64, asked_us: u64) {
        if self.killed_us.get(&of.0).is_none_or(|killed_us| *killed_us < asked_us) {
            self.commits.entry(of).or_default().push((asked_us, offset));
        }
    }

    /// A broker said how far a group is.
    pub fn offset_found(&mut self, of: &OffsetOf, found: Option<i64>) {
        let Some((_, floor)) = self.commits.get(of).and_then(|commits| commits.last()) else { return };
        if self.cut_short.contains(&of.0) {
            return;
        }
        if found.is_none_or(|found| found < *floor) {
            let (node, group, topic, queue) = of;
            let what = format!("{group} was at {floor} of {topic}/{queue} of {node} and is at {found:?}");
            self.broken(what);
        }
    }

    /// A consumer got the lock of a queue.
    pub fn got_lock(&mut self, queue: &QueueAt, client: ClientId, until_us: u64) {
        self.owners.insert(queue.clone(), (client, until_us));
    }

    /// A consumer consumes a queue no more.
    pub fn gave_up(&mut self, queue: &QueueAt, client: ClientId) {
        if self.owners.get(queue).is_some_and(|(owner, _)| *owner == client) {
            self.owners.remove(queue);
        }
    }

    /// A consumer that holds the lock consumed what lies from `from` to before `next`.
    pub fn consumed_in_order(&mut self, queue: &QueueAt, client: ClientId, from: i64, next: i64) {
        let (node, topic, number) = queue;
        if let Some((owner, _)) = self.owners.get(queue)
            && *owner != client
            && self.clocks_are_steady
        {
            self.broken(format!("{client} and {owner} consume {topic}/{number} of {node} in order at once"));
        }
        let reached = self.consumed.get(queue).copied();
        if reached.is_some_and(|reached| reached < from) && !self.cut_short.contains(node) {
            self.broken(format!(
                "{client} consumes {topic}/{number} of {node} from {from}, and {reached:?} was reached"
            ));
        }
        let reached = reached.unwrap_or(next).max(next);
        self.consumed.insert(queue.clone(), reached);
    }

    /// A record was damaged on the disk.
    pub fn record_damaged(&mut self, node: NodeId, hit: Hit) {
        self.handed_out.damaged(node, hit.place.clone());
        let (topic, queue, offset) = hit.place;
        self.damaged.insert((node, topic, queue, offset));
        let Some(id) = hit.id else { return };
        if let Some(sent) = self.sent.get_mut(&id) {
            sent.damaged = true;
        }
    }

    /// A broker's log may have ended at `from`, where it is damaged.
    pub fn cut_short(&mut self, node: NodeId, from: u64, now_us: u64) {
        self.power_lost(node, from, now_us);
        self.sent_back.retain(|(of, ..)| *of != node);
        self.cut_short.insert(node);
        self.handed_out.cut_short(node);
    }

    /// A broker was killed: what was confirmed lately may not have been saved.
    pub fn killed(&mut self, node: NodeId, now_us: u64) {
        /// Offsets are saved twice a second.
        const UNSAVED_US: u64 = 1_500_000;
        self.killed_us.insert(node, now_us);
        self.owners.retain(|queue, _| queue.0 != node);
        self.handed_out.killed(node, UNSAVED_US, now_us);
        for (of, commits) in &mut self.commits {
            if of.0 == node {
                commits.retain(|(at_us, _)| at_us + UNSAVED_US < now_us);
            }
        }
    }

    /// The power of a broker was cut, which loses what was not synced: what lies at `durable` or behind it in the log,
    /// or was done without a known position in the last moments.
    pub fn power_lost(&mut self, node: NodeId, durable: u64, now_us: u64) {
        const UNSYNCED_US: u64 = 1_500_000;
        self.handed_out.power_lost(node, durable);
        for sent in self.sent.values_mut().filter(|sent| sent.node == node) {
            if matches!(sent.outcome, Outcome::Stored(place) if durable <= place.position) {
                sent.excused = true;
            }
        }
        for seen in self.seen.iter_mut().filter(|(at, _)| at.0 == node).map(|(_, seen)| seen) {
            seen.excused |= durable <= seen.position;
        }
        self.sent_back.retain(|(of, _, _, at_us)| *of != node || at_us + UNSYNCED_US < now_us);
    }
}
