//! From a request and its answer to an entry. The door makes one of every request that could have changed something, so
//! that a page cannot forget to; pages and the API add what was there before.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::response::Response;
use http::StatusCode;
use serde_json::Value;

use super::{Came, Entry, NodeResult};
use crate::app::Notice;
use crate::cluster::changes::Outcome;
use crate::page::PageError;
use crate::viewer::Viewer;

/// Most characters of a text that is kept.
const TEXT_MAX: usize = 500;

/// Most bytes of what was there before, and of what was asked for.
const VALUE_MAX: usize = 16 * 1024;

/// Most lines and nodes that are kept of what came of it.
const LINES_MAX: usize = 100;

/// Fields whose values are secrets, belong to the form, or are content.
const LEFT_OUT: [&str; 6] = ["form_token", "password", "current", "new", "body", "next"];

/// What each address does. Others are named by method and address.
const ACTIONS: [(&str, &str, &str); 30] = [
    ("POST", "/topics/new", "topic.create"),
    ("POST", "/topics/{topic}/edit", "topic.change"),
    ("POST", "/topics/{topic}/delete", "topic.delete"),
    ("POST", "/topics/{topic}/publish", "message.send"),
    ("POST", "/groups/new", "group.create"),
    ("POST", "/groups/{group}/edit", "group.change"),
    ("POST", "/groups/{group}/delete", "group.delete"),
    ("POST", "/groups/{group}/reset", "group.reset"),
    ("POST", "/dead-letters/{group}", "deadletter.redeliver"),
    ("POST", "/scheduled/recall", "message.recall"),
    ("DELETE", "/api/v1/scheduled/{handle}", "message.recall"),
    ("POST", "/brokers/{name}/{id}/settings/{key}", "broker.change"),
    ("POST", "/settings/password", "user.password"),
    ("POST", "/settings/users", "user.put"),
    ("POST", "/settings/users/{name}/remove", "user.remove"),
    ("POST", "/settings/sessions/end", "session.end"),
    ("POST", "/settings/tokens", "token.make"),
    ("POST", "/settings/tokens/{id}/revoke", "token.revoke"),
    ("POST", "/api/v1/console/tokens", "token.make"),
    ("DELETE", "/api/v1/console/tokens/{id}", "token.revoke"),
    ("POST", "/login", "session.login"),
    ("POST", "/logout", "session.logout"),
    ("POST", "/api/v1/topics", "topic.put"),
    ("DELETE", "/api/v1/topics/{topic}", "topic.delete"),
    ("POST", "/api/v1/topics/{topic}/messages", "message.send"),
    ("GET", "/api/v1/topics/{topic}/messages/export", "message.export"),
    ("POST", "/api/v1/groups", "group.put"),
    ("DELETE", "/api/v1/groups/{group}", "group.delete"),
    ("PATCH", "/api/v1/brokers/{name}/{id}/config", "broker.change"),
    ("PATCH", "/api/v1/groups/{group}/offsets", "group.reset"),
];

/// What a request tells about itself while it is served.
#[derive(Clone, Debug, Default)]
pub struct Deed(Arc<Mutex<Told>>);

#[derive(Clone, Debug, Default)]
struct Told {
    user: Option<String>,
    before: Option<Value>,
    after: Option<Value>,
    is_only_a_look: bool,
}

/// Node by node what came of a change, as an extension of its answer.
#[derive(Clone, Debug)]
pub struct Outcomes(pub Vec<Outcome>);

/// Where a request went.
#[derive(Clone, Debug)]
pub struct Way {
    /// Its method.
    pub method: String,
    /// Its path without the console's base path.
    pub path: String,
    /// Pattern of the path in the table of routes; empty if there is none.
    pub route: String,
}

