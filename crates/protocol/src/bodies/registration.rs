//! What a broker tells a nameserver about itself: the body of REGISTER_BROKER (103), in its two forms.
//!
//! The first byte tells the forms apart: brokers of 5.x say `compressed=false` in the header whatever they send.
//! The compressed form is a zlib stream of, big-endian:
//!
//! ```text
//! i32 length | DataVersion as JSON
//! i32 count  | count times: i32 length | `name readQueues writeQueues perm filterType[ attributes]`
//! i32 length | filter servers as a JSON list
//! from 5.0 on, static-topic mappings, which we pass over
//! ```
//! It has neither `order` nor `topicSysFlag`.
//!
//! Source: `remoting/.../protocol/body/RegisterBrokerBody.java`, `common/.../TopicConfig.java`.

use std::collections::BTreeMap;
use std::io::Read;

use flate2::read::ZlibDecoder;

use super::data_version::DataVersion;
use super::declare::bodies;
use super::loose;
use super::topic_config::{TopicConfig, TopicFilterType};
use crate::frame::FRAME_BYTES_MAX;
use crate::lenient_json::{self, BodyError};

/// Most bytes that a compressed body may have inside: four times what fits a frame in the other form.
pub const INFLATED_BYTES_MAX: usize = 4 * FRAME_BYTES_MAX;

bodies! {
    /// Everything a broker registers.
    #[derive(Eq)]
    RegisterBrokerBody {
        /// Filter servers went with 4.3; readers still expect the key.
        filter_server_list: Vec<String> = "filterServerList",
        /// The topics.
        topics: RegisteredTopics = "topicConfigSerializeWrapper",
    }

    /// Topics of a broker: all of them, or only those that changed.
    #[derive(Eq)]
    RegisteredTopics {
        /// Version of the whole table, also when only a part of it is sent.
        data_version: DataVersion = "dataVersion",
        /// Version of the static-topic mappings, of which we have none.
        mapping_data_version: DataVersion = "mappingDataVersion",
        /// The topics by name.
        topic_config_table: BTreeMap<String, TopicConfig> = "topicConfigTable",
        /// Static topics; written empty and passed over when read.
        topic_queue_mapping_detail_map: Nothing = "topicQueueMappingDetailMap",
        /// Static topics; written empty and passed over when read.
        topic_queue_mapping_info_map: Nothing = "topicQueueMappingInfoMap",
    }
}

/// An object that is written empty and not looked into when read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nothing;

impl serde::Serialize for Nothing {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde::ser::SerializeMap::end(serializer.serialize_map(Some(0))?)
    }
}

impl<'de> loose::Loose<'de> for Nothing {
    fn read<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        <serde::de::IgnoredAny as serde::Deserialize>::deserialize(deserializer).map(|_| None)
    }
}

/// Why a body is no registration.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// It begins neither as JSON nor as a zlib stream.
    #[error("body begins with byte {0:#04x}; it is neither JSON nor compressed")]
    Form(u8),
    /// The JSON form cannot be read.
    #[error(transparent)]
    Json(#[from] BodyError),
    /// The zlib stream is broken.
    #[error("compressed body cannot be inflated")]
    Inflate(#[source] std::io::Error),
    /// It has more inside than we take.
    #[error("compressed body has more than {limit} bytes inside")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// A length inside the compressed form is negative, or passes its end.
    #[error("length {length} at byte {at} of the inflated body does not fit")]
    Length {
        /// Where the length lies.
        at: usize,
        /// What it says.
        length: i64,
    },
    /// The text of a topic is not what it should be.
    #[error("topic {0} of the compressed body is not `name readQueues writeQueues perm filterType`")]
    Topic(usize),
}

impl RegisterBrokerBody {
    /// The registration of a broker that has these topics.
    pub fn new(data_version: DataVersion, topics: impl IntoIterator<Item = TopicConfig>) -> RegisterBrokerBody {
        let topics = topics.into_iter().map(|topic| (topic.topic_name.clone(), topic)).collect();
        let topics = RegisteredTopics { data_version, topic_config_table: topics, ..RegisteredTopics::default() };
        RegisterBrokerBody { filter_server_list: Vec::new(), topics }
    }

    /// Reads a body in either form. No body at all says nothing about topics and gives a version of zeros.
    pub fn decode(body: &[u8]) -> Result<RegisterBrokerBody, RegistrationError> {
        match body.trim_ascii_start().first() {
            None => Ok(RegisterBrokerBody::default()),
            Some(b'{') => Ok(lenient_json::from_slice(body)?),
            Some(0x78) => from_inflated(&inflate(body)?),
            Some(other) => Err(RegistrationError::Form(*other)),
        }
    }

    /// Appends the body in its JSON form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        lenient_json::write_into(out, self);
    }
}

