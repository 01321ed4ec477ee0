//! From a frame to its answer: reads the request, asks the core, writes what it says.
//!
//! Nothing here knows a socket, a task or a clock. Bodies are read before the lock is taken and most are written
//! after it was given back.

mod answer;
mod brokers;
mod kv;
mod operations;
mod refusal;
#[cfg(test)]
mod tests;
mod topics;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use net::ConnectionId;
use protocol::codes::RequestCode;
use protocol::frame::{Codec, Frame};
use protocol::header::{FieldSpans, Header, HeaderError};

use crate::effect::Effect;
use crate::horizon::{Reader, Seen, Surroundings};
use crate::kv::{KvChange, KvTable};
use crate::routes::Routes;
use crate::series::Counters;
use crate::settings::Settings;

pub use answer::PendingAnswer;
use answer::{Answer, ReplyTo};
use refusal::Refusal;

/// What does not change while the nameserver runs.
#[derive(Clone, Debug)]
pub struct Fixed {
    /// Silence after which a broker counts as gone, unless it asks for another.
    pub silence_max_ms: u64,
    /// Keys that nobody may change from afar (`configBlackList`).
    pub locked_keys: Vec<String>,
    /// Further keys and values that GET_NAMESRV_CONFIG (319) shows.
    pub shown: Vec<(String, String)>,
}

/// A nameserver without its sockets, its clock and its disk.
#[derive(Debug)]
pub struct Nameserver {
    fixed: Fixed,
    counters: Counters,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    routes: Routes,
    kv: KvTable,
    settings: Settings,
    /// Keys and values that were changed while the nameserver ran, this time or before.
    changed: BTreeMap<String, String>,
    surroundings: Surroundings,
}

impl State {
    /// Which addresses of brokers are not told as advertised.
    fn seen_by(&self, reader: Reader) -> Seen {
        Seen::by(reader, &self.surroundings, self.routes.origins())
    }
}

/// Where a frame came from, and when; milliseconds count from the start of the nameserver.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The connection.
    pub connection: ConnectionId,
    /// Its two ends.
    pub reader: Reader,
    /// The time.
    pub now_ms: u64,
}

/// What became of a frame.
#[derive(Debug)]
#[must_use = "a change that is to be stored is lost otherwise"]
pub enum Handled {
    /// It has its answer, if it wants one.
    Done,
    /// It is answered when a change is stored.
    Store(KvChange, PendingAnswer),
    /// Settings were changed; it is answered when they are stored.
    SaveSettings(PendingAnswer),
    /// It cannot be read; the connection cannot be trusted any more.
    Unreadable(HeaderError),
}

impl Nameserver {
    /// A nameserver that knows no broker yet.
    pub fn new(fixed: Fixed, settings: Settings, kv: KvTable) -> Nameserver {
        let (routes, surroundings) = (Routes::default(), Surroundings::default());
        let state = State { routes, kv, settings, changed: BTreeMap::new(), surroundings };
        Nameserver { fixed, counters: Counters::default(), state: Mutex::new(state) }
    }

    /// Handles one frame: appends the answer to `out`, and what else is to be done to `effects`.
    pub fn handle(
        &self,
        arrival: Arrival,
        frame: &Frame<'_>,
        spans: &mut FieldSpans,
        out: &mut Vec<u8>,
        effects: &mut Vec<Effect>,
    ) -> Handled {
        let Some(codec) = Codec::from_number(frame.codec_number) else {
            return Handled::Unreadable(HeaderError::Malformed { at: 0 });
        };
        let header = match Header::decode(codec, frame.header, spans) {
            Ok(header) => header,
            // Upstream leaves these without an answer too: nobody can say which request it would be for.
            Err(HeaderError::Empty) => return Handled::Done,
            Err(error) => return Handled::Unreadable(error),
        };
        if header.is_response() {
            return Handled::Done;
        }
        let reply_to = ReplyTo { codec, opaque: header.opaque, oneway: header.is_oneway() };
        let call = Call { arrival, header: &header, body: frame.body };
        let outcome = self.dispatch(call, effects);
        self.counters.note(RequestCode(header.code), outcome.is_err());
        match outcome {
            Ok(Outcome::Answer(answer)) => reply_to.answer(&answer, out),
            Ok(Outcome::SaveSettings) => return Handled::SaveSettings(PendingAnswer(reply_to)),
            Ok(Outcome::Store(change)) => return Handled::Store(change, PendingAnswer(reply_to)),
            Err(refusal) => reply_to.refuse(&refusal, out),
        }
        Handled::Done
    }

