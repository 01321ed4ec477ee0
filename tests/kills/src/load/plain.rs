//! Pipelined sends of plain messages, alone and in batches.

use std::collections::HashMap;

use protocol::batch::{self, BatchItem};
use protocol::codes::RequestCode;
use protocol::properties;
use protocol::requests::SendMessage;

use super::Lane;
use crate::history::Event;
use crate::message::{Id, Kind};
use crate::requests::{self, Trouble};
use crate::violation::Violation;

/// Requests in one write.
const BURST_MAX: u64 = 16;
/// Requests that may be without an answer.
const UNDER_WAY_MAX: u64 = 64;
/// Messages of one batch.
const BATCH_MAX: u64 = 8;
/// Messages that a connection sends as fast as it can; then it takes breaks, so that a long life does not make the
/// surveys slow.
const FAST_MAX: u32 = 1_500;

/// Requests without an answer, and their messages.
type UnderWay = HashMap<i32, Vec<Id>>;

pub(super) fn run(lane: &mut Lane) -> Result<(), Trouble> {
    let mut under_way = UnderWay::new();
    loop {
        let stops = lane.stop.is_told();
        if stops && under_way.is_empty() {
            return Ok(());
        }
        if !stops {
            for _ in 0..lane.chance.between(1, BURST_MAX) {
                push(lane, &mut under_way)?;
            }
            lane.wire.flush()?;
        }
        let kept = if stops { 0 } else { lane.chance.below(UNDER_WAY_MAX) as usize };
        while kept < under_way.len() {
            take_answer(lane, &mut under_way)?;
        }
        if FAST_MAX < lane.report.sent {
            lane.pause(8);
        }
    }
}

fn push(lane: &mut Lane, under_way: &mut UnderWay) -> Result<(), Trouble> {
    let queue = lane.queue(Kind::Plain);
    let is_batch = lane.chance.one_in(4);
    let count = if is_batch { lane.chance.between(1, BATCH_MAX) } else { 1 };
    let ids: Vec<Id> = (0..count).map(|_| lane.next_id(Kind::Plain, queue, 0)).collect();
    let opaque = if is_batch {
        let mut body = Vec::new();
        for id in &ids {
            let pushed = batch::push(&mut body, BatchItem { flag: 0, body: &id.body(), properties: b"" });
            pushed.map_err(std::io::Error::other)?;
        }
        let header = SendMessage { batch: Some(true), ..requests::send(&ids[0], &[]) };
        lane.wire.push(RequestCode::SEND_BATCH_MESSAGE, &header, &body)
    } else {
        let key = ids[0].number.to_string();
        let given = [(properties::KEYS, key.as_str()), (properties::TAGS, "t")];
        let header = requests::send(&ids[0], &given);
        lane.wire.push(RequestCode::SEND_MESSAGE_V2, &header, &ids[0].body())
    };
    under_way.insert(opaque, ids);
    Ok(())
}

fn take_answer(lane: &mut Lane, under_way: &mut UnderWay) -> Result<(), Trouble> {
    let answer = lane.wire.answer()?;
    let Some(ids) = under_way.remove(&answer.opaque) else {
        let reason = format!("request {} was answered, which is not under way", answer.opaque);
        return Err(Violation::Silent { what: "a sender", reason }.into());
    };
    requests::accept("a send", &answer)?;
    let offset = answer.number("queueOffset")? as u64;
    for (id, offset) in ids.into_iter().zip(offset..) {
        lane.report.events.push(Event::Stored { id, offset });
    }
    Ok(())
}
