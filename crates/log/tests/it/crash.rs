//! Stops at every byte and at every operation, and damage at every bit.

use apogee_log::{Disk, LogConfig, MemoryDisk, PowerCut};

use crate::support::*;

const SEGMENT: &str = "commitlog/00000000000000000000";

fn texts(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("message {n} {}", "x".repeat(n))).collect()
}

/// A log with a checkpoint in the middle, and where its records begin and end.
fn filled() -> (MemoryDisk, Vec<String>, Vec<(usize, usize)>) {
    let disk = MemoryDisk::new();
    let log = open(&disk);
    let texts = texts(8);
    let mut places = Vec::new();
    for (index, group) in texts.chunks(2).enumerate() {
        let messages: Vec<_> = group.iter().map(|text| message("a", 0, text).tag("t")).collect();
        let placed = append(&log, &messages, 5);
        places.extend(placed.iter().map(|placed| (placed.position.0 as usize, placed.size as usize)));
        if index == 1 {
            checkpoint(&log);
        }
    }
    (disk.fork(), texts, places)
}

/// Opens, compares what is there, goes on appending, and opens again.
#[track_caller]
fn check_goes_on(disk: &MemoryDisk, config: LogConfig, expected: &[String]) {
    let log = open_with(disk, config.clone()).0;
    assert_eq!(bodies(&log, "a", 0), expected);
    let placed = append(&log, &[message("a", 0, "after"), message("a", 0, "more")], 6);
    let offsets = [placed[0].queue_offset, placed[1].queue_offset];
    assert!(expected.len() as u64 <= offsets[0] && offsets[1] == offsets[0] + 1);
    let mut expected = expected.to_vec();
    expected.extend(["after".to_owned(), "more".to_owned()]);
    assert_eq!(bodies(&log, "a", 0), expected);
    let again = open_with(&disk.fork(), config).0;
    assert_eq!(bodies(&again, "a", 0), expected);
}

#[test]
fn a_log_cut_after_any_byte_keeps_exactly_the_whole_writes() {
    let (disk, texts, places) = filled();
    let end = places[7].0 + places[7].1 + 16;
    let original = disk.content(SEGMENT).unwrap();
    // Before the checkpoint's end everything is rebuilt; offsets skip ahead then.
    for cut in places[2].0..end {
        let crashed = disk.fork();
        crashed
            .tamper(SEGMENT, |bytes| {
                bytes[cut..].fill(0);
            })
            .unwrap();
        // Two records and their seal are one write. A seal that ends in zeros loses nothing when they are cut.
        let is_whole = |write: &&[(usize, usize)]| {
            let end = write[1].0 + write[1].1 + 16;
            end <= cut || original[cut..end].iter().all(|byte| *byte == 0)
        };
        let whole = 2 * places.chunks(2).take_while(is_whole).count();
        check_goes_on(&crashed, config(), &texts[..whole]);

        let whole = 2 * places.chunks(2).take_while(|write| write[1].0 + write[1].1 + 16 <= cut).count();
        let shorter = disk.fork();
        shorter.tamper(SEGMENT, |bytes| bytes.truncate(cut)).unwrap();
        check_goes_on(&shorter, config(), &texts[..whole]);
    }
}

/// The records that a flip of that bit does not touch.
fn untouched(texts: &[String], places: &[(usize, usize)], bit: usize) -> Vec<String> {
    let is_hit = |(at, size): &(usize, usize)| (*at..at + size).contains(&(bit / 8));
    let kept = texts.iter().zip(places).filter(|(_, place)| !is_hit(place));
    kept.map(|(text, _)| text.clone()).collect()
}

