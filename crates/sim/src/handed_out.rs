//! What consumers were handed one by one, and what a broker may do with it afterwards.

use std::collections::{BTreeMap, BTreeSet};

use crate::schedule::NodeId;

/// A message in its queue, for a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    /// The broker.
    pub node: NodeId,
    /// The group.
    pub group: &'static str,
    /// The topic.
    pub topic: String,
    /// The queue.
    pub queue: i32,
    /// Offset in the queue.
    pub offset: u64,
}

#[derive(Clone, Copy, Debug)]
struct Out {
    /// Position in the log.
    position: u64,
    /// When it was handed out last, by the broker's clock, in milliseconds.
    popped_ms: i64,
    /// When it may be handed out again, by the broker's clock, in milliseconds; `None` if that is not known.
    visible_ms: Option<i64>,
    /// Somebody asked for it to be settled.
    is_asked: bool,
    /// The broker said that it is settled.
    is_settled: bool,
    /// When something was last done about it, in microseconds.
    touched_us: u64,
}

/// Everything that was handed out.
#[derive(Default)]
pub struct HandedOut {
    out: BTreeMap<At, Out>,
    /// Records that were damaged on the disk: broker, topic, queue, offset. Nothing is expected of them any more.
    damaged: BTreeSet<(NodeId, String, i32, u64)>,
}

impl HandedOut {
    /// A broker handed messages of one queue out, at `popped_ms` by its clock and for `invisible_ms`; beside each is its
    /// position. Says what is wrong with that. Answers can overtake each other: nothing is said of one that is older than
    /// what is known. `steady` says whether its clock only goes forward.
    pub fn handed_out(
        &mut self,
        batch: &[(At, u64)],
        ordered: bool,
        (popped_ms, invisible_ms): (i64, i64),
        steady: bool,
        now_us: u64,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        for (at, _) in batch {
            let Some(out) = self.out.get(at).filter(|out| out.popped_ms <= popped_ms) else { continue };
            if out.is_settled {
                wrong.push(format!("{at:?} was acknowledged and is handed out again"));
            } else if let Some(visible_ms) = out.visible_ms.filter(|visible_ms| steady && popped_ms < *visible_ms) {
                wrong.push(format!("{at:?} is handed out again {} ms early", visible_ms - popped_ms));
            }
        }
        if let Some((first, _)) = batch.iter().min().filter(|_| ordered) {
            let start = At { offset: 0, ..first.clone() };
            let is_passed = |out: &Out| !out.is_asked && out.popped_ms <= popped_ms;
            let passed = self.out.range(start..first.clone()).find(|(_, out)| is_passed(out));
            if let Some((passed, _)) = passed {
                wrong.push(format!("{first:?} is handed out before {passed:?} was acknowledged"));
            }
        }
        let visible_ms = Some(popped_ms.saturating_add(invisible_ms));
        for (at, position) in batch {
            let (position, touched_us) = (*position, now_us);
            let out = Out { position, popped_ms, visible_ms, is_asked: false, is_settled: false, touched_us };
            let place = (at.node, at.topic.clone(), at.queue, at.offset);
            let is_newest = self.out.get(at).is_none_or(|known| known.popped_ms <= popped_ms);
            if is_newest && !self.damaged.contains(&place) {
                self.out.insert(at.clone(), out);
            }
        }
        wrong
    }

    fn touch(&mut self, at: &At, now_us: u64, change: impl FnOnce(&mut Out)) {
        if let Some(out) = self.out.get_mut(at) {
            change(out);
            out.touched_us = now_us;
        }
    }

    /// A consumer asks for a message to be settled.
    pub fn asked(&mut self, at: &At, now_us: u64) {
        self.touch(at, now_us, |out| out.is_asked = true);
    }

    /// A consumer asks for another time.
    pub fn changing(&mut self, at: &At, now_us: u64) {
        self.touch(at, now_us, |out| out.visible_ms = None);
    }

