//! Programs that use the cluster: what they have in common.

mod consumer;
mod orderly;
mod popper;
mod producer;
mod queue_requests;
mod registrar;
mod session;
mod transactor;

use std::net::SocketAddr;
use std::sync::Arc;

use broker::broker::Broker;
use fastrand::Rng;
use protocol::bodies::route::TopicRouteData;
use protocol::codes::ResponseCode;
use protocol::lenient_json;

pub use consumer::Consumer;
pub use orderly::Orderly;
pub use popper::{GROUP as POPPING_GROUP, ORDERED_GROUP as ORDERED_POPPING_GROUP, Popper};
pub use producer::Producer;
pub use registrar::Registrar;
pub use transactor::Transactor;

use crate::history::History;
use crate::message::Message;
use crate::network::{LinkId, Network};
use crate::schedule::{ClientId, Event, NodeId, Schedule};
use crate::trace::Trace;

/// The nameserver is the first server; brokers follow.
pub const NAMESERVER: NodeId = 0;

/// What a client may touch.
pub struct Context<'w> {
    /// Its own number.
    pub me: ClientId,
    /// Chance.
    pub rng: &'w mut Rng,
    /// Time.
    pub schedule: &'w mut Schedule,
    /// The network.
    pub network: &'w mut Network,
    /// What is remembered.
    pub history: &'w mut History,
    /// What is told of it.
    pub trace: &'w mut Trace,
    /// Addresses of all servers.
    pub addresses: &'w [SocketAddr],
    /// Brokers that run, by server.
    pub brokers: &'w [Option<Arc<Broker>>],
    /// Clock of each server, in milliseconds.
    pub clocks_ms: &'w [i64],
    /// Nothing new is to be begun any more.
    pub winding_up: bool,
}

impl Context<'_> {
    /// Microseconds since the simulation began.
    pub fn now_us(&self) -> u64 {
        self.schedule.now_us()
    }

    /// Lets the client be called after a time.
    pub fn wake_after(&mut self, wait_us: u64) {
        self.schedule.after(wait_us, Event::Timer(self.me));
    }

    /// The server of that address.
    pub fn node_of(&self, address: &str) -> Option<NodeId> {
        let address = address.parse().ok()?;
        self.addresses.iter().position(|known| *known == address)
    }
}

/// A program that uses the cluster.
pub trait Client {
    /// Its time has come.
    fn wake(&mut self, context: &mut Context<'_>);

    /// A frame came.
    fn frame(&mut self, context: &mut Context<'_>, link: LinkId, message: Message);

    /// A connection ended.
    fn closed(&mut self, context: &mut Context<'_>, link: LinkId);
}

/// A broker's part in a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The broker.
    pub node: NodeId,
    /// Queues of the topic there.
    pub queues: i32,
}

/// Whether an answer leaves open what became of a message: it is stored but not yet safe, or that is not known. Whoever
/// sent it must not think that it is not there.
pub fn is_unknown(message: &Message) -> bool {
    message.code == ResponseCode::FLUSH_DISK_TIMEOUT.0 || message.remark.contains("not known")
}

/// Reads where a topic is; `None` if the nameserver does not know it.
pub fn read_route(context: &Context<'_>, message: &Message) -> Option<Vec<Part>> {
    if !message.is_success() {
        return None;
    }
    let route: TopicRouteData = lenient_json::from_slice(&message.body).ok()?;
    let part = |queues: &protocol::bodies::route::QueueData| {
        let data = route.broker_datas.iter().find(|data| data.broker_name == queues.broker_name)?;
        Some(Part { node: context.node_of(data.master()?)?, queues: queues.write_queue_nums })
    };
    Some(route.queue_datas.iter().filter_map(part).collect())
}
