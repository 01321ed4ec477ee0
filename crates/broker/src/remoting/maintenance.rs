//! Cleaning up on demand: requests 306, 316, 329.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use protocol::codes::ResponseCode;

use super::call::{Call, Refusal};
use crate::broker::Broker;
use crate::names;

/// Indexes of messages that are gone go together with them; by themselves they leave nothing to be cleaned.
pub fn clean_consume_queues(call: &mut Call<'_>) -> Result<(), Refusal> {
    call.answer_done();
    Ok(())
}

/// Queues of topics that are not there are taken from the log. A crash in the middle of a deletion can leave some.
pub fn clean_topics(call: &mut Call<'_>) -> Result<(), Refusal> {
    let broker = call.broker;
    for name in unused_topics(broker) {
        let _deletion = broker.begin_deletion(&name);
        // From here on nobody creates it; it may have been created before.
        if broker.topics.get(&name).is_none() {
            let deleted = broker.writer.delete_queues(&name);
            deleted.map_err(|error| Refusal::new(ResponseCode::SYSTEM_ERROR, error))?;
            tracing::info!(topic = name, "queues of a topic that is gone were deleted");
        }
    }
    call.answer_done();
    Ok(())
}

fn unused_topics(broker: &Broker) -> BTreeSet<String> {
    let config = &broker.config;
    let mut names: BTreeSet<String> = broker.log.queues().into_iter().map(|(topic, _)| topic).collect();
    names.retain(|name| {
        broker.topics.get(name).is_none() && !names::is_system(name, &config.cluster_name, &config.broker_name)
    });
    names
}

/// Files whose messages are too old are deleted now, and not only in the hour for that. The answer does not wait.
pub fn clean_commit_log(call: &mut Call<'_>) -> Result<(), Refusal> {
    call.broker.clean_now.store(true, Ordering::Relaxed);
    call.answer_done();
    Ok(())
}
