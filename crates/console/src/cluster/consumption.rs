//! How far groups are, and who is connected (317, 208, 203, 307 and 328).

use std::collections::BTreeMap;

use client::clock;
use protocol::bodies::consumer_connection::ConsumerConnection;
use protocol::bodies::heartbeat::{ConsumeType, MessageModel, SubscriptionData};
use protocol::bodies::running_info::ConsumerRunningInfo;
use protocol::bodies::stats::{ConsumeOffset, ConsumeStats};

use super::brokers::Brokers;
use super::why::{Silent, Why};
use super::{Cluster, silent_among};

/// How far a group is in one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueProgress {
    /// Topic.
    pub topic: String,
    /// Broker name.
    pub broker: String,
    /// Number of the queue.
    pub queue_id: i32,
    /// Offsets and the time of the last consumed message.
    pub offset: ConsumeOffset,
}

impl QueueProgress {
    /// Messages that are not consumed. `None` where the numbers make no sense: offsets of a topic that was deleted
    /// and made again lie behind its end.
    pub fn lag(&self) -> Option<i64> {
        let lag = self.offset.broker_offset - self.offset.consumer_offset;
        (0 <= lag && 0 <= self.offset.consumer_offset).then_some(lag)
    }

    /// How old the next message is, in milliseconds, where the group lags.
    pub fn behind_ms(&self, now_ms: i64) -> Option<i64> {
        let lags = 0 < self.lag()?;
        (lags && 0 < self.offset.last_timestamp).then(|| (now_ms - self.offset.last_timestamp).max(0))
    }
}

/// How far one group is.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// When brokers were asked, in milliseconds since 1970.
    pub asked_ms: i64,
    /// Queues, sorted by topic, broker and number.
    pub queues: Vec<QueueProgress>,
    /// Messages per second that were consumed lately; `None` when no broker tells.
    pub out_per_second: Option<f64>,
    /// Who did not answer.
    pub silent: Vec<Silent>,
    /// Who answered, but not this.
    pub refusals: Vec<Silent>,
}

impl Progress {
    /// Messages that are not consumed, where that is known; `None` when it is known of no queue.
    pub fn lag(&self) -> Option<i64> {
        let known: Vec<i64> = self.queues.iter().filter_map(QueueProgress::lag).collect();
        (!known.is_empty()).then(|| known.iter().sum())
    }

    /// How old the oldest waiting message is at least, in milliseconds.
    pub fn behind_ms(&self, now_ms: i64) -> Option<i64> {
        self.queues.iter().filter_map(|queue| queue.behind_ms(now_ms)).max()
    }

    /// Topics, sorted.
    pub fn topics(&self) -> Vec<&str> {
        let mut topics: Vec<&str> = self.queues.iter().map(|queue| queue.topic.as_str()).collect();
        topics.dedup();
        topics
    }

    fn add(&mut self, broker: &str, stats: ConsumeStats) {
        *self.out_per_second.get_or_insert(0.0) += stats.consume_tps;
        self.queues.extend(stats.offset_table.0.into_iter().map(|(queue, offset)| QueueProgress {
            topic: queue.topic,
            broker: broker.to_owned(),
            queue_id: queue.queue_id,
            offset,
        }));
    }

    fn sort(&mut self) {
        self.queues.sort_by(|a, b| (&a.topic, &a.broker, a.queue_id).cmp(&(&b.topic, &b.broker, b.queue_id)));
    }
}

/// How far all groups are.
#[derive(Clone, Debug, Default)]
pub struct Consumption {
    /// When brokers were asked, in milliseconds since 1970.
    pub asked_ms: i64,
    /// By group.
    pub groups: BTreeMap<String, Progress>,
    /// Whether some broker cannot tell all groups at once, so that groups have to be asked for one by one.
    pub is_partial: bool,
    /// Who did not answer.
    pub silent: Vec<Silent>,
}

