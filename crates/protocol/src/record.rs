//! The stored message: the layout that the commit log keeps and that pulls return unchanged.
//!
//! Source: `common/.../message/MessageDecoder.java` and `store/.../MessageExtEncoder.java` of Apache RocketMQ;
//! drawn in `docs/formats/record.md`. All integers are big-endian and signed.
//!
//! A record is encoded completely before the log is asked for a place, except three numbers that only the log
//! knows: queue offset, position and store time. [`stamp`] fills those in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::properties::{self, Properties};
use crate::sys_flag::SysFlag;

/// Magic number of a record whose topic length takes one byte.
pub const MAGIC_V1: i32 = 0xDAA3_20A7_u32 as i32;
/// Magic number of a record whose topic length takes two bytes; used for topics over 127 bytes.
pub const MAGIC_V2: i32 = 0xDAA3_20AB_u32 as i32;

/// Longest topic that the one-byte layout can carry for every client.
pub const V1_TOPIC_BYTES_MAX: usize = 127;
/// Longest property block: its length travels as a signed 16-bit number.
pub const PROPERTIES_BYTES_MAX: usize = i16::MAX as usize;
/// The smallest possible record: IPv4 hosts, no body, one-byte topic, no properties.
pub const RECORD_BYTES_MIN: usize = 88 + 1 + 2;

const QUEUE_ID_AT: usize = 12;
const QUEUE_OFFSET_AT: usize = 20;
const POSITION_AT: usize = 28;
const SYS_FLAG_AT: usize = 36;
const BORN_HOST_AT: usize = 48;

/// What a new record says, before the log gave it a place.
#[derive(Clone, Copy, Debug)]
pub struct NewRecord<'a> {
    /// Topic under which the record is stored.
    pub topic: &'a str,
    /// Queue of that topic.
    pub queue_id: i32,
    /// The user's own flag, carried untouched.
    pub flag: i32,
    /// System flag as sent; the two host bits are set by [`NewRecord::encode`].
    pub sys_flag: SysFlag,
    /// When the client made the message, in milliseconds since 1970.
    pub born_timestamp_ms: i64,
    /// Address of the client.
    pub born_host: SocketAddr,
    /// Advertised address of the broker; it goes into message ids.
    pub store_host: SocketAddr,
    /// How often the message was handed back by consumers.
    pub reconsume_times: i32,
    /// Position of the record that this one settles (a half message or a scheduled copy), or 0.
    pub prepared_transaction_offset: i64,
    /// Body as the client sent it, possibly compressed.
    pub body: &'a [u8],
    /// Properties in stored form, see [`crate::properties`].
    pub properties: &'a [u8],
}

/// Why a message cannot be laid out as a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The topic is longer than two length bytes can say.
    #[error("topic is {size} bytes; the limit is {limit}")]
    TopicTooLong {
        /// Bytes of the topic.
        size: usize,
        /// The limit that was passed.
        limit: usize,
    },
    /// The property block is longer than a signed 16-bit number can say.
    #[error("properties are {size} bytes; the limit is {limit}")]
    PropertiesTooLong {
        /// Bytes of the properties.
        size: usize,
        /// The limit that was passed.
        limit: usize,
    },
    /// The record would not fit a signed 32-bit size.
    #[error("record is {size} bytes; the limit is {limit}")]
    RecordTooLong {
        /// Bytes of the record.
        size: usize,
        /// The limit that was passed.
        limit: usize,
    },
}

