//! What the load goes to: brokers, and topics on them.

use std::collections::BTreeMap;

use anyhow::Context;
use client::admin::NewTopic;
use client::{Admin, Connections, Nameservers, route};
use protocol::bodies::subscription_group::SubscriptionGroupConfig;
use tokio::task::JoinSet;

use super::arguments::Common;
use super::send_frame::Address;
use super::topics::Topics;
use crate::cluster;
use crate::command_line::Access;

/// Questions to brokers that are under way at the same time.
const AT_ONCE: usize = 64;

/// A queue, and where to begin to read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readable {
    /// Which one.
    pub address: Address,
    /// Offset of the first message.
    pub min_offset: i64,
    /// Offset after the last.
    pub max_offset: i64,
}

/// A broker under load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Address.
    pub address: String,
    /// Queues of the topics there, in order; empty if they are only written to.
    pub queues: Vec<Readable>,
}

/// Creates the topics on the brokers that the flags name.
pub fn create(common: &Common, access: &Access, topics: &Topics, queues: i32) -> anyhow::Result<Vec<Target>> {
    block_on(async {
        let (admin, addresses) = if common.brokers.is_empty() {
            let admin = cluster::admin(access)?;
            let masters = admin.masters().await.context("cannot find brokers")?;
            (admin, masters.into_iter().map(|master| master.address).collect())
        } else {
            (past_nameserver(common)?, common.brokers.clone())
        };
        let mut creating = AtOnce::default();
        for address in &addresses {
            for number in 0..topics.count() {
                let topic = NewTopic { name: topics.name(number), queues, perm: 6, attributes: Vec::new() };
                let (admin, address) = (admin.clone(), address.clone());
                creating
                    .add(async move {
                        let created = admin.create_topic_at(&address, &topic).await;
                        created.with_context(|| format!("cannot create topic `{}` at `{address}`", topic.name))
                    })
                    .await?;
            }
        }
        creating.finish().await?;
        Ok(addresses.into_iter().map(|address| Target { address, queues: Vec::new() }).collect())
    })
}

/// Asks the brokers where the queues that were just created begin and end.
pub fn look(
    targets: Vec<Target>,
    common: &Common,
    access: &Access,
    topics: &Topics,
    queues: i32,
) -> anyhow::Result<Vec<Target>> {
    block_on(async {
        let admin = if common.brokers.is_empty() { cluster::admin(access)? } else { past_nameserver(common)? };
        let brokers = targets.into_iter().map(|target| (target.address, queues));
        look_at_queues(&admin, topics, brokers).await
    })
}

/// The brokers that the flags name, and what they hold of a topic that exists.
pub fn find(common: &Common, access: &Access, queues: i32) -> anyhow::Result<Vec<Target>> {
    let topics = Topics::one(&common.topic);
    block_on(async {
        if common.brokers.is_empty() {
            let nameservers = cluster::nameservers(access)?;
            let found = nameservers.route(&common.topic).await.context("cannot find brokers")?;
            let found = found.with_context(|| format!("topic `{}` does not exist", common.topic))?;
            let mut brokers = BTreeMap::new();
            for queue in route::readable(&found) {
                *brokers.entry(queue.address).or_insert(0) += 1;
            }
            return look_at_queues(&Admin::new(nameservers), &topics, brokers).await;
        }
        let brokers = common.brokers.iter().map(|address| (address.clone(), queues));
        look_at_queues(&past_nameserver(common)?, &topics, brokers).await
    })
}

/// Creates consumer groups on the brokers that the flags name: stock servers refuse settings of a group that nobody
/// created.
pub fn create_groups(common: &Common, access: &Access, groups: &[String]) -> anyhow::Result<()> {
    block_on(async {
        let (admin, addresses) = if common.brokers.is_empty() {
            let admin = cluster::admin(access)?;
            let masters = admin.masters().await.context("cannot find brokers")?;
            (admin, masters.into_iter().map(|master| master.address).collect())
        } else {
            (past_nameserver(common)?, common.brokers.clone())
        };
        for address in &addresses {
            for group in groups {
                let group = SubscriptionGroupConfig { group_name: group.clone(), ..SubscriptionGroupConfig::default() };
                let created = admin.create_group_at(address, &group).await;
                created.with_context(|| format!("cannot create group `{}` at `{address}`", group.group_name))?;
            }
        }
        Ok(())
    })
}

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(work)
}

/// Administers named brokers. No nameserver is asked.
fn past_nameserver(common: &Common) -> anyhow::Result<Admin> {
    Ok(Admin::new(Nameservers::parse(&common.brokers.join(";"), Connections::default())?))
}

async fn look_at_queues(
    admin: &Admin,
    topics: &Topics,
    brokers: impl IntoIterator<Item = (String, i32)>,
) -> anyhow::Result<Vec<Target>> {
    let mut targets = Vec::new();
    for (address, count) in brokers {
        let mut asking = AtOnce::default();
        for topic in 0..topics.count() {
            let name = topics.name(topic);
            for queue in 0..count {
                let (admin, address, name) = (admin.clone(), address.clone(), name.clone());
                asking
                    .add(async move {
                        let range = admin.offset_range(&address, &name, queue).await;
                        let range = range.with_context(|| format!("cannot look at topic `{name}`"))?;
                        let address = Address { topic, queue };
                        anyhow::Ok(Readable { address, min_offset: range.start, max_offset: range.end })
                    })
                    .await?;
            }
        }
        let mut queues = asking.finish().await?;
        queues.sort_by_key(|queue| (queue.address.topic, queue.address.queue));
        targets.push(Target { address, queues });
    }
    Ok(targets)
}

/// Work of which a limited number of pieces is under way at the same time. The first error ends it.
struct AtOnce<T> {
    running: JoinSet<anyhow::Result<T>>,
    done: Vec<T>,
}

impl<T> Default for AtOnce<T> {
    fn default() -> Self {
        AtOnce { running: JoinSet::new(), done: Vec::new() }
    }
}

impl<T: Send + 'static> AtOnce<T> {
    async fn add(&mut self, work: impl Future<Output = anyhow::Result<T>> + Send + 'static) -> anyhow::Result<()> {
        if AT_ONCE <= self.running.len() {
            self.take().await?;
        }
        self.running.spawn(work);
        Ok(())
    }

    async fn take(&mut self) -> anyhow::Result<bool> {
        let Some(one) = self.running.join_next().await else { return Ok(false) };
        self.done.push(one.context("a task panicked")??);
        Ok(true)
    }

    async fn finish(mut self) -> anyhow::Result<Vec<T>> {
        while self.take().await? {}
        Ok(self.done)
    }
}