    fn dispatch(&self, call: Call<'_>, effects: &mut Vec<Effect>) -> Result<Outcome, Refusal> {
        let answer = match RequestCode(call.header.code) {
            RequestCode::GET_ROUTEINFO_BY_TOPIC => self.route(call)?,
            RequestCode::REGISTER_BROKER => self.register_broker(call, effects)?,
            RequestCode::BROKER_HEARTBEAT => self.heartbeat(call)?,
            RequestCode::QUERY_DATA_VERSION => self.query_data_version(call)?,
            RequestCode::UNREGISTER_BROKER => self.unregister_broker(call, effects)?,
            RequestCode::GET_BROKER_CLUSTER_INFO => self.cluster_info(call),
            RequestCode::GET_BROKER_MEMBER_GROUP => self.member_group(call)?,
            RequestCode::PUT_KV_CONFIG => return kv::put(call),
            RequestCode::DELETE_KV_CONFIG => return kv::delete(call),
            RequestCode::GET_KV_CONFIG => self.kv_value(call)?,
            RequestCode::GET_KVLIST_BY_NAMESPACE => self.kv_namespace(call)?,
            RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER => self.all_topics()?,
            RequestCode::GET_TOPICS_BY_CLUSTER => self.topics_of_cluster(call)?,
            RequestCode::GET_SYSTEM_TOPIC_LIST_FROM_NS => self.system_topics(call),
            code @ (RequestCode::GET_UNIT_TOPIC_LIST
            | RequestCode::GET_HAS_UNIT_SUB_TOPIC_LIST
            | RequestCode::GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST) => self.unit_topics(code)?,
            RequestCode::REGISTER_TOPIC_IN_NAMESRV => self.put_topic(call, effects)?,
            RequestCode::DELETE_TOPIC_IN_NAMESRV => self.delete_topic(call, effects)?,
            RequestCode::WIPE_WRITE_PERM_OF_BROKER => self.set_writable(call, false, effects)?,
            RequestCode::ADD_WRITE_PERM_OF_BROKER => self.set_writable(call, true, effects)?,
            RequestCode::UPDATE_NAMESRV_CONFIG => return self.update_config(call, effects),
            RequestCode::GET_NAMESRV_CONFIG => self.config(),
            RequestCode(other) => return Err(Refusal::UnknownCode(other)),
        };
        Ok(Outcome::Answer(answer))
    }

    /// A connection closed.
    pub fn connection_closed(&self, connection: ConnectionId, effects: &mut Vec<Effect>) {
        let State { routes, settings, .. } = &mut *self.state();
        routes.connection_closed(connection, settings, effects);
    }

    /// Time has passed: looks for brokers that have fallen silent.
    pub fn tick(&self, now_ms: u64, effects: &mut Vec<Effect>) {
        let State { routes, settings, .. } = &mut *self.state();
        routes.tick(now_ms, settings, effects);
    }

    /// The networks around the nameserver are these now.
    pub fn set_surroundings(&self, surroundings: Surroundings) {
        self.state().surroundings = surroundings;
    }

    /// What it has done.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How many brokers are alive, and how many topics they have.
    pub fn sizes(&self) -> (usize, usize) {
        self.state().routes.sizes()
    }

    /// Clusters that have brokers which are alive.
    pub fn clusters(&self) -> BTreeSet<String> {
        self.state().routes.clusters()
    }

    /// The KV table as it is now.
    pub fn kv(&self) -> KvTable {
        self.state().kv.clone()
    }

    /// What was changed while the nameserver ran.
    pub fn changed(&self) -> BTreeMap<String, String> {
        self.state().changed.clone()
    }

    /// Says what was changed while it ran before. It is in force already.
    pub fn remember_changed(&self, changed: impl IntoIterator<Item = (String, String)>) {
        self.state().changed.extend(changed);
    }

    /// Puts another KV table in place, which differs by `changes`.
    pub fn set_kv<'c>(&self, table: KvTable, changes: impl IntoIterator<Item = &'c KvChange>) {
        let mut state = self.state();
        state.kv = table;
        for topic in changes.into_iter().filter_map(KvChange::ordered_topic) {
            state.routes.forget_route(topic);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panicked under the lock has made a mistake of ours; the tables are still the best there is.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request.
#[derive(Clone, Copy)]
struct Call<'f> {
    arrival: Arrival,
    header: &'f Header<'f>,
    body: &'f [u8],
}

/// What a request comes to, if it is not refused.
enum Outcome {
    Answer(Answer),
    Store(KvChange),
    SaveSettings,
}
