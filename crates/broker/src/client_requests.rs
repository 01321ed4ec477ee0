//! Requests of the broker to its clients: who waits for which answer, and until when.
//!
//! A client is asked on its connection, or on the telemetry stream of its session. Whoever waits is called exactly
//! once: with the answer, or when the client is gone or its time is up. What is asked without waiting (NOTIFY_CONSUMER_IDS_CHANGED,
//! CHECK_TRANSACTION_STATE, RESET_CONSUMER_CLIENT_OFFSET) has no part here.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use net::{Connection, ConnectionId};
use protocol::codes::ResponseCode;

use crate::broker::Broker;

/// Most requests that one client has not answered. Tools ask one after another.
const PER_CLIENT_MAX: usize = 256;
/// Most requests that are not answered. Each holds what its asker needs, which may be a whole message.
const ALL_MAX: usize = 4_096;

/// What a client answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAnswer {
    /// Code of the answer.
    pub code: ResponseCode,
    /// Text of the answer.
    pub remark: Option<String>,
    /// Body, as the client wrote it.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// The client is not connected, or not any more.
    #[error("the client is not connected any more")]
    Gone,
    /// The client said nothing.
    #[error("the client did not answer within {0:?}")]
    NotInTime(Duration),
    /// Too many requests wait for an answer.
    #[error(
        "too many requests to clients wait for an answer; the limits are {PER_CLIENT_MAX} of a client and {ALL_MAX}"
    )]
    TooMany,
}

/// Who waits for an answer. Runs on the thread that has it.
pub type Then = Box<dyn FnOnce(Result<ClientAnswer, NoAnswer>) + Send>;

/// All requests that wait for an answer.
#[derive(Default)]
pub struct ClientRequests(Mutex<Table>);

#[derive(Default)]
struct Table {
    /// By client, then by the number of the request.
    waiting: HashMap<ConnectionId, HashMap<i32, Waiting>>,
    count: usize,
}

struct Waiting {
    deadline_ms: i64,
    time: Duration,
    then: Then,
}

impl ClientRequests {
    /// Waits for the answer of a client to the request of that number. Gives `then` back when too many wait.
    pub fn wait(&self, client: ConnectionId, opaque: i32, now_ms: i64, time: Duration, then: Then) -> Result<(), Then> {
        let mut table = self.lock();
        let of_client = table.waiting.get(&client).map_or(0, HashMap::len);
        if of_client >= PER_CLIENT_MAX || table.count >= ALL_MAX {
            return Err(then);
        }
        let waiting = Waiting { deadline_ms: now_ms.saturating_add(time.as_millis() as i64), time, then };
        table.waiting.entry(client).or_default().insert(opaque, waiting);
        table.count += 1;
        Ok(())
    }

    /// A client answered. An answer that nobody waits for means nothing.
    pub fn answered(&self, client: ConnectionId, opaque: i32, answer: impl FnOnce() -> ClientAnswer) {
        let waiting = self.lock().take(client, opaque);
        if let Some(waiting) = waiting {
            (waiting.then)(Ok(answer()));
        }
    }

    /// A request did not reach its client.
    pub fn unreachable(&self, client: ConnectionId, opaque: i32) {
        let waiting = self.lock().take(client, opaque);
        if let Some(waiting) = waiting {
            (waiting.then)(Err(NoAnswer::Gone));
        }
    }

    /// A client is gone.
    pub fn gone(&self, client: ConnectionId) {
        let waiting = {
            let mut table = self.lock();
            let waiting = table.waiting.remove(&client).unwrap_or_default();
            table.count -= waiting.len();
            waiting
        };
        waiting.into_values().for_each(|waiting| (waiting.then)(Err(NoAnswer::Gone)));
    }

