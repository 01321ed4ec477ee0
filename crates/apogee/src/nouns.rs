//! `apogee <noun> <verb> [name] [options]`: other words for the commands of [`crate::mqadmin`].

use std::ffi::OsString;
use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Subcommand;

use crate::command_line::Access;
use crate::exit::Status;
use crate::mqadmin;

/// The verb of a noun, and what follows it.
#[derive(Clone, Debug, Subcommand)]
pub enum Verb {
    /// Any verb of the noun.
    #[command(external_subcommand)]
    Any(Vec<OsString>),
}

/// Another spelling of an official command.
struct Spelling {
    noun: &'static str,
    verb: &'static str,
    official: &'static str,
    /// Option that takes the name after the verb.
    name: Option<&'static str>,
    about: &'static str,
}

const fn spelling(
    noun: &'static str,
    verb: &'static str,
    official: &'static str,
    name: Option<&'static str>,
    about: &'static str,
) -> Spelling {
    Spelling { noun, verb, official, name, about }
}

const SPELLINGS: &[Spelling] = &[
    spelling("topic", "route", "topicRoute", Some("-t"), "where a topic is"),
    spelling("topic", "status", "topicStatus", Some("-t"), "what its queues hold, as mqadmin prints it"),
    spelling("topic", "clusters", "topicClusterList", Some("-t"), "which clusters have it"),
    spelling("topic", "alter", "updateTopic", Some("-t"), "change it on a broker or a cluster"),
    spelling("topic", "perm", "updateTopicPerm", Some("-t"), "change what clients may do with it"),
    spelling("topic", "order", "updateOrderConf", Some("-t"), "its order configuration"),
    spelling("topic", "traffic", "statsAll", Some("-t"), "messages that come and go, by group"),
    spelling("group", "lag", "consumerProgress", Some("-g"), "how far it is, or all of them"),
    spelling("group", "clients", "consumerConnection", Some("-g"), "its members and subscriptions"),
    spelling("group", "running-info", "consumerStatus", Some("-g"), "what its members tell about themselves"),
    spelling("group", "config", "getConsumerConfig", Some("-g"), "how it is configured"),
    spelling("group", "alter", "updateSubGroup", Some("-g"), "change it on a broker or a cluster"),
    spelling("group", "delete", "deleteSubGroup", Some("-g"), "delete it on a broker or a cluster"),
    spelling("group", "reset", "resetOffsetByTime", Some("-g"), "move it to a time"),
    spelling("group", "skip", "skipAccumulatedMessage", Some("-g"), "move it to the end of a topic"),
    spelling("group", "clone", "cloneGroupOffset", Some("-s"), "give its offsets to another group"),
    spelling("group", "mode", "setConsumeMode", Some("-g"), "whether it pulls or pops"),
    spelling("group", "producers", "producerConnection", Some("-g"), "members of a producer group"),
    spelling("message", "get", "queryMsgById", Some("-i"), "a message by its id"),
    spelling("message", "unique", "queryMsgByUniqueKey", Some("-i"), "all messages of a unique id"),
    spelling("message", "find", "queryMsgByKey", Some("-k"), "messages by a key"),
    spelling("message", "at", "queryMsgByOffset", Some("-t"), "a message by its place"),
    spelling("message", "journey", "queryMsgTraceById", Some("-i"), "what clients tell about a message"),
    spelling("message", "print", "printMsg", Some("-t"), "the messages of a topic"),
    spelling("message", "print-queue", "printMsgByQueue", Some("-t"), "the messages of a queue"),
    spelling("message", "index", "queryCq", Some("-t"), "entries of a consume queue"),
    spelling("message", "send", "sendMessage", Some("-t"), "send one"),
    spelling("broker", "list", "clusterList", None, "all brokers and how they are"),
    spelling("broker", "status", "brokerStatus", Some("-b"), "what it tells about itself"),
    spelling("broker", "config", "getBrokerConfig", Some("-b"), "its settings"),
    spelling("broker", "set", "updateBrokerConfig", Some("-b"), "change a setting"),
    spelling("broker", "drain", "wipeWritePerm", Some("-b"), "send it no more messages"),
    spelling("broker", "undrain", "addWritePerm", Some("-b"), "send it messages again"),
    spelling("broker", "lag", "brokerConsumeStats", Some("-b"), "how far all its groups are"),
    spelling("broker", "producers", "producer", Some("-b"), "who sends to it"),
    spelling("broker", "ha", "haStatus", Some("-b"), "replication"),
    spelling("broker", "ping", "sendMsgStatus", Some("-b"), "how long sends to it take"),
    spelling("cluster", "list", "clusterList", None, "clusters and their brokers"),
    spelling("cluster", "status", "brokerStatus", Some("-c"), "what its masters tell about themselves"),
    spelling("nameserver", "config", "getNamesrvConfig", None, "settings of the nameservers"),
    spelling("nameserver", "set", "updateNamesrvConfig", Some("-k"), "change a setting"),
    spelling("nameserver", "kv-set", "updateKvConfig", Some("-k"), "set a value of the KV table"),
    spelling("nameserver", "kv-delete", "deleteKvConfig", Some("-k"), "delete a value of the KV table"),
    spelling("config", "export", "exportMetadata", Some("-c"), "topics and groups of a cluster into a file"),
    spelling("config", "settings", "exportConfigs", Some("-c"), "settings of a cluster into a file"),
    spelling("config", "metrics", "exportMetrics", Some("-c"), "traffic, sizes and versions into a file"),
    spelling("user", "list", "listUser", Some("-b"), "users of a broker"),
    spelling("user", "create", "createUser", Some("-u"), "create one"),
    spelling("user", "alter", "updateUser", Some("-u"), "change one"),
    spelling("user", "delete", "deleteUser", Some("-u"), "delete one"),
    spelling("acl", "list", "listAcl", Some("-b"), "rules of access of a broker"),
    spelling("acl", "create", "createAcl", Some("-s"), "create a rule"),
    spelling("acl", "alter", "updateAcl", Some("-s"), "change a rule"),
    spelling("acl", "delete", "deleteAcl", Some("-s"), "delete rules"),
];