    /// The broker said that a message is settled that was out until `visible_ms`, and has not been handed out since.
    pub fn settled(&mut self, at: &At, visible_ms: i64, now_us: u64) {
        self.touch(at, now_us, |out| out.is_settled |= out.visible_ms == Some(visible_ms));
    }

    /// A record was damaged on the disk.
    pub fn damaged(&mut self, node: NodeId, (topic, queue, offset): (String, i32, u64)) {
        self.out.retain(|at, _| (at.node, &at.topic, at.queue, at.offset) != (node, &topic, queue, offset));
        self.damaged.insert((node, topic, queue, offset));
    }

    /// A broker deleted what is old: nothing is expected of what lay before the start of its log.
    pub fn deleted(&mut self, node: NodeId, log_start: u64) {
        self.out.retain(|at, out| at.node != node || log_start <= out.position);
    }

    /// The broker may not know that a message is out, or that it is settled.
    pub fn may_be_forgotten(&mut self, at: &At) {
        if let Some(out) = self.out.get_mut(at) {
            (out.visible_ms, out.is_settled) = (None, false);
        }
    }

    /// A broker was killed: it may have forgotten what was done lately, and hand out again.
    pub fn killed(&mut self, node: NodeId, unsaved_us: u64, now_us: u64) {
        for (_, out) in self.out.iter_mut().filter(|(at, out)| at.node == node && now_us <= out.touched_us + unsaved_us)
        {
            (out.visible_ms, out.is_settled) = (None, false);
        }
    }

    /// A broker lost its power: what lay at `durable` or behind it in the log may be gone.
    pub fn power_lost(&mut self, node: NodeId, durable: u64) {
        self.out.retain(|at, out| at.node != node || out.position < durable);
    }

    /// A broker's log ended early: what lies in its queues from there on is something else.
    pub fn cut_short(&mut self, node: NodeId) {
        self.out.retain(|at, _| at.node != node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> At {
        At { node: 1, group: "g", topic: "t".into(), queue: 0, offset }
    }

    #[test]
    fn early_repeated_and_overtaking_messages_are_told() {
        let mut out = HandedOut::default();
        let pop = |out: &mut HandedOut, offsets: &[u64], ordered, popped_ms| {
            let batch: Vec<(At, u64)> = offsets.iter().map(|offset| (at(*offset), *offset)).collect();
            out.handed_out(&batch, ordered, (popped_ms, 100), true, 5).len()
        };
        assert_eq!(pop(&mut out, &[0, 1], false, 1_000), 0);
        assert_eq!(pop(&mut out, &[0], false, 1_099), 1);
        assert_eq!(pop(&mut out, &[1], false, 1_100), 0);
        out.asked(&at(0), 5);
        out.settled(&at(0), 1_199, 5);
        assert_eq!(pop(&mut out, &[0], false, 9_000), 1);
        // It is out again, and so is the next: in order, nothing may come before them.
        assert_eq!(pop(&mut out, &[2], true, 9_000), 1);
        out.asked(&at(0), 5);
        out.asked(&at(1), 5);
        out.asked(&at(2), 5);
        assert_eq!(pop(&mut out, &[3], true, 9_000), 0);
        out.settled(&at(2), 9_100, 5);
        out.killed(1, 10, 16);
        assert_eq!(pop(&mut out, &[2], true, 9_001), 1);
        out.asked(&at(2), 5);
        out.settled(&at(2), 9_101, 5);
        // What is older than that is no news.
        assert_eq!(pop(&mut out, &[1], true, 1_050), 0);
        out.killed(1, 10, 15);
        assert_eq!(pop(&mut out, &[2], true, 9_001), 0);
        out.asked(&at(1), 5);
        out.power_lost(1, 2);
        assert_eq!(pop(&mut out, &[3], true, 9_001), 0);
        // Nobody waits for a message that is lost.
        out.damaged(1, ("t".into(), 0, 3));
        assert_eq!(pop(&mut out, &[4], true, 9_001), 0);
    }
}
