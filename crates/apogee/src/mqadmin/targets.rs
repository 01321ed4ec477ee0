//! Which servers a command is for.

use anyhow::bail;
use clap::Args;
use client::Admin;
use client::admin::Master;
use client::route;

use crate::exit::Partial;

/// One broker, or every master of a cluster.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = true)]
pub struct Target {
    /// Address of a broker
    #[arg(short = 'b', long = "brokerAddr", value_name = "ADDR")]
    pub broker: Option<String>,
    /// Every master of this cluster
    #[arg(short = 'c', long = "clusterName", visible_alias = "cluster", value_name = "CLUSTER")]
    pub cluster: Option<String>,
}

impl Target {
    /// Addresses of the brokers; at least one. As officially, an address counts more than a cluster.
    pub async fn addresses(&self, admin: &Admin) -> anyhow::Result<Vec<String>> {
        match (&self.broker, &self.cluster) {
            (Some(address), _) => Ok(vec![address.clone()]),
            (None, Some(cluster)) => {
                Ok(masters_of(admin, cluster).await?.into_iter().map(|master| master.address).collect())
            }
            (None, None) => Ok(admin.masters().await?.into_iter().map(|master| master.address).collect()),
        }
    }
}

/// Masters of a cluster; at least one.
pub async fn masters_of(admin: &Admin, cluster: &str) -> anyhow::Result<Vec<Master>> {
    let mut masters = admin.masters().await?;
    masters.retain(|master| master.cluster == cluster);
    if masters.is_empty() {
        bail!(crate::exit::NotFound(format!("cluster `{cluster}` has no master")));
    }
    Ok(masters)
}

/// All brokers of a cluster, slaves too; of every cluster when none is named.
pub async fn brokers_of(admin: &Admin, cluster: Option<&str>) -> anyhow::Result<Vec<BrokerOf>> {
    let known = admin.cluster().await?;
    let mut found = Vec::new();
    for (name, brokers) in &known.cluster_addr_table {
        if cluster.is_some_and(|wanted| wanted != name) {
            continue;
        }
        for broker in brokers {
            let Some(data) = known.broker_addr_table.get(broker) else { continue };
            found.extend(data.broker_addrs.iter().map(|(id, address)| BrokerOf {
                cluster: name.clone(),
                broker: broker.clone(),
                id: *id,
                address: address.clone(),
            }));
        }
    }
    found.sort();
    if found.is_empty() {
        let named = cluster.map(|cluster| format!(" in cluster `{cluster}`")).unwrap_or_default();
        bail!(crate::exit::NotFound(format!("no broker is registered{named}")));
    }
    Ok(found)
}

/// A broker of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BrokerOf {
    /// Cluster.
    pub cluster: String,
    /// Broker name.
    pub broker: String,
    /// 0 is the master.
    pub id: i64,
    /// Address.
    pub address: String,
}

/// A broker that has a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BrokerWith {
    /// Broker name.
    pub broker: String,
    /// Address of the master, or of the slave with the lowest id.
    pub address: String,
}

/// Brokers that have a topic, by name; at least one.
pub async fn brokers_with(admin: &Admin, topic: &str) -> anyhow::Result<Vec<BrokerWith>> {
    let found = admin.route(topic).await?;
    let mut brokers: Vec<BrokerWith> = found
        .broker_datas
        .iter()
        .filter_map(|data| {
            let address = route::any_address(data)?.to_owned();
            Some(BrokerWith { broker: data.broker_name.clone(), address })
        })
        .collect();
    brokers.sort();
    if brokers.is_empty() {
        bail!(crate::exit::NotFound(format!("no broker has topic `{topic}`")));
    }
    Ok(brokers)
}

/// Asks one server after the other, and goes on after a failure. When some failed, the outcome is an error that tells all
/// of them; when all did, it is that of the last one.
pub async fn on_each(addresses: &[String], mut ask: impl AsyncFnMut(&str) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut failures = Failures::default();
    for address in addresses {
        failures.note(ask(address).await);
    }
    failures.outcome()
}

/// What failed among several things that are done one after the other.
#[derive(Debug, Default)]
pub struct Failures {
    asked: usize,
    errors: Vec<anyhow::Error>,
}

impl Failures {
    /// One of them is done.
    pub fn note(&mut self, outcome: anyhow::Result<()>) {
        self.asked += 1;
        self.errors.extend(outcome.err());
    }

    /// Whether all went well, some or none.
    pub fn outcome(mut self) -> anyhow::Result<()> {
        let (failed, asked) = (self.errors.len(), self.asked);
        let texts = self.errors.iter().map(|error| format!("{error:#}")).collect();
        match self.errors.pop() {
            None => Ok(()),
            Some(error) if failed == asked => Err(error),
            Some(_) => Err(Partial { failed, asked, texts }.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Status;

    async fn asked(answers: &[(&str, bool)]) -> (Vec<String>, anyhow::Result<()>) {
        let addresses: Vec<String> = answers.iter().map(|(address, _)| (*address).to_owned()).collect();
        let mut seen = Vec::new();
        let outcome = on_each(&addresses, async |address: &str| {
            seen.push(address.to_owned());
            let (_, fine) = answers.iter().find(|(known, _)| *known == address).unwrap();
            if *fine { Ok(()) } else { bail!(crate::exit::NotFound(format!("{address} has it not"))) }
        })
        .await;
        (seen, outcome)
    }

    #[tokio::test]
    async fn every_server_is_asked_and_what_failed_is_told() {
        let (seen, outcome) = asked(&[("a", true), ("b", false), ("c", true)]).await;
        assert_eq!(seen, ["a", "b", "c"]);
        let error = outcome.unwrap_err();
        assert_eq!((Status::of(&error), error.to_string().as_str()), (Status::Partial, "1 of 3 failed: b has it not"));
    }

    #[tokio::test]
    async fn when_all_fail_the_error_is_that_of_the_last() {
        let (_, outcome) = asked(&[("a", false), ("b", false)]).await;
        assert_eq!(Status::of(&outcome.unwrap_err()), Status::NotFound);
        assert!(asked(&[("a", true)]).await.1.is_ok());
    }
}
