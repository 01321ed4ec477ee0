#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::codes::RequestCode;
use protocol::frame::{self, Codec};
use protocol::header::{FieldSpans, Header};
use protocol::requests::SendMessage;
use protocol::typed::TypedHeader;
use protocol::writer::{Expect, FrameWriter};

fuzz_target!(|bytes: &[u8]| {
    let mut spans = FieldSpans::default();
    let Ok(header) = Header::decode(Codec::Json, bytes, &mut spans) else { return };
    let Ok(send) = SendMessage::decode(&header.fields) else { return };
    let mut written = Vec::new();
    let writer = FrameWriter::request(&mut written, Codec::Json, RequestCode::SEND_MESSAGE_V2, 1, Expect::Answer);
    send.encode(writer).finish(b"");
    let mut spans = FieldSpans::default();
    let frame = frame::split(&written).expect("a frame").expect("a whole frame");
    let again = Header::decode(Codec::Json, frame.header, &mut spans).expect("what was written is read");
    assert_eq!(SendMessage::decode(&again.fields), Ok(send));
});