#[test]
fn a_flipped_bit_in_the_tail_never_shows_a_wrong_record() {
    let (disk, texts, places) = filled();
    let from = places[4].0;
    let end = places[7].0 + places[7].1 + 16;
    for bit in from * 8..end * 8 {
        let rotten = disk.fork();
        rotten.tamper(SEGMENT, |bytes| bytes[bit / 8] ^= 1 << (bit % 8)).unwrap();
        let log = open(&rotten);
        let found = bodies(&log, "a", 0);
        if bit / 8 < places[6].0 {
            // A whole write follows, so this one was complete once.
            assert_eq!(found, untouched(&texts, &places, bit), "bit {bit}");
        } else {
            assert!(found == texts || found == texts[..6], "bit {bit}");
        }
        let mut out = Vec::new();
        for (index, (position, size)) in places.iter().enumerate() {
            out.clear();
            if log.read(apogee_log::LogPosition(*position as u64), &mut out).is_ok() {
                let original = &disk.content(SEGMENT).unwrap()[*position..position + size];
                assert!(out == original || untouched(&texts, &places, bit).len() < texts.len(), "{index}, bit {bit}");
            }
        }
    }
}

#[test]
fn after_a_power_cut_a_damaged_tail_ends_the_log() {
    let (disk, texts, places) = filled();
    for bit in (places[4].0 * 8..places[6].0 * 8).step_by(5) {
        let rotten = disk.fork();
        rotten.tamper(SEGMENT, |bytes| bytes[bit / 8] ^= 1 << (bit % 8)).unwrap();
        let log = open_with(&rotten, LogConfig { boot_id: "another".into(), ..config() }).0;
        assert_eq!(bodies(&log, "a", 0), texts[..4], "bit {bit}");
    }
}

#[test]
fn damage_at_the_end_of_a_segment_does_not_hide_the_next_one() {
    let disk = MemoryDisk::new();
    let log = open(&disk);
    let texts: Vec<String> = (0..40).map(|n| format!("{n} {}", "x".repeat(300))).collect();
    let append_one = |text: &String| append(&log, &[message("a", 0, text)], 5)[0];
    let placed: Vec<_> = texts.iter().map(append_one).collect();
    let last = placed.iter().rposition(|placed| placed.position.0 < 2048).unwrap();
    let (at, size) = (placed[last].position.0 as usize, placed[last].size as usize);
    // The record, its seal, and what closes the segment.
    for (at, lost) in [(at + 100, 1), (at + 30, 1), (at + size + 9, 0), (at + size + 17, 0)] {
        let rotten = disk.fork();
        rotten.tamper(SEGMENT, |bytes| bytes[at] ^= 1).unwrap();
        let mut expected = texts.clone();
        expected.drain(last..last + lost);
        assert_eq!(bodies(&open(&rotten), "a", 0), expected);
    }
}

#[test]
fn a_flipped_bit_before_the_checkpoint_costs_the_record_that_it_is_in() {
    let (disk, texts, places) = filled();
    for bit in places[0].0 * 8..places[2].0 * 8 {
        let rotten = disk.fork();
        rotten.tamper(SEGMENT, |bytes| bytes[bit / 8] ^= 1 << (bit % 8)).unwrap();
        rotten.tamper("index/0000000001", |bytes| bytes[10] ^= 1).unwrap();
        let log = open(&rotten);
        assert_eq!(bodies(&log, "a", 0), untouched(&texts, &places, bit), "bit {bit}");
    }
}

#[test]
fn a_flipped_bit_in_the_header_of_a_segment_costs_nothing() {
    let (disk, texts, _) = filled();
    for bit in 0..32 * 8 {
        let rotten = disk.fork();
        rotten.tamper(SEGMENT, |bytes| bytes[bit / 8] ^= 1 << (bit % 8)).unwrap();
        check_goes_on(&rotten, config(), &texts);
    }
}

#[test]
fn smaller_segments_do_not_cost_larger_records() {
    let (disk, mut texts, _) = filled();
    let large = "x".repeat(1500);
    append(&open(&disk), &[message("a", 0, &large)], 6);
    texts.push(large);
    let (log, recovery) = open_with(&disk.fork(), LogConfig { segment_bytes: 1024, ..config() });
    assert!(!recovery.is_torn, "{recovery}");
    assert_eq!(bodies(&log, "a", 0), texts);
}

