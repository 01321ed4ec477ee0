//! The measurements: which connections do what, and what is told of it.

pub mod delay;
pub mod end_to_end;
pub mod grpc;
pub mod reading;
pub mod sending;

use std::sync::Arc;

use anyhow::ensure;
use client::clock;

use super::arguments::Timing;
use super::consuming::Pulling;
use super::label::LABEL_BYTES;
use super::producing::Sending;
use super::run::{Connection, Counted, Role};
use super::send_frame::Address;
use super::target::{Readable, Target};

impl Timing {
    fn counted(&self) -> Counted {
        let time = std::time::Duration::from_secs_f64;
        Counted::For { warmup: time(self.warmup), measured: time(self.seconds) }
    }
}

/// A number for a run, so that its messages are told apart from those of others.
fn run_number() -> u32 {
    // Low bits of the time: two runs of the same microsecond an hour apart are not to be feared.
    clock::now_us() as u32
}

/// Bodies that are verified carry a label.
fn check_label_fits(body_bytes: u32) -> anyhow::Result<()> {
    ensure!(
        LABEL_BYTES <= body_bytes as usize,
        "messages that are verified have bodies of at least {LABEL_BYTES} bytes"
    );
    Ok(())
}

/// Which queues a sending connection writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spread {
    /// To all of its broker's, in turn.
    All,
    /// Connections share the queues out; a queue is written by one connection, if there are not more of them.
    SharedOut,
    /// To one.
    One,
}

/// Sending connections, in turn to each of the brokers.
fn senders(sending: &Arc<Sending>, targets: &[Target], spread: Spread) -> Vec<Connection> {
    let queue = |topic| (0..sending.queues).map(move |queue| Address { topic, queue });
    let all: Arc<[Address]> = (0..sending.topics.count()).flat_map(queue).collect();
    let brokers = targets.len() as u32;
    let connection = |number: u32| {
        let (broker, own) = (number % brokers, (number / brokers) as usize);
        let of_broker = sending.connections.div_ceil(brokers) as usize;
        let queues: Arc<[Address]> = match spread {
            Spread::All => Arc::clone(&all),
            Spread::SharedOut => share(&all, own, of_broker).collect(),
            Spread::One => share(&all, own % all.len(), all.len()).collect(),
        };
        let address = targets[broker as usize].address.clone();
        Connection { address, broker, role: Role::Produce(Arc::clone(sending), number, queues) }
    };
    (0..sending.connections).map(connection).collect()
}

/// Where readers begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// At the first message.
    Start,
    /// After the last.
    End,
}

/// Reading connections, in turn of each of the brokers. Those of one broker share its queues out; if there are more
/// of them than queues, several read the same, or, if a queue must have one reader, there are less of them.
fn readers(pulling: &Arc<Pulling>, targets: &[Target], count: u32, from: From) -> Vec<Connection> {
    let brokers = targets.len() as u32;
    let one_reader = pulling.run.is_some();
    let connection = |number: u32| {
        let (broker, own) = (number % brokers, (number / brokers) as usize);
        let Target { address, queues } = &targets[broker as usize];
        if queues.is_empty() || (one_reader && queues.len() <= own) {
            return None;
        }
        let begin =
            |queue: &Readable| (queue.address, if from == From::Start { queue.min_offset } else { queue.max_offset });
        let queues = share(queues, own, count.div_ceil(brokers) as usize).map(|queue| begin(&queue)).collect();
        let role = Role::Consume(Arc::clone(pulling), queues);
        Some(Connection { address: address.clone(), broker, role })
    };
    (0..count).filter_map(connection).collect()
}

/// The part that is number `own` of `all`: every `all`-th, or one if there are not enough.
fn share<T: Copy>(items: &[T], own: usize, all: usize) -> impl Iterator<Item = T> {
    let (first, step) = if all <= items.len() { (own, all) } else { (own % items.len().max(1), items.len().max(1)) };
    items.iter().copied().skip(first).step_by(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_shared_out_and_doubled_only_when_there_are_too_few() {
        let shares = |count: usize, all: usize| -> Vec<Vec<usize>> {
            let items: Vec<usize> = (0..count).collect();
            (0..all).map(|own| share(&items, own, all).collect()).collect()
        };
        assert_eq!(shares(5, 2), [vec![0, 2, 4], vec![1, 3]]);
        assert_eq!(shares(2, 3), [vec![0], vec![1], vec![0]]);
        assert_eq!(shares(2, 2), [vec![0], vec![1]]);
    }
}
