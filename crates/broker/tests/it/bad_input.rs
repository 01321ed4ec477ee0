//! Whatever arrives gets an answer or a closed connection, a count and at most one line in the log. Nothing that is
//! stored is lost by it, and the broker goes on serving.

mod fields;
mod frames;
mod messages;
mod mutations;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use broker::config::BrokerConfig;
use protocol::codes::ResponseCode;
use protocol::record;

use crate::calls::{pull, send};
use crate::server::Server;
use crate::watch;
use crate::wire::Wire;

const KEPT: &str = "kept";
const QUEUES: i32 = 4;

/// A broker with messages in it that must all be there in the end.
struct Guarded {
    server: Server,
    wire: Wire,
    /// Stored bytes of each queue.
    stored: Vec<Vec<u8>>,
    served: usize,
}

impl Guarded {
    fn start() -> Guarded {
        Guarded::start_with(|_| {})
    }

    fn start_with(change: impl FnOnce(&mut BrokerConfig)) -> Guarded {
        watch::begin();
        let server = Server::start_with(change);
        let mut wire = server.connect();
        for number in 0..40 {
            let queue_id = (number % QUEUES).to_string();
            let properties = format!("KEYS\u{1}k{number}\u{2}TAGS\u{1}t{}", number % 3);
            let body = vec![number as u8; 100 * number as usize + 1];
            let answer = send(&mut wire, KEPT, &[("queueId", &queue_id), ("properties", &properties)], &body);
            assert_eq!(answer.response_code(), ResponseCode::SUCCESS, "{answer:?}");
        }
        let stored = stored(&mut wire);
        assert_eq!(stored.iter().map(|bytes| record::records(bytes).count()).sum::<usize>(), 40);
        Guarded { server, wire, stored, served: 0 }
    }

    /// A connection of its own, for input that may end it.
    fn connect(&self) -> Wire {
        let wire = self.server.connect();
        watch::forget(wire.address());
        wire
    }

    /// Sends a message and gets it back, on a connection that was open all the time.
    #[track_caller]
    fn still_serves(&mut self) {
        let body = format!("still here {}", self.served);
        let answer = send(&mut self.wire, "alive", &[("queueId", "0")], body.as_bytes());
        assert_eq!(answer.response_code(), ResponseCode::SUCCESS, "{answer:?}");
        assert_eq!(answer.number("queueOffset"), self.served as i64);
        let answer = pull(&mut self.wire, "alive", &[("queueId", "0"), ("queueOffset", &self.served.to_string())]);
        let bodies: Vec<&[u8]> = record::records(&answer.body).map(|record| record.body()).collect();
        assert_eq!(bodies, [body.as_bytes()]);
        self.served += 1;
        watch::nothing_panicked();
    }

    /// Everything that was stored is there unchanged, now and after a restart.
    #[track_caller]
    fn finish(mut self) {
        self.still_serves();
        assert_eq!(stored(&mut self.wire), self.stored);
        self.server.restart();
        self.wire = self.server.connect();
        assert_eq!(stored(&mut self.wire), self.stored, "after a restart");
        let alive = pull(&mut self.wire, "alive", &[("queueId", "0"), ("queueOffset", "0"), ("maxMsgNums", "1024")]);
        assert_eq!(record::records(&alive.body).count(), self.served);
        self.still_serves();
    }

    fn count(&self, counter: impl Fn(&broker::counters::Counters) -> &AtomicU64) -> u64 {
        counter(&self.server.broker().counters).load(Ordering::Relaxed)
    }
}

/// All stored bytes of each queue of the topic that is kept.
fn stored(wire: &mut Wire) -> Vec<Vec<u8>> {
    let queue = |queue_id: i32| {
        let queue_id = queue_id.to_string();
        let more = [("queueId", &*queue_id), ("queueOffset", "0"), ("maxMsgNums", "1024")];
        let answer = pull(wire, KEPT, &more);
        assert_eq!(answer.response_code(), ResponseCode::SUCCESS, "{answer:?}");
        answer.body
    };
    (0..QUEUES).map(queue).collect()
}

/// Waits for something that happens on another thread and tells nobody; whoever runs the test gives up for us.
pub fn until(happened: impl Fn() -> bool) {
    while !happened() {
        std::thread::yield_now();
    }
}

/// The log says at most one thing about a client.
#[track_caller]
fn at_most_one_line(peer: SocketAddr) {
    let lines = watch::lines_about(peer);
    assert!(lines <= 1, "{lines} lines about {peer}");
}
