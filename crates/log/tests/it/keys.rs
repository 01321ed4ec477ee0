//! Finding messages by key.

use apogee_log::{Log, LogConfig, MemoryDisk};

use crate::support::*;

fn query(log: &Log, topic: &str, key: &str, range: std::ops::RangeInclusive<i64>, max: usize) -> Vec<String> {
    let mut out = Vec::new();
    let count = log.query_key(topic, key, *range.start(), *range.end(), max, &mut out).unwrap();
    let found: Vec<_> =
        protocol::record::records(&out).map(|record| String::from_utf8(record.body().to_vec()).unwrap()).collect();
    assert_eq!(found.len(), count);
    found
}

fn fill(log: &Log) {
    for n in 0..100_i64 {
        let keyed = message("a", 0, &n.to_string())
            .property("UNIQ_KEY", &format!("id{n}"))
            .property("KEYS", &format!("all third{} ", n % 3));
        append(log, &[keyed, message("b", 0, "no keys")], 10 * n);
        if n == 50 {
            log.maintain().unwrap();
        }
    }
}

fn check(log: &Log) {
    let all = 0..=i64::MAX;
    assert_eq!(query(log, "a", "id7", all.clone(), 10), ["7"]);
    assert_eq!(query(log, "a", "id99", all.clone(), 10), ["99"]);
    assert_eq!(query(log, "a", "third0", all.clone(), 3), ["93", "96", "99"]);
    assert_eq!(query(log, "a", "third1", all.clone(), 1000).len(), 33);
    assert_eq!(query(log, "a", "all", 200..=230, 10), ["20", "21", "22", "23"]);
    assert_eq!(query(log, "a", "all", 200..=230, 2), ["22", "23"]);
    for absent in ["id100", "third3", "a", ""] {
        assert_eq!(query(log, "a", absent, all.clone(), 10), [""; 0], "{absent}");
    }
    assert_eq!(query(log, "b", "id7", all, 10), [""; 0]);
}

#[test]
fn keys_are_found_in_memory_in_runs_and_after_restarts() {
    let disk = MemoryDisk::new();
    let log = open(&disk);
    fill(&log);
    check(&log);
    check(&open(&disk.fork()));
    log.maintain().unwrap();
    check(&log);
    checkpoint(&log);
    check(&log);
    let killed = disk.fork();
    check(&open(&killed));
    close(log);
    let (log, recovery) = open_with(&disk, config());
    assert!(recovery.records < 20, "{recovery}");
    check(&log);
}

#[test]
fn keys_in_the_middle_of_a_write_are_found_after_a_restart_that_begins_to_read_there() {
    let disk = MemoryDisk::new();
    let config = LogConfig { segment_bytes: 1 << 16, key_replay_bytes: 1 << 16, ..config() };
    let (log, _) = open_with(&disk, config.clone());
    let keyed = |number: usize| message("orders", 0, &number.to_string()).property("KEYS", &format!("k{number}"));
    // Runs of eight keys end within the second and the fourth write.
    for write in 0..4 {
        let messages: Vec<Message> = (write * 5..write * 5 + 5).map(keyed).collect();
        append(&log, &messages, 1);
        log.maintain().unwrap();
    }
    close(log);
    for crashes in [false, true] {
        let (log, recovery) = open_with(&disk, config.clone());
        assert_eq!((recovery.damaged_bytes, recovery.was_clean, recovery.rebuilt), (0, !crashes, None), "{recovery}");
        for number in 0..20 {
            assert_eq!(query(&log, "orders", &format!("k{number}"), 0..=9, 9), [number.to_string()]);
        }
    }
}

#[test]
fn missing_runs_are_rebuilt() {
    let disk = MemoryDisk::new();
    let log = open(&disk);
    fill(&log);
    close(log);
    let run = disk_files(&disk, "keys").remove(0);
    disk.tamper(&run, |bytes| bytes.truncate(100)).unwrap();
    let (log, recovery) = open_with(&disk, config());
    assert_eq!(recovery.rebuilt, Some("an index file is missing or damaged"));
    check(&log);
}

fn disk_files(disk: &MemoryDisk, dir: &str) -> Vec<String> {
    use apogee_log::Disk;
    disk.list(dir).unwrap().into_iter().map(|name| format!("{dir}/{name}")).collect()
}
