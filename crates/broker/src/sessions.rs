//! gRPC clients: who they are, what they do, and how they are asked something.
//!
//! A client is known by its id, whatever connections it has. In [`crate::membership`] a session stands where a
//! connection of a remoting client would.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::task::AtomicWaker;
use net::ConnectionId;
use protocol::bodies::heartbeat::{ConsumeFromWhere, ConsumeType, MessageModel};
use protocol::v2::TelemetryCommand;

use crate::broker::Broker;
use crate::membership::{Beat, Client, ConsumerBeat, Subscription};

/// Most clients at a time; whoever is silent and has no stream makes room.
const SESSIONS_MAX: usize = 200_000;
/// Commands that wait for a client that does not read them; more are not sent.
const COMMANDS_MAX: usize = 256;

/// What a client does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sends. It is in the producer group of each topic, which has the topic's name.
    Producer {
        /// Topics that it says it sends to.
        topics: Vec<String>,
    },
    /// Consumes.
    Consumer {
        /// Its group.
        group: String,
        /// Whether it is called with messages, or asks for them.
        consume_type: ConsumeType,
        /// What it wants; `None` if it has not said.
        subscriptions: Option<Vec<Subscription>>,
    },
}

/// A client.
#[derive(Debug)]
pub struct Session {
    /// Stands for it in the membership.
    pub member: ConnectionId,
    /// How it introduced itself.
    pub client: Client,
    /// When it was first heard of, in milliseconds since 1970.
    pub opened_ms: i64,
    heard_ms: AtomicI64,
    role: Mutex<Option<Role>>,
    commands: Mutex<Option<Arc<Commands>>>,
}

impl Session {
    /// What it does, if it has said.
    pub fn role(&self) -> Option<Role> {
        lock(&self.role).clone()
    }

    /// It was heard of.
    pub fn heard(&self, now_ms: i64) {
        self.heard_ms.store(now_ms, Ordering::Relaxed);
    }

    /// When it was last heard of, in milliseconds since 1970.
    pub fn heard_ms(&self) -> i64 {
        self.heard_ms.load(Ordering::Relaxed)
    }

    /// From now on commands go to this stream.
    pub fn attach(&self, commands: &Arc<Commands>) {
        *lock(&self.commands) = Some(commands.clone());
    }

    /// The stream ended; commands still go to a newer one.
    pub fn detach(&self, commands: &Arc<Commands>) {
        let mut current = lock(&self.commands);
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, commands)) {
            *current = None;
        }
    }

    /// Whether commands go to this stream, and not to a newer one or none.
    pub fn is_attached(&self, commands: &Arc<Commands>) -> bool {
        lock(&self.commands).as_ref().is_some_and(|current| Arc::ptr_eq(current, commands))
    }

    /// Whether commands can reach it.
    pub fn has_stream(&self) -> bool {
        lock(&self.commands).is_some()
    }

    /// Whether nothing tells that the client is there: it was not heard since then, and has no stream.
    fn is_silent_since(&self, before_ms: i64) -> bool {
        self.heard_ms() < before_ms && !self.has_stream()
    }

    /// Sends a command; `false` if there is no stream, or the client does not read it.
    pub fn command(&self, command: TelemetryCommand) -> bool {
        lock(&self.commands).as_ref().is_some_and(|commands| commands.push(command))
    }
}

/// Commands on their way to one telemetry stream.
#[derive(Debug, Default)]
pub struct Commands {
    queue: Mutex<VecDeque<TelemetryCommand>>,
    waker: AtomicWaker,
}

impl Commands {
    /// Adds a command; `false` if too many wait already.
    pub fn push(&self, command: TelemetryCommand) -> bool {
        {
            let mut queue = lock(&self.queue);
            if queue.len() >= COMMANDS_MAX {
                return false;
            }
            queue.push_back(command);
        }
        self.waker.wake();
        true
    }

    /// Takes the oldest command, or has the task woken when there is one.
    pub fn take(&self, waker: &std::task::Waker) -> Option<TelemetryCommand> {
        self.waker.register(waker);
        let mut queue = lock(&self.queue);
        let taken = queue.pop_front();
        if queue.is_empty() {
            // Streams are open for days and mostly have nothing to say.
            *queue = VecDeque::new();
        }
        taken
    }
}

/// All gRPC clients.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    by_client: HashMap<String, Arc<Session>>,
    by_member: HashMap<ConnectionId, Arc<Session>>,
}

impl Sessions {
    /// The session of a client.
    pub fn get(&self, client_id: &str) -> Option<Arc<Session>> {
        lock(&self.0).by_client.get(client_id).cloned()
    }

    /// The session that stands for a member.
    pub fn of_member(&self, member: ConnectionId) -> Option<Arc<Session>> {
        lock(&self.0).by_member.get(&member).cloned()
    }

