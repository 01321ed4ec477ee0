//! Messages that wait for their time: how many there are (61), and taking one back (370).

use std::collections::BTreeMap;

use client::clock;
use protocol::recall_handle::RecallHandle;

use super::brokers::Brokers;
use super::changes::Outcome;
use super::why::{Silent, Why};
use super::{Cluster, silent_among};

/// How many messages wait.
#[derive(Clone, Debug, Default)]
pub struct Scheduled {
    /// When brokers were asked, in milliseconds since 1970.
    pub asked_ms: i64,
    /// Messages that wait, by topic and then by broker.
    pub topics: BTreeMap<String, BTreeMap<String, i64>>,
    /// Who did not answer.
    pub silent: Vec<Silent>,
    /// Who answered, but not this.
    pub refusals: Vec<Silent>,
}

impl Cluster {
    pub(super) async fn fetch_scheduled(&self, brokers: &Brokers) -> Scheduled {
        let answers = self.ask_all(brokers.masters(), |at| self.admin.timer_metrics(&at.address)).await;
        let silent = silent_among(&answers);
        let mut scheduled = Scheduled { asked_ms: clock::now_ms(), silent, ..Scheduled::default() };
        for (at, answer) in answers {
            match answer {
                Ok(metrics) => {
                    for (topic, metric) in metrics.timing_count.into_iter().filter(|(_, metric)| 0 < metric.count) {
                        scheduled.topics.entry(topic).or_default().insert(at.name.clone(), metric.count);
                    }
                }
                Err(why) if why.is_silence() => {}
                Err(why) => scheduled.refusals.push(Silent { node: at.to_string(), why }),
            }
        }
        scheduled
    }

    /// Takes a message back on the broker that its handle names.
    pub async fn recall(&self, handle: &RecallHandle<'_>, text: &str) -> Outcome {
        let brokers = self.brokers().await;
        let Some(at) = brokers.master(&handle.broker) else {
            let why = Why::Unreachable(format!("no master of `{}` is registered", handle.broker));
            return Outcome { node: handle.broker.to_string(), result: Err(why) };
        };
        let asking = self.admin.recall(&at.address, &handle.topic, text);
        let result = self.reach.ask_patiently(&at.address, asking).await;
        self.scheduled.forget();
        Outcome { node: at.to_string(), result }
    }
}
