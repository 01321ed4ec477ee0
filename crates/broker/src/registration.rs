//! Keeping nameservers informed: every one of them, for ever, at once when topics change.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use client::registration::BrokerRegistration;
use net::Channel;
use protocol::bodies::data_version::DataVersion;
use protocol::bodies::registration::{RegisterBrokerBody, RegisteredTopics};
use protocol::bodies::topic_config::{TopicConfig, TopicFilterType};
use protocol::lenient_json;
use tokio::sync::watch;

use crate::broker::Broker;
use crate::topics::{Permission, TableVersion, TopicSettings};

/// Time that a nameserver gets to accept a connection or to answer.
const PATIENCE: Duration = Duration::from_secs(6);
/// Time until a nameserver that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Longest time for which an answer waits until nameservers know of a new topic, in milliseconds.
const TELL_MAX_MS: i64 = 1_000;

/// Topics in one request: about half a megabyte, where a frame takes 16.
const TOPICS_PER_REQUEST: usize = 2_000;

/// Tells the tasks that register when there is news, and whoever waits when nameservers have heard it.
#[derive(Default)]
pub struct Registrations {
    /// Changes of topics so far.
    news: watch::Sender<u64>,
    /// How many of them changed what every topic looks like from outside.
    of_all: AtomicU64,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    /// How many changes each nameserver has heard of that we are registered with.
    heard: HashMap<String, u64>,
    waiting: Vec<Waiting>,
}

struct Waiting {
    change: u64,
    deadline_ms: i64,
    then: Box<dyn FnOnce() + Send>,
}

impl Registrations {
    /// Topics were created or changed.
    pub fn topics_changed(&self) {
        self.news.send_modify(|count| *count += 1);
    }

    /// Something changed that every topic shows: nameservers hear of all of them again.
    pub fn every_topic_changed(&self) {
        self.of_all.fetch_add(1, Ordering::Relaxed);
        self.topics_changed();
    }

    /// Calls `then` once every nameserver that we are registered with has heard of all changes so far, or after a
    /// second: a client that asks for the route the moment its first send is answered finds it.
    pub fn when_told(&self, now_ms: i64, then: impl FnOnce() + Send + 'static) {
        let change = self.changes();
        let mut told = self.lock();
        if told.heard.values().all(|heard| *heard >= change) {
            drop(told);
            then();
            return;
        }
        told.waiting.push(Waiting { change, deadline_ms: now_ms + TELL_MAX_MS, then: Box::new(then) });
    }

    /// Lets those go on that waited for too long.
    pub fn give_up_telling(&self, now_ms: i64) {
        self.release(|waiting, _| waiting.deadline_ms <= now_ms);
    }

    /// How often topics have changed since the start.
    pub fn changes(&self) -> u64 {
        *self.news.borrow()
    }

    /// A nameserver has heard of so many changes, or we are registered with it no more.
    pub fn note(&self, nameserver: &str, heard: Option<u64>) {
        match heard {
            Some(heard) => self.lock().heard.insert(nameserver.to_owned(), heard),
            None => self.lock().heard.remove(nameserver),
        };
        self.release(|waiting, heard| heard.values().all(|heard| *heard >= waiting.change));
    }

    /// Nameservers that have heard of us and not lost us since.
    pub fn registered_with(&self) -> HashSet<String> {
        self.lock().heard.keys().cloned().collect()
    }

