//! Appending, pulling, and what a deleted queue leaves.

use apogee_log::{
    AppendError, Boundary, DELETED_QUEUES_TOPIC, LogConfig, LogPosition, MemoryDisk, PullLimits, PullOutcome,
    RECORD_BYTES_MAX, ReadError,
};

use crate::support::*;

const LIMITS: PullLimits = PullLimits { max_messages: 32, max_bytes: 1 << 20 };

#[test]
fn offsets_are_dense_for_each_queue_and_positions_lead_to_the_records() {
    let log = open(&MemoryDisk::new());
    let placed = append(&log, &[message("a", 0, "one"), message("b", 1, "two"), message("a", 0, "three")], 10);
    assert_eq!(placed.iter().map(|placed| placed.queue_offset).collect::<Vec<_>>(), [0, 0, 1]);
    assert_eq!(bodies(&log, "a", 0), ["one", "three"]);
    assert_eq!(bodies(&log, "b", 1), ["two"]);
    assert_eq!(log.find_queue("b", 0), None);
    assert_ne!(placed[0].position, LogPosition(0));
}

#[test]
fn a_pull_tells_where_it_stands() {
    let log = open(&MemoryDisk::new());
    let queue = log.queue("a", 0).unwrap();
    let outcome = |offset| {
        let pulled = log.pull(queue, offset, LIMITS, &|_| true, &mut Vec::new()).unwrap();
        (pulled.outcome, pulled.next_offset)
    };
    assert_eq!(outcome(5), (PullOutcome::Empty, 0));
    append(&log, &[message("a", 0, "one"), message("a", 0, "two")], 10);
    assert_eq!(outcome(0), (PullOutcome::Found { count: 2 }, 2));
    assert_eq!(outcome(1), (PullOutcome::Found { count: 1 }, 2));
    assert_eq!(outcome(2), (PullOutcome::AtEnd, 2));
    assert_eq!(outcome(3), (PullOutcome::BeyondEnd, 2));
}

/// Zeroes what the commit log holds, so that only what was read before can be found.
fn wipe(disk: &MemoryDisk) {
    for name in apogee_log::Disk::list(disk, "commitlog").unwrap() {
        disk.tamper(&format!("commitlog/{name}"), |bytes| bytes.fill(0)).unwrap();
    }
}

#[test]
fn the_pull_that_goes_on_is_read_ahead_once() {
    let disk = MemoryDisk::new();
    let log = open(&disk);
    let texts: Vec<String> = (0..12).map(|n| n.to_string()).collect();
    append(&log, &texts.iter().map(|text| message("a", 0, text)).collect::<Vec<_>>(), 10);
    let queue = log.queue("a", 0).unwrap();
    let limits = PullLimits { max_messages: 4, max_bytes: 1 << 20 };
    let pull = |offset, limits| {
        let mut out = Vec::new();
        let (pulled, next) = log.pull_all(queue, offset, limits, &mut out).unwrap();
        let found: Vec<_> = protocol::record::records(&out).map(|record| record.body().to_vec()).collect();
        ((found, pulled.next_offset, pulled.max_offset), next)
    };
    let bodies = |range: std::ops::Range<usize>| texts[range].iter().map(|text| text.as_bytes().to_vec()).collect();
    let (first, next) = pull(0, limits);
    assert_eq!(first, (bodies(0..4), 4, 12));
    log.read_ahead(next.unwrap());
    // Fewer follow than one answer holds.
    assert_eq!(pull(8, PullLimits { max_messages: 3, ..limits }).1, None);
    append(&log, &[message("a", 0, "later")], 10);
    wipe(&disk);
    // Another question is not answered with it, and the same one only once; the end is told as it is now.
    let other = PullLimits { max_messages: 5, max_bytes: 1 << 20 };
    assert_eq!(pull(4, other).0.0, Vec::<Vec<u8>>::new());
    assert_eq!(pull(4, limits).0, (bodies(4..8), 8, 13));
    assert_eq!(pull(4, limits).0.0, Vec::<Vec<u8>>::new());
}

