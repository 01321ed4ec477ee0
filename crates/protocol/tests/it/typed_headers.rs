//! Typed headers of every recorded request and answer that has one.

use std::collections::BTreeMap;

use protocol::codes::RequestCode;
use protocol::frame::{self, Codec};
use protocol::header::{FieldSpans, Fields, Header};
use protocol::requests::*;
use protocol::typed::TypedHeader;
use protocol::writer::{Expect, FrameWriter};

use crate::recording::{Recorded, Way, frames_of};

/// Fields that may come with any request and that no handler reads.
const PASSED_OVER: &[&str] = &["bname", "lo", "ns", "nsd", "oway", "ReqT", "n"];

fn by_name(fields: &Fields<'_>) -> BTreeMap<String, String> {
    fields.iter().map(|(name, value)| (name.resolve().into_owned(), value.resolve().into_owned())).collect()
}

/// The fields that `header` writes.
fn written<'a>(header: &impl TypedHeader<'a>) -> BTreeMap<String, String> {
    let mut out = Vec::new();
    header
        .encode(FrameWriter::request(&mut out, Codec::Json, RequestCode::PULL_MESSAGE, 1, Expect::Answer))
        .finish(b"");
    let mut spans = FieldSpans::default();
    by_name(&Header::decode(Codec::Json, frame::split(&out).unwrap().unwrap().header, &mut spans).unwrap().fields)
}

/// How a typed header is to be checked.
struct Check<'c> {
    way: Way,
    codes: &'c [i32],
    /// Answers: the response codes with which the header is there.
    with: &'c [i64],
    /// Fields that come and that the type does not have.
    unread: &'c [&'c str],
    /// Long names of fields that are written as letters.
    letters: &'c [(&'c str, &'c str)],
}

const REQUEST: Check<'_> = Check { way: Way::Request, codes: &[], with: &[], unread: &[], letters: &[] };
const ANSWER: Check<'_> = Check { way: Way::Answer, codes: &[], with: &[0], unread: &[], letters: &[] };

/// A way to read a typed header of any lifetime.
trait Reader {
    fn fields(&self, fields: &Fields<'_>) -> Result<BTreeMap<String, String>, String>;
}

macro_rules! reader {
    ($type:ident) => {{
        struct Read;
        impl Reader for Read {
            fn fields(&self, fields: &Fields<'_>) -> Result<BTreeMap<String, String>, String> {
                $type::decode(fields).map(|header| written(&header)).map_err(|error| error.to_string())
            }
        }
        &Read
    }};
}

impl Check<'_> {
    fn run(&self, reader: &dyn Reader) {
        let mut seen = 0;
        let mut lost = BTreeMap::new();
        for frame in frames_of(self.way, self.codes) {
            if self.way == Way::Request || self.with.contains(&frame.code()) {
                seen += 1;
                frame.with_header(|header| self.one(frame, &header, reader, &mut lost));
            }
        }
        assert!(seen > 0, "no frame of {:?} {:?}", self.way, self.codes);
        assert!(lost.is_empty(), "fields that were lost, and where first: {lost:?}");
    }

    fn one(
        &self,
        frame: &'static Recorded,
        header: &Header<'_>,
        reader: &dyn Reader,
        lost: &mut BTreeMap<String, &str>,
    ) {
        let recorded: BTreeMap<_, _> = by_name(&header.fields)
            .into_iter()
            .map(|(name, value)| {
                let letter = self.letters.iter().find(|(long, _)| *long == name);
                (letter.map_or(name, |(_, letter)| (*letter).to_owned()), value)
            })
            .collect();
        let written = match reader.fields(&header.fields) {
            Ok(written) => written,
            Err(error) => return refused(frame, &error),
        };
        for (name, value) in &recorded {
            match written.get(name) {
                Some(again) => assert_eq!(again, value, "{}: field `{name}`", frame.place),
                None if PASSED_OVER.contains(&name.as_str()) || self.unread.contains(&name.as_str()) => {}
                None => {
                    lost.entry(name.clone()).or_insert(&frame.place);
                }
            }
        }
    }
}

/// Only requests that were made wrong on purpose may be refused, and upstream refused them too.
fn refused(frame: &Recorded, error: &str) {
    assert!(frame.place.starts_with("errors:"), "{}: {error}", frame.place);
    assert!(frame.answer_code() != Some(0), "{}: upstream took it: {error}", frame.place);
}

