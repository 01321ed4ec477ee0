//! What the recorded broker held when the recording began, as far as the recording shows it, and a way to bring a
//! fresh broker there: topics, messages that fill the queues, offsets of groups.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use protocol::batch;
use protocol::codes::{RequestCode, ResponseCode};
use protocol::message_id::OffsetMessageId;
use protocol::properties::{self, Properties};
use protocol::record::{self, Record};

use crate::recording::{Kind, Line, Peer};
use crate::server::Server;
use crate::wire::Message;

type QueueName = (String, i32);

/// State before the first line.
#[derive(Debug, Default)]
pub struct Beginning {
    /// Queues that can be read and written, and permission, of each topic.
    topics: BTreeMap<String, [i64; 3]>,
    /// Messages in each queue.
    sizes: BTreeMap<QueueName, i64>,
    /// Stored bytes of those that the recording shows later.
    messages: BTreeMap<(String, i32, i64), Vec<u8>>,
    /// Offset of each group in each queue.
    offsets: BTreeMap<(String, String, i32), i64>,
}

/// What was learned of the queues so far, while the lines are gone through.
#[derive(Default)]
struct Evidence {
    requests: BTreeMap<(String, i64), (i32, Message)>,
    /// Unique ids of what is sent during the recording.
    sent_ids: BTreeSet<String>,
    /// Messages sent to a queue so far, by requests that go straight into it.
    sent: BTreeMap<QueueName, i64>,
    touched_topics: BTreeSet<String>,
    created_topics: BTreeSet<String>,
    committed: BTreeSet<(String, String, i32)>,
    /// Sizes of queues that follow from answers to sends.
    certain: BTreeMap<QueueName, i64>,
    /// Lowest offset at which a message of the recording was seen.
    lowest: BTreeMap<QueueName, i64>,
    /// Ends of queues that were seen, less what the recording had put into them by then: the first, and the last.
    ends: BTreeMap<QueueName, (i64, i64)>,
    /// Groups that had offset 0 in a queue that may have been empty.
    at_zero: BTreeSet<(String, String, i32)>,
}

impl Beginning {
    /// Finds out from the lines of a recording. One that is partial shows queues grow without saying why: then all
    /// that was ever in them is taken for old.
    pub fn of(lines: &[Line], partial: bool) -> Beginning {
        let mut beginning = Beginning::default();
        let mut evidence = Evidence::default();
        for line in lines.iter().filter(|line| line.lost_body.is_none()) {
            match line.kind {
                Kind::Request { code, opaque, .. } if line.from_client => {
                    let message = line.message();
                    beginning.look_at_request(&mut evidence, code, &message);
                    evidence.requests.insert((line.connection.clone(), opaque), (code, message));
                }
                Kind::Answer { opaque, .. } if !line.from_client => {
                    let Some((code, request)) = evidence.requests.get(&(line.connection.clone(), opaque)) else {
                        continue;
                    };
                    let (code, request) = (*code, request.clone());
                    if line.peer == Peer::Nameserver {
                        beginning.look_at_route(&evidence, &request, &line.message());
                    } else {
                        beginning.look_at_answer(&mut evidence, code, &request, &line.message());
                    }
                }
                _ => {}
            }
        }
        for (queue, (first, last)) in &evidence.ends {
            let lowest = evidence.lowest.entry(queue.clone()).or_insert(*first);
            *lowest = (*lowest).min(*first);
            if partial && !evidence.created_topics.contains(&queue.0) {
                evidence.certain.insert(queue.clone(), *last);
            }
        }
        beginning.sizes = evidence.lowest;
        beginning.sizes.extend(evidence.certain);
        for (group, topic, queue_id) in evidence.at_zero {
            // Without a message and without an offset the answer would have been another.
            if beginning.sizes.get(&(topic.clone(), queue_id)).is_none_or(|size| *size == 0) {
                beginning.offsets.insert((group, topic, queue_id), 0);
            }
        }
        beginning.messages.retain(|(topic, queue_id, offset), _| {
            beginning.sizes.get(&(topic.clone(), *queue_id)).is_some_and(|size| offset < size)
        });
        beginning
    }

