//! The broker's core: everything the doors and the background work share.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use client::Nameservers;
use log::{DefineError, Log, LogPosition, QueueNumber};
use protocol::message_id;
use protocol::sys_flag::SysFlag;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::client_requests::ClientRequests;
use crate::clock::Clock;
use crate::config::BrokerConfig;
use crate::config::change::Changes;
use crate::connections::Connections;
use crate::counters::Counters;
use crate::delay::by_topic::WaitingCounter;
use crate::delivery::Deliveries;
use crate::filter::CompiledFilters;
use crate::groups::Groups;
use crate::held_pulls::HeldPulls;
use crate::held_receives::HeldReceives;
use crate::membership::{Effect, Membership};
use crate::meta::Meta;
use crate::names;
use crate::offsets::Offsets;
use crate::queue_locks::QueueLocks;
use crate::registration::Registrations;
use crate::remoting::WokenPops;
use crate::request_modes::RequestModes;
use crate::send::{Draft, SendError};
use crate::sessions::Sessions;
use crate::stats::Stats;
use crate::topics::{Permission, Topic, TopicSettings, Topics};
use crate::transactions::Transactions;
use crate::unsaved::{Saved, Unsaved};
use crate::writer::{Appends, Writer};

/// A running broker.
pub struct Broker {
    /// Settings.
    pub config: BrokerConfig,
    /// Settings that were changed while the broker ran.
    pub changes: Changes,
    /// Address that message ids carry.
    pub store_host: SocketAddr,
    /// Tells the time.
    pub clock: Clock,
    /// When the broker started, in milliseconds since 1970.
    pub started_ms: i64,
    /// The messages.
    pub log: Arc<Log>,
    /// Appends messages.
    pub writer: Writer,
    /// Small things that outlive the process.
    pub meta: Meta,
    /// Topics.
    pub topics: Topics,
    /// Consumer groups.
    pub groups: Groups,
    /// SQL92 expressions of subscriptions and requests, each compiled once.
    pub filters: CompiledFilters,
    /// How far groups have consumed.
    pub offsets: Offsets,
    /// Messages that were handed out one by one.
    pub deliveries: Deliveries,
    /// Receive calls that wait for messages.
    pub receives: Arc<HeldReceives>,
    /// Pops that were held and are to be run again.
    pub woken_pops: Arc<WokenPops>,
    /// Whether push consumers pull or pop.
    pub request_modes: RequestModes,
    /// Where topics have their queues, also those of other brokers; none if this broker registers nowhere.
    pub nameservers: Option<Nameservers>,
    /// Open connections.
    pub connections: Connections,
    /// gRPC clients.
    pub sessions: Sessions,
    /// Requests to clients that wait for an answer.
    pub client_requests: ClientRequests,
    /// Pulls that wait for messages.
    pub pulls: Arc<HeldPulls>,
    /// Woken when a message is due earlier than any before.
    pub due: Arc<Notify>,
    /// Time before which no delayed message is delivered, after one could not be.
    pub delivery_pause_until_ms: AtomicI64,
    /// Delayed messages that cannot be delivered for a reason of their own, and when each is tried again.
    pub delivery_aside: Mutex<Vec<(i64, LogPosition)>>,
    /// How many messages of each topic wait for their time.
    pub waiting: WaitingCounter,
    /// Topics that are being deleted: none of them is created before that has ended.
    pub deleting: Mutex<HashSet<String>>,
    /// Somebody asked for old messages to be deleted before the hour for that.
    pub clean_now: AtomicBool,
    /// Keeps nameservers informed.
    pub registrations: Arc<Registrations>,
    /// Answers that wait until metadata is saved.
    pub unsaved: Arc<Unsaved>,
    /// What happened.
    pub counters: Counters,
    /// What was counted lately.
    pub stats: Stats,
    /// Size of the newest part of the log that counts as in memory, in bytes.
    pub recent_bytes: u64,
    /// Tells a collector what happens to messages, if there is one.
    #[cfg(feature = "otel")]
    pub tracer: std::sync::OnceLock<traces::Tracer>,
    /// Cancelled when the broker stops.
    pub shutdown: CancellationToken,
    /// Where messages of delay levels wait.
    pub schedule_topic: Arc<Topic>,
    /// Where messages wait that are due at any time.
    pub timer_topic: Arc<Topic>,
    /// Where half messages wait.
    pub half_topic: Arc<Topic>,
    /// Where decisions are recorded that deliver nothing.
    pub op_half_topic: Arc<Topic>,
    /// Properties that every stored message carries, in stored form.
    pub own_properties: Vec<u8>,
    pub(crate) membership: Mutex<Membership>,
    pub(crate) locks: Mutex<QueueLocks>,
    pub(crate) transactions: Arc<Mutex<Transactions>>,
    pub(crate) turns: AtomicU32,
    pub(crate) opaques: AtomicI32,
}

