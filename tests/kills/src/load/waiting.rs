//! Sends of delayed messages.

use protocol::codes::RequestCode;
use protocol::properties;

use super::Lane;
use crate::clock;
use crate::history::Event;
use crate::message::Kind;
use crate::requests::{self, Trouble};

/// Longest delay. Some are due while the broker is down, some in a later life.
const DELAY_MS_MAX: u64 = 1_500;
/// Sends in one write.
const BURST_MAX: u64 = 4;

pub(super) fn run(lane: &mut Lane) -> Result<(), Trouble> {
    while !lane.stop.is_told() {
        let mut pushed = Vec::new();
        for _ in 0..lane.chance.between(1, BURST_MAX) {
            let queue = lane.queue(Kind::Late);
            // Level 1 is one second.
            let by_level = lane.chance.one_in(5);
            let delay_ms = if by_level { 1_000 } else { lane.chance.between(1, DELAY_MS_MAX) };
            let id = lane.next_id(Kind::Late, queue, clock::now_ms() + delay_ms as i64);
            let given = if by_level {
                (properties::DELAY, "1".to_owned())
            } else {
                (properties::TIMER_DELAY_MS, delay_ms.to_string())
            };
            let header = requests::send(&id, &[(given.0, &given.1)]);
            pushed.push((lane.wire.push(RequestCode::SEND_MESSAGE_V2, &header, &id.body()), id));
        }
        lane.wire.flush()?;
        for (opaque, id) in pushed {
            let answer = lane.wire.answer()?;
            requests::accept("a delayed send", &answer)?;
            if answer.opaque != opaque {
                return Err(std::io::Error::other("answers of one kind came out of order").into());
            }
            lane.report.events.push(Event::Waiting { id });
        }
        lane.pause(3);
    }
    Ok(())
}
