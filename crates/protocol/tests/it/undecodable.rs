//! Bytes that no server understands, as recorded, and what we make of them.

use protocol::frame::{self, Codec};
use protocol::header::{FieldSpans, Header};

use crate::recording::lines;

/// What the reader says about the first frame of some bytes.
fn verdict(bytes: &[u8]) -> String {
    let frame = match frame::split(bytes) {
        Err(error) => return error.to_string(),
        Ok(None) => return "more bytes are needed".into(),
        Ok(Some(frame)) => frame,
    };
    let Some(codec) = Codec::from_number(frame.codec_number) else {
        return format!("codec {} is not known", frame.codec_number);
    };
    match Header::decode(codec, frame.header, &mut FieldSpans::default()) {
        Err(error) => error.to_string(),
        Ok(header) => format!("code {}", header.code),
    }
}

#[test]
fn undecodable_frames_are_told_apart() {
    let mut seen = 0;
    for line in lines() {
        let frame = &line.line;
        let is_frame = frame["event"].is_null() && frame["error"].is_null() && !frame["header"]["code"].is_null();
        if line.bytes.is_empty() || is_frame {
            continue;
        }
        let case = frame["case"].as_str().unwrap().trim_start_matches("garbage: ");
        let expected = match case {
            "HTTP request" => "frame length 1195725856 is not between 4 and 16777212",
            "header length > frame" => "header of 500 bytes in a frame with room for 6",
            "header not JSON" => "header is not understood at byte 0",
            "header is JSON array" | "header is {}" | "frame length 4, header length 0" => "header asks nothing",
            "serialize type 7" => "codec 7 is not known",
            "frame length 0" => "frame length 0 is not between 4 and 16777212",
            "frame length 3" => "frame length 3 is not between 4 and 16777212",
            "frame length over 16 MiB" => "frame length 16777217 is not between 4 and 16777212",
            "negative length" => "frame length -1 is not between 4 and 16777212",
            "frame of exactly 16 MiB - 4 announced" => "more bytes are needed",
            // Its last byte was recorded on a line of its own.
            "code is a string" if line.bytes.len() == 1 => "more bytes are needed",
            "code is a string" => "header is not understood at byte 8",
            "json header with code as numeric string" => "code 30",
            "binary header: ext length over header" => "length 5000 at byte 17 does not fit the header",
            other => panic!("{}: case `{other}` has no verdict", line.place),
        };
        assert_eq!(verdict(&line.bytes), expected, "{case}");
        seen += 1;
    }
    assert_eq!(seen, 16);
}

/// A connection may end, or a byte change, anywhere.
#[test]
fn no_cut_or_changed_frame_makes_the_reader_panic() {
    for line in lines().iter().filter(|line| line.place.starts_with("errors:") && line.bytes.len() < 400) {
        for at in 0..line.bytes.len() {
            verdict(&line.bytes[..at]);
            let mut changed = line.bytes.clone();
            changed[at] ^= 0x80;
            verdict(&changed);
        }
    }
}
