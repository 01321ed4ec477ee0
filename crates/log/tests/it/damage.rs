//! Damage that is met while the log is open.

use apogee_log::{Damage, Disk, Log, LogPosition, MemoryDisk, PullLimits, PullOutcome, ReadError};

use crate::support::*;

const SEGMENT: &str = "commitlog/00000000000000000000";
const INDEX: &str = "index/0000000001";
const HOUR_MS: i64 = 3_600_000;

fn texts(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("message {n} {}", "x".repeat(n % 50))).collect()
}

fn flip(disk: &MemoryDisk, path: &str, bit: usize) {
    disk.tamper(path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8)).unwrap();
}

#[test]
fn a_damaged_record_is_passed_over_and_told_once() {
    let disk = MemoryDisk::new();
    let log = open(&disk);
    let texts = texts(6);
    let placed: Vec<_> = texts.iter().map(|text| append(&log, &[message("a", 0, text).tag("t")], 5)[0]).collect();
    let hit = placed[3];
    // Size, magic number and checksum; offset and position; store time; the body and its length. What else there is has
    // no checksum but that of the write.
    let body_bytes = texts[3].len();
    let guarded = (0..12).chain(20..36).chain(56..64).chain(84..88 + body_bytes);
    let mut expected = texts.clone();
    expected.remove(3);
    for bit in guarded.flat_map(|byte| 8 * byte..8 * byte + 8) {
        let bit = 8 * hit.position.0 as usize + bit;
        flip(&disk, SEGMENT, bit);
        assert_eq!(bodies(&log, "a", 0), expected, "bit {bit}");
        flip(&disk, SEGMENT, bit);
    }
    let lost = Damage::LostRecord { topic: "a".into(), queue_id: 0, queue_offset: 3, position: hit.position };
    assert_eq!(log.take_damage(), [lost]);
    assert_eq!(log.take_damage(), []);
    assert_eq!(bodies(&log, "a", 0), texts);
}

#[test]
fn a_pull_of_nothing_but_damage_leads_past_it() {
    let disk = MemoryDisk::new();
    let log = open(&disk);
    let placed = append(&log, &[message("a", 0, "one"), message("a", 0, "two")], 5);
    flip(&disk, SEGMENT, (placed[0].position.0 as usize + 90) * 8);
    let limits = PullLimits { max_messages: 1, max_bytes: 1000 };
    let pulled = log.pull(placed[0].queue, 0, limits, &|_| true, &mut Vec::new()).unwrap();
    assert_eq!((pulled.outcome, pulled.next_offset), (PullOutcome::NothingMatched, 1));
}

#[test]
fn a_write_that_went_to_another_place_costs_what_it_should_have_put_and_what_it_hit() {
    let disk = MemoryDisk::new();
    let log = open(&disk);
    let texts = texts(5);
    let placed: Vec<_> = texts.iter().map(|text| append(&log, &[message("a", 0, text)], 5)[0]).collect();
    let (from, to) = (placed[3].position.0 as usize, placed[1].position.0 as usize);
    let size = placed[3].size as usize + 16;
    disk.tamper(SEGMENT, |bytes| {
        bytes.copy_within(from..from + size, to);
        bytes[from..from + size].fill(0);
    })
    .unwrap();
    // What was written hits the second message, its seal, and the head of the third.
    let left = [texts[0].clone(), texts[4].clone()];
    assert_eq!(bodies(&log, "a", 0), left);
    assert_eq!(log.take_damage().len(), 3);
    // The same after the process was killed, with and without indexes.
    assert_eq!(bodies(&open(&disk.fork()), "a", 0), left);
    disk.remove("checkpoint").unwrap();
    assert_eq!(bodies(&open(&disk), "a", 0), left);
}

