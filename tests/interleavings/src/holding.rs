//! A pull is held while the message that it waits for is appended: it is always woken.

use std::sync::Arc;

use log::{Log, QueueNumber};
use metrics::Stopwatch;
use net::{Connection, ConnectionId};
use protocol::codes::RequestCode;
use protocol::frame::Codec;
use protocol::requests::PullFlags;
use shuttle::thread;

use crate::config::Flush;
use crate::held_pulls::{HeldPull, HeldPulls};
use crate::pull::PullRequest;
use crate::setup::{Setup, TOPIC, appends, runs, setup};

/// Pulls that wait at the same time.
const PULLS: usize = 2;

fn pull(opaque: i32) -> HeldPull {
    let request = PullRequest {
        group: "g".into(),
        topic: TOPIC.into(),
        queue_id: 0,
        offset: 0,
        max_messages: 1,
        max_bytes: None,
        flags: PullFlags(2),
        subscription: None,
        sub_version: 0,
    };
    let connection = Arc::new(Connection::detached(ConnectionId(opaque as u64), ([127, 0, 0, 1], 1).into()));
    let (code, since) = (RequestCode::PULL_MESSAGE, Stopwatch::start());
    HeldPull { connection, opaque, codec: Codec::Json, code, since, request }
}

/// What `broker/src/remoting/pulls.rs` does with a pull that found nothing; `false` when there is something by now.
fn look_and_hold(log: &Log, pulls: &HeldPulls, queue: QueueNumber, opaque: i32) -> bool {
    if log.offsets(queue).max != 0 {
        return false;
    }
    thread::yield_now();
    assert!(pulls.hold(queue, i64::MAX, pull(opaque)));
    if log.offsets(queue).max != 0 {
        pulls.arrived(std::iter::once(queue));
    }
    true
}

fn check(flush: Flush) {
    let Setup { log, writer, pulls } = setup(flush);
    let queue = log.find_queue(TOPIC, 0).unwrap();
    let syncing = writer.clone();
    let syncer = thread::spawn(move || syncing.sync_until_stopped());
    let (appending, body) = (writer.clone(), appends(&log, "hello"));
    let appender = thread::spawn(move || appending.append_then(body, |_, _| {}));
    let pullers = (0..PULLS as i32).map(|opaque| {
        let (log, pulls) = (log.clone(), pulls.clone());
        thread::spawn(move || usize::from(look_and_hold(&log, &pulls, queue, opaque)))
    });
    let pullers: Vec<_> = pullers.collect();
    let answering = pulls.clone();
    // The task that answers held pulls. A pull that is not woken lets it wait for ever.
    let answerer = thread::spawn(move || {
        let mut answered = 0;
        move_on(&answering, &mut answered);
        answered
    });
    appender.join().unwrap();
    let held: usize = pullers.into_iter().map(|puller| puller.join().unwrap()).sum();
    // Pulls that found their message were never held: they are taken off what the task waits for.
    for opaque in held..PULLS {
        assert!(pulls.hold(queue, 0, pull(opaque as i32)));
        pulls.wake_where(|_| true);
    }
    assert_eq!(answerer.join().unwrap(), PULLS);
    writer.stop();
    syncer.join().unwrap();
}

/// Takes what is ready until all pulls were taken.
fn move_on(pulls: &HeldPulls, answered: &mut usize) {
    while *answered < PULLS {
        let ready = pulls.take_ready(i64::MIN, usize::MAX);
        if ready.is_empty() {
            shuttle::future::block_on(pulls.woken());
        }
        *answered += ready.len();
    }
}

#[test]
fn a_pull_is_woken_by_a_message_that_arrives_while_it_is_held() {
    shuttle::check_random(|| check(Flush::Async), runs());
}

#[test]
fn a_pull_is_woken_by_a_message_that_becomes_durable_while_it_is_held() {
    shuttle::check_random(|| check(Flush::Sync), runs());
}
