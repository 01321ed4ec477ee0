//! Frames that send messages: built once, then copied with a few numbers changed.

use std::borrow::Cow;
use std::net::IpAddr;

use protocol::codes::{Language, RequestCode};
use protocol::frame::Codec;
use protocol::requests::SendMessage;
use protocol::typed::TypedHeader;
use protocol::writer::{FrameWriter, OWN_VERSION};
use protocol::{message_id, properties};

use super::label::{Label, Origin};
use super::topics::Topics;

/// Lowest opaque; all that are used have as many digits, so that they can be written over each other.
const OPAQUE_BASE: u32 = 1_000_000;
/// Requests that one connection can have under way.
pub const SLOTS_MAX: usize = 1_000_000;
/// Stands for the time of birth until it is written over: as many digits as a time until the year 2286 has.
const BORN_MARK: i64 = 1_111_111_111_111;
/// Stands for the time at which a message is due.
const DUE_MARK: &str = "2222222222222";
/// Stands for the microseconds of the time of birth below a millisecond, which travel as the message's own flag.
const MICROS_MARK: i32 = 999;
/// System flag of a half message.
const PREPARED: i32 = 4;
/// Digits of the largest queue number.
const QUEUE_DIGITS_MAX: usize = 5;
/// Where the opaque lies in a frame with a binary header: after two lengths, code, language and version.
const BINARY_OPAQUE_AT: usize = 8 + 2 + 1 + 2;

/// What kind of messages are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ordinary ones.
    Plain,
    /// Half messages of transactions.
    Half,
    /// Delayed ones: the time of their label is when they are due.
    Delayed,
}

/// What is the same in every message of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a> {
    /// Topics.
    pub topics: &'a Topics,
    /// Producer group.
    pub group: &'a str,
    /// How headers are written.
    pub codec: Codec,
    /// Kind of the messages.
    pub kind: Kind,
    /// Queues of a topic.
    pub queues: i32,
    /// Bytes of a body.
    pub body_bytes: usize,
    /// Messages in one request; 1 sends plain messages.
    pub batch: usize,
    /// Goes into the message ids.
    pub host: IpAddr,
    /// Goes into the message ids: another one for every connection.
    pub maker: u32,
    /// What the labels in the bodies say in common; bodies are long enough for them. `None` for bodies without.
    pub origin: Option<Origin>,
}

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Number of the topic.
    pub topic: u32,
    /// Number of the queue.
    pub queue: i32,
}

/// Frames of one connection: one for every number of digits that a queue can have, for their headers differ in size.
#[derive(Debug)]
pub struct SendFrames {
    by_digits: [Option<Template>; QUEUE_DIGITS_MAX],
    messages: u64,
}

/// A frame, and where its changing numbers lie.
#[derive(Debug)]
struct Template {
    bytes: Vec<u8>,
    codec: Codec,
    opaque_at: usize,
    born_at: usize,
    micros_at: usize,
    queue_at: usize,
    queue_digits: usize,
    topic_at: usize,
    topic_digits: usize,
    due_at: Option<usize>,
    /// Where the flags of the messages of a batch lie.
    flags_at: Vec<usize>,
    /// Where the last twelve hex digits of each message id lie.
    ids_at: Vec<usize>,
    /// Where the bodies that carry labels lie.
    labels_at: Vec<usize>,
}

/// The numbers that change from frame to frame.
#[derive(Debug)]
pub struct Stamp {
    born: [u8; 13],
    micros: u16,
    id_ms: [u8; 8],
    /// Counts messages; its low 16 bits go into the ids.
    counter: u32,
}

impl Stamp {
    /// Numbers for frames that are made at this time.
    pub fn new(now_us: i64) -> Stamp {
        let mut stamp = Stamp { born: [b'0'; 13], micros: 0, id_ms: [b'0'; 8], counter: 0 };
        stamp.set_time(now_us);
        stamp
    }

    /// Moves to another time.
    pub fn set_time(&mut self, now_us: i64) {
        let now_ms = now_us / 1000;
        self.micros = (now_us % 1000) as u16;
        put_digits(&mut self.born, now_ms.unsigned_abs());
        put_hex(&mut self.id_ms, client::unique_ids::ms_of_month(now_ms));
    }
}

impl SendFrames {
    /// Builds the frames for all queues.
    pub fn new(shape: &Shape<'_>) -> SendFrames {
        let digits_max = digits_of(shape.queues.max(1) - 1);
        debug_assert!(digits_max <= QUEUE_DIGITS_MAX);
        let by_digits = std::array::from_fn(|index| (index < digits_max).then(|| Template::new(shape, index + 1)));
        SendFrames { by_digits, messages: shape.batch as u64 }
    }

