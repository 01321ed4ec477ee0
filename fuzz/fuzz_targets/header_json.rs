#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::frame::{self, Codec};
use protocol::header::{FieldSpans, Header};
use protocol::writer::FrameWriter;

fn write_again(header: &Header<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let remark = header.remark.map(|text| text.resolve());
    let mut writer = FrameWriter::begin(
        &mut out,
        Codec::Json,
        header.code,
        header.language,
        header.version,
        header.opaque,
        header.flag,
        remark.as_deref(),
    );
    for (name, value) in header.fields.iter() {
        writer = writer.text(&name.resolve(), &value.resolve());
    }
    writer.finish(b"");
    out
}

fuzz_target!(|bytes: &[u8]| {
    let mut spans = FieldSpans::default();
    let Ok(header) = Header::decode(Codec::Json, bytes, &mut spans) else { return };
    let written = write_again(&header);
    let mut spans = FieldSpans::default();
    let frame = frame::split(&written).expect("a frame").expect("a whole frame");
    let again = Header::decode(Codec::Json, frame.header, &mut spans).expect("what was written is read");
    assert_eq!((again.code, again.opaque, again.flag), (header.code, header.opaque, header.flag));
    assert_eq!((again.language, again.version), (header.language, header.version));
    assert_eq!(again.remark.map(|text| text.resolve()), header.remark.map(|text| text.resolve()));
    let pairs = |header: &Header<'_>| {
        let resolved =
            header.fields.iter().map(|(name, value)| (name.resolve().into_owned(), value.resolve().into_owned()));
        resolved.collect::<Vec<_>>()
    };
    assert_eq!(pairs(&again), pairs(&header));
});
