//! The recorded frames in `golden/remoting/`.

use std::path::Path;
use std::sync::LazyLock;

use protocol::frame::{self, Codec, Frame};
use protocol::header::{FieldSpans, Header};
use serde_json::Value;

/// One recorded line.
pub struct Recorded {
    /// File without its ending, and line.
    pub place: String,
    /// The line.
    pub line: Value,
    way: Way,
    request_code: i32,
    /// The bytes of the frame.
    pub bytes: Vec<u8>,
}

/// Which way a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Request,
    Answer,
}

static LINES: LazyLock<Vec<Recorded>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/remoting");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "jsonl"));
    files.iter().flat_map(|file| lines_of(file)).collect()
});

fn lines_of(file: &Path) -> Vec<Recorded> {
    let name = file.file_stem().unwrap().to_string_lossy().into_owned();
    let text = std::fs::read_to_string(file).unwrap();
    text.lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            let bytes = line["hex"].as_str().map(from_hex).unwrap_or_default();
            let (way, code_key) =
                if line["reply"] == true { (Way::Answer, "request_code") } else { (Way::Request, "code") };
            let request_code = line[code_key].as_i64().unwrap_or_default() as i32;
            Recorded { place: format!("{name}:{}", line["n"]), line, way, request_code, bytes }
        })
        .collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
    text.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// Every line.
pub fn lines() -> &'static [Recorded] {
    &LINES
}

/// Every line that is a whole frame with a header that says something.
pub fn frames() -> impl Iterator<Item = &'static Recorded> {
    lines().iter().filter(|line| {
        line.line["event"].is_null()
            && line.line["error"].is_null()
            && line.line["hex_truncated"].is_null()
            && !line.line["header"]["code"].is_null()
    })
}

/// The requests with one of these codes, or the answers to them.
pub fn frames_of(way: Way, codes: &[i32]) -> impl Iterator<Item = &'static Recorded> {
    frames().filter(move |frame| frame.way == way && codes.contains(&frame.request_code))
}

impl Recorded {
    /// Code in the header.
    pub fn code(&self) -> i64 {
        self.line["code"].as_i64().unwrap()
    }

    /// The frame, split.
    pub fn frame(&self) -> Frame<'_> {
        frame::split(&self.bytes).unwrap().unwrap_or_else(|| panic!("{} is no whole frame", self.place))
    }

    /// Codec of the header.
    pub fn codec(&self) -> Codec {
        Codec::from_number(self.frame().codec_number).unwrap()
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        self.frame().body
    }

    /// Reads the header and hands it to `look`.
    pub fn with_header<T>(&self, look: impl FnOnce(Header<'_>) -> T) -> T {
        let mut spans = FieldSpans::default();
        look(Header::decode(self.codec(), self.frame().header, &mut spans).unwrap_or_else(|error| {
            panic!("{}: {error}", self.place);
        }))
    }

    /// Code of the recorded answer to this request, if one was recorded.
    pub fn answer_code(&self) -> Option<i64> {
        let (file, _) = self.place.split_once(':').unwrap();
        let answer = lines().iter().find(|other| {
            other.place.split_once(':').unwrap().0 == file
                && other.line["reply"] == true
                && other.line["conn"] == self.line["conn"]
                && other.line["opaque"] == self.line["opaque"]
        })?;
        Some(answer.code())
    }
}
