//! What a handler gives back: a page in parts, or why there is none. The door puts it into the shell; the live stream
//! sends the parts that changed.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::LOCATION;
use maud::Markup;

use crate::auth::Role;
use crate::cluster::why::Silent;

/// Which entry of the navigation a page belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// `/`
    Overview,
    /// `/topics`
    Topics,
    /// `/groups`
    Groups,
    /// `/messages`
    Messages,
    /// `/dead-letters`
    DeadLetters,
    /// `/scheduled`
    Scheduled,
    /// `/clients`
    Clients,
    /// `/cluster`
    Cluster,
    /// `/doctor`
    Doctor,
    /// `/activity`
    Activity,
    /// `/settings`
    Settings,
    /// Somewhere else.
    Other,
}

/// A piece of a page.
#[derive(Clone, Debug)]
pub enum Part {
    /// Stays as it is until the page is loaded again.
    Still(Markup),
    /// Is replaced as often as it changes; the name is its id.
    Live(&'static str, Markup),
}

/// A page without its shell.
#[derive(Clone, Debug)]
pub struct Page {
    /// What the tab says.
    pub title: String,
    /// Where it belongs.
    pub section: Section,
    /// Its pieces, in order.
    pub parts: Vec<Part>,
    /// Who did not answer; named in a strip.
    pub silent: Vec<Silent>,
    /// When its figures were asked for, in milliseconds since 1970.
    pub asked_at_ms: Option<i64>,
}

impl Page {
    /// An empty page.
    pub fn new(section: Section, title: impl Into<String>) -> Page {
        Page { title: title.into(), section, parts: Vec::new(), silent: Vec::new(), asked_at_ms: None }
    }

    /// The page with one more piece.
    pub fn still(mut self, markup: Markup) -> Page {
        self.parts.push(Part::Still(markup));
        self
    }

    /// The page with one more piece that is kept up to date.
    pub fn live(mut self, id: &'static str, markup: Markup) -> Page {
        self.parts.push(Part::Live(id, markup));
        self
    }

    /// The page, whose figures are of this time.
    pub fn asked_at(mut self, asked_ms: i64) -> Page {
        self.asked_at_ms = Some(self.asked_at_ms.map_or(asked_ms, |known| known.min(asked_ms)));
        self
    }

    /// The page, for which these did not answer.
    pub fn without(mut self, silent: &[Silent]) -> Page {
        for one in silent {
            if !self.silent.iter().any(|known| known.node == one.node) {
                self.silent.push(one.clone());
            }
        }
        self
    }

    /// Whether any part is kept up to date.
    pub fn is_live(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Live(..)))
    }
}

/// The door finds the page among the extensions.
impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let mut response = StatusCode::OK.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Why there is no page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// There is no such thing.
    #[error("not found: {0}")]
    NotFound(String),
    /// The address or the form has something that makes no sense.
    #[error("{0}")]
    BadRequest(String),
    /// It takes a higher role.
    #[error("this takes the role `{}`", .needs.name())]
    Forbidden {
        /// The role.
        needs: Role,
    },
    /// The form came from another site, or the session ended meanwhile.
    #[error("the form is no longer valid; load the page again")]
    StaleForm,
    /// Name or password of a program.
    #[error("name or password is wrong")]
    WrongPassword,
    /// The token of a program is unknown, revoked, or has ended.
    #[error("the token is unknown, revoked, or has ended")]
    WrongToken,
    /// What was to be changed is not what the program took it for.
    #[error("the condition does not hold: it was changed meanwhile; read it again")]
    Changed,
    /// A change with this key is being done.
    #[error("a change with this `idempotency-key` is being done; ask again")]
    InProgress,
    /// Another change had this key.
    #[error("this `idempotency-key` stands for another change")]
    KeyReused,
    /// Too many tries.
    #[error("too many tries; wait {seconds} s")]
    Throttled {
        /// Seconds to wait.
        seconds: u64,
    },
    /// A broker or nameserver said no, or nothing.
    #[error("{0}")]
    Upstream(String),
    /// Our own trouble.
    #[error("{0}")]
    Failed(String),
}

impl PageError {
    /// The status.
    pub fn status(&self) -> StatusCode {
        match self {
            PageError::NotFound(_) => StatusCode::NOT_FOUND,
            PageError::BadRequest(_) => StatusCode::BAD_REQUEST,
            PageError::Forbidden { .. } | PageError::StaleForm => StatusCode::FORBIDDEN,
            PageError::WrongPassword | PageError::WrongToken => StatusCode::UNAUTHORIZED,
            PageError::Changed => StatusCode::PRECONDITION_FAILED,
            PageError::InProgress => StatusCode::CONFLICT,
            PageError::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            PageError::Throttled { .. } => StatusCode::TOO_MANY_REQUESTS,
            PageError::Upstream(_) => StatusCode::BAD_GATEWAY,
            PageError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// The door finds the error among the extensions and says it in the viewer's language.
impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Sends the browser to another page, by GET.
pub fn redirect(to: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    match to.parse() {
        Ok(location) => {
            response.headers_mut().insert(LOCATION, location);
            response
        }
        Err(_) => PageError::Failed("the next page has no address".to_owned()).into_response(),
    }
}
