//! Giving dead letters another chance.

use client::Message;
use client::admin::StoredMessage;
use protocol::properties;

use super::Cluster;
use super::catalog::{DEAD_LETTER_PREFIX, RETRY_PREFIX};
use super::place::Place;
use super::why::{Why, with_causes};

/// Property by which a message says that it was sent again from here, and from which dead letter.
pub const SENT_AGAIN: &str = "APOGEE_REDELIVERED_FROM";

/// Who gets a dead letter again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// The group that did not consume it, through its retry topic.
    ToGroup,
    /// Every group of the topic it was sent to at first.
    ToTopic,
}

/// What came of one dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redelivered {
    /// Where it lies.
    pub place: Place,
    /// Id of the message that was sent, or why none was.
    pub result: Result<String, String>,
}

impl Cluster {
    /// Sends dead letters of a group again, one after the other. The dead letters themselves stay.
    pub async fn redeliver(&self, group: &str, places: &[Place], again: Again) -> Vec<Redelivered> {
        let dead_letters = format!("{DEAD_LETTER_PREFIX}{group}");
        let mut outcomes = Vec::new();
        for place in places {
            let result = match self.message_at(&dead_letters, place).await {
                Ok(Some(message)) => {
                    let sent = self.send(&copy_of(group, &message, again)).await;
                    sent.map(|sent| sent.message_id).map_err(|error| with_causes(&error))
                }
                Ok(None) => Err("the message is no longer kept".to_owned()),
                Err(why) => Err(why_text(&why)),
            };
            outcomes.push(Redelivered { place: place.clone(), result });
        }
        outcomes
    }
}

fn why_text(why: &Why) -> String {
    why.to_string()
}

/// Topic that a dead letter was sent to at first.
pub fn origin_topic(message: &StoredMessage) -> Option<&str> {
    property(message, properties::RETRY_TOPIC).or_else(|| property(message, "DLQ_ORIGIN_TOPIC"))
}

/// Id that the message had at first.
pub fn origin_id(message: &StoredMessage) -> Option<&str> {
    property(message, "DLQ_ORIGIN_MESSAGE_ID").or_else(|| property(message, properties::ORIGIN_MESSAGE_ID))
}

fn property<'m>(message: &'m StoredMessage, wanted: &str) -> Option<&'m str> {
    let found = message.received.properties.iter().find(|(name, _)| name == wanted);
    found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
}

/// Properties that belong to the way of the dead letter and not to the message.
const DROPPED: [&str; 22] = [
    properties::DELAY,
    properties::REAL_TOPIC,
    properties::REAL_QID,
    properties::UNIQ_KEY,
    properties::WAIT,
    properties::TAGS,
    properties::KEYS,
    properties::RETRY_TOPIC,
    properties::ORIGIN_MESSAGE_ID,
    properties::RECONSUME_TIME,
    properties::MAX_RECONSUME_TIMES,
    properties::POP_CK,
    properties::TRAN_MSG,
    properties::PGROUP,
    properties::TIMER_DELAY_SEC,
    properties::TIMER_DELAY_MS,
    properties::TIMER_DELIVER_MS,
    properties::TIMER_OUT_MS,
    properties::CLUSTER,
    properties::MSG_REGION,
    properties::TRACE_ON,
    SENT_AGAIN,
];

fn copy_of(group: &str, message: &StoredMessage, again: Again) -> Message {
    let received = &message.received;
    let origin = origin_topic(message);
    let topic = match (again, origin) {
        (Again::ToTopic, Some(origin)) => origin.to_owned(),
        _ => format!("{RETRY_PREFIX}{group}"),
    };
    let own = received.properties.iter().filter(|(name, _)| !DROPPED.contains(&name.as_str()));
    let mut copied: Vec<(String, String)> = own.cloned().collect();
    copied.push((SENT_AGAIN.to_owned(), received.offset_message_id.clone()));
    let first = origin_id(message).unwrap_or(&received.message_id);
    copied.push((properties::ORIGIN_MESSAGE_ID.to_owned(), first.to_owned()));
    if let (Again::ToGroup, Some(origin)) = (again, origin) {
        copied.push((properties::RETRY_TOPIC.to_owned(), origin.to_owned()));
    }
    Message {
        topic,
        body: received.body.clone(),
        tag: received.tag.clone(),
        keys: received.keys.iter().flat_map(|keys| keys.split(' ')).map(str::to_owned).collect(),
        delay_level: None,
        properties: copied,
    }
}