/// One client of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Client id.
    pub id: String,
    /// Address of the peer.
    pub address: String,
    /// Language, as upstream names it.
    pub language: String,
    /// Ordinal of its version.
    pub version: i32,
    /// Brokers that it is connected to.
    pub brokers: Vec<String>,
}

/// Who is connected for a group.
#[derive(Clone, Debug, Default)]
pub struct Membership {
    /// Clients by id.
    pub members: BTreeMap<String, Member>,
    /// How the group gets its messages.
    pub consume_type: Option<ConsumeType>,
    /// Whether members share the messages.
    pub message_model: Option<MessageModel>,
    /// What the group subscribes to, by topic.
    pub subscriptions: BTreeMap<String, SubscriptionData>,
    /// Topics that brokers have different expressions for.
    pub differing: Vec<String>,
    /// Who did not answer.
    pub silent: Vec<Silent>,
    /// Who answered, but not this.
    pub refusals: Vec<Silent>,
}

impl Membership {
    fn add(&mut self, broker: &str, connection: ConsumerConnection) {
        self.consume_type = self.consume_type.or(connection.consume_type);
        self.message_model = self.message_model.or(connection.message_model);
        for client in connection.connection_set {
            let member = self.members.entry(client.client_id.clone()).or_insert_with(|| Member {
                id: client.client_id,
                address: client.client_addr,
                language: client.language,
                version: client.version,
                brokers: Vec::new(),
            });
            member.brokers.push(broker.to_owned());
        }
        for (topic, subscription) in connection.subscription_table {
            let known = self.subscriptions.entry(topic.clone()).or_insert_with(|| subscription.clone());
            let expression = |of: &SubscriptionData| (of.expression_type.clone(), of.sub_string.clone());
            if expression(known) != expression(&subscription) && !self.differing.contains(&topic) {
                self.differing.push(topic);
            }
        }
    }
}

/// One producer that is connected.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProducingClient {
    /// Client id.
    pub id: String,
    /// Producer group.
    pub group: String,
    /// Address of the peer.
    pub address: String,
    /// Language, as upstream names it.
    pub language: String,
    /// Ordinal of its version.
    pub version: i32,
    /// Last heartbeat, in milliseconds since 1970.
    pub heard_ms: i64,
}

/// Producers that are connected.
#[derive(Clone, Debug, Default)]
pub struct Producers {
    /// Sorted by client id and group; each once.
    pub clients: Vec<ProducingClient>,
    /// Who did not answer.
    pub silent: Vec<Silent>,
    /// Who answered, but not this.
    pub refusals: Vec<Silent>,
}

impl Cluster {
    pub(super) async fn fetch_consumption(&self, brokers: &Brokers) -> Consumption {
        let answers = self.ask_all(brokers.masters(), |at| self.admin.broker_consume_stats(&at.address, false)).await;
        let silent = silent_among(&answers);
        let mut consumption = Consumption { asked_ms: clock::now_ms(), silent, ..Consumption::default() };
        for (at, answer) in answers {
            let Ok(list) = answer else {
                consumption.is_partial = true;
                continue;
            };
            for (group, topics) in list.consume_stats_list.into_iter().flatten() {
                let progress = consumption.groups.entry(group).or_default();
                topics.into_iter().for_each(|stats| progress.add(&at.name, stats));
            }
        }
        for progress in consumption.groups.values_mut() {
            progress.asked_ms = consumption.asked_ms;
            progress.sort();
        }
        consumption
    }

    pub(super) async fn fetch_progress(&self, brokers: &Brokers, group: &str) -> Progress {
        let answers = self.ask_all(brokers.masters(), |at| self.admin.consume_stats(&at.address, group, None)).await;
        let mut progress =
            Progress { asked_ms: clock::now_ms(), silent: silent_among(&answers), ..Progress::default() };
        for (at, answer) in answers {
            match answer {
                Ok(stats) => progress.add(&at.name, stats),
                Err(why) if why.is_silence() => {}
                Err(why) => progress.refusals.push(Silent { node: at.to_string(), why }),
            }
        }
        progress.sort();
        progress
    }

