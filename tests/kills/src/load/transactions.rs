//! Half messages, and decisions about them: at once, in a later life, twice when the first answer was lost.

use protocol::codes::RequestCode;
use protocol::message_id::OffsetMessageId;

use super::Lane;
use crate::history::{Decision, Event, HalfPlace};
use crate::message::{Id, Kind};
use crate::requests::{self, Trouble};
use crate::violation::Violation;

/// Half messages in one write.
const BURST_MAX: u64 = 8;

/// A half message, and the decision that was sent for it.
pub(crate) type Undecided = (Id, HalfPlace, Option<Decision>);

pub(super) fn run(lane: &mut Lane, earlier: Vec<Undecided>) -> Result<(), Trouble> {
    // Those whose decision got no answer are decided again, as a client would; of the others some wait longer.
    let again: Vec<_> = earlier.into_iter().filter(|(_, _, asked)| asked.is_some() || lane.chance.one_in(2)).collect();
    decide(lane, &again)?;
    while !lane.stop.is_told() {
        let halves = send_halves(lane)?;
        let decided: Vec<_> = halves.into_iter().filter(|_| !lane.chance.one_in(6)).collect();
        decide(lane, &decided)?;
        lane.pause(3);
    }
    Ok(())
}

fn send_halves(lane: &mut Lane) -> Result<Vec<Undecided>, Trouble> {
    let mut pushed = Vec::new();
    for _ in 0..lane.chance.between(1, BURST_MAX) {
        let queue = lane.queue(Kind::Paid);
        let id = lane.next_id(Kind::Paid, queue, 0);
        let header = requests::send(&id, &requests::half_properties());
        pushed.push((lane.wire.push(RequestCode::SEND_MESSAGE_V2, &header, &id.body()), id));
    }
    lane.wire.flush()?;
    let mut halves = Vec::new();
    for _ in 0..pushed.len() {
        let answer = lane.wire.answer()?;
        requests::accept("a half message", &answer)?;
        let id = id_of(&mut pushed, answer.opaque)?;
        let position = OffsetMessageId::parse(&answer.text("msgId")).map(|id| id.position as i64);
        let position = position.ok_or_else(|| std::io::Error::other("an answer without a position"))?;
        let half = HalfPlace { offset: answer.number("queueOffset")?, position };
        lane.note(Event::Half { id, half });
        halves.push((id, half, None));
    }
    Ok(halves)
}

/// Decides about half messages; those that were decided before get the same again.
pub(crate) fn decide(lane: &mut Lane, halves: &[Undecided]) -> Result<(), Trouble> {
    for halves in halves.chunks(BURST_MAX as usize) {
        let mut pushed = Vec::new();
        for (id, half, asked) in halves {
            let by_chance = if lane.chance.below(10) < 7 { Decision::Commit } else { Decision::Rollback };
            let decision = asked.unwrap_or(by_chance);
            lane.note(Event::Asked { id: *id, decision });
            let header = requests::decision(*half, decision);
            pushed.push((lane.wire.push(RequestCode::END_TRANSACTION, &header, b""), *id));
        }
        lane.wire.flush()?;
        for _ in 0..halves.len() {
            let answer = lane.wire.answer()?;
            requests::accept("a decision", &answer)?;
            let id = id_of(&mut pushed, answer.opaque)?;
            lane.note(Event::Decided { id });
        }
    }
    Ok(())
}

/// The message of the request of that number, which is answered now.
fn id_of(pushed: &mut Vec<(i32, Id)>, opaque: i32) -> Result<Id, Trouble> {
    let Some(at) = pushed.iter().position(|(other, _)| *other == opaque) else {
        let reason = format!("request {opaque} was answered, which is not under way");
        return Err(Violation::Silent { what: "a producer of transactions", reason }.into());
    };
    Ok(pushed.swap_remove(at).1)
}
