//! What the console knows of the cluster: asked on demand, kept for seconds, shared by all viewers, and always with
//! who did not answer.

pub mod brokers;
pub mod catalog;
pub mod changes;
pub mod consumption;
mod kept;
pub mod messages;
pub mod place;
mod reach;
pub mod redelivery;
pub mod scheduled;
pub mod series;
pub mod topics;
pub mod why;

use std::sync::Arc;
use std::time::Duration;

use client::{Admin, Nameservers, Producer};

use brokers::{BrokerAt, Brokers};
use catalog::Catalog;
use consumption::{Consumption, Membership, Producers, Progress};
use kept::Kept;
use messages::Scanned;
use reach::Reach;
use scheduled::Scheduled;
use series::Series;
use topics::{Readers, TopicHoldings};
use why::{Silent, Why};

/// Producer group of what is sent from pages.
pub const PRODUCER_GROUP: &str = "CONSOLE_PRODUCER";

/// Answers about single topics and groups that are kept at most.
const SINGLES_MAX: usize = 4096;

/// Age at which an answer is dropped that nobody asks for any more.
const UNUSED_MAX: Duration = Duration::from_secs(30);

/// Time between two looks at the end of a topic.
pub const TAIL_STEP: Duration = Duration::from_secs(2);

/// Ends of topics that are kept at most; each holds messages with their bodies.
const TAILS_MAX: usize = 16;

/// One cluster, seen through its nameservers.
#[derive(Debug)]
pub struct Cluster {
    admin: Admin,
    /// One for every nameserver, to see where they differ.
    nameservers: Vec<(String, Admin)>,
    producer: Producer,
    reach: Reach,
    brokers: Kept<(), Brokers>,
    catalog: Kept<(), Catalog>,
    consumption: Kept<(), Consumption>,
    producers: Kept<(), Producers>,
    holdings: Kept<String, TopicHoldings>,
    readers: Kept<String, Readers>,
    progress: Kept<String, Progress>,
    members: Kept<String, Membership>,
    tails: Kept<String, Scanned>,
    scheduled: Kept<(), Scheduled>,
    /// Figures of the last hour.
    pub series: Series,
}

impl Cluster {
    /// The cluster of these nameservers; asks nobody yet.
    pub fn new(nameservers: Nameservers) -> Cluster {
        let single = |address: &String| {
            let alone = Nameservers::parse(address, nameservers.connections().clone()).ok()?;
            Some((address.clone(), Admin::new(alone)))
        };
        Cluster {
            nameservers: nameservers.addresses().iter().filter_map(single).collect(),
            producer: Producer::new(nameservers.clone(), PRODUCER_GROUP),
            reach: Reach::new(nameservers.connections().clone()),
            admin: Admin::new(nameservers),
            brokers: Kept::new(Duration::from_secs(2), 1),
            catalog: Kept::new(Duration::from_secs(3), 1),
            consumption: Kept::new(Duration::from_secs(5), 1),
            producers: Kept::new(Duration::from_secs(5), 1),
            holdings: Kept::new(Duration::from_secs(3), SINGLES_MAX),
            readers: Kept::new(Duration::from_secs(5), SINGLES_MAX),
            progress: Kept::new(Duration::from_secs(2), SINGLES_MAX),
            members: Kept::new(Duration::from_secs(5), SINGLES_MAX),
            tails: Kept::new(TAIL_STEP, TAILS_MAX),
            scheduled: Kept::new(Duration::from_secs(2), 1),
            series: Series::default(),
        }
    }

    /// Addresses of the nameservers.
    pub fn nameserver_addresses(&self) -> impl Iterator<Item = &str> {
        self.nameservers.iter().map(|(address, _)| address.as_str())
    }

    /// Nameservers and brokers, with what each broker says about itself.
    pub async fn brokers(&self) -> Arc<Brokers> {
        let brokers = self.brokers.get(&(), self.fetch_brokers()).await;
        if brokers.brokers.is_empty() {
            // A cluster that starts is looked at again at once: its first broker may be there any moment.
            self.brokers.forget();
        }
        brokers
    }

