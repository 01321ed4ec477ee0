//! Which nameservers and brokers there are, and what brokers say about themselves (106 and 28).

use std::collections::BTreeMap;
use std::fmt;

use client::clock;
use protocol::bodies::cluster::ClusterInfo;
use protocol::bodies::route::MASTER_ID;

use super::Cluster;
use super::why::{Silent, Why};

/// A broker and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BrokerAt {
    /// Cluster.
    pub cluster: String,
    /// Broker name; a master and its slaves share it.
    pub name: String,
    /// Broker id, 0 for the master.
    pub id: i64,
    /// Address, as a nameserver told it.
    pub address: String,
}

impl BrokerAt {
    /// Whether this is a master.
    pub fn is_master(&self) -> bool {
        self.id == MASTER_ID
    }
}

/// The name, and the id of a slave.
impl fmt::Display for BrokerAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_master() {
            true => f.write_str(&self.name),
            false => write!(f, "{}/{}", self.name, self.id),
        }
    }
}

/// What a broker says about itself (28).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runtime(pub BTreeMap<String, String>);

impl Runtime {
    /// Messages that came in per second, lately.
    pub fn in_per_second(&self) -> Option<f64> {
        self.first_number("putTps")
    }

    /// Messages that went out per second, lately.
    pub fn out_per_second(&self) -> Option<f64> {
        self.first_number("getTransferredTps")
    }

    /// Messages stored since the broker started.
    pub fn messages_in(&self) -> Option<i64> {
        self.number("msgPutTotalTodayNow")
    }

    /// Messages handed out since the broker started.
    pub fn messages_out(&self) -> Option<i64> {
        self.number("msgGetTotalTodayNow")
    }

    /// When the broker started, in milliseconds since 1970.
    pub fn started_ms(&self) -> Option<i64> {
        self.number("bootTimestamp").filter(|time| 0 < *time)
    }

    /// What the broker's clock says, to the second: when it started and how long that is ago, both by that clock.
    pub fn clock_ms(&self) -> Option<i64> {
        let text = self.0.get("runtime")?;
        let parts: Vec<i64> = text
            .split(|c: char| !c.is_ascii_digit())
            .filter(|part| !part.is_empty())
            .map(|part| part.parse().ok())
            .collect::<Option<_>>()?;
        let [days, hours, minutes, seconds]: [i64; 4] = parts.try_into().ok()?;
        let age_ms = [(days, 86_400_000), (hours, 3_600_000), (minutes, 60_000), (seconds, 1000)]
            .into_iter()
            .try_fold(0_i64, |sum, (count, unit): (i64, i64)| sum.checked_add(count.checked_mul(unit)?))?;
        self.started_ms()?.checked_add(age_ms)
    }

    /// Store time of the oldest message that is kept, in milliseconds since 1970.
    pub fn earliest_message_ms(&self) -> Option<i64> {
        self.number("earliestMessageTimeStamp").filter(|time| 0 < *time)
    }

    /// Share of the disk that is used, from 0 to 1.
    pub fn disk_used(&self) -> Option<f64> {
        self.first_number("commitLogDiskRatio").filter(|ratio| (0.0..=1.0).contains(ratio))
    }

    /// Bytes between the first stored message and the last.
    pub fn stored_bytes(&self) -> Option<i64> {
        Some((self.number("commitLogMaxOffset")? - self.number("commitLogMinOffset")?).max(0))
    }

    /// The version, as the broker names it.
    pub fn version(&self) -> Option<&str> {
        self.0.get("brokerVersionDesc").map(String::as_str)
    }

    /// Whether this broker is one of ours.
    pub fn is_apogee(&self) -> bool {
        self.0.keys().any(|key| key.starts_with("apogee."))
    }

    fn number(&self, key: &str) -> Option<i64> {
        self.0.get(key)?.trim().parse().ok()
    }

    /// Rates come as up to three numbers, of the last 10, 60 and 600 seconds.
    fn first_number(&self, key: &str) -> Option<f64> {
        self.0.get(key)?.split_whitespace().next()?.parse().ok().filter(|number: &f64| number.is_finite())
    }
}

/// A broker and what it says.
#[derive(Clone, Debug)]
pub struct Broker {
    /// Which one.
    pub at: BrokerAt,
    /// What it says about itself.
    pub runtime: Result<Runtime, Why>,
}

/// What one nameserver says.
#[derive(Clone, Debug)]
pub struct NameserverView {
    /// Its address.
    pub address: String,
    /// Brokers that it knows.
    pub brokers: Result<Vec<BrokerAt>, Why>,
}

/// All nameservers and brokers at one time.
#[derive(Clone, Debug)]
pub struct Brokers {
    /// When they were asked, in milliseconds since 1970.
    pub asked_ms: i64,
    /// What each nameserver says.
    pub nameservers: Vec<NameserverView>,
    /// Brokers that any nameserver knows, sorted.
    pub brokers: Vec<Broker>,
    /// Who did not answer.
    pub silent: Vec<Silent>,
}

impl Brokers {
    /// Masters.
    pub fn masters(&self) -> impl Iterator<Item = &BrokerAt> {
        self.brokers.iter().map(|broker| &broker.at).filter(|at| at.is_master())
    }

