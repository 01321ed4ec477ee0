//! Finding single messages.

use std::borrow::Cow;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use client::admin::{PullRequest, StoredMessage};
use client::{Admin, Message, Producer};
use protocol::bodies::heartbeat::{ConsumeType, MessageModel};
use protocol::codes::ResponseCode;
use protocol::message_id::OffsetMessageId;
use protocol::requests::{ConsumeDirectly, QueryMessage};
use serde_json::json;

use super::print::{Out, or_null};
use super::progress::brokers_of_group;
use super::targets::brokers_with;
use super::topics::is_true;
use super::{texts, times};
use crate::exit::{NotFound, Usage};

/// Group under which the official tool pulls.
pub const TOOLS_GROUP: &str = "TOOLS_CONSUMER";
/// Group under which the official tool sends a message again.
const RESEND_GROUP: &str = "ReSendMsgById";
/// Most messages that are looked up by a unique id.
const UNIQUE_MAX: i32 = 32;
const HOUR_MS: i64 = 3_600_000;

/// Only UTF-8 is known of the charsets.
pub fn check_charset(charset: Option<&str>) -> Result<(), Usage> {
    match charset {
        Some(name) if !name.eq_ignore_ascii_case("UTF-8") && !name.eq_ignore_ascii_case("UTF8") => {
            Err(Usage(format!("charset `{name}` is not known; UTF-8 is")))
        }
        _ => Ok(()),
    }
}

/// A message found, and how to show it.
struct Shown<'a> {
    message: &'a StoredMessage,
    /// Whether the offset id is shown.
    with_id: bool,
    /// Properties that a consumer adds.
    more: &'a [(&'a str, i64)],
    /// Whether the body is shown in place of the path of a file with it.
    shows_body: bool,
    /// Which of several messages of one id it is, from 0.
    number: usize,
}

impl Shown<'_> {
    fn print(&self, out: &mut Out) -> anyhow::Result<()> {
        let it = &self.message.received;
        let mut field = |name: &str, value: &str| out.line(format!("{name:<20} {value}"));
        if self.with_id {
            field("OffsetID:", &it.offset_message_id);
        }
        field("Topic:", &it.topic);
        field("Tags:", &format!("[{}]", or_null(it.tag.as_deref())));
        field("Keys:", &format!("[{}]", or_null(it.keys.as_deref())));
        field("Queue ID:", &it.queue_id.to_string());
        field("Queue Offset:", &it.offset.to_string());
        field("CommitLog Offset:", &self.message.position.to_string());
        field("Reconsume Times:", &it.reconsume_times.to_string());
        field("Born Timestamp:", &times::with_ms(it.born_timestamp_ms));
        field("Store Timestamp:", &times::with_ms(it.store_timestamp_ms));
        field("Born Host:", &self.message.born_host.to_string());
        field("Store Host:", &self.message.store_host.to_string());
        field("System Flag:", &self.message.sys_flag.to_string());
        field("Properties:", &texts::properties(self.message, self.more));
        if self.shows_body {
            field("Message Body:", &String::from_utf8_lossy(&it.body));
        } else {
            field("Message Body Path:", &self.write_body()?.display().to_string());
        }
        out.value(texts::value(self.message));
        Ok(())
    }

    /// Writes the body into a file that is named after the message.
    fn write_body(&self) -> anyhow::Result<PathBuf> {
        let it = &self.message.received;
        // The sender chose the id; only one that is no path names a file.
        let plain = |id: &str| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let id = if plain(&it.message_id) { &it.message_id } else { &it.offset_message_id };
        let folder = std::env::temp_dir().join("rocketmq/msgbodys");
        let suffix = if self.number > 0 { format!("_{}", self.number) } else { String::new() };
        let path = folder.join(format!("{id}{suffix}"));
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
        std::fs::write(&path, &it.body).with_context(|| format!("cannot write `{}`", path.display()))?;
        Ok(path)
    }
}

