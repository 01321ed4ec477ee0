//! Taking a message in: checks, and the record that is stored.
//!
//! Sources: `broker/.../processor/SendMessageProcessor.java`, `broker/.../util/HookUtils.java`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use log::{AppendError, DefineError, QueueNumber};
use protocol::batch::{self, BatchError};
use protocol::codes::ResponseCode;
use protocol::frame::FRAME_BYTES_MAX;
use protocol::properties::{self, Properties};
use protocol::record::{EncodeError, NewRecord, PROPERTIES_BYTES_MAX, java_string_hash};
use protocol::sys_flag::{SysFlag, TransactionState};

use crate::broker::Broker;
use crate::config::Flush;
use crate::delay::{self, Delay, DelayError};
use crate::names::{self, NameError};
use crate::recall;
use crate::topics::{Permission, Topic, TopicSettings};
use crate::writer::{Appends, Mark, WriteError};

/// Into which queue a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueChoice<'a> {
    /// That one.
    Given(i32),
    /// The one whose turn it is, by a number that counts on: the same number is the same queue.
    Turn(i32),
    /// The one where all messages of the group go, as long as the topic has as many queues.
    OfGroup(&'a str),
    /// The higher the priority the higher the queue, as far as there are queues.
    OfPriority(i32),
}

/// A message as it arrived.
#[derive(Clone, Copy, Debug)]
pub struct SendRequest<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Template for auto-creation.
    pub template: &'a str,
    /// Queues that an auto-created topic should get.
    pub template_queues: i32,
    /// Queue.
    pub queue: QueueChoice<'a>,
    /// System flag.
    pub sys_flag: SysFlag,
    /// When the client made the message, in milliseconds since 1970.
    pub born_ms: i64,
    /// Address of the client.
    pub born_host: SocketAddr,
    /// The user's own flag.
    pub flag: i32,
    /// Properties in stored form.
    pub properties: &'a [u8],
    /// How often the message was handed back by consumers.
    pub reconsume_times: i32,
    /// Times that consumers may hand the message back, if the client says so.
    pub max_reconsume_times: Option<i32>,
    /// Whether the body is a batch.
    pub batch: bool,
    /// Body, possibly compressed.
    pub body: &'a [u8],
}

/// A message that was taken in; its records are in the [`Appends`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Queue, as the client knows it.
    pub queue_id: i32,
    /// Number of its first record.
    pub first_record: usize,
    /// How many records it became.
    pub records: usize,
    /// Where its unique id lies in [`Appends::unique_ids`]; empty for a batch that was sent without.
    pub unique_id: (u32, u32),
    /// Where the handle by which it can be taken back lies in [`Appends::recall_handles`]; empty for all but a message
    /// that is due at a time of the client's choice.
    pub recall_handle: (u32, u32),
}