#[test]
fn answers_that_nobody_fetches_make_room_for_others_and_stay_few() {
    let disk = MemoryDisk::new();
    let log = open(&disk);
    append(&log, &(0..1000).map(|n| message("a", 0, &n.to_string())).collect::<Vec<_>>(), 10);
    let queue = log.queue("a", 0).unwrap();
    let limits = PullLimits { max_messages: 2, max_bytes: 1 << 20 };
    for round in 0..200 {
        let (_, next) = log.pull_all(queue, round * 4, limits, &mut Vec::new()).unwrap();
        log.read_ahead(next.unwrap());
    }
    wipe(&disk);
    let is_kept = |round: &u64| {
        let (pulled, _) = log.pull_all(queue, round * 4 + 2, limits, &mut Vec::new()).unwrap();
        pulled.outcome == PullOutcome::Found { count: 2 }
    };
    let kept: Vec<u64> = (0..200).filter(is_kept).collect();
    assert!((1..=16).contains(&kept.len()) && kept[0] >= 100, "{kept:?}");
}

#[test]
fn a_pull_returns_at_least_one_message_and_filters_by_tag() {
    let log = open(&MemoryDisk::new());
    let messages: Vec<_> =
        (0..300).map(|n| message("a", 0, &n.to_string()).tag(if n % 50 == 0 { "rare" } else { "common" })).collect();
    messages.chunks(10).for_each(|chunk| drop(append(&log, chunk, 10)));
    let queue = log.queue("a", 0).unwrap();
    let tight = PullLimits { max_messages: 32, max_bytes: 1 };
    let pulled = log.pull(queue, 7, tight, &|_| true, &mut Vec::new()).unwrap();
    assert_eq!((pulled.outcome, pulled.next_offset), (PullOutcome::Found { count: 1 }, 8));

    let rare = protocol::record::java_string_hash("rare");
    let mut out = Vec::new();
    let pulled = log.pull(queue, 1, LIMITS, &|hash| hash == rare, &mut out).unwrap();
    assert_eq!((pulled.outcome, pulled.next_offset), (PullOutcome::Found { count: 5 }, 300));
    let found: Vec<_> = protocol::record::records(&out).map(|record| record.queue_offset()).collect();
    assert_eq!(found, [50, 100, 150, 200, 250]);
    let pulled = log.pull(queue, 251, LIMITS, &|hash| hash == rare, &mut out).unwrap();
    assert_eq!((pulled.outcome, pulled.next_offset), (PullOutcome::NothingMatched, 300));
}

#[test]
fn a_tested_pull_returns_what_passes_and_goes_on_after_what_it_tested() {
    let log = open(&MemoryDisk::new());
    let messages: Vec<_> = (0..3000)
        .map(|n: i32| message("a", 0, "x").tag(["x", "y"][(n % 2) as usize]).property("n", &(n % 100).to_string()))
        .collect();
    messages.chunks(10).for_each(|chunk| drop(append(&log, chunk, 10)));
    let queue = log.queue("a", 0).unwrap();
    let pull = |offset, limits, hash: Option<i32>, n: &str| {
        let mut out = b"before".to_vec();
        let test = |record: &apogee_log::Record<'_>| record.properties().get("n") == Some(n);
        let accept = |found| hash.is_none_or(|hash| hash == found);
        let pulled = log.pull_tested(queue, offset, limits, &accept, &test, &mut out).unwrap();
        let found: Vec<_> = protocol::record::records(&out[6..]).map(|record| record.queue_offset()).collect();
        (pulled.outcome, pulled.next_offset, found)
    };
    let found = |count| PullOutcome::Found { count };
    let few = PullLimits { max_messages: 3, max_bytes: 1 << 20 };
    assert_eq!(pull(0, few, None, "50"), (found(3), 256, vec![50, 150, 250]));
    assert_eq!(pull(251, few, None, "50"), (found(3), 571, vec![350, 450, 550]));
    let tight = PullLimits { max_messages: 9, max_bytes: 1 };
    assert_eq!(pull(0, tight, None, "50"), (found(1), 150, vec![50]));
    // It looks at 1024 entries and no more, whether they pass or not.
    let all = PullLimits { max_messages: 5000, max_bytes: 1 << 20 };
    assert_eq!(pull(0, all, None, "none"), (PullOutcome::NothingMatched, 1024, vec![]));
    assert_eq!(pull(2500, all, None, "none"), (PullOutcome::NothingMatched, 3000, vec![]));
    assert_eq!(pull(1024, all, None, "99").0, found(10));
    let y = protocol::record::java_string_hash("y");
    assert_eq!(pull(0, few, Some(y), "51"), (found(3), 257, vec![51, 151, 251]));
    assert_eq!(pull(0, few, Some(y), "50"), (PullOutcome::NothingMatched, 1024, vec![]));
    assert_eq!(pull(0, few, Some(0), "50"), (PullOutcome::NothingMatched, 1024, vec![]));
    assert_eq!(pull(3000, few, None, "50"), (PullOutcome::AtEnd, 3000, vec![]));
    assert_eq!(pull(3001, few, None, "50"), (PullOutcome::BeyondEnd, 3000, vec![]));
}

