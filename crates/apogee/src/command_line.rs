//! The words and flags of the command line. What a command does lies in its own file.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::bench::BenchCommand;
use crate::cluster;
use crate::consume::ConsumeArguments;
use crate::group::GroupCommand;
use crate::nouns::{self, Verb};
use crate::output::Format;
use crate::roles::broker::BrokerArguments;
use crate::roles::console::ConsoleArguments;
use crate::roles::healthcheck::HealthcheckArguments;
use crate::roles::nameserver::NameserverArguments;
use crate::roles::shutdown::ShutdownArguments;
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
  apogee console -n 10.0.0.1:9876              the web console alone, on port 8080

Exit status: 0 done, 1 failed, 2 the command line is wrong; of commands that talk to a cluster also 3 not there,
4 conflict, 5 denied, 6 not reached, 7 done in part; of servers 78, they cannot start as they are told.";

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
    #[arg(
        short = 'n',
        long = "namesrv",
        visible_alias = "nameserver",
        alias = "namesrvAddr",
        value_name = "ADDRS",
        global = true
    )]
    pub nameservers: Option<String>,

    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,

    /// Print again and again, every two seconds or as said (500ms, 5s, 1m); for commands that only look
    #[arg(long, global = true, value_name = "EVERY", num_args = 0..=1, require_equals = true,
        default_missing_value = "2s", value_parser = cluster::interval)]
    pub watch: Option<Duration>,
}

/// Variables that may name the nameservers as `-Drocketmq.namesrv.addr=…`, as the official scripts take them.
const JAVA_OPTIONS: [&str; 3] = ["JAVA_OPT_EXT", "JAVA_OPT", "JAVA_OPTS"];

/// Finds `-Drocketmq.namesrv.addr=…` among the options of a JVM.
fn nameservers_of_java(options: &str) -> Option<&str> {
    options.split_whitespace().find_map(|option| option.strip_prefix("-Drocketmq.namesrv.addr="))
}

impl Access {
    /// How to print.
    pub fn format(&self) -> Format {
        if self.json { Format::Json } else { Format::Text }
    }

    /// The nameservers of a tool: as flagged, or else from the environment (options of the JVM count more than
    /// `NAMESRV_ADDR`, as officially), or else here.
    pub fn nameservers(&self) -> String {
        let java = || {
            let options = JAVA_OPTIONS.iter().filter_map(|name| std::env::var(name).ok());
            options.into_iter().find_map(|options| nameservers_of_java(&options).map(str::to_owned))
        };
        let given = self.nameservers.clone().or_else(java).or_else(|| std::env::var("NAMESRV_ADDR").ok());
        given.filter(|text| !text.trim().is_empty()).unwrap_or_else(|| DEFAULT_NAMESERVER.to_owned())
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a nameserver, a broker and the web console in this process
    Up(UpArguments),
    /// Run a nameserver; with a verb, look after those that run
    #[command(visible_alias = "namesrv", after_help = nouns::help("nameserver"), args_conflicts_with_subcommands = true)]
    Nameserver {
        #[command(flatten)]
        arguments: NameserverArguments,
        #[command(subcommand)]
        verb: Option<Verb>,
    },
    /// Run a broker; with a verb, look after one that runs
    #[command(after_help = nouns::help("broker"), args_conflicts_with_subcommands = true)]
    Broker {
        #[command(flatten)]
        arguments: BrokerArguments,
        #[command(subcommand)]
        verb: Option<Verb>,
    },
    /// Ask a broker or nameserver of this machine to stop
    Shutdown(ShutdownArguments),
    /// See whether a broker or nameserver of this machine is ready
    Healthcheck(HealthcheckArguments),
    /// Run a web console for a cluster
    Console(ConsoleArguments),
    /// List, create, delete or look at topics
    #[command(subcommand, after_help = nouns::help("topic"))]
    Topic(TopicCommand),
    /// List consumer groups or see how far they are
    #[command(subcommand, after_help = nouns::help("group"))]
    Group(GroupCommand),
    /// Find, print or send messages
    #[command(subcommand, after_help = nouns::help("message"))]
    Message(Verb),
    /// List clusters and their brokers
    #[command(subcommand, after_help = nouns::help("cluster"))]
    Cluster(Verb),
    /// Write what a cluster is configured with into files
    #[command(subcommand, after_help = nouns::help("config"))]
    Config(Verb),
    /// Users of brokers
    #[command(subcommand, after_help = nouns::help("user"))]
    User(Verb),
    /// Rules of access of brokers
    #[command(subcommand, after_help = nouns::help("acl"))]
    Acl(Verb),
    /// Send messages
    Send(SendArguments),
    /// Print the messages of a topic
    Consume(ConsumeArguments),
    /// Measure how fast a cluster takes or gives messages
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Commands of the official mqadmin, by their names and options
    #[command(disable_help_flag = true)]
    Mqadmin {
        /// `help`, or the command and its options
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
        arguments: Vec<OsString>,
    },
}

impl Command {
    /// Name of the log file of a server, under which stock ones write theirs; `None` if this runs no server.
    pub fn log_file(&self) -> Option<&'static str> {
        match self {
            Command::Up(_) => Some("apogee.log"),
            Command::Nameserver { verb: None, .. } => Some("namesrv.log"),
            Command::Broker { verb: None, .. } => Some("broker.log"),
            Command::Console(arguments) if arguments.is_server() => Some("console.log"),
            _ => None,
        }
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
    fn a_role_with_a_verb_is_a_noun() {
        let role = |line: &str| CommandLine::try_parse_from(line.split(' ')).unwrap().command.log_file().is_some();
        assert!(role("apogee broker -n a:1") && role("apogee nameserver --port 1"));
        // The long names of the stock scripts.
        assert!(role("apogee broker --configFile f --namesrvAddr a:1 --printConfigItem --printImportantConfig"));
        assert!(role("apogee nameserver --configFile f --printConfigItem"));
        assert!(!role("apogee broker status 10.0.0.1:10911") && !role("apogee namesrv config"));
        let parsed = CommandLine::try_parse_from("apogee -n a:1 broker list -m --json".split(' ')).unwrap();
        let Command::Broker { verb: Some(Verb::Any(words)), .. } = parsed.command else { panic!() };
        assert_eq!(words, ["list", "-m", "--json"]);
    }

    #[test]
    fn options_of_a_jvm_may_name_the_nameservers() {
        let options = "-server -Xmx1g -Drocketmq.namesrv.addr=a:1;b:2 -Dx=y";
        assert_eq!(nameservers_of_java(options), Some("a:1;b:2"));
        assert_eq!(nameservers_of_java("-server"), None);
    }

    #[test]
    fn what_stands_after_mqadmin_is_left_to_it() {
        let parsed = CommandLine::try_parse_from("apogee mqadmin topicList -h -c --json".split(' ')).unwrap();
        let Command::Mqadmin { arguments } = parsed.command else { panic!("{:?}", parsed.command) };
        assert_eq!(arguments, ["topicList", "-h", "-c", "--json"]);
    }

    #[test]
    fn global_flags_may_stand_anywhere() {
        for line in ["apogee -n a:1 --json topic list", "apogee topic list --json -n a:1"] {
            let parsed = CommandLine::try_parse_from(line.split(' ')).unwrap();
            assert_eq!((parsed.access.nameservers(), parsed.access.json), ("a:1".to_owned(), true), "{line}");
        }
    }
}
