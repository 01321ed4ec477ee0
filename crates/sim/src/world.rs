//! A cluster and its clients on one thread: the loop that lets things happen, one after another.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use broker::broker::Broker;
use broker::config::Flush;
use broker::remoting::RemotingService;
use fastrand::Rng;
use futures_util::FutureExt;
use net::{CloseReason, Connection, ConnectionId, Door, Inbound};
use tower::Service;

use crate::clients::{Client, Context, NAMESERVER};
use crate::faults::Fault;
use crate::history::History;
use crate::message::{Message, frames, take_frames};
use crate::names::Names;
use crate::network::{Link, LinkId, Network, Piece, Side};
use crate::node::Node;
use crate::rot;
use crate::schedule::{ClientId, Event, NodeId, Schedule, Work};
use crate::trace::Trace;

/// A cluster.
pub struct World {
    /// Time and what is to come.
    pub schedule: Schedule,
    /// Chance.
    pub rng: Rng,
    /// Connections.
    pub network: Network,
    /// What clients know.
    pub history: History,
    /// What is told.
    pub trace: Trace,
    /// The nameserver.
    names: Names,
    /// Brokers by server; the nameserver's place is empty.
    pub nodes: BTreeMap<NodeId, Node>,
    clients: Vec<Option<Box<dyn Client>>>,
    addresses: Vec<SocketAddr>,
    brokers: Vec<Option<Arc<Broker>>>,
    clocks_ms: Vec<i64>,
    /// When work of a kind comes next, by server, in microseconds.
    wanted: BTreeMap<(NodeId, WorkKey), u64>,
    /// Clients begin nothing new any more.
    pub winding_up: bool,
    /// Servers do not come back by themselves any more: the run is being judged.
    pub started_at: Instant,
    fault: Option<log::planted::Fault>,
}

/// Works that are asked for again and again, and need to happen once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum WorkKey {
    Sync,
    Due,
    Pulls,
    Saving,
}

