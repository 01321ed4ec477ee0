//! `Idempotency-Key`: a program that got no answer sends a change again, and it is not done twice.
//!
//! Answers that are no errors are kept for a day, in memory. A change that was refused or failed may be tried again.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, StatusCode};

use crate::page::PageError;
use crate::routes::FORM_BYTES_MAX;

/// The header of requests.
pub const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The header of an answer that was given before.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// How long an answer is kept, in milliseconds.
const AGE_MAX_MS: i64 = 24 * 3600 * 1000;

/// Answers that are kept; the oldest makes room.
const COUNT_MAX: usize = 1000;

/// Most characters of a key.
const KEY_MAX: usize = 255;

/// Answers to changes, by who asked and their key.
#[derive(Clone, Debug, Default)]
pub struct Answers(Arc<Mutex<VecDeque<Known>>>);

#[derive(Debug)]
struct Known {
    user: String,
    key: String,
    began_ms: i64,
    /// What was asked for: the same key for something else is a mistake.
    asked: u64,
    /// `None` while it is being done.
    answer: Option<Answer>,
}

#[derive(Clone, Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// A change that is being done. Dropped without an answer it may be tried again.
struct Place<'a> {
    answers: &'a Answers,
    user: &'a str,
    key: &'a str,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.answers.known().retain(|known| known.answer.is_some() || known.user != self.user || known.key != self.key);
    }
}

impl Answers {
    fn known(&self) -> MutexGuard<'_, VecDeque<Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves a request of `user` that has a key, or gives the answer that it had before.
    pub async fn serve(&self, now_ms: i64, user: &str, request: Request, next: Next) -> Result<Response, PageError> {
        let key = request.headers().get(KEY).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        if !(1..=KEY_MAX).contains(&key.len()) {
            return Err(PageError::BadRequest(format!(
                "`{KEY}` has {} characters; expected 1 to {KEY_MAX}",
                key.len()
            )));
        }
        let (parts, body) = request.into_parts();
        let Ok(body) = to_bytes(body, FORM_BYTES_MAX).await else {
            return Ok(StatusCode::PAYLOAD_TOO_LARGE.into_response());
        };
        let mut hasher = DefaultHasher::new();
        (parts.method.as_str(), parts.uri.to_string(), &body).hash(&mut hasher);
        for name in [CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH] {
            parts.headers.get(name).map(HeaderValue::as_bytes).hash(&mut hasher);
        }
        if let Some(answer) = self.begin(now_ms, user, &key, hasher.finish())? {
            return Ok(answer.replayed());
        }
        let place = Place { answers: self, user, key: &key };
        let response = next.run(Request::from_parts(parts, Body::from(body))).await;
        if !response.status().is_success() {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        // Answers to changes are made in memory, so that they can be taken whole.
        let body = to_bytes(body, FORM_BYTES_MAX).await.unwrap_or_default();
        let kept = [CONTENT_TYPE, ETAG].into_iter();
        let headers = kept.filter_map(|name| Some((name.clone(), parts.headers.get(&name)?.clone()))).collect();
        self.end(&place, Answer { status: parts.status, headers, body: body.clone() });
        Ok(Response::from_parts(parts, Body::from(body)))
    }

    /// The answer that there is; `None` where the change is to be done.
    fn begin(&self, now_ms: i64, user: &str, key: &str, asked: u64) -> Result<Option<Answer>, PageError> {
        let mut known = self.known();
        known.retain(|one| one.answer.is_none() || now_ms - one.began_ms < AGE_MAX_MS);
        if let Some(one) = known.iter().find(|one| one.user == user && one.key == key) {
            return match &one.answer {
                _ if one.asked != asked => Err(PageError::KeyReused),
                Some(answer) => Ok(Some(answer.clone())),
                None => Err(PageError::InProgress),
            };
        }
        if COUNT_MAX <= known.len() {
            known.pop_front();
        }
        known.push_back(Known { user: user.to_owned(), key: key.to_owned(), began_ms: now_ms, asked, answer: None });
        Ok(None)
    }

    fn end(&self, place: &Place<'_>, answer: Answer) {
        let mut known = self.known();
        if let Some(one) = known.iter_mut().find(|one| one.user == place.user && one.key == place.key) {
            one.answer = Some(answer);
        }
    }
}

impl Answer {
    fn replayed(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Answer {
        Answer { status: StatusCode::CREATED, headers: HeaderMap::new(), body: Bytes::from_static(b"{}") }
    }

    #[test]
    fn a_key_stands_for_one_change_of_one_user_for_a_day() {
        let answers = Answers::default();
        assert!(answers.begin(0, "a", "k", 1).unwrap().is_none());
        assert_eq!(answers.begin(0, "a", "k", 1).unwrap_err(), PageError::InProgress);
        let place = Place { answers: &answers, user: "a", key: "k" };
        answers.end(&place, answer());
        drop(place);
        assert_eq!(answers.begin(1, "a", "k", 1).unwrap().unwrap().status, StatusCode::CREATED);
        assert_eq!(answers.begin(1, "a", "k", 2).unwrap_err(), PageError::KeyReused);
        assert!(answers.begin(1, "b", "k", 2).unwrap().is_none());
        assert!(answers.begin(AGE_MAX_MS, "a", "k", 2).unwrap().is_none());
    }

    #[test]
    fn what_failed_may_be_tried_again() {
        let answers = Answers::default();
        assert!(answers.begin(0, "a", "k", 1).unwrap().is_none());
        drop(Place { answers: &answers, user: "a", key: "k" });
        assert!(answers.begin(0, "a", "k", 1).unwrap().is_none());
    }

    #[test]
    fn answers_are_bounded() {
        let answers = Answers::default();
        for number in 0..COUNT_MAX + 5 {
            assert!(answers.begin(0, "a", &number.to_string(), 1).unwrap().is_none());
        }
        assert_eq!(answers.known().len(), COUNT_MAX);
    }
}
