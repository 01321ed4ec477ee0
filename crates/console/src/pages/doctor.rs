//! `/doctor`: checks for what usually goes wrong, each with its verdict, its evidence and the next command to run.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::State;
use client::clock;
use maud::{Markup, html};

use crate::app::App;
use crate::cluster::Cluster;
use crate::cluster::brokers::Brokers;
use crate::cluster::catalog::TopicKind;
use crate::cluster::consumption::{Consumption, Membership};
use crate::cluster::series::Figure;
use crate::cluster::topics::{Readers, TopicHoldings};
use crate::cluster::why::Silent;
use crate::html::{Tone, copyable, head, nothing, state};
use crate::input::Params;
use crate::language::{Language, fill};
use crate::page::{Page, PageError, Section};
use crate::show;
use crate::viewer::Viewer;

/// Topics or groups that are asked for one by one, at most, for one check.
const ASKED_MAX: usize = 50;

/// Lines of evidence of one check that are shown.
const EVIDENCE_MAX: usize = 20;

/// Shares of a disk from which on it is worth a look, and is nearly full.
const DISK_LOOK: f64 = 0.75;
const DISK_BAD: f64 = 0.85;

/// Clocks that are further apart than this disturb delays and times, in milliseconds. Brokers tell theirs to the
/// second, and are asked within two.
const SKEW_MS: i64 = 5_000;

/// Dead letters that are younger than this are new, in milliseconds.
const DEAD_NEW_MS: i64 = 3_600_000;

/// What a check says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Check {
    /// What was looked for.
    pub what: &'static str,
    /// Found something broken.
    is_bad: bool,
    /// What was found.
    pub evidence: Vec<String>,
    /// What was not looked at, or not told.
    pub gaps: Vec<String>,
    /// The next command to run when something was found.
    pub next: String,
}

impl Check {
    fn new(what: &'static str, next: impl Into<String>) -> Check {
        Check { what, next: next.into(), ..Check::default() }
    }

    /// How bad it is.
    pub fn tone(&self) -> Tone {
        match (self.evidence.is_empty(), self.is_bad, self.gaps.is_empty()) {
            (false, true, _) => Tone::Bad,
            (false, false, _) => Tone::Warning,
            (true, _, false) => Tone::Plain,
            (true, _, true) => Tone::Good,
        }
    }
}

/// What all checks say.
#[derive(Clone, Debug)]
pub struct Examined {
    /// The checks.
    pub checks: Vec<Check>,
    /// When brokers were asked, in milliseconds since 1970.
    pub asked_ms: i64,
    /// Who did not answer.
    pub silent: Vec<Silent>,
}

/// `GET /doctor`
pub async fn page(State(app): State<Arc<App>>, viewer: Viewer, Params(params): Params) -> Result<Page, PageError> {
    params.only(&[])?;
    let language = viewer.language;
    let examined = examine(&app.cluster, language).await;
    Ok(Page::new(Section::Doctor, language.doctor())
        .asked_at(examined.asked_ms)
        .without(&examined.silent)
        .still(head(html! { (language.doctor()) }, html! { (language.doctor_about()) }, nothing()))
        .live("doctor", list(&viewer, &examined.checks)))
}