    /// Gives up whoever has waited for long enough.
    pub fn give_up(&self, now_ms: i64) {
        let mut late = Vec::new();
        {
            let mut table = self.lock();
            if table.count == 0 {
                return;
            }
            let is_late = |waiting: &Waiting| waiting.deadline_ms <= now_ms;
            for waiting in table.waiting.values_mut() {
                late.extend(waiting.extract_if(|_, waiting| is_late(waiting)).map(|(_, waiting)| waiting));
            }
            table.waiting.retain(|_, waiting| !waiting.is_empty());
            table.count -= late.len();
        }
        late.into_iter().for_each(|waiting| (waiting.then)(Err(NoAnswer::NotInTime(waiting.time))));
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.lock().count
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn take(&mut self, client: ConnectionId, opaque: i32) -> Option<Waiting> {
        let of_client = self.waiting.get_mut(&client)?;
        let waiting = of_client.remove(&opaque)?;
        if of_client.is_empty() {
            self.waiting.remove(&client);
        }
        self.count -= 1;
        Some(waiting)
    }
}

impl Broker {
    /// Asks the client of a connection. `write` appends the request with the number it is given; `then` gets the answer.
    pub fn ask_connection(
        &self,
        connection: &Connection,
        time: Duration,
        write: impl FnOnce(&mut Vec<u8>, i32),
        then: impl FnOnce(Result<ClientAnswer, NoAnswer>) + Send + 'static,
    ) {
        self.ask(connection.id(), time, |opaque| connection.send(|out| write(out, opaque)), then);
    }

    /// Asks a client. `send` is given the number of the request and says whether it is on its way; `then` gets the
    /// answer.
    pub fn ask(
        &self,
        client: ConnectionId,
        time: Duration,
        send: impl FnOnce(i32) -> bool,
        then: impl FnOnce(Result<ClientAnswer, NoAnswer>) + Send + 'static,
    ) {
        let opaque = self.next_opaque();
        // The answer may come before `send` has returned.
        match self.client_requests.wait(client, opaque, self.clock.now_ms(), time, Box::new(then)) {
            Ok(()) if send(opaque) => {}
            Ok(()) => self.client_requests.unreachable(client, opaque),
            Err(then) => then(Err(NoAnswer::TooMany)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    const ONE: ConnectionId = ConnectionId(1);
    const TWO: ConnectionId = ConnectionId(2);
    const TIME: Duration = Duration::from_millis(100);

    fn wait(requests: &ClientRequests, client: ConnectionId, opaque: i32) -> Receiver<Result<ClientAnswer, NoAnswer>> {
        let (sender, receiver) = channel();
        let then = Box::new(move |answer| drop(sender.send(answer)));
        assert!(requests.wait(client, opaque, 0, TIME, then).is_ok());
        receiver
    }

    fn answer(text: &str) -> ClientAnswer {
        ClientAnswer { code: ResponseCode::SUCCESS, remark: None, body: text.into() }
    }

    #[test]
    fn an_answer_reaches_whoever_asked_that_client_and_nobody_twice() {
        let requests = ClientRequests::default();
        let (first, second) = (wait(&requests, ONE, 7), wait(&requests, TWO, 7));
        requests.answered(TWO, 8, || unreachable!("nobody waits for it"));
        requests.answered(TWO, 7, || answer("two"));
        requests.answered(TWO, 7, || unreachable!("it was answered"));
        assert_eq!(second.try_recv(), Ok(Ok(answer("two"))));
        assert!(first.try_recv().is_err());
        requests.answered(ONE, 7, || answer("one"));
        assert_eq!(first.try_recv(), Ok(Ok(answer("one"))));
        assert!(requests.is_empty());
    }

    #[test]
    fn whoever_asked_a_client_that_is_gone_or_silent_hears_so() {
        let requests = ClientRequests::default();
        let (gone, unreachable, silent) = (wait(&requests, ONE, 1), wait(&requests, TWO, 1), wait(&requests, TWO, 2));
        requests.gone(ONE);
        assert_eq!(gone.try_recv(), Ok(Err(NoAnswer::Gone)));
        requests.unreachable(TWO, 1);
        assert_eq!(unreachable.try_recv(), Ok(Err(NoAnswer::Gone)));
        requests.give_up(99);
        assert!(silent.try_recv().is_err());
        requests.give_up(100);
        assert_eq!(silent.try_recv(), Ok(Err(NoAnswer::NotInTime(TIME))));
        assert!(requests.is_empty());
    }

    #[test]
    fn a_client_that_never_answers_is_not_asked_without_end() {
        let requests = ClientRequests::default();
        let waiting: Vec<_> = (0..PER_CLIENT_MAX as i32).map(|opaque| wait(&requests, ONE, opaque)).collect();
        assert!(requests.wait(ONE, -1, 0, TIME, Box::new(|_| {})).is_err());
        assert!(requests.wait(TWO, -1, 0, TIME, Box::new(|_| {})).is_ok());
        requests.give_up(i64::MAX);
        assert!(waiting.iter().all(|waiting| waiting.try_recv().is_ok_and(|answer| answer.is_err())));
        assert_eq!(requests.len(), 0);
    }
}