impl NewRecord<'_> {
    /// Appends the record to `out` and returns its size in bytes. Queue offset, position and store time are
    /// zero until [`stamp`].
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<u32, EncodeError> {
        let topic = self.topic.as_bytes();
        let wide = topic.len() > V1_TOPIC_BYTES_MAX;
        if topic.len() > i16::MAX as usize {
            return Err(EncodeError::TopicTooLong { size: topic.len(), limit: i16::MAX as usize });
        }
        if self.properties.len() > PROPERTIES_BYTES_MAX {
            return Err(EncodeError::PropertiesTooLong { size: self.properties.len(), limit: PROPERTIES_BYTES_MAX });
        }
        let hosts = host_bytes(self.born_host) + host_bytes(self.store_host);
        let size = 72 + hosts + self.body.len() + if wide { 2 } else { 1 } + topic.len() + 2 + self.properties.len();
        let total = i32::try_from(size).map_err(|_| EncodeError::RecordTooLong { size, limit: i32::MAX as usize })?;
        let sys_flag = self.sys_flag.with_hosts(self.born_host.is_ipv6(), self.store_host.is_ipv6());

        out.reserve(size);
        let start = out.len();
        out.extend_from_slice(&total.to_be_bytes());
        out.extend_from_slice(&if wide { MAGIC_V2 } else { MAGIC_V1 }.to_be_bytes());
        out.extend_from_slice(&body_crc(self.body).to_be_bytes());
        out.extend_from_slice(&self.queue_id.to_be_bytes());
        out.extend_from_slice(&self.flag.to_be_bytes());
        out.extend_from_slice(&[0; 16]);
        out.extend_from_slice(&sys_flag.0.to_be_bytes());
        out.extend_from_slice(&self.born_timestamp_ms.to_be_bytes());
        put_host(self.born_host, out);
        out.extend_from_slice(&[0; 8]);
        put_host(self.store_host, out);
        out.extend_from_slice(&self.reconsume_times.to_be_bytes());
        out.extend_from_slice(&self.prepared_transaction_offset.to_be_bytes());
        out.extend_from_slice(&(self.body.len() as i32).to_be_bytes());
        out.extend_from_slice(self.body);
        if wide {
            out.extend_from_slice(&(topic.len() as i16).to_be_bytes());
        } else {
            out.push(topic.len() as u8);
        }
        out.extend_from_slice(topic);
        out.extend_from_slice(&(self.properties.len() as i16).to_be_bytes());
        out.extend_from_slice(self.properties);
        debug_assert_eq!(out.len() - start, size);
        Ok(total as u32)
    }
}

/// CRC-32 of a body as stored, masked to 31 bits as RocketMQ does.
pub fn body_crc(body: &[u8]) -> i32 {
    (crc32fast::hash(body) & 0x7FFF_FFFF) as i32
}

fn host_bytes(host: SocketAddr) -> usize {
    if host.is_ipv6() { 20 } else { 8 }
}

fn put_host(host: SocketAddr, out: &mut Vec<u8>) {
    match host.ip() {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
    out.extend_from_slice(&i32::from(host.port()).to_be_bytes());
}

/// Writes the three numbers that the log gives into an encoded record.
///
/// # Panics
/// Panics if `record` is shorter than an encoded record: it must come from [`NewRecord::encode`].
pub fn stamp(record: &mut [u8], queue_offset: u64, position: u64, store_timestamp_ms: i64) {
    record[QUEUE_OFFSET_AT..QUEUE_OFFSET_AT + 8].copy_from_slice(&queue_offset.to_be_bytes());
    record[POSITION_AT..POSITION_AT + 8].copy_from_slice(&position.to_be_bytes());
    let born = if SysFlag(i32_at(record, SYS_FLAG_AT)).born_host_is_v6() { 20 } else { 8 };
    let at = BORN_HOST_AT + born;
    record[at..at + 8].copy_from_slice(&store_timestamp_ms.to_be_bytes());
}

/// Writes into a copy of a record how often it was handed back. No checksum covers that number.
///
/// # Panics
/// Panics if `record` is shorter than an encoded record: it must have been read by [`Record::parse`].
pub fn set_reconsume_times(record: &mut [u8], times: i32) {
    let sys_flag = SysFlag(i32_at(record, SYS_FLAG_AT));
    let host = |is_v6: bool| if is_v6 { 20 } else { 8 };
    let at = BORN_HOST_AT + host(sys_flag.born_host_is_v6()) + 8 + host(sys_flag.store_host_is_v6());
    record[at..at + 4].copy_from_slice(&times.to_be_bytes());
}

/// Why bytes are not a whole stored message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Fewer bytes than the record says or needs.
    #[error("record needs {needed} bytes; {found} are there")]
    Short {
        /// Bytes that the record needs.
        needed: usize,
        /// Bytes that are there.
        found: usize,
    },
    /// The magic number is neither of the two known.
    #[error("record starts with magic {0:#010x}")]
    BadMagic(u32),
    /// A length inside the record is negative or passes its end.
    #[error("length {value} of the {field} does not fit the record")]
    BadLength {
        /// Which length.
        field: &'static str,
        /// What it says.
        value: i64,
    },
    /// Topic is not UTF-8.
    #[error("topic is not text")]
    BadTopic,
    /// The body does not match its checksum.
    #[error("body has checksum {found:#010x}; the record says {stored:#010x}")]
    BadBodyCrc {
        /// Checksum stored in the record.
        stored: i32,
        /// Checksum of the body that is there.
        found: i32,
    },
}

