//! Load: several connections at a time, each with work of its own, until the broker dies or they are told to stop.

mod plain;
mod reading;
mod transactions;
mod waiting;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::chance::Chance;
use crate::clock;
use crate::history::{Event, History, LaneReport};
use crate::message::{Id, Kind};
use crate::requests::Trouble;
use crate::violation::Violation;
use crate::wire::Wire;

/// Connections that send plain messages.
const PLAIN_LANES: usize = 3;

/// Tells every connection to stop.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<(Mutex<bool>, Condvar)>);

impl Stop {
    /// Tells it.
    pub fn tell(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Waits for some time; says whether it was told.
    pub fn wait(&self, time: Duration) -> bool {
        let told = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        *self.0.1.wait_timeout_while(told, time, |told| !*told).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Whether it was told.
    pub fn is_told(&self) -> bool {
        self.wait(Duration::ZERO)
    }
}

/// A connection, and what it did so far.
pub struct Lane {
    wire: Wire,
    life: u32,
    chance: Chance,
    stop: Stop,
    report: LaneReport,
}

impl Lane {
    /// The id of the next message.
    fn next_id(&mut self, kind: Kind, queue: i32, not_before_ms: i64) -> Id {
        let id = Id { kind, life: self.life, lane: self.report.lane, number: self.report.sent, queue, not_before_ms };
        // Counted before it is sent: from here on it may be found.
        self.report.sent += 1;
        id
    }

    fn queue(&mut self, kind: Kind) -> i32 {
        self.chance.below(kind.queues() as u64) as i32
    }

    fn note(&mut self, event: Event) {
        self.report.events.push(event);
    }

    /// Waits up to some milliseconds.
    fn pause(&mut self, most_ms: u64) {
        let time = Duration::from_micros(self.chance.below(most_ms * 1_000 + 1));
        self.stop.wait(time);
    }
}

type Work = Box<dyn FnOnce(&mut Lane) -> Result<(), Trouble> + Send>;

/// How a connection ended.
#[derive(Debug)]
pub struct Ended {
    /// What it did.
    pub report: LaneReport,
    /// When the connection was over, and what ended it, if it was not told to stop.
    pub over: Option<(Instant, String)>,
}

/// Connections at work.
pub struct Load {
    stop: Stop,
    lanes: Vec<JoinHandle<Ended>>,
}

impl Load {
    /// Starts the load of a life.
    pub fn start(address: SocketAddr, life: u32, history: &History, chance: &mut Chance) -> Load {
        let undecided = history.undecided();
        let nexts = Kind::all_queues().map(|(kind, queue)| ((kind, queue), history.end(kind, queue))).collect();
        let mut works: Vec<Work> = Vec::new();
        works.extend((0..PLAIN_LANES).map(|_| Box::new(plain::run) as Work));
        works.push(Box::new(waiting::run));
        works.push(Box::new(move |lane| transactions::run(lane, undecided)));
        works.push(Box::new(move |lane| reading::run(lane, nexts)));
        let stop = Stop::default();
        let lanes = works.into_iter().enumerate().map(|(number, work)| {
            let (chance, stop) = (chance.split(), stop.clone());
            std::thread::spawn(move || {
                let report = LaneReport { lane: number as u32, ..LaneReport::default() };
                run(address, report, |wire, report| Lane { wire, life, chance, stop, report }, work)
            })
        });
        let lanes = lanes.collect();
        Load { stop, lanes }
    }

    /// Decides about every half message that is open.
    pub fn decide_all(address: SocketAddr, life: u32, history: &History, chance: &mut Chance) -> Ended {
        let (undecided, chance, stop) = (history.undecided(), chance.split(), Stop::default());
        let lane = |wire, report| Lane { wire, life, chance, stop, report };
        run(address, LaneReport::default(), lane, Box::new(move |lane| transactions::decide(lane, &undecided)))
    }

    /// Tells the connections to stop once everything that is under way is answered.
    pub fn tell_to_stop(&self) {
        self.stop.tell();
    }

    /// Waits for every connection.
    pub fn join(self) -> Vec<Ended> {
        let panicked = |lane| Ended {
            report: LaneReport {
                lane,
                violation: Some(Violation::Silent { what: "a connection", reason: "its thread panicked".into() }),
                ..LaneReport::default()
            },
            over: None,
        };
        let lanes = self.lanes.into_iter().enumerate();
        lanes.map(|(number, lane)| lane.join().unwrap_or_else(|_| panicked(number as u32))).collect()
    }
}

fn run(address: SocketAddr, report: LaneReport, lane: impl FnOnce(Wire, LaneReport) -> Lane, work: Work) -> Ended {
    let wire = match Wire::connect(address) {
        Ok(wire) => wire,
        Err(error) => return Ended { report, over: Some((clock::now(), error.to_string())) },
    };
    let mut lane = lane(wire, report);
    let mut over = None;
    match work(&mut lane) {
        Ok(()) => {}
        Err(Trouble::Broken(violation)) => lane.report.violation = Some(violation),
        Err(Trouble::Over(error)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            let reason = "no answer came, and the connection stayed open".to_owned();
            lane.report.violation = Some(Violation::Silent { what: "a connection", reason });
        }
        Err(Trouble::Over(error)) => over = Some((clock::now(), error.to_string())),
    }
    Ended { report: lane.report, over }
}
