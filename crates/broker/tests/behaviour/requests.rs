//! Talking to a broker as clients do: one blocking connection, raw frames, whatever comes back sorted by what it is.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use protocol::codes::{Language, RequestCode, ResponseCode};
use protocol::frame::{self, Codec};
use protocol::header::{FieldSpans, Fields, Header};
use protocol::message_id::OffsetMessageId;
use protocol::properties;
use protocol::record::{self, Record};
use protocol::requests::{
    CreateTopic, EndTransaction, OneTopic, PullMessage, QueryConsumerOffset, QueueOfTopic, SendMessage,
    UpdateConsumerOffset,
};
use protocol::typed::{FieldError, TypedHeader};
use protocol::writer::FrameWriter;

use crate::waiting::{PATIENCE, now, now_ms};

/// Version that this client says it has, the one of the Go client.
const VERSION: i32 = 317;
/// Consumer group of pulls whose group does not matter.
pub const GROUP: &str = "anybody";

const COMMIT_OFFSET: i32 = 1;
const MAY_SUSPEND: i32 = 2;
const WITH_SUBSCRIPTION: i32 = 4;

/// A frame that came back: an answer, or a request of the broker's.
#[derive(Clone, Debug)]
pub struct Came {
    pub code: i32,
    pub opaque: i32,
    pub remark: String,
    pub fields: BTreeMap<String, String>,
    pub body: Vec<u8>,
    is_answer: bool,
}

impl Came {
    #[track_caller]
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).unwrap_or_else(|| panic!("no field `{name}` in {self:?}"))
    }

    #[track_caller]
    pub fn number(&self, name: &str) -> i64 {
        self.field(name).parse().unwrap()
    }

    #[track_caller]
    pub fn expect(self, code: ResponseCode) -> Came {
        assert_eq!(ResponseCode(self.code), code, "{}", self.remark);
        self
    }

    pub fn messages(&self) -> Vec<Message> {
        record::records(&self.body).map(|record| Message::new(&record)).collect()
    }
}

/// Where a message was stored, as the answer to its send says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Placed {
    pub queue_id: i32,
    pub queue_offset: i64,
    pub position: i64,
}

/// A stored message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub topic: String,
    pub queue_id: i32,
    pub queue_offset: i64,
    pub position: i64,
    pub store_ms: i64,
    pub born_ms: i64,
    pub flag: i32,
    pub sys_flag: i32,
    pub reconsume_times: i32,
    pub settles: i64,
    pub body: String,
    pub properties: BTreeMap<String, String>,
}

impl Message {
    fn new(record: &Record<'_>) -> Message {
        record.verify_body().unwrap();
        let properties = record.properties();
        Message {
            topic: record.topic().to_owned(),
            queue_id: record.queue_id(),
            queue_offset: record.queue_offset() as i64,
            position: record.position() as i64,
            store_ms: record.store_timestamp_ms(),
            born_ms: record.born_timestamp_ms(),
            flag: record.flag(),
            sys_flag: record.sys_flag().0,
            reconsume_times: record.reconsume_times(),
            settles: record.prepared_transaction_offset(),
            body: String::from_utf8(record.body().to_vec()).unwrap(),
            properties: properties.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        }
    }

    /// The property of that name, or nothing.
    pub fn property(&self, name: &str) -> &str {
        self.properties.get(name).map_or("", String::as_str)
    }
}

/// A send before it is made.
pub fn message<'a>(topic: &'a str, queue_id: i32, given: &'a [(&'a str, &'a str)]) -> SendMessage<'a> {
    let mut stored = Vec::new();
    for (name, value) in given {
        properties::push(&mut stored, name, value);
    }
    SendMessage {
        producer_group: Cow::Borrowed("producers"),
        topic: Cow::Borrowed(topic),
        default_topic: Cow::Borrowed("TBW102"),
        default_topic_queue_nums: 4,
        queue_id,
        sys_flag: 0,
        born_timestamp: now_ms(),
        flag: 7,
        properties: Some(Cow::Owned(String::from_utf8(stored).unwrap())),
        reconsume_times: Some(0),
        unit_mode: None,
        max_reconsume_times: None,
        batch: None,
    }
}

