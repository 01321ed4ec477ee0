//! Moving consumer groups.

use std::borrow::Cow;

use anyhow::bail;
use clap::Args;
use client::admin::AdminError;
use client::{Admin, clock, route};
use protocol::bodies::queue_map::QueueMap;
use protocol::codes::ResponseCode;
use protocol::requests::ResetOffset;
use serde_json::json;

use super::print::Out;
use super::progress::brokers_of_group;
use super::targets::brokers_with;
use super::times;
use super::topics::is_true;
use crate::exit::{NotFound, Usage};

/// The time that stands for the end of a queue.
const END: i64 = -1;

/// Options of `resetOffsetByTime`.
#[derive(Debug, Args)]
pub struct ResetOffsetByTime {
    /// Group
    #[arg(short, long)]
    group: String,
    /// Topic
    #[arg(short, long)]
    topic: String,
    /// now, milliseconds since 1970, yyyy-MM-dd#HH:mm:ss:SSS (UTC), or a time back from now such as -15m
    #[arg(short = 's', long, allow_hyphen_values = true)]
    timestamp: String,
    /// Whether offsets may move forward too: true or false
    #[arg(short, long, default_value = "true")]
    force: String,
    /// Address of a broker, for one queue
    #[arg(short, long, requires = "queue")]
    broker: Option<String>,
    /// One queue of that broker
    #[arg(short, long, requires = "broker")]
    queue: Option<i32>,
    /// The new offset of that queue, in place of the time
    #[arg(short, long, requires = "queue")]
    offset: Option<i64>,
    /// Cluster, or parent of a light topic, by which the brokers are found
    #[arg(short, long)]
    cluster: Option<String>,
}

impl ResetOffsetByTime {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let time_ms = times::parse(self.timestamp.trim(), clock::now_ms()).map_err(Usage)?;
        let (group, topic) = (self.group.trim(), self.topic.trim());
        let start = format!("start reset consumer offset by specified, group[{group}], topic[{topic}]");
        let times = format!("timestamp(string)[{}], timestamp(long)[{time_ms}]", self.timestamp);
        if let (Some(broker), Some(queue)) = (&self.broker, self.queue) {
            let offset = match self.offset {
                Some(offset) => offset,
                None => admin.offset_by_time(broker, topic, queue, time_ms).await?,
            };
            out.line(format!("{start}, queueId[{queue}], broker[{broker}], {times}"));
            reset_queue(admin, broker, (group, topic, queue), offset).await?;
            out.line(format!("reset consumer offset to {offset}"));
            out.value(json!({ "broker": broker, "queue": queue, "offset": offset }));
            return Ok(());
        }
        let is_force = is_true(&self.force);
        let reset = Reset { group, topic, routed: self.cluster.as_deref().unwrap_or(topic), time_ms, is_force };
        let offsets = reset.run(admin).await?;
        out.line(format!("{start}, force[{is_force}], {times}"));
        print(&offsets, out);
        Ok(())
    }
}

/// Both forms, as officially: the stored offset, and what online members are told.
async fn reset_queue(
    admin: &Admin,
    broker: &str,
    (group, topic, queue_id): (&str, &str, i32),
    offset: i64,
) -> anyhow::Result<()> {
    admin.store_offset(broker, group, topic, queue_id, offset).await?;
    let (group, topic) = (Cow::Borrowed(group), Cow::Borrowed(topic));
    let reset =
        ResetOffset { topic, group, timestamp: 0, is_force: false, queue_id: Some(queue_id), offset: Some(offset) };
    match admin.reset_offset(broker, &reset).await {
        // Nobody is there to be told; the offset is stored.
        Err(error) if error.code() == Some(ResponseCode::CONSUMER_NOT_ONLINE) => Ok(()),
        outcome => Ok(outcome.map(|_| ())?),
    }
}

/// Moving all queues of a topic.
struct Reset<'a> {
    group: &'a str,
    topic: &'a str,
    /// Topic or cluster by which the brokers are found.
    routed: &'a str,
    time_ms: i64,
    is_force: bool,
}