    fn release(&self, ready: impl Fn(&Waiting, &HashMap<String, u64>) -> bool) {
        let released: Vec<Waiting> = {
            let mut told = self.lock();
            let Told { heard, waiting } = &mut *told;
            waiting.extract_if(.., |waiting| ready(waiting, heard)).collect()
        };
        for waiting in released {
            (waiting.then)();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Registers with one nameserver until told to stop, then takes the registration back. Says something only when the
/// state changes.
pub async fn keep_registered(broker: Arc<Broker>, nameserver: String) {
    let mut news = broker.registrations.news.subscribe();
    let mut known = State::Unknown;
    let mut channel = None;
    // Changes of the table up to this one are known to the nameserver; `None` when it has to hear everything.
    let mut heard = None;
    let mut of_all = 0;
    while !broker.shutdown.is_cancelled() {
        let change = *news.borrow_and_update();
        let of_all_now = broker.registrations.of_all.load(Ordering::Relaxed);
        if of_all != of_all_now {
            (of_all, heard) = (of_all_now, None);
        }
        let version = broker.topics.version();
        let outcome = tokio::select! {
            outcome = register(&broker, &nameserver, &mut channel, heard, version) => outcome,
            () = broker.shutdown.cancelled() => break,
        };
        known = known.after(&nameserver, &outcome);
        broker.registrations.note(&nameserver, outcome.is_ok().then_some(change));
        let wait = if outcome.is_ok() { broker.config.register_period.get() } else { RETRY };
        heard = outcome.is_ok().then_some(version.counter);
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
            // Now and then it hears everything, whatever it may have forgotten.
            () = tokio::time::sleep(wait) => heard = None,
            _ = news.changed(), if outcome.is_ok() => {}
            () = gone => {
                (channel, heard) = (None, None);
                // One that accepts and closes at once is not asked without a pause.
                tokio::time::sleep(RETRY / 10).await;
            }
            () = broker.shutdown.cancelled() => {}
        }
    }
    if let Some(channel) = channel {
        // A nameserver that does not hear it notices the closed connection.
        let _ = registration(&broker, Vec::new()).withdraw(&channel, Duration::from_secs(1)).await;
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

/// Registers topics that changed after `heard`, or all of them, in as many requests as it takes.
async fn register(
    broker: &Arc<Broker>,
    nameserver: &str,
    channel: &mut Option<Channel>,
    heard: Option<i64>,
    version: TableVersion,
) -> Result<(), String> {
    let connected = channel.as_ref().is_some_and(|channel| !channel.is_closed());
    if !connected {
        *channel = Some(Channel::connect(nameserver, PATIENCE).await.map_err(|error| chain(&error))?);
    }
    let Some(channel) = channel else { return Ok(()) };
    let heard = heard.filter(|_| connected);
    for registration in registrations(broker, heard, version) {
        registration.send(channel, PATIENCE).await.map_err(|error| chain(&error))?;
    }
    Ok(())
}

/// What to tell a nameserver that has heard of the changes up to `heard`, or of nothing: one request or more.
pub fn registrations(broker: &Broker, heard: Option<i64>, version: TableVersion) -> Vec<BrokerRegistration> {
    bodies(broker, heard, version).into_iter().map(|body| registration(broker, body)).collect()
}

/// An error with everything that caused it, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn registration(broker: &Broker, body: Vec<u8>) -> BrokerRegistration {
    let config = &broker.config;
    let ha_port = broker.store_host.port().saturating_add(1);
    BrokerRegistration {
        cluster_name: config.cluster_name.clone(),
        broker_name: config.broker_name.clone(),
        broker_addr: broker.store_host.to_string(),
        address_is_default: config.advertised_by_default,
        broker_id: config.broker_id,
        ha_server_addr: Some(std::net::SocketAddr::new(config.advertised_ip, ha_port).to_string()),
        heartbeat_timeout: None,
        body,
    }
}

/// Bodies that tell of the topics that changed after `heard`, or of all. At least one, since a registration is a sign
/// of life too.
fn bodies(broker: &Broker, heard: Option<i64>, version: TableVersion) -> Vec<Vec<u8>> {
    let permission = broker.config.permission.get();
    let changed = broker.topics.all().into_values().filter(|topic| heard.is_none_or(|heard| topic.change > heard));
    let mut topics: Vec<TopicConfig> = changed
        .map(|topic| {
            // What the broker does not allow, no topic allows; whether it is a template is its own.
            let perm = topic.settings.permission.0 & (permission | Permission::INHERIT);
            TopicConfig { perm, ..wire_topic(&topic.settings) }
        })
        .collect();
    let mut bodies = Vec::new();
    loop {
        let rest = topics.split_off(topics.len().min(TOPICS_PER_REQUEST));
        let table: BTreeMap<String, TopicConfig> =
            topics.into_iter().map(|topic| (topic.topic_name.clone(), topic)).collect();
        let registered = RegisteredTopics {
            data_version: wire_version(version),
            topic_config_table: table,
            ..RegisteredTopics::default()
        };
        bodies.push(lenient_json::to_vec(&RegisterBrokerBody { filter_server_list: Vec::new(), topics: registered }));
        if rest.is_empty() {
            return bodies;
        }
        topics = rest;
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    fn waiter(registrations: &Registrations, now_ms: i64) -> Arc<AtomicU32> {
        let called = Arc::new(AtomicU32::new(0));
        let calls = called.clone();
        registrations.when_told(now_ms, move || {
            calls.fetch_add(1, Ordering::Relaxed);
        });
        called
    }

    #[test]
    fn an_answer_waits_until_every_nameserver_that_listens_has_heard() {
        let registrations = Registrations::default();
        registrations.topics_changed();
        let nobody_listens = waiter(&registrations, 0);
        assert_eq!(nobody_listens.load(Ordering::Relaxed), 1);
        registrations.note("one", Some(0));
        registrations.note("two", Some(0));
        let waits = waiter(&registrations, 0);
        registrations.note("one", Some(1));
        assert_eq!(waits.load(Ordering::Relaxed), 0);
        registrations.note("two", Some(1));
        assert_eq!(waits.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn nobody_waits_for_a_nameserver_that_is_gone_or_slow() {
        let registrations = Registrations::default();
        registrations.note("one", Some(0));
        registrations.topics_changed();
        let (gone, slow) = (waiter(&registrations, 0), waiter(&registrations, 500));
        registrations.give_up_telling(TELL_MAX_MS);
        assert_eq!((gone.load(Ordering::Relaxed), slow.load(Ordering::Relaxed)), (1, 0));
        registrations.note("one", None);
        assert_eq!(slow.load(Ordering::Relaxed), 1);
    }
}
