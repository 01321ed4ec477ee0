//! Sending.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use net::Answer;
use protocol::codes::{RequestCode, ResponseCode};
use protocol::requests::{SendMessage, SendMessageResult};
use protocol::typed::TypedHeader;
use tokio::time::Instant;

use crate::clock;
use crate::message::Message;
use crate::nameservers::{NEW_TOPIC_QUEUES, Nameservers, TEMPLATE_TOPIC};
use crate::request::{Request, RequestError};
use crate::route::QueueAt;
use crate::unique_ids::UniqueIds;

/// Attempts that a send gets, each on another broker where there is one.
const ATTEMPTS: usize = 3;

/// Age at which a route is asked for again.
const ROUTE_AGE_MAX: Duration = Duration::from_secs(30);

/// Answers after which another broker may do better; those of stock clients.
const TRY_ANOTHER: [ResponseCode; 6] = [
    ResponseCode::SYSTEM_ERROR,
    ResponseCode::SYSTEM_BUSY,
    ResponseCode::SERVICE_NOT_AVAILABLE,
    ResponseCode::NO_PERMISSION,
    ResponseCode::TOPIC_NOT_EXIST,
    ResponseCode::FLOW_CONTROL,
];

/// Answers that say the message is stored, and how well.
const STORED: [ResponseCode; 4] = [
    ResponseCode::SUCCESS,
    ResponseCode::FLUSH_DISK_TIMEOUT,
    ResponseCode::SLAVE_NOT_AVAILABLE,
    ResponseCode::FLUSH_SLAVE_TIMEOUT,
];

/// A stored message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The client's id; what users call the message id.
    pub message_id: String,
    /// Where the message lies.
    pub offset_message_id: String,
    /// Broker name.
    pub broker: String,
    /// Queue on that broker.
    pub queue_id: i32,
    /// Place in the queue.
    pub offset: i64,
    /// What takes a delayed message back before its time; `None` if nothing does.
    pub recall_handle: Option<String>,
    /// SUCCESS, or what is missing: the disk or a slave did not confirm in time.
    pub stored: ResponseCode,
}

/// Why a message was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Nobody takes messages of the topic, and no broker creates topics.
    #[error("no broker takes messages of topic `{0}`; create it first: `apogee topic create {0}`")]
    NoRoute(String),
    /// The last attempt failed. After a network error the message may have been stored all the same.
    #[error("message was not sent after {attempts} attempts")]
    Failed {
        /// Attempts made.
        attempts: usize,
        /// What the last one brought.
        #[source]
        source: RequestError,
    },
    /// What brokers are there could not be found out.
    #[error("nameservers were asked for the route of topic `{topic}`")]
    Route {
        /// Topic.
        topic: String,
        /// What came of it.
        #[source]
        source: RequestError,
    },
}

/// Sends messages, spread over all queues of a topic.
#[derive(Debug)]
pub struct Producer {
    nameservers: Nameservers,
    group: String,
    routes: Mutex<HashMap<String, Route>>,
    ids: OnceLock<UniqueIds>,
    /// Which queue is next, of whatever topic.
    turn: AtomicUsize,
}

#[derive(Clone, Debug)]
struct Route {
    queues: Vec<QueueAt>,
    asked: Instant,
}

impl Producer {
    /// A producer of `group`.
    pub fn new(nameservers: Nameservers, group: impl Into<String>) -> Producer {
        Producer {
            nameservers,
            group: group.into(),
            routes: Mutex::default(),
            ids: OnceLock::new(),
            // Programs that send one message each must not all begin with the same queue.
            turn: AtomicUsize::new(RandomState::new().hash_one(0u8) as usize),
        }
    }

    /// Sends a message and waits until it is stored. An attempt that fails is repeated on another broker.
    pub async fn send(&self, message: &Message) -> Result<Sent, SendError> {
        let mut tried = HashSet::new();
        let mut attempts = 0;
        loop {
            let queue = self.pick(&message.topic, &tried).await?;
            attempts += 1;
            let error = match self.send_to(&queue, message).await {
                Ok(sent) => return Ok(sent),
                Err(error) => error,
            };
            let again = error.is_network() || error.code().is_some_and(|code| TRY_ANOTHER.contains(&code));
            if error.is_network() {
                self.nameservers.connections().forget(&queue.address);
            }
            if !again || attempts == ATTEMPTS {
                return Err(SendError::Failed { attempts, source: error });
            }
            tracing::debug!(broker = queue.broker, %error, "send failed; trying another broker");
            // The brokers may have moved.
            self.routes().remove(&message.topic);
            tried.insert(queue.broker);
        }
    }

    /// The queue whose turn it is, on a broker that was not tried if there is one.
    async fn pick(&self, topic: &str, tried: &HashSet<String>) -> Result<QueueAt, SendError> {
        let queues = self.queues(topic).await?;
        let fresh: Vec<&QueueAt> = queues.iter().filter(|queue| !tried.contains(&queue.broker)).collect();
        let choice = if fresh.is_empty() { queues.iter().collect() } else { fresh };
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let queue = turn.checked_rem(choice.len()).map(|at| choice[at].clone());
        queue.ok_or_else(|| SendError::NoRoute(topic.to_owned()))
    }

    async fn queues(&self, topic: &str) -> Result<Vec<QueueAt>, SendError> {
        let known = self.routes().get(topic).filter(|route| route.asked.elapsed() < ROUTE_AGE_MAX).cloned();
        if let Some(route) = known {
            return Ok(route.queues);
        }
        let queues = self.nameservers.writable_queues(topic).await;
        let queues = queues.map_err(|source| SendError::Route { topic: topic.to_owned(), source })?;
        let route = Route { queues: queues.clone(), asked: Instant::now() };
        self.routes().insert(topic.to_owned(), route);
        Ok(queues)
    }