/// A pull before it is made: from the group [`GROUP`], with a subscription of its own, answered at once.
pub fn pull(topic: &str, queue_id: i32, offset: i64) -> PullMessage<'_> {
    PullMessage {
        consumer_group: Cow::Borrowed(GROUP),
        topic: Cow::Borrowed(topic),
        queue_id,
        queue_offset: offset,
        max_msg_nums: 1024,
        sys_flag: WITH_SUBSCRIPTION,
        commit_offset: 0,
        suspend_timeout_millis: 0,
        subscription: Some(Cow::Borrowed("*")),
        sub_version: 0,
        expression_type: Some(Cow::Borrowed("TAG")),
        max_msg_bytes: None,
    }
}

/// The same pull, held for at most `time` while there is nothing.
pub fn held(pull: PullMessage<'_>, time: Duration) -> PullMessage<'_> {
    let sys_flag = pull.sys_flag | MAY_SUSPEND;
    PullMessage { sys_flag, suspend_timeout_millis: time.as_millis() as i64, ..pull }
}

/// The same pull, filtered by what the group's heartbeats say.
pub fn as_subscribed<'a>(pull: PullMessage<'a>, group: &'a str) -> PullMessage<'a> {
    let sys_flag = pull.sys_flag & !WITH_SUBSCRIPTION;
    PullMessage { consumer_group: Cow::Borrowed(group), sys_flag, subscription: None, ..pull }
}

/// The same pull, which stores an offset of its group besides.
pub fn committing(pull: PullMessage<'_>, offset: i64) -> PullMessage<'_> {
    PullMessage { sys_flag: pull.sys_flag | COMMIT_OFFSET, commit_offset: offset, ..pull }
}

/// The header of requests that have no fields.
pub struct NoFields;

impl TypedHeader<'_> for NoFields {
    fn decode(_: &Fields<'_>) -> Result<NoFields, FieldError> {
        Ok(NoFields)
    }

    fn encode<'o>(&self, frame: FrameWriter<'o>) -> FrameWriter<'o> {
        frame
    }
}

/// One connection to a broker.
pub struct Client {
    stream: TcpStream,
    received: Vec<u8>,
    answers: HashMap<i32, Came>,
    pushes: VecDeque<Came>,
    opaque: i32,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, received: Vec::new(), answers: HashMap::new(), pushes: VecDeque::new(), opaque: 0 }
    }

    /// Sends a request and returns the number that its answer will have.
    pub fn start<'h>(&mut self, code: RequestCode, header: &impl TypedHeader<'h>, body: &[u8]) -> i32 {
        self.opaque += 1;
        let mut out = Vec::new();
        let frame = FrameWriter::begin(&mut out, Codec::Json, code.0, Language::GO, VERSION, self.opaque, 0, None);
        header.encode(frame).finish(body);
        self.stream.write_all(&out).unwrap();
        self.opaque
    }

    /// Waits for an answer.
    #[track_caller]
    pub fn answer(&mut self, opaque: i32) -> Came {
        let found = self.receive(PATIENCE, |client| client.answers.remove(&opaque));
        found.unwrap_or_else(|| panic!("no answer to request {opaque}"))
    }

    /// The answer, if it has come by now.
    pub fn answer_so_far(&mut self, opaque: i32) -> Option<Came> {
        self.receive(Duration::from_millis(1), |client| client.answers.remove(&opaque))
    }

    /// Sends a request and waits for its answer.
    #[track_caller]
    pub fn ask<'h>(&mut self, code: RequestCode, header: &impl TypedHeader<'h>, body: &[u8]) -> Came {
        let opaque = self.start(code, header, body);
        self.answer(opaque)
    }

    /// Waits for the next request of the broker's.
    #[track_caller]
    pub fn pushed(&mut self) -> Came {
        self.receive(PATIENCE, |client| client.pushes.pop_front()).expect("a request of the broker's")
    }

    /// Requests of the broker's that came before the answer to one more request of ours.
    pub fn pushes_so_far(&mut self) -> Vec<Came> {
        self.ask(RequestCode::GET_MAX_OFFSET, &queue_of("none", 0), b"");
        std::mem::take(&mut self.pushes).into()
    }

    /// Closes the connection.
    pub fn shut_down(self) {
        self.stream.shutdown(std::net::Shutdown::Both).unwrap();
    }

    fn receive<T>(&mut self, patience: Duration, mut take: impl FnMut(&mut Client) -> Option<T>) -> Option<T> {
        let deadline = now() + patience;
        loop {
            if let Some(taken) = take(self) {
                return Some(taken);
            }
            let left = deadline.checked_duration_since(now()).filter(|left| !left.is_zero())?;
            self.stream.set_read_timeout(Some(left)).unwrap();
            let mut bytes = [0; 64 << 10];
            match self.stream.read(&mut bytes) {
                Ok(0) => panic!("the broker closed the connection"),
                Ok(size) => self.received.extend_from_slice(&bytes[..size]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => panic!("the connection failed: {error}"),
            }
            self.sort_received();
        }
    }

    fn sort_received(&mut self) {
        let mut at = 0;
        while let Some((came, size)) = read_frame(&self.received[at..]) {
            at += size;
            if came.is_answer {
                let twice = self.answers.insert(came.opaque, came);
                assert!(twice.is_none(), "a second answer: {twice:?}");
            } else {
                self.pushes.push_back(came);
            }
        }
        self.received.drain(..at);
    }
}

