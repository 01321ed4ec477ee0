//! Operators change things by hand.

use protocol::bodies::route::TopicRouteData;
use protocol::java_properties::{self, Entry};
use protocol::lenient_json;
use protocol::requests::{DeleteTopicInNameserver, OneBroker, OneTopic};
use protocol::typed::TypedHeader;

use super::answer::{Answer, AnswerFields};
use super::brokers::check_topic;
use super::{Call, Nameserver, Outcome, Refusal};
use crate::effect::{Change, Effect};
use crate::keys::KEYS;
use crate::routes::Queues;
use crate::settings::SettingError;

impl Nameserver {
    pub(super) fn put_topic(&self, call: Call<'_>, effects: &mut Vec<Effect>) -> Result<Answer, Refusal> {
        let OneTopic { topic } = OneTopic::decode(&call.header.fields)?;
        let route: TopicRouteData = lenient_json::from_slice(call.body)?;
        let mut queues = Vec::with_capacity(route.queue_datas.len());
        for data in route.queue_datas {
            let of_broker = Queues {
                read: data.read_queue_nums,
                write: data.write_queue_nums,
                perm: data.perm,
                sys_flag: data.topic_sys_flag,
            };
            check_topic(&topic, &of_broker).map_err(|error| Refusal::Topic(error.to_string()))?;
            queues.push((data.broker_name, of_broker));
        }
        self.state().routes.put_topic(&topic, &queues, effects);
        Ok(Answer::default())
    }

    pub(super) fn delete_topic(&self, call: Call<'_>, effects: &mut Vec<Effect>) -> Result<Answer, Refusal> {
        let header = DeleteTopicInNameserver::decode(&call.header.fields)?;
        let cluster = header.cluster_name.as_deref().filter(|cluster| !cluster.is_empty());
        self.state().routes.delete_topic(&header.topic, cluster, effects);
        Ok(Answer::default())
    }

    pub(super) fn set_writable(
        &self,
        call: Call<'_>,
        granted: bool,
        effects: &mut Vec<Effect>,
    ) -> Result<Answer, Refusal> {
        let OneBroker { broker_name } = OneBroker::decode(&call.header.fields)?;
        let topics = self.state().routes.set_writable(&broker_name, granted, effects);
        Ok(Answer::fields(if granted { AnswerFields::Granted(topics) } else { AnswerFields::Wiped(topics) }))
    }

    /// Changes settings, now and for later starts.
    pub(super) fn update_config(&self, call: Call<'_>, effects: &mut Vec<Effect>) -> Result<Outcome, Refusal> {
        let text = std::str::from_utf8(call.body).map_err(|_| Refusal::NoText)?;
        let changes = java_properties::read(text).map_err(SettingError::from)?;
        if changes.is_empty() {
            return Err(SettingError::Nothing.into());
        }
        if let Some(change) = changes.iter().find(|change| self.is_locked(&change.key)) {
            return Err(SettingError::Locked(change.key.clone()).into());
        }
        let mut state = self.state();
        state.settings = state.settings.with(&changes)?;
        state.routes.forget_texts();
        for Entry { key, value, .. } in changes {
            let value = value.trim().to_owned();
            state.changed.insert(key.clone(), value.clone());
            effects.push(Effect::Log(Change::Setting { key, value }));
        }
        Ok(Outcome::SaveSettings)
    }

    pub(super) fn config(&self) -> Answer {
        let state = self.state();
        // What was changed and means nothing here is shown as it was sent; the rest is what is in force.
        let mut entries = state.changed.clone();
        entries.extend(self.fixed.shown.iter().cloned());
        let live = KEYS.iter().filter_map(|key| Some((key.name.to_owned(), key.show_live(&state.settings)?)));
        entries.extend(live);
        let mut text = String::new();
        for (key, value) in &entries {
            java_properties::write_entry(&mut text, key, value);
        }
        Answer::body(text.into_bytes())
    }

    fn is_locked(&self, key: &str) -> bool {
        let names_path = key.ends_with("Path") || key.ends_with("Home");
        names_path || self.fixed.locked_keys.iter().any(|locked| locked == key)
    }
}
