//! Checks of messages that arrive.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use client::clock;
use protocol::record::Record;
use tokio::time::Instant;

use super::consuming::{Pulling, Queue, Since};
use super::label::{self, ROLLED_BACK};
use super::producing::Schedule;
use super::tally::Tally;
use super::verify::Fit;

/// When delayed messages were due and came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// The earliest time at which one was due, in microseconds since 1970.
    pub first_due_us: Option<i64>,
    /// When the last one came, in microseconds since 1970.
    pub last_came_us: Option<i64>,
}

impl Arrivals {
    /// Adds what another connection saw.
    pub fn add(&mut self, other: Arrivals) {
        self.first_due_us = match (self.first_due_us, other.first_due_us) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.last_came_us = self.last_came_us.max(other.last_came_us);
    }
}

/// Checks the messages of one answer.
pub struct Checks<'c> {
    /// What was asked for.
    pub pulling: &'c Pulling,
    /// Name of the queue's topic.
    pub topic: &'c str,
    /// Where faults and counts go.
    pub tally: &'c mut Tally,
    /// Where times of delayed messages go.
    pub arrivals: &'c mut Arrivals,
    /// When the answer arrived.
    pub now: Instant,
    /// Times of the run.
    pub schedule: Schedule,
}

impl Checks<'_> {
    /// Checks every record; returns the offset after the last.
    pub fn records(&mut self, queue: &mut Queue, mut body: &[u8]) -> i64 {
        let mut expected = queue.next;
        let (mut messages, mut own, mut body_bytes) = (0, 0, 0);
        let wall_us = match self.pulling.since {
            Since::Birth => self.schedule.wall_us(self.now),
            // The broker's clock is the system's, which may be corrected during a long run.
            Since::Due => clock::now_us(),
            Since::Asked | Since::Intended => 0,
        };
        while !body.is_empty() {
            let record = match Record::parse(body) {
                Ok(record) => record,
                Err(error) => {
                    self.tally.fault("broken record", || error.to_string());
                    break;
                }
            };
            body = &body[record.size() as usize..];
            let offset = record.queue_offset() as i64;
            self.check_place(queue, &record, expected);
            if self.pulling.checksums
                && let Err(error) = record.verify_body()
            {
                self.tally.fault("broken body", || error.to_string());
            }
            if self.pulling.since == Since::Birth {
                self.tally.delivery(self.now, wall_us - born_us(&record));
            }
            if let Some(run) = self.pulling.run {
                own += u64::from(self.check_label(queue, &record, run, wall_us));
            }
            expected = offset + 1;
            messages += 1;
            body_bytes += record.body().len() as u64;
        }
        if messages == 0 {
            self.tally.fault("answer without messages", String::new);
        }
        self.tally.answer(self.now, messages, body_bytes);
        let progress = self.tally.progress();
        progress.came.fetch_add(messages, Ordering::Relaxed);
        progress.own_came.fetch_add(own, Ordering::Relaxed);
        expected
    }

    fn check_place(&mut self, queue: &Queue, record: &Record<'_>, expected: i64) {
        let (id, offset) = (queue.address.queue, record.queue_offset());
        if offset as i64 != expected {
            self.tally.fault("offset out of order", || format!("queue {id}: {offset} where {expected} was to come"));
        }
        if (record.topic(), record.queue_id()) != (self.topic, id) {
            self.tally.fault("message of another queue", || format!("{} {}", record.topic(), record.queue_id()));
        }
    }

    /// Whether this is a message of the run that did not come before.
    fn check_label(&mut self, queue: &mut Queue, record: &Record<'_>, run: u32, wall_us: i64) -> bool {
        let Some((origin, label)) = label::read(record.body()).filter(|(origin, _)| origin.run == run) else {
            return false;
        };
        let fit = match &self.pulling.scattered {
            None => queue.streams.entry(origin.producer).or_default().take(label),
            Some(scattered) => {
                let mut scattered = scattered.lock().unwrap_or_else(PoisonError::into_inner);
                scattered.take(origin.producer, label, &mut queue.floors)
            }
        };
        let kind = match fit {
            Fit::Good => None,
            Fit::Duplicate => Some("duplicate"),
            Fit::OutOfOrder => Some("out of order"),
            Fit::RolledBack => Some("rolled back and delivered"),
            Fit::Garbled => Some("garbled label"),
        };
        if let Some(kind) = kind {
            self.tally.fault(kind, || {
                let number = if label.sequence == ROLLED_BACK { -1 } else { label.sequence as i64 };
                let (queue, offset) = (queue.address.queue, record.queue_offset());
                format!("number {number} of connection {} at offset {offset} of queue {queue}", origin.producer)
            });
        }
        match self.pulling.since {
            Since::Intended => {
                let passed = self.now.saturating_duration_since(self.schedule.start).as_nanos() as u64;
                self.tally.delivery(self.now, (passed.saturating_sub(label.time) / 1000) as i64);
            }
            Since::Due => self.check_due(record, label.time as i64 * 1000, wall_us),
            Since::Asked | Since::Birth => {}
        }
        matches!(fit, Fit::Good | Fit::OutOfOrder)
    }

    fn check_due(&mut self, record: &Record<'_>, due_us: i64, wall_us: i64) {
        self.tally.delivery(self.now, wall_us - due_us);
        if wall_us < due_us || record.store_timestamp_ms() * 1000 < due_us {
            self.tally.fault("delivered early", || {
                let early_us = due_us - wall_us.min(record.store_timestamp_ms() * 1000);
                format!("{:.1} ms", early_us as f64 / 1e3)
            });
        }
        self.arrivals.add(Arrivals { first_due_us: Some(due_us), last_came_us: Some(wall_us) });
    }
}

