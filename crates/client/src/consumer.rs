//! Consuming, kept simple: one client reads every queue of a topic.
//!
//! There is no balancing: two consumers of one group both get every message, and share the committed offsets. It
//! is made for operators and tests, not for fleets of workers.

mod membership;
mod queue_reader;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::message::Received;
use crate::nameservers::Nameservers;
use crate::request::RequestError;
use crate::route::{self, QueueAt};

/// Group in whose name those read who have none: every stock broker has it and takes its pulls unregistered.
const NOBODYS_GROUP: &str = "TOOLS_CONSUMER";

/// Answers that wait to be taken before pulling pauses.
const ANSWERS_AHEAD: usize = 4;

/// Time between two commits.
const COMMIT_PERIOD: Duration = Duration::from_secs(5);
/// Commits per heartbeat and route look-up.
const COMMITS_PER_HEARTBEAT: u32 = 6;
/// Wait before something that failed is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Where a queue begins for which the group has committed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartFrom {
    /// At its first message.
    First,
    /// After its last message.
    Last,
}

/// What a consumer does.
#[derive(Clone, Debug)]
pub struct ConsumerOptions {
    /// Topic.
    pub topic: String,
    /// Group whose committed offsets are used and moved. Without one every run starts anew and leaves no trace.
    pub group: Option<String>,
    /// Tags that are wanted, `a || b`; `*` wants everything.
    pub tags: String,
    /// Where queues begin.
    pub start: StartFrom,
    /// Whether to wait for new messages instead of ending after those that are there.
    pub follow: bool,
}

/// Why consuming ended.
#[derive(Debug, thiserror::Error)]
pub enum ConsumeError {
    /// No nameserver knows the topic.
    #[error("topic `{0}` does not exist")]
    NoSuchTopic(String),
    /// A server was not reached, or said no.
    #[error(transparent)]
    Request(#[from] RequestError),
}

/// Reads every queue of a topic.
#[derive(Debug)]
pub struct Consumer {
    shared: Arc<Shared>,
    deliveries: mpsc::Receiver<Delivery>,
    /// Messages of the delivery at hand that were not handed out.
    waiting: VecDeque<Received>,
    /// Queue of the delivery at hand, and the offset after it.
    at_hand: Option<(QueueAt, i64)>,
    /// Offset of the message that was handed out last, until it counts as consumed.
    handed_out: Option<u64>,
    /// Queues that are not read to their end; with `follow` that never falls to zero.
    queues_left: usize,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// What the readers of the queues share.
#[derive(Debug)]
struct Shared {
    nameservers: Nameservers,
    options: ConsumerOptions,
    /// The name that pulls carry.
    group: String,
    /// Next offset to be consumed, by queue.
    progress: Mutex<BTreeMap<QueueAt, i64>>,
}

/// What a reader has to say.
#[derive(Debug)]
enum Delivery {
    Messages { queue: QueueAt, messages: VecDeque<Received>, next: i64 },
    End,
    Failed(RequestError),
}

impl Consumer {
    /// Begins to read. With `follow` a topic that does not exist yet is waited for.
    pub async fn start(nameservers: Nameservers, options: ConsumerOptions) -> Result<Consumer, ConsumeError> {
        let group = options.group.clone().unwrap_or_else(|| NOBODYS_GROUP.to_owned());
        let follow = options.follow;
        let shared = Arc::new(Shared { nameservers, options, group, progress: Mutex::default() });
        let queues = loop {
            match shared.queues().await? {
                Some(queues) => break queues,
                None if follow => tokio::time::sleep(RETRY_PAUSE).await,
                None => return Err(ConsumeError::NoSuchTopic(shared.options.topic.clone())),
            }
        };
        let (sender, deliveries) = mpsc::channel(ANSWERS_AHEAD);
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let queues_left = queues.len();
        let member = membership::Member::new(shared.clone(), &queues);
        if let Some(member) = &member {
            member.heartbeat().await?;
        }
        let readers = Readers { shared: shared.clone(), sender, stop: stop.clone(), tasks: tasks.clone() };
        for queue in &queues {
            readers.add(queue.clone(), None);
        }
        if follow || member.is_some() {
            tasks.spawn(tend(readers, member, queues));
        }
        let (waiting, at_hand, handed_out) = (VecDeque::new(), None, None);
        Ok(Consumer { shared, deliveries, waiting, at_hand, handed_out, queues_left, stop, tasks })
    }