/// Looks at everything.
pub async fn examine(cluster: &Cluster, language: Language) -> Examined {
    let (brokers, catalog, consumption) = tokio::join!(cluster.brokers(), cluster.catalog(), cluster.consumption());
    let groups: Vec<&str> =
        catalog.groups.values().filter(|group| !group.is_system).map(|group| group.name.as_str()).collect();
    let members = groups.iter().take(ASKED_MAX).map(async |group| (*group, cluster.members(group).await));
    let dead: Vec<&str> = catalog.dead_letter_topics().map(|(_, topic)| topic.name.as_str()).collect();
    let topics: Vec<&str> = catalog
        .topics
        .values()
        .filter(|topic| topic.kind == TopicKind::User)
        .map(|topic| topic.name.as_str())
        .collect();
    let letters = dead.iter().take(ASKED_MAX).map(async |topic| (*topic, cluster.holdings(topic).await));
    let reads = topics
        .iter()
        .take(ASKED_MAX)
        .map(async |topic| (*topic, cluster.holdings(topic).await, cluster.readers(topic).await));
    let (members, letters, reads) = tokio::join!(
        futures_util::future::join_all(members),
        futures_util::future::join_all(letters),
        futures_util::future::join_all(reads),
    );
    let points = |group: &str| cluster.series.points(&Figure::LagOf(group.to_owned()));
    let checks = vec![
        nodes(language, &brokers),
        nameservers(language, &brokers),
        addresses(language, &brokers),
        disks(language, &brokers),
        clocks(language, &brokers),
        subscriptions(language, groups.len(), &members),
        lags(language, &consumption, points),
        dead_letters(language, dead.len(), &letters, clock::now_ms()),
        unread(language, topics.len(), &reads),
    ];
    let mut silent: Vec<Silent> = Vec::new();
    for one in [&brokers.silent, &catalog.silent, &consumption.silent].into_iter().flatten() {
        if !silent.iter().any(|known| known.node == one.node) {
            silent.push(one.clone());
        }
    }
    Examined { checks, asked_ms: brokers.asked_ms, silent }
}

fn list(viewer: &Viewer, checks: &[Check]) -> Markup {
    let language = viewer.language;
    let worst = |tone: Tone| checks.iter().filter(|check| check.tone() == tone).count();
    let (bad, look, unknown) = (worst(Tone::Bad), worst(Tone::Warning), worst(Tone::Plain));
    let tone = match (bad, look, unknown) {
        (0, 0, 0) => Tone::Good,
        (0, 0, _) => Tone::Plain,
        (0, ..) => Tone::Warning,
        _ => Tone::Bad,
    };
    let found = bad + look;
    html! {
        p { (state(tone, &if found == 0 { language.doctor_good().to_owned() } else { fill(language.doctor_found(), &[&found, &checks.len()]) }))
            @if 0 < unknown { " " (fill(language.doctor_unknown(), &[&unknown])) } }
        // What is broken comes first.
        @for wanted in [Tone::Bad, Tone::Warning, Tone::Plain, Tone::Good] {
            @for check in checks.iter().filter(|check| check.tone() == wanted) { (one(language, check)) }
        }
    }
}

fn one(language: Language, check: &Check) -> Markup {
    let (class, word) = match check.tone() {
        Tone::Good => ("good", language.check_good()),
        Tone::Warning => ("warning", language.check_look()),
        Tone::Bad => ("bad", language.check_bad()),
        Tone::Plain => ("plain", language.check_unknown()),
    };
    html! {
        div.notice.(class) {
            p { (state(check.tone(), word)) " " b { (check.what) } }
            @if !check.evidence.is_empty() || !check.gaps.is_empty() {
                ul {
                    @for line in check.evidence.iter().take(EVIDENCE_MAX) { li { (line) } }
                    @if EVIDENCE_MAX < check.evidence.len() { li { (fill(language.checked_first(), &[&EVIDENCE_MAX, &check.evidence.len()])) } }
                    @for gap in &check.gaps { li.faint { (gap) } }
                }
            }
            @if !check.evidence.is_empty() { (copyable(&check.next)) }
        }
    }
}

fn nodes(language: Language, brokers: &Brokers) -> Check {
    let mut check = Check::new(language.check_nodes(), "apogee cluster list --watch");
    check.is_bad = true;
    check.evidence = brokers.silent.iter().map(|silent| format!("{}: {}", silent.node, silent.why)).collect();
    check
}

