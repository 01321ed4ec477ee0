//! Noting how long requests took.

use metrics::Stopwatch;
use protocol::codes::RequestCode;
use protocol::frame::Codec;
use protocol::writer;

use crate::broker::Broker;
use crate::rpc_latency::Kind;

/// A request was answered with a frame, as it stands among the answers. None says that it is answered later or not at all.
pub fn note(broker: &Broker, code: i32, codec: Codec, answer: &[u8], stopwatch: Stopwatch) {
    if let Some(response) = writer::code_of_written(answer, codec) {
        broker.counters.rpc_latency.observe(Kind::remoting(RequestCode(code), response), stopwatch.elapsed(), 1);
    }
}
