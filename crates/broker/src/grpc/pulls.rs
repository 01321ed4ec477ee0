//! PullMessage: messages of one queue from an offset on.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use hyper::body::Incoming;
use protocol::record::Record;
use protocol::requests::PullFlags;
use protocol::v2::pull_message_response::Content;
use protocol::v2::{self, Code, PullMessageResponse};

use super::answer::ok;
use super::body::Reply;
use super::call::{Call, Peer};
use super::clients::existing_group;
use super::code::Refused;
use super::message::message_of;
use super::offsets::existing_queue;
use super::settings::{LONG_POLL_MAX, RECEIVE_BATCH_MAX};
use super::{unary, validate};
use crate::filter::Filter;
use crate::pull::{self, Found, PullRequest};

/// Time that an answer needs to arrive before the client gives up.
const RESERVE: Duration = Duration::from_millis(200);

/// Pulls, and waits for messages as long as the client allows.
pub async fn pull_message(peer: Rc<Peer>, request: http::Request<Incoming>) -> http::Response<Reply> {
    unary::streamed(peer, request, refusal, |call, request| {
        futures_util::stream::once(pull_or_refuse(call, request)).flatten()
    })
    .await
}

fn element(content: Content) -> PullMessageResponse {
    PullMessageResponse { content: Some(content) }
}

fn refusal(refused: Refused) -> PullMessageResponse {
    element(Content::Status(refused.into()))
}

async fn pull_or_refuse(call: Call, request: v2::PullMessageRequest) -> impl Stream<Item = PullMessageResponse> {
    let elements = pull_until(&call, request).await.unwrap_or_else(|refused| vec![refusal(refused)]);
    futures_util::stream::iter(elements)
}

async fn pull_until(call: &Call, request: v2::PullMessageRequest) -> Result<Vec<PullMessageResponse>, Refused> {
    let broker = call.broker();
    let group = existing_group(broker, &request.group)?;
    let queue = existing_queue(broker, &request.message_queue)?;
    let (kind, expression) = validate::expression(request.filter_expression.as_ref());
    let wanted = request.long_polling_timeout.and_then(validate::duration);
    let allowed = call.time_limit().unwrap_or(LONG_POLL_MAX).saturating_sub(RESERVE);
    let hold = wanted.unwrap_or(LONG_POLL_MAX).min(LONG_POLL_MAX).min(allowed);
    let deadline_ms = broker.clock.now_ms() + hold.as_millis() as i64;
    let mut pull = PullRequest {
        group,
        topic: queue.topic,
        queue_id: queue.id,
        offset: request.offset,
        max_messages: request.batch_size.clamp(1, RECEIVE_BATCH_MAX),
        max_bytes: None,
        flags: PullFlags(0),
        subscription: Some((kind.name().to_owned(), expression.to_owned())),
        sub_version: 0,
    };
    let mut arrival = None;
    loop {
        let mut records = Vec::new();
        let pulled = pull::pull(broker, &pull, &mut records)?;
        let next = element(Content::NextOffset(pulled.next_offset));
        match pulled.found {
            Found::BeforeStart | Found::BeyondEnd | Found::Reset => {
                let text = format!(
                    "offset {} is not there; the queue has {} to {}",
                    request.offset, pulled.min_offset, pulled.max_offset
                );
                return Ok(vec![refusal(Refused::new(Code::IllegalOffset, text)), next]);
            }
            Found::Messages(_) => {
                let messages = messages(records.into(), &pull);
                if !messages.is_empty() {
                    let status = std::iter::once(element(Content::Status(ok())));
                    return Ok(status.chain(messages).chain([next]).collect());
                }
                pull.offset = pulled.next_offset;
            }
            Found::NothingMatched => pull.offset = pulled.next_offset,
            Found::NothingYet | Found::Empty => {
                let left_ms = deadline_ms - broker.clock.now_ms();
                let queue = pulled.queue.filter(|_| 0 < left_ms);
                let Some(queue) = queue else {
                    return Ok(vec![refusal(Refused::new(Code::MessageNotFound, "no new message")), next]);
                };
                let Some(arrived) = arrival.take() else {
                    // A message may have come since the look at the queue, so it is looked at once more.
                    arrival = Some(broker.pulls.next_arrival(queue));
                    continue;
                };
                tokio::select! {
                    _ = arrived => {}
                    () = tokio::time::sleep(Duration::from_millis(left_ms as u64)) => {}
                    () = broker.shutdown.cancelled() => {
                        return Err(Refused::new(Code::MessageNotFound, "the broker stops"));
                    }
                }
            }
        }
    }
}

/// The messages among what was pulled; tags were compared by their hashes only.
fn messages(records: Bytes, pull: &PullRequest) -> Vec<PullMessageResponse> {
    let tags = match &pull.subscription {
        Some((kind, expression)) if kind == "TAG" => Filter::tags(expression),
        _ => Filter::All,
    };
    let mut rest: &[u8] = &records;
    let mut found = Vec::new();
    while let Ok(record) = Record::parse(rest) {
        rest = &rest[record.size() as usize..];
        if tags.matches(&record.properties()) {
            found.push(element(Content::Message(message_of(&record, records.slice_ref(record.body())))));
        }
    }
    found
}
