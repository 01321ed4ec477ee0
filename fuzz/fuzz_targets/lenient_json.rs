#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::lenient_json::{GROWTH_MAX, normalise};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(strict) = normalise(bytes) {
        assert!(strict.len() <= GROWTH_MAX * bytes.len());
        assert_eq!(normalise(&strict).as_deref(), Ok(&*strict));
    }
});
