//! What single topics hold, and who reads them (202 and 300).

use client::clock;
use protocol::bodies::stats::TopicOffset;
use protocol::codes::ResponseCode;

use super::brokers::Brokers;
use super::why::Silent;
use super::{Cluster, silent_among};

/// What one queue holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueHolding {
    /// Broker name.
    pub broker: String,
    /// Number of the queue.
    pub queue_id: i32,
    /// Offsets and the time of the last message.
    pub offset: TopicOffset,
}

impl QueueHolding {
    /// Messages that are kept.
    pub fn messages(&self) -> i64 {
        (self.offset.max_offset - self.offset.min_offset).max(0)
    }

    /// Store time of the last message in milliseconds since 1970.
    pub fn last_stored_ms(&self) -> Option<i64> {
        Some(self.offset.last_update_timestamp).filter(|time| 0 < *time)
    }
}

/// What a topic holds.
#[derive(Clone, Debug, Default)]
pub struct TopicHoldings {
    /// When brokers were asked, in milliseconds since 1970.
    pub asked_ms: i64,
    /// Queues, sorted by broker and number.
    pub queues: Vec<QueueHolding>,
    /// Messages per second that came in lately; `None` when no broker tells.
    pub in_per_second: Option<f64>,
    /// Who did not answer.
    pub silent: Vec<Silent>,
    /// Who answered, but not this.
    pub refusals: Vec<Silent>,
}

impl TopicHoldings {
    /// Messages that are kept; `None` when no broker tells.
    pub fn messages(&self) -> Option<i64> {
        let is_known = !self.queues.is_empty() || (self.silent.is_empty() && self.refusals.is_empty());
        is_known.then(|| self.queues.iter().map(QueueHolding::messages).sum())
    }

    /// Store time of the last message in milliseconds since 1970.
    pub fn last_stored_ms(&self) -> Option<i64> {
        self.queues.iter().filter_map(QueueHolding::last_stored_ms).max()
    }

    /// Why a figure is not known, in one line.
    pub fn reason(&self) -> Option<String> {
        let first = self.silent.first().or(self.refusals.first())?;
        Some(format!("{}: {}", first.node, first.why))
    }
}

/// Who consumes a topic.
#[derive(Clone, Debug, Default)]
pub struct Readers {
    /// Groups, sorted.
    pub groups: Vec<String>,
    /// Who did not answer.
    pub silent: Vec<Silent>,
    /// Who answered, but not this.
    pub refusals: Vec<Silent>,
}

impl Cluster {
    pub(super) async fn fetch_holdings(&self, brokers: &Brokers, topic: &str) -> TopicHoldings {
        let answers = self.ask_all(brokers.masters(), |at| self.admin.topic_stats_table(&at.address, topic)).await;
        let silent = silent_among(&answers);
        let mut holdings = TopicHoldings { asked_ms: clock::now_ms(), silent, ..TopicHoldings::default() };
        for (at, answer) in answers {
            match answer {
                Ok(table) => {
                    *holdings.in_per_second.get_or_insert(0.0) += table.topic_put_tps;
                    let queues = table.offset_table.0.into_iter().map(|(queue, offset)| QueueHolding {
                        broker: at.name.clone(),
                        queue_id: queue.queue_id,
                        offset,
                    });
                    holdings.queues.extend(queues);
                }
                // A topic need not be on every broker.
                Err(why) if why.is_silence() || why.has_code(ResponseCode::TOPIC_NOT_EXIST) => {}
                Err(why) => holdings.refusals.push(Silent { node: at.to_string(), why }),
            }
        }
        holdings.queues.sort_by(|a, b| (&a.broker, a.queue_id).cmp(&(&b.broker, b.queue_id)));
        holdings
    }

    pub(super) async fn fetch_readers(&self, brokers: &Brokers, topic: &str) -> Readers {
        let answers = self.ask_all(brokers.masters(), |at| self.admin.groups_of_topic(&at.address, topic)).await;
        let mut readers = Readers { silent: silent_among(&answers), ..Readers::default() };
        for (at, answer) in answers {
            match answer {
                Ok(groups) => readers.groups.extend(groups),
                Err(why) if why.is_silence() => {}
                Err(why) => readers.refusals.push(Silent { node: at.to_string(), why }),
            }
        }
        readers.groups.sort();
        readers.groups.dedup();
        readers
    }
}
