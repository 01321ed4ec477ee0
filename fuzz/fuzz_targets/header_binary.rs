#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::frame::Codec;
use protocol::header::{FieldSpans, Header};

fuzz_target!(|bytes: &[u8]| {
    let mut spans = FieldSpans::default();
    if let Ok(header) = Header::decode(Codec::Binary, bytes, &mut spans) {
        let texts = header.fields.iter().map(|(name, value)| name.raw().len() + value.raw().len()).sum::<usize>();
        let remark = header.remark.map_or(0, |remark| remark.raw().len());
        // 21 bytes are fixed, and every field has six bytes of lengths.
        assert!(21 + remark + texts + 6 * header.fields.len() <= bytes.len());
        for (name, value) in header.fields.iter() {
            (name.resolve(), value.resolve(), value.integer());
        }
    }
});
