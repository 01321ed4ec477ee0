//! The bytes on disk stay what they are: a log of the first version must be opened by every later one.
//!
//! When a checksum changes, so did the format in `docs/formats/log.md`: give the file a new magic number and keep the old
//! way of reading, or change the line here because nobody has such files yet.

use apogee_log::{Disk, MemoryDisk};

use crate::support::*;

#[test]
fn files_have_the_bytes_of_version_one() {
    let disk = MemoryDisk::new();
    let log = open(&disk);
    for n in 0..150_i64 {
        let keyed = message("orders", 1, &n.to_string()).tag("t").property("UNIQ_KEY", &format!("id{n}"));
        append(&log, &[keyed, message("rmq_sys_wheel_timer", 0, "later").due(n * 1_000_000)], n);
    }
    log.delete_queue("rmq_sys_wheel_timer", 0).unwrap();
    close(log);
    let first = |dir: &str| format!("{dir}/{}", disk.list(dir).unwrap()[0]);
    let paths = ["checkpoint".to_owned(), first("commitlog"), first("index"), first("keys"), first("due")];
    let found: Vec<String> = paths
        .iter()
        .map(|path| {
            let bytes = disk.content(path).unwrap();
            format!("{path}: {} bytes, {:08x}", bytes.len(), crc32fast::hash(&bytes))
        })
        .collect();
    let expected = [
        "checkpoint: 1628 bytes, 168861c6",
        "commitlog/00000000000000000000: 2048 bytes, f8387554",
        "index/0000000001: 6425 bytes, 0427e311",
        "keys/00000000000000000001: 8192 bytes, 22e3639a",
        "due/0.1: 120 bytes, 11d8082d",
    ];
    assert_eq!(found, expected);
}
