//! What operators ask of a cluster: topics, groups, brokers. What lies here works on whole clusters; requests to one
//! broker or nameserver are in the files below, by subject.

mod access;
mod brokers;
mod clients;
mod groups;
mod messages;
mod positions;
mod scheduled;
mod settings;
mod topics;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use net::Answer;
use protocol::bodies::cluster::ClusterInfo;
use protocol::bodies::kv::KvTable;
use protocol::bodies::stats::{ConsumeOffset, ConsumeStats, TopicStatsTable};
use protocol::bodies::subscription_group::{SubscriptionGroupConfig, SubscriptionGroupTable};
use protocol::codes::{RequestCode, ResponseCode};
use protocol::lenient_json;
use protocol::requests::{CreateTopic, GetConsumeStats, OffsetResult, OneTopic, QueueOfTopic};
use protocol::typed::TypedHeader;
use serde::de::DeserializeOwned;

use crate::nameservers::{Nameservers, TEMPLATE_TOPIC};
use crate::request::{NoFields, Request, RequestError};
use crate::route;

pub use messages::{PullRequest, Pulled, StoredMessage};

/// Administers one cluster.
#[derive(Clone, Debug)]
pub struct Admin {
    nameservers: Nameservers,
}

/// A topic to be created, or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Name.
    pub name: String,
    /// Queues on every broker, for reading and writing.
    pub queues: i32,
    /// Permission bits: 2 write, 4 read.
    pub perm: i32,
    /// Attributes, such as `message.type` = `FIFO`.
    pub attributes: Vec<(String, String)>,
}

/// A master.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Master {
    /// Cluster.
    pub cluster: String,
    /// Broker name.
    pub broker: String,
    /// Address.
    pub address: String,
}

/// What one queue of a topic holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueueStats {
    /// Broker name.
    pub broker: String,
    /// Number of the queue.
    pub queue_id: i32,
    /// Offset of the first message.
    pub min_offset: i64,
    /// Offset after the last.
    pub max_offset: i64,
    /// Store time of the last message in milliseconds since 1970; `None` when nobody says.
    pub last_stored_ms: Option<i64>,
}

/// How far a group has come in one queue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueueProgress {
    /// Topic.
    pub topic: String,
    /// Broker name.
    pub broker: String,
    /// Number of the queue.
    pub queue_id: i32,
    /// Offset after the last message of the queue.
    pub end: i64,
    /// Offset that the group committed.
    pub committed: i64,
    /// Store time of the last consumed message in milliseconds since 1970; `None` when there is none.
    pub last_consumed_ms: Option<i64>,
}

impl QueueProgress {
    /// Messages that are not consumed.
    pub fn lag(&self) -> i64 {
        self.end - self.committed
    }
}

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// A server was not reached, or said no.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// No master is registered.
    #[error("no broker is registered with {nameservers}")]
    NoBroker {
        /// Who was asked.
        nameservers: String,
    },
    /// No nameserver knows the topic.
    #[error("topic `{0}` does not exist")]
    NoSuchTopic(String),
    /// No broker knows the group.
    #[error("group `{0}` has consumed nothing yet")]
    NoSuchGroup(String),
}

impl Admin {
    /// Administers the cluster of these nameservers.
    pub fn new(nameservers: Nameservers) -> Admin {
        Admin { nameservers }
    }

    /// All brokers and clusters (106).
    pub async fn cluster(&self) -> Result<ClusterInfo, AdminError> {
        Ok(self.nameservers.cluster().await?)
    }

    /// All masters, sorted; at least one.
    pub async fn masters(&self) -> Result<Vec<Master>, AdminError> {
        let cluster = self.nameservers.cluster().await?;
        let masters = cluster.broker_addr_table.values().filter_map(|broker| {
            let address = route::master_address(broker)?.to_owned();
            Some(Master { cluster: broker.cluster.clone(), broker: broker.broker_name.clone(), address })
        });
        let mut masters: Vec<Master> = masters.collect();
        masters.sort();
        if masters.is_empty() {
            return Err(AdminError::NoBroker { nameservers: self.nameservers.addresses().join(", ") });
        }
        Ok(masters)
    }

    /// Names of all topics (206), sorted.
    pub async fn topics(&self) -> Result<Vec<String>, AdminError> {
        let mut topics = self.nameservers.topics().await?;
        topics.sort();
        topics.dedup();
        Ok(topics)
    }

    /// Creates or changes a topic on every master (17); returns those.
    pub async fn create_topic(&self, topic: &NewTopic) -> Result<Vec<Master>, AdminError> {
        let masters = self.masters().await?;
        for master in &masters {
            self.create_topic_at(&master.address, topic).await?;
        }
        Ok(masters)
    }

