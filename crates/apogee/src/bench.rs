//! `apogee bench …`: a lean load generator, for our brokers and for stock ones.
//!
//! It does not use the client: connections are spread over threads of their own, frames are copied from templates,
//! and whole buffers go in and out. It checks every answer, for a broker that drops is fast.

mod answers;
mod consuming;
mod pace;
mod producing;
mod run;
mod send_frame;
mod tally;
mod target;
mod wire;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::command_line::Access;
use crate::output::{self, Format, grouped};
use run::Work;
use tally::{Outcome, Quantiles};

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Send messages as fast as the broker takes them, or at a fixed rate
    #[command(after_help = "\
Closed loop (the default): every connection keeps a full window of requests under way. Measures capacity.
Open loop (--rate): requests have send times fixed beforehand and are measured from these, so that a broker
that stalls shows it (no coordinated omission). Measures latency.

Examples:
  apogee bench produce                               16 connections × 64, 128-byte bodies, 5 seconds
  apogee bench produce -c 1 -w 1                     one message at a time
  apogee bench produce -r 100000 -s 1024             100,000 messages a second of 1 KiB
  apogee bench produce --broker 10.0.0.7:10911       past the nameserver")]
    Produce(ProduceArguments),
    /// Pull messages over and over, or wait for new ones, and check every one
    #[command(after_help = "\
Checks the structure and the checksum of every message, and that the offsets of a queue follow one another.

Examples:
  apogee bench produce && apogee bench consume       read back what was sent, again and again
  apogee bench consume --follow                      time from a message's birth to its arrival")]
    Consume(ConsumeArguments),
}

/// Flags of both measurements.
#[derive(Clone, Debug, Args)]
pub struct LoadArguments {
    /// Topic; `produce` creates it
    #[arg(long, short = 'T', default_value = "apogee-bench")]
    pub topic: String,
    /// Queues of the topic on every broker; `consume` asks the nameserver, unless --broker is given
    #[arg(long, short, default_value_t = 8, value_parser = clap::value_parser!(i32).range(1..=65535))]
    pub queues: i32,
    /// Connections, over all brokers
    #[arg(long, short, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub connections: u32,
    /// Threads of the load generator
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub threads: u32,
    /// Seconds that are measured
    #[arg(long, short = 't', default_value_t = 5.0, value_parser = seconds)]
    pub seconds: f64,
    /// Seconds before that, which are not counted
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    pub warmup: f64,
    /// Address of a broker, instead of all that the nameserver knows; may be given several times
    #[arg(long = "broker", short, value_name = "HOST:PORT")]
    pub brokers: Vec<String>,
}

/// Flags of `bench produce`.
#[derive(Clone, Debug, Args)]
pub struct ProduceArguments {
    #[command(flatten)]
    load: LoadArguments,
    /// Requests that a connection has under way at most
    #[arg(long, short, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    window: u32,
    /// Bytes of a body
    #[arg(long, short, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=4_194_304))]
    size: u32,
    /// Messages a second over all connections; without it as many as possible
    #[arg(long, short, value_parser = rate)]
    rate: Option<f64>,
    /// Messages in one request, sent as a batch
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    batch: u32,
}

/// Flags of `bench consume`.
#[derive(Clone, Debug, Args)]
pub struct ConsumeArguments {
    #[command(flatten)]
    load: LoadArguments,
    /// Messages that one pull may bring
    #[arg(long, short, default_value_t = 32, value_parser = clap::value_parser!(i32).range(1..=10_000))]
    max: i32,
    /// Wait for new messages at the end of a queue instead of starting over
    #[arg(long, short)]
    follow: bool,
    /// Consumer group
    #[arg(long, short, default_value = "apogee-bench")]
    group: String,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("`{text}` is no number"))?;
    if (0.0..=86_400.0).contains(&seconds) { Ok(seconds) } else { Err("a day at most".into()) }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| format!("`{text}` is no number"))?;
    if (0.1..=1e9).contains(&rate) { Ok(rate) } else { Err("between 0.1 and 1,000,000,000".into()) }
}

