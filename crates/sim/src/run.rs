//! One run: a cluster made from a seed, its troubles, its rest and its judgement.

use broker::config::Flush;
use fastrand::Rng;
use log::PowerCut;
use log::planted::{Fault as Planted, plant};

use crate::clients::{
    Consumer, NAMESERVER, ORDERED_POPPING_GROUP, Orderly, POPPING_GROUP, Popper, Producer, Registrar, Transactor,
};
use crate::faults;
use crate::judge::{Rules, Stored, judge, read_repaired};
use crate::node::{Node, Setting};
use crate::schedule::{Event, NodeId, Work};
use crate::trace::Trace;
use crate::world::World;

/// How long clients work, in microseconds.
const WORK_US: u64 = 8_000_000;
/// Longest time that everything gets to come to rest, in microseconds.
const REST_MAX_US: u64 = 90_000_000;
/// At rest is what has not changed for so long, in microseconds: longer than clients wait for an answer.
const QUIET_US: u64 = 6_500_000;

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Promises that were broken.
    pub violations: Vec<String>,
    /// Equal for equal runs.
    pub digest: u64,
    /// What happened, if it was to be told.
    pub lines: Vec<String>,
    /// Messages that were sent.
    pub sent: usize,
    /// Messages that consumers saw.
    pub seen: usize,
    /// Times that something broke.
    pub faults: usize,
}

/// Runs a seed. `planted` is a fault of the broker itself, to see whether it is found.
pub fn run(seed: u64, planted: Option<Planted>, is_told: bool) -> Report {
    let mut rng = Rng::with_seed(seed);
    plant(planted);
    let brokers = rng.usize(1..=2);
    let setting = Setting::random(&mut rng);
    let steady_clocks = rng.u8(..4) != 0;
    let nodes =
        (1..=brokers).map(|node| Node::new(format!("broker-{node}"), World::address(node), setting.clone())).collect();
    let plan = faults::plan(&mut rng, 1..brokers + 1, WORK_US, steady_clocks);
    let cuts = plan.iter().filter(|(_, fault)| is_power_cut(fault)).count();
    let mut world = World::new(rng, nodes, Trace::new(is_told), planted);
    world.history.clocks_are_steady = steady_clocks;
    world.trace.note(0, &[seed], || format!("seed {seed}: {brokers} brokers, {setting:?}"));
    let faults = plan.len();
    for (at_us, fault) in plan {
        world.schedule.at(at_us, Event::Fault(fault));
    }
    let groups = populate(&mut world, brokers);
    world.run(WORK_US);
    world.repair();
    rest(&mut world);
    let gaps_max = if setting.flush == Flush::Async { cuts } else { 0 };
    conclude(&mut world, &groups, Rules { retention: setting.retention.is_some(), gaps_max });
    plant(None);
    Report {
        seed,
        violations: std::mem::take(&mut world.history.violations),
        sent: world.history.sent.len(),
        seen: world.history.seen.len(),
        faults,
        digest: world.trace.digest(),
        lines: world.trace.into_lines(),
    }
}

/// Lets everything that was begun come to its end.
fn rest(world: &mut World) {
    let mut before = None;
    let mut until_us = WORK_US;
    while until_us < WORK_US + REST_MAX_US {
        until_us += QUIET_US;
        world.run(until_us);
        let deliveries: usize = world.history.seen.values().map(|seen| seen.groups.len()).sum();
        let now = Some((deliveries, world.history.sent_back.len()));
        if world.is_at_rest() && now == before {
            return;
        }
        before = now;
    }
}

fn is_power_cut(fault: &faults::Fault) -> bool {
    matches!(fault, faults::Fault::PowerCut(..) | faults::Fault::PowerCutInside(..))
}