    /// Creates or changes a topic on one broker (17).
    pub async fn create_topic_at(&self, address: &str, topic: &NewTopic) -> Result<(), AdminError> {
        let attributes: Vec<String> = topic.attributes.iter().map(|(name, value)| format!("+{name}={value}")).collect();
        let header = CreateTopic {
            topic: Cow::Borrowed(&topic.name),
            default_topic: Some(Cow::Borrowed(TEMPLATE_TOPIC)),
            read_queue_nums: topic.queues,
            write_queue_nums: topic.queues,
            perm: topic.perm,
            topic_filter_type: Some(Cow::Borrowed("SINGLE_TAG")),
            topic_sys_flag: Some(0),
            order: false,
            attributes: (!attributes.is_empty()).then(|| Cow::Owned(attributes.join(","))),
        };
        let channel = self.channel(address).await?;
        Request::new(&channel, RequestCode::UPDATE_AND_CREATE_TOPIC).send(&header).await?;
        Ok(())
    }

    /// Deletes a topic on every master (215) and then in every nameserver (216), so that no broker brings it back.
    pub async fn delete_topic(&self, topic: &str) -> Result<Vec<Master>, AdminError> {
        let masters = self.masters().await?;
        let header = OneTopic { topic: Cow::Borrowed(topic) };
        for master in &masters {
            let channel = self.channel(&master.address).await?;
            Request::new(&channel, RequestCode::DELETE_TOPIC_IN_BROKER).send(&header).await?;
        }
        for address in self.nameservers.addresses() {
            self.nameservers.forget_topic(address, topic).await?;
        }
        Ok(masters)
    }

