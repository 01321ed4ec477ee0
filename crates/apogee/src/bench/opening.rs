//! Making the connections of a run.

use std::io;
use std::time::Duration;

use anyhow::Context;
use protocol::codes::{Language, RequestCode, ResponseCode};
use protocol::frame::Codec;
use protocol::writer::{FrameWriter, OWN_VERSION};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::answers::glance;
use super::grpc::calls::Calls;
use super::grpc::idling;
use super::producing::remark;
use super::run::Connection;
use super::run::Role;
use super::wire::Wire;

/// Connections that a thread makes at the same time.
const AT_ONCE: usize = 256;
/// From this many connections on each begins with a small buffer.
const MANY: usize = 256;

/// How connections are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// They are; one that cannot be made ends the run.
    Connect,
    /// Each says who it is by HEART_BEAT (34), as clients do, and waits for the answer. One that cannot be made is a
    /// fault, and the others go on.
    Greet(Codec),
}

/// A connection that was made.
#[derive(Debug)]
pub enum Link {
    /// Of the remoting protocol.
    Frames(Wire),
    /// Of gRPC.
    Calls(Calls),
}

/// How long it took to make all connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Opened {
    /// Connections that were made, and greeted if that was wanted.
    pub connections: u64,
    /// Seconds until all were connected.
    pub connected_s: f64,
    /// Seconds until all were answered as well; that of the slowest thread.
    pub answered_s: f64,
}

impl Opened {
    /// Adds what another thread, that worked at the same time, did.
    pub fn add(&mut self, other: Opened) {
        self.connections += other.connections;
        self.connected_s = self.connected_s.max(other.connected_s);
        self.answered_s = self.answered_s.max(other.answered_s);
    }
}

/// Makes the connections, in their order.
pub async fn open(connections: &[&Connection], opening: Opening) -> anyhow::Result<(Vec<io::Result<Link>>, Opened)> {
    let read_bytes = if connections.len() < MANY { 256 * 1024 } else { 4 * 1024 };
    let start = Instant::now();
    let mut opened = Opened::default();
    let mut wires: Vec<Option<io::Result<Link>>> = connections.iter().map(|_| None).collect();
    let mut waiting = connections.iter().enumerate();
    let mut running = JoinSet::new();
    loop {
        while running.len() < AT_ONCE
            && let Some((index, connection)) = waiting.next()
        {
            let connection = (*connection).clone();
            running.spawn_local(async move { (index, open_one(&connection, read_bytes, opening).await) });
        }
        let Some(one) = running.join_next().await else { break };
        let (index, result) = one.context("a connection panicked")?;
        let wire = match result {
            Ok((wire, connected_at)) => {
                opened.connections += 1;
                opened.connected_s = opened.connected_s.max((connected_at - start).as_secs_f64());
                Ok(wire)
            }
            Err(error) if opening == Opening::Connect => {
                let address = &connections[index].address;
                return Err(error).with_context(|| format!("cannot connect to `{address}`"));
            }
            Err(error) => Err(error),
        };
        wires[index] = Some(wire);
    }
    opened.answered_s = start.elapsed().as_secs_f64();
    Ok((wires.into_iter().flatten().collect(), opened))
}

/// Time that the answer to a greeting may take.
const GREETING_MAX: Duration = Duration::from_secs(30);

async fn open_one(connection: &Connection, read_bytes: usize, opening: Opening) -> io::Result<(Link, Instant)> {
    let address = &connection.address;
    let client = match &connection.role {
        Role::Produce(..) | Role::Consume(..) => None,
        Role::Send(sending, number) => Some((sending.run, *number)),
        Role::Receive(_, number) | Role::Idle(_, number) => Some((0, *number)),
    };
    if let Some((run, number)) = client {
        let client_id = format!("apogee-bench@{}@{number}@{run:x}", std::process::id());
        let mut calls = Calls::connect(address, &client_id).await?;
        let connected_at = Instant::now();
        let consumer = match &connection.role {
            Role::Idle(idling, _) => Some((&*idling.topic, &*idling.group)),
            Role::Receive(receiving, _) => Some((&*receiving.topic, &*receiving.group)),
            _ => None,
        };
        if let Some((topic, group)) = consumer {
            let introduced = tokio::time::timeout(GREETING_MAX, idling::introduce(&mut calls, topic, group)).await;
            introduced.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer to settings"))??;
        }
        return Ok((Link::Calls(calls), connected_at));
    }
    let mut wire = Wire::connect(address, read_bytes).await?;
    let connected_at = Instant::now();
    if let Opening::Greet(codec) = opening {
        let greeted = tokio::time::timeout(GREETING_MAX, greet(&mut wire, codec)).await;
        greeted.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer to HEART_BEAT"))??;
    }
    Ok((Link::Frames(wire), connected_at))
}

async fn greet(wire: &mut Wire, codec: Codec) -> io::Result<()> {
    let client = wire.local_address()?;
    let body = serde_json::json!({
        "clientID": format!("{client}@apogee-bench"),
        "producerDataSet": [{ "groupName": super::PRODUCER_GROUP }],
        "consumerDataSet": [],
    });
    let code = RequestCode::HEART_BEAT.0;
    FrameWriter::begin(&mut wire.outgoing, codec, code, Language::JAVA, OWN_VERSION, 1, 0, None)
        .finish(body.to_string().as_bytes());
    let mut refused = None;
    let mut answered = false;
    while !answered {
        wire.turn().await?;
        wire.take_frames(|_, frame| {
            if let Some(answer) = glance(frame) {
                answered = true;
                if answer.code != ResponseCode::SUCCESS.0 {
                    refused = Some(format!("{}: {}", ResponseCode(answer.code), remark(frame)));
                }
            }
        })?;
    }
    refused.map_or(Ok(()), |text| Err(io::Error::other(text)))
}
