//! How long requests took, by what was asked and what was answered.
//!
//! Found by every request, so there is no lock: a table of fixed size with open addressing, whose places are filled
//! once and never emptied.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics::Histogram;
use metrics::histogram::Scale;
use protocol::codes::{RequestCode, ResponseCode};

use crate::membership::Door;

/// Kinds of calls that are told apart; the rest are not measured. Both doors together have 100 requests, mostly with two
/// or three answers each.
const PLACES: usize = 1_024;

/// Bounds of stock brokers, in microseconds: 1, 3, 5, 7, 10, 100 ms, 1, 2, 3 s.
const BOUNDS_US: &[u64] = &[1_000, 3_000, 5_000, 7_000, 10_000, 100_000, 1_000_000, 2_000_000, 3_000_000];

/// Stands for every request code that nobody knows: clients could fill the table with them.
const UNKNOWN: RequestCode = RequestCode(-1);

/// A kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// How it came.
    pub door: Door,
    /// What was asked: a request code, or for gRPC the number of the call.
    pub request: i32,
    /// What was answered: a response code, or for gRPC the code of the status.
    pub response: i32,
    /// Whether it was held until there was something to say.
    pub held: bool,
    /// Whether nobody wanted the answer.
    pub oneway: bool,
}

impl Kind {
    /// A request that was answered at once.
    pub fn remoting(request: RequestCode, response: ResponseCode) -> Kind {
        Kind { door: Door::Remoting, request: request.0, response: response.0, held: false, oneway: false }
    }

    /// A call by gRPC.
    pub fn grpc(call: i32, status: i32) -> Kind {
        Kind { door: Door::Grpc, request: call, response: status, held: false, oneway: false }
    }

    /// The same, but for a request that nobody knows.
    fn told_apart(self) -> Kind {
        let is_known = self.door == Door::Grpc || RequestCode(self.request).name().is_some();
        if is_known { self } else { Kind { request: UNKNOWN.0, ..self } }
    }

    fn hash(self) -> usize {
        let codes = (self.request as u64) << 32 | u64::from(self.response as u32);
        let flags = [self.oneway, self.held, self.door == Door::Grpc];
        let rest = flags.into_iter().fold(0, |bits, flag| bits << 1 | u64::from(flag));
        // Multiplicative hashing: the upper bits are the good ones.
        ((codes ^ rest << 60).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 54) as usize
    }
}

type Place = OnceLock<(Kind, Histogram)>;

/// The times of all kinds of calls. Clones add to the same: an answer that is given later must not keep the broker.
#[derive(Clone, Debug)]
pub struct RpcLatency(Arc<[Place]>);

impl Default for RpcLatency {
    fn default() -> RpcLatency {
        RpcLatency((0..PLACES).map(|_| OnceLock::new()).collect())
    }
}

impl RpcLatency {
    /// So many calls of that kind took that long each.
    pub fn observe(&self, kind: Kind, time: Duration, times: u64) {
        if let Some(histogram) = self.find(kind).or_else(|| self.enter(kind.told_apart())) {
            histogram.observe_time_many(time, times);
        }
    }

    /// Every kind of call that there was.
    pub fn all(&self) -> impl Iterator<Item = &(Kind, Histogram)> {
        self.0.iter().filter_map(OnceLock::get)
    }

    fn find(&self, kind: Kind) -> Option<&Histogram> {
        let taken = self.places(kind).map_while(OnceLock::get);
        taken.filter(|(found, _)| *found == kind).map(|(_, histogram)| histogram).next()
    }

    fn enter(&self, kind: Kind) -> Option<&Histogram> {
        // A place that was free may be another kind's by now.
        let new = || (kind, Histogram::new(Scale::MicrosAsMillis, BOUNDS_US));
        let entered = self.places(kind).map(|place| place.get_or_init(new));
        entered.filter(|(found, _)| *found == kind).map(|(_, histogram)| histogram).next()
    }

    /// Where a kind may be, in order: it is in none behind a free one.
    fn places(&self, kind: Kind) -> impl Iterator<Item = &Place> {
        let (before, from) = self.0.split_at(kind.hash() % PLACES);
        from.iter().chain(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(latency: &RpcLatency, kind: Kind) -> Option<u64> {
        latency.all().find(|(found, _)| *found == kind).map(|(_, histogram)| histogram.count())
    }

    #[test]
    fn calls_are_told_apart_by_question_answer_and_door() {
        let latency = RpcLatency::default();
        let send = Kind::remoting(RequestCode::SEND_MESSAGE, ResponseCode::SUCCESS);
        let others = [
            Kind::remoting(RequestCode::SEND_MESSAGE, ResponseCode::NO_PERMISSION),
            Kind { held: true, ..send },
            Kind { oneway: true, ..send },
            Kind::grpc(send.request, send.response),
        ];
        latency.observe(send, Duration::from_millis(4), 3);
        others.iter().for_each(|kind| latency.observe(*kind, Duration::ZERO, 1));
        assert_eq!(count(&latency, send), Some(3));
        assert!(others.iter().all(|kind| count(&latency, *kind) == Some(1)));
    }

    #[test]
    fn codes_that_nobody_knows_share_a_place() {
        let latency = RpcLatency::default();
        for code in 100_000..110_000 {
            let kind = Kind::remoting(RequestCode(code), ResponseCode::REQUEST_CODE_NOT_SUPPORTED);
            latency.observe(kind, Duration::ZERO, 1);
        }
        let shared = Kind::remoting(UNKNOWN, ResponseCode::REQUEST_CODE_NOT_SUPPORTED);
        assert_eq!((latency.all().count(), count(&latency, shared)), (1, Some(10_000)));
    }

    #[test]
    fn a_full_table_takes_no_more_kinds_and_still_finds_its_own() {
        let latency = RpcLatency::default();
        let kind = |response| Kind::remoting(RequestCode::PULL_MESSAGE, ResponseCode(response));
        for response in 0..2_000 {
            latency.observe(kind(response), Duration::ZERO, 1);
        }
        latency.observe(kind(5), Duration::ZERO, 1);
        assert_eq!((latency.all().count(), count(&latency, kind(5))), (PLACES, Some(2)));
    }
}