    fn look_at_request(&mut self, evidence: &mut Evidence, code: i32, request: &Message) {
        match RequestCode(code) {
            RequestCode::UPDATE_AND_CREATE_TOPIC => {
                evidence.touched_topics.insert(request.fields["topic"].clone());
                evidence.created_topics.insert(request.fields["topic"].clone());
            }
            RequestCode::UPDATE_CONSUMER_OFFSET | RequestCode::PULL_MESSAGE | RequestCode::LITE_PULL_MESSAGE => {
                if let Some(name) = group_queue(request) {
                    evidence.committed.insert(name);
                }
            }
            code if is_send(code) => {
                let Some((topic, queue_id)) = target(request) else { return };
                evidence.touched_topics.insert(topic.clone());
                let given = Properties::new(field(request, "properties", "i").unwrap_or_default().as_bytes());
                let mut ids: Vec<String> = given.get(properties::UNIQ_KEY).map(str::to_owned).into_iter().collect();
                let mut count = 1;
                if field(request, "batch", "m") == Some("true") {
                    let items: Vec<_> = batch::items(&request.body).flatten().collect();
                    count = items.len() as i64;
                    ids.extend(
                        items.iter().filter_map(|item| item.properties().get(properties::UNIQ_KEY)).map(Into::into),
                    );
                }
                evidence.sent_ids.extend(ids);
                if goes_straight(&given) && queue_id >= 0 {
                    *evidence.sent.entry((topic, queue_id)).or_default() += count;
                }
            }
            _ => {}
        }
    }

    fn look_at_route(&mut self, evidence: &Evidence, request: &Message, answer: &Message) {
        let Some(topic) = request.fields.get("topic") else { return };
        if answer.body.is_empty() || evidence.touched_topics.contains(topic) {
            return;
        }
        let text = protocol::lenient_json::normalise(&answer.body).unwrap();
        let route: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let queues = &route["queueDatas"][0];
        let [read, write, permission] =
            ["readQueueNums", "writeQueueNums", "perm"].map(|key| queues[key].as_i64().unwrap());
        if !broker::names::is_system(topic, "DefaultCluster", "broker-a") {
            self.topics.entry(topic.clone()).or_insert([read, write, permission]);
        }
    }

    fn look_at_answer(&mut self, evidence: &mut Evidence, code: i32, request: &Message, answer: &Message) {
        let code = RequestCode(code);
        if is_send(code) && answer.response_code() == ResponseCode::SUCCESS {
            let Some((topic, _)) = target(request) else { return };
            let given = Properties::new(field(request, "properties", "i").unwrap_or_default().as_bytes());
            if goes_straight(&given) {
                let queue = (topic, answer.number("queueId") as i32);
                let before = evidence.sent.get(&queue).copied().unwrap_or(0) - messages_of(request);
                let start = answer.number("queueOffset") - before.max(0);
                evidence.certain.entry(queue).or_insert(start);
            }
        }
        match code {
            RequestCode::PULL_MESSAGE | RequestCode::LITE_PULL_MESSAGE => {
                if answer.fields.contains_key("maxOffset") {
                    evidence.saw_end(target(request).unwrap(), answer.number("maxOffset"));
                }
                for record in record::records(&answer.body) {
                    self.look_at_record(evidence, &record);
                }
            }
            RequestCode::VIEW_MESSAGE_BY_ID | RequestCode::QUERY_MESSAGE => {
                for record in record::records(&answer.body) {
                    if !self.look_at_record(evidence, &record) {
                        let queue = (record.topic().to_owned(), record.queue_id());
                        evidence.saw_end(queue, record.queue_offset() as i64 + 1);
                    }
                }
            }
            RequestCode::GET_MAX_OFFSET => {
                evidence.saw_end(target(request).unwrap(), answer.number("offset"));
            }
            RequestCode::QUERY_CONSUMER_OFFSET if answer.response_code() == ResponseCode::SUCCESS => {
                let name = group_queue(request).unwrap();
                let offset = answer.number("offset");
                let untouched = !evidence.sent.contains_key(&(name.1.clone(), name.2));
                if evidence.committed.insert(name.clone()) {
                    match offset {
                        0 if untouched => drop(evidence.at_zero.insert(name)),
                        0 => {}
                        offset => drop(self.offsets.insert(name, offset)),
                    }
                }
            }
            _ => {}
        }
    }

