//! Who is connected.

use metrics::{Family, Page};
use protocol::bodies::heartbeat::ConsumeType;
use protocol::versions;

use super::truth;
use crate::broker::Broker;
use crate::membership::census::Build;
use crate::names::is_system_group;

const PRODUCERS: Family = Family::gauge("rocketmq_producer_connections", "Members of producer groups");
const CONSUMERS: Family = Family::gauge("rocketmq_consumer_connections", "Members of consumer groups");

pub fn write(broker: &Broker, page: &mut Page) {
    let census = broker.membership().census();
    page.family(&PRODUCERS, |series| {
        for (build, count) in &census.producers {
            let (language, version) = names(*build);
            let labels = [("language", &*language), ("version", &*version), ("protocol_type", protocol(*build))];
            series.value(&labels, *count);
        }
    });
    page.family(&CONSUMERS, |series| {
        for (group, (consume_type, builds)) in &census.consumers {
            for (build, count) in builds {
                let (language, version) = names(*build);
                let labels = [
                    ("consumer_group", group.as_str()),
                    ("language", &language),
                    ("version", &version),
                    ("consume_mode", mode(*consume_type)),
                    ("protocol_type", protocol(*build)),
                    ("is_system", truth(is_system_group(group))),
                ];
                series.value(&labels, *count);
            }
        }
    });
}

/// Language and version, in the lower case that stock brokers have here.
fn names(build: Build) -> (String, String) {
    let language = build.language.name().unwrap_or("other").to_ascii_lowercase();
    (language, versions::name(build.version).to_ascii_lowercase())
}

fn protocol(build: Build) -> &'static str {
    if build.is_grpc { "grpc" } else { "remoting" }
}

fn mode(consume_type: ConsumeType) -> &'static str {
    match consume_type {
        ConsumeType::Actively => "PULL",
        ConsumeType::Passively => "PUSH",
        ConsumeType::Pop => "POP",
    }
}
