//! What is known of a broker's content: what it acknowledged, what was seen, and what was sent without an answer.
//!
//! Nothing here talks to a broker. Whoever does reports what was told and what was found; each report is held against
//! everything that was known before.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::message::{Id, Kind};
use crate::violation::{Place, Violation};

/// Age at which a committed group offset has reached the disk: the broker saves them twice a second.
const OFFSET_SAVED_MS: i64 = 2_000;

/// What a producer decides about a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Deliver.
    Commit,
    /// Drop.
    Rollback,
}

/// Where a half message lies, as a decision has to name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HalfPlace {
    /// Offset in the half topic.
    pub offset: i64,
    /// Position in the commit log.
    pub position: i64,
}

/// Something that a connection learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A plain message was acknowledged.
    Stored {
        /// The message.
        id: Id,
        /// Its offset.
        offset: u64,
    },
    /// A delayed message was acknowledged.
    Waiting {
        /// The message.
        id: Id,
    },
    /// A half message was acknowledged.
    Half {
        /// The message.
        id: Id,
        /// Where it lies.
        half: HalfPlace,
    },
    /// A decision was sent.
    Asked {
        /// The message.
        id: Id,
        /// The decision.
        decision: Decision,
    },
    /// A decision was acknowledged.
    Decided {
        /// The message.
        id: Id,
    },
    /// A message was pulled.
    Saw(Found),
    /// A group's offset was sent.
    Committing {
        /// Whose.
        group: GroupQueue,
        /// The offset.
        offset: i64,
    },
    /// A group's offset was acknowledged.
    Committed {
        /// Whose.
        group: GroupQueue,
        /// The offset.
        offset: i64,
        /// When, in milliseconds since 1970.
        at_ms: i64,
    },
}

/// A message as it was pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it lies.
    pub place: Place,
    /// What it is, or how its body begins.
    pub id: Result<Id, String>,
    /// When the broker stored it, in milliseconds since 1970.
    pub store_ms: i64,
}

/// A consumer group's place in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupQueue {
    /// The group.
    pub group: &'static str,
    /// Whose topic it is.
    pub kind: Kind,
    /// Queue.
    pub queue: i32,
}

/// What one connection did in one life of the broker.
#[derive(Debug, Default)]
pub struct LaneReport {
    /// Number of the connection.
    pub lane: u32,
    /// Messages that it sent, acknowledged or not.
    pub sent: u32,
    /// What it learned, in order.
    pub events: Vec<Event>,
    /// What it found wrong by itself.
    pub violation: Option<Violation>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Half {
    place: HalfPlace,
    asked: Option<Decision>,
    decided: bool,
}

#[derive(Clone, Debug, Default)]
struct GroupOffset {
    /// Offsets that were acknowledged, and when, newest last.
    acknowledged: Vec<(i64, i64)>,
    /// The newest that surely is on disk; -1: none.
    least: i64,
    /// The newest that was sent.
    most: i64,
}

/// Sums for the report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Acknowledged messages of all kinds.
    pub acknowledged: u64,
    /// Delayed ones among them.
    pub delayed: u64,
    /// Transactions whose decision was acknowledged.
    pub decided: u64,
    /// Group offsets that were acknowledged.
    pub offsets: u64,
    /// Messages found in surveys, each time counted.
    pub surveyed: u64,
}

/// What is known of one data folder.
#[derive(Debug, Default)]
pub struct History {
    /// Messages sent, by life and lane.
    sent: HashMap<(u32, u32), u32>,
    /// What lies at each offset.
    queues: BTreeMap<(Kind, i32), Vec<Option<Id>>>,
    offset_of: HashMap<Id, u64>,
    /// Where each queue ended in the survey after a life, by life.
    ends: Vec<BTreeMap<(Kind, i32), u64>>,
    waiting: HashSet<Id>,
    halves: BTreeMap<Id, Half>,
    groups: BTreeMap<GroupQueue, GroupOffset>,
    /// Sums so far.
    pub sums: Sums,
}

impl History {
    /// Takes in what the connections of one life report.
    pub fn learn(&mut self, life: u32, reports: Vec<LaneReport>) -> Result<(), Violation> {
        for report in &reports {
            self.sent.insert((life, report.lane), report.sent);
        }
        let (mut events, mut violations) = (Vec::new(), Vec::new());
        for report in reports {
            events.extend(report.events);
            violations.extend(report.violation);
        }
        // What one connection saw may be what another had sent: what was sent comes first.
        let (seen, told): (Vec<Event>, Vec<Event>) =
            events.into_iter().partition(|event| matches!(event, Event::Saw(_)));
        for event in told.into_iter().chain(seen) {
            self.take(event)?;
        }
        violations.into_iter().next().map_or(Ok(()), Err)
    }

