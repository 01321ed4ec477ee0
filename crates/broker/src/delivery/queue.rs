//! What one group has of one queue: a pure core. Offsets and `now` in, decisions out.
//!
//! Below `next` every message was handed out, or passed over because it does not match; those of them that are not in
//! flight are settled. The floor, the group's offset, is the first one that is not. In an ordered group, what was
//! handed out blocks the queue until all of it is settled or its time is over.
//!
//! Source: `broker/.../offset/ConsumerOrderInfoManager.java` for ordered groups.

use std::ops::Range;

use super::in_flight::{Flight, InFlight};

/// In place of a holder: the message is being stored as a dead letter.
pub const BURYING: u32 = u32::MAX;

/// How messages are handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Time for which they are invisible, in milliseconds.
    pub invisible_ms: i64,
    /// The consumer that holds them for as long as it lives; 0 is nobody.
    pub holder: u32,
}

/// Why a delivery cannot be settled or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandleError {
    /// The time of the delivery is over, or the message was handed out again since.
    #[error("receipt handle is expired")]
    Expired,
    /// No such message was handed out.
    #[error("receipt handle names a message that was not handed out")]
    Unknown,
}

/// Which delivery of which message is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Offset of the message.
    pub offset: u64,
    /// When it was handed out, in milliseconds since 1970.
    pub delivered_ms: i64,
}

/// What one group has of one queue.
#[derive(Debug, Default)]
pub struct QueueDelivery {
    next: u64,
    in_flight: InFlight,
    /// What names the receive call that blocks the queue, in an ordered group.
    attempt_id: Option<Box<str>>,
}

impl QueueDelivery {
    /// Nothing was handed out yet; `next` is the first message to come.
    pub fn starting_at(next: u64) -> QueueDelivery {
        QueueDelivery { next, ..QueueDelivery::default() }
    }

    /// What was saved.
    pub fn restored(next: u64, flights: impl IntoIterator<Item = (u64, Flight)>) -> QueueDelivery {
        let mut queue = QueueDelivery::starting_at(next);
        for (offset, flight) in flights.into_iter().filter(|(offset, _)| *offset < next) {
            queue.in_flight.insert(offset, flight);
        }
        queue
    }

    /// Everything before is settled: the group's offset.
    pub fn floor(&self) -> u64 {
        self.in_flight.first().unwrap_or(self.next)
    }

    /// The first message that was never handed out.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// What is in flight.
    pub fn in_flight(&self) -> &InFlight {
        &self.in_flight
    }

    /// Somebody else moved the group's offset: what is before is settled, what comes after is handed out (again).
    pub fn reset(&mut self, offset: u64) {
        let forwards = self.floor() < offset;
        if forwards {
            self.in_flight.remove_below(offset);
            self.next = self.next.max(offset);
        } else {
            *self = QueueDelivery::starting_at(offset);
        }
    }

    /// Messages before `min` are gone; nobody needs to settle them any more. Says whether any was in flight.
    pub fn forget_below(&mut self, min: u64) -> bool {
        let changes = self.floor() < min;
        if changes {
            self.in_flight.remove_below(min);
            self.next = self.next.max(min);
        }
        changes
    }

    /// Lets messages whose time is over become visible, see [`InFlight::expire`].
    pub fn expire(&mut self, now_ms: i64, judge: impl FnMut(u64, &Flight) -> Option<i64>) {
        self.in_flight.expire(now_ms, judge);
    }

    /// Messages that can be handed out again: up to `max` offsets in order. In an ordered group these are all that
    /// block the queue, from the first one on; none while the time of any is not over, unless the call `attempt_id`
    /// that they were handed out to asks again.
    pub fn again(&self, max: usize, ordered: bool, attempt_id: Option<&str>) -> Vec<u64> {
        match ordered {
            false => self.in_flight.ready_from(0).take(max).collect(),
            true if self.is_blocked(attempt_id) => Vec::new(),
            true => self.in_flight.from(0).map(|(offset, _)| offset).take(max).collect(),
        }
    }

    /// Whether messages that were never handed out may be, after `again` of those in flight were: in an ordered group
    /// only when nothing else is in flight.
    pub fn may_go_on(&self, again: usize, ordered: bool, attempt_id: Option<&str>) -> bool {
        !ordered || again == self.in_flight.count() && !self.is_blocked(attempt_id)
    }

