//! Who looks at a page, and how they like it.

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::header::{ACCEPT_LANGUAGE, COOKIE};
use http::request::Parts;

use crate::activity::deed::Deed;
use crate::app::App;
use crate::auth::proxies::SignedOn;
use crate::auth::{AuthMode, Role, tokens};
use crate::language::Language;
use crate::links::Links;
use crate::page::PageError;

/// Cookie of the session.
pub const SESSION_COOKIE: &str = "apogee_session";
/// Cookie of the chosen language.
pub const LANGUAGE_COOKIE: &str = "apogee_language";
/// Cookie of the chosen theme.
pub const THEME_COOKIE: &str = "apogee_theme";

/// Colours of the pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// As the system has them.
    #[default]
    System,
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

impl Theme {
    /// As pages and cookies name it.
    pub fn name(self) -> &'static str {
        match self {
            Theme::System => "system",
            Theme::Light => "light",
            Theme::Dark => "dark",
        }
    }

    /// The theme of that name.
    pub fn of_name(name: &str) -> Option<Theme> {
        [Theme::System, Theme::Light, Theme::Dark].into_iter().find(|theme| theme.name() == name)
    }
}

/// Who looks.
#[derive(Clone, Debug)]
pub struct Viewer {
    /// Language of the page.
    pub language: Language,
    /// Colours of the page.
    pub theme: Theme,
    /// Name, of somebody who is logged in.
    pub user: Option<String>,
    /// Whether a proxy named them: they are no user of the console, whoever is called so.
    pub is_signed_on: bool,
    /// What they may do.
    pub role: Role,
    /// What their forms carry.
    pub form_token: String,
    /// Makes addresses.
    pub links: Links,
    /// Path and query of the page.
    pub here: String,
    /// Whether nobody has to log in.
    pub auth: AuthMode,
    /// Secret of the session.
    pub secret: Option<String>,
    /// Where they are.
    pub address: IpAddr,
    /// Id of the token of a program that sent one.
    pub token: Option<String>,
    /// What this request tells about itself.
    pub deed: Deed,
}

impl Viewer {
    /// Who sends a request with these headers.
    pub fn of(app: &App, headers: &HeaderMap, here: String, address: IpAddr, now_ms: i64) -> Viewer {
        let secret = cookie(headers, SESSION_COOKIE).map(str::to_owned);
        let session = secret.as_deref().and_then(|secret| app.sessions().of(now_ms, secret));
        let accepted = || headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let chosen = cookie(headers, LANGUAGE_COOKIE).and_then(Language::of_code);
        let without_login = if app.auth == AuthMode::Off { Role::Admin } else { Role::Guest };
        Viewer {
            language: chosen.unwrap_or_else(|| Language::accepted(accepted())),
            theme: cookie(headers, THEME_COOKIE).and_then(Theme::of_name).unwrap_or_default(),
            role: session.as_ref().map_or(without_login, |session| session.role.max(without_login)),
            form_token: session.as_ref().map_or(app.guest_form_token(), |session| &session.form_token).to_owned(),
            secret: secret.filter(|_| session.is_some()),
            user: session.map(|session| session.user),
            is_signed_on: false,
            links: app.links.clone(),
            here,
            auth: app.auth,
            address,
            token: None,
            deed: Deed::default(),
        }
    }

    /// The viewer whom a proxy named, instead of whom the browser's cookie names.
    pub fn signed_on(self, app: &App, named: SignedOn) -> Viewer {
        let without_login = if app.auth == AuthMode::Off { Role::Admin } else { Role::Guest };
        // Everybody gets the form token of guests, and names are no secret: with these alone another site could send forms
        // for this user.
        match tokens::hash(app.form_secret(), &named.user) {
            Ok(form_token) => Viewer {
                role: named.role.max(without_login),
                user: Some(named.user),
                is_signed_on: true,
                form_token,
                secret: None,
                ..self
            },
            Err(error) => {
                tracing::error!(%error, "nobody can be signed on");
                self
            }
        }
    }

    /// Their name as a user of the console, who has a password, sessions and tokens.
    pub fn own_user(&self) -> Option<&str> {
        self.user.as_deref().filter(|_| !self.is_signed_on)
    }

    /// Whether they may do what this role may.
    pub fn may(&self, role: Role) -> bool {
        role <= self.role
    }

    /// Refuses what takes a higher role.
    pub fn must(&self, role: Role) -> Result<(), PageError> {
        if self.may(role) { Ok(()) } else { Err(PageError::Forbidden { needs: role }) }
    }
}

/// A value that the browser kept.
fn cookie<'h>(headers: &'h HeaderMap, wanted: &str) -> Option<&'h str> {
    let lines = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value)
}

/// The door put the viewer there.
impl<S: Send + Sync> FromRequestParts<S> for Viewer {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Viewer, PageError> {
        parts.extensions.get::<Viewer>().cloned().ok_or_else(|| PageError::Failed("nobody looks".to_owned()))
    }
}
