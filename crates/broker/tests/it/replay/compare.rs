//! One recorded answer beside ours.

use std::collections::BTreeMap;

use protocol::codes::{RequestCode, ResponseCode};
use protocol::properties;
use protocol::record::{self, Record};
use serde_json::Value;

use super::shape::Shape;
use crate::wire::Message;

/// How much of the values is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// Offsets in queues are the recorded ones, because the queues were filled as they had been.
    pub same_offsets: bool,
    /// The offset in the answer to a send is that of a queue which was filled so.
    pub same_queue_offset: bool,
    /// Unique ids are those that the recorded clients made.
    pub ids_from_clients: bool,
    /// The recording has the body.
    pub body: bool,
}

/// What is different, one line each.
pub fn differences(request: RequestCode, recorded: &Message, ours: &Message, depth: Depth) -> Vec<String> {
    let mut found = Vec::new();
    if recorded.code != ours.code {
        found.push(format!("code {}, ours {}", recorded.code, ours.code));
    }
    if recorded.codec != ours.codec {
        found.push(format!("codec {:?}, ours {:?}", recorded.codec, ours.codec));
    }
    if is_pull(request) && recorded.remark != ours.remark && recorded.fields.contains_key("nextBeginOffset") {
        found.push(format!("remark {:?}, ours {:?}", recorded.remark, ours.remark));
    }
    for (name, value) in &recorded.fields {
        match ours.fields.get(name) {
            None => found.push(format!("field {name} is missing")),
            Some(other) if is_exact(name, depth) && value != other => {
                found.push(format!("field {name} is `{value}`, ours `{other}`"));
            }
            Some(other) if kind(value) != kind(other) => {
                found.push(format!("field {name} is {}, ours {}", kind(value), kind(other)));
            }
            Some(_) => {}
        }
    }
    for name in ours.fields.keys().filter(|name| !recorded.fields.contains_key(*name)) {
        found.push(format!("field {name} is extra"));
    }
    if request == RequestCode::PUSH_REPLY_MESSAGE_TO_CLIENT {
        found.extend(property_differences(recorded, ours));
    }
    if depth.body {
        found.extend(body_differences(request, recorded, ours, depth));
    }
    found
}

/// The properties of a message that is pushed with its header.
fn property_differences(recorded: &Message, ours: &Message) -> Vec<String> {
    let read = |message: &Message| -> BTreeMap<String, String> {
        let given = message.fields["properties"].clone().into_bytes();
        let made = [properties::PUSH_REPLY_TIME];
        let read = properties::Properties::new(&given);
        let kept = read.iter().map(|(name, value)| (name, if made.contains(&name) { "made" } else { value }));
        kept.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    let (left, right) = (read(recorded), read(ours));
    if left == right { vec![] } else { vec![format!("properties are {left:?}, ours {right:?}")] }
}

/// Fields whose values repeat, because the broker was brought into the same state.
fn is_exact(name: &str, depth: Depth) -> bool {
    match name {
        "nextBeginOffset" | "minOffset" | "maxOffset" | "offset" => depth.same_offsets,
        "queueOffset" => depth.same_queue_offset,
        "MSG_REGION"
        | "TRACE_ON"
        | "suggestWhichBrokerId"
        | "topicSysFlag"
        | "groupSysFlag"
        | "forbiddenType"
        | "IS_SUPPORT_HEART_BEAT_V2"
        | "IS_SUB_CHANGE"
        | "consumerGroup" => true,
        _ => false,
    }
}

fn kind(value: &str) -> &'static str {
    let is_hex =
        |text: &str| text.len() >= 32 && text.len().is_multiple_of(2) && text.bytes().all(|b| b.is_ascii_hexdigit());
    match value {
        "" => "empty",
        "true" | "false" => "boolean",
        _ if value.parse::<i64>().is_ok() => "integer",
        _ if value.split(',').all(is_hex) => "hex id",
        _ if value.starts_with('{') => "JSON",
        _ => "text",
    }
}

fn is_pull(request: RequestCode) -> bool {
    matches!(request, RequestCode::PULL_MESSAGE | RequestCode::LITE_PULL_MESSAGE)
}

fn body_differences(request: RequestCode, recorded: &Message, ours: &Message, depth: Depth) -> Vec<String> {
    let (recorded_body, our_body) = (&recorded.body, &ours.body);
    if recorded_body.is_empty() || our_body.is_empty() {
        let sides = |empty| if empty { "empty" } else { "not empty" };
        let (left, right) = (recorded_body.is_empty(), our_body.is_empty());
        return if left == right { vec![] } else { vec![format!("body is {}, ours {}", sides(left), sides(right))] };
    }
    if request == RequestCode::POP_MESSAGE {
        // Which of several messages a pop gets depends on the moment.
        return vec![];
    }
    let holds_messages = matches!(
        request,
        RequestCode::QUERY_MESSAGE | RequestCode::VIEW_MESSAGE_BY_ID | RequestCode::CHECK_TRANSACTION_STATE
    );
    if holds_messages || is_pull(request) {
        // Messages that were there before are not the recorded ones unless offsets are.
        let depth = Depth {
            // Half messages lie at offsets of the half topic.
            same_queue_offset: request != RequestCode::CHECK_TRANSACTION_STATE,
            ..depth
        };
        return if depth.same_offsets { message_differences(recorded_body, our_body, depth) } else { vec![] };
    }
    if request == RequestCode::CONSUME_MESSAGE_DIRECTLY && Record::parse(recorded_body).is_ok() {
        // What is passed on to the client; messages that were there before are not the recorded ones.
        return if Record::parse(our_body).is_ok() { vec![] } else { vec!["body is no message".to_owned()] };
    }
    match request {
        // Passed on as they came.
        RequestCode::PUSH_REPLY_MESSAGE_TO_CLIENT
        | RequestCode::GET_CONSUMER_RUNNING_INFO
        | RequestCode::CONSUME_MESSAGE_DIRECTLY => {
            let show = |body: &[u8]| body.escape_ascii().to_string();
            let (left, right) = (show(recorded_body), show(our_body));
            if left == right { vec![] } else { vec![format!("body is {left}, ours {right}")] }
        }
        RequestCode::GET_BROKER_CONFIG => property_file_differences(recorded_body, our_body),
        // Who is a member and who holds which lock follows from the requests alone.
        RequestCode::GET_CONSUMER_LIST_BY_GROUP | RequestCode::LOCK_BATCH_MQ if depth.same_offsets => {
            let (left, right) = (sorted(recorded_body), sorted(our_body));
            if left == right { vec![] } else { vec![format!("body is {left}, ours {right}")] }
        }
        _ => match (Shape::of(recorded_body), Shape::of(our_body)) {
            (Ok(left), Ok(right)) => left.differences(&right),
            (left, right) => vec![format!("body is no JSON: {left:?}, ours {right:?}")],
        },
    }
}