/// A stored message, read where it lies. Every length was checked by [`Record::parse`].
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    bytes: &'a [u8],
    body_at: usize,
    body_len: usize,
    topic: &'a str,
    properties_at: usize,
}

impl<'a> Record<'a> {
    /// Reads the record at the start of `bytes`, which may go on after it. The body checksum is not looked at:
    /// see [`Record::verify_body`].
    pub fn parse(bytes: &'a [u8]) -> Result<Record<'a>, RecordError> {
        if bytes.len() < RECORD_BYTES_MIN {
            return Err(RecordError::Short { needed: RECORD_BYTES_MIN, found: bytes.len() });
        }
        let total = i32_at(bytes, 0);
        let size = usize::try_from(total)
            .ok()
            .filter(|size| *size >= RECORD_BYTES_MIN)
            .ok_or(RecordError::BadLength { field: "record", value: total.into() })?;
        if bytes.len() < size {
            return Err(RecordError::Short { needed: size, found: bytes.len() });
        }
        let bytes = &bytes[..size];
        let wide = match i32_at(bytes, 4) {
            MAGIC_V1 => false,
            MAGIC_V2 => true,
            other => return Err(RecordError::BadMagic(other as u32)),
        };
        let sys_flag = SysFlag(i32_at(bytes, SYS_FLAG_AT));
        let hosts = if sys_flag.born_host_is_v6() { 20 } else { 8 } + if sys_flag.store_host_is_v6() { 20 } else { 8 };
        let mut at = 72 - 4 + hosts;
        let body_len = take_length(bytes, &mut at, 4, "body")?;
        let body_at = at;
        at += body_len;
        let topic_len = take_length(bytes, &mut at, if wide { 2 } else { 1 }, "topic")?;
        let topic = std::str::from_utf8(&bytes[at..at + topic_len]).map_err(|_| RecordError::BadTopic)?;
        at += topic_len;
        let properties_len = take_length(bytes, &mut at, 2, "properties")?;
        if at + properties_len != size {
            return Err(RecordError::BadLength { field: "properties", value: properties_len as i64 });
        }
        Ok(Record { bytes, body_at, body_len, topic, properties_at: at })
    }

    /// All bytes of the record.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
    /// Size of the whole record in bytes.
    pub fn size(&self) -> u32 {
        self.bytes.len() as u32
    }
    /// Queue of the topic.
    pub fn queue_id(&self) -> i32 {
        i32_at(self.bytes, QUEUE_ID_AT)
    }
    /// The user's own flag.
    pub fn flag(&self) -> i32 {
        i32_at(self.bytes, 16)
    }
    /// Place in its queue, counted from 0.
    pub fn queue_offset(&self) -> u64 {
        i64_at(self.bytes, QUEUE_OFFSET_AT) as u64
    }
    /// Byte position in the commit log.
    pub fn position(&self) -> u64 {
        i64_at(self.bytes, POSITION_AT) as u64
    }
    /// System flag.
    pub fn sys_flag(&self) -> SysFlag {
        SysFlag(i32_at(self.bytes, SYS_FLAG_AT))
    }
    /// When the client made the message, in milliseconds since 1970.
    pub fn born_timestamp_ms(&self) -> i64 {
        i64_at(self.bytes, 40)
    }
    /// Address of the client that sent the message.
    pub fn born_host(&self) -> SocketAddr {
        host_at(self.bytes, BORN_HOST_AT, self.sys_flag().born_host_is_v6())
    }
    /// When the log took the message, in milliseconds since 1970.
    pub fn store_timestamp_ms(&self) -> i64 {
        i64_at(self.bytes, self.store_timestamp_at())
    }
    /// Advertised address of the broker that stored the message.
    pub fn store_host(&self) -> SocketAddr {
        host_at(self.bytes, self.store_timestamp_at() + 8, self.sys_flag().store_host_is_v6())
    }
    /// How often the message was handed back by consumers.
    pub fn reconsume_times(&self) -> i32 {
        i32_at(self.bytes, self.body_at - 16)
    }
    /// Position of the record that this one settles, or 0.
    pub fn prepared_transaction_offset(&self) -> i64 {
        i64_at(self.bytes, self.body_at - 12)
    }
    /// Checksum of the body as stored.
    pub fn body_crc(&self) -> i32 {
        i32_at(self.bytes, 8)
    }
    /// Body as the client sent it, possibly compressed.
    pub fn body(&self) -> &'a [u8] {
        &self.bytes[self.body_at..self.body_at + self.body_len]
    }
    /// Topic under which the record is stored.
    pub fn topic(&self) -> &'a str {
        self.topic
    }
    /// Properties in stored form.
    pub fn properties_bytes(&self) -> &'a [u8] {
        &self.bytes[self.properties_at..]
    }
    /// Properties, item by item.
    pub fn properties(&self) -> Properties<'a> {
        Properties::new(self.properties_bytes())
    }
    /// Hash of the tag as queue indexes keep it: Java's `String.hashCode` of `TAGS`, 0 without a tag.
    pub fn tag_hash(&self) -> i32 {
        self.properties().get(properties::TAGS).map_or(0, java_string_hash)
    }

    /// Compares the body with its checksum.
    pub fn verify_body(&self) -> Result<(), RecordError> {
        let (stored, found) = (self.body_crc(), body_crc(self.body()));
        if stored == found { Ok(()) } else { Err(RecordError::BadBodyCrc { stored, found }) }
    }

    fn store_timestamp_at(&self) -> usize {
        BORN_HOST_AT + if self.sys_flag().born_host_is_v6() { 20 } else { 8 }
    }
}