/// Measures and prints; a fault makes the exit status 1.
pub fn run(command: &BenchCommand, access: &Access) -> anyhow::Result<ExitCode> {
    crate::roles::open_files::raise_limit();
    let (load, work) = match command {
        BenchCommand::Produce(arguments) => (&arguments.load, Work::Produce(arguments.clone())),
        BenchCommand::Consume(arguments) => (&arguments.load, Work::Consume(arguments.clone())),
    };
    let brokers = target::find(load, access, matches!(work, Work::Produce(_)))?;
    let outcome = run::run(load, &work, &brokers)?;
    match access.format() {
        Format::Json => output::json(&serde_json::json!({ "bench": describe(command), "outcome": outcome }))?,
        Format::Text => print(command, &outcome)?,
    }
    Ok(if outcome.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What was asked for, in words.
fn describe(command: &BenchCommand) -> String {
    match command {
        BenchCommand::Produce(arguments) => {
            let ProduceArguments { load, window, size, rate, batch } = arguments;
            let batch = if *batch > 1 { format!(", batches of {batch}") } else { String::new() };
            let pace = match rate {
                Some(rate) => format!("{} msg/s intended", grouped(*rate as u64)),
                None => "closed loop".to_owned(),
            };
            format!("produce, {} connections × {window}, {size}-byte bodies{batch}, {pace}", load.connections)
        }
        BenchCommand::Consume(arguments) => {
            let ConsumeArguments { load, max, follow, .. } = arguments;
            let end = if *follow { "waiting for new ones" } else { "over and over" };
            format!("consume, {} connections, up to {max} messages a pull, {end}", load.connections)
        }
    }
}

fn print(command: &BenchCommand, outcome: &Outcome) -> std::io::Result<()> {
    let rate = outcome.messages_per_second.round() as u64;
    let megabytes = outcome.body_bytes_per_second / 1e6;
    output::line(&format!("{}, {:.1} s", describe(command), outcome.seconds))?;
    output::line(&format!("  rate      {} msg/s, {megabytes:.1} MB/s of bodies", grouped(rate)))?;
    if let Some(latency) = &outcome.latency_us {
        output::line(&format!("  latency   {}", quantiles(latency, 1e3)))?;
    }
    if let Some(delivery) = &outcome.delivery_ms {
        output::line(&format!("  delivery  {}", quantiles(delivery, 1.0)))?;
    }
    let unsent =
        if outcome.overdue > 0 { format!(", {} not sent in time", grouped(outcome.overdue)) } else { "".into() };
    let lost = if outcome.unanswered > 0 { format!(", {} unanswered", grouped(outcome.unanswered)) } else { "".into() };
    output::line(&format!("  answers   {} good{unsent}{lost}", grouped(outcome.answers)))?;
    for (kind, fault) in &outcome.faults {
        output::line(&format!("  FAULT     {} × {kind}: {}", grouped(fault.count), fault.first))?;
    }
    output::line(&format!("  own CPU   {:.0} % of a core", outcome.own_cpu_percent))
}

/// Prints quantiles in milliseconds; `per_ms` of their unit are one.
fn quantiles(quantiles: &Quantiles, per_ms: f64) -> String {
    let points = [
        ("p50", quantiles.p50),
        ("p90", quantiles.p90),
        ("p99", quantiles.p99),
        ("p99.9", quantiles.p999),
        ("max", quantiles.max),
    ];
    let points = points.map(|(name, value)| format!("{name} {:.3}", value / per_ms));
    format!("{}, mean {:.3} ms", points.join("  "), quantiles.mean / per_ms)
}

impl LoadArguments {
    fn warmup(&self) -> Duration {
        Duration::from_secs_f64(self.warmup)
    }

    fn measured(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}
