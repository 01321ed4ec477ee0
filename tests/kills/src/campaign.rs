//! One data folder's story: lives of a broker that end by a kill, each followed by a survey of everything.

use std::fmt;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context;

use crate::chance::Chance;
use crate::clock;
use crate::history::{History, Sums};
use crate::load::{Ended, Load};
use crate::process::{Broker, Flush, Setup, free_ports};
use crate::requests;
use crate::survey::survey;
use crate::violation::Violation;
use crate::wire::Wire;

/// Longest time after which a delayed message that is due has been delivered.
const DELIVERY_MAX: Duration = Duration::from_secs(15);

/// What a campaign did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Brokers that were killed.
    pub kills: u64,
    /// Of them, before they were up.
    pub while_starting: u64,
    /// Brokers that were asked to end.
    pub stops: u64,
    /// What was acknowledged and found.
    pub sums: Sums,
}

/// A data folder, and what is known of it.
pub struct Campaign {
    setup: Setup,
    chance: Chance,
    history: History,
    /// Lives so far.
    life: u32,
    tally: Tally,
}

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By a kill, after the load has run for some time.
    Kill,
    /// In order, after the load has stopped.
    Stop,
}

impl Campaign {
    /// A campaign on a folder that does not exist yet.
    pub fn new(apogee: PathBuf, folder: PathBuf, flush: Flush, mut chance: Chance) -> anyhow::Result<Campaign> {
        std::fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        // Small segments come to their end in each life, large ones hardly ever.
        let segment_bytes = [256 << 10, 1 << 20, 16 << 20][chance.below(3) as usize];
        let (data, log) = (folder.join("data"), folder.join("broker.log"));
        let setup = Setup { apogee, data, log, flush, segment_bytes, port: free_ports()? };
        Ok(Campaign { setup, chance, history: History::default(), life: 0, tally: Tally::default() })
    }

    /// Where the broker keeps its data.
    pub fn data(&self) -> &PathBuf {
        &self.setup.data
    }

    /// What was done so far.
    pub fn tally(&self) -> Tally {
        Tally { sums: self.history.sums, ..self.tally }
    }

    /// Kills the broker `kills` times, or until `is_over`, and then waits until everything that was left open is done.
    pub fn run(&mut self, kills: u64, is_over: impl Fn() -> bool) -> anyhow::Result<()> {
        while self.tally.kills < kills && !is_over() {
            let end = if self.chance.one_in(12) { End::Stop } else { End::Kill };
            let time = self.life_time();
            self.live(time, end)?;
        }
        self.settle()
    }

    /// Mostly short, so that kills are many; now and then so long that a checkpoint falls into it and group offsets
    /// must have been saved.
    fn life_time(&mut self) -> Duration {
        let ms = match self.chance.below(20) {
            0 => self.chance.between(2_500, 3_500),
            1 | 2 => self.chance.between(400, 900),
            _ => self.chance.between(5, 250),
        };
        Duration::from_millis(ms)
    }

    /// One life: start, survey, load for some time, end.
    pub fn live(&mut self, time: Duration, end: End) -> anyhow::Result<()> {
        let broker = self.start_and_survey()?;
        let load = Load::start(broker.address(), self.life, &self.history, &mut self.chance);
        let (_keep, never) = mpsc::channel::<()>();
        // The moment of the kill is meant to be any moment, so there is no event to wait for.
        let _ = never.recv_timeout(time);
        let (lanes, killed) = match end {
            End::Kill => {
                let killed = clock::now();
                broker.kill()?;
                load.tell_to_stop();
                self.history.ended(clock::now_ms(), false);
                self.tally.kills += 1;
                (load.join(), Some(killed))
            }
            End::Stop => {
                load.tell_to_stop();
                let lanes = load.join();
                broker.stop()?;
                self.tally.stops += 1;
                (lanes, None)
            }
        };
        for Ended { over, .. } in &lanes {
            if let Some((when, reason)) = over
                && killed.is_none_or(|killed| *when < killed)
            {
                let what = "a connection ended although the broker was not killed";
                return Err(Violation::Silent { what, reason: reason.clone() }.into());
            }
        }
        self.history.learn(self.life, lanes.into_iter().map(|lane| lane.report).collect())?;
        self.history.ended(clock::now_ms(), end == End::Stop);
        self.life += 1;
        Ok(())
    }

    /// Starts the broker, possibly killing it a few times on its way up, and looks through everything it holds.
    fn start_and_survey(&mut self) -> anyhow::Result<Broker> {
        if self.life != 0 {
            while self.chance.one_in(5) {
                let mut broker = self.setup.start()?;
                let time = Duration::from_micros(self.chance.below(15_000));
                let was_up = broker.is_up_within(time);
                broker.kill()?;
                self.tally.kills += 1;
                self.tally.while_starting += u64::from(!was_up);
            }
        }
        let mut broker = self.setup.start()?;
        broker.wait_until_up()?;
        match self.life {
            0 => {
                let created = Wire::connect(broker.address()).map_err(requests::Trouble::Over);
                created.and_then(|mut wire| requests::create_topics(&mut wire)).map_err(|trouble| match trouble {
                    requests::Trouble::Broken(violation) => anyhow::Error::from(violation),
                    requests::Trouble::Over(error) => error.into(),
                })?;
            }
            life => survey(&broker, &mut self.history, life - 1)?,
        }
        Ok(broker)
    }

    /// Starts the broker once more and surveys it.
    pub fn verify(&mut self) -> anyhow::Result<()> {
        let broker = self.start_and_survey()?;
        broker.stop()?;
        Ok(())
    }

    /// Decides all transactions, waits for all delayed messages, and surveys everything once more after a stop.
    fn settle(&mut self) -> anyhow::Result<()> {
        let broker = self.start_and_survey()?;
        let decided = Load::decide_all(broker.address(), self.life, &self.history, &mut self.chance);
        self.history.learn(self.life, vec![decided.report])?;
        let deadline = clock::now() + DELIVERY_MAX;
        let (_keep, never) = mpsc::channel::<()>();
        while let Some(id) = self.history.undelivered() {
            if deadline < clock::now() {
                return Err(Violation::Undelivered { id, late_ms: clock::now_ms() - id.not_before_ms }.into());
            }
            // Deliveries are not told to anybody who does not consume: they are looked for.
            let _ = never.recv_timeout(Duration::from_millis(50));
            survey(&broker, &mut self.history, self.life)?;
        }
        survey(&broker, &mut self.history, self.life)?;
        broker.stop()?;
        self.history.ended(clock::now_ms(), true);
        self.tally.stops += 1;
        self.life += 1;
        self.verify()
    }
}

impl Tally {
    /// Adds another's.
    pub fn add(&mut self, other: Tally) {
        self.kills += other.kills;
        self.while_starting += other.while_starting;
        self.stops += other.stops;
        self.sums.acknowledged += other.sums.acknowledged;
        self.sums.delayed += other.sums.delayed;
        self.sums.decided += other.sums.decided;
        self.sums.offsets += other.sums.offsets;
        self.sums.surveyed += other.sums.surveyed;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { kills, while_starting, stops, sums } = self;
        let Sums { acknowledged, delayed, decided, offsets, surveyed } = sums;
        write!(
            f,
            "{kills} kills ({while_starting} while starting), {stops} stops, {acknowledged} messages acknowledged "
        )?;
        write!(
            f,
            "({delayed} delayed), {decided} transactions decided, {offsets} group offsets, {surveyed} messages read"
        )
    }
}
