//! Messages that come back: never early, never lost, delivered once whatever crashes.

use std::collections::BTreeMap;

use apogee_log::{Due, Log, LogPosition, MemoryDisk, PowerCut};
use proptest::prelude::*;

use crate::support::*;

const HOUR_MS: i64 = 3_600_000;
const TOPIC: &str = "rmq_sys_wheel_timer";

fn delayed(body: &str, due_ms: i64) -> Message {
    message(TOPIC, 0, body).due(due_ms)
}

fn positions(log: &Log, now_ms: i64) -> Vec<u64> {
    log.due_until(now_ms, 1000).unwrap().into_iter().map(|due| due.position.0).collect()
}

#[test]
fn each_is_given_out_once_when_its_time_has_come() {
    let log = open(&MemoryDisk::new());
    let placed =
        append(&log, &[delayed("late", 5 * HOUR_MS), delayed("soon", 1000), delayed("now", 10), delayed("b", 10)], 5);
    assert_eq!(log.next_due_ms(), Some(0));
    assert_eq!(positions(&log, 9), [0; 0]);
    assert_eq!(log.next_due_ms(), Some(10));
    assert_eq!(log.due_until(10, 1).unwrap()[0].position, placed[2].position);
    assert_eq!(positions(&log, 999), [placed[3].position.0]);
    assert_eq!(positions(&log, 999), [0; 0]);
    log.handed_back(placed[3].position);
    assert_eq!(positions(&log, 999), [placed[3].position.0]);
    assert_eq!(log.next_due_ms(), Some(1000));
    // A clock that jumps ahead and back.
    assert_eq!(positions(&log, 10 * HOUR_MS), [placed[1].position.0, placed[0].position.0]);
    let more = append(&log, &[delayed("again", 20)], 5);
    assert_eq!(positions(&log, 19), [0; 0]);
    assert_eq!(positions(&log, 20), [more[0].position.0]);
}

#[test]
fn what_waits_is_counted_by_hour() {
    let log = open(&MemoryDisk::new());
    positions(&log, 0);
    let due = [5, 7, HOUR_MS, 50 * HOUR_MS, 50 * HOUR_MS].map(|due_ms| delayed("x", due_ms));
    let placed = append(&log, &due, 5);
    let backlog = |now_ms| log.due_backlog(now_ms);
    assert_eq!(backlog(6).hours, [(0, 2), (1, 1), (50, 2)]);
    assert_eq!((backlog(6).overdue, backlog(6).first_due_ms), (1, Some(5)));
    // What is in a file counts as well.
    checkpoint(&log);
    assert_eq!(backlog(6).hours, [(0, 2), (1, 1), (50, 2)]);
    append(&log, &[message(TOPIC, 0, "done").settles(placed[0].position)], 6);
    assert_eq!((backlog(6).hours[0], backlog(6).overdue), ((0, 1), 0));
}

#[test]
fn what_is_settled_before_its_time_does_not_come() {
    let disk = MemoryDisk::new();
    let log = open(&disk);
    let placed = append(&log, &[delayed("near", 1000), delayed("far", 50 * HOUR_MS)], 5);
    positions(&log, 0);
    log.maintain().unwrap();
    for placed in &placed {
        append(&log, &[message(TOPIC, 0, "recall").settles(placed.position)], 6);
    }
    assert_eq!(positions(&log, 100 * HOUR_MS), [0; 0]);
    assert_eq!(positions(&open(&disk.fork()), 100 * HOUR_MS), [0; 0]);
    checkpoint(&log);
    assert_eq!(positions(&open(&disk.fork()), 100 * HOUR_MS), [0; 0]);
}

#[test]
fn what_is_taken_is_given_to_nobody_else() {
    let log = open(&MemoryDisk::new());
    positions(&log, 0);
    for due_ms in [1000, 50 * HOUR_MS] {
        let placed = append(&log, &[delayed("a", due_ms), delayed("b", due_ms), delayed("c", due_ms)], 5);
        checkpoint(&log);
        let due = |index: usize| Due { due_ms, position: placed[index].position, size: placed[index].size };
        assert!(log.take_waiting(due(0)) && !log.take_waiting(due(0)));
        assert!(log.take_waiting(due(1)));
        log.handed_back(placed[1].position);
        assert!(log.take_waiting(due(2)));
        append(&log, &[message("other", 0, "recall").settles(placed[2].position)], 6);
        assert_eq!(positions(&log, due_ms), [placed[1].position.0]);
        assert!(!log.take_waiting(due(1)) && !log.take_waiting(due(2)));
        log.handed_back(placed[0].position);
        assert_eq!(positions(&log, due_ms), [placed[0].position.0]);
        assert!(!log.take_waiting(Due { due_ms: due_ms + 77 * HOUR_MS, ..due(0) }));
    }
}

#[test]
fn what_was_taken_though_it_waited_no_more_is_settled_twice_without_harm() {
    let disk = MemoryDisk::new();
    let log = open(&disk);
    positions(&log, 0);
    let due_ms = 50 * HOUR_MS;
    let placed = append(&log, &[delayed("a", due_ms), delayed("b", due_ms)], 5);
    append(&log, &[message("other", 0, "recall").settles(placed[0].position)], 6);
    checkpoint(&log);
    let due = Due { due_ms, position: placed[0].position, size: placed[0].size };
    assert!(log.take_waiting(due), "only the file knows that it does not wait");
    assert_eq!(positions(&log, due_ms), [placed[1].position.0]);
    append(&log, &[message("other", 0, "recall").settles(placed[0].position)], 6);
    append(&log, &[message("real", 0, "b").settles(placed[1].position)], 6);
    checkpoint(&log);
    assert_eq!(positions(&log, due_ms), [0; 0]);
    assert_eq!(positions(&open(&disk.fork()), due_ms), [0; 0]);
}

