//! Messages that are appended together.
//!
//! What many calls bring to a thread before it looks at its sockets again goes into the log in one append: the first
//! of them has it done after the tasks that are ready already. A lone call waits for nobody.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use log::Placed;
use protocol::v2::Code;
use tokio::sync::oneshot;

use super::code::{self, Refused};
use crate::broker::Broker;
use crate::writer::{Appends, Outcome, Submission, Submitted};

/// A turn that once was huge does not keep its room.
const KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes after which what was gathered is appended at once.
const GATHERED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How appending ended for one call.
pub type Ended = Result<Stored, Refused>;

/// Where the records of a call are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Where each of them is, in their order.
    pub placed: Vec<Placed>,
}

struct Waiting {
    first_record: usize,
    records: usize,
    ended: oneshot::Sender<Ended>,
}

/// What is appended together, and who waits for it.
struct Turn {
    broker: Arc<Broker>,
    appends: Appends,
    waiting: Vec<Waiting>,
}

thread_local! {
    static GATHERED: RefCell<Option<Box<Turn>>> = const { RefCell::new(None) };
    static SPARE: Cell<Option<Box<Turn>>> = const { Cell::new(None) };
}

/// Lets `push` add records, and says later how they were stored. `None` if it added nothing.
pub fn gather<T>(broker: &Arc<Broker>, push: impl FnOnce(&mut Appends) -> T) -> (T, Option<oneshot::Receiver<Ended>>) {
    GATHERED.with_borrow_mut(|gathered| {
        let is_first = gathered.is_none();
        let turn = gathered.get_or_insert_with(|| fresh(broker));
        debug_assert!(Arc::ptr_eq(&turn.broker, broker), "a thread serves one broker");
        let first_record = turn.appends.batch.len();
        let pushed = push(&mut turn.appends);
        let records = turn.appends.batch.len() - first_record;
        let waiting = (records > 0).then(|| {
            let (ended, receiver) = oneshot::channel();
            turn.waiting.push(Waiting { first_record, records, ended });
            receiver
        });
        if turn.appends.batch.bytes() > GATHERED_BYTES_MAX {
            if let Some(turn) = gathered.take() {
                append(turn);
            }
        } else if is_first {
            // Runs after what is ready now, which may add to it.
            tokio::task::spawn_local(async {
                if let Some(turn) = GATHERED.take() {
                    append(turn);
                }
            });
        }
        (pushed, waiting)
    })
}

/// Waits until what was gathered is stored.
pub async fn stored(waiting: oneshot::Receiver<Ended>) -> Ended {
    waiting.await.unwrap_or_else(|_| {
        Err(Refused::new(Code::InternalServerError, "the broker stopped before the message was stored"))
    })
}

fn fresh(broker: &Arc<Broker>) -> Box<Turn> {
    match SPARE.take().filter(|spare| Arc::ptr_eq(&spare.broker, broker)) {
        Some(spare) => spare,
        None => Box::new(Turn { broker: broker.clone(), appends: Appends::default(), waiting: Vec::new() }),
    }
}

fn append(turn: Box<Turn>) {
    if turn.waiting.is_empty() {
        SPARE.set(Some(turn));
        return;
    }
    let broker = turn.broker.clone();
    match broker.writer.submit(turn) {
        Submitted::Done(turn, Ok(())) if turn.appends.created_topic => turn.answer_when_told(),
        Submitted::Done(mut turn, result) => {
            turn.answer(result.as_ref().map_or_else(Outcome::Refused, |()| Outcome::Stored));
            if turn.appends.batch.bytes() <= KEPT_BYTES_MAX {
                turn.appends.clear();
                SPARE.set(Some(turn));
            }
        }
        Submitted::Later => {}
    }
}

impl Turn {
    fn answer(&mut self, outcome: Outcome<'_>) {
        let broker = &self.broker;
        #[cfg(feature = "otel")]
        crate::spans::end_sends(broker, &self.appends, &outcome);
        let count = self.waiting.len() as u64;
        match outcome {
            Outcome::Refused(error) => {
                broker.counters.sends_refused.fetch_add(count, Ordering::Relaxed);
                let refused = Refused::new(code::write_code(error), error);
                for waiting in self.waiting.drain(..) {
                    let _ = waiting.ended.send(Err(refused.clone()));
                }
            }
            Outcome::FlushTimeout => {
                let refused = Refused::new(Code::MasterPersistenceTimeout, "the disk did not confirm in time");
                for waiting in self.waiting.drain(..) {
                    let _ = waiting.ended.send(Err(refused.clone()));
                }
            }
            Outcome::Stored | Outcome::Accepted => {
                let placed = self.appends.batch.placed();
                broker.counters.messages_in.fetch_add(placed.len() as u64, Ordering::Relaxed);
                broker.counters.bytes_in.fetch_add(self.appends.batch.bytes() as u64, Ordering::Relaxed);
                for waiting in self.waiting.drain(..) {
                    let records = waiting.first_record..waiting.first_record + waiting.records;
                    let placed = placed.get(records).unwrap_or_default().to_vec();
                    // Whoever called may have gone; what it sent is stored all the same.
                    let _ = waiting.ended.send(Ok(Stored { placed }));
                }
            }
        }
    }

    /// Answers once nameservers know of the topics that were created.
    fn answer_when_told(mut self: Box<Self>) {
        self.broker.clone().when_topics_are_told(move |saved| self.answer(saved.outcome()));
    }
}

impl Submission for Turn {
    fn appends(&mut self) -> &mut Appends {
        &mut self.appends
    }

    fn bytes(&self) -> usize {
        self.appends.batch.bytes()
    }

    fn complete(&mut self, outcome: Outcome<'_>) {
        if let (true, Outcome::Stored) = (self.appends.created_topic, outcome) {
            let taken = Turn {
                broker: self.broker.clone(),
                appends: std::mem::take(&mut self.appends),
                waiting: std::mem::take(&mut self.waiting),
            };
            Box::new(taken).answer_when_told();
            return;
        }
        self.answer(outcome);
    }
}
