//! How many clients there are, by what they are.

use std::collections::BTreeMap;

use protocol::bodies::heartbeat::ConsumeType;
use protocol::codes::Language;

use super::{Client, Door, Membership};

/// What tells clients apart beside their group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Build {
    /// Language it is written in.
    pub language: Language,
    /// Ordinal of its version.
    pub version: i32,
    /// Whether it speaks gRPC.
    pub is_grpc: bool,
}

impl Build {
    fn of(client: &Client) -> Build {
        Build { language: client.language, version: client.version, is_grpc: client.door == Door::Grpc }
    }
}

/// Numbers of clients.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Members of producer groups; one in two groups counts twice.
    pub producers: BTreeMap<Build, u64>,
    /// Members of consumer groups, by group.
    pub consumers: BTreeMap<String, (ConsumeType, BTreeMap<Build, u64>)>,
}

impl Membership {
    /// Counts everybody.
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        for member in self.producers.values().flat_map(BTreeMap::values) {
            *census.producers.entry(Build::of(&member.client)).or_default() += 1;
        }
        for (name, group) in self.consumer_groups() {
            let mut builds = BTreeMap::new();
            group.clients().for_each(|client| *builds.entry(Build::of(client)).or_default() += 1);
            census.consumers.insert(name.to_owned(), (group.consume_type, builds));
        }
        census
    }
}