    /// The session of a client, a new one if it has none. `None` if there are too many.
    pub fn get_or_open(&self, client: Client, now_ms: i64) -> Option<Arc<Session>> {
        let mut table = lock(&self.0);
        if let Some(known) = table.by_client.get(&client.id) {
            known.heard(now_ms);
            return Some(known.clone());
        }
        if table.by_client.len() >= SESSIONS_MAX {
            return None;
        }
        let session = Arc::new(Session {
            member: ConnectionId::next(),
            client,
            opened_ms: now_ms,
            heard_ms: AtomicI64::new(now_ms),
            role: Mutex::default(),
            commands: Mutex::default(),
        });
        table.by_client.insert(session.client.id.clone(), session.clone());
        table.by_member.insert(session.member, session.clone());
        Some(session)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        lock(&self.0).by_client.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn is_current(&self, session: &Arc<Session>) -> bool {
        let table = lock(&self.0);
        table.by_client.get(&session.client.id).is_some_and(|current| Arc::ptr_eq(current, session))
    }

    fn remove(&self, client_id: &str) -> Option<Arc<Session>> {
        let mut table = lock(&self.0);
        let removed = table.by_client.remove(client_id)?;
        table.by_member.remove(&removed.member);
        Some(removed)
    }

    fn silent_since(&self, before_ms: i64) -> Vec<Arc<Session>> {
        let table = lock(&self.0);
        table.by_client.values().filter(|session| session.is_silent_since(before_ms)).cloned().collect()
    }
}

impl Broker {
    /// A client said what it does, or a heartbeat confirms it.
    pub fn session_does(&self, session: &Session, role: Role) {
        let now_ms = self.clock.now_ms();
        session.heard(now_ms);
        let mut beat = Beat { client: session.client.clone(), producer_groups: Vec::new(), consumers: Vec::new() };
        match &role {
            Role::Producer { topics } => beat.producer_groups.clone_from(topics),
            Role::Consumer { group, consume_type, subscriptions } => {
                self.deliveries.heard(group, &session.client.id, now_ms);
                beat.consumers.push(ConsumerBeat {
                    group: group.clone(),
                    consume_type: *consume_type,
                    model: MessageModel::Clustering,
                    from_where: ConsumeFromWhere::FirstOffset,
                    subscriptions: subscriptions.clone(),
                });
            }
        }
        *lock(&session.role) = Some(role);
        let effects = self.membership().heartbeat(now_ms, session.member, beat);
        self.carry_out(effects);
    }

    /// A client said goodbye, hung up, or was silent for too long: it is no member of anything any more, and others get
    /// what it holds.
    pub fn end_session(&self, client_id: &str) -> Option<Arc<Session>> {
        /// Time for acknowledgements that are under way.
        const GIVEN_BACK_AFTER_MS: i64 = 1_000;
        let session = self.sessions.remove(client_id)?;
        if let Some(Role::Consumer { group, .. }) = session.role() {
            self.deliveries.gone(&group, client_id, self.clock.now_ms() + GIVEN_BACK_AFTER_MS);
        }
        self.client_requests.gone(session.member);
        let effects = self.membership().disconnected(session.member);
        self.carry_out(effects);
        Some(session)
    }

    /// A client hung up. A newer session of the same client goes on.
    pub fn end_this_session(&self, session: &Arc<Session>) {
        if self.sessions.is_current(session) {
            self.end_session(&session.client.id);
        }
    }

    /// Ends sessions that were silent for longer than `silence_max_ms`. One with a stream goes on: its client is there, or
    /// its connection ends, and after the next heartbeat nothing could be asked of a new session.
    pub fn expire_sessions(&self, now_ms: i64, silence_max_ms: i64) {
        let before_ms = now_ms - silence_max_ms;
        for session in self.sessions.silent_since(before_ms) {
            // It may have been heard since, on another thread.
            if session.is_silent_since(before_ms) {
                tracing::debug!(client_id = session.client.id, "a client is gone: it was silent for too long");
                self.end_this_session(&session);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these locks guard is changed in single steps.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use protocol::codes::Language;

    use super::*;
    use crate::membership::Door;

    fn client(id: &str) -> Client {
        let address = "10.0.0.1:1".parse().unwrap();
        Client { id: id.into(), address, language: Language::GO, version: 1, door: Door::Grpc }
    }

    #[test]
    fn a_client_has_one_session_and_commands_go_to_its_newest_stream() {
        let sessions = Sessions::default();
        let session = sessions.get_or_open(client("a"), 5).unwrap();
        assert!(!session.command(TelemetryCommand::default()));
        let (old, new) = (Arc::new(Commands::default()), Arc::new(Commands::default()));
        session.attach(&old);
        session.attach(&new);
        session.detach(&old);
        assert!(session.has_stream() && session.command(TelemetryCommand::default()));
        let waker = futures_util::task::noop_waker();
        assert!(old.take(&waker).is_none() && new.take(&waker).is_some());
        assert!(Arc::ptr_eq(&sessions.get_or_open(client("a"), 9).unwrap(), &session));
        assert_eq!((session.heard_ms(), sessions.len()), (9, 1));
        let silent = |before_ms| -> Vec<String> {
            sessions.silent_since(before_ms).iter().map(|session| session.client.id.clone()).collect()
        };
        assert_eq!(silent(10), Vec::<String>::new());
        session.detach(&new);
        assert_eq!(silent(9), Vec::<String>::new());
        assert_eq!(silent(10), ["a"]);
        assert!(sessions.of_member(session.member).is_some() && sessions.remove("a").is_some());
        assert!(sessions.is_empty() && sessions.of_member(session.member).is_none());
    }

    #[test]
    fn commands_for_a_client_that_does_not_read_are_not_kept_without_end() {
        let commands = Commands::default();
        let taken = (0..1000).filter(|_| commands.push(TelemetryCommand::default())).count();
        assert_eq!(taken, COMMANDS_MAX);
    }
}