    pub(super) async fn fetch_members(&self, brokers: &Brokers, group: &str) -> Membership {
        let answers = self.ask_all(brokers.masters(), |at| self.admin.consumers(&at.address, group)).await;
        let mut membership = Membership { silent: silent_among(&answers), ..Membership::default() };
        for (at, answer) in answers {
            match answer {
                Ok(Some(connection)) => membership.add(&at.name, connection),
                Ok(None) => {}
                Err(why) if why.is_silence() => {}
                Err(why) => membership.refusals.push(Silent { node: at.to_string(), why }),
            }
        }
        membership
    }

    /// What a member of a group tells about itself, with the stacks of its threads if they are wanted. Asked through one
    /// of the brokers that it is connected to; a client may take its time.
    pub async fn running_info(&self, group: &str, member: &Member, stacks: bool) -> Result<ConsumerRunningInfo, Why> {
        let brokers = self.brokers().await;
        let Some(at) = member.brokers.iter().find_map(|name| brokers.master(name)) else {
            return Err(Why::Unreachable(format!("no master of {} is registered", member.brokers.join(", "))));
        };
        let asking = self.admin.running_info(&at.address, group, &member.id, stacks);
        // It is the client that does not know the question; brokers pass its answer on.
        let unknown = || Why::Garbled("this client does not tell anything about itself".to_owned());
        let told = self.reach.ask_patiently(&at.address, asking).await;
        told.map_err(|why| if why == Why::Unsupported { unknown() } else { why })
    }

    pub(super) async fn fetch_producers(&self, brokers: &Brokers) -> Producers {
        let answers = self.ask_all(brokers.masters(), |at| self.admin.producer_table(&at.address)).await;
        let mut producers = Producers { silent: silent_among(&answers), ..Producers::default() };
        for (at, answer) in answers {
            match answer {
                Ok(table) => producers.clients.extend(table.data.into_iter().flat_map(|(group, clients)| {
                    clients.into_iter().map(move |client| ProducingClient {
                        id: client.client_id,
                        group: group.clone(),
                        address: client.remote_ip.trim_start_matches('/').to_owned(),
                        language: client.language,
                        version: client.version,
                        heard_ms: client.last_update_timestamp,
                    })
                })),
                // Upstream answers with an error when no producer is connected.
                Err(why) if why.is_silence() || why.has_code(protocol::codes::ResponseCode::SYSTEM_ERROR) => {}
                Err(why) => producers.refusals.push(Silent { node: at.to_string(), why }),
            }
        }
        producers.clients.sort();
        producers.clients.dedup_by(|next, first| (&next.id, &next.group) == (&first.id, &first.group));
        producers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(broker_offset: i64, consumer_offset: i64, last_timestamp: i64) -> QueueProgress {
        let offset = ConsumeOffset { broker_offset, consumer_offset, last_timestamp, pull_offset: 0 };
        QueueProgress { topic: "t".into(), broker: "b".into(), queue_id: 0, offset }
    }

    #[test]
    fn a_lag_that_makes_no_sense_is_not_known() {
        assert_eq!(queue(10, 4, 0).lag(), Some(6));
        assert_eq!(queue(10, 11, 0).lag(), None);
        assert_eq!(queue(10, -1, 0).lag(), None);
        let progress = Progress { queues: vec![queue(10, 11, 0), queue(10, 4, 0)], ..Progress::default() };
        assert_eq!(progress.lag(), Some(6));
        assert_eq!(Progress::default().lag(), None);
    }

    #[test]
    fn only_a_group_that_lags_is_behind() {
        assert_eq!(queue(10, 10, 1_000).behind_ms(5_000), None);
        assert_eq!(queue(10, 9, 1_000).behind_ms(5_000), Some(4_000));
        assert_eq!(queue(10, 9, 0).behind_ms(5_000), None);
    }
}