fn nameservers(language: Language, brokers: &Brokers) -> Check {
    let first = brokers.nameservers.first().map_or("127.0.0.1:9876", |view| view.address.as_str());
    let mut check =
        Check::new(language.check_nameservers(), format!("apogee cluster list -n {}", show::shell_word(first)));
    for view in &brokers.nameservers {
        let Ok(known) = &view.brokers else {
            check.gaps.push(format!("{}: {}", view.address, language.check_unknown()));
            continue;
        };
        for at in brokers.missing_at(view) {
            check.next = format!("apogee cluster list -n {}", show::shell_word(&view.address));
            check.evidence.push(fill(language.nameserver_lacks_broker(), &[&view.address, at]));
        }
        for at in known {
            let other = brokers.brokers.iter().map(|broker| &broker.at);
            let other = other.filter(|other| (&other.cluster, &other.name, other.id) == (&at.cluster, &at.name, at.id));
            for other in other.filter(|other| other.address != at.address) {
                let values: [&dyn std::fmt::Display; 4] = [&view.address, &at.address, at, &other.address];
                check.evidence.push(fill(language.nameserver_tells_otherwise(), &values));
            }
        }
    }
    check
}

/// The IP of an address; names have none.
fn ip_of(address: &str) -> Option<IpAddr> {
    address.parse::<SocketAddr>().ok().map(|address| address.ip())
}

fn addresses(language: Language, brokers: &Brokers) -> Check {
    let mut check =
        Check::new(language.check_addresses(), "apogee mqadmin updateBrokerConfig -k brokerIP1 -v ADDRESS -b BROKER");
    // Where the nameservers are on this machine too, it is a cluster for one machine.
    let is_local = |address: &str| ip_of(address).is_some_and(|ip| ip.is_loopback());
    let is_for_one_machine =
        brokers.nameservers.iter().all(|view| is_local(&view.address) || view.address.starts_with("localhost:"));
    for broker in &brokers.brokers {
        let at = &broker.at;
        if ip_of(&at.address).is_some_and(|ip| ip.is_unspecified()) {
            check.is_bad = true;
            check.evidence.push(fill(language.address_is_nowhere(), &[at, &at.address]));
        } else if is_local(&at.address) && !is_for_one_machine {
            check.is_bad = true;
            check.evidence.push(fill(language.address_is_local(), &[at, &at.address]));
        }
    }
    check
}

fn disks(language: Language, brokers: &Brokers) -> Check {
    let mut check = Check::new(language.check_disk(), "apogee mqadmin deleteExpiredCommitLog");
    for broker in &brokers.brokers {
        let Ok(runtime) = &broker.runtime else { continue };
        match runtime.disk_used() {
            Some(used) if DISK_LOOK <= used => {
                check.is_bad |= DISK_BAD <= used;
                check.evidence.push(fill(language.disk_is_at(), &[&broker.at, &show::percent(used)]));
            }
            Some(_) => {}
            None => check.gaps.push(format!("{}: {}", broker.at, language.not_told_short())),
        }
    }
    check
}

fn clocks(language: Language, brokers: &Brokers) -> Check {
    let mut check = Check::new(language.check_clocks(), "timedatectl timesync-status");
    let mut told = Vec::new();
    let mut untold = Vec::new();
    for broker in &brokers.brokers {
        let Ok(runtime) = &broker.runtime else { continue };
        match runtime.clock_ms() {
            Some(clock_ms) => told.push((clock_ms, &broker.at)),
            None => untold.push(broker.at.to_string()),
        }
    }
    if !untold.is_empty() {
        check.gaps.push(fill(language.clocks_not_told(), &[&untold.join(", ")]));
    }
    if let Some((slowest_ms, slowest)) = told.iter().min() {
        for (clock_ms, at) in &told {
            if SKEW_MS < clock_ms - slowest_ms {
                let ahead = show::duration(clock_ms - slowest_ms);
                check.evidence.push(fill(language.clock_is_off(), &[at, slowest, &ahead]));
            }
        }
    }
    check
}

fn subscriptions(language: Language, all: usize, members: &[(&str, Arc<Membership>)]) -> Check {
    let mut check = Check::new(language.check_subscriptions(), "");
    check.is_bad = true;
    for (group, members) in members {
        if !members.differing.is_empty() {
            check.next = format!("apogee mqadmin consumerConnection -g {}", show::shell_word(group));
            check.evidence.push(fill(language.group_differs_on(), &[group, &members.differing.join(", ")]));
        }
    }
    check.gap_after(language, members.len(), all);
    check
}