#[derive(Clone, Debug)]
enum Step {
    Delay { due_ms: i64 },
    Recall { nth: usize },
    TakeAndHandBack { nth: usize },
    Deliver { now_ms: i64, max: usize },
    HandBack { now_ms: i64 },
    Checkpoint,
    Maintain,
    Kill,
    Close,
    PowerCut { seed: u64 },
    LoseIndexes,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let time = prop_oneof![0..3 * HOUR_MS, 0..2000_i64, 0..200 * HOUR_MS];
    let step = prop_oneof![
        8 => time.clone().prop_map(|due_ms| Step::Delay { due_ms }),
        6 => (time.clone(), 1..5_usize).prop_map(|(now_ms, max)| Step::Deliver { now_ms, max }),
        1 => time.prop_map(|now_ms| Step::HandBack { now_ms }),
        2 => (0..9_usize).prop_map(|nth| Step::Recall { nth }),
        2 => (0..9_usize).prop_map(|nth| Step::TakeAndHandBack { nth }),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Maintain),
        1 => Just(Step::Kill),
        1 => Just(Step::Close),
        1 => any::<u64>().prop_map(|seed| Step::PowerCut { seed }),
        1 => Just(Step::LoseIndexes),
    ];
    proptest::collection::vec(step, 1..80)
}

/// Appends, syncs, and notes what waits.
fn run(steps: &[Step]) {
    let mut disk = MemoryDisk::new();
    let mut boot = 0;
    let mut log = open_with(&disk, durable_config()).0;
    let mut pending = BTreeMap::new();
    for step in steps {
        match step {
            Step::Delay { due_ms } => {
                let placed = append(&log, &[delayed("x", *due_ms)], 5);
                log.sync().unwrap();
                pending.insert(placed[0].position.0, *due_ms);
            }
            Step::Recall { nth } => {
                if let Some((position, due_ms)) = pending.iter().nth(*nth).map(|(position, due)| (*position, *due)) {
                    assert!(log.take_waiting(Due { due_ms, position: LogPosition(position), size: 100 }));
                    append(&log, &[message("recalled", 0, "x").settles(LogPosition(position))], 6);
                    log.sync().unwrap();
                    pending.remove(&position);
                }
            }
            Step::TakeAndHandBack { nth } => {
                if let Some((position, due_ms)) = pending.iter().nth(*nth).map(|(position, due)| (*position, *due)) {
                    assert!(log.take_waiting(Due { due_ms, position: LogPosition(position), size: 100 }));
                    log.handed_back(LogPosition(position));
                }
            }
            Step::Deliver { now_ms, max } => {
                for due in log.due_until(*now_ms, *max).unwrap() {
                    assert!(due.due_ms <= *now_ms, "early");
                    assert_eq!(pending.remove(&due.position.0), Some(due.due_ms), "delivered twice");
                    append(&log, &[message("real", 0, "x").settles(due.position)], 6);
                    log.sync().unwrap();
                }
            }
            Step::HandBack { now_ms } => {
                for due in log.due_until(*now_ms, 3).unwrap() {
                    log.handed_back(due.position);
                }
            }
            Step::Checkpoint => checkpoint(&log),
            Step::Maintain => log.maintain().unwrap(),
            Step::Kill => {
                disk = disk.fork();
                log = open_with(&disk, durable_config()).0;
            }
            Step::Close => {
                close(log);
                log = open_with(&disk, durable_config()).0;
            }
            Step::PowerCut { seed } => {
                disk.cut_power(PowerCut::Torn { seed: *seed });
                boot += 1;
                let config = apogee_log::LogConfig { boot_id: format!("boot {boot}"), ..durable_config() };
                log = open_with(&disk, config).0;
            }
            Step::LoseIndexes => {
                disk = disk.fork();
                disk.tamper("checkpoint", |bytes| bytes[20] ^= 1).unwrap();
                log = open_with(&disk, durable_config()).0;
            }
        }
    }
    let rest: BTreeMap<u64, i64> =
        log.due_until(i64::MAX / 2, 1000).unwrap().iter().map(|due| (due.position.0, due.due_ms)).collect();
    assert_eq!(rest, pending);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]
    #[test]
    fn every_message_is_delivered_exactly_once_over_crashes(steps in steps()) {
        run(&steps);
    }
}

#[test]
fn a_busy_hour_is_written_anew_when_most_of_it_is_settled() {
    let disk = MemoryDisk::new();
    let big = apogee_log::LogConfig { segment_bytes: 1 << 20, ..config() };
    let log = open_with(&disk, big.clone()).0;
    log.due_until(0, 1).unwrap();
    let mut waiting = Vec::new();
    for n in 0..3000_i64 {
        let placed = append(&log, &[delayed("x", 100 + n)], 5);
        waiting.push(placed[0].position);
    }
    checkpoint(&log);
    for position in &waiting[10..] {
        append(&log, &[message("real", 0, "x").settles(*position)], 5);
    }
    checkpoint(&log);
    checkpoint(&log);
    let names = apogee_log::Disk::list(&disk, "due").unwrap();
    assert_eq!(names.len(), 1, "{names:?}");
    // A header and ten entries.
    assert_eq!(disk.content(&format!("due/{}", names[0])).unwrap().len(), 24 + 10 * 24);
    let log = open_with(&disk.fork(), big).0;
    let expected: Vec<u64> = waiting[..10].iter().map(|position: &LogPosition| position.0).collect();
    assert_eq!(positions(&log, HOUR_MS), expected);
}
