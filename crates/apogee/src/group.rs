//! `apogee group …`

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use client::admin::QueueProgress;
use protocol::bodies::subscription_group::{
    CustomizedRetryPolicy, ExponentialRetryPolicy, GroupRetryPolicy, RetryPolicyKind, SubscriptionGroupConfig,
};
use serde::Serialize;

use crate::cluster;
use crate::command_line::Access;
use crate::mqadmin::times;
use crate::nouns::{self, Verb};
use crate::output::{self, Align, Format, Table, grouped};
use crate::topic::{name_and_value, names, places};

/// What to do with consumer groups.
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// List the groups
    List(ListArguments),
    /// Create a group, or change one, on every broker
    #[command(after_help = "What is not given becomes the default, of a group that is there too.\n\n\
        Examples:\n  \
        apogee group create billing --retries 3 --retry-waits 1000,5000,60000\n  \
        apogee group create billing --ordered --retry-growth 1000,60000,2")]
    Create(CreateArguments),
    /// Show how far a group has come in every queue, and what is left
    Progress(ProgressArguments),
    /// The other verbs, which are official commands.
    #[command(external_subcommand)]
    Official(Vec<OsString>),
}

/// Flags of `group list`.
#[derive(Debug, Args)]
pub struct ListArguments {
    /// List the groups of the system too
    #[arg(long, short)]
    all: bool,
}

/// Flags of `group create`.
#[derive(Debug, Args)]
pub struct CreateArguments {
    /// Name of the group
    group: String,
    /// Times a message is tried again before it becomes a dead letter
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(i32).range(0..))]
    retries: i32,
    /// Queues of the retry topic
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(0..=65535))]
    retry_queues: i32,
    /// Messages of a queue are handed out one after another
    #[arg(long)]
    ordered: bool,
    /// Waits in milliseconds before a message is tried again; as in a stock broker the third is the first that is used,
    /// and the last is used again and again
    #[arg(long, value_name = "MS,MS,...", value_delimiter = ',', value_parser = clap::value_parser!(i64).range(0..))]
    retry_waits: Vec<i64>,
    /// First and longest wait in milliseconds, and the factor from one to the next
    #[arg(long, value_name = "FIRST,MAX,FACTOR", conflicts_with = "retry_waits", value_parser = growth)]
    retry_growth: Option<ExponentialRetryPolicy>,
    /// An attribute, such as `priority.factor=50`; may be given several times
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = name_and_value)]
    attributes: Vec<(String, String)>,
}

/// Reads `first,max,factor`.
fn growth(text: &str) -> Result<ExponentialRetryPolicy, String> {
    let numbers: Option<Vec<i64>> = text.split(',').map(|number| number.trim().parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[initial, max, multiplier]) if initial >= 0 && max >= 0 && multiplier >= 0 => {
            Ok(ExponentialRetryPolicy { initial, max, multiplier })
        }
        _ => Err(format!("`{text}` is not FIRST,MAX,FACTOR")),
    }
}

/// Flags of `group progress`.
#[derive(Debug, Args)]
pub struct ProgressArguments {
    /// Name of the group
    group: String,
}

/// Does what the command says; again and again when it only looks and is to be watched.
pub fn start(command: &GroupCommand, access: &Access) -> anyhow::Result<ExitCode> {
    match command {
        GroupCommand::List(_) | GroupCommand::Progress(_) => cluster::run(access, async || run(command, access).await),
        GroupCommand::Official(words) => Ok(nouns::run("group", &Verb::Any(words.clone()), access)),
        _ => cluster::run_once(run(command, access)),
    }
}

async fn run(command: &GroupCommand, access: &Access) -> anyhow::Result<()> {
    match command {
        GroupCommand::List(arguments) => list(arguments, access).await,
        GroupCommand::Create(arguments) => create(arguments, access).await,
        GroupCommand::Progress(arguments) => progress(&arguments.group, access).await,
        // `start` has run it.
        GroupCommand::Official(_) => Ok(()),
    }
}

#[derive(Serialize)]
struct GroupLine<'a> {
    group: &'a str,
    consumes: bool,
    retries_max: i32,
    ordered: bool,
    retry_policy: &'a GroupRetryPolicy,
}

