#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::bodies::kv::KvFile;
use protocol::lenient_json::{from_slice, to_vec};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(file) = from_slice::<KvFile>(bytes) {
        let again: KvFile = from_slice(&to_vec(&file)).expect("what was written is read");
        assert_eq!(again, file);
    }
});
