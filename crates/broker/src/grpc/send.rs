//! SendMessage: one or more messages of one topic.

use std::sync::atomic::Ordering;

use prost_types::Timestamp;
use protocol::properties;
use protocol::sys_flag::SysFlag;
use protocol::v2::{self, Code, Encoding, SystemProperties};

use super::answer::ok;
use super::call::Call;
use super::code::Refused;
use super::turn::{self, Stored};
use super::validate;
use crate::broker::Broker;
use crate::delay;
use crate::names;
use crate::send::{self, QueueChoice, SendError, SendRequest};
use crate::topics::MessageType;

const PRIORITY: &str = "_SYS_MSG_PRIORITY_";
const SHARDING_KEY: &str = "__SHARDINGKEY";
const TRACE_CONTEXT: &str = "TRACE_CONTEXT";
const BORN_HOST: &str = "__BORNHOST";

/// Stores the messages.
pub async fn send_message(call: Call, request: v2::SendMessageRequest) -> Result<v2::SendMessageResponse, Refused> {
    let broker = call.broker();
    let checked = check(broker, &request.messages);
    let topic = checked.inspect_err(|_| {
        broker.counters.sends_refused.fetch_add(request.messages.len().max(1) as u64, Ordering::Relaxed);
    })?;
    let (admitted, waiting) = turn::gather(broker, |appends| {
        let mut room = Vec::new();
        // Messages without a group stay together, in their order.
        let shared_queue = QueueChoice::Turn(broker.next_turn());
        let admit = |message| admit(&call, topic, message, shared_queue, &mut room, appends);
        request.messages.iter().map(admit).collect::<Vec<_>>()
    });
    let stored = match waiting {
        Some(waiting) => turn::stored(waiting).await,
        None => Ok(Stored { placed: Vec::new() }),
    };
    Ok(response(request, admitted, stored))
}

/// Checks all messages, in the order in which clients expect it. Returns the topic.
fn check<'m>(broker: &Broker, messages: &'m [v2::Message]) -> Result<&'m str, Refused> {
    let corrupted = |text| Refused::new(Code::MessageCorrupted, text);
    let first = messages.first().ok_or_else(|| corrupted("no message to send"))?;
    let topic = validate::topic(&first.topic)?;
    for message in messages {
        if message.topic != first.topic {
            return Err(corrupted("topic in message is not same"));
        }
        check_message(broker, message)?;
    }
    check_type(broker, topic, type_of(system(first)))?;
    Ok(topic)
}

fn check_message(broker: &Broker, message: &v2::Message) -> Result<(), Refused> {
    let (config, system) = (&broker.config, system(message));
    if message.body.is_empty() {
        return Err(Refused::new(Code::MessageBodyEmpty, "message body cannot be empty"));
    }
    if message.body.len() > config.max_message_bytes.get() {
        let error = SendError::BodyTooLarge { size: message.body.len(), limit: config.max_message_bytes.get() };
        return Err(error.into());
    }
    check_properties(broker, message)?;
    if system.message_id.trim().is_empty() {
        return Err(Refused::new(Code::IllegalMessageId, "message id cannot be blank"));
    }
    if is_transaction(system)
        && let Some(recovery) = &system.orphaned_transaction_recovery_duration
        && recovery.seconds > config.max_transaction_recovery.get().as_secs() as i64
    {
        let limit = config.max_transaction_recovery.get().as_secs();
        let text = format!("orphaned transactions are asked about after {} s; the limit is {limit}", recovery.seconds);
        return Err(Refused::new(Code::BadRequest, text));
    }
    if let Some(due) = &system.delivery_timestamp {
        let due = milliseconds(due).to_string();
        delay::of_values(broker, [None, None, None, Some(&due)]).map_err(SendError::from)?;
    }
    if system.priority.is_some_and(|priority| priority < 0) {
        return Err(Refused::new(Code::InternalServerError, "the priority is negative"));
    }
    validate::message_group(system.message_group())?;
    if !system.lite_topic().is_empty() {
        return Err(Refused::new(Code::Unsupported, "lite topics are not supported"));
    }
    Ok(())
}

