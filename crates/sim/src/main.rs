//! `cargo run --release -p sim -- --seeds N`: runs seeds, says how many a second, and tells the story of one that
//! breaks a promise.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use log::planted::Fault;
use sim::run::{Report, run};

/// Runs clusters that everything happens to.
#[derive(Parser)]
struct Arguments {
    /// Seeds to run.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Runs only this seed, and tells everything that happens.
    #[arg(long)]
    seed: Option<u64>,
    /// Stops after so many seconds, however many seeds were run.
    #[arg(long)]
    seconds: Option<u64>,
    /// Threads, each with seeds of its own. 0: one a core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Breaks a promise on purpose, and expects that to be found.
    #[arg(long)]
    plant: Option<Plant>,
    /// Lines of the story that are told of a seed that failed.
    #[arg(long, default_value_t = 120)]
    lines: usize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Plant {
    AckBeforeWrite,
    SkipSync,
    ForgetFence,
    ReuseOffset,
    ForgetSettlement,
    ShowUnsynced,
}

impl Plant {
    fn fault(self) -> Fault {
        match self {
            Plant::AckBeforeWrite => Fault::AckBeforeWrite,
            Plant::SkipSync => Fault::SkipSync,
            Plant::ForgetFence => Fault::ForgetFence,
            Plant::ReuseOffset => Fault::ReuseOffset,
            Plant::ForgetSettlement => Fault::ForgetSettlement,
            Plant::ShowUnsynced => Fault::ShowUnsynced,
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let planted = arguments.plant.map(Plant::fault);
    if let Some(seed) = arguments.seed {
        let report = run(seed, planted, true);
        report.lines.iter().for_each(|line| println!("{line}"));
        return tell(&report, planted);
    }
    let sweep = sweep(&arguments, planted);
    println!(
        "{} seeds in {:.1} s ({:.0} a second): {} messages sent, {} deliveries, {} faults, {} seeds failed",
        sweep.seeds,
        sweep.took.as_secs_f64(),
        sweep.seeds as f64 / sweep.took.as_secs_f64(),
        sweep.sent,
        sweep.seen,
        sweep.faults,
        sweep.failed.len()
    );
    match (sweep.failed.first_key_value(), planted) {
        (None, None) => ExitCode::SUCCESS,
        (None, Some(fault)) => {
            println!("{fault:?} was planted and not found");
            ExitCode::FAILURE
        }
        (Some((seed, what)), Some(fault)) => {
            println!("{fault:?} was found by seed {seed}, the {}. of the sweep: {what}", seed - arguments.from + 1);
            ExitCode::SUCCESS
        }
        (Some((seed, _)), None) => {
            let report = run(*seed, None, true);
            let skipped = report.lines.len().saturating_sub(arguments.lines);
            println!("the end of seed {seed} ({skipped} lines before are left out):");
            report.lines.iter().skip(skipped).for_each(|line| println!("{line}"));
            tell(&report, None);
            println!("again: cargo run --release -p sim -- --seed {seed}");
            ExitCode::FAILURE
        }
    }
}

fn tell(report: &Report, planted: Option<Fault>) -> ExitCode {
    println!(
        "seed {}: {} messages sent, {} deliveries, digest {:016x}",
        report.seed, report.sent, report.seen, report.digest
    );
    report.violations.iter().for_each(|what| println!("BROKEN: {what}"));
    let found = !report.violations.is_empty();
    if found == planted.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Sweep {
    seeds: u64,
    took: Duration,
    sent: usize,
    seen: usize,
    faults: usize,
    failed: BTreeMap<u64, String>,
}

#[expect(clippy::disallowed_methods, reason = "the shell says how long it took")]
fn sweep(arguments: &Arguments, planted: Option<Fault>) -> Sweep {
    let threads = match arguments.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let began = Instant::now();
    let (next, stop) = (AtomicU64::new(arguments.from), AtomicBool::new(false));
    let sweep =
        Mutex::new(Sweep { seeds: 0, took: Duration::ZERO, sent: 0, seen: 0, faults: 0, failed: BTreeMap::new() });
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let is_late = arguments.seconds.is_some_and(|seconds| began.elapsed() >= Duration::from_secs(seconds));
            if seed >= arguments.from.saturating_add(arguments.seeds) || is_late {
                return;
            }
            let report = run(seed, planted, false);
            let Ok(mut sweep) = sweep.lock() else { return };
            sweep.seeds += 1;
            sweep.sent += report.sent;
            sweep.seen += report.seen;
            sweep.faults += report.faults;
            if let Some(what) = report.violations.first() {
                eprintln!("seed {seed}: {what}");
                sweep.failed.insert(seed, what.clone());
                // The first one is enough to begin with.
                stop.store(planted.is_some() || sweep.failed.len() >= 10, Ordering::Relaxed);
            }
            if sweep.seeds.is_multiple_of(1_000) {
                eprintln!("{} seeds, {} failed", sweep.seeds, sweep.failed.len());
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let mut sweep = sweep.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    sweep.took = began.elapsed();
    sweep
}
