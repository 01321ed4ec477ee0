//! Noting how long requests took.

use metrics::Stopwatch;
use protocol::codes::{RequestCode, ResponseCode};
use protocol::writer;

use super::call::Call;
use crate::broker::Broker;
use crate::rpc_latency::Kind;

/// A request was answered with what stands from `start` on among the answers. Nothing there says that it is answered
/// later, or not at all: a oneway request has succeeded then.
pub fn note(call: &Call<'_>, start: usize) {
    let oneway = call.header.is_oneway();
    let response = match writer::code_of_written(&call.out[start..], call.codec) {
        Some(response) => response,
        None if oneway => ResponseCode::SUCCESS,
        None => return,
    };
    let kind = Kind { oneway, ..Kind::remoting(RequestCode(call.header.code), response) };
    call.broker.counters.rpc_latency.observe(kind, call.since.elapsed(), 1);
}

/// A request that was held is answered.
pub fn note_held(broker: &Broker, request: RequestCode, response: ResponseCode, since: Stopwatch) {
    let kind = Kind { held: true, ..Kind::remoting(request, response) };
    broker.counters.rpc_latency.observe(kind, since.elapsed(), 1);
}