#[test]
fn a_tested_pull_reads_a_few_megabytes_and_no_more() {
    let config = LogConfig { segment_bytes: 16 << 20, ..config() };
    let log = open_with(&MemoryDisk::new(), config).0;
    for _ in 0..12 {
        append(&log, &[message("a", 0, &"x".repeat(1 << 20))], 1);
    }
    let queue = log.queue("a", 0).unwrap();
    let pulled = log.pull_tested(queue, 0, LIMITS, &|_| true, &|_| false, &mut Vec::new()).unwrap();
    assert_eq!((pulled.outcome, pulled.next_offset), (PullOutcome::NothingMatched, 4));
}

#[test]
fn no_position_but_those_of_records_can_be_read() {
    let disk = MemoryDisk::new();
    let log = open(&disk);
    let placed: Vec<_> =
        (0..30).flat_map(|n| append(&log, &[message("a", 0, &format!("message number {n}"))], n)).collect();
    let mut out = Vec::new();
    for position in 0..log.end().0 + 5000 {
        let is_record = placed.iter().any(|placed| placed.position.0 == position);
        let read = log.read(LogPosition(position), &mut out);
        assert_eq!(read.is_ok(), is_record, "position {position}");
        assert!(is_record || matches!(read, Err(ReadError::NoRecord { .. })));
    }
    assert_eq!(out.len(), placed.iter().map(|placed| placed.size as usize).sum::<usize>());
}

#[test]
fn store_time_never_goes_back_and_finds_offsets() {
    let log = open(&MemoryDisk::new());
    for (now_ms, body) in [(10, "a"), (20, "b"), (15, "c"), (30, "d")] {
        append(&log, &[message("a", 0, body)], now_ms);
    }
    let queue = log.queue("a", 0).unwrap();
    assert_eq!(
        (0..5).map(|offset| log.store_time(queue, offset).unwrap()).collect::<Vec<_>>(),
        [Some(10), Some(20), Some(20), Some(30), None]
    );
    let find = |time_ms, boundary| log.offset_by_time(queue, time_ms, boundary).unwrap();
    assert_eq!([5, 10, 11, 20, 21, 30, 31].map(|time| find(time, Boundary::Lower)), [0, 0, 1, 1, 3, 3, 4]);
    assert_eq!([5, 10, 11, 20, 21, 30, 31].map(|time| find(time, Boundary::Upper)), [0, 0, 0, 2, 2, 3, 3]);
    let empty = log.queue("b", 0).unwrap();
    assert_eq!(log.offset_by_time(empty, 5, Boundary::Lower).unwrap(), 0);
}

