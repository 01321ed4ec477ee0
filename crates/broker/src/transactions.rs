//! Half messages that wait for a decision. A pure core: a table keyed by position, decisions final and idempotent.
//!
//! Upstream stores a half message anew for every question. Here it stays where it is: its offset in the half topic
//! and its position never change, so every answer a producer ever sends finds it. Source of the schedule:
//! `broker/.../transaction/queue/TransactionalMessageServiceImpl.java`.

pub mod snapshot;

use std::collections::{BTreeMap, BTreeSet};

use crate::config::BrokerConfig;

/// A half message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Half {
    /// Offset in the half topic.
    pub queue_offset: u64,
    /// When it was stored, in milliseconds since 1970.
    pub stored_ms: i64,
    /// Age in milliseconds before which nobody is asked, where the message says so itself.
    pub immunity_ms: Option<i64>,
    /// Questions asked so far.
    pub checks: u32,
}

/// When to ask, and how often.
#[derive(Clone, Copy, Debug)]
pub struct CheckSchedule {
    /// Age at which the first question is asked, in milliseconds.
    pub first_after_ms: i64,
    /// Time between two questions, in milliseconds.
    pub interval_ms: i64,
    /// Questions after which the message is given up.
    pub checks_max: u32,
}

impl CheckSchedule {
    /// The one that the settings name.
    pub fn of(config: &BrokerConfig) -> CheckSchedule {
        CheckSchedule {
            first_after_ms: config.transaction_timeout.get().as_millis() as i64,
            interval_ms: config.transaction_check_interval.get().as_millis() as i64,
            checks_max: config.transaction_check_max.get(),
        }
    }
}

/// What is to be done about a half message whose time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask the producer; this is question number `check`, counted from 1.
    Ask {
        /// Position of the half message.
        position: u64,
        /// Number of the question.
        check: u32,
    },
    /// Give the message up.
    GiveUp {
        /// Position of the half message.
        position: u64,
    },
}

/// Half messages without a decision.
#[derive(Debug)]
pub struct Transactions {
    /// By position: the message, and when to look at it next.
    halves: BTreeMap<u64, (Half, i64)>,
    /// The same the other way round.
    due: BTreeSet<(i64, u64)>,
    schedule: CheckSchedule,
}

impl Transactions {
    /// An empty table.
    pub fn new(schedule: CheckSchedule) -> Transactions {
        Transactions { halves: BTreeMap::new(), due: BTreeSet::new(), schedule }
    }

    /// Another schedule, for every half message that is looked at from now on.
    pub fn set_schedule(&mut self, schedule: CheckSchedule) {
        self.schedule = schedule;
    }

    /// A half message was stored, or is found again when the log is read at start. The questions it says it was
    /// asked count: the next comes that many intervals later.
    pub fn stored(&mut self, position: u64, half: Half) {
        let first = half.stored_ms.saturating_add(half.immunity_ms.unwrap_or(self.schedule.first_after_ms));
        let next_ms = first.saturating_add(i64::from(half.checks).saturating_mul(self.schedule.interval_ms));
        self.take(position);
        self.due.insert((next_ms, position));
        self.halves.insert(position, (half, next_ms));
    }

    /// Puts back a half message whose decision could not be stored; it is looked at again one interval later.
    pub fn put_back(&mut self, position: u64, half: Half, now_ms: i64) {
        self.take(position);
        let next_ms = now_ms.saturating_add(self.schedule.interval_ms);
        self.due.insert((next_ms, position));
        self.halves.insert(position, (half, next_ms));
    }

    /// Takes a half message out for its decision. `None` when it was decided before, or never was.
    pub fn take(&mut self, position: u64) -> Option<Half> {
        let (half, next_ms) = self.halves.remove(&position)?;
        self.due.remove(&(next_ms, position));
        Some(half)
    }

    /// The half message at the position, if it waits.
    pub fn get(&self, position: u64) -> Option<&Half> {
        self.halves.get(&position).map(|(half, _)| half)
    }

