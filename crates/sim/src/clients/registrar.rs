//! The part of a broker that tells the nameserver of it.

use protocol::codes::RequestCode;
use protocol::typed::TypedHeader;

use super::session::Session;
use super::{Client, Context, NAMESERVER};
use crate::message::Message;
use crate::network::LinkId;
use crate::schedule::NodeId;

/// Time between two looks for news, in microseconds.
const LOOK_US: u64 = 12_000;
/// Time between two registrations without news, in microseconds.
const PERIOD_US: u64 = 5_000_000;

/// What a registration says: changes, and version of the table.
#[derive(Clone, Copy)]
struct About {
    change: u64,
    version: i64,
    is_last: bool,
}

/// Keeps a broker registered.
pub struct Registrar {
    node: NodeId,
    session: Session<About>,
    /// What the nameserver has heard: changes, and version of the table.
    heard: Option<(u64, i64)>,
    asked_us: u64,
}

impl Registrar {
    /// For a broker.
    pub fn new(node: NodeId) -> Registrar {
        Registrar { node, session: Session::default(), heard: None, asked_us: 0 }
    }

    fn register(&mut self, context: &mut Context<'_>) {
        let Some(broker) = context.brokers[self.node].clone() else { return };
        let (change, version) = (broker.registrations.changes(), broker.topics.version());
        let is_news = self.heard.is_none_or(|(heard, _)| heard != change);
        if self.session.waiting() != 0 || !is_news && context.now_us() < self.asked_us + PERIOD_US {
            return;
        }
        self.asked_us = context.now_us();
        let heard = self.heard.filter(|_| is_news && self.session.is_connected(NAMESERVER)).map(|(_, version)| version);
        let registrations = broker::registration::registrations(&broker, heard, version);
        let last = registrations.len() - 1;
        for (index, registration) in registrations.iter().enumerate() {
            let about = About { change, version: version.counter, is_last: index == last };
            let header = registration.header();
            let code = RequestCode::REGISTER_BROKER;
            self.session.request(
                context,
                NAMESERVER,
                code,
                |frame| header.encode(frame),
                &registration.body,
                Some(about),
            );
        }
    }

    fn forget(&mut self, context: &Context<'_>) {
        self.heard = None;
        if let Some(broker) = &context.brokers[self.node] {
            broker.registrations.note("nameserver", None);
        }
    }
}

impl Client for Registrar {
    fn wake(&mut self, context: &mut Context<'_>) {
        if context.brokers[self.node].is_none() {
            // The process that had the connections is gone.
            self.session.hang_up_all(context);
            self.heard = None;
        } else {
            if !self.session.expired(context).is_empty() {
                self.forget(context);
            }
            self.register(context);
        }
        context.wake_after(LOOK_US);
    }

    fn frame(&mut self, context: &mut Context<'_>, link: LinkId, message: Message) {
        let Some(about) = self.session.answered(link, &message) else { return };
        if !message.is_success() {
            return self.forget(context);
        }
        if let (true, Some(broker)) = (about.is_last, &context.brokers[self.node]) {
            self.heard = Some((about.change, about.version));
            broker.registrations.note("nameserver", Some(about.change));
        }
    }

    fn closed(&mut self, context: &mut Context<'_>, link: LinkId) {
        self.session.closed(link);
        self.forget(context);
    }
}