fn check_properties(broker: &Broker, message: &v2::Message) -> Result<(), Refused> {
    let (config, system) = (&broker.config, system(message));
    let too_large = |text| Refused::new(Code::MessagePropertiesTooLarge, text);
    let count = message.user_properties.len();
    if count > config.user_properties_max.get() {
        return Err(too_large(format!(
            "message has {count} properties; the limit is {}",
            config.user_properties_max.get()
        )));
    }
    let mut bytes = system.tag().len();
    for (key, value) in &message.user_properties {
        validate::property(key, value)?;
        bytes += key.len() + value.len();
    }
    validate::tag(system.tag())?;
    for key in &system.keys {
        validate::key(key)?;
        bytes += key.len();
    }
    if bytes > config.user_properties_bytes_max.get() {
        let limit = config.user_properties_bytes_max.get();
        return Err(too_large(format!(
            "properties, tag and keys of the message are {bytes} bytes; the limit is {limit}"
        )));
    }
    Ok(())
}

/// Whether the topic takes such messages, and may be written at all.
fn check_type(broker: &Broker, topic: &str, kind: MessageType) -> Result<(), Refused> {
    let known = broker.topics.get(topic);
    let takes = match &known {
        Some(known) => known.message_type,
        // It would be created as a topic for normal messages, if at all.
        None => MessageType::Normal,
    };
    let is_checked = broker.config.topic_type_check.get() && !names::is_retry(topic) && !names::is_dead_letter(topic);
    if is_checked && !takes.takes(kind) && (known.is_some() || broker.config.auto_create_topic.get()) {
        let text = format!("topic `{topic}` takes {} messages; this is a {} message", takes.name(), kind.name());
        return Err(Refused::new(Code::MessagePropertyConflictWithType, text));
    }
    match known {
        Some(known) if !known.settings.permission.can_write() || known.settings.write_queues < 1 => {
            Err(Refused::new(Code::Forbidden, format!("no writable queue: topic `{topic}` takes no messages")))
        }
        _ => Ok(()),
    }
}

fn system(message: &v2::Message) -> &SystemProperties {
    static NONE: std::sync::LazyLock<SystemProperties> = std::sync::LazyLock::new(SystemProperties::default);
    message.system_properties.as_ref().unwrap_or(&NONE)
}

fn is_transaction(system: &SystemProperties) -> bool {
    system.message_type() == v2::MessageType::Transaction
}

/// What kind of message it is: by what it says, except for transactions not by what it calls itself.
fn type_of(system: &SystemProperties) -> MessageType {
    if is_transaction(system) {
        MessageType::Transaction
    } else if system.delivery_timestamp.is_some() {
        MessageType::Delay
    } else if !system.message_group().is_empty() {
        MessageType::Fifo
    } else if system.priority.is_some() {
        MessageType::Priority
    } else {
        MessageType::Normal
    }
}

/// Adds what is to be stored of a message; gives back the handle by which it can be recalled, if it can.
fn admit(
    call: &Call,
    topic: &str,
    message: &v2::Message,
    otherwise: QueueChoice<'_>,
    room: &mut Vec<u8>,
    appends: &mut crate::writer::Appends,
) -> Result<String, SendError> {
    let (broker, system) = (call.broker(), system(message));
    room.clear();
    push_properties(topic, message, system, room);
    let queue = match type_of(system) {
        _ if !system.message_group().is_empty() => QueueChoice::OfGroup(system.message_group()),
        MessageType::Priority => QueueChoice::OfPriority(system.priority()),
        _ => otherwise,
    };
    let is_compressed = system.body_encoding() == Encoding::Gzip;
    let request = SendRequest {
        topic,
        template: names::TEMPLATE_TOPIC,
        template_queues: broker.config.default_topic_queue_nums.get(),
        queue,
        sys_flag: SysFlag(i32::from(is_compressed)),
        born_ms: system.born_timestamp.as_ref().map_or_else(|| broker.clock.now_ms(), milliseconds),
        born_host: call.address(),
        flag: 0,
        properties: room,
        // What clients write into `delivery_attempt` of a message that they send means nothing.
        reconsume_times: 0,
        max_reconsume_times: None,
        batch: false,
        body: &message.body,
    };
    let (start, end) = send::admit(broker, &request, appends)?.recall_handle;
    let handle = appends.recall_handles.get(start as usize..end as usize).unwrap_or_default();
    Ok(String::from_utf8_lossy(handle).into_owned())
}