/// The first frame of some bytes, and its size.
pub fn read_frame(bytes: &[u8]) -> Option<(Came, usize)> {
    let frame = frame::split(bytes).unwrap()?;
    let mut spans = FieldSpans::default();
    let header = Header::decode(Codec::from_number(frame.codec_number).unwrap(), frame.header, &mut spans).unwrap();
    let fields = header.fields.iter();
    let came = Came {
        code: header.code,
        opaque: header.opaque,
        remark: header.remark.map(|remark| remark.resolve().into_owned()).unwrap_or_default(),
        fields: fields.map(|(name, value)| (name.resolve().into_owned(), value.resolve().into_owned())).collect(),
        body: frame.body.to_vec(),
        is_answer: header.is_response(),
    };
    Some((came, frame.size))
}

pub fn queue_of(topic: &str, queue_id: i32) -> QueueOfTopic<'_> {
    QueueOfTopic { topic: Cow::Borrowed(topic), queue_id }
}

/// Topics and messages.
impl Client {
    #[track_caller]
    pub fn create_topic(&mut self, topic: &str, queues: i32) {
        let header = CreateTopic {
            topic: Cow::Borrowed(topic),
            default_topic: None,
            read_queue_nums: queues,
            write_queue_nums: queues,
            perm: 6,
            topic_filter_type: None,
            topic_sys_flag: None,
            order: false,
            attributes: None,
        };
        self.ask(RequestCode::UPDATE_AND_CREATE_TOPIC, &header, b"").expect(ResponseCode::SUCCESS);
    }

    #[track_caller]
    pub fn delete_topic(&mut self, topic: &str) {
        let header = OneTopic { topic: Cow::Borrowed(topic) };
        self.ask(RequestCode::DELETE_TOPIC_IN_BROKER, &header, b"").expect(ResponseCode::SUCCESS);
    }

    #[track_caller]
    pub fn send(&mut self, topic: &str, queue_id: i32, body: &str) -> Placed {
        self.send_with(topic, queue_id, body, &[])
    }

    #[track_caller]
    pub fn send_with(&mut self, topic: &str, queue_id: i32, body: &str, given: &[(&str, &str)]) -> Placed {
        self.send_message(&message(topic, queue_id, given), body)
    }

    #[track_caller]
    pub fn send_message(&mut self, message: &SendMessage<'_>, body: &str) -> Placed {
        placed(&self.ask(RequestCode::SEND_MESSAGE_V2, message, body.as_bytes()).expect(ResponseCode::SUCCESS))
    }

    #[track_caller]
    pub fn pull(&mut self, pull: &PullMessage<'_>) -> Came {
        self.ask(RequestCode::PULL_MESSAGE, pull, b"")
    }

    pub fn start_pull(&mut self, pull: &PullMessage<'_>) -> i32 {
        self.start(RequestCode::PULL_MESSAGE, pull, b"")
    }

    /// Waits for the messages of a queue from `offset` on until there are `count`, and checks that they lie where
    /// they say.
    #[track_caller]
    pub fn wait_for(&mut self, topic: &str, queue_id: i32, offset: i64, count: usize) -> Vec<Message> {
        let mut found = Vec::new();
        while found.len() < count {
            let next = offset + found.len() as i64;
            let answer = self.pull(&held(pull(topic, queue_id, next), PATIENCE)).expect(ResponseCode::SUCCESS);
            for message in answer.messages() {
                assert_eq!((message.topic.as_str(), message.queue_id), (topic, queue_id));
                assert_eq!(message.queue_offset, offset + found.len() as i64);
                found.push(message);
            }
        }
        found
    }

