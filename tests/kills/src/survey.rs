//! Looking through everything that a broker holds, and holding it against what is known.

use std::collections::BTreeMap;

use crate::history::{GroupQueue, History};
use crate::message::Kind;
use crate::process::Broker;
use crate::requests::{self, Trouble};
use crate::violation::Violation;
use crate::wire::Wire;

/// Messages that one pull asks for.
const PULLED_MAX: i32 = 1024;

/// Group of the pulls.
const GROUP: &str = "surveyors";

/// Surveys a broker that came up after `life`.
pub fn survey(broker: &Broker, history: &mut History, life: u32) -> Result<(), Violation> {
    let surveyed = Wire::connect(broker.address()).map_err(Trouble::Over).and_then(|mut wire| {
        let mut ends = BTreeMap::new();
        for (kind, queue) in Kind::all_queues() {
            ends.insert((kind, queue), look_through(&mut wire, history, kind, queue)?);
        }
        for group in history.groups() {
            let found = requests::group_offset(&mut wire, group)?;
            history.group_offset(group, found)?;
        }
        Ok(history.surveyed(life, ends)?)
    });
    surveyed.map_err(|trouble| match trouble {
        Trouble::Broken(violation) => violation,
        Trouble::Over(error) => Violation::Silent { what: "a survey", reason: error.to_string() },
    })
}

/// Looks through a queue; returns where it ends.
fn look_through(wire: &mut Wire, history: &mut History, kind: Kind, queue: i32) -> Result<u64, Trouble> {
    let (min, max) = requests::ends(wire, kind, queue)?;
    if min != 0 || max < 0 {
        return Err(Violation::Ends { kind, queue, min, max }.into());
    }
    let mut next = 0;
    while next < max as u64 {
        let found = requests::pull(wire, GroupQueue { group: GROUP, kind, queue }, next, PULLED_MAX)?;
        if found.is_empty() {
            return Err(Violation::Ends { kind, queue, min: next as i64, max }.into());
        }
        next += found.len() as u64;
        history.sums.surveyed += found.len() as u64;
        found.iter().try_for_each(|found| history.saw(found))?;
    }
    // Delayed messages and those of transactions may come up meanwhile: `next` counts, not `max`.
    if let Some((place, id)) = history.known_from(kind, queue, next) {
        return Err(Violation::Gone { place, id }.into());
    }
    Ok(next)
}
