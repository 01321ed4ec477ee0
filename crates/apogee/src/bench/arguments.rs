//! Flags of the measurements.

use clap::{Args, ValueEnum};
use protocol::frame::Codec;

use super::pace::Rate;

/// Flags that all measurements have.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// Topic; measurements that send create it
    #[arg(long, short = 'T', default_value = "apogee-bench")]
    pub topic: String,
    /// Address of a broker, instead of all that the nameserver knows; may be given several times
    #[arg(long = "broker", short, value_name = "HOST:PORT")]
    pub brokers: Vec<String>,
    /// Protocol of the load; topics are created, and messages read back, with remoting
    #[arg(long, value_enum, default_value_t = Protocol::Remoting)]
    pub protocol: Protocol,
    /// Where gRPC is spoken, by a broker or by a proxy
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8081")]
    pub endpoint: String,
    /// How headers of remoting are written
    #[arg(long, value_enum, default_value_t = Header::Json)]
    pub header: Header,
    /// Threads of the load generator
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub threads: u32,
    /// Process of the broker, if it runs here: its processors and memory are shown
    #[arg(long)]
    pub pid: Option<u32>,
    /// Print nothing while it runs
    #[arg(long)]
    pub quiet: bool,
}

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// As clients of 4.x and most tools do
    Remoting,
    /// As clients of 5.x do
    Grpc,
}

/// How headers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Header {
    /// As most clients do
    Json,
    /// As clients with `rocketmq.serialize.type=ROCKETMQ` do
    Binary,
}

impl Header {
    /// The format by its name in the protocol.
    pub fn codec(self) -> Codec {
        match self {
            Header::Json => Codec::Json,
            Header::Binary => Codec::Binary,
        }
    }
}

/// How long is measured.
#[derive(Clone, Copy, Debug, Args)]
pub struct Timing {
    /// Seconds that are measured
    #[arg(long, short = 't', default_value_t = 5.0, value_parser = seconds)]
    pub seconds: f64,
    /// Seconds before that, which are not counted
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    pub warmup: f64,
}

/// Flags of measurements that send and then may read back.
#[derive(Clone, Copy, Debug, Args)]
pub struct Sends {
    /// Bytes of a body
    #[arg(long, short, default_value_t = 128, value_parser = body_bytes())]
    pub size: u32,
    /// Messages a second over all connections, or `max` for as many as possible
    #[arg(long, short, default_value = "max")]
    pub rate: Rate,
    /// Read everything back afterwards and check that all is there, once and in order
    #[arg(long)]
    pub verify: bool,
    /// Seconds that messages get to be readable when they are read back
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    pub patience: f64,
}

/// Flags of `bench produce`.
#[derive(Clone, Debug, Args)]
pub struct ProduceArguments {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub timing: Timing,
    #[command(flatten)]
    pub sends: Sends,
    /// Queues of the topic on every broker
    #[arg(long, short, default_value_t = 8, value_parser = queues())]
    pub queues: i32,
    /// Connections, over all brokers
    #[arg(long, short, default_value_t = 16, value_parser = connections())]
    pub connections: u32,
    /// Requests that a connection has under way at most
    #[arg(long, short, default_value_t = 64, value_parser = window())]
    pub window: u32,
    /// Messages in one request, sent as a batch
    #[arg(long, default_value_t = 1, value_parser = batch())]
    pub batch: u32,
}

/// Flags of `bench batch`.
#[derive(Clone, Debug, Args)]
pub struct BatchArguments {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub timing: Timing,
    #[command(flatten)]
    pub sends: Sends,
    /// Queues of the topic on every broker
    #[arg(long, short, default_value_t = 8, value_parser = queues())]
    pub queues: i32,
    /// Connections, over all brokers
    #[arg(long, short, default_value_t = 16, value_parser = connections())]
    pub connections: u32,
    /// Requests that a connection has under way at most
    #[arg(long, short, default_value_t = 4, value_parser = window())]
    pub window: u32,
    /// Messages in one request
    #[arg(long, short, default_value_t = 32, value_parser = clap::value_parser!(u32).range(2..=1_000))]
    pub messages: u32,
}

/// Flags of `bench transaction`.
#[derive(Clone, Debug, Args)]
pub struct TransactionArguments {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub timing: Timing,
    #[command(flatten)]
    pub sends: Sends,
    /// Queues of the topic on every broker
    #[arg(long, short, default_value_t = 8, value_parser = queues())]
    pub queues: i32,
    /// Connections, over all brokers
    #[arg(long, short, default_value_t = 16, value_parser = connections())]
    pub connections: u32,
    /// Transactions that a connection has under way at most
    #[arg(long, short, default_value_t = 64, value_parser = window())]
    pub window: u32,
    /// Of 100 transactions, so many are rolled back
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub rollback: u32,
}

