//! Kills a real broker (`kill -9`) under load at random moments, starts it again on the same folder, and verifies that
//! it kept every promise: see `docs/reliability.md`.

mod campaign;
mod chance;
mod clock;
mod history;
mod load;
mod message;
mod process;
mod requests;
mod survey;
mod tamper;
mod violation;
mod wire;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;

use campaign::{Campaign, Tally};
use chance::Chance;
use process::Flush;

/// Kills before a campaign goes on with a new folder: surveys read everything each time.
const KILLS_PER_FOLDER: u64 = 12;

/// Kills a broker again and again, and verifies what it promised.
#[derive(Debug, Parser)]
struct Arguments {
    /// Kills to make
    #[arg(long, default_value_t = 300)]
    kills: u64,
    /// Kill no more after so many seconds
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// Seed of all that happens by chance; a new one if not given
    #[arg(long)]
    seed: Option<u64>,
    /// The program to kill; `apogee` beside this one if not given
    #[arg(long, value_name = "FILE")]
    apogee: Option<PathBuf>,
    /// Folder for the data; a temporary one if not given. It stays when something is found
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Break data folders on purpose, and fail unless each is noticed
    #[arg(long)]
    self_test: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(|| chance::mix(clock::now_ms() as u64) >> 32);
    match run(&arguments, seed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("FAILED with seed {seed}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments, seed: u64) -> anyhow::Result<()> {
    let apogee = match &arguments.apogee {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("apogee"),
    };
    let temporary = tempfile::tempdir()?;
    let folder = arguments.folder.clone().unwrap_or_else(|| temporary.path().to_owned());
    println!("seed {seed}, data in {}", folder.display());
    let mut chance = Chance::new(seed);
    let ran = match arguments.self_test {
        true => tamper::self_test(&apogee, &folder, &mut chance),
        false => kill_again_and_again(arguments, &apogee, &folder, &mut chance)
            .map(|()| println!("seed {seed}: no promise broken")),
    };
    if ran.is_err() {
        eprintln!("the data stays in {}", folder.display());
        if arguments.folder.is_none() {
            let _evidence = temporary.keep();
        }
    }
    ran
}

fn kill_again_and_again(
    arguments: &Arguments,
    apogee: &Path,
    folder: &Path,
    chance: &mut Chance,
) -> anyhow::Result<()> {
    let began = clock::now();
    let is_over = || arguments.seconds.is_some_and(|seconds| Duration::from_secs(seconds) <= began.elapsed());
    let mut all = Tally::default();
    for number in 0.. {
        if arguments.kills <= all.kills || is_over() {
            break;
        }
        let flush = if number % 2 == 0 { Flush::Async } else { Flush::Sync };
        let data = folder.join(number.to_string());
        let mut campaign = Campaign::new(apogee.to_owned(), data.clone(), flush, chance.split())?;
        let ran = campaign.run(KILLS_PER_FOLDER.min(arguments.kills - all.kills), is_over);
        let tally = campaign.tally();
        ran.with_context(|| format!("folder {number} ({}), after {} kills", flush.name(), tally.kills))?;
        all.add(tally);
        println!("folder {number} ({}): {tally}", flush.name());
        std::fs::remove_dir_all(&data)?;
    }
    let seconds = began.elapsed().as_secs_f64();
    let per_minute = all.kills as f64 * 60.0 / seconds;
    println!("in all: {all}\n{} kills in {seconds:.0} s, {per_minute:.0} a minute", all.kills);
    Ok(())
}
