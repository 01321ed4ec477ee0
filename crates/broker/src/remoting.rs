//! The door for remoting clients: decodes, calls one operation of the core, encodes.
//!
//! Requests that append (sends, hand-backs, decisions) are gathered over all frames of a read, appended in one call
//! and answered together; everything else is answered one by one. An unknown code is answered, never dropped.

mod absent;
mod acks;
mod appending;
mod assignments;
mod call;
mod clients;
mod consume_queue;
mod consumption;
mod groups;
mod maintenance;
mod offsets;
mod operation;
mod pops;
mod pulls;
mod queries;
mod relays;
mod replication;
mod replies;
mod resets;
mod settings;
mod timing;
mod topics;

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use log::ExpectedPull;
use metrics::Stopwatch;
use net::{CloseReason, Connection, Door, Inbound, Outbound};
use protocol::codes::RequestCode;
use protocol::frame::{Codec, Frame};
use protocol::header::{FieldSpans, Header, HeaderError};
use tower::Service;

use crate::broker::Broker;
use appending::AppendingTurn;
use call::{Call, Refusal};

pub use pops::{WokenPops, answer_ready_pops, answer_woken_pops};
pub use pulls::{answer_held_pulls, answer_ready_pulls};

/// The door. Clones open the same broker.
#[derive(Clone)]
pub struct RemotingDoor {
    broker: Arc<Broker>,
}

impl RemotingDoor {
    /// A door to the broker.
    pub fn new(broker: Arc<Broker>) -> RemotingDoor {
        RemotingDoor { broker }
    }
}

impl Door for RemotingDoor {
    type Service = RemotingService;

    fn opened(&self, connection: &Arc<Connection>) -> RemotingService {
        self.broker.connections.add(connection);
        RemotingService { broker: self.broker.clone(), expected: Vec::new() }
    }

    fn closed(&self, connection: &Arc<Connection>, reason: CloseReason) {
        let broker = &self.broker;
        if reason == CloseReason::Protocol {
            broker.counters.protocol_closes.fetch_add(1, Ordering::Relaxed);
        }
        broker.connections.remove(connection);
        broker.pulls.forget(connection);
        broker.client_requests.gone(connection.id());
        let effects = broker.membership().disconnected(connection.id());
        broker.carry_out(effects);
    }
}

thread_local! {
    static SPANS: RefCell<FieldSpans> = RefCell::default();
    static TURN: RefCell<Option<Box<AppendingTurn>>> = const { RefCell::new(None) };
}

/// Serves one connection.
pub struct RemotingService {
    broker: Arc<Broker>,
    /// Pulls that answers of the current call make foreseeable.
    expected: Vec<ExpectedPull>,
}

impl Service<Inbound> for RemotingService {
    type Response = Outbound;
    type Error = Infallible;
    type Future = Ready<Result<Outbound, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut inbound: Inbound) -> Self::Future {
        let mut replies = std::mem::take(&mut inbound.replies);
        let mut spans = SPANS.take();
        let mut turn = TURN.take().unwrap_or_default();
        let mut readable = true;
        for frame in inbound.frames() {
            readable = self.serve(&inbound.connection, &frame, &mut spans, &mut turn, &mut replies);
            // Frames that are left come again once the other side has taken these answers.
            if !readable || inbound.is_answered_enough(&replies) {
                break;
            }
        }
        turn = turn.append(&self.broker, &mut replies);
        TURN.set(Some(turn));
        SPANS.set(spans);
        let mut outbound =
            if readable { inbound.answer(replies) } else { inbound.answer_and_close(replies, CloseReason::Protocol) };
        if !self.expected.is_empty() {
            let (broker, expected) = (self.broker.clone(), std::mem::take(&mut self.expected));
            outbound.then = Some(Box::new(move || expected.into_iter().for_each(|pull| broker.log.read_ahead(pull))));
        }
        ready(Ok(outbound))
    }
}