    /// Appends the frame with the numbers of `stamp`. The answer will carry `opaque`: see [`slot_of`]. Messages of a
    /// batch are labelled with one sequence number after the other.
    pub fn push(&self, out: &mut Vec<u8>, slot: u32, stamp: &mut Stamp, to: Address, label: Option<Label>) {
        let template = self.by_digits.get(digits_of(to.queue) - 1).and_then(Option::as_ref);
        debug_assert!(template.is_some(), "queue {} is none of the shape's", to.queue);
        if let Some(template) = template {
            template.push(out, slot, stamp, to, label);
        }
    }

    /// Messages in a frame.
    pub fn messages(&self) -> u64 {
        self.messages
    }
}

impl Template {
    fn new(shape: &Shape<'_>, queue_digits: usize) -> Template {
        let id = message_id::unique_id(shape.host, std::process::id(), shape.maker, 0, 0);
        let batched = shape.batch > 1;
        let (outer, own) = properties_of(shape, &id);
        let topic = shape.topics.name(0);
        let queue_mark = (0..queue_digits).fold(0, |number, _| number * 10 + 1);
        let send = SendMessage {
            producer_group: Cow::Borrowed(shape.group),
            topic: Cow::Borrowed(&topic),
            default_topic: Cow::Borrowed("TBW102"),
            default_topic_queue_nums: shape.queues,
            queue_id: queue_mark,
            sys_flag: if shape.kind == Kind::Half { PREPARED } else { 0 },
            born_timestamp: BORN_MARK,
            flag: MICROS_MARK,
            properties: Some(String::from_utf8_lossy(if batched { &outer } else { &own })),
            reconsume_times: Some(0),
            unit_mode: Some(false),
            max_reconsume_times: None,
            batch: Some(batched),
        };
        let code = if batched { RequestCode::SEND_BATCH_MESSAGE } else { RequestCode::SEND_MESSAGE_V2 };
        let mut bytes = Vec::new();
        let opaque = OPAQUE_BASE as i32;
        let frame = FrameWriter::begin(&mut bytes, shape.codec, code.0, Language::JAVA, OWN_VERSION, opaque, 0, None);
        let mut body = vec![b'x'; shape.body_bytes];
        if let Some(origin) = shape.origin {
            origin.put(&mut body);
        }
        let (mut flags_at, mut labels_at) = (Vec::new(), Vec::new());
        send.encode(frame).finish_with(|out| {
            if !batched {
                labels_at.push(out.len());
                return out.extend_from_slice(&body);
            }
            for _ in 0..shape.batch {
                let flag_at = push_batched(out, &body, &own);
                flags_at.push(flag_at);
                labels_at.push(flag_at + 8);
            }
        });
        if shape.origin.is_none() {
            labels_at.clear();
        }
        let id_digits = &id.as_bytes()[..id.len() - 12];
        let opaque_at = match shape.codec {
            Codec::Json => places(&bytes, format!("\"opaque\":{OPAQUE_BASE}").as_bytes())[0] + "\"opaque\":".len(),
            Codec::Binary => BINARY_OPAQUE_AT,
        };
        Template {
            codec: shape.codec,
            opaque_at,
            born_at: field_at(&bytes, shape.codec, "g", &BORN_MARK.to_string()),
            micros_at: field_at(&bytes, shape.codec, "h", &MICROS_MARK.to_string()),
            queue_at: field_at(&bytes, shape.codec, "e", &queue_mark.to_string()),
            queue_digits,
            topic_at: field_at(&bytes, shape.codec, "b", &topic) + topic.len() - shape.topics.digits(),
            topic_digits: shape.topics.digits(),
            due_at: places(&bytes, DUE_MARK.as_bytes()).first().copied().filter(|_| shape.kind == Kind::Delayed),
            flags_at,
            ids_at: places(&bytes, id_digits).into_iter().map(|at| at + id_digits.len()).collect(),
            labels_at,
            bytes,
        }
    }

