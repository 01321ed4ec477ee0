#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::frame;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Some(frame)) = frame::split(bytes) {
        assert_eq!(frame.size, 8 + frame.header.len() + frame.body.len());
        assert_eq!(frame::split(&bytes[..frame.size]), Ok(Some(frame)));
        assert_eq!(frame::split(&bytes[..frame.size - 1]), Ok(None));
    }
});
