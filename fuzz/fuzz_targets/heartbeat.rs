#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::bodies::heartbeat::HeartbeatData;
use protocol::lenient_json::{from_slice, to_vec};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(heartbeat) = from_slice::<HeartbeatData>(bytes) {
        let again: HeartbeatData = from_slice(&to_vec(&heartbeat)).expect("what was written is read");
        assert_eq!(again, heartbeat);
    }
});
