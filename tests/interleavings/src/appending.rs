//! Several threads append: no submission is left behind, none is answered twice, and those of one connection stay in
//! order.

use std::sync::Arc;

use log::{Log, LogPosition};
use shuttle::thread;

use crate::config::Flush;
use crate::setup::{Setup, appends, runs, setup};
use crate::sync::{Condvar, Mutex};
use crate::writer::{Appends, Outcome, Submission, Submitted, Writer};

/// Threads that serve connections.
const CONNECTIONS: usize = 3;
/// What each submits.
const SUBMISSIONS: usize = 2;

/// How submissions ended, in that order.
#[derive(Default)]
struct Ends {
    ends: Mutex<Vec<End>>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    connection: usize,
    number: usize,
    position: LogPosition,
    is_durable: bool,
}

struct Sent {
    appends: Appends,
    connection: usize,
    number: usize,
    log: Arc<Log>,
    ends: Arc<Ends>,
}

impl Submission for Sent {
    fn appends(&mut self) -> &mut Appends {
        &mut self.appends
    }

    fn bytes(&self) -> usize {
        self.appends.batch.bytes()
    }

    fn complete(&mut self, outcome: Outcome<'_>) {
        assert!(matches!(outcome, Outcome::Stored), "{outcome:?}");
        let position = self.appends.batch.placed()[0].position;
        let is_durable = position < self.log.durable();
        let end = End { connection: self.connection, number: self.number, position, is_durable };
        self.ends.ends.lock().unwrap().push(end);
        self.ends.changed.notify_all();
    }
}

impl Ends {
    fn wait_for(&self, count: usize) {
        let ends = self.ends.lock().unwrap();
        drop(self.changed.wait_while(ends, |ends| ends.len() < count).unwrap());
    }

    /// Everything ended once, and what a connection submitted lies in the log in that order.
    fn check(&self, count: usize) {
        let mut ends = self.ends.lock().unwrap().clone();
        ends.sort_by_key(|end| end.position);
        for connection in 0..CONNECTIONS {
            let of_connection = ends.iter().filter(|end| end.connection == connection);
            let numbers: Vec<usize> = of_connection.map(|end| end.number).collect();
            assert_eq!(numbers, (0..count / CONNECTIONS).collect::<Vec<_>>(), "{ends:?}");
        }
        assert_eq!(ends.len(), count, "{ends:?}");
    }
}

/// Submits as a connection does: the next one without waiting for the answer to the last. `rest` is what the thread
/// does when it has nothing else to do.
fn submit_all(
    writer: &Arc<Writer>,
    log: &Arc<Log>,
    ends: &Arc<Ends>,
    rest: fn(&Writer),
) -> Vec<thread::JoinHandle<()>> {
    let connections = (0..CONNECTIONS).map(|connection| {
        let (writer, log, ends) = (writer.clone(), log.clone(), ends.clone());
        thread::spawn(move || {
            for number in 0..SUBMISSIONS {
                let appends = appends(&log, &format!("{connection}.{number}"));
                let sent = Sent { appends, connection, number, log: log.clone(), ends: ends.clone() };
                if let Submitted::Done(mut sent, result) = writer.submit(Box::new(sent)) {
                    result.unwrap();
                    sent.complete(Outcome::Stored);
                }
                rest(&writer);
            }
        })
    });
    connections.collect()
}

#[test]
fn nothing_is_left_behind_when_the_last_submitter_returns() {
    shuttle::check_random(
        || {
            let Setup { log, writer, .. } = setup(Flush::Async);
            let ends = Arc::new(Ends::default());
            for connection in submit_all(&writer, &log, &ends, |_| {}) {
                connection.join().unwrap();
            }
            ends.check(CONNECTIONS * SUBMISSIONS);
            assert!(writer.wind_up(), "something still waits");
        },
        runs(),
    );
}

#[test]
fn with_sync_flush_everybody_is_answered_once_and_only_when_durable() {
    shuttle::check_random(
        || {
            let Setup { log, writer, .. } = setup(Flush::Sync);
            let ends = Arc::new(Ends::default());
            let syncing = writer.clone();
            let syncer = thread::spawn(move || syncing.sync_until_stopped());
            for connection in submit_all(&writer, &log, &ends, |_| {}) {
                connection.join().unwrap();
            }
            // Nobody calls the syncing thread again: a signal that was lost would let this wait for ever.
            ends.wait_for(CONNECTIONS * SUBMISSIONS);
            ends.check(CONNECTIONS * SUBMISSIONS);
            assert!(ends.ends.lock().unwrap().iter().all(|end| end.is_durable), "answered before it was durable");
            assert!(writer.wind_up(), "something still waits");
            writer.stop();
            syncer.join().unwrap();
        },
        runs(),
    );
}

#[test]
fn what_was_submitted_before_the_stop_is_synced_by_it() {
    shuttle::check_random(
        || {
            let Setup { log, writer, .. } = setup(Flush::Sync);
            let ends = Arc::new(Ends::default());
            let syncing = writer.clone();
            let syncer = thread::spawn(move || syncing.sync_until_stopped());
            for connection in submit_all(&writer, &log, &ends, |_| {}) {
                connection.join().unwrap();
            }
            writer.stop();
            syncer.join().unwrap();
            ends.check(CONNECTIONS * SUBMISSIONS);
        },
        runs(),
    );
}

/// All threads here share what one thread keeps for itself, so all of them come to rest.
#[test]
fn with_threads_that_sync_at_rest_everybody_is_answered_once_and_only_when_durable() {
    shuttle::check_random(
        || {
            let Setup { log, writer, .. } = setup(Flush::Sync);
            let ends = Arc::new(Ends::default());
            let syncing = writer.clone();
            let syncer = thread::spawn(move || syncing.sync_until_stopped());
            for connection in submit_all(&writer, &log, &ends, Writer::sync_at_rest) {
                connection.join().unwrap();
            }
            ends.wait_for(CONNECTIONS * SUBMISSIONS);
            ends.check(CONNECTIONS * SUBMISSIONS);
            assert!(ends.ends.lock().unwrap().iter().all(|end| end.is_durable), "answered before it was durable");
            writer.stop();
            syncer.join().unwrap();
        },
        runs(),
    );
}