    fn take(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Stored { id, offset } => {
                self.sums.acknowledged += 1;
                self.enter(id, Place { kind: id.kind, queue: id.queue, offset })?;
            }
            Event::Waiting { id } => {
                self.sums.acknowledged += 1;
                self.sums.delayed += 1;
                self.waiting.insert(id);
            }
            Event::Half { id, half } => {
                self.sums.acknowledged += 1;
                self.halves.insert(id, Half { place: half, asked: None, decided: false });
            }
            Event::Asked { id, decision } => {
                if let Some(half) = self.halves.get_mut(&id) {
                    half.asked = Some(decision);
                }
            }
            Event::Decided { id } => {
                if let Some(half) = self.halves.get_mut(&id) {
                    self.sums.decided += u64::from(!half.decided);
                    half.decided = true;
                }
            }
            Event::Saw(found) => self.saw(&found)?,
            Event::Committing { group, offset } => {
                let known = self.group(group);
                known.most = known.most.max(offset);
            }
            Event::Committed { group, offset, at_ms } => {
                self.sums.offsets += 1;
                self.group(group).acknowledged.push((offset, at_ms));
            }
        }
        Ok(())
    }

    fn group(&mut self, group: GroupQueue) -> &mut GroupOffset {
        let unknown = GroupOffset { acknowledged: Vec::new(), least: -1, most: -1 };
        self.groups.entry(group).or_insert(unknown)
    }

    /// A message was pulled.
    pub fn saw(&mut self, found: &Found) -> Result<(), Violation> {
        let place = found.place;
        let id = found.id.clone().map_err(|start| Violation::Foreign { place, start })?;
        let sent = self.sent.get(&(id.life, id.lane)).copied().unwrap_or(0);
        if (id.kind, id.queue) != (place.kind, place.queue) || sent <= id.number {
            return Err(Violation::NeverSent { place, id });
        }
        match id.kind {
            Kind::Plain => {
                let end = self.ends.get(id.life as usize).and_then(|ends| ends.get(&(id.kind, id.queue))).copied();
                if let Some(end) = end.filter(|end| *end <= place.offset) {
                    return Err(Violation::CameBack { place, id, end });
                }
            }
            Kind::Late => {
                let early_ms = id.not_before_ms - found.store_ms;
                if 0 < early_ms {
                    return Err(Violation::Early { id, place, early_ms });
                }
                self.waiting.remove(&id);
            }
            Kind::Paid => {
                let asked = self.halves.get(&id).map(|half| half.asked);
                let state = match asked {
                    Some(Some(Decision::Commit)) => None,
                    Some(Some(Decision::Rollback)) => Some("rolled back"),
                    Some(None) => Some("not decided"),
                    None => Some("never acknowledged"),
                };
                if let Some(state) = state {
                    return Err(Violation::NotCommitted { place, id, state });
                }
            }
        }
        self.enter(id, place)
    }

    fn enter(&mut self, id: Id, place: Place) -> Result<(), Violation> {
        let first = *self.offset_of.entry(id).or_insert(place.offset);
        if first != place.offset {
            return Err(Violation::Twice { id, first, place });
        }
        let slots = self.queues.entry((place.kind, place.queue)).or_default();
        let at = place.offset as usize;
        if slots.len() <= at {
            slots.resize(at + 1, None);
        }
        match slots[at] {
            Some(known) if known != id => Err(Violation::Changed { place, known, found: id }),
            _ => {
                slots[at] = Some(id);
                Ok(())
            }
        }
    }

    /// The offset after the last that anybody heard of.
    pub fn end(&self, kind: Kind, queue: i32) -> u64 {
        self.queues.get(&(kind, queue)).map_or(0, |slots| slots.len() as u64)
    }

    /// The first message that was known to lie in a queue at or after `end`.
    pub fn known_from(&self, kind: Kind, queue: i32, end: u64) -> Option<(Place, Id)> {
        let slots = self.queues.get(&(kind, queue))?;
        let rest = slots.get(end as usize..)?;
        let found = rest.iter().enumerate().find_map(|(at, id)| Some((at as u64, (*id)?)));
        found.map(|(at, id)| (Place { kind, queue, offset: end + at }, id))
    }

    /// A survey of all queues after `life` is done, in which each ended as `ends` says: nothing of that life or an
    /// earlier one may come up behind. Commits that were acknowledged must have been found by now.
    pub fn surveyed(&mut self, life: u32, ends: BTreeMap<(Kind, i32), u64>) -> Result<(), Violation> {
        while self.ends.len() <= life as usize {
            self.ends.push(ends.clone());
        }
        for (id, half) in &self.halves {
            if half.decided && half.asked == Some(Decision::Commit) && !self.offset_of.contains_key(id) {
                return Err(Violation::CommitLost { id: *id });
            }
        }
        Ok(())
    }

    /// Half messages without an acknowledged decision; with the decision that was sent for them, if one was.
    pub fn undecided(&self) -> Vec<(Id, HalfPlace, Option<Decision>)> {
        let open = self.halves.iter().filter(|(_, half)| !half.decided);
        open.map(|(id, half)| (*id, half.place, half.asked)).collect()
    }

    /// An acknowledged delayed message that nobody has seen yet.
    pub fn undelivered(&self) -> Option<Id> {
        self.waiting.iter().find(|id| !self.offset_of.contains_key(id)).copied()
    }

    /// Groups that committed offsets.
    pub fn groups(&self) -> Vec<GroupQueue> {
        self.groups.keys().copied().collect()
    }

    /// The broker came to an end at `end_ms`; with `in_order`, it saved everything before.
    pub fn ended(&mut self, end_ms: i64, in_order: bool) {
        for group in self.groups.values_mut() {
            let acknowledged = std::mem::take(&mut group.acknowledged);
            let saved = acknowledged.iter().filter(|(_, at_ms)| in_order || at_ms + OFFSET_SAVED_MS <= end_ms);
            group.least = saved.map(|(offset, _)| *offset).fold(group.least, i64::max);
        }
    }

    /// What a group's offset is after a restart; -1 when the broker knows none. From here on it must stay.
    pub fn group_offset(&mut self, group: GroupQueue, found: i64) -> Result<(), Violation> {
        let known = self.group(group);
        let (least, most) = (known.least, known.most);
        if found < least || most < found {
            let GroupQueue { group, kind, queue } = group;
            return Err(Violation::GroupOffset { group, kind, queue, found, least, most });
        }
        known.least = found;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
