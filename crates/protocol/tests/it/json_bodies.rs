//! JSON bodies of recorded frames.

use protocol::bodies::check_client::CheckClientConfig;
use protocol::bodies::cluster::ClusterInfo;
use protocol::bodies::consumer_connection::{ConsumerConnection, ProducerConnection, ProducerTable};
use protocol::bodies::consumer_list::{ConsumerList, GroupList};
use protocol::bodies::heartbeat::HeartbeatData;
use protocol::bodies::kv::KvTable;
use protocol::bodies::queue_lock::{LockedQueues, QueueLockRequest};
use protocol::bodies::registration::RegisterBrokerBody;
use protocol::bodies::route::TopicRouteData;
use protocol::bodies::stats::{ConsumeStats, ConsumeStatsList, ResetOffsets, TopicStatsTable};
use protocol::bodies::subscription_group::{SubscriptionGroupConfig, SubscriptionGroupList, SubscriptionGroupTable};
use protocol::bodies::topic_config::{TopicConfig, TopicConfigList, TopicConfigTable, TopicList};
use protocol::lenient_json::{from_slice, normalise, to_vec};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::recording::{Recorded, Way, frames, frames_of};

/// Where two bodies differ.
#[derive(Debug)]
enum Difference {
    Added(String),
    Lost(String),
    Changed(String),
}

fn differences(path: &str, recorded: &Value, written: &Value, found: &mut Vec<Difference>) {
    match (recorded, written) {
        (Value::Object(recorded), Value::Object(written)) => {
            for (name, value) in recorded {
                let path = format!("{path}.{name}");
                match written.get(name) {
                    Some(again) => differences(&path, value, again, found),
                    None => found.push(Difference::Lost(path)),
                }
            }
            let added = written.keys().filter(|name| !recorded.contains_key(*name));
            found.extend(added.map(|name| Difference::Added(format!("{path}.{name}"))));
        }
        (Value::Array(recorded), Value::Array(written)) if recorded.len() == written.len() => {
            for (value, again) in recorded.iter().zip(written) {
                differences(&format!("{path}.*"), value, again, found);
            }
        }
        (recorded, written) if recorded == written => {}
        (Value::Number(recorded), Value::Number(written)) if recorded.is_f64() && written.is_f64() => {
            let (recorded, written) = (recorded.as_f64().unwrap(), written.as_f64().unwrap());
            assert!((recorded - written).abs() < 1e-12, "{path}: {recorded} and {written}");
        }
        _ => found.push(Difference::Changed(path.into())),
    }
}

fn value_of(text: &[u8]) -> Value {
    serde_json::from_slice(&normalise(text).unwrap()).unwrap()
}

