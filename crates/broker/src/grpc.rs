//! The door for gRPC clients: decodes, calls one operation of the core, encodes.
//!
//! HTTP/2 connections are driven on the thread that accepted them, like remoting connections; a handler runs there too
//! and may use what belongs to the thread. A call that fails for a reason of the business is answered with a status
//! in its response, never with a gRPC error.

mod answer;
mod body;
mod call;
mod clients;
mod code;
mod commands;
mod connection;
mod deliver;
mod message;
mod offsets;
mod pulls;
mod recall;
mod routes;
mod send;
mod services;
mod settings;
mod settle;
mod telemetry;
mod transactions;
mod turn;
mod unary;
mod validate;

use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use hyper::body::Incoming;
use net::{Stream, StreamDoor};
use protocol::v2;

use crate::broker::Broker;
use body::Reply;
use call::{Call, Peer};
use code::Refused;
use services::Services;
use unary::unary;

pub use commands::{consume_directly, running_info};
pub use message::message_of;
pub use transactions::recover_transaction;

/// The door. Clones open the same broker.
#[derive(Clone)]
pub struct GrpcDoor {
    broker: Arc<Broker>,
    services: Arc<Services>,
}

impl GrpcDoor {
    /// A door to the broker.
    pub fn new(broker: Arc<Broker>) -> GrpcDoor {
        GrpcDoor { broker, services: Arc::new(Services::new()) }
    }

    /// Answers one call.
    fn answer(&self, peer: Rc<Peer>, request: http::Request<Incoming>) -> Answering {
        let path = request.uri().path();
        match service_and_call(path) {
            Some((v2::SERVICE, rpc)) => match Rpc::named(rpc) {
                Some(rpc) => serve(rpc, peer, request),
                None => Box::pin(std::future::ready(unary::unknown(path))),
            },
            _ => {
                let services = self.services.clone();
                Box::pin(async move { services.answer(request).await })
            }
        }
    }
}

/// A call that is being answered. In a box of its own size: what HTTP/2 keeps of a call is moved several times, and would
/// have room for the largest of all calls.
type Answering = Pin<Box<dyn Future<Output = http::Response<Reply>>>>;

impl StreamDoor for GrpcDoor {
    async fn serve(self, stream: Stream, client: SocketAddr) {
        connection::drive(self, stream, client).await;
    }
}

/// Service and call that a path names.
fn service_and_call(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix('/')?.split_once('/')
}

macro_rules! rpcs {
    ($($name:ident)*) => {
        /// What clients call.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Rpc { $($name),* }

        impl Rpc {
            fn named(name: &str) -> Option<Rpc> {
                match name {
                    $(stringify!($name) => Some(Rpc::$name),)*
                    _ => None,
                }
            }
        }

        /// Names of the calls, by their numbers in [`crate::rpc_latency::Kind`].
        pub const CALL_NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

rpcs! {
    QueryRoute Heartbeat SendMessage QueryAssignment ReceiveMessage AckMessage ForwardMessageToDeadLetterQueue PullMessage
    UpdateOffset GetOffset QueryOffset EndTransaction Telemetry NotifyClientTermination ChangeInvisibleDuration
    RecallMessage SyncLiteSubscription
}

impl Rpc {
    /// What a path names, if it is a call of ours.
    fn of_path(path: &str) -> Option<Rpc> {
        let (_, rpc) = service_and_call(path).filter(|(service, _)| *service == v2::SERVICE)?;
        Rpc::named(rpc)
    }
}

fn serve(rpc: Rpc, peer: Rc<Peer>, request: http::Request<Incoming>) -> Answering {
    match rpc {
        Rpc::SendMessage => Box::pin(unary(peer, request, send::send_message)),
        Rpc::ReceiveMessage => Box::pin(deliver::receive_message(peer, request)),
        Rpc::AckMessage => Box::pin(unary(peer, request, settle::ack_message)),
        Rpc::ChangeInvisibleDuration => Box::pin(unary(peer, request, settle::change_invisible_duration)),
        Rpc::ForwardMessageToDeadLetterQueue => Box::pin(unary(peer, request, settle::forward_to_dead_letters)),
        Rpc::QueryRoute => Box::pin(unary(peer, request, routes::query_route)),
        Rpc::QueryAssignment => Box::pin(unary(peer, request, routes::query_assignment)),
        Rpc::Heartbeat => Box::pin(unary(peer, request, clients::heartbeat)),
        Rpc::NotifyClientTermination => Box::pin(unary(peer, request, clients::terminated)),
        Rpc::Telemetry => Box::pin(telemetry::telemetry(peer, request)),
        Rpc::PullMessage => Box::pin(pulls::pull_message(peer, request)),
        Rpc::UpdateOffset => Box::pin(unary(peer, request, offsets::update_offset)),
        Rpc::GetOffset => Box::pin(unary(peer, request, offsets::get_offset)),
        Rpc::QueryOffset => Box::pin(unary(peer, request, offsets::query_offset)),
        Rpc::EndTransaction => Box::pin(unary(peer, request, transactions::end_transaction)),
        Rpc::RecallMessage => Box::pin(unary(peer, request, recall::recall_message)),
        Rpc::SyncLiteSubscription => Box::pin(unary(peer, request, sync_lite_subscription)),
    }
}

async fn sync_lite_subscription(
    _: Call,
    _: v2::SyncLiteSubscriptionRequest,
) -> Result<v2::SyncLiteSubscriptionResponse, Refused> {
    Err(Refused::new(v2::Code::Unsupported, "lite topics are not supported"))
}