    /// Sends a message to one queue, once.
    pub async fn send_to(&self, queue: &QueueAt, message: &Message) -> Result<Sent, RequestError> {
        let channel = self.nameservers.connections().get(&queue.address).await?;
        let now_ms = clock::now_ms();
        let id = match message.unique_id() {
            // It is sent again.
            Some(id) => id.to_owned(),
            None => self.ids.get_or_init(|| UniqueIds::new(channel.local().ip())).next(now_ms),
        };
        let header = SendMessage {
            producer_group: Cow::Borrowed(&self.group),
            topic: Cow::Borrowed(&message.topic),
            default_topic: Cow::Borrowed(TEMPLATE_TOPIC),
            default_topic_queue_nums: NEW_TOPIC_QUEUES,
            queue_id: queue.queue_id,
            sys_flag: 0,
            born_timestamp: now_ms,
            flag: 0,
            properties: Some(Cow::Owned(message.stored_properties(&id))),
            reconsume_times: Some(0),
            unit_mode: Some(false),
            max_reconsume_times: None,
            batch: Some(false),
        };
        let request = Request::new(&channel, RequestCode::SEND_MESSAGE_V2).body(&message.body);
        let answer = request.call(&header).await?;
        if !STORED.contains(&answer.code) {
            return Err(request.refused(answer));
        }
        request.fields(sent(&answer, queue, id))
    }

    fn routes(&self) -> std::sync::MutexGuard<'_, HashMap<String, Route>> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sent(answer: &Answer, queue: &QueueAt, message_id: String) -> Result<Sent, protocol::typed::FieldError> {
    answer.read(|fields| {
        let result = SendMessageResult::decode(fields)?;
        Ok(Sent {
            message_id,
            offset_message_id: result.msg_id.into_owned(),
            broker: queue.broker.clone(),
            queue_id: result.queue_id,
            offset: result.queue_offset,
            recall_handle: result.recall_handle.map(Cow::into_owned),
            stored: answer.code,
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;
    use crate::connections::Connections;
    use crate::stand_in::{Asked, Reply, StandIn};

    /// A nameserver that knows topic `t` with two queues on each of these brokers.
    fn nameserver(brokers: &[(&str, &str)]) -> StandIn {
        let list = |item: &dyn Fn(&str, &str) -> String| {
            brokers.iter().map(|(name, address)| item(name, address)).collect::<Vec<_>>().join(",")
        };
        let route = format!(
            r#"{{"brokerDatas":[{}],"queueDatas":[{}]}}"#,
            list(&|name, address| format!(r#"{{"brokerAddrs":{{"0":"{address}"}},"brokerName":"{name}"}}"#)),
            list(&|name, _| format!(r#"{{"brokerName":"{name}","perm":6,"readQueueNums":2,"writeQueueNums":2}}"#)),
        );
        StandIn::start(move |asked| match asked.field("topic").as_str() {
            "t" => asked.body(route.clone()),
            _ => asked.code(17),
        })
    }

    fn producer(nameserver: &StandIn) -> Producer {
        Producer::new(Nameservers::parse(nameserver.address(), Connections::default()).unwrap(), "g")
    }

    fn stored(asked: Asked) -> Reply {
        let queue = asked.field("e");
        asked.with(&[("msgId", "M"), ("queueId", &queue), ("queueOffset", "7")])
    }

    fn to(topic: &str) -> Message {
        Message { topic: topic.into(), body: b"x".to_vec(), ..Message::default() }
    }

    #[tokio::test]
    async fn messages_are_spread_over_all_queues() {
        let brokers = [StandIn::start(stored), StandIn::start(stored)];
        let nameserver = nameserver(&[("a", brokers[0].address()), ("b", brokers[1].address())]);
        let producer = producer(&nameserver);
        let mut used = BTreeSet::new();
        for _ in 0..4 {
            let sent = producer.send(&to("t")).await.unwrap();
            assert_eq!((sent.offset, sent.offset_message_id.as_str(), sent.message_id.len()), (7, "M", 32));
            used.insert((sent.broker, sent.queue_id));
        }
        assert_eq!(used.len(), 4, "{used:?}");
    }

    #[tokio::test]
    async fn a_busy_or_absent_broker_is_left_for_another() {
        let (busy, good) = (StandIn::start(|asked| asked.code(2).remark("busy")), StandIn::start(stored));
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let nameserver = nameserver(&[("a", busy.address()), ("b", &gone), ("c", good.address())]);
        let producer = producer(&nameserver);
        for _ in 0..6 {
            assert_eq!(producer.send(&to("t")).await.unwrap().broker, "c");
        }
    }

    #[tokio::test]
    async fn a_message_that_no_broker_would_take_is_sent_once() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = asked.clone();
        let broker = StandIn::start(move |asked| {
            counter.fetch_add(1, Ordering::Relaxed);
            asked.code(13).remark("the message body size over max value")
        });
        let nameserver = nameserver(&[("a", broker.address())]);
        let error = producer(&nameserver).send(&to("t")).await.unwrap_err();
        assert!(matches!(&error, SendError::Failed { attempts: 1, source }
            if source.code() == Some(ResponseCode::MESSAGE_ILLEGAL)));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        let error = producer(&nameserver).send(&to("nowhere")).await.unwrap_err();
        assert!(matches!(&error, SendError::NoRoute(topic) if topic == "nowhere"), "{error}");
    }
}
