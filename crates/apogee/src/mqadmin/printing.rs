//! Printing whole queues.

use std::collections::BTreeMap;

use anyhow::bail;
use clap::Args;
use client::admin::{PullRequest, Pulled};
use client::route::{self, QueueAt};
use client::{Admin, clock};
use protocol::bodies::consume_queue::ConsumeQueueEntry;
use protocol::codes::ResponseCode;
use protocol::requests::QueryConsumeQueue;
use serde_json::json;
use std::borrow::Cow;

use super::messages::{TOOLS_GROUP, check_charset};
use super::print::{Out, or_null, pretty};
use super::targets::brokers_with;
use super::topics::is_true;
use super::{texts, times};
use crate::exit::{NotFound, Usage};

/// Messages that one pull may bring.
const BATCH: i32 = 32;

/// Readable queues of a topic, of one broker and number where they are named.
async fn queues_of(
    admin: &Admin,
    (routed, topic): (&str, &str),
    broker: Option<&str>,
    queue: Option<i32>,
) -> anyhow::Result<Vec<QueueAt>> {
    let mut queues = route::readable(&admin.route(routed).await?);
    queues.retain(|at| broker.is_none_or(|name| name == at.broker) && queue.is_none_or(|id| id == at.queue_id));
    if queues.is_empty() {
        bail!(NotFound(format!("topic `{topic}` has no such queue")));
    }
    Ok(queues)
}

/// A part of a queue that is read.
struct Reading<'a> {
    admin: &'a Admin,
    queue: &'a QueueAt,
    topic: &'a str,
    group: &'a str,
    tags: &'a str,
    /// Where to go on.
    next: i64,
    /// Where to end.
    end: i64,
}

impl<'a> Reading<'a> {
    /// From one time to the other, each of which may be absent.
    async fn new(
        admin: &'a Admin,
        (queue, topic): (&'a QueueAt, &'a str),
        (group, tags): (&'a str, &'a str),
        (begin, end): (Option<i64>, Option<i64>),
    ) -> anyhow::Result<Reading<'a>> {
        let range = admin.offset_range(&queue.address, topic, queue.queue_id).await?;
        let by_time = async |time: Option<i64>, otherwise: i64| match time {
            Some(time_ms) => admin.offset_by_time(&queue.address, topic, queue.queue_id, time_ms).await,
            None => Ok(otherwise),
        };
        let (next, end) = (by_time(begin, range.start).await?, by_time(end, range.end).await?);
        Ok(Reading { admin, queue, topic, group, tags, next, end })
    }

    fn name(&self) -> String {
        texts::queue(self.topic, &self.queue.broker, self.queue.queue_id)
    }

    /// Pulls once and goes on; messages with other tags are left out, for brokers compare hashes only.
    async fn pull(&mut self, count: i32) -> anyhow::Result<Pulled> {
        let pull = PullRequest {
            broker: &self.queue.broker,
            address: &self.queue.address,
            group: self.group,
            topic: self.topic,
            queue_id: self.queue.queue_id,
            offset: self.next,
            count,
            tags: self.tags,
        };
        let mut pulled = self.admin.pull(&pull).await?;
        // A broker that does not move on would be asked for ever.
        self.next = if pulled.next > self.next { pulled.next } else { self.end };
        let wanted: Vec<&str> = self.tags.split("||").map(str::trim).filter(|tag| !matches!(*tag, "" | "*")).collect();
        let matches = |tag: &Option<String>| tag.as_deref().is_some_and(|tag| wanted.contains(&tag));
        pulled.messages.retain(|message| wanted.is_empty() || matches(&message.received.tag));
        Ok(pulled)
    }
}

fn print_messages(pulled: &Pulled, with_body: bool, out: &mut Out) {
    let more = [("MIN_OFFSET", pulled.min_offset), ("MAX_OFFSET", pulled.max_offset)];
    for message in &pulled.messages {
        let body = String::from_utf8_lossy(&message.received.body);
        out.row(texts::value(message), texts::line(message, &more, with_body.then_some(&*body)));
    }
}

/// Part of a time range that is given as text.
fn time(text: Option<&str>) -> Result<Option<i64>, Usage> {
    text.map(|text| times::parse(text.trim(), clock::now_ms())).transpose().map_err(Usage)
}