/// The bodies of frames with one of these codes, without those that were made wrong on purpose.
fn bodies(way: Way, codes: &'static [i32]) -> impl Iterator<Item = &'static Recorded> {
    frames_of(way, codes).filter(move |frame| match way {
        Way::Request => !frame.place.starts_with("errors:") && !frame.body().is_empty(),
        Way::Answer => frame.code() == 0 && !frame.body().is_empty(),
    })
}

/// Reads and writes every body as a `T`; what differs must be in `may_differ`.
fn check<T: DeserializeOwned + Serialize>(way: Way, codes: &'static [i32], may_differ: &[&str]) {
    let mut seen = 0;
    for frame in bodies(way, codes) {
        let body: T = from_slice(frame.body()).unwrap_or_else(|error| panic!("{}: {error}", frame.place));
        let written = to_vec(&body);
        let mut found = Vec::new();
        differences("", &value_of(frame.body()), &value_of(&written), &mut found);
        found.retain(|difference| {
            let (Difference::Added(path) | Difference::Lost(path) | Difference::Changed(path)) = difference;
            !may_differ.contains(&path.as_str())
        });
        assert!(found.is_empty(), "{}: {found:?}", frame.place);
        seen += 1;
    }
    assert!(seen > 0, "no body of {way:?} {codes:?}");
}

/// As [`check`], and what a Java peer of 5.x wrote is written again byte for byte.
fn check_exact<T: DeserializeOwned + Serialize>(way: Way, codes: &'static [i32], may_differ: &[&str]) {
    check::<T>(way, codes, may_differ);
    for frame in bodies(way, codes).filter(|frame| is_java_5(frame)) {
        let written = to_vec(&from_slice::<T>(frame.body()).unwrap());
        assert_eq!(rounded(&written), rounded(frame.body()), "{}", frame.place);
    }
}

fn is_java_5(frame: &Recorded) -> bool {
    frame.line["header"]["language"] == "JAVA" && frame.line["header"]["version"].as_i64() > Some(413)
}

/// The text with its decimal fractions rounded: the last digit of one is not always read exactly.
fn rounded(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut parts = text.split("Tps\":");
    let mut out = parts.next().unwrap().to_owned();
    for part in parts {
        let end = part.find([',', '}']).unwrap();
        let rate: f64 = part[..end].parse().unwrap();
        out += &format!("Tps\":{rate:.12}{}", &part[end..]);
    }
    out
}

/// Fields that the Go client and Java 4.9 leave out, and numbers that the Go client writes as strings.
const GO_HEARTBEAT: &[&str] =
    &[".heartbeatFingerprint", ".withoutSub", ".consumerDataSet.*.subscriptionDataSet.*.codeSet.*"];

/// Mappings of static topics, which we do not have.
const STATIC_TOPICS: &[&str] = &[".topicQueueMappingDetailMap", ".topicQueueMappingInfoMap"];

#[test]
fn heartbeats_are_read_and_written_again() {
    check_exact::<HeartbeatData>(Way::Request, &[34], GO_HEARTBEAT);
    check_exact::<CheckClientConfig>(Way::Request, &[46], &[]);
}

#[test]
fn queue_locks_are_read_and_written_again() {
    // The Go client leaves out `onlyThisBroker`.
    check_exact::<QueueLockRequest>(Way::Request, &[41, 42], &[".onlyThisBroker"]);
    check_exact::<LockedQueues>(Way::Answer, &[41], &[]);
}

#[test]
fn memberships_are_read_and_written_again() {
    check_exact::<ConsumerList>(Way::Answer, &[38], &[]);
    check_exact::<GroupList>(Way::Answer, &[300], &[]);
    check::<ConsumerConnection>(Way::Answer, &[203], &[]);
    check_exact::<ProducerConnection>(Way::Answer, &[204], &[]);
    check::<ProducerTable>(Way::Answer, &[328], &[]);
}

#[test]
fn topic_configurations_are_read_and_written_again() {
    check::<TopicConfigTable>(Way::Answer, &[21], STATIC_TOPICS);
    check_exact::<TopicConfig>(Way::Answer, &[351], &[]);
    check_exact::<TopicConfigList>(Way::Request, &[18], &[]);
    check_exact::<TopicList>(Way::Answer, &[206, 305], &[]);
}

#[test]
fn group_configurations_are_read_and_written_again() {
    check::<SubscriptionGroupTable>(Way::Answer, &[201], &[]);
    check_exact::<SubscriptionGroupConfig>(Way::Answer, &[352], &[]);
    check::<SubscriptionGroupConfig>(Way::Request, &[200], &[]);
    check_exact::<SubscriptionGroupList>(Way::Request, &[225], &[]);
}

#[test]
fn statistics_are_read_and_written_again() {
    check_exact::<TopicStatsTable>(Way::Answer, &[202], &[]);
    check_exact::<ConsumeStats>(Way::Answer, &[208], &[]);
    check_exact::<ConsumeStatsList>(Way::Answer, &[317], &[]);
    check_exact::<ResetOffsets>(Way::Answer, &[222], &[]);
}

#[test]
fn tables_of_the_nameserver_are_read_and_written_again() {
    check::<TopicRouteData>(Way::Answer, &[105], &[]);
    // Broker ids as names: the standard form, which newer clients are given.
    let standard = |frame: &&Recorded| String::from_utf8_lossy(frame.body()).contains(r#"{"0":"#);
    for frame in bodies(Way::Answer, &[105]).filter(standard) {
        let written = to_vec(&from_slice::<TopicRouteData>(frame.body()).unwrap());
        assert_eq!(String::from_utf8_lossy(&written), String::from_utf8_lossy(frame.body()), "{}", frame.place);
    }
    check::<ClusterInfo>(Way::Answer, &[106], &[]);
    check::<KvTable>(Way::Answer, &[28, 103, 219], &[]);
}

#[test]
fn registrations_are_read_and_written_again() {
    check::<RegisterBrokerBody>(Way::Request, &[103], &[]);
    for frame in bodies(Way::Request, &[103]) {
        let read = RegisterBrokerBody::decode(frame.body()).unwrap();
        assert_eq!(read, from_slice(frame.body()).unwrap(), "{}", frame.place);
    }
}

#[test]
fn every_json_body_becomes_strict_json() {
    let mut seen = 0;
    for frame in frames().filter(|frame| frame.body().starts_with(b"{")) {
        let text = normalise(frame.body()).unwrap_or_else(|error| panic!("{}: {error}", frame.place));
        serde_json::from_slice::<Value>(&text).unwrap_or_else(|error| panic!("{}: {error}", frame.place));
        seen += 1;
    }
    assert_eq!(seen, 1294);
}
