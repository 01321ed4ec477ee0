//! What a nameserver shows to Prometheus. Stock ones show nothing, so all names are our own.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use metrics::{Family, Page, Source};
use protocol::codes::RequestCode;

use crate::handlers::Nameserver;

const BROKERS: Family = Family::gauge("apogee_namesrv_brokers", "Brokers that are alive");
const TOPICS: Family = Family::gauge("apogee_namesrv_topics", "Topics that some broker has");
const ROUTES: Family =
    Family::counter("apogee_namesrv_route_requests", "Routes that were asked for, by whether there was one");
const REGISTRATIONS: Family = Family::counter("apogee_namesrv_registrations", "Registrations of brokers");
const REQUESTS: Family = Family::counter("apogee_namesrv_requests", "Requests of any kind");

/// What a nameserver has done.
#[derive(Debug, Default)]
pub struct Counters {
    requests: AtomicU64,
    registrations: AtomicU64,
    routes_found: AtomicU64,
    routes_missed: AtomicU64,
}

impl Counters {
    /// A request was served; says whether it was refused.
    pub fn note(&self, request: RequestCode, is_refused: bool) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let counter = match request {
            RequestCode::REGISTER_BROKER if !is_refused => &self.registrations,
            RequestCode::GET_ROUTEINFO_BY_TOPIC if is_refused => &self.routes_missed,
            RequestCode::GET_ROUTEINFO_BY_TOPIC => &self.routes_found,
            _ => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Clusters that the series are labelled with. A nameserver mostly serves one.
const CLUSTERS_MAX: usize = 8;

/// A nameserver as Prometheus sees it. Does not keep the nameserver.
pub struct NameserverSeries {
    nameserver: Weak<Nameserver>,
    /// Host name and port.
    node_id: String,
    /// Clusters that brokers came from. A cluster whose last broker is gone stays: its series must not change their
    /// labels in the moment in which somebody looks at them.
    clusters: Mutex<BTreeSet<String>>,
}

impl NameserverSeries {
    /// The series of a nameserver that listens on that port.
    pub fn new(nameserver: &Arc<Nameserver>, port: u16) -> NameserverSeries {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let node_id = format!("{}:{port}", host.trim());
        NameserverSeries { nameserver: Arc::downgrade(nameserver), node_id, clusters: Mutex::default() }
    }

    /// The clusters that it serves, by name.
    fn clusters(&self, nameserver: &Nameserver) -> String {
        let mut known = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        for cluster in nameserver.clusters() {
            if known.len() < CLUSTERS_MAX {
                known.insert(cluster);
            }
        }
        known.iter().map(String::as_str).collect::<Vec<_>>().join(",")
    }
}

impl Source for NameserverSeries {
    fn write(&self, page: &mut Page) {
        let Some(nameserver) = self.nameserver.upgrade() else { return };
        let clusters = self.clusters(&nameserver);
        let (brokers, topics) = nameserver.sizes();
        let counters = nameserver.counters();
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        page.with_labels(&[
            ("cluster", &*clusters),
            ("node_type", "nameserver"),
            ("node_id", &*self.node_id),
            ("aggregation", "cumulative"),
        ]);
        page.family(&BROKERS, |series| series.value(&[], brokers));
        page.family(&TOPICS, |series| series.value(&[], topics));
        page.family(&ROUTES, |series| {
            series.value(&[("found", "true")], of(&counters.routes_found));
            series.value(&[("found", "false")], of(&counters.routes_missed));
        });
        page.family(&REGISTRATIONS, |series| series.value(&[], of(&counters.registrations)));
        page.family(&REQUESTS, |series| series.value(&[], of(&counters.requests)));
    }

    fn unready(&self) -> Option<String> {
        self.nameserver.upgrade().is_none().then(|| "the nameserver stops".to_owned())
    }
}
