//! Clients ask where topics are, tools which topics there are.

use protocol::bodies::topic_config::TopicList;
use protocol::codes::RequestCode;
use protocol::lenient_json;
use protocol::requests::{GetRoute, OneCluster};
use protocol::typed::{FieldError, TypedHeader};

use super::answer::Answer;
use super::{Call, Nameserver, Refusal, State};
use crate::routes::TopicKind;

impl Nameserver {
    pub(super) fn route(&self, call: Call<'_>) -> Result<Answer, Refusal> {
        let header = match GetRoute::decode(&call.header.fields) {
            Ok(header) => header,
            // As recorded: a topic without a name is one that does not exist.
            Err(FieldError::Missing("topic")) => return Err(Refusal::NoRoute("null".into())),
            Err(error) => return Err(error.into()),
        };
        let zone = header.zone_name.as_deref().map(str::trim).filter(|zone| header.zone_mode && !zone.is_empty());
        let state = &mut *self.state();
        let seen = state.seen_by(call.arrival.reader);
        let State { routes, kv, settings, .. } = state;
        let wait_seconds = settings.wait_seconds;
        if settings.wait_for_service && call.arrival.now_ms < u64::from(wait_seconds) * 1000 {
            return Err(Refusal::NotReady { wait_seconds });
        }
        let order = if settings.order_in_routes { kv.order_of(&header.topic) } else { None };
        let route = match zone {
            None => routes.route(&header.topic, settings, order, &seen),
            Some(zone) => routes.route_in_zone(&header.topic, zone, settings, order, &seen),
        };
        route.map(Answer::body).ok_or_else(|| Refusal::NoRoute(header.topic.into_owned()))
    }

    pub(super) fn all_topics(&self) -> Result<Answer, Refusal> {
        let state = self.state();
        if !state.settings.list_all_topics {
            return Err(Refusal::SwitchedOff("enableAllTopicList"));
        }
        Ok(answer(state.routes.all_topics()))
    }

    pub(super) fn topics_of_cluster(&self, call: Call<'_>) -> Result<Answer, Refusal> {
        let header = OneCluster::decode(&call.header.fields)?;
        let state = self.listing()?;
        Ok(answer(state.routes.topics_of_cluster(&header.cluster)))
    }

    pub(super) fn unit_topics(&self, code: RequestCode) -> Result<Answer, Refusal> {
        let kind = match code {
            RequestCode::GET_UNIT_TOPIC_LIST => TopicKind::Unit,
            RequestCode::GET_HAS_UNIT_SUB_TOPIC_LIST => TopicKind::UnitSub,
            _ => TopicKind::UnitSubOnly,
        };
        let state = self.listing()?;
        Ok(answer(state.routes.topics_of_kind(kind)))
    }

    pub(super) fn system_topics(&self, call: Call<'_>) -> Answer {
        let state = self.state();
        let seen = state.seen_by(call.arrival.reader);
        answer(state.routes.system_topics(&seen))
    }

    fn listing(&self) -> Result<std::sync::MutexGuard<'_, State>, Refusal> {
        let state = self.state();
        if state.settings.list_topics { Ok(state) } else { Err(Refusal::SwitchedOff("enableTopicList")) }
    }
}

fn answer(list: TopicList) -> Answer {
    Answer::body(lenient_json::to_vec(&list))
}
