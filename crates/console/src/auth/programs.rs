//! Programs have no session: they send name and password with each request (RFC 7617). Browsers are never asked for
//! them, so that none keeps them and sends them along for another site.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::app::App;
use crate::page::PageError;
use crate::pages::login::check;
use crate::viewer::Viewer;

/// The viewer that a request says to be; `None` if it says nothing.
pub async fn log_in(app: &App, viewer: &Viewer, headers: &HeaderMap) -> Result<Option<Viewer>, PageError> {
    let Some(header) = headers.get(AUTHORIZATION) else { return Ok(None) };
    let not_understood = || PageError::BadRequest("`authorization` is not understood; expected Basic".to_owned());
    let (name, password) = header.to_str().ok().and_then(name_and_password).ok_or_else(not_understood)?;
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
