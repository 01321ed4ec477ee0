//! How the broker is.

use std::sync::atomic::Ordering;

use metrics::{Family, Page};

use super::truth;
use crate::broker::Broker;

const WATERMARK: Family = Family::gauge(
    "rocketmq_processor_watermark",
    "Requests that wait in the queue of a processor; always 0, since requests are served as they are read",
);
const PERMISSION: Family = Family::gauge("rocketmq_broker_permission", "What clients may do: 2 write, 4 read, 6 both");
const TOPICS: Family = Family::gauge("rocketmq_topic_number", "Topics");
const GROUPS: Family = Family::gauge("rocketmq_consumer_group_number", "Consumer groups");
const TOPIC_CREATIONS: Family = Family::histogram(
    "rocketmq_topic_create_execution_time",
    "Time from a request to create or change topics until that is saved",
)
.in_unit("milliseconds");
const GROUP_CREATIONS: Family = Family::histogram(
    "rocketmq_consumer_group_create_execution_time",
    "Time from a request to create or change consumer groups until that is saved",
)
.in_unit("milliseconds");
const REGISTERED: Family =
    Family::gauge("apogee_nameserver_registered", "Whether the broker is registered with the nameserver");
const CONNECTIONS: Family =
    Family::gauge("apogee_connections", "Open connections of remoting, sessions of gRPC clients");
const REFUSED: Family = Family::counter("apogee_sends_refused", "Sends that were refused");
const SENT_BACK: Family = Family::counter("apogee_messages_sent_back", "Messages handed back by consumers");
const RECALLED: Family = Family::counter("apogee_messages_recalled", "Delayed messages that producers took back");
const CHECKS: Family = Family::counter("apogee_transaction_checks", "Producers asked about half messages");
const PROTOCOL_CLOSES: Family =
    Family::counter("apogee_protocol_closes", "Connections closed because what arrived could not be read");
const PULLS: Family = Family::counter("apogee_pulls", "Pulls answered, by whether they got messages");

/// Processors of a stock broker. Dashboards have a line for each.
const PROCESSORS: [&str; 12] = [
    "send",
    "async_put",
    "pull",
    "ack",
    "query_message",
    "client_manager",
    "heartbeat",
    "lite_pull",
    "transaction",
    "consumer_manager",
    "admin",
    "reply",
];

pub fn write(broker: &Broker, page: &mut Page) {
    page.family(&WATERMARK, |series| {
        PROCESSORS.iter().for_each(|processor| series.value(&[("processor", processor)], 0_u64));
    });
    let permission = i64::from(broker.config.permission.get());
    page.family(&PERMISSION, |series| series.value(&[], permission));
    let (topics, groups) = (broker.topics.all().len(), broker.groups.all().len());
    page.family(&TOPICS, |series| series.value(&[], topics));
    page.family(&GROUPS, |series| series.value(&[], groups));
    let creations =
        [(TOPIC_CREATIONS, &broker.counters.topic_creations), (GROUP_CREATIONS, &broker.counters.group_creations)];
    for (family, times) in creations {
        page.family(&family, |series| {
            for (succeeded, is_system, histogram) in times.all().filter(|(.., histogram)| histogram.count() > 0) {
                let status = if succeeded { "success" } else { "failure" };
                series.histogram(&[("invocation_status", status), ("is_system", truth(is_system))], histogram);
            }
        });
    }
    let registered = broker.registrations.registered_with();
    page.family(&REGISTERED, |series| {
        for nameserver in &broker.config.nameservers {
            series.value(&[("nameserver", nameserver)], registered.contains(nameserver));
        }
    });
    let (connections, sessions) = (broker.connections.len(), broker.sessions.len());
    page.family(&CONNECTIONS, |series| {
        series.value(&[("protocol_type", "remoting")], connections);
        series.value(&[("protocol_type", "grpc")], sessions);
    });
    let counters = &broker.counters;
    for (family, counter) in [
        (REFUSED, &counters.sends_refused),
        (SENT_BACK, &counters.sent_back),
        (RECALLED, &counters.recalled),
        (CHECKS, &counters.transaction_checks),
        (PROTOCOL_CLOSES, &counters.protocol_closes),
    ] {
        page.family(&family, |series| series.value(&[], counter.load(Ordering::Relaxed)));
    }
    page.family(&PULLS, |series| {
        series.value(&[("found", "true")], counters.pulls_found.load(Ordering::Relaxed));
        series.value(&[("found", "false")], counters.pulls_missed.load(Ordering::Relaxed));
    });
}