/// Properties in stored form.
fn push_properties(topic: &str, message: &v2::Message, system: &SystemProperties, out: &mut Vec<u8>) {
    for (key, value) in &message.user_properties {
        properties::push(out, key, value);
    }
    let mut push = |name, value: &str| {
        if !value.is_empty() {
            properties::push(out, name, value);
        }
    };
    push(properties::UNIQ_KEY, &system.message_id);
    push(properties::TAGS, system.tag());
    match &system.keys[..] {
        [one] => push(properties::KEYS, one),
        keys => push(properties::KEYS, &keys.join(" ")),
    }
    push(SHARDING_KEY, system.message_group());
    push(TRACE_CONTEXT, system.trace_context());
    push(BORN_HOST, system.born_host.trim());
    if is_transaction(system) {
        push(properties::TRAN_MSG, "true");
        push(properties::PGROUP, topic);
        if let Some(recovery) = &system.orphaned_transaction_recovery_duration {
            push(properties::CHECK_IMMUNITY_TIME_IN_SECONDS, &recovery.seconds.to_string());
        }
    }
    if let Some(due) = &system.delivery_timestamp {
        push(properties::TIMER_DELIVER_MS, &milliseconds(due).to_string());
    }
    if let Some(priority) = system.priority {
        push(PRIORITY, &priority.to_string());
    }
}

/// Milliseconds since 1970.
pub fn milliseconds(time: &Timestamp) -> i64 {
    time.seconds.saturating_mul(1000).saturating_add(i64::from(time.nanos) / 1_000_000)
}

fn response(
    request: v2::SendMessageRequest,
    admitted: Vec<Result<String, SendError>>,
    stored: Result<Stored, Refused>,
) -> v2::SendMessageResponse {
    let mut records = 0;
    let entries = request.messages.into_iter().zip(admitted).map(|(message, admitted)| {
        let recall_handle = match admitted {
            Ok(recall_handle) => recall_handle,
            Err(error) => return refused_entry(error.into()),
        };
        records += 1;
        match &stored {
            Ok(stored) => {
                let offset = stored.placed.get(records - 1).map_or(0, |placed| placed.queue_offset as i64);
                let message_id = message.system_properties.map(|system| system.message_id).unwrap_or_default();
                let transaction_id = message_id.clone();
                v2::SendResultEntry { status: Some(ok()), message_id, transaction_id, offset, recall_handle }
            }
            Err(refused) => refused_entry(refused.clone()),
        }
    });
    let entries: Vec<v2::SendResultEntry> = entries.collect();
    v2::SendMessageResponse { status: Some(overall(entries.iter().map(|entry| &entry.status))), entries }
}

fn refused_entry(refused: Refused) -> v2::SendResultEntry {
    v2::SendResultEntry { status: Some(refused.into()), ..v2::SendResultEntry::default() }
}

/// The status of several entries: theirs if they share a code.
pub fn overall<'s>(mut statuses: impl Iterator<Item = &'s Option<v2::Status>>) -> v2::Status {
    let first = statuses.next().cloned().flatten();
    let Some(first) = first else {
        return Refused::new(Code::InternalServerError, "send status is empty").into();
    };
    if statuses.all(|status| status.as_ref().is_some_and(|status| status.code == first.code)) {
        return first;
    }
    v2::Status { code: Code::MultipleResults.into(), message: "entries ended differently".to_owned() }
}
