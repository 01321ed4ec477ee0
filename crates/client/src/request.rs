//! One request and its answer, as every part of the client makes it.

use std::time::Duration;

use net::{Answer, CallError, Channel, ConnectError};
use protocol::codes::{RequestCode, ResponseCode};
use protocol::header::Fields;
use protocol::lenient_json::BodyError;
use protocol::typed::{FieldError, TypedHeader};
use protocol::writer::FrameWriter;

/// Time that a request gets, as stock clients give it.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// Why a request brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Nobody was reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Nothing came back.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The server said no.
    #[error("`{address}` refused {request} with {code}{}", said(.remark))]
    Refused {
        /// Who said no.
        address: String,
        /// What was asked.
        request: RequestCode,
        /// The answer.
        code: ResponseCode,
        /// What the server says about it.
        remark: String,
    },
    /// The answer lacks a field, or has something else in it.
    #[error("answer of `{address}` to {request} is not understood")]
    Fields {
        /// Who answered.
        address: String,
        /// What was asked.
        request: RequestCode,
        /// What is wrong.
        #[source]
        source: FieldError,
    },
    /// The body of the answer is not what it should be.
    #[error("answer of `{address}` to {request} is not understood")]
    Body {
        /// Who answered.
        address: String,
        /// What was asked.
        request: RequestCode,
        /// What is wrong.
        #[source]
        source: BodyError,
    },
}

fn said(remark: &str) -> String {
    if remark.is_empty() { String::new() } else { format!(": {}", remark.trim()) }
}

impl RequestError {
    /// The code of a refusal.
    pub fn code(&self) -> Option<ResponseCode> {
        match self {
            RequestError::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether another server may do better: this one was not reached or did not answer.
    pub fn is_network(&self) -> bool {
        matches!(self, RequestError::Connect(_) | RequestError::Call(_))
    }
}

/// The header of a request without named fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoFields;

impl TypedHeader<'_> for NoFields {
    fn decode(_: &Fields<'_>) -> Result<Self, FieldError> {
        Ok(NoFields)
    }

    fn encode<'o>(&self, frame: FrameWriter<'o>) -> FrameWriter<'o> {
        frame
    }
}

/// A request under way.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    channel: &'a Channel,
    code: RequestCode,
    body: &'a [u8],
    timeout: Duration,
}

impl<'a> Request<'a> {
    /// A request without a body that gets [`TIMEOUT`].
    pub fn new(channel: &'a Channel, code: RequestCode) -> Request<'a> {
        Request { channel, code, body: &[], timeout: TIMEOUT }
    }

    /// The same request with a body.
    pub fn body(self, body: &'a [u8]) -> Request<'a> {
        Request { body, ..self }
    }

    /// The same request with more or less time.
    pub fn timeout(self, timeout: Duration) -> Request<'a> {
        Request { timeout, ..self }
    }

    /// Sends it with a typed header; any answer is fine.
    pub async fn call<'h>(self, header: &impl TypedHeader<'h>) -> Result<Answer, RequestError> {
        Ok(self.channel.call(self.code, |frame| header.encode(frame), self.body, self.timeout).await?)
    }

    /// Sends it with a typed header; any answer but SUCCESS is an error.
    pub async fn send<'h>(self, header: &impl TypedHeader<'h>) -> Result<Answer, RequestError> {
        let answer = self.call(header).await?;
        self.expect_success(answer)
    }

    fn expect_success(self, answer: Answer) -> Result<Answer, RequestError> {
        if answer.code == ResponseCode::SUCCESS { Ok(answer) } else { Err(self.refused(answer)) }
    }

    /// The error that an answer stands for.
    pub fn refused(self, answer: Answer) -> RequestError {
        RequestError::Refused {
            address: self.channel.address().to_owned(),
            request: self.code,
            code: answer.code,
            remark: answer.remark.unwrap_or_default(),
        }
    }

    /// Names the request in an error about the answer's fields.
    pub fn fields<T>(self, read: Result<T, FieldError>) -> Result<T, RequestError> {
        read.map_err(|source| RequestError::Fields {
            address: self.channel.address().to_owned(),
            request: self.code,
            source,
        })
    }

    /// Names the request in an error about the answer's body.
    pub fn read_body<T>(self, read: Result<T, BodyError>) -> Result<T, RequestError> {
        read.map_err(|source| RequestError::Body {
            address: self.channel.address().to_owned(),
            request: self.code,
            source,
        })
    }
}
