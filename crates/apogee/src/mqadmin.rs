//! `apogee mqadmin`: the official commands by their official names, options and output. What differs is listed in
//! `docs/mqadmin.md`.
//!
//! The nouns of the command line (`apogee topic …`) run the same commands under other words.

mod absent;
mod access;
pub mod brokers;
pub mod export;
pub mod groups;
pub mod members;
pub mod messages;
pub mod nameservers;
pub mod offsets;
mod print;
pub mod printing;
pub mod progress;
mod reads;
pub mod sending;
pub mod targets;
mod texts;
pub mod times;
pub mod topics;
mod traces;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};
use client::Admin;

use crate::cluster;
use crate::command_line::Access;
use crate::exit::Status;
use print::Out;

/// Environment variable that makes failures end with status 0, as those of the official tool do.
const EXIT_0: &str = "APOGEE_MQADMIN_EXIT0";

const AFTER_HELP: &str = "\
Names are taken in any case. Examples:
  apogee mqadmin topicList -n 127.0.0.1:9876
  apogee mqadmin updateTopic -c DefaultCluster -t orders -r 8 -w 8
  apogee mqadmin consumerProgress -g workers --watch=5s
  apogee mqadmin clusterList --json

Exit status: 0 done, 1 failed, 2 wrong options, 3 not there, 4 conflict, 5 denied, 6 not reached, 7 done in part.";

/// The command line of `mqadmin`.
#[derive(Debug, Parser)]
#[command(
    name = "mqadmin",
    about = "The commands of the official mqadmin",
    after_help = AFTER_HELP,
    disable_version_flag = true,
    max_term_width = 100,
    subcommand_required = true
)]
struct Line {
    #[command(subcommand)]
    command: Official,
    #[command(flatten)]
    options: Options,
}

/// Options of every command.
#[derive(Debug, Args)]
struct Options {
    /// Nameservers, `host:port` separated by `;` [env: NAMESRV_ADDR] [default: 127.0.0.1:9876]
    #[arg(short = 'n', long = "namesrvAddr", aliases = ["namesrv", "nameserver"], value_name = "ADDRS", global = true)]
    nameservers: Option<String>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    /// Print again and again, every two seconds or as said (500ms, 5s, 1m)
    #[arg(long, global = true, value_name = "EVERY", num_args = 0..=1, require_equals = true,
        default_missing_value = "2s", value_parser = cluster::interval)]
    watch: Option<Duration>,
}

/// Declares the commands: the type of the options, the official name, what it does, and whether it only looks.
macro_rules! commands {
    ($($variant:ident($options:path) = $name:literal, $about:literal, $kind:ident;)*) => {
        /// The official commands.
        #[derive(Debug, Subcommand)]
        enum Official {
            $(
                #[command(name = $name, about = $about)]
                $variant($options),
            )*
        }

        impl Official {
            fn name(&self) -> &'static str {
                match self {
                    $(Official::$variant(_) => $name,)*
                }
            }

            /// Whether the command changes nothing, so that it can be repeated.
            fn looks_only(&self) -> bool {
                match self {
                    $(Official::$variant(_) => commands!(@$kind),)*
                }
            }

            async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
                match self {
                    $(Official::$variant(options) => Box::pin(options.run(admin, out)).await,)*
                }
            }
        }
    };
    (@looks) => { true };
    (@acts) => { false };
}

