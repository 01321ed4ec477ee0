//! Changing settings of a running broker, and what follows from it elsewhere.
//!
//! Most settings are read where they are needed, so a change of them needs nothing here.

use crate::broker::Broker;
use crate::config::BrokerConfig;
use crate::config::change::{ChangeError, Changed};
use crate::names;
use crate::topics::{Permission, TopicSettings, Topics};
use crate::transactions::CheckSchedule;
use crate::unsaved::Saved;

/// Makes the changes of `text`, which is properties. They are in force when this returns, and saved a moment later:
/// see [`when_saved`].
pub fn change(broker: &Broker, text: &str) -> Result<Vec<Changed>, ChangeError> {
    let changed = broker.changes.make(&broker.config, text, broker.clock.now_ms())?;
    for one in &changed {
        follow(broker, one.key);
    }
    Ok(changed)
}

/// Calls `then` once all changes so far are on disk, or could not be written, or after `syncFlushTimeout`.
pub fn when_saved(broker: &Broker, then: impl FnOnce(Saved) + Send + 'static) {
    let deadline_ms = broker.clock.now_ms().saturating_add(broker.config.sync_flush_timeout.get().as_millis() as i64);
    let id = broker.unsaved.wait(deadline_ms, Box::new(then));
    let unsaved = broker.unsaved.clone();
    broker.changes.when_saved(move |on_disk| unsaved.saved(id, on_disk));
}

fn follow(broker: &Broker, key: &str) {
    let config = &broker.config;
    let now_ms = broker.clock.now_ms();
    match key {
        "brokerPermission" => {
            // Routes show it, and nameservers listen only to a version that is new to them.
            broker.topics.note_change_of_all(now_ms);
            broker.registrations.every_topic_changed();
        }
        "autoCreateTopicEnable" | "defaultTopicQueueNums" => {
            broker.topics.allow_creation(config.auto_create_topic.get());
            set_template(&broker.topics, config, now_ms);
            broker.topics_changed(&[names::TEMPLATE_TOPIC]);
        }
        "autoCreateSubscriptionGroup" => broker.groups.allow_creation(config.auto_create_group.get()),
        "transactionTimeOut" | "transactionCheckInterval" | "transactionCheckMax" => {
            broker.transactions().set_schedule(CheckSchedule::of(config));
        }
        _ => {}
    }
}

/// Makes the topic after which clients create topics, or removes it: one from an earlier start would let them go on.
pub fn set_template(topics: &Topics, config: &BrokerConfig, now_ms: i64) {
    if config.auto_create_topic.get() {
        let queues = config.default_topic_queue_nums.get();
        topics.put(TopicSettings::new(names::TEMPLATE_TOPIC, queues, Permission(7)), now_ms);
    } else {
        topics.remove(names::TEMPLATE_TOPIC, now_ms);
    }
}