#[test]
fn the_offset_of_a_last_message_that_was_damaged_is_not_given_again() {
    for is_known in [false, true] {
        let disk = MemoryDisk::new();
        let log = open(&disk);
        append(&log, &[message("a", 0, "one")], 5);
        let hit = append(&log, &[message("a", 0, "seen and damaged")], 5)[0];
        append(&log, &[message("b", 0, "what shows that the log goes on")], 5);
        if is_known {
            checkpoint(&log);
        }
        drop(log);
        let (from, to) = (hit.position.0 as usize, hit.position.0 as usize + hit.size as usize);
        disk.tamper(SEGMENT, |bytes| bytes[from..to].fill(0)).unwrap();
        let (log, recovery) = open_with(&disk, config());
        // A checkpoint has seen which offsets were given, and nothing has to be left out.
        assert_eq!(recovery.skipped_offsets, !is_known, "{recovery}");
        let next = append(&log, &[message("a", 0, "new")], 6)[0].queue_offset;
        assert_eq!(next, if is_known { 2 } else { 1 + (1 << 20) });
        assert_eq!(bodies(&log, "a", 0), ["one", "new"]);
    }
}

#[test]
fn a_damaged_seal_costs_no_offsets() {
    let disk = MemoryDisk::new();
    let log = open(&disk);
    let placed = append(&log, &[message("a", 0, "one")], 5)[0];
    append(&log, &[message("b", 0, "what shows that the log goes on")], 5);
    drop(log);
    flip(&disk, SEGMENT, 8 * (placed.position.0 as usize + placed.size as usize + 9));
    let (log, recovery) = open_with(&disk, config());
    assert_eq!((recovery.skipped_offsets, recovery.damaged_bytes), (false, 16), "{recovery}");
    assert_eq!(append(&log, &[message("a", 0, "two")], 6)[0].queue_offset, 1);
}

/// Pulls everything; where that fails because the index is damaged, maintains the log and tries again.
#[track_caller]
fn pull_repaired(log: &Log, expected: &[String]) -> bool {
    let queue = log.find_queue("a", 0).unwrap();
    let limits = PullLimits { max_messages: 1000, max_bytes: 1 << 20 };
    let mut was_damaged = false;
    for _ in 0..5 {
        let mut out = Vec::new();
        match log.pull(queue, log.offsets(queue).min, limits, &|_| true, &mut out) {
            Ok(_) => {
                let found: Vec<_> = protocol::record::records(&out).map(|record| record.body().to_vec()).collect();
                assert!(found.iter().eq(expected.iter().map(String::as_bytes).collect::<Vec<_>>()));
                return was_damaged;
            }
            Err(ReadError::DamagedIndex { .. }) => was_damaged = true,
            Err(error) => panic!("{error:?}"),
        }
        log.maintain().unwrap();
    }
    panic!("the index stays damaged");
}

#[test]
fn a_damaged_index_block_is_made_anew_where_it_lies() {
    let disk = MemoryDisk::new();
    let log = open(&disk);
    let texts = texts(300);
    for text in &texts {
        append(&log, &[message("a", 0, text).tag("t"), message("b", 0, "other")], 5);
    }
    close(log);
    let original = disk.content(INDEX).unwrap();
    let mut damaged = 0;
    for byte in (0..original.len()).step_by(7) {
        for is_open in [false, true] {
            let rotten = disk.fork();
            let before = is_open.then(|| open(&rotten));
            rotten.tamper(INDEX, |bytes| bytes[byte] ^= 0x10).unwrap();
            let log = before.unwrap_or_else(|| open(&rotten));
            if pull_repaired(&log, &texts) {
                damaged += 1;
                let told = log.take_damage();
                assert!(matches!(&told[..], [Damage::MadeAnew { .. }]), "{told:?}");
                assert_eq!(rotten.content(INDEX).unwrap()[..original.len()], original);
            }
        }
    }
    assert!(damaged > 300, "{damaged}");
}