    /// The next message; the one before counts as consumed. `None` when all that was there has been read.
    pub async fn next(&mut self) -> Result<Option<Received>, ConsumeError> {
        loop {
            self.consumed();
            if let Some(message) = self.waiting.pop_front() {
                self.handed_out = Some(message.offset);
                return Ok(Some(message));
            }
            if let Some((queue, next)) = self.at_hand.take() {
                self.shared.consumed(&queue, next);
            }
            if self.queues_left == 0 {
                return Ok(None);
            }
            match self.deliveries.recv().await {
                Some(Delivery::Messages { queue, messages, next }) => {
                    self.waiting = messages;
                    self.at_hand = Some((queue, next));
                }
                Some(Delivery::End) => self.queues_left -= 1,
                Some(Delivery::Failed(error)) => return Err(error.into()),
                None => return Ok(None),
            }
        }
    }

    /// The last message counts as consumed, without asking for the next.
    pub fn consumed(&mut self) {
        if let (Some((queue, _)), Some(offset)) = (&self.at_hand, self.handed_out.take()) {
            self.shared.consumed(queue, offset as i64 + 1);
        }
    }

    /// Stops reading; commits what was consumed and leaves the group.
    pub async fn close(mut self) {
        self.deliveries.close();
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        // Readers are gone; of a consumer that ended by itself the offsets are committed here.
        self.shared.commit().await;
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Shared {
    async fn queues(&self) -> Result<Option<Vec<QueueAt>>, RequestError> {
        let found = self.nameservers.route(&self.options.topic).await?;
        Ok(found.map(|found| route::readable(&found)))
    }

    /// Notes that everything before `next` is consumed.
    fn consumed(&self, queue: &QueueAt, next: i64) {
        if self.options.group.is_some() {
            self.progress().insert(queue.clone(), next);
        }
    }

    fn progress(&self) -> MutexGuard<'_, BTreeMap<QueueAt, i64>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits what was consumed since the last time. What cannot be committed stays for the next time.
    async fn commit(&self) {
        let moved = std::mem::take(&mut *self.progress());
        for (queue, next) in moved {
            if let Err(error) = queue_reader::commit(self, &queue, next).await {
                tracing::warn!(broker = queue.broker, queue = queue.queue_id, %error, "offset is not committed");
                self.progress().entry(queue).or_insert(next);
            }
        }
    }
}

/// Starts readers.
struct Readers {
    shared: Arc<Shared>,
    sender: mpsc::Sender<Delivery>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Readers {
    /// Reads `queue`, from `offset` if it is given.
    fn add(&self, queue: QueueAt, offset: Option<i64>) {
        let reading = queue_reader::read(self.shared.clone(), queue, offset, self.sender.clone());
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = reading => {}
                () = stop.cancelled() => {}
            }
        });
    }
}

/// Commits, keeps the membership alive and looks for new queues, until the consumer stops.
async fn tend(readers: Readers, mut member: Option<membership::Member>, mut known: Vec<QueueAt>) {
    let mut ticks = tokio::time::interval(COMMIT_PERIOD);
    let mut tick = 0;
    loop {
        tokio::select! {
            _ = ticks.tick() => tick += 1,
            () = readers.stop.cancelled() => break,
        }
        readers.shared.commit().await;
        if tick % COMMITS_PER_HEARTBEAT != 0 {
            continue;
        }
        if let Some(Err(error)) = match &member {
            Some(member) => Some(member.heartbeat().await),
            None => None,
        } {
            tracing::warn!(%error, "heartbeat failed");
        }
        if !readers.shared.options.follow {
            continue;
        }
        let Ok(Some(queues)) = readers.shared.queues().await else { continue };
        for queue in queues {
            let same = |other: &QueueAt| (&other.broker, other.queue_id) == (&queue.broker, queue.queue_id);
            if !known.iter().any(same) {
                known.push(queue.clone());
                if let Some(member) = &mut member {
                    member.meet(&queue);
                }
                // What was sent to a queue that has just appeared is wanted, whatever the start is.
                readers.add(queue, Some(0));
            }
        }
    }
    readers.shared.commit().await;
    if let Some(member) = member {
        member.leave().await;
    }
}

#[cfg(test)]
mod tests;
