//! Writing answers.

use std::sync::Arc;

use protocol::codes::ResponseCode;
use protocol::frame::Codec;
use protocol::requests::{
    AddWritePermResult, KvValue, QueryDataVersionResult, RegisterBrokerResult, WipeWritePermResult,
};
use protocol::typed::TypedHeader;
use protocol::writer::FrameWriter;

use super::refusal::Refusal;
use crate::kv::KvError;
use crate::routes::Registered;

/// Longest remark, in characters.
const REMARK_CHARS_MAX: usize = 1024;

/// What a request is answered with.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub fields: AnswerFields,
    pub body: Option<Arc<[u8]>>,
}

/// Named fields of an answer.
#[derive(Debug, Default)]
pub(super) enum AnswerFields {
    #[default]
    None,
    Registered(Registered),
    VersionChanged(bool),
    Value(String),
    Wiped(usize),
    Granted(usize),
}

impl Answer {
    pub(super) fn body(body: impl Into<Arc<[u8]>>) -> Answer {
        Answer { fields: AnswerFields::None, body: Some(body.into()) }
    }

    pub(super) fn fields(fields: AnswerFields) -> Answer {
        Answer { fields, body: None }
    }
}

impl AnswerFields {
    fn write<'o>(&self, frame: FrameWriter<'o>) -> FrameWriter<'o> {
        let count = |topics: usize| i32::try_from(topics).unwrap_or(i32::MAX);
        match self {
            AnswerFields::None => frame,
            AnswerFields::Registered(registered) => RegisterBrokerResult {
                ha_server_addr: registered.master_ha_address.as_deref().map(Into::into),
                master_addr: registered.master_address.as_deref().map(Into::into),
            }
            .encode(frame),
            AnswerFields::VersionChanged(changed) => QueryDataVersionResult { changed: *changed }.encode(frame),
            AnswerFields::Value(value) => KvValue { value: Some(value.as_str().into()) }.encode(frame),
            AnswerFields::Wiped(topics) => WipeWritePermResult { wipe_topic_count: count(*topics) }.encode(frame),
            AnswerFields::Granted(topics) => AddWritePermResult { add_topic_count: count(*topics) }.encode(frame),
        }
    }
}

/// How an answer finds its request.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReplyTo {
    pub codec: Codec,
    pub opaque: i32,
    pub oneway: bool,
}

impl ReplyTo {
    pub(super) fn answer(self, answer: &Answer, out: &mut Vec<u8>) {
        if self.oneway {
            return;
        }
        let frame = FrameWriter::response(out, self.codec, ResponseCode::SUCCESS, self.opaque, None);
        answer.fields.write(frame).finish(answer.body.as_deref().unwrap_or_default());
    }

    pub(super) fn refuse(self, refusal: &Refusal, out: &mut Vec<u8>) {
        if self.oneway {
            return;
        }
        // The remark may quote the request, and escaping makes it longer; a header has 24 bits of length.
        let remark: String = refusal.to_string().chars().take(REMARK_CHARS_MAX).collect();
        FrameWriter::response(out, self.codec, refusal.code(), self.opaque, Some(&remark)).finish(b"");
    }
}

/// An answer that waits for a change to be stored.
#[derive(Debug)]
#[must_use = "somebody waits for the answer"]
pub struct PendingAnswer(pub(super) ReplyTo);

impl PendingAnswer {
    /// Appends the answer to a change of settings, which are in force whether they are stored or not.
    pub fn finish_settings(self, stored: bool, out: &mut Vec<u8>) {
        match stored {
            true => self.0.answer(&Answer::default(), out),
            false => self.0.refuse(&Refusal::SettingsNotStored, out),
        }
    }

    /// Appends the answer.
    pub fn finish(self, stored: Result<(), KvError>, out: &mut Vec<u8>) {
        match stored {
            Ok(()) => self.0.answer(&Answer::default(), out),
            Err(error) => self.0.refuse(&Refusal::Kv(error), out),
        }
    }
}
