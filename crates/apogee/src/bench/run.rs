//! Running the load: connections spread over threads, all starting at the same time.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use anyhow::{Context, anyhow};
use client::clock;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::Instant;

use super::consuming::{Consuming, Pulling};
use super::pace::Pace;
use super::producing::{Producing, Schedule};
use super::send_frame::Shape;
use super::tally::{Outcome, Tally};
use super::target::Target;
use super::wire::Wire;
use super::{ConsumeArguments, LoadArguments, ProduceArguments};

/// Group under which messages are sent.
const PRODUCER_GROUP: &str = "apogee-bench";

/// What the connections do.
#[derive(Clone, Debug)]
pub enum Work {
    /// Send.
    Produce(ProduceArguments),
    /// Pull.
    Consume(ConsumeArguments),
}

/// Runs the load and says what came of it.
pub fn run(load: &LoadArguments, work: &Work, targets: &[Target]) -> anyhow::Result<Outcome> {
    let threads = load.threads.min(load.connections);
    let barrier = Barrier::new(threads as usize);
    let outcomes: Vec<anyhow::Result<(Tally, f64)>> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                let numbers = (thread..load.connections).step_by(threads as usize);
                let barrier = &barrier;
                scope.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                    let runtime = runtime.context("no runtime")?;
                    LocalSet::new().block_on(&runtime, run_thread(load, work, targets, numbers, barrier))
                })
            })
            .collect();
        running.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow!("a thread panicked")))).collect()
    });
    let mut total: Option<Tally> = None;
    let mut cpu = 0.0;
    for outcome in outcomes {
        let (tally, thread_cpu) = outcome?;
        cpu += thread_cpu;
        match &mut total {
            None => total = Some(tally),
            Some(total) => total.add(tally),
        }
    }
    Ok(total.context("no thread ran")?.outcome(cpu))
}

/// Connects, waits until every thread has, and runs its connections. Returns the share of a core that it took.
async fn run_thread(
    load: &LoadArguments,
    work: &Work,
    targets: &[Target],
    numbers: impl Iterator<Item = u32>,
    barrier: &Barrier,
) -> anyhow::Result<(Tally, f64)> {
    let mut wires = Vec::new();
    let mut failed = None;
    for number in numbers {
        let address = &targets[number as usize % targets.len()].address;
        match Wire::connect(address).await.with_context(|| format!("cannot connect to `{address}`")) {
            Ok(wire) => wires.push((number, wire)),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    // Also after a failure: the others wait here.
    barrier.wait();
    if let Some(error) = failed {
        return Err(error);
    }
    let start = Instant::now();
    let counted = start + load.warmup()..start + load.warmup() + load.measured();
    let schedule = Schedule { start, end: counted.end, start_us: clock::now_us() };
    let tally = Rc::new(RefCell::new(Tally::new(counted.clone())));
    let mut running = JoinSet::new();
    for (number, wire) in wires {
        let setting = Setting { load, targets, schedule, number };
        match work {
            Work::Produce(arguments) => {
                let producing = setting.producing(arguments, wire, tally.clone())?;
                running.spawn_local(producing.run());
            }
            Work::Consume(arguments) => {
                let consuming = setting.consuming(arguments, wire, tally.clone());
                running.spawn_local(consuming.run());
            }
        }
    }
    let cpu = cpu_share(counted.start, counted.end);
    let (cpu, ()) = tokio::join!(cpu, async { while running.join_next().await.is_some() {} });
    let tally = Rc::into_inner(tally).context("a connection goes on")?;
    Ok((tally.into_inner(), cpu))
}

/// Processor time that this thread takes from `start` to `end`, as a share of that time.
async fn cpu_share(start: Instant, end: Instant) -> f64 {
    let cpu = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
    };
    tokio::time::sleep_until(start).await;
    let before = cpu();
    tokio::time::sleep_until(end).await;
    (cpu() - before).as_secs_f64() / (end - start).as_secs_f64()
}

/// What a connection is made from.
struct Setting<'a> {
    load: &'a LoadArguments,
    targets: &'a [Target],
    schedule: Schedule,
    /// Number of the connection.
    number: u32,
}

impl Setting<'_> {
    fn producing(
        &self,
        arguments: &ProduceArguments,
        wire: Wire,
        tally: Rc<RefCell<Tally>>,
    ) -> anyhow::Result<Producing> {
        let shape = Shape {
            topic: &self.load.topic,
            group: PRODUCER_GROUP,
            queues: self.load.queues,
            body_bytes: arguments.size as usize,
            batch: arguments.batch as usize,
            host: wire.local_ip()?,
            maker: self.number,
        };
        let pace = arguments.rate.map(|rate| {
            let requests = rate / f64::from(arguments.batch) / f64::from(self.load.connections);
            // Connections take turns instead of all sending at once.
            let turn = f64::from(self.number) / f64::from(self.load.connections) / requests;
            Pace::new(self.schedule.start + Duration::from_secs_f64(turn), requests)
        });
        Ok(Producing::new(wire, &shape, arguments.window as usize, pace, self.schedule, tally))
    }

    /// Connections of one broker share its queues; when there are more of them than queues, several read the same.
    fn consuming(&self, arguments: &ConsumeArguments, wire: Wire, tally: Rc<RefCell<Tally>>) -> Consuming {
        let brokers = self.targets.len();
        let target = &self.targets[self.number as usize % brokers];
        let (own, all) = (self.number as usize / brokers, (self.load.connections as usize).div_ceil(brokers));
        let begin = |queue: &super::target::Readable| {
            (queue.queue_id, if arguments.follow { queue.max_offset } else { queue.min_offset })
        };
        let count = target.queues.len();
        let queues: Vec<(i32, i64)> = match all < count {
            true => target.queues.iter().skip(own).step_by(all).map(begin).collect(),
            false => vec![begin(&target.queues[own % count])],
        };
        let pulling = Pulling {
            topic: Arc::from(self.load.topic.as_str()),
            group: Arc::from(arguments.group.as_str()),
            messages_max: arguments.max,
            follow: arguments.follow,
        };
        Consuming::new(wire, pulling, &queues, self.schedule, tally)
    }
}
