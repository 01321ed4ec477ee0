//! What a browser sends: parameters and forms.

use std::sync::Arc;

use axum::extract::{Form, FromRequest, FromRequestParts, Query, Request};
use http::request::Parts;

use crate::app::App;
use crate::auth;
use crate::page::PageError;
use crate::viewer::Viewer;

/// Name of the field by which a form proves that it is ours.
pub const FORM_TOKEN: &str = "form_token";

/// Parameter that names a notice to show.
pub const NOTICE: &str = "done";

/// Names and values, in order.
#[derive(Clone, Debug, Default)]
pub struct Values(Vec<(String, String)>);

impl Values {
    /// The value of that name without blanks around it; empty when there is none.
    pub fn get(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// The value of that name as it was sent.
    pub fn raw(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str())
    }

    /// The value of that name, if it is not empty.
    pub fn given(&self, name: &str) -> Option<&str> {
        Some(self.get(name)).filter(|value| !value.is_empty())
    }

    /// All values of that name.
    pub fn all<'v>(&'v self, name: &'v str) -> impl Iterator<Item = &'v str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether the value of that name is `true`; it may be `false` or missing.
    pub fn flag(&self, name: &str) -> Result<bool, PageError> {
        match self.get(name) {
            "true" => Ok(true),
            "" | "false" => Ok(false),
            other => Err(PageError::BadRequest(format!("`{name}` is `{other}`; expected true or false"))),
        }
    }

    /// All names and values.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The number of that name, if there is one.
    pub fn number<N: std::str::FromStr>(&self, name: &str) -> Result<Option<N>, PageError> {
        let Some(text) = self.given(name) else { return Ok(None) };
        let bad = |_| PageError::BadRequest(format!("`{name}` is `{text}`, which is no number in its range"));
        text.parse().map(Some).map_err(bad)
    }

    /// Refuses names that are not among `known`: a mistyped one would be left out in silence.
    pub fn only(&self, known: &[&str]) -> Result<(), PageError> {
        match self.0.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => {
                Err(PageError::BadRequest(format!("there is no parameter `{name}`; known: {}", known.join(", "))))
            }
            None => Ok(()),
        }
    }
}

/// Parameters of a page.
#[derive(Clone, Debug, Default)]
pub struct Params(pub Values);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Params, PageError> {
        let read = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let Query(mut pairs) = read.map_err(|error| PageError::BadRequest(error.body_text()))?;
        pairs.retain(|(name, _)| name != NOTICE);
        Ok(Params(Values(pairs)))
    }
}

/// A form of ours.
#[derive(Clone, Debug)]
pub struct Submitted(pub Values);

impl FromRequest<Arc<App>> for Submitted {
    type Rejection = PageError;

    async fn from_request(request: Request, state: &Arc<App>) -> Result<Submitted, PageError> {
        let viewer = request.extensions().get::<Viewer>().cloned();
        let read = Form::<Vec<(String, String)>>::from_request(request, state).await;
        let Form(pairs) = read.map_err(|error| PageError::BadRequest(error.body_text()))?;
        let values = Values(pairs);
        match viewer {
            Some(viewer) if auth::same(&viewer.form_token, values.raw(FORM_TOKEN)) => {
                viewer.deed.form(values.pairs());
                Ok(Submitted(values))
            }
            _ => Err(PageError::StaleForm),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        Values(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn a_mistyped_parameter_is_named() {
        let error = values(&[("q", "a"), ("kidn", "dead")]).only(&["q", "kind"]).unwrap_err();
        assert_eq!(error.to_string(), "there is no parameter `kidn`; known: q, kind");
    }

    #[test]
    fn numbers_are_read_or_refused_by_name() {
        let values = values(&[("a", " 7 "), ("b", "x"), ("c", "")]);
        assert_eq!(values.number::<i32>("a").unwrap(), Some(7));
        assert_eq!(values.number::<i32>("c").unwrap(), None);
        assert_eq!(values.number::<i32>("none").unwrap(), None);
        assert!(values.number::<i32>("b").unwrap_err().to_string().starts_with("`b` is `x`"));
    }
}
