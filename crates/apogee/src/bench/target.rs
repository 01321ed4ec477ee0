//! What the load goes to: brokers, and a topic on them.

use std::collections::BTreeMap;

use anyhow::Context;
use client::admin::NewTopic;
use client::{Admin, Connections, Nameservers, route};

use super::LoadArguments;
use crate::cluster;
use crate::command_line::Access;

/// A queue, and where to begin to read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readable {
    /// Number of the queue.
    pub queue_id: i32,
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
    /// Queues of the topic there; empty when it is only written to.
    pub queues: Vec<Readable>,
}

/// The brokers that the flags name. `create` makes the topic on them; otherwise they are asked what it holds.
pub fn find(load: &LoadArguments, access: &Access, create: bool) -> anyhow::Result<Vec<Target>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        match (create, load.brokers.is_empty()) {
            (true, _) => create_topic(load, access).await,
            (false, true) => look_at_route(load, access).await,
            (false, false) => {
                let brokers = load.brokers.iter().map(|address| (address.clone(), load.queues)).collect();
                look_at_queues(&past_nameserver(load)?, load, brokers).await
            }
        }
    })
}

/// Administers named brokers. No nameserver is asked.
fn past_nameserver(load: &LoadArguments) -> anyhow::Result<Admin> {
    Ok(Admin::new(Nameservers::parse(&load.brokers.join(";"), Connections::default())?))
}

async fn create_topic(load: &LoadArguments, access: &Access) -> anyhow::Result<Vec<Target>> {
    let (admin, addresses) = if load.brokers.is_empty() {
        let admin = cluster::admin(access)?;
        let masters = admin.masters().await.context("cannot find brokers")?;
        (admin, masters.into_iter().map(|master| master.address).collect())
    } else {
        (past_nameserver(load)?, load.brokers.clone())
    };
    let topic = NewTopic { name: load.topic.clone(), queues: load.queues, perm: 6, attributes: Vec::new() };
    let mut targets = Vec::new();
    for address in addresses {
        let created = admin.create_topic_at(&address, &topic).await;
        created.with_context(|| format!("cannot create topic `{}` at `{address}`", load.topic))?;
        targets.push(Target { address, queues: Vec::new() });
    }
    Ok(targets)
}

async fn look_at_route(load: &LoadArguments, access: &Access) -> anyhow::Result<Vec<Target>> {
    let nameservers = cluster::nameservers(access)?;
    let found = nameservers.route(&load.topic).await.context("cannot find brokers")?;
    let found = found.with_context(|| format!("topic `{}` does not exist", load.topic))?;
    let mut brokers = BTreeMap::new();
    for queue in route::readable(&found) {
        *brokers.entry(queue.address).or_insert(0) += 1;
    }
    look_at_queues(&Admin::new(nameservers), load, brokers).await
}

async fn look_at_queues(
    admin: &Admin,
    load: &LoadArguments,
    brokers: BTreeMap<String, i32>,
) -> anyhow::Result<Vec<Target>> {
    let mut targets = Vec::new();
    for (address, count) in brokers {
        let mut queues = Vec::new();
        for queue_id in 0..count {
            let range = admin.offset_range(&address, &load.topic, queue_id).await;
            let range = range.with_context(|| format!("cannot look at topic `{}`", load.topic))?;
            queues.push(Readable { queue_id, min_offset: range.start, max_offset: range.end });
        }
        targets.push(Target { address, queues });
    }
    Ok(targets)
}