/// A topic that is being deleted.
pub struct Deletion<'b> {
    broker: &'b Broker,
    topic: &'b str,
}

impl Drop for Deletion<'_> {
    fn drop(&mut self) {
        self.broker.deleting.lock().unwrap_or_else(PoisonError::into_inner).remove(self.topic);
    }
}

impl Broker {
    /// Who is connected.
    pub fn membership(&self) -> MutexGuard<'_, Membership> {
        self.membership.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who may consume which queue in order.
    pub fn locks(&self) -> MutexGuard<'_, QueueLocks> {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Half messages without a decision.
    pub fn transactions(&self) -> MutexGuard<'_, Transactions> {
        self.transactions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next number of a round: spreads what may go anywhere.
    pub fn next_turn(&self) -> i32 {
        (self.turns.fetch_add(1, Ordering::Relaxed) & 0x7FFF_FFFF) as i32
    }

    /// Opaque of the next request that the broker itself makes.
    pub fn next_opaque(&self) -> i32 {
        self.opaques.fetch_add(1, Ordering::Relaxed) & 0x7FFF_FFFF
    }

    /// Whether a message of a queue is likely still in memory: it lies within the newest part of the log, as large as
    /// upstream takes for "in memory" (40 % of it).
    pub fn is_recent(&self, queue: QueueNumber, offset: u64) -> bool {
        let entry = self.log.entries(queue, offset, 1).ok().and_then(|entries| entries.into_iter().next());
        entry.is_some_and(|entry| self.log.end().0.saturating_sub(entry.position) <= self.recent_bytes)
    }

    /// Marks a topic as being deleted until the guard is dropped. In between its queues are taken from the log; a topic
    /// that was created meanwhile would keep the number of a queue that is going.
    pub fn begin_deletion<'b>(&'b self, topic: &'b str) -> Deletion<'b> {
        self.deleting.lock().unwrap_or_else(PoisonError::into_inner).insert(topic.to_owned());
        Deletion { broker: self, topic }
    }

    /// Whether the topic is being deleted.
    pub fn is_deleting(&self, topic: &str) -> bool {
        self.deleting.lock().unwrap_or_else(PoisonError::into_inner).contains(topic)
    }

    /// A unique id for a message whose client gave it none.
    pub fn unique_id(&self) -> String {
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        let ms = self.clock.now_ms().rem_euclid(31 * 24 * 3600 * 1000) as u32;
        // The upper half of the counter stands where clients put a number of their own.
        message_id::unique_id(self.store_host.ip(), std::process::id(), turn >> 16, ms, turn as u16)
    }

    /// The log's number for a queue of a topic.
    pub fn queue_number(&self, topic: &Topic, queue_id: i32) -> Result<QueueNumber, DefineError> {
        if let Some(known) = topic.known_queue(queue_id) {
            return Ok(known);
        }
        let number = self.writer.define_queue(&topic.settings.name, queue_id)?;
        topic.remember_queue(queue_id, number);
        Ok(number)
    }

    /// The dead-letter topic of a group, created on its first use.
    pub fn dead_letter_topic(&self, group: &str) -> Arc<Topic> {
        let name = names::dead_letter_topic(group);
        let settings = TopicSettings::new(&name, 1, Permission::READ_WRITE);
        let (topic, created) = self.topics.ensure(settings, self.clock.now_ms());
        if created {
            self.topics_changed(&[&name]);
        }
        topic
    }

