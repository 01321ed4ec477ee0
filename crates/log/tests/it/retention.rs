//! Removing old segments, and using their files again.

use apogee_log::{Disk, LogConfig, MemoryDisk, PullLimits, PullOutcome};

use crate::support::*;

fn fill(log: &apogee_log::Log, from: i64, to: i64) {
    for n in from..to {
        append(log, &[message("a", 0, &format!("{n} {}", "x".repeat(300))).property("KEYS", "k")], n);
    }
}

#[test]
fn old_segments_go_and_offsets_go_on() {
    let disk = MemoryDisk::new();
    let log = open(&disk);
    append(&log, &[message("quiet", 0, "only")], 0);
    fill(&log, 0, 40);
    let queue = log.find_queue("a", 0).unwrap();
    let cleaned = log.clean(20, None).unwrap();
    assert!(cleaned.segments > 2 && cleaned.blocked.is_none());
    let min = log.offsets(queue).min;
    assert!((10..=20).contains(&min), "{min}");
    let texts = bodies(&log, "a", 0);
    assert_eq!(texts.len() as u64, 40 - min);
    let limits = PullLimits { max_messages: 10, max_bytes: 10_000 };
    let pulled = log.pull(queue, 3, limits, &|_| true, &mut Vec::new()).unwrap();
    assert_eq!((pulled.outcome, pulled.next_offset), (PullOutcome::BeforeStart, min));
    let mut out = Vec::new();
    assert_eq!(log.query_key("a", "k", 0, i64::MAX, 1000, &mut out).unwrap(), texts.len());

    // Everything else goes by force; the newest segment stays.
    checkpoint(&log);
    log.clean(0, Some(u64::MAX)).unwrap();
    assert_eq!(log.stats().segments, 1);
    checkpoint(&log);
    let rest = content_of(&log, "a", 0);
    let log = open(&disk.fork());
    assert_eq!(content_of(&log, "a", 0), rest);
    let quiet = log.find_queue("quiet", 0).unwrap();
    assert_eq!((log.offsets(quiet).min, log.offsets(quiet).max), (1, 1));
    assert_eq!(append(&log, &[message("quiet", 0, "next")], 50)[0].queue_offset, 1);
    assert_eq!(append(&log, &[message("a", 0, "next")], 50)[0].queue_offset, 40);
}

#[test]
fn index_files_go_with_the_segments_and_next_offsets_survive() {
    let disk = MemoryDisk::new();
    let log = open(&disk);
    append(&log, &[message("quiet", 0, "0"), message("quiet", 0, "1")], 0);
    for round in 0..30 {
        fill(&log, round * 40, round * 40 + 40);
        log.clean(round * 40, None).unwrap();
        checkpoint(&log);
    }
    let names = disk.list("index").unwrap();
    assert!(names.len() < 5 && !names.contains(&"0000000001".to_owned()), "{names:?}");
    assert!(disk.list("keys").unwrap().len() < 12);
    let expected = content_of(&log, "a", 0);
    close(log);
    let (log, recovery) = open_with(&disk, config());
    assert_eq!(recovery.rebuilt, None);
    assert_eq!(content_of(&log, "a", 0), expected);
    assert_eq!(append(&log, &[message("quiet", 0, "2")], 0)[0].queue_offset, 2);
}

#[test]
fn offsets_of_a_queue_without_messages_survive_even_a_rebuild() {
    let disk = MemoryDisk::new();
    let log = open(&disk);
    append(&log, &[message("quiet", 0, "0"), message("quiet", 0, "1"), message("gone", 0, "0")], 0);
    fill(&log, 1, 20);
    checkpoint(&log);
    log.delete_queue("gone", 0).unwrap();
    fill(&log, 20, 21);
    log.clean(0, Some(4000)).unwrap();
    let killed = disk.fork();
    killed.tamper("checkpoint", Vec::clear).unwrap();
    let (log, recovery) = open_with(&killed, config());
    assert!(recovery.rebuilt.is_some());
    assert_eq!(log.find_queue("gone", 0), None);
    assert_eq!(append(&log, &[message("quiet", 0, "2")], 0)[0].queue_offset, 2);
    assert_eq!(append(&log, &[message("gone", 0, "new")], 0)[0].queue_offset, 0);
}

#[test]
fn a_recycled_file_never_shows_what_it_held_before() {
    let disk = MemoryDisk::new();
    let log = open(&disk);
    fill(&log, 0, 20);
    log.sync().unwrap();
    let names = disk.list("commitlog").unwrap().len();
    log.clean(15, None).unwrap();
    assert!(disk.list("commitlog").unwrap().iter().any(|name| name.starts_with("spare.")));
    assert!(log.prepare().unwrap());
    assert!(!log.prepare().unwrap());
    let expected = content_of(&log, "a", 0);
    // The prepared segment is full of old records; a restart takes none of them.
    assert_eq!(content_of(&open(&disk.fork()), "a", 0), expected);
    fill(&log, 20, 24);
    let expected = content_of(&log, "a", 0);
    assert!(disk.list("commitlog").unwrap().len() <= names);
    for (stop, damage) in [("killed", false), ("rebuilt", true)] {
        let killed = disk.fork();
        if damage {
            killed.tamper("checkpoint", Vec::clear).unwrap();
        }
        let log = open(&killed);
        assert_eq!(content_of(&log, "a", 0), expected, "{stop}");
        fill(&log, 24, 60);
        assert_eq!(content_of(&log, "a", 0).len(), expected.len() + 36);
    }
}

#[test]
fn a_segment_in_which_a_message_waits_stays_until_it_is_stored_again() {
    let disk = MemoryDisk::new();
    let log = open(&disk);
    let far = 1000 * 3_600_000;
    let waiting = append(&log, &[message("rmq_sys_wheel_timer", 0, "far").due(far)], 0)[0];
    fill(&log, 1, 20);
    checkpoint(&log);
    let doomed = log.doomed(15, None).unwrap();
    let cleaned = log.clean(15, None).unwrap();
    assert_eq!(cleaned.segments, 0);
    assert!(cleaned.blocked.is_some_and(|range| range.contains(&waiting.position)));
    let pending = log.pending_in(doomed).unwrap();
    assert_eq!(pending.iter().map(|due| (due.position, due.due_ms)).collect::<Vec<_>>(), [(waiting.position, far)]);
    let moved = message("rmq_sys_wheel_timer", 0, "far").due(far).settles(waiting.position);
    let moved = append(&log, &[moved], 20)[0];
    assert!(log.clean(15, None).unwrap().segments > 2);
    checkpoint(&log);
    for log in [open(&disk.fork()), log] {
        let due: Vec<_> = log.due_until(far, 10).unwrap().iter().map(|due| due.position).collect();
        assert_eq!(due, [moved.position]);
    }
}

#[test]
fn segments_of_another_size_are_read_on() {
    let disk = MemoryDisk::new();
    let log = open(&disk);
    fill(&log, 0, 20);
    close(log);
    let log = open_with(&disk, LogConfig { segment_bytes: 5000, ..config() }).0;
    fill(&log, 20, 60);
    assert_eq!(bodies(&log, "a", 0).len(), 60);
    checkpoint(&log);
    let log = open(&disk.fork());
    fill(&log, 60, 80);
    assert_eq!(bodies(&log, "a", 0).len(), 80);
}