/// Who consumed a message, group by group.
async fn print_tracks(admin: &Admin, message: &StoredMessage, out: &mut Out) -> anyhow::Result<()> {
    out.line("\n");
    let topic = &message.received.topic;
    let mut groups = Vec::new();
    for broker in brokers_with(admin, topic).await? {
        for group in admin.groups_of_topic(&broker.address, topic).await.unwrap_or_default() {
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
    }
    if groups.is_empty() {
        out.line("WARN: No Consumer");
    }
    for group in groups {
        let (kind, why) = match track(admin, message, &group).await {
            Ok(kind) => (kind, None),
            Err(error) => ("UNKNOWN", Some(format!("{error:#}"))),
        };
        let why = or_null(why.as_deref());
        out.line(format!("MessageTrack [consumerGroup={group}, trackType={kind}, exceptionDesc={why}]"));
    }
    Ok(())
}

/// What a group made of a message, in upstream's words.
async fn track(admin: &Admin, message: &StoredMessage, group: &str) -> anyhow::Result<&'static str> {
    let it = &message.received;
    let brokers = brokers_of_group(admin, group, Some(&it.topic)).await?;
    let mut members = None;
    for broker in &brokers {
        members = admin.consumers(&broker.address, group).await?.or(members);
    }
    let Some(members) = members else { return Ok("NOT_ONLINE") };
    if members.consume_type == Some(ConsumeType::Actively) {
        return Ok("PULL");
    }
    if members.message_model == Some(MessageModel::Broadcasting) {
        return Ok("CONSUME_BROADCASTING");
    }
    let store_host = message.store_host.to_string();
    let broker = brokers.iter().find(|broker| broker.address == store_host || brokers.len() == 1);
    let Some(broker) = broker else { return Ok("NOT_CONSUME_YET") };
    let stats = admin.consume_stats(&broker.address, group, None).await?;
    let mut queues = stats.offset_table.0.iter();
    let found = queues.find(|(queue, _)| queue.topic == it.topic && queue.queue_id == it.queue_id);
    if found.is_none_or(|(_, offset)| offset.consumer_offset <= i64::try_from(it.offset).unwrap_or(i64::MAX)) {
        return Ok("NOT_CONSUME_YET");
    }
    let wants = members.subscription_table.get(&it.topic).is_none_or(|subscription| {
        let (all, tags) = (subscription.sub_string == "*", &subscription.tags_set);
        all || tags.is_empty() || it.tag.as_ref().is_some_and(|tag| tags.contains(tag))
    });
    Ok(if wants { "CONSUMED" } else { "CONSUMED_BUT_FILTERED" })
}

/// Messages by a key or a unique id, from all brokers of a topic.
async fn by_key(admin: &Admin, routed: &str, query: &QueryMessage<'_>) -> anyhow::Result<Vec<StoredMessage>> {
    let mut found = Vec::new();
    for broker in brokers_with(admin, routed).await? {
        found.extend(admin.messages_by_key(&broker.broker, &broker.address, query).await?);
    }
    // Brokers compare hashes.
    let (key, unique) = (query.key.as_ref(), query.unique_key_query);
    let by_tag = query.index_type.as_deref() == Some("T");
    found.retain(|message: &StoredMessage| match &message.received {
        it if unique => it.message_id == key,
        it if by_tag => it.tag.as_deref() == Some(key),
        it => it.keys.as_deref().unwrap_or_default().split(' ').any(|known| known == key) || it.message_id == key,
    });
    Ok(found)
}

/// Messages by a unique id, whenever they were stored.
async fn by_unique_id(admin: &Admin, routed: &str, topic: &str, id: &str) -> anyhow::Result<Vec<StoredMessage>> {
    let query = QueryMessage {
        topic: Cow::Borrowed(topic),
        key: Cow::Borrowed(id),
        max_num: UNIQUE_MAX,
        begin_timestamp: 0,
        end_timestamp: i64::MAX,
        unique_key_query: true,
        index_type: Some(Cow::Borrowed("U")),
    };
    by_key(admin, routed, &query).await
}