    /// Whether the message was sent during the recording.
    fn look_at_record(&mut self, evidence: &mut Evidence, record: &Record<'_>) -> bool {
        let queue = (record.topic().to_owned(), record.queue_id());
        let offset = record.queue_offset() as i64;
        let id = record.properties().get(properties::UNIQ_KEY).unwrap_or_default();
        self.messages.insert((queue.0.clone(), queue.1, offset), record.bytes().to_vec());
        let is_new = evidence.sent_ids.contains(id);
        if is_new {
            let lowest = evidence.lowest.entry(queue).or_insert(offset);
            *lowest = (*lowest).min(offset);
        }
        is_new
    }

    /// Brings a fresh broker into this state. Tells our positions of old messages by the recorded ones.
    pub fn bring_about(&self, server: &Server) -> HashMap<i64, i64> {
        let mut positions = HashMap::new();
        let mut wire = server.connect();
        for (topic, [read, write, permission]) in &self.topics {
            let [read, write, permission] = [read, write, permission].map(ToString::to_string);
            let fields = [
                ("topic", topic.as_str()),
                ("defaultTopic", "TBW102"),
                ("readQueueNums", &read),
                ("writeQueueNums", &write),
                ("perm", &permission),
                ("topicFilterType", "SINGLE_TAG"),
                ("order", "false"),
            ];
            let answer = wire.call(RequestCode::UPDATE_AND_CREATE_TOPIC, &fields, b"");
            assert_eq!(answer.response_code(), ResponseCode::SUCCESS, "{topic}: {answer:?}");
        }
        for ((topic, queue_id), size) in &self.sizes {
            for offset in 0..*size {
                let key = (topic.clone(), *queue_id, offset);
                let answer = match self.messages.get(&key) {
                    Some(bytes) => {
                        let record = Record::parse(bytes).unwrap();
                        let answer = send(&mut wire, topic, *queue_id, &record);
                        let id = answer.fields.get("msgId").and_then(|id| OffsetMessageId::parse(id));
                        positions.extend(id.map(|id| (record.position() as i64, id.position as i64)));
                        answer
                    }
                    None => send_filler(&mut wire, topic, *queue_id),
                };
                assert_eq!(answer.response_code(), ResponseCode::SUCCESS, "{key:?}: {answer:?}");
                assert_eq!(answer.number("queueOffset"), offset, "{key:?}");
            }
        }
        for ((group, topic, queue_id), offset) in &self.offsets {
            // Asking for a group creates it.
            wire.call(RequestCode::GET_SUBSCRIPTIONGROUP_CONFIG, &[("group", group)], b"");
            let (queue_id, offset) = (queue_id.to_string(), offset.to_string());
            let fields =
                [("consumerGroup", &**group), ("topic", topic), ("queueId", &queue_id), ("commitOffset", &offset)];
            let answer = wire.call(RequestCode::UPDATE_CONSUMER_OFFSET, &fields, b"");
            assert_eq!(answer.response_code(), ResponseCode::SUCCESS, "{group} {topic}: {answer:?}");
        }
        positions
    }
}

impl Evidence {
    fn saw_end(&mut self, queue: QueueName, end: i64) {
        let sent = self.sent.get(&queue).copied().unwrap_or(0);
        let end = (end - sent).max(0);
        self.ends.entry(queue).and_modify(|(_, last)| *last = end).or_insert((end, end));
    }
}

