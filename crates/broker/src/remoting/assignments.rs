//! QUERY_ASSIGNMENT (400), SET_MESSAGE_REQUEST_MODE (401), GET_ALL_MESSAGE_REQUEST_MODE (402).
//!
//! A topic may have queues on other brokers too, so its route is asked of the nameservers; the answer goes out when
//! that has come.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::bodies::assignment::{
    Assignment, Assignments, POP, PULL, QueryAssignment, RequestMode, RequestModeTable,
};
use protocol::bodies::message_queue::MessageQueue;
use protocol::codes::ResponseCode;
use protocol::lenient_json;

use super::call::{Call, Refusal};
use crate::assignment::{self, Strategy};
use crate::broker::Broker;
use crate::names;
use crate::topics::Permission;

pub fn query(call: &mut Call<'_>) -> Result<(), Refusal> {
    let asked: QueryAssignment = call.read_body()?;
    let unknown = || {
        let remark = format!("strategy `{}` is not known; AVG and AVG_BY_CIRCLE are", asked.strategy_name);
        Refusal::new(ResponseCode::SYSTEM_ERROR, remark)
    };
    let strategy = Strategy::named(&asked.strategy_name).ok_or_else(unknown)?;
    if call.broker.config.nameservers.is_empty() {
        let own = own_queues(call.broker, &asked.topic);
        let body = lenient_json::to_vec(&assign(call.broker, &asked, strategy, own));
        call.answer_body(&body);
        return Ok(());
    }
    let (broker, asker) = (call.broker.clone(), call.later());
    tokio::task::spawn_local(async move {
        let queues = all_queues(&broker, &asked.topic).await;
        let body = lenient_json::to_vec(&assign(&broker, &asked, strategy, queues));
        asker.give(ResponseCode::SUCCESS, None, |frame| frame.finish(&body));
    });
    Ok(())
}

/// The queues of a topic on all brokers, as nameservers know them; on this one, if they do not.
async fn all_queues(broker: &Arc<Broker>, topic: &str) -> Vec<MessageQueue> {
    let route = match broker.nameservers.as_ref() {
        Some(nameservers) => nameservers.route(topic).await,
        None => Ok(None),
    };
    let route = match route {
        Ok(Some(route)) => route,
        Ok(None) => return own_queues(broker, topic),
        Err(error) => {
            tracing::warn!(topic, %error, "queues on other brokers are not known");
            return own_queues(broker, topic);
        }
    };
    let readable = route.queue_datas.into_iter().filter(|queues| Permission(queues.perm).can_read());
    let mut all: Vec<MessageQueue> = readable
        .flat_map(|queues| {
            let topic = topic.to_owned();
            (0..queues.read_queue_nums).map(move |queue_id| MessageQueue {
                broker_name: queues.broker_name.clone(),
                queue_id,
                topic: topic.clone(),
            })
        })
        .collect();
    sort(&mut all);
    all
}

fn own_queues(broker: &Broker, topic: &str) -> Vec<MessageQueue> {
    let Some(found) = broker.topics.get(topic).filter(|topic| topic.settings.permission.can_read()) else {
        return Vec::new();
    };
    let broker_name = &broker.config.broker_name;
    (0..found.settings.read_queues)
        .map(|queue_id| MessageQueue { broker_name: broker_name.clone(), queue_id, topic: topic.to_owned() })
        .collect()
}

/// In the order in which Java clients sort them.
fn sort(queues: &mut [MessageQueue]) {
    queues.sort_by(|one, other| (&one.broker_name, one.queue_id).cmp(&(&other.broker_name, other.queue_id)));
}

fn assign(broker: &Broker, asked: &QueryAssignment, strategy: Strategy, queues: Vec<MessageQueue>) -> Assignments {
    let mut members: Vec<String> = broker
        .membership()
        .consumer_group(&asked.consumer_group)
        .map(|group| group.clients().map(|client| client.id.clone()).collect())
        .unwrap_or_default();
    members.sort();
    members.dedup();
    if members.is_empty() {
        return Assignments { message_queue_assignments: None };
    }
    let set = broker.request_modes.get(&asked.topic, &asked.consumer_group);
    let pops = set.filter(|mode| mode.mode == POP && !names::is_retry(&asked.topic));
    let (mode, mine) = match (asked.message_model.as_str(), pops) {
        ("BROADCASTING", _) => (PULL, queues),
        (_, Some(set)) => {
            let shared = set.pop_share_queue_num;
            (POP, assignment::to_pop(strategy, &queues, &members, &asked.client_id, shared))
        }
        (_, None) => (PULL, assignment::to_pull(strategy, &queues, &members, &asked.client_id)),
    };
    let assigned = mine.into_iter().map(|message_queue| Assignment { message_queue, mode: mode.to_owned() });
    Assignments { message_queue_assignments: Some(assigned.collect()) }
}

pub fn set_mode(call: &mut Call<'_>) -> Result<(), Refusal> {
    let mode: RequestMode = call.read_body()?;
    if names::is_retry(&mode.topic) {
        let remark = format!("the mode of the retry topic `{}` cannot be set", mode.topic);
        return Err(Refusal::new(ResponseCode::NO_PERMISSION, remark));
    }
    for checked in [names::check_topic(&mode.topic), names::check_group(&mode.consumer_group)] {
        checked.map_err(|error| Refusal::new(ResponseCode::INVALID_PARAMETER, error))?;
    }
    if ![PULL, POP].contains(&mode.mode.as_str()) {
        let remark = format!("mode `{}` is not known; PULL and POP are", mode.mode);
        return Err(Refusal::new(ResponseCode::INVALID_PARAMETER, remark));
    }
    call.broker.request_modes.put(mode);
    call.answer_when_saved();
    Ok(())
}

pub fn all_modes(call: &mut Call<'_>) -> Result<(), Refusal> {
    let mut table: BTreeMap<String, BTreeMap<String, RequestMode>> = BTreeMap::new();
    for mode in call.broker.request_modes.all() {
        table.entry(mode.topic.clone()).or_default().insert(mode.consumer_group.clone(), mode);
    }
    call.answer_body(&lenient_json::to_vec(&RequestModeTable { message_request_mode_map: table }));
    Ok(())
}
