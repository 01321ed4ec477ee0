//! Connections between clients and servers: bytes arrive late, in pieces, or not at all.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use broker::remoting::RemotingService;
use fastrand::Rng;
use net::Connection;

use crate::schedule::{ClientId, Event, NodeId, Schedule};

/// Number of a connection.
pub type LinkId = usize;

/// The side of a connection that something reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that listens.
    Server,
    /// The one that dialled.
    Client,
}

/// What travels.
#[derive(Debug)]
pub enum Piece {
    /// The connection is wanted.
    Open,
    /// Part of the stream.
    Bytes(Vec<u8>),
    /// The other side is gone.
    End,
}

#[derive(Debug, Default)]
struct Pipe {
    pieces: VecDeque<(u64, Piece)>,
    last_us: u64,
    /// Something was lost: nothing can follow but the end.
    is_torn: bool,
}

/// A connection.
pub struct Link {
    /// Who dialled.
    pub client: ClientId,
    /// Who listens.
    pub node: NodeId,
    /// What the server sees of it, once it accepted.
    pub connection: Option<Arc<Connection>>,
    /// What serves it, if the server is a broker.
    pub service: Option<Arc<Mutex<RemotingService>>>,
    /// Whether the client still has it.
    pub client_open: bool,
    to_server: Pipe,
    to_client: Pipe,
    /// Bytes that arrived and are no whole frame yet.
    server_rest: Vec<u8>,
    client_rest: Vec<u8>,
}

impl Link {
    fn pipe(&mut self, to: Side) -> &mut Pipe {
        match to {
            Side::Server => &mut self.to_server,
            Side::Client => &mut self.to_client,
        }
    }

    /// Bytes that arrived at a side and are no whole frame yet.
    pub fn rest(&mut self, at: Side) -> &mut Vec<u8> {
        match at {
            Side::Server => &mut self.server_rest,
            Side::Client => &mut self.client_rest,
        }
    }
}

/// All connections there ever were.
pub struct Network {
    /// By number.
    pub links: Vec<Link>,
    /// By server: connections that it accepted and that have not ended, as far as was noticed.
    accepted: BTreeMap<NodeId, Vec<LinkId>>,
    /// By server: nothing reaches it or leaves it before that time.
    pub cut_until_us: Vec<u64>,
}

impl Network {
    /// A network of so many servers.
    pub fn new(servers: usize) -> Network {
        Network { links: Vec::new(), accepted: BTreeMap::new(), cut_until_us: vec![0; servers] }
    }

    /// A server accepted a connection.
    pub fn accept(&mut self, link: LinkId) {
        self.accepted.entry(self.links[link].node).or_default().push(link);
    }

    /// Connections of a server that are open.
    pub fn accepted(&mut self, node: NodeId) -> Vec<LinkId> {
        let links = &self.links;
        let accepted = self.accepted.entry(node).or_default();
        accepted.retain(|link| links[*link].connection.is_some());
        accepted.clone()
    }

    /// Dials a server.
    pub fn connect(&mut self, client: ClientId, node: NodeId, schedule: &mut Schedule, rng: &mut Rng) -> LinkId {
        self.links.push(Link {
            client,
            node,
            connection: None,
            service: None,
            client_open: true,
            to_server: Pipe::default(),
            to_client: Pipe::default(),
            server_rest: Vec::new(),
            client_rest: Vec::new(),
        });
        let link = self.links.len() - 1;
        self.push(link, Side::Server, Piece::Open, schedule, rng);
        link
    }

    /// Sends bytes to a side, now and then in two pieces.
    pub fn write(&mut self, link: LinkId, to: Side, mut bytes: Vec<u8>, schedule: &mut Schedule, rng: &mut Rng) {
        if bytes.len() > 1 && rng.u8(..) < 20 {
            let rest = bytes.split_off(rng.usize(1..bytes.len()));
            self.push(link, to, Piece::Bytes(bytes), schedule, rng);
            bytes = rest;
        }
        self.push(link, to, Piece::Bytes(bytes), schedule, rng);
    }

    /// Tells a side that the other one is gone.
    pub fn end(&mut self, link: LinkId, to: Side, schedule: &mut Schedule, rng: &mut Rng) {
        self.push(link, to, Piece::End, schedule, rng);
    }

    /// Cuts what is on its way to a side at a random byte, as a reset does.
    pub fn cut_short(&mut self, link: LinkId, to: Side, rng: &mut Rng) {
        let pipe = self.links[link].pipe(to);
        pipe.is_torn = true;
        let pieces = &mut pipe.pieces;
        if let Some((_, Piece::Bytes(bytes))) = pieces.front_mut() {
            bytes.truncate(rng.usize(..=bytes.len()));
            pieces.truncate(1);
        } else {
            pieces.clear();
        }
    }

    /// Drops what is on its way to a side.
    pub fn drop_all(&mut self, link: LinkId, to: Side) {
        let pipe = self.links[link].pipe(to);
        pipe.is_torn = true;
        pipe.pieces.clear();
    }

    fn push(&mut self, link: LinkId, to: Side, piece: Piece, schedule: &mut Schedule, rng: &mut Rng) {
        let usual_us = rng.u64(20..400);
        let wait_us = if rng.u8(..) < 3 { rng.u64(1_000..40_000) } else { usual_us };
        let node = self.links[link].node;
        let pipe = self.links[link].pipe(to);
        if pipe.is_torn && matches!(piece, Piece::Bytes(_)) {
            return;
        }
        let at = (schedule.now_us() + wait_us).max(pipe.last_us).max(self.cut_until_us[node]);
        pipe.last_us = at;
        pipe.pieces.push_back((at, piece));
        schedule.at(at, Event::Arrive(link, to));
    }

    /// What has arrived at a side by now.
    pub fn arrived(&mut self, link: LinkId, at: Side, now_us: u64) -> Option<Piece> {
        let pieces = &mut self.links[link].pipe(at).pieces;
        pieces.pop_front_if(|(arrives_us, _)| *arrives_us <= now_us).map(|(_, piece)| piece)
    }

    /// Takes whole bytes that will arrive at a server within `within_us`, so that they arrive now, if nothing else
    /// comes before them.
    pub fn hurry(&mut self, link: LinkId, until_us: u64) -> Option<Vec<u8>> {
        let link = &mut self.links[link];
        let soon = |piece: &mut (u64, Piece)| piece.0 <= until_us && matches!(piece.1, Piece::Bytes(_));
        match link.to_server.pieces.pop_front_if(soon) {
            Some((_, Piece::Bytes(bytes))) => Some(bytes),
            _ => None,
        }
    }
}
