//! Asking nameservers: any of them will do, and the one that answered last is asked first.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use net::Answer;
use protocol::bodies::cluster::ClusterInfo;
use protocol::bodies::route::TopicRouteData;
use protocol::bodies::topic_config::TopicList;
use protocol::codes::{RequestCode, ResponseCode};
use protocol::lenient_json;
use protocol::requests::{DeleteTopicInNameserver, GetRoute};
use protocol::typed::TypedHeader;

use crate::connections::Connections;
use crate::request::{NoFields, Request, RequestError};
use crate::route::{self, QueueAt};

/// Topic whose route stands in for that of a topic which does not exist yet.
pub const TEMPLATE_TOPIC: &str = "TBW102";

/// Queues that a producer asks for when its first message creates the topic.
pub const NEW_TOPIC_QUEUES: i32 = 4;

/// Port of a nameserver when none is named.
const DEFAULT_PORT: u16 = 9876;

/// The nameservers of a cluster. Clones share connections.
#[derive(Clone, Debug)]
pub struct Nameservers {
    addresses: Arc<[String]>,
    connections: Connections,
    /// Which one is asked first.
    current: Arc<AtomicUsize>,
}

/// A text that names no nameserver.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no nameserver; expected `host:port`, several separated by `;`")]
pub struct NoNameserver(pub String);

/// Splits `a:9876;b:9876`. Commas and blanks separate too, and a missing port is 9876.
pub fn addresses(text: &str) -> Result<Vec<String>, NoNameserver> {
    let items = text.split([';', ',', ' ', '\t']).filter(|item| !item.is_empty());
    let found: Vec<String> = items
        .map(|item| match item.rsplit_once(':') {
            // The colons of a bare IPv6 address are no port.
            Some((host, _)) if !host.contains(':') || host.ends_with(']') => item.to_owned(),
            Some(_) if !item.starts_with('[') => format!("[{item}]:{DEFAULT_PORT}"),
            _ => format!("{item}:{DEFAULT_PORT}"),
        })
        .collect();
    if found.is_empty() { Err(NoNameserver(text.to_owned())) } else { Ok(found) }
}

impl Nameservers {
    /// The nameservers that `text` names: see [`addresses`].
    pub fn parse(text: &str, connections: Connections) -> Result<Nameservers, NoNameserver> {
        Ok(Nameservers { addresses: addresses(text)?.into(), connections, current: Arc::default() })
    }

    /// Every address.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Connections of the whole client.
    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// Asks one after the other until one answers; a refusal is an answer.
    async fn ask<'h, T>(
        &self,
        code: RequestCode,
        header: &impl TypedHeader<'h>,
        take: impl Fn(Request<'_>, Answer) -> Result<T, RequestError>,
    ) -> Result<T, RequestError> {
        let first = self.current.load(Ordering::Relaxed);
        let mut attempt = 0;
        loop {
            let at = (first + attempt) % self.addresses.len();
            let error = match self.ask_one(&self.addresses[at], code, header, &take).await {
                Err(error) if error.is_network() => error,
                outcome => {
                    self.current.store(at, Ordering::Relaxed);
                    return outcome;
                }
            };
            tracing::debug!(address = self.addresses[at], %error, "nameserver does not answer");
            self.connections.forget(&self.addresses[at]);
            attempt += 1;
            if attempt == self.addresses.len() {
                return Err(error);
            }
        }
    }

    async fn ask_one<'h, T>(
        &self,
        address: &str,
        code: RequestCode,
        header: &impl TypedHeader<'h>,
        take: impl Fn(Request<'_>, Answer) -> Result<T, RequestError>,
    ) -> Result<T, RequestError> {
        let channel = self.connections.get(address).await?;
        let request = Request::new(&channel, code);
        take(request, request.call(header).await?)
    }

    /// Where a topic is; `None` when nobody has it.
    pub async fn route(&self, topic: &str) -> Result<Option<TopicRouteData>, RequestError> {
        let header = GetRoute {
            topic: Cow::Borrowed(topic),
            accept_standard_json_only: true,
            zone_mode: false,
            zone_name: None,
        };
        self.ask(RequestCode::GET_ROUTEINFO_BY_TOPIC, &header, |request, answer| match answer.code {
            ResponseCode::SUCCESS => request.read_body(lenient_json::from_slice(&answer.body)).map(Some),
            ResponseCode::TOPIC_NOT_EXIST => Ok(None),
            _ => Err(request.refused(answer)),
        })
        .await
    }