/// Flags of `bench many-queues`.
#[derive(Clone, Debug, Args)]
pub struct ManyQueuesArguments {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub timing: Timing,
    #[command(flatten)]
    pub sends: Sends,
    /// Topics; their names are that of --topic with a number behind
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub topics: u32,
    /// Queues of each topic on every broker
    #[arg(long, short, default_value_t = 1000, value_parser = queues())]
    pub queues: i32,
    /// Connections, over all brokers
    #[arg(long, short, default_value_t = 16, value_parser = connections())]
    pub connections: u32,
    /// Requests that a connection has under way at most
    #[arg(long, short, default_value_t = 64, value_parser = window())]
    pub window: u32,
}

/// Flags of `bench connections`.
#[derive(Clone, Debug, Args)]
pub struct ConnectionsArguments {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub timing: Timing,
    #[command(flatten)]
    pub sends: Sends,
    /// Queues of the topic on every broker
    #[arg(long, short, default_value_t = 8, value_parser = queues())]
    pub queues: i32,
    /// Connections, over all brokers
    #[arg(long, short, default_value_t = 9_000, value_parser = connections())]
    pub connections: u32,
    /// Requests that a connection has under way at most
    #[arg(long, short, default_value_t = 1, value_parser = window())]
    pub window: u32,
}

/// Flags of `bench consume`.
#[derive(Clone, Debug, Args)]
pub struct ConsumeArguments {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub timing: Timing,
    #[command(flatten)]
    pub reads: Reads,
    /// Connections, over all brokers
    #[arg(long, short, default_value_t = 16, value_parser = connections())]
    pub connections: u32,
    /// Wait for new messages at the end of a queue instead of starting over
    #[arg(long, short)]
    pub follow: bool,
    /// gRPC: receives that a connection has under way, each followed by its acknowledgements
    #[arg(long, short, default_value_t = 4, value_parser = window())]
    pub window: u32,
    /// gRPC: messages in one acknowledgement
    #[arg(long, default_value_t = 1, value_parser = batch())]
    pub acks: u32,
    /// gRPC: go on until everything that was there has come, and check that it came once
    #[arg(long)]
    pub verify: bool,
}

/// Flags of measurements that read what is there.
#[derive(Clone, Debug, Args)]
pub struct Reads {
    /// Queues of the topic on every broker that is named by --broker; otherwise the nameserver is asked
    #[arg(long, short, default_value_t = 8, value_parser = queues())]
    pub queues: i32,
    /// Messages that one pull may bring
    #[arg(long, short, default_value_t = 32, value_parser = messages_max())]
    pub max: i32,
    /// Consumer group
    #[arg(long, short, default_value = "apogee-bench")]
    pub group: String,
    /// Do not check the checksums of bodies, so that the load generator takes less of the machine
    #[arg(long)]
    pub no_checksums: bool,
}

/// Flags of `bench catch-up`.
#[derive(Clone, Debug, Args)]
pub struct CatchUpArguments {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub timing: Timing,
    #[command(flatten)]
    pub reads: Reads,
    /// Reading connections, over all brokers
    #[arg(long, default_value_t = 1, value_parser = connections())]
    pub readers: u32,
    /// Topic that producers write to meanwhile
    #[arg(long, default_value = "apogee-bench-live")]
    pub live_topic: String,
    /// Sending connections, over all brokers
    #[arg(long, short, default_value_t = 4, value_parser = connections())]
    pub connections: u32,
    /// Requests that a sending connection has under way at most
    #[arg(long, short, default_value_t = 64, value_parser = window())]
    pub window: u32,
    /// Bytes of a body that is sent
    #[arg(long, short, default_value_t = 1024, value_parser = body_bytes())]
    pub size: u32,
    /// Messages a second over all connections, or `max` for as many as possible
    #[arg(long, short, default_value = "20000")]
    pub rate: Rate,
}