    /// Whether an ordered queue has messages out whose time is not over.
    pub fn is_blocked(&self, attempt_id: Option<&str>) -> bool {
        let is_same = attempt_id.is_some_and(|id| !id.is_empty() && self.attempt_id.as_deref() == Some(id));
        !is_same && self.in_flight.next_visible_ms().is_some()
    }

    /// Hands out a message that is in flight again, or one at or after [`QueueDelivery::next`]; messages between were
    /// passed over. Returns which attempt this is, counted from 1. A repeated call of an ordered group is no new one.
    pub fn hand_out(&mut self, offset: u64, now_ms: i64, lease: Lease) -> u16 {
        let attempts = match self.in_flight.get(offset) {
            Some(flight) if self.in_flight.is_ready(offset) && !flight.uncounted => flight.attempts.saturating_add(1),
            Some(flight) => flight.attempts,
            None => 1,
        };
        let visible_ms = now_ms.saturating_add(lease.invisible_ms);
        let flight = Flight { visible_ms, delivered_ms: now_ms, holder: lease.holder, attempts, uncounted: false };
        self.in_flight.insert(offset, flight);
        self.next = self.next.max(offset + 1);
        attempts
    }

    /// Passes over messages before `next` that were never handed out.
    pub fn pass_over(&mut self, next: u64) {
        self.next = self.next.max(next);
    }

    /// Notes which call what is in flight was handed out to.
    pub fn handed_out_to(&mut self, attempt_id: Option<&str>) {
        if self.attempt_id.as_deref() != attempt_id {
            self.attempt_id = attempt_id.map(Into::into);
        }
    }

    /// Takes back what was handed out and could not be brought to its consumer: visible at `visible_ms`, and as if it had
    /// not been handed out.
    pub fn take_back(&mut self, delivery: Delivery, visible_ms: i64) {
        if let Some(flight) = self.in_flight.get(delivery.offset)
            && flight.delivered_ms == delivery.delivered_ms
        {
            self.in_flight.insert(delivery.offset, Flight { visible_ms, holder: 0, uncounted: true, ..*flight });
        }
    }

    /// Settles a message whatever delivery it is of.
    pub fn settle(&mut self, offset: u64) {
        self.in_flight.remove(offset);
    }

    /// A message is being stored as a dead letter, whatever delivery it is of; if nothing comes of that it is to be tried
    /// again at `again_ms`.
    pub fn bury(&mut self, offset: u64, again_ms: i64) {
        if let Some(flight) = self.in_flight.get(offset) {
            self.in_flight.insert(offset, Flight { visible_ms: again_ms, holder: BURYING, ..*flight });
        }
    }

    /// Acknowledges a delivery. Doing it again is fine.
    pub fn acknowledge(&mut self, delivery: Delivery, now_ms: i64) -> Result<(), HandleError> {
        match self.in_flight.get(delivery.offset) {
            None => Ok(()),
            Some(_) => {
                self.check(delivery, now_ms)?;
                self.in_flight.remove(delivery.offset);
                Ok(())
            }
        }
    }

    /// Sets the time from now on for which a delivery stays invisible. The message comes back as the next attempt, or
    /// as the same one if `uncounted`. The holder lets go of it.
    pub fn change_invisible(
        &mut self,
        delivery: Delivery,
        now_ms: i64,
        invisible_ms: i64,
        uncounted: bool,
    ) -> Result<Flight, HandleError> {
        let mut flight = *self.check(delivery, now_ms)?;
        flight.visible_ms = now_ms.saturating_add(invisible_ms);
        flight.holder = 0;
        flight.uncounted = uncounted;
        self.in_flight.insert(delivery.offset, flight);
        Ok(flight)
    }

    /// The message that a delivery is of, if it is still that delivery and its time is not over.
    pub fn check(&self, delivery: Delivery, now_ms: i64) -> Result<&Flight, HandleError> {
        let flight = self.in_flight.get(delivery.offset).ok_or(HandleError::Unknown)?;
        if flight.delivered_ms != delivery.delivered_ms || flight.visible_ms <= now_ms {
            return Err(HandleError::Expired);
        }
        Ok(flight)
    }

