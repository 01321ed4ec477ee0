//! QueryRoute and QueryAssignment: where the queues of a topic are.

use std::net::IpAddr;
use std::sync::Arc;

use http::uri::Authority;
use protocol::v2::{self, Address, AddressScheme, Code, Endpoints, MessageQueue};

use super::answer::ok;
use super::call::Call;
use super::code::Refused;
use super::validate;
use crate::broker::Broker;
use crate::names;
use crate::topics::{MessageType, Topic};

/// Port of a client that names none: that of its library.
const PORT_UNNAMED: u16 = 80;

/// Where the queues of a topic are. A topic that is not there is created, if a send would create it.
pub async fn query_route(call: Call, request: v2::QueryRouteRequest) -> Result<v2::QueryRouteResponse, Refused> {
    let topic = known_topic(call.broker(), &request.topic)?;
    let settings = &topic.settings;
    let (can_read, can_write) = (settings.permission.can_read(), settings.permission.can_write());
    // Queues of which only one thing is possible are the last ones: one client looks at queue 0 alone.
    let permission = |id: i32| match (can_read && id < settings.read_queues, can_write && id < settings.write_queues) {
        (true, true) => v2::Permission::ReadWrite,
        (true, false) => v2::Permission::Read,
        (false, true) => v2::Permission::Write,
        (false, false) => v2::Permission::None,
    };
    let endpoints = endpoints(&call, request.endpoints);
    let queues = (0..topic.queue_count()).map(|id| MessageQueue {
        topic: request.topic.clone(),
        id,
        permission: permission(id).into(),
        broker: Some(own_broker(call.broker(), endpoints.clone())),
        accept_message_types: accepted(topic.message_type),
    });
    Ok(v2::QueryRouteResponse { status: Some(ok()), message_queues: queues.collect() })
}

/// Which queues a consumer is to read: as all members of a group share them, it is all of them; one by one where order
/// counts, otherwise as one that stands for all.
pub async fn query_assignment(
    call: Call,
    request: v2::QueryAssignmentRequest,
) -> Result<v2::QueryAssignmentResponse, Refused> {
    let broker = call.broker();
    validate::topic(&request.topic)?;
    let group = validate::group(&request.group)?;
    let topic = known_topic(broker, &request.topic)?;
    if !topic.settings.permission.can_read() || topic.settings.read_queues < 1 {
        return Err(Refused::new(Code::Forbidden, "no readable queue"));
    }
    let is_ordered = broker.groups.get(group).is_some_and(|group| group.consume_message_orderly);
    let queues = if is_ordered { 0..topic.settings.read_queues } else { -1..0 };
    let permission =
        if topic.settings.permission.can_write() { v2::Permission::ReadWrite } else { v2::Permission::Read };
    let endpoints = endpoints(&call, request.endpoints);
    let assignments = queues.map(|id| v2::Assignment {
        message_queue: Some(MessageQueue {
            topic: request.topic.clone(),
            id,
            permission: permission.into(),
            broker: Some(own_broker(broker, endpoints.clone())),
            accept_message_types: Vec::new(),
        }),
    });
    Ok(v2::QueryAssignmentResponse { status: Some(ok()), assignments: assignments.collect() })
}

/// The topic that a resource names, created if a send would create it.
fn known_topic(broker: &Broker, named: &Option<v2::Resource>) -> Result<Arc<Topic>, Refused> {
    let name = validate::topic(named)?;
    if let Some(topic) = broker.topics.get(name) {
        return Ok(topic);
    }
    if broker.is_deleting(name) || names::is_retry(name) || names::is_dead_letter(name) {
        return Err(Refused::no_such_topic(name));
    }
    let queues = broker.config.default_topic_queue_nums.get();
    let created = broker.topics.create_after(name, names::TEMPLATE_TOPIC, queues, broker.clock.now_ms());
    let topic = created.ok_or_else(|| Refused::no_such_topic(name))?;
    broker.topics_changed(&[name]);
    Ok(topic)
}

fn accepted(topic: MessageType) -> Vec<i32> {
    use MessageType::{Delay, Fifo, Mixed, Normal, Transaction};
    let types = if topic == Mixed { vec![Normal, Fifo, Delay, Transaction] } else { vec![topic] };
    types.into_iter().map(|kind| wire_type(kind).into()).collect()
}

/// The type of a message as clients know it.
pub fn wire_type(kind: MessageType) -> v2::MessageType {
    match kind {
        // No message is of all types at once.
        MessageType::Normal | MessageType::Mixed => v2::MessageType::Normal,
        MessageType::Fifo => v2::MessageType::Fifo,
        MessageType::Delay => v2::MessageType::Delay,
        MessageType::Transaction => v2::MessageType::Transaction,
        MessageType::Priority => v2::MessageType::Priority,
        MessageType::Lite => v2::MessageType::Lite,
    }
}

fn own_broker(broker: &Broker, endpoints: Endpoints) -> v2::Broker {
    // Only the master is shown: some clients would send to any other.
    v2::Broker { name: broker.config.broker_name.clone(), id: 0, endpoints: Some(endpoints) }
}

/// Where the client reaches us: as configured, or where it says it dialled, or where it did. The same words each time:
/// clients know a server by them.
fn endpoints(call: &Call, said: Option<Endpoints>) -> Endpoints {
    let config = &call.broker().config;
    if let Some(authority) = config.grpc_endpoint.as_deref().and_then(|endpoint| endpoint.parse().ok()) {
        return of_authority(&authority);
    }
    if let Some(said) = said.filter(|said| !said.addresses.is_empty()) {
        return of_client(said);
    }
    match call.authority() {
        Some(authority) => of_authority(authority),
        None => one(&config.advertised_ip.to_string(), config.grpc_port.unwrap_or(PORT_UNNAMED)),
    }
}

fn of_client(mut said: Endpoints) -> Endpoints {
    if said.scheme() == AddressScheme::Unspecified {
        said.scheme = scheme(&said.addresses[0].host).into();
    }
    if said.scheme() == AddressScheme::DomainName {
        said.addresses.truncate(1);
    }
    said
}

fn of_authority(authority: &Authority) -> Endpoints {
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    one(bare, authority.port_u16().unwrap_or(PORT_UNNAMED))
}

fn one(host: &str, port: u16) -> Endpoints {
    let address = Address { host: host.to_owned(), port: port.into() };
    Endpoints { scheme: scheme(host).into(), addresses: vec![address] }
}

fn scheme(host: &str) -> AddressScheme {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => AddressScheme::IPv4,
        Ok(IpAddr::V6(_)) => AddressScheme::IPv6,
        Err(_) => AddressScheme::DomainName,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_dialled_is_named_as_clients_know_it() {
        let check = |authority: &str| {
            let found = of_authority(&authority.parse().unwrap());
            (found.scheme(), found.addresses[0].host.clone(), found.addresses[0].port)
        };
        assert_eq!(check("10.0.0.7:8081"), (AddressScheme::IPv4, "10.0.0.7".into(), 8081));
        assert_eq!(check("[::1]:8081"), (AddressScheme::IPv6, "::1".into(), 8081));
        assert_eq!(check("mq.example"), (AddressScheme::DomainName, "mq.example".into(), 80));
        let address = |host: &str| Address { host: host.into(), port: 1 };
        let said = Endpoints { scheme: 0, addresses: vec![address("a.example"), address("b.example")] };
        assert_eq!(of_client(said), one("a.example", 1));
    }
}