#[test]
fn a_block_is_made_anew_without_what_is_lost_or_belonged_to_another_queue() {
    let disk = MemoryDisk::new();
    let log = open(&disk);
    for text in texts(140) {
        append(&log, &[message("a", 0, &format!("former {text}"))], 5);
    }
    log.delete_queue("a", 0).unwrap();
    let mut texts = texts(260);
    let placed: Vec<_> = texts.iter().map(|text| append(&log, &[message("a", 0, text)], 5)[0]).collect();
    checkpoint(&log);
    // Whichever of the blocks they lie in.
    for lost in [255, 130, 128, 127, 60, 0] {
        let position = placed[lost].position.0;
        let base = position / 2048 * 2048;
        flip(&disk, &format!("commitlog/{base:020}"), (position - base + 90) as usize * 8);
        texts.remove(lost);
    }
    for name in disk.list("index").unwrap() {
        // Payloads and headers of all blocks that are full.
        let path = format!("index/{name}");
        let bytes = disk.content(&path).unwrap();
        for at in (0..bytes.len().saturating_sub(8)).filter(|at| bytes[*at..].starts_with(b"AQI1\0\x01\0\x80")) {
            flip(&disk, &path, (at + 100) * 8);
        }
    }
    assert!(pull_repaired(&log, &texts));
    drop(log);
    assert_eq!(bodies(&open(&disk.fork()), "a", 0), texts);
}

#[test]
fn a_damaged_hour_of_the_due_index_is_made_anew() {
    let disk = MemoryDisk::new();
    let log = open(&disk);
    let delayed = |n: i64| message("rmq_sys_wheel_timer", 0, &format!("{n}")).due(HOUR_MS * 5 + n);
    let placed: Vec<_> = (0..20).map(|n| append(&log, &[delayed(n)], n)[0].position).collect();
    append(&log, &[message("a", 0, "delivered").settles(placed[4])], 30);
    checkpoint(&log);
    append(&log, &[message("a", 0, "delivered").settles(placed[5])], 31);
    let name = disk.list("due").unwrap().remove(0);
    flip(&disk, &format!("due/{name}"), 8 * 60);
    let expected: Vec<LogPosition> =
        placed.iter().enumerate().filter(|(n, _)| ![4, 5].contains(n)).map(|(_, position)| *position).collect();
    let due =
        |log: &Log| log.due_until(HOUR_MS * 6, 100).map(|due| due.iter().map(|due| due.position).collect::<Vec<_>>());
    assert!(matches!(due(&log), Err(ReadError::DamagedDue { hour: 5 })));
    assert!(matches!(due(&log), Err(ReadError::DamagedDue { hour: 5 })));
    log.maintain().unwrap();
    assert_eq!(due(&log).unwrap(), expected);
    assert_eq!(log.take_damage().len(), 1);
    checkpoint(&log);
    assert_eq!(due(&open(&disk.fork())).unwrap(), expected);
    // Damaged anew while the process is down, it is found when it is needed.
    let name = disk.list("due").unwrap().remove(0);
    flip(&disk, &format!("due/{name}"), 8 * 60);
    let log = open(&disk);
    assert!(due(&log).is_err());
    log.maintain().unwrap();
    assert_eq!(due(&log).unwrap(), expected);
}

#[test]
fn a_damaged_run_of_the_key_index_is_made_anew() {
    let disk = MemoryDisk::new();
    let log = open(&disk);
    for n in 0..40 {
        append(&log, &[message("a", 0, &format!("{n}")).property("KEYS", &format!("k{} all", n % 10))], n);
    }
    checkpoint(&log);
    let query = |log: &Log| log.query_key("a", "k3", 0, i64::MAX, 100, &mut Vec::new());
    assert_eq!(query(&log).unwrap(), 4);
    let runs = disk.list("keys").unwrap();
    runs.iter().for_each(|run| flip(&disk, &format!("keys/{run}"), 8 * 4200));
    assert!(matches!(query(&log), Err(ReadError::DamagedKeys { .. })));
    while query(&log).is_err() {
        log.maintain().unwrap();
    }
    assert_eq!(query(&log).unwrap(), 4);
    assert_eq!(log.take_damage().len(), runs.len());
    checkpoint(&log);
    assert_eq!(query(&open(&disk.fork())).unwrap(), 4);
}