fn lags(language: Language, consumption: &Consumption, points: impl Fn(&str) -> Vec<Option<f32>>) -> Check {
    let mut check = Check::new(language.check_lag(), "");
    if consumption.is_partial {
        check.gaps.push(language.groups_unknown().to_owned());
    }
    for (group, progress) in &consumption.groups {
        let Some(lag) = progress.lag().filter(|lag| 0 < *lag) else { continue };
        let known: Vec<f32> = points(group).into_iter().flatten().collect();
        let Some(growth) = growth(&known) else { continue };
        if check.evidence.is_empty() {
            check.next = format!("apogee group progress {} --watch", show::shell_word(group));
        }
        check.evidence.push(fill(language.lag_grew(), &[group, &show::count(lag), &show::count(growth as i64)]));
    }
    check
}

/// The least of a line that ends at its top, above what it began with; `None` of any other line. Five points are a
/// minute: fewer say nothing.
fn growth(points: &[f32]) -> Option<f32> {
    let (first, last) = (points.first()?, points.last()?);
    let top = points.iter().copied().fold(0.0, f32::max);
    let least = points.iter().copied().fold(f32::INFINITY, f32::min);
    (5 <= points.len() && first < last && top <= *last).then_some(least)
}

fn dead_letters(language: Language, all: usize, topics: &[(&str, Arc<TopicHoldings>)], now_ms: i64) -> Check {
    let mut check = Check::new(language.check_dead_letters(), "");
    for (topic, holdings) in topics {
        let Some(kept) = holdings.messages().filter(|kept| 0 < *kept) else { continue };
        let kept = show::count(kept);
        let rate = holdings.in_per_second.filter(|rate| 0.005 <= *rate);
        let age = holdings.last_stored_ms().map(|stored_ms| now_ms - stored_ms).filter(|age| *age < DEAD_NEW_MS);
        let line = match (rate, age) {
            (Some(rate), _) => fill(language.dead_come_in(), &[topic, &show::rate(rate), &kept]),
            (None, Some(age)) => fill(language.dead_lately(), &[topic, &show::duration(age), &kept]),
            (None, None) => continue,
        };
        check.next = format!("apogee consume {}", show::shell_word(topic));
        check.evidence.push(line);
    }
    check.gap_after(language, topics.len(), all);
    check
}

fn unread(language: Language, all: usize, topics: &[(&str, Arc<TopicHoldings>, Arc<Readers>)]) -> Check {
    let mut check = Check::new(language.check_unread(), "");
    for (topic, holdings, readers) in topics {
        // Who did not tell may know of a group.
        let is_told = readers.refusals.is_empty() && readers.silent.is_empty();
        let Some(kept) = holdings.messages().filter(|kept| 0 < *kept) else { continue };
        if is_told && readers.groups.is_empty() {
            check.next = format!("apogee consume {} --group GROUP", show::shell_word(topic));
            check.evidence.push(fill(language.unread_topic(), &[topic, &show::count(kept)]));
        } else if !is_told {
            check.gaps.push(format!("{topic}: {}", language.not_told_short()));
        }
    }
    check.gap_after(language, topics.len(), all);
    check
}

