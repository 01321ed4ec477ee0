//! A disk without room.

use apogee_log::{AppendError, MemoryDisk};

use crate::support::*;

/// Appends until the disk is full and returns what was acknowledged.
fn fill(log: &apogee_log::Log, stored: &mut Vec<String>) {
    for n in 0..200 {
        let text = format!("{} {}", stored.len(), "z".repeat(n % 90));
        match try_append(log, &[message("a", 0, &text).property("KEYS", "k"), message("b", 0, "second")], 5) {
            Ok(_) => stored.push(text),
            Err(AppendError::DiskFull) => return,
            Err(error) => panic!("{error:?}"),
        }
        let _ = log.maintain();
        if n % 10 == 0 {
            let _ = log.checkpoint(&|_| Ok(()));
        }
    }
}

#[test]
fn a_full_disk_harms_nothing_and_appends_go_on_when_there_is_room() {
    let start = {
        let disk = MemoryDisk::new();
        drop(open(&disk));
        disk.used_bytes()
    };
    for room in (0..9000).step_by(37) {
        let disk = MemoryDisk::new();
        let log = open(&disk);
        disk.set_capacity(Some(start + room));
        let mut stored = Vec::new();
        fill(&log, &mut stored);
        assert_eq!(bodies(&log, "a", 0), stored, "room for {room} bytes");
        // Killed while full: nothing may be lost, and nothing that was refused may have come.
        let killed = disk.fork();
        killed.set_capacity(None);
        assert_eq!(bodies(&open(&killed), "a", 0), stored, "room for {room} bytes, killed");

        disk.set_capacity(Some(start + room + 3000));
        let before = stored.len();
        fill(&log, &mut stored);
        assert!(before < stored.len());
        assert_eq!(bodies(&log, "a", 0), stored);
        assert_eq!(bodies(&log, "b", 0).len(), stored.len());
        disk.set_capacity(None);
        checkpoint(&log);
        assert_eq!(bodies(&open(&disk.fork()), "a", 0), stored);
    }
}

#[test]
fn a_failed_write_leaves_no_record_behind() {
    let first = [message("a", 0, &"1".repeat(300)), message("a", 0, "2"), message("a", 0, "3")];
    let disk = MemoryDisk::new();
    let log = open(&disk);
    append(&log, &first, 1);
    let from = disk.operations();
    for failing in 0..8 {
        let disk = disk.fork();
        let log = open(&disk);
        disk.fail_operation(disk.operations() + failing, false);
        let mut expected: Vec<String> = vec!["1".repeat(300), "2".into(), "3".into()];
        for round in 0..6 {
            let long = [message("a", 0, &"4".repeat(400)), message("a", 0, &"5".repeat(500)), message("a", 0, "6")];
            match try_append(&log, &long, 2) {
                Ok(_) => expected.extend(["4".repeat(400), "5".repeat(500), "6".into()]),
                Err(AppendError::Io(_)) => {}
                Err(error) => panic!("{error:?}"),
            }
            if try_append(&log, &[message("a", 0, &round.to_string())], 3).is_ok() {
                expected.push(round.to_string());
            }
            assert_eq!(bodies(&log, "a", 0), expected);
            let killed = disk.fork();
            killed.heal();
            assert_eq!(bodies(&open(&killed), "a", 0), expected, "operation {failing} after {from}");
        }
    }
}
