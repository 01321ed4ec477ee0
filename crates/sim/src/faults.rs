//! What breaks, and when.

use fastrand::Rng;
use log::PowerCut;

use crate::network::LinkId;
use crate::schedule::NodeId;

/// Something that breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process is killed.
    Kill(NodeId),
    /// The process is killed in the middle of its work: when its disk is asked for the given number of changes more.
    KillInside(NodeId, u64),
    /// The power goes.
    PowerCut(NodeId, PowerCut),
    /// The power goes in the middle of its work.
    PowerCutInside(NodeId, PowerCut, u64),
    /// The process is stopped in order.
    Stop(NodeId),
    /// One change of the disk fails, that many changes from now.
    DiskError(NodeId, u64),
    /// One read of the disk fails, that many reads from now.
    ReadError(NodeId, u64),
    /// A bit of a file flips; the number decides which.
    FlipBit(NodeId, u64),
    /// The first write after so many changes of the disk goes to another place, which the number decides.
    Misdirect(NodeId, u64, u64),
    /// The disk has room for so many bytes more.
    DiskFull(NodeId, u64),
    /// The disk has room again.
    DiskRoom(NodeId),
    /// Syncs take that long, in microseconds.
    Stall(NodeId, u64),
    /// The clock jumps by so many milliseconds.
    ClockJump(NodeId, i64),
    /// Nothing reaches the server or leaves it for so many microseconds.
    Cut(NodeId, u64),
    /// A connection is reset in the middle of a frame.
    Reset(u64),
    /// The client forgets a connection without telling the server.
    HalfOpen(u64),
    /// The server notices that.
    Noticed(LinkId),
}

/// What breaks in a run, and when, in microseconds.
pub fn plan(rng: &mut Rng, brokers: std::ops::Range<NodeId>, until_us: u64, steady_clocks: bool) -> Vec<(u64, Fault)> {
    let mut plan = Vec::new();
    // One disk rots, once: what two damages cost together is not promised.
    if rng.u8(..4) == 0 {
        let node = rng.usize(brokers.clone());
        let fault = match rng.u8(..3) {
            0 => Fault::Misdirect(node, rng.u64(0..60), rng.u64(..)),
            _ => Fault::FlipBit(node, rng.u64(..)),
        };
        plan.push((rng.u64(100_000..until_us), fault));
    }
    for _ in 0..rng.usize(0..9) {
        let at_us = rng.u64(100_000..until_us);
        let node = rng.usize(brokers.clone());
        let fault = match rng.u8(0..22) {
            0..2 => Fault::Kill(node),
            2..5 => Fault::KillInside(node, rng.u64(0..60)),
            5..7 => Fault::PowerCut(node, cut(rng)),
            7..10 => Fault::PowerCutInside(node, cut(rng), rng.u64(0..60)),
            10 => Fault::Stop(node),
            11 | 12 => Fault::DiskError(node, rng.u64(0..60)),
            13 => Fault::ReadError(node, rng.u64(0..40)),
            14 => {
                plan.push((at_us + rng.u64(100_000..3_000_000), Fault::DiskRoom(node)));
                Fault::DiskFull(node, rng.u64(0..40_000))
            }
            15 => Fault::Stall(node, rng.u64(100_000..7_000_000)),
            16 if !steady_clocks => Fault::ClockJump(node, rng.i64(-20_000..20_000)),
            17 | 18 => Fault::Cut(rng.usize(0..brokers.end), rng.u64(10_000..3_000_000)),
            19 => Fault::HalfOpen(rng.u64(..)),
            _ => Fault::Reset(rng.u64(..)),
        };
        plan.push((at_us, fault));
    }
    plan
}

fn cut(rng: &mut Rng) -> PowerCut {
    match rng.u8(0..4) {
        0 => PowerCut::LoseUnsynced,
        1 => PowerCut::KeepPrefix { bytes: rng.u64(0..20_000) },
        _ => PowerCut::Torn { seed: rng.u64(..) },
    }
}
