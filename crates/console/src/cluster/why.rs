//! Why something is not known, and what is known otherwise.

use std::fmt;
use std::time::Duration;

use client::RequestError;
use client::admin::AdminError;
use protocol::codes::ResponseCode;

/// Why a server said nothing that can be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It was asked and did not answer in time.
    Silent {
        /// The time that it had.
        after: Duration,
    },
    /// Nobody was reached, or the connection ended.
    Unreachable(String),
    /// It does not know the request.
    Unsupported,
    /// It said no.
    Refused {
        /// The response code.
        code: i32,
        /// Code and remark, as people read them.
        text: String,
    },
    /// It answered something that is not understood.
    Garbled(String),
}

impl Why {
    /// Whether the server itself is in trouble, so that it belongs into the strip of silent nodes.
    pub fn is_silence(&self) -> bool {
        matches!(self, Why::Silent { .. } | Why::Unreachable(_))
    }

    /// Whether the server answered with this code.
    pub fn has_code(&self, wanted: ResponseCode) -> bool {
        matches!(self, Why::Refused { code, .. } if *code == wanted.0)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Silent { after } => write!(f, "no answer within {} s", after.as_secs()),
            Why::Unreachable(text) | Why::Refused { text, .. } | Why::Garbled(text) => f.write_str(text),
            Why::Unsupported => f.write_str("this broker does not know the request"),
        }
    }
}

impl From<&RequestError> for Why {
    fn from(error: &RequestError) -> Why {
        match error {
            RequestError::Connect(_) | RequestError::Call(_) => Why::Unreachable(with_causes(error)),
            RequestError::Refused { code, .. } if *code == ResponseCode::REQUEST_CODE_NOT_SUPPORTED => Why::Unsupported,
            RequestError::Refused { code, remark, .. } => {
                let text =
                    if remark.trim().is_empty() { code.to_string() } else { format!("{code}: {}", remark.trim()) };
                Why::Refused { code: code.0, text }
            }
            RequestError::Fields { .. } | RequestError::Body { .. } => Why::Garbled(with_causes(error)),
        }
    }
}

impl From<&AdminError> for Why {
    fn from(error: &AdminError) -> Why {
        match error {
            AdminError::Request(error) => Why::from(error),
            _ => Why::Refused { code: ResponseCode::SYSTEM_ERROR.0, text: error.to_string() },
        }
    }
}

/// An error and its causes on one line.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

/// A node that did not answer, for the strip that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silent {
    /// Which one: a broker's name and id, or a nameserver's address.
    pub node: String,
    /// What came of asking.
    pub why: Why,
}

#[cfg(test)]
mod tests {
    use protocol::codes::RequestCode;

    use super::*;

    fn refused(code: ResponseCode, remark: &str) -> Why {
        Why::from(&RequestError::Refused {
            address: "a:1".into(),
            request: RequestCode::GET_CONSUME_STATS,
            code,
            remark: remark.into(),
        })
    }

    #[test]
    fn a_broker_that_does_not_know_a_request_is_not_silent() {
        let why = refused(ResponseCode::REQUEST_CODE_NOT_SUPPORTED, "no");
        assert_eq!(why, Why::Unsupported);
        assert!(!why.is_silence());
        assert!(Why::Silent { after: Duration::from_secs(2) }.is_silence());
    }

    #[test]
    fn a_refusal_keeps_its_code_and_its_remark() {
        let why = refused(ResponseCode::TOPIC_NOT_EXIST, " no topic \n");
        assert!(why.has_code(ResponseCode::TOPIC_NOT_EXIST));
        assert!(why.to_string().ends_with(": no topic"), "{why}");
    }
}
