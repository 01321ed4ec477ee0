//! Running a scene: connections spread over threads, all starting at the same time.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::time::Duration;

use anyhow::{Context, anyhow};
use client::clock;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::Instant;

use super::arrivals::Arrivals;
use super::consuming::{Consuming, Pulling, Queue, Until};
use super::grpc::idling::{self, Idling};
use super::grpc::receiving::{Ends, Receiver, Receiving};
use super::grpc::sending::{self, Producer};
use super::ledger::Sent;
use super::opening::{self, Link, Opened, Opening};
use super::producing::{Producing, Schedule, Sending};
use super::progress::{Printer, Progress};
use super::send_frame::Address;
use super::server_use::{Sampler, ServerUse};
use super::tally::{Outcome, Tally};
use super::verify::{Stream, StreamKey};

/// A run without an end of its own gets none before this.
const NEVER: Duration = Duration::from_secs(7 * 24 * 3600);

/// Connections, and what they do.
#[derive(Debug)]
pub struct Scene<'a> {
    /// What this is, for the lines that tell how it goes.
    pub title: &'a str,
    /// Whether to print none.
    pub quiet: bool,
    /// Threads of the load generator.
    pub threads: u32,
    /// How connections are made.
    pub opening: Opening,
    /// What is counted.
    pub counted: Counted,
    /// Process whose use of the machine is looked at.
    pub pid: Option<u32>,
    /// Messages of the run that were acknowledged before.
    pub acknowledged: u64,
    /// Connections.
    pub connections: &'a [Connection],
}

/// When answers count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// From a time after the start on, for a while; then the run ends.
    For {
        /// Not counted.
        warmup: Duration,
        /// Counted.
        measured: Duration,
    },
    /// From the start until the work is done.
    UntilDone,
}

/// A connection to be.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Address of the broker.
    pub address: String,
    /// Number of the broker.
    pub broker: u32,
    /// What it does.
    pub role: Role,
}

/// What a connection does.
#[derive(Clone, Debug)]
pub enum Role {
    /// It sends: as which one of the sending connections, and to which queues in turn.
    Produce(Arc<Sending>, u32, Arc<[Address]>),
    /// It reads queues, each from an offset on.
    Consume(Arc<Pulling>, Vec<(Address, i64)>),
    /// It sends over gRPC: as which one of the sending connections.
    Send(Arc<sending::Sending>, u32),
    /// It receives over gRPC and acknowledges: as which one of the receiving connections.
    Receive(Arc<Receiving>, u32),
    /// It waits over gRPC: as which one of the waiting connections.
    Idle(Arc<Idling>, u32),
}

/// What came of a scene.
#[derive(Debug)]
pub struct Played {
    /// What the sending connections counted.
    pub sending: Outcome,
    /// What the reading ones did.
    pub reading: Outcome,
    /// What was sent, where that was labelled.
    pub sent: HashMap<StreamKey, Sent>,
    /// What came of the run's own messages.
    pub came: HashMap<StreamKey, Stream>,
    /// When delayed messages were due and came.
    pub arrivals: Arrivals,
    /// How the connections were made.
    pub opened: Opened,
    /// What the server took.
    pub server: Option<ServerUse>,
    /// Processor time of the load generator itself, in percent of one core.
    pub own_cpu_percent: f64,
}

/// What one thread brings back.
struct Part {
    sending: Tally,
    reading: Tally,
    sent: HashMap<StreamKey, Sent>,
    came: HashMap<StreamKey, Stream>,
    arrivals: Arrivals,
    opened: Opened,
    schedule: Schedule,
    cpu_share: f64,
}