/// Why a message is refused. The text goes to the client as the remark of the answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The broker does not take messages for ordered topics now.
    #[error("broker `{0}` may not be written")]
    BrokerReadOnly(String),
    /// The topic's name is not legal.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Only the broker itself writes the topic.
    #[error("sending messages to topic `{0}` is forbidden")]
    Forbidden(String),
    /// The topic is not there and may not be created.
    #[error("topic `{0}` does not exist; create it first")]
    NoSuchTopic(String),
    /// The topic is being deleted; a moment later it can be created again.
    #[error("topic `{0}` is being deleted")]
    BeingDeleted(String),
    /// A batch would become more than the log is to take at once.
    #[error("batch would be stored as {size} bytes; the limit is {limit}")]
    BatchTooLarge {
        /// Bytes of its records.
        size: usize,
        /// Most bytes allowed.
        limit: usize,
    },
    /// The topic does not have that queue.
    #[error("queue {queue_id} of topic `{topic}` does not exist; it has {queues}")]
    NoSuchQueue {
        /// Topic.
        topic: String,
        /// Queue that was asked for.
        queue_id: i32,
        /// Queues of the topic.
        queues: i32,
    },
    /// The consumer group of a retry topic is not there and may not be created.
    #[error("subscription group `{0}` does not exist")]
    NoSuchGroup(String),
    /// Nothing to store.
    #[error("message of topic `{0}` has no body")]
    NoBody(String),
    /// The body is too large.
    #[error("message body is {size} bytes; the limit is {limit}")]
    BodyTooLarge {
        /// Bytes of the body.
        size: usize,
        /// Most bytes allowed.
        limit: usize,
    },
    /// The property block is too large.
    #[error("message properties are {size} bytes; the limit is {limit}")]
    PropertiesTooLarge {
        /// Bytes of the properties.
        size: usize,
        /// Most bytes allowed.
        limit: usize,
    },
    /// A batch cannot be read.
    #[error("batch of topic `{topic}` cannot be read")]
    Batch {
        /// Topic.
        topic: String,
        /// What is wrong with it.
        #[source]
        source: BatchError,
    },
    /// A batch with something that batches cannot have.
    #[error("a batch cannot carry {0}")]
    BatchCannotCarry(&'static str),
    /// The delay cannot be understood or is too long.
    #[error(transparent)]
    Delay(#[from] DelayError),
    /// Half messages are not taken.
    #[error("transaction messages are refused by this broker")]
    TransactionsRefused,
    /// The record cannot be laid out.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The log cannot take one more queue.
    #[error(transparent)]
    Queue(#[from] DefineError),
    /// The log cannot take it.
    #[error("message could not be stored: {0}")]
    Write(#[from] WriteError),
}

impl SendError {
    /// The code the client acts on. No other place turns a send error into a code.
    pub fn code(&self) -> ResponseCode {
        match self {
            Self::BrokerReadOnly(_) | Self::Forbidden(_) | Self::TransactionsRefused => ResponseCode::NO_PERMISSION,
            Self::Name(_) | Self::NoSuchQueue { .. } => ResponseCode::INVALID_PARAMETER,
            Self::NoSuchTopic(_) | Self::BeingDeleted(_) => ResponseCode::TOPIC_NOT_EXIST,
            Self::NoSuchGroup(_) => ResponseCode::SUBSCRIPTION_GROUP_NOT_EXIST,
            Self::NoBody(_) | Self::Queue(_) => ResponseCode::SYSTEM_ERROR,
            Self::BodyTooLarge { .. }
            | Self::PropertiesTooLarge { .. }
            | Self::Batch { .. }
            | Self::BatchTooLarge { .. }
            | Self::BatchCannotCarry(_)
            | Self::Delay(_)
            | Self::Encode(_) => ResponseCode::MESSAGE_ILLEGAL,
            Self::Write(error) => write_code(error),
        }
    }
}

/// The code for what could not be stored. What may pass makes clients try another broker, or again.
pub fn write_code(error: &WriteError) -> ResponseCode {
    match error {
        WriteError::Busy { .. } | WriteError::Stopping => ResponseCode::SERVICE_NOT_AVAILABLE,
        WriteError::Log(AppendError::Fenced | AppendError::DiskFull) => ResponseCode::SERVICE_NOT_AVAILABLE,
        WriteError::Log(AppendError::RecordTooLarge { .. }) => ResponseCode::MESSAGE_ILLEGAL,
        WriteError::Log(AppendError::Io(_) | AppendError::UnknownQueue(_)) => ResponseCode::SYSTEM_ERROR,
    }
}

/// Checks a message and adds what is to be stored of it to `appends`.
pub fn admit(broker: &Broker, request: &SendRequest<'_>, appends: &mut Appends) -> Result<Admitted, SendError> {
    #[cfg(feature = "otel")]
    if let Some(span) = crate::spans::begin_send(broker, request) {
        let admitted = check_and_push(broker, request, appends);
        crate::spans::admitted(broker, span, &admitted, appends);
        return admitted;
    }
    check_and_push(broker, request, appends)
}

fn check_and_push(broker: &Broker, request: &SendRequest<'_>, appends: &mut Appends) -> Result<Admitted, SendError> {
    let topic = writable_topic(broker, request, &mut appends.created_topic)?;
    let queue_id = pick_queue(&topic, request.queue)?;
    if request.body.len() > broker.config.max_message_bytes.get() {
        return Err(SendError::BodyTooLarge { size: request.body.len(), limit: broker.config.max_message_bytes.get() });
    }
    if request.properties.len() > PROPERTIES_BYTES_MAX {
        return Err(SendError::PropertiesTooLarge { size: request.properties.len(), limit: PROPERTIES_BYTES_MAX });
    }
    let first_record = appends.batch.len();
    let id_start = appends.unique_ids.len() as u32;
    let handle_start = appends.recall_handles.len() as u32;
    if request.batch {
        admit_batch(broker, request, &topic, queue_id, appends)?;
        // Java gives the batch itself an id, beside those of its messages.
        let id = Properties::new(request.properties).get(properties::UNIQ_KEY).unwrap_or_default();
        appends.unique_ids.extend_from_slice(id.as_bytes());
    } else {
        admit_one(broker, request, topic, queue_id, appends)?;
    }
    let unique_id = (id_start, appends.unique_ids.len() as u32);
    let recall_handle = (handle_start, appends.recall_handles.len() as u32);
    Ok(Admitted { queue_id, first_record, records: appends.batch.len() - first_record, unique_id, recall_handle })
}

fn writable_topic(broker: &Broker, request: &SendRequest<'_>, created: &mut bool) -> Result<Arc<Topic>, SendError> {
    let name = request.topic;
    let topic = match broker.topics.get(name) {
        Some(topic) => topic,
        None => {
            let topic = create_topic(broker, request)?;
            *created = true;
            topic
        }
    };
    if !names::is_sendable(name) {
        return Err(SendError::Forbidden(name.to_owned()));
    }
    if topic.settings.ordered && !Permission(broker.config.permission.get()).can_write() {
        return Err(SendError::BrokerReadOnly(broker.config.broker_name.clone()));
    }
    Ok(topic)
}

fn create_topic(broker: &Broker, request: &SendRequest<'_>) -> Result<Arc<Topic>, SendError> {
    let name = request.topic;
    names::check_topic(name)?;
    if broker.is_deleting(name) {
        return Err(SendError::BeingDeleted(name.to_owned()));
    }
    if !names::is_sendable(name) {
        return Err(SendError::Forbidden(name.to_owned()));
    }
    let now_ms = broker.clock.now_ms();
    let created = if let Some(group) = names::group_of_retry_topic(name) {
        // A topic whose group may not be there would stay behind without one.
        if broker.groups.get_or_create(group, now_ms).is_none() {
            return Err(SendError::NoSuchGroup(group.to_owned()));
        }
        Some(broker.topics.ensure(TopicSettings::new(name, 1, Permission::READ_WRITE), now_ms).0)
    } else {
        broker.topics.create_after(name, request.template, request.template_queues, now_ms)
    };
    let topic = created.ok_or_else(|| SendError::NoSuchTopic(name.to_owned()))?;
    broker.topics_changed(&[name]);
    Ok(topic)
}

fn pick_queue(topic: &Topic, choice: QueueChoice<'_>) -> Result<i32, SendError> {
    let write_queues = topic.settings.write_queues.max(1);
    match choice {
        QueueChoice::Given(queue_id) if (0..topic.queue_count()).contains(&queue_id) => Ok(queue_id),
        QueueChoice::Given(queue_id) => {
            Err(SendError::NoSuchQueue { topic: topic.settings.name.clone(), queue_id, queues: topic.queue_count() })
        }
        QueueChoice::Turn(turn) => Ok(turn.rem_euclid(write_queues)),
        QueueChoice::OfGroup(group) => Ok(jump_hash(i64::from(java_string_hash(group)) as u64, write_queues)),
        QueueChoice::OfPriority(priority) => Ok(priority.clamp(0, write_queues - 1)),
    }
}

/// Jump consistent hash (Lamping and Veach, 2014): when queues are added, no key moves between old ones.
fn jump_hash(mut key: u64, buckets: i32) -> i32 {
    let (mut bucket, mut next) = (0_i64, 0_i64);
    while next < i64::from(buckets) {
        bucket = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        next = ((bucket + 1) as f64 * ((1_u64 << 31) as f64 / ((key >> 33) + 1) as f64)) as i64;
    }
    bucket as i32
}

fn admit_one(
    broker: &Broker,
    request: &SendRequest<'_>,
    mut topic: Arc<Topic>,
    mut queue_id: i32,
    appends: &mut Appends,
) -> Result<(), SendError> {
    if request.body.is_empty() {
        return Err(SendError::NoBody(request.topic.to_owned()));
    }
    let [level, seconds, milliseconds, deliver, half, unique_id, tag] = Properties::new(request.properties).get_many([
        delay::NAMES[0],
        delay::NAMES[1],
        delay::NAMES[2],
        delay::NAMES[3],
        properties::TRAN_MSG,
        properties::UNIQ_KEY,
        properties::TAGS,
    ]);
    let mut delay = delay::of_values(broker, [level, seconds, milliseconds, deliver])?;
    if let Some(group) = names::group_of_retry_topic(request.topic)
        && let Some(dead_letters) = dead_letters_of(broker, request, group)?
    {
        (topic, queue_id, delay) = (dead_letters, 0, None);
    }
    let is_retry = request.reconsume_times > 0 && matches!(delay, Some(Delay { level: Some(_), .. }));
    let is_half = half.is_some_and(|value| value.eq_ignore_ascii_case("true")) && !is_retry;
    if is_half && broker.config.reject_transactions.get() {
        return Err(SendError::TransactionsRefused);
    }
    let sys_flag = if is_half { request.sys_flag.with_transaction(TransactionState::None) } else { request.sys_flag };
    let draft = Draft {
        topic: &topic,
        queue_id,
        flag: request.flag,
        sys_flag,
        born_ms: request.born_ms,
        born_host: request.born_host,
        reconsume_times: request.reconsume_times,
        settles: 0,
        tag_hash: tag.map_or(0, java_string_hash),
        body: request.body,
    };
    let mut stored = std::mem::take(&mut appends.stored);
    stored.clear();
    let id_start = appends.unique_ids.len();
    store_properties(broker, request.properties, unique_id, &mut stored, &mut appends.unique_ids);
    let pushed = if is_half {
        draft.push_half(broker, &mut stored, appends)
    } else {
        draft.push(broker, &mut stored, delay, appends)
    };
    appends.stored = stored;
    pushed?;
    if let (false, Some(Delay { due_ms, level: None })) = (is_half || names::is_retry(request.topic), delay)
        && let Ok(unique_id) = std::str::from_utf8(&appends.unique_ids[id_start..])
    {
        let handle = recall::handle(broker, request.topic, due_ms, unique_id).to_string();
        appends.recall_handles.extend_from_slice(handle.as_bytes());
    }
    Ok(())
}

/// The dead-letter topic, when a message that a client sends to a retry topic itself was handed back too often.
fn dead_letters_of(broker: &Broker, request: &SendRequest<'_>, group: &str) -> Result<Option<Arc<Topic>>, SendError> {
    let now_ms = broker.clock.now_ms();
    let settings =
        broker.groups.get_or_create(group, now_ms).ok_or_else(|| SendError::NoSuchGroup(group.to_owned()))?;
    let limit = request.max_reconsume_times.unwrap_or(settings.retry_max_times);
    if request.reconsume_times <= limit && !broker.locks().is_held(now_ms, group) {
        return Ok(None);
    }
    Ok(Some(broker.dead_letter_topic(group)))
}

fn admit_batch(
    broker: &Broker,
    request: &SendRequest<'_>,
    topic: &Arc<Topic>,
    queue_id: i32,
    appends: &mut Appends,
) -> Result<(), SendError> {
    if names::is_retry(request.topic) {
        return Err(SendError::BatchCannotCarry("messages of a retry topic"));
    }
    let unread = |source| SendError::Batch { topic: request.topic.to_owned(), source };
    // Looked through completely first: a batch is stored as a whole or not at all.
    let mut messages = Vec::new();
    let mut stored_bytes = 0usize;
    for message in batch::items(request.body) {
        let message = message.map_err(unread)?;
        if delay::of(broker, &Properties::new(message.properties))?.is_some() {
            return Err(SendError::BatchCannotCarry("delayed messages"));
        }
        let size = message.properties.len()
            + request.properties.len()
            + broker.own_properties.len()
            + UNIQUE_ID_PROPERTY_BYTES_MAX;
        if size > PROPERTIES_BYTES_MAX {
            return Err(SendError::PropertiesTooLarge { size, limit: PROPERTIES_BYTES_MAX });
        }
        // What the batch says of itself is stored with each of its messages.
        stored_bytes += size + message.body.len() + RECORD_FIXED_BYTES_MAX;
        if stored_bytes > BATCH_STORED_BYTES_MAX {
            return Err(SendError::BatchTooLarge { size: stored_bytes, limit: BATCH_STORED_BYTES_MAX });
        }
        messages.push(message);
    }
    if messages.is_empty() {
        return Err(SendError::NoBody(request.topic.to_owned()));
    }
    let count = messages.len();
    for message in messages {
        let [unique_id, tag] = Properties::new(message.properties).get_many([properties::UNIQ_KEY, properties::TAGS]);
        let mut stored = std::mem::take(&mut appends.stored);
        stored.clear();
        // What the batch says of itself goes with each of its messages, but for its own id.
        properties::push_kept(&mut stored, request.properties, |name| {
            is_client_property(name) && name != properties::UNIQ_KEY.as_bytes()
        });
        store_properties(broker, message.properties, unique_id, &mut stored, &mut Vec::new());
        let draft = Draft {
            topic,
            queue_id,
            flag: message.flag,
            sys_flag: request.sys_flag.with_transaction(TransactionState::None),
            born_ms: request.born_ms,
            born_host: request.born_host,
            reconsume_times: request.reconsume_times,
            settles: 0,
            tag_hash: tag.map_or(0, java_string_hash),
            body: message.body,
        };
        let pushed = draft.push(broker, &mut stored, None, appends);
        appends.stored = stored;
        pushed?;
    }
    appends.puts.came_together(count);
    Ok(())
}

/// Whether a property that a client sent is stored; the rest is the broker's to say.
fn is_client_property(name: &[u8]) -> bool {
    let reserved = [
        properties::POP_CK,
        properties::CLUSTER,
        properties::MSG_REGION,
        properties::TRACE_ON,
        properties::TIMER_OUT_MS,
    ];
    !reserved.iter().any(|reserved| reserved.as_bytes() == name)
}

/// Most bytes of the records that one batch becomes: as much as a frame.
const BATCH_STORED_BYTES_MAX: usize = FRAME_BYTES_MAX;
/// Most bytes of a record beside body and properties: two IPv6 hosts, the longest topic, fixed parts.
const RECORD_FIXED_BYTES_MAX: usize = 72 + 40 + 2 + names::RETRY_TOPIC_BYTES_MAX + 2;
/// Most bytes that the property with a generated unique id takes: name, two separators, 56 digits.
const UNIQUE_ID_PROPERTY_BYTES_MAX: usize = properties::UNIQ_KEY.len() + 2 + 56;

/// Appends properties as they are stored, the client's and the broker's, to `stored`, and the unique id of the
/// message to `unique_ids`.
fn store_properties(
    broker: &Broker,
    given: &[u8],
    unique_id: Option<&str>,
    stored: &mut Vec<u8>,
    unique_ids: &mut Vec<u8>,
) {
    properties::push_kept(stored, given, is_client_property);
    match unique_id {
        Some(unique_id) => unique_ids.extend_from_slice(unique_id.as_bytes()),
        None => {
            let unique_id = broker.unique_id();
            properties::push(stored, properties::UNIQ_KEY, &unique_id);
            unique_ids.extend_from_slice(unique_id.as_bytes());
        }
    }
    stored.extend_from_slice(&broker.own_properties);
}

/// A record under way: everything but where it ends up.
#[derive(Clone, Copy)]
pub struct Draft<'a> {
    /// Topic the message is for.
    pub topic: &'a Arc<Topic>,
    /// Queue the message is for.
    pub queue_id: i32,
    /// The user's own flag.
    pub flag: i32,
    /// System flag.
    pub sys_flag: SysFlag,
    /// When the client made the message, in milliseconds since 1970.
    pub born_ms: i64,
    /// Address of the client.
    pub born_host: SocketAddr,
    /// How often the message was handed back.
    pub reconsume_times: i32,
    /// Position of the record that this one settles, or 0.
    pub settles: u64,
    /// Hash of its tag, by which pulls are filtered; 0 without a tag.
    pub tag_hash: i32,
    /// Body.
    pub body: &'a [u8],
}

impl Draft<'_> {
    /// Adds the record to its own topic, or to where delayed messages wait.
    pub fn push(
        self,
        broker: &Broker,
        stored: &mut Vec<u8>,
        delay: Option<Delay>,
        appends: &mut Appends,
    ) -> Result<(), SendError> {
        let Some(delay) = delay else {
            let queue = broker.queue_number(self.topic, self.queue_id)?;
            return self.push_record(broker, self.topic, self.queue_id, queue, stored, None, appends);
        };
        self.topic.tallies.delayed.fetch_add(1, Ordering::Relaxed);
        let delay_s = (delay.due_ms - broker.clock.now_ms()).max(0) as u64 / 1000;
        broker.counters.wait_times.delay.observe(delay_s);
        self.push_origin(stored);
        properties::push(stored, properties::TIMER_OUT_MS, &delay.due_ms.to_string());
        let (waiting, queue_id) = match delay.level {
            Some(level) => (&broker.schedule_topic, level as i32 - 1),
            None => (&broker.timer_topic, 0),
        };
        let queue = broker.queue_number(waiting, queue_id)?;
        self.push_record(broker, waiting, queue_id, queue, stored, Some(delay.due_ms), appends)
    }

    /// Adds the record as a half message.
    pub fn push_half(self, broker: &Broker, stored: &mut Vec<u8>, appends: &mut Appends) -> Result<(), SendError> {
        let given = Properties::new(stored);
        let immunity_ms = given
            .get(properties::CHECK_IMMUNITY_TIME_IN_SECONDS)
            .and_then(|seconds| seconds.trim().parse::<i64>().ok())
            .filter(|seconds| *seconds >= 0)
            .map(|seconds| seconds.saturating_mul(1000));
        let id = given.get(properties::UNIQ_KEY).unwrap_or_default().to_owned();
        properties::push(stored, properties::TRANSACTION_ID, &id);
        self.push_origin(stored);
        let half = &broker.half_topic;
        let queue = broker.queue_number(half, 0)?;
        appends.marks.push((appends.batch.len(), Mark::Half { immunity_ms }));
        let pushed = self.push_record(broker, half, 0, queue, stored, None, appends);
        if pushed.is_err() {
            appends.marks.pop();
        }
        pushed
    }

    fn push_origin(&self, stored: &mut Vec<u8>) {
        properties::push(stored, properties::REAL_TOPIC, &self.topic.settings.name);
        properties::push(stored, properties::REAL_QID, &self.queue_id.to_string());
    }

    #[expect(clippy::too_many_arguments, reason = "the one place where a record gets its last parts")]
    fn push_record(
        &self,
        broker: &Broker,
        topic: &Topic,
        queue_id: i32,
        queue: QueueNumber,
        stored: &[u8],
        due_ms: Option<i64>,
        appends: &mut Appends,
    ) -> Result<(), SendError> {
        const MULTI_TAG: i32 = 0x2;
        let sys_flag = SysFlag(self.sys_flag.0 | if self.topic.settings.multi_tag { MULTI_TAG } else { 0 });
        if stored.len() > PROPERTIES_BYTES_MAX {
            return Err(SendError::PropertiesTooLarge { size: stored.len(), limit: PROPERTIES_BYTES_MAX });
        }
        let record = NewRecord {
            topic: &topic.settings.name,
            queue_id,
            flag: self.flag,
            sys_flag,
            born_timestamp_ms: self.born_ms,
            born_host: self.born_host,
            store_host: broker.store_host,
            reconsume_times: self.reconsume_times,
            prepared_transaction_offset: self.settles as i64,
            body: self.body,
            properties: stored,
        };
        let before = appends.batch.bytes();
        appends.batch.push(record, queue, self.tag_hash, due_ms)?;
        appends.puts.note(&topic.tallies, appends.batch.bytes() - before);
        appends.has_due |= due_ms.is_some();
        let flush = self.topic.flush.unwrap_or(broker.config.flush);
        if appends.flush != Some(Flush::Sync) {
            appends.flush = Some(flush);
        }
        Ok(())
    }
}
