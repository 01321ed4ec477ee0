//! The words and flags of the command line. What a command does lies in its own file.

use clap::{Args, Parser, Subcommand};

use crate::bench::BenchCommand;
use crate::consume::ConsumeArguments;
use crate::group::GroupCommand;
use crate::output::Format;
use crate::roles::broker::BrokerArguments;
use crate::roles::nameserver::NameserverArguments;
use crate::roles::up::UpArguments;
use crate::send::SendArguments;
use crate::topic::TopicCommand;

/// Nameserver to talk to when none is named.
pub const DEFAULT_NAMESERVER: &str = "127.0.0.1:9876";

const EXAMPLES: &str = "\
Examples:
  apogee up                                    a whole cluster in one process, data in ./data
  apogee topic create orders --queues 8
  apogee send orders 'hello' --tag paid --key order-17
  apogee consume orders --follow
  apogee group progress workers --json
  apogee bench produce --connections 16 --window 64
  apogee nameserver                            the two roles apart, as in a stock cluster
  apogee broker -c broker.conf -n 10.0.0.1:9876

Exit status: 0 done, 1 failed, 2 the command line is wrong.";

/// A message broker that speaks the protocol of Apache RocketMQ, and the tools to work with it.
#[derive(Debug, Parser)]
#[command(name = "apogee", version, about, after_help = EXAMPLES, max_term_width = 100, subcommand_required = true)]
pub struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// How to reach the cluster, and how to print.
    #[command(flatten)]
    pub access: Access,
}

/// Flags that every command takes.
#[derive(Clone, Debug, Args)]
pub struct Access {
    /// Nameservers, `host:port` separated by `;`; `up` registers with them besides its own [env: NAMESRV_ADDR] [default: 127.0.0.1:9876]
    #[arg(short = 'n', long = "namesrv", visible_alias = "nameserver", value_name = "ADDRS", global = true)]
    pub nameservers: Option<String>,

    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
}

impl Access {
    /// How to print.
    pub fn format(&self) -> Format {
        if self.json { Format::Json } else { Format::Text }
    }

    /// The nameservers of a tool: as flagged, or else from the environment, or else here.
    pub fn nameservers(&self) -> String {
        let flagged = self.nameservers.clone();
        let given = flagged.or_else(|| std::env::var("NAMESRV_ADDR").ok()).filter(|text| !text.trim().is_empty());
        given.unwrap_or_else(|| DEFAULT_NAMESERVER.to_owned())
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a nameserver and a broker in this process
    Up(UpArguments),
    /// Run a nameserver
    #[command(visible_alias = "namesrv")]
    Nameserver(NameserverArguments),
    /// Run a broker
    Broker(BrokerArguments),
    /// List, create, delete or look at topics
    #[command(subcommand)]
    Topic(TopicCommand),
    /// List consumer groups or see how far they are
    #[command(subcommand)]
    Group(GroupCommand),
    /// Send messages
    Send(SendArguments),
    /// Print the messages of a topic
    Consume(ConsumeArguments),
    /// Measure how fast a cluster takes or gives messages
    #[command(subcommand)]
    Bench(BenchCommand),
}

impl Command {
    /// Whether this runs a server, which logs what it does.
    pub fn is_role(&self) -> bool {
        matches!(self, Command::Up(_) | Command::Nameserver(_) | Command::Broker(_))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn global_flags_may_stand_anywhere() {
        for line in ["apogee -n a:1 --json topic list", "apogee topic list --json -n a:1"] {
            let parsed = CommandLine::try_parse_from(line.split(' ')).unwrap();
            assert_eq!((parsed.access.nameservers(), parsed.access.json), ("a:1".to_owned(), true), "{line}");
        }
    }
}
