#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::message_id::OffsetMessageId;

fuzz_target!(|text: &str| {
    if let Some(id) = OffsetMessageId::parse(text) {
        assert_eq!(id.to_string(), text.to_ascii_uppercase());
        assert_eq!(OffsetMessageId::parse(&id.to_string()), Some(id));
    }
});
