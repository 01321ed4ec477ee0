//! Keeping nameservers informed: every one of them, for ever, at once when topics change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use client::registration::BrokerRegistration;
use net::Channel;
use protocol::bodies::data_version::DataVersion;
use protocol::bodies::registration::{RegisterBrokerBody, RegisteredTopics};
use protocol::bodies::topic_config::{TopicConfig, TopicFilterType};
use protocol::lenient_json;
use tokio::sync::watch;

use crate::broker::Broker;
use crate::topics::{TableVersion, TopicSettings};

/// Time that a nameserver gets to accept a connection or to answer.
const PATIENCE: Duration = Duration::from_secs(6);
/// Time until a nameserver that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Tells the tasks that register when there is news.
#[derive(Debug)]
pub struct Registrations {
    news: watch::Sender<u64>,
}

impl Default for Registrations {
    fn default() -> Self {
        Registrations { news: watch::Sender::new(0) }
    }
}

impl Registrations {
    /// Topics were created or changed.
    pub fn topics_changed(&self, names: &[&str]) {
        tracing::debug!(?names, "topics changed");
        self.news.send_modify(|count| *count += 1);
    }
}

/// Registers with one nameserver until told to stop, then takes the registration back. Says something only when the
/// state changes.
pub async fn keep_registered(broker: Arc<Broker>, nameserver: String) {
    let mut news = broker.registrations.news.subscribe();
    let mut known = State::Unknown;
    let mut channel = None;
    while !broker.shutdown.is_cancelled() {
        news.mark_unchanged();
        let outcome = register(&broker, &nameserver, &mut channel).await;
        known = known.after(&nameserver, &outcome);
        let wait = if outcome.is_ok() { broker.config.register_period } else { RETRY };
        if outcome.is_err() {
            channel = None;
        }
        let gone = async {
            match &channel {
                Some(channel) => Channel::closed(channel).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = news.changed(), if outcome.is_ok() => {}
            () = gone => channel = None,
            () = broker.shutdown.cancelled() => {}
        }
    }
    if let Some(channel) = channel {
        // A nameserver that does not hear it notices the closed connection.
        let _ = registration(&broker).withdraw(&channel, Duration::from_secs(1)).await;
    }
}

/// What is known about a nameserver, to say something only when it changes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Unknown,
    Registered,
    Failing,
}

impl State {
    fn after(self, nameserver: &str, outcome: &Result<(), String>) -> State {
        match outcome {
            Ok(()) => {
                if self != State::Registered {
                    tracing::info!(nameserver, "registered");
                }
                State::Registered
            }
            Err(error) => {
                if self != State::Failing {
                    tracing::warn!(nameserver, error, "cannot register; trying until it works");
                }
                State::Failing
            }
        }
    }
}

async fn register(broker: &Arc<Broker>, nameserver: &str, channel: &mut Option<Channel>) -> Result<(), String> {
    if channel.as_ref().is_none_or(Channel::is_closed) {
        *channel = Some(Channel::connect(nameserver, PATIENCE).await.map_err(|error| chain(&error))?);
    }
    let Some(channel) = channel else { return Ok(()) };
    registration(broker).send(channel, PATIENCE).await.map(|_| ()).map_err(|error| chain(&error))
}

/// An error with everything that caused it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn registration(broker: &Broker) -> BrokerRegistration {
    let config = &broker.config;
    let permission = broker.permission.load(Ordering::Relaxed);
    let topics = broker.topics.all();
    let table: BTreeMap<String, TopicConfig> = topics
        .into_iter()
        .map(|(name, topic)| {
            (name, TopicConfig { perm: topic.settings.permission.0 & (permission | 1), ..wire_topic(&topic.settings) })
        })
        .collect();
    let body = RegisterBrokerBody {
        filter_server_list: Vec::new(),
        topics: RegisteredTopics {
            data_version: wire_version(broker.topics.version()),
            topic_config_table: table,
            ..RegisteredTopics::default()
        },
    };
    let host = |port: u16| std::net::SocketAddr::new(config.advertised_ip, port).to_string();
    BrokerRegistration {
        cluster_name: config.cluster_name.clone(),
        broker_name: config.broker_name.clone(),
        broker_addr: broker.store_host.to_string(),
        broker_id: config.broker_id,
        ha_server_addr: Some(host(broker.store_host.port().saturating_add(1))),
        heartbeat_timeout: None,
        body: lenient_json::to_vec(&body),
    }
}

/// Settings of a topic as they travel.
pub fn wire_topic(settings: &TopicSettings) -> TopicConfig {
    TopicConfig {
        attributes: settings.attributes.clone(),
        order: settings.ordered,
        perm: settings.permission.0,
        read_queue_nums: settings.read_queues,
        topic_filter_type: if settings.multi_tag { TopicFilterType::MultiTag } else { TopicFilterType::SingleTag },
        topic_name: settings.name.clone(),
        topic_sys_flag: settings.sys_flag,
        write_queue_nums: settings.write_queues,
    }
}

/// Version of a table as it travels.
pub fn wire_version(version: TableVersion) -> DataVersion {
    DataVersion { counter: version.counter, state_version: 0, timestamp: version.timestamp_ms }
}
