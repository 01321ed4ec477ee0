//! Messages as users see them: to be sent, and received.

use std::io::Read;

use protocol::message_id::OffsetMessageId;
use protocol::properties;
use protocol::record::Record;
use protocol::sys_flag::SysFlag;

/// Most bytes that a compressed body may have inside.
const INFLATED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Bits of the system flag that name how a body is compressed; both values of zlib.
const COMPRESSION_BITS: i32 = 0x700;
const ZLIB_BITS: [i32; 2] = [0, 0x300];

/// A message to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Topic.
    pub topic: String,
    /// Body.
    pub body: Vec<u8>,
    /// The one tag.
    pub tag: Option<String>,
    /// Keys under which tools find the message.
    pub keys: Vec<String>,
    /// Delay level, from 1.
    pub delay_level: Option<u32>,
    /// The user's own properties.
    pub properties: Vec<(String, String)>,
}

impl Message {
    /// The id that it had when it was sent before, which it keeps.
    pub(crate) fn unique_id(&self) -> Option<&str> {
        self.properties.iter().find(|(name, _)| name == properties::UNIQ_KEY).map(|(_, value)| value.as_str())
    }

    /// Properties in stored form, the id included.
    pub(crate) fn stored_properties(&self, id: &str) -> String {
        let mut out = Vec::new();
        let own = |name: &str| name == properties::UNIQ_KEY || name == properties::WAIT;
        for (name, value) in self.properties.iter().filter(|(name, _)| !own(name)) {
            properties::push(&mut out, name, value);
        }
        properties::push(&mut out, properties::UNIQ_KEY, id);
        properties::push(&mut out, properties::WAIT, "true");
        if let Some(tag) = &self.tag {
            properties::push(&mut out, properties::TAGS, tag);
        }
        if !self.keys.is_empty() {
            properties::push(&mut out, properties::KEYS, &self.keys.join(" "));
        }
        if let Some(level) = self.delay_level {
            properties::push(&mut out, properties::DELAY, &level.to_string());
        }
        String::from_utf8(out).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }
}

/// A message that was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Topic.
    pub topic: String,
    /// Broker name.
    pub broker: String,
    /// Queue on that broker.
    pub queue_id: i32,
    /// Place in the queue.
    pub offset: u64,
    /// What users call the message id: the client's, or the offset id where there is none.
    pub message_id: String,
    /// Where the message lies.
    pub offset_message_id: String,
    /// The one tag.
    pub tag: Option<String>,
    /// Keys, separated by blanks.
    pub keys: Option<String>,
    /// All properties, in stored order.
    pub properties: Vec<(String, String)>,
    /// When the sender made it, in milliseconds since 1970.
    pub born_timestamp_ms: i64,
    /// When the broker stored it, in milliseconds since 1970.
    pub store_timestamp_ms: i64,
    /// How often consumers handed it back.
    pub reconsume_times: i32,
    /// Body; uncompressed if we can.
    pub body: Vec<u8>,
}

impl Received {
    pub(crate) fn new(broker: &str, record: &Record<'_>) -> Received {
        let found = |name| record.properties().get(name).map(str::to_owned);
        let id = OffsetMessageId { host: record.store_host(), position: record.position() }.to_string();
        Received {
            topic: record.topic().to_owned(),
            broker: broker.to_owned(),
            queue_id: record.queue_id(),
            offset: record.queue_offset(),
            message_id: found(properties::UNIQ_KEY).unwrap_or_else(|| id.clone()),
            offset_message_id: id,
            tag: found(properties::TAGS),
            keys: found(properties::KEYS),
            properties: record.properties().iter().map(|(name, value)| (name.into(), value.into())).collect(),
            born_timestamp_ms: record.born_timestamp_ms(),
            store_timestamp_ms: record.store_timestamp_ms(),
            reconsume_times: record.reconsume_times(),
            body: body(record.sys_flag(), record.body()),
        }
    }
}

/// What cannot be inflated is given as it is: the other compressions, and broken bodies.
fn body(flag: SysFlag, stored: &[u8]) -> Vec<u8> {
    if !flag.is_compressed() || !ZLIB_BITS.contains(&(flag.0 & COMPRESSION_BITS)) {
        return stored.to_vec();
    }
    let mut inflated = Vec::new();
    match flate2::read::ZlibDecoder::new(stored).take(INFLATED_BYTES_MAX).read_to_end(&mut inflated) {
        Ok(_) => inflated,
        Err(_) => stored.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use protocol::properties::Properties;
    use protocol::record::NewRecord;

    use super::*;

    #[test]
    fn properties_are_stored_under_their_names() {
        let message = Message {
            topic: "t".into(),
            tag: Some("a".into()),
            keys: vec!["k1".into(), "k2".into()],
            delay_level: Some(3),
            properties: vec![("own".into(), "x".into())],
            ..Message::default()
        };
        let stored = message.stored_properties("ID");
        let read: Vec<_> = Properties::new(stored.as_bytes()).iter().collect();
        let expected =
            [("own", "x"), ("UNIQ_KEY", "ID"), ("WAIT", "true"), ("TAGS", "a"), ("KEYS", "k1 k2"), ("DELAY", "3")];
        assert_eq!(read, expected);
    }

    #[test]
    fn bodies_that_senders_compressed_are_inflated() {
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(b"hello").unwrap();
        let zlib = zlib.finish().unwrap();
        let received = |flag, body: &[u8]| {
            let mut bytes = Vec::new();
            let record = NewRecord {
                topic: "t",
                queue_id: 1,
                flag: 0,
                sys_flag: SysFlag(flag),
                born_timestamp_ms: 5,
                born_host: "10.0.0.1:5".parse().unwrap(),
                store_host: "10.0.0.1:10911".parse().unwrap(),
                reconsume_times: 0,
                prepared_transaction_offset: 0,
                body,
                properties: b"TAGS\x01a\x02",
            };
            record.encode(&mut bytes).unwrap();
            Received::new("b", &Record::parse(&bytes).unwrap())
        };
        assert_eq!(received(0x1, &zlib).body, b"hello");
        assert_eq!(received(0x301, &zlib).body, b"hello");
        assert_eq!(received(0x101, &zlib).body, zlib);
        let plain = received(0, b"x");
        assert_eq!((plain.message_id.as_str(), plain.tag.as_deref()), ("0A00000100002A9F0000000000000000", Some("a")));
    }
}
