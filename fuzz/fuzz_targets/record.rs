#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::record::{self, NewRecord, Record};

fuzz_target!(|bytes: &[u8]| {
    let Ok(read) = Record::parse(bytes) else { return };
    let _ = (read.verify_body(), read.tag_hash(), record::records(bytes).count());
    let new = NewRecord {
        topic: read.topic(),
        queue_id: read.queue_id(),
        flag: read.flag(),
        sys_flag: read.sys_flag(),
        born_timestamp_ms: read.born_timestamp_ms(),
        born_host: read.born_host(),
        store_host: read.store_host(),
        reconsume_times: read.reconsume_times(),
        prepared_transaction_offset: read.prepared_transaction_offset(),
        body: read.body(),
        properties: read.properties_bytes(),
    };
    let mut written = Vec::new();
    new.encode(&mut written).expect("a record that was read can be written");
    record::stamp(&mut written, read.queue_offset(), read.position(), read.store_timestamp_ms());
    let again = Record::parse(&written).expect("what was written is read");
    assert_eq!((again.topic(), again.body()), (read.topic(), read.body()));
    assert_eq!(again.properties_bytes(), read.properties_bytes());
    assert_eq!((again.queue_offset(), again.position()), (read.queue_offset(), read.position()));
    assert_eq!((again.sys_flag(), again.born_host()), (read.sys_flag(), read.born_host()));
    assert!(again.verify_body().is_ok());
});