/// Has a member of a group consume a message, and prints what came of it.
async fn consume_directly(
    admin: &Admin,
    message: &StoredMessage,
    (group, client_id): (&str, &str),
    out: &mut Out,
) -> anyhow::Result<()> {
    let it = &message.received;
    let request = ConsumeDirectly {
        consumer_group: Cow::Borrowed(group),
        client_id: Cow::Borrowed(client_id),
        msg_id: Cow::Borrowed(&it.offset_message_id),
        topic: Some(Cow::Borrowed(&it.topic)),
    };
    let result = admin.consume_directly(&message.store_host.to_string(), &request).await?;
    out.row(&result, texts::consume_result(&result));
    Ok(())
}

/// Options of `queryMsgById`.
#[derive(Debug, Args)]
pub struct QueryMsgById {
    /// Topic
    #[arg(short, long)]
    topic: String,
    /// Offset message ids or unique ids, separated by commas
    #[arg(short = 'i', long = "msgId", value_delimiter = ',', required = true)]
    ids: Vec<String>,
    /// Group whose member -d is to consume the message
    #[arg(short, long = "consumerGroup", requires = "client_id")]
    group: Option<String>,
    /// Member that is to consume the message
    #[arg(short = 'd', long = "clientId", requires = "group")]
    client_id: Option<String>,
    /// Whether to send the message again: true or false
    #[arg(short = 's', long = "sendMessage", default_value = "false")]
    send: String,
    /// Taken and without meaning here: unit of the producer
    #[arg(short = 'u', long = "unitName")]
    unit: Option<String>,
    /// Print the body in this charset: UTF-8
    #[arg(short = 'f', long = "bodyFormat")]
    body_format: Option<String>,
    /// Cluster, or parent of a light topic, by which the brokers are found
    #[arg(short, long)]
    cluster: Option<String>,
}

impl QueryMsgById {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        check_charset(self.body_format.as_deref())?;
        for id in self.ids.iter().map(|id| id.trim()).filter(|id| !id.is_empty()) {
            let message = self.find(admin, id).await?;
            if let (Some(group), Some(client_id)) = (&self.group, &self.client_id) {
                consume_directly(admin, &message, (group, client_id), out).await?;
            } else if is_true(&self.send) {
                resend(admin, id, &message, out).await?;
            } else {
                let shows_body = self.body_format.is_some();
                Shown { message: &message, with_id: true, more: &[], shows_body, number: 0 }.print(out)?;
                print_tracks(admin, &message, out).await?;
            }
        }
        Ok(())
    }

    /// Both kinds of ids look the same: one that names a known broker is an offset id.
    async fn find(&self, admin: &Admin, id: &str) -> anyhow::Result<StoredMessage> {
        let known = admin.cluster().await?;
        let mut addresses = known.broker_addr_table.values().flat_map(|data| data.broker_addrs.values());
        let offset_id = OffsetMessageId::parse(id);
        if let Some(offset_id) = offset_id.filter(|id| addresses.any(|address| *address == id.host.to_string())) {
            return found(admin, &offset_id, id).await;
        }
        let routed = self.cluster.as_deref().unwrap_or(&self.topic);
        match (by_unique_id(admin, routed, &self.topic, id).await?.into_iter().next(), offset_id) {
            (Some(message), _) => Ok(message),
            // A broker may store under another address than it registers.
            (None, Some(offset_id)) => found(admin, &offset_id, id).await,
            (None, None) => bail!(NotFound(format!("topic `{}` has no message `{id}`", self.topic))),
        }
    }
}

async fn found(admin: &Admin, id: &OffsetMessageId, text: &str) -> anyhow::Result<StoredMessage> {
    let message = admin.message_at(id).await.with_context(|| format!("message `{text}`"))?;
    Ok(message.ok_or_else(|| NotFound(format!("`{}` has no message `{text}`", id.host)))?)
}

async fn resend(admin: &Admin, id: &str, message: &StoredMessage, out: &mut Out) -> anyhow::Result<()> {
    let it = &message.received;
    let producer = Producer::new(admin.nameservers().clone(), RESEND_GROUP);
    let again = Message {
        topic: it.topic.clone(),
        body: it.body.clone(),
        properties: it.properties.clone(),
        ..Message::default()
    };
    let sent = producer.send(&again).await?;
    out.line(format!("prepare resend msg. originalMsgId={id}{}", texts::send_result(&it.topic, &sent)));
    out.value(json!({ "original": id, "offset_message_id": sent.offset_message_id, "message_id": sent.message_id }));
    Ok(())
}

