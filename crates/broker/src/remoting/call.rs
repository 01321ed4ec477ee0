//! One request and its answer.

use std::fmt::Display;
use std::sync::Arc;

use log::ExpectedPull;
use metrics::Stopwatch;
use net::Connection;
use protocol::codes::{RequestCode, ResponseCode};
use protocol::frame::Codec;
use protocol::header::Header;
use protocol::lenient_json::{self, BodyError};
use protocol::typed::{FieldError, TypedHeader};
use protocol::writer::FrameWriter;
use serde::de::DeserializeOwned;

use crate::broker::Broker;
use crate::client_requests::ClientAnswer;
use crate::creation_times::Creation;
use crate::reconfigure;
use crate::rpc_latency::{Kind, RpcLatency};
use crate::unsaved::Saved;

/// A request, and where its answer goes.
pub struct Call<'a> {
    /// The broker.
    pub broker: &'a Arc<Broker>,
    /// Who asks.
    pub connection: &'a Arc<Connection>,
    /// Header of the request.
    pub header: &'a Header<'a>,
    /// Codec of the request, and so of the answer.
    pub codec: Codec,
    /// Body of the request.
    pub body: &'a [u8],
    /// Runs since the request came.
    pub since: Stopwatch,
    /// Where the answer is written.
    pub out: &'a mut Vec<u8>,
    /// Pulls that can be foreseen, to be read ahead once the answers are on their way.
    pub expected: &'a mut Vec<ExpectedPull>,
}

/// An answer that says no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Code of the answer.
    pub code: ResponseCode,
    /// Text of the answer.
    pub remark: String,
    /// Kind of refusal of a pull.
    pub forbidden_type: Option<i32>,
    /// Offset that goes along: the Go client reads it without looking at the code.
    pub offset: Option<i64>,
}

impl Refusal {
    /// A refusal with a text.
    pub fn new(code: ResponseCode, remark: impl Display) -> Refusal {
        Refusal { code, remark: remark.to_string(), forbidden_type: None, offset: None }
    }
}

impl From<FieldError> for Refusal {
    fn from(error: FieldError) -> Self {
        Refusal::new(ResponseCode::SYSTEM_ERROR, error)
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        Refusal::new(ResponseCode::SYSTEM_ERROR, format!("body cannot be read: {error}"))
    }
}

impl<'a> Call<'a> {
    /// The typed header of the request.
    pub fn read<T: TypedHeader<'a>>(&self) -> Result<T, FieldError> {
        T::decode(&self.header.fields)
    }

    /// The body of the request, which is JSON.
    pub fn read_body<T: DeserializeOwned>(&self) -> Result<T, BodyError> {
        lenient_json::from_slice(self.body)
    }

    /// Begins an answer.
    pub fn answer(&mut self, code: ResponseCode) -> FrameWriter<'_> {
        FrameWriter::response(self.out, self.codec, code, self.header.opaque, None)
    }

    /// Answers with a typed header and no body.
    pub fn answer_header<'h>(&mut self, header: &impl TypedHeader<'h>) {
        header.encode(self.answer(ResponseCode::SUCCESS)).finish(b"");
    }

    /// Answers with a body.
    pub fn answer_body(&mut self, body: &[u8]) {
        self.answer(ResponseCode::SUCCESS).finish(body);
    }

    /// Answers that it is done.
    pub fn answer_done(&mut self) {
        self.answer(ResponseCode::SUCCESS).finish(b"");
    }

    /// Answers that it cannot be done.
    pub fn refuse(&mut self, refusal: Refusal) {
        let mut answer =
            FrameWriter::response(self.out, self.codec, refusal.code, self.header.opaque, Some(&refusal.remark));
        if let Some(kind) = refusal.forbidden_type {
            answer = answer.integer("forbiddenType", kind);
        }
        if let Some(offset) = refusal.offset {
            answer = answer.integer("offset", offset);
        }
        answer.finish(b"");
    }

    /// Where the answer goes, for whoever answers later.
    pub fn later(&self) -> LateAnswer {
        LateAnswer {
            connection: self.connection.clone(),
            codec: self.codec,
            opaque: self.header.opaque,
            oneway: self.header.is_oneway(),
            request: RequestCode(self.header.code),
            since: self.since,
            latency: self.broker.counters.rpc_latency.clone(),
        }
    }

    /// Answers once every change of metadata so far is on disk, and nameservers have heard of new topics.
    pub fn answer_when_saved(&mut self) {
        self.answer_when_saved_and(|_| ());
    }

    /// Answers when it is saved that something was created, and so done.
    pub fn answer_when_created(&mut self, creation: Creation) {
        self.answer_when_saved_and(move |saved| {
            if saved == Saved::OnDisk {
                creation.saved();
            }
        });
    }

    /// The same, and before that calls `and`.
    fn answer_when_saved_and(&mut self, and: impl FnOnce(Saved) + Send + 'static) {
        let asker = self.later();
        // The metadata thread ends with the broker, so what waits there must not keep the broker.
        let broker = Arc::downgrade(self.broker);
        let limit_ms = self.broker.config.sync_flush_timeout.get().as_millis();
        self.broker.when_saved(move |saved| {
            let answer = move || {
                and(saved);
                answer_saved(&asker, saved, limit_ms);
            };
            match broker.upgrade() {
                Some(broker) => broker.registrations.when_told(broker.clock.now_ms(), answer),
                None => answer(),
            }
        });
    }

    /// Answers once every change of settings so far is on disk.
    pub fn answer_when_settings_are_saved(&mut self) {
        let asker = self.later();
        let limit_ms = self.broker.config.sync_flush_timeout.get().as_millis();
        reconfigure::when_saved(self.broker, move |saved| answer_saved(&asker, saved, limit_ms));
    }
}

/// Answers a request whose change is in force, now that it is known whether it is saved.
fn answer_saved(asker: &LateAnswer, saved: Saved, limit_ms: u128) {
    let (code, remark) = match saved {
        Saved::OnDisk => (ResponseCode::SUCCESS, None),
        Saved::Failed => (ResponseCode::SYSTEM_ERROR, Some("the change is in force but could not be saved".to_owned())),
        Saved::NotInTime => {
            let remark = format!("the change is in force but was not saved within {limit_ms} ms");
            (ResponseCode::SYSTEM_ERROR, Some(remark))
        }
    };
    asker.give(code, remark.as_deref(), |frame| frame.finish(b""));
}

/// Where the answer to a request goes that is given later, from any thread.
#[derive(Debug)]
pub struct LateAnswer {
    connection: Arc<Connection>,
    codec: Codec,
    opaque: i32,
    oneway: bool,
    request: RequestCode,
    since: Stopwatch,
    latency: RpcLatency,
}

impl LateAnswer {
    /// Answers. Whoever asked may be gone, or not want to know.
    pub fn give(&self, code: ResponseCode, remark: Option<&str>, rest: impl FnOnce(FrameWriter<'_>)) {
        // Of a oneway request it was noted that it was taken.
        if !self.oneway {
            self.latency.observe(Kind::remoting(self.request, code), self.since.elapsed(), 1);
            self.connection.send(|out| rest(FrameWriter::response(out, self.codec, code, self.opaque, remark)));
        }
    }
}

/// What a client says to a question of the broker.
pub fn client_answer(header: &Header<'_>, body: &[u8]) -> ClientAnswer {
    ClientAnswer {
        code: ResponseCode(header.code),
        remark: header.remark.map(|text| text.resolve().into_owned()),
        body: body.to_vec(),
    }
}
