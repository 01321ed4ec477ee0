//! Stored messages.

use std::borrow::Cow;
use std::net::SocketAddr;

use protocol::bodies::consume_queue::ConsumeQueueView;
use protocol::codes::{RequestCode, ResponseCode};
use protocol::message_id::OffsetMessageId;
use protocol::record::{Record, records};
use protocol::requests::{
    OffsetResult, PullMessage, PullMessageResult, QueryConsumeQueue, QueryMessage, QueueOfTopic, SearchOffset,
    ViewMessage,
};

use super::Admin;
use crate::message::Received;
use crate::request::{Request, RequestError};

/// The pull brings its own subscription.
const HAS_SUBSCRIPTION: i32 = 4;

/// A message with everything that the broker stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// What users see of it.
    pub received: Received,
    /// Bytes of the record.
    pub size: u32,
    /// Position in the commit log.
    pub position: u64,
    /// The user's own flag.
    pub flag: i32,
    /// System flag.
    pub sys_flag: i32,
    /// Checksum of the body as stored.
    pub body_crc: i32,
    /// Address of the sender.
    pub born_host: SocketAddr,
    /// Address of the broker.
    pub store_host: SocketAddr,
    /// What the record refers to.
    pub prepared_transaction_offset: i64,
}

impl StoredMessage {
    pub(super) fn new(broker: &str, record: &Record<'_>) -> StoredMessage {
        StoredMessage {
            received: Received::new(broker, record),
            size: record.size(),
            position: record.position(),
            flag: record.flag(),
            sys_flag: record.sys_flag().0,
            body_crc: record.body_crc(),
            born_host: record.born_host(),
            store_host: record.store_host(),
            prepared_transaction_offset: record.prepared_transaction_offset(),
        }
    }
}

/// What is to be pulled, without waiting for it.
#[derive(Clone, Copy, Debug)]
pub struct PullRequest<'a> {
    /// Name of the broker.
    pub broker: &'a str,
    /// Its address.
    pub address: &'a str,
    /// Group in whose name it is pulled.
    pub group: &'a str,
    /// Topic.
    pub topic: &'a str,
    /// Queue.
    pub queue_id: i32,
    /// First offset.
    pub offset: i64,
    /// Most messages.
    pub count: i32,
    /// Tags, `a || b` or `*`.
    pub tags: &'a str,
}

/// What a pull brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// SUCCESS, or why there are no messages.
    pub code: ResponseCode,
    /// The messages.
    pub messages: Vec<StoredMessage>,
    /// Offset to go on with.
    pub next: i64,
    /// Offset of the first message of the queue.
    pub min_offset: i64,
    /// Offset after the last.
    pub max_offset: i64,
}

impl Admin {
    /// Pulls from one queue (11).
    pub async fn pull(&self, pull: &PullRequest<'_>) -> Result<Pulled, RequestError> {
        let header = PullMessage {
            consumer_group: Cow::Borrowed(pull.group),
            topic: Cow::Borrowed(pull.topic),
            queue_id: pull.queue_id,
            queue_offset: pull.offset,
            max_msg_nums: pull.count,
            sys_flag: HAS_SUBSCRIPTION,
            commit_offset: 0,
            suspend_timeout_millis: 0,
            subscription: Some(Cow::Borrowed(pull.tags)),
            sub_version: 0,
            expression_type: Some(Cow::Borrowed("TAG")),
            max_msg_bytes: None,
        };
        let channel = self.channel(pull.address).await?;
        let request = Request::new(&channel, RequestCode::PULL_MESSAGE);
        let answer = request.call(&header).await?;
        match answer.code {
            ResponseCode::SUCCESS
            | ResponseCode::PULL_NOT_FOUND
            | ResponseCode::PULL_RETRY_IMMEDIATELY
            | ResponseCode::PULL_OFFSET_MOVED => {}
            _ => return Err(request.refused(answer)),
        }
        let result: PullMessageResult = request.fields(answer.header())?;
        Ok(Pulled {
            code: answer.code,
            messages: records(&answer.body).map(|record| StoredMessage::new(pull.broker, &record)).collect(),
            next: result.next_begin_offset,
            min_offset: result.min_offset,
            max_offset: result.max_offset,
        })
    }

    /// The first offset of a queue whose message was stored at that time or later (29).
    pub async fn offset_by_time(
        &self,
        address: &str,
        topic: &str,
        queue_id: i32,
        timestamp_ms: i64,
    ) -> Result<i64, RequestError> {
        let header = SearchOffset {
            topic: Cow::Borrowed(topic),
            queue_id,
            timestamp: timestamp_ms,
            boundary_type: Some(Cow::Borrowed("LOWER")),
        };
        let channel = self.channel(address).await?;
        let request = Request::new(&channel, RequestCode::SEARCH_OFFSET_BY_TIMESTAMP);
        let answer = request.send(&header).await?;
        let result: OffsetResult = request.fields(answer.header())?;
        Ok(result.offset)
    }

    /// Offset after the last message of a queue (30).
    pub async fn max_offset(&self, address: &str, topic: &str, queue_id: i32) -> Result<i64, RequestError> {
        let header = QueueOfTopic { topic: Cow::Borrowed(topic), queue_id };
        let channel = self.channel(address).await?;
        let request = Request::new(&channel, RequestCode::GET_MAX_OFFSET);
        let answer = request.send(&header).await?;
        let result: OffsetResult = request.fields(answer.header())?;
        Ok(result.offset)
    }

    /// Messages by a key (12), in the order of their positions; none found is no error.
    pub async fn messages_by_key(
        &self,
        broker: &str,
        address: &str,
        query: &QueryMessage<'_>,
    ) -> Result<Vec<StoredMessage>, RequestError> {
        let channel = self.channel(address).await?;
        let request = Request::new(&channel, RequestCode::QUERY_MESSAGE);
        let answer = request.call(query).await?;
        match answer.code {
            ResponseCode::SUCCESS => {
                Ok(records(&answer.body).map(|record| StoredMessage::new(broker, &record)).collect())
            }
            ResponseCode::QUERY_NOT_FOUND => Ok(Vec::new()),
            _ => Err(request.refused(answer)),
        }
    }

    /// The message at a position (33); asks the broker that the id names.
    pub async fn message_at(&self, id: &OffsetMessageId) -> Result<Option<StoredMessage>, RequestError> {
        let header = ViewMessage { offset: i64::try_from(id.position).unwrap_or(i64::MAX) };
        let answer = self.ask(&id.host.to_string(), RequestCode::VIEW_MESSAGE_BY_ID, &header, b"").await?;
        Ok(records(&answer.body).next().map(|record| StoredMessage::new("", &record)))
    }

    /// Entries of a consume queue (321).
    pub async fn consume_queue(
        &self,
        address: &str,
        query: &QueryConsumeQueue<'_>,
    ) -> Result<ConsumeQueueView, RequestError> {
        self.read(address, RequestCode::QUERY_CONSUME_QUEUE, query).await
    }
}