    /// Forgets how far a group has consumed.
    pub fn forget_consumption_of_group(&self, group: &str) {
        self.deliveries.forget_group(group).into_iter().for_each(|id| self.receives.forget_topic(id));
        self.offsets.forget_group(group);
        self.topics.list().iter().for_each(|topic| topic.tallies.forget_group(group));
        self.request_modes.forget(|mode| mode.consumer_group == group);
    }

    /// Forgets how far everybody has consumed a topic.
    pub fn forget_consumption_of_topic(&self, topic: &str) {
        self.deliveries.forget_topic(topic).into_iter().for_each(|id| self.receives.forget_topic(id));
        self.offsets.forget_topic(topic);
        self.request_modes.forget(|mode| mode.topic == topic);
    }

    /// Topics were created or changed: nameservers are told once that is saved, or cannot be. Mostly nobody finds a queue
    /// whose topic a power cut may still take, and whose offsets would be given again.
    pub fn topics_changed(&self, names: &[&str]) {
        tracing::debug!(?names, "topics changed");
        let registrations = self.registrations.clone();
        self.meta.when_saved(move |_| registrations.topics_changed());
    }

    /// Calls `then` once topics that were created so far are saved, or cannot be, and then nameservers have heard of them
    /// or a second has passed; without that after `syncFlushTimeout`, when the disk does not answer.
    pub fn when_topics_are_told(&self, then: impl FnOnce(Saved) + Send + 'static) {
        let (registrations, clock) = (self.registrations.clone(), self.clock.clone());
        self.when_saved(move |saved| match saved {
            Saved::OnDisk | Saved::Failed => registrations.when_told(clock.now_ms(), move || then(saved)),
            Saved::NotInTime => then(saved),
        });
    }

    /// Calls `then` once every change of metadata so far is on disk or cannot be written, or after `syncFlushTimeout`, when
    /// the disk does not answer.
    pub fn when_saved(&self, then: impl FnOnce(Saved) + Send + 'static) {
        let deadline_ms = self.clock.now_ms().saturating_add(self.config.sync_flush_timeout.get().as_millis() as i64);
        let id = self.unsaved.wait(deadline_ms, Box::new(then));
        let unsaved = self.unsaved.clone();
        self.meta.when_saved(move |on_disk| unsaved.saved(id, on_disk));
    }

    /// Adds a record that settles another one without delivering anything: a rollback, or a message whose topic is
    /// gone.
    pub fn push_settlement(&self, position: LogPosition, appends: &mut Appends) -> Result<(), SendError> {
        let mut stored = Vec::new();
        protocol::properties::push(&mut stored, protocol::properties::TAGS, "d");
        let body = position.0.to_string();
        let draft = Draft {
            topic: &self.op_half_topic,
            queue_id: 0,
            flag: 0,
            sys_flag: SysFlag(0),
            born_ms: self.clock.now_ms(),
            born_host: self.store_host,
            reconsume_times: 0,
            settles: position.0,
            tag_hash: protocol::record::java_string_hash("d"),
            body: body.as_bytes(),
        };
        draft.push(self, &mut stored, None, appends)
    }

    /// Carries out what a change of membership asks for.
    pub fn carry_out(&self, effects: Vec<Effect>) {
        use protocol::codes::RequestCode;
        use protocol::frame::Codec;
        use protocol::writer::{Expect, FrameWriter};
        for Effect::Tell { group, members } in effects {
            let silent = self.groups.get(&group).is_some_and(|group| !group.notify_consumer_ids_changed_enable);
            if silent {
                continue;
            }
            for connection in members.into_iter().filter_map(|id| self.connections.get(id)) {
                let opaque = self.next_opaque();
                connection.send(|out| {
                    FrameWriter::request(
                        out,
                        Codec::Json,
                        RequestCode::NOTIFY_CONSUMER_IDS_CHANGED,
                        opaque,
                        Expect::Nothing,
                    )
                    .text("consumerGroup", &group)
                    .finish(b"");
                });
            }
        }
    }
}
