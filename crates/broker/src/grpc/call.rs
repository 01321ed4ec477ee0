//! One call: who makes it, and from where.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Uri};
use protocol::codes::Language;
use protocol::v2::{self, Code};
use protocol::writer::OWN_VERSION;

use super::body::Arriving;
use super::code::Refused;
use crate::broker::Broker;
use crate::membership::{Client, Door};
use crate::sessions::{Commands, Session};

/// Longest id of a client, in bytes.
const CLIENT_ID_BYTES_MAX: usize = 255;

/// Headers that are asked for while a call lasts.
const LASTING_HEADERS: [&str; 3] = ["x-mq-client-id", "x-mq-language", "grpc-timeout"];

/// The other side of a connection.
pub struct Peer {
    /// The broker.
    pub broker: Arc<Broker>,
    /// Its address.
    pub address: SocketAddr,
    /// Requests on their way.
    pub arriving: Arc<Arriving>,
    /// Sessions that get their commands through this connection, by its streams.
    streams: RefCell<Vec<(Arc<Session>, Arc<Commands>)>>,
}

impl Peer {
    /// The other side of a new connection.
    pub fn new(broker: Arc<Broker>, address: SocketAddr, arriving: Arc<Arriving>) -> Peer {
        Peer { broker, address, arriving, streams: RefCell::default() }
    }

    /// A client gets its commands through this connection now.
    pub fn opened(&self, session: &Arc<Session>, commands: &Arc<Commands>) {
        let mut streams = self.streams.borrow_mut();
        streams.retain(|(other, stream)| !Arc::ptr_eq(other, session) && !Arc::ptr_eq(stream, commands));
        streams.push((session.clone(), commands.clone()));
    }

    /// The connection ended: clients that got their commands through it, and have not come back through another one, are
    /// gone. While it goes on they are there, even without a stream for a while. Heartbeats bring them back.
    pub fn hung_up(&self) {
        for (session, commands) in self.streams.take() {
            if session.is_attached(&commands) || !session.has_stream() {
                self.broker.end_this_session(&session);
            }
        }
    }
}

/// A call.
pub struct Call {
    peer: std::rc::Rc<Peer>,
    headers: HeaderMap,
    uri: Uri,
}

impl Call {
    /// A call with these headers.
    pub fn new(peer: std::rc::Rc<Peer>, headers: HeaderMap, uri: Uri) -> Call {
        Call { peer, headers, uri }
    }

    /// The same call for as long as it lasts. Headers are parts of what was read from the socket, and a call that waits
    /// would keep all of that, 8 KiB: of those that are asked for later, copies stay.
    pub fn lasting(self) -> Call {
        let mut headers = HeaderMap::with_capacity(LASTING_HEADERS.len());
        for name in LASTING_HEADERS {
            let copy = self.headers.get(name).and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok());
            if let Some(copy) = copy {
                headers.insert(name, copy);
            }
        }
        Call { peer: self.peer, headers, uri: Uri::default() }
    }

    /// The broker.
    pub fn broker(&self) -> &Arc<Broker> {
        &self.peer.broker
    }

    /// The connection.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Address of the other side of the connection.
    pub fn address(&self) -> SocketAddr {
        self.peer.address
    }

    /// Id of the client. Every call has to bring one.
    pub fn client_id(&self) -> Result<&str, Refused> {
        let id = self.text("x-mq-client-id").filter(|id| !id.trim().is_empty());
        let id = id.ok_or_else(|| Refused::new(Code::ClientIdRequired, "client id cannot be empty"))?;
        if id.len() > CLIENT_ID_BYTES_MAX {
            let text = format!("the client id is {} bytes long; the limit is {CLIENT_ID_BYTES_MAX}", id.len());
            return Err(Refused::new(Code::ClientIdRequired, text));
        }
        Ok(id)
    }

    /// Who makes it. Languages that nobody knows are served like others.
    pub fn client(&self) -> Result<Client, Refused> {
        Ok(Client {
            id: self.client_id()?.to_owned(),
            address: self.address(),
            language: Language::from_name(self.text("x-mq-language").unwrap_or_default()),
            version: OWN_VERSION,
            door: Door::Grpc,
        })
    }

    /// The session of the client, a new one if it has none.
    pub fn open_session(&self) -> Result<Arc<Session>, Refused> {
        let broker = self.broker();
        let too_many = || Refused::new(Code::TooManyRequests, "too many clients");
        broker.sessions.get_or_open(self.client()?, broker.clock.now_ms()).ok_or_else(too_many)
    }

    /// The session of the client, if it has one.
    pub fn session(&self) -> Option<Arc<Session>> {
        self.broker().sessions.get(self.client_id().ok()?)
    }

    /// What the client dialled.
    pub fn authority(&self) -> Option<&Authority> {
        self.uri.authority()
    }

    /// Time that the client gives the call, counted from its arrival.
    pub fn time_limit(&self) -> Option<Duration> {
        time_limit(self.text("grpc-timeout")?)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// At most eight digits and a unit.
fn time_limit(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if number.is_empty() || number.len() > 8 || !number.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number: u64 = number.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// The name of a resource; a missing one is an empty name, which no check lets pass.
pub fn name(resource: &Option<v2::Resource>) -> &str {
    resource.as_ref().map_or("", |resource| &resource.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_limits_are_read_as_grpc_writes_them() {
        let check = |text: &str| time_limit(text).map(|limit| limit.as_micros());
        assert_eq!(
            ["3S", "3000m", "1H", "2M", "5u", "99999999n"].map(check),
            [3_000_000, 3_000_000, 3_600_000_000, 120_000_000, 5, 99_999].map(Some)
        );
        assert_eq!(["", "S", "3", "3s", "-1S", "123456789S", "3.5S", "é"].map(check), [None; 8]);
        assert_eq!(check("0S"), Some(0));
    }
}