    /// Says how many questions were asked before the process started.
    pub fn restore_checks(&mut self, position: u64, checks: u32) {
        if let Some(half) = self.take(position) {
            self.stored(position, Half { checks, ..half });
        }
    }

    /// What is due, at most `max` steps. A message that is asked about is due again one interval later, and so is
    /// one that is given up, should that fail.
    pub fn due(&mut self, now_ms: i64, max: usize) -> Vec<Step> {
        let ready: Vec<(i64, u64)> = self.due.iter().take_while(|(due, _)| *due <= now_ms).take(max).copied().collect();
        ready.into_iter().filter_map(|due| self.step(now_ms, due)).collect()
    }

    fn step(&mut self, now_ms: i64, (due_ms, position): (i64, u64)) -> Option<Step> {
        self.due.remove(&(due_ms, position));
        let (half, next_ms) = self.halves.get_mut(&position)?;
        // Counted from now, not from the age: after a long stop nobody is asked twice at once.
        *next_ms = now_ms.saturating_add(self.schedule.interval_ms);
        self.due.insert((*next_ms, position));
        if half.checks >= self.schedule.checks_max {
            return Some(Step::GiveUp { position });
        }
        half.checks += 1;
        Some(Step::Ask { position, check: half.checks })
    }

    /// When the next message is due.
    pub fn next_due_ms(&self) -> Option<i64> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Position and message of everything that waits.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Half)> {
        self.halves.iter().map(|(position, (half, _))| (*position, half))
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.halves.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.halves.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Transactions {
        Transactions::new(CheckSchedule { first_after_ms: 6_000, interval_ms: 30_000, checks_max: 2 })
    }

    fn half(stored_ms: i64) -> Half {
        Half { queue_offset: 0, stored_ms, immunity_ms: None, checks: 0 }
    }

    #[test]
    fn a_producer_is_asked_after_six_seconds_then_every_thirty_then_no_more() {
        let mut table = table();
        table.stored(8, half(1_000));
        assert_eq!((table.due(6_999, 9), table.next_due_ms()), (vec![], Some(7_000)));
        assert_eq!(table.due(7_000, 9), [Step::Ask { position: 8, check: 1 }]);
        assert_eq!(table.due(36_999, 9), []);
        assert_eq!(table.due(37_000, 9), [Step::Ask { position: 8, check: 2 }]);
        assert_eq!(table.due(67_000, 9), [Step::GiveUp { position: 8 }]);
        assert!(table.take(8).is_some());
        assert_eq!((table.due(i64::MAX, 9), table.next_due_ms()), (vec![], None));
    }

    #[test]
    fn a_decision_is_taken_once() {
        let mut table = table();
        table.stored(8, half(0));
        assert_eq!(table.take(8), Some(half(0)));
        assert_eq!(table.take(8), None);
        assert!(table.is_empty() && table.next_due_ms().is_none());
    }

    #[test]
    fn what_could_not_be_stored_is_tried_again_an_interval_later_and_not_at_once() {
        let mut table = table();
        table.stored(8, Half { checks: 2, ..half(0) });
        let taken = table.take(8).unwrap();
        table.put_back(8, taken, 1_000_000);
        assert_eq!(table.due(1_029_999, 9), []);
        assert_eq!(table.due(1_030_000, 9), [Step::GiveUp { position: 8 }]);
    }

    #[test]
    fn immunity_and_earlier_questions_shift_the_next_one() {
        let mut table = table();
        table.stored(1, Half { immunity_ms: Some(60_000), ..half(0) });
        table.stored(2, half(0));
        table.restore_checks(2, 1);
        assert_eq!(table.due(35_999, 9), []);
        assert_eq!(table.due(36_000, 9), [Step::Ask { position: 2, check: 2 }]);
        assert_eq!(table.due(60_000, 9), [Step::Ask { position: 1, check: 1 }]);
    }

    #[test]
    fn the_same_message_found_twice_is_one() {
        let mut table = table();
        table.stored(1, half(0));
        table.stored(1, half(0));
        assert_eq!((table.len(), table.due(6_000, 9).len()), (1, 1));
    }
}
