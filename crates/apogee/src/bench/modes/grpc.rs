//! Measurements over gRPC. Topics are created with remoting, and what was sent is read back with it: the server chooses
//! queues, and a pull tells them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::ensure;

use super::sending::{READ_BACK_CONNECTIONS, READ_BACK_MAX};
use super::{From, check_label_fits, readers, run_number};
use crate::bench::PRODUCER_GROUP;
use crate::bench::arguments::{Common, ConnectionsArguments, ConsumeArguments, ProduceArguments, Sends};
use crate::bench::consuming::{Pulling, Since, Until};
use crate::bench::grpc::idling::Idling;
use crate::bench::grpc::receiving::{Ends, Receiving};
use crate::bench::grpc::sending::Sending;
use crate::bench::ledger::Sent;
use crate::bench::numbers::{Numbers, Scattered};
use crate::bench::opening::Opening;
use crate::bench::pace::Rate;
use crate::bench::report::Report;
use crate::bench::run::{self, Connection, Counted, Played, Role, Scene};
use crate::bench::target::{self, Target};
use crate::bench::topics::Topics;
use crate::bench::verify::Verification;
use crate::command_line::Access;
use crate::output::grouped;

/// How long receiving goes on without anything that comes, while something is missing.
const PATIENCE: Duration = Duration::from_secs(10);
/// Waiting consumers of one group; a stock server holds 1,024 receives for one at most.
const CONSUMERS_OF_GROUP: u32 = 500;

/// `bench produce --protocol grpc`.
pub fn produce(arguments: &ProduceArguments, access: &Access) -> anyhow::Result<Report> {
    let ProduceArguments { common, timing, sends, queues, connections, window, batch } = arguments;
    check_closed_loop(sends)?;
    let topics = Topics::one(&common.topic);
    let mut targets = target::create(common, access, &topics, *queues)?;
    if sends.verify {
        check_label_fits(sends.size)?;
        targets = target::look(targets, common, access, &topics, *queues)?;
    }
    let sending = Arc::new(Sending {
        topic: common.topic.clone(),
        window: *window,
        body_bytes: sends.size as usize,
        batch: *batch,
        run: run_number(),
        labelled: sends.verify,
    });
    let connections = connect(common, *connections, |number| Role::Send(sending.clone(), number));
    let about = if *batch > 1 { format!(", batches of {batch}") } else { String::new() };
    let count = grouped(connections.len() as u64);
    let Sends { size, rate, patience, .. } = *sends;
    let title = format!("produce over gRPC, {count} connections × {window}, {size}-byte bodies{about}, {rate}");
    let played = run::run(&Scene { pid: common.pid, ..scene(common, &title, timing.counted(), &connections) })?;
    let mut report = report("produce", &title, &played);
    report.part("sends", played.sending);
    if sends.verify {
        let sent = played.sent.into_iter().map(|(key, sent)| (key.producer, sent)).collect();
        let patience = Duration::from_secs_f64(patience);
        let (verification, read) = read_back(common, &topics, &targets, sending.run, &sent, patience)?;
        report.part("read back", read.reading);
        report.verification = Some(verification);
    }
    Ok(report)
}

/// `bench consume --protocol grpc`.
pub fn consume(arguments: &ConsumeArguments, access: &Access) -> anyhow::Result<Report> {
    let ConsumeArguments { common, timing, reads, connections, follow, window, acks, verify } = arguments;
    ensure!(!follow, "`consume --follow` is not there for gRPC: a receive always waits for new messages");
    let there = if *verify { target::find(common, access, reads.queues)? } else { Vec::new() };
    let there: u64 =
        there.iter().flat_map(|target| &target.queues).map(|queue| (queue.max_offset - queue.min_offset) as u64).sum();
    let receiving = Arc::new(Receiving {
        topic: common.topic.clone(),
        group: format!("{}-{:x}", reads.group, run_number()),
        window: *window,
        messages_max: reads.max,
        acks: *acks as usize,
        checksums: !reads.no_checksums,
        ends: if *verify { Ends::WhenAllCame(PATIENCE) } else { Ends::InTime },
        came: Mutex::default(),
    });
    target::create_groups(common, access, std::slice::from_ref(&receiving.group))?;
    let connections = connect(common, *connections, |number| Role::Receive(receiving.clone(), number));
    let title = format!(
        "consume over gRPC, {} connections × {window}, up to {} messages a receive, {acks} in an acknowledgement",
        connections.len(),
        reads.max
    );
    let counted = if *verify { Counted::UntilDone } else { timing.counted() };
    let scene = scene(common, &title, counted, &connections);
    let played = run::run(&Scene { pid: common.pid, acknowledged: there, ..scene })?;
    let mut report = report("consume", &title, &played);
    report.part("acknowledged", played.sending);
    report.part("receives", played.reading);
    if *verify {
        let came = receiving.came.lock().unwrap_or_else(PoisonError::into_inner);
        let came = came.values().map(Numbers::count).sum();
        let (lost, invented) = (there.saturating_sub(came), came.saturating_sub(there));
        report.verification = Some(Verification { sent: there, came, lost, invented, ..Verification::default() });
    }
    Ok(report)
}

