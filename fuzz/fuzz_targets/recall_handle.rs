#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::recall_handle::RecallHandle;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = RecallHandle::parse(text);
        let handle = RecallHandle { topic: text.into(), broker: "b".into(), due_ms: 1, unique_id: "u".into() };
        let again = RecallHandle::parse(&handle.to_string());
        assert!(again.as_ref() == Ok(&handle) || text.contains(' ') || text.len() > 3000, "{again:?}");
    }
});
