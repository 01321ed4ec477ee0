//! `apogee send`

use std::io::BufRead;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use client::{Message, Producer, Sent};
use protocol::codes::ResponseCode;
use serde::Serialize;

use crate::cluster;
use crate::command_line::Access;
use crate::output::{self, Format};
use crate::topic::name_and_value;

/// Group under which the command line sends.
const GROUP: &str = "apogee-send";

/// Flags of `send`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  apogee send orders 'hello' --tag paid --key order-17
  apogee send orders --delay 3 'in ten seconds'
  apogee send orders --file picture.png
  seq 1000 | apogee send orders              one message a line")]
pub struct SendArguments {
    /// Topic; a broker may create it with the first message
    topic: String,
    /// Body of the message; without one every line of the standard input is a message
    body: Option<String>,
    /// Send the content of a file as one message
    #[arg(long, short, value_name = "PATH", conflicts_with = "body")]
    file: Option<PathBuf>,
    /// Tag
    #[arg(long, short)]
    tag: Option<String>,
    /// Key under which the message can be found; may be given several times
    #[arg(long = "key", short, value_name = "KEY")]
    keys: Vec<String>,
    /// Property of the message; may be given several times
    #[arg(long = "property", short, value_name = "NAME=VALUE", value_parser = name_and_value)]
    properties: Vec<(String, String)>,
    /// Delay level, from 1: 1s 5s 10s 30s 1m … unless the broker is configured otherwise
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(u32).range(1..=1000))]
    delay: Option<u32>,
    /// Send it that many times
    #[arg(long, short, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
}

/// Sends what the arguments say.
pub async fn run(arguments: &SendArguments, access: &Access) -> anyhow::Result<()> {
    let producer = Producer::new(cluster::nameservers(access)?, GROUP);
    if let Some(body) = &arguments.body {
        return send(&producer, arguments, access, body.as_bytes()).await;
    }
    if let Some(path) = &arguments.file {
        let body = std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        return send(&producer, arguments, access, &body).await;
    }
    for line in std::io::stdin().lock().lines() {
        let line = line.context("cannot read the standard input")?;
        send(&producer, arguments, access, line.as_bytes()).await?;
    }
    Ok(())
}

async fn send(producer: &Producer, arguments: &SendArguments, access: &Access, body: &[u8]) -> anyhow::Result<()> {
    let message = Message {
        topic: arguments.topic.clone(),
        body: body.to_vec(),
        tag: arguments.tag.clone(),
        keys: arguments.keys.clone(),
        delay_level: arguments.delay,
        properties: arguments.properties.clone(),
    };
    for _ in 0..arguments.count {
        let sent = producer.send(&message).await?;
        match access.format() {
            Format::Json => output::json(&SentLine::new(&sent))?,
            Format::Text => output::line(&text(&sent))?,
        }
    }
    Ok(())
}

#[derive(Serialize)]
struct SentLine<'a> {
    message_id: &'a str,
    offset_message_id: &'a str,
    broker: &'a str,
    queue: i32,
    offset: i64,
    status: &'static str,
}

impl<'a> SentLine<'a> {
    fn new(sent: &'a Sent) -> SentLine<'a> {
        SentLine {
            message_id: &sent.message_id,
            offset_message_id: &sent.offset_message_id,
            broker: &sent.broker,
            queue: sent.queue_id,
            offset: sent.offset,
            status: sent.stored.name().unwrap_or("SUCCESS"),
        }
    }
}

fn text(sent: &Sent) -> String {
    let Sent { message_id, broker, queue_id, offset, .. } = sent;
    let unsure = match sent.stored {
        ResponseCode::SUCCESS => String::new(),
        code => format!("  {code}"),
    };
    format!("{message_id}  {broker} queue {queue_id} offset {offset}{unsure}")
}