/// Flags of `bench end-to-end`.
#[derive(Clone, Debug, Args)]
pub struct EndToEndArguments {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub timing: Timing,
    /// Queues of the topic on every broker
    #[arg(long, short, default_value_t = 8, value_parser = queues())]
    pub queues: i32,
    /// Sending connections, over all brokers
    #[arg(long, short, default_value_t = 4, value_parser = connections())]
    pub connections: u32,
    /// Reading connections, over all brokers; a queue is read by one of them
    #[arg(long, default_value_t = 1, value_parser = connections())]
    pub readers: u32,
    /// Requests that a sending connection has under way at most
    #[arg(long, short, default_value_t = 64, value_parser = window())]
    pub window: u32,
    /// Bytes of a body
    #[arg(long, short, default_value_t = 1024, value_parser = body_bytes())]
    pub size: u32,
    /// Messages a second over all connections, or `max` for as many as possible
    #[arg(long, short, default_value = "10000")]
    pub rate: Rate,
    /// Messages that one pull may bring
    #[arg(long, short, default_value_t = 32, value_parser = messages_max())]
    pub max: i32,
    /// Seconds that the last messages get to arrive
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    pub patience: f64,
}

/// Flags of `bench delay`.
#[derive(Clone, Debug, Args)]
pub struct DelayArguments {
    #[command(flatten)]
    pub common: Common,
    /// Messages
    #[arg(long, short = 'N', default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub count: u64,
    /// Seconds from the start until the first message is due; sending all has to be over by then
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    pub delay: f64,
    /// Seconds from the time the first message is due until the last one is; the others are spread evenly
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    pub spread: f64,
    /// Seconds that the last messages get to arrive after they are due
    #[arg(long, default_value_t = 30.0, value_parser = seconds)]
    pub patience: f64,
    /// Queues of the topic on every broker
    #[arg(long, short, default_value_t = 8, value_parser = queues())]
    pub queues: i32,
    /// Sending connections, over all brokers
    #[arg(long, short, default_value_t = 16, value_parser = connections())]
    pub connections: u32,
    /// Reading connections, over all brokers; a queue is read by one of them
    #[arg(long, default_value_t = 1, value_parser = connections())]
    pub readers: u32,
    /// Requests that a sending connection has under way at most
    #[arg(long, short, default_value_t = 64, value_parser = window())]
    pub window: u32,
    /// Bytes of a body
    #[arg(long, short, default_value_t = 128, value_parser = body_bytes())]
    pub size: u32,
    /// Messages a second over all connections, or `max` for as many as possible
    #[arg(long, short, default_value = "max")]
    pub rate: Rate,
    /// Messages that one pull may bring
    #[arg(long, short, default_value_t = 1024, value_parser = messages_max())]
    pub max: i32,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("`{text}` is no number"))?;
    if (0.0..=86_400.0).contains(&seconds) { Ok(seconds) } else { Err("a day at most".into()) }
}

fn queues() -> clap::builder::RangedI64ValueParser<i32> {
    clap::value_parser!(i32).range(1..=65_535)
}

fn connections() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=100_000)
}

fn window() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=100_000)
}

fn body_bytes() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=4_194_304)
}

fn batch() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=1_000)
}

fn messages_max() -> clap::builder::RangedI64ValueParser<i32> {
    clap::value_parser!(i32).range(1..=10_000)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::bench::BenchCommand;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(subcommand)]
        command: BenchCommand,
    }

    fn parse(line: &str) -> Result<BenchCommand, String> {
        let parsed = Line::try_parse_from(std::iter::once("bench").chain(line.split_ascii_whitespace()));
        parsed.map(|line| line.command).map_err(|error| error.to_string())
    }

    #[test]
    fn every_measurement_can_be_asked_for_without_flags() {
        for name in
            "produce consume end-to-end transaction delay connections many-queues batch catch-up".split_whitespace()
        {
            assert!(parse(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn flags_mean_what_they_say() {
        let BenchCommand::EndToEnd(flags) = parse("end-to-end --rate max --header binary --pid 7").unwrap() else {
            panic!("another command");
        };
        assert_eq!((flags.rate, flags.common.header.codec(), flags.common.pid), (Rate::Max, Codec::Binary, Some(7)));
        let BenchCommand::EndToEnd(flags) = parse("end-to-end").unwrap() else { panic!("another command") };
        assert_eq!((flags.rate, flags.size), (Rate::PerSecond(10_000.0), 1024));
        let BenchCommand::Batch(flags) = parse("batch -m 100 -b a:1 -b b:2").unwrap() else {
            panic!("another command")
        };
        assert_eq!((flags.messages, flags.common.brokers), (100, vec!["a:1".to_owned(), "b:2".to_owned()]));
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        for line in [
            "produce --rate 0",
            "produce --queues 0",
            "produce --seconds -1",
            "produce --header xml",
            "batch --messages 1",
            "transaction --rollback 101",
            "delay --count 0",
            "connections -c 100001",
            "many-queues --topics 0",
            "produce --protocol http",
            "consume --acks 0",
            "consume --max 10001",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