    fn push(&self, out: &mut Vec<u8>, slot: u32, stamp: &mut Stamp, to: Address, label: Option<Label>) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let frame = &mut out[start..];
        let opaque = OPAQUE_BASE + slot;
        match self.codec {
            Codec::Json => put_digits(&mut frame[self.opaque_at..self.opaque_at + 7], u64::from(opaque)),
            Codec::Binary => frame[self.opaque_at..self.opaque_at + 4].copy_from_slice(&opaque.to_be_bytes()),
        }
        frame[self.born_at..self.born_at + 13].copy_from_slice(&stamp.born);
        put_digits(&mut frame[self.micros_at..self.micros_at + 3], u64::from(stamp.micros));
        put_digits(&mut frame[self.queue_at..self.queue_at + self.queue_digits], to.queue.unsigned_abs().into());
        put_digits(&mut frame[self.topic_at..self.topic_at + self.topic_digits], to.topic.into());
        for at in &self.flags_at {
            frame[*at..*at + 4].copy_from_slice(&i32::from(stamp.micros).to_be_bytes());
        }
        for at in &self.ids_at {
            frame[*at..*at + 8].copy_from_slice(&stamp.id_ms);
            put_hex(&mut frame[*at + 8..*at + 12], stamp.counter);
            stamp.counter = stamp.counter.wrapping_add(1);
        }
        let Some(mut label) = label else { return };
        if let Some(at) = self.due_at {
            put_digits(&mut frame[at..at + DUE_MARK.len()], label.time);
        }
        for at in &self.labels_at {
            label.put(&mut frame[*at..]);
            label.sequence = label.sequence.wrapping_add(1);
        }
    }
}

/// Properties of a request, and of each message in it.
fn properties_of(shape: &Shape<'_>, id: &str) -> (Vec<u8>, Vec<u8>) {
    let mut own = Vec::new();
    properties::push(&mut own, properties::UNIQ_KEY, id);
    properties::push(&mut own, properties::WAIT, "true");
    match shape.kind {
        Kind::Plain => {}
        Kind::Half => {
            properties::push(&mut own, properties::TRAN_MSG, "true");
            properties::push(&mut own, properties::PGROUP, shape.group);
        }
        Kind::Delayed => properties::push(&mut own, properties::TIMER_DELIVER_MS, DUE_MARK),
    }
    let mut outer = Vec::new();
    properties::push(&mut outer, properties::WAIT, "true");
    (outer, own)
}

/// Where the value of a field lies.
fn field_at(bytes: &[u8], codec: Codec, name: &str, value: &str) -> usize {
    let before = match codec {
        Codec::Json => format!("\"{name}\":\"").into_bytes(),
        Codec::Binary => {
            let mut before = (name.len() as i16).to_be_bytes().to_vec();
            before.extend_from_slice(name.as_bytes());
            before.extend_from_slice(&(value.len() as i32).to_be_bytes());
            before
        }
    };
    places(bytes, &[&before, value.as_bytes()].concat())[0] + before.len()
}

/// Decimal digits of a queue's number.
fn digits_of(queue: i32) -> usize {
    match queue {
        ..10 => 1,
        10..100 => 2,
        100..1_000 => 3,
        1_000..10_000 => 4,
        _ => 5,
    }
}

/// The slot that was given to [`SendFrames::push`], from the opaque of the answer.
pub fn slot_of(opaque: i32) -> Option<usize> {
    usize::try_from(opaque.checked_sub(OPAQUE_BASE as i32)?).ok()
}

/// Appends one message of a batch (size, two numbers the broker fills in, flag, body, properties) and returns where
/// its flag lies.
fn push_batched(out: &mut Vec<u8>, body: &[u8], properties: &[u8]) -> usize {
    let flag_at = out.len() + 12;
    let size = 4 + 4 + 4 + 4 + 4 + body.len() + 2 + properties.len();
    out.extend_from_slice(&(size as i32).to_be_bytes());
    out.extend_from_slice(&[0; 12]);
    out.extend_from_slice(&(body.len() as i32).to_be_bytes());
    out.extend_from_slice(body);
    out.extend_from_slice(&(properties.len() as i16).to_be_bytes());
    out.extend_from_slice(properties);
    flag_at
}

fn places(bytes: &[u8], pattern: &[u8]) -> Vec<usize> {
    bytes.windows(pattern.len()).enumerate().filter(|(_, window)| *window == pattern).map(|(at, _)| at).collect()
}

