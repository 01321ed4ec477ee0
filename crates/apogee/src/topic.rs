//! `apogee topic …`

use std::ffi::OsString;
use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use client::admin::{Master, NewTopic, QueueStats};
use serde::Serialize;

use crate::cluster;
use crate::command_line::Access;
use crate::mqadmin::times;
use crate::nouns::{self, Verb};
use crate::output::{self, Align, Format, Table, grouped};

/// What to do with topics.
#[derive(Debug, Subcommand)]
pub enum TopicCommand {
    /// List the topics
    List(ListArguments),
    /// Create a topic, or change one, on every broker
    #[command(after_help = "Example: apogee topic create orders --queues 8 --attribute message.type=FIFO")]
    Create(CreateArguments),
    /// Delete a topic and its messages on every broker
    Delete(DeleteArguments),
    /// Show what every queue of a topic holds
    Stats(StatsArguments),
    /// The other verbs, which are official commands.
    #[command(external_subcommand)]
    Official(Vec<OsString>),
}

/// Flags of `topic list`.
#[derive(Debug, Args)]
pub struct ListArguments {
    /// List the topics of the system, of retries and of dead letters too
    #[arg(long, short)]
    all: bool,
}

/// Flags of `topic create`.
#[derive(Debug, Args)]
pub struct CreateArguments {
    /// Name of the topic
    topic: String,
    /// Queues on every broker
    #[arg(long, short, default_value_t = 8, value_parser = clap::value_parser!(i32).range(1..=65535))]
    queues: i32,
    /// What clients may do
    #[arg(long, value_enum, default_value_t = Permission::ReadWrite)]
    perm: Permission,
    /// An attribute, such as `message.type=FIFO`; may be given several times
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = name_and_value)]
    attributes: Vec<(String, String)>,
}

/// What clients may do with a topic.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Permission {
    /// Read and write
    #[value(name = "rw")]
    ReadWrite,
    /// Read only
    #[value(name = "r")]
    Read,
    /// Write only
    #[value(name = "w")]
    Write,
}

/// Flags of `topic delete`.
#[derive(Debug, Args)]
pub struct DeleteArguments {
    /// Name of the topic
    topic: String,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// Flags of `topic stats`.
#[derive(Debug, Args)]
pub struct StatsArguments {
    /// Name of the topic
    topic: String,
}

/// Reads `name=value`.
pub fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not NAME=VALUE"))?;
    Ok((name.trim().to_owned(), value.to_owned()))
}

/// Does what the command says; again and again when it only looks and is to be watched.
pub fn start(command: &TopicCommand, access: &Access) -> anyhow::Result<ExitCode> {
    match command {
        TopicCommand::List(_) | TopicCommand::Stats(_) => cluster::run(access, async || run(command, access).await),
        TopicCommand::Official(words) => Ok(nouns::run("topic", &Verb::Any(words.clone()), access)),
        _ => cluster::run_once(run(command, access)),
    }
}

async fn run(command: &TopicCommand, access: &Access) -> anyhow::Result<()> {
    match command {
        TopicCommand::List(arguments) => list(arguments, access).await,
        TopicCommand::Create(arguments) => create(arguments, access).await,
        TopicCommand::Delete(arguments) => delete(arguments, access).await,
        TopicCommand::Stats(arguments) => stats(&arguments.topic, access).await,
        // `start` has run it.
        TopicCommand::Official(_) => Ok(()),
    }
}

async fn list(arguments: &ListArguments, access: &Access) -> anyhow::Result<()> {
    let admin = cluster::admin(access)?;
    let mut topics = admin.topics().await.context("cannot list the topics")?;
    if !arguments.all {
        // Every cluster and every broker has a topic of its name.
        let known = admin.cluster().await.context("cannot list the brokers")?;
        topics.retain(|topic| {
            !is_internal(topic)
                && !known.cluster_addr_table.contains_key(topic)
                && !known.broker_addr_table.contains_key(topic)
        });
    }
    match access.format() {
        Format::Json => output::json(&topics)?,
        Format::Text => {
            for topic in topics {
                output::line(&topic)?;
            }
        }
    }
    Ok(())
}

/// Topics of the system, of retries and of dead letters.
fn is_internal(topic: &str) -> bool {
    const NAMES: [&str; 8] = [
        "TBW102",
        "SELF_TEST_TOPIC",
        "BenchmarkTest",
        "SCHEDULE_TOPIC_XXXX",
        "OFFSET_MOVED_EVENT",
        "TRANS_CHECK_MAX_TIME_TOPIC",
        "CHECKPOINT_TOPIC",
        "DefaultHeartBeatSyncerTopic",
    ];
    const STARTS: [&str; 4] = ["%RETRY%", "%DLQ%", "rmq_sys_", "RMQ_SYS_"];
    NAMES.contains(&topic) || STARTS.iter().any(|start| topic.starts_with(start)) || topic.ends_with("_REPLY_TOPIC")
}

