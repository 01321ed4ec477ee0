//! `apogee group …`

use anyhow::Context;
use clap::{Args, Subcommand};
use client::admin::QueueProgress;
use client::calendar;
use serde::Serialize;

use crate::cluster;
use crate::command_line::Access;
use crate::output::{self, Align, Format, Table, grouped};

/// What to do with consumer groups.
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// List the groups
    List(ListArguments),
    /// Show how far a group has come in every queue, and what is left
    Progress(ProgressArguments),
}

/// Flags of `group list`.
#[derive(Debug, Args)]
pub struct ListArguments {
    /// List the groups of the system too
    #[arg(long, short)]
    all: bool,
}

/// Flags of `group progress`.
#[derive(Debug, Args)]
pub struct ProgressArguments {
    /// Name of the group
    group: String,
}

/// Does what the command says.
pub async fn run(command: &GroupCommand, access: &Access) -> anyhow::Result<()> {
    match command {
        GroupCommand::List(arguments) => list(arguments, access).await,
        GroupCommand::Progress(arguments) => progress(&arguments.group, access).await,
    }
}

#[derive(Serialize)]
struct GroupLine<'a> {
    group: &'a str,
    consumes: bool,
    retries_max: i32,
    ordered: bool,
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

/// Groups that every stock broker has.
fn is_internal(group: &str) -> bool {
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
            line.last_consumed_ms.map(calendar::text_of_ms).unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    table.print()?;
    Ok(output::line(&format!("{} messages are left", grouped(lag.max(0).unsigned_abs())))?)
}