commands! {
    UpdateTopic(topics::UpdateTopic) = "updateTopic", "Create or change a topic", acts;
    UpdateTopicList(topics::UpdateTopicList) = "updateTopicList", "Create or change many topics", acts;
    DeleteTopic(topics::DeleteTopic) = "deleteTopic", "Delete a topic on brokers and nameservers", acts;
    UpdateTopicPerm(topics::UpdateTopicPerm) = "updateTopicPerm", "Change what clients may do with a topic", acts;
    TopicRoute(topics::TopicRoute) = "topicRoute", "Where a topic is", looks;
    TopicStatus(topics::TopicStatus) = "topicStatus", "What the queues of a topic hold", looks;
    TopicClusterList(topics::TopicClusterList) = "topicClusterList", "Which clusters have a topic", looks;
    TopicList(topics::TopicList) = "topicList", "All topics", looks;
    AllocateMq(topics::AllocateMq) = "allocateMQ", "How the queues of a topic would be shared out", looks;
    UpdateOrderConf(topics::UpdateOrderConf) = "updateOrderConf", "Order configuration of a topic", acts;
    StatsAll(topics::StatsAll) = "statsAll", "Traffic of topics and groups", looks;
    UpdateSubGroup(groups::UpdateSubGroup) = "updateSubGroup", "Create or change a consumer group", acts;
    UpdateSubGroupList(groups::UpdateSubGroupList) = "updateSubGroupList", "Create or change many groups", acts;
    DeleteSubGroup(groups::DeleteSubGroup) = "deleteSubGroup", "Delete a consumer group", acts;
    SetConsumeMode(groups::SetConsumeMode) = "setConsumeMode", "Whether a group pulls or pops a topic", acts;
    GetConsumerConfig(groups::GetConsumerConfig) = "getConsumerConfig", "How a group is configured", looks;
    ConsumerProgress(progress::ConsumerProgress) = "consumerProgress", "How far groups are", looks;
    BrokerConsumeStats(progress::BrokerConsumeStats) = "brokerConsumeStats", "How far all groups of a broker are", looks;
    ResetOffsetByTime(offsets::ResetOffsetByTime) = "resetOffsetByTime", "Move a group to a time", acts;
    SkipAccumulatedMessage(offsets::SkipAccumulatedMessage) = "skipAccumulatedMessage",
        "Move a group to the end of a topic", acts;
    CloneGroupOffset(offsets::CloneGroupOffset) = "cloneGroupOffset", "Give a group the offsets of another one", acts;
    ConsumerConnection(members::ConsumerConnections) = "consumerConnection", "Members of a consumer group", looks;
    ConsumerStatus(members::ConsumerStatus) = "consumerStatus", "What members of a group tell about themselves", acts;
    ProducerConnection(members::ProducerConnections) = "producerConnection", "Members of a producer group", looks;
    Producer(members::Producers) = "producer", "Producers of a broker", looks;
    QueryMsgById(messages::QueryMsgById) = "queryMsgById", "A message by its id", acts;
    QueryMsgByKey(messages::QueryMsgByKey) = "queryMsgByKey", "Messages by a key", looks;
    QueryMsgByUniqueKey(messages::QueryMsgByUniqueKey) = "queryMsgByUniqueKey", "Messages by a unique id", acts;
    QueryMsgByOffset(messages::QueryMsgByOffset) = "queryMsgByOffset", "A message by its place", looks;
    QueryMsgTraceById(messages::QueryMsgTraceById) = "queryMsgTraceById", "Traces of a message", looks;
    PrintMsg(printing::PrintMsg) = "printMsg", "Print the messages of a topic", looks;
    PrintMsgByQueue(printing::PrintMsgByQueue) = "printMsgByQueue", "Print the messages of a queue", looks;
    ConsumeMessage(printing::ConsumeMessage) = "consumeMessage", "Read messages of a topic", looks;
    QueryCq(printing::QueryCq) = "queryCq", "Entries of a consume queue", looks;
    SendMessage(sending::SendMessage) = "sendMessage", "Send a message", acts;
    SendMsgStatus(sending::SendMsgStatus) = "sendMsgStatus", "How long sends to a broker take", acts;
    CheckMsgSendRt(sending::CheckMsgSendRt) = "checkMsgSendRT", "How long sends to a topic take", acts;
    ClusterList(brokers::ClusterList) = "clusterList", "Brokers and how they are", looks;
    BrokerStatus(brokers::BrokerStatus) = "brokerStatus", "What brokers tell about themselves", looks;
    GetBrokerConfig(brokers::GetBrokerConfig) = "getBrokerConfig", "Settings of brokers", looks;
    UpdateBrokerConfig(brokers::UpdateBrokerConfig) = "updateBrokerConfig", "Change a setting of brokers", acts;
    CleanExpiredCq(brokers::CleanExpiredCq) = "cleanExpiredCQ", "Delete consume queues that have run out", acts;
    CleanUnusedTopic(brokers::CleanUnusedTopic) = "cleanUnusedTopic", "Delete queues of topics that are gone", acts;
    DeleteExpiredCommitLog(brokers::DeleteExpiredCommitLog) = "deleteExpiredCommitLog",
        "Delete segments of the log that have run out", acts;
    HaStatus(brokers::HaStatus) = "haStatus", "Replication", looks;
    GetBrokerLiteInfo(brokers::GetBrokerLiteInfo) = "getBrokerLiteInfo", "Light queues of brokers", looks;
    GetColdDataFlowCtrInfo(reads::GetColdDataFlowCtrInfo) = "getColdDataFlowCtrInfo",
        "How stock brokers hold back reads of old messages", looks;
    UpdateColdDataFlowCtrGroupConfig(reads::UpdateColdDataFlowCtrGroupConfig) = "updateColdDataFlowCtrGroupConfig",
        "Limit a group's reads of old messages on stock brokers", acts;
    RemoveColdDataFlowCtrGroupConfig(reads::RemoveColdDataFlowCtrGroupConfig) = "removeColdDataFlowCtrGroupConfig",
        "Take that limit away", acts;
    SetCommitLogReadAheadMode(reads::SetCommitLogReadAheadMode) = "setCommitLogReadAheadMode",
        "How stock brokers read the log ahead", acts;
    GetNamesrvConfig(nameservers::GetNamesrvConfig) = "getNamesrvConfig", "Settings of nameservers", looks;
    UpdateNamesrvConfig(nameservers::UpdateNamesrvConfig) = "updateNamesrvConfig", "Change a setting of nameservers", acts;
    UpdateKvConfig(nameservers::UpdateKvConfig) = "updateKvConfig", "Set a value of the KV table", acts;
    DeleteKvConfig(nameservers::DeleteKvConfig) = "deleteKvConfig", "Delete a value of the KV table", acts;
    WipeWritePerm(nameservers::WipeWritePerm) = "wipeWritePerm", "Send no more messages to a broker", acts;
    AddWritePerm(nameservers::AddWritePerm) = "addWritePerm", "Send messages to a broker again", acts;
    CreateUser(access::CreateUser) = "createUser", "Create a user", acts;
    UpdateUser(access::UpdateUser) = "updateUser", "Change a user", acts;
    DeleteUser(access::DeleteUser) = "deleteUser", "Delete a user", acts;
    GetUser(access::GetUser) = "getUser", "A user", looks;
    ListUser(access::ListUser) = "listUser", "Users", looks;
    CreateAcl(access::CreateAcl) = "createAcl", "Create a rule of access", acts;
    UpdateAcl(access::UpdateAcl) = "updateAcl", "Change a rule of access", acts;
    DeleteAcl(access::DeleteAcl) = "deleteAcl", "Delete rules of access", acts;
    GetAcl(access::GetAcl) = "getAcl", "Rules of access of somebody", looks;
    ListAcl(access::ListAcl) = "listAcl", "Rules of access", looks;
    ExportMetadata(export::ExportMetadata) = "exportMetadata", "Topics and groups into a file", acts;
    ExportMetrics(export::ExportMetrics) = "exportMetrics", "Traffic, sizes and versions into a file", acts;
    ExportConfigs(export::ExportConfigs) = "exportConfigs", "Settings into a file", acts;
}