impl Deed {
    fn tell(&self, tell: impl FnOnce(&mut Told)) {
        tell(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// What was there before.
    pub fn before(&self, value: Value) {
        self.tell(|told| told.before = Some(bounded(value)));
    }

    /// What is to be there afterwards.
    pub fn after(&self, value: Value) {
        self.tell(|told| told.after = Some(bounded(value)));
    }

    /// The fields of a form; those that are secrets or content are left out.
    pub fn form<'f>(&self, fields: impl Iterator<Item = (&'f str, &'f str)>) {
        let mut kept: BTreeMap<&str, Value> = BTreeMap::new();
        for (name, value) in fields.filter(|(name, _)| !LEFT_OUT.contains(name)) {
            match kept.get_mut(name) {
                None => {
                    kept.insert(name, value.into());
                }
                Some(Value::Array(values)) => values.push(value.into()),
                Some(first) => *first = Value::Array(vec![first.take(), value.into()]),
            }
        }
        if !kept.is_empty() {
            self.after(serde_json::json!(kept));
        }
    }

    /// Who it is, for somebody who is just logging in.
    pub fn by(&self, user: &str) {
        self.tell(|told| told.user = Some(user.to_owned()));
    }

    /// Nothing is changed: a plan was asked for.
    pub fn only_looks(&self) {
        self.tell(|told| told.is_only_a_look = true);
    }

    /// The entry of a request that was served; `None` for one that is not worth it.
    pub fn entry(&self, at_ms: i64, viewer: &Viewer, way: &Way, response: &Response) -> Option<Entry> {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let status = response.status();
        let is_login = way.route == "/login";
        let user = told.user.or_else(|| viewer.user.clone());
        let is_refused = status.is_client_error();
        // What strangers try and do not get would push out what was done. Wrong passwords are throttled.
        let is_noise = is_refused && user.is_none() && !(is_login && status == StatusCode::FORBIDDEN);
        if told.is_only_a_look || is_noise || way.route == "/preferences" || way.route.is_empty() {
            return None;
        }
        let notice = response.extensions().get::<Notice>();
        let outcomes = response.extensions().get::<Outcomes>().map(|outcomes| outcomes.0.as_slice());
        let outcomes = outcomes.or(notice.map(|notice| notice.outcomes.as_slice())).unwrap_or_default();
        let error = response.extensions().get::<PageError>().map(ToString::to_string);
        let lines = notice.iter().flat_map(|notice| &notice.lines);
        let goods: Vec<bool> =
            outcomes.iter().map(|outcome| outcome.result.is_ok()).chain(lines.clone().map(|(good, _)| *good)).collect();
        let words = notice.iter().map(|notice| notice.headline.as_str()).chain(lines.map(|(_, line)| line.as_str()));
        let words: Vec<&str> = words.take(LINES_MAX).collect();
        // A form that answers with a page and not with the way to the next one was not taken.
        let is_api = way.route.starts_with("/api/");
        let result = match goods.iter().filter(|good| **good).count() {
            _ if !status.is_success() && !status.is_redirection() => Came::Failed,
            _ if !is_api && !status.is_redirection() && status != StatusCode::CREATED => Came::Failed,
            0 if !goods.is_empty() => Came::Failed,
            done if done < goods.len() => Came::Partly,
            _ => Came::Done,
        };
        Some(Entry {
            number: 0,
            at_ms,
            user,
            token: viewer.token.clone(),
            address: viewer.address,
            action: action_of(way),
            path: cut(&way.path),
            before: told.before,
            after: told.after,
            status: status.as_u16(),
            result,
            detail: error.or((!words.is_empty()).then(|| words.join("; "))).map(|text| cut(&text)),
            nodes: outcomes.iter().take(LINES_MAX).map(node_of).collect(),
        })
    }
}

fn node_of(outcome: &Outcome) -> NodeResult {
    let error = outcome.result.as_ref().err().map(|why| cut(&why.to_string()));
    NodeResult { node: outcome.node.clone(), error }
}

fn action_of(way: &Way) -> String {
    let known = ACTIONS.iter().find(|(method, route, _)| *method == way.method && *route == way.route);
    known.map_or_else(|| format!("{} {}", way.method, way.route), |(.., action)| (*action).to_owned())
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(TEXT_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// The value with its texts cut; of one that is still too long, that it was.
fn bounded(mut value: Value) -> Value {
    shorten(&mut value);
    let length = value.to_string().len();
    if VALUE_MAX < length { serde_json::json!({ "leftOutBytes": length }) } else { value }
}

fn shorten(value: &mut Value) {
    match value {
        Value::String(text) => *text = cut(text),
        Value::Array(values) => values.iter_mut().for_each(shorten),
        Value::Object(fields) => fields.values_mut().for_each(shorten),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_content_of_forms_are_left_out() {
        let deed = Deed::default();
        let fields =
            [("form_token", "t"), ("password", "p"), ("body", "b"), ("name", "n"), ("place", "1"), ("place", "2")];
        deed.form(fields.into_iter());
        let after = deed.0.lock().unwrap().after.clone();
        assert_eq!(after, Some(serde_json::json!({ "name": "n", "place": ["1", "2"] })));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        assert_eq!(cut(&"é".repeat(600)).chars().count(), TEXT_MAX + 1);
        let many: Vec<String> = (0..1000).map(|_| "x".repeat(600)).collect();
        assert!(bounded(serde_json::json!(many)).to_string().len() < 100);
        assert_eq!(bounded(serde_json::json!({ "a": "b" })), serde_json::json!({ "a": "b" }));
    }

    #[test]
    fn addresses_without_a_name_are_named_by_themselves() {
        let way = |method: &str, route: &str| Way { method: method.into(), path: String::new(), route: route.into() };
        assert_eq!(action_of(&way("POST", "/topics/{topic}/edit")), "topic.change");
        assert_eq!(action_of(&way("PUT", "/x")), "PUT /x");
    }
}
