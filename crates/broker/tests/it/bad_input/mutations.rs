//! Recorded requests with bytes changed at random: every one is answered, passed over, or ends its connection.

use protocol::codes::RequestCode;
use protocol::frame;

use super::{Guarded, KEPT};
use crate::recording::{self, Kind, Peer};

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// Recorded requests to the broker, one of each code in each recording.
fn requests() -> Vec<Vec<u8>> {
    let names = [
        "go-retry",
        "go-transaction",
        "go-orderly-consumer",
        "java-binary-header",
        "java-query",
        "java-delay",
        "mqadmin",
    ];
    let mut found = Vec::new();
    for name in names {
        let mut codes = Vec::new();
        for line in recording::lines(name) {
            let Kind::Request { code, .. } = line.kind else { continue };
            let wanted = line.from_client && line.peer != Peer::Nameserver && line.lost_body.is_none();
            if wanted && !codes.contains(&code) {
                codes.push(code);
                found.push(line.bytes);
            }
        }
    }
    found
}

/// Changes some bytes after the length, which stays right, so that what follows is still read as frames.
fn mutate(bytes: &mut Vec<u8>, dice: &mut Dice) {
    const EVIL: [u8; 8] = [0, 0xff, 0x80, 0x7f, b'"', b'{', b'9', b'-'];
    match dice.below(4) {
        0 => {
            let (from, to) = (4 + dice.below(bytes.len() - 4), dice.below(40));
            let to = (from + to).min(bytes.len());
            bytes.drain(from..to);
        }
        1 => {
            let (from, to) = (4 + dice.below(bytes.len() - 4), dice.below(40));
            let copied = bytes[from..(from + to).min(bytes.len())].to_vec();
            bytes.splice(from..from, copied);
        }
        _ => {
            for _ in 0..=dice.below(6) {
                let at = 4 + dice.below(bytes.len() - 4);
                bytes[at] = if dice.below(2) == 0 { EVIL[dice.below(EVIL.len())] } else { dice.below(256) as u8 };
            }
        }
    }
    let length = (bytes.len() - 4) as u32;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
}

#[test]
fn mutated_requests_do_no_harm() {
    let mut guarded = Guarded::start();
    let requests = requests();
    assert!(requests.len() > 80, "{}", requests.len());
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for round in 0..12 {
        for request in &requests {
            let mut bytes = request.clone();
            mutate(&mut bytes, &mut dice);
            if names_what_is_kept(&bytes) {
                continue;
            }
            let mut wire = guarded.connect();
            let peer = wire.address();
            wire.send(&bytes);
            wire.finish_sending();
            wire.closed();
            assert!(crate::watch::lines_about(peer) <= 1, "round {round}");
        }
        guarded.still_serves();
    }
    guarded.finish();
}

/// Whether a change made the request one about the topics of this test.
fn names_what_is_kept(bytes: &[u8]) -> bool {
    let Ok(Some(frame)) = frame::split(bytes) else { return false };
    let has = |name: &str| frame.header.windows(name.len()).any(|window| window == name.as_bytes());
    has(KEPT) || has("alive")
}

#[test]
fn every_recorded_request_is_one_that_the_mutations_start_from() {
    let codes: Vec<i32> = requests().iter().map(|bytes| crate::wire::Message::of(bytes).code).collect();
    for code in
        [RequestCode::SEND_MESSAGE_V2, RequestCode::PULL_MESSAGE, RequestCode::HEART_BEAT, RequestCode::END_TRANSACTION]
    {
        assert!(codes.contains(&code.0), "{code}");
    }
}