/// Options of `printMsg`.
#[derive(Debug, Args)]
pub struct PrintMsg {
    /// Topic
    #[arg(short, long)]
    topic: String,
    /// Charset of the bodies: UTF-8
    #[arg(short, long = "charsetName")]
    charset: Option<String>,
    /// Tags, such as TagA || TagB
    #[arg(short = 's', long = "subExpression", default_value = "*")]
    tags: String,
    /// Earliest store time: now, milliseconds since 1970, yyyy-MM-dd#HH:mm:ss:SSS (UTC), or -15m
    #[arg(short, long = "beginTimestamp", allow_hyphen_values = true)]
    begin: Option<String>,
    /// Latest store time, in the same forms
    #[arg(short, long = "endTimestamp", allow_hyphen_values = true)]
    end: Option<String>,
    /// Whether bodies are printed: true or false
    #[arg(short = 'd', long = "printBody", default_value = "true")]
    body: String,
    /// Parent of a light topic, by which the brokers are found
    #[arg(short, long = "lmqParentTopic")]
    lmq_parent: Option<String>,
}

impl PrintMsg {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        check_charset(self.charset.as_deref())?;
        let range = (time(self.begin.as_deref())?, time(self.end.as_deref())?);
        let routed = self.lmq_parent.as_deref().unwrap_or(&self.topic);
        let with_body = is_true(&self.body);
        for queue in queues_of(admin, (routed, &self.topic), None, None).await? {
            let wanted = (TOOLS_GROUP, self.tags.as_str());
            let mut reading = Reading::new(admin, (&queue, &self.topic), wanted, range).await?;
            let name = reading.name();
            out.line(format!("minOffset={}, maxOffset={}, {name}", reading.next, reading.end));
            while reading.next < reading.end {
                let pulled = reading.pull(BATCH).await?;
                let status = texts::pull_status(pulled.code);
                match pulled.code {
                    ResponseCode::SUCCESS => print_messages(&pulled, with_body, out),
                    ResponseCode::PULL_RETRY_IMMEDIATELY => {
                        out.line(format!("{name} no matched msg. status={status}, offset={}", pulled.next));
                    }
                    _ => {
                        out.line(format!("{name} print msg finished. status={status}, offset={}", pulled.next));
                        break;
                    }
                }
                out.flush()?;
            }
            out.line("-".repeat(56));
        }
        Ok(())
    }
}

/// Options of `printMsgByQueue`.
#[derive(Debug, Args)]
pub struct PrintMsgByQueue {
    /// Topic
    #[arg(short, long)]
    topic: String,
    /// Broker name
    #[arg(short = 'a', long = "brokerName")]
    broker: String,
    /// Queue
    #[arg(short = 'i', long = "queueId")]
    queue: i32,
    /// Charset of the bodies: UTF-8
    #[arg(short, long = "charsetName")]
    charset: Option<String>,
    /// Tags, such as TagA || TagB
    #[arg(short = 's', long = "subExpression", default_value = "*")]
    tags: String,
    /// Earliest store time: now, milliseconds since 1970, yyyy-MM-dd#HH:mm:ss:SSS (UTC), or -15m
    #[arg(short, long = "beginTimestamp", allow_hyphen_values = true)]
    begin: Option<String>,
    /// Latest store time, in the same forms
    #[arg(short, long = "endTimestamp", allow_hyphen_values = true)]
    end: Option<String>,
    /// Whether messages are printed: true or false
    #[arg(short = 'p', long = "printMsg", visible_alias = "print", default_value = "false")]
    print: String,
    /// Whether bodies are printed: true or false
    #[arg(short = 'd', long = "printBody", default_value = "false")]
    body: String,
    /// Whether messages are counted by tag: true or false
    #[arg(short = 'f', long = "calculate", default_value = "false")]
    calculate: String,
}

impl PrintMsgByQueue {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        check_charset(self.charset.as_deref())?;
        let range = (time(self.begin.as_deref())?, time(self.end.as_deref())?);
        let named = (Some(self.broker.trim()), Some(self.queue));
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for queue in queues_of(admin, (&self.topic, &self.topic), named.0, named.1).await? {
            let wanted = (TOOLS_GROUP, self.tags.as_str());
            let mut reading = Reading::new(admin, (&queue, &self.topic), wanted, range).await?;
            while reading.next < reading.end {
                let pulled = reading.pull(BATCH).await?;
                for message in &pulled.messages {
                    *counts.entry(message.received.tag.clone().unwrap_or_default()).or_default() += 1;
                }
                if is_true(&self.print) {
                    print_messages(&pulled, is_true(&self.body), out);
                    out.flush()?;
                }
            }
        }
        if is_true(&self.calculate) {
            let mut counts: Vec<_> = counts.into_iter().collect();
            counts.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
            for (tag, count) in &counts {
                out.line(format!("Tag: {tag:<30} Count: {count}"));
            }
            out.fact(
                "tags",
                counts.into_iter().map(|(tag, count)| json!({ "tag": tag, "count": count })).collect::<Vec<_>>(),
            );
        }
        Ok(())
    }
}