/// The records that lie back to back in a pull or query body; ends at the first byte that is no record.
pub fn records(mut bytes: &[u8]) -> impl Iterator<Item = Record<'_>> {
    std::iter::from_fn(move || {
        let record = Record::parse(bytes).ok()?;
        bytes = &bytes[record.bytes.len()..];
        Some(record)
    })
}

/// Java's `String.hashCode`: over UTF-16 code units, wrapping at 32 bits.
pub fn java_string_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

fn take_length(bytes: &[u8], at: &mut usize, width: usize, field: &'static str) -> Result<usize, RecordError> {
    let Some(raw) = bytes.get(*at..*at + width) else {
        return Err(RecordError::Short { needed: *at + width, found: bytes.len() });
    };
    let value: i64 = match width {
        1 => raw[0].into(),
        2 => i16::from_be_bytes([raw[0], raw[1]]).into(),
        _ => i32::from_be_bytes([raw[0], raw[1], raw[2], raw[3]]).into(),
    };
    *at += width;
    usize::try_from(value)
        .ok()
        .filter(|length| *length <= bytes.len() - *at)
        .ok_or(RecordError::BadLength { field, value })
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    let mut raw = [0; 4];
    raw.copy_from_slice(&bytes[at..at + 4]);
    i32::from_be_bytes(raw)
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    let mut raw = [0; 8];
    raw.copy_from_slice(&bytes[at..at + 8]);
    i64::from_be_bytes(raw)
}

