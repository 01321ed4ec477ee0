//! `apogee bench …`: a lean load generator, for our brokers and for stock ones.
//!
//! It does not use the client: connections are spread over threads of their own, frames are copied from templates,
//! and whole buffers go in and out. It checks every answer, for a broker that drops is fast.
//!
//! A measurement ([`modes`]) is made of scenes ([`run`]): connections that send ([`producing`]) or read
//! ([`consuming`]), over gRPC ([`grpc`]) too, what they count ([`tally`]), and a comparison of what was sent with what came ([`verify`]).

mod answers;
mod arguments;
mod arrivals;
mod consuming;
mod grpc;
mod label;
mod ledger;
mod modes;
mod numbers;
mod opening;
mod pace;
mod producing;
mod progress;
mod report;
mod run;
mod send_frame;
mod server_use;
mod tally;
mod target;
mod topics;
mod transaction;
mod verify;
mod wire;

use std::process::ExitCode;

use anyhow::bail;
use clap::Subcommand;

use crate::command_line::Access;
use crate::output::{self, Format};
use arguments::{
    BatchArguments, CatchUpArguments, ConnectionsArguments, ConsumeArguments, DelayArguments, EndToEndArguments,
    ManyQueuesArguments, ProduceArguments, Protocol, TransactionArguments,
};

/// Group under which messages are sent, and read back.
const PRODUCER_GROUP: &str = "apogee-bench";

/// What to measure.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Results go to standard output, lines about how it goes to standard error. The exit status is 1 if anything was lost,
duplicated, out of order, early or answered with an error. docs/bench.md tells what each measurement means.")]
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
  apogee bench produce --verify --pid $(pgrep apogee)   read back what was sent; show what the broker took
  apogee bench produce --broker 10.0.0.7:10911       past the nameserver
  apogee bench produce --protocol grpc --verify      over gRPC; read back over remoting")]
    Produce(ProduceArguments),
    /// Pull messages over and over, or wait for new ones, and check every one
    #[command(after_help = "\
Checks the structure and the checksum of every message, and that the offsets of a queue follow one another.

Examples:
  apogee bench produce && apogee bench consume       read back what was sent, again and again
  apogee bench consume -c 1 -m 1024                  one reader, large pulls
  apogee bench consume --follow                      time from a message's birth to its arrival
  apogee bench consume --protocol grpc               receive and acknowledge, in a group of its own")]
    Consume(ConsumeArguments),
    /// Send and read at once: time from when a message was to be sent until it arrives
    #[command(after_help = "\
Every message is verified: none lost, none twice, none out of order.

Example:
  apogee bench end-to-end -r 10000 -s 1024           10,000 messages a second of 1 KiB")]
    EndToEnd(EndToEndArguments),
    /// Half messages and their decisions, pipelined; one transaction counts once
    #[command(after_help = "\
Example:
  apogee bench transaction --rollback 10 --verify    of ten transactions one is rolled back, and must never be read")]
    Transaction(TransactionArguments),
    /// Delayed messages: how fast they are taken, how late they are delivered, and that none is early
    #[command(after_help = "\
The times are set by TIMER_DELIVER_MS, to the millisecond. Lateness is measured at the reader.

Examples:
  apogee bench delay -N 1000000 --delay 30 --spread 60      a million that wait
  apogee bench delay -N 500000 --delay 20 --spread 1        half a million due within one second")]
    Delay(DelayArguments),
    /// Open many connections, then send over all of them
    #[command(after_help = "\
Every connection says who it is by a heartbeat, as clients do; it counts as answered when the broker has answered that.

Example:
  apogee bench connections -c 9000 --pid $(pgrep apogee)
  apogee bench connections -c 5000 --protocol grpc   consumers that wait: telemetry stream and held receive")]
    Connections(ConnectionsArguments),
    /// Send to many queues in turn; every queue is written by one connection
    #[command(after_help = "\
Examples:
  apogee bench many-queues --topics 10 --queues 1000        10,000 queues
  apogee bench many-queues --topics 100 --queues 1000       100,000 queues
  apogee bench many-queues --topics 1 --queues 8            the rate to compare with")]
    ManyQueues(ManyQueuesArguments),
    /// Send batches: many messages in one request
    #[command(after_help = "\
Example:
  apogee bench batch --messages 32 --size 128")]
    Batch(BatchArguments),
    /// Read what is there while producers run: how fast, and what it does to the producers
    #[command(after_help = "\
First the producers run alone for --seconds, then until everything has been read, or again for --seconds.

Example:
  apogee bench catch-up -m 1024 --rate 20000 -t 10")]
    CatchUp(CatchUpArguments),
}

impl BenchCommand {
    /// Not every measurement is there for both protocols.
    fn check_protocol(&self) -> anyhow::Result<()> {
        let (name, common) = match self {
            BenchCommand::Produce(_) | BenchCommand::Consume(_) | BenchCommand::Connections(_) => return Ok(()),
            BenchCommand::EndToEnd(arguments) => ("end-to-end", &arguments.common),
            BenchCommand::Transaction(arguments) => ("transaction", &arguments.common),
            BenchCommand::Delay(arguments) => ("delay", &arguments.common),
            BenchCommand::ManyQueues(arguments) => ("many-queues", &arguments.common),
            BenchCommand::Batch(arguments) => ("batch", &arguments.common),
            BenchCommand::CatchUp(arguments) => ("catch-up", &arguments.common),
        };
        match common.protocol {
            Protocol::Remoting => Ok(()),
            Protocol::Grpc => bail!("`{name}` is not there for gRPC; produce, consume and connections are"),
        }
    }
}

/// Measures and prints; a fault makes the exit status 1.
pub fn run(command: &BenchCommand, access: &Access) -> anyhow::Result<ExitCode> {
    crate::roles::open_files::raise_limit();
    command.check_protocol()?;
    let report = match command {
        BenchCommand::Produce(arguments) => modes::sending::produce(arguments, access),
        BenchCommand::Consume(arguments) => modes::reading::consume(arguments, access),
        BenchCommand::EndToEnd(arguments) => modes::end_to_end::run(arguments, access),
        BenchCommand::Transaction(arguments) => modes::sending::transaction(arguments, access),
        BenchCommand::Delay(arguments) => modes::delay::run(arguments, access),
        BenchCommand::Connections(arguments) => modes::sending::connections(arguments, access),
        BenchCommand::ManyQueues(arguments) => modes::sending::many_queues(arguments, access),
        BenchCommand::Batch(arguments) => modes::sending::batch(arguments, access),
        BenchCommand::CatchUp(arguments) => modes::reading::catch_up(arguments, access),
    }?;
    match access.format() {
        Format::Json => output::json(&report.json())?,
        Format::Text => report.print()?,
    }
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
