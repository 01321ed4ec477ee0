//! What actors and scenarios say to each other.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};

use serde::{Deserialize, Serialize};

/// One line from the scenarios.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Order {
    pub id: u64,
    pub r#do: String,
    pub name: String,
    pub group: String,
    pub topics: Vec<String>,
    pub subscriptions: Vec<Subscription>,
    pub checks: bool,
    pub await_ms: u64,
    pub message: Message,
    pub transaction: String,
    pub outcome: String,
    pub max: i32,
    pub invisible_ms: u64,
    pub receipt: String,
    pub event: u64,
}

/// A topic with a filter.
#[derive(Deserialize, Default, Clone)]
#[serde(default)]
pub struct Subscription {
    pub topic: String,
    pub sql: bool,
    pub expression: String,
}

/// One line to the scenarios.
#[derive(Serialize, Default)]
pub struct Report {
    pub id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Refused>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent: Option<Sent>,
    pub messages: Vec<Message>,
    pub event: u64,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Message>,
}

/// An error of the client.
#[derive(Serialize)]
pub struct Refused {
    pub code: i32,
    pub text: String,
}

/// Tells of a stored message.
#[derive(Serialize)]
pub struct Sent {
    pub id: String,
}

/// What is sent and received. The body is Base64.
#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Message {
    pub topic: String,
    pub body: String,
    pub tag: String,
    pub keys: Vec<String>,
    pub properties: HashMap<String, String>,
    pub group: String,
    pub deliver_at_ms: i64,
    pub id: String,
    pub attempt: i32,
    pub born_ms: i64,
    pub at_ms: i64,
    pub receipt: String,
}

/// Writes one report.
pub fn say(report: &Report) {
    let mut line = serde_json::to_string(report).expect("reports are JSON");
    line.push('\n');
    std::io::stdout().write_all(line.as_bytes()).expect("somebody reads");
}

/// The calls of checkers that wait for their outcome.
#[derive(Default)]
pub struct Events {
    waiting: Mutex<(u64, HashMap<u64, Sender<String>>)>,
}

impl Events {
    /// Tells that the client of this name was called with the message, and waits for what is to be answered.
    pub fn ask(&self, name: &str, message: Message) -> String {
        let (answer, answered) = channel();
        let event = {
            let mut waiting = self.waiting.lock().expect("no panic while locked");
            waiting.0 += 1;
            let event = waiting.0;
            waiting.1.insert(event, answer);
            event
        };
        say(&Report { event, name: name.into(), message: Some(message), ..Report::default() });
        // The client calls its checker on a thread of the runtime.
        tokio::task::block_in_place(|| answered.recv()).expect("every event is answered")
    }

    /// Passes the outcome on to whoever waits for it.
    pub fn answer(&self, event: u64, outcome: String) {
        let answer = self.waiting.lock().expect("no panic while locked").1.remove(&event);
        answer.expect("only events are answered").send(outcome).expect("the checker waits");
    }
}
