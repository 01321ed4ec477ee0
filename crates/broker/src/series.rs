//! What a broker shows to Prometheus: names and labels of stock brokers, and what operators miss there (`apogee_…`).
//!
//! Everything is read when somebody asks. Of the locks that are taken for it those of the log and of the topics are
//! shared ones, held for one queue at a time as a pull does; nobody who sends waits for a scrape.
//!
//! Sources: `broker/.../metrics/{BrokerMetricsManager,BrokerMetricsConstant,ConsumerLagCalculator}.java`,
//! `store/.../metrics/DefaultStoreMetricsManager.java`, `remoting/.../metrics/RemotingMetricsManager.java`.

mod clients;
mod consumers;
mod requests;
mod state;
mod storage;
mod traffic;
mod waiting;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use log::QueueNumber;
use metrics::{Page, Source};

use crate::broker::Broker;
use crate::names;

/// A broker as Prometheus sees it. Does not keep the broker: of one that has stopped there is nothing to see.
pub struct BrokerSeries {
    broker: Weak<Broker>,
    seen: Mutex<Seen>,
}

/// What was read from the log for the last scrape, and need not be read again for the next one.
#[derive(Default)]
struct Seen {
    /// Store times by queue and offset, of messages that groups are waiting for.
    store_times_ms: HashMap<(QueueNumber, u64), i64>,
    /// Topics of half messages, by position.
    half_topics: HashMap<u64, String>,
}

impl BrokerSeries {
    /// The series of a broker.
    pub fn new(broker: &Arc<Broker>) -> BrokerSeries {
        BrokerSeries { broker: Arc::downgrade(broker), seen: Mutex::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for BrokerSeries {
    fn write(&self, page: &mut Page) {
        let Some(broker) = self.broker.upgrade() else { return };
        // One scrape at a time: two would only read the same twice.
        let mut seen = self.seen();
        let config = &broker.config;
        let own = [
            ("cluster", &*config.cluster_name),
            ("node_type", "broker"),
            ("node_id", &*config.broker_name),
            ("aggregation", "cumulative"),
        ];
        let chosen = config.exporting.labels.iter().map(|(name, value)| (&**name, &**value));
        page.with_labels(&own.into_iter().chain(chosen).collect::<Vec<_>>());
        state::write(&broker, page);
        traffic::write(&broker, page);
        clients::write(&broker, page);
        consumers::write(&broker, &mut seen.store_times_ms, page);
        requests::write(&broker, page);
        storage::write(&broker, page);
        waiting::write(&broker, &mut seen.half_topics, page);
    }

    fn unready(&self) -> Option<String> {
        match self.broker.upgrade() {
            Some(broker) if broker.log.stats().is_fenced => {
                Some("the disk failed, and the commit log takes no more messages".to_owned())
            }
            Some(broker) if !broker.shutdown.is_cancelled() => None,
            _ => Some("the broker stops".to_owned()),
        }
    }
}

/// `true` or `false`, as label values are written.
fn truth(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

/// Whether a topic belongs to the system.
fn is_system_topic(broker: &Broker, topic: &str) -> bool {
    names::is_system(topic, &broker.config.cluster_name, &broker.config.broker_name)
}

/// Whether a topic or a group belongs to the system.
fn is_system(broker: &Broker, topic: &str, group: &str) -> bool {
    is_system_topic(broker, topic) || names::is_system_group(group)
}