fn put_digits(out: &mut [u8], mut value: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

fn put_hex(out: &mut [u8], mut value: u32) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for digit in out.iter_mut().rev() {
        *digit = DIGITS[(value & 15) as usize];
        value >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use protocol::frame;
    use protocol::header::{FieldSpans, Header};
    use protocol::properties::Properties;

    use super::*;
    use crate::bench::label;

    const NOW_US: i64 = 1_763_791_200_123_007;
    const ORIGIN: Origin = Origin { run: 5, producer: 7 };
    const LABEL: Label = Label { sequence: 40, answered_below: 38, time: 1_763_791_260_000 };

    fn shape(topics: &Topics, codec: Codec) -> Shape<'_> {
        Shape {
            topics,
            group: "g",
            codec,
            kind: Kind::Plain,
            queues: 1001,
            body_bytes: 40,
            batch: 1,
            host: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
            maker: 7,
            origin: Some(ORIGIN),
        }
    }

    /// Reads a frame as a broker would.
    fn read(bytes: &[u8], check: impl FnOnce(&Header<'_>, &SendMessage<'_>, &[u8])) -> usize {
        let frame = frame::split(bytes).unwrap().unwrap();
        let mut spans = FieldSpans::default();
        let codec = Codec::from_number(frame.codec_number).unwrap();
        let header = Header::decode(codec, frame.header, &mut spans).unwrap();
        check(&header, &SendMessage::decode(&header.fields).unwrap(), frame.body);
        frame.size
    }

    #[test]
    fn a_frame_is_a_send_with_the_numbers_of_its_stamp() {
        for codec in [Codec::Json, Codec::Binary] {
            let topics = Topics::numbered("bench", 300);
            let made = SendFrames::new(&shape(&topics, codec));
            let mut stamp = Stamp::new(NOW_US);
            let mut out = Vec::new();
            let wanted = [(5, Address { topic: 0, queue: 3 }), (999_999, Address { topic: 299, queue: 1000 })];
            for (slot, address) in wanted {
                made.push(&mut out, slot, &mut stamp, address, Some(LABEL));
            }
            let (mut ids, mut at) = (Vec::new(), 0);
            for (slot, address) in wanted {
                at += read(&out[at..], |header, send, body| {
                    assert_eq!((header.code, slot_of(header.opaque)), (310, Some(slot as usize)));
                    assert_eq!((&*send.topic, send.queue_id), (&*topics.name(address.topic), address.queue));
                    assert_eq!((send.born_timestamp, send.flag, body.len()), (1_763_791_200_123, 7, 40));
                    assert_eq!(label::read(body), Some((ORIGIN, LABEL)));
                    let properties = send.properties.as_ref().unwrap();
                    ids.push(Properties::new(properties.as_bytes()).get(properties::UNIQ_KEY).unwrap().to_owned());
                });
            }
            assert_ne!(ids[0], ids[1]);
            assert_eq!((ids[0].len(), &ids[0][..20]), (32, &ids[1][..20]));
        }
    }

    #[test]
    fn every_message_of_a_batch_has_its_own_id_and_number() {
        let topics = Topics::one("bench");
        let made = SendFrames::new(&Shape { batch: 3, ..shape(&topics, Codec::Json) });
        assert_eq!(made.messages(), 3);
        let mut out = Vec::new();
        made.push(&mut out, 0, &mut Stamp::new(NOW_US), Address { topic: 0, queue: 9 }, Some(LABEL));
        read(&out, |header, send, body| {
            assert_eq!((header.code, &*send.topic, send.queue_id, send.batch), (320, "bench", 9, Some(true)));
            let items: Vec<_> = protocol::batch::items(body).map(Result::unwrap).collect();
            let numbers: Vec<u64> = items.iter().map(|item| label::read(item.body).unwrap().1.sequence).collect();
            assert_eq!((numbers, items[0].flag), (vec![40, 41, 42], 7));
            let ids: std::collections::BTreeSet<_> =
                items.iter().map(|item| item.properties().get(properties::UNIQ_KEY).unwrap().to_owned()).collect();
            assert_eq!(ids.len(), 3);
        });
    }

    #[test]
    fn kinds_of_messages_are_what_clients_send() {
        let topics = Topics::one("bench");
        for (kind, name, value) in
            [(Kind::Half, properties::PGROUP, "g"), (Kind::Delayed, properties::TIMER_DELIVER_MS, "1763791260000")]
        {
            for codec in [Codec::Json, Codec::Binary] {
                let mut out = Vec::new();
                let made = SendFrames::new(&Shape { kind, ..shape(&topics, codec) });
                made.push(&mut out, 1, &mut Stamp::new(NOW_US), Address { topic: 0, queue: 0 }, Some(LABEL));
                read(&out, |_, send, _| {
                    let properties = send.properties.as_ref().unwrap();
                    assert_eq!(Properties::new(properties.as_bytes()).get(name), Some(value));
                    assert_eq!(send.sys_flag, if kind == Kind::Half { PREPARED } else { 0 });
                });
            }
        }
    }

    #[test]
    fn bodies_without_labels_are_left_alone() {
        let topics = Topics::one("bench");
        let made = SendFrames::new(&Shape { body_bytes: 1, origin: None, ..shape(&topics, Codec::Json) });
        let mut out = Vec::new();
        made.push(&mut out, 1, &mut Stamp::new(NOW_US), Address { topic: 0, queue: 0 }, None);
        read(&out, |_, _, body| assert_eq!(body, b"x"));
    }
}
