//! Changing settings of a running broker, and what follows from it elsewhere.
//!
//! Most settings are read where they are needed, so a change of them needs nothing here.

use crate::broker::Broker;
use crate::config::BrokerConfig;
use crate::config::change::{ChangeError, Changed};
use crate::config::keys::SETTINGS;
use crate::config::load::segment_bytes_min;
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

/// What became of settings that were loaded anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Settings that have another value now.
    pub changed: Vec<Changed>,
    /// Keys whose new value counts only after a start.
    pub at_start: Vec<&'static str>,
}

/// Takes over settings that were loaded anew, as far as they may change while the broker runs. Nothing is kept in the
/// file of changes: they stand where they were loaded from.
pub fn reload(broker: &Broker, wanted: &BrokerConfig) -> Reloaded {
    let mut reloaded = Reloaded::default();
    let running = &broker.config;
    // The files of the commit log have the size that they were started with.
    let is_too_large = running.segment_bytes < segment_bytes_min(wanted.max_message_bytes.get() as u64);
    for setting in SETTINGS {
        let (before, now) = (setting.show(running), setting.show(wanted));
        if before == now {
            continue;
        }
        let may_change = setting.may_change() && !(is_too_large && setting.key == "maxMessageSize");
        if may_change && setting.change(running, &now).is_ok() {
            reloaded.changed.push(Changed { key: setting.key, before, now });
        } else {
            reloaded.at_start.push(setting.key);
        }
    }
    for one in &reloaded.changed {
        follow(broker, one.key);
    }
    reloaded
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::exporting::Exporting;

    #[test]
    fn what_was_loaded_anew_is_taken_over_where_it_can_be_and_named_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let config = || BrokerConfig {
            listen_port: 0,
            fast_listen_port: 0,
            grpc_port: None,
            exporting: Exporting::closed(),
            data_dir: folder.path().to_path_buf(),
            segment_bytes: 16 << 20,
            ..BrokerConfig::default()
        };
        let running = crate::start::start(config()).unwrap();
        assert_eq!(reload(&running.broker, &config()), Reloaded::default());
        let wanted = BrokerConfig {
            auto_create_group: false.into(),
            region_id: "elsewhere".into(),
            segment_bytes: 64 << 20,
            max_message_bytes: (32 << 20).into(),
            ..config()
        };
        let reloaded = reload(&running.broker, &wanted);
        let changed: Vec<_> = reloaded.changed.iter().map(|one| (one.key, one.now.as_str())).collect();
        assert_eq!(changed, [("autoCreateSubscriptionGroup", "false")]);
        let mut at_start = reloaded.at_start;
        at_start.sort_unstable();
        assert_eq!(at_start, ["mappedFileSizeCommitLog", "maxMessageSize", "regionId"]);
        assert!(running.broker.groups.get_or_create("g", 1).is_none());
        assert_eq!(running.broker.changes.count().counter, 0);
        running.stop();
    }
}