#[test]
fn stale_bytes_after_a_cut_are_never_records_again() {
    let (disk, texts, places) = filled();
    // The first byte of a batch is damaged, what follows it is whole and states its own position.
    disk.tamper(SEGMENT, |bytes| bytes[places[4].0 + 4] ^= 1).unwrap();
    let open = |disk: &MemoryDisk| open_with(disk, LogConfig { boot_id: "another".into(), ..durable_config() }).0;
    let log = open(&disk);
    assert_eq!(bodies(&log, "a", 0), texts[..4]);
    // Records of the same sizes end exactly where an old one begins.
    let again: Vec<_> = texts[4..6].iter().map(|text| message("a", 0, text).tag("t")).collect();
    let placed = append(&log, &again, 9);
    log.sync().unwrap();
    assert_eq!(placed[1].position.0 as usize, places[5].0);
    let reopened = open(&disk.fork());
    assert_eq!(bodies(&reopened, "a", 0), texts[..6]);
}

/// Work that touches every kind of file.
fn work(disk: &MemoryDisk, config: LogConfig) -> Result<(), String> {
    let disk = std::sync::Arc::new(disk.clone());
    let text = |error: &dyn std::fmt::Debug| format!("{error:?}");
    let (log, _) = apogee_log::Log::open(disk, config, &mut |_| {}).map_err(|error| text(&error))?;
    for n in 0..6 {
        let keyed = message("a", 0, &format!("{n} {}", "y".repeat(200))).property("KEYS", "k all");
        let delayed = message("rmq_sys_wheel_timer", 0, "d").due(1000 + n * 3_600_000);
        try_append(&log, &[keyed, delayed], n).map_err(|error| text(&error))?;
        log.prepare().map_err(|error| text(&error))?;
        if n % 2 == 1 {
            log.checkpoint(&|_| Ok(())).map_err(|error| text(&error))?;
        }
        log.maintain().map_err(|error| text(&error))?;
    }
    log.clean(3, None).map_err(|error| text(&error))?;
    log.close(&|_| Ok(())).map_err(|error| text(&error))
}

#[test]
fn a_crash_at_any_operation_loses_nothing_that_was_synced() {
    let before = {
        let (disk, ..) = filled();
        close(open(&disk));
        disk
    };
    let expected = texts(8);
    let total = {
        let disk = before.fork();
        work(&disk, durable_config()).unwrap();
        disk.operations()
    };
    for operation in before.operations()..total {
        for cut in [PowerCut::LoseUnsynced, PowerCut::Torn { seed: operation }, PowerCut::Torn { seed: !operation }] {
            let disk = before.fork();
            disk.fail_operation(operation, true);
            let failed = work(&disk, durable_config());
            disk.heal();
            disk.cut_power(cut);
            let config = LogConfig { boot_id: "another boot".to_owned(), ..durable_config() };
            let (log, recovery) = open_with(&disk, config.clone());
            let found = bodies(&log, "a", 0);
            let kept = found.iter().filter(|text| text.starts_with("message")).count();
            let start = log.start().0;
            // Retention is the last thing that the work does; it takes the whole first segment.
            assert!(kept == 8 || start > 2048, "operation {operation}, {failed:?}: {recovery}, {found:?}");
            assert!(kept == 0 || found[..8] == expected[..]);
            append(&log, &[message("a", 0, "after")], 9);
            log.sync().unwrap();
            assert_eq!(bodies(&log, "a", 0).last().unwrap(), "after");
            // A crash in the middle of recovery is like one before it.
            let again = before.fork();
            again.fail_operation(operation, true);
            let _ = work(&again, durable_config());
            again.heal();
            again.cut_power(cut);
            let from = again.operations();
            for next in from..from + 12 {
                let twice = again.fork();
                twice.fail_operation(next, true);
                drop(apogee_log::Log::open(std::sync::Arc::new(twice.clone()), config.clone(), &mut |_| {}));
                twice.heal();
                twice.cut_power(PowerCut::Torn { seed: next });
                let log = open_with(&twice, config.clone()).0;
                let again = bodies(&log, "a", 0);
                assert_eq!(again, found, "operation {operation}, then {next}");
            }
        }
    }
}