    /// Topics and groups as they are configured.
    pub async fn catalog(&self) -> Arc<Catalog> {
        let brokers = self.brokers().await;
        if brokers.brokers.is_empty() {
            return Arc::new(Catalog {
                asked_ms: brokers.asked_ms,
                silent: brokers.silent.clone(),
                ..Catalog::default()
            });
        }
        self.catalog.get(&(), self.fetch_catalog(&brokers)).await
    }

    /// How far all groups are.
    pub async fn consumption(&self) -> Arc<Consumption> {
        self.consumption.get(&(), async { self.fetch_consumption(self.brokers().await.as_ref()).await }).await
    }

    /// Producers that are connected.
    pub async fn producers(&self) -> Arc<Producers> {
        self.producers.get(&(), async { self.fetch_producers(self.brokers().await.as_ref()).await }).await
    }

    /// What the queues of a topic hold.
    pub async fn holdings(&self, topic: &str) -> Arc<TopicHoldings> {
        let fetch = async { self.fetch_holdings(self.brokers().await.as_ref(), topic).await };
        self.holdings.get(&topic.to_owned(), fetch).await
    }

    /// Which groups consume a topic.
    pub async fn readers(&self, topic: &str) -> Arc<Readers> {
        let fetch = async { self.fetch_readers(self.brokers().await.as_ref(), topic).await };
        self.readers.get(&topic.to_owned(), fetch).await
    }

    /// How far one group is.
    pub async fn progress(&self, group: &str) -> Arc<Progress> {
        let fetch = async { self.fetch_progress(self.brokers().await.as_ref(), group).await };
        self.progress.get(&group.to_owned(), fetch).await
    }

    /// Who is connected for a group.
    pub async fn members(&self, group: &str) -> Arc<Membership> {
        let fetch = async { self.fetch_members(self.brokers().await.as_ref(), group).await };
        self.members.get(&group.to_owned(), fetch).await
    }

    /// The newest messages of a topic; one reading serves all who watch.
    pub async fn tail(&self, topic: &str) -> Arc<Scanned> {
        self.tails.get(&topic.to_owned(), self.fetch_tail(topic)).await
    }

    /// Messages that wait for their time.
    pub async fn scheduled(&self) -> Arc<Scheduled> {
        self.scheduled.get(&(), async { self.fetch_scheduled(self.brokers().await.as_ref()).await }).await
    }

    /// Forgets what is kept, after something was changed: the next page shows it.
    pub fn forget(&self) {
        self.brokers.forget();
        self.catalog.forget();
        self.consumption.forget();
        self.producers.forget();
        self.holdings.forget();
        self.readers.forget();
        self.progress.forget();
        self.members.forget();
        self.tails.forget();
    }

    /// Forgets what nobody has asked for lately: a console that nobody looks at stays small.
    pub fn rest(&self) {
        self.catalog.forget_older(UNUSED_MAX);
        self.producers.forget_older(UNUSED_MAX);
        self.holdings.forget_older(UNUSED_MAX);
        self.readers.forget_older(UNUSED_MAX);
        self.progress.forget_older(UNUSED_MAX);
        self.members.forget_older(UNUSED_MAX);
        self.tails.forget_older(UNUSED_MAX);
    }

    /// Asks every one of `brokers` the same at a time; answers in their order.
    async fn ask_all<'b, T, E, F>(
        &self,
        brokers: impl IntoIterator<Item = &'b BrokerAt>,
        question: impl Fn(&'b BrokerAt) -> F,
    ) -> Vec<(&'b BrokerAt, Result<T, Why>)>
    where
        F: Future<Output = Result<T, E>>,
        for<'e> Why: From<&'e E>,
    {
        let asking = brokers.into_iter().map(|at| {
            let answer = self.reach.ask(&at.address, question(at));
            async move { (at, answer.await) }
        });
        futures_util::future::join_all(asking).await
    }
}

/// The silent ones among answers, by name.
fn silent_among<'a, T: 'a>(answers: impl IntoIterator<Item = &'a (&'a BrokerAt, Result<T, Why>)>) -> Vec<Silent> {
    let silent = answers.into_iter().filter_map(|(at, answer)| match answer {
        Err(why) if why.is_silence() => Some(Silent { node: at.to_string(), why: why.clone() }),
        _ => None,
    });
    silent.collect()
}