/// Runs `mqadmin` with the words that stand after it.
pub fn run(arguments: &[OsString], access: &Access) -> ExitCode {
    let line = match parse(arguments) {
        Ok(line) => line,
        Err(status) => return finish(status),
    };
    let interval = match &line.command {
        Official::ClusterList(options) => options.watch(),
        Official::HaStatus(options) => options.watch(),
        _ => None,
    };
    let access = Access {
        nameservers: line.options.nameservers.or_else(|| access.nameservers.clone()),
        json: line.options.json || access.json,
        watch: line.options.watch.or(access.watch).or(interval),
    };
    match run_command(&line.command, &access) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if crate::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Where standard error cannot be written, the exit status has to do.
            let _ = crate::tell(&format!("mqadmin: {} failed: {error:#}", line.command.name()));
            finish(Status::of(&error) as u8)
        }
    }
}

fn finish(status: u8) -> ExitCode {
    let habit = std::env::var(EXIT_0).is_ok_and(|value| value == "1");
    if habit { ExitCode::SUCCESS } else { ExitCode::from(status) }
}

/// Whether there is an official command of that name here.
#[cfg(test)]
pub fn is_command(name: &str) -> bool {
    Line::command().find_subcommand(name).is_some()
}

/// Reads the command line; prints help or what is wrong with it, and returns the exit status.
fn parse(arguments: &[OsString]) -> Result<Line, u8> {
    let known = Line::command();
    let mut words: Vec<OsString> = vec!["mqadmin".into()];
    let mut wants_name = true;
    for argument in arguments {
        let name = argument.to_str().filter(|text| wants_name && !text.starts_with('-'));
        let Some(name) = name else {
            words.push(argument.clone());
            continue;
        };
        // `help` is followed by a name.
        wants_name = name.eq_ignore_ascii_case("help");
        let official = known.get_subcommands().map(|command| command.get_name());
        let official = official.chain(["help"]).find(|known| known.eq_ignore_ascii_case(name));
        if let (None, Some(reason)) = (official, absent::reason(name)) {
            let _ = crate::tell(&format!("mqadmin: {name}: {reason}"));
            return Err(Status::Failed as u8);
        }
        words.push(official.map_or_else(|| argument.clone(), Into::into));
    }
    Line::try_parse_from(words).map_err(|error| {
        let _ = error.print();
        u8::try_from(error.exit_code()).unwrap_or(Status::Usage as u8)
    })
}