    /// What every queue of a topic holds: by 202, or by 30 and 31 from brokers that do not know it.
    pub async fn topic_stats(&self, topic: &str) -> Result<Vec<QueueStats>, AdminError> {
        let found = self.nameservers.route(topic).await?;
        let found = found.ok_or_else(|| AdminError::NoSuchTopic(topic.to_owned()))?;
        let mut stats = Vec::new();
        for broker in &found.broker_datas {
            let Some(address) = route::any_address(broker) else { continue };
            match self.topic_stats_at(address, topic).await {
                Ok(table) => stats.extend(table),
                Err(AdminError::Request(error)) if error.code() == Some(ResponseCode::REQUEST_CODE_NOT_SUPPORTED) => {
                    let queues = route::readable(&found).into_iter().filter(|queue| queue.broker == broker.broker_name);
                    for queue in queues {
                        stats.push(self.queue_stats(&queue, topic).await?);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        stats.sort();
        Ok(stats)
    }

    async fn topic_stats_at(&self, address: &str, topic: &str) -> Result<Vec<QueueStats>, AdminError> {
        let channel = self.channel(address).await?;
        let request = Request::new(&channel, RequestCode::GET_TOPIC_STATS_INFO);
        let answer = request.send(&OneTopic { topic: Cow::Borrowed(topic) }).await?;
        let table: TopicStatsTable = request.read_body(lenient_json::from_slice(&answer.body))?;
        let stats = table.offset_table.0.into_iter().map(|(queue, offset)| QueueStats {
            broker: queue.broker_name,
            queue_id: queue.queue_id,
            min_offset: offset.min_offset,
            max_offset: offset.max_offset,
            last_stored_ms: Some(offset.last_update_timestamp).filter(|time| *time > 0),
        });
        Ok(stats.collect())
    }

    async fn queue_stats(&self, queue: &route::QueueAt, topic: &str) -> Result<QueueStats, AdminError> {
        let Range { start, end } = self.offset_range(&queue.address, topic, queue.queue_id).await?;
        let (broker, queue_id) = (queue.broker.clone(), queue.queue_id);
        Ok(QueueStats { broker, queue_id, min_offset: start, max_offset: end, last_stored_ms: None })
    }

    /// Offsets of the first message of a queue and after the last (31 and 30).
    pub async fn offset_range(&self, address: &str, topic: &str, queue_id: i32) -> Result<Range<i64>, AdminError> {
        let queue = QueueOfTopic { topic: Cow::Borrowed(topic), queue_id };
        let start = self.offset(address, RequestCode::GET_MIN_OFFSET, &queue).await?;
        Ok(start..self.offset(address, RequestCode::GET_MAX_OFFSET, &queue).await?)
    }

    async fn offset(&self, address: &str, code: RequestCode, queue: &QueueOfTopic<'_>) -> Result<i64, AdminError> {
        let channel = self.channel(address).await?;
        let request = Request::new(&channel, code);
        let answer = request.send(queue).await?;
        let result: OffsetResult = request.fields(answer.header())?;
        Ok(result.offset)
    }

    /// All consumer groups (201) by name; of a group that several brokers have, the first one's configuration.
    pub async fn groups(&self) -> Result<BTreeMap<String, SubscriptionGroupConfig>, AdminError> {
        let mut groups = BTreeMap::new();
        for master in self.masters().await? {
            let channel = self.channel(&master.address).await?;
            let request = Request::new(&channel, RequestCode::GET_ALL_SUBSCRIPTIONGROUP_CONFIG);
            let answer = request.send(&NoFields).await?;
            let table: SubscriptionGroupTable = request.read_body(lenient_json::from_slice(&answer.body))?;
            for (name, group) in table.subscription_group_table {
                groups.entry(name).or_insert(group);
            }
        }
        Ok(groups)
    }

    /// Creates or changes a consumer group on every master (200); returns those.
    pub async fn create_group(&self, group: &SubscriptionGroupConfig) -> Result<Vec<Master>, AdminError> {
        let masters = self.masters().await?;
        for master in &masters {
            self.create_group_at(&master.address, group).await?;
        }
        Ok(masters)
    }

    /// Creates or changes a consumer group on one broker (200).
    pub async fn create_group_at(&self, address: &str, group: &SubscriptionGroupConfig) -> Result<(), AdminError> {
        let body = lenient_json::to_vec(group);
        let channel = self.channel(address).await?;
        let request = Request::new(&channel, RequestCode::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP).body(&body);
        request.send(&NoFields).await?;
        Ok(())
    }

    /// How far a group has come in every queue it consumes (208).
    pub async fn group_progress(&self, group: &str) -> Result<Vec<QueueProgress>, AdminError> {
        let mut progress = Vec::new();
        let header = GetConsumeStats { consumer_group: Cow::Borrowed(group), topic: None, topic_list: None };
        for master in self.masters().await? {
            let channel = self.channel(&master.address).await?;
            let request = Request::new(&channel, RequestCode::GET_CONSUME_STATS);
            let answer = request.send(&header).await?;
            let stats: ConsumeStats = request.read_body(lenient_json::from_slice(&answer.body))?;
            progress.extend(stats.offset_table.0.into_iter().map(|(queue, offset): (_, ConsumeOffset)| {
                QueueProgress {
                    topic: queue.topic,
                    broker: queue.broker_name,
                    queue_id: queue.queue_id,
                    end: offset.broker_offset,
                    committed: offset.consumer_offset,
                    last_consumed_ms: Some(offset.last_timestamp).filter(|time| *time > 0),
                }
            }));
        }
        if progress.is_empty() {
            return Err(AdminError::NoSuchGroup(group.to_owned()));
        }
        progress.sort();
        Ok(progress)
    }

    /// What a broker says about itself (28).
    pub async fn runtime(&self, address: &str) -> Result<BTreeMap<String, String>, AdminError> {
        let channel = self.channel(address).await?;
        let request = Request::new(&channel, RequestCode::GET_BROKER_RUNTIME_INFO);
        let answer = request.send(&NoFields).await?;
        let table: KvTable = request.read_body(lenient_json::from_slice(&answer.body))?;
        Ok(table.table)
    }

    /// The nameservers of the cluster.
    pub fn nameservers(&self) -> &Nameservers {
        &self.nameservers
    }

    async fn channel(&self, address: &str) -> Result<net::Channel, RequestError> {
        Ok(self.nameservers.connections().get(address).await?)
    }

    /// Asks one server; any answer but SUCCESS is an error.
    async fn ask<'h>(
        &self,
        address: &str,
        code: RequestCode,
        header: &impl TypedHeader<'h>,
        body: &[u8],
    ) -> Result<Answer, RequestError> {
        let channel = self.channel(address).await?;
        Request::new(&channel, code).body(body).send(header).await
    }

    /// Asks one server for a body.
    async fn read<'h, T: DeserializeOwned>(
        &self,
        address: &str,
        code: RequestCode,
        header: &impl TypedHeader<'h>,
    ) -> Result<T, RequestError> {
        let channel = self.channel(address).await?;
        let request = Request::new(&channel, code);
        let answer = request.send(header).await?;
        request.read_body(lenient_json::from_slice(&answer.body))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use super::*;
    use crate::connections::Connections;
    use crate::stand_in::{Asked, Reply, StandIn};

    /// A broker that answers as `answering` says, and a nameserver that knows it as the master of topic `t`.
    fn cluster(answering: impl Fn(Asked) -> Reply + Send + Sync + 'static) -> (StandIn, StandIn, Admin) {
        let broker = StandIn::start(answering);
        let address = broker.address().to_owned();
        let nameserver = StandIn::start(move |asked| {
            match asked.code {
            // As stock nameservers write it: the broker id is no text.
            RequestCode::GET_BROKER_CLUSTER_INFO => asked.body(format!(
                r#"{{"brokerAddrTable":{{"b":{{"brokerAddrs":{{0:"{address}"}},"brokerName":"b","cluster":"c"}}}},"clusterAddrTable":{{"c":["b"]}}}}"#
            )),
            RequestCode::GET_ROUTEINFO_BY_TOPIC if asked.field("topic") == "t" => asked.body(format!(
                r#"{{"brokerDatas":[{{"brokerAddrs":{{"0":"{address}"}},"brokerName":"b"}}],
                    "queueDatas":[{{"brokerName":"b","perm":6,"readQueueNums":2,"writeQueueNums":2}}]}}"#
            )),
            RequestCode::GET_ROUTEINFO_BY_TOPIC => asked.code(17),
            _ => asked.code(0),
        }
        });
        let nameservers = Nameservers::parse(nameserver.address(), Connections::default()).unwrap();
        (broker, nameserver, Admin::new(nameservers))
    }

    #[tokio::test]
    async fn a_topic_is_created_with_its_attributes() {
        let (seen, asked) = mpsc::channel();
        let seen = Mutex::new(seen);
        let (_broker, _nameserver, admin) = cluster(move |asked| {
            let names = ["topic", "readQueueNums", "writeQueueNums", "perm", "attributes"];
            seen.lock().unwrap().send(names.map(|name| asked.field(name)).join(" ")).unwrap();
            asked.code(0)
        });
        let attributes = vec![("message.type".to_owned(), "FIFO".to_owned())];
        let topic = NewTopic { name: "t".into(), queues: 8, perm: 6, attributes };
        assert_eq!(admin.create_topic(&topic).await.unwrap()[0].broker, "b");
        assert_eq!(asked.recv().unwrap(), "t 8 8 6 +message.type=FIFO");
    }

    #[tokio::test]
    async fn stats_come_from_the_table_or_queue_by_queue() {
        let (_broker, _nameserver, admin) = cluster(|asked| {
            asked.body(
                r#"{"offsetTable":{{"brokerName":"b","queueId":1,"topic":"t"}:{"lastUpdateTimestamp":0,"maxOffset":0,"minOffset":0},
                    {"brokerName":"b","queueId":0,"topic":"t"}:{"lastUpdateTimestamp":5,"maxOffset":9,"minOffset":2}}}"#,
            )
        });
        let stats = admin.topic_stats("t").await.unwrap();
        let shown: Vec<_> =
            stats.iter().map(|queue| (queue.queue_id, queue.max_offset, queue.last_stored_ms)).collect();
        assert_eq!(shown, [(0, 9, Some(5)), (1, 0, None)]);