/// Options of `queryMsgByKey`.
#[derive(Debug, Args)]
pub struct QueryMsgByKey {
    /// Topic
    #[arg(short, long)]
    topic: String,
    /// Key
    #[arg(short, long = "msgKey")]
    key: String,
    /// Earliest store time, in milliseconds since 1970
    #[arg(short, long = "beginTimestamp", default_value_t = 0)]
    begin: i64,
    /// Latest store time, in milliseconds since 1970
    #[arg(short, long = "endTimestamp", default_value_t = i64::MAX, hide_default_value = true)]
    end: i64,
    /// Most messages
    #[arg(short, long = "maxNum", default_value_t = 64)]
    max: i32,
    /// K for keys, T for tags
    #[arg(short = 'p', long = "keyType", default_value = "K", value_parser = ["K", "T"])]
    key_type: String,
    /// Taken and without meaning here: where the last query ended
    #[arg(short, long = "lastKey")]
    last_key: Option<String>,
    /// Cluster, or parent of a light topic, by which the brokers are found
    #[arg(short, long)]
    cluster: Option<String>,
}

impl QueryMsgByKey {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let query = QueryMessage {
            topic: Cow::Borrowed(&self.topic),
            key: Cow::Borrowed(&self.key),
            max_num: self.max,
            begin_timestamp: self.begin,
            end_timestamp: self.end,
            unique_key_query: false,
            index_type: Some(Cow::Borrowed(&self.key_type)),
        };
        let found = by_key(admin, self.cluster.as_deref().unwrap_or(&self.topic), &query).await?;
        if found.is_empty() {
            bail!(NotFound(format!("topic `{}` has no message of key `{}`", self.topic, self.key)));
        }
        let row = |cells: [&str; 4]| format!("{:<50} {:>4} {:>40} {:<200}", cells[0], cells[1], cells[2], cells[3]);
        out.line(row(["#Message ID", "#QID", "#Offset", "#IndexKey"]));
        for message in &found {
            let it = &message.received;
            let hour = it.store_timestamp_ms / HOUR_MS * HOUR_MS;
            let index_key = [
                &hour.to_string(),
                &self.topic,
                &self.key_type,
                &self.key,
                &it.message_id,
                &message.position.to_string(),
            ]
            .map(String::as_str)
            .join("@");
            let text = row([&it.message_id, &it.queue_id.to_string(), &it.offset.to_string(), &index_key]);
            out.row(texts::value(message), text);
        }
        Ok(())
    }
}

/// Options of `queryMsgByUniqueKey`.
#[derive(Debug, Args)]
pub struct QueryMsgByUniqueKey {
    /// Topic
    #[arg(short, long)]
    topic: String,
    /// Unique id
    #[arg(short = 'i', long = "msgId")]
    id: String,
    /// Group whose member -d is to consume the message
    #[arg(short, long = "consumerGroup", requires = "client_id")]
    group: Option<String>,
    /// Member that is to consume the message
    #[arg(short = 'd', long = "clientId", requires = "group")]
    client_id: Option<String>,
    /// Print every message of the id, up to 32
    #[arg(short = 'a', long = "showAll", num_args = 0..=1, default_missing_value = "true", default_value = "false")]
    all: bool,
    /// Taken and without meaning here: all times are searched
    #[arg(short = 's', long = "startTime")]
    start: Option<i64>,
    /// Taken and without meaning here: all times are searched
    #[arg(short = 'e', long = "endTime")]
    end: Option<i64>,
    /// Cluster, or parent of a light topic, by which the brokers are found
    #[arg(short, long)]
    cluster: Option<String>,
}