/// `bench connections --protocol grpc`.
pub fn connections(arguments: &ConnectionsArguments, access: &Access) -> anyhow::Result<Report> {
    let ConnectionsArguments { common, timing, sends, queues, connections, .. } = arguments;
    check_closed_loop(sends)?;
    ensure!(!sends.verify, "`connections --verify` is not there for gRPC: nothing is sent");
    // Nothing is ever sent to it.
    let topic = format!("{}-idle", common.topic);
    target::create(common, access, &Topics::one(&topic), *queues)?;
    let run = run_number();
    let groups = (0..connections.div_ceil(CONSUMERS_OF_GROUP))
        .map(|group| Arc::new(Idling { topic: topic.clone(), group: format!("apogee-bench-idle-{run:x}-{group}") }));
    let groups: Vec<_> = groups.collect();
    let names: Vec<_> = groups.iter().map(|idling| idling.group.clone()).collect();
    target::create_groups(common, access, &names)?;
    let idle = |number: u32| Role::Idle(groups[(number / CONSUMERS_OF_GROUP) as usize].clone(), number);
    let connections = connect(common, *connections, idle);
    let title = format!("connections over gRPC, {} consumers that wait", grouped(connections.len() as u64));
    let played = run::run(&Scene { pid: common.pid, ..scene(common, &title, timing.counted(), &connections) })?;
    let mut report = report("connections", &title, &played);
    report.opened = Some(played.opened);
    report.is_idle = true;
    report.part("receives held and answered", played.reading);
    // Connections that could not be made are counted there.
    report.part("opening", played.sending);
    Ok(report)
}

fn check_closed_loop(sends: &Sends) -> anyhow::Result<()> {
    ensure!(sends.rate == Rate::Max, "`--rate` is not there for gRPC: only a closed loop is");
    Ok(())
}

fn connect(common: &Common, count: u32, role: impl Fn(u32) -> Role) -> Vec<Connection> {
    let connection = |number| Connection { address: common.endpoint.clone(), broker: 0, role: role(number) };
    (0..count).map(connection).collect()
}

fn scene<'s>(common: &Common, title: &'s str, counted: Counted, connections: &'s [Connection]) -> Scene<'s> {
    let Common { threads, quiet, .. } = *common;
    // A consumer that is refused is a fault, and the others go on.
    let opening = match connections.first().map(|connection| &connection.role) {
        Some(Role::Idle(..)) => Opening::Greet(common.header.codec()),
        _ => Opening::Connect,
    };
    Scene { title, quiet, threads, opening, counted, pid: None, acknowledged: 0, connections }
}

fn report(mode: &'static str, title: &str, played: &Played) -> Report {
    let mut report = Report::new(mode, title.to_owned());
    report.server.clone_from(&played.server);
    report.own_cpu_percent = played.own_cpu_percent;
    report
}

/// Reads everything that came since `targets` were looked at, and compares.
fn read_back(
    common: &Common,
    topics: &Topics,
    targets: &[Target],
    run: u32,
    sent: &HashMap<u32, Sent>,
    patience: Duration,
) -> anyhow::Result<(Verification, Played)> {
    let scattered = Arc::new(Mutex::new(Scattered::default()));
    let pulling = Arc::new(Pulling {
        topics: topics.clone(),
        group: PRODUCER_GROUP.to_owned(),
        codec: common.header.codec(),
        messages_max: READ_BACK_MAX,
        until: Until::ReadBack(patience),
        since: Since::Asked,
        checksums: true,
        run: Some(run),
        scattered: Some(scattered.clone()),
    });
    let connections = readers(&pulling, targets, READ_BACK_CONNECTIONS * targets.len() as u32, From::End);
    let scene = scene(common, "reading back", Counted::UntilDone, &connections);
    let played = run::run(&Scene { acknowledged: sent.values().map(Sent::certain).sum(), ..scene })?;
    let found = scattered.lock().unwrap_or_else(PoisonError::into_inner).compare(sent);
    Ok((found, played))
}