fn run_command(command: &Official, access: &Access) -> anyhow::Result<()> {
    let admin = cluster::admin(access)?;
    let once = Access { watch: access.watch.filter(|_| command.looks_only()), ..access.clone() };
    cluster::run(&once, async || show(access, async |out| command.run(&admin, out).await).await).map(|_| ())
}

/// Runs a command and prints what it has to say; what it had said before it failed, too.
pub async fn show(access: &Access, command: impl AsyncFnOnce(&mut Out) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut out = Out::new(access.format());
    let outcome = command(&mut out).await;
    match &outcome {
        Ok(()) => out.print()?,
        Err(_) => out.print_begun()?,
    }
    outcome
}

/// Retry and dead-letter topics, which belong to a group.
fn is_of_group(topic: &str) -> bool {
    topic.starts_with("%RETRY%") || topic.starts_with("%DLQ%")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(Into::into).collect()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Line::command().debug_assert();
    }

    #[test]
    fn names_are_taken_in_any_case() {
        for line in ["topicroute -t x -n a:1", "TOPICROUTE -n a:1 -t x", "-n a:1 topicRoute -t x"] {
            let read = parse(&words(line)).unwrap();
            assert_eq!((read.command.name(), read.options.nameservers.as_deref()), ("topicRoute", Some("a:1")));
        }
    }

    #[test]
    fn flags_may_be_followed_by_true() {
        for line in ["statsAll -a", "statsAll -a true", "statsAll --activeTopic true"] {
            let read = parse(&words(line)).unwrap();
            assert!(matches!(read.command, Official::StatsAll(topics::StatsAll { active_topic: true, .. })), "{line}");
        }
    }

    #[test]
    fn only_commands_that_look_are_repeated() {
        assert!(parse(&words("topicList --watch=5s")).unwrap().command.looks_only());
        assert!(!parse(&words("deleteTopic -t x -c y --watch")).unwrap().command.looks_only());
    }
}