impl Check {
    fn gap_after(&mut self, language: Language, looked: usize, all: usize) {
        if looked < all {
            self.gaps.push(fill(language.checked_first(), &[&looked, &all]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::brokers::{Broker, BrokerAt, NameserverView, Runtime};
    use crate::cluster::why::Why;

    fn at(name: &str, address: &str) -> BrokerAt {
        BrokerAt { cluster: "c".into(), name: name.into(), id: 0, address: address.into() }
    }

    fn broker(name: &str, address: &str, pairs: &[(&str, &str)]) -> Broker {
        let runtime = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Broker { at: at(name, address), runtime: Ok(Runtime(runtime)) }
    }

    fn cluster(nameservers: &[(&str, Vec<BrokerAt>)], brokers: Vec<Broker>) -> Brokers {
        let view = |(address, known): &(&str, Vec<BrokerAt>)| NameserverView {
            address: (*address).to_owned(),
            brokers: Ok(known.clone()),
        };
        Brokers { asked_ms: 0, nameservers: nameservers.iter().map(view).collect(), brokers, silent: Vec::new() }
    }

    #[test]
    fn nameservers_that_differ_are_found_by_name_and_by_address() {
        let all = || vec![at("a", "10.0.0.1:1"), at("b", "10.0.0.2:1")];
        let brokers = || vec![broker("a", "10.0.0.1:1", &[]), broker("b", "10.0.0.2:1", &[])];
        let good = nameservers(Language::English, &cluster(&[("n1:1", all()), ("n2:1", all())], brokers()));
        assert_eq!((good.tone(), good.evidence.len()), (Tone::Good, 0));
        let other = vec![at("a", "192.168.0.1:1")];
        let bad = nameservers(Language::English, &cluster(&[("n1:1", all()), ("n2:1", other)], brokers()));
        assert_eq!(bad.evidence, ["n2:1 does not know b", "n2:1 tells 192.168.0.1:1 for a, another tells 10.0.0.1:1"]);
    }

    #[test]
    fn addresses_of_the_own_machine_are_wrong_only_for_others() {
        let told = |nameserver: &str, address: &str| {
            addresses(Language::English, &cluster(&[(nameserver, Vec::new())], vec![broker("a", address, &[])])).tone()
        };
        assert_eq!(told("127.0.0.1:9876", "127.0.0.1:10911"), Tone::Good);
        assert_eq!(told("10.0.0.1:9876", "127.0.0.1:10911"), Tone::Bad);
        assert_eq!(told("10.0.0.1:9876", "10.0.0.2:10911"), Tone::Good);
        assert_eq!(told("127.0.0.1:9876", "0.0.0.0:10911"), Tone::Bad);
    }

    #[test]
    fn disks_are_judged_by_their_share_and_a_missing_one_is_no_good_news() {
        let told = |used: &str| {
            let brokers = vec![broker("a", "10.0.0.1:1", &[("commitLogDiskRatio", used)])];
            disks(Language::English, &cluster(&[], brokers)).tone()
        };
        assert_eq!(
            [told("0.5"), told("0.76"), told("0.9"), told("?")],
            [Tone::Good, Tone::Warning, Tone::Bad, Tone::Plain]
        );
    }

    #[test]
    fn clocks_are_compared_among_brokers() {
        let told = |second: &str| {
            let runtime = "[ 0 days, 0 hours, 1 minutes, 0 seconds ]";
            let one = [("bootTimestamp", "1796000000000"), ("runtime", runtime)];
            let other = [("bootTimestamp", second), ("runtime", runtime)];
            let brokers = vec![broker("a", "10.0.0.1:1", &one), broker("b", "10.0.0.2:1", &other)];
            clocks(Language::English, &cluster(&[], brokers)).evidence
        };
        assert!(told("1796000002000").is_empty());
        assert_eq!(told("1796000090000"), ["b is ahead of a by 1 min 30 s"]);
    }

    #[test]
    fn a_lag_grows_when_it_ends_at_its_top() {
        assert_eq!(growth(&[1.0, 2.0, 3.0, 4.0, 9.0]), Some(1.0));
        assert_eq!(growth(&[1.0, 20.0, 3.0, 4.0, 9.0]), None);
        assert_eq!(growth(&[9.0, 9.0, 9.0, 9.0, 9.0]), None);
        assert_eq!(growth(&[1.0, 9.0]), None);
    }

    #[test]
    fn silent_nodes_are_broken_with_their_reason() {
        let mut brokers = cluster(&[], Vec::new());
        let silent = crate::cluster::why::Silent { node: "b".into(), why: Why::Unreachable("refused".into()) };
        brokers.silent.push(silent);
        let check = nodes(Language::English, &brokers);
        assert_eq!((check.tone(), check.evidence), (Tone::Bad, vec!["b: refused".to_owned()]));
    }
}