        let (_broker, _nameserver, admin) = cluster(|asked| match asked.code {
            RequestCode::GET_MAX_OFFSET => asked.with(&[("offset", "9")]),
            RequestCode::GET_MIN_OFFSET => asked.with(&[("offset", "2")]),
            _ => asked.code(3),
        });
        let stats = admin.topic_stats("t").await.unwrap();
        assert_eq!((stats.len(), stats[1].min_offset, stats[1].max_offset), (2, 2, 9));
        assert!(matches!(admin.topic_stats("none").await, Err(AdminError::NoSuchTopic(topic)) if topic == "none"));
    }

    #[tokio::test]
    async fn progress_is_read_and_an_unknown_group_is_told() {
        let (_broker, _nameserver, admin) = cluster(|asked| {
            match asked.field("consumerGroup").as_str() {
            "g" => asked.body(
                r#"{"consumeTps":0.0,"offsetTable":{{"brokerName":"b","queueId":0,"topic":"t"}:{"brokerOffset":10,"consumerOffset":4,"lastTimestamp":7,"pullOffset":4}}}"#,
            ),
            _ => asked.body(r#"{"consumeTps":0.0,"offsetTable":{}}"#),
        }
        });
        let progress = admin.group_progress("g").await.unwrap();
        assert_eq!((progress[0].lag(), progress[0].last_consumed_ms), (6, Some(7)));
        assert!(matches!(admin.group_progress("x").await, Err(AdminError::NoSuchGroup(_))));
    }
}
