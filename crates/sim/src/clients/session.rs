//! A client's connections and the requests that wait for answers on them.

use std::collections::BTreeMap;

use protocol::codes::RequestCode;
use protocol::frame::Codec;
use protocol::writer::{Expect, FrameWriter};

use super::Context;
use crate::message::Message;
use crate::network::{LinkId, Side};
use crate::schedule::NodeId;

/// Time after which an answer is not waited for any more, in microseconds.
const PATIENCE_US: u64 = 4_000_000;

/// Connections of one client. `T` says what a request was about.
pub struct Session<T> {
    links: BTreeMap<NodeId, LinkId>,
    pending: BTreeMap<i32, Pending<T>>,
    next_opaque: i32,
    /// Requests so far, over all connections.
    sent: u64,
}

struct Pending<T> {
    link: LinkId,
    until_us: u64,
    about: T,
}

impl<T> Default for Session<T> {
    fn default() -> Session<T> {
        Session { links: BTreeMap::new(), pending: BTreeMap::new(), next_opaque: 1, sent: 0 }
    }
}

impl<T> Session<T> {
    /// The connection to a server, dialling if there is none.
    pub fn link(&mut self, context: &mut Context<'_>, node: NodeId) -> LinkId {
        let Context { network, schedule, rng, me, .. } = context;
        *self.links.entry(node).or_insert_with(|| network.connect(*me, node, schedule, rng))
    }

    /// Whether there is a connection to that server.
    pub fn is_connected(&self, node: NodeId) -> bool {
        self.links.contains_key(&node)
    }

    /// The server of a connection that is in use.
    pub fn node_of(&self, link: LinkId) -> Option<NodeId> {
        self.links.iter().find(|(_, known)| **known == link).map(|(node, _)| *node)
    }

    /// Sends a request whose answer is about `about`; a oneway one if that is `None`. Says on which connection, and as
    /// which request of the session.
    pub fn request(
        &mut self,
        context: &mut Context<'_>,
        node: NodeId,
        code: RequestCode,
        fields: impl for<'o> FnOnce(FrameWriter<'o>) -> FrameWriter<'o>,
        body: &[u8],
        about: Option<T>,
    ) -> (LinkId, u64) {
        let link = self.link(context, node);
        let opaque = self.next_opaque;
        self.next_opaque += 1;
        let expect = if about.is_some() { Expect::Answer } else { Expect::Nothing };
        let mut bytes = Vec::new();
        fields(FrameWriter::request(&mut bytes, Codec::Json, code, opaque, expect)).finish(body);
        context.network.write(link, Side::Server, bytes, context.schedule, context.rng);
        if let Some(about) = about {
            self.pending.insert(opaque, Pending { link, until_us: context.now_us() + PATIENCE_US, about });
        }
        self.sent += 1;
        (link, self.sent)
    }

    /// Lets the request that was sent last wait for its answer this much longer.
    pub fn wait_longer(&mut self, more_us: u64) {
        if let Some(pending) = self.pending.get_mut(&(self.next_opaque - 1)) {
            pending.until_us += more_us;
        }
    }

    /// What the answer is about; `None` if nobody waits for it.
    pub fn answered(&mut self, link: LinkId, message: &Message) -> Option<T> {
        let pending = self.pending.get(&message.opaque)?;
        if pending.link != link {
            return None;
        }
        self.pending.remove(&message.opaque).map(|pending| pending.about)
    }

    /// Requests that wait for an answer.
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// A connection ended: what its requests were about.
    pub fn closed(&mut self, link: LinkId) -> Vec<T> {
        self.links.retain(|_, known| *known != link);
        self.take(|pending| pending.link == link)
    }

    /// Gives up requests that have waited too long, and their connections.
    pub fn expired(&mut self, context: &mut Context<'_>) -> Vec<T> {
        let now_us = context.now_us();
        let stuck: Vec<LinkId> =
            self.pending.values().filter(|pending| pending.until_us <= now_us).map(|pending| pending.link).collect();
        let mut about = Vec::new();
        for link in stuck {
            self.hang_up(context, link);
            about.extend(self.closed(link));
        }
        about
    }

    /// Ends every connection.
    pub fn hang_up_all(&mut self, context: &mut Context<'_>) -> Vec<T> {
        for link in std::mem::take(&mut self.links).into_values() {
            self.hang_up(context, link);
        }
        self.take(|_| true)
    }

    /// Ends a connection: what was not sent yet never is.
    fn hang_up(&self, context: &mut Context<'_>, link: LinkId) {
        let Context { network, schedule, rng, .. } = context;
        if std::mem::replace(&mut network.links[link].client_open, false) {
            network.drop_all(link, Side::Server);
            network.end(link, Side::Server, schedule, rng);
        }
    }

    fn take(&mut self, which: impl Fn(&Pending<T>) -> bool) -> Vec<T> {
        self.pending.extract_if(.., |_, pending| which(pending)).map(|(_, pending)| pending.about).collect()
    }
}
