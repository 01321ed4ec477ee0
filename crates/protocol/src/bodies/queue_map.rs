//! Maps keyed by a queue.
//!
//! Java readers take such a map in one form only, which is no JSON:
//!
//! ```text
//! {{"brokerName":"b","queueId":0,"topic":"t"}:120,{"brokerName":"b","queueId":1,"topic":"t"}:7}
//! ```
//!
//! The Go client takes it apart by its literal separators (request 220), so it is written without blanks and with
//! the keys in this order.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::bodies::loose::{Loose, Read, or_default};
use crate::bodies::message_queue::MessageQueue;
use crate::lenient_json;

/// A map keyed by queues, in the order of the peer that sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueMap<V>(pub Vec<(MessageQueue, V)>);

impl<V> Default for QueueMap<V> {
    fn default() -> Self {
        QueueMap(Vec::new())
    }
}

impl<V> FromIterator<(MessageQueue, V)> for QueueMap<V> {
    fn from_iter<I: IntoIterator<Item = (MessageQueue, V)>>(entries: I) -> Self {
        QueueMap(entries.into_iter().collect())
    }
}

/// Only [`lenient_json::to_vec`] writes the form above: to any other writer of JSON the map is a list of bytes.
impl<V: Serialize> Serialize for QueueMap<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = vec![b'{'];
        for (at, (queue, value)) in self.0.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            lenient_json::write_into(&mut out, queue);
            out.push(b':');
            lenient_json::write_into(&mut out, value);
        }
        out.push(b'}');
        lenient_json::serialize_written(&out, serializer)
    }
}

impl<'de, V: Loose<'de>> Loose<'de> for QueueMap<V> {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        deserializer.deserialize_any(PairsVisitor(PhantomData))
    }
}

impl<'de, V: Loose<'de>> Deserialize<'de> for QueueMap<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        or_default(deserializer)
    }
}

/// Takes the list of pairs that [`lenient_json::normalise`] makes, and the empty object, which it leaves alone.
struct PairsVisitor<V>(PhantomData<V>);

impl<'de, V: Loose<'de>> Visitor<'de> for PairsVisitor<V> {
    type Value = Option<QueueMap<V>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object keyed by queues")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        match map.next_key::<String>()? {
            None => Ok(Some(QueueMap::default())),
            Some(key) => Err(A::Error::custom(format_args!("key `{key}` is no queue"))),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pairs: A) -> Result<Self::Value, A::Error> {
        let mut read = Vec::new();
        while let Some((Read(queue), Read(value))) = pairs.next_element()? {
            read.extend(queue.zip(value));
        }
        Ok(Some(QueueMap(read)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(queue_id: i32) -> MessageQueue {
        MessageQueue { broker_name: "b".into(), queue_id, topic: "T".into() }
    }

    #[test]
    fn the_map_is_written_in_the_one_form_that_clients_read() {
        let map: QueueMap<i64> = [(queue(0), 120), (queue(1), 7)].into_iter().collect();
        let text = lenient_json::to_vec(&map);
        let expected =
            r#"{{"brokerName":"b","queueId":0,"topic":"T"}:120,{"brokerName":"b","queueId":1,"topic":"T"}:7}"#;
        assert_eq!(String::from_utf8_lossy(&text), expected);
        assert_eq!(lenient_json::from_slice::<QueueMap<i64>>(&text).unwrap(), map);
    }

    #[test]
    fn an_empty_map_reads_in_every_form() {
        for text in ["{}", "[]", "null", "{ }"] {
            assert_eq!(lenient_json::from_slice::<QueueMap<i64>>(text.as_bytes()).unwrap(), QueueMap::default());
        }
        assert_eq!(lenient_json::to_vec(&QueueMap::<i64>::default()), b"{}");
    }

    #[test]
    fn a_map_with_other_keys_is_refused() {
        assert!(lenient_json::from_slice::<QueueMap<i64>>(br#"{"a":1}"#).is_err());
    }
}
