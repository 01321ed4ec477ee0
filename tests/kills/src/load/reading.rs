//! Pulls from all queues as messages come, and group offsets that follow them.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::codes::RequestCode;

use super::Lane;
use crate::clock;
use crate::history::{Event, GroupQueue};
use crate::message::Kind;
use crate::requests::{self, Trouble};

/// Messages that one pull asks for.
const PULLED_MAX: i32 = 64;
/// Groups that commit.
const GROUPS: [&str; 3] = ["first", "second", "third"];

/// Where to go on in each queue.
pub(super) type Nexts = BTreeMap<(Kind, i32), u64>;

pub(super) fn run(lane: &mut Lane, mut nexts: Nexts) -> Result<(), Trouble> {
    while !lane.stop.is_told() {
        let mut pulled = 0;
        for ((kind, queue), next) in &mut nexts {
            let group = GROUPS[lane.chance.below(GROUPS.len() as u64) as usize];
            let group = GroupQueue { group, kind: *kind, queue: *queue };
            let found = requests::pull(&mut lane.wire, group, *next, PULLED_MAX)?;
            pulled += found.len();
            *next += found.len() as u64;
            found.into_iter().for_each(|found| lane.note(Event::Saw(found)));
            if lane.chance.one_in(8) && *next != 0 {
                commit(lane, group, *next as i64)?;
            }
        }
        if pulled == 0 {
            lane.stop.wait(Duration::from_millis(1));
        }
    }
    Ok(())
}

fn commit(lane: &mut Lane, group: GroupQueue, offset: i64) -> Result<(), Trouble> {
    lane.note(Event::Committing { group, offset });
    let header = requests::commit_offset(group, offset);
    let answer = lane.wire.ask(RequestCode::UPDATE_CONSUMER_OFFSET, &header, b"")?;
    requests::accept("a group's offset", &answer)?;
    lane.note(Event::Committed { group, offset, at_ms: clock::now_ms() });
    Ok(())
}
