//! Finding messages: by id and key through the brokers' indexes, by place and time through the queues.

mod reading;
mod scan;
pub mod tail;

use std::borrow::Cow;

use client::admin::{PullRequest, StoredMessage};
use protocol::message_id::OffsetMessageId;
use protocol::requests::QueryMessage;

pub use reading::{Order, Reading};
pub use scan::{Filter, Range, Scanned};

use super::Cluster;
use super::place::{self, Place};
use super::why::{Silent, Why};

/// Group in whose name messages are read. Brokers let it pull without a heartbeat, and it commits nothing.
const READING_GROUP: &str = "TOOLS_CONSUMER";

/// Most messages of one answer of a broker; upstream gives no more than 32 at a time.
const PULL_MAX: i32 = 32;

/// Most messages that a look-up by key brings from one broker, as upstream's tools ask.
const BY_KEY_MAX: i32 = 64;

/// Places in several queues, to go on from: `broker-a.0.17~broker-a.1.4`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor(pub Vec<Place>);

impl Cursor {
    /// Reads what [`Cursor`] displays.
    pub fn parse(text: &str) -> Option<Cursor> {
        place::split(text).ok().map(Cursor)
    }

    /// The place in that queue.
    pub fn offset(&self, broker: &str, queue_id: i32) -> Option<i64> {
        let found = self.0.iter().find(|place| place.is_in(broker, queue_id));
        found.map(|place| place.offset)
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&place::joined(&self.0))
    }
}

/// Reads a queue as addresses have it: `broker-a.3`. The error says what is wrong.
pub fn queue_of(text: &str) -> Result<(String, i32), String> {
    let read = text.rsplit_once('.').and_then(|(broker, id)| Some((broker.to_owned(), id.parse().ok()?)));
    read.ok_or_else(|| format!("`queue` is `{text}`; expected broker.number"))
}

/// What a look-up brought.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The messages.
    pub messages: Vec<StoredMessage>,
    /// Who did not answer.
    pub silent: Vec<Silent>,
    /// Who answered, but not this.
    pub refusals: Vec<Silent>,
}

impl Found {
    fn note(&mut self, node: String, why: Why) {
        let list = if why.is_silence() { &mut self.silent } else { &mut self.refusals };
        list.push(Silent { node, why });
    }
}

impl Cluster {
    /// Messages of an id, of either kind: where a message lies, or what its sender named it. Several messages may
    /// have the sender's id: retries of one keep it.
    pub async fn messages_by_id(&self, topic: &str, id: &str) -> Found {
        let by_position = match OffsetMessageId::parse(id) {
            Some(position) => self.messages_at(position.position, id).await,
            None => Found::default(),
        };
        if !by_position.messages.is_empty() {
            return by_position;
        }
        self.messages_by_key(topic, id, true).await
    }

    /// The message that says of itself that it has this offset id, whichever broker has it.
    async fn messages_at(&self, position: u64, id: &str) -> Found {
        let brokers = self.brokers().await;
        let masters = brokers.masters();
        let answers = self.ask_all(masters, |at| self.admin.message_at_position(&at.name, &at.address, position)).await;
        let mut found = Found::default();
        for (at, answer) in answers {
            match answer {
                Ok(message) => found
                    .messages
                    .extend(message.filter(|message| message.received.offset_message_id.eq_ignore_ascii_case(id))),
                Err(why) if why.is_silence() => found.note(at.to_string(), why),
                // Another broker's position means nothing to this one.
                Err(_) => {}
            }
        }
        found
    }

    /// Messages by a key, or by the sender's id, newest first.
    pub async fn messages_by_key(&self, topic: &str, key: &str, is_unique_id: bool) -> Found {
        let brokers = self.brokers().await;
        let query = QueryMessage {
            topic: Cow::Borrowed(topic),
            key: Cow::Borrowed(key),
            max_num: BY_KEY_MAX,
            begin_timestamp: 0,
            end_timestamp: i64::MAX,
            unique_key_query: is_unique_id,
            index_type: None,
        };
        let masters = brokers.masters();
        let answers = self.ask_all(masters, |at| self.admin.messages_by_key(&at.name, &at.address, &query)).await;
        let mut found = Found::default();
        for (at, answer) in answers {
            match answer {
                Ok(messages) => found.messages.extend(messages),
                Err(why) => found.note(at.to_string(), why),
            }
        }
        found.messages.sort_by_key(|message| std::cmp::Reverse(message.received.store_timestamp_ms));
        found
    }

    /// The message at a place, if there is one.
    pub async fn message_at(&self, topic: &str, place: &Place) -> Result<Option<StoredMessage>, Why> {
        let brokers = self.brokers().await;
        let Some(master) = brokers.master(&place.broker) else {
            return Err(Why::Unreachable(format!("no master of `{}` is registered", place.broker)));
        };
        let pull = PullRequest {
            broker: &master.name,
            address: &master.address,
            group: READING_GROUP,
            topic,
            queue_id: place.queue_id,
            offset: place.offset,
            count: 1,
            tags: "*",
        };
        let pulled = self.reach.ask(&master.address, self.admin.pull(&pull)).await?;
        let wanted = u64::try_from(place.offset).ok();
        Ok(pulled.messages.into_iter().find(|message| Some(message.received.offset) == wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_what_it_writes() {
        let place = |broker: &str, queue_id, offset| Place { broker: broker.into(), queue_id, offset };
        let cursor = Cursor(vec![place("broker-a", 0, 17), place("b.with.dots", 3, 0)]);
        assert_eq!(cursor.to_string(), "broker-a.0.17~b.with.dots.3.0");
        assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor.clone()));
        assert_eq!((cursor.offset("broker-a", 0), cursor.offset("broker-a", 1)), (Some(17), None));
        for text in ["", "a", "a.1", "a.x.1", "a.1.1~"] {
            assert_eq!(Cursor::parse(text), None, "{text}");
        }
    }
}
