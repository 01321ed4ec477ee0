#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::bodies::registration::RegisterBrokerBody;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(body) = RegisterBrokerBody::decode(bytes) {
        let mut written = Vec::new();
        body.encode(&mut written);
        assert_eq!(RegisterBrokerBody::decode(&written).expect("what was written is read"), body);
    }
});