/// When a message was born, in microseconds since 1970: producers of this tool put those below a millisecond into the
/// message's flag.
fn born_us(record: &Record<'_>) -> i64 {
    record.born_timestamp_ms() * 1000 + i64::from(record.flag().clamp(0, 999))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::SocketAddr;
    use std::time::Duration;

    use protocol::frame::Codec;
    use protocol::record::{self, NewRecord};
    use protocol::sys_flag::SysFlag;

    use super::*;
    use crate::bench::consuming::Until;
    use crate::bench::label::{LABEL_BYTES, Label, Origin};
    use crate::bench::send_frame::Address;
    use crate::bench::topics::Topics;

    fn stored(offset: u64, body: &[u8]) -> Vec<u8> {
        let host = SocketAddr::from(([127, 0, 0, 1], 10911));
        let mut bytes = Vec::new();
        let new = NewRecord {
            topic: "bench",
            queue_id: 1,
            flag: 0,
            sys_flag: SysFlag(0),
            born_timestamp_ms: 1,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body,
            properties: b"",
        };
        new.encode(&mut bytes).unwrap();
        record::stamp(&mut bytes, offset, 0, 1);
        bytes
    }

    fn labelled(offset: u64, sequence: u64, time: u64) -> Vec<u8> {
        let mut body = [b'x'; LABEL_BYTES];
        Origin { run: 9, producer: 0 }.put(&mut body);
        Label { sequence, answered_below: sequence.min(offset), time }.put(&mut body);
        stored(offset, &body)
    }

    /// Faults of one answer, and how many messages of the run came.
    fn check(since: Since, bytes: &[u8]) -> (BTreeMap<String, u64>, u64) {
        let now = Instant::now();
        let pulling = Pulling {
            topics: Topics::one("bench"),
            group: "g".into(),
            codec: Codec::Json,
            messages_max: 32,
            until: Until::CaughtUp,
            since,
            checksums: true,
            run: Some(9),
            scattered: None,
        };
        let mut tally = Tally::new(now..now + Duration::from_secs(1), std::sync::Arc::default());
        let schedule = Schedule { start: now, end: now, start_us: 0 };
        let mut queue = Queue::new(Address { topic: 0, queue: 1 }, 0, now);
        Checks {
            pulling: &pulling,
            topic: "bench",
            tally: &mut tally,
            arrivals: &mut Arrivals::default(),
            now,
            schedule,
        }
        .records(&mut queue, bytes);
        let own = tally.progress().own_came.load(Ordering::Relaxed);
        (tally.outcome(false).faults.into_iter().map(|(kind, fault)| (kind, fault.count)).collect(), own)
    }

    fn faults(kinds: &[(&str, u64)]) -> BTreeMap<String, u64> {
        kinds.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect()
    }

    #[test]
    fn messages_once_and_in_order_are_no_fault() {
        let bytes = [labelled(0, 0, 0), stored(1, b"someone else's"), labelled(2, 1, 0)].concat();
        assert_eq!(check(Since::Asked, &bytes), (faults(&[]), 2));
    }

    #[test]
    fn duplicates_reordering_and_what_was_rolled_back_are_faults() {
        let bytes = [labelled(0, 0, 0), labelled(1, 0, 0), labelled(2, 2, 0), labelled(3, 1, 0)].concat();
        assert_eq!(check(Since::Asked, &bytes), (faults(&[("duplicate", 1), ("out of order", 1)]), 3));
        let rolled_back = labelled(0, ROLLED_BACK, 0);
        assert_eq!(check(Since::Asked, &rolled_back), (faults(&[("rolled back and delivered", 1)]), 0));
    }

    #[test]
    fn offsets_queues_and_checksums_are_checked() {
        let mut broken = stored(2, b"body");
        let at = broken.windows(4).position(|window| window == b"body").unwrap();
        broken[at] ^= 1;
        let expected = faults(&[("offset out of order", 1), ("broken body", 1)]);
        assert_eq!(check(Since::Asked, &[stored(0, b"a"), broken].concat()).0, expected);
        assert_eq!(
            check(Since::Asked, b"no record").0,
            faults(&[("broken record", 1), ("answer without messages", 1)])
        );
    }

    #[test]
    fn a_delayed_message_that_comes_before_its_time_is_a_fault() {
        let late = labelled(0, 0, 0);
        assert_eq!(check(Since::Due, &late).0, faults(&[]));
        let due_ms = (clock::now_us() / 1000 + 60_000).unsigned_abs();
        assert_eq!(check(Since::Due, &labelled(0, 0, due_ms)).0, faults(&[("delivered early", 1)]));
    }

    #[test]
    fn arrivals_of_several_connections_are_one() {
        let mut all = Arrivals::default();
        all.add(Arrivals { first_due_us: Some(5), last_came_us: Some(7) });
        all.add(Arrivals { first_due_us: Some(3), last_came_us: Some(6) });
        all.add(Arrivals::default());
        assert_eq!(all, Arrivals { first_due_us: Some(3), last_came_us: Some(7) });
    }
}