impl QueryMsgByUniqueKey {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let routed = self.cluster.as_deref().unwrap_or(&self.topic);
        let mut found = by_unique_id(admin, routed, &self.topic, self.id.trim()).await?;
        if found.is_empty() {
            bail!(NotFound(format!("topic `{}` has no message `{}`", self.topic, self.id)));
        }
        if let (Some(group), Some(client_id)) = (&self.group, &self.client_id) {
            return consume_directly(admin, &found[0], (group, client_id), out).await;
        }
        found.truncate(if self.all { found.len() } else { 1 });
        for (number, message) in found.iter().enumerate() {
            Shown { message, with_id: false, more: &[], shows_body: false, number }.print(out)?;
            print_tracks(admin, message, out).await?;
        }
        Ok(())
    }
}

/// Options of `queryMsgByOffset`.
#[derive(Debug, Args)]
pub struct QueryMsgByOffset {
    /// Topic
    #[arg(short, long)]
    topic: String,
    /// Broker name
    #[arg(short, long = "brokerName")]
    broker: String,
    /// Queue
    #[arg(short = 'i', long = "queueId")]
    queue: i32,
    /// Offset in the queue
    #[arg(short, long)]
    offset: i64,
    /// Print the body in this charset: UTF-8
    #[arg(short = 'f', long = "bodyFormat")]
    body_format: Option<String>,
    /// Topic by which the broker is found
    #[arg(short, long = "routeTopic")]
    route_topic: Option<String>,
}

impl QueryMsgByOffset {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        check_charset(self.body_format.as_deref())?;
        let brokers = brokers_with(admin, self.route_topic.as_deref().unwrap_or(&self.topic)).await?;
        let broker = brokers.iter().find(|broker| broker.broker == self.broker.trim());
        let broker =
            broker.ok_or_else(|| NotFound(format!("broker `{}` does not have topic `{}`", self.broker, self.topic)))?;
        let pull = PullRequest {
            broker: &broker.broker,
            address: &broker.address,
            group: TOOLS_GROUP,
            topic: &self.topic,
            queue_id: self.queue,
            offset: self.offset,
            count: 1,
            tags: "*",
        };
        let pulled = admin.pull(&pull).await?;
        let message = pulled.messages.first().filter(|_| pulled.code == ResponseCode::SUCCESS);
        let message = message.ok_or_else(|| {
            let queue = texts::queue(&self.topic, &self.broker, self.queue);
            NotFound(format!("{queue} has no message at offset {}", self.offset))
        })?;
        let more = [("MIN_OFFSET", pulled.min_offset), ("MAX_OFFSET", pulled.max_offset)];
        let shows_body = self.body_format.is_some();
        Shown { message, with_id: true, more: &more, shows_body, number: 0 }.print(out)?;
        print_tracks(admin, message, out).await
    }
}

/// Options of `queryMsgTraceById`.
#[derive(Debug, Args)]
pub struct QueryMsgTraceById {
    /// Unique id
    #[arg(short = 'i', long = "msgId")]
    id: String,
    /// Topic of the traces
    #[arg(short, long = "traceTopic", default_value = "RMQ_SYS_TRACE_TOPIC")]
    topic: String,
    /// Earliest store time, in milliseconds since 1970
    #[arg(short, long = "beginTimestamp", default_value_t = 0)]
    begin: i64,
    /// Latest store time, in milliseconds since 1970
    #[arg(short, long = "endTimestamp", default_value_t = i64::MAX, hide_default_value = true)]
    end: i64,
    /// Most trace messages
    #[arg(short = 'c', long = "maxNum", default_value_t = 64)]
    max: i32,
}

impl QueryMsgTraceById {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let id = self.id.trim();
        let query = QueryMessage {
            topic: Cow::Borrowed(&self.topic),
            key: Cow::Borrowed(id),
            max_num: self.max,
            begin_timestamp: self.begin,
            end_timestamp: self.end,
            unique_key_query: false,
            index_type: Some(Cow::Borrowed("K")),
        };
        let found = by_key(admin, &self.topic, &query).await?;
        let traces: Vec<super::traces::Trace> =
            found.iter().flat_map(|message| super::traces::read(message, id)).collect();
        if traces.is_empty() {
            bail!(NotFound(format!("topic `{}` has no trace of message `{id}`", self.topic)));
        }
        super::traces::print(&traces, out);
        Ok(())
    }
}
