//! Operators change things by hand.

use protocol::bodies::route::TopicRouteData;
use protocol::lenient_json;
use protocol::requests::{DeleteTopicInNameserver, OneBroker, OneTopic};
use protocol::typed::TypedHeader;

use super::answer::{Answer, AnswerFields};
use super::brokers::check_topic;
use super::{Call, Nameserver, Refusal};
use crate::effect::{Change, Effect};
use crate::routes::Queues;
use crate::settings::{SettingError, parse_properties, write_properties};

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

    /// Changes settings until the next start.
    pub(super) fn update_config(&self, call: Call<'_>, effects: &mut Vec<Effect>) -> Result<Answer, Refusal> {
        let text = std::str::from_utf8(call.body).map_err(|_| Refusal::NoText)?;
        let changes = parse_properties(text)?;
        if let Some((key, _)) = changes.iter().find(|(key, _)| self.fixed.locked_keys.contains(key)) {
            return Err(SettingError::Locked(key.clone()).into());
        }
        let mut state = self.state();
        state.settings = state.settings.with(&changes)?;
        state.routes.forget_texts();
        effects.extend(changes.into_iter().map(|(key, value)| Effect::Log(Change::Setting { key, value })));
        Ok(Answer::default())
    }

    pub(super) fn config(&self) -> Answer {
        let entries = self.state().settings.entries();
        let entries = entries.iter().map(|(key, value)| (*key, value.as_str()));
        let shown = self.fixed.shown.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        Answer::body(write_properties(entries.chain(shown)).into_bytes())
    }
}