impl World {
    /// A cluster of that many brokers, none of which runs yet.
    pub fn new(mut rng: Rng, nodes: Vec<Node>, trace: Trace, fault: Option<log::planted::Fault>) -> World {
        let addresses = (0..=nodes.len()).map(|node| SocketAddr::from(([10, 0, 0, node as u8], 10_911))).collect();
        let count = nodes.len() + 1;
        let first_seed = rng.u64(..);
        #[expect(
            clippy::disallowed_methods,
            reason = "where the clock of the simulation begins; nothing depends on it"
        )]
        let started_at = Instant::now();
        World {
            schedule: Schedule::default(),
            rng: Rng::with_seed(first_seed),
            network: Network::new(count),
            history: History::default(),
            trace,
            names: Names::default(),
            nodes: nodes.into_iter().enumerate().map(|(index, node)| (index + 1, node)).collect(),
            clients: Vec::new(),
            addresses,
            brokers: vec![None; count],
            clocks_ms: vec![crate::node::CLOCK_START_MS; count],
            wanted: BTreeMap::new(),
            winding_up: false,
            started_at,
            fault,
        }
    }

    /// Addresses of the servers.
    pub fn address(node: NodeId) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, node as u8], 10_911))
    }

    /// Adds a client, which begins within a millisecond.
    pub fn add(&mut self, client: Box<dyn Client>) {
        self.clients.push(Some(client));
        let wait_us = self.rng.u64(0..1_000);
        self.schedule.after(wait_us, Event::Timer(self.clients.len() - 1));
    }

    /// Lets everything happen up to a time.
    pub fn run(&mut self, until_us: u64) {
        /// A run that breaks promises by the dozen is stopped.
        const VIOLATIONS_MAX: usize = 5;
        while self.history.violations.len() < VIOLATIONS_MAX {
            let Some(event) = self.schedule.next(until_us) else { return };
            self.happen(event);
        }
    }

    fn happen(&mut self, event: Event) {
        let now_us = self.schedule.now_us();
        match event {
            Event::Arrive(link, Side::Server) => self.reach_server(link),
            Event::Arrive(link, Side::Client) => self.reach_client(link),
            Event::Timer(client) => self.with_client(client, |client, context| client.wake(context)),
            Event::Work { node, work: Work::Scan, .. } => {
                let closed = self.names.scan(now_us);
                for link in closed {
                    self.close_server_side(link);
                    self.network.end(link, Side::Client, &mut self.schedule, &mut self.rng);
                }
                self.schedule.after(1_000_000, Event::Work { node, life: 0, work: Work::Scan });
            }
            Event::Work { node, life, work } => {
                if self.nodes.get(&node).is_some_and(|known| known.life == life && known.process.is_some()) {
                    self.work(node, work);
                }
            }
            Event::Fault(fault) => self.break_something(fault),
            Event::Start(node) => self.start(node),
        }
    }

    fn with_client(&mut self, number: ClientId, run: impl FnOnce(&mut dyn Client, &mut Context<'_>)) {
        let Some(mut client) = self.clients[number].take() else { return };
        for (node, known) in &self.nodes {
            self.clocks_ms[*node] = known.tell_time(self.schedule.now_us());
        }
        let mut context = Context {
            me: number,
            rng: &mut self.rng,
            schedule: &mut self.schedule,
            network: &mut self.network,
            history: &mut self.history,
            trace: &mut self.trace,
            addresses: &self.addresses,
            brokers: &self.brokers,
            clocks_ms: &self.clocks_ms,
            winding_up: self.winding_up,
        };
        run(&mut *client, &mut context);
        self.clients[number] = Some(client);
    }

    fn reach_client(&mut self, link: LinkId) {
        let now_us = self.schedule.now_us();
        while let Some(piece) = self.network.arrived(link, Side::Client, now_us) {
            let client = self.network.links[link].client;
            if !self.network.links[link].client_open {
                continue;
            }
            match piece {
                Piece::Open => {}
                Piece::Bytes(bytes) => {
                    let rest = self.network.links[link].rest(Side::Client);
                    rest.extend_from_slice(&bytes);
                    let Some(whole) = take_frames(rest) else {
                        return self.history.broken(format!("what connection {link} got is no frame"));
                    };
                    for frame in frames(&whole) {
                        let Some(message) = Message::read(&frame) else {
                            self.history.broken(format!("connection {link} got a header that cannot be read"));
                            continue;
                        };
                        let (code, opaque) = (message.code, message.opaque);
                        let told = [link as u64, code as u64, opaque as u64, message.body.len() as u64];
                        self.trace.note(now_us, &told, || {
                            let Message { code, opaque, remark, fields, .. } = &message;
                            format!("client {client} <- {link}: {code} #{opaque} {fields:?} {remark}")
                        });
                        self.with_client(client, |client, context| client.frame(context, link, message));
                    }
                }
                Piece::End => {
                    self.network.links[link].client_open = false;
                    self.with_client(client, |client, context| client.closed(context, link));
                }
            }
        }
    }

    fn reach_server(&mut self, link: LinkId) {
        let now_us = self.schedule.now_us();
        while let Some(piece) = self.network.arrived(link, Side::Server, now_us) {
            let node = self.network.links[link].node;
            match piece {
                Piece::Open => self.accept(link, node),
                Piece::Bytes(bytes) => {
                    let known = &mut self.network.links[link];
                    if known.connection.is_none() {
                        continue;
                    }
                    known.rest(Side::Server).extend_from_slice(&bytes);
                    match take_frames(known.rest(Side::Server)) {
                        Some(whole) if whole.is_empty() => {}
                        Some(whole) => self.serve(link, node, whole),
                        None => {
                            self.history.broken(format!("what reached {node} on connection {link} is no frame"));
                        }
                    }
                }
                Piece::End => self.close_server_side(link),
            }
        }
    }

    fn accept(&mut self, link: LinkId, node: NodeId) {
        let connection = Arc::new(Connection::detached(ConnectionId(link as u64 + 1), Self::address(100)));
        let known = &mut self.network.links[link];
        if node == NAMESERVER {
            self.names.opened(link);
        } else if let Some(process) = self.nodes.get(&node).and_then(|node| node.process.as_ref()) {
            known.service = Some(Arc::new(Mutex::new(process.door.opened(&connection))));
        } else {
            return self.network.end(link, Side::Client, &mut self.schedule, &mut self.rng);
        }
        known.connection = Some(connection);
        self.network.accept(link);
    }

    fn serve(&mut self, link: LinkId, node: NodeId, bytes: Vec<u8>) {
        let now_us = self.schedule.now_us();
        self.trace.note(now_us, &[link as u64, bytes.len() as u64], || {
            let told: Vec<String> = frames(&bytes)
                .filter_map(|frame| Message::read(&frame))
                .map(|message| format!("{} #{} {:?}", message.code, message.opaque, message.fields))
                .collect();
            format!("server {node} <- {link}: {}", told.join("; "))
        });
        if node == NAMESERVER {
            let answers = self.names.serve(link, &bytes, now_us);
            for (link, answer) in answers {
                self.network.write(link, Side::Client, answer, &mut self.schedule, &mut self.rng);
            }
            return;
        }
        self.tell_time(node);
        let known = &self.network.links[link];
        let (Some(service), Some(connection)) = (known.service.clone(), known.connection.clone()) else { return };
        serve_bytes(&service, &connection, bytes);
        self.after_step(node);
    }

    fn tell_time(&mut self, node: NodeId) {
        if let Some(known) = self.nodes.get(&node) {
            self.clocks_ms[node] = known.tell_time(self.schedule.now_us());
        }
    }

    /// A broker has done something: it may have been killed in the middle of it; what it said goes out; what it wants to
    /// do next is entered.
    fn after_step(&mut self, node: NodeId) {
        self.look_for_misdirected(node);
        let Some(known) = self.nodes.get_mut(&node) else { return };
        if let Some((operation, cut)) = known.ends_at
            && operation < known.disk.operations()
        {
            return self.end(node, cut);
        }
        let Some(process) = &known.process else { return };
        let wait = process.answer_pulls();
        self.flush(node);
        self.plan_work(node, wait);
    }

    fn plan_work(&mut self, node: NodeId, pulls: Duration) {
        let now_us = self.schedule.now_us();
        let Some(known) = self.nodes.get(&node) else { return };
        let Some(process) = &known.process else { return };
        let (log, clock_ms) = (&process.broker.log, self.clocks_ms[node]);
        let unsynced = known.setting().flush == Flush::Sync && log.durable() < log.end();
        let stalled_until_us = known.stalled_until_us;
        let due_ms = log.next_due_ms();
        self.want(node, Work::Pulls, WorkKey::Pulls, now_us + pulls.as_micros() as u64 + 1);
        if unsynced {
            let at = (now_us + self.rng.u64(50..2_500)).max(stalled_until_us);
            self.want(node, Work::Sync, WorkKey::Sync, at);
        }
        if let Some(due_ms) = due_ms {
            let wait_ms = due_ms.saturating_sub(clock_ms).clamp(0, 600_000) as u64;
            self.want(node, Work::Due, WorkKey::Due, now_us + wait_ms * 1_000 + 200);
        }
        let at = now_us + self.rng.u64(100..4_000);
        self.want(node, Work::Saving, WorkKey::Saving, at);
    }

    /// Enters a work, unless it comes earlier anyway.
    fn want(&mut self, node: NodeId, work: Work, key: WorkKey, at_us: u64) {
        let wanted = self.wanted.entry((node, key)).or_insert(0);
        let is_to_come = self.schedule.now_us() < *wanted;
        if is_to_come && *wanted <= at_us {
            return;
        }
        *wanted = at_us;
        if let Some(known) = self.nodes.get(&node) {
            self.schedule.at(at_us, Event::Work { node, life: known.life, work });
        }
    }

    /// Sends what a broker has said.
    fn flush(&mut self, node: NodeId) {
        for number in self.network.accepted(node) {
            let Some(connection) = self.network.links[number].connection.clone() else { continue };
            let mut bytes = Vec::new();
            connection.take_outbox(&mut bytes);
            if !bytes.is_empty() {
                self.network.write(number, Side::Client, bytes, &mut self.schedule, &mut self.rng);
            }
        }
    }

    fn work(&mut self, node: NodeId, work: Work) {
        let now_us = self.schedule.now_us();
        self.tell_time(node);
        let arriving = if work == Work::Sync { self.meanwhile(node) } else { Arriving::default() };
        let now = self.started_at + Duration::from_micros(now_us);
        let Some(known) = self.nodes.get_mut(&node) else { return };
        let (life, flush) = (known.life, known.setting().flush);
        let Some(process) = &mut known.process else { return };
        let again_us = match work {
            Work::Sync => {
                process.sync();
                serve_all(&arriving);
                if flush == Flush::Async { Some(500_000) } else { None }
            }
            Work::Upkeep => {
                process.keep_up();
                self.history.handed_out.deleted(node, process.broker.log.start().0);
                if process.broker.log.stats().is_fenced && !std::mem::replace(&mut process.is_fenced, true) {
                    // Somebody looks after it.
                    self.trace.note(now_us, &[node as u64], || format!("server {node} is fenced"));
                    let wait_us = self.rng.u64(200_000..1_500_000);
                    self.schedule.after(wait_us, Event::Fault(Fault::Kill(node)));
                }
                Some(100_000)
            }
            Work::Tick => {
                process.tick();
                Some(500_000)
            }
            Work::Due => {
                process.deliver();
                Some(1_000_000)
            }
            Work::Ask => {
                process.ask();
                Some(500_000)
            }
            Work::Saving => {
                process.save(now);
                None
            }
            Work::Pulls | Work::Scan => None,
        };
        self.after_step(node);
        if let Some(again_us) = again_us {
            self.schedule.after(again_us, Event::Work { node, life, work });
        }
    }

    /// Lets requests that are about to arrive at a broker arrive while its next sync is under way. What is left
    /// afterwards has to arrive then.
    fn meanwhile(&mut self, node: NodeId) -> Arriving {
        let until_us = self.schedule.now_us() + self.rng.u64(0..3_000);
        let Some(known) = self.nodes.get(&node) else { return Arriving::default() };
        let mut arriving = Vec::new();
        for number in self.network.accepted(node) {
            let Some(bytes) = self.network.hurry(number, until_us) else { continue };
            let Link { connection: Some(connection), service: Some(service), .. } = &self.network.links[number] else {
                continue;
            };
            let (connection, service) = (connection.clone(), service.clone());
            let rest = self.network.links[number].rest(Side::Server);
            rest.extend_from_slice(&bytes);
            if let Some(whole) = take_frames(rest).filter(|whole| !whole.is_empty()) {
                arriving.push((service, connection, whole));
            }
        }
        self.trace.note(self.schedule.now_us(), &[arriving.len() as u64], || {
            format!("server {node} syncs, {} requests come meanwhile", arriving.len())
        });
        let arriving = Arc::new(Mutex::new(arriving));
        let meanwhile = arriving.clone();
        known.disk.during_next_sync(move || serve_all(&meanwhile));
        arriving
    }

    fn close_server_side(&mut self, link: LinkId) {
        let node = self.network.links[link].node;
        let Some(connection) = self.network.links[link].connection.take() else { return };
        self.network.links[link].service = None;
        if node == NAMESERVER {
            self.names.closed(link);
        } else if let Some(process) = self.nodes.get(&node).and_then(|node| node.process.as_ref()) {
            process.door.closed(&connection, CloseReason::Peer);
            self.tell_time(node);
            self.after_step(node);
        }
    }

    /// Starts a broker, or tries again later.
    pub fn start(&mut self, node: NodeId) {
        let now_us = self.schedule.now_us();
        log::planted::plant(self.fault);
        self.tell_time(node);
        let Some(known) = self.nodes.get_mut(&node) else { return };
        if known.process.is_some() {
            return;
        }
        match known.start() {
            Ok(recovery) => {
                self.trace.note(now_us, &[node as u64], || format!("server {node} starts: {recovery}"));
                self.brokers[node] = known.process.as_ref().map(|process| process.broker.clone());
                let life = known.life;
                for work in [Work::Upkeep, Work::Tick, Work::Due, Work::Ask, Work::Sync] {
                    let wait_us = self.rng.u64(0..100_000);
                    self.schedule.after(wait_us, Event::Work { node, life, work });
                }
                self.wanted.retain(|(of, _), _| *of != node);
                self.after_step(node);
            }
            Err(error) => {
                let error = broker::registration::chain(&error);
                self.trace.note(now_us, &[node as u64], || format!("server {node} cannot start: {error}"));
                self.look_for_misdirected(node);
                self.may_be_cut_short(node, true);
                let Some(known) = self.nodes.get_mut(&node) else { return };
                // The disk has been told to fail, or is full; somebody repairs it.
                known.end(None);
                known.disk.set_capacity(None);
                let wait_us = self.rng.u64(200_000..800_000);
                self.schedule.after(wait_us, Event::Start(node));
            }
        }
    }

    /// Ends a broker's process.
    pub fn end(&mut self, node: NodeId, cut: Option<log::PowerCut>) {
        let now_us = self.schedule.now_us();
        log::planted::plant(self.fault);
        let Some(known) = self.nodes.get_mut(&node) else { return };
        let Some(process) = &known.process else { return };
        let durable = process.broker.log.durable().0;
        self.trace.note(now_us, &[node as u64, durable], || match cut {
            Some(cut) => format!("server {node} loses power ({cut:?}), durable to {durable}"),
            None => format!("server {node} is killed, durable to {durable}"),
        });
        self.may_be_cut_short(node, cut.is_some());
        let Some(known) = self.nodes.get_mut(&node) else { return };
        known.end(cut);
        self.brokers[node] = None;
        self.history.killed(node, now_us);
        if cut.is_some() && known.setting().flush == Flush::Async {
            self.history.power_lost(node, durable, now_us);
        }
        self.drop_connections(node, cut.is_some());
        let wait_us = self.rng.u64(5_000..1_500_000);
        self.schedule.after(wait_us, Event::Start(node));
    }

    /// Connections of a server end; with the power goes what it had said and nobody got yet.
    fn drop_connections(&mut self, node: NodeId, silently: bool) {
        for number in 0..self.network.links.len() {
            if self.network.links[number].node != node {
                continue;
            }
            let link = &mut self.network.links[number];
            let was_open = link.connection.take().is_some();
            link.service = None;
            if was_open && link.client_open {
                if silently {
                    self.network.drop_all(number, Side::Client);
                } else {
                    self.network.cut_short(number, Side::Client, &mut self.rng);
                }
                self.network.end(number, Side::Client, &mut self.schedule, &mut self.rng);
            }
        }
    }

    fn break_something(&mut self, fault: Fault) {
        let now_us = self.schedule.now_us();
        self.trace.note(now_us, &[0], || format!("fault: {fault:?}"));
        match fault {
            Fault::Kill(node) => self.end(node, None),
            Fault::PowerCut(node, cut) => self.end(node, Some(cut)),
            Fault::KillInside(node, more) => self.end_inside(node, None, more),
            Fault::PowerCutInside(node, cut, more) => self.end_inside(node, Some(cut), more),
            Fault::Stop(node) => self.stop(node),
            Fault::Cut(node, for_us) => self.network.cut_until_us[node] = now_us + for_us,
            Fault::Reset(which) => self.reset(which, true),
            Fault::HalfOpen(which) => self.reset(which, false),
            Fault::Noticed(link) => self.close_server_side(link),
            Fault::DiskError(node, more) => {
                self.on_disk(node, |known| known.disk.fail_operation(known.disk.operations() + more, false));
            }
            Fault::ReadError(node, more) => {
                self.on_disk(node, |known| known.disk.fail_read(known.disk.reads() + more, false));
            }
            Fault::FlipBit(node, seed) => self.flip_bit(node, seed),
            Fault::Misdirect(node, more, seed) => {
                self.on_disk(node, |known| known.disk.misdirect_write(known.disk.operations() + more, seed));
            }
            Fault::DiskFull(node, room) => {
                self.on_disk(node, |known| known.disk.set_capacity(Some(known.disk.used_bytes() + room)));
            }
            Fault::DiskRoom(node) => self.on_disk(node, |known| known.disk.set_capacity(None)),
            Fault::Stall(node, for_us) => self.on_disk(node, |known| known.stalled_until_us = now_us + for_us),
            Fault::ClockJump(node, by_ms) => self.on_disk(node, |known| known.clock_skew_ms += by_ms),
        }
    }

    fn on_disk(&mut self, node: NodeId, change: impl FnOnce(&mut Node)) {
        if let Some(known) = self.nodes.get_mut(&node) {
            change(known);
        }
    }

    fn flip_bit(&mut self, node: NodeId, seed: u64) {
        let now_us = self.schedule.now_us();
        let Some(known) = self.nodes.get_mut(&node) else { return };
        // Offsets of queues whose messages have all left are nowhere but in the index.
        let Some((path, byte, bit)) = rot::aim(&known.disk, seed, known.setting().retention.is_none()) else { return };
        self.trace.note(now_us, &[byte], || format!("server {node}: bit {bit} of byte {byte} of {path} flips"));
        let Ok(content) = known.disk.content(&path) else { return };
        if path == "running" && content.windows(8).any(|word| word == b"unsynced") {
            // It warns of another fault.
            return;
        }
        known.note_damage(&mut self.history, node, &path, &content, byte..byte + 1);
        // A disk whose file is gone by now cannot rot.
        let _ = known.disk.flip_bit(&path, byte, bit);
        if known.process.is_none() {
            // Whatever ended it may have been a power cut.
            self.may_be_cut_short(node, true);
        }
    }

    /// Looks whether a write went to another place since the last look.
    fn look_for_misdirected(&mut self, node: NodeId) {
        let now_us = self.schedule.now_us();
        let Some(known) = self.nodes.get_mut(&node) else { return };
        let Some(log::Misdirected { meant, hit, bytes, overwritten }) = known.disk.take_misdirected() else { return };
        let size = bytes.len() as u64;
        self.trace.note(now_us, &[meant.1, hit.1, size], || {
            format!("server {node}: {size} bytes meant for {meant:?} went to {hit:?}")
        });
        for (path, at) in [&hit, &meant] {
            // A file may have got another name since.
            let mut content = known.disk.content(path).unwrap_or_default();
            // As if nothing had gone wrong.
            for ((of, from), right) in [(&hit, &overwritten), (&meant, &bytes)] {
                let from = *from as usize;
                if let Some(place) = content.get_mut(from..from + right.len()).filter(|_| of == path) {
                    place.copy_from_slice(right);
                }
            }
            known.note_damage(&mut self.history, node, path, &content, *at..at + size);
        }
    }

    /// A process is gone whose log is damaged where no checkpoint vouches for it: the next start may take that for the end
    /// of a torn write.
    fn may_be_cut_short(&mut self, node: NodeId, power_is_cut: bool) {
        let now_us = self.schedule.now_us();
        if let Some(from) = self.nodes.get(&node).and_then(|known| known.may_end_at(power_is_cut)) {
            self.trace.note(now_us, &[from], || format!("the log of server {node} may end at {from}"));
            self.history.cut_short(node, from, now_us);
            if self.nodes.get(&node).is_some_and(|known| known.setting().flush == Flush::Async) {
                // A log that ends before its checkpoint says has lost what was acknowledged: queues move ahead.
                self.history.skipped.insert(node);
            }
        }
    }

    fn end_inside(&mut self, node: NodeId, cut: Option<log::PowerCut>, more: u64) {
        if let Some(known) = self.nodes.get_mut(&node)
            && known.process.is_some()
        {
            let operation = known.disk.operations() + more;
            known.disk.fail_operation(operation, true);
            known.ends_at = Some((operation, cut));
        }
    }

    /// Ends a broker in order; it comes back.
    pub fn stop(&mut self, node: NodeId) {
        let now_us = self.schedule.now_us();
        self.tell_time(node);
        let Some(known) = self.nodes.get_mut(&node).filter(|known| known.process.is_some()) else { return };
        known.stop(self.started_at + Duration::from_micros(now_us));
        self.look_for_misdirected(node);
        self.may_be_cut_short(node, false);
        self.flush(node);
        self.brokers[node] = None;
        self.drop_connections(node, false);
        let wait_us = self.rng.u64(5_000..500_000);
        self.schedule.after(wait_us, Event::Start(node));
    }

    /// Resets a connection in the middle of what travels on it; or lets the client forget it, and the server not hear
    /// of it for long.
    fn reset(&mut self, which: u64, both: bool) {
        let open: Vec<LinkId> = (0..self.network.links.len())
            .filter(|link| self.network.links[*link].client_open && self.network.links[*link].connection.is_some())
            .collect();
        let Some(link) = open.get(which as usize % open.len().max(1)).copied() else { return };
        self.network.cut_short(link, Side::Server, &mut self.rng);
        self.network.cut_short(link, Side::Client, &mut self.rng);
        self.network.end(link, Side::Client, &mut self.schedule, &mut self.rng);
        if both {
            self.network.end(link, Side::Server, &mut self.schedule, &mut self.rng);
        } else {
            // Servers close connections on which nothing comes.
            let wait_us = self.rng.u64(1_000_000..6_000_000);
            self.schedule.after(wait_us, Event::Fault(Fault::Noticed(link)));
        }
    }

    /// Whether nothing waits any more in any broker: no delayed message, no half message, no unsynced one, none
    /// that was handed out.
    pub fn is_at_rest(&self) -> bool {
        self.brokers.iter().flatten().all(|broker| {
            let set_aside = broker.delivery_aside.lock().unwrap_or_else(PoisonError::into_inner).len();
            let nothing_due = broker.log.next_due_ms().is_none() && set_aside == 0;
            let nothing_out = broker.deliveries.all_in_flight() == 0;
            nothing_due
                && nothing_out
                && broker.transactions().iter().next().is_none()
                && broker.log.durable() == broker.log.end()
        })
    }

    /// Ends all trouble and starts what is down.
    pub fn repair(&mut self) {
        self.winding_up = true;
        self.network.cut_until_us.iter_mut().for_each(|until| *until = 0);
        for node in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.on_disk(node, |known| {
                known.disk.heal();
                known.disk.set_capacity(None);
                known.stalled_until_us = 0;
                known.ends_at = None;
            });
            self.start(node);
        }
    }
}

/// Whole frames that arrive at a broker, and where.
type Arriving = Arc<Mutex<Vec<Arrival>>>;
type Arrival = (Arc<Mutex<RemotingService>>, Arc<Connection>, Vec<u8>);

/// Lets a broker serve all that arrives.
fn serve_all(arriving: &Mutex<Vec<Arrival>>) {
    let arriving = std::mem::take(&mut *arriving.lock().unwrap_or_else(PoisonError::into_inner));
    for (service, connection, bytes) in arriving {
        serve_bytes(&service, &connection, bytes);
    }
}

/// Lets a broker serve whole frames; the answers go where later ones go too.
fn serve_bytes(service: &Mutex<RemotingService>, connection: &Arc<Connection>, bytes: Vec<u8>) {
    let mut service = service.lock().unwrap_or_else(PoisonError::into_inner);
    let served = service.call(Inbound::new(connection.clone(), bytes)).now_or_never();
    let Some(Ok(outbound)) = served else { return };
    if !outbound.replies.is_empty() {
        connection.send(|out| out.extend_from_slice(&outbound.replies));
    }
    if let Some(then) = outbound.then {
        then();
    }
}
