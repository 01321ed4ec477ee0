//! Whether what was sent came: once, and in order.
//!
//! Memory is bounded by what is under way, not by what came: of every stream (producing connection and queue) a
//! window of bits and the gaps below it are kept. See [`super::label`] for what order means.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::Range;

use serde::Serialize;

use super::label::{Label, ROLLED_BACK};
use super::ledger::Sent;

/// Widest window of a stream, in sequence numbers: 8 MiB of bits.
const WINDOW_MAX: u64 = 1 << 26;
/// Gaps of a stream that are remembered one by one.
const GAPS_MAX: usize = 1 << 16;

/// A producing connection and a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey {
    /// Number of the broker.
    pub broker: u32,
    /// Number of the topic.
    pub topic: u32,
    /// Number of the queue.
    pub queue: i32,
    /// Number of the producing connection.
    pub producer: u32,
}

/// What came of one stream.
#[derive(Debug, Default)]
pub struct Stream {
    /// Every lower number came, or is a gap.
    floor: u64,
    /// One bit a number from `floor` rounded down to 64 on: whether it came.
    came: VecDeque<u64>,
    gaps: BTreeSet<u64>,
    messages: u64,
    highest: Option<u64>,
}

/// How a message fits what came before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// As it should.
    Good,
    /// It came before.
    Duplicate,
    /// It was answered before another one was sent that came already.
    OutOfOrder,
    /// It was rolled back.
    RolledBack,
    /// No producer writes such a label.
    Garbled,
}

impl Stream {
    /// Takes a message in.
    pub fn take(&mut self, label: Label) -> Fit {
        let number = label.sequence;
        if number == ROLLED_BACK {
            return Fit::RolledBack;
        }
        if number < label.answered_below || WINDOW_MAX <= number.saturating_sub(self.floor) {
            return Fit::Garbled;
        }
        let fit = if number < self.floor {
            if self.gaps.remove(&number) { Fit::OutOfOrder } else { Fit::Duplicate }
        } else if self.bit(number) {
            Fit::Duplicate
        } else {
            self.set(number);
            Fit::Good
        };
        if fit != Fit::Duplicate {
            self.messages += 1;
            self.highest = self.highest.max(Some(number));
        }
        self.pass(label.answered_below);
        fit
    }

    fn place(&self, number: u64) -> (usize, u64) {
        ((number / 64 - self.floor / 64) as usize, 1 << (number % 64))
    }

    fn bit(&self, number: u64) -> bool {
        let (word, bit) = self.place(number);
        self.came.get(word).is_some_and(|bits| bits & bit != 0)
    }

    fn set(&mut self, number: u64) {
        let (word, bit) = self.place(number);
        if self.came.len() <= word {
            self.came.resize(word + 1, 0);
        }
        self.came[word] |= bit;
    }

    /// Raises the floor to `at_least`, remembering gaps, and on over all that came.
    fn pass(&mut self, at_least: u64) {
        while self.floor < at_least || self.bit(self.floor) {
            if self.floor.is_multiple_of(64) && self.came.front() == Some(&u64::MAX) {
                self.floor += 64;
                self.came.pop_front();
                continue;
            }
            if !self.bit(self.floor) && self.gaps.len() < GAPS_MAX {
                self.gaps.insert(self.floor);
            }
            self.floor += 1;
            if self.floor.is_multiple_of(64) {
                self.came.pop_front();
            }
        }
    }

    fn has(&self, number: u64) -> bool {
        if number < self.floor { !self.gaps.contains(&number) } else { self.bit(number) }
    }
}

/// What a comparison of everything sent with everything that came found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Messages that were sent and are to be delivered.
    pub sent: u64,
    /// Different ones of them that came.
    pub came: u64,
    /// Messages that were acknowledged and did not come.
    pub lost: u64,
    /// Messages whose request failed or got no answer, and that did not come.
    pub unsure: u64,
    /// The first lost message, in words.
    pub first_lost: Option<String>,
    /// Messages that came and were never sent.
    pub invented: u64,
}

