//! What must hold when everything has come to rest.

use std::collections::{BTreeMap, BTreeSet};

use broker::broker::Broker;

use crate::history::{Decision, History, Kind, Outcome, Sent};
use crate::message;
use crate::network::LinkId;
use crate::schedule::NodeId;

/// A queue as it lies in a broker's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredQueue {
    /// First offset that is still there.
    pub min: u64,
    /// Offset of the next message to come.
    pub max: u64,
    /// Messages by offset: their numbers, if anybody sent them, and positions.
    pub messages: BTreeMap<u64, (Option<u64>, u64)>,
}

/// What lies in a broker's log, by topic and queue. Topics of the broker's own are left out.
pub type Stored = BTreeMap<(String, i32), StoredQueue>;

/// Reads everything, and once more after parts of indexes that are damaged were made anew.
pub fn read_repaired(broker: &Broker) -> Result<Stored, String> {
    const DAMAGED_PARTS_MAX: usize = 200;
    for _ in 0..DAMAGED_PARTS_MAX {
        let read = read_all(broker);
        if read.is_ok() || broker.log.maintain().is_err() {
            return read;
        }
    }
    read_all(broker)
}

/// Reads everything; a text says what cannot be read.
pub fn read_all(broker: &Broker) -> Result<Stored, String> {
    let mut stored = Stored::new();
    for (topic, queue_id) in broker.log.queues() {
        let is_own = topic.starts_with("RMQ_SYS") || topic.starts_with("rmq_sys") || topic == "SCHEDULE_TOPIC_XXXX";
        let Some(queue) = broker.log.find_queue(&topic, queue_id).filter(|_| !is_own) else { continue };
        let offsets = broker.log.offsets(queue);
        let mut found = StoredQueue { min: offsets.min, max: offsets.max, messages: BTreeMap::new() };
        let mut at = offsets.min;
        while at < offsets.max {
            let place = format!("{topic}/{queue_id}/{at}");
            let limits = log::PullLimits { max_messages: 64, max_bytes: 1 << 20 };
            let mut bytes = Vec::new();
            let pulled = broker
                .log
                .pull(queue, at, limits, &|_| true, &mut bytes)
                .map_err(|error| format!("{place} cannot be read: {error}"))?;
            for record in protocol::record::records(&bytes) {
                let id = message::id_of(record.body());
                found.messages.insert(record.queue_offset(), (id, record.position()));
            }
            if pulled.next_offset <= at {
                return Err(format!("{place} leads to {}", pulled.next_offset));
            }
            at = pulled.next_offset;
        }
        stored.insert((topic, queue_id as i32), found);
    }
    Ok(stored)
}

/// How a run was set up, as far as its judgement depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Whether old messages may be gone.
    pub retention: bool,
    /// Power cuts that may have cost queues some offsets.
    pub gaps_max: usize,
}

/// Judges what a broker has against what is known of it.
pub fn judge(history: &mut History, node: NodeId, stored: &Stored, groups: &[(String, Vec<String>)], rules: Rules) {
    let mut broken = Vec::new();
    let places = places_of(stored);
    judge_queues(history, node, stored, rules, &mut broken);
    for (id, sent) in history.sent.iter().filter(|(_, sent)| sent.node == node && !sent.damaged) {
        if let Some(what) = judge_message(*id, sent, stored, &places, history, rules) {
            broken.push(format!("message {id:x} ({:?}, {} of {node}): {what}", sent.kind, sent.topic));
        }
    }
    judge_order(history, node, &mut broken);
    judge_consumers(history, node, stored, groups, &mut broken);
    judge_handed_back(history, node, &places, rules, &mut broken);
    for what in broken {
        history.broken(what);
    }
}

/// Where each message lies, by its number.
fn places_of(stored: &Stored) -> BTreeMap<u64, Vec<(String, i32, u64)>> {
    let mut places: BTreeMap<u64, Vec<(String, i32, u64)>> = BTreeMap::new();
    for ((topic, queue), found) in stored {
        for (offset, (id, _)) in &found.messages {
            if let Some(id) = id {
                places.entry(*id).or_default().push((topic.clone(), *queue, *offset));
            }
        }
    }
    places
}

/// Offsets are dense, contents were sent, and what was seen has stayed.
fn judge_queues(history: &History, node: NodeId, stored: &Stored, rules: Rules, broken: &mut Vec<String>) {
    for ((topic, queue), found) in stored {
        let is_gap = |mut missing: std::ops::Range<u64>| {
            !missing.all(|offset| history.damaged.contains(&(node, topic.clone(), *queue, offset)))
        };
        let mut gaps = 0;
        let mut expected = found.min;
        for (offset, (id, _)) in &found.messages {
            gaps += usize::from(is_gap(expected..*offset));
            expected = offset + 1;
            if id.is_none_or(|id| !history.sent.contains_key(&id)) && topic != "TRANS_CHECK_MAX_TIME_TOPIC" {
                broken.push(format!("{topic}/{queue}/{offset} of {node} is what nobody sent"));
            }
        }
        gaps += usize::from(is_gap(expected..found.max));
        let excused =
            usize::from(history.skipped.contains(&node)) + usize::from(history.checkpoint_lost.contains(&node));
        if gaps > rules.gaps_max + excused {
            let (min, max) = (found.min, found.max);
            broken.push(format!("{topic}/{queue} of {node}, {min} to {max}, has {gaps} gaps"));
        }
    }
    for ((_, topic, queue, offset), seen) in history.seen.iter().filter(|(at, _)| at.0 == node) {
        let found = stored.get(&(topic.clone(), *queue));
        let there = found.and_then(|found| found.messages.get(offset));
        let expired = rules.retention && found.is_some_and(|found| *offset < found.min);
        let is_damaged = history.damaged.contains(&(node, topic.clone(), *queue, *offset));
        match there {
            Some((id, _)) if *id == Some(seen.id) => {}
            Some(_) if seen.excused && history.cut_short.contains(&node) => {}
            None if is_damaged => {}
            Some((id, _)) => broken.push(format!("{topic}/{queue}/{offset} of {node} was {:x}, is {id:x?}", seen.id)),
            None if expired || seen.excused => {}
            None => broken.push(format!("{topic}/{queue}/{offset} of {node} was seen ({:x}) and is gone", seen.id)),
        }
    }
}

