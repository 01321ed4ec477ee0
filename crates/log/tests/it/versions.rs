//! Files of a later version are refused by name, and everything stays as it is.

use std::sync::Arc;

use apogee_log::{Disk, Log, MemoryDisk, OpenError};

use crate::support::*;

/// A closed log with a file of each kind.
fn closed() -> MemoryDisk {
    let disk = MemoryDisk::new();
    let log = open(&disk);
    for n in 0..40_i64 {
        let keyed = message("orders", 1, &n.to_string()).property("UNIQ_KEY", &format!("id{n}"));
        append(&log, &[keyed, message("rmq_sys_wheel_timer", 0, "later").due((n + 1) * 1_000_000)], n);
    }
    close(log);
    disk
}

fn paths(disk: &MemoryDisk) -> Vec<String> {
    let inside = |dir: &'static str| disk.list(dir).unwrap().into_iter().map(move |name| format!("{dir}/{name}"));
    let root = disk.list("").unwrap().into_iter();
    root.chain(["commitlog", "index", "keys", "due"].into_iter().flat_map(inside)).collect()
}

fn contents(disk: &MemoryDisk) -> Vec<(String, Vec<u8>)> {
    paths(disk).into_iter().map(|path| (path.clone(), disk.content(&path).unwrap())).collect()
}

/// Raises the version, the last byte of a magic number of `magic` bytes, and makes the checksum at `crc_at` fit; at
/// the end of the file without one.
fn raise(disk: &MemoryDisk, path: &str, magic: usize, crc_at: Option<usize>) {
    disk.tamper(path, |bytes| {
        assert_eq!(bytes[magic - 1], b'1', "{path}");
        bytes[magic - 1] = b'2';
        let at = crc_at.unwrap_or(bytes.len() - 4);
        let crc = crc32fast::hash(&bytes[..at]);
        bytes[at..at + 4].copy_from_slice(&crc.to_be_bytes());
    })
    .unwrap();
}

#[test]
fn a_later_version_of_any_file_is_refused_and_nothing_is_changed() {
    let original = closed();
    let first = |dir: &str| format!("{dir}/{}", original.list(dir).unwrap()[0]);
    let newest = |dir: &str| {
        let names = original.list(dir).unwrap();
        format!("{dir}/{}", names.iter().rfind(|name| name.bytes().all(|byte| byte.is_ascii_digit())).unwrap())
    };
    let files = [
        ("checkpoint".to_owned(), 8, None),
        (first("commitlog"), 8, Some(24)),
        (newest("commitlog"), 8, Some(24)),
        (first("index"), 4, Some(60)),
        (first("keys"), 8, Some(4092)),
        (first("due"), 8, Some(20)),
    ];
    for (path, magic, crc_at) in files {
        let disk = original.fork();
        raise(&disk, &path, magic, crc_at);
        let before = contents(&disk);
        let refused = Log::open(Arc::new(disk.clone()), config(), &mut |_| {}).err().unwrap();
        let OpenError::Newer(newer) = refused else { panic!("{path}: {refused:?}") };
        let text = format!("`{path}` has format version 2; this program reads versions up to 1");
        assert_eq!(newer.to_string(), text);
        assert!(contents(&disk) == before, "{path} was refused, and something was changed");
    }
}

#[test]
fn a_version_that_rotted_is_damage_and_no_later_version() {
    let original = closed();
    for path in paths(&original) {
        let disk = original.fork();
        let version_at = if path.starts_with("index/") { 3 } else { 7 };
        disk.tamper(&path, |bytes| bytes[version_at] ^= 3).unwrap();
        let (log, _) = open_with(&disk, config());
        assert_eq!(bodies(&log, "orders", 1).len(), 40, "{path}");
    }
}
