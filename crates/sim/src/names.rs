//! The nameserver, which never fails here: what brokers and clients make of a world where servers come and go is the
//! point. Cuts of its network are trouble enough.

use std::collections::BTreeSet;

use nameserver::effect::Effect;
use nameserver::handlers::{Arrival, Fixed, Handled, Nameserver};
use nameserver::horizon::Reader;
use nameserver::kv::KvTable;
use nameserver::settings::Settings;
use net::ConnectionId;
use protocol::header::FieldSpans;

use crate::message::frames;
use crate::network::LinkId;

/// Silence after which a broker counts as gone, in milliseconds.
const SILENCE_MAX_MS: u64 = 12_000;

/// A nameserver and who is connected.
pub struct Names {
    nameserver: Nameserver,
    open: BTreeSet<LinkId>,
}

fn id(link: LinkId) -> ConnectionId {
    ConnectionId(link as u64 + 1)
}

impl Default for Names {
    fn default() -> Names {
        let fixed = Fixed { silence_max_ms: SILENCE_MAX_MS, locked_keys: Vec::new(), shown: Vec::new() };
        Names { nameserver: Nameserver::new(fixed, Settings::default(), KvTable::default()), open: BTreeSet::new() }
    }
}

impl Names {
    /// A connection was accepted.
    pub fn opened(&mut self, link: LinkId) {
        self.open.insert(link);
    }

    /// A connection ended.
    pub fn closed(&mut self, link: LinkId) {
        self.open.remove(&link);
        self.nameserver.connection_closed(id(link), &mut Vec::new());
    }

    /// Answers requests; says to whom.
    pub fn serve(&mut self, link: LinkId, bytes: &[u8], now_us: u64) -> Vec<(LinkId, Vec<u8>)> {
        let arrival = Arrival { connection: id(link), reader: Reader::LOOPBACK, now_ms: now_us / 1_000 };
        let (mut spans, mut replies, mut effects) = (FieldSpans::default(), Vec::new(), Vec::new());
        for frame in frames(bytes) {
            let handled = self.nameserver.handle(arrival, &frame, &mut spans, &mut replies, &mut effects);
            match handled {
                Handled::Store(_, pending) => pending.finish(Ok(()), &mut replies),
                Handled::SaveSettings(pending) => pending.finish_settings(true, &mut replies),
                Handled::Done | Handled::Unreadable(_) => {}
            }
        }
        vec![(link, replies)]
    }

    /// Looks for silent brokers; says whose connections are to be closed.
    pub fn scan(&mut self, now_us: u64) -> Vec<LinkId> {
        let mut effects = Vec::new();
        self.nameserver.tick(now_us / 1_000, &mut effects);
        let closes = effects.into_iter().filter_map(|effect| match effect {
            Effect::Close(connection) => Some(connection),
            _ => None,
        });
        closes.filter_map(|connection| self.open.iter().copied().find(|link| id(*link) == connection)).collect()
    }
}