async fn list(arguments: &ListArguments, access: &Access) -> anyhow::Result<()> {
    let groups = cluster::admin(access)?.groups().await.context("cannot list the groups")?;
    let shown = groups.iter().filter(|(name, _)| arguments.all || !is_internal(name));
    let lines: Vec<GroupLine<'_>> = shown
        .map(|(name, group)| GroupLine {
            group: name,
            consumes: group.consume_enable,
            retries_max: group.retry_max_times,
            ordered: group.consume_message_orderly,
            retry_policy: &group.group_retry_policy,
        })
        .collect();
    if access.format() == Format::Json {
        return Ok(output::json(&lines)?);
    }
    let mut table = Table::new(&[("GROUP", Align::Left), ("MAY CONSUME", Align::Left), ("RETRIES", Align::Right)]);
    for line in lines {
        let consumes = if line.consumes { "yes" } else { "no" };
        table.row([line.group.to_owned(), consumes.to_owned(), line.retries_max.to_string()]);
    }
    Ok(table.print()?)
}

async fn create(arguments: &CreateArguments, access: &Access) -> anyhow::Result<()> {
    let name = &arguments.group;
    let waits = (!arguments.retry_waits.is_empty()).then(|| arguments.retry_waits.clone());
    let policy = GroupRetryPolicy {
        customized_retry_policy: waits.map(|next| CustomizedRetryPolicy { next }),
        exponential_retry_policy: arguments.retry_growth,
        kind: match arguments.retry_growth {
            Some(_) => RetryPolicyKind::Exponential,
            None => RetryPolicyKind::Customized,
        },
    };
    let group = SubscriptionGroupConfig {
        group_name: name.clone(),
        retry_max_times: arguments.retries,
        retry_queue_nums: arguments.retry_queues,
        consume_message_orderly: arguments.ordered,
        group_retry_policy: policy,
        attributes: arguments.attributes.iter().map(|(name, value)| (format!("+{name}"), value.clone())).collect(),
        ..SubscriptionGroupConfig::default()
    };
    let masters = cluster::admin(access)?.create_group(&group).await;
    let masters = masters.with_context(|| format!("cannot create group `{name}`"))?;
    match access.format() {
        Format::Json => output::json(&serde_json::json!({ "created": name, "brokers": places(&masters) }))?,
        Format::Text => output::line(&format!("group `{name}` is on {}", names(&masters)))?,
    }
    Ok(())
}

/// Groups that every stock broker has.
pub fn is_internal(group: &str) -> bool {
    const NAMES: [&str; 7] = [
        "TOOLS_CONSUMER",
        "FILTERSRV_CONSUMER",
        "SELF_TEST_C_GROUP",
        "__MONITOR_CONSUMER",
        "CLIENT_INNER_PRODUCER",
        "DEFAULT_CONSUMER",
        "SCHEDULE_CONSUMER",
    ];
    NAMES.contains(&group) || ["CID_RMQ_SYS_", "CID_ONS", "CID_ONSAPI_"].iter().any(|start| group.starts_with(start))
}

#[derive(Serialize)]
struct ProgressLine<'a> {
    topic: &'a str,
    broker: &'a str,
    queue: i32,
    end: i64,
    committed: i64,
    lag: i64,
    last_consumed_ms: Option<i64>,
}

impl<'a> ProgressLine<'a> {
    fn new(queue: &'a QueueProgress) -> ProgressLine<'a> {
        ProgressLine {
            topic: &queue.topic,
            broker: &queue.broker,
            queue: queue.queue_id,
            end: queue.end,
            committed: queue.committed,
            lag: queue.lag(),
            last_consumed_ms: queue.last_consumed_ms,
        }
    }
}

async fn progress(group: &str, access: &Access) -> anyhow::Result<()> {
    let progress = cluster::admin(access)?.group_progress(group).await;
    let progress = progress.with_context(|| format!("cannot look at group `{group}`"))?;
    let lines: Vec<ProgressLine<'_>> = progress.iter().map(ProgressLine::new).collect();
    let lag: i64 = lines.iter().map(|line| line.lag).sum();
    if access.format() == Format::Json {
        return Ok(output::json(&serde_json::json!({ "group": group, "lag": lag, "queues": lines }))?);
    }
    let mut table = Table::new(&[
        ("TOPIC", Align::Left),
        ("BROKER", Align::Left),
        ("QUEUE", Align::Right),
        ("END", Align::Right),
        ("COMMITTED", Align::Right),
        ("LAG", Align::Right),
        ("LAST CONSUMED (UTC)", Align::Left),
    ]);
    for line in &lines {
        table.row([
            line.topic.to_owned(),
            line.broker.to_owned(),
            line.queue.to_string(),
            line.end.to_string(),
            line.committed.to_string(),
            line.lag.to_string(),
            line.last_consumed_ms.map(times::text).unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    table.print()?;
    Ok(output::line(&format!("{} messages are left", grouped(lag.max(0).unsigned_abs())))?)
}
