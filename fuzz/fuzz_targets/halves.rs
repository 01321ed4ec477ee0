#![no_main]

use broker::transactions::snapshot::{self, Snapshot};
use broker::transactions::{CheckSchedule, Transactions};
use libfuzzer_sys::fuzz_target;
use log::MemoryDisk;

fn table() -> Transactions {
    Transactions::new(CheckSchedule { first_after_ms: 1, interval_ms: 1, checks_max: 1 })
}

// Content of a file, with a checksum that fits, so that what lies before it is read.
fuzz_target!(|content: &[u8]| {
    let bytes = [content, &crc32fast::hash(content).to_be_bytes()].concat();
    let disk = MemoryDisk::new();
    snapshot::write(&disk, &bytes).expect("the disk is well");
    let mut read = table();
    if snapshot::read(&disk, &mut read).expect("the disk is well") == Snapshot::Read {
        snapshot::write(&disk, &snapshot::encode(&read)).expect("the disk is well");
        let mut again = table();
        assert_eq!(snapshot::read(&disk, &mut again).expect("the disk is well"), Snapshot::Read);
        assert!(again.iter().eq(read.iter()), "a table is read as it was written");
    }
});