/// A broker, as JSON.
#[derive(Serialize)]
pub struct Place<'a> {
    broker: &'a str,
    address: &'a str,
}

/// Brokers, as JSON.
pub fn places(masters: &[Master]) -> Vec<Place<'_>> {
    masters.iter().map(|master| Place { broker: &master.broker, address: &master.address }).collect()
}

/// Brokers, as text.
pub fn names(masters: &[Master]) -> String {
    masters.iter().map(|master| format!("{} ({})", master.broker, master.address)).collect::<Vec<_>>().join(", ")
}

async fn create(arguments: &CreateArguments, access: &Access) -> anyhow::Result<()> {
    let perm = match arguments.perm {
        Permission::ReadWrite => 6,
        Permission::Read => 4,
        Permission::Write => 2,
    };
    let (name, queues) = (&arguments.topic, arguments.queues);
    let topic = NewTopic { name: name.clone(), queues, perm, attributes: arguments.attributes.clone() };
    let masters = cluster::admin(access)?.create_topic(&topic).await;
    let masters = masters.with_context(|| format!("cannot create topic `{name}`"))?;
    match access.format() {
        Format::Json => output::json(&serde_json::json!({ "created": name, "brokers": places(&masters) }))?,
        Format::Text => output::line(&format!("topic `{name}` has {queues} queues on {}", names(&masters)))?,
    }
    Ok(())
}

async fn delete(arguments: &DeleteArguments, access: &Access) -> anyhow::Result<()> {
    let name = &arguments.topic;
    let admin = cluster::admin(access)?;
    // Brokers and nameservers say that they deleted it whether it was there or not.
    let known = admin.topics().await.context("cannot list the topics")?;
    if !known.contains(name) {
        bail!("topic `{name}` does not exist");
    }
    if !arguments.yes && !confirmed(&format!("delete topic `{name}` and all its messages?"))? {
        bail!("topic `{name}` was not deleted");
    }
    let masters = admin.delete_topic(name).await.with_context(|| format!("cannot delete topic `{name}`"))?;
    match access.format() {
        Format::Json => output::json(&serde_json::json!({ "deleted": name, "brokers": places(&masters) }))?,
        Format::Text => output::line(&format!("topic `{name}` is deleted on {}", names(&masters)))?,
    }
    Ok(())
}

/// Asks on the terminal. Without one nobody can answer, and nothing is done.
fn confirmed(question: &str) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("nobody can be asked: {question} Use --yes");
    }
    eprint!("{question} [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[derive(Serialize)]
struct QueueLine<'a> {
    broker: &'a str,
    queue: i32,
    min_offset: i64,
    max_offset: i64,
    messages: i64,
    last_stored_ms: Option<i64>,
}

impl<'a> QueueLine<'a> {
    fn new(queue: &'a QueueStats) -> QueueLine<'a> {
        QueueLine {
            broker: &queue.broker,
            queue: queue.queue_id,
            min_offset: queue.min_offset,
            max_offset: queue.max_offset,
            messages: queue.max_offset - queue.min_offset,
            last_stored_ms: queue.last_stored_ms,
        }
    }
}

async fn stats(topic: &str, access: &Access) -> anyhow::Result<()> {
    let stats = cluster::admin(access)?.topic_stats(topic).await;
    let stats = stats.with_context(|| format!("cannot look at topic `{topic}`"))?;
    let lines: Vec<QueueLine<'_>> = stats.iter().map(QueueLine::new).collect();
    if access.format() == Format::Json {
        return Ok(output::json(&lines)?);
    }
    let mut table = Table::new(&[
        ("BROKER", Align::Left),
        ("QUEUE", Align::Right),
        ("MIN OFFSET", Align::Right),
        ("MAX OFFSET", Align::Right),
        ("MESSAGES", Align::Right),
        ("LAST STORED (UTC)", Align::Left),
    ]);
    for line in &lines {
        table.row([
            line.broker.to_owned(),
            line.queue.to_string(),
            line.min_offset.to_string(),
            line.max_offset.to_string(),
            line.messages.to_string(),
            line.last_stored_ms.map(times::text).unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    table.print()?;
    let total: i64 = lines.iter().map(|line| line.messages).sum();
    output::line(&format!("{} messages in {} queues", grouped(total.unsigned_abs()), lines.len()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_of_users_are_told_from_the_others() {
        for topic in ["TBW102", "%RETRY%g", "%DLQ%g", "rmq_sys_x", "RMQ_SYS_TRANS_HALF_TOPIC", "c_REPLY_TOPIC"] {
            assert!(is_internal(topic), "{topic}");
        }
        assert!(!is_internal("orders"));
    }

    #[test]
    fn an_attribute_has_a_name_and_a_value() {
        assert_eq!(name_and_value("message.type=FIFO"), Ok(("message.type".into(), "FIFO".into())));
        assert_eq!(name_and_value("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(name_and_value("a").is_err());
    }
}
