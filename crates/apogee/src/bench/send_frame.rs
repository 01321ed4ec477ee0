//! Frames that send messages: built once, then copied with a few numbers changed.

use std::borrow::Cow;
use std::net::IpAddr;

use protocol::codes::{Language, RequestCode};
use protocol::frame::Codec;
use protocol::requests::SendMessage;
use protocol::typed::TypedHeader;
use protocol::writer::{FrameWriter, OWN_VERSION};
use protocol::{message_id, properties};

/// Lowest opaque; all that are used have as many digits, so that they can be written over each other.
const OPAQUE_BASE: u32 = 1_000_000;
/// Requests that one connection can have under way.
pub const SLOTS_MAX: usize = 1_000_000;
/// Stands for the time of birth until it is written over: as many digits as a time until the year 2286 has.
const BORN_MARK: i64 = 1_111_111_111_111;
/// Stands for the microseconds of that time below a millisecond, which travel as the message's own flag.
const MICROS_MARK: i32 = 999;

/// What is the same in every message of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Producer group.
    pub group: &'a str,
    /// Queues of the topic.
    pub queues: i32,
    /// Bytes of a body.
    pub body_bytes: usize,
    /// Messages in one request; 1 sends plain messages.
    pub batch: usize,
    /// Goes into the message ids.
    pub host: IpAddr,
    /// Goes into the message ids: another one for every connection.
    pub maker: u32,
}

/// A frame for one queue, and where its changing numbers lie.
#[derive(Debug)]
pub struct SendFrame {
    bytes: Vec<u8>,
    opaque_at: usize,
    born_at: usize,
    micros_at: usize,
    /// Where the flags of the messages of a batch lie.
    flags_at: Vec<usize>,
    /// Where the last twelve hex digits of each message id lie.
    ids_at: Vec<usize>,
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

impl SendFrame {
    /// Builds the frame for one queue.
    pub fn new(shape: &Shape<'_>, queue_id: i32) -> SendFrame {
        let process = std::process::id();
        let id = message_id::unique_id(shape.host, process, shape.maker, 0, 0);
        let mut own = Vec::new();
        properties::push(&mut own, properties::UNIQ_KEY, &id);
        properties::push(&mut own, properties::WAIT, "true");
        let mut outer = Vec::new();
        properties::push(&mut outer, properties::WAIT, "true");
        let batched = shape.batch > 1;
        let send = SendMessage {
            producer_group: Cow::Borrowed(shape.group),
            topic: Cow::Borrowed(shape.topic),
            default_topic: Cow::Borrowed("TBW102"),
            default_topic_queue_nums: shape.queues,
            queue_id,
            sys_flag: 0,
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
        let frame = FrameWriter::begin(&mut bytes, Codec::Json, code.0, Language::JAVA, OWN_VERSION, opaque, 0, None);
        let body = vec![b'x'; shape.body_bytes];
        let mut flags_at = Vec::new();
        send.encode(frame).finish_with(|out| {
            if !batched {
                return out.extend_from_slice(&body);
            }
            for _ in 0..shape.batch {
                flags_at.push(push_batched(out, &body, &own));
            }
        });
        let id_digits = &id.as_bytes()[..id.len() - 12];
        SendFrame {
            opaque_at: places(&bytes, format!("\"opaque\":{OPAQUE_BASE}").as_bytes())[0] + "\"opaque\":".len(),
            born_at: places(&bytes, BORN_MARK.to_string().as_bytes())[0],
            micros_at: places(&bytes, format!("\"h\":\"{MICROS_MARK}\"").as_bytes())[0] + "\"h\":\"".len(),
            flags_at,
            ids_at: places(&bytes, id_digits).into_iter().map(|at| at + id_digits.len()).collect(),
            bytes,
        }
    }

    /// Appends the frame with the numbers of `stamp`. The answer will carry `opaque`: see [`slot_of`].
    pub fn push(&self, out: &mut Vec<u8>, slot: u32, stamp: &mut Stamp) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let frame = &mut out[start..];
        put_digits(&mut frame[self.opaque_at..self.opaque_at + 7], u64::from(OPAQUE_BASE + slot));
        frame[self.born_at..self.born_at + 13].copy_from_slice(&stamp.born);
        put_digits(&mut frame[self.micros_at..self.micros_at + 3], u64::from(stamp.micros));
        for at in &self.flags_at {
            frame[*at..*at + 4].copy_from_slice(&i32::from(stamp.micros).to_be_bytes());
        }
        for at in &self.ids_at {
            frame[*at..*at + 8].copy_from_slice(&stamp.id_ms);
            put_hex(&mut frame[*at + 8..*at + 12], stamp.counter);
            stamp.counter = stamp.counter.wrapping_add(1);
        }
    }

    /// Messages in the frame.
    pub fn messages(&self) -> u64 {
        self.ids_at.len() as u64
    }
}

/// The slot that was given to [`SendFrame::push`], from the opaque of the answer.
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

    const SHAPE: Shape<'static> = Shape {
        topic: "bench",
        group: "g",
        queues: 8,
        body_bytes: 10,
        batch: 1,
        host: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        maker: 7,
    };

    #[test]
    fn a_frame_is_a_send_with_the_numbers_of_its_stamp() {
        let made = SendFrame::new(&SHAPE, 3);
        let mut stamp = Stamp::new(1_763_791_200_123_007);
        let mut out = vec![1];
        made.push(&mut out, 5, &mut stamp);
        made.push(&mut out, 999_999, &mut stamp);
        let first = frame::split(&out[1..]).unwrap().unwrap();
        let second = frame::split(&out[1 + first.size..]).unwrap().unwrap();
        let mut ids = Vec::new();
        for (frame, slot) in [(first, 5), (second, 999_999)] {
            let mut spans = FieldSpans::default();
            let header = Header::decode(Codec::Json, frame.header, &mut spans).unwrap();
            assert_eq!((header.code, slot_of(header.opaque)), (310, Some(slot)));
            let send = SendMessage::decode(&header.fields).unwrap();
            assert_eq!((send.queue_id, send.born_timestamp, frame.body.len()), (3, 1_763_791_200_123, 10));
            assert_eq!(send.flag, 7);
            let properties = send.properties.unwrap();
            ids.push(Properties::new(properties.as_bytes()).get(properties::UNIQ_KEY).unwrap().to_owned());
        }
        assert_ne!(ids[0], ids[1]);
        assert_eq!((ids[0].len(), &ids[0][..20]), (32, &ids[1][..20]));
    }

    #[test]
    fn every_message_of_a_batch_has_its_own_id() {
        let made = SendFrame::new(&Shape { batch: 3, ..SHAPE }, 0);
        assert_eq!(made.messages(), 3);
        let mut out = Vec::new();
        made.push(&mut out, 0, &mut Stamp::new(1_763_791_200_123_007));
        let frame = frame::split(&out).unwrap().unwrap();
        let mut rest = frame.body;
        let mut ids = std::collections::BTreeSet::new();
        while !rest.is_empty() {
            let size = i32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
            let body = i32::from_be_bytes(rest[16..20].try_into().unwrap()) as usize;
            assert_eq!((&rest[12..16], &rest[20..20 + body]), (&[0, 0, 0, 7][..], &[b'x'; 10][..]));
            let properties = Properties::new(&rest[20 + body + 2..size]);
            ids.insert(properties.get(properties::UNIQ_KEY).unwrap().to_owned());
            rest = &rest[size..];
        }
        assert_eq!(ids.len(), 3);
    }
}