    /// A handle is of a message at or after `next`, which a crash made us forget to have handed out: it was, and so were
    /// those before it, which lie in `before`.
    pub fn remember(&mut self, delivery: Delivery, before: &[Range<u64>]) {
        const NEVER: Flight = Flight { visible_ms: 0, delivered_ms: 0, holder: 0, attempts: 0, uncounted: false };
        for offset in before.iter().cloned().flatten() {
            self.in_flight.insert_ready(offset, NEVER);
        }
        let flight = Flight { visible_ms: i64::MAX, delivered_ms: delivery.delivered_ms, attempts: 1, ..NEVER };
        self.in_flight.insert(delivery.offset, flight);
        self.next = delivery.offset + 1;
    }

    /// A consumer is gone: what it holds becomes visible at `visible_ms`. Returns whether it held anything.
    pub fn holder_gone(&mut self, holder: u32, visible_ms: i64) -> bool {
        let held: Vec<(u64, Flight)> = self
            .in_flight
            .from(0)
            .filter(|(_, flight)| flight.holder == holder)
            .map(|(offset, flight)| (offset, *flight))
            .collect();
        for (offset, flight) in &held {
            let visible_ms = visible_ms.min(flight.visible_ms);
            self.in_flight.insert(*offset, Flight { visible_ms, holder: 0, ..*flight });
        }
        !held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Lease = Lease { invisible_ms: 100, holder: 0 };

    fn never(_: u64, _: &Flight) -> Option<i64> {
        None
    }

    fn handed(offsets: std::ops::Range<u64>) -> QueueDelivery {
        let mut queue = QueueDelivery::starting_at(offsets.start);
        for offset in offsets {
            assert_eq!(queue.hand_out(offset, 1_000, LEASE), 1);
        }
        queue
    }

    fn at(offset: u64) -> Delivery {
        Delivery { offset, delivered_ms: 1_000 }
    }

    #[test]
    fn the_floor_is_the_first_message_that_is_not_settled() {
        let mut queue = handed(5..9);
        assert_eq!((queue.floor(), queue.next()), (5, 9));
        queue.acknowledge(at(6), 1_001).unwrap();
        assert_eq!(queue.floor(), 5);
        queue.acknowledge(at(5), 1_001).unwrap();
        assert_eq!(queue.floor(), 7);
        queue.acknowledge(at(8), 1_001).unwrap();
        queue.acknowledge(at(7), 1_001).unwrap();
        assert_eq!(queue.floor(), 9);
        // Again is fine, and brings nothing back.
        queue.acknowledge(at(7), 1_001).unwrap();
        assert_eq!(queue.floor(), 9);
    }

    #[test]
    fn what_nobody_acknowledges_comes_again_when_its_time_is_over_and_not_before() {
        let mut queue = handed(0..3);
        queue.acknowledge(at(1), 1_050).unwrap();
        queue.expire(1_099, never);
        assert!(queue.again(8, false, None).is_empty());
        queue.expire(1_100, never);
        assert_eq!(queue.again(8, false, None), [0, 2]);
        assert_eq!(queue.hand_out(2, 1_100, LEASE), 2);
        assert_eq!(queue.again(8, false, None), [0]);
        // The first handle is void now, the second is not.
        assert_eq!(queue.acknowledge(at(2), 1_150), Err(HandleError::Expired));
        let second = Delivery { offset: 2, delivered_ms: 1_100 };
        assert_eq!(queue.acknowledge(second, 1_200), Err(HandleError::Expired));
        queue.acknowledge(second, 1_199).unwrap();
        assert_eq!(queue.floor(), 0);
    }

    #[test]
    fn a_changed_time_counts_from_now_and_all_handles_of_the_delivery_stay_good() {
        let mut queue = handed(0..2);
        let changed = queue.change_invisible(at(0), 1_050, 500, false).unwrap();
        assert_eq!((changed.visible_ms, changed.delivered_ms), (1_550, 1_000));
        queue.expire(1_549, never);
        assert_eq!(queue.again(8, false, None), [1]);
        queue.acknowledge(at(0), 1_549).unwrap();
        // Zero hands it back at once.
        let mut queue = handed(0..1);
        queue.change_invisible(at(0), 1_050, 0, false).unwrap();
        queue.expire(1_050, never);
        assert_eq!(queue.hand_out(0, 1_051, LEASE), 2);
        for _ in 0..3 {
            queue.change_invisible(Delivery { offset: 0, delivered_ms: 1_051 }, 1_052, 1, true).unwrap();
        }
        queue.expire(1_053, never);
        assert_eq!(queue.hand_out(0, 1_053, LEASE), 2);
    }

    #[test]
    fn an_ordered_queue_is_blocked_until_everything_out_is_settled_or_over() {
        let mut queue = handed(0..3);
        queue.handed_out_to(Some("first"));
        assert!(!queue.may_go_on(0, true, None) && queue.again(8, true, Some("other")).is_empty());
        // The call that did not get its answer asks again: the same, and no new attempt.
        assert_eq!(queue.again(8, true, Some("first")), [0, 1, 2]);
        assert_eq!(queue.hand_out(0, 1_010, LEASE), 1);
        queue.acknowledge(Delivery { offset: 0, delivered_ms: 1_010 }, 1_020).unwrap();
        queue.acknowledge(at(2), 1_020).unwrap();
        queue.expire(1_100, never);
        assert_eq!(queue.again(8, true, Some("other")), [1]);
        assert!(queue.may_go_on(1, true, Some("other")));
        // Of several, those in front come first and keep the others back.
        let mut queue = handed(0..3);
        queue.change_invisible(at(0), 1_000, 500, false).unwrap();
        queue.expire(1_200, never);
        assert!(queue.again(8, true, None).is_empty());
        queue.expire(1_500, never);
        assert_eq!(queue.again(2, true, None), [0, 1]);
        assert!(!queue.may_go_on(2, true, None));
    }

    #[test]
    fn an_empty_attempt_id_is_nobodys() {
        let mut queue = handed(0..1);
        queue.handed_out_to(Some(""));
        assert!(queue.is_blocked(Some("")) && queue.is_blocked(None));
    }

    #[test]
    fn who_moves_the_offset_forwards_settles_and_backwards_repeats() {
        let mut queue = handed(0..5);
        queue.reset(3);
        assert_eq!((queue.floor(), queue.next(), queue.in_flight().count()), (3, 5, 2));
        queue.reset(9);
        assert_eq!((queue.floor(), queue.next()), (9, 9));
        queue.reset(2);
        assert_eq!((queue.floor(), queue.next()), (2, 2));
        let mut queue = handed(0..5);
        assert!(queue.forget_below(4) && !queue.forget_below(4));
        assert_eq!((queue.floor(), queue.next()), (4, 5));
    }

    #[test]
    fn a_handle_given_out_before_a_crash_forgot_it_still_settles_its_message() {
        let mut queue = QueueDelivery::starting_at(10);
        let forgotten = Delivery { offset: 1_000_002, delivered_ms: 900 };
        queue.remember(forgotten, &[10..12, 1_000_000..1_000_002]);
        queue.acknowledge(forgotten, 1_000).unwrap();
        assert_eq!((queue.floor(), queue.next()), (10, 1_000_003));
        assert_eq!(queue.again(8, false, None), [10, 11, 1_000_000, 1_000_001]);
        assert_eq!(queue.hand_out(10, 1_000, LEASE), 1);
    }

    #[test]
    fn what_a_consumer_holds_comes_back_when_it_is_gone() {
        let mut queue = QueueDelivery::starting_at(0);
        queue.hand_out(0, 0, Lease { invisible_ms: 60_000, holder: 7 });
        queue.hand_out(1, 0, Lease { invisible_ms: 60_000, holder: 8 });
        queue.expire(60_000, |_, flight| (flight.holder == 7).then_some(120_000));
        assert_eq!(queue.again(8, false, None), [1]);
        assert!(queue.holder_gone(7, 61_000) && !queue.holder_gone(7, 61_000));
        queue.expire(61_000, never);
        assert_eq!(queue.again(8, false, None), [0, 1]);
    }

    #[test]
    fn what_could_not_be_brought_was_not_handed_out() {
        let mut queue = handed(0..1);
        queue.take_back(at(0), 1_000);
        queue.expire(1_000, never);
        assert_eq!(queue.hand_out(0, 1_001, LEASE), 1);
        queue.take_back(at(0), 1_001);
        assert!(queue.check(Delivery { offset: 0, delivered_ms: 1_001 }, 1_002).is_ok());
    }
}
