//! Headers of every recorded frame.

use protocol::codes::Language;
use protocol::frame::{self, Codec};
use protocol::header::{FieldSpans, Header};
use protocol::writer::FrameWriter;
use serde_json::Value;

use crate::recording::{Recorded, frames};

/// A header in a form that can be compared.
#[derive(Debug, PartialEq)]
struct Read {
    code: i32,
    language: Language,
    version: i32,
    opaque: i32,
    flag: i32,
    remark: Option<String>,
    fields: Vec<(String, String)>,
}

fn read(header: Header<'_>) -> Read {
    Read {
        code: header.code,
        language: header.language,
        version: header.version,
        opaque: header.opaque,
        flag: header.flag,
        remark: header.remark.map(|text| text.resolve().into_owned()),
        fields: header
            .fields
            .iter()
            .map(|(name, value)| (name.resolve().into_owned(), value.resolve().into_owned()))
            .collect(),
    }
}

/// What the recording says about a frame, with the fields sorted by name.
fn recorded(frame: &Recorded) -> Read {
    let header = &frame.line["header"];
    let number = |name: &str| header[name].as_i64().unwrap_or_default() as i32;
    let fields = header["extFields"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
    let is_binary = frame.codec() == Codec::Binary;
    Read {
        code: number("code"),
        language: header["language"].as_str().map_or(Language::OTHER, Language::from_name),
        version: number("version"),
        opaque: number("opaque"),
        flag: number("flag"),
        remark: header["remark"].as_str().filter(|text| !is_binary || !text.is_empty()).map(str::to_owned),
        // An empty value of a binary header is an absent one.
        fields: fields.filter(|(_, value)| !is_binary || !value.is_empty()).collect(),
    }
}

fn sorted(mut header: Read) -> Read {
    header.fields.sort();
    header
}

fn written_again(frame: &Recorded) -> Vec<u8> {
    let mut out = Vec::new();
    frame.with_header(|header| {
        let remark = header.remark.map(|text| text.resolve());
        let mut writer = FrameWriter::begin(
            &mut out,
            frame.codec(),
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
        writer.finish(frame.body());
    });
    out
}

fn has_empty_field(frame: &Recorded) -> bool {
    frame.line["header"]["extFields"].as_object().is_some_and(|fields| fields.values().any(|value| value == ""))
}

#[test]
fn every_header_says_what_was_recorded() {
    let mut seen = 0;
    for frame in frames() {
        assert_eq!(frame.frame().size, frame.bytes.len(), "{}", frame.place);
        assert_eq!(frame.body().len() as u64, frame.line["body_len"].as_u64().unwrap(), "{}", frame.place);
        let codec = if frame.line["serialize"] == "JSON" { Codec::Json } else { Codec::Binary };
        assert_eq!(frame.codec(), codec, "{}", frame.place);
        assert_eq!(sorted(frame.with_header(read)), recorded(frame), "{}", frame.place);
        seen += 1;
    }
    assert_eq!(seen, 5045);
}

#[test]
fn every_frame_is_written_again_with_the_same_meaning() {
    for frame in frames() {
        let again = written_again(frame);
        let split = frame::split(&again).unwrap().unwrap();
        assert_eq!((split.size, split.body), (again.len(), frame.body()), "{}", frame.place);
        let mut spans = FieldSpans::default();
        let header = Header::decode(frame.codec(), split.header, &mut spans).unwrap();
        assert_eq!(read(header), frame.with_header(read), "{}", frame.place);
    }
}

#[test]
fn binary_frames_are_written_again_byte_for_byte() {
    let binary = || frames().filter(|frame| frame.codec() == Codec::Binary);
    let mut seen = 0;
    for frame in binary().filter(|frame| !has_empty_field(frame)) {
        assert_eq!(written_again(frame), frame.bytes, "{}", frame.place);
        seen += 1;
    }
    // Fields with an empty value are not written again.
    assert_eq!((seen, binary().count()), (87, 88));
}

/// The writer puts the fixed parts in Java's order; named fields come in the order of each sender's hash table.
#[test]
fn answers_of_java_servers_are_written_again_byte_for_byte() {
    let java = |frame: &&Recorded| {
        let header = &frame.line["header"];
        frame.codec() == Codec::Json && header["language"] == "JAVA" && header["extFields"] == Value::Null
    };
    let mut seen = 0;
    for frame in frames().filter(java) {
        assert_eq!(written_again(frame), frame.bytes, "{}", frame.place);
        seen += 1;
    }
    assert!(seen > 1000, "{seen}");
}
