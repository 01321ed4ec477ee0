//! Sets of numbers of which nearly all come: one bit each.

use std::collections::HashMap;

use super::label::{Label, ROLLED_BACK};
use super::ledger::Sent;
use super::verify::{Fit, Verification};

/// Larger numbers are taken for broken ones.
const NUMBER_MAX: u64 = 1 << 34;

/// A set of numbers.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    bits: Vec<u64>,
    count: u64,
}

impl Numbers {
    /// Adds a number; tells whether it was not there. One that is too large is not added.
    pub fn insert(&mut self, number: u64) -> bool {
        let (word, bit) = ((number / 64) as usize, 1 << (number % 64));
        if NUMBER_MAX <= number || self.bits.get(word).is_some_and(|bits| bits & bit != 0) {
            return false;
        }
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        self.bits[word] |= bit;
        self.count += 1;
        true
    }

    /// Whether it is there.
    pub fn has(&self, number: u64) -> bool {
        self.bits.get((number / 64) as usize).is_some_and(|bits| bits & (1 << (number % 64)) != 0)
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }
}

/// What came of what connections sent, where the server chose the queues: every queue has some of a connection's
/// messages.
#[derive(Debug, Default)]
pub struct Scattered(HashMap<u32, Numbers>);

/// Below which numbers everything had been answered when some message of a queue was sent, by sending connection. What
/// comes later and has a lower number is out of order.
pub type Floors = HashMap<u32, u64>;

impl Scattered {
    /// Takes in a message that a connection sent.
    pub fn take(&mut self, producer: u32, label: Label, floors: &mut Floors) -> Fit {
        let number = label.sequence;
        if number == ROLLED_BACK {
            return Fit::RolledBack;
        }
        if number < label.answered_below || NUMBER_MAX <= number {
            return Fit::Garbled;
        }
        let floor = floors.entry(producer).or_default();
        let is_late = number < *floor;
        *floor = label.answered_below.max(*floor);
        match self.0.entry(producer).or_default().insert(number) {
            false => Fit::Duplicate,
            true if is_late => Fit::OutOfOrder,
            true => Fit::Good,
        }
    }

    /// Compares with what was sent, by sending connection.
    pub fn compare(&self, sent: &HashMap<u32, Sent>) -> Verification {
        let nothing = Numbers::default();
        let mut all = Verification::default();
        for (producer, sent) in sent {
            let came = self.0.get(producer).unwrap_or(&nothing);
            let unsure = sent.unsure.iter().flat_map(Clone::clone).filter(|number| !came.has(*number)).count() as u64;
            let below = (0..sent.messages).filter(|number| came.has(*number)).count() as u64;
            let lost = (sent.messages - below).saturating_sub(unsure);
            all.sent += sent.messages;
            all.came += came.count();
            all.lost += lost;
            all.unsure += unsure;
            all.invented += came.count() - below;
            if 0 < lost && all.first_lost.is_none() {
                let is_unsure = |number: &u64| sent.unsure.iter().any(|range| range.contains(number));
                let first = (0..sent.messages).find(|number| !came.has(*number) && !is_unsure(number));
                all.first_lost = first.map(|number| format!("number {number} of connection {producer}"));
            }
        }
        let strange = self.0.iter().filter(|(producer, _)| !sent.contains_key(producer));
        all.invented += strange.map(|(_, came)| came.count()).sum::<u64>();
        all
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;

    fn label(sequence: u64, answered_below: u64) -> Label {
        Label { sequence, answered_below, time: 0 }
    }

    fn sent(messages: u64, unsure: &[Range<u64>]) -> HashMap<u32, Sent> {
        HashMap::from([(3, Sent { messages, unsure: unsure.to_vec() })])
    }

    #[test]
    fn every_number_is_counted_once() {
        let mut numbers = Numbers::default();
        assert_eq!([0, 63, 64, 1000, 64].map(|number| numbers.insert(number)), [true, true, true, true, false]);
        assert_eq!((numbers.count(), numbers.has(63), numbers.has(65), numbers.has(1 << 40)), (4, true, false, false));
        assert!(!numbers.insert(u64::MAX));
    }

    #[test]
    fn order_holds_within_a_queue_and_duplicates_are_found_across_queues() {
        let mut all = Scattered::default();
        let (mut one, mut other) = (Floors::new(), Floors::new());
        assert_eq!(all.take(3, label(2, 2), &mut one), Fit::Good);
        // Of another queue.
        assert_eq!(all.take(3, label(0, 0), &mut other), Fit::Good);
        assert_eq!(all.take(3, label(1, 0), &mut one), Fit::OutOfOrder);
        assert_eq!(all.take(3, label(2, 2), &mut other), Fit::Duplicate);
        assert_eq!(all.take(3, label(ROLLED_BACK, 0), &mut one), Fit::RolledBack);
        assert_eq!(all.take(3, label(3, 4), &mut one), Fit::Garbled);
        assert_eq!(all.compare(&sent(3, &[])), Verification { sent: 3, came: 3, ..Verification::default() });
    }

    #[test]
    fn what_is_missing_is_lost_unless_nobody_said_that_it_was_stored() {
        let (mut all, mut floors) = (Scattered::default(), Floors::new());
        for number in [0, 1, 3] {
            all.take(3, label(number, 0), &mut floors);
        }
        let found = all.compare(&sent(4, &[]));
        assert_eq!((found.lost, found.first_lost.as_deref()), (1, Some("number 2 of connection 3")));
        let unsure = all.compare(&sent(4, &[Range { start: 2, end: 3 }]));
        assert_eq!((unsure.lost, unsure.unsure), (0, 1));
        assert_eq!(all.compare(&sent(3, &[])).invented, 1);
        assert_eq!(all.compare(&HashMap::new()).invented, 3);
    }
}