    /// Every message that the queue holds now.
    #[track_caller]
    pub fn all_of(&mut self, topic: &str, queue_id: i32) -> Vec<Message> {
        let (min, max) = (self.min_offset(topic, queue_id), self.max_offset(topic, queue_id));
        self.wait_for(topic, queue_id, min, (max - min) as usize)
    }

    /// Bodies of [`Client::all_of`].
    #[track_caller]
    pub fn bodies_of(&mut self, topic: &str, queue_id: i32) -> Vec<String> {
        self.all_of(topic, queue_id).into_iter().map(|message| message.body).collect()
    }

    #[track_caller]
    pub fn max_offset(&mut self, topic: &str, queue_id: i32) -> i64 {
        let answer = self.ask(RequestCode::GET_MAX_OFFSET, &queue_of(topic, queue_id), b"");
        answer.expect(ResponseCode::SUCCESS).number("offset")
    }

    #[track_caller]
    pub fn min_offset(&mut self, topic: &str, queue_id: i32) -> i64 {
        let answer = self.ask(RequestCode::GET_MIN_OFFSET, &queue_of(topic, queue_id), b"");
        answer.expect(ResponseCode::SUCCESS).number("offset")
    }

    /// Stores how far a group has come.
    #[track_caller]
    pub fn commit_offset(&mut self, group: &str, topic: &str, queue_id: i32, offset: i64) {
        let header = UpdateConsumerOffset {
            consumer_group: Cow::Borrowed(group),
            topic: Cow::Borrowed(topic),
            queue_id,
            commit_offset: offset,
        };
        self.ask(RequestCode::UPDATE_CONSUMER_OFFSET, &header, b"").expect(ResponseCode::SUCCESS);
    }

    /// How far a group has come, if anybody said.
    #[track_caller]
    pub fn offset_of(&mut self, group: &str, topic: &str, queue_id: i32) -> Option<i64> {
        let header = QueryConsumerOffset {
            consumer_group: Cow::Borrowed(group),
            topic: Cow::Borrowed(topic),
            queue_id,
            set_zero_if_not_found: false,
        };
        let answer = self.ask(RequestCode::QUERY_CONSUMER_OFFSET, &header, b"");
        match ResponseCode(answer.code) {
            ResponseCode::QUERY_NOT_FOUND => None,
            _ => Some(answer.expect(ResponseCode::SUCCESS).number("offset")),
        }
    }
}

/// Where an answer to a send says that the message lies.
#[track_caller]
pub fn placed(answer: &Came) -> Placed {
    let id = OffsetMessageId::parse(answer.field("msgId")).unwrap();
    Placed {
        queue_id: answer.number("queueId") as i32,
        queue_offset: answer.number("queueOffset"),
        position: id.position as i64,
    }
}

/// Half messages.
impl Client {
    /// Sends a half message.
    #[track_caller]
    pub fn half(&mut self, group: &str, topic: &str, body: &str, given: &[(&str, &str)]) -> Placed {
        let marks = [(properties::TRAN_MSG, "true"), (properties::PGROUP, group)];
        let given = [&marks, given].concat();
        self.send_message(&SendMessage { sys_flag: PREPARED, ..message(topic, 0, &given) }, body)
    }

    #[track_caller]
    pub fn decide(&mut self, decision: &EndTransaction<'_>) -> Came {
        self.ask(RequestCode::END_TRANSACTION, decision, b"")
    }

    #[track_caller]
    pub fn commit(&mut self, group: &str, half: Placed) {
        self.decide(&decision(group, half, COMMIT)).expect(ResponseCode::SUCCESS);
    }

    #[track_caller]
    pub fn roll_back(&mut self, group: &str, half: Placed) {
        self.decide(&decision(group, half, ROLLBACK)).expect(ResponseCode::SUCCESS);
    }
}

/// System flag with which clients send half messages.
const PREPARED: i32 = 4;
/// Decision that delivers.
pub const COMMIT: i32 = 8;
/// Decision that drops.
pub const ROLLBACK: i32 = 12;
/// A producer that does not know.
pub const UNKNOWN: i32 = 0;

/// A decision of the producer's own accord.
pub fn decision(group: &str, half: Placed, commit_or_rollback: i32) -> EndTransaction<'_> {
    EndTransaction {
        producer_group: Cow::Borrowed(group),
        tran_state_table_offset: half.queue_offset,
        commit_log_offset: half.position,
        commit_or_rollback,
        from_transaction_check: false,
        msg_id: None,
        transaction_id: None,
    }
}