/// Starts servers and clients; returns who consumes what.
fn populate(world: &mut World, brokers: usize) -> Vec<(String, Vec<String>)> {
    let topics: Vec<String> = ["orders", "invoices"].map(str::to_owned).into();
    let all: Vec<String> = topics.iter().cloned().chain(["payments".to_owned()]).collect();
    for node in 1..=brokers {
        world.add(Box::new(Registrar::new(node)));
        world.start(node);
    }
    world.schedule.after(1_000_000, Event::Work { node: NAMESERVER, life: 0, work: Work::Scan });
    for _ in 0..world.rng.usize(1..=3) {
        let window = world.rng.usize(1..12);
        let pace_us = world.rng.u64(5_000..120_000);
        let count = world.rng.u64(30..160);
        world.add(Box::new(Producer::new(topics.clone(), window, pace_us, count)));
    }
    let transactions = world.rng.u64(0..30);
    world.add(Box::new(Transactor::new("payments", transactions)));
    let groups = vec![("billing".to_owned(), all.clone()), ("audit".to_owned(), topics.clone())];
    for (group, topics) in &groups[..world.rng.usize(1..=2)] {
        world.add(Box::new(Consumer::new(group, topics.clone())));
    }
    let in_order = (0..world.rng.usize(0..=2)).map(|_| Orderly::new(vec!["orders".to_owned()]));
    in_order.for_each(|consumer| world.add(Box::new(consumer)));
    let mut consumers: Vec<(String, Vec<String>)> = groups.into_iter().take(1).collect();
    for (ordered, group) in [(false, POPPING_GROUP), (true, ORDERED_POPPING_GROUP)] {
        let count = world.rng.usize(0..=2);
        for _ in 0..count {
            world.add(Box::new(Popper::new(topics.clone(), ordered)));
        }
        if count > 0 {
            consumers.push((group.to_owned(), topics.clone()));
        }
    }
    consumers
}

/// Judges every broker as it is, and again after it was opened anew, which must change nothing.
fn conclude(world: &mut World, groups: &[(String, Vec<String>)], rules: Rules) {
    let nodes: Vec<NodeId> = world.nodes.keys().copied().collect();
    for number in nodes {
        let Some(node) = world.nodes.get_mut(&number) else { continue };
        node.tell_time(world.schedule.now_us());
        let Some(process) = &node.process else {
            world.history.broken(format!("server {number} does not come up"));
            continue;
        };
        process.sync();
        let stored = match read_repaired(&process.broker) {
            Ok(stored) => stored,
            Err(what) => {
                world.history.broken(what);
                continue;
            }
        };
        judge(&mut world.history, number, &stored, groups, rules);
        // Everything is synced: whether the power goes or the process, once or twice, it must all be there.
        let mut disk = node.disk.fork();
        disk.cut_power(PowerCut::LoseUnsynced);
        for again in 0..2 {
            if let Some(what) = differs(node, &disk, &stored, &|topic, queue, offset| {
                world.history.damaged.contains(&(number, topic.to_owned(), queue, offset))
            }) {
                world.history.broken(format!("server {number}, opened anew ({again}): {what}"));
            }
            disk = disk.fork();
        }
    }
}

/// What is there now and was not, or the other way round. A damaged record may be found damaged now, and may not have been.
fn differs(
    node: &Node,
    disk: &log::MemoryDisk,
    stored: &Stored,
    is_damaged: &dyn Fn(&str, i32, u64) -> bool,
) -> Option<String> {
    let (broker, ..) = match node.open(disk.clone()) {
        Ok(opened) => opened,
        Err(error) => return Some(broker::registration::chain(&error)),
    };
    let now = match read_repaired(&broker) {
        Ok(now) => now,
        Err(what) => return Some(what),
    };
    for (queue, before) in stored {
        let (mut before, mut after) = (before.clone(), now.get(queue).cloned().unwrap_or_default());
        for messages in [&mut before.messages, &mut after.messages] {
            messages.retain(|offset, _| !is_damaged(&queue.0, queue.1, *offset));
        }
        if after.messages != before.messages {
            let lost: Vec<_> = before.messages.keys().filter(|offset| !after.messages.contains_key(offset)).collect();
            return Some(format!(
                "{queue:?} held {} messages and holds {}, lost {lost:?}",
                before.messages.len(),
                after.messages.len()
            ));
        }
    }
    None
}