#[test]
fn a_deleted_queue_starts_again_at_zero_and_never_comes_back() {
    let disk = MemoryDisk::new();
    let log = open(&disk);
    append(&log, &[message("a", 3, "old 0"), message("a", 3, "old 1"), message("b", 0, "other")], 1);
    checkpoint(&log);
    let old = log.find_queue("a", 3).unwrap();
    let mut stale = batch(&log, &[message("a", 3, "late")]);
    assert!(log.delete_queue("a", 3).unwrap());
    assert!(!log.delete_queue("a", 3).unwrap());
    assert_eq!(log.find_queue("a", 3), None);
    assert!(matches!(log.pull(old, 0, LIMITS, &|_| true, &mut Vec::new()), Err(ReadError::UnknownQueue(_))));
    assert!(log.append(&mut stale, 1).is_err());
    append(&log, &[message("a", 3, "new 0")], 2);
    let expected = content_of(&log, "a", 3);
    assert_eq!(expected.iter().map(|(offset, ..)| *offset).collect::<Vec<_>>(), [0]);

    let killed = disk.fork();
    assert_eq!(content_of(&open(&killed), "a", 3), expected);
    checkpoint(&log);
    assert_eq!(content_of(&open(&disk.fork()), "a", 3), expected);
    let rebuilt = disk.fork();
    rebuilt.tamper("checkpoint", |bytes| bytes.clear()).unwrap();
    let (log, recovery) = open_with(&rebuilt, config());
    assert!(recovery.rebuilt.is_some(), "{recovery}");
    assert_eq!(content_of(&log, "a", 3), expected);
    assert_eq!(bodies(&log, "b", 0), ["other"]);
}

#[test]
fn all_queues_of_a_topic_are_deleted_in_one_step() {
    let disk = MemoryDisk::new();
    let log = open(&disk);
    for queue_id in 0..20 {
        append(&log, &[message("a", queue_id, "old"), message("b", queue_id, "other")], 1);
    }
    checkpoint(&log);
    assert_eq!(log.delete_queues("unknown").unwrap(), 0);
    assert_eq!(log.delete_queues(DELETED_QUEUES_TOPIC).unwrap(), 0);
    let before = disk.operations();
    assert_eq!(log.delete_queues("a").unwrap(), 20);
    // The records, the end of a segment and what begins the next one, and one sync of each: no sync for each queue.
    assert!(disk.operations() - before < 20, "{} operations", disk.operations() - before);
    assert_eq!(log.delete_queues("a").unwrap(), 0);
    assert_eq!(log.durable(), log.end());
    assert!(log.queues().iter().all(|(topic, _)| topic == "b"));
    append(&log, &[message("a", 7, "new")], 2);

    let rebuilt = disk.fork();
    rebuilt.tamper("checkpoint", |bytes| bytes.clear()).unwrap();
    for disk in [disk.fork(), rebuilt] {
        let log = open(&disk);
        assert_eq!(log.queues().len(), 21);
        assert_eq!(bodies(&log, "a", 7), ["new"]);
        assert_eq!(content_of(&log, "a", 7)[0].0, 0);
        assert_eq!(bodies(&log, "b", 19), ["other"]);
    }
}

#[test]
fn a_message_that_looks_like_a_deletion_deletes_nothing() {
    let disk = MemoryDisk::new();
    let log = open(&disk);
    append(&log, &[message("a", 3, "kept")], 1);
    // What a client can send at most: the topic and the body are its own to choose, the hosts are not.
    append(&log, &[message(DELETED_QUEUES_TOPIC, 0, "\0\0\0\u{3}a"), message("a", 3, "kept too")], 2);
    let rebuilt = disk.fork();
    rebuilt.tamper("checkpoint", |bytes| bytes.clear()).unwrap();
    for disk in [disk.fork(), rebuilt] {
        assert_eq!(bodies(&open(&disk), "a", 3), ["kept", "kept too"]);
    }
}

#[test]
fn a_record_is_refused_only_where_no_segment_could_hold_it() {
    let log = open(&MemoryDisk::new());
    let refused = try_append(&log, &[message("a", 0, &"x".repeat(2000))], 1);
    assert!(matches!(refused, Err(AppendError::RecordTooLarge { limit: 1992, .. })), "{refused:?}");
    append(&log, &[message("a", 0, &"x".repeat(1900))], 1);

    let log = open_with(&MemoryDisk::new(), LogConfig { segment_bytes: 40 << 20, ..config() }).0;
    let refused = try_append(&log, &[message("a", 0, &"x".repeat(RECORD_BYTES_MAX as usize))], 1);
    assert!(matches!(refused, Err(AppendError::RecordTooLarge { limit: RECORD_BYTES_MAX, .. })));
    let placed = append(&log, &[message("a", 0, &"x".repeat(RECORD_BYTES_MAX as usize - 92))], 1);
    assert_eq!(placed[0].size, RECORD_BYTES_MAX);
    log.read(placed[0].position, &mut Vec::new()).unwrap();
}
