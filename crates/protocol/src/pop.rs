//! The POP family: requests, and the texts in which offsets and receipt handles travel.
//!
//! Sources: `remoting/.../protocol/header/{Pop*,Ack*,ChangeInvisible*,Notification*,PollingInfo*}Header.java`,
//! `remoting/.../protocol/header/ExtraInfoUtil.java`, `remoting/.../protocol/body/BatchAck.java`.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::typed::headers;

type S<'a> = Cow<'a, str>;

/// Number of the revive queue that says that messages were handed out in order.
pub const ORDERED_REVIVE_QUEUE: i32 = 999;

headers! {
    /// POP_MESSAGE (200050).
    PopMessage<'a> {
        /// Consumer group.
        consumer_group: S<'a> = "consumerGroup",
        /// Topic.
        topic: S<'a> = "topic",
        /// Queue; negative means any.
        queue_id: i32 = "queueId",
        /// Most messages wanted.
        max_msg_nums: i32 = "maxMsgNums",
        /// Time for which they are invisible, in milliseconds.
        invisible_time: i64 = "invisibleTime",
        /// How long the request may be held, in milliseconds.
        poll_time: i64 = "pollTime",
        /// When the client made the request, in milliseconds since 1970 by its clock.
        born_time: i64 = "bornTime" or 0,
        /// 0: a new group begins at the first message, 1: at the last.
        init_mode: i32 = "initMode" or 0,
        /// `TAG` or `SQL92`.
        exp_type: Option<S<'a>> = "expType",
        /// Filter expression.
        exp: Option<S<'a>> = "exp",
        /// Whether messages of a queue are handed out in order.
        order: bool = "order" or false,
        /// Names the call of an ordered consumer.
        attempt_id: Option<S<'a>> = "attemptId",
    }

    /// PEEK_MESSAGE (200052).
    PeekMessage<'a> {
        /// Consumer group.
        consumer_group: S<'a> = "consumerGroup",
        /// Topic.
        topic: S<'a> = "topic",
        /// Queue; negative means any.
        queue_id: i32 = "queueId",
        /// Most messages wanted.
        max_msg_nums: i32 = "maxMsgNums",
    }

    /// ACK_MESSAGE (200051).
    AckMessage<'a> {
        /// Consumer group.
        consumer_group: S<'a> = "consumerGroup",
        /// Topic.
        topic: S<'a> = "topic",
        /// Queue.
        queue_id: i32 = "queueId",
        /// Receipt handle, see [`ExtraInfo`].
        extra_info: S<'a> = "extraInfo",
        /// Offset in the queue.
        offset: i64 = "offset",
    }

    /// CHANGE_MESSAGE_INVISIBLETIME (200053).
    ChangeInvisibleTime<'a> {
        /// Consumer group.
        consumer_group: S<'a> = "consumerGroup",
        /// Topic.
        topic: S<'a> = "topic",
        /// Queue.
        queue_id: i32 = "queueId",
        /// Receipt handle, see [`ExtraInfo`].
        extra_info: S<'a> = "extraInfo",
        /// Offset in the queue.
        offset: i64 = "offset",
        /// Time from now on for which the message is invisible, in milliseconds.
        invisible_time: i64 = "invisibleTime",
        /// Whether it comes back as the same attempt.
        suspend: bool = "suspend" or false,
    }

    /// Answer of 200053: what the new handle is made of.
    ChangedInvisibleTime {
        /// When the message was handed out, in milliseconds since 1970.
        pop_time: i64 = "popTime",
        /// Time after that at which it is visible again, in milliseconds.
        invisible_time: i64 = "invisibleTime",
        /// Revive queue.
        revive_qid: i32 = "reviveQid",
    }

    /// NOTIFICATION (200054).
    Notification<'a> {
        /// Consumer group.
        consumer_group: S<'a> = "consumerGroup",
        /// Topic.
        topic: S<'a> = "topic",
        /// Queue; negative means any.
        queue_id: i32 = "queueId",
        /// How long the request may be held, in milliseconds.
        poll_time: i64 = "pollTime",
        /// When the client made the request, in milliseconds since 1970 by its clock.
        born_time: i64 = "bornTime" or 0,
        /// Whether messages of a queue are handed out in order.
        order: bool = "order" or false,
        /// Names the call of an ordered consumer.
        attempt_id: Option<S<'a>> = "attemptId",
    }

    /// POLLING_INFO (200055).
    PollingInfo<'a> {
        /// Consumer group.
        consumer_group: S<'a> = "consumerGroup",
        /// Topic.
        topic: S<'a> = "topic",
        /// Queue; negative means any.
        queue_id: i32 = "queueId",
    }

    /// Answer of 200055.
    PollingNumber {
        /// Requests that wait.
        polling_num: i32 = "pollingNum",
    }
}

/// Body of BATCH_ACK_MESSAGE (200151).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BatchAckBody {
    /// Broker that handed the messages out.
    pub broker_name: Option<String>,
    /// Acknowledgements.
    pub acks: Vec<BatchAck>,
}