/// Runs a scene to its end.
pub fn run(scene: &Scene<'_>) -> anyhow::Result<Played> {
    let progress = Arc::new(Progress::default());
    progress.acknowledged.store(scene.acknowledged, Ordering::Relaxed);
    for connection in scene.connections {
        counter(&progress, connection).fetch_add(1, Ordering::Relaxed);
    }
    let sampler = scene.pid.map(Sampler::start).transpose()?;
    let printer = Printer::start(&progress, scene.title, scene.quiet);
    let threads = scene.threads.min(scene.connections.len() as u32).max(1);
    let (barrier, origin) = (Barrier::new(threads as usize), OnceLock::new());
    let parts: Vec<anyhow::Result<Part>> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                let part = Thread { scene, thread, threads, barrier: &barrier, origin: &origin, progress: &progress };
                scope.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                    LocalSet::new().block_on(&runtime.context("no runtime")?, part.run())
                })
            })
            .collect();
        running.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow!("a thread panicked")))).collect()
    });
    drop(printer);
    let done_at = Instant::now();
    let mut parts = parts.into_iter();
    let mut all = parts.next().context("no thread ran")??;
    for part in parts {
        all.add(part?);
    }
    let counted = all.sending.counted.start..all.sending.counted.end.min(done_at);
    let start = all.schedule.start;
    let server = sampler.map(|sampler| sampler.finish(start, counted)).transpose()?;
    let reads_once = |connection: &Connection| match &connection.role {
        Role::Consume(pulling, _) => pulling.until == Until::CaughtUp,
        Role::Receive(receiving, _) => receiving.ends != Ends::InTime,
        Role::Produce(..) | Role::Send(..) | Role::Idle(..) => false,
    };
    let ends_by_itself = scene.counted == Counted::UntilDone || scene.connections.iter().any(reads_once);
    Ok(Played {
        sending: all.sending.outcome(ends_by_itself),
        reading: all.reading.outcome(ends_by_itself),
        sent: all.sent,
        came: all.came,
        arrivals: all.arrivals,
        opened: all.opened,
        server,
        own_cpu_percent: all.cpu_share * 100.0,
    })
}

/// Where a connection is counted while it works.
fn counter<'p>(progress: &'p Progress, connection: &Connection) -> &'p AtomicU32 {
    match connection.role {
        Role::Produce(..) | Role::Send(..) => &progress.producing,
        Role::Consume(..) | Role::Receive(..) | Role::Idle(..) => &progress.consuming,
    }
}

impl Part {
    fn add(&mut self, other: Part) {
        self.sending.add(other.sending);
        self.reading.add(other.reading);
        self.sent.extend(other.sent);
        self.came.extend(other.came);
        self.arrivals.add(other.arrivals);
        self.opened.add(other.opened);
        self.cpu_share += other.cpu_share;
    }
}

/// What a thread is made from.
struct Thread<'a> {
    scene: &'a Scene<'a>,
    thread: u32,
    threads: u32,
    barrier: &'a Barrier,
    origin: &'a OnceLock<(Instant, i64)>,
    progress: &'a Arc<Progress>,
}

/// What a connection brings back.
enum Finished {
    Produced {
        broker: u32,
        producer: u32,
        sent: Vec<(Address, Sent)>,
    },
    Consumed {
        broker: u32,
        queues: Vec<Queue>,
        arrivals: Arrivals,
    },
    /// What it did was counted where all connections of the run count.
    Counted,
}

/// The queue of messages whose queue the server chooses.
pub const ANY_QUEUE: Address = Address { topic: 0, queue: -1 };

impl Thread<'_> {
    /// Connects, waits until every thread has, and runs its connections.
    async fn run(self) -> anyhow::Result<Part> {
        let own: Vec<&Connection> =
            self.scene.connections.iter().skip(self.thread as usize).step_by(self.threads as usize).collect();
        let opened = opening::open(&own, self.scene.opening).await;
        // Also after a failure: the others wait here.
        self.barrier.wait();
        let (links, opened) = opened?;
        let (start, start_us) = *self.origin.get_or_init(|| (Instant::now(), clock::now_us()));
        let (counted, end) = match self.scene.counted {
            Counted::For { warmup, measured } => (start + warmup..start + warmup + measured, start + warmup + measured),
            Counted::UntilDone => (start..start + NEVER, start + NEVER),
        };
        let schedule = Schedule { start, end, start_us };
        let tally = || Rc::new(RefCell::new(Tally::new(counted.clone(), Arc::clone(self.progress))));
        let (sending, reading) = (tally(), tally());
        let mut running = JoinSet::new();
        for (connection, link) in own.into_iter().zip(links) {
            match link {
                Ok(link) => begin(connection, link, schedule, &sending, &reading, &mut running)?,
                Err(error) => {
                    counter(self.progress, connection).fetch_sub(1, Ordering::Release);
                    sending.borrow_mut().fault("not connected", || error.to_string());
                }
            }
        }
        let cpu_before = thread_cpu();
        let work = async {
            let (mut sent, mut came, mut arrivals) = (HashMap::new(), HashMap::new(), Arrivals::default());
            while let Some(finished) = running.join_next().await {
                match finished.context("a connection panicked")? {
                    Finished::Produced { broker, producer, sent: queues } => {
                        let key = |to: Address| StreamKey { broker, topic: to.topic, queue: to.queue, producer };
                        sent.extend(queues.into_iter().map(|(address, sent)| (key(address), sent)));
                    }
                    Finished::Consumed { broker, queues, arrivals: own } => {
                        arrivals.add(own);
                        collect(&mut came, broker, queues);
                    }
                    Finished::Counted => {}
                }
            }
            let until_done = (thread_cpu() - cpu_before).as_secs_f64() / (Instant::now() - start).as_secs_f64();
            anyhow::Ok((until_done, sent, came, arrivals))
        };
        let mut work = pin!(work);
        let (until_end, (until_done, sent, came, arrivals)) = tokio::select! {
            biased;
            done = &mut work => (None, done?),
            until_end = cpu_share(counted.clone()) => (until_end, work.await?),
        };
        let inner = |tally: Rc<RefCell<Tally>>| Rc::into_inner(tally).context("a connection goes on");
        Ok(Part {
            sending: inner(sending)?.into_inner(),
            reading: inner(reading)?.into_inner(),
            sent,
            came,
            arrivals,
            opened,
            schedule,
            cpu_share: until_end.unwrap_or(until_done),
        })
    }
}

