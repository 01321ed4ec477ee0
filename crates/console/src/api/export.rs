//! `/api/v1/topics/{topic}/messages/export`: what a search finds as a file, sent while it is read.

mod csv;

use std::collections::VecDeque;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use client::admin::StoredMessage;
use http::StatusCode;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::read::{errors, message_value};
use crate::app::App;
use crate::auth::Role;
use crate::cluster::messages::{Cursor, Filter, Found, Order, Range, Reading, queue_of};
use crate::cluster::why::Silent;
use crate::input::{Params, Values};
use crate::page::PageError;
use crate::pages::topics::topic_of;
use crate::viewer::Viewer;

/// Most messages of one export.
pub const MESSAGES_MAX: usize = 100_000;

/// Most messages that one export looks at.
const LOOKED_AT_MAX: u64 = 1_000_000;

/// Bytes after which an export ends.
const BYTES_MAX: usize = 1024 * 1024 * 1024;

/// Bytes that are sent at a time.
const CHUNK: usize = 64 * 1024;

/// Parameters of an export.
pub const PARAMETERS: &[&str] =
    &["format", "order", "from", "to", "tag", "text", "queue", "key", "id", "limit", "cursor"];

/// How a message is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// A JSON object a line, for programs.
    Lines,
    /// For spreadsheets.
    Csv,
}

/// Where messages come from.
enum Source {
    /// The brokers' index found them.
    Found(VecDeque<StoredMessage>, Vec<Silent>),
    Queues(Reading),
}

/// An export on its way.
struct Export {
    app: Arc<App>,
    viewer: Viewer,
    format: Format,
    source: Source,
    limit: usize,
    exported: usize,
    bytes: usize,
    stage: Stage,
    _place: OwnedSemaphorePermit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Head,
    Messages,
    Over,
}

/// `GET /api/v1/topics/{topic}/messages/export?format=&order=&from=&to=&tag=&text=&queue=&key=&id=&limit=&cursor=`
pub async fn messages(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    Path(name): Path<String>,
    Params(params): Params,
) -> Result<Response, PageError> {
    params.only(PARAMETERS)?;
    viewer.must(Role::Viewer)?;
    topic_of(&viewer, &*app.cluster.catalog().await, &name)?;
    let format = match params.given("format").unwrap_or("jsonl") {
        "jsonl" => Format::Lines,
        "csv" => Format::Csv,
        other => return Err(PageError::BadRequest(format!("`format` is `{other}`; known: jsonl, csv"))),
    };
    let limit = params.number::<usize>("limit")?.unwrap_or(MESSAGES_MAX);
    if !(1..=MESSAGES_MAX).contains(&limit) {
        return Err(PageError::BadRequest(format!("`limit` is {limit}; expected 1 to {MESSAGES_MAX}")));
    }
    viewer.deed.form(params.pairs());
    let Ok(place) = app.exports.clone().try_acquire_owned() else {
        return Ok(StatusCode::SERVICE_UNAVAILABLE.into_response());
    };
    let source = source_of(&app, &name, &params).await?;
    let (extension, content_type) = match format {
        Format::Lines => ("jsonl", "application/x-ndjson"),
        Format::Csv => ("csv", "text/csv; charset=utf-8"),
    };
    let (stage, exported, bytes) = (Stage::Head, 0, 0);
    let export = Export { app, viewer, format, source, limit, exported, bytes, stage, _place: place };
    let chunks = futures_util::stream::unfold(export, async |mut export| {
        let chunk = export.next().await?;
        Some((Ok::<Bytes, std::convert::Infallible>(chunk), export))
    });
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ['-', '_'].contains(&c);
    let file: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let headers = [
        (CONTENT_TYPE, content_type.to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{file}.{extension}\"")),
    ];
    Ok((headers, Body::from_stream(chunks)).into_response())
}