impl RemotingService {
    /// Serves one frame. `false` says that it cannot be read, which ends the connection.
    fn serve(
        &mut self,
        connection: &Arc<Connection>,
        frame: &Frame<'_>,
        spans: &mut FieldSpans,
        turn: &mut Box<AppendingTurn>,
        replies: &mut Vec<u8>,
    ) -> bool {
        // Upstream leaves a frame of an unknown codec, and a header that asks nothing, unanswered.
        let Some(codec) = Codec::from_number(frame.codec_number) else { return true };
        let header = match Header::decode(codec, frame.header, spans) {
            Ok(header) => header,
            Err(HeaderError::Empty) => return true,
            Err(error) => {
                self.broker.counters.unreadable_headers.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(peer = %connection.peer(), %error, "connection closed");
                return false;
            }
        };
        if header.is_response() {
            self.broker
                .client_requests
                .answered(connection.id(), header.opaque, || call::client_answer(&header, frame.body));
            return true;
        }
        let is_appending = appending::is_appending(RequestCode(header.code));
        let mut before = replies.len();
        if !is_appending && !turn.is_empty() {
            // What was sent before on this connection comes first.
            *turn = std::mem::take(turn).append(&self.broker, replies);
            before = replies.len();
        }
        let since = turn.since().filter(|_| is_appending).unwrap_or_else(Stopwatch::start);
        let mut call = Call {
            broker: &self.broker,
            connection,
            header: &header,
            codec,
            body: frame.body,
            since,
            out: replies,
            expected: &mut self.expected,
        };
        if is_appending {
            turn.admit(&mut call);
            if before < call.out.len() {
                timing::note(&call, before);
            }
        } else {
            if let Err(refusal) = dispatch(&mut call) {
                call.out.truncate(before);
                call.refuse(refusal);
            }
            timing::note(&call, before);
        }
        if header.is_oneway() {
            replies.truncate(before);
        }
        true
    }
}