/// Options of `consumeMessage`.
#[derive(Debug, Args)]
pub struct ConsumeMessage {
    /// Topic
    #[arg(short, long)]
    topic: String,
    /// Broker name
    #[arg(short, long = "brokerName")]
    broker: Option<String>,
    /// Queue of that broker
    #[arg(short = 'i', long = "queueId", requires = "broker")]
    queue: Option<i32>,
    /// Offset to begin with
    #[arg(short, long, requires = "queue")]
    offset: Option<i64>,
    /// Group in whose name messages are read; no offset is stored
    #[arg(short, long = "consumerGroup", default_value = TOOLS_GROUP)]
    group: String,
    /// Earliest store time: now, milliseconds since 1970, yyyy-MM-dd#HH:mm:ss:SSS (UTC), or -15m
    #[arg(short = 's', long = "beginTimestamp", allow_hyphen_values = true)]
    begin: Option<String>,
    /// Latest store time, in the same forms
    #[arg(short, long = "endTimestamp", allow_hyphen_values = true)]
    end: Option<String>,
    /// Most messages
    #[arg(short, long = "MessageNumber", default_value_t = 128, value_parser = clap::value_parser!(i32).range(1..))]
    count: i32,
}

impl ConsumeMessage {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let range = (time(self.begin.as_deref())?, time(self.end.as_deref())?);
        let mut left = self.count;
        for queue in queues_of(admin, (&self.topic, &self.topic), self.broker.as_deref(), self.queue).await? {
            let mut reading = Reading::new(admin, (&queue, &self.topic), (&self.group, "*"), range).await?;
            reading.next = self.offset.unwrap_or(reading.next);
            let begun = reading.next;
            while reading.next < reading.end && left > 0 {
                let pulled = reading.pull(left.min(BATCH)).await?;
                left -= i32::try_from(pulled.messages.len()).unwrap_or(i32::MAX);
                if pulled.code == ResponseCode::SUCCESS {
                    out.line("Consume ok");
                }
                print_messages(&pulled, true, out);
                out.flush()?;
            }
            if reading.next >= reading.end && reading.next > begun {
                let status = texts::pull_status(ResponseCode::PULL_NOT_FOUND);
                out.line(format!("{} print msg finished. status={status}, offset={}", reading.name(), reading.next));
            }
        }
        Ok(())
    }
}

/// Options of `queryCq`.
#[derive(Debug, Args)]
pub struct QueryCq {
    /// Topic
    #[arg(short, long)]
    topic: String,
    /// Queue
    #[arg(short, long)]
    queue: i32,
    /// First entry
    #[arg(short, long)]
    index: i64,
    /// Entries
    #[arg(short, long, default_value_t = 10)]
    count: i32,
    /// Address of a broker
    #[arg(short, long)]
    broker: Option<String>,
    /// Group whose filter is shown too
    #[arg(short = 'g', long = "consumer")]
    group: Option<String>,
}

impl QueryCq {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let address = match &self.broker {
            Some(address) => address.clone(),
            None => brokers_with(admin, &self.topic).await?.remove(0).address,
        };
        let query = QueryConsumeQueue {
            topic: Cow::Borrowed(&self.topic),
            queue_id: self.queue,
            index: self.index,
            count: self.count,
            consumer_group: self.group.as_deref().map(Cow::Borrowed),
        };
        let found = admin.consume_queue(&address, &query).await?;
        let rule = "=".repeat(38);
        if let Some(subscription) = &found.subscription_data {
            out.line(format!("Subscription data: \n{}\n{rule}", pretty(subscription)));
            out.fact("subscription", subscription);
        }
        if let Some(filter) = &found.filter_data {
            out.line(format!("Filter data: \n{filter}\n{rule}"));
            out.fact("filter", filter);
        }
        let (max, min) = (found.max_queue_index, found.min_queue_index);
        out.line(format!("Queue data: \nmax: {max}, min: {min}\n{rule}"));
        for (at, entry) in (self.index..).zip(&found.queue_data) {
            out.row(entry, format!("idx: {at}\n{}\n{rule}", entry_text(entry)));
        }
        out.fact("max", max);
        out.fact("min", min);
        Ok(())
    }
}

fn entry_text(entry: &ConsumeQueueEntry) -> String {
    format!(
        "ConsumeQueueData{{physicOffset={}, physicSize={}, tagsCode={}, extendDataJson='{}', bitMap='{}', eval={}, msg='{}'}}",
        entry.physic_offset,
        entry.physic_size,
        entry.tags_code,
        or_null(entry.extend_data_json.as_deref()),
        or_null(entry.bit_map.as_deref()),
        entry.eval,
        or_null(entry.msg.as_deref())
    )
}
