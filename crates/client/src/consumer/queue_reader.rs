//! Reading one queue, pull by pull.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use protocol::codes::{RequestCode, ResponseCode};
use protocol::record::records;
use protocol::requests::{
    OffsetResult, PullMessage, PullMessageResult, QueryConsumerOffset, QueueOfTopic, UpdateConsumerOffset,
};
use tokio::sync::mpsc;

use super::membership::tags;
use super::{Delivery, RETRY_PAUSE, Shared, StartFrom};
use crate::message::Received;
use crate::request::{Request, RequestError};
use crate::route::QueueAt;

/// Messages that one pull may bring.
const MESSAGES_MAX: i32 = 32;

/// How long a broker may hold a pull.
const HOLD: Duration = Duration::from_secs(20);
/// Time that a held pull gets.
const HELD_TIMEOUT: Duration = Duration::from_secs(30);

/// Bits of a pull: it may be held; it brings its own subscription.
const MAY_SUSPEND: i32 = 2;
const HAS_SUBSCRIPTION: i32 = 4;

/// Refusals that pass by themselves.
const PASSING: [ResponseCode; 6] = [
    ResponseCode::SYSTEM_ERROR,
    ResponseCode::SYSTEM_BUSY,
    ResponseCode::SERVICE_NOT_AVAILABLE,
    ResponseCode::TOPIC_NOT_EXIST,
    ResponseCode::SUBSCRIPTION_NOT_LATEST,
    ResponseCode::FLOW_CONTROL,
];

/// Reads `queue` from `offset`, or from where the group and the options say, and delivers what it finds.
pub(super) async fn read(
    shared: Arc<Shared>,
    mut queue: QueueAt,
    offset: Option<i64>,
    deliveries: mpsc::Sender<Delivery>,
) {
    let mut next = offset;
    let mut end = None;
    loop {
        let error = match step(&shared, &queue, next).await {
            Ok(pulled) => {
                next = Some(pulled.next);
                // What is sent while we read is not waited for.
                let end = *end.get_or_insert(pulled.max_offset);
                let over = !shared.options.follow && end <= pulled.next;
                let (queue, next) = (queue.clone(), pulled.next);
                let delivery = Delivery::Messages { queue, messages: pulled.messages, next };
                if deliveries.send(delivery).await.is_err() || (over && deliveries.send(Delivery::End).await.is_err()) {
                    return;
                }
                if over {
                    return;
                }
                continue;
            }
            Err(error) => error,
        };
        let passing = error.is_network() || error.code().is_some_and(|code| PASSING.contains(&code));
        if !shared.options.follow || !passing {
            // The receiver is gone when the consumer is.
            let _ = deliveries.send(Delivery::Failed(error)).await;
            return;
        }
        tracing::warn!(broker = queue.broker, queue = queue.queue_id, %error, "pull failed; trying again");
        tokio::time::sleep(RETRY_PAUSE).await;
        if error.is_network() {
            shared.nameservers.connections().forget(&queue.address);
            find_again(&shared, &mut queue).await;
        }
    }
}

/// The broker may have got another address.
async fn find_again(shared: &Shared, queue: &mut QueueAt) {
    let Ok(Some(queues)) = shared.queues().await else { return };
    let same = |other: &QueueAt| (&other.broker, other.queue_id) == (&queue.broker, queue.queue_id);
    if let Some(found) = queues.into_iter().find(same) {
        *queue = found;
    }
}

struct Pulled {
    messages: VecDeque<Received>,
    next: i64,
    max_offset: i64,
}

/// Finds out where to begin if that is not known, then pulls once.
async fn step(shared: &Shared, queue: &QueueAt, next: Option<i64>) -> Result<Pulled, RequestError> {
    let next = match next {
        Some(next) => next,
        None => first_offset(shared, queue).await?,
    };
    let follow = shared.options.follow;
    let header = PullMessage {
        consumer_group: Cow::Borrowed(&shared.group),
        topic: Cow::Borrowed(&shared.options.topic),
        queue_id: queue.queue_id,
        queue_offset: next,
        max_msg_nums: MESSAGES_MAX,
        sys_flag: HAS_SUBSCRIPTION | if follow { MAY_SUSPEND } else { 0 },
        commit_offset: 0,
        suspend_timeout_millis: if follow { HOLD.as_millis() as i64 } else { 0 },
        subscription: Some(Cow::Borrowed(&shared.options.tags)),
        sub_version: 0,
        expression_type: Some(Cow::Borrowed("TAG")),
        max_msg_bytes: None,
    };
    let channel = shared.nameservers.connections().get(&queue.address).await?;
    let request = Request::new(&channel, RequestCode::PULL_MESSAGE).timeout(HELD_TIMEOUT);
    let answer = request.call(&header).await?;
    match answer.code {
        ResponseCode::SUCCESS
        | ResponseCode::PULL_NOT_FOUND
        | ResponseCode::PULL_RETRY_IMMEDIATELY
        | ResponseCode::PULL_OFFSET_MOVED => {}
        _ => return Err(request.refused(answer)),
    }
    let result: PullMessageResult = request.fields(answer.header())?;
    // Brokers compare hashes of tags only.
    let wanted = tags(&shared.options.tags);
    let messages = records(&answer.body).map(|record| Received::new(&queue.broker, &record));
    let messages =
        messages.filter(|message| wanted.is_empty() || message.tag.as_deref().is_some_and(|tag| wanted.contains(&tag)));
    Ok(Pulled { messages: messages.collect(), next: result.next_begin_offset, max_offset: result.max_offset })
}

async fn first_offset(shared: &Shared, queue: &QueueAt) -> Result<i64, RequestError> {
    let channel = shared.nameservers.connections().get(&queue.address).await?;
    if let Some(group) = &shared.options.group {
        let header = QueryConsumerOffset {
            consumer_group: Cow::Borrowed(group),
            topic: Cow::Borrowed(&shared.options.topic),
            queue_id: queue.queue_id,
            set_zero_if_not_found: false,
        };
        let request = Request::new(&channel, RequestCode::QUERY_CONSUMER_OFFSET);
        let answer = request.call(&header).await?;
        match answer.code {
            ResponseCode::SUCCESS => {
                let result: OffsetResult = request.fields(answer.header())?;
                return Ok(result.offset);
            }
            ResponseCode::QUERY_NOT_FOUND => {}
            _ => return Err(request.refused(answer)),
        }
    }
    let code = match shared.options.start {
        StartFrom::First => RequestCode::GET_MIN_OFFSET,
        StartFrom::Last => RequestCode::GET_MAX_OFFSET,
    };
    let header = QueueOfTopic { topic: Cow::Borrowed(&shared.options.topic), queue_id: queue.queue_id };
    let request = Request::new(&channel, code);
    let answer = request.send(&header).await?;
    let result: OffsetResult = request.fields(answer.header())?;
    Ok(result.offset)
}

/// Stores that everything before `next` is consumed (15).
pub(super) async fn commit(shared: &Shared, queue: &QueueAt, next: i64) -> Result<(), RequestError> {
    let channel = shared.nameservers.connections().get(&queue.address).await?;
    let header = UpdateConsumerOffset {
        consumer_group: Cow::Borrowed(&shared.group),
        topic: Cow::Borrowed(&shared.options.topic),
        queue_id: queue.queue_id,
        commit_offset: next,
    };
    Request::new(&channel, RequestCode::UPDATE_CONSUMER_OFFSET).send(&header).await.map(|_| ())
}