fn dispatch(call: &mut Call<'_>) -> Result<(), Refusal> {
    use RequestCode as Code;
    match RequestCode(call.header.code) {
        Code::PULL_MESSAGE | Code::LITE_PULL_MESSAGE => pulls::pull(call),
        Code::POP_MESSAGE => pops::pop(call),
        Code::PEEK_MESSAGE => pops::peek(call),
        Code::NOTIFICATION => pops::notification(call),
        Code::POLLING_INFO => pops::polling_info(call),
        Code::ACK_MESSAGE => acks::acknowledge(call),
        Code::BATCH_ACK_MESSAGE => acks::acknowledge_batch(call),
        Code::CHANGE_MESSAGE_INVISIBLETIME => acks::change_invisible_time(call),
        Code::QUERY_ASSIGNMENT => assignments::query(call),
        Code::SET_MESSAGE_REQUEST_MODE => assignments::set_mode(call),
        Code::GET_ALL_MESSAGE_REQUEST_MODE => assignments::all_modes(call),
        Code::QUERY_CONSUMER_OFFSET => offsets::query_consumer_offset(call),
        Code::UPDATE_CONSUMER_OFFSET => offsets::update_consumer_offset(call),
        Code::GET_MAX_OFFSET => offsets::max_offset(call),
        Code::GET_MIN_OFFSET => offsets::min_offset(call),
        Code::SEARCH_OFFSET_BY_TIMESTAMP => offsets::search_offset(call),
        Code::GET_EARLIEST_MSG_STORETIME => offsets::earliest_store_time(call),
        Code::HEART_BEAT => clients::heartbeat(call),
        Code::UNREGISTER_CLIENT => clients::unregister(call),
        Code::GET_CONSUMER_LIST_BY_GROUP => clients::consumer_list(call),
        Code::CHECK_CLIENT_CONFIG => clients::check_client(call),
        Code::GET_PRODUCER_CONNECTION_LIST => clients::producer_connections(call),
        Code::GET_ALL_PRODUCER_INFO => clients::all_producers(call),
        Code::GET_CONSUMER_CONNECTION_LIST => clients::consumer_connections(call),
        Code::LOCK_BATCH_MQ => clients::lock_queues(call),
        Code::UNLOCK_BATCH_MQ => clients::unlock_queues(call),
        Code::GET_CONSUMER_RUNNING_INFO => relays::running_info(call),
        Code::CONSUME_MESSAGE_DIRECTLY => relays::consume_directly(call),
        Code::INVOKE_BROKER_TO_GET_CONSUMER_STATUS => relays::consumer_status(call),
        Code::INVOKE_BROKER_TO_RESET_OFFSET => resets::reset(call),
        Code::SEND_REPLY_MESSAGE | Code::SEND_REPLY_MESSAGE_V2 => replies::send_reply(call),
        Code::VIEW_MESSAGE_BY_ID => queries::view_message(call),
        Code::QUERY_MESSAGE => queries::query_message(call),
        Code::UPDATE_AND_CREATE_TOPIC => topics::create(call),
        Code::UPDATE_AND_CREATE_TOPIC_LIST => topics::create_many(call),
        Code::GET_SYSTEM_TOPIC_LIST_FROM_BROKER => topics::system(call),
        Code::DELETE_TOPIC_IN_BROKER => topics::delete(call),
        Code::GET_ALL_TOPIC_CONFIG => topics::all(call),
        Code::GET_TOPIC_CONFIG => topics::one(call),
        Code::GET_TOPIC_STATS_INFO => topics::stats(call),
        Code::QUERY_TOPIC_CONSUME_BY_WHO => topics::consumed_by(call),
        Code::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP => groups::create(call),
        Code::DELETE_SUBSCRIPTIONGROUP => groups::delete(call),
        Code::GET_ALL_SUBSCRIPTIONGROUP_CONFIG => groups::all(call),
        Code::GET_SUBSCRIPTIONGROUP_CONFIG => groups::one(call),
        Code::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST => groups::create_many(call),
        Code::UPDATE_AND_GET_GROUP_FORBIDDEN => groups::may_read(call),
        Code::GET_CONSUME_STATS => consumption::stats_of_group(call),
        Code::GET_BROKER_CONSUME_STATS => consumption::stats_of_broker(call),
        Code::QUERY_CONSUME_TIME_SPAN => consumption::time_spans(call),
        Code::QUERY_CORRECTION_OFFSET => consumption::correction_offsets(call),
        Code::CLONE_GROUP_OFFSET => consumption::clone_offsets(call),
        Code::QUERY_TOPICS_BY_CONSUMER => consumption::topics_of_consumer(call),
        Code::QUERY_SUBSCRIPTION_BY_CONSUMER => consumption::subscription_of_consumer(call),
        Code::GET_ALL_CONSUMER_OFFSET => consumption::all_offsets(call),
        Code::QUERY_CONSUME_QUEUE => consume_queue::query(call),
        Code::GET_ALL_DELAY_OFFSET => replication::delay_offsets(call),
        Code::GET_TIMER_CHECK_POINT => replication::timer_checkpoint(call),
        Code::GET_TIMER_METRICS => replication::timer_metrics(call),
        Code::GET_BROKER_HA_STATUS => replication::status(call),
        Code::CLEAN_EXPIRED_CONSUMEQUEUE => maintenance::clean_consume_queues(call),
        Code::CLEAN_UNUSED_TOPIC => maintenance::clean_topics(call),
        Code::DELETE_EXPIRED_COMMITLOG => maintenance::clean_commit_log(call),
        Code::GET_COLD_DATA_FLOW_CTR_INFO => absent::cold_data(call),
        Code::GET_BROKER_LITE_INFO => absent::lite_info(call),
        Code::GET_BROKER_RUNTIME_INFO => operation::runtime_info(call),
        Code::VIEW_BROKER_STATS_DATA => operation::statistics(call),
        Code::GET_BROKER_CONFIG => settings::show(call),
        Code::UPDATE_BROKER_CONFIG => settings::change(call),
        code => {
            call.broker.counters.unknown_requests.fetch_add(1, Ordering::Relaxed);
            Err(absent::refusal(code))
        }
    }
}