/// Compares what was sent with what came.
pub fn compare(sent: &HashMap<StreamKey, Sent>, came: &HashMap<StreamKey, Stream>) -> Verification {
    let nothing = Stream::default();
    let mut all = Verification::default();
    for (key, sent) in sent {
        let stream = came.get(key).unwrap_or(&nothing);
        let missing = |range: &Range<u64>| range.clone().filter(|number| !stream.has(*number)).count() as u64;
        let unsure: u64 = sent.unsure.iter().map(missing).sum();
        let lost = (sent.messages.saturating_sub(stream.messages)).saturating_sub(unsure);
        all.sent += sent.messages;
        all.came += stream.messages;
        all.lost += lost;
        all.unsure += unsure;
        if 0 < lost && all.first_lost.is_none() {
            let is_unsure = |number: &u64| sent.unsure.iter().any(|range| range.contains(number));
            let first = (0..sent.messages).find(|number| !stream.has(*number) && !is_unsure(number));
            all.first_lost = first.map(|number| {
                let StreamKey { broker, topic, queue, producer } = key;
                format!("number {number} of connection {producer} to queue {queue} of topic {topic}, broker {broker}")
            });
        }
        all.invented += stream.highest.map_or(0, |highest| (highest + 1).saturating_sub(sent.messages));
    }
    all.invented +=
        came.iter().filter(|(key, _)| !sent.contains_key(key)).map(|(_, stream)| stream.messages).sum::<u64>();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: StreamKey = StreamKey { broker: 0, topic: 0, queue: 3, producer: 2 };

    fn label(sequence: u64, answered_below: u64) -> Label {
        Label { sequence, answered_below, time: 0 }
    }

    /// Takes `(sequence, answered_below)` pairs and returns what is not good about them.
    fn take(stream: &mut Stream, labels: &[(u64, u64)]) -> Vec<(u64, Fit)> {
        let fits = labels.iter().map(|(sequence, below)| (*sequence, stream.take(label(*sequence, *below))));
        fits.filter(|(_, fit)| *fit != Fit::Good).collect()
    }

    fn compared(messages: u64, unsure: &[Range<u64>], labels: &[(u64, u64)]) -> Verification {
        let mut stream = Stream::default();
        take(&mut stream, labels);
        compare(&HashMap::from([(KEY, Sent { messages, unsure: unsure.to_vec() })]), &HashMap::from([(KEY, stream)]))
    }

    #[test]
    fn sends_under_way_together_may_overtake_each_other() {
        let mut stream = Stream::default();
        assert_eq!(take(&mut stream, &[(1, 0), (0, 0), (3, 1), (2, 1), (4, 4)]), []);
        assert_eq!((stream.floor, stream.messages), (5, 5));
    }

    #[test]
    fn a_message_answered_before_another_was_sent_must_come_before_it() {
        let mut stream = Stream::default();
        assert_eq!(take(&mut stream, &[(0, 0), (2, 2), (1, 1)]), [(1, Fit::OutOfOrder)]);
        assert_eq!(take(&mut stream, &[(1, 1)]), [(1, Fit::Duplicate)]);
    }

    #[test]
    fn duplicates_are_found_however_long_ago_the_first_one_came() {
        let mut stream = Stream::default();
        let labels: Vec<(u64, u64)> = (0..1000).map(|number| (number, number)).collect();
        assert_eq!(take(&mut stream, &labels), []);
        assert!(stream.came.len() <= 2, "{}", stream.came.len());
        assert_eq!(
            take(&mut stream, &[(0, 0), (999, 999), (1001, 0), (1001, 0)]),
            [(0, Fit::Duplicate), (999, Fit::Duplicate), (1001, Fit::Duplicate)]
        );
    }

    #[test]
    fn rolled_back_messages_and_garbled_labels_are_told() {
        let mut stream = Stream::default();
        let labels = [(ROLLED_BACK, 0), (5, 6), (WINDOW_MAX, 0)];
        let fits = take(&mut stream, &labels);
        assert_eq!(fits.iter().map(|(_, fit)| *fit).collect::<Vec<_>>(), [Fit::RolledBack, Fit::Garbled, Fit::Garbled]);
        assert_eq!(stream.messages, 0);
    }

    #[test]
    fn what_is_missing_is_lost_unless_nobody_said_that_it_was_stored() {
        let all = [(0, 0), (1, 1), (2, 2), (3, 3)];
        assert_eq!(compared(4, &[], &all).lost, 0);
        let gap = compared(4, &[], &[(0, 0), (1, 1), (3, 3)]);
        assert_eq!((gap.lost, gap.came), (1, 3));
        assert!(gap.first_lost.unwrap().starts_with("number 2 of connection 2 to queue 3"));
        assert_eq!(compared(6, &[], &all).lost, 2);
        let unsure = compared(6, &[4..5, 0..1], &all);
        assert_eq!((unsure.lost, unsure.unsure), (1, 1));
        assert_eq!(compare(&HashMap::from([(KEY, Sent { messages: 3, unsure: vec![] })]), &HashMap::new()).lost, 3);
    }

    #[test]
    fn what_was_never_sent_is_invented() {
        assert_eq!(compared(1, &[], &[(0, 0), (1, 1)]).invented, 1);
        let mut stream = Stream::default();
        take(&mut stream, &[(0, 0)]);
        assert_eq!(compare(&HashMap::new(), &HashMap::from([(KEY, stream)])).invented, 1);
    }

    /// Any order within the window, then everything once more.
    #[test]
    fn shuffled_windows_are_good_once_and_duplicates_after() {
        let mut stream = Stream::default();
        let order: Vec<u64> = (0..640).map(|number| number / 64 * 64 + number * 37 % 64).collect();
        let labels: Vec<(u64, u64)> = order.iter().map(|number| (*number, number / 64 * 64)).collect();
        assert_eq!(take(&mut stream, &labels), []);
        assert_eq!((stream.floor, stream.gaps.len()), (640, 0));
        assert_eq!(take(&mut stream, &labels).len(), 640);
    }
}