const SEND_LETTERS: &[(&str, &str)] = &[
    ("producerGroup", "a"),
    ("topic", "b"),
    ("defaultTopic", "c"),
    ("defaultTopicQueueNums", "d"),
    ("queueId", "e"),
    ("sysFlag", "f"),
    ("bornTimestamp", "g"),
    ("flag", "h"),
    ("properties", "i"),
    ("reconsumeTimes", "j"),
    ("unitMode", "k"),
    ("maxReconsumeTimes", "l"),
    ("batch", "m"),
];

#[test]
fn sends_are_read_as_recorded() {
    Check { codes: &[10, 310, 320], letters: SEND_LETTERS, ..REQUEST }.run(reader!(SendMessage));
    // Region and trace switch come with errors too, so they are no part of the result.
    let unread = &["MSG_REGION", "TRACE_ON", "recallHandle"];
    Check { codes: &[10, 310, 320], with: &[0, 10, 11, 12], unread, ..ANSWER }.run(reader!(SendMessageResult));
}

#[test]
fn pulls_are_read_as_recorded() {
    Check { codes: &[11, 361], ..REQUEST }.run(reader!(PullMessage));
    let unread = &["groupSysFlag", "topicSysFlag"];
    Check { codes: &[11, 361], with: &[0, 19, 20, 21], unread, ..ANSWER }.run(reader!(PullMessageResult));
}

#[test]
fn offset_requests_are_read_as_recorded() {
    Check { codes: &[14], ..REQUEST }.run(reader!(QueryConsumerOffset));
    Check { codes: &[15], ..REQUEST }.run(reader!(UpdateConsumerOffset));
    Check { codes: &[30, 31, 32], unread: &["committed"], ..REQUEST }.run(reader!(QueueOfTopic));
    Check { codes: &[29], ..REQUEST }.run(reader!(SearchOffset));
    Check { codes: &[14, 29, 30, 31], ..ANSWER }.run(reader!(OffsetResult));
    Check { codes: &[32], ..ANSWER }.run(reader!(TimestampResult));
}

#[test]
fn membership_requests_are_read_as_recorded() {
    Check { codes: &[35], ..REQUEST }.run(reader!(UnregisterClient));
    Check { codes: &[38, 40, 203], ..REQUEST }.run(reader!(ConsumerGroup));
}

#[test]
fn send_backs_and_transactions_are_read_as_recorded() {
    Check { codes: &[36], ..REQUEST }.run(reader!(ConsumerSendMsgBack));
    Check { codes: &[37], unread: &["topic"], ..REQUEST }.run(reader!(EndTransaction));
    Check { codes: &[39], ..REQUEST }.run(reader!(CheckTransactionState));
}

#[test]
fn queries_are_read_as_recorded() {
    Check { codes: &[33], unread: &["topic"], ..REQUEST }.run(reader!(ViewMessage));
    Check { codes: &[12], ..REQUEST }.run(reader!(QueryMessage));
    Check { codes: &[12], with: &[0, 22], ..ANSWER }.run(reader!(QueryMessageResult));
}

#[test]
fn topic_and_group_requests_are_read_as_recorded() {
    Check { codes: &[17], unread: &["force"], ..REQUEST }.run(reader!(CreateTopic));
    Check { codes: &[202, 215, 217, 300, 351], ..REQUEST }.run(reader!(OneTopic));
    Check { codes: &[208], ..REQUEST }.run(reader!(GetConsumeStats));
    Check { codes: &[352], ..REQUEST }.run(reader!(GetSubscriptionGroup));
    Check { codes: &[207], ..REQUEST }.run(reader!(DeleteSubscriptionGroup));
}

#[test]
fn nameserver_requests_are_read_as_recorded() {
    Check { codes: &[105], ..REQUEST }.run(reader!(GetRoute));
    Check { codes: &[216], ..REQUEST }.run(reader!(DeleteTopicInNameserver));
    Check { codes: &[103], ..REQUEST }.run(reader!(RegisterBroker));
    Check { codes: &[103], ..ANSWER }.run(reader!(RegisterBrokerResult));
    Check { codes: &[104], ..REQUEST }.run(reader!(BrokerIdentity));
    Check { codes: &[100], ..REQUEST }.run(reader!(PutKvConfig));
    Check { codes: &[101, 102], ..REQUEST }.run(reader!(KvKey));
    Check { codes: &[101], ..ANSWER }.run(reader!(KvValue));
    Check { codes: &[219], ..REQUEST }.run(reader!(KvNamespace));
    Check { codes: &[205, 327], ..REQUEST }.run(reader!(OneBroker));
    Check { codes: &[205], ..ANSWER }.run(reader!(WipeWritePermResult));
    Check { codes: &[327], ..ANSWER }.run(reader!(AddWritePermResult));
}