impl Reset<'_> {
    /// The new offsets.
    async fn run(&self, admin: &Admin) -> anyhow::Result<QueueMap<i64>> {
        let mut offsets = QueueMap::default();
        for broker in brokers_with(admin, self.routed).await? {
            let reset = ResetOffset {
                topic: Cow::Borrowed(self.topic),
                group: Cow::Borrowed(self.group),
                timestamp: self.time_ms,
                is_force: self.is_force,
                queue_id: Some(-1),
                offset: Some(-1),
            };
            match admin.reset_offset(&broker.address, &reset).await {
                Ok(done) => offsets.0.extend(done.offset_table.0),
                // Brokers that leave it to the members can do nothing when nobody is there.
                Err(error) if error.code() == Some(ResponseCode::CONSUMER_NOT_ONLINE) => {
                    offsets.0.extend(self.offline(admin, &broker.broker).await?.0);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(offsets)
    }

    /// Stores the offsets queue by queue.
    async fn offline(&self, admin: &Admin, broker: &str) -> anyhow::Result<QueueMap<i64>> {
        let mut offsets = QueueMap::default();
        let queues = route::readable(&admin.route(self.topic).await?);
        for queue in queues.into_iter().filter(|queue| queue.broker == broker) {
            let offset = match self.time_ms {
                END => admin.max_offset(&queue.address, self.topic, queue.queue_id).await?,
                time_ms => admin.offset_by_time(&queue.address, self.topic, queue.queue_id, time_ms).await?,
            };
            let known = admin.consume_stats(&queue.address, self.group, Some(self.topic)).await?;
            let mut known = known.offset_table.0.iter().filter(|(known, _)| known.queue_id == queue.queue_id);
            if !self.is_force && known.any(|(_, known)| known.consumer_offset < offset) {
                continue;
            }
            admin.store_offset(&queue.address, self.group, self.topic, queue.queue_id, offset).await?;
            let key = protocol::bodies::message_queue::MessageQueue {
                broker_name: queue.broker,
                queue_id: queue.queue_id,
                topic: self.topic.to_owned(),
            };
            offsets.0.push((key, offset));
        }
        Ok(offsets)
    }
}

fn print(offsets: &QueueMap<i64>, out: &mut Out) {
    let row = |cells: [&str; 3]| format!("{:<40}  {:<40}  {:<40}", cells[0], cells[1], cells[2]);
    out.line(row(["#brokerName", "#queueId", "#offset"]));
    let mut offsets = offsets.0.clone();
    offsets.sort_by(|one, other| one.0.cmp(&other.0));
    for (queue, offset) in &offsets {
        let text = row([&queue.broker_name, &queue.queue_id.to_string(), &offset.to_string()]);
        out.row(json!({ "broker": queue.broker_name, "queue": queue.queue_id, "offset": offset }), text);
    }
}

/// Options of `skipAccumulatedMessage`.
#[derive(Debug, Args)]
pub struct SkipAccumulatedMessage {
    /// Group
    #[arg(short, long)]
    group: String,
    /// Topic
    #[arg(short, long)]
    topic: String,
    /// Whether offsets may move forward too: true or false
    #[arg(short, long, default_value = "true")]
    force: String,
    /// Cluster, or parent of a light topic, by which the brokers are found
    #[arg(short, long)]
    cluster: Option<String>,
}

impl SkipAccumulatedMessage {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let (group, topic) = (self.group.trim(), self.topic.trim());
        let routed = self.cluster.as_deref().unwrap_or(topic);
        let reset = Reset { group, topic, routed, time_ms: END, is_force: is_true(&self.force) };
        print(&reset.run(admin).await?, out);
        Ok(())
    }
}

/// Options of `cloneGroupOffset`.
#[derive(Debug, Args)]
pub struct CloneGroupOffset {
    /// Group whose offsets are taken
    #[arg(short, long = "srcGroup")]
    source: String,
    /// Group that gets them
    #[arg(short, long = "destGroup")]
    destination: String,
    /// Topic; as officially, all topics of the group are taken
    #[arg(short, long)]
    topic: String,
    /// Taken and without meaning, as officially
    #[arg(short, long)]
    offline: Option<String>,
}

impl CloneGroupOffset {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let (source, destination, topic) = (self.source.trim(), self.destination.trim(), self.topic.trim());
        let mut cloned = 0;
        for broker in brokers_of_group(admin, source, None).await? {
            let stats = match admin.consume_stats(&broker.address, source, None).await {
                Ok(stats) => stats,
                Err(error) => return Err(AdminError::Request(error).into()),
            };
            for (queue, offset) in &stats.offset_table.0 {
                let (id, offset) = (queue.queue_id, offset.consumer_offset);
                admin.store_offset(&broker.address, destination, &queue.topic, id, offset).await?;
                cloned += 1;
            }
        }
        if cloned == 0 {
            bail!(NotFound(format!("group `{source}` has no offset yet")));
        }
        out.line(format!("clone group offset success. srcGroup[{source}], destGroup=[{destination}], topic[{topic}]"));
        out.value(json!({ "source": source, "destination": destination, "queues": cloned }));
        Ok(())
    }
}