#[test]
fn a_checkpoint_that_fails_anywhere_can_be_repeated() {
    let base = MemoryDisk::new();
    let log = open(&base);
    let delayed = |n: i64| message("rmq_sys_wheel_timer", 0, "d").due(n * 1_000_000);
    let fill = |log: &apogee_log::Log, from: i64, to: i64| {
        for n in from..to {
            let keyed = message("a", 0, &n.to_string()).property("KEYS", "k");
            append(log, &[keyed, delayed(n), message("b", n as u32, "idle")], n);
        }
    };
    fill(&log, 0, 30);
    checkpoint(&log);
    let texts: Vec<String> = (0..90).map(|n| n.to_string()).collect();
    for failing in 0.. {
        let disk = base.fork();
        let log = open(&disk);
        log.due_until(0, 1).unwrap();
        fill(&log, 30, 60);
        disk.fail_operation(disk.operations() + failing, false);
        let failed = log.checkpoint(&|_| Ok(())).is_err();
        disk.heal();
        assert_eq!(bodies(&log, "a", 0), texts[..60]);
        let log = if log.stats().is_fenced { open(&disk.fork()) } else { log };
        let check = |log: &apogee_log::Log, count: usize| {
            assert_eq!(bodies(log, "a", 0), texts[..count], "operation {failing}");
            assert_eq!(bodies(log, "b", 7), ["idle"]);
            let keys = log.query_key("a", "k", 0, i64::MAX, 1000, &mut Vec::new()).unwrap();
            assert_eq!(keys, count, "operation {failing}");
        };
        check(&log, 60);
        check(&open(&disk.fork()), 60);
        if !log.stats().is_fenced {
            fill(&log, 60, 90);
            check(&log, 90);
            check(&open(&disk.fork()), 90);
            checkpoint(&log);
            checkpoint(&log);
            check(&log, 90);
            let again = open(&disk.fork());
            check(&again, 90);
            assert_eq!(again.due_until(i64::MAX / 2, 1000).unwrap().len(), 90, "operation {failing}");
        }
        if !failed {
            assert!(failing > 10);
            break;
        }
    }
}

#[test]
fn a_killed_recovery_can_be_repeated() {
    let (disk, texts, places) = filled();
    disk.tamper(SEGMENT, |bytes| bytes[places[7].0 + 50..].fill(0)).unwrap();
    disk.tamper("checkpoint", Vec::clear).unwrap();
    let from = disk.operations();
    for operation in from.. {
        let killed = disk.fork();
        killed.fail_operation(operation, true);
        let opened = apogee_log::Log::open(std::sync::Arc::new(killed.clone()), config(), &mut |_| {});
        let is_done = opened.is_ok();
        drop(opened);
        killed.heal();
        check_goes_on(&killed.fork(), config(), &texts[..6]);
        if is_done {
            break;
        }
    }
}

#[test]
fn missing_files_are_made_up_for() {
    let (disk, texts, _) = filled();
    for path in ["checkpoint", "index/0000000001", "running"] {
        let damaged = disk.fork();
        damaged.remove(path).unwrap();
        check_goes_on(&damaged, config(), &texts);
    }
    // A checkpoint of another log.
    let other = {
        let disk = MemoryDisk::new();
        let log = open(&disk);
        (0..20).for_each(|n| drop(append(&log, &[message("b", 0, &n.to_string())], 5)));
        checkpoint(&log);
        disk.content("checkpoint").unwrap()
    };
    let mixed = disk.fork();
    mixed.tamper("checkpoint", |bytes| *bytes = other).unwrap();
    let (log, recovery) = open_with(&mixed, config());
    assert!(recovery.rebuilt.is_some(), "{recovery}");
    assert_eq!(bodies(&log, "a", 0), texts);
    assert_eq!(log.find_queue("b", 0), None);
}
