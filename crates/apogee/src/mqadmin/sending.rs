//! Sending messages, for themselves or to see how long it takes.

use std::time::Duration;

use anyhow::bail;
use clap::Args;
use client::route::{self, QueueAt};
use client::{Admin, Message, Producer, Sent};
use serde_json::json;
use tokio::time::Instant;

use super::print::Out;
use super::texts;
use crate::exit::{NotFound, Usage};

/// Group under which the official tool's counterpart here sends.
const GROUP: &str = "apogee-mqadmin";

/// Queues of a topic that take messages, of one broker where it is named.
async fn writable(admin: &Admin, topic: &str, broker: Option<&str>) -> anyhow::Result<Vec<QueueAt>> {
    let mut queues = route::writable(&admin.route(topic).await?);
    queues.retain(|queue| broker.is_none_or(|name| name == queue.broker));
    if queues.is_empty() {
        bail!(NotFound(format!("topic `{topic}` has no queue to write to")));
    }
    Ok(queues)
}

async fn timed(
    producer: &Producer,
    queue: &QueueAt,
    message: &Message,
) -> (Result<Sent, client::RequestError>, Duration) {
    let begun = Instant::now();
    let outcome = producer.send_to(queue, message).await;
    (outcome, begun.elapsed())
}

/// A message of that many bytes.
fn filled(topic: &str, bytes: usize) -> Message {
    Message { topic: topic.to_owned(), body: vec![b'a'; bytes], ..Message::default() }
}

/// Options of `sendMessage`.
#[derive(Debug, Args)]
pub struct SendMessage {
    /// Topic
    #[arg(short, long)]
    topic: String,
    /// Body
    #[arg(short = 'p', long)]
    body: String,
    /// Keys
    #[arg(short, long = "key")]
    keys: Option<String>,
    /// Tag
    #[arg(short = 'c', long = "tags")]
    tag: Option<String>,
    /// Broker name
    #[arg(short, long)]
    broker: Option<String>,
    /// Queue of that broker
    #[arg(short = 'i', long = "qid", requires = "broker")]
    queue: Option<i32>,
    /// Taken; no trace is written: true or false
    #[arg(short = 'm', long = "msgTraceEnable")]
    trace: Option<String>,
}

impl SendMessage {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let message = Message {
            topic: self.topic.clone(),
            body: self.body.clone().into_bytes(),
            tag: self.tag.clone(),
            keys: self.keys.iter().cloned().collect(),
            ..Message::default()
        };
        let producer = Producer::new(admin.nameservers().clone(), GROUP);
        let sent = match (&self.broker, self.queue) {
            (Some(broker), queue) => {
                let queues = writable(admin, &self.topic, Some(broker)).await?;
                let found = queues.iter().find(|at| queue.is_none_or(|id| id == at.queue_id));
                let found = found.ok_or_else(|| {
                    let queue = queue.unwrap_or_default();
                    NotFound(format!("broker `{broker}` has no queue {queue} of topic `{}`", self.topic))
                })?;
                producer.send_to(found, &message).await?
            }
            (None, _) => producer.send(&message).await?,
        };
        let row = |cells: [&str; 4]| format!("{:<32}  {:<4}  {:<20}    {}", cells[0], cells[1], cells[2], cells[3]);
        out.line(row(["#Broker Name", "#QID", "#Send Result", "#MsgId"]));
        let (queue, status) = (sent.queue_id.to_string(), texts::send_status(sent.stored));
        let value = json!({
            "message_id": sent.message_id, "offset_message_id": sent.offset_message_id, "broker": sent.broker,
            "queue": sent.queue_id, "offset": sent.offset, "status": status,
        });
        out.row(value, row([&sent.broker, &queue, status, &sent.message_id]));
        Ok(())
    }
}

/// Options of `sendMsgStatus`.
#[derive(Debug, Args)]
pub struct SendMsgStatus {
    /// Broker name; every broker has a topic of its name
    #[arg(short, long = "brokerName")]
    broker: String,
    /// Bytes of a message
    #[arg(short = 's', long = "messageSize", default_value_t = 128)]
    size: usize,
    /// Messages
    #[arg(short, long, default_value_t = 50)]
    count: u32,
}

impl SendMsgStatus {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        let topic = self.broker.trim();
        let queue = writable(admin, topic, None).await?.remove(0);
        let producer = Producer::new(admin.nameservers().clone(), GROUP);
        // The first one connects, and is not shown.
        producer.send_to(&queue, &filled(topic, self.size)).await?;
        for _ in 0..self.count {
            let (sent, took) = timed(&producer, &queue, &filled(topic, self.size)).await;
            let (sent, rt_ms) = (sent?, took.as_millis());
            let value =
                json!({ "rt_ms": took.as_secs_f64() * 1e3, "message_id": sent.message_id, "offset": sent.offset });
            out.row(value, format!("rt={rt_ms}ms, SendResult={}", texts::send_result(topic, &sent)));
        }
        Ok(())
    }
}

/// Options of `checkMsgSendRT`.
#[derive(Debug, Args)]
pub struct CheckMsgSendRt {
    /// Topic
    #[arg(short, long)]
    topic: String,
    /// Messages, at least two: the first one is not in the average
    #[arg(short, long, default_value_t = 100)]
    amount: u32,
    /// Bytes of a message
    #[arg(short, long, default_value_t = 128)]
    size: usize,
}

impl CheckMsgSendRt {
    pub async fn run(&self, admin: &Admin, out: &mut Out) -> anyhow::Result<()> {
        if self.amount < 2 {
            bail!(Usage("-a is at least 2: the first message is not in the average".to_owned()));
        }
        let queues = writable(admin, &self.topic, None).await?;
        let producer = Producer::new(admin.nameservers().clone(), GROUP);
        let row = |cells: [&str; 4]| format!("{:<32}  {:<4}  {:<20}    {}", cells[0], cells[1], cells[2], cells[3]);
        out.line(row(["#Broker Name", "#QID", "#Send Result", "#RT"]));
        let mut total = Duration::ZERO;
        for (at, queue) in (0..self.amount).zip(queues.iter().cycle()) {
            let (sent, took) = timed(&producer, queue, &filled(&self.topic, self.size)).await;
            if at > 0 {
                total += took;
            }
            let (id, done, rt_ms) = (queue.queue_id.to_string(), sent.is_ok(), took.as_millis().to_string());
            let value = json!({
                "broker": queue.broker, "queue": queue.queue_id, "sent": done, "rt_ms": took.as_secs_f64() * 1e3,
            });
            out.row(value, row([&queue.broker, &id, &done.to_string(), &rt_ms]));
        }
        let average_ms = total.as_secs_f64() * 1e3 / f64::from(self.amount - 1);
        out.line(format!("Avg RT: {average_ms:.2}"));
        out.fact("average_rt_ms", average_ms);
        Ok(())
    }
}
