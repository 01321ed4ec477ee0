//! `apogee consume`

use std::io::Write;

use anyhow::Context;
use clap::{Args, ValueEnum};
use client::{Consumer, ConsumerOptions, Received, StartFrom};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::cluster;
use crate::command_line::Access;
use crate::mqadmin::times;
use crate::output::{self, Format};

/// Flags of `consume`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  apogee consume orders                      what is there, then end
  apogee consume orders --follow --from last what comes from now on
  apogee consume orders --tag 'paid || sent' --max 10
  apogee consume orders --group audit        goes on where the group stopped
  apogee consume orders --json | jq .keys

Every queue is read by this one process. Do not use the group of a running application: its members
would share their queues with it.")]
pub struct ConsumeArguments {
    /// Topic
    topic: String,
    /// Wait for new messages
    #[arg(long, short)]
    follow: bool,
    /// Where to begin; with --group, only where the group has committed nothing
    #[arg(long, value_enum, default_value_t = From::First)]
    from: From,
    /// Go on where this group stopped, and commit what is printed
    #[arg(long, short)]
    group: Option<String>,
    /// Only messages with one of these tags, `a || b`
    #[arg(long, short, default_value = "*")]
    tag: String,
    /// End after that many messages
    #[arg(long, short, value_name = "COUNT")]
    max: Option<u64>,
    /// Print the bodies alone, as they are, a line each
    #[arg(long, short, conflicts_with = "json")]
    body: bool,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum From {
    /// At the first message
    First,
    /// After the last message
    Last,
}

/// Prints messages until there are no more, enough were printed, or a signal comes.
pub async fn run(arguments: &ConsumeArguments, access: &Access) -> anyhow::Result<()> {
    let options = ConsumerOptions {
        topic: arguments.topic.clone(),
        group: arguments.group.clone(),
        tags: arguments.tag.clone(),
        start: match arguments.from {
            From::First => StartFrom::First,
            From::Last => StartFrom::Last,
        },
        follow: arguments.follow,
    };
    let starting = Consumer::start(cluster::nameservers(access)?, options);
    let mut consumer = tokio::select! {
        consumer = starting => consumer.with_context(|| format!("cannot consume topic `{}`", arguments.topic))?,
        signal = tokio::signal::ctrl_c() => return Ok(signal?),
    };
    let printed = print(&mut consumer, arguments, access).await;
    // Also after an error: what was printed is committed.
    consumer.close().await;
    printed
}

async fn print(consumer: &mut Consumer, arguments: &ConsumeArguments, access: &Access) -> anyhow::Result<()> {
    for _ in 0..arguments.max.unwrap_or(u64::MAX) {
        let message = tokio::select! {
            message = consumer.next() => message?,
            signal = tokio::signal::ctrl_c() => return Ok(signal?),
        };
        let Some(message) = message else { break };
        match access.format() {
            Format::Json => output::json(&MessageLine::new(&message))?,
            Format::Text if arguments.body => body_line(&message.body)?,
            Format::Text => output::line(&text(&message))?,
        }
        consumer.consumed();
    }
    Ok(())
}

fn body_line(body: &[u8]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(body)?;
    out.write_all(b"\n")?;
    out.flush()
}

fn text(message: &Received) -> String {
    let mut line = format!(
        "{}  {}/{} #{}",
        times::text(message.store_timestamp_ms),
        message.broker,
        message.queue_id,
        message.offset
    );
    for (name, value) in [("tag", &message.tag), ("keys", &message.keys)] {
        if let Some(value) = value {
            line.push_str(&format!("  {name}={value}"));
        }
    }
    line.push_str("  ");
    line.push_str(&String::from_utf8_lossy(&message.body));
    line
}

#[derive(Serialize)]
struct MessageLine<'a> {
    topic: &'a str,
    broker: &'a str,
    queue: i32,
    offset: u64,
    message_id: &'a str,
    offset_message_id: &'a str,
    tag: Option<&'a str>,
    keys: Option<&'a str>,
    properties: Map<String, Value>,
    born_ms: i64,
    stored_ms: i64,
    reconsume_times: i32,
    /// The body where it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    /// The body where it is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_hex: Option<String>,
}

impl<'a> MessageLine<'a> {
    fn new(message: &'a Received) -> MessageLine<'a> {
        let body = std::str::from_utf8(&message.body).ok();
        let hex = || message.body.iter().map(|byte| format!("{byte:02x}")).collect();
        MessageLine {
            topic: &message.topic,
            broker: &message.broker,
            queue: message.queue_id,
            offset: message.offset,
            message_id: &message.message_id,
            offset_message_id: &message.offset_message_id,
            tag: message.tag.as_deref(),
            keys: message.keys.as_deref(),
            properties: message.properties.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect(),
            born_ms: message.born_timestamp_ms,
            stored_ms: message.store_timestamp_ms,
            reconsume_times: message.reconsume_times,
            body,
            body_hex: body.is_none().then(hex),
        }
    }
}