fn judge_message(
    id: u64,
    sent: &Sent,
    stored: &Stored,
    places: &BTreeMap<u64, Vec<(String, i32, u64)>>,
    history: &History,
    rules: Rules,
) -> Option<String> {
    let in_topic: Vec<_> = places.get(&id).into_iter().flatten().filter(|(topic, ..)| *topic == sent.topic).collect();
    if in_topic.len() > 1 {
        return Some(format!("it is there {} times: {in_topic:?}", in_topic.len()));
    }
    let was_seen = || history.seen.iter().any(|((_, topic, ..), seen)| seen.id == id && *topic == sent.topic);
    let wanted = sent.kind != Kind::Half || sent.decision == Decision::Commit;
    if !wanted && !in_topic.is_empty() {
        return Some(format!("it is delivered, and its producer decided {:?}", sent.decision));
    }
    match sent.outcome {
        Outcome::Refused if !in_topic.is_empty() => {
            Some("it is there, and its producer was told that it is not".into())
        }
        Outcome::Stored(place) if sent.kind == Kind::Plain => {
            let found = stored.get(&(sent.topic.clone(), place.queue));
            match found.and_then(|found| found.messages.get(&place.offset)) {
                Some((found, _)) if *found == Some(id) => None,
                Some(_) if sent.excused && history.cut_short.contains(&sent.node) => None,
                None if sent.excused => None,
                None if rules.retention && found.is_some_and(|found| place.offset < found.min) => None,
                Some((found, _)) => Some(format!("at its place {place:?} lies {found:x?}")),
                None => Some(format!("it was acknowledged at {place:?} and is gone")),
            }
        }
        Outcome::Stored(place) if wanted && in_topic.is_empty() && !sent.excused => {
            let expired = rules.retention && was_seen();
            (!expired).then(|| format!("it was acknowledged ({place:?}) and never delivered"))
        }
        _ => None,
    }
}

/// What was sent over one connection to one queue lies there in the order in which it was sent.
fn judge_order(history: &History, node: NodeId, broken: &mut Vec<String>) {
    type Line = (LinkId, String, i32);
    let mut lines: BTreeMap<Line, BTreeMap<(u64, u64), u64>> = BTreeMap::new();
    for (id, sent) in history.sent.iter().filter(|(_, sent)| sent.node == node && sent.kind == Kind::Plain) {
        if sent.damaged || sent.excused && history.cut_short.contains(&node) {
            continue;
        }
        if let Outcome::Stored(place) = sent.outcome {
            let line = (sent.order.0, sent.topic.clone(), place.queue);
            lines.entry(line).or_default().insert((sent.order.1, *id), place.offset);
        }
    }
    for ((link, topic, queue), offsets) in lines {
        let mut before = None;
        for ((_, id), offset) in offsets {
            if before.is_some_and(|before| offset <= before) {
                broken.push(format!(
                    "{id:x} of connection {link} lies at {topic}/{queue}/{offset}, and one before it at {before:?}"
                ));
            }
            before = Some(offset);
        }
    }
}

/// Every message of its topics reached every group.
fn judge_consumers(
    history: &History,
    node: NodeId,
    stored: &Stored,
    groups: &[(String, Vec<String>)],
    broken: &mut Vec<String>,
) {
    if history.cut_short.contains(&node) {
        // The group may have been past what came to lie at its offset.
        return;
    }
    for (group, topics) in groups {
        for ((topic, queue), found) in stored.iter().filter(|((topic, _), _)| topics.contains(topic)) {
            for offset in found.messages.keys() {
                let at = (node, topic.clone(), *queue, *offset);
                // What was damaged by a write that a power cut took back is there again, and groups have passed it.
                let is_damaged = history.damaged.contains(&at);
                if !is_damaged && !history.seen.get(&at).is_some_and(|seen| seen.groups.contains(group)) {
                    broken.push(format!("{topic}/{queue}/{offset} of {node} never reached {group}"));
                }
            }
        }
    }
}

/// What was handed back comes again.
fn judge_handed_back(
    history: &History,
    node: NodeId,
    places: &BTreeMap<u64, Vec<(String, i32, u64)>>,
    rules: Rules,
    broken: &mut Vec<String>,
) {
    let mut counted = BTreeSet::new();
    let is_damaged = |id: &u64| history.sent.get(id).is_some_and(|sent| sent.damaged);
    for (of, group, id, _) in history.sent_back.iter().filter(|(of, _, id, _)| *of == node && !is_damaged(id)) {
        let topics = [format!("%RETRY%{group}"), format!("%DLQ%{group}")];
        let there = places.get(id).into_iter().flatten().any(|(topic, ..)| topics.contains(topic));
        let was_seen =
            history.seen.iter().any(|((at, topic, ..), seen)| at == of && seen.id == *id && topics.contains(topic));
        let may_be_gone = rules.retention && was_seen;
        if !there && !may_be_gone && counted.insert(*id) {
            broken.push(format!("message {id:x} was handed back by {group} and never came again"));
        }
    }
}