fn host_at(bytes: &[u8], at: usize, v6: bool) -> SocketAddr {
    if v6 {
        let mut octets = [0; 16];
        octets.copy_from_slice(&bytes[at..at + 16]);
        SocketAddr::new(Ipv6Addr::from(octets).into(), i32_at(bytes, at + 16) as u16)
    } else {
        let mut octets = [0; 4];
        octets.copy_from_slice(&bytes[at..at + 4]);
        SocketAddr::new(Ipv4Addr::from(octets).into(), i32_at(bytes, at + 4) as u16)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn host(v6: bool, port: u16) -> SocketAddr {
        let ip = if v6 { "2001:db8::7".parse().unwrap() } else { IpAddr::from([10, 0, 0, 7]) };
        SocketAddr::new(ip, port)
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_read_back(
            topic_len in 1usize..300, queue_id in any::<i32>(), flag in any::<i32>(), born in any::<i64>(),
            born_v6 in any::<bool>(), store_v6 in any::<bool>(), times in any::<i32>(), prepared in any::<i64>(),
            body in proptest::collection::vec(any::<u8>(), 0..300),
            numbers in any::<(u64, u64, i64)>(),
        ) {
            let topic = "t".repeat(topic_len);
            let properties = b"TAGS\x01a\x02k\x01v\x02";
            let new = NewRecord {
                topic: &topic, queue_id, flag, sys_flag: SysFlag(1), born_timestamp_ms: born,
                born_host: host(born_v6, 9), store_host: host(store_v6, 10911), reconsume_times: times,
                prepared_transaction_offset: prepared, body: &body, properties,
            };
            let mut bytes = vec![7];
            let size = new.encode(&mut bytes).unwrap();
            stamp(&mut bytes[1..], numbers.0, numbers.1, numbers.2);
            bytes.push(9);
            let read = Record::parse(&bytes[1..]).unwrap();
            prop_assert_eq!(read.size(), size);
            prop_assert_eq!(read.topic(), topic.as_str());
            prop_assert_eq!((read.queue_id(), read.flag(), read.born_timestamp_ms()), (queue_id, flag, born));
            prop_assert_eq!((read.queue_offset(), read.position(), read.store_timestamp_ms()), numbers);
            prop_assert_eq!((read.born_host(), read.store_host()), (host(born_v6, 9), host(store_v6, 10911)));
            prop_assert_eq!((read.reconsume_times(), read.prepared_transaction_offset()), (times, prepared));
            prop_assert_eq!(read.body(), body.as_slice());
            prop_assert_eq!(read.properties_bytes(), properties.as_slice());
            prop_assert_eq!(read.tag_hash(), 97);
            prop_assert!(read.verify_body().is_ok());
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Record::parse(&bytes).map(|record| (record.tag_hash(), record.born_host(), record.store_host()));
        }

        #[test]
        fn no_flipped_byte_makes_the_reader_panic(at in 0usize..120, value in any::<u8>()) {
            let mut bytes = Vec::new();
            sample().encode(&mut bytes).unwrap();
            let at = at % bytes.len();
            bytes[at] = value;
            let _ = Record::parse(&bytes).map(|record| (record.tag_hash(), record.verify_body()));
        }
    }

    fn sample() -> NewRecord<'static> {
        NewRecord {
            topic: "orders",
            queue_id: 1,
            flag: 0,
            sys_flag: SysFlag(0),
            born_timestamp_ms: 5,
            born_host: host(false, 1),
            store_host: host(false, 2),
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: b"body",
            properties: b"TAGS\x01a\x02",
        }
    }

    #[test]
    fn a_record_cut_anywhere_is_refused() {
        let mut bytes = Vec::new();
        sample().encode(&mut bytes).unwrap();
        for cut in 0..bytes.len() {
            assert!(Record::parse(&bytes[..cut]).is_err(), "cut after byte {cut}");
        }
        assert!(Record::parse(&bytes).is_ok());
    }

    #[test]
    fn hashes_are_those_of_java() {
        assert_eq!(java_string_hash("TagA"), 2_598_919);
        assert_eq!(java_string_hash(""), 0);
    }
}