/// CRC-32 of a body as REGISTER_BROKER has it in its header: without the top bit.
pub fn body_crc32(body: &[u8]) -> i32 {
    (crc32fast::hash(body) & 0x7FFF_FFFF) as i32
}

fn inflate(body: &[u8]) -> Result<Vec<u8>, RegistrationError> {
    let mut inflated = Vec::new();
    let mut stream = ZlibDecoder::new(body).take(INFLATED_BYTES_MAX as u64 + 1);
    stream.read_to_end(&mut inflated).map_err(RegistrationError::Inflate)?;
    if inflated.len() > INFLATED_BYTES_MAX {
        return Err(RegistrationError::TooLarge { limit: INFLATED_BYTES_MAX });
    }
    Ok(inflated)
}

fn from_inflated(bytes: &[u8]) -> Result<RegisterBrokerBody, RegistrationError> {
    let mut reader = Reader { bytes, at: 0 };
    let data_version = lenient_json::from_slice(reader.piece()?)?;
    let count = reader.count()?;
    let mut topics = BTreeMap::new();
    for number in 0..count {
        let topic = topic_from_text(reader.piece()?).ok_or(RegistrationError::Topic(number))?;
        topics.insert(topic.topic_name.clone(), topic);
    }
    let filter_server_list = lenient_json::from_slice::<loose::Read<_>>(reader.piece()?)?.0.unwrap_or_default();
    let topics = RegisteredTopics { data_version, topic_config_table: topics, ..RegisteredTopics::default() };
    Ok(RegisterBrokerBody { filter_server_list, topics })
}