fn send_filler(wire: &mut crate::wire::Wire, topic: &str, queue_id: i32) -> Message {
    let queue_id = queue_id.to_string();
    let fields = [
        ("topic", topic),
        ("defaultTopic", "TBW102"),
        ("defaultTopicQueueNums", "4"),
        ("queueId", &queue_id),
        ("properties", "TAGS\u{1}filler"),
    ];
    wire.call(RequestCode::SEND_MESSAGE, &fields, b"filler")
}

/// Sends what a stored message says; if it was delayed, it is once more.
fn send(wire: &mut crate::wire::Wire, topic: &str, queue_id: i32, record: &Record<'_>) -> Message {
    let mut given = Vec::new();
    // These are put in anew when the message waits.
    let made = [properties::REAL_TOPIC, properties::REAL_QID];
    properties::push_kept(&mut given, record.properties_bytes(), |name| {
        made.iter().all(|made| made.as_bytes() != name)
    });
    let texts = [queue_id, record.sys_flag().0, record.flag(), record.reconsume_times()].map(|n| n.to_string());
    let fields = [
        ("topic", topic),
        ("defaultTopic", "TBW102"),
        ("defaultTopicQueueNums", "4"),
        ("queueId", &texts[0]),
        ("sysFlag", &texts[1]),
        ("flag", &texts[2]),
        ("reconsumeTimes", &texts[3]),
        ("properties", std::str::from_utf8(&given).unwrap()),
    ];
    let answer = wire.call(RequestCode::SEND_MESSAGE, &fields, record.body());
    if record.properties().get(properties::DELAY).is_none() {
        return answer;
    }
    let offset = record.queue_offset().to_string();
    let fields = [
        ("consumerGroup", "beginning"),
        ("topic", topic),
        ("queueId", &texts[0]),
        ("queueOffset", &offset),
        ("maxMsgNums", "1"),
        ("sysFlag", "6"),
        ("suspendTimeoutMillis", "10000"),
        ("subscription", "*"),
    ];
    let mut delivered = wire.call(RequestCode::PULL_MESSAGE, &fields, b"");
    delivered.fields.insert("queueOffset".into(), offset);
    delivered
}

fn messages_of(request: &Message) -> i64 {
    if field(request, "batch", "m") == Some("true") { batch::items(&request.body).flatten().count() as i64 } else { 1 }
}

/// Whether the request is a send.
pub fn is_send(code: RequestCode) -> bool {
    matches!(code, RequestCode::SEND_MESSAGE | RequestCode::SEND_MESSAGE_V2 | RequestCode::SEND_BATCH_MESSAGE)
}

/// Whether a message with these properties is stored in its own topic at once.
pub fn goes_straight(given: &Properties<'_>) -> bool {
    let waits = [
        properties::DELAY,
        properties::TIMER_DELAY_SEC,
        properties::TIMER_DELAY_MS,
        properties::TIMER_DELIVER_MS,
        properties::TRAN_MSG,
    ];
    waits.iter().all(|name| given.get(name).is_none_or(|value| value == "false"))
}

/// A field under its long name, or under its letter.
pub fn field<'m>(message: &'m Message, name: &str, letter: &str) -> Option<&'m str> {
    message.fields.get(name).or_else(|| message.fields.get(letter)).map(String::as_str)
}

/// Topic and queue of a request.
pub fn target(request: &Message) -> Option<QueueName> {
    let queue_id = field(request, "queueId", "e")?.parse().ok()?;
    Some((field(request, "topic", "b")?.to_owned(), queue_id))
}

fn group_queue(request: &Message) -> Option<(String, String, i32)> {
    let (topic, queue_id) = target(request)?;
    let commits = match request.fields.get("sysFlag") {
        Some(flags) => flags.parse::<i32>().ok()? & 1 != 0,
        None => true,
    };
    commits.then(|| Some((request.fields.get("consumerGroup")?.clone(), topic, queue_id)))?
}
