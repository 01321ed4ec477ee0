//! What the console changes. Every change goes to each broker on its own and tells what came of it there.

use std::borrow::Cow;

use client::producer::{SendError, Sent};
use client::{Message, RequestError};
use protocol::bodies::subscription_group::SubscriptionGroupConfig;
use protocol::bodies::topic_config::TopicConfig;
use protocol::codes::ResponseCode;
use protocol::requests::ResetOffset;

use super::Cluster;
use super::brokers::BrokerAt;
use super::catalog::{DEAD_LETTER_PREFIX, RETRY_PREFIX};
use super::place::Place;
use super::why::Why;

/// What came of a change on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Broker or nameserver.
    pub node: String,
    /// Done, or why not.
    pub result: Result<(), Why>,
}

/// Where a group is to be moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// To the first message that is kept.
    Earliest,
    /// Behind the last message.
    Latest,
    /// To the first message that was stored at this time or later, in milliseconds since 1970.
    Time(i64),
    /// To these places; other queues stay as they are.
    Places(Vec<Place>),
}

impl Target {
    /// Requests 222 that lead there, for one broker: one of all queues, or one of each queue that is to move. A time
    /// before everything means the first message.
    fn requests<'a>(&self, group: &'a str, topic: &'a str, moves: &[&PlannedMove]) -> Vec<ResetOffset<'a>> {
        let request = |timestamp, queue_id, offset: Option<i64>| ResetOffset {
            topic: Cow::Borrowed(topic),
            group: Cow::Borrowed(group),
            timestamp,
            // Brokers that leave it to their clients see neither queue nor offset: there, everything is read again, and
            // nothing passed over.
            is_force: offset.is_none(),
            queue_id,
            offset,
        };
        match self {
            Target::Earliest => vec![request(0, None, None)],
            Target::Latest => vec![request(-1, None, None)],
            Target::Time(time_ms) => vec![request(*time_ms, None, None)],
            Target::Places(_) => {
                let moves = moves.iter();
                moves.map(|planned| request(0, Some(planned.queue_id), Some(planned.new))).collect()
            }
        }
    }

    /// Whether a queue is left alone.
    fn leaves_alone(&self, broker: &str, queue_id: i32) -> bool {
        matches!(self, Target::Places(places) if !places.iter().any(|place| place.is_in(broker, queue_id)))
    }
}

/// What a reset does to one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedMove {
    /// Broker name.
    pub broker: String,
    /// Number of the queue.
    pub queue_id: i32,
    /// Offset that the group has; `None` when it has none.
    pub old: Option<i64>,
    /// Offset that it gets.
    pub new: i64,
}

impl PlannedMove {
    /// That offset in its queue.
    pub fn place(&self, offset: i64) -> Place {
        Place { broker: self.broker.clone(), queue_id: self.queue_id, offset }
    }

    /// Messages that are read again (negative) or passed over (positive).
    pub fn distance(&self) -> Option<i64> {
        Some(self.new - self.old?)
    }
}

/// What a reset of a group would do in one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResetPlan {
    /// Queue by queue.
    pub moves: Vec<PlannedMove>,
    /// Whether members of the group are connected.
    pub is_online: bool,
    /// Brokers whose part could not be planned.
    pub troubles: Vec<Outcome>,
}

impl ResetPlan {
    /// Whether anything would change.
    pub fn changes(&self) -> bool {
        self.moves.iter().any(|planned| planned.old != Some(planned.new))
    }
}

impl Cluster {
    /// Creates or changes a topic on each of these brokers, by name; on all masters when none is named.
    pub async fn put_topic(&self, brokers: &[String], topic: &TopicConfig) -> Vec<Outcome> {
        let known = self.brokers().await;
        let masters = known.masters().filter(|at| brokers.is_empty() || brokers.contains(&at.name));
        let outcomes = self.change_all(masters, |at| self.admin.put_topic(&at.address, topic)).await;
        self.forget();
        outcomes
    }

    /// Deletes a topic on every master and then in every nameserver, so that no broker brings it back.
    pub async fn delete_topic(&self, topic: &str) -> Vec<Outcome> {
        let known = self.brokers().await;
        let mut outcomes = self.change_all(known.masters(), |at| self.admin.delete_topic_at(&at.address, topic)).await;
        for (address, admin) in &self.nameservers {
            let result = self.reach.ask_patiently(address, admin.forget_topic(topic)).await;
            outcomes.push(Outcome { node: address.clone(), result });
        }
        self.forget();
        outcomes
    }

    /// Creates or changes a group on every master.
    pub async fn put_group(&self, group: &SubscriptionGroupConfig) -> Vec<Outcome> {
        let known = self.brokers().await;
        let put = |at: &BrokerAt| {
            let address = at.address.clone();
            async move { self.admin.put_groups(&address, vec![group.clone()]).await }
        };
        let outcomes = self.change_all(known.masters(), put).await;
        self.forget();
        outcomes
    }

    /// Deletes a group and its offsets on every master; the messages that wait to be delivered again and the dead
    /// letters too if `with_topics`.
    pub async fn delete_group(&self, group: &str, with_topics: bool) -> Vec<Outcome> {
        let known = self.brokers().await;
        let mut outcomes =
            self.change_all(known.masters(), |at| self.admin.delete_group_at(&at.address, group, true)).await;
        if with_topics {
            for prefix in [RETRY_PREFIX, DEAD_LETTER_PREFIX] {
                outcomes.extend(self.delete_topic(&format!("{prefix}{group}")).await);
            }
        }
        self.forget();
        outcomes
    }