fn topic_from_text(text: &[u8]) -> Option<TopicConfig> {
    let mut parts = std::str::from_utf8(text).ok()?.splitn(6, ' ');
    let topic_name = parts.next()?.to_owned();
    let mut number = || parts.next()?.parse().ok();
    let (read_queue_nums, write_queue_nums, perm) = (number()?, number()?, number()?);
    let topic_filter_type = TopicFilterType::from_name(parts.next()?).unwrap_or(TopicFilterType::SingleTag);
    let attributes = match parts.next() {
        Some(json) => lenient_json::from_slice::<loose::Read<_>>(json.as_bytes()).ok()?.0.unwrap_or_default(),
        None => BTreeMap::new(),
    };
    let rest = TopicConfig::default();
    Some(TopicConfig { attributes, perm, read_queue_nums, topic_filter_type, topic_name, write_queue_nums, ..rest })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Takes a number that says how many things follow. Each thing has at least its own length word.
    fn count(&mut self) -> Result<usize, RegistrationError> {
        self.length(4)
    }

    /// Takes a length and the bytes that it announces.
    fn piece(&mut self) -> Result<&'a [u8], RegistrationError> {
        let length = self.length(1)?;
        let piece = &self.bytes[self.at..self.at + length];
        self.at += length;
        Ok(piece)
    }

    fn length(&mut self, unit: usize) -> Result<usize, RegistrationError> {
        let (at, rest) = (self.at, self.bytes.get(self.at..).unwrap_or_default());
        let Some((word, rest)) = rest.split_first_chunk() else {
            return Err(RegistrationError::Length { at, length: -1 });
        };
        self.at += 4;
        let length = i32::from_be_bytes(*word);
        usize::try_from(length)
            .ok()
            .filter(|length| *length <= rest.len() / unit)
            .ok_or(RegistrationError::Length { at, length: length.into() })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;
    use proptest::prelude::*;

    use super::*;

    fn topic(name: &str) -> TopicConfig {
        TopicConfig { topic_name: name.into(), read_queue_nums: 2, write_queue_nums: 4, ..TopicConfig::default() }
    }

    fn compress(pieces: &[&[u8]]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        for piece in pieces {
            encoder.write_all(piece).unwrap();
        }
        encoder.finish().unwrap()
    }

    fn piece(bytes: &[u8]) -> Vec<u8> {
        [&(bytes.len() as i32).to_be_bytes()[..], bytes].concat()
    }

    const VERSION: &[u8] = br#"{"counter":3,"stateVersion":1,"timestamp":7}"#;

    #[test]
    fn a_registration_is_written_as_java_writes_it() {
        let fifo = TopicConfig { attributes: [("message.type".into(), "FIFO".into())].into(), ..topic("T") };
        let version = DataVersion { counter: 69, state_version: 0, timestamp: 1795582966305 };
        let body = RegisterBrokerBody::new(version, [fifo]);
        let text = concat!(
            r#"{"filterServerList":[],"topicConfigSerializeWrapper":{"dataVersion":{"counter":69,"stateVersion":0,"#,
            r#""timestamp":1795582966305},"mappingDataVersion":{"counter":0,"stateVersion":0,"timestamp":0},"#,
            r#""topicConfigTable":{"T":{"attributes":{"message.type":"FIFO"},"order":false,"perm":6,"#,
            r#""readQueueNums":2,"topicFilterType":"SINGLE_TAG","topicName":"T","topicSysFlag":0,"#,
            r#""writeQueueNums":4}},"topicQueueMappingDetailMap":{},"topicQueueMappingInfoMap":{}}}"#,
        );
        let mut written = Vec::new();
        body.encode(&mut written);
        assert_eq!(String::from_utf8(written).unwrap(), text);
        assert_eq!(RegisterBrokerBody::decode(text.as_bytes()).unwrap(), body);
    }

    #[test]
    fn static_topics_are_passed_over() {
        let text = br#"{"topicConfigSerializeWrapper":{"topicQueueMappingInfoMap":{"T":{"currIdMap":{0:0,1:1}}},
            "topicQueueMappingDetailMap":{"T":{"hostedQueues":{0:[{"gen":0}]}}}}}"#;
        assert_eq!(RegisterBrokerBody::decode(text).unwrap(), RegisterBrokerBody::default());
    }

    #[test]
    fn no_body_says_nothing() {
        assert_eq!(RegisterBrokerBody::decode(b"").unwrap(), RegisterBrokerBody::default());
    }

    #[test]
    fn the_compressed_form_is_read() {
        let body = compress(&[
            &piece(VERSION),
            &2i32.to_be_bytes(),
            &piece(b"T 2 4 6 SINGLE_TAG"),
            &piece(br#"U 2 4 6 MULTI_TAG {"message.type":"FIFO"}"#),
            &piece(b"[]"),
            &0i32.to_be_bytes(),
        ]);
        let read = RegisterBrokerBody::decode(&body).unwrap();
        let mut second = topic("U");
        second.topic_filter_type = TopicFilterType::MultiTag;
        second.attributes = [("message.type".into(), "FIFO".into())].into();
        let version = DataVersion { counter: 3, state_version: 1, timestamp: 7 };
        assert_eq!(read, RegisterBrokerBody::new(version, [topic("T"), second]));
    }

    #[test]
    fn what_does_not_fit_is_told_apart() {
        use RegistrationError::*;
        let read = |pieces: &[&[u8]]| RegisterBrokerBody::decode(&compress(pieces)).unwrap_err();
        assert!(matches!(read(&[]), Length { at: 0, .. }));
        assert!(matches!(read(&[&100i32.to_be_bytes(), b"{}"]), Length { at: 0, length: 100 }));
        assert!(matches!(read(&[&(-5i32).to_be_bytes()]), Length { at: 0, length: -5 }));
        assert!(matches!(read(&[&piece(VERSION), &i32::MAX.to_be_bytes()]), Length { at: 48, .. }));
        assert!(matches!(read(&[&piece(VERSION), &1i32.to_be_bytes(), &piece(b"T 2 4")]), Topic(0)));
        assert!(matches!(RegisterBrokerBody::decode(b"<xml>"), Err(Form(b'<'))));
        assert!(matches!(RegisterBrokerBody::decode(b"x nonsense"), Err(Inflate(_))));
        assert!(matches!(RegisterBrokerBody::decode(b"{\"a\""), Err(Json(_))));
    }

    #[test]
    fn a_body_that_inflates_beyond_the_limit_is_given_up() {
        let zeros = vec![0; 1024 * 1024];
        let pieces: Vec<&[u8]> = (0..=INFLATED_BYTES_MAX / zeros.len()).map(|_| &zeros[..]).collect();
        let bomb = compress(&pieces);
        assert!(bomb.len() < 1024 * 1024);
        assert!(matches!(RegisterBrokerBody::decode(&bomb), Err(RegistrationError::TooLarge { .. })));
    }

    #[test]
    fn the_crc_has_no_top_bit() {
        assert_eq!(body_crc32(b"123456789"), 0x4BF4_3926);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = RegisterBrokerBody::decode(&bytes);
            let _ = from_inflated(&bytes);
            let _ = RegisterBrokerBody::decode(&compress(&[&bytes]));
        }

        #[test]
        fn registrations_read_back(names in proptest::collection::btree_set("[A-Za-z]{1,8}", 0..5), counter: i64) {
            let version = DataVersion { counter, ..DataVersion::default() };
            let body = RegisterBrokerBody::new(version, names.iter().map(|name| topic(name)));
            let mut written = Vec::new();
            body.encode(&mut written);
            prop_assert_eq!(RegisterBrokerBody::decode(&written).unwrap(), body);
        }
    }
}
