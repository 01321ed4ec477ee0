//! How the official tool prints messages and results of sends.

use std::fmt::Display;

use client::Sent;
use client::admin::StoredMessage;
use protocol::bodies::running_info::ConsumeDirectlyResult;
use protocol::codes::ResponseCode;
use serde_json::{Value, json};

use super::print::{java_map, or_null};

/// A queue.
pub fn queue(topic: &str, broker: &str, queue_id: impl Display) -> String {
    format!("MessageQueue [topic={topic}, brokerName={broker}, queueId={queue_id}]")
}

/// How a send ended.
pub fn send_status(code: ResponseCode) -> &'static str {
    match code {
        ResponseCode::FLUSH_DISK_TIMEOUT => "FLUSH_DISK_TIMEOUT",
        ResponseCode::FLUSH_SLAVE_TIMEOUT => "FLUSH_SLAVE_TIMEOUT",
        ResponseCode::SLAVE_NOT_AVAILABLE => "SLAVE_NOT_AVAILABLE",
        _ => "SEND_OK",
    }
}

/// What a send brought.
pub fn send_result(topic: &str, sent: &Sent) -> String {
    format!(
        "SendResult [sendStatus={}, msgId={}, offsetMsgId={}, messageQueue={}, queueOffset={}, recallHandle=null]",
        send_status(sent.stored),
        sent.message_id,
        sent.offset_message_id,
        queue(topic, &sent.broker, sent.queue_id),
        sent.offset
    )
}

/// How a pull ended.
pub fn pull_status(code: ResponseCode) -> &'static str {
    match code {
        ResponseCode::SUCCESS => "FOUND",
        ResponseCode::PULL_RETRY_IMMEDIATELY => "NO_MATCHED_MSG",
        ResponseCode::PULL_OFFSET_MOVED => "OFFSET_ILLEGAL",
        _ => "NO_NEW_MSG",
    }
}

/// What a client did with a message.
pub fn consume_result(result: &ConsumeDirectlyResult) -> String {
    format!(
        "ConsumeMessageDirectlyResult [order={}, autoCommit={}, consumeResult={}, remark={}, spentTimeMills={}]",
        result.order,
        result.auto_commit,
        or_null(result.consume_result.as_deref()),
        or_null(result.remark.as_deref()),
        result.spent_time_millis
    )
}

/// Properties of a message, in stored order.
pub fn properties(message: &StoredMessage, more: &[(&str, i64)]) -> String {
    let stored = message.received.properties.iter().map(|(name, value)| (name.as_str(), value.clone()));
    java_map(stored.chain(more.iter().map(|(name, value)| (*name, value.to_string()))))
}

/// One message in one line. `more` are properties that a consumer adds.
pub fn line(message: &StoredMessage, more: &[(&str, i64)], body: Option<&str>) -> String {
    let it = &message.received;
    let bytes: Vec<String> = it.body.iter().map(|byte| (*byte as i8).to_string()).collect();
    format!(
        "MSGID: {} MessageExt [brokerName={}, queueId={}, storeSize={}, queueOffset={}, sysFlag={}, bornTimestamp={}, \
         bornHost=/{}, storeTimestamp={}, storeHost=/{}, msgId={}, commitLogOffset={}, bodyCRC={}, \
         reconsumeTimes={}, preparedTransactionOffset={}, toString()=Message{{topic='{}', flag={}, properties={}, \
         body=[{}], transactionId='null'}}] BODY: {}",
        it.message_id,
        it.broker,
        it.queue_id,
        message.size,
        it.offset,
        message.sys_flag,
        it.born_timestamp_ms,
        message.born_host,
        it.store_timestamp_ms,
        message.store_host,
        it.offset_message_id,
        message.position,
        message.body_crc,
        it.reconsume_times,
        message.prepared_transaction_offset,
        it.topic,
        message.flag,
        properties(message, more),
        bytes.join(", "),
        body.unwrap_or("NOT PRINT BODY")
    )
}

/// A message as JSON. A body that is no UTF-8 has the replacement character.
pub fn value(message: &StoredMessage) -> Value {
    let it = &message.received;
    let properties: serde_json::Map<String, Value> =
        it.properties.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    json!({
        "message_id": it.message_id, "offset_message_id": it.offset_message_id, "topic": it.topic,
        "broker": it.broker, "queue": it.queue_id, "offset": it.offset, "position": message.position, "tag": it.tag,
        "keys": it.keys, "reconsume_times": it.reconsume_times, "born_ms": it.born_timestamp_ms,
        "stored_ms": it.store_timestamp_ms, "born_host": message.born_host.to_string(),
        "store_host": message.store_host.to_string(), "system_flag": message.sys_flag, "properties": properties,
        "body": String::from_utf8_lossy(&it.body),
    })
}