/// A body as JSON whose lists are sorted.
fn sorted(body: &[u8]) -> Value {
    fn sort(value: &mut Value) {
        match value {
            Value::Array(elements) => {
                elements.iter_mut().for_each(sort);
                elements.sort_by_key(ToString::to_string);
            }
            Value::Object(members) => members.values_mut().for_each(sort),
            _ => {}
        }
    }
    let text = protocol::lenient_json::normalise(body).unwrap();
    let mut value = serde_json::from_slice(&text).unwrap();
    sort(&mut value);
    value
}

fn property_file_differences(recorded: &[u8], ours: &[u8]) -> Vec<String> {
    let keys = |body: &[u8]| -> Vec<String> {
        let text = String::from_utf8(body.to_vec()).unwrap();
        text.lines().filter_map(|line| Some(line.split_once('=')?.0.to_owned())).collect()
    };
    // Upstream shows every field of its classes; a key of ours that it does not have would be an invention.
    let (recorded, ours) = (keys(recorded), keys(ours));
    let extra = ours.iter().filter(|key| !recorded.contains(key));
    extra.map(|key| format!("body has the key {key}, which is extra")).collect()
}

fn message_differences(recorded: &[u8], ours: &[u8], depth: Depth) -> Vec<String> {
    let (recorded, ours): (Vec<Record<'_>>, Vec<Record<'_>>) =
        (record::records(recorded).collect(), record::records(ours).collect());
    if recorded.len() != ours.len() {
        return vec![format!("body has {} messages, ours {}", recorded.len(), ours.len())];
    }
    recorded.iter().zip(&ours).flat_map(|(recorded, ours)| one_message(recorded, ours, depth)).collect()
}

fn one_message(recorded: &Record<'_>, ours: &Record<'_>, depth: Depth) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |what: &str, left: &dyn ToString, right: &dyn ToString| {
        let (left, right) = (left.to_string(), right.to_string());
        if left != right {
            found.push(format!("message {what} is `{left}`, ours `{right}`"));
        }
    };
    compare("topic", &recorded.topic(), &ours.topic());
    compare("queue", &recorded.queue_id(), &ours.queue_id());
    if depth.same_queue_offset {
        compare("offset", &recorded.queue_offset(), &ours.queue_offset());
    }
    compare("flag", &recorded.flag(), &ours.flag());
    compare("sysFlag", &recorded.sys_flag().0, &ours.sys_flag().0);
    compare("reconsumeTimes", &recorded.reconsume_times(), &ours.reconsume_times());
    compare("body", &recorded.body().escape_ascii(), &ours.body().escape_ascii());
    let settles = |record: &Record<'_>| record.prepared_transaction_offset() != 0;
    compare("is a commit", &settles(recorded), &settles(ours));
    let names = |record: &Record<'_>| -> Vec<String> {
        let mut names: Vec<_> = record.properties().iter().map(|(name, _)| name.to_owned()).collect();
        names.sort();
        names
    };
    let (left, right) = (names(recorded), names(ours));
    for name in left.iter().filter(|name| !right.contains(name)) {
        found.push(format!("message property {name} is missing"));
    }
    for name in right.iter().filter(|name| !left.contains(name)) {
        found.push(format!("message property {name} is extra"));
    }
    for (name, value) in recorded.properties().iter().filter(|(name, _)| !is_ours(name, depth)) {
        if let Some(other) = ours.properties().get(name)
            && other != value
        {
            found.push(format!("message property {name} is `{value}`, ours `{other}`"));
        }
    }
    ours.verify_body().unwrap();
    found
}

/// Properties whose values come from the broker: ids and times.
fn is_ours(name: &str, depth: Depth) -> bool {
    let made = [properties::ORIGIN_MESSAGE_ID, properties::TIMER_OUT_MS, properties::TIMER_DELIVER_MS];
    let ids = [properties::UNIQ_KEY, properties::TRANSACTION_ID];
    made.contains(&name) || ids.contains(&name) && !depth.ids_from_clients
}

/// Whether the request is answered by somebody who does not know it.
pub fn is_unknown(ours: &Message) -> bool {
    ours.response_code() == ResponseCode::REQUEST_CODE_NOT_SUPPORTED
}