    /// What moving a group in one topic would do.
    pub async fn plan_reset(&self, group: &str, topic: &str, target: &Target) -> ResetPlan {
        let (holdings, progress, members, brokers) =
            tokio::join!(self.holdings(topic), self.progress(group), self.members(group), self.brokers());
        let wanted = holdings.queues.iter().filter(|queue| !target.leaves_alone(&queue.broker, queue.queue_id));
        let planning = wanted.map(async |queue| {
            let (min, max) = (queue.offset.min_offset, queue.offset.max_offset);
            let new = match target {
                Target::Earliest => Ok(min),
                Target::Latest => Ok(max),
                Target::Places(places) => {
                    let place = places.iter().find(|place| place.is_in(&queue.broker, queue.queue_id));
                    // What is no longer kept cannot be read again.
                    Ok(place.map_or(max, |place| place.offset).min(max).max(min))
                }
                Target::Time(time_ms) => match brokers.master(&queue.broker) {
                    Some(at) => {
                        let asking = self.admin.offset_by_time(&at.address, topic, queue.queue_id, *time_ms);
                        self.reach.ask(&at.address, asking).await
                    }
                    None => Err(Why::Unreachable(format!("no master of `{}` is registered", queue.broker))),
                },
            };
            (queue, new)
        });
        let mut plan = ResetPlan { is_online: !members.members.is_empty(), ..ResetPlan::default() };
        for (queue, new) in futures_util::future::join_all(planning).await {
            let known = progress.queues.iter().find(|known| {
                (known.topic.as_str(), &known.broker, known.queue_id) == (topic, &queue.broker, queue.queue_id)
            });
            match new {
                Ok(new) => plan.moves.push(PlannedMove {
                    broker: queue.broker.clone(),
                    queue_id: queue.queue_id,
                    old: known.map(|known| known.offset.consumer_offset).filter(|offset| 0 <= *offset),
                    new,
                }),
                Err(why) => plan.troubles.push(Outcome { node: queue.broker.clone(), result: Err(why) }),
            }
        }
        if let Target::Places(places) = target {
            let is_gone =
                |place: &&Place| !holdings.queues.iter().any(|queue| place.is_in(&queue.broker, queue.queue_id));
            plan.troubles.extend(places.iter().filter(is_gone).map(|place| Outcome {
                node: place.broker.clone(),
                result: Err(Why::Garbled(format!("there is no queue {} of `{topic}` now", place.queue_id))),
            }));
        }
        for silent in holdings.silent.iter().chain(&holdings.refusals) {
            plan.troubles.push(Outcome { node: silent.node.clone(), result: Err(silent.why.clone()) });
        }
        plan
    }

    /// Moves a group in one topic: its members are told where there are any, otherwise the offsets of `plan` are
    /// stored.
    pub async fn reset(&self, group: &str, topic: &str, target: &Target, plan: &ResetPlan) -> Vec<Outcome> {
        let known = self.brokers().await;
        let names: Vec<&str> = plan.moves.iter().map(|planned| planned.broker.as_str()).collect();
        let masters = known.masters().filter(|at| names.contains(&at.name.as_str()));
        let outcomes = self
            .change_all(masters, async |at| {
                let moves: Vec<&PlannedMove> = plan.moves.iter().filter(|planned| planned.broker == at.name).collect();
                if plan.is_online && self.tell_members(at, &target.requests(group, topic, &moves)).await? {
                    return Ok(());
                }
                for planned in moves {
                    self.admin.store_offset(&at.address, group, topic, planned.queue_id, planned.new).await?;
                }
                Ok(())
            })
            .await;
        self.forget();
        outcomes
    }

    /// Moves members by their broker; `false` if they are connected to other brokers.
    async fn tell_members(&self, at: &BrokerAt, requests: &[ResetOffset<'_>]) -> Result<bool, RequestError> {
        for request in requests {
            match self.admin.reset_offset(&at.address, request).await {
                Ok(_) => {}
                Err(error) if error.code() == Some(ResponseCode::CONSUMER_NOT_ONLINE) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Changes one setting of a broker.
    pub async fn set_broker_setting(&self, at: &BrokerAt, key: &str, value: &str) -> Outcome {
        let asking = self.admin.set_broker_setting(&at.address, key, value);
        let result = self.reach.ask_patiently(&at.address, asking).await;
        self.forget();
        Outcome { node: at.to_string(), result }
    }

    /// All settings of a broker.
    pub async fn broker_settings(&self, at: &BrokerAt) -> Result<std::collections::BTreeMap<String, String>, Why> {
        self.reach.ask(&at.address, self.admin.broker_settings(&at.address)).await
    }

    /// Sends a message.
    pub async fn send(&self, message: &Message) -> Result<Sent, SendError> {
        let sent = self.producer.send(message).await;
        self.holdings.forget();
        self.scheduled.forget();
        sent
    }

    async fn change_all<'b, F>(
        &self,
        brokers: impl IntoIterator<Item = &'b BrokerAt>,
        change: impl Fn(&'b BrokerAt) -> F,
    ) -> Vec<Outcome>
    where
        F: Future<Output = Result<(), RequestError>>,
    {
        let changing = brokers.into_iter().map(|at| {
            let answer = self.reach.ask_patiently(&at.address, change(at));
            async move { Outcome { node: at.to_string(), result: answer.await } }
        });
        futures_util::future::join_all(changing).await
    }
}
