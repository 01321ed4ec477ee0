//! Programs have no session: they send name and password (RFC 7617) or a token (RFC 6750) with each request. Browsers
//! are never asked for them, so that none keeps them and sends them along for another site.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use client::clock;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::app::App;
use crate::page::PageError;
use crate::pages::login::check;
use crate::viewer::Viewer;

/// The viewer that a request says to be; `None` if it says nothing.
pub async fn log_in(app: &App, viewer: &Viewer, headers: &HeaderMap) -> Result<Option<Viewer>, PageError> {
    let Some(header) = headers.get(AUTHORIZATION) else { return Ok(None) };
    let text = header.to_str().unwrap_or_default();
    if let Some((scheme, token)) = text.split_once(' ')
        && scheme.eq_ignore_ascii_case("bearer")
    {
        return by_token(app, viewer, token.trim()).map(Some);
    }
    let not_understood =
        || PageError::BadRequest("`authorization` is not understood; expected Basic or Bearer".to_owned());
    let (name, password) = name_and_password(text).ok_or_else(not_understood)?;
    if let Some(wait) = app.throttle().wait(app.uptime(), &name, viewer.address) {
        return Err(PageError::Throttled { seconds: wait.as_secs() + 1 });
    }
    match check(app, &name, password).await? {
        Some(role) => {
            app.throttle().succeeded(&name, viewer.address);
            Ok(Some(Viewer { role: role.max(viewer.role), user: Some(name), secret: None, ..viewer.clone() }))
        }
        None => {
            app.throttle().failed(app.uptime(), &name, viewer.address);
            tracing::warn!(name, address = %viewer.address, "a program failed to log in");
            Err(PageError::WrongPassword)
        }
    }
}

/// The viewer of a token: its user, with no more than both of them may.
fn by_token(app: &App, viewer: &Viewer, text: &str) -> Result<Viewer, PageError> {
    let wrong = || {
        tracing::warn!(address = %viewer.address, "a program sent a token that is not valid");
        PageError::WrongToken
    };
    let token = app.tokens().of(clock::now_ms(), text).ok_or_else(wrong)?;
    let users_role = app.users().find(&token.user).map(|user| user.role).ok_or_else(wrong)?;
    let role = token.role.min(users_role).max(viewer.role);
    Ok(Viewer { role, user: Some(token.user), token: Some(token.id), secret: None, ..viewer.clone() })
}

fn name_and_password(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    let decoded = STANDARD.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let (name, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_passwords_are_taken_apart_at_the_first_colon() {
        let read = |text| name_and_password(text).map(|(name, password)| format!("{name}|{password}"));
        assert_eq!(read("Basic YTpiOmM="), Some("a|b:c".to_owned()));
        assert_eq!(read("basic YTpiOmM="), Some("a|b:c".to_owned()));
        for text in ["", "Basic", "Basic !", "Bearer YTpiOmM=", "Basic YQ=="] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
