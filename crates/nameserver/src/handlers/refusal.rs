//! Requests that are refused.

use protocol::bodies::registration::RegistrationError;
use protocol::codes::ResponseCode;
use protocol::lenient_json::BodyError;
use protocol::typed::FieldError;

use crate::kv::KvError;
use crate::names::NameError;
use crate::routes::RegisterError;
use crate::settings::SettingError;

/// Why a request is refused. The text goes to the sender as the answer's remark; where tools and people know
/// upstream's words, it begins with them.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("request type {0} not supported")]
    UnknownCode(i32),
    #[error(transparent)]
    Field(#[from] FieldError),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("No topic route info in name server for the topic: {0}")]
    NoRoute(String),
    #[error("name server not ready: brokers get {wait_seconds} s after the start to register")]
    NotReady { wait_seconds: u32 },
    #[error("{0} is switched off")]
    SwitchedOff(&'static str),
    #[error("crc32 not match: the header says {header}, the body has {body}")]
    Crc { header: i32, body: i32 },
    #[error("broker id {0} is negative")]
    BrokerId(i64),
    #[error(transparent)]
    Name(NameError),
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    #[error(transparent)]
    Register(#[from] RegisterError),
    #[error("topic is not put in: {0}")]
    Topic(String),
    #[error("No config item, Namespace: {namespace} Key: {key}")]
    NoKey { namespace: String, key: String },
    #[error("No config item, Namespace: {0}")]
    NoNamespace(String),
    #[error(transparent)]
    Kv(#[from] KvError),
    #[error(transparent)]
    Setting(#[from] SettingError),
    #[error("the change is in force but could not be stored")]
    SettingsNotStored,
    #[error("settings are not UTF-8")]
    NoText,
}

impl Refusal {
    /// The code the sender acts on. No other place turns a refusal into a code.
    pub(super) fn code(&self) -> ResponseCode {
        match self {
            Refusal::UnknownCode(_) => ResponseCode::REQUEST_CODE_NOT_SUPPORTED,
            Refusal::NoRoute(_) => ResponseCode::TOPIC_NOT_EXIST,
            Refusal::NoKey { .. } | Refusal::NoNamespace(_) => ResponseCode::QUERY_NOT_FOUND,
            Refusal::Topic(_) => ResponseCode::INVALID_PARAMETER,
            Refusal::Setting(SettingError::Locked(_)) => ResponseCode::NO_PERMISSION,
            _ => ResponseCode::SYSTEM_ERROR,
        }
    }
}