    /// Queues that take messages of a topic. Those of a topic that nobody has are where the template topic is:
    /// brokers create the topic when its first message arrives.
    pub async fn writable_queues(&self, topic: &str) -> Result<Vec<QueueAt>, RequestError> {
        if let Some(found) = self.route(topic).await? {
            return Ok(route::writable(&found));
        }
        let Some(mut template) = self.route(TEMPLATE_TOPIC).await? else { return Ok(Vec::new()) };
        for queues in &mut template.queue_datas {
            queues.write_queue_nums = queues.write_queue_nums.min(NEW_TOPIC_QUEUES);
        }
        template.order_topic_conf = None;
        Ok(route::writable(&template))
    }

    /// All brokers and clusters.
    pub async fn cluster(&self) -> Result<ClusterInfo, RequestError> {
        self.ask(RequestCode::GET_BROKER_CLUSTER_INFO, &NoFields, |request, answer| match answer.code {
            ResponseCode::SUCCESS => request.read_body(lenient_json::from_slice(&answer.body)),
            _ => Err(request.refused(answer)),
        })
        .await
    }

    /// Names of all topics.
    pub async fn topics(&self) -> Result<Vec<String>, RequestError> {
        let list = self
            .ask(RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER, &NoFields, |request, answer| match answer.code {
                ResponseCode::SUCCESS => request.read_body(lenient_json::from_slice::<TopicList>(&answer.body)),
                _ => Err(request.refused(answer)),
            })
            .await?;
        Ok(list.topic_list)
    }

    /// Makes one nameserver forget a topic. To be called for every address: nameservers do not tell each other.
    pub async fn forget_topic(&self, address: &str, topic: &str) -> Result<(), RequestError> {
        let header = DeleteTopicInNameserver { topic: Cow::Borrowed(topic), cluster_name: None };
        let channel = self.connections.get(address).await?;
        Request::new(&channel, RequestCode::DELETE_TOPIC_IN_NAMESRV).send(&header).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stand_in::StandIn;

    #[test]
    fn addresses_are_split_and_completed() {
        let check = |text: &str, expected: &[&str]| assert_eq!(addresses(text).unwrap(), expected, "{text}");
        check("a:1;b:2", &["a:1", "b:2"]);
        check(" a , b:2;;", &["a:9876", "b:2"]);
        check("[::1]:5;::1;[::1]", &["[::1]:5", "[::1]:9876", "[::1]:9876"]);
        assert_eq!(addresses(" ; "), Err(NoNameserver(" ; ".into())));
    }

    #[tokio::test]
    async fn the_next_nameserver_is_asked_when_one_is_gone() {
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let alive = StandIn::start(|asked| match asked.code {
            RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER => asked.body(r#"{"topicList":["a","b"]}"#),
            _ => asked.code(3),
        });
        let nameservers = Nameservers::parse(&format!("{gone};{}", alive.address()), Connections::default()).unwrap();
        for _ in 0..2 {
            assert_eq!(nameservers.topics().await.unwrap(), ["a", "b"]);
        }
        assert_eq!(nameservers.current.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_refusal_is_an_answer() {
        let first = StandIn::start(|asked| asked.code(1).remark("not ready"));
        let other = StandIn::start(|asked| asked.body("{}"));
        let text = format!("{};{}", first.address(), other.address());
        let nameservers = Nameservers::parse(&text, Connections::default()).unwrap();
        let error = nameservers.topics().await.unwrap_err();
        assert_eq!(error.code(), Some(ResponseCode::SYSTEM_ERROR));
        assert!(error.to_string().ends_with("SYSTEM_ERROR (1): not ready"), "{error}");
    }

    #[tokio::test]
    async fn a_new_topic_is_written_where_the_template_is() {
        let server = StandIn::start(|asked| match asked.field("topic").as_str() {
            TEMPLATE_TOPIC => asked.body(
                r#"{"brokerDatas":[{"brokerAddrs":{0:"h:1"},"brokerName":"b"}],
                    "queueDatas":[{"brokerName":"b","perm":7,"readQueueNums":8,"writeQueueNums":8}]}"#,
            ),
            _ => asked.code(17),
        });
        let nameservers = Nameservers::parse(server.address(), Connections::default()).unwrap();
        assert!(nameservers.route("new").await.unwrap().is_none());
        assert_eq!(nameservers.writable_queues("new").await.unwrap().len(), 4);
    }
}