    /// The master of that name.
    pub fn master(&self, name: &str) -> Option<&BrokerAt> {
        self.masters().find(|at| at.name == name)
    }

    /// Whether no nameserver answered.
    pub fn is_blind(&self) -> bool {
        self.nameservers.iter().all(|nameserver| nameserver.brokers.is_err())
    }

    /// Names of clusters, sorted.
    pub fn clusters(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.brokers.iter().map(|broker| broker.at.cluster.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The sum of a figure over the masters that tell it, and how many do not; `None` when none tells it.
    pub fn sum(&self, figure: impl Fn(&Runtime) -> Option<f64>) -> Option<f64> {
        let told = self.brokers.iter().filter(|broker| broker.at.is_master());
        let told: Vec<f64> = told.filter_map(|broker| figure(broker.runtime.as_ref().ok()?)).collect();
        (!told.is_empty()).then(|| told.iter().sum())
    }

    /// Brokers that a nameserver does not know although another one does.
    pub fn missing_at(&self, nameserver: &NameserverView) -> Vec<&BrokerAt> {
        let Ok(known) = &nameserver.brokers else { return Vec::new() };
        let has = |at: &BrokerAt| known.iter().any(|known| (&known.name, known.id) == (&at.name, at.id));
        self.brokers.iter().map(|broker| &broker.at).filter(|at| !has(at)).collect()
    }
}

impl Cluster {
    pub(super) async fn fetch_brokers(&self) -> Brokers {
        let asking = self.nameservers.iter().map(async |(address, admin)| {
            let answer = self.reach.ask(address, admin.cluster()).await;
            NameserverView { address: address.clone(), brokers: answer.map(|cluster| brokers_of(&cluster)) }
        });
        let nameservers = futures_util::future::join_all(asking).await;
        let mut known: Vec<BrokerAt> =
            nameservers.iter().filter_map(|view| view.brokers.as_ref().ok()).flatten().cloned().collect();
        known.sort();
        // Nameservers may tell different addresses of one broker: of inner and outer networks. The first one counts.
        known.dedup_by(|next, first| (&next.cluster, &next.name, next.id) == (&first.cluster, &first.name, first.id));
        let answers = self.ask_all(&known, |at| self.admin.runtime(&at.address)).await;
        let mut silent: Vec<Silent> = nameservers
            .iter()
            .filter_map(|view| Some(Silent { node: view.address.clone(), why: view.brokers.as_ref().err()?.clone() }))
            .collect();
        silent.extend(super::silent_among(&answers));
        let brokers = answers.into_iter().map(|(at, runtime)| Broker { at: at.clone(), runtime: runtime.map(Runtime) });
        Brokers { asked_ms: clock::now_ms(), brokers: brokers.collect(), nameservers, silent }
    }
}

fn brokers_of(cluster: &ClusterInfo) -> Vec<BrokerAt> {
    let brokers = cluster.broker_addr_table.values().flat_map(|broker| {
        broker.broker_addrs.iter().map(|(id, address)| BrokerAt {
            cluster: broker.cluster.clone(),
            name: broker.broker_name.clone(),
            id: *id,
            address: address.clone(),
        })
    });
    brokers.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime(pairs: &[(&str, &str)]) -> Runtime {
        Runtime(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn figures_that_a_broker_does_not_tell_or_that_make_no_sense_are_not_known() {
        let told = runtime(&[("putTps", "12.5 3 1 "), ("commitLogDiskRatio", "0.42"), ("bootTimestamp", "5")]);
        assert_eq!((told.in_per_second(), told.disk_used(), told.started_ms()), (Some(12.5), Some(0.42), Some(5)));
        let odd = runtime(&[("putTps", "many"), ("commitLogDiskRatio", "-1"), ("earliestMessageTimeStamp", "-1")]);
        assert_eq!((odd.in_per_second(), odd.disk_used(), odd.earliest_message_ms()), (None, None, None));
    }

    #[test]
    fn a_clock_is_read_from_start_and_age() {
        let of = |text: &str| runtime(&[("bootTimestamp", "1000"), ("runtime", text)]).clock_ms();
        assert_eq!(of("[ 1 days, 2 hours, 3 minutes, 4 seconds ]"), Some(1000 + 93_784_000));
        for odd in ["", "[ 1 days ]", "[ 1 days, 2 hours, 3 minutes, 99999999999999999999 seconds ]"] {
            assert_eq!(of(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_sum_is_unknown_only_when_nobody_tells_the_figure() {
        let broker = |name: &str, runtime| Broker {
            at: BrokerAt { cluster: "c".into(), name: name.into(), id: 0, address: "a:1".into() },
            runtime,
        };
        let silent = || Err(Why::Unreachable("gone".into()));
        let mut brokers =
            Brokers { asked_ms: 0, nameservers: Vec::new(), brokers: vec![broker("a", silent())], silent: Vec::new() };
        assert_eq!(brokers.sum(Runtime::in_per_second), None);
        brokers.brokers.push(broker("b", Ok(runtime(&[("putTps", "2")]))));
        brokers.brokers.push(broker("c", Ok(runtime(&[("putTps", "3")]))));
        assert_eq!(brokers.sum(Runtime::in_per_second), Some(5.0));
    }
}