fn of_noun(noun: &str) -> impl Iterator<Item = &'static Spelling> {
    SPELLINGS.iter().filter(move |spelling| spelling.noun == noun)
}

/// The verbs of a noun, for its help.
pub fn help(noun: &str) -> String {
    let mut text = String::from("Verbs, with the options of the official command (`--help` after the verb):\n");
    for spelling in of_noun(noun) {
        let name = spelling.name.map_or("", |_| "[NAME]");
        // Writing to a text does not fail.
        let _ = writeln!(text, "  {:<12} {name:<7} {} ({})", spelling.verb, spelling.about, spelling.official);
    }
    text
}

/// Runs a verb.
pub fn run(noun: &str, verb: &Verb, access: &Access) -> ExitCode {
    let Verb::Any(words) = verb;
    match official(noun, words) {
        Some(words) => mqadmin::run(&words, access),
        None => {
            let verb = words.first().map(|word| word.to_string_lossy()).unwrap_or_default();
            let _ = crate::tell(&format!("error: `{verb}` is no verb of {noun}\n\n{}", help(noun).trim_end()));
            ExitCode::from(Status::Usage as u8)
        }
    }
}

/// `route orders --list` as `topicRoute -t orders --list`.
fn official(noun: &str, words: &[OsString]) -> Option<Vec<OsString>> {
    let (verb, rest) = words.split_first()?;
    let found = of_noun(noun).find(|spelling| verb == spelling.verb)?;
    let mut line: Vec<OsString> = vec![found.official.into()];
    let named = rest.first().is_some_and(|word| !word.as_encoded_bytes().starts_with(b"-"));
    if let (Some(option), true) = (found.name, named) {
        line.push(option.into());
    }
    line.extend(rest.iter().cloned());
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(line: &str) -> Option<String> {
        let (noun, rest) = line.split_once(' ').unwrap();
        let words: Vec<OsString> = rest.split(' ').map(Into::into).collect();
        let official = official(noun, &words)?;
        Some(official.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn a_verb_is_an_official_command_and_a_name_one_of_its_options() {
        for (line, expected) in [
            ("topic route orders --list", Some("topicRoute -t orders --list")),
            ("topic route -t orders", Some("topicRoute -t orders")),
            ("group lag", Some("consumerProgress")),
            ("broker drain broker-a -n a:1", Some("wipeWritePerm -b broker-a -n a:1")),
            ("cluster list -m", Some("clusterList -m")),
            ("topic lag x", None),
        ] {
            assert_eq!(spelled(line).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn every_verb_leads_to_a_command_that_is_there() {
        for spelling in SPELLINGS {
            assert!(mqadmin::is_command(spelling.official), "{}", spelling.official);
            let twice = of_noun(spelling.noun).filter(|other| other.verb == spelling.verb).count();
            assert_eq!(twice, 1, "{} {}", spelling.noun, spelling.verb);
        }
    }
}