async fn source_of(app: &App, topic: &str, params: &Values) -> Result<Source, PageError> {
    let found = match (params.given("key"), params.given("id")) {
        (Some(key), _) => Some(app.cluster.messages_by_key(topic, key, false).await),
        (None, Some(id)) => Some(app.cluster.messages_by_id(topic, id).await),
        (None, None) => None,
    };
    if let Some(Found { messages, mut silent, refusals }) = found {
        silent.extend(refusals);
        return Ok(Source::Found(messages.into(), silent));
    }
    let order = match params.given("order").unwrap_or("oldest") {
        "oldest" => Order::Oldest,
        "newest" => Order::Newest,
        other => return Err(PageError::BadRequest(format!("`order` is `{other}`; known: oldest, newest"))),
    };
    let own = |name: &str| params.given(name).map(str::to_owned);
    let queue = params.given("queue").map(|text| queue_of(text).map_err(PageError::BadRequest)).transpose()?;
    let filter = Filter { tag: own("tag"), text: own("text"), queue };
    let none_of_ours = || PageError::BadRequest("`cursor` is none of ours".to_owned());
    let cursor = params.given("cursor").map(|text| Cursor::parse(text).ok_or_else(none_of_ours)).transpose()?;
    let range = Range { from_ms: params.number("from")?, to_ms: params.number("to")? };
    Ok(Source::Queues(app.cluster.begin_reading(topic, range, filter, order, cursor.as_ref()).await))
}

impl Export {
    /// The next bytes; `None` after the last.
    async fn next(&mut self) -> Option<Bytes> {
        let mut chunk = String::new();
        match self.stage {
            Stage::Over => return None,
            Stage::Head if self.format == Format::Csv => csv::head(&mut chunk),
            Stage::Head | Stage::Messages => {}
        }
        self.stage = Stage::Messages;
        while chunk.len() < CHUNK {
            let has_room = self.exported < self.limit && self.bytes + chunk.len() < BYTES_MAX;
            let Some(message) = (if has_room { self.message().await } else { None }) else {
                self.stage = Stage::Over;
                self.tail(&mut chunk, has_room);
                break;
            };
            self.exported += 1;
            match self.format {
                Format::Lines => {
                    chunk.push_str(&line(&self.viewer, &message).to_string());
                    chunk.push('\n');
                }
                Format::Csv => csv::row(&mut chunk, &message),
            }
        }
        self.bytes += chunk.len();
        Some(chunk.into())
    }

    async fn message(&mut self) -> Option<StoredMessage> {
        match &mut self.source {
            Source::Found(messages, _) => messages.pop_front(),
            Source::Queues(reading) => self.app.cluster.read_on(reading, LOOKED_AT_MAX).await,
        }
    }

    /// What tells a whole export from one that ended early.
    fn tail(&self, chunk: &mut String, has_room: bool) {
        let (has_more, looked_at, next, missing) = match &self.source {
            Source::Found(messages, missing) => (!messages.is_empty(), self.exported as u64, None, missing),
            Source::Queues(reading) => {
                let next = reading.cursor();
                (next.is_some(), reading.looked_at, next, &reading.missing)
            }
        };
        let next = next.map(|next| next.to_string());
        let why = match (has_more, has_room) {
            (false, _) if missing.is_empty() => None,
            (false, _) => Some("not everybody answered".to_owned()),
            (true, true) if !missing.is_empty() => Some("not everybody answered".to_owned()),
            (true, true) => Some(format!("{LOOKED_AT_MAX} messages were looked at")),
            (true, false) if self.exported < self.limit => Some(format!("{BYTES_MAX} bytes are the most")),
            (true, false) => Some(format!("the limit is {} messages", self.limit)),
        };
        match self.format {
            Format::Lines => {
                let summary = json!({ "summary": {
                    "complete": why.is_none(), "why": why, "exported": self.exported, "scanned": looked_at.to_string(),
                    "next": next, "errors": errors(missing),
                }});
                chunk.push_str(&summary.to_string());
                chunk.push('\n');
            }
            Format::Csv => {
                let silent = missing.iter().map(|one| format!("; {}: {}", one.node, one.why)).collect::<String>();
                let next = next.map(|next| format!("; go on with cursor={next}")).unwrap_or_default();
                if let Some(why) = why {
                    csv::note(chunk, &format!("incomplete: {why}{silent}{next}"));
                }
            }
        }
    }
}

/// A message as the API tells it, with all bytes of its body.
fn line(viewer: &Viewer, message: &StoredMessage) -> Value {
    let mut value = message_value(viewer, message);
    if std::str::from_utf8(&message.received.body).is_err() {
        value["body"] = Value::Null;
        value["bodyBase64"] = STANDARD.encode(&message.received.body).into();
    }
    value
}
