//! What a producing connection knows of the messages that it sent to one queue.

use std::collections::VecDeque;
use std::ops::Range;

/// Requests whose fate is unknown that are remembered one by one; of a run with more, not all that is missing can be
/// told from what was never stored.
const UNSURE_MAX: usize = 100_000;

/// Requests to one queue. They are numbered 0, 1, 2, …; a request carries one message or a batch of them.
#[derive(Debug, Default)]
pub struct Ledger {
    next: u64,
    /// Requests below this were answered.
    open_from: u64,
    /// Whether the requests from `open_from` on were answered.
    answered: VecDeque<bool>,
    unsure: Vec<u64>,
}

/// What was sent to one queue by one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Messages: their sequence numbers are below this.
    pub messages: u64,
    /// Sequence numbers of messages that may or may not have been stored: their requests failed or got no answer.
    pub unsure: Vec<Range<u64>>,
}

impl Sent {
    /// Messages that were stored for certain.
    pub fn certain(&self) -> u64 {
        let unsure: u64 = self.unsure.iter().map(|range| range.end - range.start).sum();
        self.messages - unsure.min(self.messages)
    }
}

impl Ledger {
    /// Numbers another request.
    pub fn begin(&mut self) -> u64 {
        self.answered.push_back(false);
        self.next += 1;
        self.next - 1
    }

    /// All requests below this have been answered.
    pub fn answered_below(&self) -> u64 {
        self.open_from
    }

    /// Notes the answer to a request.
    pub fn finish(&mut self, request: u64, stored: bool) {
        if !stored && self.unsure.len() < UNSURE_MAX {
            self.unsure.push(request);
        }
        let open = request.checked_sub(self.open_from).and_then(|at| self.answered.get_mut(usize::try_from(at).ok()?));
        debug_assert!(open.as_deref() == Some(&false), "request {request} is not open");
        if let Some(open) = open {
            *open = true;
        }
        while self.answered.front() == Some(&true) {
            self.answered.pop_front();
            self.open_from += 1;
        }
    }

    /// What was sent, where every request carried `batch` messages.
    pub fn close(self, batch: u64) -> Sent {
        let unanswered = self.answered.iter().zip(self.open_from..).filter(|(answered, _)| !**answered);
        let unsure = self.unsure.iter().copied().chain(unanswered.map(|(_, request)| request));
        Sent {
            messages: self.next * batch,
            unsure: unsure.map(|request| request * batch..(request + 1) * batch).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_answered_moves_on_with_the_oldest_request() {
        let mut ledger = Ledger::default();
        assert_eq!([ledger.begin(), ledger.begin(), ledger.begin()], [0, 1, 2]);
        ledger.finish(1, true);
        assert_eq!(ledger.answered_below(), 0);
        ledger.finish(0, true);
        assert_eq!(ledger.answered_below(), 2);
        let sent = ledger.close(1);
        assert_eq!((sent.messages, sent.unsure), (3, Vec::from([Range { start: 2, end: 3 }])));
    }

    #[test]
    fn failed_and_unanswered_requests_may_or_may_not_be_stored() {
        let mut ledger = Ledger::default();
        for _ in 0..3 {
            ledger.begin();
        }
        ledger.finish(1, false);
        ledger.finish(2, true);
        assert_eq!(ledger.close(10), Sent { messages: 30, unsure: vec![10..20, 0..10] });
    }
}