fn begin(
    connection: &Connection,
    link: Link,
    schedule: Schedule,
    sending: &Rc<RefCell<Tally>>,
    reading: &Rc<RefCell<Tally>>,
    running: &mut JoinSet<Finished>,
) -> anyhow::Result<()> {
    let broker = connection.broker;
    match (&connection.role, link) {
        (Role::Produce(what, producer, queues), Link::Frames(wire)) => {
            let producer = *producer;
            let producing = Producing::new(wire, what.clone(), producer, queues, schedule, sending.clone())?;
            running.spawn_local(async move { Finished::Produced { broker, producer, sent: producing.run().await } });
        }
        (Role::Consume(what, queues), Link::Frames(wire)) => {
            let consuming = Consuming::new(wire, what.clone(), queues, schedule, reading.clone());
            running.spawn_local(async move {
                let (queues, arrivals) = consuming.run().await;
                Finished::Consumed { broker, queues, arrivals }
            });
        }
        (Role::Send(what, producer), Link::Calls(calls)) => {
            let producer = *producer;
            let sender = Producer::new(calls, what.clone(), producer, schedule, sending.clone());
            running.spawn_local(async move {
                Finished::Produced { broker, producer, sent: vec![(ANY_QUEUE, sender.run().await)] }
            });
        }
        (Role::Receive(what, _), Link::Calls(calls)) => {
            let receiver = Receiver::new(calls, what.clone(), schedule, reading.clone(), sending.clone());
            running.spawn_local(async move {
                receiver.run().await;
                Finished::Counted
            });
        }
        (Role::Idle(what, _), Link::Calls(calls)) => {
            let waiting = idling::wait(calls, what.clone(), schedule, reading.clone());
            running.spawn_local(async move {
                waiting.await;
                Finished::Counted
            });
        }
        (_, Link::Frames(_) | Link::Calls(_)) => return Err(anyhow!("a connection of the other protocol was made")),
    }
    Ok(())
}

/// Adds the streams of queues that were read. No other connection reads these and is verified.
fn collect(came: &mut HashMap<StreamKey, Stream>, broker: u32, queues: Vec<Queue>) {
    for queue in queues {
        let Address { topic, queue: id } = queue.address;
        let key = |producer| StreamKey { broker, topic, queue: id, producer };
        came.extend(queue.streams.into_iter().map(|(producer, stream)| (key(producer), stream)));
    }
}

/// Processor time that this thread takes while answers count, as a share of that time.
async fn cpu_share(counted: Range<Instant>) -> Option<f64> {
    // Scenes without a counted end are measured over all of their time.
    if counted.end - counted.start == NEVER {
        return None;
    }
    tokio::time::sleep_until(counted.start).await;
    let before = thread_cpu();
    tokio::time::sleep_until(counted.end).await;
    Some((thread_cpu() - before).as_secs_f64() / (counted.end - counted.start).as_secs_f64())
}

fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}