/// Acknowledgements of messages that were handed out together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BatchAck {
    /// Consumer group.
    #[serde(rename = "c")]
    pub group: String,
    /// Topic.
    #[serde(rename = "t")]
    pub topic: String,
    /// Mark of retry topics, `0` for others.
    #[serde(rename = "r")]
    pub retry: String,
    /// First offset.
    #[serde(rename = "so")]
    pub start_offset: i64,
    /// Queue.
    #[serde(rename = "q")]
    pub queue_id: i32,
    /// Revive queue.
    #[serde(rename = "rq")]
    pub revive_queue: i32,
    /// When they were handed out, in milliseconds since 1970.
    #[serde(rename = "pt")]
    pub pop_time: i64,
    /// Time for which they are invisible, in milliseconds.
    #[serde(rename = "it")]
    pub invisible_time: i64,
    /// Base64 of a little-endian bit set: bit i is offset `start_offset` + i.
    #[serde(rename = "b")]
    pub bits: String,
}

/// A receipt handle of the remoting protocol, which clients put together from the answer to a pop: start offset, pop
/// time, invisible time, revive queue, retry mark, broker name, queue, and mostly the offset, separated by blanks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtraInfo {
    /// When the message was handed out, in milliseconds since 1970.
    pub pop_time_ms: i64,
    /// Time for which it is invisible, in milliseconds.
    pub invisible_ms: i64,
    /// Revive queue.
    pub revive_queue: i32,
}

impl ExtraInfo {
    /// Reads a handle; `None` if it is none.
    pub fn parse(text: &str) -> Option<ExtraInfo> {
        let parts: Vec<&str> = text.split(' ').collect();
        if parts.len() < 7 {
            return None;
        }
        Some(ExtraInfo {
            pop_time_ms: parts[1].parse().ok()?,
            invisible_ms: parts[2].parse().ok()?,
            revive_queue: parts[3].parse().ok()?,
        })
    }
}

/// The three texts of the answer to a pop that say which offsets were handed out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetInfo {
    /// `startOffsetInfo`: the first offset of each queue.
    pub start: String,
    /// `msgOffsetInfo`: the offsets of each queue.
    pub messages: String,
    /// `orderCountInfo`: how often each message was handed out before; only ordered consumers read it.
    pub counts: String,
}

impl OffsetInfo {
    /// Of messages by queue, offset and the number of times they were handed out before. Those of a queue lie together, in
    /// order of their offsets.
    pub fn of(messages: impl IntoIterator<Item = (i32, u64, u16)>) -> OffsetInfo {
        let mut info = OffsetInfo::default();
        let mut last = None;
        for (queue_id, offset, before) in messages {
            // Writing to a String cannot fail.
            if last == Some(queue_id) {
                let _ = write!(info.messages, ",{offset}");
            } else {
                for text in [&mut info.start, &mut info.messages].into_iter().filter(|text| !text.is_empty()) {
                    text.push(';');
                }
                let _ = write!(info.start, "0 {queue_id} {offset}");
                let _ = write!(info.messages, "0 {queue_id} {offset}");
            }
            if !info.counts.is_empty() {
                info.counts.push(';');
            }
            let _ = write!(info.counts, "0 qo{queue_id}%{offset} {before}");
            last = Some(queue_id);
        }
        info
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_listed_by_queue_as_recorded() {
        let info = OffsetInfo::of([(2, 3, 0), (1, 2, 0), (0, 2, 0), (0, 3, 1)]);
        assert_eq!(info.start, "0 2 3;0 1 2;0 0 2");
        assert_eq!(info.messages, "0 2 3;0 1 2;0 0 2,3");
        assert_eq!(info.counts, "0 qo2%3 0;0 qo1%2 0;0 qo0%2 0;0 qo0%3 1");
        assert_eq!(OffsetInfo::of([]), OffsetInfo::default());
    }

    #[test]
    fn handles_are_read_as_clients_write_them() {
        let read = ExtraInfo { pop_time_ms: 1_795_582_876_111, invisible_ms: 10_000, revive_queue: 3 };
        assert_eq!(ExtraInfo::parse("2 1795582876111 10000 3 0 broker-a 1 2"), Some(read));
        assert_eq!(ExtraInfo::parse("2 1795582876111 10000 3 0 broker-a 1"), Some(read));
        for wrong in ["", "2 1795582876111 10000 3 0 broker-a", "a b c d e f g h", "2  10000 3 0 broker-a 1 2"] {
            assert_eq!(ExtraInfo::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn batches_of_acknowledgements_are_read_as_java_writes_them() {
        let text =
            r#"{"acks":[{"b":"BQ==","c":"g","it":10000,"pt":5,"q":1,"r":"0","rq":2,"so":7,"t":"t"}],"brokerName":"b"}"#;
        let body: BatchAckBody = serde_json::from_str(text).unwrap();
        assert_eq!((body.acks[0].start_offset, body.acks[0].bits.as_str(), body.acks[0].pop_time), (7, "BQ==", 5));
        assert_eq!(serde_json::from_str::<BatchAckBody>("{}").unwrap(), BatchAckBody::default());
    }
}
